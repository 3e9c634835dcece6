// An edge proxy beside real coordinators and workers: it goes on with the lists that it has.

#include "tests/integration/fake_worker.h"
#include "tests/integration/lone_gateway.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <filesystem>

namespace
{

FakeWorker::Handler answering(const std::string &body)
{
    return [body](FakeWorker::Connection &connection, const std::string &) {
        return connection.write(FakeWorker::answer(body));
    };
}

std::string first_line(const std::string &head)
{
    return head.substr(0, head.find("\r\n"));
}

std::string registration(const std::string &id, const std::string &url, const std::string &services = "\"files\"")
{
    return R"({"worker_id": ")" + id + R"(", "tunnel_url": ")" + url + R"(", "services": [)" + services + "]}";
}

// Asks for lists often, so that a test need not wait.
LoneGateway proxy_of(const std::string &urls, const std::vector<std::string> &more = {})
{
    std::vector<std::string> flags = {"--role",         "edge-proxy", "--coordinator-url",    urls,
                                      "--poll-seconds", "0.2",        "--poll-retry-seconds", "0.1"};
    flags.insert(flags.end(), more.begin(), more.end());
    return LoneGateway(flags);
}

bool is_ready(LoneGateway &proxy)
{
    return eventually([&] { return proxy.get("/readyz").status == 200; });
}

// A coordinator made of nothing but its list, which a test may change.
class Lister
{
  public:
    explicit Lister(const std::string &first)
        : text(first), server([this](FakeWorker::Connection &connection, const std::string &head) {
              return handle(connection, head);
          })
    {
    }
    std::string url() const
    {
        return server.url();
    }
    void answer(const std::string &list)
    {
        std::lock_guard<std::mutex> guard(lock);
        text = list;
    }
    // Instead of a list: the bytes of a whole response, after which the connection is closed.
    void break_with(const std::string &bytes)
    {
        std::lock_guard<std::mutex> guard(lock);
        broken = bytes;
    }
    size_t count(const std::string &path)
    {
        std::lock_guard<std::mutex> guard(lock);
        return (size_t)std::count_if(heads.begin(), heads.end(),
                                     [&](const std::string &head) { return head.rfind("GET " + path, 0) == 0; });
    }
    // To /api/services/discover; "": 503.
    void answer_discovery(const std::string &body)
    {
        std::lock_guard<std::mutex> guard(lock);
        discovery = body;
    }

  private:
    bool handle(FakeWorker::Connection &connection, const std::string &head)
    {
        std::lock_guard<std::mutex> guard(lock);
        heads.push_back(head);
        if (head.rfind("GET /api/services/discover/", 0) == 0 && !discovery.empty())
            return connection.write(FakeWorker::answer(discovery));
        if (head.rfind("GET /api/coordinator/workers", 0) != 0)
            return connection.write("HTTP/1.1 503 no\r\nContent-Length: 2\r\n\r\n{}");
        if (broken.empty()) {
            std::string etag = "\"" + std::to_string(std::hash<std::string>()(text)) + "\"";
            if (head.find("If-None-Match: " + etag) != std::string::npos)
                return connection.write("HTTP/1.1 304 Not Modified\r\n\r\n");
            return connection.write(FakeWorker::answer(text, "ETag: " + etag + "\r\n"));
        }
        connection.write(broken);
        return false;
    }
    std::mutex lock;
    std::string text, broken, discovery;
    std::vector<std::string> heads;
    FakeWorker server;
};

std::string listed(const std::string &id, const std::string &url,
                   const std::string &registered_at = "2026-01-05T10:00:00.000Z", const std::string &more = "")
{
    return R"({"worker_id": ")" + id + R"(", "tunnel_url": ")" + url +
           R"(", "services": ["files"], "status": "online", "registered_at": ")" + registered_at +
           R"(", "incarnation": 1)" + more + "}";
}

std::string list_of(const std::string &workers, const std::string &more = "")
{
    return R"({"workers": [)" + workers + R"(], "count": 1, "timestamp": "2026-01-05T10:30:00.125Z")" + more + "}";
}

