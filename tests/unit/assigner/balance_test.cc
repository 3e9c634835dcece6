// Work that moves by load: when, whom it takes, that nothing is dropped before the new one runs, and, over simulated
// days, that nothing swings.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
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
    double load = 0;
    std::map<std::string, std::string> states; // empty: it does not say
    bool up = true;
    uint64_t incarnation = 1;
};

// The registry and health, as far as the assigner sees them, and a clock.
struct Fleet {
    explicit Fleet(const std::string &catalog = kCatalog)
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
        record.spec = &spec;
        record.type = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU;
        record.incarnation = worker.incarnation;
        record.status = worker.up ? MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE
                                  : MUSTER__V1__WORKER_STATUS__WORKER_STATUS_OFFLINE;
        record.n_assigned_services = names.size();
        record.assigned_services = names.data();
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
        assigner_apply_health(assigner, &message);
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
        static const char *const reasons[] = {"lost", "overloaded", "drop", "told", "barred", "undo"};
        std::string id = move->worker_id;
        std::string described = std::string(reasons[move->reason]) + " " + id + " " + move->service;
        workers[id].assigned.assign(move->assigned, move->assigned + move->assigned_count);
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

    struct assigner *assigner;
    std::map<std::string, Worker> workers;
    uint64_t now_ms = 1000000, revision = 1;
};

TEST(Balance, AnOverloadedServiceGetsAWorkerOfAnIdleOne)
{
    Fleet fleet;
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
    EXPECT_EQ(fleet.run(3), Names{});
    EXPECT_EQ(assigner_swap_count(fleet.assigner), 0u);
}

TEST(Balance, TheLastWorkerOfAServiceIsNotTaken)
{
    Fleet fleet;
    fleet.add("busy", {"a"}, 1);
    fleet.add("idle", {"b"}, 0);
    fleet.add("other", {"c"}, 0);
    EXPECT_EQ(fleet.run(1000), Names{});
    fleet.add("idle-2", {"b"}, 0.7);
    EXPECT_EQ(fleet.run(1000), Names{}) << "one of the two would have too much: 0.7";
    fleet.set_load("idle-2", 0.5);
    EXPECT_EQ(fleet.run(100).size(), 2u);
}

TEST(Balance, TheOldOneIsKeptWhenTheOthersWentMeanwhile)
{
    Fleet fleet;
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
}

TEST(Balance, AWorkerThatSaysNothingOfItsServicesIsGivenAMinute)
{
    Fleet fleet;
    fleet.add("busy", {"a"}, 0.9);
    fleet.add("idle-1", {"b"}, 0.1);
    fleet.add("idle-2", {"b"}, 0.05);
    EXPECT_EQ(fleet.run(32).size(), 1u);
    EXPECT_EQ(fleet.run(55), Names{});
    EXPECT_EQ(fleet.run(10), (Names{"drop idle-2 b"}));
}

TEST(Balance, ASwapEndsWithItsWorker)
{
    Fleet fleet;
    fleet.add("busy", {"a"}, 0.9);
    fleet.add("idle-1", {"b"}, 0.1);
    fleet.add("idle-2", {"b"}, 0.05);
    EXPECT_EQ(fleet.run(32).size(), 1u);
    EXPECT_EQ(assigner_swap_count(fleet.assigner), 1u);
    fleet.workers["idle-2"].incarnation = 2; // it has registered again, with both
    fleet.put("idle-2");
    EXPECT_EQ(fleet.run(3), Names{});
    EXPECT_EQ(assigner_swap_count(fleet.assigner), 0u);
    EXPECT_EQ(fleet.workers["idle-2"].assigned, (Names{"b", "a"}));
}

TEST(Balance, PinsReservationsAndTypesAreKept)
{
    Fleet fleet;
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
    EXPECT_LE(overloaded_seconds, 3u * 86400u / 20u) << "a is rarely short of workers";
}

} // namespace
