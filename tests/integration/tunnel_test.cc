// A coordinator that is reached through a tunnel. cloudflared's place is taken by a program that speaks its command
// line and its output (worker/cloudflared.py).

#include "tests/integration/coordinator.h"
#include "tests/integration/fake_worker.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace
{

const char *const connected = "INF Registered tunnel connection connIndex=0 connection=1 event=0 ip=198.51.100.1";

std::string quick(const std::string &name)
{
    return R"([["INF |  https://)" + name + R"(.trycloudflare.com  |", ")" + connected + R"("], null])";
}

// The stand-in, with what it is to do at each start.
class StandIn
{
  public:
    explicit StandIn(const std::string &runs) : folder(temporary_folder())
    {
        write_file(path(), read_file("tests/integration/worker/cloudflared.py"));
        chmod(path().c_str(), 0755);
        write_file(folder + "/runs", runs);
    }
    std::string path() const
    {
        return folder + "/cloudflared";
    }
    // Of the n-th start: [pid, arguments, token]; null: there was none yet.
    Json call(size_t number) const
    {
        std::string text = read_file(folder + "/calls"), all = "[";
        for (char letter : text)
            all += letter == '\n' ? ',' : letter;
        all += "null]";
        return Json::parse(all)[number];
    }
    bool kill(size_t number) const
    {
        return ::kill(static_cast<pid_t>(call(number)[size_t(0)].integer()), SIGKILL) == 0;
    }

  private:
    std::string folder;
};

// An edge router that takes everything and keeps which URLs were registered.
class Registrations
{
  public:
    Registrations()
        : edge([this](FakeWorker::Connection &connection, const std::string &head) {
              size_t length = head.find("ontent-Length: ");
              std::string body =
                  length == std::string::npos ? "" : connection.read_exactly(std::stoul(head.substr(length + 15)));
              std::lock_guard<std::mutex> guard(lock);
              if (head.rfind("POST /api/edge/register", 0) == 0)
                  urls.push_back(Json::parse(body)["url"].text());
              if (head.rfind("DELETE /api/edge/unregister", 0) == 0)
                  urls.push_back("goodbye");
              return connection.write(FakeWorker::answer(R"({"status": "ok", "incarnation": 1})"));
          })
    {
    }
    std::string url() const
    {
        return edge.url();
    }
    std::vector<std::string> all()
    {
        std::lock_guard<std::mutex> guard(lock);
        return urls;
    }

  private:
    std::mutex lock;
    std::vector<std::string> urls;
    FakeWorker edge;
};

CoordinatorOptions tunnelled(const StandIn &program, const std::string &edge_url,
                             const std::vector<std::string> &flags = {})
{
    CoordinatorOptions options;
    options.flags = {"--join",   edge_url,      "--coordinator-id", "uk",           "--location", "uk",
                     "--tunnel", "cloudflared", "--cloudflared",    program.path(), "--insecure"};
    options.flags.insert(options.flags.end(), flags.begin(), flags.end());
    options.environment = {"JOIN_HEARTBEAT_SECONDS=0.2"};
    return options;
}

int free_port()
{
    std::string url = unreachable_url();
    return std::stoi(url.substr(url.rfind(':') + 1));
}

Json coordinator_at(Coordinator &edge, const std::string &id)
{
    return edge.get("/api/admin/coordinators").json().find("worker_id", id);
}

TEST(Tunnel, AQuickOneIsRegisteredAndAgainWhenItsUrlIsAnotherOne)
{
    using Urls = std::vector<std::string>;
    Registrations edge;
    StandIn program("[" + quick("one-two") + "," + quick("one-two") + "," + quick("three") + "]");
    Coordinator uk(tunnelled(program, edge.url()));
    ASSERT_TRUE(uk.start()) << uk.log();
    EXPECT_TRUE(eventually([&] { return edge.all().size() == 1; })) << uk.log();
    EXPECT_EQ(edge.all(), Urls{"https://one-two.trycloudflare.com"}) << "and not where it listens";
    EXPECT_EQ(program.call(0)[1].dump(), R"(["tunnel","--no-autoupdate","--url",")" + uk.url() + "\"]");
    EXPECT_EQ(uk.get("/api/topology").json()["coordinators"][size_t(0)]["url"].text(), edge.all()[0]);

    ASSERT_TRUE(program.kill(0));
    EXPECT_TRUE(eventually([&] { return !program.call(1).is_null(); }));
    ASSERT_TRUE(eventually([&] { return program.kill(1); }));
    EXPECT_TRUE(eventually([&] { return edge.all().size() == 2; })) << uk.log();
    EXPECT_EQ(edge.all().back(), "https://three.trycloudflare.com") << "the same one again was no news";

    // The gateway comes back, and has it from the file; so does the process that keeps the tunnel, with a new one.
    ASSERT_TRUE(uk.kill_and_wait("muster-gateway"));
    EXPECT_TRUE(eventually([&] { return edge.all().size() == 3; }));
    EXPECT_EQ(edge.all().back(), "https://three.trycloudflare.com");
    pid_t before = static_cast<pid_t>(program.call(2)[size_t(0)].integer());
    ASSERT_TRUE(uk.kill_and_wait("muster-tunnel"));
    EXPECT_TRUE(eventually([&] { return !program.call(3).is_null() && ::kill(before, 0) != 0; })) << "only one runs";

    pid_t last = static_cast<pid_t>(program.call(3)[size_t(0)].integer());
    EXPECT_EQ(uk.stop(), 0);
    EXPECT_EQ(edge.all().back(), "goodbye");
    EXPECT_TRUE(eventually([&] { return ::kill(last, 0) != 0; })) << "it ends with the coordinator";
}

