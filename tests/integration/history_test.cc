// History, statements and broadcast jobs through the real processes.

#include "tests/integration/coordinator.h"
#include "tests/integration/fake_worker.h"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace
{

std::string sql(const std::string &statement, const std::string &more = "")
{
    std::string quoted;
    for (char c : statement)
        quoted += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    return "{\"sql\": \"" + quoted + "\"" + more + "}";
}

// --- History ---

class HistoryTest : public ::testing::Test
{
  protected:
    void start(CoordinatorOptions options)
    {
        coordinator = std::make_unique<Coordinator>(options);
        ASSERT_TRUE(coordinator->start()) << coordinator->log();
    }
    Json query(const std::string &statement)
    {
        Response answer = coordinator->post("/api/admin/query", sql(statement));
        EXPECT_EQ(answer.status, 200) << answer.described();
        return answer.json();
    }
    std::string register_worker(const std::string &id, const std::string &url = "http://127.0.0.1:1",
                                const std::string &more = "")
    {
        Response answer =
            coordinator->post("/api/worker/register", "{\"worker_id\": \"" + id + "\", \"tunnel_url\": \"" + url +
                                                          "\", \"worker_type\": \"cpu\"" + more + "}");
        EXPECT_EQ(answer.status, 200) << answer.described();
        return id;
    }
    void beat(const std::string &id, const std::string &load)
    {
        Response answer = coordinator->post("/api/worker/heartbeat",
                                            "{\"worker_id\": \"" + id + "\", \"current_load\": " + load + "}");
        EXPECT_EQ(answer.status, 200) << answer.described();
    }
    std::unique_ptr<Coordinator> coordinator;
};

TEST_F(HistoryTest, ShowsWhatWorkersDidAndKeepsItOverAKill)
{
    start({.demo_workers = 1});
    for (int i = 0; i < 5; i++) {
        Response answer = coordinator->request("/api/service/document-processing", {.method = "POST", .body = "a b"});
        ASSERT_EQ(answer.status, 200) << answer.described();
    }
    register_worker("w-1");
    beat("w-1", "0.5");
    beat("w-1", "0.7");
    auto history = [&](const std::string &more) {
        return coordinator->get("/api/admin/history?worker=" + more).json();
    };
    // A step ends within 10 s.
    ASSERT_TRUE(eventually([&] { return history("w-1")["metrics"]["load"].size() > 0; })) << coordinator->log();
    ASSERT_TRUE(eventually([&] { return history("demo-1&step=1h")["metrics"]["requests"].size() > 0; }));
    Json load = history("w-1&metric=load&step=1h")["metrics"]["load"][0];
    EXPECT_DOUBLE_EQ(load["max"].number(), 0.7);
    EXPECT_DOUBLE_EQ(load["min"].number(), 0.5);
    EXPECT_EQ(load["count"].integer(), 2);
    EXPECT_TRUE(history("w-1&metric=load&step=1h")["metrics"]["state"].is_null());
    // The five, and those with which the demonstration found its worker ready.
    ASSERT_TRUE(eventually([&] {
        return query("SELECT sum(sum) FROM history WHERE worker_id = 'demo-1' AND metric = 'requests' AND step = 60")
                   ["rows"][0][0]
                       .integer() >= 5;
    }));

    ASSERT_TRUE(coordinator->kill_and_wait("muster-health"));
    ASSERT_TRUE(eventually([&] { return history("w-1&step=1h")["metrics"]["load"].size() > 0; }))
        << coordinator->get("/api/admin/history?worker=w-1&step=1h").described();
    EXPECT_EQ(history("w-1&metric=load&step=1h")["metrics"]["load"][0]["count"].integer(), 2);
    EXPECT_EQ(coordinator->stop(), 0);
}

TEST_F(HistoryTest, SqlSeesTheRollAsItIs)
{
    start({});
    register_worker("a", "http://127.0.0.1:1", ", \"location\": \"uk\", \"services\": [\"mine\"]");
    register_worker("b-'\\u0022");
    beat("a", "0.25");
    Json answer = query("SELECT worker_id, type, tier, location, status, load FROM workers ORDER BY worker_id");
    EXPECT_EQ(answer["rows"].dump(), "[[\"a\",\"cpu\",2,\"uk\",\"online\",0.25],[\"b-'\\\"\",\"cpu\",2,\"\","
                                     "\"online\",null]]");
    EXPECT_EQ(answer["row_count"].integer(), 2);
    EXPECT_FALSE(answer["truncated"].boolean());
    EXPECT_EQ(query("SELECT worker_id FROM services WHERE name = 'mine'")["rows"].dump(), "[[\"a\"]]");
    ASSERT_EQ(coordinator->request("/api/worker/unregister/a", {.method = "DELETE"}).status, 200);
    EXPECT_EQ(query("SELECT count(*) FROM workers")["rows"].dump(), "[[1]]");
    coordinator->post("/api/admin/workers/b-'%22/drain", "");
    EXPECT_EQ(query("SELECT status FROM workers")["rows"].dump(), "[[\"draining\"]]");
    EXPECT_EQ(query("SELECT x'00ff', 1.5, NULL, 'é'")["rows"].dump(), "[[\"00ff\",1.5,null,\"é\"]]");
}

// More workers than the registry lists in one page.
TEST_F(HistoryTest, SqlSeesManyPagesOfWorkers)
{
    start({.environment = {"HISTORY_WORKERS=10"}});
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++)
        threads.emplace_back([&, t] {
            HttpClient client;
            for (int i = t; i < 1100; i += 4)
                client.request(coordinator->url() + "/api/worker/register",
                               {.method = "POST",
                                .body = "{\"worker_id\": \"w-" + std::to_string(i) +
                                        "\", \"tunnel_url\": \"http://127.0.0.1:1\"}"});
        });
    for (std::thread &thread : threads)
        thread.join();
    EXPECT_EQ(query("SELECT count(*), count(DISTINCT worker_id) FROM workers")["rows"].dump(), "[[1100,1100]]");
    Json history;
    ASSERT_TRUE(eventually([&] {
        history = query("SELECT 1")["history"];
        return history["not_kept_workers"].integer() == 1090;
    })) << history.dump();
    EXPECT_EQ(history["kept_workers"].integer(), 10);
    EXPECT_EQ(history["worker_limit"].integer(), 10);
    EXPECT_TRUE(eventually([&] {
        return coordinator->get("/metrics").body.find("coordinator_history_workers_not_kept 1090\n") !=
               std::string::npos;
    }));
}

