// Parts of a coordinator that were away for a while, stopped but not dead, with their watches open:
// what happened meanwhile reaches them when they are back.

#include "tests/integration/coordinator.h"

#include <gtest/gtest.h>

namespace
{

class Absence : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        ASSERT_TRUE(coordinator.start()) << coordinator.log();
    }
    void register_workers(int from, int to)
    {
        for (int i = from; i < to; i++) {
            Response answer =
                coordinator.post("/api/worker/register",
                                 R"({"tunnel_url": "http://127.0.0.1:9", "worker_type": "cpu", "worker_id": "w)" +
                                     std::to_string(i) + R"(", "services": ["special"]})");
            ASSERT_EQ(answer.status, 200) << answer.described();
        }
    }
    void unregister_workers(int from, int to)
    {
        for (int i = from; i < to; i++)
            ASSERT_EQ(coordinator.request("/api/worker/unregister/w" + std::to_string(i), {.method = "DELETE"}).status,
                      200);
    }
    Coordinator coordinator;
};

TEST_F(Absence, OfAGateway)
{
    Process second("gateway/muster-gateway",
                   {"--host", "127.0.0.1", "--port", "0", "--registry-address", coordinator.address("muster-registry"),
                    "--assigner-address", coordinator.address("muster-assigner"), "--health-address",
                    coordinator.address("muster-health"), "--router-address", coordinator.address("muster-router")});
    std::string url;
    ASSERT_TRUE(eventually([&] {
        std::string log = second.errors();
        size_t at = log.find("address=127.0.0.1:");
        if (at == std::string::npos)
            return false;
        url = "http://" + log.substr(at + 8, log.find_first_of(" \n", at) - at - 8);
        return true;
    })) << second.errors();
    auto knows = [&](long long count) {
        return eventually([&] {
            HttpClient client;
            Response stats = client.request(url + "/api/admin/stats");
            return stats.status == 200 && stats.json()["total_workers"].integer() == count;
        });
    };
    register_workers(0, 30);
    ASSERT_TRUE(knows(30)) << second.errors();
    // Its connections stay, and their buffers take what comes.
    second.signal(SIGSTOP);
    register_workers(30, 200);
    unregister_workers(0, 20);
    second.signal(SIGCONT);
    EXPECT_TRUE(knows(180)) << second.errors();
    // The registry is another one when it is back.
    second.signal(SIGSTOP);
    register_workers(200, 210);
    ASSERT_TRUE(coordinator.kill_and_wait("muster-registry"));
    ASSERT_TRUE(eventually([&] { return coordinator.get("/health").json()["status"].text() == "healthy"; }));
    unregister_workers(200, 205);
    register_workers(210, 220);
    second.signal(SIGCONT);
    EXPECT_TRUE(knows(195)) << second.errors();
    second.signal(SIGTERM);
    EXPECT_EQ(second.wait(), 0);
    EXPECT_EQ(coordinator.stop(), 0);
}

TEST_F(Absence, OfTheRouterAndOfHealth)
{
    register_workers(0, 3);
    auto candidates = [&] {
        Process route("services/ctl/musterctl",
                      {"route", "special", "--router-address", coordinator.address("muster-router")});
        EXPECT_EQ(route.wait(), 0) << route.errors();
        return route.output();
    };
    ASSERT_TRUE(eventually([&] { return candidates().find("w2") != std::string::npos; }));
    for (const char *name : {"muster-router", "muster-health"}) {
        ASSERT_TRUE(coordinator.kill(name, SIGSTOP));
        unregister_workers(0, 1);
        register_workers(3, 4);
        ASSERT_TRUE(coordinator.kill(name, SIGCONT));
        EXPECT_TRUE(eventually([&] {
            std::string now = candidates();
            return now.find("w3") != std::string::npos && now.find("w0") == std::string::npos;
        })) << name
            << candidates();
        EXPECT_TRUE(eventually([&] {
            return coordinator.post("/api/worker/heartbeat", R"({"worker_id": "w3", "incarnation": 0})").status == 200;
        })) << name;
        EXPECT_EQ(coordinator.worker("w3")["status"].text(), "online");
        EXPECT_EQ(coordinator.restarts(name), 0);
        unregister_workers(3, 4);
        register_workers(0, 1);
    }
    EXPECT_EQ(coordinator.stop(), 0);
}

} // namespace
