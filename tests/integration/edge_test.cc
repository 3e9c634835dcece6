// An edge router and the coordinators behind it, as real processes. The same contract for both makes of edge router:
// the program, and the script for Cloudflare. What becomes of requests when coordinators fail is in
// edge_requests_test.cc.

#include "tests/integration/edge_contract.h"

#include <sys/stat.h>

namespace
{

INSTANTIATE_TEST_SUITE_P(Program, Edge, testing::Values(EdgeMake::PROGRAM));
INSTANTIATE_TEST_SUITE_P(Script, Edge, testing::Values(EdgeMake::SCRIPT));

TEST_P(Edge, CoordinatorsJoinAndWorkersFindThemThroughIt)
{
    FakeWorker machine(answering("served"));
    EdgeRouter edge(GetParam(), edge_options());
    ASSERT_TRUE(edge.start()) << edge.log();
    EXPECT_EQ(edge.get("/health").json()["coordinators"].integer(), 0);
    EXPECT_EQ(edge.get("/api/edge/coordinators").json()["error"].text(), "no_coordinators");
    Coordinator uk(joining("uk", edge.url())), us(joining("us", edge.url()));
    ASSERT_TRUE(uk.start()) << uk.log();
    ASSERT_TRUE(us.start()) << us.log();
    ASSERT_TRUE(has_joined(edge, "uk") && has_joined(edge, "us")) << edge.get("/api/admin/coordinators").described();
    Json health = edge.get("/health").json();
    EXPECT_EQ(health["status"].text(), "healthy");
    EXPECT_EQ(health["coordinators"].integer(), 2);
    EXPECT_EQ(health["message"].text(), "Edge router operational");

    for (const std::string location : {"us", "uk"}) {
        std::string id = "in-" + location;
        Response registered = edge.post("/api/worker/register", registration(id, machine.url(), location));
        ASSERT_EQ(registered.status, 200) << registered.described();
        EXPECT_EQ(registered.header("x-coordinator"), location);
        EXPECT_EQ(registered.json()["coordinator"]["id"].text(), location);
        EXPECT_EQ(registered.json()["coordinator"]["url"].text(), location == "uk" ? uk.url() : us.url());
        EXPECT_EQ(edge.worker(id)["coordinator"].text(), location) << "a client reads its own writes";
        EXPECT_EQ(edge.post("/api/worker/heartbeat", heartbeat(id)).header("x-coordinator"), location);
        EXPECT_EQ((location == "uk" ? uk : us).worker(id)["current_load"].number(), 0.1);
    }
    EXPECT_TRUE(eventually([&] { // it knows the other one by now
        Json answer = edge.post("/api/worker/register", registration("in-uk", machine.url(), "uk")).json();
        return answer["fallback_coordinators"][0].text() == us.url() &&
               answer["fallback_coordinators"][1].text() == edge.url();
    }));

    for (const std::string location : {"us", "uk"}) { // for who registers there without the edge router
        Json near = edge.get("/api/edge/coordinators?location=" + location).json()["coordinators"];
        EXPECT_EQ(near.size(), 2u) << near.dump();
        EXPECT_EQ(near[0]["worker_id"].text(), location);
        EXPECT_EQ(near[0]["url"].text(), location == "uk" ? uk.url() : us.url());
        EXPECT_EQ(near[0]["location"].text(), location);
    }
    EXPECT_EQ(edge.get("/api/edge/coordinators").json()["coordinators"].size(), 2u);
    EXPECT_EQ(edge.get("/api/edge/coordinators?location=a%0Ab").status, 422);
    EXPECT_EQ(uk.get("/api/edge/coordinators").status, 404);

    Json all = edge.get("/api/admin/workers").json();
    EXPECT_EQ(all["total"].integer(), 2);
    EXPECT_EQ(all["regions"].size(), 2u);
    EXPECT_FALSE(all["as_of"].is_null());
    EXPECT_EQ(edge.get("/api/coordinator/workers").json()["count"].integer(), 2);
    EXPECT_EQ(edge.get("/api/services/discover/files").json()["count"].integer(), 2);
    EXPECT_EQ(edge.get("/api/services/list").json()["services"]["files"]["healthy_workers"].integer(), 2);
    EXPECT_EQ(edge.get("/api/admin/services").json()["services"].find("name", "files")["worker_count"].integer(), 2);
    EXPECT_EQ(edge.get("/api/admin/stats").json()["healthy_workers"].integer(), 2);
    EXPECT_EQ(edge.get("/api/admin/gaps").json()["gaps"].find("service", "notes-coa")["current_workers"].integer(), 2);
    Json topology = edge.get("/api/topology").json();
    EXPECT_EQ(topology["coordinators"].find("id", "us")["workers"].integer(), 1);
    EXPECT_EQ(topology["workers"].find("id", "in-us")["coordinator_id"].text(), "us");
    EXPECT_EQ(topology["connections"].find("to", "in-us")["from"].text(), "us");
    EXPECT_TRUE(eventually([&] { return coordinator_at(edge, "us")["services"]["files"].integer() == 1; }))
        << "its heartbeats say what it has";

    EXPECT_EQ(edge.post("/api/service/files/a?b=c", "body").body, "served");
    EXPECT_EQ(edge.get("/service/files/x").body, "served");
    EXPECT_EQ(edge.get("/api/worker/find/files").json()["service"].text(), "files");
    EXPECT_EQ(edge.post("/api/admin/workers/in-us/drain", "").header("x-coordinator"), "us");
    EXPECT_EQ(edge.worker("in-us")["status"].text(), "draining");
    EXPECT_EQ(edge.request("/api/worker/unregister/in-us", {.method = "DELETE"}).status, 200);
    EXPECT_TRUE(edge.worker("in-us").is_null());
    EXPECT_TRUE(us.worker("in-us").is_null());
    EXPECT_EQ(edge.post("/api/worker/heartbeat", heartbeat("in-us")).status, 404);
    EXPECT_EQ(edge.get("/api/service/nothing").json()["error"].text(), "no_worker");

    EXPECT_EQ(uk.stop(), 0);
    EXPECT_TRUE(coordinator_at(edge, "uk").is_null()) << "it has said goodbye";
    EXPECT_TRUE(edge.worker("in-uk").is_null());
    EXPECT_EQ(edge.stop(), 0);
    EXPECT_EQ(us.post("/api/worker/register", registration("alone", machine.url())).status, 200)
        << "a coordinator goes on without the edge router";
    EXPECT_EQ(us.stop(), 0);
}

// Muster's own workers, which have registered with their coordinator.
TEST_P(Edge, RealWorkersOfACoordinatorServe)
{
    EdgeRouter edge(GetParam(), edge_options());
    ASSERT_TRUE(edge.start()) << edge.log();
    CoordinatorOptions options = joining("uk", edge.url());
    options.flags.insert(options.flags.end(), {"--demo-workers", "2"});
    Coordinator uk(options);
    ASSERT_TRUE(uk.start()) << uk.log();
    ASSERT_TRUE(has_joined(edge, "uk"));
    EXPECT_TRUE(eventually([&] {
        Response served = edge.post("/api/service/document-processing", "Is anybody there?");
        return served.status == 200 && served.header("x-served-by").rfind("demo-", 0) == 0 &&
               served.header("x-coordinator") == "uk";
    })) << edge.post("/api/service/document-processing", "?").described();
    EXPECT_TRUE(eventually([&] { return edge.get("/api/admin/workers").json()["total"].integer() == 2; }));
}

TEST_P(Edge, ItKeepsItsCoordinatorsOverARestart)
{
    FakeWorker machine(answering("served"));
    CoordinatorOptions options = edge_options();
    options.data_dir = temporary_folder();
    auto edge = std::make_unique<EdgeRouter>(GetParam(), options);
    ASSERT_TRUE(edge->start()) << edge->log();
    std::string port = edge->url().substr(edge->url().rfind(':') + 1);
    // Its heartbeats are too rare to have anything to do with what follows.
    Coordinator uk(joining("uk", edge->url(), {"JOIN_HEARTBEAT_SECONDS=3000"}));
    ASSERT_TRUE(uk.start()) << uk.log();
    ASSERT_TRUE(has_joined(*edge, "uk"));
    ASSERT_EQ(edge->post("/api/worker/register", registration("a", machine.url())).status, 200);
    long long registered_at = coordinator_at(*edge, "uk")["registered_at"].integer();
    cut_off(*edge);
    options.flags.insert(options.flags.end(), {"--port", port});
    edge = std::make_unique<EdgeRouter>(GetParam(), options);
    ASSERT_TRUE(edge->start()) << edge->log();
    ASSERT_TRUE(has_joined(*edge, "uk"));
    EXPECT_EQ(coordinator_at(*edge, "uk")["registered_at"].integer(), registered_at);
    EXPECT_EQ(edge->get("/api/service/files").body, "served");
    EXPECT_EQ(edge->post("/api/worker/heartbeat", heartbeat("a")).status, 200) << "and finds who holds a worker";
    // The script has no parts that could die alone.
    for (const char *part : {"muster-registry", "muster-health", "muster-router", "muster-gateway"}) {
        if (edge->program() == nullptr)
            break;
        ASSERT_TRUE(edge->program()->kill_and_wait(part)) << part;
        EXPECT_TRUE(eventually([&] { return edge->get("/api/service/files").body == "served"; })) << part;
    }
    EXPECT_EQ(coordinator_at(*edge, "uk")["registered_at"].integer(), registered_at);
}

TEST_P(Edge, WhoIsSilentIsOutAndComesBack)
{
    EdgeRouter edge(GetParam(), edge_options({}, {"HEARTBEAT_TIMEOUT_SECONDS=1", "WORKER_TIMEOUT_SECONDS=2",
                                                  "FLAPPING_HOLD_SECONDS=0"}));
    ASSERT_TRUE(edge.start()) << edge.log();
    FakeWorker other(listing(R"({"workers": []})"));
    std::string body =
        R"({"worker_id": "other", "url": ")" + other.url() + R"(", "capabilities": {"location": "fr", "dht_port": 7}})";
    Response registered = edge.post("/api/edge/register", body);
    ASSERT_EQ(registered.status, 200) << registered.described();
    EXPECT_EQ(registered.json()["status"].text(), "registered");
    EXPECT_EQ(registered.json()["role"].text(), "edge_coordinator");
    EXPECT_EQ(registered.json()["total_coordinators"].integer(), 1);
    Json record = coordinator_at(edge, "other");
    EXPECT_EQ(record["location"].text(), "fr");
    EXPECT_EQ(record["capabilities"]["dht_port"].integer(), 7);
    EXPECT_EQ(edge.post("/api/edge/heartbeat", R"({"worker_id": "other", "workers": 3, "cpu_percent": 12.5})").status,
              200);
    EXPECT_TRUE(eventually([&] { return coordinator_at(edge, "other")["cpu_percent"].number() == 12.5; }));
    EXPECT_TRUE(eventually([&] { return coordinator_at(edge, "other").is_null(); })) << "silent for too long";
    EXPECT_EQ(edge.post("/api/edge/heartbeat", R"({"worker_id": "other"})").json()["error"].text(), "unknown_worker");
    EXPECT_EQ(edge.post("/api/edge/register", body).status, 200);
    EXPECT_EQ(edge.request("/api/edge/unregister/other", {.method = "DELETE"}).status, 200);
    EXPECT_EQ(edge.request("/api/edge/unregister/other", {.method = "DELETE"}).status, 404);
    EXPECT_TRUE(coordinator_at(edge, "other").is_null());
    // The seeds' way: a worker of type edge.
    Response as_worker = edge.post("/api/worker/register", R"({"worker_type": "edge", "tunnel_url": ")" + other.url() +
                                                               R"(", "worker_id": "agent"})");
    EXPECT_EQ(as_worker.json()["role"].text(), "edge_coordinator") << as_worker.described();
    EXPECT_EQ(edge.post("/api/worker/heartbeat", heartbeat("agent")).status, 200);
    EXPECT_EQ(edge.request("/api/worker/unregister/agent", {.method = "DELETE"}).status, 200);
}

