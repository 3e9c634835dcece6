// The edge proxy for Cloudflare (gateway/edge/proxy), in workerd, beside real coordinators and workers. What goes wrong
// on the way is in tests/edge/workerd/proxy.test.mjs.

#include "tests/integration/fake_worker.h"
#include "tests/integration/script_gateway.h"

#include <gtest/gtest.h>

namespace
{

std::string registration(const std::string &id, const std::string &url, const std::string &services = "\"files\"")
{
    return R"({"worker_id": ")" + id + R"(", "tunnel_url": ")" + url + R"(", "services": [)" + services + "]}";
}

FakeWorker::Handler echoing()
{
    return [](FakeWorker::Connection &connection, const std::string &head) {
        return connection.write(FakeWorker::answer(head.substr(0, head.find("\r\n"))));
    };
}

std::vector<std::string> polling(const std::string &urls, const std::vector<std::string> &more = {})
{
    std::vector<std::string> settings = {"COORDINATOR_URL=" + urls, "POLL_SECONDS=0.2", "POLL_RETRY_SECONDS=0.1"};
    settings.insert(settings.end(), more.begin(), more.end());
    return settings;
}

TEST(EdgeProxyScript, ItServesByTheListWithTheCoordinatorOrWithout)
{
    FakeWorker machine(echoing());
    CoordinatorOptions options;
    options.data_dir = temporary_folder();
    options.flags = {"--coordinator-id", "uk"};
    auto coordinator = std::make_unique<Coordinator>(options);
    ASSERT_TRUE(coordinator->start()) << coordinator->log();
    std::string url = coordinator->url();
    ASSERT_EQ(
        coordinator->post("/api/worker/register", registration("m1", machine.url(), R"("vision-ocr", "files")")).status,
        200);
    ScriptGateway proxy("proxy", polling(url, {"ALLOWED_ORIGINS=https://page.example.org"}));
    ASSERT_TRUE(proxy.start()) << proxy.log();

    Response served = proxy.post("/api/service/ocr/page?x=1", "");
    EXPECT_EQ(served.body, "POST /api/ocr/page?x=1 HTTP/1.1") << served.described();
    EXPECT_EQ(served.header("x-served-by"), "m1");
    EXPECT_EQ(proxy.get("/service/files/a/b").body, "GET /a/b HTTP/1.1");
    EXPECT_EQ(proxy.get("/api/service/nothing").json()["error"].text(), "no_worker");
    Response list = proxy.get("/api/coordinator/workers", {.headers = {"Origin: https://page.example.org"}});
    EXPECT_EQ(list.json()["count"].integer(), 1) << list.described();
    EXPECT_EQ(list.json()["workers"][0]["coordinator"].text(), url);
    EXPECT_EQ(list.header("age"), "0");
    EXPECT_EQ(list.header("access-control-allow-origin"), "https://page.example.org");
    EXPECT_EQ(proxy.get("/api/services/discover/ocr").json()["recommended"].text(), "m1");
    EXPECT_EQ(proxy.get("/api/worker/find/files").json()["worker_id"].text(), "m1");
    EXPECT_EQ(proxy.get("/api/services/list").json()["services"]["files"]["healthy_workers"].integer(), 1);
    EXPECT_EQ(proxy.get("/health").json()["status"].text(), "healthy");

    // What is the coordinator's to say is the coordinator's, and a client reads its own writes.
    EXPECT_EQ(proxy.get("/api/admin/stats").json()["total_workers"].integer(), 1);
    ASSERT_EQ(proxy.post("/api/worker/register", registration("m2", machine.url(), "\"new\"")).status, 200);
    EXPECT_EQ(proxy.get("/api/coordinator/workers").json()["count"].integer(), 2);
    EXPECT_EQ(proxy.get("/service/new/x").body, "GET /x HTTP/1.1") << "at once";
    EXPECT_EQ(proxy.post("/api/worker/heartbeat", R"({"worker_id": "m2"})").status, 200);
    EXPECT_EQ(proxy.request("/api/worker/unregister/m2", {.method = "DELETE"}).status, 200);
    EXPECT_EQ(proxy.get("/api/coordinator/workers").json()["count"].integer(), 1);

    coordinator->cut_off();
    EXPECT_TRUE(eventually([&] { return proxy.get("/health").json()["lists"][0]["status"].text() == "unreachable"; }));
    EXPECT_TRUE(
        eventually([&] { return std::atoi(proxy.get("/api/coordinator/workers").header("age").c_str()) >= 1; }));
    EXPECT_EQ(proxy.post("/api/service/ocr", "").status, 200) << "requests go on";
    EXPECT_EQ(proxy.get("/readyz").status, 200);
    EXPECT_EQ(proxy.get("/api/admin/stats").json()["error"].text(), "no_coordinators");

    options.flags.insert(options.flags.end(), {"--port", url.substr(url.rfind(':') + 1)});
    Coordinator back(options);
    ASSERT_TRUE(back.start()) << back.log();
    EXPECT_TRUE(eventually([&] { return proxy.get("/health").json()["status"].text() == "healthy"; })) << proxy.log();
    EXPECT_EQ(proxy.get("/api/admin/stats").status, 200);
    EXPECT_EQ(proxy.stop(), 0) << proxy.log();
    EXPECT_EQ(back.stop(), 0);
}

// Muster's own workers.
TEST(EdgeProxyScript, RealWorkersServe)
{
    CoordinatorOptions options;
    options.flags = {"--demo-workers", "2"};
    Coordinator coordinator(options);
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    ScriptGateway proxy("proxy", polling(coordinator.url()));
    ASSERT_TRUE(proxy.start()) << proxy.log();
    Response served = proxy.post("/api/service/document-processing", "Is anybody there?");
    EXPECT_EQ(served.status, 200) << served.described();
    EXPECT_EQ(served.header("x-served-by").rfind("demo-", 0), 0u) << served.described();
}

TEST(EdgeProxyScript, AWorkerThatDiesIsReplacedInsideTheRequest)
{
    FakeWorker first(echoing()), second(echoing());
    auto third = std::make_unique<FakeWorker>(echoing());
    Coordinator coordinator;
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    ASSERT_EQ(coordinator.post("/api/worker/register", registration("a", first.url())).status, 200);
    ASSERT_EQ(coordinator.post("/api/worker/register", registration("b", second.url())).status, 200);
    ASSERT_EQ(coordinator.post("/api/worker/register", registration("c", third->url())).status, 200);
    ScriptGateway proxy("proxy", {"COORDINATOR_URL=" + coordinator.url()});
    ASSERT_TRUE(proxy.start()) << proxy.log();
    Traffic reads(proxy.url() + "/service/files/x", {});
    ASSERT_TRUE(reads.more(200));
    EXPECT_EQ(reads.served_by().size(), 3u) << "all have their share";
    third.reset();
    ASSERT_TRUE(reads.more(800));
    reads.stop();
    EXPECT_EQ(reads.failed(), 0u) << reads.failures();
    EXPECT_EQ(proxy.stop(), 0) << proxy.log();
    EXPECT_EQ(coordinator.stop(), 0);
}

TEST(EdgeProxyScript, ItAsksWithItsOwnKeyAndForItsOwn)
{
    FakeWorker machine(echoing());
    CoordinatorOptions options;
    options.environment = {"API_KEY=the-coordinators-key"};
    Coordinator coordinator(options);
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    ASSERT_EQ(coordinator
                  .request("/api/worker/register", {.method = "POST",
                                                    .body = registration("a", machine.url()),
                                                    .headers = {"X-API-Key: the-coordinators-key"}})
                  .status,
              200);
    ScriptGateway keyless("proxy", polling(coordinator.url()));
    ASSERT_TRUE(keyless.start()) << keyless.log();
    EXPECT_NE(keyless.get("/health").json()["lists"][0]["problem"].text().find("FEDERATION_KEY"), std::string::npos)
        << keyless.get("/health").body;
    EXPECT_EQ(keyless.stop(), 0);
    ScriptGateway proxy(
        "proxy", polling(coordinator.url(), {"API_KEY=the-proxys-own-key", "FEDERATION_KEY=the-coordinators-key"}));
    ASSERT_TRUE(proxy.start()) << proxy.log();
    EXPECT_EQ(proxy.get("/service/files/x").status, 401);
    EXPECT_EQ(proxy.get("/service/files/x", {.headers = {"X-API-Key: the-proxys-own-key"}}).body, "GET /x HTTP/1.1");
    EXPECT_EQ(proxy.stop(), 0);
    EXPECT_EQ(coordinator.stop(), 0);
}

} // namespace
