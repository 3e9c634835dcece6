// Policies: scores, weights, and names.

#include <gtest/gtest.h>

#include <cmath>
#include <string>

extern "C" {
#include "services/router/policy.h"
}

namespace
{

double Score(double load, uint32_t waiting = 0)
{
    policy_figures figures = {true, load, 0, waiting};
    return policy_least_loaded.score(&figures);
}

TEST(PolicyTest, LeastLoadedPrefersWhatIsFree)
{
    EXPECT_DOUBLE_EQ(Score(0), 1.0);
    EXPECT_DOUBLE_EQ(Score(0.25), 0.75);
    EXPECT_DOUBLE_EQ(Score(0.5, 1), 0.25);
    EXPECT_GT(Score(0.3), Score(0.4));
    EXPECT_GT(Score(0.3), Score(0.3, 1));
}

TEST(PolicyTest, NonsenseFiguresStillGiveAScore)
{
    for (double load : {-1.0, 1.0, 7.0, 1e300, static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
        EXPECT_GT(Score(load), 0.0) << load;
        EXPECT_LE(Score(load), 1.0) << load;
        EXPECT_GT(Score(load, UINT32_MAX), 0.0) << load;
    }
}

TEST(PolicyTest, SilenceIsHalfLoaded)
{
    policy_figures figures = {false, 0, 0, 0};
    EXPECT_DOUBLE_EQ(policy_least_loaded.score(&figures), 0.5);
    char text[64];
    policy_least_loaded.describe(&figures, text, sizeof(text));
    EXPECT_STREQ(text, "load not reported");
}

TEST(PolicyTest, EqualIsEqual)
{
    policy_figures idle = {true, 0, 0, 0}, busy = {true, 1, 50, 50};
    EXPECT_EQ(policy_equal.score(&idle), policy_equal.score(&busy));
}

TEST(PolicyTest, WeightsAreCoarseAndNeverZero)
{
    EXPECT_EQ(policy_weight(1.0), 100u);
    EXPECT_EQ(policy_weight(0.5), 50u);
    EXPECT_EQ(policy_weight(0.51), 50u);
    EXPECT_EQ(policy_weight(0.53), 55u);
    EXPECT_EQ(policy_weight(0.0), 1u);
    EXPECT_EQ(policy_weight(-3), 1u);
    EXPECT_EQ(policy_weight(NAN), 1u);
    EXPECT_EQ(policy_weight(1e9), 100u);
}

TEST(PolicyTest, FoundByName)
{
    EXPECT_EQ(policy_find("least-loaded"), &policy_least_loaded);
    EXPECT_EQ(policy_find("equal"), &policy_equal);
    EXPECT_EQ(policy_find("best"), nullptr);
}

} // namespace
