// The core of muster-health: what the registry says and is told, and watchers.

#include "tests/unit/health/health_fixture.h"

namespace health_test
{

// --- The registry is told ---

TEST_F(HealthTest, TheLatestStateIsReportedOnce)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    EXPECT_TRUE(Report().empty()) << "the registry knows that it registered";
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w", 1, WORKER_DEGRADED}});
    Send(stream, {{"w", 1, WORKER_DRAINING}});
    auto report = Report();
    ASSERT_EQ(report.size(), 1u);
    EXPECT_EQ(report["w"], WORKER_DRAINING);
    EXPECT_TRUE(Report().empty());
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, ARemovalWaitsForTheRegistryAndEndsWithIt)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    To(90000);
    EXPECT_EQ(Report()["w"], WORKER_DEGRADED);
    To(120000);
    EXPECT_EQ(Report(false)["w"], WORKER_REMOVED);
    EXPECT_EQ(Status("w"), WORKER_REMOVED);
    EXPECT_EQ(Report(false)["w"], WORKER_REMOVED);
    EXPECT_EQ(Report(true)["w"], WORKER_REMOVED);
    EXPECT_EQ(Status("w"), WORKER_STATUS_UNKNOWN);
    EXPECT_EQ(health_liveness_waiting(health_), 0u);
}

TEST_F(HealthTest, AWorkerHeardBeforeItsRemovalWasTakenStays)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *stream = health_stream_open(health_, nullptr);
    To(120000);
    EXPECT_EQ(Report(false)["w"], WORKER_REMOVED);
    Send(stream, {{"w"}});
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    auto report = Report();
    EXPECT_EQ(report["w"], WORKER_ONLINE);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, AChangeDuringAReportComesAfterIt)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *stream = health_stream_open(health_, nullptr);
    To(120000);
    Muster__V1__ReportLivenessRequest request;
    ASSERT_TRUE(health_fill_liveness(health_, 10, now_, &request));
    Send(stream, {{"w"}});
    Muster__V1__ReportLivenessRequest second;
    EXPECT_FALSE(health_fill_liveness(health_, 10, now_, &second)) << "one report at a time";
    health_liveness_answered(health_, true);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    EXPECT_EQ(Report()["w"], WORKER_ONLINE);
    // The registry had removed it: the event comes, and the worker must register again.
    WatchMessage message(++revision_);
    ASSERT_TRUE(Apply(message.Remove("w", 1)));
    EXPECT_EQ(Status("w"), WORKER_STATUS_UNKNOWN);
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, ARestartedRegistryIsToldWhoWasHeard)
{
    Synchronise();
    ASSERT_TRUE(Put({"heard"}));
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"heard"}});
    To(1000);
    health_watch_begin(health_);
    WatchMessage message(1000);
    ASSERT_TRUE(
        Apply(message.Begin().Put({"heard", 1, WORKER_RECONNECTING}).Put({"new", 1, WORKER_RECONNECTING}).Complete()));
    EXPECT_EQ(Status("heard"), WORKER_ONLINE);
    EXPECT_EQ(Status("new"), WORKER_RECONNECTING);
    auto report = Report();
    ASSERT_EQ(report.size(), 1u);
    EXPECT_EQ(report["heard"], WORKER_ONLINE);
    Send(stream, {{"new"}});
    EXPECT_EQ(Report()["new"], WORKER_ONLINE);
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, AWorkerThatWasNotHeardYetIsAsTheRegistrySays)
{
    WatchMessage first(5);
    ASSERT_TRUE(Apply(first.Begin().Put({"w"}).Complete()));
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    // The registry restarts before the first heartbeat: that must become a change to report.
    health_watch_begin(health_);
    WatchMessage second(9);
    ASSERT_TRUE(Apply(second.Begin().Put({"w", 1, WORKER_RECONNECTING}).Complete()));
    EXPECT_EQ(Status("w"), WORKER_RECONNECTING);
    EXPECT_TRUE(Report().empty());
    WatchMessage third(10); // a late report of the health process before this one
    ASSERT_TRUE(Apply(third.Status("w", 1, WORKER_OFFLINE)));
    EXPECT_EQ(Status("w"), WORKER_OFFLINE);
    EXPECT_TRUE(Report().empty());
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w"}});
    EXPECT_EQ(Report()["w"], WORKER_ONLINE);
    // And one that comes when it was heard is set right.
    WatchMessage fourth(11);
    ASSERT_TRUE(Apply(fourth.Status("w", 1, WORKER_OFFLINE)));
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    EXPECT_EQ(Report()["w"], WORKER_ONLINE);
    WatchMessage fifth(12); // the echo
    ASSERT_TRUE(Apply(fifth.Status("w", 1, WORKER_ONLINE)));
    EXPECT_TRUE(Report().empty());
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, AnUnheardWorkerThatWasGivenUpStaysGivenUp)
{
    WatchMessage first(5);
    ASSERT_TRUE(Apply(first.Begin().Put({"w"}).Complete()));
    To(120000);
    EXPECT_EQ(Report(false)["w"], WORKER_REMOVED);
    health_watch_begin(health_);
    WatchMessage second(9);
    ASSERT_TRUE(Apply(second.Begin().Put({"w", 1, WORKER_RECONNECTING}).Complete()));
    EXPECT_EQ(Report()["w"], WORKER_REMOVED);
}