TEST(EdgeProxy, ItServesByTheListWithTheCoordinatorOrWithout)
{
    FakeWorker machine([](FakeWorker::Connection &connection, const std::string &head) {
        return connection.write(FakeWorker::answer(first_line(head)));
    });
    CoordinatorOptions options;
    options.data_dir = temporary_folder();
    options.flags = {"--coordinator-id", "uk"};
    auto coordinator = std::make_unique<Coordinator>(options);
    ASSERT_TRUE(coordinator->start()) << coordinator->log();
    std::string url = coordinator->url();
    // A worker that takes the place of an assigned service, and one of its own.
    ASSERT_EQ(
        coordinator->post("/api/worker/register", registration("m1", machine.url(), R"("vision-ocr", "files")")).status,
        200);
    LoneGateway proxy = proxy_of(url + "/", {"--allowed-origins", "https://page.example.org"});
    ASSERT_TRUE(proxy.start()) << proxy.log();
    ASSERT_TRUE(is_ready(proxy)) << proxy.log();

    Response served = proxy.post("/api/service/ocr/page?x=1", "");
    EXPECT_EQ(served.body, "POST /api/ocr/page?x=1 HTTP/1.1")
        << "the alias comes with the list; " << served.described();
    EXPECT_EQ(served.header("x-served-by"), "m1");
    EXPECT_EQ(served.header("age"), "") << "it is the worker's answer, not the list's";
    EXPECT_EQ(proxy.get("/service/files/a/b").body, "GET /a/b HTTP/1.1");
    Response nobody = proxy.get("/api/service/nothing");
    EXPECT_EQ(nobody.status, 503);
    EXPECT_EQ(nobody.json()["error"].text(), "no_worker");
    EXPECT_NE(nobody.header("retry-after"), "");

    Response list = proxy.get("/api/coordinator/workers", {.headers = {"Origin: https://page.example.org"}});
    EXPECT_EQ(list.json()["count"].integer(), 1);
    EXPECT_EQ(list.json()["workers"][0]["coordinator"].text(), url);
    EXPECT_NE(list.header("age"), "") << list.described();
    EXPECT_EQ(list.header("access-control-allow-origin"), "https://page.example.org");
    EXPECT_NE(proxy.get("/api/services/discover/ocr").header("age"), "");
    EXPECT_EQ(proxy.get("/api/services/discover/ocr").json()["recommended"].text(), "m1");
    EXPECT_EQ(proxy.get("/api/worker/find/files").json()["worker_id"].text(), "m1");
    EXPECT_EQ(proxy.get("/api/services/list").json()["services"]["files"]["healthy_workers"].integer(), 1);
    EXPECT_EQ(proxy.health()["lists"][0]["status"].text(), "online");
    EXPECT_EQ(proxy.health()["status"].text(), "healthy");
    EXPECT_NE(proxy.get("/").body.find("An edge proxy"), std::string::npos);
    EXPECT_NE(proxy.get("/openapi.json").body.find("/api/services/discover"), std::string::npos);

    // What is the coordinator's to say is the coordinator's, and a client reads its own writes.
    EXPECT_EQ(proxy.get("/api/admin/stats").json()["total_workers"].integer(), 1);
    ASSERT_EQ(proxy.post("/api/worker/register", registration("m2", machine.url())).status, 200);
    EXPECT_EQ(proxy.get("/api/coordinator/workers").json()["count"].integer(), 2);
    ASSERT_EQ(proxy.post("/api/worker/register", registration("m3", machine.url(), "\"new\"")).status, 200);
    EXPECT_EQ(proxy.get("/service/new/x").body, "GET /x HTTP/1.1") << "at once";
    Response everywhere = proxy.get("/api/services/discover/files?scope=all");
    EXPECT_EQ(everywhere.json()["count"].integer(), 2);
    EXPECT_EQ(everywhere.header("age"), "") << "a coordinator has answered it";

    coordinator->cut_off();
    ASSERT_TRUE(eventually([&] { return proxy.health()["lists"][0]["status"].text() == "unreachable"; }));
    EXPECT_EQ(proxy.health()["status"].text(), "degraded");
    EXPECT_FALSE(proxy.health()["lists"][0]["problem"].is_null());
    double age = proxy.health()["age_seconds"].number();
    EXPECT_TRUE(eventually([&] { return proxy.health()["age_seconds"].number() > age + 1; }));
    EXPECT_TRUE(
        eventually([&] { return std::atoi(proxy.get("/api/coordinator/workers").header("age").c_str()) >= 1; }));
    EXPECT_EQ(proxy.post("/api/service/ocr", "").status, 200) << "requests go on";
    EXPECT_EQ(proxy.get("/api/coordinator/workers").json()["count"].integer(), 3);
    EXPECT_EQ(proxy.get("/readyz").status, 200);
    EXPECT_EQ(proxy.get("/api/admin/stats").json()["error"].text(), "no_coordinators");
    EXPECT_EQ(proxy.get("/api/services/discover/files?scope=all").status, 503);

    // Whoever comes back there is heard soon.
    std::string port = url.substr(url.rfind(':') + 1);
    options.flags.insert(options.flags.end(), {"--port", port});
    Coordinator back(options);
    ASSERT_TRUE(back.start()) << back.log();
    EXPECT_TRUE(eventually([&] { return proxy.health()["status"].text() == "healthy"; })) << proxy.log();
    EXPECT_TRUE(eventually([&] { return proxy.get("/api/admin/stats").status == 200; }));
    EXPECT_EQ(proxy.stop(), 0) << proxy.log();
    EXPECT_EQ(proxy.log().find("Sanitizer"), std::string::npos) << proxy.log();
    EXPECT_EQ(back.stop(), 0);
}