// Statements that would harm whoever runs them, and one that takes its time: all else goes on.
TEST_F(HistoryTest, StatementsHarmNobody)
{
    start({});
    register_worker("w");
    beat("w", "0.5");
    std::atomic<bool> ended{false};
    Response slow;
    std::thread operator_([&] {
        slow = coordinator->post(
            "/api/admin/query",
            sql("WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
                ", \"timeout_ms\": 10000"));
        ended = true;
    });
    for (int i = 0; i < 20; i++) {
        beat("w", "0.5");
        Response history = coordinator->get("/api/admin/history?worker=w&metric=load&step=10");
        EXPECT_EQ(history.status, 200) << history.described();
    }
    EXPECT_FALSE(ended) << "nobody waited for it";
    operator_.join();
    EXPECT_EQ(slow.status, 504) << slow.described();

    std::string file = coordinator->data_dir() + "/made-by-a-statement";
    for (const std::string &statement :
         {"ATTACH DATABASE '" + file + "' AS x", "VACUUM INTO '" + file + "'",
          std::string("PRAGMA journal_mode = DELETE"), std::string("SELECT load_extension('x')"),
          std::string("SELECT readfile('/etc/hostname')"), "SELECT writefile('" + file + "', 'x')",
          std::string("DELETE FROM history"), std::string("SELECT printf('%.*c', 2000000000, 'x')"),
          std::string("SELECT zeroblob(2000000000)"), std::string("SELECT * FROM pragma_database_list"),
          std::string("SELECT * FROM sqlite_schema")}) {
        Response answer = coordinator->post("/api/admin/query", sql(statement));
        EXPECT_TRUE(answer.status == 400 || answer.status == 403) << statement << ": " << answer.described();
    }
    EXPECT_NE(access(file.c_str(), F_OK), 0);
    EXPECT_EQ(coordinator->restarts("muster-health"), 0);
    EXPECT_EQ(query("SELECT count(*) FROM workers")["rows"][0][0].integer(), 1);
    EXPECT_EQ(coordinator->stop(), 0);
}

