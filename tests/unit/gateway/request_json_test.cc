// Bodies of REST requests: every field, every mistake with the name of its field.

extern "C" {
#include "gateway/request_json.h"
}

#include <gtest/gtest.h>

#include <string>

namespace
{

class Register : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        arena_init(&arena, nullptr, 0);
    }
    void TearDown() override
    {
        arena_free(&arena);
    }
    request_json_result parse(const std::string &body)
    {
        error = {};
        return register_request_from_json(body.data(), body.size(), &arena, &request, &is_worker, &error);
    }
    std::string mistake(const std::string &body)
    {
        request_json_result result = parse(body);
        return result == REQUEST_JSON_INVALID ? error.message
               : result == REQUEST_JSON_OK    ? "fine"
                                              : "result " + std::to_string(result);
    }
    struct arena arena;
    struct json_error error;
    Muster__V1__RegisterWorkerRequest *request;
    bool is_worker = false;
};

TEST_F(Register, TakesEveryField)
{
    const std::string capabilities =
        R"({"has_gpu": true, "gpu_type": "RTX 4090", "gpu_memory": "24 GB",  "cpu_cores": 16, "ram": "64GB", )"
        R"("has_storage": false, "has_edge": true, "has_public_ip": true, "latency_ms": 12.5, "own": [1e3, "\u00e9"]})";
    ASSERT_EQ(parse(R"({"worker_id": "gpu-1", "tunnel_url": "https://abc.example.com/", "worker_type": "gpu",)"
                    R"("location": "uk", "capabilities": )" +
                    capabilities +
                    R"(, "services": [{"name": "ocr", "url": "https://ocr.example.com/x//",)"
                    R"("capabilities": ["embeddings"]}, "llm"], "containers": [ {"id":"a"} ], "unknown": {"x": 1}})"),
              REQUEST_JSON_OK)
        << error.message;
    const Muster__V1__WorkerSpec *spec = request->spec;
    EXPECT_STREQ(spec->worker_id, "gpu-1");
    EXPECT_STREQ(spec->tunnel_url, "https://abc.example.com");
    EXPECT_EQ(spec->worker_type, MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU);
    EXPECT_STREQ(spec->location, "uk");
    ASSERT_NE(spec->capabilities, nullptr);
    EXPECT_EQ(spec->capabilities->json, capabilities) << "byte for byte";
    EXPECT_TRUE(spec->capabilities->has_gpu);
    EXPECT_STREQ(spec->capabilities->gpu_type, "RTX 4090");
    EXPECT_STREQ(spec->capabilities->gpu_memory, "24 GB");
    EXPECT_EQ(spec->capabilities->cpu_cores, 16u);
    EXPECT_STREQ(spec->capabilities->ram, "64GB");
    EXPECT_FALSE(spec->capabilities->has_storage);
    EXPECT_TRUE(spec->capabilities->has_edge);
    EXPECT_TRUE(spec->capabilities->has_public_ip);
    EXPECT_EQ(spec->capabilities->latency_ms, 12.5);
    ASSERT_EQ(spec->n_services, 2u);
    EXPECT_STREQ(spec->services[0]->name, "ocr");
    EXPECT_STREQ(spec->services[0]->url, "https://ocr.example.com/x");
    ASSERT_EQ(spec->services[0]->n_capabilities, 1u);
    EXPECT_STREQ(spec->services[0]->capabilities[0], "embeddings");
    EXPECT_STREQ(spec->services[1]->name, "llm");
    EXPECT_STREQ(spec->services[1]->url, "");
    EXPECT_STREQ(spec->containers_json, R"([ {"id":"a"} ])");
}

