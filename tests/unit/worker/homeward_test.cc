// Whether a worker goes back to the coordinator that it had to leave.

extern "C" {
#include "services/worker/homeward.h"
}

#include <gtest/gtest.h>

namespace
{

const char *const NEAR = "http://near", *const FAR = "http://far", *const OTHER = "http://other";

struct Homeward : ::testing::Test {
    struct random random;
    homeward h;
    uint64_t now = 1000000;

    Homeward()
    {
        random_seed(&random, 1);
        homeward_init(&h, 60000);
    }
    void registered(const char *before, const char *home)
    {
        homeward_registered(&h, before, home, now, &random);
    }
    // Looks until it goes or the time is over; how long it took, 0: it did not go.
    uint64_t goes_within(uint64_t limit_ms, bool answers = true)
    {
        uint64_t begin = now;
        while (h.look_at_ms != UINT64_MAX && h.look_at_ms <= begin + limit_ms) {
            now = std::max(now, h.look_at_ms);
            if (homeward_looked(&h, answers, now, &random))
                return now - begin;
        }
        now = begin + limit_ms;
        return 0;
    }
};

TEST_F(Homeward, WhoIsAtHomeLooksAtNothing)
{
    registered("", NEAR);
    EXPECT_EQ(h.look_at_ms, UINT64_MAX);
    registered(NEAR, NEAR);
    EXPECT_EQ(h.look_at_ms, UINT64_MAX);
}

TEST_F(Homeward, GoesBackWhenItHasAnsweredForAWhile)
{
    registered("", NEAR);
    registered(NEAR, FAR);
    EXPECT_STREQ(h.url, NEAR);
    EXPECT_EQ(goes_within(600000, false), 0u) << "it is still away";
    uint64_t took = goes_within(2000000);
    EXPECT_GE(took, 60000u);
    EXPECT_LE(took, 700000u) << "the first look comes late, the others soon";
    registered(FAR, NEAR);
    EXPECT_EQ(h.look_at_ms, UINT64_MAX);
    EXPECT_STREQ(h.url, "");
}

TEST_F(Homeward, OneThatDoesNotAnswerEachTimeBeginsAnew)
{
    registered(NEAR, FAR);
    for (int i = 0; i < 20; i++) {
        EXPECT_EQ(goes_within(40000), 0u);
        now = std::max(now, h.look_at_ms);
        EXPECT_FALSE(homeward_looked(&h, false, now, &random));
    }
    EXPECT_GE(goes_within(1000000), 60000u);
}

TEST_F(Homeward, TheFirstOneIsHomeHoweverFarItIsDriven)
{
    registered(NEAR, FAR);
    registered(FAR, OTHER);
    EXPECT_STREQ(h.url, NEAR);
    EXPECT_NE(h.look_at_ms, UINT64_MAX);
    registered(OTHER, NEAR); // it was sent there by somebody else
    EXPECT_STREQ(h.url, "");
}

TEST_F(Homeward, ItIsNotTakenThereAndTriesAgain)
{
    registered(NEAR, FAR);
    ASSERT_NE(goes_within(1000000), 0u);
    registered(FAR, FAR);
    EXPECT_STREQ(h.url, NEAR);
    EXPECT_GE(goes_within(1000000), 60000u);
}

TEST_F(Homeward, EachReturnMakesItMorePatientUntilAnHourAtHome)
{
    uint64_t before = 0;
    for (int i = 0; i < 5; i++) {
        registered(NEAR, FAR);
        uint64_t took = goes_within(10000000);
        EXPECT_GE(took, 60000u << i);
        EXPECT_GT(took, before);
        before = took;
        registered(FAR, NEAR);
        now += 60000;
    }
    now += 3600000;
    registered(NEAR, FAR);
    EXPECT_LE(goes_within(10000000), 120000u);
}

TEST_F(Homeward, ItMayBeToldToStay)
{
    homeward_init(&h, 0);
    registered(NEAR, FAR);
    EXPECT_EQ(h.look_at_ms, UINT64_MAX);
}

} // namespace
