// Values, and the store that keeps them within its limits.

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/unit/dht/ids.h"

namespace
{

constexpr int64_t kUnixMs = 1700000000000;

TEST(ValueTest, TimesOfStrangersAreBelievedWithinLimits)
{
    struct {
        int64_t issued_at_ms, lifetime_ms, remaining_ms;
        const char *what;
    } cases[] = {
        {kUnixMs, 1000, 1000, "fresh"},
        {kUnixMs - 999, 1000, 1, "nearly over"},
        {kUnixMs - 1000, 1000, 0, "over"},
        {kUnixMs + DHT_CLOCK_SLACK_MS, 1000, 1000, "a fast clock, never longer than its lifetime"},
        {kUnixMs + DHT_CLOCK_SLACK_MS + 1, 1000, 0, "too fast a clock"},
        {kUnixMs, 0, 0, "no lifetime"},
        {kUnixMs, -1, 0, "a negative one"},
        {kUnixMs, DHT_LIFETIME_MS_MAX, DHT_LIFETIME_MS_MAX, "the longest"},
        {kUnixMs, DHT_LIFETIME_MS_MAX + 1, 0, "too long"},
        {kUnixMs, INT64_MAX, 0, "far too long"},
        {INT64_MAX, 1000, 0, "the end of time"},
        {INT64_MIN, 1000, 0, "its beginning"},
    };
    for (const auto &one : cases) {
        dht_value *value = Value(1, "k", "d", one.issued_at_ms, one.lifetime_ms);
        EXPECT_EQ(dht_value_remaining_ms(value, kUnixMs), one.remaining_ms) << one.what;
        dht_value_release(value);
    }
}

class StoreTest : public ::testing::Test
{
  protected:
    StoreTest()
    {
        random_seed(&random, 1);
        limits = Defaults();
        dht_store_init(&store, &limits);
    }
    ~StoreTest() override
    {
        dht_store_free(&store);
    }

    static dht_store_limits Defaults()
    {
        dht_store_limits all = DHT_STORE_DEFAULT_LIMITS;
        return all;
    }

    void Limit(const dht_store_limits &some)
    {
        dht_store_free(&store);
        dht_store_init(&store, &some);
    }

    dht_put Put(uint8_t publisher, const std::string &key, const std::string &data, int64_t issued_ago_ms = 0,
                uint64_t now_ms = 1000)
    {
        dht_value *value = Value(publisher, key, data, kUnixMs - issued_ago_ms);
        dht_put result = dht_store_put(&store, value, now_ms, kUnixMs, &random);
        dht_value_release(value);
        return result;
    }

    std::vector<std::string> Get(const std::string &key, uint64_t now_ms = 1000)
    {
        dht_value *values[256];
        dht_id id = dht_id_of(key.data(), key.size());
        bool more;
        size_t count = dht_store_get(&store, &id, nullptr, now_ms, values, 256, SIZE_MAX, &more);
        EXPECT_FALSE(more);
        std::vector<std::string> all;
        for (size_t i = 0; i < count; i++)
            all.emplace_back(reinterpret_cast<const char *>(values[i]->data), values[i]->data_bytes);
        return all;
    }

    static bool Replicate(void *context, const dht_id *)
    {
        ++*static_cast<int *>(context);
        return true;
    }

    int Sweep(uint64_t now_ms)
    {
        int keys = 0;
        dht_store_sweep(&store, now_ms, &random, Replicate, &keys);
        return keys;
    }

