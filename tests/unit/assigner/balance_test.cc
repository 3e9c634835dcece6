// Work that moves by load: when, whom it takes, that nothing is dropped before the new one runs, and, over simulated
// days, that nothing swings.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

extern "C" {
#include "common/random.h"
#include "services/assigner/assigner.h"
}

namespace
{

using Names = std::vector<std::string>;

char *text(const std::string &s)
{
    return const_cast<char *>(s.c_str());
}

const char *const kCatalog = R"({"services": [
    {"name": "a", "requires": "cpu", "priority": 1, "port": 1, "aliases": ["alpha"]},
    {"name": "b", "requires": "cpu", "priority": 2, "port": 2},
    {"name": "c", "requires": "cpu", "priority": 3, "port": 3},
    {"name": "pinned", "requires": "cpu", "priority": 9, "port": 4, "pinned_to": ["w0", "w1"]},
    {"name": "g", "requires": "gpu", "priority": 1, "port": 5}],
    "reserved": {"r": ["b"]}})";

struct Worker {
    Names assigned;
    Names swap; // from, to; as the registry keeps it
    double load = 0;
    std::string location;
    std::map<std::string, std::string> states; // empty: it does not say
    bool up = true;
    uint64_t incarnation = 1;
};

// The registry and health, as far as the assigner sees them, and a clock.
struct Fleet {
    explicit Fleet(const std::string &text_of_it = kCatalog) : catalog(text_of_it)
    {
        begin();
    }
    void begin()
    {
        char error[CATALOG_ERROR_BYTES] = "";
        assigner = assigner_create(catalog_parse(catalog.data(), catalog.size(), error));
        EXPECT_NE(assigner, nullptr) << error;
        Muster__V1__WatchWorkersResponse message = MUSTER__V1__WATCH_WORKERS_RESPONSE__INIT;
        message.snapshot_begin = message.snapshot_complete = true;
        message.revision = 1;
        EXPECT_TRUE(assigner_apply(assigner, &message));
    }
    ~Fleet()
    {
        EXPECT_TRUE(assigner_check(assigner));
        assigner_destroy(assigner);
    }

    void put(const std::string &id)
    {
        Worker &worker = workers[id];
        Muster__V1__WorkerSpec spec = MUSTER__V1__WORKER_SPEC__INIT;
        Muster__V1__Worker record = MUSTER__V1__WORKER__INIT;
        std::vector<char *> names;
        for (const auto &name : worker.assigned)
            names.push_back(text(name));
        spec.worker_id = text(id);
        spec.location = text(worker.location);
        record.spec = &spec;
        record.type = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU;
        record.incarnation = worker.incarnation;
        record.status = worker.up ? MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE
                                  : MUSTER__V1__WORKER_STATUS__WORKER_STATUS_OFFLINE;
        record.n_assigned_services = names.size();
        record.assigned_services = names.data();
        Muster__V1__ServiceSwap swap = MUSTER__V1__SERVICE_SWAP__INIT;
        if (!worker.swap.empty()) {
            swap.from = text(worker.swap[0]);
            swap.to = text(worker.swap[1]);
            record.swap = &swap;
        }
        Muster__V1__WorkerEvent event = MUSTER__V1__WORKER_EVENT__INIT, *events = &event;
        event.type = MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_PUT;
        event.worker_id = spec.worker_id;
        event.worker = &record;
        Muster__V1__WatchWorkersResponse message = MUSTER__V1__WATCH_WORKERS_RESPONSE__INIT;
        message.n_events = 1;
        message.events = &events;
        message.revision = ++revision;
        ASSERT_TRUE(assigner_apply(assigner, &message));
    }

    void add(const std::string &id, const Names &assigned, double load = 0)
    {
        workers[id].assigned = assigned;
        workers[id].load = load;
        put(id);
        say(id);
    }

