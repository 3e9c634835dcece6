/* The agent's decisions, event by event, in simulated time. */

#include <gtest/gtest.h>

#include <vector>

extern "C" {
#include "services/worker/agent.h"
}

namespace
{

using Actions = std::vector<agent_action>;

class Agent : public testing::Test
{
  protected:
    void SetUp() override
    {
        random_seed(&random, 7);
        agent_config config = AGENT_CONFIG_DEFAULT;
        agent_init(&agent, &config, &random, now);
    }

    Actions drain()
    {
        Actions actions;
        for (agent_action action; (action = agent_next_action(&agent)) != AGENT_ACTION_NONE;)
            actions.push_back(action);
        return actions;
    }

    /* Lets time pass to the next thing to do, and does it. */
    Actions next()
    {
        EXPECT_NE(agent_next_ms(&agent), UINT64_MAX);
        now = std::max(now, agent_next_ms(&agent));
        agent_tick(&agent, now);
        return drain();
    }

    Actions at(uint64_t time)
    {
        now = time;
        agent_tick(&agent, now);
        return drain();
    }

    void register_with_stream(uint64_t incarnation = 1)
    {
        ASSERT_EQ(next(), Actions{AGENT_ACTION_REGISTER});
        agent_registered(&agent, now, incarnation, 30000, true, false);
    }

    /* Registered, stream connected and acknowledged. */
    void prove_stream()
    {
        register_with_stream();
        ASSERT_EQ(drain(), Actions{AGENT_ACTION_OPEN_STREAM});
        agent_stream_opened(&agent, now);
        ASSERT_EQ(drain(), Actions{AGENT_ACTION_BEAT_STREAM});
        agent_stream_acknowledged(&agent, now, 1);
        ASSERT_EQ(agent.stream, AGENT_STREAM_PROVEN);
    }