    struct random random;
    dht_store_limits limits;
    dht_store store;
};

TEST_F(StoreTest, EachPublisherHasItsOwnValueOfAKey)
{
    EXPECT_EQ(Put(1, "worker:ocr", "one"), DHT_PUT_STORED);
    EXPECT_EQ(Put(2, "worker:ocr", "two"), DHT_PUT_STORED);
    EXPECT_EQ(Put(2, "worker:llm", "other"), DHT_PUT_STORED);
    EXPECT_EQ(Get("worker:ocr").size(), 2u);
    EXPECT_EQ(Get("worker:llm"), std::vector<std::string>{"other"});
    EXPECT_TRUE(Get("worker:none").empty());
    EXPECT_EQ(store.count, 3u);
}

TEST_F(StoreTest, OnlyALaterOneReplaces)
{
    EXPECT_EQ(Put(1, "k", "now", 10), DHT_PUT_STORED);
    EXPECT_EQ(Put(1, "k", "before", 20), DHT_PUT_KNOWN);
    EXPECT_EQ(Put(1, "k", "same time", 10), DHT_PUT_KNOWN);
    EXPECT_EQ(Get("k"), std::vector<std::string>{"now"});
    EXPECT_EQ(Put(1, "k", "later", 5), DHT_PUT_STORED);
    EXPECT_EQ(Get("k"), std::vector<std::string>{"later"});
    EXPECT_EQ(store.count, 1u);
}

TEST_F(StoreTest, WhatHasExpiredIsNotGivenOutAndGoesWithASweep)
{
    EXPECT_EQ(Put(1, "k", "short", 400, 1000), DHT_PUT_STORED); // until 1600
    EXPECT_EQ(Put(2, "k", "long", 0, 1000), DHT_PUT_STORED);    // until 2000
    EXPECT_EQ(Put(3, "k", "over", 1000, 1000), DHT_PUT_EXPIRED);
    EXPECT_EQ(Get("k", 1599).size(), 2u);
    EXPECT_EQ(Get("k", 1600), std::vector<std::string>{"long"});
    EXPECT_EQ(store.count, 2u);
    (void)Sweep(1600);
    EXPECT_EQ(store.count, 1u);
    (void)Sweep(2000);
    EXPECT_EQ(store.count, 0u);
    EXPECT_EQ(store.bytes, 0u);
    EXPECT_EQ(store.keys.count, 0u);
    EXPECT_EQ(store.publishers.count, 0u);
}

TEST_F(StoreTest, ValuesOfAKeyAreLimited)
{
    limits.values_of_key = 3;
    Limit(limits);
    for (uint8_t publisher = 1; publisher <= 3; publisher++)
        EXPECT_EQ(Put(publisher, "k", "d"), DHT_PUT_STORED);
    EXPECT_EQ(Put(4, "k", "d"), DHT_PUT_FULL);
    EXPECT_EQ(Put(4, "other", "d"), DHT_PUT_STORED);
    EXPECT_EQ(Put(3, "k", "new", -1), DHT_PUT_STORED) << "one that is there may still be replaced";
    EXPECT_EQ(store.refused, 1u);
}

TEST_F(StoreTest, ValuesOfAPublisherAreLimited)
{
    limits.values_of_publisher = 2;
    Limit(limits);
    EXPECT_EQ(Put(1, "a", "d"), DHT_PUT_STORED);
    EXPECT_EQ(Put(1, "b", "d"), DHT_PUT_STORED);
    EXPECT_EQ(Put(1, "c", "d"), DHT_PUT_FULL);
    EXPECT_EQ(Put(2, "c", "d"), DHT_PUT_STORED);
    (void)Sweep(2000); // all expire
    dht_value *value = Value(1, "c", "d", kUnixMs, 5000);
    EXPECT_EQ(dht_store_put(&store, value, 2000, kUnixMs, &random), DHT_PUT_STORED) << "there is room again";
    dht_value_release(value);
}

TEST_F(StoreTest, ValuesInAllAreLimited)
{
    limits.values = 2;
    Limit(limits);
    EXPECT_EQ(Put(1, "a", "d"), DHT_PUT_STORED);
    EXPECT_EQ(Put(2, "b", "d"), DHT_PUT_STORED);
    EXPECT_EQ(Put(3, "c", "d"), DHT_PUT_FULL);
}

TEST_F(StoreTest, BytesAreLimited)
{
    dht_value *value = Value(1, "a", std::string(1000, 'x'), kUnixMs);
    limits.bytes = dht_store_bytes_of(value);
    dht_value_release(value);
    Limit(limits);
    EXPECT_EQ(Put(1, "a", std::string(1001, 'x')), DHT_PUT_FULL);
    EXPECT_EQ(Put(1, "a", std::string(1000, 'x')), DHT_PUT_STORED);
    EXPECT_EQ(store.bytes, limits.bytes);
    EXPECT_EQ(Put(2, "b", ""), DHT_PUT_FULL);
    EXPECT_EQ(Put(1, "a", std::string(10, 'y'), -1), DHT_PUT_STORED) << "in place of the longer one";
    EXPECT_EQ(Put(1, "a", std::string(1001, 'z'), -2), DHT_PUT_FULL);
    EXPECT_EQ(Get("a"), std::vector<std::string>{std::string(10, 'y')});
}

TEST_F(StoreTest, PagesHaveAllOfThemOnce)
{
    for (uint8_t publisher = 1; publisher <= 50; publisher++)
        EXPECT_EQ(Put(publisher, "k", std::string(publisher, 'x')), DHT_PUT_STORED);
    dht_id id = dht_id_of("k", 1), after;
    const dht_id *from = nullptr;
    std::vector<size_t> lengths;
    for (bool more = true; more;) {
        dht_value *values[7];
        size_t count = dht_store_get(&store, &id, from, 1000, values, 7, 1500, &more);
        ASSERT_GT(count, 0u);
        for (size_t i = 0; i < count; i++)
            lengths.push_back(values[i]->data_bytes);
        after = values[count - 1]->publisher;
        from = &after;
    }
    std::sort(lengths.begin(), lengths.end());
    ASSERT_EQ(lengths.size(), 50u);
    for (size_t i = 0; i < 50; i++)
        EXPECT_EQ(lengths[i], i + 1);
}

TEST_F(StoreTest, APageHasAtLeastOneHoweverLong)
{
    (void)Put(1, "k", std::string(2000, 'x'));
    (void)Put(2, "k", std::string(2000, 'x'));
    dht_id id = dht_id_of("k", 1);
    dht_value *values[7];
    bool more = false;
    EXPECT_EQ(dht_store_get(&store, &id, nullptr, 1000, values, 7, 10, &more), 1u);
    EXPECT_TRUE(more);
}

TEST_F(StoreTest, AKeyIsReplicatedUnlessSomebodyElseDidIt)
{
    limits.replicate_ms = 100;
    Limit(limits);
    (void)Put(1, "a", "d", 10, 1000);
    (void)Put(1, "b", "d", 10, 1000);
    EXPECT_EQ(Sweep(1074), 0) << "the interval is at least three quarters of what is set";
    EXPECT_EQ(Put(1, "a", "d", 10, 1074), DHT_PUT_KNOWN); // somebody stores the same again
    EXPECT_EQ(Sweep(1126), 1) << "b";
    EXPECT_EQ(Sweep(1127), 0) << "once an interval";
    EXPECT_EQ(Sweep(1074 + 126), 1) << "a";
}

TEST_F(StoreTest, AForgedCopyDoesNotHoldReplicationOff)
{
    limits.replicate_ms = 100;
    Limit(limits);
    (void)Put(1, "a", "d", 10, 1000);
    dht_value *forged = Value(1, "a", "d", kUnixMs - 10);
    forged->signature[0] ^= 1;
    EXPECT_EQ(dht_store_put(&store, forged, 1120, kUnixMs, &random), DHT_PUT_KNOWN);
    dht_value_release(forged);
    EXPECT_EQ(Sweep(1126), 1);
}

} // namespace