    void say(const std::string &id)
    {
        const Worker &worker = workers[id];
        Muster__V1__Load load = MUSTER__V1__LOAD__INIT;
        std::vector<Muster__V1__ServiceState> states(worker.states.size());
        std::vector<Muster__V1__ServiceState *> pointers;
        size_t i = 0;
        for (const auto &[name, state] : worker.states) {
            muster__v1__service_state__init(&states[i]);
            states[i].name = text(name);
            states[i].state = text(state);
            pointers.push_back(&states[i++]);
        }
        load.current_load = worker.load;
        load.n_services_status = pointers.size();
        load.services_status = pointers.data();
        Muster__V1__WorkerHealth health = MUSTER__V1__WORKER_HEALTH__INIT, *list = &health;
        health.worker_id = text(id);
        health.incarnation = worker.incarnation;
        health.load = &load;
        Muster__V1__WatchHealthResponse message = MUSTER__V1__WATCH_HEALTH_RESPONSE__INIT;
        message.n_workers = 1;
        message.workers = &list;
        assigner_apply_health(assigner, &message, now_ms);
    }

    // Somebody has what the test is not about, and is no use to it.
    void fill()
    {
        add("filler", {"c"}, 0.7);
    }

    void set_load(const std::string &id, double load)
    {
        workers[id].load = load;
        say(id);
    }

    // What the next move is about, as "reason worker service", and the registry takes it; "" when there is none.
    std::string next()
    {
        const struct assigner_move *move = assigner_next_move(assigner, now_ms);
        if (move == nullptr)
            return "";
        static const char *const reasons[] = {"lost", "overloaded", "drop", "told", "gone", "barred", "undo", "both"};
        std::string id = move->worker_id;
        std::string described = std::string(reasons[move->reason]) + " " + id + " " + move->service;
        if (refuses) {
            assigner_move_failed(assigner, id.c_str());
            return described;
        }
        workers[id].assigned.assign(move->assigned, move->assigned + move->assigned_count);
        workers[id].swap = move->swap_to == nullptr ? Names{} : Names{move->swap_from, move->swap_to};
        if (!answers_late)
            put(id);
        return described;
    }

    // All moves of some seconds, looked for ten times a second.
    Names run(double seconds)
    {
        Names moves;
        for (uint64_t end = now_ms + static_cast<uint64_t>(seconds * 1000); now_ms < end; now_ms += 100) {
            for (std::string move; !(move = next()).empty();)
                moves.push_back(move);
        }
        return moves;
    }

    // The process is killed, and another one finds the roll and what health says.
    void restart()
    {
        EXPECT_TRUE(assigner_check(assigner));
        assigner_destroy(assigner);
        begin();
        for (const auto &[id, worker] : workers)
            put(id);
        for (const auto &[id, worker] : workers)
            say(id);
    }

    void remove(const std::string &id)
    {
        Muster__V1__WorkerEvent event = MUSTER__V1__WORKER_EVENT__INIT, *events = &event;
        event.type = MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_REMOVE;
        event.worker_id = text(id);
        event.incarnation = workers[id].incarnation;
        Muster__V1__WatchWorkersResponse message = MUSTER__V1__WATCH_WORKERS_RESPONSE__INIT;
        message.n_events = 1;
        message.events = &events;
        message.revision = ++revision;
        ASSERT_TRUE(assigner_apply(assigner, &message));
        workers.erase(id);
    }

    std::string catalog;
    bool refuses = false;      // the registry takes no move
    bool answers_late = false; // it takes them, and its watch does not say so yet
    struct assigner *assigner;
    std::map<std::string, Worker> workers;
    uint64_t now_ms = 1000000, revision = 1;
};

TEST(Balance, AnOverloadedServiceGetsAWorkerOfAnIdleOne)
{
    Fleet fleet;
    fleet.fill();
    fleet.add("busy", {"a"}, 0.9);
    fleet.add("idle-1", {"b"}, 0.1);
    fleet.add("idle-2", {"b"}, 0.05);
    EXPECT_EQ(fleet.run(28), Names{}) << "it may pass";
    EXPECT_EQ(fleet.run(4), (Names{"overloaded idle-2 a"})) << "the one with the least to do";
    EXPECT_EQ(fleet.workers["idle-2"].assigned, (Names{"b", "a"})) << "both, until the new one runs";
    EXPECT_EQ(assigner_swap_count(fleet.assigner), 1u);
    fleet.workers["idle-2"].states = {{"a", "starting"}, {"b", "running"}};
    fleet.say("idle-2");
    EXPECT_EQ(fleet.run(120), Names{}) << "it does not run yet";
    fleet.workers["idle-2"].states["a"] = "running";
    fleet.say("idle-2");
    EXPECT_EQ(fleet.run(3), (Names{"drop idle-2 b"}));
    EXPECT_EQ(fleet.workers["idle-2"].assigned, (Names{"a"}));
    EXPECT_EQ(fleet.workers["idle-2"].swap, Names{});
    EXPECT_EQ(fleet.run(3), Names{});
    EXPECT_EQ(assigner_swap_count(fleet.assigner), 0u);
}