    uint64_t now = 1000;
    struct random random;
    struct agent agent;
};

TEST_F(Agent, RegistersAtOnce)
{
    EXPECT_EQ(agent_next_ms(&agent), now);
    EXPECT_EQ(next(), Actions{AGENT_ACTION_REGISTER});
    EXPECT_EQ(agent.state, AGENT_REGISTERING);
    EXPECT_EQ(agent_next_ms(&agent), UINT64_MAX) << "one registration at a time";
}

TEST_F(Agent, TriesForEverWhileTheCoordinatorIsAway)
{
    uint64_t longest = 0;
    for (int i = 0; i < 50; i++) {
        ASSERT_EQ(next(), Actions{AGENT_ACTION_REGISTER});
        agent_registration_failed(&agent, now, AGENT_REGISTRATION_UNREACHABLE);
        uint64_t wait = agent_next_ms(&agent) - now;
        EXPECT_GE(wait, 500u);
        EXPECT_LE(wait, 60000u);
        if (i == 0) {
            EXPECT_LE(wait, 1000u);
        }
        longest = std::max(longest, wait);
    }
    EXPECT_GT(longest, 30000u);
}

TEST_F(Agent, WaitsLongWhenRefused)
{
    next();
    agent_registration_failed(&agent, now, AGENT_REGISTRATION_REFUSED);
    EXPECT_GE(agent_next_ms(&agent) - now, 15000u);
}

TEST_F(Agent, BeatsOverHttpWithoutAStream)
{
    next();
    agent_registered(&agent, now, 1, 30000, false, false);
    EXPECT_TRUE(drain().empty());
    for (int i = 0; i < 20; i++) {
        uint64_t before = now;
        EXPECT_EQ(next(), Actions{AGENT_ACTION_BEAT_HTTP});
        agent_http_answered(&agent, now, 1, AGENT_HTTP_TAKEN);
        if (i > 0) {
            EXPECT_GE(now - before, 27000u);
            EXPECT_LE(now - before, 33000u);
        }
    }
}

TEST_F(Agent, BeatsOverTheStreamOnceItIsProven)
{
    register_with_stream();
    EXPECT_EQ(drain(), Actions{AGENT_ACTION_OPEN_STREAM});
    EXPECT_EQ(next(), Actions{AGENT_ACTION_BEAT_HTTP}) << "nothing is known of the stream yet";
    agent_http_answered(&agent, now, 1, AGENT_HTTP_TAKEN);
    agent_stream_opened(&agent, now);
    EXPECT_EQ(drain(), Actions{AGENT_ACTION_BEAT_STREAM});
    EXPECT_EQ(agent.sequence, 1u);
    EXPECT_EQ(next(), Actions{AGENT_ACTION_BEAT_HTTP}) << "not acknowledged";
    agent_http_answered(&agent, now, 1, AGENT_HTTP_TAKEN);
    agent_stream_acknowledged(&agent, now, 1);
    EXPECT_EQ(next(), Actions{AGENT_ACTION_BEAT_STREAM});
    EXPECT_EQ(agent.sequence, 2u);
}

TEST_F(Agent, AnAcknowledgementOfWhatWasNotSentProvesNothing)
{
    register_with_stream();
    agent_stream_opened(&agent, now);
    agent_stream_acknowledged(&agent, now, 0);
    agent_stream_acknowledged(&agent, now, 99);
    EXPECT_EQ(agent.stream, AGENT_STREAM_OPEN);
}

TEST_F(Agent, SpeaksUpOverHttpWhenTheStreamBreaksAndReturns)
{
    prove_stream();
    now += 5000;
    agent_stream_closed(&agent, now);
    EXPECT_EQ(drain(), Actions{AGENT_ACTION_BEAT_HTTP});
    agent_http_answered(&agent, now, 1, AGENT_HTTP_TAKEN);
    EXPECT_LE(agent_next_ms(&agent) - now, 250u);
    EXPECT_EQ(next(), Actions{AGENT_ACTION_OPEN_STREAM});
    agent_stream_opened(&agent, now);
    EXPECT_EQ(drain(), Actions{AGENT_ACTION_BEAT_STREAM});
    EXPECT_EQ(agent.sequence, 1u) << "a new stream counts from 1";
    agent_stream_acknowledged(&agent, now, 1);
    EXPECT_EQ(next(), Actions{AGENT_ACTION_BEAT_STREAM});
}

TEST_F(Agent, AStreamThatIsNeverThereIsTriedWithBackOffWhileHttpBeats)
{
    register_with_stream();
    drain();
    uint64_t beats = 0, attempts = 0, until = now + 600000;
    agent_stream_closed(&agent, now);
    while (now < until) {
        for (agent_action action : next()) {
            if (action == AGENT_ACTION_BEAT_HTTP) {
                beats++;
                agent_http_answered(&agent, now, 1, AGENT_HTTP_TAKEN);
            } else {
                ASSERT_EQ(action, AGENT_ACTION_OPEN_STREAM);
                attempts++;
                agent_stream_closed(&agent, now);
            }
        }
    }
    EXPECT_GE(beats, 18u);
    EXPECT_LE(beats, 23u);
    EXPECT_GE(attempts, 20u);
    EXPECT_LE(attempts, 60u);
}

TEST_F(Agent, FailedHttpBeatsAreRepeatedSoonerThanTheInterval)
{
    next();
    agent_registered(&agent, now, 1, 30000, false, false);
    next();
    agent_http_answered(&agent, now, 1, AGENT_HTTP_FAILED);
    EXPECT_LE(agent_next_ms(&agent) - now, 500u);
}

TEST_F(Agent, LeavesACoordinatorAloneThatAsksForIt)
{
    next();
    agent_wait(&agent, now, 20000);
    agent_registration_failed(&agent, now, AGENT_REGISTRATION_UNREACHABLE);
    EXPECT_GE(agent_next_ms(&agent) - now, 20000u);
    EXPECT_LE(agent_next_ms(&agent) - now, 22000u);
    ASSERT_EQ(next(), Actions{AGENT_ACTION_REGISTER});
    agent_registered(&agent, now, 1, 1000, false, false);
    ASSERT_EQ(next(), Actions{AGENT_ACTION_BEAT_HTTP});
    agent_wait(&agent, now, 20000);
    agent_http_answered(&agent, now, 1, AGENT_HTTP_FAILED);
    agent_services_changed(&agent, now);
    uint64_t asked = now;
    Actions actions;
    while (actions.empty())
        actions = next();
    EXPECT_EQ(actions, Actions{AGENT_ACTION_BEAT_HTTP});
    EXPECT_GE(now - asked, 20000u);
    EXPECT_LE(now - asked, 22000u);
    agent_wait(&agent, now, UINT64_MAX);
    agent_http_answered(&agent, now, 1, AGENT_HTTP_UNKNOWN_WORKER);
    EXPECT_LE(agent_next_ms(&agent) - now, 660000u) << "not for ever";
}

TEST_F(Agent, WaitsNoLongerThanItsBackOffWhenAskedForLess)
{
    next();
    agent_wait(&agent, now, 1);
    agent_registration_failed(&agent, now, AGENT_REGISTRATION_REFUSED);
    EXPECT_GE(agent_next_ms(&agent) - now, 15000u);
}

TEST_F(Agent, AsksForTheStreamThoughHttpIsToBeLeftAlone)
{
    register_with_stream();
    drain();
    agent_wait(&agent, now, 20000);
    agent_stream_opened(&agent, now);
    EXPECT_EQ(drain(), Actions{AGENT_ACTION_BEAT_STREAM});
}

TEST_F(Agent, SaysThatItMissedAnAnswerUntilItHasOne)
{
    next();
    agent_registered(&agent, now, 1, 30000, true, false);
    drain();
    agent_stream_opened(&agent, now);
    drain();
    ASSERT_EQ(next(), Actions{AGENT_ACTION_BEAT_HTTP});
    EXPECT_FALSE(agent.answer_missed);
    agent_http_answered(&agent, now, 1, AGENT_HTTP_FAILED);
    EXPECT_TRUE(agent.answer_missed);
    agent_stream_acknowledged(&agent, now, 1);
    EXPECT_TRUE(agent.answer_missed) << "that beat was sent before";
    ASSERT_EQ(next(), Actions{AGENT_ACTION_BEAT_STREAM});
    agent_stream_acknowledged(&agent, now, 2);
    EXPECT_FALSE(agent.answer_missed);

    agent_stream_closed(&agent, now);
    EXPECT_TRUE(agent.answer_missed) << "it may have carried something";
    ASSERT_EQ(drain(), Actions{AGENT_ACTION_BEAT_HTTP});
    agent_http_answered(&agent, now, 1, AGENT_HTTP_TAKEN);
    EXPECT_FALSE(agent.answer_missed);
    ASSERT_EQ(next(), Actions{AGENT_ACTION_OPEN_STREAM});
    agent_stream_closed(&agent, now);
    EXPECT_FALSE(agent.answer_missed) << "nothing was asked";
}

TEST_F(Agent, ARegistrationAnswersWhatWasMissed)
{
    prove_stream();
    agent_stream_closed(&agent, now);
    agent_http_answered(&agent, now, 1, AGENT_HTTP_UNKNOWN_WORKER);
    while (agent.state != AGENT_REGISTERING)
        next();
    EXPECT_TRUE(agent.answer_missed);
    agent_registered(&agent, now, 2, 30000, false, false);
    EXPECT_FALSE(agent.answer_missed);
}

TEST_F(Agent, RegistersAgainWhenHttpSaysUnknown)
{
    next();
    agent_registered(&agent, now, 1, 30000, false, false);
    next();
    agent_http_answered(&agent, now, 1, AGENT_HTTP_UNKNOWN_WORKER);
    EXPECT_LE(agent_next_ms(&agent) - now, 500u);
    EXPECT_EQ(next(), Actions{AGENT_ACTION_REGISTER});
}

TEST_F(Agent, RegistersAgainWhenTheStreamSaysSoAndKeepsTheStream)
{
    prove_stream();
    agent_command(&agent, now, HEARTBEAT_COMMAND_REGISTER_AGAIN, 1);
    EXPECT_EQ(next(), Actions{AGENT_ACTION_REGISTER});
    agent_registered(&agent, now, 2, 30000, true, false);
    EXPECT_EQ(drain(), Actions{AGENT_ACTION_BEAT_STREAM});
    /* A second answer to the beat before: it is old. */
    agent_command(&agent, now, HEARTBEAT_COMMAND_REGISTER_AGAIN, 1);
    EXPECT_EQ(agent.state, AGENT_REGISTERED);
    agent_command(&agent, now, HEARTBEAT_COMMAND_STALE_INCARNATION, 1);
    EXPECT_EQ(agent.state, AGENT_REGISTERED);
    EXPECT_EQ(agent.conflicts, 0u);
}

TEST_F(Agent, MovesToANewStreamAddress)
{
    prove_stream();
    agent_command(&agent, now, HEARTBEAT_COMMAND_REGISTER_AGAIN, 1);
    next();
    agent_registered(&agent, now, 2, 30000, true, true);
    EXPECT_EQ(drain(), (Actions{AGENT_ACTION_CLOSE_STREAM, AGENT_ACTION_OPEN_STREAM}));
}

TEST_F(Agent, LateHttpAnswersOfAnEarlierRegistrationAreIgnored)
{
    next();
    agent_registered(&agent, now, 2, 30000, false, false);
    next();
    agent_http_answered(&agent, now, 1, AGENT_HTTP_STALE_INCARNATION);
    EXPECT_EQ(agent.state, AGENT_REGISTERED);
    EXPECT_EQ(next(), Actions{AGENT_ACTION_BEAT_HTTP}) << "this one has not been answered";
}

TEST_F(Agent, AConflictIsTriedOnceMoreAndThenGivenUp)
{
    prove_stream();
    agent_command(&agent, now, HEARTBEAT_COMMAND_STALE_INCARNATION, 1);
    EXPECT_EQ(drain(), (Actions{AGENT_ACTION_CONFLICT, AGENT_ACTION_CLOSE_STREAM}));
    EXPECT_GE(agent_next_ms(&agent) - now, 54000u);
    EXPECT_EQ(next(), Actions{AGENT_ACTION_REGISTER});
    agent_registered(&agent, now, 5, 30000, false, false);
    EXPECT_EQ(next(), Actions{AGENT_ACTION_BEAT_HTTP});
    agent_http_answered(&agent, now, 5, AGENT_HTTP_STALE_INCARNATION);
    EXPECT_EQ(drain(), (Actions{AGENT_ACTION_CONFLICT, AGENT_ACTION_STOPPED}));
    EXPECT_TRUE(agent.failed);
}

TEST_F(Agent, ConflictsLongApartAreNotAddedUp)
{
    prove_stream();
    for (uint64_t incarnation = 2; incarnation < 6; incarnation++) {
        agent_command(&agent, now, HEARTBEAT_COMMAND_STALE_INCARNATION, agent.sequence);
        drain();
        ASSERT_EQ(next(), Actions{AGENT_ACTION_REGISTER});
        agent_registered(&agent, now, incarnation, 30000, true, false);
        drain();
        agent_stream_opened(&agent, now);
        drain();
        now += 2 * 3600 * 1000;
    }
    EXPECT_FALSE(agent.failed);
}

TEST_F(Agent, AStaleCommandOnItsOwnIsAskedAboutFirst)
{
    prove_stream();
    agent_command(&agent, now, HEARTBEAT_COMMAND_STALE_INCARNATION, 0);
    EXPECT_EQ(drain(), Actions{AGENT_ACTION_BEAT_STREAM});
    EXPECT_EQ(agent.state, AGENT_REGISTERED);
}

TEST_F(Agent, DrainAndUndrainAreReportedSoon)
{
    prove_stream();
    agent_command(&agent, now, HEARTBEAT_COMMAND_DRAIN, 0);
    EXPECT_EQ(agent_status(&agent), HEARTBEAT_DRAINING);
    EXPECT_LE(agent_next_ms(&agent) - now, 1000u);
    EXPECT_EQ(next(), Actions{AGENT_ACTION_BEAT_STREAM});
    agent_command(&agent, now, HEARTBEAT_COMMAND_UNDRAIN, 0);
    EXPECT_EQ(agent_status(&agent), HEARTBEAT_ONLINE);
}

TEST_F(Agent, ChangesOfServicesAreGathered)
{
    prove_stream();
    now += 10000;
    agent_services_changed(&agent, now);
    EXPECT_EQ(at(now), Actions{AGENT_ACTION_BEAT_STREAM});
    agent_services_changed(&agent, now);
    agent_services_changed(&agent, now);
    EXPECT_TRUE(at(now + 999).empty());
    EXPECT_EQ(at(now + 1), Actions{AGENT_ACTION_BEAT_STREAM});
}

TEST_F(Agent, StopsInOrder)
{
    prove_stream();
    agent_set_active_requests(&agent, now, 2);
    agent_stop(&agent, now);
    EXPECT_EQ(drain(), Actions{AGENT_ACTION_BEAT_STREAM});
    EXPECT_EQ(agent_status(&agent), HEARTBEAT_DRAINING);
    EXPECT_TRUE(at(now + 600).empty()) << "requests are active";
    agent_set_active_requests(&agent, now, 0);
    EXPECT_EQ(drain(), Actions{AGENT_ACTION_UNREGISTER});
    agent_unregistered(&agent, now);
    EXPECT_EQ(drain(), (Actions{AGENT_ACTION_CLOSE_STREAM, AGENT_ACTION_STOPPED}));
    EXPECT_FALSE(agent.failed);
    EXPECT_EQ(agent_next_ms(&agent), UINT64_MAX);
}

TEST_F(Agent, LingersForRequestsOnTheirWay)
{
    prove_stream();
    agent_stop(&agent, now);
    drain();
    EXPECT_EQ(agent_next_ms(&agent) - now, 500u);
    EXPECT_EQ(next(), Actions{AGENT_ACTION_UNREGISTER});
}

TEST_F(Agent, DoesNotWaitForEverForRequestsOrForTheCoordinator)
{
    prove_stream();
    agent_set_active_requests(&agent, now, 1);
    agent_stop(&agent, now);
    drain();
    uint64_t stop = now;
    Actions actions;
    while (actions.empty() || actions.back() != AGENT_ACTION_UNREGISTER)
        actions = next();
    EXPECT_EQ(now - stop, 10000u);
    EXPECT_EQ(next(), (Actions{AGENT_ACTION_CLOSE_STREAM, AGENT_ACTION_STOPPED}));
    EXPECT_EQ(now - stop, 13000u);
}

TEST_F(Agent, StoppingTwiceDoesNotWaitForRequests)
{
    prove_stream();
    agent_set_active_requests(&agent, now, 1);
    agent_stop(&agent, now);
    drain();
    agent_stop(&agent, now);
    Actions actions = drain();
    ASSERT_FALSE(actions.empty());
    EXPECT_EQ(actions.back(), AGENT_ACTION_UNREGISTER);
}

TEST_F(Agent, StoppedWhileWaitingIsStoppedAtOnce)
{
    next();
    agent_registration_failed(&agent, now, AGENT_REGISTRATION_UNREACHABLE);
    agent_stop(&agent, now);
    EXPECT_EQ(drain(), Actions{AGENT_ACTION_STOPPED});
}

TEST_F(Agent, ARegistrationGrantedWhileStoppingIsTakenBack)
{
    next();
    agent_stop(&agent, now);
    EXPECT_TRUE(drain().empty());
    agent_registered(&agent, now, 1, 30000, true, false);
    EXPECT_EQ(drain(), Actions{AGENT_ACTION_UNREGISTER});
}

TEST_F(Agent, AnotherProcessWithOurIdIsNotUnregistered)
{
    prove_stream();
    agent_stop(&agent, now);
    drain();
    agent_command(&agent, now, HEARTBEAT_COMMAND_STALE_INCARNATION, agent.sequence);
    EXPECT_EQ(drain(), (Actions{AGENT_ACTION_CLOSE_STREAM, AGENT_ACTION_STOPPED}));
    EXPECT_FALSE(agent.failed);
}

TEST_F(Agent, TriesTheNextCoordinatorAtOnceAndBacksOffAfterTheRound)
{
    agent_set_choices(&agent, 3);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 3; i++) {
            ASSERT_EQ(next(), Actions{AGENT_ACTION_REGISTER});
            /* The second one would be left alone for a while: the third is asked all the same. */
            if (i == 1)
                agent_wait(&agent, now, 3000);
            agent_registration_failed(&agent, now, AGENT_REGISTRATION_UNREACHABLE);
            EXPECT_EQ(drain(), Actions{AGENT_ACTION_NEXT});
            if (i < 2) {
                EXPECT_LT(agent_next_ms(&agent) - now, 250u) << i;
            } else {
                EXPECT_GE(agent_next_ms(&agent) - now, round < 6 ? 2750u : 30000u);
            }
        }
    }
}

