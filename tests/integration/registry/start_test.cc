// Starts that fail: exit code 1 (settings: 2) and one line on standard error that says what to
// do; nothing that is on disk is touched.

#include "tests/integration/registry/client.h"
#include "tests/integration/registry/process.h"

#include <gtest/gtest.h>

#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace
{

std::string read_file(const std::string &path)
{
    std::ifstream in(path, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

void write_file(const std::string &path, const std::string &text)
{
    std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

void expect_failure(const char *program, const std::vector<std::string> &arguments, int code, const char *expected,
                    const std::function<void()> &before = nullptr)
{
    Process process(program, arguments, before);
    EXPECT_EQ(process.ready(), "");
    EXPECT_EQ(process.end(0), code) << process.errors();
    std::string errors = process.errors();
    EXPECT_EQ(std::count(errors.begin(), errors.end(), '\n'), 1) << errors;
    EXPECT_NE(errors.find(expected), std::string::npos) << errors;
}

TEST(RegistryStart, ACorruptFileIsRefusedAndLeftAlone)
{
    Directory data;
    std::string file = data.path + "/registry.sqlite3", garbage = std::string(8192, 'g');
    write_file(file, garbage);
    expect_failure(registry_program, {"--port=0", "--data-dir=" + data.path}, 1, "put it aside or restore a backup");
    EXPECT_EQ(read_file(file), garbage);
}

TEST(RegistryStart, ADirectoryThatCannotBeWrittenIsRefused)
{
    Directory data;
    ASSERT_EQ(chmod(data.path.c_str(), 0555), 0);
    // Nothing is read-only for root, unless the child can never have that capability.
    auto as_others = [] {
        if (geteuid() == 0 && prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE) != 0)
            _exit(125);
    };
    expect_failure(registry_program, {"--port=0", "--data-dir=" + data.path}, 1, "make it writable", as_others);
    EXPECT_TRUE(std::filesystem::is_empty(data.path));
}

TEST(RegistryStart, APortInUseIsRefused)
{
    Directory data;
    Process first(registry_program, {"--port=0", "--data-dir=" + data.path + "/1"});
    std::string address = first.ready();
    ASSERT_NE(address, "") << first.errors();
    std::string port = address.substr(address.rfind(':') + 1);
    expect_failure(registry_program, {"--port=" + port, "--data-dir=" + data.path + "/2"}, 1, port.c_str());
    expect_failure(assigner_program, {"--port=" + port}, 1, port.c_str());
    EXPECT_EQ(first.end(SIGTERM), 0);
}

TEST(RegistryStart, ADirectoryInUseIsRefused)
{
    Directory data;
    Process first(registry_program, {"--port=0", "--data-dir=" + data.path});
    ASSERT_NE(first.ready(), "") << first.errors();
    expect_failure(registry_program, {"--port=0", "--data-dir=" + data.path}, 1, "in use by another process");
    EXPECT_EQ(first.end(SIGTERM), 0);
}

TEST(RegistryStart, AWrongSettingIsRefused)
{
    expect_failure(registry_program, {"--port=banana"}, 2, "port");
    expect_failure(registry_program, {"--no-such-flag=1"}, 2, "no-such-flag");
}

TEST(AssignerStart, ABadCatalogIsRefused)
{
    Directory data;
    std::string file = data.path + "/catalog.json";
    write_file(file, R"({"services": [{"name": "x", "tier": 9, "priority": 1, "port": 80}]})");
    expect_failure(assigner_program, {"--port=0", "--catalog=" + file}, 1, "service 'x': tier: must be 1");
    expect_failure(assigner_program, {"--port=0", "--catalog=" + data.path + "/none"}, 1, "cannot be read");
}

TEST(AssignerProcess, ReadsItsCatalogAgainOnHangup)
{
    Directory data;
    std::string file = data.path + "/catalog.json";
    write_file(file, R"({"services": [{"name": "one", "tier": 2, "priority": 1, "port": 81}]})");
    Process assigner(assigner_program, {"--port=0", "--catalog=" + file, "--registry-address=127.0.0.1:1"});
    std::string address = assigner.ready();
    ASSERT_NE(address, "") << assigner.errors();
    Client client(address);
    ASSERT_STREQ(client.catalog()->services[0]->name, "one");

    // A watcher is told of each catalog.
    struct Seen {
        std::vector<std::string> names;
        bool ended = false;
    } seen;
    struct rpc_events events = {};
    events.message = [](struct rpc_call *call, const void *message) {
        auto catalog = static_cast<const Muster__V1__WatchCatalogResponse *>(message);
        static_cast<Seen *>(rpc_call_context(call))->names.push_back(catalog->services[0]->name);
    };
    events.ended = [](struct rpc_call *call, enum rpc_status, const char *) {
        static_cast<Seen *>(rpc_call_context(call))->ended = true;
    };
    Muster__V1__WatchCatalogRequest request = MUSTER__V1__WATCH_CATALOG_REQUEST__INIT;
    struct rpc_call *watch = rpc_channel_stream(client.channel, &muster__v1__assigner_service__descriptor,
                                                "WatchCatalog", nullptr, &events, &seen);
    rpc_call_send(watch, &request.base);
    rpc_call_half_close(watch);
    ASSERT_TRUE(client.wait([&] { return seen.names.size() == 1; }));

    write_file(file, R"({"services": [{"name": "two", "tier": 1, "priority": 1, "port": 82, "repeatable": true}]})");
    assigner.signal(SIGHUP);
    ASSERT_TRUE(client.wait([&] { return seen.names.size() == 2; }));
    EXPECT_EQ(seen.names[1], "two");
    EXPECT_TRUE(client.catalog()->services[0]->repeatable);

    write_file(file, "{");
    assigner.signal(SIGHUP);
    ASSERT_TRUE(client.wait([&] { return assigner.errors().find("the old one stays") != std::string::npos; }));
    EXPECT_STREQ(client.catalog()->services[0]->name, "two");

    assigner.signal(SIGTERM);
    ASSERT_TRUE(client.wait([&] { return seen.ended; }));
    EXPECT_EQ(assigner.end(0), 0) << assigner.errors();
}

TEST(AssignerProcess, DecidesNothingBeforeItKnowsTheRoll)
{
    Process assigner(assigner_program, {"--port=0", "--registry-address=127.0.0.1:1"});
    Client client(assigner.ready());
    auto decision = client.assign("w1", MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU);
    EXPECT_EQ(decision.status, RPC_UNAVAILABLE);
    EXPECT_NE(decision.text.find("has not been heard"), std::string::npos) << decision.text;
    EXPECT_EQ(client.gaps().status, RPC_UNAVAILABLE);
    EXPECT_EQ(client.catalog()->n_services, 14u);
}

TEST(AssignerProcess, FollowsTheRoll)
{
    Directory data;
    Process registry(registry_program, {"--port=0", "--data-dir=" + data.path, "--assigner-address=127.0.0.1:1"});
    std::string registry_address = registry.ready();
    Process assigner(assigner_program, {"--port=0", "--registry-address=" + registry_address});
    Client client(assigner.ready());
    ASSERT_TRUE(client.wait([&] { return client.gaps().ok(); }));
    EXPECT_EQ(client.gaps()->gaps[0]->status, MUSTER__V1__GAP_STATUS__GAP_STATUS_CRITICAL);
    auto first = client.assign("e1", MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE);
    ASSERT_EQ(first->assignments[0]->n_services, 2u);
    EXPECT_STREQ(first->assignments[0]->services[0]->name, "coordinator");
    EXPECT_EQ(first->assignments[0]->services[0]->port, 8080u);
    EXPECT_STREQ(first->assignments[0]->reason,
                 "worker 1 of type edge; takes coordinator (0 before it), edge-proxy (0 before it)");
    auto second = client.assign("e2", MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE, true);
    ASSERT_EQ(second->assignments[0]->n_services, 3u);
    EXPECT_STREQ(second->assignments[0]->reason, "") << "it was not wanted";
    EXPECT_EQ(client.assign("", MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE).status, RPC_INVALID_ARGUMENT);
    EXPECT_EQ(client.assign("x", MUSTER__V1__WORKER_TYPE__WORKER_TYPE_UNSPECIFIED).status, RPC_INVALID_ARGUMENT);
    // While the registry is away it goes on with what it knows.
    registry.end(SIGKILL);
    EXPECT_TRUE(client.gaps().ok());
}

} // namespace
