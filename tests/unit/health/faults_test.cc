// The core of muster-health: workers that come and go, fleets that fall silent, heartbeats that are too many.

#include "tests/unit/health/health_fixture.h"

extern "C" {
#include "services/health/brake.h"
#include "services/health/flapping.h"
}

namespace health_test
{

// --- The brake, alone ---

TEST(Brake, IsOnAboveItsShareAndOnlyInAFleet)
{
    struct brake brake = {{0.55, 10}, 0, 0, 0};
    EXPECT_FALSE(brake_is_on(&brake, 55, 100));
    EXPECT_TRUE(brake_is_on(&brake, 56, 100));
    EXPECT_FALSE(brake_is_on(&brake, 9, 9)) << "too small to tell";
    EXPECT_TRUE(brake_is_on(&brake, 10, 10));
    brake.settings.share = 0;
    EXPECT_FALSE(brake_is_on(&brake, 100, 100));
}

TEST(Brake, LetsATrickleThroughAndAllAgainWhenItEnds)
{
    struct brake brake = {{0.55, 10}, 0, 0, 0};
    uint64_t now = 1000;
    EXPECT_FALSE(brake_allows(&brake, 100, 100, now)) << "not even the first one at once";
    unsigned evicted = 0;
    for (int second = 0; second < 100; second++, now += 1000)
        evicted += brake_allows(&brake, 100, 100, now) ? 1 : 0;
    EXPECT_GE(evicted, 9u);
    EXPECT_LE(evicted, 10u) << "one in ten seconds";
    for (int i = 0; i < 50; i++)
        EXPECT_TRUE(brake_allows(&brake, 40, 100, now));
}

TEST(Brake, AFleetThatIsGoneForGoodIsOffTheRollInTheEnd)
{
    for (uint64_t fleet : {uint64_t{10}, uint64_t{1000}, uint64_t{36000}}) {
        struct brake brake = {{0.55, 10}, 0, 0, 0};
        uint64_t left = fleet, now = 1;
        while (left > 0) {
            while (left > 0 && brake_allows(&brake, left, left, now))
                left--;
            now += 1000;
            ASSERT_LE(now, 1000u * 10 * std::max<uint64_t>(fleet + 1, BRAKE_WHOLE_FLEET_S / 10 + 1)) << fleet;
        }
    }
}

TEST(Brake, WorkersAskAgainSpreadOverTime)
{
    uint64_t first = UINT64_MAX, last = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t at = brake_ask_again_ms(("worker-" + std::to_string(i)).c_str(), 5000);
        first = std::min(first, at);
        last = std::max(last, at);
    }
    EXPECT_GE(first, 15000u);
    EXPECT_LT(last, 35000u);
    EXPECT_GT(last - first, 10000u);
}

// --- Flapping, alone ---

class Flapping : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        flapping_settings settings = {15000, 600000};
        flapping_init(&flapping_, &settings);
    }
    void TearDown() override
    {
        flapping_free(&flapping_);
    }
    uint64_t LoseAndReturn(const char *id, uint64_t now)
    {
        flapping_lost(&flapping_, id, now);
        return flapping_returned(&flapping_, id, now + 1000).hold_ms;
    }
    struct flapping flapping_;
};

TEST_F(Flapping, HoldsLongerEachTimeUpToABound)
{
    const uint64_t expected[] = {0, 0, 15000, 30000, 60000, 120000, 240000, 480000, 600000, 600000};
    uint64_t now = 1000;
    for (uint64_t hold : expected) {
        EXPECT_EQ(LoseAndReturn("w", now), hold);
        now += 10000;
    }
    EXPECT_EQ(LoseAndReturn("other", now), 0u);
    EXPECT_EQ(flapping_hold_of(&flapping_, "w").losses, 10u);
    EXPECT_EQ(flapping_hold_of(&flapping_, "nobody").until_ms, 0u);
}