TEST_F(Agent, OneThatIsAwayAmongThoseThatRefuseIsTriedAgainSoon)
{
    agent_set_choices(&agent, 2);
    next();
    agent_registration_failed(&agent, now, AGENT_REGISTRATION_UNREACHABLE);
    drain();
    next();
    agent_registration_failed(&agent, now, AGENT_REGISTRATION_REFUSED);
    EXPECT_EQ(drain(), Actions{AGENT_ACTION_NEXT});
    EXPECT_LE(agent_next_ms(&agent) - now, 1000u);
    for (int i = 0; i < 2; i++) {
        ASSERT_EQ(next(), Actions{AGENT_ACTION_REGISTER});
        agent_registration_failed(&agent, now, AGENT_REGISTRATION_REFUSED);
        drain();
    }
    EXPECT_GE(agent_next_ms(&agent) - now, 15000u) << "all refuse";
}

TEST_F(Agent, MovesWhenTheStreamIsBrokenAndNobodyAnswers)
{
    agent_set_choices(&agent, 2);
    prove_stream();
    uint64_t broken = now;
    agent_stream_closed(&agent, now);
    ASSERT_EQ(drain(), Actions{AGENT_ACTION_BEAT_HTTP});
    agent_http_answered(&agent, now, 1, AGENT_HTTP_UNREACHABLE);
    while (agent.state == AGENT_REGISTERED && now - broken < 60000) {
        for (agent_action action : next()) {
            if (action == AGENT_ACTION_BEAT_HTTP)
                agent_http_answered(&agent, now, 1, AGENT_HTTP_UNREACHABLE);
            else if (action == AGENT_ACTION_OPEN_STREAM)
                agent_stream_closed(&agent, now);
            else
                FAIL() << action;
        }
    }
    EXPECT_EQ(drain(), Actions{AGENT_ACTION_LOST});
    EXPECT_EQ(agent.stream, AGENT_STREAM_NONE);
    EXPECT_GE(now - broken, 500u) << "one that is started anew is waited for";
    EXPECT_EQ(next(), Actions{AGENT_ACTION_REGISTER});
    EXPECT_LE(now - broken, 5000u);
    agent_registered(&agent, now, 1, 30000, true, false);
    EXPECT_EQ(drain(), Actions{AGENT_ACTION_OPEN_STREAM});
    EXPECT_EQ(next(), Actions{AGENT_ACTION_BEAT_HTTP}) << "as if it had never been elsewhere";
}