TEST_F(HealthTest, ARestoredWorkerKeepsItsStateUntilItIsGivenUp)
{
    WatchMessage message(5);
    ASSERT_TRUE(Apply(message.Begin()
                          .Put({"r", 1, WORKER_RECONNECTING})
                          .Put({"o", 1, WORKER_OFFLINE})
                          .Put({"d", 1, WORKER_DEGRADED})
                          .Complete()));
    To(119999);
    EXPECT_EQ(Status("r"), WORKER_RECONNECTING);
    EXPECT_EQ(Status("o"), WORKER_OFFLINE);
    EXPECT_EQ(Status("d"), WORKER_DEGRADED);
    To(120000);
    EXPECT_EQ(Status("r"), WORKER_REMOVED);
    EXPECT_EQ(Status("o"), WORKER_REMOVED);
    EXPECT_EQ(Status("d"), WORKER_REMOVED);
}

TEST_F(HealthTest, AnImportedWorkerIsReconnectingUntilItIsHeard)
{
    Synchronise();
    ASSERT_TRUE(Put({"heard", 1, WORKER_RECONNECTING}));
    ASSERT_TRUE(Put({"registered", 1, WORKER_RECONNECTING}));
    ASSERT_TRUE(Put({"silent", 1, WORKER_RECONNECTING}));
    for (const char *id : {"heard", "registered", "silent"})
        EXPECT_EQ(Status(id), WORKER_RECONNECTING);
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"heard"}});
    EXPECT_EQ(Status("heard"), WORKER_ONLINE);
    ASSERT_TRUE(Put({"registered", 2}));
    EXPECT_EQ(Status("registered"), WORKER_ONLINE);
    To(120000);
    EXPECT_EQ(Status("silent"), WORKER_REMOVED);
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, ASnapshotRemovesWhatItDoesNotName)
{
    Synchronise();
    ASSERT_TRUE(Put({"a"}));
    ASSERT_TRUE(Put({"b"}));
    EXPECT_EQ(health_watch_begin(health_), revision_);
    WatchMessage first(0);
    ASSERT_TRUE(Apply(first.Begin().Put({"b"})));
    EXPECT_EQ(Status("a"), WORKER_ONLINE) << "not before the snapshot is complete";
    // It breaks off, and a new one says more.
    health_watch_begin(health_);
    WatchMessage second(0);
    ASSERT_TRUE(Apply(second.Begin().Put({"c"})));
    WatchMessage third(77);
    ASSERT_TRUE(Apply(third.Put({"d"}).Complete()));
    EXPECT_EQ(Status("a"), WORKER_STATUS_UNKNOWN);
    EXPECT_EQ(Status("b"), WORKER_STATUS_UNKNOWN);
    EXPECT_EQ(Status("c"), WORKER_ONLINE);
    EXPECT_EQ(Status("d"), WORKER_ONLINE);
    EXPECT_EQ(health_watch_begin(health_), 77u);
}

TEST_F(HealthTest, AnEventOfAnEarlierIncarnationIsPassedOver)
{
    Synchronise();
    ASSERT_TRUE(Put({"w", 5}));
    WatchMessage message(90);
    ASSERT_TRUE(Apply(message.Put({"w", 4, WORKER_OFFLINE}).Remove("w", 4)));
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
}

// --- Watchers ---

