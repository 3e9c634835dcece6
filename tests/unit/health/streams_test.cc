// The core of muster-health: each transition at its exact millisecond, streams that break,
// acknowledgements and commands.

#include "tests/unit/health/health_fixture.h"

namespace health_test
{

// --- Leases ---

TEST_F(HealthTest, SilenceDegradesAfter90SecondsAndRemovesAfter120)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    To(89999);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    To(90000);
    EXPECT_EQ(Status("w"), WORKER_DEGRADED);
    To(119999);
    EXPECT_EQ(Status("w"), WORKER_DEGRADED);
    To(120000);
    EXPECT_EQ(Status("w"), WORKER_REMOVED);
    EXPECT_EQ(health_next_ms(health_), UINT64_MAX);
}

TEST_F(HealthTest, AHeartbeatRenewsTheLeaseWithoutMovingTheTimer)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *stream = health_stream_open(health_, nullptr);
    To(60000);
    uint64_t before = health_next_ms(health_);
    Send(stream, {{"w"}});
    EXPECT_EQ(health_next_ms(health_), before);
    To(149999);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    To(150000);
    EXPECT_EQ(Status("w"), WORKER_DEGRADED);
    Send(stream, {{"w"}});
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    To(240000);
    EXPECT_EQ(Status("w"), WORKER_DEGRADED);
    To(270000);
    EXPECT_EQ(Status("w"), WORKER_REMOVED);
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, ManyLeasesEndEachAtItsOwnTimeInOneAdvance)
{
    Synchronise();
    ASSERT_TRUE(Put({"a"}));
    To(10);
    ASSERT_TRUE(Put({"b"}));
    now_ = kStart + 120009;
    health_advance(health_, now_);
    EXPECT_EQ(Status("a"), WORKER_REMOVED);
    EXPECT_EQ(Status("b"), WORKER_DEGRADED);
}

TEST_F(HealthTest, WhatTheWorkerSaysOfItselfCounts)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w", 1, WORKER_DEGRADED}});
    EXPECT_EQ(Status("w"), WORKER_DEGRADED);
    Send(stream, {{"w", 1, WORKER_DRAINING}});
    EXPECT_EQ(Status("w"), WORKER_DRAINING);
    Send(stream, {{"w", 1, WORKER_OFFLINE}}); // not for a worker to say
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    health_stream_closed(health_, stream, now_);
}

// --- Streams that break ---

TEST_F(HealthTest, ABrokenStreamTakesTheWorkerOutAtOnceAndOffTheRollAfterTheGrace)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *stream = health_stream_open(health_, nullptr);
    To(1000);
    Send(stream, {{"w"}});
    To(3000);
    health_urgent_changes(health_);
    health_stream_closed(health_, stream, now_);
    EXPECT_EQ(Status("w"), WORKER_OFFLINE);
    EXPECT_TRUE(health_urgent_changes(health_));
    To(7999);
    EXPECT_EQ(Status("w"), WORKER_OFFLINE);
    To(8000);
    EXPECT_EQ(Status("w"), WORKER_REMOVED);
}

TEST_F(HealthTest, AnyHeartbeatEndsTheGrace)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *first = health_stream_open(health_, nullptr);
    Send(first, {{"w"}});
    health_stream_closed(health_, first, now_);
    To(4999);
    auto *gateway = health_stream_open(health_, nullptr);
    sequence_ = 0;
    Send(gateway, {{"w"}}, true);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    To(20000);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    health_stream_closed(health_, gateway, now_); // it only spoke for the worker
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    To(94998);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    To(94999);
    EXPECT_EQ(Status("w"), WORKER_DEGRADED);
}

TEST_F(HealthTest, AnOldStreamThatBreaksDoesNotMatterToAWorkerHeardElsewhere)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *old_stream = health_stream_open(health_, nullptr);
    auto *new_stream = health_stream_open(health_, nullptr);
    Send(old_stream, {{"w"}});
    Send(new_stream, {{"w"}});
    health_stream_closed(health_, old_stream, now_);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    health_stream_closed(health_, new_stream, now_);
    EXPECT_EQ(Status("w"), WORKER_OFFLINE);
}

