// Edge workers run what they are assigned: a coordinator that joins, an edge proxy, a load balancer.

#include "tests/integration/fake_worker.h"
#include "tests/integration/lone_gateway.h"

#include <gtest/gtest.h>

#include <sys/stat.h>

namespace
{

CoordinatorOptions edge_router(const std::vector<std::string> &environment = {})
{
    CoordinatorOptions options;
    options.flags = {"--role", "edge-router"};
    options.environment = {"REGION_INTERVAL_SECONDS=0.2"};
    options.environment.insert(options.environment.end(), environment.begin(), environment.end());
    return options;
}

CoordinatorOptions first_coordinator(const std::string &edge_url, const std::vector<std::string> &environment = {})
{
    CoordinatorOptions options;
    options.flags = {"--join", edge_url, "--coordinator-id", "first"};
    options.environment = environment;
    return options;
}

// An edge worker at that coordinator.
class EdgeWorker
{
  public:
    EdgeWorker(const std::string &its_id, Coordinator &its_coordinator, const std::string &edge_url,
               std::vector<std::string> flags = {}, std::vector<std::string> environment = {})
        : id(its_id), coordinator(its_coordinator)
    {
        flags.insert(flags.end(),
                     {"--worker-id", id, "--worker-type", "edge", "--port", "0", "--location", id, "--coordinator-url",
                      coordinator.url(), "--edge-join", edge_url, "--storage-dir", temporary_folder()});
        environment.insert(environment.end(), {"JOIN_HEARTBEAT_SECONDS=0.3", "POLL_SECONDS=0.5",
                                               "POLL_RETRY_SECONDS=0.2", "CHECK_INTERVAL_SECONDS=0.2"});
        process = std::make_unique<Process>("services/worker/muster-worker", flags, environment);
    }
    bool runs(const std::string &service, const std::string &state = "running")
    {
        return eventually([&] { return health()["services"][service].text() == state; });
    }
    Json health(const Request &request = {})
    {
        return get("/health", request).json();
    }
    Response get(const std::string &path, const Request &request = {})
    {
        if (url.empty())
            url = coordinator.request("/api/admin/workers", {.headers = headers})
                      .json()["workers"]
                      .find("worker_id", id)["tunnel_url"]
                      .text();
        return url.empty() ? Response() : HttpClient().request(url + path, request);
    }
    int stop()
    {
        process->signal(SIGTERM);
        return process->wait();
    }
    std::string log() const
    {
        return process->errors();
    }
    std::vector<std::string> headers; // to the coordinator

  private:
    std::string id, url;
    Coordinator &coordinator;
    std::unique_ptr<Process> process;
};

Json coordinator_at(Coordinator &edge, const std::string &id)
{
    return edge.get("/api/admin/coordinators").json().find("worker_id", id);
}

TEST(EdgeWorkers, TheyRunACoordinatorAnEdgeProxyAndALoadBalancer)
{
    FakeWorker machine([](FakeWorker::Connection &connection, const std::string &) {
        return connection.write(FakeWorker::answer("served"));
    });
    Coordinator edge(edge_router());
    ASSERT_TRUE(edge.start()) << edge.log();
    Coordinator first(first_coordinator(edge.url()));
    ASSERT_TRUE(first.start()) << first.log();
    ASSERT_EQ(first
                  .post("/api/worker/register",
                        R"({"worker_id": "m", "tunnel_url": ")" + machine.url() + R"(", "services": ["files"]})")
                  .status,
              200);
    EdgeWorker uk("uk", first, edge.url());
    ASSERT_TRUE(uk.runs("coordinator") && uk.runs("edge-proxy")) << uk.log();
    EXPECT_EQ(uk.health()["assigned_services"].size(), 2u) << uk.health().dump();
    ASSERT_TRUE(eventually([&] { return coordinator_at(edge, "uk-coordinator")["in_pool"].boolean(); }))
        << edge.get("/api/admin/coordinators").body << uk.log();

    // Its coordinator takes workers, through the worker that runs it.
    Response placed = edge.post("/api/worker/register", R"({"worker_id": "w", "tunnel_url": ")" + machine.url() +
                                                            R"(", "location": "uk", "services": ["pages"]})");
    EXPECT_EQ(placed.header("x-coordinator"), "uk-coordinator") << placed.described();
    EXPECT_EQ(edge.get("/service/pages/x").body, "served");
    // Its edge proxy serves by the list of the coordinator that the worker is at.
    EXPECT_TRUE(eventually([&] { return uk.get("/service/edge-proxy/service/files/x").body == "served"; }));
    EXPECT_EQ(first.get("/api/service/edge-proxy/service/files/x").body, "served")
        << "the coordinator knows where it is";

    // The next one balances as well, over the edge proxies of both.
    EdgeWorker us("us", first, edge.url());
    ASSERT_TRUE(us.runs("coordinator") && us.runs("edge-proxy") && us.runs("load-balancer")) << us.log();
    EXPECT_TRUE(eventually([&] {
        return us.get("/service/load-balancer/health").json()["workers"]["active"].integer() == 2;
    })) << us.get("/service/load-balancer/health").body;
    EXPECT_TRUE(eventually([&] { return us.get("/service/load-balancer/service/files/x").body == "served"; }));
    EXPECT_TRUE(eventually([&] { return coordinator_at(edge, "us-coordinator")["in_pool"].boolean(); }));

    // One that leaves takes what it runs along; its coordinator says goodbye.
    EXPECT_EQ(uk.stop(), 0) << uk.log();
    EXPECT_TRUE(eventually([&] { return coordinator_at(edge, "uk-coordinator").is_null(); }));
    EXPECT_TRUE(eventually([&] { return us.get("/service/load-balancer/service/files/x").body == "served"; }));
    EXPECT_EQ(us.stop(), 0) << us.log();
    EXPECT_EQ(first.stop(), 0);
    EXPECT_EQ(edge.stop(), 0);
}

