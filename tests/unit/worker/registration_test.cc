/* The JSON of a registration, both ways. */

#include <gtest/gtest.h>
#include <jansson.h>

#include <string>

extern "C" {
#include "services/worker/registration.h"
}

namespace
{

TEST(Registration, SaysEverything)
{
    detect_machine_figures machine = {};
    machine.gpu.present = true;
    strcpy(machine.gpu.name, "RTX 4090");
    machine.gpu.memory_mib = 24564;
    machine.cores = 16;
    machine.memory.total_bytes = 64ull << 30;
    machine.disk_free_bytes = DETECT_STORAGE_BYTES + 1;
    detect_coordinator coordinator = {12.5, true};
    const char *services[] = {"ocr"};
    registration said = {};
    said.worker_id = "gpu-1";
    said.tunnel_url = "https://abc.example.com/base";
    said.worker_type = "auto";
    said.location = "uk";
    said.machine = &machine;
    said.coordinator = &coordinator;
    said.services = services;
    said.service_count = 1;
    buffer out = BUFFER_INIT;
    ASSERT_TRUE(registration_encode(&said, &out));
    json_t *body = json_loadb(out.data, out.bytes, 0, nullptr);
    json_t *expected = json_loads(
        R"({"worker_id": "gpu-1", "role": "worker", "tunnel_url": "https://abc.example.com/base",
            "worker_type": "auto", "location": "uk",
            "capabilities": {"has_gpu": true, "gpu_type": "RTX 4090", "gpu_memory": "24 GB", "cpu_cores": 16,
                             "ram": "64GB", "has_storage": true, "disk_free": "93.1GB", "has_edge": true,
                             "has_public_ip": false, "latency_ms": 12.5},
            "services": [{"name": "ocr", "url": "https://abc.example.com/base/service/ocr"}]})",
        0, nullptr);
    ASSERT_NE(expected, nullptr);
    EXPECT_TRUE(json_equal(body, expected)) << std::string(out.data, out.bytes);
    json_decref(body);
    json_decref(expected);
    buffer_clear(&out);
    said.location = "\xff";
    EXPECT_FALSE(registration_encode(&said, &out));
    buffer_free(&out);
}

bool decode(const std::string &body, registration_reply *reply)
{
    char error[200] = "";
    bool whole = registration_decode(body.data(), body.size(), reply, error, sizeof error);
    EXPECT_EQ(whole, error[0] == '\0') << body << error;
    return whole;
}

TEST(Registration, ReadsTheAnswerOfTheContract)
{
    registration_reply reply;
    ASSERT_TRUE(decode(
        R"({"status": "registered", "worker_id": "gpu-1", "worker_type": "gpu", "tier": 1,
            "assigned_services": ["llm-inference", "vision-ocr"],
            "service_configs": [{"name": "llm-inference", "port": 8105, "priority": 1},
                                {"port": 1}, 7,
                                {"name": "vision-ocr", "aliases": ["ocr", 3, "scan"]}],
            "service_aliases": [{"aliases": ["nobody"]}, {"name": "rag-embeddings", "aliases": ["rag"]}],
            "heartbeat_interval": 30, "heartbeat_stream": "10.0.0.5:7103", "incarnation": 4, "message": "m"})",
        &reply));
    EXPECT_STREQ(reply.worker_id, "gpu-1");
    EXPECT_STREQ(reply.worker_type, "gpu");
    EXPECT_EQ(reply.incarnation, 4u);
    EXPECT_EQ(reply.interval_ms, 30000u);
    EXPECT_STREQ(reply.stream, "10.0.0.5:7103");
    ASSERT_EQ(reply.assigned.count, 2u);
    EXPECT_STREQ(reply.assigned.names[1], "vision-ocr");
    ASSERT_EQ(reply.service_count, 3u);
    EXPECT_STREQ(reply.services[2].name, "rag-embeddings");
    ASSERT_EQ(reply.services[2].alias_count, 1u);
    EXPECT_STREQ(reply.services[2].aliases[0], "rag");
    EXPECT_EQ(reply.services[0].alias_count, 0u);
    ASSERT_EQ(reply.services[1].alias_count, 2u);
    EXPECT_STREQ(reply.services[1].aliases[1], "scan");
    registration_reply_free(&reply);
}

