// The core of muster-router and those who watch it: large tables, and watchers that come back, fall behind, or begin anew.

#include "tests/unit/router/router_fixture.h"

namespace
{

using namespace router_test;

// --- Watchers that come back, and large tables ---

class LargeTable : public RouterTest
{
  protected:
    static constexpr size_t kWorkers = 5500;
    static std::string Id(size_t number)
    {
        return "w" + std::to_string(number);
    }
    void Start()
    {
        std::vector<Record> records;
        for (size_t i = 0; i < kWorkers; i++)
            records.push_back({Id(i), {"ocr"}, {{"mine", "http://" + std::to_string(i)}}});
        Begin(records);
    }
    // A worker goes, and comes again with a service of its own.
    void Flap(uint64_t incarnation)
    {
        RemoveWorker("own", incarnation);
        Workers({{"own", {}, {{"its-own"}}, incarnation + 1}});
    }
};

TEST_F(LargeTable, ASnapshotComesInPieces)
{
    Start();
    EXPECT_EQ(table_.snapshots, 1u);
    EXPECT_EQ(table_.messages, 2 * kWorkers / ROUTER_PIECE_CHANGES + 1);
    EXPECT_EQ(Ends("ocr").size(), kWorkers);
    EXPECT_EQ(EndOf("mine", Id(17)).url, "http://17");
}

TEST_F(LargeTable, WhatChangesDuringASnapshotComesBeforeItsEnd)
{
    Start();
    Leave();
    table_ = RouteTable();
    Return();
    ASSERT_TRUE(WatchOnce());
    ASSERT_TRUE(WatchOnce());
    EXPECT_TRUE(table_.in_snapshot);
    for (size_t i = 0; i < kWorkers; i += 2) // sent already or not
        RemoveWorker(Id(i));
    for (size_t i = 1; i < kWorkers; i += 10)
        SendHealth({{Id(i), WORKER_ONLINE, 0.5}});
    Workers({{"new", {"ocr"}}});
    To(1000);
    ASSERT_TRUE(Watch());
    EXPECT_FALSE(table_.in_snapshot);
    EXPECT_EQ(Ends("ocr").size(), kWorkers / 2 + 1);
    EXPECT_EQ(EndOf("mine", Id(11)).weight, 50u);
    EXPECT_EQ(table_.services, Truth().services);
    EXPECT_TRUE(router_check(router_));
}

TEST_F(LargeTable, OneThatWasAwayGetsWhatItMissed)
{
    Start();
    Leave();
    RemoveWorker(Id(1));
    SendHealth({{Id(2), WORKER_ONLINE, 0.5}, {Id(3), WORKER_OFFLINE}});
    Workers({{Id(3), {"llm"}}, {Id(4), {}, {{"theirs"}}}, {"new", {"ocr"}}});
    To(1000);
    SendHealth({{Id(3), WORKER_ONLINE, 0.9}});
    To(2000);
    Return();
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.snapshots, 0u);
    EXPECT_EQ(table_.messages, 1u);
    EXPECT_EQ(table_.endpoints, 5u);
    EXPECT_EQ(table_.services, Truth().services);
    Leave();
    Return();
    EXPECT_FALSE(Watch()) << "nothing happened";
}

TEST_F(LargeTable, OneThatIsCutOffInASnapshotBeginsAgain)
{
    Start();
    Leave();
    table_ = RouteTable();
    Return();
    for (int i = 0; i < 3; i++)
        ASSERT_TRUE(WatchOnce());
    EXPECT_TRUE(table_.in_snapshot);
    Leave();
    for (size_t i = 0; i < kWorkers; i += 3)
        RemoveWorker(Id(i));
    Return();
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.snapshots, 1u);
    EXPECT_EQ(table_.services, Truth().services);
}

TEST_F(LargeTable, OneThatIsCutOffBetweenTwoPiecesGoesOnThere)
{
    Start();
    for (size_t i = 0; i < 2500; i++)
        SendHealth({{Id(i), WORKER_ONLINE, 0.5}});
    To(1000);
    for (size_t i = 2500; i < kWorkers; i++)
        SendHealth({{Id(i), WORKER_ONLINE, 0.5}});
    To(2000);
    table_.Forget();
    for (int i = 0; i < 7; i++) // 5,000 changes are of the first revision
        ASSERT_TRUE(WatchOnce());
    Leave();
    table_.Forget();
    Return();
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.snapshots, 0u);
    EXPECT_EQ(table_.endpoints, 6000u) << "those of the second revision once more";
    EXPECT_EQ(table_.services, Truth().services);
}

TEST_F(LargeTable, OneThatWasAwayTooLongGetsASnapshot)
{
    Start();
    auto away = table_.Position();
    uint64_t incarnation = 1;
    // Two removals each time, after the first: an endpoint and its service.
    for (; incarnation <= ROUTER_REMOVALS_MAX / 2; incarnation++)
        Flap(incarnation);
    Leave();
    Return();
    EXPECT_EQ(table_.revision, away.after_revision);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.snapshots, 0u) << "all of it is known";
    Leave();
    for (int i = 0; i < 2; i++)
        Flap(incarnation++);
    watcher_ = router_watcher_open(router_, &away);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.snapshots, 1u);
    EXPECT_EQ(table_.services, Truth().services);
    To(100);
    EXPECT_TRUE(router_check(router_));
}

