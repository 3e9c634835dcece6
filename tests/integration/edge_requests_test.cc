// What becomes of requests at an edge router when coordinators die, fall silent, lead in circles or are not there. For
// both makes of it, as edge_test.cc.

#include "tests/integration/edge_contract.h"

#include <atomic>
#include <thread>

namespace
{

INSTANTIATE_TEST_SUITE_P(Program, Edge, testing::Values(EdgeMake::PROGRAM));
INSTANTIATE_TEST_SUITE_P(Script, Edge, testing::Values(EdgeMake::SCRIPT));

TEST_P(Edge, ACoordinatorThatDiesIsReplacedInsideTheRequest)
{
    FakeWorker machine(answering("served"));
    EdgeRouter edge(GetParam(), edge_options({}, {"REGION_INTERVAL_SECONDS=1"}));
    ASSERT_TRUE(edge.start()) << edge.log();
    CoordinatorOptions uk_options = joining("uk", edge.url());
    uk_options.data_dir = temporary_folder();
    Coordinator uk(uk_options), us(joining("us", edge.url()));
    ASSERT_TRUE(uk.start() && us.start());
    ASSERT_TRUE(has_joined(edge, "uk") && has_joined(edge, "us"));
    ASSERT_EQ(edge.post("/api/worker/register", registration("a", machine.url(), "uk")).status, 200);
    ASSERT_EQ(edge.post("/api/worker/register", registration("b", machine.url(), "us")).status, 200);
    ASSERT_EQ(edge.get("/api/admin/workers").json()["total"].integer(), 2);

    Traffic reads(edge.url() + "/service/files/x", {});
    ASSERT_TRUE(reads.more(200));
    EXPECT_EQ(reads.served_by().size(), 2u) << "both have their share";
    uk.cut_off();
    ASSERT_TRUE(reads.more(800));
    reads.stop();
    EXPECT_EQ(reads.failed(), 0u) << reads.failures();
    EXPECT_FALSE(coordinator_at(edge, "uk")["in_pool"].boolean());
    Json lists = edge.get("/api/admin/workers").json();
    EXPECT_EQ(lists["regions"].find("coordinator", "uk")["status"].text(), "unreachable") << lists.dump();
    EXPECT_FALSE(lists["workers"].find("worker_id", "a").is_null()) << "what was last known of it stays";

    // Its worker is told to register again, and is elsewhere then, once.
    EXPECT_EQ(edge.post("/api/worker/heartbeat", heartbeat("a")).status, 404);
    Response again = edge.post("/api/worker/register", registration("a", machine.url(), "uk"));
    ASSERT_EQ(again.status, 200) << again.described();
    EXPECT_EQ(again.header("x-coordinator"), "us");
    lists = edge.get("/api/admin/workers").json();
    EXPECT_EQ(lists["total"].integer(), 2) << lists.dump() << edge.log();
    EXPECT_EQ(edge.worker("a")["coordinator"].text(), "us");

    // It comes back with what it had on disk: nobody is counted twice.
    Coordinator back(uk_options);
    ASSERT_TRUE(back.start()) << back.log();
    ASSERT_TRUE(has_joined(edge, "uk"));
    ASSERT_FALSE(back.worker("a").is_null());
    EXPECT_TRUE(eventually([&] { return coordinator_at(edge, "uk")["as_of"].integer() > 0; }));
    lists = edge.get("/api/admin/workers").json();
    EXPECT_EQ(lists["total"].integer(), 2) << lists.dump();
    EXPECT_EQ(edge.worker("a")["coordinator"].text(), "us");
}

// What may be done is not sent elsewhere: who waits for a coordinator that has fallen silent is told so in the end.
TEST_P(Edge, APostToASilentCoordinatorEndsInTime)
{
    FakeWorker machine(answering("served"));
    EdgeRouter edge(GetParam(), edge_options({}, {"FIRST_BYTE_TIMEOUT_SECONDS=2"}));
    ASSERT_TRUE(edge.start()) << edge.log();
    Coordinator uk(joining("uk", edge.url())), us(joining("us", edge.url()));
    ASSERT_TRUE(uk.start()) << uk.log();
    ASSERT_TRUE(us.start()) << us.log();
    ASSERT_TRUE(has_joined(edge, "uk") && has_joined(edge, "us"));
    ASSERT_EQ(uk.post("/api/worker/register", registration("w", machine.url())).status, 200);
    ASSERT_TRUE(eventually([&] { return edge.post("/service/files/x", "x").status == 200; }));
    ASSERT_TRUE(uk.kill("muster-gateway", SIGSTOP));
    Response answer = edge.post("/service/files/x", "x");
    EXPECT_EQ(answer.status, 504) << answer.described();
    EXPECT_EQ(answer.json()["error"].text(), "coordinator_timeout");
    EXPECT_NE(answer.json()["message"].text().find("may have been done"), std::string::npos) << answer.body;
    ASSERT_TRUE(uk.kill("muster-gateway", SIGCONT));
    EXPECT_TRUE(eventually([&] { return edge.post("/service/files/x", "x").status == 200; }));
}

// A service that the catalog calls repeatable is asked again elsewhere, whatever the method; others are not.
TEST_P(Edge, WhatTheCatalogCallsRepeatableIsRepeated)
{
    std::atomic<int> asked{0};
    std::atomic<bool> hangs{true};
    FakeWorker machine([&](FakeWorker::Connection &connection, const std::string &) {
        for (asked++; hangs; std::this_thread::sleep_for(std::chrono::milliseconds(10)))
            continue;
        return connection.write(FakeWorker::answer("served"));
    });
    EdgeRouter edge(GetParam(), edge_options());
    ASSERT_TRUE(edge.start()) << edge.log();
    for (const std::string service : {"vision-ocr", "ocr", "files"}) {
        FakeWorker spare(answering("spare"));
        Coordinator uk(joining("uk", edge.url())), us(joining("us", edge.url()));
        ASSERT_TRUE(uk.start() && us.start());
        ASSERT_TRUE(has_joined(edge, "uk") && has_joined(edge, "us"));
        std::string named = R"(, "services": ["vision-ocr", "files"], "worker_type": "cpu"})";
        ASSERT_EQ(
            uk.post("/api/worker/register", R"({"worker_id": "w", "tunnel_url": ")" + machine.url() + "\"" + named)
                .status,
            200);
        ASSERT_TRUE(
            eventually([&] { return edge.get("/api/services/discover/files").json()["count"].integer() == 1; }));
        asked = 0;
        hangs = true;
        Response answer;
        std::thread client([&] { answer = edge.post("/api/service/" + service, "body"); });
        EXPECT_TRUE(eventually([&] { return asked == 1; }));
        EXPECT_EQ(us.post("/api/worker/register", R"({"worker_id": "s", "tunnel_url": ")" + spare.url() + "\"" + named)
                      .status,
                  200);
        EXPECT_EQ(us.post("/api/service/files", "x").body, "spare");
        uk.cut_off();
        client.join();
        hangs = false;
        if (service == "files")
            EXPECT_EQ(answer.json()["error"].text(), "coordinator_failed") << answer.described();
        else
            EXPECT_EQ(answer.body, "spare") << service << answer.described();
        EXPECT_EQ(us.stop(), 0);
        EXPECT_EQ(edge.request("/api/edge/unregister/uk", {.method = "DELETE"}).status, 200);
    }
}