TEST(Registration, ReadsTheShortestAnswer)
{
    registration_reply reply;
    ASSERT_TRUE(decode(R"({"worker_id": "w"})", &reply));
    EXPECT_EQ(reply.incarnation, 0u);
    EXPECT_EQ(reply.interval_ms, 0u);
    EXPECT_EQ(reply.stream, nullptr);
    EXPECT_EQ(reply.assigned.count, 0u);
    registration_reply_free(&reply);
    ASSERT_TRUE(decode(R"({"worker_id": "w", "heartbeat_interval": 0.25, "heartbeat_stream": ""})", &reply));
    EXPECT_EQ(reply.interval_ms, 250u);
    EXPECT_EQ(reply.stream, nullptr);
    registration_reply_free(&reply);
    ASSERT_TRUE(decode(R"({"worker_id": "w", "heartbeat_interval": 1e300})", &reply));
    EXPECT_EQ(reply.interval_ms, 86400000u);
    registration_reply_free(&reply);
}

TEST(Registration, TakesATokenThatCanStandInAHeader)
{
    registration_reply reply;
    auto token = [&](const std::string &value) {
        EXPECT_TRUE(decode(R"({"worker_id": "w", "worker_token": )" + value + "}", &reply));
        std::string text = reply.token;
        registration_reply_free(&reply);
        return text;
    };
    EXPECT_EQ(token(R"("mw1.dw.1.abc")"), "mw1.dw.1.abc");
    for (const char *odd : {"null", "7", R"("")", R"("a b")", R"("a\r\nX: y")", R"("\u00e4")"})
        EXPECT_EQ(token(odd), "") << odd << ": the key will do";
    EXPECT_EQ(token("\"" + std::string(REGISTRATION_TOKEN_BYTES - 1, 'x') + "\"").size(),
              REGISTRATION_TOKEN_BYTES - 1u);
    EXPECT_EQ(token("\"" + std::string(REGISTRATION_TOKEN_BYTES, 'x') + "\""), "");
}

TEST(Registration, TellsWhoTookItAndWhoWould)
{
    registration_reply reply;
    ASSERT_TRUE(decode(R"({"worker_id": "w", "coordinator": {"id": "uk", "url": "http://uk"},
                           "fallback_coordinators": ["http://us", 7, null, {}, "nonsense"]})",
                       &reply));
    EXPECT_STREQ(reply.coordinator_url, "http://uk");
    ASSERT_EQ(reply.fallback_count, 2u);
    EXPECT_STREQ(reply.fallbacks[0], "http://us");
    EXPECT_STREQ(reply.fallbacks[1], "nonsense") << "judged elsewhere";
    registration_reply_free(&reply);
    for (const char *odd : {"", R"(, "coordinator": "http://uk", "fallback_coordinators": "http://us")",
                            R"(, "coordinator": {"url": 7}, "fallback_coordinators": {"a": "http://us"})"}) {
        ASSERT_TRUE(decode(std::string(R"({"worker_id": "w")") + odd + "}", &reply)) << odd;
        EXPECT_EQ(reply.coordinator_url, nullptr) << odd;
        EXPECT_EQ(reply.fallback_count, 0u) << odd;
        registration_reply_free(&reply);
    }
    std::string many = "\"http://f\"";
    for (int i = 0; i < REGISTRATION_FALLBACKS_MAX; i++)
        many += ",\"http://f\"";
    ASSERT_TRUE(decode(R"({"worker_id": "w", "fallback_coordinators": [)" + many + "]}", &reply));
    EXPECT_EQ(reply.fallback_count, size_t{REGISTRATION_FALLBACKS_MAX});
    registration_reply_free(&reply);
}