TEST_F(LargeTable, OneThatIsTooSlowGetsASnapshot)
{
    Start();
    for (uint64_t incarnation = 1; incarnation <= ROUTER_REMOVALS_MAX / 2 + 2; incarnation++)
        Flap(incarnation);
    RemoveWorker(Id(5));
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.snapshots, 1u);
    EXPECT_EQ(table_.services, Truth().services);
    EXPECT_FALSE(Watch());
}

TEST_F(LargeTable, AnotherRouterSendsASnapshot)
{
    Start();
    auto *first = router_;
    auto *first_watcher = watcher_;
    uint64_t epoch = table_.epoch;
    router_ = router_create(&policy_least_loaded, 2, now_);
    Begin({{"w1", {"ocr"}}, {"w2", {"llm"}}});
    EXPECT_NE(table_.epoch, epoch);
    EXPECT_EQ(table_.snapshots, 1u);
    EXPECT_EQ(Ends("ocr"), std::set<std::string>{"w1"});
    EXPECT_EQ(table_.services, Truth().services);
    router_watcher_close(first, first_watcher);
    router_destroy(first);
}

TEST_F(RouterTest, ARevisionThatIsNotThereYetGetsASnapshot)
{
    Begin({{"a", {"ocr"}}});
    Leave();
    table_.revision += 1000;
    auto request = table_.Position();
    table_.revision = 0;
    watcher_ = router_watcher_open(router_, &request);
    ASSERT_TRUE(Watch());
    EXPECT_EQ(table_.snapshots, 1u);
}

// Everything at random; and whoever watches, fast or slow, or comes and goes, ends with the table
// that somebody gets who begins anew.
TEST_F(RouterTest, WatchersAgreeWhateverHappens)
{
    std::mt19937 random(20260105);
    const auto below = [&](size_t limit) { return static_cast<size_t>(random() % limit); };
    const char *names[] = {"ocr", "llm", "o", "a", "b", "c"};
    std::map<std::string, Record> records;
    const auto record = [&](const std::string &id) {
        Record one = {id};
        one.incarnation = records.count(id) == 0 ? 1 : records[id].incarnation + below(2);
        for (const char *name : names) {
            if (below(4) == 0)
                one.assigned.push_back(name);
            if (below(4) == 0)
                one.announced.push_back({name, below(2) == 0 ? "" : "http://" + std::to_string(below(3))});
        }
        one.draining = below(10) == 0;
        one.type = below(2) == 0 ? kGpu : kCpu;
        return records[id] = one;
    };
    Begin({});
    struct Watcher {
        RouteTable table;
        router_watcher *watcher = nullptr;
    };
    std::vector<Watcher> watchers(6);
    uint64_t ms = 0;
    for (int step = 0; step < 30000; step++) {
        std::string id = "w" + std::to_string(below(30));
        bool known = records.count(id) != 0;
        switch (below(9)) {
        case 0:
        case 1:
            Workers({record(id)});
            break;
        case 2:
            if (known)
                RemoveWorker(id, records[id].incarnation);
            break;
        case 3:
        case 4:
            if (known)
                SendHealth({{id,
                             below(4) == 0   ? WORKER_OFFLINE
                             : below(4) == 0 ? WORKER_DEGRADED
                                             : WORKER_ONLINE,
                             static_cast<double>(below(10)) / 10,
                             below(5) == 0 ? decltype(Health::states){{"ocr", "starting"}} : decltype(Health::states){},
                             records[id].incarnation}});
            break;
        case 5:
            Fail(id, names[below(6)], 1 + below(3), below(4) == 0 ? 1 : 0);
            break;
        case 6:
            To(ms += below(300));
            break;
        case 7:
            if (below(50) == 0)
                Catalog({{"ocr", kCpu, {below(2) == 0 ? "o" : "x"}, below(2) == 0 ? "/p" : "/q"},
                         {below(2) == 0 ? "llm" : "a", kGpu}});
            break;
        default: {
            Watcher &one = watchers[below(watchers.size())];
            Muster__V1__WatchRoutesResponse response;
            auto request = one.table.Position();
            if (one.watcher == nullptr) {
                one.watcher = router_watcher_open(router_, &request);
            } else if (below(8) == 0) {
                router_watcher_close(router_, one.watcher);
                one.watcher = nullptr;
            } else if (router_watcher_fill(router_, one.watcher, &response)) {
                one.table.Take(response);
                ASSERT_EQ(one.table.complaint, "") << "step " << step;
            }
        }
        }
        if (step % 100 != 0)
            continue;
        To(ms += 200);
        ASSERT_TRUE(router_check(router_)) << "step " << step;
        auto truth = Truth();
        for (Watcher &one : watchers) {
            Muster__V1__WatchRoutesResponse response;
            while (one.watcher != nullptr && router_watcher_fill(router_, one.watcher, &response))
                one.table.Take(response);
            bool agrees = one.watcher == nullptr || one.table.services == truth.services;
            ASSERT_TRUE(agrees) << "step " << step;
        }
    }
    for (Watcher &one : watchers) {
        if (one.watcher != nullptr)
            router_watcher_close(router_, one.watcher);
    }
}

} // namespace
