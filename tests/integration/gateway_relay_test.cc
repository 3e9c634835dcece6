// Service requests through a real coordinator to workers that do as a test wants.

#include "tests/integration/coordinator.h"
#include "tests/integration/fake_worker.h"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

namespace
{

class Relay : public ::testing::Test
{
  protected:
    static void SetUpTestSuite()
    {
        coordinator = new Coordinator();
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
    static void put_worker(const std::string &id, const std::string &url, const std::string &service)
    {
        Response answer =
            coordinator->post("/api/worker/register", R"({"worker_id": ")" + id + R"(", "tunnel_url": ")" + url +
                                                          R"(", "services": [")" + service + "\"]}");
        ASSERT_EQ(answer.status, 200) << answer.described();
    }
    static void remove(const std::string &id)
    {
        EXPECT_EQ(coordinator->request("/api/worker/unregister/" + id, {.method = "DELETE"}).status, 200);
    }
    static std::string first_line(const std::string &head)
    {
        return head.substr(0, head.find("\r\n"));
    }
    static Coordinator *coordinator;
};

Coordinator *Relay::coordinator = nullptr;

TEST_F(Relay, PathsAndQueriesComeThrough)
{
    FakeWorker worker([](FakeWorker::Connection &connection, const std::string &head) {
        return connection.write(FakeWorker::answer(first_line(head)));
    });
    put_worker("p1", worker.url() + "/base", "paths");
    const auto seen = [&](const std::string &path) { return coordinator->get(path).body; };
    // At once: the router may not have heard of the worker yet.
    EXPECT_EQ(seen("/api/service/paths"), "GET /base/api/paths HTTP/1.1");
    EXPECT_EQ(seen("/api/service/paths/"), "GET /base/api/paths/ HTTP/1.1");
    EXPECT_EQ(seen("/api/service/paths/a/b%20c?x=1&y=%2F"), "GET /base/api/paths/a/b%20c?x=1&y=%2F HTTP/1.1");
    EXPECT_EQ(seen("/service/paths/a/b?q"), "GET /base/a/b?q HTTP/1.1");
    EXPECT_EQ(seen("/service/paths/"), "GET /base/ HTTP/1.1");
    Response answer = coordinator->get("/api/service/paths");
    EXPECT_EQ(answer.header("x-served-by"), "p1");
    EXPECT_NE(answer.header("x-request-id"), "");
    remove("p1");
}

TEST_F(Relay, AnotherWorkerIsTriedWhenTheFirstCannotBeReached)
{
    FakeWorker worker([](FakeWorker::Connection &connection, const std::string &) {
        return connection.write(FakeWorker::answer("alive"));
    });
    put_worker("dead-1", unreachable_url(), "failover");
    put_worker("dead-2", unreachable_url(), "failover");
    put_worker("alive", worker.url(), "failover");
    // Until the router has published the last one, a request may find the other two alone.
    ASSERT_TRUE(eventually([&] { return coordinator->get("/api/service/failover").status == 200; }));
    for (int i = 0; i < 50; i++) {
        Response answer = coordinator->post("/api/service/failover", "body");
        ASSERT_EQ(answer.status, 200) << answer.described();
        EXPECT_EQ(answer.header("x-served-by"), "alive");
    }
    remove("alive");
    ASSERT_TRUE(eventually([&] { return coordinator->post("/api/service/failover", "x").status == 503; }));
    Response nobody = coordinator->post("/api/service/failover", "x");
    EXPECT_NE(nobody.header("retry-after"), "") << nobody.described();
    EXPECT_EQ(nobody.json()["error"].text(), "no_worker");
    remove("dead-1");
    remove("dead-2");
}

TEST_F(Relay, APostThatWasHeardIsNotRepeated)
{
    std::atomic<int> heard{0};
    FakeWorker worker([&](FakeWorker::Connection &, const std::string &) {
        heard++;
        return false; // closes without a word
    });
    put_worker("silent", worker.url(), "silence");
    Response answer = coordinator->post("/api/service/silence", "pay once");
    EXPECT_EQ(answer.status, 502) << answer.described();
    EXPECT_EQ(answer.json()["error"].text(), "worker_failed");
    EXPECT_EQ(answer.header("x-served-by"), "silent");
    EXPECT_EQ(heard, 1);
    remove("silent");
}

TEST_F(Relay, ErrorsOfWorkersAreTheirOwn)
{
    FakeWorker worker([](FakeWorker::Connection &connection, const std::string &) {
        return connection.write("HTTP/1.1 418 I'm a teapot\r\nContent-Length: 5\r\nX-Own: 1\r\n\r\nshort");
    });
    put_worker("teapot", worker.url(), "tea");
    Response answer = coordinator->get("/api/service/tea");
    EXPECT_EQ(answer.status, 418);
    EXPECT_EQ(answer.body, "short");
    EXPECT_EQ(answer.header("x-own"), "1");
    EXPECT_EQ(answer.header("x-served-by"), "teapot");
    remove("teapot");
}

TEST_F(Relay, LargeBodiesBothWays)
{
    FakeWorker worker([](FakeWorker::Connection &connection, const std::string &head) {
        size_t at = head.find("Content-Length: ");
        size_t bytes = at == std::string::npos ? 0 : std::stoul(head.substr(at + 16));
        std::string body = connection.read_exactly(bytes);
        return connection.write(FakeWorker::answer(std::string(body.rbegin(), body.rend())));
    });
    put_worker("large", worker.url(), "reverse");
    std::string body(20 << 20, 'a');
    for (size_t i = 0; i < body.size(); i += 997)
        body[i] = static_cast<char>('a' + i % 26);
    Response answer = coordinator->post("/api/service/reverse", body);
    ASSERT_EQ(answer.status, 200) << answer.error;
    EXPECT_TRUE(answer.body == std::string(body.rbegin(), body.rend()));
    remove("large");
}

// A connection to the gateway, byte by byte.
class Wire
{
  public:
    explicit Wire(const std::string &address)
    {
        sockaddr_in to = {};
        to.sin_family = AF_INET;
        to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.find(':') + 1))));
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        timeval limit = {60, 0};
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        connected = connect(descriptor, reinterpret_cast<sockaddr *>(&to), sizeof to) == 0;
    }
    ~Wire()
    {
        close(descriptor);
    }
    void send_text(const std::string &text)
    {
        EXPECT_EQ(send(descriptor, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
    }
    // Reads until that text has come; false when it did not.
    bool read_until(const std::string &text)
    {
        while (all.find(text) == std::string::npos) {
            char bytes[4096];
            ssize_t count = recv(descriptor, bytes, sizeof bytes, 0);
            if (count <= 0)
                return false;
            all.append(bytes, static_cast<size_t>(count));
        }
        return true;
    }
    bool connected;
    std::string all;

  private:
    int descriptor;
};

TEST_F(Relay, UploadsReachTheWorkerPieceByPiece)
{
    std::mutex lock;
    std::string received;
    FakeWorker worker([&](FakeWorker::Connection &connection, const std::string &) {
        for (;;) {
            std::string some = connection.read_some();
            std::lock_guard<std::mutex> guard(lock);
            received += some;
            if (some.empty() || received.find("0\r\n\r\n") != std::string::npos)
                break;
        }
        return connection.write(FakeWorker::answer("thanks"));
    });
    put_worker("upload", worker.url(), "uploads");
    Wire wire(coordinator->address());
    ASSERT_TRUE(wire.connected);
    const auto has = [&](const std::string &text) {
        std::lock_guard<std::mutex> guard(lock);
        return received.find(text) != std::string::npos;
    };
    wire.send_text("POST /api/service/uploads HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    EXPECT_TRUE(eventually([&] { return has("first"); })) << "before the second piece was sent";
    wire.send_text("6\r\nsecond\r\n");
    EXPECT_TRUE(eventually([&] { return has("second"); }));
    wire.send_text("0\r\n\r\n");
    EXPECT_TRUE(wire.read_until("thanks")) << wire.all;
    remove("upload");
}

TEST_F(Relay, ServerSentEventsFlushAtOnce)
{
    std::atomic<int> allowed{0};
    std::atomic<bool> over{false};
    FakeWorker worker([&](FakeWorker::Connection &connection, const std::string &) {
        connection.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int sent = 0; !over;) {
            if (sent == allowed) {
                std::this_thread::sleep_for(std::chrono::milliseconds(5));
                continue;
            }
            std::string event = "data: " + std::to_string(++sent) + "\n\n";
            char length[16];
            snprintf(length, sizeof length, "%zx\r\n", event.size());
            if (!connection.write(length + event + "\r\n"))
                return false;
        }
        return false;
    });
    put_worker("events", worker.url(), "events");
    Wire wire(coordinator->address());
    ASSERT_TRUE(wire.connected);
    wire.send_text("GET /api/service/events HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n");
    for (int i = 1; i <= 5; i++) {
        allowed = i;
        EXPECT_TRUE(wire.read_until("data: " + std::to_string(i))) << wire.all;
    }
    EXPECT_NE(wire.all.find("X-Served-By: events"), std::string::npos) << wire.all;
    over = true;
    remove("events");
}

TEST_F(Relay, UpgradesBecomeATunnel)
{
    FakeWorker worker([](FakeWorker::Connection &connection, const std::string &) {
        connection.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello ");
        for (std::string some = connection.read_some(); !some.empty(); some = connection.read_some())
            connection.write(some);
        return false;
    });
    put_worker("tunnel", worker.url(), "tunnel");
    Wire wire(coordinator->address());
    ASSERT_TRUE(wire.connected);
    wire.send_text("GET /api/service/tunnel HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    EXPECT_TRUE(wire.read_until("hello ")) << wire.all;
    wire.send_text("ping-1");
    EXPECT_TRUE(wire.read_until("ping-1")) << wire.all;
    remove("tunnel");
}

// A coordinator of its own, with little patience.
TEST(SlowWorker, AClientIsToldInTime)
{
    Coordinator coordinator({.environment = {"FIRST_BYTE_TIMEOUT_SECONDS=0.5"}});
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    std::atomic<int> heard{0};
    FakeWorker worker([&](FakeWorker::Connection &connection, const std::string &) {
        heard++;
        return !connection.read_some().empty(); // until the gateway gives up
    });
    ASSERT_EQ(coordinator
                  .post("/api/worker/register",
                        R"({"worker_id": "slow", "tunnel_url": ")" + worker.url() + R"(", "services": ["slow"]})")
                  .status,
              200);
    Response answer = coordinator.post("/api/service/slow", "");
    EXPECT_EQ(answer.status, 504) << answer.described();
    EXPECT_EQ(answer.json()["error"].text(), "worker_timeout");
    EXPECT_EQ(answer.header("x-served-by"), "slow");
    EXPECT_EQ(heard, 1) << "a POST that was heard is not repeated";
    EXPECT_EQ(coordinator.stop(), 0) << coordinator.log();
}

TEST(Stopping, RequestsInFlightAreFinished)
{
    Coordinator coordinator;
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    std::atomic<bool> heard{false}, may_answer{false};
    FakeWorker worker([&](FakeWorker::Connection &connection, const std::string &) {
        heard = true;
        return eventually([&] { return may_answer.load(); }) && connection.write(FakeWorker::answer("late"));
    });
    ASSERT_EQ(coordinator
                  .post("/api/worker/register",
                        R"({"worker_id": "late", "tunnel_url": ")" + worker.url() + R"(", "services": ["late"]})")
                  .status,
              200);
    Response answer;
    std::thread client([&] { answer = coordinator.post("/api/service/late", ""); });
    EXPECT_TRUE(eventually([&] { return heard.load(); }));
    pid_t gateway = coordinator.pid("muster-gateway");
    EXPECT_TRUE(coordinator.kill("muster-gateway", SIGTERM));
    // It takes no new connections, and is still there for the one it has.
    EXPECT_TRUE(eventually([&] { return coordinator.log().find("muster-gateway: stopping") != std::string::npos; }));
    EXPECT_EQ(kill(gateway, 0), 0);
    may_answer = true;
    client.join();
    EXPECT_EQ(answer.status, 200) << answer.described();
    EXPECT_EQ(answer.body, "late");
    EXPECT_EQ(coordinator.stop(), 0) << coordinator.log();
}

TEST_F(Relay, ADrainedWorkerGetsNothingNew)
{
    FakeWorker worker([](FakeWorker::Connection &connection, const std::string &) {
        return connection.write(FakeWorker::answer("served"));
    });
    put_worker("drained", worker.url(), "drainable");
    ASSERT_TRUE(eventually([&] { return coordinator->get("/api/service/drainable").status == 200; }));
    ASSERT_EQ(coordinator->post("/api/admin/workers/drained/drain", "").status, 200);
    EXPECT_TRUE(eventually([&] { return coordinator->get("/api/service/drainable").status == 503; }));
    ASSERT_EQ(coordinator->post("/api/admin/workers/drained/undrain", "").status, 200);
    EXPECT_TRUE(eventually([&] { return coordinator->get("/api/service/drainable").status == 200; }));
    remove("drained");
}

} // namespace