TEST_F(HealthTest, TheOldStreamOfAWorkerThatRegisteredAgainDoesNotMatter)
{
    Synchronise();
    ASSERT_TRUE(Put({"w", 1}));
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w", 1}});
    ASSERT_TRUE(Put({"w", 2}));
    health_stream_closed(health_, stream, now_);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
}

TEST_F(HealthTest, SilenceBeforeTheBreakCountsToo)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w"}});
    To(118000);
    health_stream_closed(health_, stream, now_);
    EXPECT_EQ(Status("w"), WORKER_OFFLINE);
    To(120000); // not 123000
    EXPECT_EQ(Status("w"), WORKER_REMOVED);
}

// --- Acknowledgements and commands ---

TEST_F(HealthTest, AcknowledgementsAreGatheredAndNeverRepeated)
{
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *stream = health_stream_open(health_, this);
    EXPECT_EQ(health_stream_user(stream), this);
    Send(stream, {{"w"}}, false, 3);
    Send(stream, {{"w"}}, false, 7);
    EXPECT_EQ(health_next_ready_stream(health_), stream);
    EXPECT_EQ(health_next_ready_stream(health_), nullptr);
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_EQ(answer.acknowledged, 7u);
    EXPECT_TRUE(answer.commands.empty());
    EXPECT_FALSE(Take(stream, &answer));
    EXPECT_EQ(Send(stream, {{"w"}}, false, 7), HEALTH_MESSAGE_BAD_SEQUENCE);
    EXPECT_EQ(Send(stream, std::vector<Beat>(HEALTH_MESSAGE_HEARTBEATS_MAX + 1, Beat{"w"}), false, 8),
              HEALTH_MESSAGE_TOO_MANY);
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, AStaleIncarnationIsToldSoAndDoesNotRenew)
{
    Synchronise();
    ASSERT_TRUE(Put({"w", 3}));
    auto *stream = health_stream_open(health_, nullptr);
    To(50000);
    Send(stream, {{"x", 0}, {"w", 2}, {"w", 0}});
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    ASSERT_EQ(answer.commands.size(), 1u);
    EXPECT_EQ(answer.commands[0].type, MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_STALE_INCARNATION);
    EXPECT_EQ(answer.commands[0].sequence, 1u);
    EXPECT_EQ(answer.commands[0].index, 1u);
    EXPECT_EQ(answer.commands[0].worker, "w");
    EXPECT_EQ(answer.acknowledged, 0u); // "x" waits for the registry
    EXPECT_EQ(health_count(health_).stale, 1u);
    To(139999); // incarnation 0 was accepted at 50,000
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    To(140000);
    EXPECT_EQ(Status("w"), WORKER_DEGRADED);
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, TwoWorkersWithOneIdAreTheReasonUntilOneOfThemIsGone)
{
    Synchronise();
    auto *watcher = health_watcher_open(health_);
    ASSERT_TRUE(Put({"w", 1}));
    auto *one = health_stream_open(health_, nullptr), *other = health_stream_open(health_, nullptr);
    uint64_t sequence = 0;
    auto send = [&](health_stream *stream, uint64_t incarnation) {
        return Send(stream, {{"w", incarnation}}, false, ++sequence);
    };
    send(one, 1);
    ASSERT_TRUE(Put({"w", 2}));
    send(one, 1); // may have been on its way when it registered again
    (void)Report();
    EXPECT_EQ(Watch(watcher)["w"].reason, "");
    send(other, 2);
    To(1000);
    send(one, 1);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    EXPECT_EQ(Report().count("w"), 1u) << "for the list and the events";
    Seen seen = Watch(watcher)["w"];
    EXPECT_EQ(seen.status, WORKER_ONLINE);
    EXPECT_NE(seen.reason.find("another worker uses this id"), std::string::npos) << seen.reason;
    // They register in turn: it stays the reason.
    ASSERT_TRUE(Put({"w", 3}));
    EXPECT_EQ(Report().count("w"), 1u) << "of a new registration the registry knows no reason";
    send(one, 3);
    send(other, 2);
    EXPECT_NE(Watch(watcher)["w"].reason, "");
    // One ends. However often the other one is heard, that takes some minutes to be forgotten.
    uint64_t last = now_ - kStart;
    for (uint64_t ms = 0; ms < 120000; ms += 100) {
        To(last + ms);
        send(one, 3);
    }
    EXPECT_EQ(Report().count("w"), 0u);
    for (uint64_t ms = 120000; ms < 320000; ms += 30000) {
        To(last + ms);
        send(one, 3);
    }
    EXPECT_EQ(Report().count("w"), 1u);
    EXPECT_EQ(Watch(watcher)["w"].reason, "");
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    health_stream_closed(health_, one, now_);
    health_stream_closed(health_, other, now_);
    health_watcher_close(health_, watcher);
}

