// Days of a fleet whose work moves. MUSTER_SIMULATION_SEED replays one; MUSTER_SIMULATION_DAYS and
// MUSTER_SIMULATION_WORKERS make it longer, or the fleet larger.

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "tests/simulation/days.h"

extern "C" {
#include "common/map.h"
}

namespace
{

uint64_t FromEnvironment(const char *name, uint64_t otherwise)
{
    const char *text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// Sanitizers make every step several times slower.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(MUSTER_SLOW)
constexpr uint64_t kDays = 1;
#else
constexpr uint64_t kDays = 3;
#endif

simulation::DaysTally Simulate(simulation::DaysPlan plan)
{
    map_use_seed(1);
    simulation::Days run(plan);
    bool held = run.Run();
    const auto &t = run.tally;
    auto n = [](uint64_t number) { return static_cast<unsigned long long>(number); };
    std::printf(
        "seed %llu: %.2g days, %llu steps; %llu moves: %llu of %llu lost services found (%llu at once), %llu swaps "
        "(%llu dropped, %llu undone, %llu back with cause), %.1f hours with too few workers; %llu deaths, %llu "
        "drains, %llu crashes (%llu in swaps)\n",
        n(plan.seed), plan.days, n(t.steps), n(t.moves), n(t.found), n(t.losses), n(t.found_soon), n(t.swaps),
        n(t.drops), n(t.undone), n(t.swings_with_cause), static_cast<double>(t.short_ms) / 3600000, n(t.deaths),
        n(t.drains), n(t.crashes), n(t.crashes_in_swaps));
    EXPECT_TRUE(held) << run.failure << "\nreplay it with MUSTER_SIMULATION_SEED=" << plan.seed;
    return t;
}

void SimulateWithFaults(uint64_t seed)
{
    simulation::DaysPlan plan;
    plan.seed = FromEnvironment("MUSTER_SIMULATION_SEED", seed);
    plan.workers = FromEnvironment("MUSTER_SIMULATION_WORKERS", plan.workers);
    plan.days = static_cast<double>(FromEnvironment("MUSTER_SIMULATION_DAYS", kDays));
    auto tally = Simulate(plan);
    // A run in which nothing happened proves nothing; one in which more happens than there is cause for swings.
    EXPECT_GT(tally.deaths, 0u);
    EXPECT_GT(tally.crashes_in_swaps, 0u);
    if (plan.days >= 3) // in a single day it may be that no service loses its last worker
    {
        EXPECT_GT(tally.found, 0u);
    }
    // Later only where the call that tells a worker so is lost, and is made again after its timeout.
    EXPECT_GE((tally.found_soon + 1) * 10, tally.found * 9);
    EXPECT_GE(static_cast<double>(tally.swaps), 4 * plan.days);
    EXPECT_LE(static_cast<double>(tally.swaps), 60 * plan.days);
    EXPECT_LE(static_cast<double>(tally.short_ms), plan.days * 14 * 86400000 * 0.06) << "of all services' time";
    EXPECT_LE(tally.moves, tally.losses * 2 + tally.swaps * 3 + 50);
}

TEST(DaysTest, Seed1)
{
    SimulateWithFaults(1);
}

TEST(DaysTest, Seed2)
{
    SimulateWithFaults(2);
}

TEST(DaysTest, Seed3)
{
    SimulateWithFaults(3);
}

TEST(DaysTest, WithoutFaultsWorkFollowsTheDayAndNothingElseMoves)
{
    simulation::DaysPlan plan;
    plan.days = kDays;
    plan.faults = false;
    auto tally = Simulate(plan);
    EXPECT_GE(static_cast<double>(tally.swaps), 4 * plan.days);
    EXPECT_LE(static_cast<double>(tally.swaps), 40 * plan.days);
    EXPECT_LE(tally.short_ms, 3600000u) << "services that had too few workers, in all";
    EXPECT_EQ(tally.drops, tally.swaps);
    EXPECT_EQ(tally.swings_with_cause, 0u);
}

// Everybody is short of workers, and nobody has one to spare: they are not passed to and fro.
TEST(DaysTest, TooMuchWorkMovesNothingToAndFro)
{
    simulation::DaysPlan plan;
    plan.days = 1;
    plan.faults = false;
    plan.work = 1.6;
    auto tally = Simulate(plan);
    EXPECT_GT(tally.short_ms, 8 * 3600000u);
    EXPECT_LE(tally.swaps, 40u);
    EXPECT_EQ(tally.swings_with_cause, 0u);
}

TEST(DaysTest, ASeedReplays)
{
    simulation::DaysPlan plan;
    plan.seed = 4;
    plan.days = 0.25;
    auto one = Simulate(plan), other = Simulate(plan);
    EXPECT_EQ(one.steps, other.steps);
    EXPECT_EQ(one.digest, other.digest);
    plan.seed = 5;
    EXPECT_NE(Simulate(plan).digest, one.digest);
}

} // namespace