TEST(EdgeProxy, ItKeepsItsListsOverItsOwnRestart)
{
    FakeWorker machine(answering("served"));
    std::string folder = temporary_folder();
    auto coordinator = std::make_unique<Coordinator>();
    ASSERT_TRUE(coordinator->start());
    ASSERT_EQ(coordinator->post("/api/worker/register", registration("a", machine.url())).status, 200);
    std::vector<std::string> flags = {"--data-dir", folder + "/lists"};
    LoneGateway first = proxy_of(coordinator->url(), flags);
    ASSERT_TRUE(first.start() && is_ready(first)) << first.log();
    ASSERT_EQ(first.get("/service/files/x").body, "served");
    coordinator->cut_off();
    ASSERT_TRUE(eventually([&] { return first.health()["age_seconds"].number() > 2; }));
    first.running().signal(SIGKILL);
    first.running().wait();

    LoneGateway second = proxy_of(coordinator->url(), flags);
    ASSERT_TRUE(second.start()) << second.log();
    ASSERT_TRUE(is_ready(second)) << second.log();
    EXPECT_EQ(second.get("/service/files/x").body, "served") << second.log();
    double age = second.health()["age_seconds"].number();
    EXPECT_GT(age, 2) << "it is as old as it was, not as old as the process";
    EXPECT_TRUE(eventually([&] { return second.health()["age_seconds"].number() > age + 1; }));
    EXPECT_EQ(second.stop(), 0);

    // One that was cut, or changed, is reported and ignored.
    std::string path;
    for (const auto &entry : std::filesystem::directory_iterator(folder + "/lists"))
        path = entry.path();
    std::string whole = read_file(path);
    ASSERT_GT(whole.size(), 100u);
    std::string changed = whole;
    changed[whole.size() - 20] ^= 1;
    for (const std::string &broken : {whole.substr(0, whole.size() / 2), changed, std::string("{}\n"), std::string()}) {
        write_file(path, broken);
        LoneGateway third = proxy_of(coordinator->url(), flags);
        ASSERT_TRUE(third.start()) << third.log();
        EXPECT_TRUE(eventually([&] { return third.log().find("is broken") != std::string::npos; })) << third.log();
        EXPECT_EQ(third.get("/service/files/x").json()["error"].text(), "no_worker");
        EXPECT_TRUE(third.health()["age_seconds"].is_null());
        EXPECT_EQ(third.get("/readyz").status, 503);
        EXPECT_EQ(third.get("/api/coordinator/workers").header("age"), "") << "there is none";
        EXPECT_EQ(third.stop(), 0);
    }
    write_file(path, whole);
    LoneGateway fourth = proxy_of(coordinator->url(), flags);
    ASSERT_TRUE(fourth.start() && is_ready(fourth));
    EXPECT_EQ(fourth.get("/service/files/x").body, "served");
    EXPECT_EQ(fourth.stop(), 0);
}

