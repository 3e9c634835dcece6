// A service that loses its last worker, over a real coordinator.

#include "tests/integration/coordinator.h"
#include "tests/integration/fake_worker.h"

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

// Workers of a fleet that say what the test wants, and remember what they were told.
class Fleet
{
  public:
    explicit Fleet(Coordinator &of) : coordinator(of) {}

    void add(const std::string &id, const std::string &url, double load, const std::string &service)
    {
        Response answer =
            coordinator.post("/api/worker/register",
                             R"({"tunnel_url": ")" + url + R"(", "worker_type": "cpu", "worker_id": ")" + id + "\"}");
        ASSERT_EQ(answer.status, 200) << answer.described();
        members[id] = Member{load, answer.json()["assigned_services"]};
        EXPECT_TRUE(runs(members[id].assigned, service)) << answer.body;
    }

    // Each says its load, and that what it was told to run runs, or (for what is `held`) is starting.
    void beat()
    {
        for (auto &[id, member] : members) {
            std::string states;
            for (size_t i = 0; i < member.assigned.size(); i++) {
                std::string name = member.assigned[i].text();
                states += (i > 0 ? ", \"" : "\"") + name + "\": \"" + (name == held ? "starting" : "running") + "\"";
            }
            Json told = coordinator
                            .post("/api/worker/heartbeat", R"({"worker_id": ")" + id + R"(", "current_load": )" +
                                                               std::to_string(member.load) +
                                                               R"(, "services_status": {)" + states + "}}")
                            .json();
            if (!told["assigned_services"].is_null())
                member.assigned = told["assigned_services"];
        }
    }

    bool has(const std::string &id, const std::string &service)
    {
        return runs(members[id].assigned, service);
    }

    std::string held; // does not come to run

  private:
    struct Member {
        double load;
        Json assigned;
    };
    Coordinator &coordinator;
    std::map<std::string, Member> members;
};

TEST(Adaptation, WorkMovesToAnOverloadedServiceAndNoRequestFails)
{
    std::string folder = temporary_folder();
    write_file(folder + "/catalog.json", R"({"services": [
        {"name": "busy", "requires": "cpu", "priority": 2, "port": 1},
        {"name": "idle", "requires": "cpu", "priority": 1, "port": 2}],
        "reserved": {"b-1": ["busy"], "i-1": ["idle"]}})");
    CoordinatorOptions options;
    options.flags = {"--catalog", folder + "/catalog.json"};
    options.environment = {"OVERLOAD_SECONDS=0.5", "DWELL_SECONDS=3600"};
    Coordinator coordinator(options);
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    auto echo = [](FakeWorker::Connection &connection, const std::string &) {
        return connection.write(FakeWorker::answer("done"));
    };
    FakeWorker one(echo), two(echo), three(echo);
    Fleet fleet(coordinator);
    fleet.add("b-1", one.url(), 1, "busy");
    fleet.add("i-1", two.url(), 0.1, "idle");
    fleet.add("i-2", three.url(), 0.1, "idle");
    ASSERT_FALSE(fleet.has("i-2", "busy")) << "three workers for two services get one each";
    fleet.held = "busy";
    size_t requests = 0;
    auto ask = [&](const std::string &service) {
        Response answer = coordinator.get("/api/service/" + service + "/x");
        EXPECT_EQ(answer.status, 200) << service << ": " << answer.described();
        requests++;
    };
    auto step = [&] {
        fleet.beat();
        ask("busy");
        ask("idle");
    };
    ASSERT_TRUE(eventually([&] {
        step();
        return fleet.has("i-2", "busy");
    })) << coordinator.log();
    EXPECT_TRUE(fleet.has("i-2", "idle")) << "both, until the new one runs";
    EXPECT_FALSE(fleet.has("i-1", "busy")) << "reserved for the other";

    Json explained = coordinator.get("/api/admin/workers/i-2/explain").json();
    EXPECT_EQ(explained["swap"]["from"].text(), "idle") << explained.dump();
    EXPECT_EQ(explained["swap"]["to"].text(), "busy") << explained.dump();

    // The assigner is killed in the middle, then the registry: nothing is lost, and whoever assigns next ends it.
    ASSERT_TRUE(coordinator.kill_and_wait("muster-assigner"));
    ASSERT_TRUE(coordinator.kill_and_wait("muster-registry"));
    for (int i = 0; i < 20; i++)
        step();
    EXPECT_TRUE(runs(coordinator.worker("i-2")["assigned_services"], "idle"));
    EXPECT_TRUE(runs(coordinator.worker("i-2")["assigned_services"], "busy"));
    fleet.held = "";
    ASSERT_TRUE(eventually([&] {
        step();
        return !fleet.has("i-2", "idle");
    })) << coordinator.log();
    EXPECT_TRUE(fleet.has("i-2", "busy"));
    EXPECT_TRUE(eventually([&] { return coordinator.get("/api/admin/workers/i-2/explain").json()["swap"].is_null(); }));
    step();
    EXPECT_EQ(coordinator.stop(), 0);
}

