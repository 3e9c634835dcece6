// A service that loses its last worker, over a real coordinator.

#include "tests/integration/coordinator.h"

#include <gtest/gtest.h>

namespace
{

Json put_worker(Coordinator &coordinator, const std::string &id)
{
    Response answer = coordinator.post("/api/worker/register", R"({"tunnel_url": "http://127.0.0.1:9",
        "worker_type": "cpu", "worker_id": ")" + id + "\"}");
    EXPECT_EQ(answer.status, 200) << answer.described();
    return answer.json();
}

Json beat(Coordinator &coordinator, const std::string &id)
{
    return coordinator.post("/api/worker/heartbeat", R"({"worker_id": ")" + id + "\"}").json();
}

bool runs(const Json &services, const std::string &name)
{
    for (size_t i = 0; i < services.size(); i++)
        if (services[i].text() == name)
            return true;
    return false;
}

TEST(Adaptation, AnotherWorkerIsToldToRunWhatLostItsLastWorker)
{
    Coordinator coordinator;
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    Json first = put_worker(coordinator, "first"), second = put_worker(coordinator, "second");
    ASSERT_EQ(first["assigned_services"].size(), 3u) << first.dump();
    ASSERT_EQ(second["assigned_services"].size(), 2u) << second.dump();
    std::string lost;
    for (size_t i = 0; i < 3; i++)
        if (!runs(second["assigned_services"], first["assigned_services"][i].text()))
            lost = first["assigned_services"][i].text();
    ASSERT_NE(lost, "");
    EXPECT_TRUE(beat(coordinator, "second")["assigned_services"].is_null()) << "nothing has changed yet";
    ASSERT_EQ(coordinator.request("/api/worker/unregister/first", {.method = "DELETE"}).status, 200);
    Json told;
    ASSERT_TRUE(eventually([&] {
        told = beat(coordinator, "second");
        return !told["assigned_services"].is_null();
    })) << coordinator.log();
    EXPECT_EQ(told["assigned_services"].size(), 3u) << told.dump();
    EXPECT_TRUE(runs(told["assigned_services"], lost)) << told.dump();
    EXPECT_TRUE(eventually([&] { return runs(coordinator.worker("second")["assigned_services"], lost); }));
    // It is durable, as every assignment.
    ASSERT_TRUE(coordinator.kill_and_wait("muster-registry"));
    EXPECT_TRUE(eventually([&] { return runs(coordinator.worker("second")["assigned_services"], lost); }));
    EXPECT_TRUE(eventually([&] {
        Json gaps = coordinator.get("/api/admin/gaps").json()["gaps"];
        return gaps.find("service", lost)["current_workers"].integer() == 1;
    }));
    EXPECT_EQ(coordinator.stop(), 0);
}

} // namespace