TEST(EdgeProxy, AnUnchangedListIsNotSentAgain)
{
    FakeWorker machine(answering("served"));
    Coordinator coordinator;
    ASSERT_TRUE(coordinator.start());
    ASSERT_EQ(coordinator.post("/api/worker/register", registration("a", machine.url())).status, 200);
    std::vector<std::string> flags = {"--data-dir", temporary_folder()};
    LoneGateway proxy = proxy_of(coordinator.url(), flags);
    ASSERT_TRUE(proxy.start() && is_ready(proxy)) << proxy.log();
    std::string read = "gateway_list_polls_total{coordinator=\"" + coordinator.url() + "\",result=\"read\"}";
    std::string unchanged = "gateway_list_polls_total{coordinator=\"" + coordinator.url() + "\",result=\"unchanged\"}";
    ASSERT_TRUE(eventually([&] { return proxy.metric(unchanged) >= 3; })) << proxy.get("/metrics").body;
    double before = proxy.metric(read), silent = proxy.metric(unchanged);
    ASSERT_TRUE(eventually([&] { return proxy.metric(unchanged) >= silent + 5; }));
    EXPECT_EQ(proxy.metric(read), before) << "nobody has come or gone";
    EXPECT_LT(proxy.health()["age_seconds"].number(), 60) << "and it is confirmed all the same";
    ASSERT_EQ(coordinator.post("/api/worker/register", registration("b", machine.url())).status, 200);
    EXPECT_TRUE(eventually([&] { return proxy.metric(read) > before; }));
    EXPECT_TRUE(eventually([&] { return proxy.get("/api/coordinator/workers").json()["count"].integer() == 2; }));
    silent = proxy.metric(unchanged);
    ASSERT_TRUE(eventually([&] { return proxy.metric(unchanged) >= silent + 5; }));
    EXPECT_EQ(proxy.stop(), 0);
    EXPECT_EQ(coordinator.stop(), 0);
    LoneGateway again = proxy_of(coordinator.url(), flags);
    ASSERT_TRUE(again.start() && is_ready(again)) << again.log();
    EXPECT_EQ(again.get("/api/coordinator/workers").json()["count"].integer(), 2);
    EXPECT_LT(again.health()["age_seconds"].number(), 600) << "the file says when it was confirmed";
    EXPECT_EQ(again.stop(), 0);
}

TEST(EdgeProxy, AWorkerThatDiesIsReplacedInsideTheRequest)
{
    CoordinatorOptions options;
    options.demo_workers = 3;
    Coordinator coordinator(options);
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    // The list grows old: what is found out about workers is found out by requests.
    LoneGateway proxy({"--role", "edge-proxy", "--coordinator-url", coordinator.url(), "--poll-retry-seconds", "0.2"});
    ASSERT_TRUE(proxy.start() && is_ready(proxy)) << proxy.log();
    Traffic reads(proxy.url() + "/api/service/document-processing", {.method = "POST", .body = "text"});
    ASSERT_TRUE(reads.more(300));
    EXPECT_EQ(reads.served_by().size(), 3u) << "all have their share";
    ASSERT_TRUE(coordinator.kill("demo-2"));
    ASSERT_TRUE(reads.more(1000));
    reads.stop();
    EXPECT_EQ(reads.failed(), 0u) << reads.failures();
    EXPECT_GE(proxy.metric("gateway_relay_retries_total"), 1) << "one that cannot be reached is tried, then left out";
    EXPECT_EQ(proxy.stop(), 0);
    EXPECT_EQ(coordinator.stop(), 0);
}

