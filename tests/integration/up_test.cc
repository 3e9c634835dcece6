// `musterctl up` itself: what it says, what it refuses, and that nothing survives it.

#include "tests/integration/coordinator.h"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

namespace
{

const char musterctl[] = "services/ctl/musterctl";

size_t lines(const std::string &text)
{
    return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

// A socket that listens on a free port of the loopback.
struct Listener {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint16_t port = 0;
    Listener()
    {
        sockaddr_in address = {};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t bytes = sizeof(address);
        EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address)), 0);
        EXPECT_EQ(listen(fd, 8), 0);
        EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr *>(&address), &bytes), 0);
        port = ntohs(address.sin_port);
    }
    ~Listener()
    {
        close(fd);
    }
};

TEST(Up, SaysOneLineAndStopsInOrder)
{
    Coordinator coordinator({.demo_workers = 1});
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    EXPECT_EQ(coordinator.process().output(), "ready " + coordinator.url() + "\n");
    EXPECT_EQ(coordinator.names(), (std::vector<std::string>{"muster-registry", "muster-assigner", "muster-health",
                                                             "muster-router", "muster-gateway", "demo-1"}));
    EXPECT_EQ(coordinator.stop(), 0) << coordinator.log();
    EXPECT_EQ(lines(coordinator.process().output()), 1u);
    EXPECT_EQ(coordinator.get("/healthz").status, 0);
}

TEST(Up, EveryProcessHasItsLog)
{
    std::string logs = temporary_folder() + "/logs";
    Coordinator coordinator({.flags = {"--log-dir", logs}});
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    for (const auto &name : coordinator.names())
        EXPECT_NE(read_file(logs + "/" + name + ".log"), "") << name;
    EXPECT_EQ(coordinator.stop(), 0);
}

TEST(Up, RestartsWhatDies)
{
    Coordinator coordinator({.demo_workers = 1});
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    for (const auto &name : coordinator.names()) {
        pid_t before = coordinator.pid(name);
        std::string address = coordinator.address(name);
        ASSERT_TRUE(coordinator.kill_and_wait(name)) << name << coordinator.log();
        EXPECT_NE(coordinator.pid(name), before);
        EXPECT_EQ(coordinator.address(name), address);
        EXPECT_EQ(coordinator.restarts(name), 1);
    }
    EXPECT_TRUE(eventually([&] { return coordinator.get("/health").json()["status"].text() == "healthy"; }));
    EXPECT_EQ(coordinator.stop(), 0) << coordinator.log();
}

TEST(Up, NothingSurvivesItsSigkill)
{
    // What it leaves behind becomes this process's child, and can be waited for.
    ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    Coordinator coordinator({.demo_workers = 1});
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    std::vector<pid_t> pids;
    for (const auto &name : coordinator.names())
        pids.push_back(coordinator.pid(name));
    coordinator.process().signal(SIGKILL);
    ASSERT_EQ(coordinator.process().wait(), 128 + SIGKILL);
    for (pid_t pid : pids) {
        int status = 0;
        ASSERT_EQ(waitpid(pid, &status, 0), pid);
        EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << pid;
    }
}

TEST(Up, ASecondOneOnTheSameDataDirectory)
{
    Coordinator coordinator;
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    Process second(musterctl, {"up", "--port", "0", "--grpc-port", "0", "--data-dir", coordinator.data_dir()});
    EXPECT_EQ(second.wait(), 1);
    EXPECT_EQ(second.output(), "");
    EXPECT_EQ(second.errors(), "musterctl: another musterctl runs on the data directory " + coordinator.data_dir() +
                                   ": stop it or choose another --data-dir\n");
    EXPECT_EQ(coordinator.get("/health").status, 200);
}

TEST(Up, ASecondOneOnTheSamePort)
{
    Coordinator coordinator;
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    std::string port = coordinator.url().substr(coordinator.url().rfind(':') + 1);
    Process second(musterctl, {"up", "--port", port, "--grpc-port", "0", "--data-dir", temporary_folder()});
    EXPECT_EQ(second.wait(), 1);
    EXPECT_EQ(second.errors(),
              "musterctl: port " + port +
                  " of 127.0.0.1 is taken: stop what listens there, or choose another port with --port\n");
}

TEST(Up, AGrpcPortThatIsTaken)
{
    Listener taken;
    Process process(musterctl,
                    {"up", "--port", "0", "--grpc-port", std::to_string(taken.port), "--data-dir", temporary_folder()});
    EXPECT_EQ(process.wait(), 1);
    EXPECT_EQ(lines(process.errors()), 1u) << process.errors();
    EXPECT_NE(process.errors().find("with --grpc-port"), std::string::npos) << process.errors();
}