TEST_F(Agent, WhoHasSomewhereElseToGoBeatsOftenEnoughToNotice)
{
    for (bool alone : {false, true}) {
        for (uint64_t own_interval : {0u, 60000u}) {
            agent_config config = AGENT_CONFIG_DEFAULT;
            config.interval_ms = own_interval;
            agent_init(&agent, &config, &random, now);
            agent_set_choices(&agent, alone ? 1 : 2);
            next();
            agent_registered(&agent, now, 1, 30000, false, false);
            ASSERT_EQ(next(), Actions{AGENT_ACTION_BEAT_HTTP});
            agent_http_answered(&agent, now, 1, AGENT_HTTP_TAKEN);
            uint64_t wait = agent_next_ms(&agent) - now;
            EXPECT_LE(wait, own_interval != 0 ? 66000u : alone ? 33000u : 3300u);
            EXPECT_GE(wait, own_interval != 0 ? 54000u : alone ? 27000u : 2700u);
        }
    }
}

TEST_F(Agent, ASilentCoordinatorIsLostAfterTwoHeartbeatsThatTakeTime)
{
    agent_set_choices(&agent, 2);
    next();
    agent_registered(&agent, now, 1, 30000, false, false);
    ASSERT_EQ(next(), Actions{AGENT_ACTION_BEAT_HTTP});
    now += 2500;
    agent_http_answered(&agent, now, 1, AGENT_HTTP_UNREACHABLE);
    ASSERT_EQ(next(), Actions{AGENT_ACTION_BEAT_HTTP});
    EXPECT_EQ(agent.state, AGENT_REGISTERED) << "one may be lost on its way";
    now += 2500;
    agent_http_answered(&agent, now, 1, AGENT_HTTP_UNREACHABLE);
    EXPECT_EQ(drain(), Actions{AGENT_ACTION_LOST});
}