TEST_F(HistoryTest, SaysWhatIsWrong)
{
    start({});
    register_worker("w-1");
    struct {
        std::string body;
        long status;
        const char *error, *message;
    } const bad[] = {
        {"{\"sql\"", 400, "malformed_json", "JSON"},
        {"{}", 422, "invalid_field", "sql"},
        {"{\"sql\": 1}", 422, "invalid_field", "sql"},
        {sql("SELECT 1", ", \"limit\": 0"), 422, "invalid_field", "limit"},
        {sql("SELECT 1", ", \"limit\": 10001"), 422, "invalid_field", "limit"},
        {sql("SELECT 1", ", \"timeout_ms\": 30001"), 422, "invalid_field", "timeout_ms"},
        {sql("SELECT '" + std::string(70000, 'x') + "'"), 422, "invalid_field", "sql"},
        {sql("SELECT nonsense"), 400, "bad_query", "line 1, column 8: no such column: nonsense"},
        {sql("DELETE FROM workers"), 403, "query_not_allowed", "SELECT"},
        {sql("SELECT * FROM sqlite_schema"), 403, "query_not_allowed", "workers, services and history"},
        {sql("WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
             ", \"timeout_ms\": 50"),
         504, "query_timeout", "timeout_ms"},
    };
    for (const auto &one : bad) {
        Response answer = coordinator->post("/api/admin/query", one.body);
        EXPECT_EQ(answer.status, one.status) << one.body.substr(0, 80) << "\n" << answer.described();
        EXPECT_EQ(answer.json()["error"].text(), one.error) << one.body.substr(0, 80);
        EXPECT_NE(answer.json()["message"].text().find(one.message), std::string::npos) << answer.body;
    }
    Response most = coordinator->post("/api/admin/query", sql("SELECT 1", ", \"limit\": 10000, \"timeout_ms\": 30000"));
    EXPECT_EQ(most.status, 200) << most.described();
    for (const char *wrong : {"", "?worker=", "?worker=w-1&metric=nonsense", "?worker=w-1&since=yesterday",
                              "?worker=w-1&step=2m", "?worker=w-1&metric="})
        EXPECT_EQ(coordinator->get(std::string("/api/admin/history") + wrong).status, 422) << wrong;
    EXPECT_EQ(coordinator->get("/api/admin/history?worker=nobody").status, 404);
    EXPECT_EQ(coordinator->request("/api/admin/query", {.method = "GET"}).status, 405);
}

// The history's file cannot be written: heartbeats go on, and it says so.
TEST_F(HistoryTest, AFailingDiskCostsHistoryOnly)
{
    std::string folder = temporary_folder();
    start({.environment = {"HISTORY=" + folder + "/missing/history.sqlite3"}});
    register_worker("w-1");
    auto state = [&] { return query("SELECT count(*) FROM history")["history"]; };
    ASSERT_TRUE(eventually([&] {
        beat("w-1", "0.5");
        return state()["dropped_buckets"].integer() > 0;
    }));
    EXPECT_NE(state()["failure"].text().find("make its directory writable"), std::string::npos) << state().dump();
    EXPECT_EQ(coordinator->get("/api/admin/history?worker=w-1").status, 503);
    EXPECT_EQ(coordinator->worker("w-1")["status"].text(), "online");
}

// --- Broadcast ---

// An HTTP server that is none of ours: it answers each connection with what it is given, or not.
class ForeignServer
{
  public:
    enum Behaviour { ANSWERS, STAYS_SILENT, CLOSES, NEVER_ENDS };
    ForeignServer(Behaviour how, std::string with) : behaviour(how), text(std::move(with))
    {
        listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address = {};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t bytes = sizeof address;
        EXPECT_EQ(bind(listener, reinterpret_cast<sockaddr *>(&address), bytes), 0);
        EXPECT_EQ(listen(listener, 16), 0);
        getsockname(listener, reinterpret_cast<sockaddr *>(&address), &bytes);
        url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
        thread = std::thread([this] { serve(); });
    }
    ~ForeignServer()
    {
        stopping = true;
        thread.join();
        close(listener);
    }
    std::string url;
    std::atomic<int> connections{0};
    std::string request; // the last one; read it after the answer

