// Settings: where a value comes from, and what each wrong one says.

extern "C" {
#include "common/config.h"
}

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace
{

struct Parsed {
    const char *name = nullptr;
    bool once = false;
    uint64_t port = 0;
    double share = 0;
    setting_list service{};
    config_result result = CONFIG_OK;
    std::string error;
    std::vector<std::string> rest, services;
};

Parsed parse(std::vector<std::string> arguments, bool takes_rest = false)
{
    Parsed parsed;
    setting settings[5] = {};
    settings[0] = {"test-name", SETTING_TEXT, &parsed.name, "nobody", "NAME", "A text.", 0, 0};
    settings[1] = {"test-once", SETTING_BOOL, &parsed.once, nullptr, nullptr, "A flag.", 0, 0};
    settings[2] = {"test-port", SETTING_UINT, &parsed.port, "8080", "PORT", "A number.", 0, 65535};
    settings[3] = {"test-share", SETTING_DOUBLE, &parsed.share, "0.5", "SHARE", "A share.", 0, 1};
    settings[4] = {"test-service", SETTING_LIST, &parsed.service, nullptr, "NAME=URL", "A list.", 0, 0};
    config c = {};
    c.program = "test";
    c.summary = "Tests.";
    c.arguments = takes_rest ? "REST" : nullptr;
    c.settings = settings;
    c.setting_count = 5;
    std::vector<char *> argv = {const_cast<char *>("test")};
    for (auto &argument : arguments)
        argv.push_back(argument.data());
    argv.push_back(nullptr);
    parsed.result = config_parse(&c, static_cast<int>(argv.size()) - 1, argv.data());
    parsed.error = c.error;
    for (size_t i = 0; i < c.rest_count; i++)
        parsed.rest.emplace_back(c.rest[i]);
    for (size_t i = 0; i < parsed.service.count; i++)
        parsed.services.emplace_back(parsed.service.items[i]);
    config_free(&c);
    return parsed;
}

struct Environment {
    std::string name;
    Environment(const char *variable, const char *value) : name(variable)
    {
        setenv(variable, value, 1);
    }
    ~Environment()
    {
        unsetenv(name.c_str());
    }
};

TEST(Config, Defaults)
{
    Parsed parsed = parse({});
    ASSERT_EQ(parsed.result, CONFIG_OK);
    EXPECT_STREQ(parsed.name, "nobody");
    EXPECT_FALSE(parsed.once);
    EXPECT_EQ(parsed.port, 8080u);
    EXPECT_EQ(parsed.share, 0.5);
    EXPECT_TRUE(parsed.services.empty());
}

TEST(Config, FlagsInBothForms)
{
    Parsed parsed = parse({"--test-name", "a", "--test-once", "--test-port=0", "--test-share", "1", "--test-service",
                           "x=1", "--test-service=y=2"});
    ASSERT_EQ(parsed.result, CONFIG_OK) << parsed.error;
    EXPECT_TRUE(parsed.once);
    EXPECT_EQ(parsed.port, 0u);
    EXPECT_EQ(parsed.share, 1);
    EXPECT_EQ(parsed.services, (std::vector<std::string>{"x=1", "y=2"}));
    EXPECT_FALSE(parse({"--test-once=false"}).once);
}

TEST(Config, AFlagWinsOverTheEnvironmentThatOverTheDefault)
{
    Environment name("TEST_NAME", "from-environment"), port("TEST_PORT", "9000");
    Environment services("TEST_SERVICE", "a=1\nb=2\n");
    Parsed parsed = parse({"--test-port", "9001"});
    ASSERT_EQ(parsed.result, CONFIG_OK) << parsed.error;
    EXPECT_STREQ(parsed.name, "from-environment");
    EXPECT_EQ(parsed.port, 9001u);
    EXPECT_EQ(parsed.services, (std::vector<std::string>{"a=1", "b=2"}));
    EXPECT_EQ(parse({"--test-service", "c=3"}).services, (std::vector<std::string>{"c=3"}));
}

TEST(Config, AnEmptyVariableIsAsIfItWereNotSet)
{
    Environment port("TEST_PORT", "");
    EXPECT_EQ(parse({}).port, 8080u);
}

TEST(Config, ErrorsNameTheSettingInOneLine)
{
    struct {
        std::vector<std::string> arguments;
        const char *part;
    } cases[] = {
        {{"--test-port", "65536"}, "--test-port: '65536' is not a whole number from 0 to 65535"},
        {{"--test-port", "-1"}, "--test-port: '-1'"},
        {{"--test-port", "+1"}, "--test-port: '+1'"},
        {{"--test-port", "1x"}, "--test-port: '1x'"},
        {{"--test-port", ""}, "--test-port: ''"},
        {{"--test-port", "99999999999999999999"}, "--test-port"},
        {{"--test-share", "1.01"}, "--test-share: '1.01' is not a number from 0 to 1"},
        {{"--test-share", "nan"}, "--test-share"},
        {{"--test-once=maybe"}, "--test-once: 'maybe' is neither true nor false"},
        {{"--test-name"}, "--test-name needs a value"},
        {{"--unknown"}, "unknown flag '--unknown'"},
        {{"--test-nam"}, "unknown flag '--test-nam'"},
        {{"stray"}, "'stray' is not a flag"},
        {{"--log-level", "loud"}, "--log-level: 'loud'"},
        {{"--log-format", "xml"}, "--log-format: 'xml'"},
        {{"--un\nknown"}, "unknown flag '--un known'"},
    };
    for (auto &c : cases) {
        Parsed parsed = parse(c.arguments);
        EXPECT_EQ(parsed.result, CONFIG_ERROR) << c.part;
        EXPECT_NE(parsed.error.find(c.part), std::string::npos) << parsed.error;
        EXPECT_EQ(parsed.error.find('\n'), std::string::npos);
    }
}

TEST(Config, AWrongVariableIsAnErrorToo)
{
    Environment port("TEST_PORT", "many");
    EXPECT_EQ(parse({}).result, CONFIG_ERROR);
}

TEST(Config, TheRestIsKeptInOrder)
{
    Parsed parsed = parse({"first", "--test-once", "second", "--", "--test-name"}, true);
    ASSERT_EQ(parsed.result, CONFIG_OK) << parsed.error;
    EXPECT_EQ(parsed.rest, (std::vector<std::string>{"first", "second", "--test-name"}));
}

TEST(Config, HelpListsEverySetting)
{
    testing::internal::CaptureStdout();
    Parsed parsed = parse({"--help"});
    std::string help = testing::internal::GetCapturedStdout();
    EXPECT_EQ(parsed.result, CONFIG_HELP);
    for (const char *part :
         {"--test-name NAME", "--test-once", "--test-port PORT", "(default 8080)", "--log-level LEVEL"})
        EXPECT_NE(help.find(part), std::string::npos) << help;
}

} // namespace