TEST_P(Edge, WithoutCoordinatorsItSaysSoAndListsNobody)
{
    EdgeRouter edge(GetParam(), edge_options());
    ASSERT_TRUE(edge.start()) << edge.log();
    const auto check = [&](const Response &answer) {
        EXPECT_EQ(answer.status, 503) << answer.described();
        EXPECT_EQ(answer.json()["error"].text(), "no_coordinators");
        EXPECT_NE(answer.header("retry-after"), "");
    };
    check(edge.post("/api/worker/register", registration("a", "http://127.0.0.1:1")));
    check(edge.post("/api/worker/heartbeat", heartbeat("a")));
    check(edge.post("/api/service/files", "x"));
    check(edge.get("/service/files/x"));
    check(edge.get("/api/worker/find/files"));
    check(edge.get("/api/admin/export"));
    EXPECT_EQ(edge.get("/api/admin/workers").json()["total"].integer(), 0);
    EXPECT_EQ(edge.get("/api/admin/coordinators").body, "[]");
    // One that is there by name only.
    std::string nobody = unreachable_url();
    ASSERT_EQ(edge.post("/api/edge/register", R"({"worker_id": "nobody", "url": ")" + nobody + "\"}").status, 200);
    check(edge.post("/api/worker/register", registration("a", "http://127.0.0.1:1")));
    EXPECT_TRUE(eventually([&] { return !coordinator_at(edge, "nobody")["in_pool"].boolean(); }));
    EXPECT_TRUE(eventually([&] { return coordinator_at(edge, "nobody")["problem"].text() != ""; }));
    EXPECT_EQ(edge.post("/api/worker/register", "{").status, 400);
    EXPECT_EQ(edge.post("/api/worker/register", "{}").status, 422);
}

TEST_P(Edge, RoutersThatForwardToEachOtherNotice)
{
    EdgeRouter one(GetParam(), edge_options()), two(GetParam(), edge_options());
    ASSERT_TRUE(one.start() && two.start());
    ASSERT_EQ(one.post("/api/edge/register", R"({"worker_id": "two", "location": "loop", "url": ")" + two.url() + "\"}")
                  .status,
              200);
    ASSERT_EQ(two.post("/api/edge/register", R"({"worker_id": "one", "url": ")" + one.url() + "\"}").status, 200);
    Response looped = one.get("/api/service/files");
    EXPECT_EQ(looped.status, 508) << looped.described();
    EXPECT_EQ(looped.json()["error"].text(), "loop_detected");
    EXPECT_EQ(one.get("/health").status, 200) << "and live";
    std::string many;
    for (int i = 0; i < 9; i++)
        many += (i > 0 ? ", " : "") + std::string(16, static_cast<char>('a' + i));
    EXPECT_EQ(one.request("/api/service/files", {.headers = {"X-Muster-Hops: " + many}}).status, 508);
    // Where there is somebody else the loop is no dead end, though it is asked first.
    Coordinator uk(joining("uk", one.url()));
    ASSERT_TRUE(uk.start()) << uk.log();
    ASSERT_TRUE(has_joined(one, "uk"));
    Response taken = one.post("/api/worker/register", registration("w", "http://127.0.0.1:9", "loop"));
    EXPECT_EQ(taken.status, 200) << taken.described();
    EXPECT_EQ(taken.header("x-coordinator"), "uk");
}

} // namespace