TEST(Up, AProcessThatRefusesToStartEndsItAll)
{
    std::string catalog = temporary_folder() + "/catalog.json";
    write_file(catalog, "{nonsense");
    Coordinator coordinator({.flags = {"--catalog", catalog}});
    EXPECT_FALSE(coordinator.start());
    EXPECT_EQ(coordinator.process().wait(), 1);
    EXPECT_EQ(coordinator.process().output(), "");
    EXPECT_NE(coordinator.log().find("musterctl: muster-assigner refused to start"), std::string::npos)
        << coordinator.log();
    EXPECT_NE(coordinator.log().find(catalog), std::string::npos)
        << "its own line says which file: " << coordinator.log();
}

TEST(Up, ProgramsThatAreNotThere)
{
    std::string nowhere = temporary_folder();
    Process process(musterctl,
                    {"up", "--port", "0", "--grpc-port", "0", "--data-dir", temporary_folder(), "--bin-dir", nowhere});
    EXPECT_EQ(process.wait(), 1);
    EXPECT_EQ(process.errors(),
              "musterctl: there is no program muster-registry in " + nowhere + ": choose another --bin-dir\n");
}

// Stand-ins for the programs, since the real ones do not misbehave on demand: all are this
// script.
struct StandIns {
    std::string folder = temporary_folder();
    std::string data_dir = temporary_folder();
    explicit StandIns(const std::string &script)
    {
        for (const char *name : {"registry", "assigner", "health", "router", "gateway", "worker"}) {
            std::string path = folder + "/muster-" + name;
            write_file(path, "#!/bin/sh\n" + script + "\n");
            EXPECT_EQ(chmod(path.c_str(), 0755), 0);
        }
    }
    std::vector<std::string> up(const std::vector<std::string> &flags = {}) const
    {
        std::vector<std::string> all = {"up",         "--port", "0",         "--grpc-port", "0",
                                        "--data-dir", data_dir, "--bin-dir", folder};
        all.insert(all.end(), flags.begin(), flags.end());
        return all;
    }
    // What processes.json says of the registry.
    Json registry() const
    {
        return Json::parse(read_file(data_dir + "/processes.json"))["processes"].find("name", "muster-registry");
    }
};

TEST(Up, AProgramThatCrashesAgainAndAgainEndsItAll)
{
    StandIns programs("kill -SEGV $$");
    Process process(musterctl, programs.up());
    EXPECT_EQ(process.wait(), 1);
    EXPECT_NE(process.errors().find("musterctl: muster-registry died 3 times while it started, the last time of signal "
                                    "11\n"),
              std::string::npos)
        << process.errors();
}

TEST(Up, AProgramThatIsNeverReadyEndsItAll)
{
    StandIns programs("sleep 1000 & wait");
    Process process(musterctl, programs.up({"--start-timeout-seconds", "0.5"}));
    EXPECT_EQ(process.wait(), 1);
    EXPECT_EQ(process.errors(), "musterctl: muster-registry was not ready within 0.5 s\n");
}

TEST(Up, AProgramThatDoesNotEndIsKilled)
{
    StandIns programs("trap '' TERM; echo up >&3; while :; do sleep 0.05; done");
    Process process(musterctl, programs.up({"--stop-timeout-seconds", "0.3"}));
    ASSERT_TRUE(eventually([&] { return programs.registry()["state"].text() == "ready"; })) << process.errors();
    pid_t registry = static_cast<pid_t>(programs.registry()["pid"].integer());
    process.signal(SIGTERM);
    EXPECT_EQ(process.wait(), 1);
    EXPECT_NE(process.errors().find("musterctl: some processes did not end in time and were killed\n"),
              std::string::npos)
        << process.errors();
    EXPECT_EQ(kill(registry, 0), -1);
}

TEST(Up, ASecondSignalDoesNotWait)
{
    StandIns programs("trap '' TERM; echo up >&3; while :; do sleep 0.05; done");
    Process process(musterctl, programs.up({"--stop-timeout-seconds", "3600"}));
    ASSERT_TRUE(eventually([&] { return programs.registry()["state"].text() == "ready"; })) << process.errors();
    process.signal(SIGTERM);
    ASSERT_TRUE(eventually([&] { return process.errors().find("stopping") != std::string::npos; }));
    process.signal(SIGTERM);
    EXPECT_EQ(process.wait(), 1) << process.errors();
}

// A worker that is online and cannot be reached: whoever waits for the line goes on to send
// requests, and they would fail.
TEST(Up, IsNotReadyBeforeTheDemoWorkersAnswer)
{
    StandIns programs(R"(name=${0##*/muster-}
case $name in
worker) exec services/worker/muster-worker "$@" --tunnel-url http://127.0.0.1:9 ;;
gateway) exec gateway/muster-gateway "$@" ;;
*) exec services/$name/muster-$name "$@" ;;
esac)");
    Process process(musterctl, programs.up({"--demo-workers", "1"}));
    HttpClient client;
    auto worker = [&] {
        Json gateway =
            Json::parse(read_file(programs.data_dir + "/processes.json"))["processes"].find("name", "muster-gateway");
        return client.request("http://" + gateway["address"].text() + "/api/admin/workers")
            .json()["workers"]
            .find("worker_id", "demo-1");
    };
    ASSERT_TRUE(eventually([&] { return worker()["status"].text() == "online"; })) << process.errors();
    EXPECT_EQ(worker()["tunnel_url"].text(), "http://127.0.0.1:9");
    std::this_thread::sleep_for(std::chrono::seconds(1));
    process.signal(SIGTERM);
    EXPECT_EQ(process.wait(), 0) << process.errors();
    EXPECT_EQ(process.output(), "");
}