TEST_F(HealthTest, AWatcherGetsASnapshotThenOnlyChanges)
{
    Synchronise();
    for (const char *id : {"c", "b", "a"}) // who came last comes first
        ASSERT_TRUE(Put({id}));
    auto *watcher = health_watcher_open(health_);
    bool complete = true;
    EXPECT_EQ(Watch(watcher, &complete, 2).size(), 2u);
    EXPECT_FALSE(complete);
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"a", 1, WORKER_STATUS_UNKNOWN, 0.5}}); // sent already: it comes again, behind "c"
    auto seen = Watch(watcher, &complete, 2);
    EXPECT_EQ(seen.size(), 2u);
    EXPECT_TRUE(complete);
    EXPECT_EQ(seen["a"].load, 0.5);
    EXPECT_TRUE(Watch(watcher, &complete).empty());
    EXPECT_FALSE(complete);
    To(2000);
    Send(stream, {{"a", 1, WORKER_STATUS_UNKNOWN, 0.5}});
    Send(stream, {{"b", 1, WORKER_STATUS_UNKNOWN, 0.25}});
    Send(stream, {{"b", 1, WORKER_STATUS_UNKNOWN, 0.75}});
    seen = Watch(watcher);
    ASSERT_EQ(seen.size(), 2u);
    EXPECT_FALSE(seen["a"].has_load) << "unchanged";
    EXPECT_EQ(seen["a"].heard, kUnix + static_cast<int64_t>(now_));
    EXPECT_EQ(seen["b"].load, 0.75);
    health_stream_closed(health_, stream, now_);
    seen = Watch(watcher);
    EXPECT_EQ(seen["a"].status, WORKER_OFFLINE);
    EXPECT_EQ(seen["a"].reason, "stream broken");
    EXPECT_EQ(seen.count("c"), 0u);
    health_watcher_close(health_, watcher);
}

TEST_F(HealthTest, ARoundEndsAlthoughWorkersGoOnChanging)
{
    Synchronise();
    for (const char *id : {"a", "b", "c"})
        ASSERT_TRUE(Put({id}));
    auto *watcher = health_watcher_open(health_);
    auto *stream = health_stream_open(health_, nullptr);
    health_watcher_begin_round(health_, watcher);
    size_t sent = 0;
    double load = 0;
    for (size_t count; (count = Watch(watcher, nullptr, 1).size()) > 0; sent += count) {
        load += 0.01;
        ASSERT_LT(sent, 100u) << "the round has no end";
        for (const char *id : {"a", "b", "c"})
            Send(stream, {{id, 1, WORKER_STATUS_UNKNOWN, load}});
    }
    EXPECT_EQ(sent, 3u);
    EXPECT_TRUE(health_watcher_is_behind(health_, watcher));
    health_watcher_begin_round(health_, watcher);
    auto seen = Watch(watcher);
    EXPECT_EQ(seen.size(), 3u);
    EXPECT_EQ(seen["a"].load, load) << "the latest comes with the next round";
    EXPECT_FALSE(health_watcher_is_behind(health_, watcher));
    health_stream_closed(health_, stream, now_);
    health_watcher_close(health_, watcher);
}

TEST_F(HealthTest, WatchersDoNotDependOnEachOther)
{
    Synchronise();
    ASSERT_TRUE(Put({"a"}));
    auto *slow = health_watcher_open(health_);
    auto *fast = health_watcher_open(health_);
    auto *stream = health_stream_open(health_, nullptr);
    for (int i = 1; i <= 5; i++) {
        Send(stream, {{"a", 1, WORKER_STATUS_UNKNOWN, i / 10.0}});
        auto seen = Watch(fast);
        EXPECT_EQ(seen["a"].load, i / 10.0);
        EXPECT_TRUE(health_check(health_));
    }
    auto seen = Watch(slow);
    EXPECT_EQ(seen["a"].load, 0.5);
    // A load that the fast one has, and the slow one not, is still sent to the slow one
    // after a heartbeat that did not change it.
    Send(stream, {{"a", 1, WORKER_STATUS_UNKNOWN, 0.9}});
    EXPECT_EQ(Watch(fast)["a"].load, 0.9);
    Send(stream, {{"a", 1, WORKER_STATUS_UNKNOWN, 0.9}});
    EXPECT_FALSE(Watch(fast)["a"].has_load);
    EXPECT_EQ(Watch(slow)["a"].load, 0.9);
    health_watcher_close(health_, slow);
    health_watcher_close(health_, fast);
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, WatchersHearOfRemovals)
{
    Synchronise();
    for (const char *id : {"a", "b"})
        ASSERT_TRUE(Put({id}));
    auto *watcher = health_watcher_open(health_);
    auto *other = health_watcher_open(health_);
    Watch(watcher);
    WatchMessage message(40);
    ASSERT_TRUE(Apply(message.Remove("a", 1)));
    EXPECT_TRUE(health_check(health_));
    auto seen = Watch(watcher);
    ASSERT_EQ(seen.size(), 1u);
    EXPECT_EQ(seen["a"].status, WORKER_REMOVED);
    ASSERT_TRUE(Put({"a", 2})); // back before the other watcher heard of anything
    EXPECT_TRUE(health_check(health_));
    bool complete = false;
    seen = Watch(other, &complete);
    EXPECT_TRUE(complete);
    EXPECT_EQ(seen.size(), 1u) << "it never knew the first one";
    EXPECT_EQ(seen.count("b"), 1u);
    EXPECT_TRUE(Watch(watcher).empty()) << "the registry says that it is back";
    ASSERT_TRUE(Apply(WatchMessage(41).Remove("b", 1)));
    health_watcher_close(health_, watcher);
    EXPECT_TRUE(health_check(health_));
    health_watcher_close(health_, other);
    EXPECT_TRUE(health_check(health_));
}