TEST(EdgeWorkers, TheFirstOfAllRunsTheCoordinatorThatIsMissing)
{
    Coordinator edge(edge_router());
    ASSERT_TRUE(edge.start()) << edge.log();
    EXPECT_EQ(edge.post("/api/worker/register", R"({"worker_id": "c", "tunnel_url": "http://127.0.0.1:9"})").status,
              503);
    EdgeWorker solo("solo", edge, edge.url());
    ASSERT_TRUE(solo.runs("coordinator") && solo.runs("edge-proxy")) << solo.log();
    EXPECT_TRUE(eventually([&] { return coordinator_at(edge, "solo-coordinator")["in_pool"].boolean(); }))
        << solo.log();
    EXPECT_TRUE(coordinator_at(edge, "solo").is_null()) << "the worker itself is none";
    EXPECT_EQ(edge.worker("solo")["coordinator"].text(), "solo-coordinator") << "it is at its own";
    EXPECT_EQ(edge.worker("solo")["worker_type"].text(), "edge");
    EXPECT_EQ(edge.post("/api/worker/register", R"({"worker_id": "c", "tunnel_url": "http://127.0.0.1:9"})").status,
              200);
    EXPECT_EQ(solo.stop(), 0) << solo.log();
    EXPECT_TRUE(eventually([&] { return coordinator_at(edge, "solo-coordinator").is_null(); }));
    EXPECT_EQ(edge.stop(), 0);
}

TEST(EdgeWorkers, WhatOthersReachAsksForKeys)
{
    Coordinator plain;
    ASSERT_TRUE(plain.start());
    EdgeWorker open("open", plain, "http://127.0.0.1:9", {"--host", "0.0.0.0"});
    ASSERT_TRUE(open.runs("coordinator", "unavailable")) << open.log();
    EXPECT_NE(open.log().find("--edge-api-keys"), std::string::npos);
    EXPECT_EQ(open.stop(), 0);
    EdgeWorker off("off", plain, "http://127.0.0.1:9", {"--edge-services=false"});
    ASSERT_TRUE(off.runs("coordinator", "unavailable")) << off.log();
    EXPECT_EQ(off.stop(), 0);
    EXPECT_EQ(plain.stop(), 0);

    std::string keys = temporary_folder() + "/keys.json";
    write_file(keys, R"({"keys": [{"name": "all", "key": "a-key-0123456789", "rights": ["admin"]}]})");
    chmod(keys.c_str(), 0600);
    const Request keyed = {.headers = {"X-API-Key: a-key-0123456789"}};
    Coordinator edge(edge_router({"API_KEY=a-key-0123456789", "FEDERATION_KEY=a-key-0123456789"}));
    ASSERT_TRUE(edge.start()) << edge.log();
    Coordinator first(first_coordinator(edge.url(), {"API_KEY=a-key-0123456789", "FEDERATION_KEY=a-key-0123456789"}));
    ASSERT_TRUE(first.start()) << first.log();
    EdgeWorker worker("closed", first, edge.url(), {"--host", "0.0.0.0", "--edge-api-keys", keys},
                      {"API_KEY=a-key-0123456789", "FEDERATION_KEY=a-key-0123456789"});
    worker.headers = keyed.headers;
    ASSERT_TRUE(worker.runs("coordinator") && worker.runs("edge-proxy")) << worker.log();
    EXPECT_EQ(worker.get("/service/coordinator/api/admin/workers").status, 401);
    EXPECT_EQ(worker.get("/service/coordinator/api/admin/workers", keyed).status, 200);
    EXPECT_EQ(worker.get("/service/edge-proxy/api/coordinator/workers").status, 401);
    EXPECT_TRUE(eventually([&] {
        return worker.get("/service/edge-proxy/api/coordinator/workers", keyed).json()["count"].integer() == 1;
    })) << worker.log();
    EXPECT_TRUE(eventually([&] {
        return edge.request("/api/admin/coordinators", keyed)
            .json()
            .find("worker_id", "closed-coordinator")["in_pool"]
            .boolean();
    })) << worker.log();
    EXPECT_EQ(worker.stop(), 0);
    EXPECT_EQ(first.stop(), 0);
    EXPECT_EQ(edge.stop(), 0);
}

} // namespace
