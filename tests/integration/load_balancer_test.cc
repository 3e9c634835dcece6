// A load balancer before servers of all kinds.

#include "tests/integration/fake_worker.h"
#include "tests/integration/lone_gateway.h"

extern "C" {
#include "services/ctl/ports.h"
}

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>

namespace
{

FakeWorker::Handler named(const std::string &name)
{
    return [name](FakeWorker::Connection &connection, const std::string &head) {
        return connection.write(FakeWorker::answer(name + " " + head.substr(0, head.find(" HTTP/"))));
    };
}

// A server that a test can have fail, and that counts the checks it sees.
class Server
{
  public:
    explicit Server(const std::string &its_name)
        : name(its_name), server([this](FakeWorker::Connection &connection, const std::string &head) {
              return handle(connection, head);
          })
    {
    }
    std::string url() const
    {
        return server.url();
    }
    std::string authority() const
    {
        return url().substr(7);
    }
    std::atomic<int> check_status{200};
    std::atomic<bool> breaks{false}; // requests, not checks: closed without an answer
    std::atomic<int> checks{0}, requests{0};

  private:
    bool handle(FakeWorker::Connection &connection, const std::string &head)
    {
        if (head.rfind("GET /health ", 0) == 0) {
            checks++;
            return connection.write("HTTP/1.1 " + std::to_string(check_status) + " x\r\nContent-Length: 0\r\n\r\n");
        }
        requests++;
        if (breaks)
            return false;
        return connection.write(FakeWorker::answer(name));
    }
    std::string name;
    FakeWorker server;
};

LoneGateway balancer_of(const std::vector<std::string> &flags, const std::vector<std::string> &environment = {})
{
    std::vector<std::string> all = {"--role", "load-balancer",           "--check-interval-seconds",
                                    "0.1",    "--check-timeout-seconds", "2"};
    all.insert(all.end(), flags.begin(), flags.end());
    return LoneGateway(all, environment);
}

std::string state(LoneGateway &balancer, const std::string &url)
{
    return balancer.health()["upstreams"].find("url", url)["state"].text();
}

bool becomes(LoneGateway &balancer, const std::string &url, const std::string &wanted)
{
    return eventually([&] { return state(balancer, url) == wanted; });
}

TEST(LoadBalancer, RequestsGoRoundAndComeThroughAsTheyAre)
{
    FakeWorker a(named("a")), b(named("b")), c(named("c"));
    LoneGateway balancer = balancer_of({"--upstreams", a.url() + "/base/," + b.url() + "," + c.url(),
                                        "--allowed-origins", "https://page.example.org"});
    ASSERT_TRUE(balancer.start()) << balancer.log();
    ASSERT_TRUE(becomes(balancer, c.url(), "up") && becomes(balancer, a.url() + "/base", "up"));
    std::map<std::string, int> firsts;
    for (int i = 0; i < 30; i++)
        firsts[balancer.get("/x/y?z=1&z=2").body]++;
    EXPECT_EQ(firsts, (std::map<std::string, int>{
                          {"a GET /base/x/y?z=1&z=2", 10}, {"b GET /x/y?z=1&z=2", 10}, {"c GET /x/y?z=1&z=2", 10}}));
    Response answer = balancer.get("/", {.headers = {"Origin: https://page.example.org"}});
    EXPECT_NE(answer.header("x-upstream"), "");
    EXPECT_EQ(answer.header("access-control-allow-origin"), "https://page.example.org");
    EXPECT_NE(balancer.post("/api/worker/register", "").body.find("POST /api/worker/register"), std::string::npos);
    EXPECT_NE(balancer.get("/x", {.method = "DELETE"}).body.find("DELETE /x"), std::string::npos);
    EXPECT_EQ(balancer.get("/healthz").json()["status"].text(), "ok") << "its own";
    Json health = balancer.health();
    EXPECT_EQ(health["status"].text(), "healthy");
    EXPECT_EQ(health["workers"]["active"].integer(), 3);
    EXPECT_GE(health["upstreams"][0]["requests"].integer(), 10);
    EXPECT_EQ(balancer.metric("gateway_upstream_up{upstream=\"" + b.url() + "\"}"), 1);
    EXPECT_GE(balancer.metric("gateway_upstream_requests_total{upstream=\"" + b.url() + "\"}"), 10);
    EXPECT_EQ(balancer.stop(), 0);
}

TEST(LoadBalancer, AnUpstreamThatFailsItsChecksIsOutUntilItPassesThem)
{
    Server a("a"), b("b");
    LoneGateway balancer =
        balancer_of({"--upstreams", a.url() + "," + b.url(), "--check-down", "2", "--check-up", "3"});
    ASSERT_TRUE(balancer.start());
    ASSERT_TRUE(becomes(balancer, a.url(), "up") && becomes(balancer, b.url(), "up"));
    b.check_status = 503;
    ASSERT_TRUE(becomes(balancer, b.url(), "down")) << balancer.health().dump();
    EXPECT_NE(balancer.health()["upstreams"].find("url", b.url())["reason"].text().find("503"), std::string::npos);
    EXPECT_EQ(balancer.health()["status"].text(), "degraded");
    int before = b.requests;
    for (int i = 0; i < 20; i++)
        EXPECT_EQ(balancer.get("/x").body, "a");
    EXPECT_EQ(b.requests, before);
    a.check_status = 500;
    ASSERT_TRUE(becomes(balancer, a.url(), "down"));
    Response nobody = balancer.get("/x");
    EXPECT_EQ(nobody.status, 503);
    EXPECT_EQ(nobody.json()["error"].text(), "no_upstream") << nobody.described();
    EXPECT_NE(nobody.header("retry-after"), "");
    EXPECT_EQ(balancer.get("/health").status, 200);
    EXPECT_EQ(balancer.get("/readyz").status, 503);
    b.check_status = 302;
    EXPECT_TRUE(becomes(balancer, b.url(), "up")) << "a redirect is an answer";
    EXPECT_EQ(balancer.get("/x").body, "b");
    EXPECT_EQ(balancer.get("/readyz").status, 200);
    EXPECT_EQ(balancer.stop(), 0);
}

TEST(LoadBalancer, ARequestGoesOnToTheNextWhenThatIsSafe)
{
    Server well("well");
    auto dying = std::make_unique<Server>("dying");
    std::string gone = dying->url();
    LoneGateway balancer =
        balancer_of({"--upstreams", gone + "," + well.url(), "--check-interval-seconds", "1000", "--check-down", "3"});
    ASSERT_TRUE(balancer.start());
    ASSERT_TRUE(becomes(balancer, gone, "up") && becomes(balancer, well.url(), "up"));
    // Heard, and broken off before an answer: only what may be repeated is.
    dying->breaks = true;
    int posts_failed = 0;
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(balancer.get("/x").body, "well");
    for (int i = 0; i < 2; i++)
        posts_failed += balancer.post("/x", "body").json()["error"].text() == "upstream_failed" ? 1 : 0;
    EXPECT_EQ(posts_failed, 1);
    dying.reset();
    // Not reached: anything is.
    Traffic posts(balancer.url() + "/x", {.method = "POST", .body = "body"});
    ASSERT_TRUE(posts.more(300));
    posts.stop();
    EXPECT_EQ(posts.failed(), 0u) << posts.failures();
    EXPECT_EQ(state(balancer, gone), "down") << "requests that cannot reach it count as checks";
    EXPECT_GE(balancer.metric("gateway_relay_retries_total"), 1);
    EXPECT_EQ(balancer.stop(), 0);
}

TEST(LoadBalancer, TheFileIsReadAgainWhenItChanges)
{
    Server a("a"), b("b");
    std::string path = temporary_folder() + "/upstreams";
    write_file(path, "# the first\n" + a.url() + "\n");
    LoneGateway balancer = balancer_of({"--upstreams-file", path});
    ASSERT_TRUE(balancer.start());
    ASSERT_TRUE(becomes(balancer, a.url(), "up"));
    write_file(path, b.url() + "\n");
    EXPECT_TRUE(becomes(balancer, b.url(), "up"));
    EXPECT_EQ(balancer.health()["upstreams"].size(), 1u);
    EXPECT_EQ(balancer.get("/x").body, "b");

    write_file(path, a.url() + "\nftp://wrong\n");
    balancer.running().signal(SIGHUP);
    ASSERT_TRUE(eventually([&] { return balancer.health()["warning"].text().find("line 2") != std::string::npos; }))
        << balancer.health().dump();
    EXPECT_EQ(balancer.health()["status"].text(), "degraded");
    EXPECT_EQ(balancer.get("/x").body, "b") << "what was there goes on";
    unlink(path.c_str());
    EXPECT_EQ(balancer.get("/x").body, "b");
    write_file(path, a.url() + "\n" + b.url() + "\n");
    EXPECT_TRUE(becomes(balancer, a.url(), "up") && becomes(balancer, b.url(), "up"));
    EXPECT_TRUE(eventually([&] { return balancer.health()["status"].text() == "healthy"; }));
    EXPECT_EQ(balancer.stop(), 0);

    // One that is not there yet is waited for.
    LoneGateway early = balancer_of({"--upstreams-file", path + ".later"});
    ASSERT_TRUE(early.start());
    EXPECT_EQ(early.get("/x").json()["error"].text(), "no_upstream");
    write_file(path + ".later", a.url());
    EXPECT_TRUE(eventually([&] { return early.get("/x").body == "a"; }));
    EXPECT_EQ(early.stop(), 0);
}

TEST(LoadBalancer, ACoordinatorNamesTheUpstreams)
{
    Server a("a"), b("b");
    auto coordinator = std::make_unique<Coordinator>();
    ASSERT_TRUE(coordinator->start()) << coordinator->log();
    const auto put = [&](const std::string &id, const std::string &url) {
        Response answer = coordinator->post("/api/worker/register", R"({"worker_id": ")" + id +
                                                                        R"(", "tunnel_url": "http://127.0.0.1:9",
                "services": [{"name": "site", "url": ")" + url + "\"}]}");
        ASSERT_EQ(answer.status, 200) << answer.described();
    };
    LoneGateway balancer =
        balancer_of({"--upstream-service", "site", "--coordinator-url", unreachable_url() + "," + coordinator->url(),
                     "--poll-seconds", "0.2", "--poll-retry-seconds", "0.1"});
    ASSERT_TRUE(balancer.start());
    EXPECT_EQ(balancer.get("/x").status, 503);
    put("a", a.url());
    ASSERT_TRUE(becomes(balancer, a.url(), "up")) << balancer.health().dump();
    EXPECT_EQ(balancer.get("/x").body, "a");
    put("b", b.url());
    EXPECT_TRUE(becomes(balancer, b.url(), "up"));
    EXPECT_EQ(coordinator->request("/api/worker/unregister/a", {.method = "DELETE"}).status, 200);
    EXPECT_TRUE(eventually([&] { return state(balancer, a.url()).empty(); }));
    coordinator->process().signal(SIGKILL);
    coordinator.reset();
    EXPECT_TRUE(eventually([&] { return !balancer.health()["warning"].is_null(); }));
    EXPECT_EQ(balancer.get("/x").body, "b") << "whom it knows it goes on with";
    EXPECT_EQ(balancer.stop(), 0);
}

TEST(LoadBalancer, StreamsUpgradesAndSlowAnswersPass)
{
    std::mutex lock;
    std::condition_variable told;
    bool go_on = false;
    FakeWorker upstream([&](FakeWorker::Connection &connection, const std::string &head) {
        if (head.rfind("GET /health", 0) == 0)
            return connection.write(FakeWorker::answer(""));
        if (head.find("Upgrade: ") != std::string::npos) {
            connection.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
            for (std::string some = connection.read_some(); !some.empty(); some = connection.read_some())
                connection.write(some);
            return false;
        }
        if (head.rfind("GET /never", 0) == 0) {
            connection.read_some(); // until the other side has had enough
            return false;
        }
        connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst \r\n");
        std::unique_lock<std::mutex> guard(lock);
        told.wait_for(guard, std::chrono::seconds(60), [&] { return go_on; });
        return connection.write("4\r\nlast\r\n0\r\n\r\n");
    });
    LoneGateway balancer = balancer_of({"--upstreams", upstream.url(), "--first-byte-timeout-seconds", "1"});
    ASSERT_TRUE(balancer.start());
    std::string address = balancer.url().substr(7);
    EXPECT_NE(raw_exchange(address, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n", false, 500).find("first "),
              std::string::npos)
        << "what has come goes on at once";
    {
        std::lock_guard<std::mutex> guard(lock);
        go_on = true;
    }
    told.notify_all();
    EXPECT_EQ(balancer.get("/slow").body, "first last");
    std::string tunnel = raw_exchange(address,
                                      "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
                                      "there and back",
                                      false, 500);
    EXPECT_NE(tunnel.find("101 Switching"), std::string::npos) << tunnel;
    EXPECT_NE(tunnel.find("there and back"), std::string::npos) << tunnel;
    Response never = balancer.get("/never");
    EXPECT_EQ(never.status, 504) << never.described();
    EXPECT_EQ(never.json()["error"].text(), "upstream_timeout");
    EXPECT_EQ(state(balancer, upstream.url()), "up") << "slow is not down";
    EXPECT_EQ(balancer.stop(), 0);
}

TEST(LoadBalancer, ALoopIsNoticed)
{
    std::string path = temporary_folder() + "/upstreams";
    write_file(path, unreachable_url());
    LoneGateway balancer = balancer_of({"--upstreams-file", path});
    ASSERT_TRUE(balancer.start());
    write_file(path, balancer.url());
    ASSERT_TRUE(becomes(balancer, balancer.url(), "up"));
    Response loop = balancer.get("/x");
    EXPECT_EQ(loop.status, 508) << loop.described();
    EXPECT_EQ(loop.json()["error"].text(), "loop_detected");
    loop = balancer.get("/link/0123456789abcdef0123456789abcdef/x");
    EXPECT_EQ(loop.status, 508) << "what is for a link may come through again, but not for ever\n" << loop.described();
    EXPECT_EQ(balancer.stop(), 0);
}

TEST(LoadBalancer, KeysHoldHereToo)
{
    FakeWorker upstream([](FakeWorker::Connection &connection, const std::string &head) {
        bool has_key = head.find("a-key-0123456789") != std::string::npos;
        return connection.write(FakeWorker::answer(has_key ? "with the key" : "without"));
    });
    const Request keyed = {.headers = {"X-API-Key: a-key-0123456789"}};
    LoneGateway balancer = balancer_of({"--upstreams", upstream.url()}, {"API_KEY=a-key-0123456789"});
    ASSERT_TRUE(balancer.start());
    EXPECT_EQ(balancer.get("/x").status, 401);
    EXPECT_EQ(balancer.get("/metrics").status, 401);
    EXPECT_EQ(balancer.get("/health").status, 200);
    EXPECT_EQ(balancer.get("/x", keyed).body, "without") << "a key is nobody's business behind it";
    EXPECT_EQ(balancer.stop(), 0);
    LoneGateway passing =
        balancer_of({"--upstreams", upstream.url(), "--pass-credentials"}, {"API_KEY=a-key-0123456789"});
    ASSERT_TRUE(passing.start());
    EXPECT_EQ(passing.get("/x", keyed).body, "with the key");
    EXPECT_EQ(passing.stop(), 0);
    LoneGateway open = balancer_of({"--upstreams", upstream.url()});
    ASSERT_TRUE(open.start());
    EXPECT_EQ(open.get("/x", keyed).body, "with the key") << "between the client and the upstream";
    EXPECT_EQ(open.stop(), 0);

    const std::vector<std::string> wrong[] = {
        {},
        {"--upstreams", "http://a", "--upstreams-file", "x"},
        {"--upstreams", "ftp://a"},
        {"--upstreams", " "},
        {"--upstream-service", "x"},
        {"--upstream-service", "a/b", "--coordinator-url", "http://127.0.0.1:1"},
        {"--upstreams", "http://127.0.0.1:1", "--check-path", "health"},
        {"--upstreams", "http://127.0.0.1:1", "--check-up", "0"},
        {"--upstreams", "http://127.0.0.1:1", "--host", "0.0.0.0"},
    };
    for (std::vector<std::string> flags : wrong) {
        flags.insert(flags.begin(), {"--role", "load-balancer"});
        Process process("gateway/muster-gateway", flags);
        EXPECT_EQ(process.wait(), 2) << process.errors();
        EXPECT_NE(process.errors().find("muster-gateway: "), std::string::npos);
    }
}

// A server that is not ours.
TEST(LoadBalancer, StandsBeforeNginx)
{
    std::string folder = temporary_folder();
    port_reservation reservation;
    char error[200];
    ASSERT_TRUE(port_reserve("127.0.0.1", 0, &reservation, error, sizeof error)) << error;
    std::string port = std::to_string(reservation.port);
    write_file(folder + "/nginx.conf", std::string(geteuid() == 0 ? "user root; " : "") + "daemon off; pid " + folder +
                                           "/pid; error_log stderr; worker_processes 1;\n"
                                           "events {}\nhttp { access_log off; client_body_temp_path " +
                                           folder + "; proxy_temp_path " + folder + "; fastcgi_temp_path " + folder +
                                           "; uwsgi_temp_path " + folder + "; scgi_temp_path " + folder +
                                           ";\n"
                                           "server { listen 127.0.0.1:" +
                                           port + "; location / { return 200 \"nginx $request_uri\"; } } }\n");
    pid_t nginx = fork();
    if (nginx == 0) {
        execlp("nginx", "nginx", "-e", "stderr", "-c", (folder + "/nginx.conf").c_str(), nullptr);
        _exit(127);
    }
    std::string url = "http://127.0.0.1:" + port;
    LoneGateway balancer = balancer_of({"--upstreams", url, "--check-path", "/"});
    ASSERT_TRUE(balancer.start());
    EXPECT_TRUE(becomes(balancer, url, "up")) << balancer.health().dump();
    EXPECT_EQ(balancer.get("/page?x").body, "nginx /page?x");
    Traffic reads(balancer.url() + "/page", {});
    EXPECT_TRUE(reads.more(500));
    kill(nginx, SIGTERM);
    int status;
    EXPECT_EQ(waitpid(nginx, &status, 0), nginx);
    port_release(&reservation);
    EXPECT_TRUE(becomes(balancer, url, "down"));
    reads.stop();
    EXPECT_EQ(balancer.get("/page").json()["error"].text(), "no_upstream");
    EXPECT_EQ(balancer.stop(), 0) << balancer.log();
    EXPECT_EQ(balancer.log().find("Sanitizer"), std::string::npos) << balancer.log();
}

} // namespace
