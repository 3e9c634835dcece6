// Whom an edge router sends a request to: properties that hold for any set of coordinators.

extern "C" {
#include "common/ejection.h"
#include "gateway/federation/pool.h"
}

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <numeric>
#include <string>
#include <vector>

namespace
{

struct Coordinators {
    struct random random;
    std::deque<pool_standing> standings;
    std::deque<std::string> texts;
    std::vector<pool_candidate> list;

    explicit Coordinators(uint64_t seed = 1)
    {
        random_seed(&random, seed);
    }
    pool_candidate &add(const std::string &location = "", double latency_ms = 10)
    {
        pool_standing &standing = standings.emplace_back();
        pool_standing_init(&standing);
        standing.latency_ms = latency_ms;
        pool_candidate candidate = {};
        candidate.location = texts.emplace_back(location).c_str();
        candidate.standing = &standing;
        candidate.healthy = true;
        candidate.offers = true;
        return list.emplace_back(candidate);
    }
    std::vector<uint32_t> order(unsigned rules, const char *location = "", pool_place place = {},
                                const char *continent = nullptr)
    {
        const pool_wish wish = {rules, location, place, continent};
        std::vector<uint32_t> numbers(list.size());
        EXPECT_TRUE(pool_order(list.data(), list.size(), &wish, &random, numbers.data()));
        return numbers;
    }
};

TEST(Pool, AnOrderHasEverybodyOnceAndWhoIsOutLast)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        Coordinators coordinators(seed);
        size_t count = random_below(&coordinators.random, 12);
        for (size_t i = 0; i < count; i++) {
            const char *locations[] = {"", "uk", "uk-london", "us"};
            pool_candidate &candidate = coordinators.add(locations[random_below(&coordinators.random, 4)],
                                                         random_unit(&coordinators.random) * 300);
            candidate.queue_depth = (uint32_t)random_below(&coordinators.random, 50);
            candidate.healthy = random_below(&coordinators.random, 2) == 0;
            candidate.offers = random_below(&coordinators.random, 2) == 0;
            coordinators.standings.back().out = random_below(&coordinators.random, 3) == 0;
            coordinators.standings.back().success = random_unit(&coordinators.random);
            candidate.place = {random_below(&coordinators.random, 2) == 0, random_unit(&coordinators.random) * 180 - 90,
                               random_unit(&coordinators.random) * 360 - 180};
        }
        for (unsigned rules = 0; rules <= (POOL_OFFERS | POOL_CLOSEST); rules++) {
            std::vector<uint32_t> order = coordinators.order(rules, "uk", {true, 51, 0});
            std::vector<uint32_t> sorted = order, all(count);
            std::sort(sorted.begin(), sorted.end());
            std::iota(all.begin(), all.end(), 0);
            EXPECT_EQ(sorted, all);
            const auto is_out = [&](uint32_t number) { return coordinators.list[number].standing->out; };
            EXPECT_TRUE(std::is_partitioned(order.begin(), order.end(), [&](uint32_t n) { return !is_out(n); }));
            if ((rules & POOL_OFFERS) == 0)
                continue;
            auto first_out = std::find_if(order.begin(), order.end(), is_out);
            EXPECT_TRUE(
                std::is_partitioned(order.begin(), first_out, [&](uint32_t n) { return coordinators.list[n].offers; }));
        }
    }
}

TEST(Pool, WeightIsTheSeedsFormula)
{
    Coordinators coordinators;
    pool_candidate &candidate = coordinators.add("", 9);
    EXPECT_DOUBLE_EQ(pool_weight(&candidate), 0.1);
    candidate.queue_depth = 4;
    EXPECT_DOUBLE_EQ(pool_weight(&candidate), 0.1 / 5);
    candidate.healthy = false;
    EXPECT_DOUBLE_EQ(pool_weight(&candidate), 0.1 / 5 / 2);
    coordinators.standings[0].success = 0.5;
    EXPECT_DOUBLE_EQ(pool_weight(&candidate), 0.1 / 5 / 4);
    coordinators.standings[0].latency_ms = 0;
    EXPECT_DOUBLE_EQ(pool_weight(&candidate), 1.0 / (POOL_UNMEASURED_MS + 1) / 5 / 4);
}

TEST(Pool, RequestsAreSharedByWeight)
{
    Coordinators coordinators;
    coordinators.add("", 9).queue_depth = 0;  // 1/10
    coordinators.add("", 9).queue_depth = 1;  // 1/20
    coordinators.add("", 39).queue_depth = 0; // 1/40
    std::vector<double> firsts(3), lasts(3);
    const int rounds = 20000;
    for (int i = 0; i < rounds; i++) {
        std::vector<uint32_t> order = coordinators.order(POOL_OFFERS);
        firsts[order[0]]++;
        lasts[order[2]]++;
    }
    EXPECT_NEAR(firsts[0] / rounds, 4.0 / 7, 0.02);
    EXPECT_NEAR(firsts[1] / rounds, 2.0 / 7, 0.02);
    EXPECT_NEAR(firsts[2] / rounds, 1.0 / 7, 0.02);
    EXPECT_GT(lasts[2], lasts[0]);
}

