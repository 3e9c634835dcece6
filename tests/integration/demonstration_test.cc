// What the demonstration claims: requests are answered by workers, and nobody notices when
// any process of a coordinator is killed.

#include "tests/integration/coordinator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace
{

const char service[] = "/api/service/document-processing";

Request document()
{
    Request request;
    request.method = "POST";
    request.headers = {"Content-Type: text/plain"};
    request.body = "one two three\nfour five\n";
    return request;
}

// The demo workers that are online, with their incarnations.
std::map<std::string, long long> online(Coordinator &coordinator)
{
    std::map<std::string, long long> found;
    Json workers = coordinator.get("/api/admin/workers").json()["workers"];
    for (size_t i = 0; i < workers.size(); i++)
        if (workers[i]["status"].text() == "online")
            found[workers[i]["worker_id"].text()] = workers[i]["incarnation"].integer();
    return found;
}

TEST(Demonstration, AWorkerAnswersWithWhatTheDocumentConsistsOf)
{
    Coordinator coordinator({.demo_workers = 3});
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    Response answer = coordinator.request(service, document());
    ASSERT_EQ(answer.status, 200) << answer.described();
    EXPECT_EQ(answer.json()["bytes"].integer(), 24);
    EXPECT_EQ(answer.json()["lines"].integer(), 2);
    EXPECT_EQ(answer.json()["words"].integer(), 5);
    EXPECT_EQ(answer.json()["sha256"].text(), "ca940d244e1f7a2c9dff01279b2de61513d99f5c023154d6f48844827caff7a1");
    EXPECT_EQ(answer.header("x-served-by").substr(0, 5), "demo-");
    EXPECT_EQ(online(coordinator).size(), 3u);
    EXPECT_EQ(coordinator.stop(), 0) << coordinator.log();
}

// Each process in turn, while requests flow: none fails, and the process comes back.
class Killed : public ::testing::TestWithParam<const char *>
{
};

TEST_P(Killed, WhileRequestsFlow)
{
    std::string name = GetParam();
    Coordinator coordinator({.demo_workers = 3});
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    auto before = online(coordinator);
    ASSERT_EQ(before.size(), 3u);
    Traffic traffic(coordinator.url() + service, document());
    ASSERT_TRUE(traffic.more(50));
    for (int round = 0; round < 2; round++) {
        ASSERT_TRUE(coordinator.kill_and_wait(name)) << coordinator.log();
        EXPECT_TRUE(traffic.more(50));
    }
    // Everybody is still there, and those that were not killed did not have to register again.
    std::map<std::string, long long> after;
    EXPECT_TRUE(eventually([&] {
        after = online(coordinator);
        return after.size() == 3;
    })) << coordinator.get("/api/admin/workers").described();
    for (const auto &[worker, incarnation] : before) {
        if (worker != name) {
            EXPECT_EQ(after[worker], incarnation) << worker << " registered again";
        }
    }
    EXPECT_TRUE(eventually([&] { return coordinator.get("/health").json()["status"].text() == "healthy"; }))
        << coordinator.get("/health").described();
    EXPECT_TRUE(traffic.more(50));
    traffic.stop();
    EXPECT_EQ(traffic.failed(), 0u) << traffic.failures() << coordinator.log();
    EXPECT_EQ(coordinator.restarts(name), 2);
    EXPECT_EQ(coordinator.stop(), 0) << coordinator.log();
}

INSTANTIATE_TEST_SUITE_P(Process, Killed,
                         ::testing::Values("muster-registry", "muster-assigner", "muster-health", "muster-router",
                                           "demo-1"),
                         [](const auto &parameter) {
                             std::string name = parameter.param;
                             name.erase(std::remove(name.begin(), name.end(), '-'), name.end());
                             return name;
                         });

TEST(Gateway, IsStartedAgainOnTheSamePortAndKnowsEverybody)
{
    Coordinator coordinator({.demo_workers = 2});
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    auto before = online(coordinator);
    ASSERT_EQ(before.size(), 2u);
    ASSERT_TRUE(coordinator.kill_and_wait("muster-gateway"));
    EXPECT_TRUE(eventually([&] { return coordinator.request(service, document()).status == 200; }))
        << coordinator.log();
    EXPECT_TRUE(eventually([&] { return online(coordinator) == before; }))
        << coordinator.get("/api/admin/workers").described();
}

TEST(Registry, WhileItIsDownRequestsGoOnAndRegistrationsAreRefusedClearly)
{
    Coordinator coordinator({.demo_workers = 2});
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    // Stopped, not killed: it stays away until it is continued.
    ASSERT_TRUE(coordinator.kill("muster-registry", SIGSTOP));
    for (int i = 0; i < 20; i++) {
        Response answer = coordinator.request(service, document());
        EXPECT_EQ(answer.status, 200) << answer.described();
    }
    EXPECT_EQ(coordinator.get("/api/coordinator/workers").json()["count"].integer(), 2);
    Response refused = coordinator.post(
        "/api/worker/register", R"({"worker_id": "late", "tunnel_url": "http://127.0.0.1:9", "worker_type": "cpu"})");
    EXPECT_EQ(refused.status, 503) << refused.described();
    EXPECT_FALSE(refused.header("retry-after").empty());
    EXPECT_FALSE(refused.json()["error"].text().empty()) << refused.described();
    ASSERT_TRUE(coordinator.kill("muster-registry", SIGCONT));
    EXPECT_TRUE(eventually([&] {
        return coordinator
                   .post("/api/worker/register",
                         R"({"worker_id": "late", "tunnel_url": "http://127.0.0.1:9", "worker_type": "cpu"})")
                   .status == 200;
    })) << coordinator.log();
}

TEST(Restart, OfTheWholeCoordinatorKeepsEveryWorker)
{
    std::string data_dir = temporary_folder();
    {
        Coordinator coordinator({.demo_workers = 2, .data_dir = data_dir});
        ASSERT_TRUE(coordinator.start()) << coordinator.log();
        Response registered = coordinator.post(
            "/api/worker/register",
            R"({"worker_id": "far-away", "tunnel_url": "http://127.0.0.1:9", "worker_type": "gpu", "location": "uk"})");
        ASSERT_EQ(registered.status, 200) << registered.described();
        EXPECT_EQ(coordinator.stop(), 0);
    }
    Coordinator coordinator({.demo_workers = 2, .data_dir = data_dir});
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    // Not heard yet, but known; a heartbeat brings it back without registering again.
    Json far_away = coordinator.worker("far-away");
    EXPECT_EQ(far_away["status"].text(), "reconnecting") << far_away.dump();
    EXPECT_EQ(far_away["location"].text(), "uk");
    EXPECT_EQ(far_away["incarnation"].integer(), 1);
    Response heartbeat = coordinator.post("/api/worker/heartbeat", R"({"worker_id": "far-away", "incarnation": 1})");
    EXPECT_EQ(heartbeat.status, 200) << heartbeat.described();
    EXPECT_TRUE(eventually([&] { return coordinator.worker("far-away")["status"].text() == "online"; }));
    EXPECT_EQ(online(coordinator).size(), 3u);
}

TEST(Restart, AfterSigkillOfEverythingLosesNothingThatWasAcknowledged)
{
    std::string data_dir = temporary_folder();
    std::set<std::string> acknowledged;
    {
        Coordinator coordinator({.data_dir = data_dir});
        ASSERT_TRUE(coordinator.start()) << coordinator.log();
        for (int i = 0; i < 50; i++) {
            std::string id = "w" + std::to_string(i);
            if (coordinator
                    .post("/api/worker/register",
                          R"({"worker_id": ")" + id + R"(", "tunnel_url": "http://127.0.0.1:9", "worker_type": "cpu"})")
                    .status == 200)
                acknowledged.insert(id);
        }
        ASSERT_EQ(acknowledged.size(), 50u);
        // musterctl takes all its processes with it.
        coordinator.process().signal(SIGKILL);
        ASSERT_EQ(coordinator.process().wait(), 128 + SIGKILL);
    }
    Coordinator coordinator({.data_dir = data_dir});
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    Json workers = coordinator.get("/api/admin/workers").json()["workers"];
    std::set<std::string> found;
    for (size_t i = 0; i < workers.size(); i++)
        found.insert(workers[i]["worker_id"].text());
    EXPECT_EQ(found, acknowledged);
}

} // namespace
