// What may go on the roll: every field's limit, named in the error; normal form; type.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

extern "C" {
#include "services/registry/spec.h"
}

namespace
{

// A spec whose texts are owned by C++.
struct Spec {
    Spec()
    {
        muster__v1__worker_spec__init(&spec);
        muster__v1__capabilities__init(&capabilities);
        spec.capabilities = &capabilities;
        set(spec.worker_id, "w1");
        set(spec.tunnel_url, "http://192.0.2.7:8070");
    }

    void set(char *&field, const std::string &value)
    {
        texts.push_back(std::make_unique<std::string>(value));
        field = texts.back()->data();
    }

    Muster__V1__AnnouncedService *add_service(const std::string &name)
    {
        services.push_back(std::make_unique<Muster__V1__AnnouncedService>());
        muster__v1__announced_service__init(services.back().get());
        set(services.back()->name, name);
        pointers.push_back(services.back().get());
        spec.n_services = pointers.size();
        spec.services = pointers.data();
        return services.back().get();
    }

    std::string check()
    {
        char error[SPEC_ERROR_BYTES] = "untouched";
        bool legal = spec_check(&spec, 0, error);
        EXPECT_EQ(legal, error[0] == '\0');
        EXPECT_EQ(std::string(error).find('\n'), std::string::npos);
        return error;
    }