TEST_F(Agent, AStreamThatFellSilentCountsAsOneOfThem)
{
    for (bool silent : {true, false}) {
        agent_config config = AGENT_CONFIG_DEFAULT;
        agent_init(&agent, &config, &random, now);
        agent_set_choices(&agent, 2);
        prove_stream();
        if (silent)
            agent_stream_silent(&agent, now, 4000);
        agent_stream_closed(&agent, now);
        ASSERT_EQ(drain(), Actions{AGENT_ACTION_BEAT_HTTP});
        now += 200;
        agent_http_answered(&agent, now, 1, AGENT_HTTP_UNREACHABLE);
        EXPECT_EQ(agent.state, silent ? AGENT_WAITING : AGENT_REGISTERED);
        drain();
    }
}

TEST_F(Agent, ANewStreamAfterOneThatFellSilentHoldsNothingUp)
{
    for (bool silent : {true, false}) {
        agent_config config = AGENT_CONFIG_DEFAULT;
        agent_init(&agent, &config, &random, now);
        agent_set_choices(&agent, 2);
        prove_stream();
        if (silent)
            agent_stream_silent(&agent, now, 4000);
        agent_stream_closed(&agent, now);
        ASSERT_EQ(drain(), Actions{AGENT_ACTION_BEAT_HTTP});
        ASSERT_EQ(next(), Actions{AGENT_ACTION_OPEN_STREAM});
        agent_stream_opened(&agent, now);
        drain();
        for (int i = 0; i < (silent ? 1 : 5); i++)
            agent_http_answered(&agent, now, 1, AGENT_HTTP_UNREACHABLE);
        EXPECT_EQ(agent.state, silent ? AGENT_WAITING : AGENT_REGISTERED);
        EXPECT_EQ(drain(), silent ? (Actions{AGENT_ACTION_CLOSE_STREAM, AGENT_ACTION_LOST}) : Actions{});
    }
}