// Muster's own workers are no coordinators, whatever they call themselves and whatever is in the machine.
TEST_P(Edge, AnEdgeWorkerIsAWorker)
{
    std::string programs = temporary_folder();
    write_file(programs + "/nvidia-smi", "#!/bin/sh\necho 'NVIDIA GeForce RTX 4090, 24564, 37'\n");
    chmod((programs + "/nvidia-smi").c_str(), 0755);
    EdgeRouter edge(GetParam(), edge_options());
    ASSERT_TRUE(edge.start()) << edge.log();
    Coordinator uk(joining("uk", edge.url()));
    ASSERT_TRUE(uk.start()) << uk.log();
    ASSERT_TRUE(has_joined(edge, "uk"));
    for (const std::string runs : {"--edge-services=false", "--edge-services=true"}) {
        std::string id = "edge" + runs.substr(runs.size() - 4);
        Process worker("services/worker/muster-worker",
                       {"--coordinator-url", edge.url(), "--worker-id", id, "--worker-type", "edge", "--port", "0",
                        "--storage-dir", temporary_folder(), runs},
                       {"PATH=" + programs + ":" + getenv("PATH")});
        EXPECT_TRUE(eventually([&] { return edge.worker(id)["worker_type"].text() == "edge"; }))
            << edge.get("/api/admin/workers").body << edge.get("/api/admin/coordinators").body << worker.errors();
        EXPECT_EQ(edge.worker(id)["tier"].integer(), 4);
        EXPECT_TRUE(edge.worker(id)["capabilities"]["has_gpu"].boolean());
        EXPECT_TRUE(coordinator_at(edge, id).is_null());
        worker.signal(SIGTERM);
        EXPECT_EQ(worker.wait(), 0) << worker.errors();
    }
    EXPECT_EQ(
        edge.post("/api/worker/register", R"({"worker_type": "edge", "role": 7, "url": "http://127.0.0.1:9"})").status,
        422);
}

TEST_P(Edge, SomebodyElsesUrlIsRefused)
{
    EdgeRouter edge(GetParam(), edge_options()), strict(GetParam(), edge_options({}, {"COORDINATOR_PROOF=required"}));
    ASSERT_TRUE(edge.start() && strict.start());
    Coordinator uk(joining("uk", edge.url() + "," + strict.url()));
    ASSERT_TRUE(uk.start()) << uk.log();
    ASSERT_TRUE(has_joined(edge, "uk") && has_joined(strict, "uk")) << "who is there proves it";
    for (EdgeRouter *router : {&edge, &strict}) {
        for (const char *key : {"", R"(, "proof_key": "guessed")"}) {
            Response stolen =
                router->post("/api/edge/register", R"({"worker_id": "thief", "url": ")" + uk.url() + "\"" + key + "}");
            EXPECT_EQ(stolen.status, 403) << stolen.described();
            EXPECT_EQ(stolen.json()["error"].text(), "challenge_failed");
        }
        EXPECT_EQ(router
                      ->post("/api/worker/register",
                             R"({"worker_type": "edge", "worker_id": "thief", "tunnel_url": ")" + uk.url() + "\"}")
                      .status,
                  403);
        EXPECT_TRUE(coordinator_at(*router, "thief").is_null());
    }
    FakeWorker older(listing(R"({"workers": []})"));
    std::string body = R"({"worker_id": "older", "url": ")" + older.url() + "\"}";
    EXPECT_EQ(edge.post("/api/edge/register", body).status, 200) << "one that knows nothing of proofs";
    EXPECT_EQ(strict.post("/api/edge/register", body).status, 403);
    EXPECT_EQ(strict.post("/api/edge/register", R"({"url": ")" + unreachable_url() + "\"}").status, 403);
}