TEST_F(Register, NeedsLittle)
{
    ASSERT_EQ(parse(R"({"url": "http://127.0.0.1:8070"})"), REQUEST_JSON_OK) << error.message;
    EXPECT_STREQ(request->spec->worker_id, "");
    EXPECT_STREQ(request->spec->tunnel_url, "http://127.0.0.1:8070");
    EXPECT_EQ(request->spec->worker_type, MUSTER__V1__WORKER_TYPE__WORKER_TYPE_UNSPECIFIED);
    EXPECT_EQ(request->spec->capabilities, nullptr);
    EXPECT_EQ(parse(R"({"service_url": "http://h", "worker_id": null, "location": null, "worker_type": "auto"})"),
              REQUEST_JSON_OK);
}

TEST_F(Register, WhoSaysThatItIsAWorkerIsOne)
{
    for (const char *role : {"worker", "Worker", "edge_coordinator", ""}) {
        ASSERT_EQ(parse(std::string(R"({"url": "http://h", "worker_type": "edge", "role": ")") + role + "\"}"),
                  REQUEST_JSON_OK);
        EXPECT_EQ(is_worker, std::string(role) == "worker") << role;
    }
    ASSERT_EQ(parse(R"({"url": "http://h", "worker_type": "edge"})"), REQUEST_JSON_OK);
    EXPECT_FALSE(is_worker);
    EXPECT_EQ(mistake(R"({"url": "http://h", "role": 7})"), "field role must be a string, not a number");
}

TEST_F(Register, GpuIsAShortcut)
{
    ASSERT_EQ(parse(R"({"url": "http://h", "gpu": "RTX \"4090\""})"), REQUEST_JSON_OK);
    EXPECT_TRUE(request->spec->capabilities->has_gpu);
    EXPECT_STREQ(request->spec->capabilities->gpu_type, "RTX \"4090\"");
    EXPECT_STREQ(request->spec->capabilities->json, R"({"has_gpu":true,"gpu_type":"RTX \"4090\""})");
    ASSERT_EQ(parse(R"({"url": "http://h", "gpu": "A", "capabilities": { "ram" : "64GB" }})"), REQUEST_JSON_OK);
    EXPECT_STREQ(request->spec->capabilities->json, R"({"has_gpu":true,"gpu_type":"A", "ram" : "64GB" })");
    ASSERT_EQ(parse(R"({"url": "http://h", "gpu": "A", "capabilities": {}})"), REQUEST_JSON_OK);
    EXPECT_STREQ(request->spec->capabilities->json, R"({"has_gpu":true,"gpu_type":"A"})");
    ASSERT_EQ(parse(R"({"url": "http://h", "gpu": "A", "capabilities": {"gpu_type": "B", "has_gpu": true}})"),
              REQUEST_JSON_OK);
    EXPECT_STREQ(request->spec->capabilities->gpu_type, "B");
    EXPECT_STREQ(request->spec->capabilities->json, R"({"gpu_type": "B", "has_gpu": true})");
}

TEST_F(Register, NamesWhatIsWrong)
{
    EXPECT_EQ(mistake("[]"), "the body must be an object, not an array");
    EXPECT_EQ(mistake("{}"), "field tunnel_url is required");
    EXPECT_EQ(mistake(R"({"tunnel_url": 5})"), "field tunnel_url must be a string, not a number");
    const std::string url = "must be an http or https URL without credentials, query or fragment";
    for (const char *bad :
         {"", "abc", "ftp://h", "http://", "http://u:p@h", "http://h?x=1", "http://h#f", "http://h:99999"})
        EXPECT_EQ(mistake(R"({"tunnel_url": ")" + std::string(bad) + "\"}"), "field tunnel_url " + url) << bad;
    const auto with = [&](const std::string &field) { return mistake(R"({"url": "http://h", )" + field + "}"); };
    EXPECT_EQ(with(R"("worker_id": "")"), "field worker_id must not be empty");
    EXPECT_EQ(with(R"("worker_id": "a\nb")"), "field worker_id must not contain control characters");
    EXPECT_EQ(with(R"("worker_id": ")" + std::string(257, 'x') + "\""),
              "field worker_id must be at most 256 bytes long, not 257");
    EXPECT_EQ(with(R"("worker_id": ["a"])"), "field worker_id must be a string, not an array");
    EXPECT_EQ(with(R"("worker_type": "tpu")"), "field worker_type must be auto, gpu, cpu, storage or edge");
    EXPECT_EQ(with(R"("location": 7)"), "field location must be a string, not a number");
    EXPECT_EQ(with(R"("capabilities": [])"), "field capabilities must be an object, not an array");
    EXPECT_EQ(with(R"("capabilities": {"has_gpu": "yes"})"),
              "field capabilities.has_gpu must be a boolean, not a string");
    EXPECT_EQ(with(R"("capabilities": {"cpu_cores": -1})"),
              "field capabilities.cpu_cores must be a whole number from 0 to 4294967295");
    EXPECT_EQ(with(R"("capabilities": {"latency_ms": "x"})"),
              "field capabilities.latency_ms must be a number, not a string");
    EXPECT_EQ(with(R"("services": {"a": 1})"), "field services must be an array, not an object");
    EXPECT_EQ(with(R"("services": [1])"), "field services[0] must be a string or an object, not a number");
    EXPECT_EQ(with(R"("services": ["a", ""])"), "field services[1] must not be empty");
    EXPECT_EQ(with(R"("services": ["a", "b/c"])"),
              "field services[1] must not be . or .. or hold a slash or a backslash");
    EXPECT_EQ(with("\"services\": [\"a\", \"" + std::string(129, 'x') + "\"]"),
              "field services[1] must be at most 128 bytes long");
    EXPECT_EQ(with(R"("services": [{"name": "a", "capabilities": ["x", ""]}])"),
              "field services[0].capabilities[1] must not be empty");
    EXPECT_EQ(with(R"("location": "a\nb")"), "field location must not contain control characters");
    EXPECT_EQ(with(R"("services": [{"url": "http://x"}])"), "field services[0].name is required");
    EXPECT_EQ(with(R"("services": [{"name": "a", "url": "x"}])"), "field services[0].url " + url);
    EXPECT_EQ(with(R"("services": [{"name": "a", "capabilities": ["x", 1]}])"),
              "field services[0].capabilities[1] must be a string, not a number");
    EXPECT_EQ(with(R"("containers": {})"), "field containers must be an array, not an object");
    EXPECT_EQ(with(R"("gpu": true)"), "field gpu must be a string, not a boolean");
    std::string many = "\"services\": [\"x0\"";
    for (int i = 1; i <= 1000; i++)
        many += ",\"x" + std::to_string(i) + "\"";
    EXPECT_EQ(with(many + "]"), "field services must have at most 1000 items");
}

TEST_F(Register, MalformedIsAnotherMatter)
{
    for (const char *bad : {"", "{", "{\"a\": 1, \"a\": 2}", "{\"url\": \"\xff\"}", "null null"}) {
        EXPECT_EQ(parse(bad), REQUEST_JSON_MALFORMED) << bad;
        EXPECT_EQ(std::string(error.message).rfind("the body is not JSON: ", 0), 0u) << error.message;
    }
}

class HeartbeatBody : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        arena_init(&arena, nullptr, 0);
    }
    void TearDown() override
    {
        arena_free(&arena);
    }
    std::string parse(const std::string &body)
    {
        error = {};
        request_json_result result = heartbeat_from_json(body.data(), body.size(), &arena, &heartbeat, &error);
        return result == REQUEST_JSON_OK          ? "fine"
               : result == REQUEST_JSON_MALFORMED ? "malformed"
                                                  : std::string(error.message);
    }
    struct arena arena;
    struct json_error error;
    Muster__V1__Heartbeat *heartbeat;
};

TEST_F(HeartbeatBody, TakesEveryField)
{
    ASSERT_EQ(parse(R"({"worker_id": "gpu-1", "status": "healthy", "current_load": 0.42, "available_memory": "24.5GB",
        "gpu_utilization": 65.3, "active_requests": 2, "queue_depth": 3, "loaded_models": ["llama3.2", "b"],
        "specialization": "vllm", "services_status": {"vision-ocr": "running", "x": "failed"}, "tasks_completed": 7,
        "incarnation": 4, "answer_missed": true})"),
              "fine");
    EXPECT_STREQ(heartbeat->worker_id, "gpu-1");
    EXPECT_EQ(heartbeat->status, MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE);
    EXPECT_EQ(heartbeat->incarnation, 4u);
    EXPECT_TRUE(heartbeat->answer_missed);
    const Muster__V1__Load *load = heartbeat->load;
    ASSERT_NE(load, nullptr);
    EXPECT_EQ(load->current_load, 0.42);
    EXPECT_STREQ(load->available_memory, "24.5GB");
    EXPECT_EQ(load->gpu_utilization, 65.3);
    EXPECT_EQ(load->active_requests, 2u);
    EXPECT_EQ(load->queue_depth, 3u);
    ASSERT_EQ(load->n_loaded_models, 2u);
    EXPECT_STREQ(load->loaded_models[0], "llama3.2");
    EXPECT_STREQ(load->specialization, "vllm");
    ASSERT_EQ(load->n_services_status, 2u);
    EXPECT_STREQ(load->services_status[1]->name, "x");
    EXPECT_STREQ(load->services_status[1]->state, "failed");
    EXPECT_EQ(load->tasks_completed, 7u);
}

TEST_F(HeartbeatBody, OnlyTheIdIsNeeded)
{
    ASSERT_EQ(parse(R"({"worker_id": "a"})"), "fine");
    EXPECT_EQ(heartbeat->load, nullptr) << "load was not said, which is not the same as zero";
    EXPECT_EQ(heartbeat->status, MUSTER__V1__WORKER_STATUS__WORKER_STATUS_UNSPECIFIED);
    ASSERT_EQ(parse(R"({"worker_id": "a", "queue_depth": null, "status": "draining"})"), "fine");
    EXPECT_EQ(heartbeat->load, nullptr);
    EXPECT_EQ(heartbeat->status, MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DRAINING);
    ASSERT_EQ(parse(R"({"worker_id": "a", "queue_depth": 0, "status": "degraded"})"), "fine");
    EXPECT_NE(heartbeat->load, nullptr);
    EXPECT_EQ(heartbeat->status, MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DEGRADED);
}

TEST_F(HeartbeatBody, NamesWhatIsWrong)
{
    EXPECT_EQ(parse("{"), "malformed");
    EXPECT_EQ(parse("{}"), "field worker_id is required");
    EXPECT_EQ(parse(R"({"worker_id": 1})"), "field worker_id must be a string, not a number");
    const auto with = [&](const std::string &field) { return parse(R"({"worker_id": "a", )" + field + "}"); };
    EXPECT_EQ(with(R"("status": "fine")"), "field status must be healthy, online, degraded or draining");
    EXPECT_EQ(with(R"("status": 1)"), "field status must be a string, not a number");
    EXPECT_EQ(with(R"("answer_missed": 1)"), "field answer_missed must be a boolean, not a number");
    EXPECT_EQ(with(R"("current_load": "0.5")"), "field current_load must be a number, not a string");
    EXPECT_EQ(with(R"("current_load": -1)"), "field current_load must be from 0 to 1e+09");
    EXPECT_EQ(with(R"("available_memory": 24)"), "field available_memory must be a string, not a number");
    EXPECT_EQ(with(R"("active_requests": 1.5)"), "field active_requests must be a whole number from 0 to 4294967295");
    EXPECT_EQ(with(R"("loaded_models": "x")"), "field loaded_models must be an array, not a string");
    EXPECT_EQ(with(R"("services_status": {"ocr": 1})"),
              "field services_status.ocr must be a string of at most 1024 bytes");
    EXPECT_EQ(with(R"("incarnation": -1)"), "field incarnation must be a whole number from 0 to 9223372036854775807");
}

class ImportedWorker : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        arena_init(&arena, nullptr, 0);
    }
    void TearDown() override
    {
        arena_free(&arena);
    }
    std::string take(const std::string &text)
    {
        error = {};
        worker = nullptr;
        request_json_result result = import_worker_from_json(text.data(), text.size(), &arena, &worker, &error);
        return result == REQUEST_JSON_OK ? "" : error.message;
    }
    struct arena arena;
    struct json_error error;
    Muster__V1__Worker *worker = nullptr;
};

// As the service that this one replaces keeps them: with times of Python's, and members of its own.
TEST_F(ImportedWorker, IsOneOfAnOlderCoordinator)
{
    ASSERT_EQ(take(R"({"worker_id": "gpu-1", "tunnel_url": "https://a.example", "worker_type": "gpu", "tier": 1,)"
                   R"("capabilities": {"has_gpu": true, "gpu_type": null}, "services": [{"name": "ocr", "url": null}],)"
                   R"("registered_at": "2025-12-05T10:30:00.123456", "last_heartbeat": "2025-12-05T10:31:00",)"
                   R"("status": "online", "current_load": 0.2, "age_seconds": 3.5, "is_healthy": true})"),
              "");
    EXPECT_EQ(worker->registered_at_ms, 1764930600123);
    EXPECT_FALSE(worker->draining);
    EXPECT_STREQ(worker->spec->services[0]->name, "ocr");
    ASSERT_EQ(take(R"({"worker_id": "a", "url": "http://a", "registered_at": "2025-12-05T11:30:00+01:00"})"), "");
    EXPECT_EQ(worker->registered_at_ms, 1764930600000);
}

TEST_F(ImportedWorker, SaysItsIdWithWhatIsWrong)
{
    EXPECT_EQ(take(R"({"worker_id": "a", "url": "http://a", "registered_at": "yesterday"})"),
              "field registered_at must be a time like 2026-01-05T10:30:00.125Z");
    ASSERT_NE(worker, nullptr);
    EXPECT_STREQ(worker->spec->worker_id, "a");
    EXPECT_EQ(take(R"({"url": "http://a"})"), "field worker_id is required");
    EXPECT_EQ(take(R"({"worker_id": "a", "url": "http://a", "incarnation": 9007199254740993})"),
              "field incarnation must be a whole number from 0 to 9007199254740992");
    EXPECT_EQ(take(R"({"worker_id": "a", "url": "http://a", "incarnation": 9007199254740992})"), "");
    EXPECT_EQ(take(R"({"worker_id": "a", "url": "http://a", "assigned_services": [""]})"),
              "field assigned_services[0] must not be empty");
}

} // namespace
