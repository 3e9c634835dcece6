// Active probes, with servers that answer well, badly, too late, or without end.

#include "tests/integration/coordinator.h"
#include "tests/integration/fake_worker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace
{

enum class Mood { kGood, kBad, kSilent, kEndless, kRedirect };

// Answers probes as its mood is, and everything else with its name.
class Server
{
  public:
    explicit Server(const std::string &name)
        : worker([this, name](FakeWorker::Connection &connection, const std::string &head) {
              return answer(connection, head, name);
          })
    {
    }
    ~Server()
    {
        ending = true;
    }
    std::string url() const
    {
        return worker.url();
    }
    std::atomic<Mood> mood{Mood::kGood};
    std::atomic<int> probes{0};

  private:
    bool answer(FakeWorker::Connection &connection, const std::string &head, const std::string &name)
    {
        if (head.rfind("GET /health ", 0) != 0)
            return connection.write(FakeWorker::answer(name));
        EXPECT_NE(head.find("muster-router"), std::string::npos) << head;
        probes++;
        switch (mood) {
        case Mood::kBad:
            return connection.write("HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n");
        case Mood::kRedirect:
            /* Is not followed, and says that somebody is there. */
            return connection.write("HTTP/1.1 302 there\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n");
        case Mood::kSilent:
            while (!ending && mood == Mood::kSilent)
                std::this_thread::sleep_for(std::chrono::milliseconds(10));
            return false;
        case Mood::kEndless:
            if (!connection.write("HTTP/1.1 200 ok\r\nConnection: close\r\n\r\n"))
                return false;
            while (!ending && connection.write(std::string(65536, 'x')))
                continue;
            return false;
        default:
            return connection.write(FakeWorker::answer("fine"));
        }
    }
    std::atomic<bool> ending{false};
    FakeWorker worker;
};

TEST(Probes, AWorkerWhoseServiceFailsIsLeftOutUntilItRecovers)
{
    std::string folder = temporary_folder();
    write_file(folder + "/catalog.json", R"({"services": [
        {"name": "probed", "requires": "cpu", "priority": 1, "port": 1,
         "probe": {"interval_seconds": 0.1, "timeout_seconds": 1, "failures": 2, "successes": 2}},
        {"name": "other", "requires": "cpu", "priority": 2, "port": 2}]})");
    CoordinatorOptions options;
    options.flags = {"--catalog", folder + "/catalog.json"};
    Coordinator coordinator(options);
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    Server one("one"), two("two");
    for (const auto &[id, url] : std::map<std::string, std::string>{{"one", one.url()}, {"two", two.url()}}) {
        Response answer = coordinator.post("/api/worker/register", R"({"worker_id": ")" + id +
                                                                       R"(", "worker_type": "cpu", "tunnel_url": ")" +
                                                                       url + R"(", "services": ["probed", "other"]})");
        ASSERT_EQ(answer.status, 200) << answer.described();
    }
    // Of many requests, how many `id` answered.
    auto share = [&](const std::string &service, const std::string &id) {
        int count = 0;
        for (int i = 0; i < 30; i++) {
            Response answer = coordinator.get("/api/service/" + service);
            EXPECT_EQ(answer.status, 200) << answer.described();
            count += answer.body == id ? 1 : 0;
        }
        return count;
    };
    ASSERT_TRUE(eventually([&] { return one.probes > 0 && two.probes > 0; })) << coordinator.log();
    ASSERT_TRUE(eventually([&] { return share("probed", "one") > 0 && share("probed", "two") > 0; }));

    for (Mood mood : {Mood::kBad, Mood::kSilent}) {
        one.mood = mood;
        ASSERT_TRUE(eventually([&] { return share("probed", "one") == 0; })) << coordinator.log();
        EXPECT_TRUE(eventually([&] { return share("other", "one") > 0; })) << "which nobody probes";
        Process route("services/ctl/musterctl",
                      {"route", "probed", "--router-address", coordinator.address("muster-router")});
        EXPECT_EQ(route.wait(), 0) << route.errors();
        EXPECT_NE(route.output().find("its probe failed"), std::string::npos) << route.output();
        one.mood = Mood::kGood;
        ASSERT_TRUE(eventually([&] { return share("probed", "one") > 0; })) << coordinator.log();
    }
    // An answer without end is cut off, and one that leads elsewhere is not followed: both say that it runs.
    for (Mood mood : {Mood::kEndless, Mood::kRedirect}) {
        one.mood = mood;
        int before = one.probes;
        ASSERT_TRUE(eventually([&] { return one.probes >= before + 5; })) << coordinator.log();
        EXPECT_TRUE(eventually([&] { return share("probed", "one") > 0; })) << coordinator.log();
    }
    // All fail: trying is better than refusing.
    one.mood = two.mood = Mood::kBad;
    int before = one.probes;
    ASSERT_TRUE(eventually([&] { return one.probes >= before + 5; }));
    EXPECT_GT(share("probed", "one") + share("probed", "two"), 0);
    EXPECT_EQ(coordinator.stop(), 0);
}

TEST(Probes, AreOffByDefault)
{
    Coordinator coordinator;
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    Server server("one");
    Response answer = coordinator.post(
        "/api/worker/register", R"({"worker_id": "one", "worker_type": "cpu", "tunnel_url": ")" + server.url() + "\"}");
    ASSERT_EQ(answer.status, 200) << answer.described();
    ASSERT_TRUE(eventually([&] { return coordinator.get("/api/service/document-processing").status == 200; }));
    std::this_thread::sleep_for(std::chrono::seconds(1));
    EXPECT_EQ(server.probes, 0);
    EXPECT_EQ(coordinator.stop(), 0);
}

} // namespace