TEST_P(Edge, PrivateAddressesAreNotCalledForStrangers)
{
    FakeWorker inside(listing(R"({"workers": []})"));
    std::string port = inside.url().substr(inside.url().rfind(':') + 1);
    EdgeRouter open(GetParam(), edge_options({"--host", "0.0.0.0", "--insecure"}, {"COORDINATOR_PROOF=optional"}));
    EdgeRouter allowing(GetParam(), edge_options({"--host", "0.0.0.0", "--insecure"},
                                                 {"COORDINATOR_PROOF=optional", "ALLOW_PRIVATE_URLS=true"}));
    ASSERT_TRUE(open.start() && allowing.start());
    const auto answer = [&](EdgeRouter &edge, const std::string &host) {
        std::string url = "http://127.0.0.1:" + edge.url().substr(edge.url().rfind(':') + 1);
        HttpClient client;
        return client.request(url + "/api/edge/register",
                              {.method = "POST", .body = R"({"url": "http://)" + host + ":" + port + "\"}"});
    };
    for (const char *host : {"127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "localhost"}) {
        Response refused = answer(open, host);
        EXPECT_EQ(refused.status, 403) << host << " " << refused.described();
        EXPECT_EQ(refused.json()["error"].text(), "forbidden_url") << host;
    }
    EXPECT_EQ(answer(allowing, "127.0.0.1").status, 200);
}

TEST_P(Edge, RoutersSideBySideTellEachOther)
{
    FakeWorker machine(answering("served"));
    CoordinatorOptions options = edge_options();
    EdgeRouter first(GetParam(), options);
    ASSERT_TRUE(first.start()) << first.log();
    // Of the two makes one each, in the tests of the script.
    EdgeRouter second(EdgeMake::PROGRAM, edge_options({"--peer", first.url()}));
    ASSERT_TRUE(second.start()) << second.log();
    EXPECT_EQ(first.post("/api/edge/peers", R"({"from": "x", "coordinators": []})").json()["error"].text(),
              "forbidden_peer")
        << "it has no peers";
    first.stop();
    // Each has the other: the first one anew, at its own port.
    CoordinatorOptions again = edge_options({"--peer", second.url()});
    again.flags.insert(again.flags.end(), {"--port", first.url().substr(first.url().rfind(':') + 1)});
    EdgeRouter other(GetParam(), again);
    ASSERT_TRUE(other.start()) << other.log();

    Coordinator uk(joining("uk", second.url())), us(joining("us", other.url()));
    ASSERT_TRUE(uk.start() && us.start());
    for (EdgeRouter *edge : {&second, &other}) {
        for (const char *id : {"uk", "us"})
            EXPECT_TRUE(has_joined(*edge, id)) << id << " " << edge->url();
    }
    ASSERT_EQ(uk.post("/api/worker/register", registration("a", machine.url())).status, 200);
    EXPECT_TRUE(eventually([&] { return other.get("/api/service/files").body == "served"; }));
    EXPECT_TRUE(eventually([&] { return other.worker("a")["coordinator"].text() == "uk"; }));
    // An old story does not bring anybody back, and what is no news is not taken.
    EXPECT_EQ(uk.stop(), 0);
    for (EdgeRouter *edge : {&second, &other})
        EXPECT_TRUE(eventually([&] { return coordinator_at(*edge, "uk").is_null(); })) << edge->url();
    Response old = other.post("/api/edge/peers", R"({"from": "x", "coordinators": [{"worker_id": "uk", "url": ")" +
                                                     uk.url() + R"(", "age_ms": 3000000}]})");
    EXPECT_EQ(old.json()["taken"].integer(), 0) << old.described();
    EXPECT_TRUE(coordinator_at(other, "uk").is_null());
}