TEST_F(HealthTest, ANewAssignmentGoesOverTheStreamOnItsOwn)
{
    Synchronise();
    ASSERT_TRUE(Put({"w", 1, WORKER_ONLINE, {"ocr"}}));
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w"}});
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_TRUE(answer.commands.empty()) << "the registration's answer said it already";
    ASSERT_TRUE(Put({"w", 1, WORKER_ONLINE, {"ocr", "llm"}}));
    ASSERT_EQ(health_next_ready_stream(health_), stream);
    ASSERT_TRUE(Take(stream, &answer));
    ASSERT_EQ(answer.commands.size(), 1u);
    EXPECT_EQ(answer.commands[0].sequence, 0u);
    EXPECT_EQ(answer.commands[0].type, MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_ASSIGNMENT);
    EXPECT_EQ(answer.commands[0].assigned, (std::vector<std::string>{"ocr", "llm"}));
    EXPECT_EQ(answer.acknowledged, 1u);
    EXPECT_FALSE(Take(stream, &answer));
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, WithoutAStreamTheAssignmentWaitsForTheNextHeartbeat)
{
    Synchronise();
    ASSERT_TRUE(Put({"w", 1, WORKER_ONLINE, {"ocr"}}));
    auto *gateway = health_stream_open(health_, nullptr);
    Send(gateway, {{"w"}}, true);
    Answer answer;
    ASSERT_TRUE(Take(gateway, &answer));
    ASSERT_TRUE(Put({"w", 1, WORKER_ONLINE, {"llm"}}));
    EXPECT_FALSE(Take(gateway, &answer));
    Send(gateway, {{"w"}}, true);
    ASSERT_TRUE(Take(gateway, &answer));
    ASSERT_EQ(answer.commands.size(), 1u);
    EXPECT_EQ(answer.commands[0].sequence, 2u);
    EXPECT_EQ(answer.commands[0].assigned, (std::vector<std::string>{"llm"}));
    Send(gateway, {{"w"}}, true);
    ASSERT_TRUE(Take(gateway, &answer));
    EXPECT_TRUE(answer.commands.empty());
    health_stream_closed(health_, gateway, now_);
}

TEST_F(HealthTest, AnAssignmentWhoseAnswerWasMissedIsToldAgain)
{
    Synchronise();
    ASSERT_TRUE(Put({"w", 1, WORKER_ONLINE, {"ocr"}}));
    auto *gateway = health_stream_open(health_, nullptr);
    Beat beat{"w"}, missed{"w"};
    missed.answer_missed = true;
    ASSERT_TRUE(Put({"w", 1, WORKER_ONLINE, {"llm"}}));
    Send(gateway, {missed}, true);
    Answer answer;
    ASSERT_TRUE(Take(gateway, &answer));
    EXPECT_EQ(answer.commands.size(), 1u) << "nobody needs to be asked what it should run";
    // That answer does not arrive; neither does the registry's, at first.
    Send(gateway, {missed}, true);
    EXPECT_FALSE(Take(gateway, &answer)) << "the registry is asked first";
    EXPECT_EQ(Lookup(), (std::vector<std::string>{"w"}));
    health_lookup_answered(health_, nullptr, now_);
    ASSERT_TRUE(Take(gateway, &answer));
    EXPECT_TRUE(answer.commands.empty());
    Send(gateway, {beat}, true);
    EXPECT_EQ(Lookup(), (std::vector<std::string>{"w"}));
    AnswerLookup({{"w", 1, WORKER_ONLINE, {"llm"}}}, revision_);
    ASSERT_TRUE(Take(gateway, &answer));
    ASSERT_EQ(answer.commands.size(), 1u);
    EXPECT_EQ(answer.commands[0].sequence, sequence_);
    EXPECT_EQ(answer.commands[0].assigned, (std::vector<std::string>{"llm"}));
    Send(gateway, {beat}, true);
    ASSERT_TRUE(Take(gateway, &answer));
    EXPECT_TRUE(answer.commands.empty());
    health_stream_closed(health_, gateway, now_);
}