TEST(Balance, ItGivesUpWhatIsLeastImportant)
{
    Fleet fleet;
    fleet.add("busy", {"a"}, 0.9);
    fleet.add("idle-1", {"b", "c"}, 0.1);
    fleet.add("idle-2", {"b", "c"}, 0.1);
    Names moves = fleet.run(32);
    ASSERT_EQ(moves.size(), 1u);
    std::string id = moves[0].substr(moves[0].find(' ') + 1, 6);
    EXPECT_EQ(fleet.workers[id].swap, (Names{"c", "a"}));
}

TEST(Balance, ASpreadServiceGoesWhereItIsNot)
{
    Fleet fleet(R"({"services": [
        {"name": "a", "requires": "cpu", "priority": 1, "port": 1, "anti_affinity": "location"},
        {"name": "b", "requires": "cpu", "priority": 2, "port": 2}]})");
    fleet.workers["busy"].location = "uk";
    fleet.workers["here"].location = "uk";
    fleet.workers["there"].location = "fr";
    fleet.add("busy", {"a"}, 0.9);
    fleet.add("here", {"b"}, 0);
    fleet.add("there", {"b"}, 0.2);
    EXPECT_EQ(fleet.run(40), (Names{"overloaded there a"})) << "though the other one has less to do";
}

TEST(Balance, WithoutHealthNothingMovesAndNoSwapEnds)
{
    Fleet fleet;
    fleet.fill();
    fleet.add("busy", {"a"}, 0.9);
    fleet.add("idle-1", {"b"}, 0.1);
    fleet.add("idle-2", {"b"}, 0.05);
    assigner_health_lost(fleet.assigner);
    EXPECT_EQ(fleet.run(3600), Names{}) << "what was heard last is old";
    fleet.say("busy");
    EXPECT_EQ(fleet.run(28), Names{}) << "it counts from when health is heard again";
    EXPECT_EQ(fleet.run(4), (Names{"overloaded idle-2 a"}));
    assigner_health_lost(fleet.assigner);
    EXPECT_EQ(fleet.run(3600), Names{}) << "nobody could say that it runs";
    fleet.workers["idle-2"].states = {{"a", "starting"}, {"b", "running"}};
    fleet.say("idle-2");
    EXPECT_EQ(fleet.run(560), Names{}) << "it has its time once more";
    EXPECT_EQ(fleet.run(60), (Names{"undo idle-2 a"}));
}

TEST(Balance, AMoveThatTheRegistryRefusedIsTriedAgainSoon)
{
    Fleet fleet;
    fleet.fill();
    fleet.add("busy", {"a"}, 0.9);
    fleet.add("idle-1", {"b"}, 0.1);
    fleet.add("idle-2", {"b"}, 0.05);
    EXPECT_EQ(fleet.run(28), Names{});
    fleet.refuses = true;
    EXPECT_EQ(fleet.run(4), (Names{"overloaded idle-2 a"}));
    EXPECT_EQ(fleet.workers["idle-2"].assigned, (Names{"b"}));
    EXPECT_EQ(assigner_swap_count(fleet.assigner), 0u);
    fleet.refuses = false;
    EXPECT_EQ(fleet.run(12), (Names{"overloaded idle-2 a"}));
}

