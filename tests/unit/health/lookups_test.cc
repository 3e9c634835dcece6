// The core of muster-health: ids that it does not know.

#include "tests/unit/health/health_fixture.h"

namespace health_test
{

// --- Unknown ids ---

TEST_F(HealthTest, AnUnknownIdIsAskedForBeforeItIsToldToRegisterAgain)
{
    Synchronise();
    ASSERT_TRUE(Put({"known"}));
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"known"}, {"ghost"}, {"late"}});
    Send(stream, {{"known"}});
    Answer answer;
    EXPECT_FALSE(Take(stream, &answer)) << "nothing is acknowledged before the registry answered";
    EXPECT_FALSE(health_stream_is_settled(stream));
    EXPECT_EQ(Lookup(), (std::vector<std::string>{"ghost", "late"}));
    EXPECT_EQ(Lookup(), std::vector<std::string>{}) << "one question at a time";
    AnswerLookup({{"late", 2}}, 100);
    EXPECT_TRUE(health_stream_is_settled(stream));
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_EQ(answer.acknowledged, 2u);
    ASSERT_EQ(answer.commands.size(), 2u);
    EXPECT_EQ(answer.commands[0].type, MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_REGISTER_AGAIN);
    EXPECT_EQ(answer.commands[0].worker, "ghost");
    EXPECT_EQ(answer.commands[0].index, 1u);
    EXPECT_EQ(answer.commands[0].sequence, 1u);
    EXPECT_EQ(answer.commands[1].type, MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_STALE_INCARNATION);
    EXPECT_EQ(Status("late"), WORKER_ONLINE);
    EXPECT_EQ(Status("ghost"), WORKER_STATUS_UNKNOWN);
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, ARegistrationThatTheRegistryLostIsMadeAgain)
{
    Synchronise();
    ASSERT_TRUE(Put({"w", 3}));
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w", 7}});
    ASSERT_EQ(Lookup().size(), 1u);
    AnswerLookup({{"w", 3}}, revision_);
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    ASSERT_EQ(answer.commands.size(), 1u);
    EXPECT_EQ(answer.commands[0].type, MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_REGISTER_AGAIN);
    // With a watch that is ahead of the answer what the watch has brought decides, which is the same.
    Send(stream, {{"w", 7}});
    ASSERT_EQ(Lookup().size(), 1u);
    AnswerLookup({{"w", 2}}, revision_ - 1);
    ASSERT_TRUE(Take(stream, &answer));
    ASSERT_EQ(answer.commands.size(), 1u);
    EXPECT_EQ(answer.commands[0].type, MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_REGISTER_AGAIN);
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, WhenTheRegistryCannotBeAskedTheHeartbeatIsJustTaken)
{
    Synchronise();
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"ghost"}});
    ASSERT_EQ(Lookup().size(), 1u);
    health_lookup_answered(health_, nullptr, now_);
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_EQ(answer.acknowledged, 1u);
    EXPECT_TRUE(answer.commands.empty());
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, AWorkerThatConnectedWhileTheRegistryWasAwayIsAskedForAgain)
{
    auto *direct = health_stream_open(health_, nullptr);
    auto *gateway = health_stream_open(health_, nullptr);
    Send(direct, {{"w"}, {"ghost"}}, false, 1);
    Send(gateway, {{"other"}}, true, 1);
    ASSERT_EQ(Lookup().size(), 3u);
    health_lookup_answered(health_, nullptr, now_);
    Answer answer;
    ASSERT_TRUE(Take(direct, &answer));
    EXPECT_EQ(answer.acknowledged, 1u);
    EXPECT_TRUE(health_stream_is_settled(direct));
    EXPECT_EQ(Lookup().size(), 0u);
    EXPECT_TRUE(health_check(health_));
    To(499);
    EXPECT_EQ(Lookup().size(), 0u);
    To(500);
    WatchMessage message(9); // the watch may be there first
    ASSERT_TRUE(Apply(message.Begin().Put({"w", 1, WORKER_RECONNECTING}).Complete()));
    EXPECT_EQ(Lookup(), (std::vector<std::string>{"w", "ghost"}));
    AnswerLookup({{"w", 1, WORKER_RECONNECTING}}, 9);
    EXPECT_EQ(Status("w"), WORKER_ONLINE);
    ASSERT_TRUE(Take(direct, &answer));
    ASSERT_EQ(answer.commands.size(), 2u); // "w" is told its assignment, as after a restart of health
    EXPECT_EQ(answer.commands[1].worker, "ghost");
    EXPECT_EQ(answer.commands[1].sequence, 0u);
    EXPECT_EQ(answer.commands[1].type, MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_REGISTER_AGAIN);
    health_stream_closed(health_, direct, now_);
    EXPECT_EQ(Status("w"), WORKER_OFFLINE);
    health_stream_closed(health_, gateway, now_);
}

