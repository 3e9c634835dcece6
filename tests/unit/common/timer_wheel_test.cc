// The wheel against the obvious model: a sorted map of expiry times.

extern "C" {
#include "common/random.h"
#include "common/timer_wheel.h"
}

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <vector>

namespace
{

struct Fixture {
    timer_wheel wheel;
    std::vector<std::pair<int, uint64_t>> expired; // id, wheel time

    explicit Fixture(uint64_t now)
    {
        timer_wheel_init(&wheel, now);
    }
};

struct Entry {
    timer t{};
    Fixture *fixture = nullptr;
    int id = 0;
};

void on_expired(timer *, void *argument)
{
    Entry *entry = static_cast<Entry *>(argument);
    entry->fixture->expired.emplace_back(entry->id, entry->fixture->wheel.now_ms);
}

void start(Fixture &fixture, Entry &entry, int id, uint64_t at)
{
    entry.fixture = &fixture;
    entry.id = id;
    timer_start(&fixture.wheel, &entry.t, at, on_expired, &entry);
}

TEST(TimerWheel, ExpiresAtItsMillisecondNotBefore)
{
    for (uint64_t delay :
         {1ull, 2ull, 63ull, 64ull, 65ull, 4095ull, 4096ull, 90000ull, 120000ull, 1073741824ull, 5000000000ull}) {
        Fixture fixture(123456789);
        Entry entry;
        start(fixture, entry, 1, 123456789 + delay);
        timer_wheel_advance(&fixture.wheel, 123456789 + delay - 1);
        EXPECT_TRUE(fixture.expired.empty()) << delay;
        EXPECT_TRUE(timer_active(&entry.t));
        timer_wheel_advance(&fixture.wheel, 123456789 + delay);
        ASSERT_EQ(fixture.expired.size(), 1u) << delay;
        EXPECT_EQ(fixture.expired[0].second, 123456789 + delay);
        EXPECT_FALSE(timer_active(&entry.t));
    }
}

TEST(TimerWheel, PastExpiryComesWithTheNextAdvance)
{
    Fixture fixture(1000);
    Entry entry;
    start(fixture, entry, 1, 10);
    EXPECT_EQ(timer_wheel_advance(&fixture.wheel, 1000), 0u);
    EXPECT_EQ(timer_wheel_advance(&fixture.wheel, 1001), 1u);
}

TEST(TimerWheel, TimeNeverGoesBack)
{
    Fixture fixture(1000);
    timer_wheel_advance(&fixture.wheel, 2000);
    EXPECT_EQ(timer_wheel_advance(&fixture.wheel, 1500), 0u);
    EXPECT_EQ(fixture.wheel.now_ms, 2000u);
}

void restart_until_done(timer *t, void *argument)
{
    Entry *entry = static_cast<Entry *>(argument);
    entry->fixture->expired.emplace_back(entry->id, entry->fixture->wheel.now_ms);
    if (entry->fixture->expired.size() < 5)
        timer_start(&entry->fixture->wheel, t, entry->fixture->wheel.now_ms + 100, restart_until_done, entry);
}

TEST(TimerWheel, MayBeStartedAgainInsideItsExpiry)
{
    Fixture fixture(0);
    Entry entry;
    entry.fixture = &fixture;
    timer_start(&fixture.wheel, &entry.t, 100, restart_until_done, &entry);
    timer_wheel_advance(&fixture.wheel, 10000);
    ASSERT_EQ(fixture.expired.size(), 5u);
    for (size_t i = 0; i < 5; i++)
        EXPECT_EQ(fixture.expired[i].second, 100 * (i + 1));
}

struct StopOther {
    Fixture *fixture;
    timer *other;
};

TEST(TimerWheel, MayStopAnotherThatIsDueInTheSameMillisecond)
{
    Fixture fixture(0);
    timer first{};
    Entry second;
    StopOther stop{&fixture, &second.t};
    timer_start(
        &fixture.wheel, &first, 70,
        [](timer *, void *argument) {
            auto *s = static_cast<StopOther *>(argument);
            timer_stop(&s->fixture->wheel, s->other);
        },
        &stop);
    start(fixture, second, 2, 70);
    EXPECT_EQ(timer_wheel_advance(&fixture.wheel, 100), 1u);
    EXPECT_TRUE(fixture.expired.empty());
    EXPECT_TRUE(timer_wheel_check(&fixture.wheel));
    EXPECT_EQ(fixture.wheel.count, 0u);
}

TEST(TimerWheel, CallsSomeOfManyAndSaysThatMoreAreDue)
{
    Fixture fixture(1000);
    std::vector<std::unique_ptr<Entry>> entries;
    for (int i = 0; i < 10; i++) {
        entries.push_back(std::make_unique<Entry>());
        start(fixture, *entries.back(), i, i < 7 ? 1100 : 1200);
    }
    EXPECT_EQ(timer_wheel_advance_some(&fixture.wheel, 1300, 3), 3u);
    EXPECT_EQ(fixture.wheel.now_ms, 1100u);
    EXPECT_EQ(timer_wheel_next_ms(&fixture.wheel), 1100u);
    EXPECT_TRUE(timer_wheel_check(&fixture.wheel));
    timer_stop(&fixture.wheel, &entries[4]->t); // one of those that wait
    Entry later;
    start(fixture, later, 10, 1000); // comes with time, not with those
    EXPECT_EQ(timer_wheel_advance_some(&fixture.wheel, 1300, 3), 3u);
    EXPECT_TRUE(timer_wheel_check(&fixture.wheel));
    EXPECT_EQ(timer_wheel_advance_some(&fixture.wheel, 1300, 100), 4u);
    EXPECT_EQ(fixture.wheel.now_ms, 1300u);
    EXPECT_EQ(timer_wheel_next_ms(&fixture.wheel), UINT64_MAX);
    std::vector<std::pair<int, uint64_t>> expected = {{0, 1100}, {1, 1100},  {2, 1100}, {3, 1100}, {5, 1100},
                                                      {6, 1100}, {10, 1101}, {7, 1200}, {8, 1200}, {9, 1200}};
    EXPECT_EQ(fixture.expired, expected);
}

TEST(TimerWheel, AgreesWithASortedMapOverRandomRuns)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct random generator;
        random_seed(&generator, seed);
        Fixture fixture(random_below(&generator, uint64_t{1} << 40));
        std::vector<std::unique_ptr<Entry>> entries;
        std::map<int, uint64_t> model; // id -> expiry, not before now + 1
        for (int i = 0; i < 200; i++)
            entries.push_back(std::make_unique<Entry>());
        for (int step = 0; step < 3000; step++) {
            uint64_t now = fixture.wheel.now_ms;
            int id = static_cast<int>(random_below(&generator, entries.size()));
            uint64_t span = uint64_t{1} << random_below(&generator, 34);
            switch (random_below(&generator, 4)) {
            case 0:
            case 1: {
                uint64_t at = now + random_below(&generator, span);
                start(fixture, *entries[id], id, at);
                model[id] = std::max(at, now + 1);
                break;
            }
            case 2:
                timer_stop(&fixture.wheel, &entries[id]->t);
                model.erase(id);
                break;
            default: {
                uint64_t next = UINT64_MAX;
                for (auto &[_, at] : model)
                    next = std::min(next, at);
                ASSERT_LE(timer_wheel_next_ms(&fixture.wheel), next);
                uint64_t to = now + random_below(&generator, span);
                fixture.expired.clear();
                timer_wheel_advance(&fixture.wheel, to);
                std::map<int, uint64_t> due;
                for (auto it = model.begin(); it != model.end();) {
                    if (it->second <= to) {
                        due.insert(*it);
                        it = model.erase(it);
                    } else {
                        ++it;
                    }
                }
                ASSERT_EQ(fixture.expired.size(), due.size()) << "seed " << seed << " step " << step;
                uint64_t last = 0;
                for (auto &[which, at] : fixture.expired) {
                    ASSERT_EQ(due[which], at) << "seed " << seed << " step " << step;
                    ASSERT_GE(at, last);
                    last = at;
                }
            }
            }
            ASSERT_TRUE(timer_wheel_check(&fixture.wheel)) << "seed " << seed << " step " << step;
            ASSERT_EQ(fixture.wheel.count, model.size());
        }
    }
}

} // namespace
