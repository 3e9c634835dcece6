// When an edge proxy asks for a list again.

extern "C" {
#include "gateway/proxy/polling.h"
}

#include <gtest/gtest.h>

namespace
{

constexpr double LEAST = 0, MOST = 0.999999;

TEST(Polling, TheFirstIsDueAtOnceAndNoneWhileOneIsUnderWay)
{
    struct polling polling;
    polling_init(&polling, 300000, 5000, 70);
    EXPECT_EQ(polling.next_ms, 70u);
    polling_asked(&polling, 80);
    EXPECT_EQ(polling.next_ms, UINT64_MAX);
    polling_hurry(&polling);
    EXPECT_EQ(polling.next_ms, UINT64_MAX) << "it is being asked";
}

TEST(Polling, AfterAListAnIntervalATenthMoreOrLess)
{
    struct polling polling;
    polling_init(&polling, 300000, 5000, 0);
    polling_asked(&polling, 0);
    polling_answered(&polling, LEAST, 1000);
    EXPECT_EQ(polling.next_ms, 1000u + 270000);
    polling_answered(&polling, MOST, 1000);
    EXPECT_GT(polling.next_ms, 1000u + 329900);
    EXPECT_LE(polling.next_ms, 1000u + 330000);
}

TEST(Polling, SoonerAfterFailuresButEachTimeLater)
{
    struct polling polling;
    polling_init(&polling, 300000, 5000, 0);
    uint64_t pause_ms = 5000;
    for (int i = 0; i < 20; i++) {
        struct polling twin = polling;
        polling_failed(&twin, LEAST, 0);
        polling_failed(&polling, MOST, 0);
        EXPECT_EQ(twin.next_ms, pause_ms / 2) << i;
        EXPECT_LE(polling.next_ms, pause_ms);
        EXPECT_GT(polling.next_ms, pause_ms - 2);
        pause_ms = pause_ms * 2 < 300000 ? pause_ms * 2 : 300000;
    }
    polling_answered(&polling, LEAST, 0);
    polling_failed(&polling, LEAST, 0);
    EXPECT_EQ(polling.next_ms, 2500u) << "a list that came makes it as if nothing had been";
}

TEST(Polling, AHurriedListIsAskedForOneRetryAfterTheLastTime)
{
    struct polling polling;
    polling_init(&polling, 300000, 5000, 0);
    polling_asked(&polling, 1000);
    polling_answered(&polling, LEAST, 1100);
    polling_hurry(&polling);
    EXPECT_EQ(polling.next_ms, 6000u);
    polling_hurry(&polling);
    EXPECT_EQ(polling.next_ms, 6000u) << "however many find it out of date";
    polling_asked(&polling, 6000);
    polling_failed(&polling, MOST, 6000);
    uint64_t due_ms = polling.next_ms;
    polling_hurry(&polling);
    EXPECT_EQ(polling.next_ms, due_ms) << "who does not answer is spared";
}

TEST(Polling, ARetryIsNeverLongerThanTheInterval)
{
    struct polling polling;
    polling_init(&polling, 1000, 5000, 0);
    polling_failed(&polling, MOST, 0);
    EXPECT_LE(polling.next_ms, 1000u);
}

} // namespace