TEST(Pool, WorkersLandOnTheNearest)
{
    Coordinators coordinators;
    coordinators.add("", 200);
    coordinators.add("", 5);
    coordinators.add("", 80);
    for (int i = 0; i < 200; i++)
        EXPECT_EQ(coordinators.order(POOL_CLOSEST), (std::vector<uint32_t>{1, 2, 0})) << "by latency alone";
    coordinators.list[0].location = "uk";
    for (int i = 0; i < 200; i++)
        EXPECT_EQ(coordinators.order(POOL_CLOSEST, "UK")[0], 0u) << "a location that is given wins over latency";
    coordinators.list[2].location = "uk-london";
    EXPECT_EQ(coordinators.order(POOL_CLOSEST, "uk"), (std::vector<uint32_t>{0, 2, 1}));
    EXPECT_EQ(coordinators.order(POOL_CLOSEST, "uk-london"), (std::vector<uint32_t>{2, 0, 1}));
    EXPECT_EQ(coordinators.order(POOL_CLOSEST, "ukraine")[0], 1u) << "no part of a word";
    coordinators.standings[0].out = true;
    EXPECT_EQ(coordinators.order(POOL_CLOSEST, "uk"), (std::vector<uint32_t>{2, 1, 0}));
}

TEST(Pool, CoordinatorsAsCloseAsEachOtherShare)
{
    Coordinators coordinators;
    coordinators.add("uk", 1);
    coordinators.add("uk", 1);
    coordinators.add("us", 1);
    std::vector<int> firsts(3);
    for (int i = 0; i < 2000; i++)
        firsts[coordinators.order(POOL_CLOSEST, "uk")[0]]++;
    EXPECT_NEAR(firsts[0], 1000, 150);
    EXPECT_EQ(firsts[2], 0);
}

TEST(Pool, PlacesDecideWhereNoLocationDoes)
{
    const pool_place london = {true, 51.5, -0.1}, paris = {true, 48.9, 2.4}, sydney = {true, -33.9, 151.2};
    EXPECT_NEAR(pool_distance_km(&london, &paris), 344, 10);
    EXPECT_NEAR(pool_distance_km(&london, &sydney), 16994, 60);
    EXPECT_NEAR(pool_distance_km(&london, &london), 0, 0.001);
    Coordinators coordinators;
    coordinators.add("", 1).place = sydney;
    coordinators.add("", 300).place = paris;
    coordinators.add("", 1); // nobody knows where
    EXPECT_EQ(coordinators.order(POOL_CLOSEST, "", london), (std::vector<uint32_t>{1, 0, 2}));
}

TEST(Pool, AContinentIsSomethingTheClientIsAPartOf)
{
    Coordinators coordinators;
    coordinators.add("us", 1);
    coordinators.add("EU", 300);
    EXPECT_EQ(coordinators.order(POOL_CLOSEST, "fr", {}, "eu")[0], 1u);
    EXPECT_EQ(coordinators.order(POOL_CLOSEST, "fr", {}, "na")[0], 0u);
    EXPECT_EQ(coordinators.order(POOL_CLOSEST, "fr", {}, "")[0], 0u);
    coordinators.add("fr", 900);
    EXPECT_EQ(coordinators.order(POOL_CLOSEST, "fr", {}, "eu")[0], 2u) << "the country goes first";
}

TEST(Pool, OutAtOnceAndBackWhenItIsReached)
{
    pool_standing standing;
    pool_standing_init(&standing);
    EXPECT_TRUE(pool_failed(&standing, 1000));
    EXPECT_TRUE(standing.out);
    EXPECT_FALSE(pool_failed(&standing, 1001)) << "it was out already";
    EXPECT_TRUE(pool_answered(&standing, 5, 1002)) << "the first time it is enough to be reached";
    EXPECT_FALSE(standing.out);
    EXPECT_FALSE(pool_answered(&standing, 5, 1003));
}

TEST(Pool, WhoFailsAgainAndAgainStaysOutEverLonger)
{
    pool_standing standing;
    pool_standing_init(&standing);
    uint64_t now_ms = 1000, before_ms = 0;
    for (int i = 0; i < 12; i++) {
        ASSERT_TRUE(pool_failed(&standing, now_ms));
        uint64_t out_since_ms = now_ms;
        while (!pool_answered(&standing, 5, now_ms))
            now_ms += 100;
        uint64_t out_ms = now_ms - out_since_ms;
        EXPECT_GE(out_ms, before_ms);
        before_ms = out_ms;
    }
    EXPECT_EQ(before_ms, (uint64_t)EJECTION_LONGEST_MS);
    now_ms += POOL_FORGIVEN_MS;
    EXPECT_TRUE(pool_failed(&standing, now_ms));
    EXPECT_TRUE(pool_answered(&standing, 5, now_ms + 1)) << "and is forgiven in the end";
}

TEST(Pool, FiguresAreSmoothed)
{
    pool_standing standing;
    pool_standing_init(&standing);
    pool_answered(&standing, 100, 1);
    EXPECT_DOUBLE_EQ(standing.latency_ms, 100) << "the first one counts whole";
    pool_answered(&standing, 200, 2);
    EXPECT_DOUBLE_EQ(standing.latency_ms, 120);
    pool_answered(&standing, 0, 3);
    EXPECT_DOUBLE_EQ(standing.latency_ms, 120) << "0: not measured";
    for (int i = 0; i < 3; i++)
        pool_failed(&standing, 4);
    EXPECT_NEAR(standing.success, 0.512, 0.001);
    for (int i = 0; i < 50; i++)
        pool_answered(&standing, 120, 5);
    EXPECT_NEAR(standing.success, 1, 0.001);
}

} // namespace