TEST(EdgeProxy, ListsOfSeveralCoordinatorsAreOne)
{
    FakeWorker machine(answering("served"));
    Lister uk(list_of(listed("a", machine.url()) + "," + listed("both", machine.url()))),
        us(list_of(listed("b", machine.url()) + "," + listed("both", machine.url(), "2026-01-05T10:00:05.000Z")));
    LoneGateway proxy = proxy_of(uk.url() + ", " + us.url() + "," + uk.url());
    ASSERT_TRUE(proxy.start()) << proxy.log();
    const auto holder = [&](const std::string &id) {
        return proxy.get("/api/coordinator/workers").json()["workers"].find("worker_id", id)["coordinator"].text();
    };
    ASSERT_TRUE(eventually([&] { return proxy.get("/api/coordinator/workers").json()["count"].integer() == 3; }))
        << proxy.get("/api/coordinator/workers").described();
    EXPECT_EQ(proxy.health()["lists"].size(), 2u) << "one that is given twice is one";
    EXPECT_EQ(holder("both"), us.url()) << "where it registered last";
    Traffic reads(proxy.url() + "/service/files/x", {});
    ASSERT_TRUE(reads.more(200));
    reads.stop();
    EXPECT_EQ(reads.served_by().size(), 3u);

    // It leaves the one that holds it: the other one still has it.
    us.answer(list_of(listed("b", machine.url())));
    EXPECT_TRUE(eventually([&] { return holder("both") == uk.url(); }));
    // What cannot be read leaves things as they are, and says so.
    const std::string unreadable[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"workers\": [" + listed("b", machine.url()),
        "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"workers\": [{",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n",
        "nonsense\r\n\r\n",
    };
    for (const std::string &bytes : unreadable) {
        us.answer(list_of(listed("b", machine.url())));
        us.break_with("");
        ASSERT_TRUE(eventually([&] { return proxy.health()["status"].text() == "healthy"; })) << bytes;
        us.break_with(bytes);
        EXPECT_TRUE(eventually([&] { return proxy.health()["status"].text() == "degraded"; })) << bytes;
        EXPECT_EQ(holder("b"), us.url()) << bytes;
        EXPECT_EQ(proxy.get("/service/files/x").body, "served");
    }
    us.break_with("");
    us.answer(list_of(""));
    EXPECT_TRUE(eventually([&] { return holder("b").empty() && proxy.health()["status"].text() == "healthy"; }));
    EXPECT_EQ(proxy.get("/api/coordinator/workers").json()["count"].integer(), 2);
    EXPECT_EQ(proxy.stop(), 0) << proxy.log();
    EXPECT_EQ(proxy.log().find("Sanitizer"), std::string::npos) << proxy.log();
}

TEST(EdgeProxy, TheCatalogComesWithTheList)
{
    FakeWorker machine([](FakeWorker::Connection &connection, const std::string &head) {
        return connection.write(FakeWorker::answer(first_line(head)));
    });
    Lister coordinator(list_of(listed("a", machine.url()),
                               R"(, "catalog": [{"name": "files", "aliases": ["documents"], "path": "/v2/{type}"},
                                   {"name": "bad", "path": "/x\r\nHost: evil"}, {"name": "files"}, 7])"));
    LoneGateway proxy = proxy_of(coordinator.url());
    ASSERT_TRUE(proxy.start() && is_ready(proxy)) << proxy.log();
    EXPECT_EQ(proxy.get("/api/service/documents/x").body, "GET /v2/documents/x HTTP/1.1");
    EXPECT_EQ(proxy.get("/api/service/files").body, "GET /v2/files HTTP/1.1");
    EXPECT_TRUE(proxy.get("/api/services/list").json()["services"]["bad"].is_null());
    coordinator.answer(list_of(listed("a", machine.url())));
    EXPECT_TRUE(eventually([&] { return proxy.get("/api/service/files").body == "GET /api/files HTTP/1.1"; }));
    coordinator.answer(
        list_of(listed("a", machine.url(), "2026-01-05T11:00:00.000Z", R"(, "assigned_services": ["vision-ocr"])")));
    EXPECT_TRUE(eventually([&] { return proxy.get("/api/service/ocr").body == "GET /api/ocr HTTP/1.1"; }))
        << "the contract's own names, where a coordinator says none";
    EXPECT_EQ(proxy.stop(), 0);
}