TEST_F(HealthTest, AnAssignmentThatMayBeLostWithItsStreamIsToldAgain)
{
    Synchronise();
    ASSERT_TRUE(Put({"w", 1, WORKER_ONLINE, {"ocr"}}));
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w"}});
    ASSERT_TRUE(Put({"w", 1, WORKER_ONLINE, {"llm"}}));
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_EQ(answer.commands.size(), 1u);
    health_stream_closed(health_, stream, now_);
    stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w"}}, false, 1);
    ASSERT_TRUE(Take(stream, &answer));
    ASSERT_EQ(answer.commands.size(), 1u);
    EXPECT_EQ(answer.commands[0].assigned, (std::vector<std::string>{"llm"}));
    EXPECT_FALSE(Take(stream, &answer)); // it went out
    health_stream_closed(health_, stream, now_);
    stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w"}}, false, 1);
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_TRUE(answer.commands.empty());
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, DrainAndUndrainAreToldUntilTheWorkerSaysSo)
{
    constexpr auto kDrain = MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_DRAIN;
    constexpr auto kUndrain = MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_UNDRAIN;
    Synchronise();
    ASSERT_TRUE(Put({"w"}));
    auto *stream = health_stream_open(health_, nullptr);
    auto told = [&]() -> std::vector<Muster__V1__WorkerCommandType> {
        Answer answer;
        std::vector<Muster__V1__WorkerCommandType> types;
        Take(stream, &answer);
        for (const auto &command : answer.commands)
            types.push_back(command.type);
        return types;
    };
    using Types = std::vector<Muster__V1__WorkerCommandType>;
    Send(stream, {{"w"}});
    EXPECT_EQ(told(), Types{});
    Send(stream, {{"w", 1, WORKER_DRAINING}}); // of its own accord
    EXPECT_EQ(told(), Types{});
    Send(stream, {{"w"}});
    EXPECT_EQ(told(), Types{});
    ASSERT_TRUE(Put({"w", 1, WORKER_ONLINE, {}, true}));
    EXPECT_EQ(told(), Types{kDrain}); // at once, over the stream
    Send(stream, {{"w"}});
    EXPECT_EQ(told(), Types{kDrain}) << "it does not seem to know";
    Send(stream, {{"w", 1, WORKER_DRAINING}});
    EXPECT_EQ(told(), Types{});
    ASSERT_TRUE(Put({"w", 1, WORKER_DRAINING, {}, false}));
    EXPECT_EQ(told(), Types{kUndrain});
    Send(stream, {{"w", 1, WORKER_DRAINING}});
    EXPECT_EQ(told(), Types{kUndrain});
    Send(stream, {{"w"}});
    EXPECT_EQ(told(), Types{});
    // One that registers again and still believes that it is to drain is told that it is not.
    ASSERT_TRUE(Put({"w", 2}));
    Send(stream, {{"w", 2, WORKER_DRAINING}});
    EXPECT_EQ(told(), Types{kUndrain});
    // And one that is to drain still is.
    ASSERT_TRUE(Put({"w", 3, WORKER_ONLINE, {}, true}));
    Send(stream, {{"w", 3}});
    EXPECT_EQ(told(), Types{kDrain});
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, AfterARestartOfHealthTheAssignmentIsToldOnce)
{
    WatchMessage message(9);
    ASSERT_TRUE(Apply(message.Begin().Put({"w", 4, WORKER_ONLINE, {"ocr"}}).Complete()));
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w", 4}});
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    ASSERT_EQ(answer.commands.size(), 1u);
    EXPECT_EQ(answer.commands[0].assigned, (std::vector<std::string>{"ocr"}));
    Send(stream, {{"w", 4}});
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_TRUE(answer.commands.empty());
    health_stream_closed(health_, stream, now_);
}

} // namespace health_test