TEST_F(Flapping, OneLossIsForgottenForEachQuietWhile)
{
    uint64_t now = 1000;
    for (int i = 0; i < 4; i++)
        LoseAndReturn("w", now);
    EXPECT_EQ(LoseAndReturn("w", now + FLAPPING_FORGET_MS - 1), 60000u) << "the fifth";
    now += FLAPPING_FORGET_MS - 1;
    EXPECT_EQ(LoseAndReturn("w", now + 3 * FLAPPING_FORGET_MS), 15000u) << "two were left";
    now += 3 * FLAPPING_FORGET_MS;
    EXPECT_EQ(LoseAndReturn("w", now + 10 * FLAPPING_FORGET_MS), 0u);
}

TEST_F(Flapping, TheTableHasAnEnd)
{
    for (size_t i = 0; i < FLAPPING_IDS_MAX + 1000; i++)
        flapping_lost(&flapping_, ("w" + std::to_string(i)).c_str(), 1000);
    EXPECT_LE(flapping_.ids.count, static_cast<size_t>(FLAPPING_IDS_MAX));
    for (size_t i = 0; i < FLAPPING_IDS_MAX; i++) // each new one lets two old ones go
        flapping_lost(&flapping_, ("v" + std::to_string(i % 60000)).c_str(), 1000 + 2 * FLAPPING_FORGET_MS);
    EXPECT_LE(flapping_.ids.count, 60000u);
}

// --- In the core ---

class Faults : public HealthTest
{
  protected:
    health_settings Settings() const override
    {
        return {{90000, 120000, 5000}, {0.55, 10}, {15000, 600000}, 100};
    }
    void PutFleet(int count)
    {
        for (int i = 0; i < count; i++)
            ASSERT_TRUE(Put({Id(i)}));
    }
    static std::string Id(int i)
    {
        return "w" + std::to_string(i);
    }
    void Hear(int first, int end)
    {
        auto *stream = health_stream_open(health_, nullptr);
        for (int i = first; i < end; i++)
            Send(stream, {{Id(i)}}, true);
        health_stream_closed(health_, stream, now_);
    }
    std::string Warning() const
    {
        char text[HEALTH_WARNING_BYTES];
        health_warning(health_, text);
        return text;
    }
    uint64_t Removed()
    {
        uint64_t before = health_count(health_).workers;
        Report();
        return before - health_count(health_).workers;
    }
};

TEST_F(Faults, AFewThatAreGoneAreTakenOffAtOnce)
{
    Synchronise();
    PutFleet(20);
    To(60000);
    Hear(0, 10);
    To(119999);
    EXPECT_EQ(Removed(), 0u);
    To(120000);
    EXPECT_EQ(Removed(), 10u) << "half of the fleet is within the share";
    EXPECT_EQ(Warning(), "");
}

TEST_F(Faults, WhenMostFallSilentEvictionsSlowDownAndEndWhenTheyReturn)
{
    Synchronise();
    PutFleet(20);
    auto *watcher = health_watcher_open(health_);
    Watch(watcher);
    To(60000);
    Hear(0, 8);
    To(120000);
    EXPECT_EQ(Removed(), 0u);
    EXPECT_EQ(Status("w10"), WORKER_OFFLINE) << "out of routing all the same";
    EXPECT_EQ(health_count(health_).braked, 12u);
    EXPECT_NE(Warning().find("12 of 20 workers"), std::string::npos) << Warning();
    EXPECT_EQ(Watch(watcher)["w10"].reason, "not heard for 120 s; evictions are slowed down");
    EXPECT_TRUE(health_check(health_));
    To(140000);
    EXPECT_LE(Removed(), 2u);
    Hear(0, 20);
    To(170000);
    EXPECT_EQ(health_count(health_).braked, 0u);
    EXPECT_EQ(Warning(), "");
    EXPECT_GE(health_count(health_).online, 18u);
    EXPECT_EQ(health_count(health_).held, 0u) << "nobody is punished for what all shared";
    health_watcher_close(health_, watcher);
}

