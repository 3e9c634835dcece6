// muster-health and muster-router as processes, with the real registry and assigner: what
// happens when streams break, heartbeats stay away, and processes are killed.

#include <gtest/gtest.h>

#include <csignal>

#include "tests/integration/health/fleet.h"

namespace
{

constexpr auto kRegisterAgain = MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_REGISTER_AGAIN;
constexpr auto kStale = MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_STALE_INCARNATION;
constexpr auto kSlowDown = MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_SLOW_DOWN;
constexpr auto kDrain = MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_DRAIN;

// Lets the loop run for a while, to see that something does not happen.
void linger(Fleet &fleet, uint64_t ms)
{
    bool over = false;
    struct timer timer = {};
    rpc_loop_timer_start(
        fleet.client->loop, &timer, ms, [](struct timer *, void *argument) { *static_cast<bool *>(argument) = true; },
        &over);
    fleet.client->wait([&] { return over; });
}

TEST(HealthRouterTest, ABrokenStreamIsOutOfRoutingThenOffTheRoll)
{
    Fleet fleet({"--stream-grace-seconds=1"});
    ASSERT_NE(fleet.add("a", "echo"), 0u);
    ASSERT_NE(fleet.add("b", "echo"), 0u);
    Stream a(*fleet.client, fleet.health_address), b(*fleet.client, fleet.health_address);
    ASSERT_TRUE(a.beat("a", 0, 0.25));
    ASSERT_TRUE(b.beat("b", 0, 0.75));
    Routes routes(*fleet.client, fleet.router_address);
    ASSERT_TRUE(fleet.client->wait([&] {
        auto &echo = routes.table.services["echo"].ends;
        return echo.count("a") && echo["a"].weight == 75 && echo["b"].weight == 25;
    }));
    a.break_now();
    ASSERT_TRUE(fleet.client->wait([&] { return !routes.has("echo", "a"); }));
    EXPECT_TRUE(routes.has("echo", "b"));
    std::string why = fleet.explain("echo", "a");
    EXPECT_TRUE(why.find("stream broken") != std::string::npos || why.empty()) << why;
    ASSERT_TRUE(fleet.client->wait([&] { return !fleet.on_roll("a"); }));
    EXPECT_EQ(fleet.status("b"), WORKER_ONLINE);
    ASSERT_TRUE(fleet.route("echo").ok());
    EXPECT_STREQ(fleet.route("echo")->endpoint->worker_id, "b");
    // It comes back, and is told to register again.
    Stream again(*fleet.client, fleet.health_address);
    ASSERT_TRUE(again.beat("a"));
    ASSERT_EQ(again.commands.size(), 1u);
    EXPECT_EQ(again.commands[0].type, kRegisterAgain);
}

TEST(HealthRouterTest, AWorkerThatComesBackWithinTheGraceStays)
{
    Fleet fleet({"--stream-grace-seconds=3"});
    uint64_t incarnation = fleet.add("a", "echo");
    Routes routes(*fleet.client, fleet.router_address);
    {
        Stream first(*fleet.client, fleet.health_address);
        ASSERT_TRUE(first.beat("a", incarnation));
        ASSERT_TRUE(fleet.client->wait([&] { return routes.has("echo", "a"); }));
    }
    ASSERT_TRUE(fleet.client->wait([&] { return !routes.has("echo", "a"); }));
    ASSERT_TRUE(fleet.report("a", incarnation).ok()); // any heartbeat will do
    ASSERT_TRUE(fleet.client->wait([&] { return routes.has("echo", "a"); }));
    linger(fleet, 4000);
    EXPECT_EQ(fleet.status("a"), WORKER_ONLINE);
    EXPECT_TRUE(routes.has("echo", "a"));
}

TEST(HealthRouterTest, WhenHealthIsKilledNobodyIsRemoved)
{
    Fleet fleet({"--stream-grace-seconds=0.5"});
    ASSERT_NE(fleet.add("a", "echo"), 0u);
    ASSERT_NE(fleet.add("b", "echo"), 0u);
    Routes routes(*fleet.client, fleet.router_address);
    Stream a(*fleet.client, fleet.health_address);
    ASSERT_TRUE(a.beat("a"));
    ASSERT_TRUE(fleet.client->wait([&] { return routes.has("echo", "a") && routes.has("echo", "b"); }));
    fleet.health->end(SIGKILL);
    ASSERT_TRUE(fleet.client->wait([&] { return a.ended; }));
    EXPECT_TRUE(fleet.route("echo").ok()) << "the router goes on with what it knows";
    fleet.start_health();
    Stream b(*fleet.client, fleet.health_address);
    ASSERT_TRUE(b.beat("b"));
    linger(fleet, 2000);
    EXPECT_TRUE(fleet.on_roll("a"));
    EXPECT_TRUE(fleet.on_roll("b"));
    EXPECT_TRUE(routes.has("echo", "a"));
    EXPECT_TRUE(routes.has("echo", "b"));
    EXPECT_EQ(routes.table.snapshots, 1u);
}

TEST(HealthRouterTest, WhenTheRegistryIsKilledNobodyIsLost)
{
    Fleet fleet;
    uint64_t incarnation = fleet.add("a", "echo");
    ASSERT_NE(fleet.add("b", "echo"), 0u);
    Routes routes(*fleet.client, fleet.router_address);
    Stream a(*fleet.client, fleet.health_address);
    ASSERT_TRUE(a.beat("a", incarnation));
    ASSERT_TRUE(fleet.client->wait([&] { return routes.has("echo", "a") && routes.has("echo", "b"); }));
    fleet.registry->end(SIGKILL);
    EXPECT_TRUE(a.beat("a", incarnation)) << "heartbeats go on";
    a.commands.clear(); // the assignment, if health came to know the roll late
    EXPECT_TRUE(a.beat("unheard-of")) << "and what cannot be looked up is just taken";
    EXPECT_TRUE(a.commands.empty());
    EXPECT_TRUE(fleet.route("echo").ok());
    fleet.start_registry();
    // Health says on its own who is well; no heartbeat is needed for that.
    ASSERT_TRUE(fleet.client->wait([&] { return fleet.status("a") == WORKER_ONLINE; }));
    EXPECT_TRUE(fleet.on_roll("b"));
    EXPECT_TRUE(routes.has("echo", "a"));
    EXPECT_TRUE(routes.has("echo", "b"));
    // The id that nobody knows is asked for again, now that somebody can answer.
    ASSERT_TRUE(fleet.client->wait([&] { return a.commands.size() == 1; }));
    EXPECT_EQ(a.commands[0].type, kRegisterAgain);
    EXPECT_EQ(a.commands[0].id, "unheard-of");
}

TEST(HealthRouterTest, SilenceDegradesAndThenRemoves)
{
    Fleet fleet({"--heartbeat-timeout-seconds=1", "--worker-timeout-seconds=4"});
    ASSERT_NE(fleet.add("silent", "echo"), 0u);
    uint64_t incarnation = fleet.add("heard", "echo");
    ASSERT_TRUE(fleet.client->wait([&] { return fleet.status("silent") == WORKER_DEGRADED; }));
    Stream heard(*fleet.client, fleet.health_address);
    ASSERT_TRUE(fleet.client->wait([&] {
        heard.beat("heard", incarnation);
        return !fleet.on_roll("silent");
    }));
    EXPECT_EQ(fleet.status("heard"), WORKER_ONLINE);
}

// A worker whose connection comes and goes.
TEST(HealthRouterTest, AWorkerThatComesAndGoesIsHeldOutOfRoutingForAGrowingWhile)
{
    Fleet fleet({"--stream-grace-seconds=60", "--flapping-hold-seconds=2", "--flapping-hold-seconds-max=60"});
    uint64_t incarnation = fleet.add("a", "echo");
    ASSERT_NE(fleet.add("b", "echo"), 0u);
    Routes routes(*fleet.client, fleet.router_address);
    Stream steady(*fleet.client, fleet.health_address);
    ASSERT_TRUE(steady.beat("b"));
    ASSERT_TRUE(fleet.client->wait([&] { return routes.has("echo", "b"); }));
    auto reason = [&] {
        auto workers = fleet.client->get_workers({"a"});
        return workers.ok() && workers->n_workers == 1 ? std::string(workers->workers[0]->status_reason) : "";
    };
    // Comes, and goes again.
    auto visit = [&](const std::string &expected) {
        Stream stream(*fleet.client, fleet.health_address);
        ASSERT_TRUE(stream.beat("a", incarnation));
        if (expected.empty()) {
            EXPECT_TRUE(fleet.client->wait([&] { return routes.has("echo", "a"); }));
        } else {
            EXPECT_TRUE(fleet.client->wait([&] { return reason() == expected; })) << reason();
            EXPECT_EQ(fleet.status("a"), WORKER_OFFLINE);
            ASSERT_TRUE(stream.beat("a", incarnation)) << "it may say that it is there,";
            EXPECT_FALSE(routes.has("echo", "a")) << "and is not believed yet";
            EXPECT_TRUE(fleet.client->wait([&] { return routes.has("echo", "a"); })) << "but in the end";
            EXPECT_EQ(fleet.status("a"), WORKER_ONLINE);
            EXPECT_EQ(reason(), "");
        }
        stream.break_now();
        EXPECT_TRUE(fleet.client->wait([&] { return !routes.has("echo", "a"); }));
        EXPECT_TRUE(routes.has("echo", "b"));
    };
    visit("");
    visit("");
    visit("");
    visit("held out of routing for 2 s: it was lost 3 times lately");
    visit("held out of routing for 4 s: it was lost 4 times lately");
    EXPECT_TRUE(fleet.on_roll("a"));
}

// A worker that sends without pause: what is too much is refused, and said once.
TEST(HealthRouterTest, AFloodOverAStreamIsLimitedAndToldSo)
{
    Fleet fleet({"--heartbeats-per-second-max=10"});
    uint64_t incarnation = fleet.add("loud", "echo");
    ASSERT_NE(fleet.add("calm", "echo"), 0u);
    Stream loud(*fleet.client, fleet.health_address), calm(*fleet.client, fleet.health_address);
    ASSERT_TRUE(loud.beat("loud", incarnation, 0.25));
    for (int i = 0; i < 2000; i++)
        loud.send({{"loud", incarnation, 0.75}});
    ASSERT_TRUE(fleet.client->wait([&] { return loud.acknowledged == loud.sequence; })) << "each is answered for";
    size_t told = 0;
    for (const auto &command : loud.commands)
        told += command.type == kSlowDown;
    EXPECT_GE(told, 1u);
    EXPECT_LT(told, 100u) << "not each time";
    EXPECT_FALSE(loud.ended);
    ASSERT_TRUE(calm.beat("calm", 0, 0.5)) << "nobody else is hurt";
    EXPECT_EQ(fleet.status("loud"), WORKER_ONLINE);
    // Later it is heard again.
    Routes routes(*fleet.client, fleet.router_address);
    EXPECT_TRUE(fleet.client->wait([&] {
        linger(fleet, 100);
        return loud.beat("loud", incarnation, 0.1) && routes.table.services["echo"].ends["loud"].weight == 90;
    }));
}

// All that were silent when health began are either really gone or not to blame.
TEST(HealthRouterTest, AFleetThatIsSilentAfterHealthRestartedIsTakenOffSlowly)
{
    Fleet fleet({"--heartbeat-timeout-seconds=1", "--worker-timeout-seconds=2", "--eviction-brake-workers-min=5"});
    for (int i = 0; i < 8; i++)
        ASSERT_NE(fleet.add("w" + std::to_string(i), "echo"), 0u);
    fleet.health->end(SIGKILL);
    linger(fleet, 3000);
    fleet.start_health();
    ASSERT_TRUE(fleet.client->wait([&] { return fleet.status("w7") == WORKER_OFFLINE; }));
    auto all = fleet.client->all_workers();
    EXPECT_GE(all.size(), 7u) << "one may have been let go in the meantime";
    EXPECT_NE(std::string(all.begin()->second->status_reason).find("slowed down"), std::string::npos)
        << all.begin()->second->status_reason;
    // Two come back, the others do not: one by one they go.
    Stream relay(*fleet.client, fleet.health_address);
    auto beat = [&] {
        relay.send({{"w6"}, {"w7"}}, true);
        linger(fleet, 100);
    };
    EXPECT_TRUE(fleet.client->wait([&] {
        beat();
        return fleet.status("w6") == WORKER_ONLINE && fleet.status("w7") == WORKER_ONLINE;
    }));
    EXPECT_TRUE(fleet.client->wait([&] {
        beat();
        return fleet.client->all_workers().size() <= 6;
    }));
    EXPECT_TRUE(fleet.on_roll("w6") && fleet.on_roll("w7"));
}

// And a few that are gone do not stay because health was away.
TEST(HealthRouterTest, WhoIsGoneAfterHealthRestartedIsTakenOffAtItsTime)
{
    Fleet fleet({"--heartbeat-timeout-seconds=1", "--worker-timeout-seconds=2"});
    ASSERT_NE(fleet.add("gone", "echo"), 0u);
    ASSERT_NE(fleet.add("there", "echo"), 0u);
    fleet.health->end(SIGKILL);
    fleet.start_health();
    EXPECT_TRUE(fleet.on_roll("gone"));
    Stream relay(*fleet.client, fleet.health_address);
    EXPECT_TRUE(fleet.client->wait([&] {
        relay.send({{"there"}}, true);
        linger(fleet, 100);
        return !fleet.on_roll("gone");
    }));
    EXPECT_TRUE(fleet.on_roll("there"));
}

TEST(HealthRouterTest, StaleAndUnknownHeartbeatsAreAnsweredSo)
{
    Fleet fleet;
    uint64_t first = fleet.add("a", "echo");
    uint64_t second = fleet.add("a", "echo");
    ASSERT_GT(second, first);
    // Refused from when health has heard of the second registration.
    auto stale = fleet.report("a", first);
    ASSERT_TRUE(fleet.client->wait([&] {
        stale = fleet.report("a", first);
        return stale.ok() && stale->n_commands == 1;
    }));
    EXPECT_EQ(stale->commands[0]->type, kStale);
    EXPECT_EQ(stale->commands[0]->sequence, 0u);
    // Health may have come to know the roll only now, and says the assignment once more then.
    ASSERT_TRUE(fleet.report("a", second).ok());
    auto fine = fleet.report("a", second);
    ASSERT_TRUE(fine.ok());
    EXPECT_EQ(fine->n_commands, 0u);
    auto unknown = fleet.report("nobody", 0);
    ASSERT_TRUE(unknown.ok());
    ASSERT_EQ(unknown->n_commands, 1u);
    EXPECT_EQ(unknown->commands[0]->type, kRegisterAgain);
    Stream gateway(*fleet.client, fleet.health_address);
    gateway.send({{"a", second}, {"nobody"}, {"a", first}}, true);
    ASSERT_TRUE(fleet.client->wait([&] { return gateway.acknowledged == 1 && gateway.commands.size() == 2; }));
}

TEST(HealthRouterTest, AHeartbeatRightAfterTheRegistrationIsNeverRefused)
{
    Fleet fleet;
    Stream stream(*fleet.client, fleet.health_address);
    for (int i = 0; i < 50; i++) {
        std::string id = "w" + std::to_string(i);
        uint64_t incarnation = fleet.add(id, "echo");
        ASSERT_TRUE(stream.beat(id, incarnation));
    }
    for (const auto &command : stream.commands) {
        EXPECT_NE(command.type, kRegisterAgain) << command.id;
        EXPECT_NE(command.type, kStale) << command.id;
    }
}

TEST(HealthRouterTest, WrongMessagesEndTheStreamWithAReason)
{
    Fleet fleet;
    Stream repeats(*fleet.client, fleet.health_address), large(*fleet.client, fleet.health_address);
    repeats.send({{"a"}}, false, 5);
    repeats.send({{"a"}}, false, 5);
    ASSERT_TRUE(fleet.client->wait([&] { return repeats.ended; }));
    EXPECT_EQ(repeats.status, RPC_INVALID_ARGUMENT);
    EXPECT_NE(repeats.text.find("sequence"), std::string::npos);
    large.send(std::vector<Stream::Beat>(10001, Stream::Beat{"a"}));
    ASSERT_TRUE(fleet.client->wait([&] { return large.ended; }));
    EXPECT_EQ(large.status, RPC_INVALID_ARGUMENT);
    EXPECT_NE(large.text.find("10000"), std::string::npos);
    Stream whole(*fleet.client, fleet.health_address); // ends when all is answered
    whole.send({{"nobody"}});
    whole.half_close();
    ASSERT_TRUE(fleet.client->wait([&] { return whole.ended; }));
    EXPECT_EQ(whole.status, RPC_OK);
    EXPECT_EQ(whole.acknowledged, 1u);
    EXPECT_EQ(whole.commands.size(), 1u);
}

TEST(HealthRouterTest, ADrainedWorkerIsToldAndNotRoutedTo)
{
    Fleet fleet;
    uint64_t incarnation = fleet.add("a", "echo");
    Routes routes(*fleet.client, fleet.router_address);
    Stream stream(*fleet.client, fleet.health_address);
    ASSERT_TRUE(stream.beat("a", incarnation));
    ASSERT_TRUE(fleet.client->wait([&] { return routes.has("echo", "a"); }));
    stream.commands.clear(); // the assignment, if health came to know the roll late
    ASSERT_TRUE(fleet.client->set_draining("a", true).ok());
    ASSERT_TRUE(fleet.client->wait([&] { return stream.commands.size() == 1 && !routes.has("echo", "a"); }));
    EXPECT_EQ(stream.commands[0].type, kDrain);
    EXPECT_NE(fleet.explain("echo", "a").find("draining"), std::string::npos);
    EXPECT_EQ(fleet.route("echo").status, RPC_UNAVAILABLE);
    EXPECT_EQ(fleet.route("no-such-service").status, RPC_NOT_FOUND);
    ASSERT_TRUE(fleet.client->set_draining("a", false).ok());
    ASSERT_TRUE(fleet.client->wait([&] { return routes.has("echo", "a"); }));
}

TEST(HealthRouterTest, AnEndpointThatCannotBeReachedIsEjected)
{
    Fleet fleet;
    ASSERT_NE(fleet.add("a", "echo"), 0u);
    ASSERT_NE(fleet.add("b", "echo"), 0u);
    Routes routes(*fleet.client, fleet.router_address);
    ASSERT_TRUE(fleet.client->wait([&] { return routes.has("echo", "a") && routes.has("echo", "b"); }));
    ASSERT_TRUE(fleet.outcome("echo", "a", 3));
    ASSERT_TRUE(fleet.client->wait([&] { return !routes.has("echo", "a"); }));
    EXPECT_NE(fleet.explain("echo", "a").find("ejected"), std::string::npos);
    ASSERT_TRUE(fleet.client->wait([&] { return routes.has("echo", "a"); })) << "it ends on its own";
}

TEST(HealthRouterTest, ARouterThatRestartsGivesTheSameTable)
{
    Fleet fleet;
    ASSERT_NE(fleet.add("a", "echo"), 0u);
    Routes routes(*fleet.client, fleet.router_address);
    ASSERT_TRUE(fleet.client->wait([&] { return routes.has("echo", "a"); }));
    EXPECT_TRUE(routes.table.services.count("llm-inference")) << "services of the catalog are there without workers";
    EXPECT_EQ(fleet.router->end(SIGKILL), -SIGKILL);
    fleet.start_router();
    ASSERT_TRUE(fleet.client->wait([&] { return routes.table.snapshots == 2 && !routes.table.in_snapshot; }));
    EXPECT_TRUE(routes.has("echo", "a"));
    EXPECT_EQ(routes.table.complaint, "");
}

TEST(HealthRouterTest, AWatcherThatWasAwayGetsOnlyWhatItMissed)
{
    Fleet fleet;
    for (const char *id : {"a", "b", "c"})
        ASSERT_NE(fleet.add(id, "echo"), 0u);
    Stream a(*fleet.client, fleet.health_address);
    ASSERT_TRUE(a.beat("a", 0, 0.25));
    Routes routes(*fleet.client, fleet.router_address);
    ASSERT_TRUE(fleet.client->wait([&] {
        auto &echo = routes.table.services["echo"].ends;
        return echo.size() == 3 && echo["a"].weight == 75;
    }));
    routes.break_off();
    ASSERT_TRUE(a.beat("a", 0, 0.75));
    ASSERT_NE(fleet.add("d", "other"), 0u);
    routes.table.Forget();
    routes.resume();
    ASSERT_TRUE(fleet.client->wait(
        [&] { return routes.has("other", "d") && routes.table.services["echo"].ends["a"].weight == 25; }));
    EXPECT_EQ(routes.table.snapshots, 0u);
    EXPECT_EQ(routes.table.workers, (std::set<std::string>{"a", "d"}));
    EXPECT_EQ(routes.table.complaint, "");
}

TEST(HealthRouterTest, TheyStopCleanlyWithStreamsOpen)
{
    Fleet fleet({"--stream-grace-seconds=0.1"});
    uint64_t incarnation = fleet.add("a", "echo");
    Routes routes(*fleet.client, fleet.router_address);
    Stream stream(*fleet.client, fleet.health_address);
    ASSERT_TRUE(stream.beat("a", incarnation));
    ASSERT_TRUE(fleet.client->wait([&] { return routes.has("echo", "a"); }));
    fleet.health->signal(SIGTERM);
    ASSERT_TRUE(fleet.client->wait([&] { return stream.ended; }));
    EXPECT_EQ(stream.status, RPC_UNAVAILABLE);
    EXPECT_EQ(fleet.health->end(0), 0);
    EXPECT_EQ(fleet.router->end(SIGTERM), 0);
    EXPECT_EQ(fleet.status("a"), WORKER_ONLINE) << "our own stop says nothing about the worker";
}

TEST(HealthRouterTest, BadSettingsAreRefusedInOneLine)
{
    Process late("services/health/muster-health",
                 {"--port=0", "--heartbeat-timeout-seconds=10", "--worker-timeout-seconds=5"});
    EXPECT_EQ(late.end(0), 1);
    EXPECT_NE(late.errors().find("--worker-timeout-seconds"), std::string::npos);
    Process policy("services/router/muster-router", {"--port=0", "--policy=best"});
    EXPECT_EQ(policy.end(0), 1);
    EXPECT_NE(policy.errors().find("least-loaded"), std::string::npos);
    for (const auto *process : {&late, &policy}) {
        std::string errors = process->errors();
        EXPECT_EQ(std::count(errors.begin(), errors.end(), '\n'), 1) << errors;
    }
}

} // namespace
