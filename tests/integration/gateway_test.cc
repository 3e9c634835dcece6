// The REST contract, endpoint by endpoint, over a real coordinator.

#include "tests/integration/coordinator.h"

#include <gtest/gtest.h>

#include <zlib.h>

namespace
{

class Gateway : public ::testing::Test
{
  protected:
    static void SetUpTestSuite()
    {
        coordinator = new Coordinator({.flags = {}, .environment = {"ALLOWED_ORIGINS=https://a.org,https://b.org"}});
        ASSERT_TRUE(coordinator->start()) << coordinator->log();
    }
    static void TearDownTestSuite()
    {
        EXPECT_EQ(coordinator->restarts("muster-gateway"), 0) << coordinator->log();
        EXPECT_EQ(coordinator->stop(), 0) << coordinator->log();
        EXPECT_EQ(coordinator->log().find("Sanitizer"), std::string::npos) << coordinator->log();
        delete coordinator;
        coordinator = nullptr;
    }
    static Response remove(const std::string &id)
    {
        return coordinator->request("/api/worker/unregister/" + id, {.method = "DELETE"});
    }
    static Response put_worker(const std::string &id, const std::string &more = "")
    {
        return coordinator->post("/api/worker/register",
                                 R"({"worker_id": ")" + id + R"(", "tunnel_url": "http://127.0.0.1:9")" + more + "}");
    }
    static Json listed(const std::string &id)
    {
        return coordinator->get("/api/coordinator/workers").json()["workers"].find("worker_id", id);
    }
    static Coordinator *coordinator;
};

Coordinator *Gateway::coordinator = nullptr;

TEST_F(Gateway, RegistersAndUnregisters)
{
    Response answer = put_worker("g1", R"(, "worker_type": "auto", "location": "uk",
        "capabilities": {"has_gpu": true,  "gpu_type": "RTX 4090", "own": [1.50]}, "services": ["mine"])");
    ASSERT_EQ(answer.status, 200) << answer.described();
    Json body = answer.json();
    EXPECT_EQ(body["status"].text(), "registered");
    EXPECT_EQ(body["worker_id"].text(), "g1");
    EXPECT_EQ(body["worker_type"].text(), "gpu");
    EXPECT_EQ(body["tier"].integer(), 1);
    EXPECT_GE(body["assigned_services"].size(), 2u);
    EXPECT_EQ(body["service_configs"].size(), body["assigned_services"].size());
    EXPECT_EQ(body["service_configs"][0]["name"].text(), body["assigned_services"][0].text());
    EXPECT_GT(body["service_configs"][0]["port"].integer(), 0);
    // Of every service, assigned or not: a worker may be called directly by any name.
    std::map<std::string, std::string> aliases;
    for (size_t i = 0; i < body["service_aliases"].size(); i++)
        aliases[body["service_aliases"][i]["aliases"][0].text()] = body["service_aliases"][i]["name"].text();
    EXPECT_EQ(aliases["upload"], "document-processing");
    EXPECT_EQ(aliases["rag"], "rag-embeddings");
    EXPECT_EQ(body["heartbeat_interval"].integer(), 30);
    EXPECT_EQ(body["heartbeat_stream"].text(), coordinator->address("muster-health"));
    long long incarnation = body["incarnation"].integer();
    EXPECT_GE(incarnation, 1);
    EXPECT_NE(body["message"].text(), "");

    Response list = coordinator->get("/api/coordinator/workers");
    EXPECT_NE(list.body.find(R"("capabilities":{"has_gpu": true,  "gpu_type": "RTX 4090", "own": [1.50]})"),
              std::string::npos)
        << "byte for byte: " << list.body;
    Json worker = listed("g1");
    EXPECT_EQ(worker["status"].text(), "online");
    EXPECT_EQ(worker["services"][0]["name"].text(), "mine");
    EXPECT_EQ(put_worker("g1").json()["incarnation"].integer(), incarnation + 1);

    EXPECT_EQ(remove("g1").status, 200);
    EXPECT_TRUE(listed("g1").is_null());
    Response again = remove("g1");
    EXPECT_EQ(again.status, 404);
    EXPECT_EQ(again.json()["error"].text(), "unknown_worker");
}

// Or else a worker that is well would be taken for one that is late.
TEST(Timeouts, WorkersAreAskedForMoreHeartbeatsWhenTheyAreSoonLate)
{
    Coordinator coordinator({.environment = {"HEARTBEAT_TIMEOUT_SECONDS=12", "WORKER_TIMEOUT_SECONDS=20"}});
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    Response answer =
        coordinator.post("/api/worker/register", R"({"worker_id": "w", "tunnel_url": "http://127.0.0.1:9"})");
    EXPECT_EQ(answer.json()["heartbeat_interval"].integer(), 4) << answer.described();
}

TEST_F(Gateway, MakesUpAnId)
{
    Json body = coordinator->post("/api/worker/register", R"({"url": "http://127.0.0.1:9"})").json();
    std::string id = body["worker_id"].text();
    EXPECT_NE(id, "");
    EXPECT_FALSE(listed(id).is_null());
    EXPECT_EQ(remove(id).status, 200);
}

TEST_F(Gateway, OddIdsAreKeptExactly)
{
    // A backslash in a path is refused, however it is encoded: such an id is left out here.
    for (const std::string &id :
         {std::string(R"(quote\"d)"), std::string("sp ace"), std::string("ünï😀"), std::string(256, 'x')}) {
        Response answer = put_worker(id);
        ASSERT_EQ(answer.status, 200) << answer.described();
        std::string kept = answer.json()["worker_id"].text();
        EXPECT_EQ(listed(kept)["worker_id"].text(), Json::parse("[\"" + id + "\"]")[0].text());
        std::string encoded;
        for (unsigned char c : kept) {
            char hex[4];
            snprintf(hex, sizeof hex, "%%%02X", c);
            encoded += hex;
        }
        EXPECT_EQ(remove(encoded).status, 200) << kept;
    }
}

TEST_F(Gateway, HeartbeatsShowAtOnce)
{
    Response registered = put_worker("h1");
    ASSERT_EQ(registered.status, 200);
    std::string incarnation = std::to_string(registered.json()["incarnation"].integer());
    Response answer = coordinator->post("/api/worker/heartbeat", R"({"worker_id": "h1", "status": "degraded",
        "current_load": 0.42, "available_memory": "24.5GB", "gpu_utilization": 65.3, "active_requests": 2,
        "queue_depth": 1, "loaded_models": ["llama3.2"], "specialization": "vllm",
        "services_status": {"x": "running"}, "tasks_completed": 7, "incarnation": )" +
                                                                     incarnation + "}");
    ASSERT_EQ(answer.status, 200) << answer.described();
    EXPECT_EQ(answer.json()["status"].text(), "ok");
    Json worker = listed("h1");
    EXPECT_EQ(worker["status"].text(), "degraded");
    EXPECT_EQ(worker["current_load"].number(), 0.42);
    EXPECT_EQ(worker["available_memory"].text(), "24.5GB");
    EXPECT_EQ(worker["gpu_utilization"].number(), 65.3);
    EXPECT_EQ(worker["active_requests"].integer(), 2);
    EXPECT_EQ(worker["queue_depth"].integer(), 1);
    EXPECT_EQ(worker["loaded_models"][0].text(), "llama3.2");
    EXPECT_EQ(worker["specialization"].text(), "vllm");
    EXPECT_EQ(worker["services_status"]["x"].text(), "running");
    EXPECT_EQ(worker["tasks_completed"].integer(), 7);
    EXPECT_EQ(coordinator->post("/api/worker/heartbeat", R"({"worker_id": "h1", "status": "healthy"})").status, 200);
    EXPECT_EQ(listed("h1")["status"].text(), "online");
    EXPECT_EQ(listed("h1")["current_load"].number(), 0.42) << "what was not said stays";
    EXPECT_EQ(remove("h1").status, 200);
    Response unknown = coordinator->post("/api/worker/heartbeat", R"({"worker_id": "h1"})");
    EXPECT_EQ(unknown.status, 404) << unknown.described();
}

TEST_F(Gateway, ReadsItsOwnWrites)
{
    HttpClient first, second; // on connections, and so perhaps threads, of their own
    const auto post = [&](const std::string &path, const std::string &body) {
        return first.request(coordinator->url() + path, {.method = "POST", .body = body});
    };
    const auto worker = [&](const std::string &id) {
        return second.request(coordinator->url() + "/api/coordinator/workers").json()["workers"].find("worker_id", id);
    };
    for (int round = 0; round < 200; round++) {
        std::string id = "rw" + std::to_string(round % 3);
        double load = round / 1000.0;
        ASSERT_EQ(post("/api/worker/register",
                       R"({"worker_id": ")" + id + R"(", "tunnel_url": "http://h", "services": ["rw-service"]})")
                      .status,
                  200);
        ASSERT_FALSE(worker(id).is_null()) << "round " << round;
        ASSERT_EQ(second.request(coordinator->url() + "/api/worker/find/rw-service").status, 200);
        Response beat = post("/api/worker/heartbeat",
                             R"({"worker_id": ")" + id + R"(", "current_load": )" + std::to_string(load) + "}");
        ASSERT_EQ(beat.status, 200) << "round " << round << ": " << beat.described();
        ASSERT_EQ(worker(id)["current_load"].number(), load) << "round " << round;
        ASSERT_EQ(first.request(coordinator->url() + "/api/worker/unregister/" + id, {.method = "DELETE"}).status, 200);
        ASSERT_TRUE(worker(id).is_null()) << "round " << round;
    }
}

TEST_F(Gateway, FindsAndDiscovers)
{
    EXPECT_EQ(coordinator->get("/api/worker/find/fd-service").status, 503);
    ASSERT_EQ(put_worker("f1", R"(, "services": [{"name": "fd-service", "url": "http://127.0.0.1:7/x"}])").status, 200);
    ASSERT_EQ(put_worker("f2", R"(, "services": ["fd-service"])").status, 200);
    coordinator->post("/api/worker/heartbeat", R"({"worker_id": "f1", "current_load": 0.9})");
    coordinator->post("/api/worker/heartbeat", R"({"worker_id": "f2", "current_load": 0.1})");
    Json found = coordinator->get("/api/worker/find/fd-service").json();
    EXPECT_EQ(found["worker_id"].text(), "f2");
    EXPECT_EQ(found["worker_url"].text(), "http://127.0.0.1:9");
    EXPECT_EQ(found["service"].text(), "fd-service");
    Json discovery = coordinator->get("/api/services/discover/fd-service").json();
    EXPECT_EQ(discovery["count"].integer(), 2);
    EXPECT_EQ(discovery["recommended"].text(), "f2");
    EXPECT_EQ(discovery["workers"][1]["worker_id"].text(), "f1");
    EXPECT_EQ(discovery["workers"][1]["tunnel_url"].text(), "http://127.0.0.1:7/x");
    EXPECT_EQ(discovery["workers"][1]["load"].number(), 0.9);
    Response none = coordinator->get("/api/services/discover/nothing-at-all");
    EXPECT_EQ(none.status, 503);
    EXPECT_NE(none.header("retry-after"), "");
    Json services = coordinator->get("/api/services/list").json();
    EXPECT_EQ(services["services"]["fd-service"]["healthy_workers"].integer(), 2);
    EXPECT_EQ(services["services"]["vision-ocr"]["requires"].text(), "gpu");
    EXPECT_EQ(services["services"]["vision-ocr"]["tier"].integer(), 1);
    Json of = coordinator->get("/api/admin/services").json()["services"].find("name", "fd-service");
    EXPECT_EQ(of["worker_count"].integer(), 2);
    remove("f1");
    remove("f2");
}

TEST_F(Gateway, DrainsAndUndrains)
{
    ASSERT_EQ(put_worker("d1", R"(, "services": ["d-service"])").status, 200);
    EXPECT_EQ(coordinator->post("/api/admin/workers/d1/drain", "").status, 200);
    EXPECT_TRUE(listed("d1").is_null());
    EXPECT_EQ(coordinator->worker("d1")["status"].text(), "draining");
    EXPECT_EQ(coordinator->get("/api/worker/find/d-service").status, 503);
    EXPECT_EQ(coordinator->post("/api/admin/workers/d1/undrain", "").status, 200);
    EXPECT_EQ(listed("d1")["status"].text(), "online");
    EXPECT_EQ(coordinator->post("/api/admin/workers/nobody/drain", "").status, 404);
    remove("d1");
}

TEST_F(Gateway, AdminLists)
{
    ASSERT_EQ(put_worker("a1", R"(, "worker_type": "storage")").status, 200);
    Json workers = coordinator->get("/api/admin/workers").json();
    EXPECT_EQ(workers["total"].integer(), 1);
    EXPECT_EQ(workers["healthy"].integer(), 1);
    EXPECT_TRUE(workers["workers"][0]["is_healthy"].boolean());
    EXPECT_GE(workers["workers"][0]["age_seconds"].number(), 0);
    Json gaps = coordinator->get("/api/admin/gaps").json();
    EXPECT_EQ(gaps["summary"]["total_services"].integer(), 14);
    EXPECT_EQ(gaps["gaps"].size(), 14u);
    EXPECT_EQ(gaps["gaps"][0]["status"].text(), "critical");
    EXPECT_EQ(gaps["gaps"][0]["priority"].integer(), 1);
    EXPECT_EQ(gaps["gaps"].find("service", "chromadb")["status"].text(), "warning");
    EXPECT_EQ(gaps["gaps"].find("service", "chromadb")["current_workers"].integer(), 1);
    Json stats = coordinator->get("/api/admin/stats").json();
    EXPECT_EQ(stats["total_workers"].integer(), 1);
    EXPECT_EQ(stats["by_tier"]["3"].integer(), 1);
    remove("a1");
}

std::string unpacked(const std::string &packed, size_t limit = 1 << 20)
{
    std::string text(limit, '\0');
    z_stream stream = {};
    inflateInit2(&stream, 15 + 16);
    stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(packed.data()));
    stream.avail_in = static_cast<uInt>(packed.size());
    stream.next_out = reinterpret_cast<Bytef *>(text.data());
    stream.avail_out = static_cast<uInt>(text.size());
    int result = inflate(&stream, Z_FINISH);
    text.resize(result == Z_STREAM_END ? stream.total_out : 0);
    inflateEnd(&stream);
    return text;
}

TEST_F(Gateway, ListsAreNotSentTwiceAndPackedOnRequest)
{
    for (int i = 0; i < 10; i++)
        ASSERT_EQ(put_worker("e" + std::to_string(i)).status, 200);
    // The health process reports the new workers once; after that nothing changes.
    Response plain, packed;
    ASSERT_TRUE(eventually([&] {
        plain = coordinator->get("/api/coordinator/workers");
        packed = coordinator->request("/api/coordinator/workers", {.headers = {"Accept-Encoding: gzip"}});
        return coordinator->request("/api/coordinator/workers", {.headers = {"If-None-Match: " + plain.header("etag")}})
                       .status == 304 &&
               packed.header("etag") == plain.header("etag");
    })) << packed.header("etag")
        << " " << plain.header("etag");
    EXPECT_EQ(packed.header("content-encoding"), "gzip");
    EXPECT_EQ(unpacked(packed.body), plain.body);
    ASSERT_EQ(remove("e0").status, 200);
    Response changed =
        coordinator->request("/api/coordinator/workers", {.headers = {"If-None-Match: " + plain.header("etag")}});
    EXPECT_EQ(changed.status, 200);
    EXPECT_NE(changed.header("etag"), plain.header("etag"));
    for (int i = 1; i < 10; i++)
        remove("e" + std::to_string(i));
}

TEST_F(Gateway, ErrorsNameTheirCause)
{
    Response big = coordinator->post("/api/worker/heartbeat", std::string(8 << 20, ' '));
    EXPECT_EQ(big.status, 413) << big.described();
    EXPECT_NE(big.json()["message"].text(), "");
    // A page that may call can read it, though no handler answered.
    Request from_page = {.method = "POST", .headers = {"Origin: https://a.org"}};
    from_page.body = std::string(70000, ' ');
    Response read = coordinator->request("/api/worker/heartbeat", from_page);
    EXPECT_EQ(read.status, 413) << read.described();
    EXPECT_EQ(read.header("access-control-allow-origin"), "https://a.org");
    Response method = coordinator->request("/api/worker/heartbeat", {.method = "DELETE"});
    EXPECT_EQ(method.status, 405);
    EXPECT_EQ(method.header("allow"), "POST, OPTIONS");
    EXPECT_EQ(method.json()["error"].text(), "method_not_allowed");
    EXPECT_EQ(coordinator->get("/api/admin/nothing").json()["error"].text(), "not_found");
    const auto beat = [](long long incarnation) {
        return coordinator->post("/api/worker/heartbeat",
                                 R"({"worker_id": "s1", "incarnation": )" + std::to_string(incarnation) + "}");
    };
    long long first = put_worker("s1").json()["incarnation"].integer();
    long long second = put_worker("s1").json()["incarnation"].integer();
    EXPECT_EQ(second, first + 1);
    Response stale = beat(first);
    EXPECT_EQ(stale.status, 409) << stale.described();
    EXPECT_EQ(stale.json()["error"].text(), "stale_incarnation");
    EXPECT_EQ(beat(second).status, 200);
    remove("s1");
}

TEST_F(Gateway, WhatIsExportedCanBeImported)
{
    ASSERT_EQ(put_worker("x1", R"(, "services": ["own"], "capabilities": {"own":[1,  2e3]})").status, 200);
    ASSERT_EQ(put_worker("x2").status, 200);
    ASSERT_EQ(coordinator->post("/api/admin/workers/x2/drain", "").status, 200);
    Response exported = coordinator->get("/api/admin/export");
    Response listed_all = coordinator->get("/api/admin/workers");
    EXPECT_EQ(exported.json()["total"].integer(), 2);
    Json record = exported.json()["workers"].find("worker_id", "x1");
    // Nothing is imported twice.
    Json again = coordinator->post("/api/admin/import", exported.body).json();
    EXPECT_EQ(again["imported"].integer(), 0);
    EXPECT_EQ(again["skipped"].size(), 2u);
    EXPECT_EQ(again["skipped"][0]["reason"].text(), "is on the roll already");
    for (const std::string &backup : {exported.body, listed_all.body, exported.json()["workers"].dump()}) {
        remove("x1");
        remove("x2");
        Response imported = coordinator->post("/api/admin/import", backup);
        EXPECT_EQ(imported.status, 200) << imported.described();
        EXPECT_EQ(imported.json()["imported"].integer(), 2) << imported.described();
        // Read at once: a client reads its own writes.
        Json worker = coordinator->worker("x1");
        EXPECT_FALSE(worker.is_null());
        for (const char *member : {"tunnel_url", "capabilities", "services", "assigned_services", "registered_at"})
            EXPECT_EQ(worker[member].dump(), record[member].dump()) << member;
        EXPECT_GE(worker["incarnation"].integer(), record["incarnation"].integer());
        EXPECT_EQ(coordinator->get("/api/admin/export").json()["workers"].find("worker_id", "x2")["draining"].dump(),
                  "true");
    }
    remove("x1");
    remove("x2");
}

TEST_F(Gateway, ABackupThatIsCutOrWrongIsToldSo)
{
    const std::string good = R"({"worker_id": "c1", "url": "http://127.0.0.1:9/c1"})";
    Response cut = coordinator->post("/api/admin/import", "[" + good + R"(, {"worker_id": "c2", "ur)");
    EXPECT_EQ(cut.status, 400) << cut.described();
    EXPECT_NE(cut.json()["message"].text().find("1 workers were imported and 0 skipped"), std::string::npos);
    Response wrong = coordinator->post("/api/admin/import", "[" + good + R"(, {"worker_id": "c2"}, 5, {"url": 5},
        {"worker_id": "c3", "url": "http://x", "registered_at": "tomorrow"}])");
    EXPECT_EQ(wrong.status, 200) << wrong.described();
    EXPECT_EQ(wrong.json()["imported"].integer(), 0);
    EXPECT_EQ(wrong.json()["skipped_total"].integer(), 5);
    EXPECT_EQ(wrong.json()["skipped"].find("worker_id", "c2")["reason"].text(), "field tunnel_url is required");
    EXPECT_NE(wrong.json()["skipped"].find("worker_id", "c3")["reason"].text().find("registered_at"),
              std::string::npos);
    for (const char *body : {"", "five", R"({"workers": five})", R"({"a": 1)", "[] []", "[{]"})
        EXPECT_EQ(coordinator->post("/api/admin/import", body).status, 400) << body;
    for (auto [body, problem] : {std::pair{"5", "the body must be an array or an object"},
                                 {R"( "list" )", "the body must be an array or an object"},
                                 {"{}", "field workers is required"},
                                 {R"({"total": 0})", "field workers is required"},
                                 {R"({"workers": 5})", "field workers must be an array"},
                                 {R"({"workers": {}, "total": 0})", "field workers must be an array"}}) {
        Response refused = coordinator->post("/api/admin/import", body);
        EXPECT_EQ(refused.status, 422) << body << refused.described();
        EXPECT_EQ(refused.json()["error"].text(), "invalid_field") << body;
        EXPECT_EQ(refused.json()["message"].text().rfind(problem, 0), 0u) << refused.described();
    }
    remove("c1");
}

// Longer than a chunk, than the buffers between, and than the limit of other bodies.
TEST_F(Gateway, ImportsAndExportsThousands)
{
    const int count = 2500;
    std::string body = "{\"workers\": [";
    for (int i = 0; i < count; i++)
        body += (i > 0 ? ",\n" : "") + std::string("{\"worker_id\": \"m") + std::to_string(i) +
                R"(", "url": "http://127.0.0.1:9", "capabilities": {"pad": ")" + std::string(2000, 'x') + "\"}}";
    body += "]}";
    ASSERT_GT(body.size(), 4u << 20);
    Response imported = coordinator->post("/api/admin/import", body);
    ASSERT_EQ(imported.status, 200) << imported.described();
    EXPECT_EQ(imported.json()["imported"].integer(), count);
    Json again = coordinator->post("/api/admin/import", body).json();
    EXPECT_EQ(again["imported"].integer(), 0);
    EXPECT_EQ(again["skipped_total"].integer(), count);
    EXPECT_EQ(again["skipped"].size(), 1000u) << "the list is bounded";
    // So long a list is packed beside the loop.
    Response packed = coordinator->request("/api/admin/workers", {.headers = {"Accept-Encoding: gzip"}});
    EXPECT_EQ(packed.header("content-encoding"), "gzip");
    EXPECT_EQ(Json::parse(unpacked(packed.body, 16 << 20))["total"].integer(), count);
    Response exported = coordinator->get("/api/admin/export");
    EXPECT_EQ(exported.json()["total"].integer(), count);
    EXPECT_EQ(exported.json()["workers"].size(), (size_t)count);
    for (int i = 0; i < count; i++)
        ASSERT_EQ(remove("m" + std::to_string(i)).status, 200);
}

// More workers than a list is held whole for.
TEST(LongRoll, ItsListsArePackedPieceByPiece)
{
    Coordinator coordinator({.flags = {}, .environment = {}});
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    const int count = 10001;
    std::string body = "[";
    for (int i = 0; i < count; i++)
        body += (i > 0 ? "," : "") + std::string("{\"worker_id\": \"m") + std::to_string(i) +
                R"(", "url": "http://127.0.0.1:9"})";
    ASSERT_EQ(coordinator.post("/api/admin/import", body + "]").json()["imported"].integer(), count);
    for (const char *path : {"/api/admin/workers", "/api/admin/export"}) {
        Response packed = coordinator.request(path, {.headers = {"Accept-Encoding: gzip"}});
        ASSERT_EQ(packed.header("content-encoding"), "gzip") << path;
        EXPECT_EQ(packed.header("vary"), "Accept-Encoding") << path;
        Json list = Json::parse(unpacked(packed.body, 64 << 20));
        EXPECT_EQ(list["total"].integer(), count) << path;
        EXPECT_EQ(list["workers"].size(), (size_t)count) << path;
        Response plain = coordinator.get(path);
        EXPECT_EQ(plain.header("content-encoding"), "") << path;
        EXPECT_EQ(plain.json()["workers"].size(), (size_t)count) << path;
        EXPECT_LT(packed.body.size(), plain.body.size() / 4) << path;
    }
    EXPECT_EQ(coordinator.stop(), 0) << coordinator.log();
}

TEST_F(Gateway, PagesAndWhatTheyAreMadeOf)
{
    Response index = coordinator->get("/");
    EXPECT_EQ(index.header("content-type"), "text/html; charset=utf-8");
    for (const char *link : {"/docs", "/redoc", "/health", "/metrics", "/openapi.json", "/api/admin/workers"})
        EXPECT_NE(index.body.find("<a href=\"" + std::string(link) + "\">"), std::string::npos) << link;
    EXPECT_EQ(index.header("content-security-policy").find("default-src 'self'"), 0u);
    for (const char *page : {"/docs", "/redoc", "/docs/assets/swagger.js", "/openapi.json"}) {
        Response plain = coordinator->get(page);
        EXPECT_EQ(plain.status, 200) << page;
        EXPECT_EQ(plain.header("cache-control"), "no-cache") << page;
        Response known = coordinator->request(page, {.headers = {"If-None-Match: " + plain.header("etag")}});
        EXPECT_EQ(known.status, 304) << page;
        Response packed = coordinator->request(page, {.headers = {"Accept-Encoding: gzip"}});
        EXPECT_EQ(packed.header("etag"), plain.header("etag"));
        bool is_packed = packed.header("content-encoding") == "gzip";
        EXPECT_EQ(is_packed ? unpacked(packed.body) : packed.body, plain.body) << page;
        bool is_page = std::string(page) != "/openapi.json";
        EXPECT_EQ(plain.header("content-security-policy").find("default-src 'self'") == 0, is_page) << page;
    }
    std::string version = coordinator->get("/docs/assets/swagger.js").header("etag").substr(3, 16);
    EXPECT_EQ(coordinator->get("/docs/assets/swagger.js?v=" + version).header("cache-control"),
              "public, max-age=31536000, immutable");
    EXPECT_EQ(coordinator->get("/docs/assets/swagger.js?v=0").header("cache-control"), "no-cache");
    EXPECT_EQ(coordinator->get("/docs/assets/nothing.js").status, 404);
    EXPECT_EQ(coordinator->get("/docs/assets/" + std::string(200, 'x')).status, 404);
}

TEST_F(Gateway, RequestIds)
{
    Response given = coordinator->request("/health", {.headers = {"X-Request-Id: mine-1"}});
    EXPECT_EQ(given.header("x-request-id"), "mine-1");
    Response insane = coordinator->request("/health", {.headers = {"X-Request-Id: not sane!"}});
    EXPECT_NE(insane.header("x-request-id"), "not sane!");
    EXPECT_NE(insane.header("x-request-id"), "");
}

TEST_F(Gateway, PagesOfAllowedOriginsMayCall)
{
    Response allowed = coordinator->request("/health", {.headers = {"Origin: https://b.org"}});
    EXPECT_EQ(allowed.header("access-control-allow-origin"), "https://b.org");
    Response other = coordinator->request("/health", {.headers = {"Origin: https://c.org"}});
    EXPECT_EQ(other.header("access-control-allow-origin"), "");
    Response preflight = coordinator->request(
        "/api/service/ocr/x",
        {.method = "OPTIONS", .headers = {"Origin: https://a.org", "Access-Control-Request-Method: POST"}});
    EXPECT_EQ(preflight.status, 204) << preflight.described();
    EXPECT_EQ(preflight.header("access-control-max-age"), "86400");
    EXPECT_EQ(preflight.header("access-control-allow-origin"), "https://a.org");
    EXPECT_NE(preflight.header("access-control-allow-headers").find("X-API-Key"), std::string::npos);
    Response error = coordinator->request("/nothing", {.headers = {"Origin: https://a.org"}});
    EXPECT_EQ(error.header("access-control-allow-origin"), "https://a.org") << "errors too";
}

TEST_F(Gateway, Operations)
{
    ASSERT_EQ(put_worker("o1").status, 200);
    ASSERT_EQ(coordinator->post("/api/worker/heartbeat", R"({"worker_id": "o1"})").status, 200);
    Json health = coordinator->get("/health").json();
    EXPECT_EQ(health["status"].text(), "healthy");
    EXPECT_NE(health["coordinator"].text(), "");
    EXPECT_EQ(health["workers"]["total"].integer(), 1);
    EXPECT_EQ(health["workers"]["active"].integer(), 1);
    EXPECT_EQ(health["workers"]["stale"].integer(), 0);
    EXPECT_EQ(coordinator->get("/healthz").status, 200);
    EXPECT_EQ(coordinator->get("/readyz").status, 200);
    Response head = coordinator->request("/healthz", {.method = "HEAD"});
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head.body, "");
    std::string metrics = coordinator->get("/metrics").body;
    for (const char *line :
         {"\ncoordinator_workers_total 1\n", "\ncoordinator_workers_active 1\n",
          "\n# TYPE coordinator_services_total gauge\n", "\n# TYPE coordinator_heartbeats_total counter\n",
          "gateway_requests_total{route=\"worker_register\",status=\"2xx\"}",
          "gateway_request_duration_seconds_bucket{route=\"health\",le=\"+Inf\"}",
          "gateway_part_up{part=\"registry\"} 1\n"})
        EXPECT_NE(metrics.find(line), std::string::npos) << line << " is not in\n" << metrics;
    // Health's count comes with its watch, a moment after the heartbeat was answered.
    EXPECT_TRUE(eventually([&] {
        std::string now = coordinator->get("/metrics").body;
        return now.find("\ncoordinator_heartbeats_total 0\n") == std::string::npos;
    }));
    remove("o1");
}

TEST_F(Gateway, GoesOnWithoutTheRegistry)
{
    ASSERT_EQ(put_worker("r1").status, 200);
    ASSERT_TRUE(coordinator->kill("muster-registry"));
    // musterctl restarts it within moments: whatever is asked meanwhile is answered well.
    ASSERT_TRUE(eventually([&] {
        // It may be "reconnecting", if health had not heard of it before the registry died.
        EXPECT_FALSE(coordinator->worker("r1").is_null());
        EXPECT_EQ(coordinator->get("/health").status, 200);
        Response answer = put_worker("r2");
        EXPECT_TRUE(answer.status == 200 || (answer.status == 503 && !answer.header("retry-after").empty()))
            << answer.described();
        return answer.status == 200;
    }));
    EXPECT_TRUE(eventually([&] { return coordinator->get("/health").json()["status"].text() == "healthy"; }));
    EXPECT_FALSE(listed("r2").is_null());
    remove("r1");
    remove("r2");
}

} // namespace