TEST_F(HealthTest, AReleasedLookupEndsWithItsStream)
{
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w"}});
    ASSERT_EQ(Lookup().size(), 1u);
    health_lookup_answered(health_, nullptr, now_);
    health_stream_closed(health_, stream, now_);
    To(500);
    EXPECT_EQ(Lookup().size(), 0u);
    EXPECT_EQ(health_next_ms(health_), UINT64_MAX);
}

TEST_F(HealthTest, WhenTheWatchIsAheadOfAnAnswerItDecides)
{
    Synchronise();
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"gone"}, {"absent"}});
    ASSERT_EQ(Lookup().size(), 2u);
    WatchMessage message(50);
    ASSERT_TRUE(Apply(message.Remove("gone", 1)));
    AnswerLookup({{"gone", 1}}, 49);
    EXPECT_EQ(Status("gone"), WORKER_STATUS_UNKNOWN) << "the answer is older than its removal";
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    ASSERT_EQ(answer.commands.size(), 2u) << "neither is on the roll that health knows";
    for (const auto &command : answer.commands)
        EXPECT_EQ(command.type, MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_REGISTER_AGAIN);
    // But while a snapshot of a later roll is only half there, nobody can tell.
    Send(stream, {{"later"}}, true);
    ASSERT_EQ(Lookup().size(), 1u);
    WatchMessage beginning(60);
    ASSERT_TRUE(Apply(beginning.Begin()));
    AnswerLookup({}, 49);
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_TRUE(answer.commands.empty());
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, TheWatchMayBringTheWorkerWhileTheRegistryIsAsked)
{
    Synchronise();
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w"}});
    ASSERT_EQ(Lookup().size(), 1u);
    ASSERT_TRUE(Put({"w"}));
    AnswerLookup({}, revision_);
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_TRUE(answer.commands.empty());
    health_stream_closed(health_, stream, now_);
    EXPECT_EQ(Status("w"), WORKER_OFFLINE) << "its stream was its source";
}

TEST_F(HealthTest, AStreamMayGoWhileItsIdsAreAskedFor)
{
    Synchronise();
    auto *first = health_stream_open(health_, nullptr);
    auto *second = health_stream_open(health_, nullptr);
    Send(first, {{"a"}});
    ASSERT_EQ(Lookup().size(), 1u);
    Send(second, {{"b"}});
    health_stream_closed(health_, first, now_);
    health_stream_closed(health_, second, now_);
    AnswerLookup({{"a"}}, 100);
    EXPECT_EQ(Lookup().size(), 0u);
}

TEST_F(HealthTest, LookupsThatWaitAreBounded)
{
    Synchronise();
    auto *stream = health_stream_open(health_, nullptr);
    std::vector<Beat> beats(HEALTH_MESSAGE_HEARTBEATS_MAX, Beat{"ghost"});
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(Send(stream, beats), HEALTH_MESSAGE_TAKEN);
    size_t asked = 0;
    for (size_t n = Lookup().size(); n != 0; n = Lookup().size()) {
        EXPECT_LE(n, static_cast<size_t>(HEALTH_LOOKUP_IDS_MAX));
        asked += n;
        AnswerLookup({}, 100);
    }
    EXPECT_EQ(asked, static_cast<size_t>(HEALTH_LOOKUPS_WAITING_MAX));
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_EQ(answer.acknowledged, 3u);
    health_stream_closed(health_, stream, now_);
}

TEST_F(HealthTest, AnImpossibleIdIsNotAskedFor)
{
    Synchronise();
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{""}, {std::string(257, 'x')}});
    EXPECT_EQ(Lookup().size(), 0u);
    Answer answer;
    ASSERT_TRUE(Take(stream, &answer));
    EXPECT_EQ(answer.commands.size(), 2u);
    health_stream_closed(health_, stream, now_);
}

} // namespace health_test