TEST_F(HealthTest, NothingIsSaidOfARegistrationThatTheRegistrysRecordDoesNotSay)
{
    Synchronise();
    auto *watcher = health_watcher_open(health_);
    Watch(watcher);
    health_urgent_changes(health_);
    for (const char *id : {"heard", "silent", "restored", "gone"})
        ASSERT_TRUE(Put({id}));
    EXPECT_FALSE(health_urgent_changes(health_));
    EXPECT_TRUE(health_watcher_is_behind(health_, watcher)) << "there are more workers";
    Muster__V1__WatchHealthResponse response;
    ASSERT_TRUE(health_watcher_fill(health_, watcher, 100, now_, kUnix, &response));
    EXPECT_EQ(response.n_workers, 0u);
    EXPECT_FALSE(health_watcher_is_behind(health_, watcher));
    EXPECT_FALSE(health_watcher_fill(health_, watcher, 100, now_, kUnix, &response));
    EXPECT_TRUE(health_check(health_));

    auto *late = health_watcher_open(health_);
    bool complete = false;
    EXPECT_EQ(Watch(late, &complete).size(), 4u) << "who begins to watch hears of all";
    EXPECT_TRUE(complete);

    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"heard", 1, WORKER_STATUS_UNKNOWN, 0.5}});
    auto seen = Watch(watcher);
    ASSERT_EQ(seen.size(), 1u);
    EXPECT_EQ(seen["heard"].load, 0.5);

    // A registry that restarts knows only that it had a worker.
    health_watch_begin(health_);
    WatchMessage restart(30);
    ASSERT_TRUE(Apply(restart.Begin()
                          .Put({"heard"})
                          .Put({"silent"})
                          .Put({"restored", 1, WORKER_RECONNECTING})
                          .Put({"gone"})
                          .Complete()));
    EXPECT_TRUE(health_urgent_changes(health_));
    seen = Watch(watcher);
    ASSERT_EQ(seen.size(), 1u);
    EXPECT_EQ(seen["restored"].status, WORKER_ONLINE);

    WatchMessage removal(31);
    ASSERT_TRUE(Apply(removal.Remove("gone", 1)));
    Watch(watcher);
    To(90000);
    seen = Watch(watcher);
    EXPECT_EQ(seen["silent"].status, WORKER_DEGRADED);
    EXPECT_EQ(seen.count("gone"), 0u);
    EXPECT_TRUE(health_check(health_));
    health_stream_closed(health_, stream, now_);
    health_watcher_close(health_, watcher);
    health_watcher_close(health_, late);
}

TEST_F(HealthTest, WhatTheRecordOfARegistrationDoesNotSayIsSaid)
{
    Synchronise();
    auto *watcher = health_watcher_open(health_);
    Watch(watcher);
    health_urgent_changes(health_);
    ASSERT_TRUE(Put({"restored", 1, WORKER_RECONNECTING}));
    EXPECT_TRUE(health_urgent_changes(health_));
    EXPECT_EQ(Watch(watcher)["restored"].status, WORKER_RECONNECTING);
    ASSERT_TRUE(Put({"degraded", 1, WORKER_DEGRADED}));
    EXPECT_EQ(Watch(watcher)["degraded"].status, WORKER_ONLINE) << "it has just registered";
    ASSERT_TRUE(Put({"restored", 2}));
    EXPECT_EQ(Watch(watcher)["restored"].incarnation, 2u) << "of another registration it was told";
    health_watcher_close(health_, watcher);
}

