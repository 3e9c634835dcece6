// Runs of the simulation. MUSTER_SIMULATION_SEED replays one; MUSTER_SIMULATION_MINUTES and
// MUSTER_SIMULATION_WORKERS make it longer, or the fleet larger.

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "tests/simulation/simulation.h"

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
constexpr uint64_t kMinutes = 21;
#else
constexpr uint64_t kMinutes = 60;
#endif

void Simulate(uint64_t seed)
{
    simulation::Plan plan;
    plan.seed = FromEnvironment("MUSTER_SIMULATION_SEED", seed);
    plan.workers = FromEnvironment("MUSTER_SIMULATION_WORKERS", 1000);
    plan.duration_ms = FromEnvironment("MUSTER_SIMULATION_MINUTES", kMinutes) * 60 * 1000;
    // What the cores' tables are walked in is of the seed too.
    map_use_seed(plan.seed);
    simulation::Simulation run(plan);
    bool held = run.Run();
    const auto &t = run.tally;
    std::printf("seed %llu: %llu steps, %llu registrations, %llu removals, %llu kills, %llu silent deaths, "
                "%llu leaves, %llu crashes, %llu partitions, %llu picks, %llu bounds and %llu lives checked\n",
                (unsigned long long)plan.seed, (unsigned long long)t.steps, (unsigned long long)t.registrations,
                (unsigned long long)t.removals, (unsigned long long)t.kills, (unsigned long long)t.silent_deaths,
                (unsigned long long)t.leaves, (unsigned long long)t.crashes, (unsigned long long)t.partitions,
                (unsigned long long)t.picks, (unsigned long long)t.bounds_checked, (unsigned long long)t.lives_checked);
    EXPECT_TRUE(held) << run.failure << "\nreplay it with MUSTER_SIMULATION_SEED=" << plan.seed;
    // A run in which nothing happened proves nothing.
    EXPECT_GT(t.registrations, plan.workers);
    EXPECT_GT(t.removals, 0u);
    EXPECT_GT(t.crashes, 0u);
    EXPECT_GT(t.partitions, 0u);
    EXPECT_GT(t.bounds_checked, 0u);
    EXPECT_GT(t.lives_checked, 0u);
}

TEST(SimulationTest, Seed1)
{
    Simulate(1);
}

TEST(SimulationTest, Seed2)
{
    Simulate(2);
}

TEST(SimulationTest, Seed3)
{
    Simulate(3);
}

} // namespace
