// Pins, reservations and explanations, over a real coordinator and from the command line.

#include "tests/integration/coordinator.h"

#include <gtest/gtest.h>

namespace
{

const char *const catalog = R"({"services": [
    {"name": "a", "requires": "cpu", "priority": 1, "port": 1},
    {"name": "b", "requires": "cpu", "priority": 2, "port": 2, "aliases": ["bee"]},
    {"name": "p", "requires": "cpu", "priority": 3, "port": 3, "pinned_to": ["it's \"mine\""]},
    {"name": "s", "requires": "cpu", "priority": 4, "port": 4, "anti_affinity": "location"},
    {"name": "g", "requires": "gpu", "priority": 5, "port": 5}],
    "reserved": {"only-b": ["bee"]}})";

std::string quoted(const std::string &text)
{
    std::string escaped = "\"";
    for (char c : text)
        escaped += c == '"' ? std::string("\\\"") : std::string(1, c);
    return escaped + "\"";
}

std::string registered(Coordinator &coordinator, const std::string &id, const std::string &location = "uk")
{
    Response answer = coordinator.post("/api/worker/register",
                                       R"({"tunnel_url": "http://127.0.0.1:9", "worker_type": "cpu", "worker_id": )" +
                                           quoted(id) + R"(, "location": )" + quoted(location) + "}");
    EXPECT_EQ(answer.status, 200) << answer.described();
    return answer.json()["assigned_services"].dump();
}

TEST(Assignment, FollowsPinsAndReservationsAndSaysWhy)
{
    std::string folder = temporary_folder();
    write_file(folder + "/catalog.json", catalog);
    CoordinatorOptions options;
    options.flags = {"--catalog", folder + "/catalog.json"};
    Coordinator coordinator(options);
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    EXPECT_EQ(registered(coordinator, "only-b"), R"(["b"])");
    EXPECT_EQ(registered(coordinator, "first"), R"(["a","s"])");
    EXPECT_EQ(registered(coordinator, "it's \"mine\"").substr(0, 5), R"(["p",)");

    Json only_b = coordinator.get("/api/admin/workers/only-b/explain").json();
    EXPECT_EQ(only_b["worker_id"].text(), "only-b");
    EXPECT_EQ(only_b["worker_type"].text(), "cpu");
    EXPECT_EQ(only_b["location"].text(), "uk");
    EXPECT_TRUE(only_b["counts_for_coverage"].boolean());
    EXPECT_EQ(only_b["services"].size(), 5u);
    EXPECT_EQ(only_b["services"].find("service", "a")["verdict"].text(), "reserved_for_others") << only_b.dump();
    EXPECT_EQ(only_b["services"].find("service", "b")["verdict"].text(), "kept");
    EXPECT_TRUE(only_b["services"].find("service", "b")["assigned_now"].boolean());
    EXPECT_EQ(only_b["services"].find("service", "p")["verdict"].text(), "pinned_elsewhere");
    EXPECT_EQ(only_b["services"].find("service", "g")["verdict"].text(), "other_type");
    EXPECT_EQ(only_b["services"].find("service", "s")["other_workers_here"].integer(), 1) << only_b.dump();

    EXPECT_EQ(coordinator.get("/api/admin/workers/it%27s%20%22mine%22/explain").json()["worker_id"].text(),
              "it's \"mine\"");
    Response unknown = coordinator.get("/api/admin/workers/nobody/explain");
    EXPECT_EQ(unknown.status, 404) << unknown.described();
    EXPECT_NE(unknown.json()["message"].text().find("'nobody'"), std::string::npos) << unknown.described();

    Process shown("services/ctl/musterctl", {"assignment", "only-b", "--coordinator-url", coordinator.url()});
    EXPECT_EQ(shown.wait(), 0) << shown.errors();
    EXPECT_NE(shown.output().find("reserved_for_others"), std::string::npos) << shown.output();
    Process missing("services/ctl/musterctl", {"assignment", "nobody", "--coordinator-url", coordinator.url()});
    EXPECT_EQ(missing.wait(), 1);
    EXPECT_NE(missing.errors().find("nobody"), std::string::npos) << missing.errors();

    // With the assigner away it says so.
    ASSERT_TRUE(coordinator.kill("muster-assigner", SIGSTOP));
    Response away = coordinator.get("/api/admin/workers/only-b/explain");
    EXPECT_TRUE(away.status == 503 || away.status == 504) << away.described();
    // So does a registration, and the question that was open does no harm to the next one.
    Response refused =
        coordinator.post("/api/worker/register",
                         R"({"tunnel_url": "http://127.0.0.1:9", "worker_type": "cpu", "worker_id": "patient"})");
    EXPECT_EQ(refused.status, 503) << refused.described();
    EXPECT_NE(refused.body.find("does not answer (no answer in time)"), std::string::npos) << refused.described();
    ASSERT_TRUE(coordinator.kill("muster-assigner", SIGCONT));
    EXPECT_TRUE(eventually([&] { return coordinator.get("/api/admin/workers/only-b/explain").status == 200; }));
    EXPECT_NE(registered(coordinator, "patient"), "[]");
    EXPECT_EQ(coordinator.stop(), 0);
}

} // namespace