TEST(Balance, ASwapOutlivesTheAssignerAndTheCatalog)
{
    Fleet fleet;
    fleet.fill();
    fleet.add("busy", {"a"}, 0.9);
    fleet.add("idle-1", {"b"}, 0.1);
    fleet.add("idle-2", {"b"}, 0.05);
    EXPECT_EQ(fleet.run(32).size(), 1u);
    fleet.restart();
    EXPECT_EQ(assigner_swap_count(fleet.assigner), 1u) << "it is on the roll";
    fleet.workers["idle-2"].states = {{"a", "starting"}, {"b", "running"}};
    fleet.say("idle-2");
    EXPECT_EQ(fleet.run(120), Names{}) << "and nothing else of b is begun, busy as a is";
    char error[CATALOG_ERROR_BYTES];
    ASSERT_TRUE(assigner_set_catalog(fleet.assigner, catalog_parse(kCatalog, strlen(kCatalog), error)));
    EXPECT_EQ(assigner_swap_count(fleet.assigner), 1u);
    fleet.workers["idle-2"].states["a"] = "running";
    fleet.say("idle-2");
    EXPECT_EQ(fleet.run(3), (Names{"drop idle-2 b"}));

    // And one whose service is in the catalog no more.
    fleet.workers["idle-2"].assigned = {"b", "a"};
    fleet.workers["idle-2"].swap = {"b", "a"};
    fleet.put("idle-2");
    const std::string without = R"({"services": [{"name": "a", "requires": "cpu", "priority": 1, "port": 1},
                                                 {"name": "c", "requires": "cpu", "priority": 3, "port": 3}]})";
    ASSERT_TRUE(assigner_set_catalog(fleet.assigner, catalog_parse(without.data(), without.size(), error)));
    Names moves = fleet.run(10);
    std::sort(moves.begin(), moves.end());
    EXPECT_EQ(moves, (Names{"gone idle-1 ", "gone idle-2 "}));
    EXPECT_EQ(fleet.workers["idle-2"].assigned, (Names{"a"}));
    EXPECT_EQ(assigner_swap_count(fleet.assigner), 0u);
}

TEST(Balance, AnAnswerThatWasLostLeavesNoSwapBehind)
{
    Fleet fleet;
    fleet.fill();
    fleet.add("busy", {"a"}, 0.9);
    fleet.add("idle-1", {"b"}, 0.1);
    fleet.add("idle-2", {"b"}, 0.05);
    EXPECT_EQ(fleet.run(28), Names{});
    fleet.answers_late = true;
    EXPECT_EQ(fleet.run(5), (Names{"overloaded idle-2 a"}));
    assigner_move_failed(fleet.assigner, "idle-2"); // so it seems; but the registry has it
    EXPECT_EQ(assigner_swap_count(fleet.assigner), 0u);
    fleet.answers_late = false;
    fleet.put("idle-2");
    EXPECT_EQ(assigner_swap_count(fleet.assigner), 1u);
    fleet.workers["idle-2"].states = {{"a", "running"}, {"b", "running"}};
    fleet.say("idle-2");
    EXPECT_EQ(fleet.run(3), (Names{"drop idle-2 b"}));
}

TEST(Balance, TheLastWorkerOfAServiceIsNotTaken)
{
    Fleet fleet;
    fleet.add("busy", {"a"}, 1);
    fleet.add("idle", {"b"}, 0.3);
    fleet.add("other", {"c"}, 0);
    EXPECT_EQ(fleet.run(1000), Names{});
    fleet.add("idle-2", {"b"}, 0.35);
    EXPECT_EQ(fleet.run(1000), Names{}) << "one of the two would have too much: 0.65";
    fleet.set_load("idle-2", 0.25);
    EXPECT_EQ(fleet.run(100).size(), 2u);
}

// A worker says one load for all that it runs.
TEST(Balance, AWorkerThatIsFullBecauseOfAnotherServiceSaysNothingOfThisOne)
{
    Fleet fleet;
    fleet.fill();
    fleet.add("busy", {"a"}, 1);
    fleet.add("both-1", {"a", "b"}, 1);
    fleet.add("both-2", {"a", "b"}, 1);
    fleet.add("idle-1", {"b"}, 0.1);
    fleet.add("idle-2", {"b"}, 0.15);
    EXPECT_EQ(fleet.run(32), (Names{"overloaded idle-1 a"})) << "b has room, though half of its workers do not";
    fleet.set_load("busy", 0.5);
    Fleet other;
    other.fill();
    other.add("busy", {"a"}, 0.5);
    other.add("both-1", {"a", "b"}, 1);
    other.add("both-2", {"a", "b"}, 1);
    other.add("idle-1", {"c"}, 0);
    other.add("idle-2", {"c"}, 0);
    Names moves = other.run(60);
    ASSERT_FALSE(moves.empty());
    EXPECT_EQ(moves[0].substr(moves[0].size() - 1), "b") << "a has room, b has none";
}

