// The hash table under churn: a fifth of the nodes leave each hour, without a word, and as many
// come. MUSTER_SIMULATION_SEED replays a run.
//
// What the paper says (Maymounkov and Mazieres 2002): a lookup takes ceil(log2 n) + c steps
// (section 3), and k is chosen so that k nodes hardly ever fail within an hour of each other
// (section 2.4): with a fifth leaving each hour, all of 20 holders do so with a chance of 0.2^20,
// 1e-14.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "tests/simulation/dht_world.h"

namespace
{

constexpr uint64_t kMinuteMs = 60 * 1000;

struct Result {
    size_t nodes = 0;
    uint64_t values_sought = 0, values_found = 0;   // their publishers are there
    uint64_t orphans_sought = 0, orphans_found = 0; // their publishers have left, their time is not over
    uint64_t nearest_sought = 0, nearest_found = 0;
    uint64_t hops = 0, asked = 0, failed = 0;
    uint64_t left = 0, came = 0;
    double messages_per_node_minute = 0;

    double mean_hops() const
    {
        return static_cast<double>(hops) / static_cast<double>(nearest_sought);
    }
    double success() const
    {
        return static_cast<double>(values_found + nearest_found) / static_cast<double>(values_sought + nearest_sought);
    }
};

struct Published {
    size_t publisher;
    std::string key, data;
    uint64_t left_at_ms = 0; // its publisher
};

class Churn
{
  public:
    Churn(uint64_t seed, size_t count) : nodes(count), world(seed, dht_node_default_settings, dht::Network())
    {
        result.nodes = count;
    }

    Result Go(uint64_t minutes, uint64_t lookups)
    {
        // Everybody joins within 20 minutes, through somebody who is there.
        for (size_t i = 0; i < nodes; i++)
            world.At(world.now_ms() + 1 + i * 20 * kMinuteMs / nodes, [this] { world.Join(); });
        world.Run(30 * kMinuteMs);
        for (size_t i = 0; i < nodes / 5 + 10; i++)
            Publish();
        world.Run(2 * kMinuteMs);
        uint64_t begin_ms = world.now_ms(), messages = world.messages;
        uint64_t events = nodes / 5 * minutes / 60;
        for (uint64_t i = 0; i < events; i++) {
            world.At(begin_ms + random_below(&world.random, minutes * kMinuteMs), [this] { LeaveOne(); });
            world.At(begin_ms + random_below(&world.random, minutes * kMinuteMs), [this] {
                world.Join();
                result.came++;
            });
        }
        for (uint64_t i = 0; i < lookups; i++) {
            world.At(begin_ms + random_below(&world.random, minutes * kMinuteMs), [this] { SeekValue(); });
            world.At(begin_ms + random_below(&world.random, minutes * kMinuteMs), [this] { SeekNearest(); });
        }
        world.Run(minutes * kMinuteMs);
        result.messages_per_node_minute =
            static_cast<double>(world.messages - messages) / static_cast<double>(nodes) / static_cast<double>(minutes);
        world.Run(2 * kMinuteMs);
        return result;
    }

  private:
    void Publish()
    {
        size_t publisher = world.RandomAlive();
        std::string number = std::to_string(published.size());
        published.push_back({publisher, "worker:service-" + number, "value " + number});
        by_publisher.emplace(publisher, published.size() - 1);
        world.Publish(publisher, published.back().key, published.back().data);
    }

    void LeaveOne()
    {
        size_t index = world.RandomAlive();
        world.Leave(index);
        result.left++;
        auto range = by_publisher.equal_range(index);
        for (auto at = range.first; at != range.second; ++at)
            published[at->second].left_at_ms = world.now_ms();
    }

    // One that has been there long enough to have found its place.
    size_t Seeker()
    {
        size_t index = world.RandomAlive();
        while (!dht_node_joined(world.node(index).core))
            index = world.RandomAlive();
        return index;
    }

    void SeekValue()
    {
        const Published &sought = published[random_below(&world.random, published.size())];
        // It was stored again no longer than a third of its lifetime ago when its publisher left.
        bool orphan = sought.left_at_ms != 0;
        if (orphan && world.now_ms() - sought.left_at_ms > 38 * kMinuteMs)
            return;
        (orphan ? result.orphans_sought : result.values_sought)++;
        dht_id id = dht_id_of(sought.key.data(), sought.key.size());
        std::string data = sought.data;
        world.Find(Seeker(), id, true, [this, data, orphan](const dht_found &found) {
            for (size_t i = 0; i < found.lookup->value_count; i++) {
                const dht_value *value = found.lookup->values[i];
                if (std::string(reinterpret_cast<const char *>(value->data), value->data_bytes) != data)
                    continue;
                (orphan ? result.orphans_found : result.values_found)++;
                return;
            }
        });
    }