// A worker that starts again in the middle of a swap is left both services, and the swap goes on.
TEST(Adaptation, ASwapGoesOnWhenItsWorkerRegistersAgain)
{
    std::string folder = temporary_folder();
    write_file(folder + "/catalog.json", R"({"services": [
        {"name": "busy", "requires": "cpu", "priority": 2, "port": 1},
        {"name": "idle", "requires": "cpu", "priority": 1, "port": 2}],
        "reserved": {"b-1": ["busy"], "i-1": ["idle"]}})");
    CoordinatorOptions options;
    options.flags = {"--catalog", folder + "/catalog.json"};
    options.environment = {"OVERLOAD_SECONDS=0.5", "DWELL_SECONDS=3600"};
    Coordinator coordinator(options);
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    Fleet fleet(coordinator);
    fleet.add("b-1", "http://127.0.0.1:9", 1, "busy");
    fleet.add("i-1", "http://127.0.0.1:9", 0.1, "idle");
    fleet.add("i-2", "http://127.0.0.1:9", 0.1, "idle");
    fleet.held = "busy";
    ASSERT_TRUE(eventually([&] {
        fleet.beat();
        return fleet.has("i-2", "busy");
    })) << coordinator.log();
    fleet.add("i-2", "http://127.0.0.1:9", 0.1, "idle");
    EXPECT_TRUE(fleet.has("i-2", "busy")) << "what it still fits stays";
    fleet.held = "";
    ASSERT_TRUE(eventually([&] {
        fleet.beat();
        return !fleet.has("i-2", "idle");
    })) << coordinator.log();
    EXPECT_TRUE(fleet.has("i-2", "busy"));
    EXPECT_EQ(coordinator.stop(), 0);
}

TEST(Adaptation, TheOldServiceIsDroppedWhenTheNewOneRuns)
{
    std::string folder = temporary_folder();
    write_file(folder + "/catalog.json", R"({"services": [
        {"name": "busy", "requires": "cpu", "priority": 2, "port": 1},
        {"name": "idle", "requires": "cpu", "priority": 1, "port": 2}],
        "reserved": {"b-1": ["busy"], "i-1": ["idle"]}})");
    CoordinatorOptions options;
    options.flags = {"--catalog", folder + "/catalog.json"};
    options.environment = {"OVERLOAD_SECONDS=0.5", "DWELL_SECONDS=3600"};
    Coordinator coordinator(options);
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    Fleet fleet(coordinator);
    fleet.add("b-1", "http://127.0.0.1:9", 1, "busy");
    fleet.add("i-1", "http://127.0.0.1:9", 0.1, "idle");
    fleet.add("i-2", "http://127.0.0.1:9", 0.1, "idle");
    fleet.held = "busy";
    ASSERT_TRUE(eventually([&] {
        fleet.beat();
        return fleet.has("i-2", "busy");
    })) << coordinator.log();
    for (int i = 0; i < 20; i++)
        fleet.beat();
    EXPECT_TRUE(fleet.has("i-2", "idle")) << "the new one does not run yet";
    fleet.held = "";
    ASSERT_TRUE(eventually([&] {
        fleet.beat();
        return !fleet.has("i-2", "idle");
    })) << coordinator.log();
    EXPECT_TRUE(fleet.has("i-2", "busy"));
    EXPECT_TRUE(eventually([&] { return !runs(coordinator.worker("i-2")["assigned_services"], "idle"); }));
    EXPECT_EQ(coordinator.stop(), 0);
}

} // namespace
