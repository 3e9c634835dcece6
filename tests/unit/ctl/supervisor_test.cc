// The supervisor: what is started when, what is started again, when the start is given up,
// and in which order everything stops. Time is a number here.

extern "C" {
#include "services/ctl/supervisor.h"
}

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace
{

constexpr supervisor_end killed = {false, 9};

// Three stages: "a" and "b", then "c", then "d".
struct Supervised : ::testing::Test {
    supervisor_options options = {100, 800, 5000, 30000, 15000, 3};
    struct supervisor *s = nullptr;
    uint64_t now = 1000;

    void SetUp() override
    {
        s = supervisor_create(&options);
        ASSERT_TRUE(supervisor_add(s, "a", 0));
        ASSERT_TRUE(supervisor_add(s, "b", 0));
        ASSERT_TRUE(supervisor_add(s, "c", 1));
        ASSERT_TRUE(supervisor_add(s, "d", 2));
    }

    void TearDown() override
    {
        supervisor_destroy(s);
    }

    // All that is to be done now: "start a", "terminate c", …
    std::vector<std::string> actions()
    {
        static const char *const names[] = {"", "start ", "terminate ", "kill "};
        std::vector<std::string> done;
        size_t index = 0;
        for (auto action = supervisor_next(s, now, &index); action != SUPERVISOR_NOTHING;
             action = supervisor_next(s, now, &index))
            done.push_back(std::string(names[action]) + supervisor_process(s, index)->name);
        return done;
    }

    void ready(size_t index)
    {
        supervisor_ready(s, index, now);
    }
    void ended(size_t index, supervisor_end end = killed)
    {
        supervisor_ended(s, index, end, now);
    }

    void all_up()
    {
        actions();
        ready(0);
        ready(1);
        actions();
        ready(2);
        actions();
        ready(3);
        ASSERT_TRUE(supervisor_all_ready(s));
    }
};

using Actions = std::vector<std::string>;

TEST_F(Supervised, StartsStageAfterStage)
{
    EXPECT_EQ(actions(), (Actions{"start a", "start b"}));
    ready(0);
    EXPECT_EQ(actions(), Actions{});
    ready(1);
    EXPECT_EQ(actions(), (Actions{"start c"}));
    EXPECT_FALSE(supervisor_all_ready(s));
    ready(2);
    EXPECT_EQ(actions(), (Actions{"start d"}));
    ready(3);
    EXPECT_TRUE(supervisor_all_ready(s));
    EXPECT_EQ(supervisor_wake_up_ms(s), UINT64_MAX);
}

TEST_F(Supervised, RestartsAfterADelayThatDoublesUpToItsLimit)
{
    all_up();
    for (uint64_t delay : {100u, 200u, 400u, 800u, 800u}) {
        ended(0);
        EXPECT_FALSE(supervisor_all_ready(s));
        EXPECT_EQ(supervisor_wake_up_ms(s), now + delay);
        now += delay - 1;
        EXPECT_EQ(actions(), Actions{}) << delay;
        now += 1;
        EXPECT_EQ(actions(), (Actions{"start a"})) << delay;
        ready(0);
    }
    EXPECT_EQ(supervisor_process(s, 0)->restarts, 5u);
    EXPECT_EQ(supervisor_failure(s), nullptr);
}

TEST_F(Supervised, TheDelayBeginsAgainAfterAStableTime)
{
    all_up();
    ended(1);
    now += 100;
    actions();
    ready(1);
    now += 4999;
    ended(1);
    EXPECT_EQ(supervisor_wake_up_ms(s), now + 200);
    now += 200;
    actions();
    ready(1);
    now += 5000;
    ended(1);
    EXPECT_EQ(supervisor_wake_up_ms(s), now + 100);
}

TEST_F(Supervised, ARestartWaitsForNobody)
{
    all_up();
    ended(0);
    ended(3);
    now += 100;
    EXPECT_EQ(actions(), (Actions{"start a", "start d"}));
}

TEST_F(Supervised, ExitCodesAreNoReasonToGiveUpOnceItServed)
{
    all_up();
    for (int i = 0; i < 20; i++) {
        ended(2, {true, 1});
        now += 800;
        EXPECT_EQ(actions(), (Actions{"start c"}));
    }
    EXPECT_EQ(supervisor_failure(s), nullptr);
}

TEST_F(Supervised, ARefusalAtTheFirstStartStopsEverything)
{
    actions();
    ready(0);
    ended(1, {true, 2});
    ASSERT_NE(supervisor_failure(s), nullptr);
    EXPECT_STREQ(supervisor_failure(s), "b refused to start (exit code 2); its own line above says why");
    EXPECT_EQ(actions(), (Actions{"terminate a"}));
    ended(0, {true, 0});
    EXPECT_EQ(actions(), Actions{});
    EXPECT_TRUE(supervisor_finished(s));
}

TEST_F(Supervised, ACrashAtTheFirstStartIsTriedAgainThreeTimes)
{
    actions();
    for (int i = 0; i < 2; i++) {
        ended(1);
        EXPECT_EQ(supervisor_failure(s), nullptr);
        now += 800;
        EXPECT_EQ(actions(), (Actions{"start b"}));
    }
    ended(1, {false, 11});
    EXPECT_STREQ(supervisor_failure(s), "b died 3 times while it started, the last time of signal 11");
    EXPECT_EQ(actions(), (Actions{"terminate a"}));
}

TEST_F(Supervised, ASlowStartIsGivenUp)
{
    actions();
    ready(0);
    EXPECT_EQ(supervisor_wake_up_ms(s), now + 30000);
    now += 29999;
    EXPECT_EQ(actions(), Actions{});
    now += 1;
    EXPECT_EQ(actions(), (Actions{"terminate a", "terminate b"}));
    EXPECT_STREQ(supervisor_failure(s), "b was not ready within 30 s");
}

TEST_F(Supervised, ASlowRestartIsNotGivenUp)
{
    all_up();
    ended(0);
    now += 100;
    actions();
    now += 1000000;
    EXPECT_EQ(actions(), Actions{});
    EXPECT_EQ(supervisor_failure(s), nullptr);
}

TEST_F(Supervised, StopsStageAfterStageFromTheTop)
{
    all_up();
    supervisor_stop(s, now);
    EXPECT_EQ(actions(), (Actions{"terminate d"}));
    ended(3, {true, 0});
    EXPECT_EQ(actions(), (Actions{"terminate c"}));
    ended(2, {true, 0});
    EXPECT_EQ(actions(), (Actions{"terminate a", "terminate b"}));
    ended(0, {true, 0});
    EXPECT_FALSE(supervisor_finished(s));
    ended(1, {true, 0});
    EXPECT_TRUE(supervisor_finished(s));
    EXPECT_EQ(supervisor_failure(s), nullptr);
}

TEST_F(Supervised, KillsWhatDoesNotEnd)
{
    all_up();
    supervisor_stop(s, now);
    actions();
    EXPECT_EQ(supervisor_wake_up_ms(s), now + 15000);
    now += 14999;
    EXPECT_EQ(actions(), Actions{});
    now += 1;
    EXPECT_EQ(actions(), (Actions{"kill d"}));
    EXPECT_EQ(actions(), Actions{});
    ended(3);
    EXPECT_EQ(actions(), (Actions{"terminate c"}));
}

TEST_F(Supervised, ASecondStopKillsAllAtOnce)
{
    all_up();
    supervisor_stop(s, now);
    EXPECT_EQ(actions(), (Actions{"terminate d"}));
    supervisor_stop(s, now);
    EXPECT_EQ(actions(), (Actions{"kill a", "kill b", "kill c", "kill d"}));
    EXPECT_EQ(actions(), Actions{});
}

TEST_F(Supervised, NothingIsStartedWhileItStops)
{
    all_up();
    ended(0);
    supervisor_stop(s, now);
    now += 1000;
    EXPECT_EQ(actions(), (Actions{"terminate d"}));
    ended(2); // on its own, before its turn
    ended(3);
    EXPECT_EQ(actions(), (Actions{"terminate b"}));
    ready(1); // too late to count
    ended(1);
    EXPECT_TRUE(supervisor_finished(s));
}

TEST_F(Supervised, StoppedBeforeAnythingStarted)
{
    supervisor_stop(s, now);
    EXPECT_EQ(actions(), Actions{});
    EXPECT_TRUE(supervisor_finished(s));
}

} // namespace