// A fleet is judged a part at a time, so that heartbeats get their turn in between.
TEST_F(HealthTest, LeasesThatEndAtOnceAreSpreadOverCalls)
{
    Synchronise();
    const size_t count = 3 * HEALTH_LEASES_AT_ONCE - 1;
    std::vector<std::string> ids;
    for (size_t i = 0; i < count; i++) {
        ids.push_back("w" + std::to_string(i));
        ASSERT_TRUE(Put({ids.back()}));
    }
    health_stream *stream = health_stream_open(health_, nullptr);
    To(89999);
    EXPECT_EQ(health_count(health_).degraded, 0u);
    To(90010);
    EXPECT_EQ(health_count(health_).degraded, HEALTH_LEASES_AT_ONCE);
    EXPECT_EQ(health_next_ms(health_), now_ + HEALTH_LEASES_REST_MS) << "some are left, for later";
    To(90010 + HEALTH_LEASES_REST_MS - 1);
    EXPECT_EQ(health_count(health_).degraded, HEALTH_LEASES_AT_ONCE);
    // One of those that are left is heard; its lease has not ended any more.
    now_ = kStart + 90020;
    ASSERT_EQ(Send(stream, {{ids.back()}}), HEALTH_MESSAGE_TAKEN);
    To(90020);
    EXPECT_EQ(health_count(health_).degraded, 2 * HEALTH_LEASES_AT_ONCE);
    To(90020 + HEALTH_LEASES_REST_MS);
    EXPECT_EQ(health_count(health_).degraded, count - 1);
    EXPECT_EQ(Status(ids.back().c_str()), WORKER_ONLINE);
    EXPECT_GT(health_next_ms(health_), now_);
    for (int turn = 0; turn < 3; turn++)
        To(120000 + static_cast<uint64_t>(turn) * HEALTH_LEASES_REST_MS);
    EXPECT_EQ(health_count(health_).removed, count - 1);
    EXPECT_EQ(Status(ids.back().c_str()), WORKER_ONLINE);
    health_stream_closed(health_, stream, now_);
}

TEST_F(Faults, AFleetThatIsGoneForGoodEndsByItself)
{
    Synchronise();
    PutFleet(30);
    for (uint64_t ms = 120000; health_count(health_).workers > 0; ms += 1000) {
        ASSERT_LE(ms, 120000u + 400 * 1000u) << health_count(health_).workers << " are left";
        To(ms);
        Report();
    }
    EXPECT_EQ(Warning(), "");
}

TEST_F(Faults, BrokenStreamsOfMostAreBrakedToo)
{
    Synchronise();
    PutFleet(20);
    std::vector<health_stream *> streams;
    for (int i = 0; i < 15; i++) {
        streams.push_back(health_stream_open(health_, nullptr));
        Send(streams.back(), {{Id(i)}});
    }
    To(1000);
    for (auto *stream : streams)
        health_stream_closed(health_, stream, now_);
    EXPECT_EQ(Status("w3"), WORKER_OFFLINE);
    To(6000);
    EXPECT_EQ(Removed(), 0u);
    EXPECT_EQ(health_count(health_).braked, 15u);
}

TEST_F(Faults, WatchersHearThatARegistrationIsHeld)
{
    Synchronise();
    auto *watcher = health_watcher_open(health_);
    Watch(watcher);
    for (uint64_t incarnation = 1; incarnation <= 4; incarnation++) {
        ASSERT_TRUE(Put({"w", incarnation}));
        auto seen = Watch(watcher);
        EXPECT_EQ(seen.count("w"), incarnation <= 3 ? 0u : 1u) << "two losses are free";
        if (incarnation == 4) {
            EXPECT_EQ(seen["w"].status, WORKER_OFFLINE);
        }
        auto *stream = health_stream_open(health_, nullptr);
        Send(stream, {{"w", incarnation}});
        health_stream_closed(health_, stream, now_);
        To(now_ - kStart + 5000);
        EXPECT_EQ(Report()["w"], WORKER_REMOVED);
        WatchMessage removal(++revision_);
        ASSERT_TRUE(Apply(removal.Remove("w", incarnation)));
        Watch(watcher);
    }
    health_watcher_close(health_, watcher);
}