TEST(EdgeProxy, ServicesThatNoListHasAreFoundElsewhere)
{
    FakeWorker machine([](FakeWorker::Connection &connection, const std::string &head) {
        return connection.write(FakeWorker::answer(first_line(head)));
    });
    FakeWorker gone(answering(""));
    Lister coordinator(list_of(listed("a", machine.url())));
    coordinator.answer_discovery(R"({"service": "rare", "workers": [
        {"worker_id": "far-1", "tunnel_url": ")" +
                                 unreachable_url() + R"(", "load": 0.1},
        {"worker_id": "far-2", "tunnel_url": ")" +
                                 machine.url() + R"(", "load": 0.9}], "count": 2})");
    LoneGateway without = proxy_of(coordinator.url());
    ASSERT_TRUE(without.start() && is_ready(without));
    EXPECT_EQ(without.get("/service/rare/x").status, 503) << "only when it was asked for";
    EXPECT_EQ(coordinator.count("/api/services/discover"), 0u);
    EXPECT_EQ(without.stop(), 0);

    LoneGateway proxy = proxy_of(coordinator.url(), {"--discover-elsewhere", "--elsewhere-seconds", "1"});
    ASSERT_TRUE(proxy.start() && is_ready(proxy)) << proxy.log();
    for (int i = 0; i < 10; i++) {
        Response answer = proxy.get("/service/rare/x");
        EXPECT_EQ(answer.body, "GET /x HTTP/1.1") << answer.described();
        EXPECT_EQ(answer.header("x-served-by"), "far-2") << "the one that cannot be reached is replaced";
    }
    size_t asked = coordinator.count("/api/services/discover/rare?scope=all");
    EXPECT_GE(asked, 1u);
    EXPECT_LE(asked, 10u);
    // When it is forgotten it is asked for again, and so is what was nowhere.
    coordinator.answer_discovery("");
    EXPECT_TRUE(eventually([&] { return proxy.get("/service/rare/x").status == 503; }));
    EXPECT_EQ(proxy.get("/service/nowhere/x").json()["error"].text(), "no_worker");
    EXPECT_EQ(proxy.get("/api/service/a%3Fb%20c").status, 503) << "names are encoded on the way";
    EXPECT_EQ(proxy.get("/service/files/x").status, 200);
    EXPECT_EQ(proxy.stop(), 0) << proxy.log();
    EXPECT_EQ(proxy.log().find("Sanitizer"), std::string::npos) << proxy.log();
}

// With real coordinators that know each other by their hash table only.
TEST(EdgeProxy, AnotherCoordinatorsServiceIsFoundInTheHashTable)
{
    FakeWorker machine(answering("served"));
    CoordinatorOptions near_options, far_options;
    near_options.flags = {"--dht", "--coordinator-id", "near"};
    near_options.environment = {"DHT_NETWORK=edge-proxy-" + std::to_string(getpid())}; // of this test alone
    Coordinator near(near_options);
    ASSERT_TRUE(near.start()) << near.log();
    far_options.flags = {"--dht-seeds", near.url(), "--coordinator-id", "far"};
    far_options.environment = near_options.environment;
    Coordinator far(far_options);
    ASSERT_TRUE(far.start()) << far.log();
    ASSERT_EQ(far.post("/api/worker/register", registration("m", machine.url(), "\"rare\"")).status, 200);
    LoneGateway proxy = proxy_of(near.url(), {"--discover-elsewhere", "--elsewhere-seconds", "0.5"});
    ASSERT_TRUE(proxy.start() && is_ready(proxy)) << proxy.log();
    Response served;
    ASSERT_TRUE(eventually([&] { return (served = proxy.get("/service/rare/x")).status == 200; }))
        << served.described() << near.get("/api/services/discover/rare?scope=all").described();
    EXPECT_EQ(served.body, "served");
    EXPECT_EQ(served.header("x-served-by"), "m");
    EXPECT_EQ(proxy.get("/api/coordinator/workers").json()["count"].integer(), 0) << "it is in no list";
    EXPECT_EQ(proxy.stop(), 0);
    EXPECT_EQ(far.stop(), 0);
    EXPECT_EQ(near.stop(), 0);
}

