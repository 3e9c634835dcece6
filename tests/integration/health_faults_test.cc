// Fleets that fall silent and workers that say too much, over a real coordinator.

#include "tests/integration/coordinator.h"

#include <gtest/gtest.h>

#include <sys/resource.h>

namespace
{

Response put_worker(Coordinator &coordinator, const std::string &id)
{
    return coordinator.post("/api/worker/register",
                            R"({"tunnel_url": "http://127.0.0.1:9", "worker_type": "cpu", "worker_id": ")" + id +
                                "\"}");
}

Response beat(Coordinator &coordinator, const std::string &id)
{
    return coordinator.post("/api/worker/heartbeat", R"({"worker_id": ")" + id + "\"}");
}

TEST(HealthFaults, WhenMostFallSilentTheyStayOnTheRollAndHealthSaysWhy)
{
    Coordinator coordinator(
        {.flags = {},
         .environment = {"HEARTBEAT_TIMEOUT_SECONDS=2", "WORKER_TIMEOUT_SECONDS=4", "EVICTION_BRAKE_WORKERS_MIN=5"}});
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    std::vector<std::string> ids;
    for (int i = 0; i < 8; i++) {
        ids.push_back("w" + std::to_string(i));
        ASSERT_EQ(put_worker(coordinator, ids.back()).status, 200);
    }
    EXPECT_TRUE(coordinator.get("/health").json()["warning"].is_null());
    // Nothing is heard of any of them.
    ASSERT_TRUE(eventually([&] { return !coordinator.get("/health").json()["warning"].is_null(); }));
    Json health = coordinator.get("/health").json();
    EXPECT_EQ(health["status"].text(), "degraded");
    EXPECT_NE(health["warning"].text().find("evictions are slowed down"), std::string::npos) << health.dump();
    ASSERT_TRUE(eventually([&] { return coordinator.worker("w3")["status"].text() == "offline"; }));
    Json silent = coordinator.worker("w3");
    EXPECT_NE(silent["status_reason"].text().find("not heard for"), std::string::npos) << silent.dump();
    EXPECT_NE(silent["status_changed_at"].text(), "");
    EXPECT_FALSE(silent["is_healthy"].boolean());
    EXPECT_NE(coordinator.get("/metrics").body.find("\ncoordinator_evictions_waiting "), std::string::npos);
    // They come back, but for those that the trickle let go, who register again.
    EXPECT_TRUE(eventually([&] {
        for (const auto &id : ids)
            if (beat(coordinator, id).status == 404)
                put_worker(coordinator, id);
        Json now = coordinator.get("/health").json();
        return now["status"].text() == "healthy" && now["workers"]["active"].integer() == 8;
    })) << coordinator.get("/health").body;
    EXPECT_TRUE(coordinator.get("/health").json()["warning"].is_null());
    EXPECT_EQ(coordinator.stop(), 0);
}

// RLIMIT_FSIZE stands for a disk that is full.
TEST(HealthFaults, AFullDiskIsToldByHealthAndReadsGoOn)
{
    Coordinator coordinator({.flags = {}, .environment = {}});
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    ASSERT_EQ(put_worker(coordinator, "first").status, 200);
    struct rlimit full = {1, RLIM_INFINITY}, free = {RLIM_INFINITY, RLIM_INFINITY};
    ASSERT_EQ(prlimit(coordinator.pid("muster-registry"), RLIMIT_FSIZE, &full, nullptr), 0);
    Response refused = put_worker(coordinator, "second");
    EXPECT_EQ(refused.status, 503) << refused.described();
    ASSERT_TRUE(eventually([&] { return !coordinator.get("/health").json()["warning"].is_null(); }));
    Json health = coordinator.get("/health").json();
    EXPECT_EQ(health["status"].text(), "degraded");
    EXPECT_NE(health["warning"].text().find("registry"), std::string::npos) << health.dump();
    EXPECT_FALSE(coordinator.worker("first").is_null()) << "reads go on";
    EXPECT_EQ(beat(coordinator, "first").status, 200);
    ASSERT_EQ(prlimit(coordinator.pid("muster-registry"), RLIMIT_FSIZE, &free, nullptr), 0);
    EXPECT_TRUE(eventually([&] { return coordinator.get("/health").json()["status"].text() == "healthy"; }));
    EXPECT_EQ(put_worker(coordinator, "second").status, 200);
    EXPECT_EQ(coordinator.restarts("muster-registry"), 0);
    EXPECT_EQ(coordinator.stop(), 0);
}

// Two workers with one id, which register again as soon as they are pushed out, as simple ones do.
TEST(HealthFaults, TwoWorkersWithOneIdAreToldAndShown)
{
    Coordinator coordinator;
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    long long incarnations[2] = {0, 0};
    int pushed_out = 0;
    for (int round = 0; round < 10; round++) {
        for (long long &incarnation : incarnations) {
            Response answer;
            if (incarnation != 0) {
                answer = coordinator.post("/api/worker/heartbeat", R"({"worker_id": "twin", "incarnation": )" +
                                                                       std::to_string(incarnation) + "}");
                if (answer.status == 200)
                    continue;
                ASSERT_EQ(answer.status, 409) << answer.described();
                EXPECT_EQ(answer.json()["error"].text(), "stale_incarnation");
                pushed_out++;
            }
            answer = put_worker(coordinator, "twin");
            ASSERT_EQ(answer.status, 200) << answer.described();
            incarnation = answer.json()["incarnation"].integer();
            EXPECT_EQ(coordinator
                          .post("/api/worker/heartbeat",
                                R"({"worker_id": "twin", "incarnation": )" + std::to_string(incarnation) + "}")
                          .status,
                      200);
        }
    }
    EXPECT_GE(pushed_out, 10);
    Json twin;
    EXPECT_TRUE(eventually([&] {
        twin = coordinator.worker("twin");
        return twin["status_reason"].text().find("another worker uses this id") != std::string::npos;
    })) << twin.dump();
    EXPECT_EQ(twin["status"].text(), "online");
    EXPECT_EQ(coordinator.stop(), 0);
}

TEST(HealthFaults, AWorkerThatSendsTooManyHeartbeatsIsToldSo)
{
    Coordinator coordinator({.flags = {}, .environment = {"HEARTBEATS_PER_SECOND_MAX=1"}});
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    ASSERT_EQ(put_worker(coordinator, "loud").status, 200);
    ASSERT_EQ(put_worker(coordinator, "calm").status, 200);
    Response refused;
    ASSERT_TRUE(eventually([&] {
        refused = beat(coordinator, "loud");
        return refused.status != 200;
    }));
    EXPECT_EQ(refused.status, 429) << refused.described();
    EXPECT_EQ(refused.json()["error"].text(), "too_many_requests");
    EXPECT_NE(refused.header("retry-after"), "");
    EXPECT_EQ(beat(coordinator, "calm").status, 200) << "nobody else is hurt";
    EXPECT_EQ(coordinator.worker("loud")["status"].text(), "online");
    EXPECT_TRUE(eventually([&] { return beat(coordinator, "loud").status == 200; }));
    EXPECT_EQ(coordinator.stop(), 0);
}

} // namespace