  private:
    bool readable(int descriptor)
    {
        pollfd waiting = {descriptor, POLLIN, 0};
        while (!stopping && poll(&waiting, 1, 20) == 0)
            ;
        return !stopping;
    }
    void serve()
    {
        while (readable(listener)) {
            int client = accept(listener, nullptr, nullptr);
            if (client < 0)
                continue;
            connections++;
            std::string got;
            char block[4096];
            while (readable(client)) {
                ssize_t bytes = read(client, block, sizeof block);
                if (bytes <= 0)
                    break;
                got.append(block, size_t(bytes));
                if (got.find("}}") != std::string::npos) // the end of the tests' body
                    break;
            }
            request = got;
            answer(client);
            close(client);
        }
    }
    void answer(int client)
    {
        if (behaviour == CLOSES)
            return;
        if (behaviour == STAYS_SILENT) {
            readable(client); // until the other side closes
            return;
        }
        (void)!send(client, text.data(), text.size(), MSG_NOSIGNAL);
        std::string more(65536, 'x');
        while (behaviour == NEVER_ENDS && !stopping && send(client, more.data(), more.size(), MSG_NOSIGNAL) > 0)
            ;
    }
    Behaviour behaviour;
    std::string text;
    int listener;
    std::atomic<bool> stopping{false};
    std::thread thread;
};

const char *const job = "{\"job_type\": \"rag\", \"required_capability\": \"embeddings\", \"job_data\": {\"a\": {}}}";