TEST_F(Faults, AWorkerThatComesAndGoesIsHeldEachTimeLonger)
{
    Synchronise();
    PutFleet(3);
    auto *watcher = health_watcher_open(health_);
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, {{"w0"}});
    auto break_and_return = [&] {
        health_stream_closed(health_, stream, now_);
        EXPECT_EQ(Status("w0"), WORKER_OFFLINE);
        stream = health_stream_open(health_, nullptr);
        Send(stream, {{"w0"}});
    };
    for (int i = 0; i < 2; i++) {
        break_and_return();
        EXPECT_EQ(Status("w0"), WORKER_ONLINE) << "the first two are free";
    }
    break_and_return();
    EXPECT_EQ(Watch(watcher)["w0"].reason, "held out of routing for 15 s: it was lost 3 times lately");
    break_and_return();
    EXPECT_EQ(Status("w0"), WORKER_OFFLINE);
    auto seen = Watch(watcher)["w0"];
    EXPECT_NE(seen.reason.find("held out of routing for 30 s: it was lost 4 times"), std::string::npos) << seen.reason;
    EXPECT_EQ(health_count(health_).held, 1u);
    EXPECT_TRUE(health_check(health_));
    uint64_t began = now_ - kStart;
    To(began + 29999);
    Send(stream, {{"w0"}});
    EXPECT_EQ(Status("w0"), WORKER_OFFLINE) << "heartbeats do not end it";
    To(began + 30000);
    EXPECT_EQ(Status("w0"), WORKER_ONLINE) << "it ends by itself";
    EXPECT_EQ(health_count(health_).held, 0u);
    health_stream_closed(health_, stream, now_);
    health_watcher_close(health_, watcher);
}

TEST_F(Faults, ARemovalDoesNotWashItClean)
{
    Synchronise();
    PutFleet(3);
    uint64_t incarnation = 1, at = 0;
    for (int i = 0; i < 3; i++) {
        auto *stream = health_stream_open(health_, nullptr);
        Send(stream, {{"w0", incarnation}});
        health_stream_closed(health_, stream, now_);
        To(at += 6000);
        EXPECT_EQ(Report()["w0"], WORKER_REMOVED);
        ASSERT_TRUE(Put({"w0", ++incarnation}));
        EXPECT_EQ(Status("w0"), i < 2 ? WORKER_ONLINE : WORKER_OFFLINE) << i;
    }
    To(at + 15000);
    EXPECT_EQ(Status("w0"), WORKER_ONLINE);
}

TEST_F(Faults, TooManyHeartbeatsAreRefusedAndTheWorkerIsToldOnce)
{
    Synchronise();
    PutFleet(2);
    To(10000);
    auto *stream = health_stream_open(health_, nullptr);
    std::vector<Beat> many(1000, Beat{"w0"});
    many.push_back({"w1"});
    Send(stream, many);
    EXPECT_EQ(health_count(health_).limited, 800u) << "twice the limit at once, and no more";
    EXPECT_EQ(health_count(health_).heartbeats, 201u) << "w1 is not hurt";
    Muster__V1__HeartbeatResponse response;
    ASSERT_TRUE(health_stream_response(health_, stream, &response));
    ASSERT_EQ(response.n_commands, 1u);
    EXPECT_EQ(response.commands[0]->type, MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_SLOW_DOWN);
    EXPECT_EQ(response.commands[0]->index, 200u);
    To(11000); // a second gives room for a hundred
    Send(stream, std::vector<Beat>(100, Beat{"w0"}));
    EXPECT_EQ(health_count(health_).limited, 800u);
    Send(stream, {{"w0"}});
    EXPECT_EQ(health_count(health_).limited, 801u);
    EXPECT_EQ(Status("w0"), WORKER_ONLINE);
    health_stream_closed(health_, stream, now_);
}

TEST_F(Faults, EachRelayedHeartbeatThatIsRefusedIsAnswered)
{
    Synchronise();
    PutFleet(1);
    auto *stream = health_stream_open(health_, nullptr);
    Send(stream, std::vector<Beat>(203, Beat{"w0"}), true);
    Muster__V1__HeartbeatResponse response;
    ASSERT_TRUE(health_stream_response(health_, stream, &response));
    ASSERT_EQ(response.n_commands, 3u);
    EXPECT_EQ(response.commands[2]->index, 202u);
    health_stream_closed(health_, stream, now_);
}

} // namespace health_test
