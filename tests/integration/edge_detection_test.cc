// A worker finds out by itself that its machine is one for edge services: real processes, in a network namespace whose
// addresses and routes the tests make up. Nothing is sent to anywhere: all of it is the namespace's loopback.

#include "tests/integration/coordinator.h"

#include <gtest/gtest.h>

#include <sched.h>

#include <cstdlib>
#include <thread>

namespace
{

const std::string public_address = "11.77.0.1", private_address = "10.77.0.2";
bool in_namespace = false;

bool run(const std::string &command)
{
    return system((command + " 2>/dev/null").c_str()) == 0;
}

bool make_namespace()
{
    return unshare(CLONE_NEWNET) == 0 && run("ip link set lo up") &&
           run("ip addr add " + public_address + "/32 dev lo") && run("ip addr add " + private_address + "/32 dev lo");
}

// The address that this machine would reach the internet from.
bool goes_out_from(const std::string &address)
{
    return run("ip route replace default dev lo src " + address);
}

class EdgeDetection : public testing::Test
{
  protected:
    void SetUp() override
    {
        if (!in_namespace)
            GTEST_SKIP() << "network namespaces cannot be had here: they take root";
        if (std::thread::hardware_concurrency() < 2)
            GTEST_SKIP() << "this machine has one processor: it is none for edge services";
    }
    void start_worker(const std::string &coordinator_url, std::vector<std::string> flags = {})
    {
        flags.insert(flags.end(), {"--coordinator-url", coordinator_url, "--worker-id", "w", "--port", "0",
                                   "--storage-dir", temporary_folder()});
        worker = std::make_unique<Process>("services/worker/muster-worker", flags);
    }
    std::unique_ptr<Process> worker;
};

std::string state_of(Coordinator &coordinator, const std::string &service)
{
    return coordinator.worker("w")["services_status"][service].text();
}

TEST_F(EdgeDetection, APublicAddressMakesOne)
{
    ASSERT_TRUE(goes_out_from(public_address));
    Coordinator edge({.flags = {"--role", "edge-router"}}), first({.flags = {"--coordinator-id", "first"}});
    ASSERT_TRUE(edge.start() && first.start());
    start_worker(first.url(), {"--edge-join", edge.url()});
    ASSERT_TRUE(eventually([&] { return !first.worker("w").is_null(); })) << worker->errors();
    Json record = first.worker("w");
    EXPECT_EQ(record["worker_type"].text(), "edge") << record.dump();
    EXPECT_EQ(record["tier"].integer(), 4);
    EXPECT_TRUE(record["capabilities"]["has_public_ip"].boolean());
    EXPECT_TRUE(record["capabilities"]["has_edge"].boolean());
    EXPECT_EQ(record["assigned_services"][0].text(), "coordinator");
    EXPECT_EQ(record["assigned_services"][1].text(), "edge-proxy");
    EXPECT_TRUE(eventually([&] {
        return state_of(first, "coordinator") == "running" && state_of(first, "edge-proxy") == "running";
    })) << worker->errors();
    EXPECT_TRUE(eventually([&] {
        return edge.get("/api/admin/coordinators").json().find("worker_id", "w-coordinator")["in_pool"].boolean();
    })) << worker->errors();
    worker->signal(SIGTERM);
    EXPECT_EQ(worker->wait(), 0) << worker->errors();
    EXPECT_EQ(first.stop(), 0);
    EXPECT_EQ(edge.stop(), 0);
}

TEST_F(EdgeDetection, SoDoesACoordinatorOnTheInternetThatIsNear)
{
    ASSERT_TRUE(goes_out_from(private_address));
    ASSERT_TRUE(run("ip route change local " + public_address + " dev lo table local src " + private_address));
    Coordinator first({.flags = {"--host", public_address, "--insecure"}});
    ASSERT_TRUE(first.start()) << first.log();
    start_worker(first.url());
    ASSERT_TRUE(eventually([&] { return !first.worker("w").is_null(); })) << worker->errors();
    Json record = first.worker("w");
    EXPECT_EQ(record["worker_type"].text(), "edge") << record.dump();
    EXPECT_FALSE(record["capabilities"]["has_public_ip"].boolean());
    EXPECT_TRUE(record["capabilities"]["has_edge"].boolean());
    EXPECT_GT(record["capabilities"]["latency_ms"].number(), 0);
    EXPECT_LT(record["capabilities"]["latency_ms"].number(), 50);
    EXPECT_TRUE(eventually([&] { return state_of(first, "edge-proxy") == "running"; })) << worker->errors();
    worker->signal(SIGTERM);
    EXPECT_EQ(worker->wait(), 0) << worker->errors();
    EXPECT_EQ(first.stop(), 0);
}

TEST_F(EdgeDetection, NothingElseDoes)
{
    ASSERT_TRUE(goes_out_from(private_address));
    Coordinator first;
    ASSERT_TRUE(first.start()) << first.log();
    start_worker(first.url());
    ASSERT_TRUE(eventually([&] { return !first.worker("w").is_null(); })) << worker->errors();
    Json record = first.worker("w");
    EXPECT_NE(record["worker_type"].text(), "edge") << record.dump();
    EXPECT_FALSE(record["capabilities"]["has_edge"].boolean()) << "it is near, but on the same machine";
    EXPECT_NE(state_of(first, "coordinator"), "running");
    worker->signal(SIGTERM);
    EXPECT_EQ(worker->wait(), 0) << worker->errors();
    EXPECT_EQ(first.stop(), 0);
}

} // namespace

int main(int argc, char **argv)
{
    in_namespace = make_namespace(); // before there are threads
    testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