TEST(EdgeProxy, StreamsAndUpgradesPass)
{
    FakeWorker machine([](FakeWorker::Connection &connection, const std::string &head) {
        if (head.find("Upgrade: ") != std::string::npos) {
            bool open =
                connection.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
            for (std::string bytes; open && !(bytes = connection.read_some()).empty();)
                open = connection.write(bytes);
            return false;
        }
        connection.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < 50; i++) {
            if (!connection.write("8\r\ndata: x\n\r\n"))
                return false;
        }
        return connection.write("0\r\n\r\n");
    });
    Lister coordinator(list_of(listed("a", machine.url())));
    LoneGateway proxy = proxy_of(coordinator.url());
    ASSERT_TRUE(proxy.start() && is_ready(proxy));
    EXPECT_EQ(proxy.get("/service/files/events").body.size(), 400u);
    std::string tunnel = raw_exchange(proxy.url().substr(7),
                                      "GET /service/files/socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                                      "Upgrade: echo\r\n\r\nthere and back",
                                      false, 500);
    EXPECT_NE(tunnel.find("101 Switching"), std::string::npos) << tunnel;
    EXPECT_NE(tunnel.find("there and back"), std::string::npos) << tunnel;
    EXPECT_EQ(proxy.stop(), 0);
}

TEST(EdgeProxy, KeysHoldHereToo)
{
    FakeWorker machine(answering("served"));
    CoordinatorOptions options;
    options.environment = {"API_KEY=the-coordinators-key"};
    Coordinator coordinator(options);
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    Response put = coordinator.request(
        "/api/worker/register",
        {.method = "POST", .body = registration("a", machine.url()), .headers = {"X-API-Key: the-coordinators-key"}});
    ASSERT_EQ(put.status, 200) << put.described();
    LoneGateway keyless(
        {"--role", "edge-proxy", "--coordinator-url", coordinator.url(), "--poll-retry-seconds", "0.1"});
    ASSERT_TRUE(keyless.start());
    EXPECT_TRUE(eventually([&] {
        return keyless.health()["lists"][0]["problem"].text().find("--federation-key") != std::string::npos;
    })) << keyless.health().dump();
    EXPECT_EQ(keyless.stop(), 0);

    LoneGateway proxy({"--role", "edge-proxy", "--coordinator-url", coordinator.url(), "--poll-retry-seconds", "0.1"},
                      {"API_KEY=the-proxys-own-key", "FEDERATION_KEY=the-coordinators-key"});
    ASSERT_TRUE(proxy.start() && is_ready(proxy)) << proxy.log();
    EXPECT_EQ(proxy.get("/service/files/x").status, 401);
    EXPECT_EQ(proxy.get("/api/coordinator/workers").status, 401);
    EXPECT_EQ(proxy.get("/service/files/x", {.headers = {"X-API-Key: the-proxys-own-key"}}).body, "served");
    EXPECT_EQ(proxy.get("/health").status, 200) << "for everybody";
    // A worker's own token is for its coordinator to check; for what it is never good, that is said here.
    const Request worker = {.headers = {"Authorization: Bearer " + put.json()["worker_token"].text()}};
    Request beat = worker;
    beat.method = "POST";
    beat.body = R"({"worker_id": "a"})";
    EXPECT_EQ(proxy.get("/api/worker/heartbeat", beat).status, 200);
    for (const char *path : {"/api/services/list", "/api/service/files", "/api/admin/workers"}) {
        Response refused = proxy.get(path, worker);
        EXPECT_EQ(refused.status, 403) << refused.described();
        EXPECT_NE(refused.json()["message"].text().find("a worker's token does not do here"), std::string::npos);
    }
    EXPECT_EQ(proxy.stop(), 0);
    EXPECT_EQ(coordinator.stop(), 0);

    const std::vector<std::string> wrong[] = {
        {"--role", "edge-proxy"},
        {"--role", "edge-proxy", "--coordinator-url", "ftp://x"},
        {"--role", "edge-proxy", "--coordinator-url", "http://127.0.0.1:1", "--host", "0.0.0.0"},
        {"--role", "edge-proxy", "--coordinator-url", "http://127.0.0.1:1", "--join", "http://127.0.0.1:2"},
        {"--role", "nothing"},
        {"--role", "edge-proxy", "--coordinator-url", "http://127.0.0.1:1", "--port", "65536"},
    };
    for (const std::vector<std::string> &flags : wrong) {
        Process process("gateway/muster-gateway", flags);
        EXPECT_EQ(process.wait(), 2) << process.errors();
        EXPECT_NE(process.errors().find("muster-gateway: "), std::string::npos);
    }
}

} // namespace