TEST_F(Agent, TurnsToAnotherOneWhenItIsToldTo)
{
    EXPECT_FALSE(agent_turn(&agent, now)) << "it has not registered yet";
    prove_stream();
    EXPECT_TRUE(agent_turn(&agent, now));
    EXPECT_EQ(drain(), Actions{AGENT_ACTION_CLOSE_STREAM});
    EXPECT_EQ(next(), Actions{AGENT_ACTION_REGISTER});
    EXPECT_FALSE(agent_turn(&agent, now)) << "it is under way";
    agent_registered(&agent, now, 7, 30000, false, true);
    EXPECT_EQ(next(), Actions{AGENT_ACTION_BEAT_HTTP});
    agent_stop(&agent, now);
    drain();
    EXPECT_FALSE(agent_turn(&agent, now)) << "it is leaving";
}

TEST_F(Agent, AHeartbeatThatWasUnderWayWhenItTurnedAwayDoesNotHoldUpOthers)
{
    agent_set_choices(&agent, 2);
    prove_stream();
    agent_stream_closed(&agent, now);
    ASSERT_EQ(drain(), Actions{AGENT_ACTION_BEAT_HTTP}) << "it is never answered";
    ASSERT_EQ(next(), Actions{AGENT_ACTION_OPEN_STREAM});
    agent_stream_opened(&agent, now);
    agent_command(&agent, now, HEARTBEAT_COMMAND_REGISTER_AGAIN, 1);
    drain();
    while (agent.state != AGENT_REGISTERING)
        next();
    agent_registration_failed(&agent, now, AGENT_REGISTRATION_UNREACHABLE);
    ASSERT_EQ(drain(), Actions{AGENT_ACTION_NEXT});
    ASSERT_EQ(next(), Actions{AGENT_ACTION_REGISTER});
    agent_registered(&agent, now, 1, 30000, false, false);
    drain();
    EXPECT_EQ(next(), Actions{AGENT_ACTION_BEAT_HTTP});
}