TEST_F(HistoryTest, ABroadcastSaysWhatEachWorkerSaid)
{
    start({.environment = {"BROADCAST_TIMEOUT_SECONDS=2"}});
    const std::string capable = ", \"capabilities\": {\"embeddings\": true}";
    ForeignServer accepts(ForeignServer::ANSWERS, "HTTP/1.1 202 Accepted\r\nContent-Length: 12\r\n\r\n{\"queue\": 3}");
    ForeignServer refuses(ForeignServer::ANSWERS, "HTTP/1.1 409 Conflict\r\nContent-Length: 4\r\n\r\nbusy");
    ForeignServer garbage(ForeignServer::ANSWERS, "\x01\x02 this is no HTTP\r\n\r\n");
    ForeignServer silent(ForeignServer::STAYS_SILENT, "");
    ForeignServer closes(ForeignServer::CLOSES, "");
    ForeignServer endless(ForeignServer::NEVER_ENDS, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    ForeignServer target(ForeignServer::ANSWERS, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    ForeignServer redirects(ForeignServer::ANSWERS,
                            "HTTP/1.1 302 Found\r\nLocation: " + target.url + "/api/job\r\nContent-Length: 0\r\n\r\n");
    register_worker("accepts", accepts.url, capable);
    register_worker("refuses", refuses.url, capable);
    register_worker("garbage", garbage.url, capable);
    register_worker("silent", silent.url, capable);
    register_worker("closes", closes.url, capable);
    register_worker("endless", endless.url, capable);
    register_worker("redirects", redirects.url, capable);
    register_worker("service", accepts.url + "/by-service/",
                    ", \"services\": [{\"name\": \"s\", \"capabilities\": [\"embeddings\"]}]");
    register_worker("incapable", target.url, ", \"capabilities\": {\"embeddings\": false, \"other\": true}");
    register_worker("storage", target.url, ", \"capabilities\": {\"embeddings\": true, \"has_storage\": true}");
    Response again =
        coordinator->post("/api/worker/register", "{\"worker_id\": \"storage\", \"tunnel_url\": \"" + target.url +
                                                      "\", \"worker_type\": \"storage\", "
                                                      "\"capabilities\": {\"embeddings\": true}}");
    ASSERT_EQ(again.status, 200);

    Response answer = coordinator->post("/api/coordinator/broadcast-job", job);
    ASSERT_EQ(answer.status, 200) << answer.described();
    Json said = answer.json();
    EXPECT_EQ(said["broadcasted_to"].integer(), 8) << answer.body;
    EXPECT_EQ(said["successful"].integer(), 3);
    EXPECT_EQ(said["failed"].integer(), 5);
    EXPECT_EQ(said["job_type"].text(), "rag");
    EXPECT_EQ(said["job_id"].text().size(), 16u);
    auto of = [&](const std::string &id) { return said["workers"].find("worker_id", id); };
    EXPECT_EQ(of("accepts").dump(),
              "{\"worker_id\":\"accepts\",\"status\":\"accepted\",\"status_code\":202,\"response\":{\"queue\":3}}");
    EXPECT_EQ(of("refuses").dump(),
              "{\"worker_id\":\"refuses\",\"status\":\"rejected\",\"status_code\":409,\"response\":\"busy\"}");
    EXPECT_EQ(of("redirects")["status"].text(), "rejected");
    EXPECT_EQ(of("redirects")["status_code"].integer(), 302);
    EXPECT_EQ(of("garbage")["status"].text(), "failed");
    EXPECT_EQ(of("closes")["status"].text(), "failed");
    EXPECT_FALSE(of("closes")["error"].text().empty());
    EXPECT_EQ(of("silent")["status"].text(), "timeout");
    EXPECT_EQ(of("endless")["status"].text(), "accepted");
    EXPECT_TRUE(of("endless")["response_truncated"].boolean());
    EXPECT_EQ(of("endless")["response"].text().size(), 16384u);
    EXPECT_EQ(target.connections, 0);
    EXPECT_EQ(refuses.request.find("POST /api/job HTTP/1.1\r\n"), 0u) << refuses.request;
    Json body = Json::parse(refuses.request.substr(refuses.request.find("\r\n\r\n") + 4));
    EXPECT_EQ(body["job_id"].text(), said["job_id"].text());
    EXPECT_EQ(body["job_type"].text(), "rag");
    EXPECT_EQ(body["job_data"].dump(), "{\"a\":{}}");
    EXPECT_EQ(coordinator->stop(), 0);
}

// Every worker waits for all of them to have been asked.
TEST_F(HistoryTest, ABroadcastAsksAllAtOnce)
{
    const int count = 600;
    std::mutex lock;
    std::condition_variable all_are_there;
    int asked = 0;
    FakeWorker worker([&](FakeWorker::Connection &connection, const std::string &) {
        std::unique_lock<std::mutex> held(lock);
        asked++;
        all_are_there.notify_all();
        bool all = all_are_there.wait_for(held, std::chrono::seconds(60), [&] { return asked == count; });
        connection.write(FakeWorker::answer(all ? "all" : "some"));
        return false;
    });
    start({.environment = {"BROADCAST_TIMEOUT_SECONDS=90"}});
    for (int i = 0; i < count; i++)
        register_worker("w" + std::to_string(i), worker.url(), ", \"capabilities\": {\"embeddings\": true}");
    Response answer = coordinator->post("/api/coordinator/broadcast-job", job);
    ASSERT_EQ(answer.status, 200) << answer.described();
    EXPECT_EQ(answer.json()["successful"].integer(), count);
    EXPECT_EQ(answer.json()["workers"][0]["response"].text(), "all");
}

TEST_F(HistoryTest, ABroadcastNeedsACapableWorker)
{
    start({.demo_workers = 1});
    Response answer = coordinator->post("/api/coordinator/broadcast-job", job);
    EXPECT_EQ(answer.status, 503) << answer.described();
    EXPECT_EQ(answer.json()["error"].text(), "no_worker");
    EXPECT_FALSE(answer.header("retry-after").empty());
    EXPECT_EQ(coordinator->post("/api/coordinator/broadcast-job", "{\"job_type\"").status, 400);
    EXPECT_EQ(coordinator->post("/api/coordinator/broadcast-job", "{}").status, 422);
    EXPECT_EQ(coordinator->post("/api/coordinator/broadcast-job", "{\"job_type\": \"x\", \"job_data\": 1}").status,
              422);
    // A worker of ours that nobody gave a service for jobs says so.
    answer = coordinator->post("/api/coordinator/broadcast-job", "{\"job_type\": \"x\", \"job_id\": \"mine\"}");
    ASSERT_EQ(answer.status, 200) << answer.described();
    EXPECT_EQ(answer.json()["job_id"].text(), "mine");
    EXPECT_EQ(answer.json()["workers"][0]["status_code"].integer(), 404) << answer.body;
    EXPECT_NE(answer.json()["workers"][0]["response"]["message"].text().find("--service job="), std::string::npos)
        << answer.body;
}

TEST_F(HistoryTest, AWorkerOfOursHandsJobsToItsServiceForThem)
{
    start({});
    ForeignServer service(ForeignServer::ANSWERS,
                          "HTTP/1.1 202 Accepted\r\nContent-Length: 17\r\n\r\n{\"accepted\": true}");
    Process worker("services/worker/muster-worker",
                   {"--coordinator-url", coordinator->url(), "--worker-id", "mine", "--worker-type", "cpu", "--port",
                    "0", "--host", "127.0.0.1", "--service", "job=" + service.url});
    ASSERT_TRUE(eventually([&] { return coordinator->worker("mine")["status"].text() == "online"; }))
        << worker.errors();
    Response answer;
    ASSERT_TRUE(eventually([&] {
        answer =
            coordinator->post("/api/coordinator/broadcast-job", "{\"job_type\": \"rag\", \"job_data\": {\"a\": {}}}");
        return answer.json()["successful"].integer() == 1;
    })) << answer.described()
        << worker.errors() << service.request;
}

} // namespace