TEST_F(HealthTest, ASnapshotIsNotCompleteBeforeTheRegistrysIs)
{
    auto *watcher = health_watcher_open(health_);
    bool complete = true;
    Watch(watcher, &complete);
    EXPECT_FALSE(complete);
    WatchMessage first(0);
    ASSERT_TRUE(Apply(first.Begin().Put({"a"})));
    EXPECT_EQ(Watch(watcher, &complete).size(), 1u);
    EXPECT_FALSE(complete);
    ASSERT_TRUE(Apply(WatchMessage(3).Complete()));
    EXPECT_TRUE(health_urgent_changes(health_));
    Watch(watcher, &complete);
    EXPECT_TRUE(complete);
    health_watcher_close(health_, watcher);
}

TEST_F(HealthTest, TheNumberOfWatchersIsLimitedAndPlacesAreUsedAgain)
{
    Synchronise();
    ASSERT_TRUE(Put({"a"}));
    std::vector<health_watcher *> watchers;
    for (int i = 0; i < HEALTH_WATCHERS_MAX; i++)
        watchers.push_back(health_watcher_open(health_));
    EXPECT_EQ(health_watcher_open(health_), nullptr);
    Watch(watchers[5]);
    health_watcher_close(health_, watchers[5]);
    watchers[5] = health_watcher_open(health_);
    ASSERT_NE(watchers[5], nullptr);
    bool complete = false;
    EXPECT_EQ(Watch(watchers[5], &complete).size(), 1u);
    EXPECT_TRUE(complete);
    for (auto *watcher : watchers)
        health_watcher_close(health_, watcher);
}

TEST_F(HealthTest, AWatcherThatDoesNotReadIsFoundOut)
{
    Synchronise();
    auto *stuck = health_watcher_open(health_);
    auto *reader = health_watcher_open(health_);
    for (uint64_t i = 0; i <= 10000; i++) {
        EXPECT_FALSE(health_watcher_is_too_slow(health_, stuck));
        ASSERT_TRUE(Put({"w", i + 1}));
        ASSERT_TRUE(Apply(WatchMessage(++revision_).Remove("w", i + 1)));
        Watch(reader);
    }
    EXPECT_TRUE(health_watcher_is_too_slow(health_, stuck));
    EXPECT_FALSE(health_watcher_is_too_slow(health_, reader));
    health_watcher_close(health_, stuck);
    EXPECT_FALSE(health_watcher_is_too_slow(health_, reader));
    health_watcher_close(health_, reader);
}

TEST_F(HealthTest, ALongLoadSurvivesPacking)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *watcher = health_watcher_open(health_);
    auto *stream = health_stream_open(health_, nullptr);
    for (size_t bytes : {1u, 126u, 127u, 128u, 300u, 20000u, 70000u, 5u}) {
        std::string specialization(bytes, 's');
        std::string id = "w";
        Muster__V1__Load load = MUSTER__V1__LOAD__INIT;
        load.specialization = specialization.data();
        Muster__V1__Heartbeat heartbeat = MUSTER__V1__HEARTBEAT__INIT;
        heartbeat.worker_id = id.data();
        heartbeat.load = &load;
        Muster__V1__Heartbeat *pointer = &heartbeat;
        Muster__V1__HeartbeatRequest request = MUSTER__V1__HEARTBEAT_REQUEST__INIT;
        request.n_heartbeats = 1;
        request.heartbeats = &pointer;
        request.sequence = ++sequence_;
        health_stream_message(health_, stream, &request, now_);
        Muster__V1__WatchHealthResponse response;
        ASSERT_TRUE(health_watcher_fill(health_, watcher, 10, now_, kUnix, &response));
        std::vector<uint8_t> packed(muster__v1__watch_health_response__get_packed_size(&response));
        muster__v1__watch_health_response__pack(&response, packed.data());
        auto *unpacked = muster__v1__watch_health_response__unpack(nullptr, packed.size(), packed.data());
        ASSERT_NE(unpacked, nullptr);
        ASSERT_EQ(unpacked->n_workers, 1u);
        EXPECT_EQ(unpacked->heartbeats_total, sequence_);
        EXPECT_EQ(unpacked->heartbeat_interval_ms, 30000u); // of the 90 s that this health is patient
        if (bytes == 70000u)                                // refused: too long to be a load
            EXPECT_EQ(unpacked->workers[0]->load, nullptr);
        else
            EXPECT_EQ(std::string(unpacked->workers[0]->load->specialization), specialization);
        muster__v1__watch_health_response__free_unpacked(unpacked, nullptr);
    }
    health_stream_closed(health_, stream, now_);
    health_watcher_close(health_, watcher);
}

} // namespace health_test