TEST(Balance, TheOldOneIsKeptWhenTheOthersWentMeanwhile)
{
    Fleet fleet;
    fleet.fill();
    fleet.add("busy", {"a"}, 0.9);
    fleet.add("idle-1", {"b"}, 0.1);
    fleet.add("idle-2", {"b"}, 0.05);
    EXPECT_EQ(fleet.run(32).size(), 1u);
    fleet.workers["idle-1"].up = false;
    fleet.put("idle-1");
    fleet.workers["idle-2"].states = {{"a", "running"}};
    fleet.say("idle-2");
    EXPECT_EQ(fleet.run(60), Names{}) << "it would leave nobody with b";
    fleet.workers["idle-1"].up = true;
    fleet.put("idle-1");
    EXPECT_EQ(fleet.run(3), (Names{"drop idle-2 b"}));
}

TEST(Balance, WhatDoesNotComeToRunIsTakenBack)
{
    Fleet fleet;
    fleet.fill();
    fleet.add("busy", {"a"}, 0.9);
    fleet.add("idle-1", {"b"}, 0.1);
    fleet.add("idle-2", {"b"}, 0.05);
    EXPECT_EQ(fleet.run(32).size(), 1u);
    fleet.workers["idle-2"].states = {{"a", "failed"}, {"b", "running"}};
    fleet.say("idle-2");
    fleet.set_load("busy", 0.5); // nobody else is wanted
    EXPECT_EQ(fleet.run(560), Names{});
    EXPECT_EQ(fleet.run(60), (Names{"undo idle-2 a"}));
    EXPECT_EQ(fleet.workers["idle-2"].assigned, (Names{"b"}));

    fleet.workers["idle-1"].states = {{"a", "failed"}, {"b", "running"}};
    fleet.set_load("idle-1", 0.1);
    fleet.set_load("busy", 0.9);
    EXPECT_EQ(fleet.run(400), (Names{"overloaded idle-1 a"})) << "the other one is not asked again";
    EXPECT_EQ(fleet.run(1100), (Names{"undo idle-1 a"}));
    EXPECT_EQ(fleet.run(7200), Names{}) << "nor is either of them";
    fleet.workers["idle-2"].incarnation++;
    fleet.put("idle-2");
    fleet.say("idle-2");
    EXPECT_EQ(fleet.run(60), (Names{"overloaded idle-2 a"})) << "it was started again: it may work now";
}

TEST(Balance, AWorkerThatSaysNothingOfItsServicesIsGivenAMinute)
{
    Fleet fleet;
    fleet.fill();
    fleet.add("busy", {"a"}, 0.9);
    fleet.add("idle-1", {"b"}, 0.1);
    fleet.add("idle-2", {"b"}, 0.05);
    EXPECT_EQ(fleet.run(32).size(), 1u);
    EXPECT_EQ(fleet.run(55), Names{});
    EXPECT_EQ(fleet.run(10), (Names{"drop idle-2 b"}));
}

TEST(Balance, ASwapGoesOnWhenItsWorkerComesBackAndEndsWhenItDoesNot)
{
    Fleet fleet;
    fleet.fill();
    fleet.add("busy", {"a"}, 0.9);
    fleet.add("idle-1", {"b"}, 0.1);
    fleet.add("idle-2", {"b"}, 0.05);
    EXPECT_EQ(fleet.run(32).size(), 1u);
    EXPECT_EQ(assigner_swap_count(fleet.assigner), 1u);
    fleet.workers["idle-2"].incarnation = 2; // it has registered again, with both
    fleet.put("idle-2");
    EXPECT_EQ(fleet.run(3), Names{});
    EXPECT_EQ(assigner_swap_count(fleet.assigner), 1u);
    fleet.workers["idle-2"].states = {{"a", "running"}, {"b", "running"}};
    fleet.say("idle-2");
    EXPECT_EQ(fleet.run(3), (Names{"drop idle-2 b"}));

    fleet.set_load("idle-2", 0.9);
    fleet.add("idle-3", {"b"}, 0);
    EXPECT_EQ(fleet.run(280), Names{}) << "the dwell time";
    EXPECT_EQ(fleet.run(60), (Names{"overloaded idle-3 a"}));
    fleet.remove("idle-3");
    EXPECT_EQ(assigner_swap_count(fleet.assigner), 0u);
    EXPECT_EQ(fleet.run(60), Names{});
}