TEST_P(Edge, NewsIsTakenFromWhoHasTheKey)
{
    EdgeRouter edge(GetParam(), edge_options({"--peer", "http://127.0.0.1:9"}, {"FEDERATION_KEY=secret"}));
    ASSERT_TRUE(edge.start()) << edge.log();
    const std::string news = R"({"from": "x", "coordinators": []})";
    const auto post = [&](const std::vector<std::string> &headers) {
        return edge.request("/api/edge/peers", {.method = "POST", .body = news, .headers = headers}).status;
    };
    EXPECT_EQ(post({}), 403);
    EXPECT_EQ(post({"X-API-Key: secre"}), 403);
    EXPECT_EQ(post({"X-API-Key: secreT"}), 403);
    EXPECT_EQ(post({"X-API-Key: secret"}), 200);
}

TEST_P(Edge, ARegionThatDoesNotAnswerIsShownAsSuch)
{
    FakeWorker machine(answering("served"));
    EdgeRouter edge(GetParam(), edge_options({}, {"REGION_TIMEOUT_SECONDS=1"}));
    ASSERT_TRUE(edge.start()) << edge.log();
    Coordinator uk(joining("uk", edge.url())), us(joining("us", edge.url()));
    ASSERT_TRUE(uk.start() && us.start());
    ASSERT_TRUE(has_joined(edge, "uk") && has_joined(edge, "us"));
    ASSERT_EQ(edge.post("/api/worker/register", registration("a", machine.url(), "uk")).status, 200);
    ASSERT_EQ(edge.worker("a")["coordinator"].text(), "uk");
    ASSERT_TRUE(uk.kill("muster-gateway", SIGSTOP));
    const auto status = [&] {
        return edge.get("/api/admin/workers").json()["regions"].find("coordinator", "uk")["status"].text();
    };
    EXPECT_TRUE(eventually([&] { return status() == "unreachable"; })) << status();
    EXPECT_FALSE(edge.worker("a").is_null());
    EXPECT_EQ(edge.get("/api/topology").json()["coordinators"].find("id", "uk")["status"].text(), "unreachable");
    EXPECT_EQ(edge.post("/api/worker/register", registration("b", machine.url(), "uk")).header("x-coordinator"), "us");
    ASSERT_TRUE(uk.kill("muster-gateway", SIGCONT));
    EXPECT_TRUE(eventually([&] { return status() == "online"; })) << status();
    EXPECT_EQ(edge.post("/api/worker/register", registration("c", machine.url(), "uk")).header("x-coordinator"), "uk");
}