    Muster__V1__WorkerSpec spec;
    Muster__V1__Capabilities capabilities;
    std::vector<std::unique_ptr<std::string>> texts;
    std::vector<std::unique_ptr<Muster__V1__AnnouncedService>> services;
    std::vector<Muster__V1__AnnouncedService *> pointers;
};

struct Case {
    const char *name;
    std::function<void(Spec &)> change;
    const char *expected; // how the error starts; "" for a legal spec
};

class SpecCheck : public testing::TestWithParam<Case>
{
};

TEST_P(SpecCheck, SaysWhichField)
{
    Spec spec;
    GetParam().change(spec);
    std::string error = spec.check();
    std::string expected = GetParam().expected;
    if (expected.empty())
        EXPECT_EQ(error, "");
    else
        EXPECT_EQ(error.substr(0, expected.size()), expected) << error;
}

#define SET(field, value) [](Spec &s) { s.set(s.field, value); }

INSTANTIATE_TEST_SUITE_P(
    Ids, SpecCheck,
    testing::Values(
        Case{"plain", [](Spec &) {}, ""}, Case{"empty", SET(spec.worker_id, ""), ""},
        Case{"longest", SET(spec.worker_id, std::string(256, 'x')), ""},
        Case{"too_long", SET(spec.worker_id, std::string(257, 'x')), "worker_id: is 257 bytes long; at most 256"},
        Case{"ten_megabytes", SET(spec.worker_id, std::string(10 << 20, 'x')), "worker_id: is 10485760 bytes"},
        Case{"quotes", SET(spec.worker_id, "a'b\"c..d; DROP TABLE worker"), ""},
        Case{"slash", SET(spec.worker_id, "a/b"), "worker_id: must not be . or .. or hold a slash"},
        Case{"backslash", SET(spec.worker_id, "a\\b"), "worker_id: must not be . or .. or hold a slash"},
        Case{"dots", SET(spec.worker_id, ".."), "worker_id: must not be . or .. or hold a slash"},
        Case{"dots_of_a_parameter", SET(spec.worker_id, ".;a"), "worker_id: must not be . or .. or hold a slash"},
        Case{"three_dots", SET(spec.worker_id, "..."), ""}, Case{"utf8", SET(spec.worker_id, "wörker-日本-🚀"), ""},
        Case{"newline", SET(spec.worker_id, "a\nb"), "worker_id: has a control character (U+000A) at byte 1"},
        Case{"delete", SET(spec.worker_id, "a\x7f"), "worker_id: has a control character (U+007F)"},
        Case{"c1", SET(spec.worker_id, "a\xc2\x85"), "worker_id: has a control character (U+0085)"},
        Case{"lone_continuation", SET(spec.worker_id, "ab\x80"), "worker_id: is not valid UTF-8 at byte 2"},
        Case{"cut_off", SET(spec.worker_id, "ab\xe6\x97"), "worker_id: is not valid UTF-8 at byte 2"},
        Case{"overlong", SET(spec.worker_id, "\xc0\xaf"), "worker_id: is not valid UTF-8"},
        Case{"surrogate", SET(spec.worker_id, "\xed\xa0\x80"), "worker_id: is not valid UTF-8"},
        Case{"beyond_unicode", SET(spec.worker_id, "\xf4\x90\x80\x80"), "worker_id: is not valid UTF-8"}),
    [](const auto &test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Urls, SpecCheck,
    testing::Values(Case{"missing", SET(spec.tunnel_url, ""), "tunnel_url: is missing"},
                    Case{"https", SET(spec.tunnel_url, "https://abc.example.com"), ""},
                    Case{"upper_case", SET(spec.tunnel_url, "HTTPS://ABC.EXAMPLE.COM"), ""},
                    Case{"path", SET(spec.tunnel_url, "https://abc.example.com/a/b/"), ""},
                    Case{"ipv6", SET(spec.tunnel_url, "http://[2001:db8::1]:80"), ""},
                    Case{"other_scheme", SET(spec.tunnel_url, "ftp://x"), "tunnel_url: must start with http://"},
                    Case{"no_scheme", SET(spec.tunnel_url, "example.com"), "tunnel_url: must start with http://"},
                    Case{"no_host", SET(spec.tunnel_url, "http://"), "tunnel_url: must name a host"},
                    Case{"no_host_but_path", SET(spec.tunnel_url, "http:///x"), "tunnel_url: must name a host"},
                    Case{"no_host_but_port", SET(spec.tunnel_url, "http://:80"), "tunnel_url: must name a host"},
                    Case{"user", SET(spec.tunnel_url, "http://a:b@c"), "tunnel_url: must not hold a user name"},
                    Case{"port_0", SET(spec.tunnel_url, "http://a:0"), "tunnel_url: has no valid port"},
                    Case{"port_65536", SET(spec.tunnel_url, "http://a:65536"), "tunnel_url: has no valid port"},
                    Case{"port_empty", SET(spec.tunnel_url, "http://a:"), "tunnel_url: has no valid port"},
                    Case{"port_text", SET(spec.tunnel_url, "http://a:8x"), "tunnel_url: has no valid port"},
                    Case{"ipv6_open", SET(spec.tunnel_url, "http://[::1"), "tunnel_url: has no valid IPv6"},
                    Case{"ipv6_behind", SET(spec.tunnel_url, "http://[::1]x"), "tunnel_url: must name a host"},
                    Case{"query", SET(spec.tunnel_url, "http://a/b?c"), "tunnel_url: must end before '?'"},
                    Case{"fragment", SET(spec.tunnel_url, "http://a/#c"), "tunnel_url: must end before '#'"},
                    Case{"space", SET(spec.tunnel_url, "http://a/b c"), "tunnel_url: has a character at byte 10"},
                    Case{"crlf", SET(spec.tunnel_url, "http://a/\r\nX: y"), "tunnel_url: has a character at byte 9"},
                    Case{"not_ascii", SET(spec.tunnel_url, "http://ä"), "tunnel_url: has a character"},
                    Case{"host_percent", SET(spec.tunnel_url, "http://a%2fb"), "tunnel_url: the host may have"},
                    Case{"too_long", SET(spec.tunnel_url, "http://a/" + std::string(2048, 'x')),
                         "tunnel_url: is 2057 bytes"}),
    [](const auto &test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Rest, SpecCheck,
    testing::Values(
        Case{"type", [](Spec &s) { s.spec.worker_type = static_cast<Muster__V1__WorkerType>(9); },
             "worker_type: 9 is no type"},
        Case{"negative_type", [](Spec &s) { s.spec.worker_type = static_cast<Muster__V1__WorkerType>(-1); },
             "worker_type: -1"},
        Case{"location", SET(spec.location, std::string(257, 'x')), "location: is 257 bytes"},
        Case{"no_capabilities", [](Spec &s) { s.spec.capabilities = nullptr; }, ""},
        Case{"latency", [](Spec &s) { s.capabilities.latency_ms = -1; }, "capabilities.latency_ms: must be 0"},
        Case{"latency_nan", [](Spec &s) { s.capabilities.latency_ms = __builtin_nan(""); }, "capabilities.latency_ms"},
        Case{"gpu_type", SET(capabilities.gpu_type, "a\tb"), "capabilities.gpu_type: has a control character"},
        Case{"json", SET(capabilities.json, R"({"a": [1, "\u0041"]})"), ""},
        Case{"json_zero", SET(capabilities.json, R"({"a": "\u0000"})"), "capabilities: is not valid JSON"},
        Case{"json_twice", SET(capabilities.json, R"({"a": 1, "a": 2})"), "capabilities: is not valid JSON"},
        Case{"json_broken", SET(capabilities.json, "{"), "capabilities: is not valid JSON"},
        Case{"json_array", SET(capabilities.json, "[]"), "capabilities: must be an object of JSON"},
        Case{"json_longest", SET(capabilities.json, "{\"a\":\"" + std::string((1 << 20) - 8, 'x') + "\"}"), ""},
        Case{"json_too_long", SET(capabilities.json, "{\"a\":\"" + std::string((1 << 20) - 7, 'x') + "\"}"),
             "capabilities: is 1048577 bytes"},
        Case{"json_deep", SET(capabilities.json, "{\"a\":" + std::string(500000, '[')),
             "capabilities: is not valid JSON"},
        Case{"containers", SET(spec.containers_json, "[{}]"), ""},
        Case{"containers_object", SET(spec.containers_json, "{}"), "containers: must be an array of JSON"}),
    [](const auto &test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Services, SpecCheck,
    testing::Values(Case{"one", [](Spec &s) { s.set(s.add_service("ocr")->url, "https://ocr.example.com"); }, ""},
                    Case{"no_name", [](Spec &s) { s.add_service(""); }, "services[0].name: is missing"},
                    Case{"name_too_long", [](Spec &s) { s.add_service(std::string(129, 'x')); },
                         "services[0].name: is 129 bytes"},
                    Case{"url",
                         [](Spec &s) {
                             s.add_service("a");
                             s.set(s.add_service("b")->url, "gopher://x");
                         },
                         "services[1].url: must start with http://"},
                    Case{"twice",
                         [](Spec &s) {
                             s.add_service("a");
                             s.add_service("a");
                         },
                         "services[1].name: 'a' is announced twice"},
                    Case{"capability",
                         [](Spec &s) {
                             static char text[] = "a\nb", *list[] = {text};
                             Muster__V1__AnnouncedService *service = s.add_service("a");
                             service->n_capabilities = 1;
                             service->capabilities = list;
                         },
                         "services[0].capabilities[0]: has a control character"},
                    Case{"thousand",
                         [](Spec &s) {
                             for (int i = 0; i < 1000; i++)
                                 s.add_service(std::to_string(i));
                         },
                         ""},
                    Case{"too_large_in_all",
                         [](Spec &s) {
                             for (int i = 0; i < 1000; i++)
                                 s.set(s.add_service(std::to_string(i))->url, "http://a/" + std::string(2000, 'x'));
                             s.set(s.spec.containers_json, "[\"" + std::string(1000000, 'x') + "\"]");
                             s.set(s.capabilities.json, "{\"a\":\"" + std::string(1000000, 'x') + "\"}");
                             static std::string unknown(500000, 'x');
                             static ProtobufCMessageUnknownField field = {99, PROTOBUF_C_WIRE_TYPE_64BIT,
                                                                          unknown.size(),
                                                                          reinterpret_cast<uint8_t *>(unknown.data())};
                             s.spec.base.n_unknown_fields = 1;
                             s.spec.base.unknown_fields = &field;
                         },
                         "spec: is 4"},
                    Case{"thousand_and_one",
                         [](Spec &s) {
                             for (int i = 0; i < 1001; i++)
                                 s.add_service(std::to_string(i));
                         },
                         "services: has 1001 entries; at most 1000"}),
    [](const auto &test) { return test.param.name; });

TEST(SpecNormalise, StripsTrailingSlashes)
{
    Spec spec;
    spec.set(spec.spec.tunnel_url, "http://a/b//");
    spec.set(spec.add_service("s")->url, "https://c/");
    spec.add_service("t"); // its url is protobuf-c's constant, which nobody may write to
    spec_normalise(&spec.spec);
    EXPECT_STREQ(spec.spec.tunnel_url, "http://a/b");
    EXPECT_STREQ(spec.services[0]->url, "https://c");
    EXPECT_STREQ(spec.services[1]->url, "");
}

TEST(SpecType, ExplicitThenGpuThenEdgeThenStorageThenCpu)
{
    Spec spec;
    auto &c = spec.capabilities;
    EXPECT_EQ(spec_type(&spec.spec), MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU);
    c.has_storage = true;
    EXPECT_EQ(spec_type(&spec.spec), MUSTER__V1__WORKER_TYPE__WORKER_TYPE_STORAGE);
    c.has_public_ip = true;
    EXPECT_EQ(spec_type(&spec.spec), MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE);
    c.has_public_ip = false;
    c.has_edge = true;
    EXPECT_EQ(spec_type(&spec.spec), MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE);
    c.has_gpu = true;
    EXPECT_EQ(spec_type(&spec.spec), MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU);
    spec.spec.worker_type = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU;
    EXPECT_EQ(spec_type(&spec.spec), MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU);
    spec.spec.worker_type = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_UNSPECIFIED;
    spec.spec.capabilities = nullptr;
    EXPECT_EQ(spec_type(&spec.spec), MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU);
}

} // namespace