TEST_F(Agent, AFleetDoesNotMoveInOneInstant)
{
    uint64_t first = UINT64_MAX, last = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        random_seed(&random, seed);
        agent_config config = AGENT_CONFIG_DEFAULT;
        agent_init(&agent, &config, &random, 0);
        agent_set_choices(&agent, 2);
        agent_tick(&agent, 0);
        agent_registered(&agent, 0, 1, 30000, false, false);
        for (int i = 0; i < 3; i++)
            agent_http_answered(&agent, 0, 1, AGENT_HTTP_UNREACHABLE);
        ASSERT_EQ(agent.state, AGENT_WAITING);
        first = std::min(first, agent_next_ms(&agent));
        last = std::max(last, agent_next_ms(&agent));
    }
    EXPECT_LT(first, 200u);
    EXPECT_GT(last, 1800u);
    EXPECT_LE(last, 2000u);
}

TEST_F(Agent, DoesNotMoveWithNobodyToGoToOrWhileLeaving)
{
    for (bool leaving : {false, true}) {
        agent_config config = AGENT_CONFIG_DEFAULT;
        agent_init(&agent, &config, &random, now);
        agent_set_choices(&agent, leaving ? 2 : 1);
        next();
        agent_registered(&agent, now, 1, 30000, false, false);
        if (leaving)
            agent_stop(&agent, now);
        agent_state before = agent.state;
        drain();
        for (int i = 0; i < 20; i++)
            agent_http_answered(&agent, now, 1, AGENT_HTTP_UNREACHABLE);
        EXPECT_EQ(agent.state, before);
        EXPECT_TRUE(drain().empty());
    }
}

TEST_F(Agent, DoesNotMoveWhileAStreamIsToBeHadOrTheFailuresAreOld)
{
    agent_set_choices(&agent, 2);
    register_with_stream();
    drain();
    for (int i = 0; i < 5; i++)
        agent_http_answered(&agent, now, 1, AGENT_HTTP_UNREACHABLE);
    EXPECT_EQ(agent.state, AGENT_REGISTERED) << "the stream is being opened";
    agent_stream_opened(&agent, now);
    agent_stream_acknowledged(&agent, now, 1);
    drain();
    agent_stream_closed(&agent, now);
    EXPECT_EQ(agent.state, AGENT_REGISTERED) << "the stream spoke since";
    for (int i = 0; i < 2; i++)
        agent_http_answered(&agent, now, 1, AGENT_HTTP_UNREACHABLE);
    agent_http_answered(&agent, now, 1, AGENT_HTTP_TAKEN);
    for (int i = 0; i < 2; i++)
        agent_http_answered(&agent, now, 1, AGENT_HTTP_UNREACHABLE);
    EXPECT_EQ(agent.state, AGENT_REGISTERED);
    agent_http_answered(&agent, now, 1, AGENT_HTTP_UNREACHABLE);
    EXPECT_EQ(agent.state, AGENT_WAITING);
}

TEST_F(Agent, MovesAwayFromOneThatOnlyAnswersErrorsAfterAWhile)
{
    agent_set_choices(&agent, 2);
    next();
    agent_registered(&agent, now, 1, 30000, false, false);
    uint64_t start = agent_next_ms(&agent);
    while (agent.state == AGENT_REGISTERED && now < start + 120000) {
        ASSERT_EQ(next(), Actions{AGENT_ACTION_BEAT_HTTP});
        agent_http_answered(&agent, now, 1, AGENT_HTTP_FAILED);
    }
    EXPECT_EQ(drain(), Actions{AGENT_ACTION_LOST});
    EXPECT_GE(now - start, 15000u);
    EXPECT_LE(now - start, 31000u);
}