TEST_P(Edge, AListThatTakesLongIsReadLessOften)
{
    std::atomic<int> slow_readings{0}, quick_readings{0};
    const auto counting = [](std::atomic<int> &readings, std::chrono::milliseconds takes) {
        return [&readings, takes](FakeWorker::Connection &connection, const std::string &head) {
            if (head.rfind("GET /api/admin/workers", 0) != 0)
                return connection.write("HTTP/1.1 503 no\r\nContent-Length: 2\r\n\r\n{}");
            readings++;
            std::this_thread::sleep_for(takes);
            return connection.write(FakeWorker::answer(R"({"workers": []})"));
        };
    };
    FakeWorker slow(counting(slow_readings, std::chrono::milliseconds(1000)));
    FakeWorker quick(counting(quick_readings, std::chrono::milliseconds(0)));
    EdgeRouter edge(GetParam(), edge_options());
    ASSERT_TRUE(edge.start()) << edge.log();
    for (const auto &[id, url] : {std::pair("slow", slow.url()), std::pair("quick", quick.url())})
        ASSERT_EQ(
            edge.post("/api/edge/register", std::string(R"({"worker_id": ")") + id + R"(", "url": ")" + url + "\"}")
                .status,
            200);
    // Whatever registering reads: from the first whole answer on it rests for 19 s.
    ASSERT_TRUE(eventually([&] { return slow_readings > 0; }));
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    int before = slow_readings;
    quick_readings = 0;
    // The script reads when it is asked, the program anyway.
    ASSERT_TRUE(eventually([&] {
        edge.get("/api/admin/coordinators");
        return quick_readings >= 20;
    }));
    EXPECT_LE(slow_readings, before + 1);
}

