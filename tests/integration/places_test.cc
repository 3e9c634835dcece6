// Workers that do not say where they are: an edge router finds it in a database of places, by the address that a
// trusted proxy names.

#include "tests/integration/coordinator.h"
#include "tests/unit/gateway/mmdb.h"

#include <gtest/gtest.h>

namespace
{

CoordinatorOptions joining(const std::string &id, const std::string &edge_url, const std::string &location,
                           const std::string &coordinates = "")
{
    CoordinatorOptions options;
    options.flags = {"--join", edge_url, "--coordinator-id", id, "--location", location};
    options.environment = {"JOIN_HEARTBEAT_SECONDS=0.2", "COORDINATES=" + coordinates};
    return options;
}

Mmdb places()
{
    Mmdb database;
    database.add("81.2.69.0/24", {"GB", "EU", true, 51.5, -0.12})
        .add("5.0.0.0/8", {"FR", "EU", false, 0, 0})
        .add("3.0.0.0/8", {"US", "NA", true, 47.6, -122.3})
        .add("4.0.0.0/8", {"US", "NA", true, 40.7, -74.0});
    return database;
}

// Who took a worker that came from there.
std::string taken_by(Coordinator &edge, const std::string &address, const std::string &location = "",
                     const std::string &header = "CF-Connecting-IP")
{
    Request request;
    request.method = "POST";
    request.body = R"({"worker_id": "w", "tunnel_url": "http://127.0.0.1:1", "location": ")" + location + "\"}";
    request.headers = {"Content-Type: application/json", header + ": " + address};
    return edge.request("/api/worker/register", request).header("x-coordinator");
}

bool all_joined(Coordinator &edge, size_t count)
{
    return eventually([&] {
        Json all = edge.get("/api/admin/coordinators").json();
        size_t in = 0;
        for (size_t i = 0; i < all.size(); i++)
            in += all[i]["in_pool"].boolean() ? 1 : 0;
        return in == count;
    });
}

TEST(Places, AWorkerLandsWhereItsAddressIs)
{
    std::string file = temporary_folder() + "/places.mmdb";
    write_file(file, places().bytes());
    CoordinatorOptions options;
    options.flags = {"--role", "edge-router"};
    options.environment = {"REGION_INTERVAL_SECONDS=0.2", "GEOIP_DATABASE=" + file,
                           "CLIENT_ADDRESS_HEADER=CF-Connecting-IP"};
    Coordinator edge(options);
    ASSERT_TRUE(edge.start()) << edge.log();
    Coordinator uk(joining("uk", edge.url(), "uk")), eu(joining("eu", edge.url(), "eu")),
        west(joining("west", edge.url(), "us-west", "47.6,-122.3")),
        east(joining("east", edge.url(), "us-east", "38.9,-77.0"));
    for (Coordinator *coordinator : {&uk, &eu, &west, &east})
        ASSERT_TRUE(coordinator->start()) << coordinator->log();
    ASSERT_TRUE(all_joined(edge, 4));
    EXPECT_EQ(edge.get("/api/admin/coordinators").json().find("worker_id", "west")["capabilities"]["latitude"].number(),
              47.6);
    for (int i = 0; i < 5; i++) { // not by chance
        EXPECT_EQ(taken_by(edge, "81.2.69.160"), "uk") << "the country is the location";
        EXPECT_EQ(taken_by(edge, "5.6.7.8"), "eu") << "no coordinator is in France";
        EXPECT_EQ(taken_by(edge, "3.1.1.1"), "west") << "of two in one country the closer one";
        EXPECT_EQ(taken_by(edge, "4.1.1.1"), "east");
        EXPECT_EQ(taken_by(edge, "81.2.69.160", "us-west"), "west") << "what the worker says goes first";
        EXPECT_EQ(taken_by(edge, "4.1.1.1", "us"), "east") << "and the coordinates tell apart who it leaves over";
        for (const char *query : {"", "?location=", "?location=us"}) { // whom it would go to
            Json named =
                edge.request(std::string("/api/edge/coordinators") + query, {.headers = {"CF-Connecting-IP: 4.1.1.1"}})
                    .json()["coordinators"];
            EXPECT_EQ(named[0]["worker_id"].text(), "east") << query << named.dump();
        }
    }
    EXPECT_NE(taken_by(edge, "9.9.9.9"), "") << "somebody takes one of whom nothing is known";

    Mmdb moved;
    write_file(file + ".new", moved.add("9.0.0.0/8", {"GB", "", false, 0, 0}).bytes());
    ASSERT_EQ(rename((file + ".new").c_str(), file.c_str()), 0);
    EXPECT_TRUE(eventually([&] { return edge.log().find("the database of places was read") != std::string::npos; }));
    EXPECT_EQ(taken_by(edge, "9.9.9.9"), "uk");
    write_file(file, "broken");
    EXPECT_TRUE(eventually([&] { return edge.log().find("was not read anew") != std::string::npos; }));
    EXPECT_EQ(taken_by(edge, "9.9.9.9"), "uk");
}

TEST(Places, ACoordinatorThatDoesNotSayIsWhereItCallsFrom)
{
    std::string file = temporary_folder() + "/places.mmdb";
    write_file(file, places().add("127.0.0.0/8", {"US", "NA", true, 40.7, -74.0}).bytes());
    CoordinatorOptions options;
    options.flags = {"--role", "edge-router"};
    options.environment = {"REGION_INTERVAL_SECONDS=0.2", "GEOIP_DATABASE=" + file,
                           "CLIENT_ADDRESS_HEADER=X-Forwarded-For"};
    Coordinator edge(options);
    ASSERT_TRUE(edge.start()) << edge.log();
    Coordinator here(joining("here", edge.url(), "")), there(joining("there", edge.url(), "", "47.6,-122.3"));
    ASSERT_TRUE(here.start() && there.start());
    ASSERT_TRUE(all_joined(edge, 2));
    for (int i = 0; i < 5; i++) {
        EXPECT_EQ(taken_by(edge, "81.2.69.160, 4.1.1.1", "", "X-Forwarded-For"), "here");
        EXPECT_EQ(taken_by(edge, "81.2.69.160, 3.1.1.1", "", "X-Forwarded-For"), "there");
    }
}

TEST(Places, AClientCannotChooseItsAddress)
{
    std::string folder = temporary_folder(), file = folder + "/places.mmdb";
    write_file(file, places().bytes());
    write_file(folder + "/keys.json", R"({"keys": [{"name": "ops", "key": "0123456789abcdef0123456789abcdef",
        "rights": ["admin"]}], "limits": {"address": {"requests_per_second": 0.01, "burst": 3}}})");
    for (bool trusted : {false, true}) {
        CoordinatorOptions options;
        options.flags = {"--api-keys", folder + "/keys.json"};
        options.environment = {"CLIENT_ADDRESS_HEADER=CF-Connecting-IP"};
        if (!trusted)
            options.environment.push_back("TRUSTED_PROXIES=10.0.0.0/8");
        Coordinator coordinator(options);
        // musterctl asks it whether it serves, from the address that is limited: that may take all there is.
        (void)coordinator.start();
        std::string url;
        ASSERT_TRUE(eventually([&] { return !coordinator.address("muster-gateway").empty(); }));
        url = "http://" + coordinator.address("muster-gateway");
        int served = 0;
        for (int i = 0; i < 12; i++) {
            Request request;
            request.headers = {"CF-Connecting-IP: 81.2.69." + std::to_string(i)};
            served += HttpClient().request(url + "/healthz", request).status == 200 ? 1 : 0;
        }
        if (trusted)
            EXPECT_EQ(served, 12) << "each client of the proxy has a limit of its own";
        else
            EXPECT_LE(served, 3) << "who is not trusted cannot be many";
    }
}

TEST(Places, SettingsThatMakeNoSense)
{
    std::string broken = temporary_folder() + "/broken.mmdb";
    write_file(broken, "nonsense");
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
        {{"ROLE=edge-router", "GEOIP_DATABASE=" + broken}, "no database in MaxMind's format"},
        {{"ROLE=edge-router", "GEOIP_DATABASE=/nowhere.mmdb"}, "No such file"},
        {{"GEOIP_DATABASE=" + broken}, "for edge routers"},
        {{"TRUSTED_PROXIES=example.org"}, "no address or network"},
        {{"CLIENT_ADDRESS_HEADER=X:"}, "the name of a header"},
        {{"COORDINATES=51.5"}, "degrees of latitude"},
        {{"COORDINATES=91,0"}, "degrees of latitude"},
    };
    for (const auto &[environment, hint] : cases) {
        CoordinatorOptions options;
        options.environment = environment;
        Coordinator coordinator(options);
        EXPECT_FALSE(coordinator.start());
        EXPECT_NE(coordinator.log().find(hint), std::string::npos) << coordinator.log();
    }
}

} // namespace
