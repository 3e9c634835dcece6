// Log lines: no input can forge one, none is longer than 4 KiB.

extern "C" {
#include "common/log.h"
}

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace
{

// log_write is called as the macros do, whose compound literals C++ does not have.
std::string line_of(log_format format, const char *message, std::initializer_list<log_field> fields)
{
    log_configure("muster-test", LOG_INFO, format);
    std::vector<log_field> list(fields);
    list.push_back({});
    testing::internal::CaptureStderr();
    log_write(LOG_INFO, message, list.data());
    return testing::internal::GetCapturedStderr();
}

log_field text(const char *key, const char *value)
{
    log_field field = {};
    field.key = key;
    field.type = log_field::LOG_FIELD_TEXT;
    field.value.text = value;
    return field;
}

log_field number(const char *key, uint64_t value)
{
    log_field field = {};
    field.key = key;
    field.type = log_field::LOG_FIELD_UINT;
    field.value.unsigned_integer = value;
    return field;
}

TEST(Log, TextLine)
{
    std::string line =
        line_of(LOG_FORMAT_TEXT, "worker registered", {text("worker_id", "gpu-1"), number("incarnation", 3)});
    EXPECT_EQ(line.substr(24), " info muster-test: worker registered worker_id=gpu-1 incarnation=3\n");
}

TEST(Log, JsonLine)
{
    std::string line =
        line_of(LOG_FORMAT_JSON, "worker registered", {text("worker_id", "gpu-1"), number("incarnation", 3)});
    EXPECT_EQ(line.substr(0, 9), "{\"time\":\"");
    EXPECT_EQ(line.substr(line.find("\"level\"")),
              "\"level\":\"info\",\"process\":\"muster-test\",\"message\":\"worker registered\","
              "\"worker_id\":\"gpu-1\",\"incarnation\":3}\n");
}

TEST(Log, ValuesCannotForgeALine)
{
    std::string line = line_of(LOG_FORMAT_TEXT, "m", {text("id", "a\n2026 error fake=\"1\"\x01\\")});
    EXPECT_EQ(line.substr(line.find("id=")), "id=\"a\\n2026 error fake=\\\"1\\\"\\u0001\\\\\"\n");
}

TEST(Log, LongValuesAreCutAndStillEnd)
{
    std::string huge(20000, 'x'), umlauts;
    for (int i = 0; i < 5000; i++)
        umlauts += "\xc3\xa4";
    for (log_format format : {LOG_FORMAT_TEXT, LOG_FORMAT_JSON}) {
        for (const std::string &value : {huge, umlauts, "a" + umlauts}) {
            std::string line = line_of(format, "m", {text("id", (value + " \"").c_str()), number("after", 1)});
            EXPECT_LE(line.size(), 4096u);
            EXPECT_EQ(line.back(), '\n');
            size_t quote = line.rfind('"');
            ASSERT_NE(quote, std::string::npos);
            // What stands before the closing quote is whole: an x or a whole umlaut.
            EXPECT_TRUE(line[quote - 1] == 'x' || line.substr(quote - 2, 2) == "\xc3\xa4") << line.substr(quote - 4);
        }
    }
}

TEST(Log, LevelsBelowTheConfiguredOneAreDropped)
{
    log_configure("muster-test", LOG_WARNING, LOG_FORMAT_TEXT);
    EXPECT_FALSE(log_enabled(LOG_INFO));
    EXPECT_TRUE(log_enabled(LOG_WARNING));
    log_level level;
    EXPECT_TRUE(log_level_parse("error", &level));
    EXPECT_EQ(level, LOG_ERROR);
    EXPECT_FALSE(log_level_parse("Error", &level));
}

} // namespace