    void SeekNearest()
    {
        dht_id target;
        for (auto &byte : target.bytes)
            byte = static_cast<uint8_t>(random_next(&world.random));
        size_t expected = world.Nearest(target), seeker = Seeker();
        if (seeker == expected)
            return; // it knows itself
        world.Find(seeker, target, false, [this, target, expected](const dht_found &found) {
            dht_contact *nearest = nullptr;
            result.nearest_sought++;
            result.hops += dht_lookup_hops(found.lookup);
            result.asked += found.lookup->asked;
            result.failed += found.lookup->failed;
            // One that has left meanwhile cannot be found; one that came nearer may.
            size_t best = world.IsAlive(expected) ? expected : world.Nearest(target);
            if (dht_lookup_nearest(found.lookup, &nearest, 1) == 1 &&
                dht_id_compare_distance(&target, &nearest->id, &world.node(best).contact->id) <= 0)
                result.nearest_found++;
        });
    }

    size_t nodes;
    dht::World world;
    Result result;
    std::vector<Published> published;
    std::multimap<size_t, size_t> by_publisher;
};

uint64_t Seed()
{
    const char *text = std::getenv("MUSTER_SIMULATION_SEED");
    return text == nullptr ? 1 : std::strtoull(text, nullptr, 10);
}

double Share(uint64_t part, uint64_t all)
{
    return all == 0 ? 100 : 100.0 * static_cast<double>(part) / static_cast<double>(all);
}

void Print(const Result &r)
{
    double log2 = std::log2(static_cast<double>(r.nodes));
    std::printf("%6zu nodes, %llu left, %llu came: values found %.2f %% of %llu (of publishers that left %.2f %% of "
                "%llu), nearest node found %.2f %% of %llu\n",
                r.nodes, (unsigned long long)r.left, (unsigned long long)r.came, Share(r.values_found, r.values_sought),
                (unsigned long long)r.values_sought, Share(r.orphans_found, r.orphans_sought),
                (unsigned long long)r.orphans_sought, Share(r.nearest_found, r.nearest_sought),
                (unsigned long long)r.nearest_sought);
    std::printf("              hops %.2f (the paper: at most ceil(log2 n) + c, log2 n = %.1f), nodes asked %.1f, "
                "of which %.1f did not answer, %.1f messages a node and minute\n",
                r.mean_hops(), log2, static_cast<double>(r.asked) / static_cast<double>(r.nearest_sought),
                static_cast<double>(r.failed) / static_cast<double>(r.nearest_sought), r.messages_per_node_minute);
}

void Check(const Result &r)
{
    Print(r);
    EXPECT_GT(r.success(), 0.995);
    EXPECT_GT(Share(r.values_found, r.values_sought), 99.5);
    EXPECT_GT(Share(r.orphans_found, r.orphans_sought), 99.5);
    EXPECT_LE(r.mean_hops(), std::ceil(std::log2(static_cast<double>(r.nodes))));
    // A run in which nothing happened proves nothing.
    EXPECT_GT(r.left, 0u);
    EXPECT_GT(r.came, 0u);
    EXPECT_GT(r.values_sought, 0u);
    EXPECT_GT(r.nearest_sought, 0u);
}

#ifdef DHT_SIMULATION_LARGE

TEST(DhtSimulation, TenThousandNodesAndHopsThatGrowWithTheLogarithm)
{
    Result hundred = Churn(Seed(), 100).Go(60, 2000);
    Result thousand = Churn(Seed(), 1000).Go(60, 2000);
    Result ten_thousand = Churn(Seed(), 10000).Go(60, 3000);
    Check(hundred);
    Check(thousand);
    Check(ten_thousand);
    // Each ten times as many nodes cost about as many hops more, and never more than the paper's
    // log2(10).
    double first = thousand.mean_hops() - hundred.mean_hops();
    double second = ten_thousand.mean_hops() - thousand.mean_hops();
    std::printf("ten times as many nodes: %.2f and %.2f hops more (log2 10 = 3.32)\n", first, second);
    EXPECT_GT(first, 0);
    EXPECT_GT(second, 0);
    EXPECT_LT(first, std::log2(10));
    EXPECT_LT(second, std::log2(10));
    EXPECT_LT(second, 2 * first + 0.5);
}

#else

TEST(DhtSimulation, AHundredNodes)
{
    Check(Churn(Seed(), 100).Go(60, 1000));
}

TEST(DhtSimulation, ASeedReplaysARun)
{
    Result first = Churn(7, 100).Go(30, 200), second = Churn(7, 100).Go(30, 200), other = Churn(8, 100).Go(30, 200);
    EXPECT_EQ(first.hops, second.hops);
    EXPECT_EQ(first.asked, second.asked);
    EXPECT_EQ(first.values_sought, second.values_sought);
    EXPECT_EQ(first.messages_per_node_minute, second.messages_per_node_minute);
    EXPECT_NE(first.messages_per_node_minute, other.messages_per_node_minute);
}

TEST(DhtSimulation, FiveHundredNodes)
{
    Check(Churn(Seed(), 500).Go(60, 1000));
}

#endif

} // namespace