TEST(Registration, ReadsWhomAnEdgeRouterNames)
{
    auto read = [](const std::string &text) {
        registration_places places;
        std::string urls;
        if (!registration_decode_places(text.data(), text.size(), &places))
            return std::string("none");
        for (size_t i = 0; i < places.count; i++)
            urls += std::string(places.urls[i]) + " ";
        registration_places_free(&places);
        return urls;
    };
    EXPECT_EQ(read(R"({"coordinators": [{"url": "http://uk"}, 7, {}, {"url": 7}, null, {"url": "http://us"}]})"),
              "http://uk http://us ");
    EXPECT_EQ(read(R"({"coordinators": []})"), "");
    for (const char *odd : {"", "{", "[]", "7", "{}", R"({"coordinators": {"url": "http://uk"}})"})
        EXPECT_EQ(read(odd), "none") << odd;
    std::string many = R"({"url": "http://f"})", all;
    for (int i = 0; i < REGISTRATION_FALLBACKS_MAX; i++) {
        all += "http://f ";
        many += R"(, {"url": "http://f"})";
    }
    EXPECT_EQ(read(R"({"coordinators": [)" + many + "]}"), all);
}

TEST(Registration, RefusesWhatItCannotUse)
{
    registration_reply reply;
    for (const std::string body :
         {"", "{", "[]", "null", "{}", R"({"worker_id": ""})", R"({"worker_id": 1})", R"({"worker_id": "a b"})",
          R"({"worker_id": "w", "incarnation": "1"})", R"({"worker_id": "w", "incarnation": -1})",
          R"({"worker_id": "w", "heartbeat_interval": 0})", R"({"worker_id": "w", "heartbeat_interval": "x"})",
          R"({"worker_id": "w", "assigned_services": "ocr"})", R"({"worker_id": "w", "assigned_services": [1]})"})
        EXPECT_FALSE(decode(body, &reply)) << body;
    EXPECT_FALSE(decode(R"({"worker_id": ")" + std::string(257, 'x') + R"("})", &reply));
    EXPECT_FALSE(decode(R"({"worker_id": "w", "assigned_services": [")" + std::string(128, 'x') + R"("]})", &reply));
}

TEST(Registration, ReadsAnswersToHeartbeats)
{
    heartbeat_reply reply;
    auto read = [&](const std::string &body) {
        return registration_decode_heartbeat(body.data(), body.size(), &reply);
    };
    EXPECT_TRUE(read(R"({"status": "ok"})"));
    EXPECT_FALSE(reply.has_assignment);
    EXPECT_FALSE(reply.has_draining);
    EXPECT_TRUE(read(R"({"status": "ok", "assigned_services": ["ocr"]})"));
    EXPECT_TRUE(reply.has_assignment);
    EXPECT_STREQ(reply.assigned.names[0], "ocr");
    EXPECT_TRUE(read(R"({"assigned_services": [], "draining": true})"));
    EXPECT_TRUE(reply.has_assignment);
    EXPECT_EQ(reply.assigned.count, 0u);
    EXPECT_TRUE(reply.has_draining && reply.draining);
    EXPECT_TRUE(read(R"({"draining": false})"));
    EXPECT_TRUE(reply.has_draining && !reply.draining);
    EXPECT_TRUE(read(R"({"draining": "yes"})"));
    EXPECT_FALSE(reply.has_draining);
    EXPECT_FALSE(read(R"({"assigned_services": 3})"));
    EXPECT_FALSE(read("ok"));
}

TEST(Registration, TellsErrorsInWords)
{
    auto text = [](const std::string &body) {
        char out[300];
        registration_error_text(body.data(), body.size(), out, sizeof out);
        return std::string(out);
    };
    EXPECT_EQ(text(R"({"error": "x", "message": "do this"})"), "do this");
    EXPECT_EQ(text("<html>"), "<html>");
    EXPECT_EQ(text(std::string(1000, 'x')).size(), 200u);
    EXPECT_EQ(text(""), "");
}

TEST(Registration, IdsThatCanStandAnywhere)
{
    for (const char *id : {"gpu-1", "a", "A.b_c~/x", "x@y"})
        EXPECT_TRUE(registration_id_acceptable(id)) << id;
    for (const char *id : {"", "caf\xc3\xa9", "a b", "a\"b", "a\\b", "a\nb", "\x7f"})
        EXPECT_FALSE(registration_id_acceptable(id)) << id;
    EXPECT_TRUE(registration_id_acceptable(std::string(256, 'x').c_str()));
    EXPECT_FALSE(registration_id_acceptable(std::string(257, 'x').c_str()));
}

} // namespace