TEST_P(Edge, ACoordinatorThatLiesAboutItsWorkersIsPassedOver)
{
    FakeWorker machine(answering("served"));
    FakeWorker liar(listing(R"({"workers": [{"worker_id": "none", "tunnel_url": "http://127.0.0.1:1",
        "worker_type": "cpu", "services": ["files"], "status": "online",
        "registered_at": "2026-01-05T10:00:00.000Z"}]})"));
    EdgeRouter edge(GetParam(), edge_options());
    ASSERT_TRUE(edge.start()) << edge.log();
    Coordinator uk(joining("uk", edge.url()));
    ASSERT_TRUE(uk.start()) << uk.log();
    ASSERT_TRUE(has_joined(edge, "uk"));
    ASSERT_EQ(edge.post("/api/edge/register", R"({"worker_id": "liar", "url": ")" + liar.url() + "\"}").status, 200);
    ASSERT_EQ(edge.post("/api/worker/register", registration("a", machine.url(), "uk")).status, 200);
    ASSERT_TRUE(eventually([&] { return edge.get("/api/admin/workers").json()["total"].integer() == 2; }));
    for (int i = 0; i < 50; i++) {
        Response answer = edge.post("/api/service/files", "some body");
        ASSERT_EQ(answer.body, "served") << answer.described();
        ASSERT_EQ(answer.header("x-coordinator"), "uk");
    }
}

} // namespace