/* Any order of events, thousands of them: never stuck, never more actions than fit. */
TEST_F(Agent, SurvivesAnyOrderOfEvents)
{
    for (uint64_t seed = 0; seed < 300; seed++) {
        random_seed(&random, seed);
        agent_config config = AGENT_CONFIG_DEFAULT;
        agent_init(&agent, &config, &random, now);
        struct random choice;
        random_seed(&choice, seed + 1000);
        for (int i = 0; i < 500 && agent.state != AGENT_STOPPED; i++) {
            now += random_below(&choice, 2000);
            switch (random_below(&choice, 17)) {
            case 0:
                agent_registered(&agent, now, random_below(&choice, 5), 30000, random_below(&choice, 2) != 0,
                                 random_below(&choice, 2) != 0);
                break;
            case 1:
                agent_registration_failed(&agent, now, AGENT_REGISTRATION_UNREACHABLE);
                break;
            case 2:
                agent_http_answered(&agent, now, random_below(&choice, 5), AGENT_HTTP_TAKEN);
                break;
            case 3:
                agent_http_answered(&agent, now, agent.incarnation, AGENT_HTTP_UNKNOWN_WORKER);
                break;
            case 4:
                agent_stream_opened(&agent, now);
                break;
            case 5:
                agent_stream_closed(&agent, now);
                break;
            case 6:
                agent_stream_acknowledged(&agent, now, agent.sequence);
                break;
            case 7:
                agent_command(&agent, now, (heartbeat_command_type)random_below(&choice, 6), agent.sequence);
                break;
            case 8:
                agent_services_changed(&agent, now);
                break;
            case 9:
                agent_set_active_requests(&agent, now, (uint32_t)random_below(&choice, 2));
                break;
            case 10:
                agent_wait(&agent, now, random_below(&choice, 5000));
                agent_http_answered(&agent, now, agent.incarnation, AGENT_HTTP_FAILED);
                break;
            case 12:
                agent_http_answered(&agent, now, agent.incarnation, AGENT_HTTP_UNREACHABLE);
                break;
            case 13:
                agent_set_choices(&agent, 1 + (unsigned)random_below(&choice, 3));
                break;
            case 11:
                if (random_below(&choice, 100) == 0)
                    agent_stop(&agent, now);
                break;
            default:
                agent_tick(&agent, now);
            }
            ASSERT_LE(drain().size(), 5u) << "seed " << seed;
            bool answer_outstanding = agent.state == AGENT_REGISTERING;
            if (agent.state != AGENT_STOPPED && !answer_outstanding) {
                ASSERT_NE(agent_next_ms(&agent), UINT64_MAX) << "seed " << seed << " state " << agent.state;
            }
        }
    }
}

/* ---- a worker whose URL changes ---- */

TEST_F(Agent, WaitsForItsUrl)
{
    agent_config config = AGENT_CONFIG_DEFAULT;
    config.waits = true;
    agent_init(&agent, &config, &random, now);
    EXPECT_EQ(agent_next_ms(&agent), UINT64_MAX);
    EXPECT_EQ(at(now + 1000000), Actions{});
    agent_moved(&agent, now);
    EXPECT_EQ(next(), Actions{AGENT_ACTION_REGISTER});
}

TEST_F(Agent, RegistersAgainAtAnotherUrl)
{
    prove_stream();
    agent_moved(&agent, now);
    EXPECT_EQ(agent_next_ms(&agent), now);
    EXPECT_EQ(next(), Actions{AGENT_ACTION_REGISTER});
    /* And once more when it moves before the answer, which is of the URL before. */
    agent_moved(&agent, now);
    EXPECT_EQ(drain(), Actions{});
    agent_registered(&agent, now, 2, 30000, true, false);
    (void)drain();
    EXPECT_EQ(next(), Actions{AGENT_ACTION_REGISTER});
    agent_registered(&agent, now, 3, 30000, true, false);
    EXPECT_EQ(agent.state, AGENT_REGISTERED);
    EXPECT_EQ(agent.incarnation, 3u);
}

TEST_F(Agent, DoesNotMoveWhenItLeaves)
{
    register_with_stream();
    agent_stop(&agent, now);
    (void)drain();
    agent_moved(&agent, now);
    EXPECT_EQ(agent.state, AGENT_DRAINING);
}

} // namespace