TEST(Tunnel, WithoutAnAddressTheCoordinatorServesAndWaits)
{
    const std::string limited =
        R"([["ERR Error unmarshaling QuickTunnel response: status_code=\"429 Too Many Requests\"",
            "failed to request quick Tunnel: Post \"https://api.trycloudflare.com/tunnel\": 429"], 1])";
    const std::string silent = std::string(R"([[")") + connected + R"("], null])";
    Registrations edge;
    StandIn program("[" + limited + "," + silent + "," + quick("late") + "]");
    CoordinatorOptions options = tunnelled(program, edge.url());
    options.environment.push_back("TUNNEL_TIMEOUT_SECONDS=1");
    Coordinator uk(options);
    ASSERT_TRUE(uk.start()) << uk.log() << "a coordinator serves its own workers without a tunnel";
    EXPECT_TRUE(eventually([&] { return edge.all().size() == 1; })) << uk.log();
    EXPECT_EQ(edge.all()[0], "https://late.trycloudflare.com") << "not the API's";
    EXPECT_NE(uk.log().find("no more quick tunnels for a while"), std::string::npos);
    EXPECT_EQ(uk.stop(), 0);
}

TEST(Tunnel, ANamedOneCarriesTheRequestsOfAnEdgeRouter)
{
    FakeWorker machine([](FakeWorker::Connection &connection, const std::string &) {
        return connection.write(FakeWorker::answer("served"));
    });
    CoordinatorOptions edge_options;
    edge_options.flags = {"--role", "edge-router"};
    edge_options.environment = {"REGION_INTERVAL_SECONDS=0.2", "COORDINATOR_PROOF=required"};
    Coordinator edge(edge_options);
    ASSERT_TRUE(edge.start()) << edge.log();
    std::string port = std::to_string(free_port()), folder = temporary_folder(), url = "http://127.0.0.1:" + port;
    write_file(folder + "/tunnel.json",
               R"({"TunnelID": "6ff42ae2-765d-4adf-8112-31c55c1551ef", "TunnelSecret": "AQ=="})");
    StandIn program(std::string(R"([[[")") + connected + R"("], null, )" + port + "]]");
    Coordinator uk(
        tunnelled(program, edge.url(), {"--tunnel-credentials", folder + "/tunnel.json", "--public-url", url}));
    ASSERT_TRUE(uk.start()) << uk.log();
    ASSERT_TRUE(eventually([&] { return coordinator_at(edge, "uk")["in_pool"].boolean(); })) << uk.log();
    EXPECT_EQ(coordinator_at(edge, "uk")["tunnel_url"].text(), url);
    const std::string worker = R"({"worker_id": "a", "tunnel_url": ")" + machine.url() + R"(", "services": ["files"]})";
    EXPECT_EQ(edge.post("/api/worker/register", worker).status, 200);
    EXPECT_EQ(edge.get("/service/files/x").body, "served");
    ASSERT_TRUE(program.kill(0));
    EXPECT_TRUE(eventually([&] { return !program.call(1).is_null(); }));
    EXPECT_TRUE(eventually([&] { return edge.get("/service/files/x").body == "served"; })) << "it is started again";
    EXPECT_EQ(uk.stop(), 0);
    EXPECT_TRUE(coordinator_at(edge, "uk").is_null()) << "its goodbye arrived";
}

TEST(Tunnel, AnotherUrlIsTakenWhileItRuns)
{
    FakeWorker machine([](FakeWorker::Connection &connection, const std::string &) {
        return connection.write(FakeWorker::answer("served"));
    });
    CoordinatorOptions edge_options;
    edge_options.flags = {"--role", "edge-router"};
    edge_options.environment = {"REGION_INTERVAL_SECONDS=0.2"};
    Coordinator edge(edge_options);
    ASSERT_TRUE(edge.start()) << edge.log();
    // Two tunnels, one after the other, from the same program; whoever keeps them writes the file.
    std::string file = temporary_folder() + "/url";
    CoordinatorOptions options;
    options.flags = {"--join", edge.url(), "--coordinator-id", "uk"};
    options.environment = {"JOIN_HEARTBEAT_SECONDS=0.2", "PUBLIC_URL_FILE=" + file};
    Coordinator uk(options);
    ASSERT_TRUE(uk.start()) << uk.log();
    ASSERT_EQ(uk.post("/api/worker/register",
                      R"({"worker_id": "a", "services": ["files"], "tunnel_url": ")" + machine.url() + "\"}")
                  .status,
              200);
    EXPECT_TRUE(edge.get("/api/admin/coordinators").json()[size_t(0)].is_null()) << "it has no URL to register yet";
    for (int i = 0; i < 2; i++) {
        int port = free_port();
        std::string url = "http://127.0.0.1:" + std::to_string(port);
        StandIn program(std::string(R"([[[")") + connected + R"("], null, )" + std::to_string(port) + "]]");
        Process tunnel(program.path(), {"tunnel", "--url", uk.url()});
        write_file(file, "nonsense\n");
        write_file(file + ".new", url + "/\n");
        ASSERT_EQ(rename((file + ".new").c_str(), file.c_str()), 0);
        EXPECT_TRUE(eventually([&] {
            Json record = coordinator_at(edge, "uk");
            return record["tunnel_url"].text() == url && record["in_pool"].boolean();
        })) << edge.get("/api/admin/coordinators").described()
            << uk.log();
        EXPECT_TRUE(eventually([&] { return edge.get("/service/files/x").body == "served"; }));
        EXPECT_EQ(edge.get("/api/admin/coordinators").json().size(), 1u);
    } // and with the tunnel goes the URL
    EXPECT_EQ(uk.stop(), 0);
}

TEST(Tunnel, AQuickOneIsAnAddressInTheHashTable)
{
    Registrations edge;
    StandIn program("[" + quick("one-two") + "," + quick("three") + "]");
    Coordinator uk(tunnelled(program, edge.url(), {"--dht"}));
    ASSERT_TRUE(uk.start()) << uk.log();
    const auto own = [&] { return uk.get("/api/dht/topology").json()["node"]; };
    EXPECT_TRUE(eventually([&] { return own()["url"].text() == "https://one-two.trycloudflare.com"; }))
        << own().dump() << uk.log();
    std::string id = own()["id"].text();
    ASSERT_TRUE(program.kill(0));
    EXPECT_TRUE(eventually([&] { return own()["url"].text() == "https://three.trycloudflare.com"; })) << uk.log();
    EXPECT_EQ(own()["id"].text(), id);
    EXPECT_EQ(uk.stop(), 0);
}

TEST(Tunnel, ANodeOfTheHashTableThatMovesIsFoundAtItsNewUrl)
{
    const std::string network = "DHT_NETWORK=tunnel-" + std::to_string(getpid());
    CoordinatorOptions first;
    first.flags = {"--dht", "--location", "de"};
    first.environment = {network, "COORDINATOR_ID=de"};
    Coordinator de(first);
    ASSERT_TRUE(de.start()) << de.log();
    std::string file = temporary_folder() + "/url";
    CoordinatorOptions options;
    options.flags = {"--dht-seeds", de.url(), "--location", "uk"};
    options.environment = {network, "COORDINATOR_ID=uk", "PUBLIC_URL_FILE=" + file};
    Coordinator uk(options);
    ASSERT_TRUE(uk.start()) << uk.log();
    ASSERT_EQ(uk.post("/api/worker/register",
                      R"({"worker_id": "a", "services": ["files"], "tunnel_url": "http://127.0.0.1:9"})")
                  .status,
              200);
    const auto known = [&] { return de.get("/api/dht/topology").json()["nodes"]; };
    EXPECT_EQ(known().size(), 0u) << "it calls nobody who could not call it back";
    for (int i = 0; i < 2; i++) {
        int port = free_port();
        std::string url = "http://127.0.0.1:" + std::to_string(port);
        StandIn program(std::string(R"([[[")") + connected + R"("], null, )" + std::to_string(port) + "]]");
        Process tunnel(program.path(), {"tunnel", "--url", uk.url()});
        write_file(file + ".new", url + "/\n");
        ASSERT_EQ(rename((file + ".new").c_str(), file.c_str()), 0);
        EXPECT_TRUE(eventually([&] { return known()[size_t(0)]["url"].text() == url; })) << known().dump() << uk.log();
        EXPECT_EQ(known().size(), 1u);
        for (const std::string key : {"coordinator:uk", "worker:files", "service:a"}) {
            const auto found = [&] { return de.get("/api/dht/lookup/" + key).json()["values"]; };
            EXPECT_TRUE(eventually([&] {
                return found().size() == 1u && found()[size_t(0)].dump().find(url + "\"") != std::string::npos;
            })) << key
                << found().dump();
        }
    }
    EXPECT_EQ(uk.stop(), 0);
    EXPECT_EQ(de.stop(), 0);
}

TEST(Tunnel, SettingsThatMakeNoSense)
{
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
        {{"--tunnel", "ngrok"}, "give cloudflared"},
        {{"--tunnel", "cloudflared"}, "and there is no key"},
        {{"--tunnel-token", "x"}, "give --tunnel cloudflared"},
        {{"--tunnel", "cloudflared", "--tunnel-token", "x"}, "as --public-url"},
        {{"--tunnel", "cloudflared", "--public-url", "https://x"}, "leave one of them out"},
        {{"--tunnel", "cloudflared", "--public-url", "https://x", "--tunnel-credentials", "/nowhere"},
         "cannot be read"},
    };
    for (const auto &[flags, hint] : cases) {
        CoordinatorOptions options;
        options.flags = flags;
        if (hint.find("no key") == std::string::npos)
            options.flags.push_back("--insecure");
        Coordinator coordinator(options);
        EXPECT_FALSE(coordinator.start());
        EXPECT_NE(coordinator.log().find(hint), std::string::npos) << coordinator.log();
    }
}

} // namespace