TEST(Balance, OneThatBecomesTheLastOfBothKeepsBoth)
{
    Fleet fleet;
    fleet.fill();
    fleet.add("busy", {"a"}, 0.9);
    fleet.add("idle-1", {"b"}, 0.1);
    fleet.add("idle-2", {"b"}, 0.05);
    EXPECT_EQ(fleet.run(32).size(), 1u);
    fleet.workers["idle-1"].up = false;
    fleet.put("idle-1");
    fleet.workers["idle-2"].states = {{"a", "running"}, {"b", "running"}};
    fleet.say("idle-2");
    EXPECT_EQ(fleet.run(560), Names{});
    EXPECT_EQ(fleet.run(60), (Names{"both idle-2 "}));
    EXPECT_EQ(fleet.workers["idle-2"].assigned, (Names{"b", "a"}));
    EXPECT_EQ(fleet.workers["idle-2"].swap, Names{});
}

TEST(Balance, PinsReservationsAndTypesAreKept)
{
    Fleet fleet;
    fleet.fill();
    fleet.add("busy", {"a"}, 0.9);
    fleet.add("w0", {"pinned"}, 0);
    fleet.add("w1", {"pinned"}, 0);
    fleet.add("r", {"b"}, 0);
    fleet.add("r2", {"b"}, 1); // b cannot spare it
    EXPECT_EQ(fleet.run(1000), Names{});
}

TEST(Balance, OneMoveAtATimeAndThenRest)
{
    Fleet fleet;
    fleet.fill();
    fleet.add("busy", {"a"}, 1);
    for (int i = 0; i < 10; i++)
        fleet.add("idle-" + std::to_string(i), {"b"}, 0.1);
    EXPECT_EQ(fleet.run(200).size(), 2u) << "one worker, and its drop, in the dwell time";
}

TEST(Balance, WhatAWorkerCannotServeIsNotCoveredByIt)
{
    Fleet fleet;
    fleet.add("x1", {"a", "b"});
    fleet.add("x2", {"c"});
    EXPECT_EQ(fleet.run(5), Names{});
    fleet.workers["x1"].states = {{"alpha", "unavailable"}, {"b", "running"}};
    fleet.say("x1");
    EXPECT_EQ(fleet.run(1), (Names{"lost x2 a"})) << "by whatever name it says so";
    fleet.workers["x1"].states.clear();
    fleet.say("x1");
    std::vector<struct assigner_gap> gaps(5);
    assigner_gaps(fleet.assigner, gaps.data());
    for (const auto &gap : gaps) {
        if (std::string(gap.service->name) == "a") {
            EXPECT_EQ(gap.healthy_workers, 2u);
        }
    }
}

