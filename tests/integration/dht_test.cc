// The coordinators' hash table among real coordinators: they find each other through one of them,
// and what each offers; and go on when some of them die, the first one included.

#include "tests/integration/coordinator.h"

#include <gtest/gtest.h>

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <set>

extern "C" {
#include "services/ctl/ports.h"
}

namespace
{

// Of this test alone: ports of other tests that have ended may be ours now, and be called still.
std::string Network()
{
    const auto *test = ::testing::UnitTest::GetInstance()->current_test_info();
    return std::string(test->name()) + "-" + std::to_string(getpid());
}

std::unique_ptr<Coordinator> Start(int number, const std::vector<std::string> &flags, int workers = 0,
                                   const std::vector<std::string> &environment = {}, const std::string &data_dir = "")
{
    CoordinatorOptions options;
    options.demo_workers = workers;
    options.data_dir = data_dir;
    options.flags = flags;
    options.flags.push_back("--location");
    options.flags.push_back("place-" + std::to_string(number));
    options.environment = environment;
    options.environment.push_back("COORDINATOR_ID=c" + std::to_string(number));
    options.environment.push_back("DHT_NETWORK=" + Network());
    auto coordinator = std::make_unique<Coordinator>(options);
    EXPECT_TRUE(coordinator->start()) << coordinator->log();
    return coordinator;
}

// Whom its node knows.
std::set<std::string> Known(Coordinator &coordinator)
{
    std::set<std::string> urls;
    Json nodes = coordinator.get("/api/dht/topology").json()["nodes"];
    for (size_t i = 0; i < nodes.size(); i++)
        urls.insert(nodes[i]["url"].text() + nodes[i]["grpc_address"].text());
    return urls;
}

std::string NodeId(Coordinator &coordinator)
{
    return coordinator.get("/api/dht/topology").json()["node"]["id"].text();
}

Json Everywhere(Coordinator &coordinator, const std::string &service)
{
    return coordinator.get("/api/services/discover/" + service + "?scope=all").json();
}

TEST(DhtTest, CoordinatorsFindEachOtherAndWhatEachOffers)
{
    std::vector<std::unique_ptr<Coordinator>> all;
    all.push_back(Start(0, {"--dht"}));
    const std::string seed = all[0]->url();
    for (int i = 1; i < 5; i++)
        all.push_back(Start(i, {"--dht-seeds", seed}, i == 2 ? 1 : 0));
    for (auto &one : all)
        EXPECT_TRUE(eventually([&] { return Known(*one).size() == 4; })) << one->log();

    // One at a time, by each kind of key.
    auto found = [&](Coordinator &asked, const std::string &key, const std::string &id) {
        Json values = asked.get("/api/dht/lookup/" + key).json()["values"];
        return values.size() == 1 && values[0]["coordinator_id"].text() == id;
    };
    for (int i = 0; i < 5; i++) {
        std::string number = std::to_string(i);
        EXPECT_TRUE(eventually([&] { return found(*all[4 - i], "coordinator:place-" + number, "c" + number); })) << i;
    }
    EXPECT_TRUE(eventually([&] { return found(*all[4], "service:demo-1", "c2"); }));
    Json worker = all[4]->get("/api/dht/lookup/service:demo-1").json()["values"][0]["workers"][0];
    EXPECT_EQ(worker["worker_id"].text(), "demo-1");
    EXPECT_GT(worker["capabilities"]["cpu_cores"].integer(), 0) << worker.dump();
    EXPECT_NE(worker["services"].dump().find("document-processing"), std::string::npos) << worker.dump();

    // A service that only another one has, by its alias, too.
    EXPECT_EQ(all[4]->get("/api/services/discover/document-processing").status, 503);
    EXPECT_TRUE(eventually([&] { return Everywhere(*all[4], "document-processing")["count"].integer() == 1; }))
        << all[4]->get("/api/services/discover/document-processing?scope=all").described();
    Json answer = Everywhere(*all[4], "upload");
    EXPECT_EQ(answer["service"].text(), "document-processing");
    EXPECT_EQ(answer["recommended"].text(), "demo-1");
    EXPECT_EQ(answer["workers"][0]["coordinator_id"].text(), "c2");
    EXPECT_EQ(answer["workers"][0]["coordinator_url"].text(), all[2]->url());
    EXPECT_TRUE(answer["complete"].boolean());
    // And it can be reached where it is said to be.
    Request post;
    post.method = "POST";
    post.body = "Is anybody there?\n";
    Response served = HttpClient().request(
        answer["coordinators"][0]["coordinator_url"].text() + "/api/service/document-processing", post);
    EXPECT_EQ(served.status, 200) << served.described();
    // At its own coordinator it is there once, with its load.
    answer = Everywhere(*all[2], "document-processing");
    EXPECT_EQ(answer["count"].integer(), 1) << answer.dump();
    EXPECT_FALSE(answer["workers"][0]["load"].is_null());
    EXPECT_EQ(all[4]->get("/api/services/discover/nothing-at-all?scope=all").status, 503);

    // Two of them die, the seed among them.
    all[0]->cut_off();
    all[3]->cut_off();
    answer = Everywhere(*all[4], "document-processing");
    EXPECT_EQ(answer["count"].integer(), 1) << answer.dump();
    EXPECT_TRUE(eventually([&] {
        (void)all[4]->get("/api/dht/lookup/some-key");
        return Known(*all[4]).size() == 2;
    }));
    EXPECT_EQ(all[4]->get("/health").json()["status"].text(), "healthy");

    // One starts again: it is who it was, and finds the others without a seed.
    std::string before = NodeId(*all[2]), folder = all[2]->data_dir();
    EXPECT_EQ(all[2]->stop(), 0) << all[2]->log();
    all[2] = Start(2, {"--dht"}, 1, {}, folder);
    EXPECT_EQ(NodeId(*all[2]), before);
    EXPECT_TRUE(eventually([&] { return Known(*all[2]).size() == 2; })) << all[2]->log();
    EXPECT_TRUE(eventually([&] {
        Json again = Everywhere(*all[1], "document-processing");
        return again["count"].integer() == 1 && again["workers"][0]["coordinator_url"].text() == all[2]->url();
    })) << all[1]->get("/api/services/discover/document-processing?scope=all").described();
    for (int i : {1, 2, 4})
        EXPECT_EQ(all[i]->stop(), 0) << all[i]->log();
}

TEST(DhtTest, WhatWasPublishedEndsWithItsTimeOrWithAWorker)
{
    std::vector<std::string> quick = {"DHT_LIFETIME_SECONDS=8"};
    auto first = Start(0, {"--dht"}, 0, quick);
    auto second = Start(1, {"--dht-seeds", first->url()}, 1, quick);
    auto third = Start(2, {"--dht-seeds", first->url()}, 1, quick);
    auto count = [&] { return Everywhere(*first, "document-processing")["count"].integer(); };
    EXPECT_TRUE(eventually([&] { return count() == 2; }));
    // A worker leaves: its coordinator takes back what it said.
    Request leave;
    leave.method = "DELETE";
    ASSERT_TRUE(second->kill("demo-1", SIGSTOP));
    EXPECT_EQ(second->request("/api/worker/unregister/demo-1", leave).status, 200);
    EXPECT_TRUE(eventually([&] { return count() == 1; }));
    EXPECT_EQ(Everywhere(*first, "document-processing")["workers"][0]["coordinator_id"].text(), "c2");
    EXPECT_TRUE(eventually([&] {
        Json values = first->get("/api/dht/lookup/service:demo-1").json()["values"];
        return values.size() == 1 && values[0]["coordinator_id"].text() == "c2";
    }));
    (void)second->kill("demo-1", SIGCONT);
    // A coordinator dies: others know of it until its time is over, while those that live go on.
    third->cut_off();
    auto known = [&](const std::string &place) {
        return first->get("/api/dht/lookup/coordinator:" + place).json()["count"].integer();
    };
    EXPECT_EQ(known("place-2"), 1);
    EXPECT_TRUE(eventually([&] { return known("place-2") == 0; }));
    EXPECT_EQ(known("place-0"), 1);
    EXPECT_EQ(known("place-1"), 1);
    EXPECT_EQ(first->stop(), 0) << first->log();
    EXPECT_EQ(second->stop(), 0) << second->log();
}

TEST(DhtTest, ItsProcessMayDieAndComesBack)
{
    auto first = Start(0, {"--dht"});
    auto second = Start(1, {"--dht-seeds", first->url()}, 1);
    EXPECT_TRUE(eventually([&] { return Everywhere(*first, "document-processing")["count"].integer() == 1; }));
    std::string before = NodeId(*second);
    ASSERT_TRUE(second->kill("muster-dht"));
    ASSERT_TRUE(eventually([&] { return second->restarts("muster-dht") == 1 && second->is_ready("muster-dht"); }));
    EXPECT_TRUE(eventually([&] { return NodeId(*second) == before && Known(*second).size() == 1; })) << second->log();
    EXPECT_TRUE(eventually([&] { return Everywhere(*first, "document-processing")["count"].integer() == 1; }));
    EXPECT_TRUE(eventually([&] { return second->get("/health").json()["status"].text() == "healthy"; }));
    // While it is stopped the gateway says so, and serves its own workers all the same.
    ASSERT_TRUE(second->kill("muster-dht", SIGSTOP));
    Json answer = Everywhere(*second, "document-processing");
    EXPECT_EQ(answer["count"].integer(), 1) << answer.dump();
    EXPECT_FALSE(answer["complete"].boolean());
    EXPECT_FALSE(answer["problem"].text().empty()) << answer.dump();
    EXPECT_EQ(second->get("/api/dht/stats").status, 503);
    ASSERT_TRUE(second->kill("muster-dht", SIGCONT));
    EXPECT_TRUE(eventually([&] { return second->get("/api/dht/stats").status == 200; }));
    EXPECT_EQ(first->stop(), 0) << first->log();
    EXPECT_EQ(second->stop(), 0) << second->log();
}

TEST(DhtTest, WithoutOneTheGatewaySaysWhatToDo)
{
    auto alone = Start(0, {}, 1);
    for (const char *path :
         {"/api/dht/bootstrap", "/api/dht/topology", "/api/dht/stats", "/api/dht/lookup/worker:ocr"}) {
        Response answer = alone->get(path);
        EXPECT_EQ(answer.status, 404) << path;
        EXPECT_NE(answer.body.find("--dht"), std::string::npos) << answer.body;
    }
    Json answer = Everywhere(*alone, "document-processing");
    EXPECT_EQ(answer["count"].integer(), 1);
    EXPECT_EQ(answer["scope"].text(), "all");
    EXPECT_NE(answer["problem"].text().find("--dht"), std::string::npos);
    EXPECT_EQ(alone->stop(), 0) << alone->log();
}

TEST(DhtTest, KeysAreForClientsNotForNodes)
{
    auto first = Start(0, {"--dht"}, 0, {"API_KEY=first-secret-of-this-test"});
    auto second = Start(1, {"--dht-seeds", first->url()}, 0, {"API_KEY=second-secret-of-this-test"});
    Request with_key;
    with_key.headers = {"X-API-Key: first-secret-of-this-test"};
    EXPECT_TRUE(eventually([&] {
        return first->request("/api/dht/topology", with_key).json()["nodes"][0]["url"].text() == second->url();
    })) << first->log();
    for (const char *path : {"/api/dht/topology", "/api/dht/stats", "/api/dht/lookup/coordinator:place-1",
                             "/api/services/discover/document-processing?scope=all"})
        EXPECT_EQ(first->get(path).status, 401) << path;
    EXPECT_EQ(first->get("/api/dht/bootstrap").status, 200);
    EXPECT_TRUE(eventually([&] {
        return first->request("/api/dht/lookup/coordinator:place-1", with_key).json()["count"].integer() == 1;
    }));
    EXPECT_EQ(first->stop(), 0) << first->log();
    EXPECT_EQ(second->stop(), 0) << second->log();
}

// A node by itself, which is reached by gRPC only.
struct Bare {
    explicit Bare(const std::string &known = "", bool now = true)
    {
        char error[400];
        EXPECT_TRUE(port_reserve("127.0.0.1", 0, &reservation, error, sizeof error)) << error;
        address = "127.0.0.1:" + std::to_string(reservation.port);
        folder = temporary_folder();
        if (!known.empty())
            write_file(folder + "/dht-nodes.txt", " " + known + "\n");
        if (now)
            Start();
    }
    void Start()
    {
        process = std::make_unique<Process>(
            "services/dht/muster-dht",
            std::vector<std::string>{"--port", std::to_string(reservation.port), "--announced-address", address,
                                     "--dht-private-peers", "--data-dir", folder, "--location", "bare-" + address,
                                     "--registry-address", "127.0.0.1:9", "--router-address", "127.0.0.1:9",
                                     "--log-level", "debug", "--dht-network", Network()});
    }
    ~Bare()
    {
        port_release(&reservation);
    }
    int Stop()
    {
        process->signal(SIGTERM);
        return process->wait();
    }
    port_reservation reservation = PORT_RESERVATION_NONE;
    std::string address, folder;
    std::unique_ptr<Process> process;
};

TEST(DhtTest, NodesReachEachOtherByGrpcAndByHttp)
{
    Bare first("", false), second(first.address);
    // A coordinator behind HTTP that knows one of them joins both.
    std::string folder = temporary_folder();
    write_file(folder + "/dht-nodes.txt", " " + second.address + "\n");
    auto coordinator = Start(0, {"--dht"}, 1, {}, folder);
    EXPECT_TRUE(eventually([&] { return Known(*coordinator).size() == 1; })) << coordinator->log();
    // The one that the second one knew starts late, when that is no longer alone.
    first.Start();
    EXPECT_TRUE(eventually([&] {
        return Known(*coordinator) == std::set<std::string>{first.address, second.address};
    })) << coordinator->log()
        << first.process->errors() << second.process->errors();
    EXPECT_TRUE(eventually([&] {
        Json values = coordinator->get("/api/dht/lookup/coordinator:bare-" + first.address).json()["values"];
        return values.size() == 1 && values[0]["coordinator_url"].text().empty();
    }));
    EXPECT_EQ(coordinator->get("/api/dht/stats").json()["lies"].integer(), 0);
    // They have called it, too: it is at both of them.
    EXPECT_GT(coordinator->get("/api/dht/stats").json()["requests"]["store"].integer(), 0);
    EXPECT_EQ(coordinator->stop(), 0) << coordinator->log();
    EXPECT_EQ(first.Stop(), 0) << first.process->errors();
    EXPECT_EQ(second.Stop(), 0) << second.process->errors();
}

TEST(DhtTest, StartsThatCannotBeSayWhatToDo)
{
    auto refused = [](const std::vector<std::string> &arguments, const std::string &says) {
        std::vector<std::string> all = {"--port", "0", "--data-dir", temporary_folder()};
        all.insert(all.end(), arguments.begin(), arguments.end());
        Process process("services/dht/muster-dht", all);
        EXPECT_EQ(process.wait(), 1);
        std::string errors = process.errors();
        EXPECT_NE(errors.find(says), std::string::npos) << errors;
        EXPECT_EQ(std::count(errors.begin(), errors.end(), '\n'), 1) << errors;
    };
    refused({}, "--public-url");
    refused({"--public-url", "ftp://x"}, "no http or https URL");
    refused({"--announced-address", "localhost:1"}, "no IP address");
    refused({"--public-url", "http://x", "--data-dir", "/proc/no"}, "choose another --data-dir");
    Process up("services/ctl/musterctl", {"up", "--host", "0.0.0.0", "--port", "0", "--grpc-port", "0", "--dht",
                                          "--data-dir", temporary_folder()});
    EXPECT_EQ(up.wait(), 1);
    EXPECT_NE(up.errors().find("--public-url"), std::string::npos) << up.errors();
}

} // namespace