TEST(Up, SaysWhatIsMissingWhenItDoesNotServe)
{
    StandIns programs("trap 'exit 0' TERM; echo up >&3; while :; do sleep 0.05; done");
    Process process(musterctl, programs.up({"--start-timeout-seconds", "1.5"}));
    EXPECT_EQ(process.wait(), 1);
    EXPECT_NE(process.errors().find("musterctl: all processes run, but the coordinator does not serve: cannot reach "
                                    "http://127.0.0.1:"),
              std::string::npos)
        << process.errors();
    EXPECT_EQ(process.output(), "");
}

TEST(Commands, ShowACoordinator)
{
    Coordinator coordinator({.demo_workers = 2});
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    std::vector<std::string> environment = {"COORDINATOR_URL=" + coordinator.url() + "/,http://127.0.0.1:1",
                                            "ROUTER_ADDRESS=" + coordinator.address("muster-router"),
                                            "DATA_DIR=" + coordinator.data_dir()};
    auto run = [&](const std::vector<std::string> &arguments, int code) {
        Process process(musterctl, arguments, environment);
        EXPECT_EQ(process.wait(), code) << arguments[0] << ": " << process.errors();
        return process.output();
    };
    std::string workers = run({"workers"}, 0);
    EXPECT_EQ(workers.substr(0, 6), "WORKER");
    EXPECT_EQ(lines(workers), 3u) << workers;
    EXPECT_NE(workers.find("demo-2"), std::string::npos) << workers;
    EXPECT_EQ(Json::parse(run({"workers", "-o", "json"}, 0))["total"].integer(), 2);
    EXPECT_NE(run({"services"}, 0).find("document-processing"), std::string::npos);
    // Nobody has a GPU: a critical gap is bad news.
    EXPECT_NE(run({"gaps"}, 3).find("llm-inference"), std::string::npos);
    EXPECT_NE(run({"health"}, 0).find("healthy"), std::string::npos);
    std::string route = run({"route", "document-processing"}, 0);
    EXPECT_NE(route.find("->  demo-"), std::string::npos) << route;
    Json explained = Json::parse(run({"route", "document-processing", "-o", "json"}, 0));
    EXPECT_EQ(explained["service"].text(), "document-processing");
    EXPECT_NE(explained["candidates"].find("worker_id", "demo-1").dump(), "null");
    EXPECT_EQ(lines(run({"processes"}, 0)), 8u);
}

TEST(Commands, WatchShowsAgainAndAgain)
{
    Coordinator coordinator;
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    Process process(musterctl,
                    {"health", "--coordinator-url", coordinator.url(), "-o", "json", "--watch", "--interval", "0.1"});
    EXPECT_TRUE(eventually([&] { return lines(process.output()) >= 3; })) << process.errors();
    std::string first = process.output().substr(0, process.output().find('\n'));
    EXPECT_EQ(Json::parse(first)["status"].text(), "healthy") << first;
}

TEST(Commands, ACoordinatorThatIsNotThere)
{
    uint16_t port = Listener().port; // closed again
    Process process(musterctl, {"workers", "--coordinator-url", "http://127.0.0.1:" + std::to_string(port)});
    EXPECT_EQ(process.wait(), 1);
    EXPECT_EQ(process.output(), "");
    EXPECT_EQ(lines(process.errors()), 1u) << process.errors();
    Process route(musterctl, {"route", "ocr", "--router-address", "127.0.0.1:" + std::to_string(port)});
    EXPECT_EQ(route.wait(), 1);
    EXPECT_EQ(lines(route.errors()), 1u) << route.errors();
}

TEST(Commands, WrongUsage)
{
    for (const std::vector<std::string> &arguments : {std::vector<std::string>{"nonsense"},
                                                      {"workers", "extra"},
                                                      {"workers", "--nonsense"},
                                                      {"route"},
                                                      {"route", "a", "b"},
                                                      {"workers", "-o", "xml"},
                                                      {"up", "--port", "70000"},
                                                      {"up", "--demo-workers", "-1"}}) {
        Process process(musterctl, arguments);
        EXPECT_EQ(process.wait(), 2) << arguments[0];
        EXPECT_EQ(lines(process.errors()), 1u) << process.errors();
        EXPECT_EQ(process.output(), "");
    }
}

} // namespace