TEST(Rules, ANewCatalogMovesWhatIsPinnedAndReserved)
{
    Fleet fleet(R"({"services": [{"name": "a", "requires": "cpu", "priority": 1, "port": 1},
                                 {"name": "b", "requires": "cpu", "priority": 2, "port": 2}]})");
    fleet.add("w1", {"a", "b"});
    fleet.add("w2", {"b"});
    EXPECT_EQ(fleet.run(10), Names{});
    const std::string rules = R"({"services": [
        {"name": "a", "requires": "cpu", "priority": 1, "port": 1, "pinned_to": ["w2"]},
        {"name": "b", "requires": "cpu", "priority": 2, "port": 2}]})";
    char error[CATALOG_ERROR_BYTES];
    ASSERT_TRUE(assigner_set_catalog(fleet.assigner, catalog_parse(rules.data(), rules.size(), error)));
    fleet.workers["w2"].states = {{"a", "starting"}, {"b", "running"}};
    fleet.say("w2");
    EXPECT_EQ(fleet.run(20), (Names{"told w2 a"})) << "it does not run there yet";
    fleet.workers["w2"].states["a"] = "running";
    fleet.say("w2");
    EXPECT_EQ(fleet.run(5), (Names{"barred w1 a"}));
    EXPECT_EQ(fleet.workers["w1"].assigned, (Names{"b"}));
    EXPECT_EQ(fleet.workers["w2"].assigned, (Names{"b", "a"}));
    EXPECT_EQ(fleet.run(20), Names{});

    const std::string reserved = R"({"services": [
        {"name": "a", "requires": "cpu", "priority": 1, "port": 1},
        {"name": "b", "requires": "cpu", "priority": 2, "port": 2}], "reserved": {"w2": ["a"]}})";
    ASSERT_TRUE(assigner_set_catalog(fleet.assigner, catalog_parse(reserved.data(), reserved.size(), error)));
    EXPECT_EQ(fleet.run(20), (Names{"barred w2 b"})) << "w1 has it";
    fleet.workers["w1"].up = false;
    fleet.put("w1");
    EXPECT_EQ(fleet.run(20), Names{}) << "w2 is the only one, and may not";
}

TEST(Rules, AWorkerThatWasAwayWhenTheCatalogWasReadIsToldWhenItIsBack)
{
    Fleet fleet(R"({"services": [{"name": "a", "requires": "cpu", "priority": 1, "port": 1},
                                 {"name": "b", "requires": "cpu", "priority": 2, "port": 2}]})");
    fleet.add("w1", {"a", "b"});
    fleet.add("w2", {"b"});
    fleet.workers["w2"].up = false;
    fleet.put("w2");
    const std::string rules = R"({"services": [
        {"name": "a", "requires": "cpu", "priority": 1, "port": 1, "pinned_to": ["w1", "w2"]},
        {"name": "b", "requires": "cpu", "priority": 2, "port": 2}]})";
    char error[CATALOG_ERROR_BYTES];
    ASSERT_TRUE(assigner_set_catalog(fleet.assigner, catalog_parse(rules.data(), rules.size(), error)));
    EXPECT_EQ(fleet.run(3600), Names{});
    fleet.workers["w2"].up = true;
    fleet.put("w2");
    EXPECT_EQ(fleet.run(3), (Names{"told w2 a"}));

    // And after a restart of the assigner with other rules.
    fleet.workers["w2"].up = false;
    fleet.catalog = R"({"services": [{"name": "a", "requires": "cpu", "priority": 1, "port": 1},
                                     {"name": "b", "requires": "cpu", "priority": 2, "port": 2}],
                        "reserved": {"w2": ["b"]}})";
    fleet.restart();
    EXPECT_EQ(fleet.run(60), Names{});
    fleet.workers["w2"].up = true;
    fleet.put("w2");
    EXPECT_EQ(fleet.run(3), (Names{"barred w2 a"}));
}

TEST(Rules, OnesThatDoNothingAreTold)
{
    Fleet fleet(R"({"services": [{"name": "a", "requires": "cpu", "priority": 1, "port": 1, "pinned_to": ["w1", "w9"]},
                                 {"name": "g", "requires": "gpu", "priority": 2, "port": 2}],
                    "reserved": {"w2": ["g"]}})");
    fleet.add("w1", {"a"});
    fleet.add("w2", {});
    Names told;
    assigner_idle_rules(
        fleet.assigner,
        [](const struct catalog_service *service, const char *worker_id, bool is_there, void *argument) {
            static_cast<Names *>(argument)->push_back(std::string(service->name) + " " + worker_id +
                                                      (is_there ? " cannot" : " is not there"));
        },
        &told);
    EXPECT_EQ(told, (Names{"a w9 is not there", "g w2 cannot"}));
    EXPECT_EQ(fleet.run(60), Names{}) << "a worker is never told to run what its type cannot";
}

// Days of demand that rises, falls and jumps, workers that go and come: how many moves there are, and whether some
// service is ever left with nobody while somebody could run it.
struct Days {
    explicit Days(uint64_t seed)
    {
        random_seed(&random, seed);
        for (int i = 0; i < 12; i++)
            fleet.add("n" + std::to_string(i), {std::string(1, "abc"[i % 3])});
    }

    void share_load()
    {
        std::map<std::string, int> running;
        for (const auto &[id, worker] : fleet.workers)
            if (worker.up)
                for (const auto &name : worker.assigned)
                    running[name]++;
        for (auto &[id, worker] : fleet.workers) {
            double load = 0;
            for (const auto &name : worker.assigned)
                load += running[name] > 0 ? demand[name] / running[name] : 0;
            worker.load = std::min(1.0, load);
            worker.states.clear();
            for (const auto &name : worker.assigned)
                worker.states[name] = "running";
            if (worker.up)
                fleet.say(id);
        }
    }

    void lose_and_find()
    {
        for (auto &[id, worker] : fleet.workers) {
            if (random_below(&random, worker.up ? 4000 : 60) != 0)
                continue;
            worker.up = !worker.up;
            fleet.put(id);
        }
    }

    // Workers say how they are every five seconds.
    void step()
    {
        fleet.now_ms += 5000;
        share_load();
        for (std::string move; !(move = fleet.next()).empty();)
            moves.push_back(move);
    }

    void expect_nobody_missing()
    {
        std::set<std::string> up;
        for (const auto &[id, worker] : fleet.workers)
            if (worker.up)
                up.insert(worker.assigned.begin(), worker.assigned.end());
        for (const char *name : {"a", "b", "c"})
            ASSERT_TRUE(up.count(name)) << name;
    }

    Fleet fleet;
    struct random random;
    std::map<std::string, double> demand = {{"a", 0}, {"b", 0}, {"c", 0}}; // in workers
    Names moves;
};

TEST(Balance, SettlesWhenTheDemandStays)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        Days days(seed);
        for (auto &[name, demand] : days.demand)
            demand = static_cast<double>(random_below(&days.random, 1000)) / 1000 * 10;
        for (int second = 0; second < 4 * 3600; second += 5)
            days.step();
        size_t settled = days.moves.size();
        EXPECT_LE(settled, 24u) << "each move is two at most, and no worker moves twice";
        for (int second = 0; second < 4 * 3600; second += 5)
            days.step();
        EXPECT_EQ(days.moves.size(), settled) << "seed " << seed << ": it swings";
    }
}

TEST(Balance, FollowsTheDayAndDoesNotSwing)
{
    Days days(7);
    constexpr double kPi = 3.14159265358979;
    size_t overloaded_seconds = 0;
    for (int second = 0; second < 3 * 86400; second += 5) {
        double phase = 2 * kPi * second / 86400;
        double noise = static_cast<double>(random_below(&days.random, 1000)) / 1000 - 0.5;
        double usual = 3.6 + 3 * std::sin(phase);
        days.demand["a"] = usual + noise;
        days.demand["b"] = 3.6 - 3 * std::sin(phase) - noise;
        days.demand["c"] = 0.4;
        days.lose_and_find();
        for (const auto &move : days.fleet.run(0.6)) // whatever was lost is found within a second
            days.moves.push_back(move);
        days.expect_nobody_missing();
        days.step();
        int with_a = 0;
        for (const auto &[id, worker] : days.fleet.workers)
            with_a += worker.up && std::count(worker.assigned.begin(), worker.assigned.end(), "a") > 0 ? 1 : 0;
        overloaded_seconds += usual > with_a ? 5 : 0;
    }
    size_t moves = 0;
    for (const auto &move : days.moves)
        moves += move.rfind("overloaded", 0) == 0 ? 1 : 0;
    EXPECT_GE(moves, 3u) << "work followed the demand";
    EXPECT_LE(moves, 60u)
        << "and did not run to and fro: two swings a day of at most eight workers, and some for losses";
    // Which of equal workers are moved hangs on the seed of the maps, other in each process: from none of the time to 8 %.
    // If work did not follow, it were nearly half.
    EXPECT_LE(overloaded_seconds, 3u * 86400u / 8u) << "a is rarely short of workers";
}

} // namespace
