// Token buckets: how much, how fast, and in how much memory.

#include <gtest/gtest.h>

#include <string>

extern "C" {
#include "common/auth/base64url.h"
#include "common/auth/buckets.h"
}

namespace
{

const uint64_t SEED[2] = {1, 2};

class Buckets : public testing::Test
{
  protected:
    explicit Buckets() : buckets(auth_buckets_create(1024, SEED)) {}
    ~Buckets() override
    {
        auth_buckets_free(buckets);
    }
    bool take(const std::string &address, uint64_t now_us)
    {
        auth_bucket_id id = auth_bucket_of_address(address.c_str());
        return auth_buckets_take(buckets, &id, rate, now_us, &wait_us);
    }
    int takes(const std::string &address, uint64_t now_us)
    {
        int count = 0;
        while (count < 100000 && take(address, now_us))
            count++;
        return count;
    }
    auth_buckets *buckets;
    auth_rate rate{10, 5};
    uint64_t wait_us = 0;
};

TEST_F(Buckets, BurstThenRate)
{
    const uint64_t start = 1000000000;
    EXPECT_EQ(takes("192.0.2.1", start), 5);
    EXPECT_EQ(wait_us, 100000u) << "ten a second: one in 100 ms";
    EXPECT_FALSE(take("192.0.2.1", start + 99999));
    EXPECT_EQ(wait_us, 1u);
    EXPECT_TRUE(take("192.0.2.1", start + 100000));
    EXPECT_FALSE(take("192.0.2.1", start + 100000));
    EXPECT_EQ(takes("192.0.2.1", start + 350000), 2) << "250 ms are two, and half of one";
    EXPECT_EQ(takes("192.0.2.1", start + 10000000), 5) << "never more than the burst";
}

TEST_F(Buckets, OverTimeAsMuchAsTheRate)
{
    int taken = 0;
    for (uint64_t now = 0; now < 100000000; now += 1000)
        taken += take("192.0.2.1", now) ? 1 : 0;
    EXPECT_GE(taken, 1000);
    EXPECT_LE(taken, 1005);
}

TEST_F(Buckets, EachHasItsOwn)
{
    EXPECT_EQ(takes("192.0.2.1", 0), 5);
    EXPECT_EQ(takes("192.0.2.2", 0), 5);
    EXPECT_EQ(takes("::ffff:192.0.2.2", 0), 0) << "the same, written for IPv6";
    EXPECT_EQ(takes("2001:db8::1", 0), 5);
    EXPECT_EQ(takes("2001:db8::ffff:1", 0), 0) << "of one network of 64 bits";
    EXPECT_EQ(takes("2001:db8:0:1::1", 0), 5);
    auth_bucket_id a = auth_bucket_of_name("lab"), b = auth_bucket_of_name("lac");
    EXPECT_NE(memcmp(&a, &b, sizeof a), 0);
}

TEST_F(Buckets, NoRateNoLimit)
{
    rate = {0, 0};
    EXPECT_EQ(takes("192.0.2.1", 0), 100000);
    EXPECT_EQ(auth_buckets_in_use(buckets, 0), 0u) << "and no memory";
}

TEST_F(Buckets, SlowerThanOneASecond)
{
    rate = {0.1, 1};
    EXPECT_TRUE(take("192.0.2.1", 0));
    EXPECT_FALSE(take("192.0.2.1", 9999999));
    EXPECT_TRUE(take("192.0.2.1", 10000000));
}

TEST_F(Buckets, MemoryIsBoundedAndTheFullestMakesRoom)
{
    for (int i = 0; i < 100000; i++)
        (void)take("10." + std::to_string(i >> 16) + "." + std::to_string(i >> 8 & 255) + "." + std::to_string(i & 255),
                   0);
    EXPECT_LE(auth_buckets_in_use(buckets, 0), 1024u);
    EXPECT_GT(auth_buckets_in_use(buckets, 0), 1000u);
    EXPECT_EQ(auth_buckets_in_use(buckets, 10000000), 0u) << "a full bucket is none";
    // Somebody who has used all of a bucket is not forgotten for those who come once.
    auth_buckets *small = auth_buckets_create(1, SEED);
    auth_bucket_id heavy = auth_bucket_of_address("192.0.2.1");
    while (auth_buckets_take(small, &heavy, rate, 0, &wait_us))
        ;
    for (int i = 0; i < 1000; i++) {
        auth_bucket_id light =
            auth_bucket_of_address(("10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250)).c_str());
        EXPECT_TRUE(auth_buckets_take(small, &light, rate, 0, &wait_us));
    }
    EXPECT_FALSE(auth_buckets_take(small, &heavy, rate, 0, &wait_us));
    auth_buckets_free(small);
}

TEST(Base64Url, BothWaysAndStrict)
{
    for (size_t bytes = 0; bytes < 70; bytes++) {
        std::string data(bytes, '\0'), text(BASE64URL_TEXT_BYTES(bytes) + 1, 'x');
        for (size_t i = 0; i < bytes; i++)
            data[i] = static_cast<char>(i * 37 + bytes);
        base64url_encode(data.data(), bytes, &text[0]);
        ASSERT_EQ(text[BASE64URL_TEXT_BYTES(bytes)], '\0');
        std::string back(bytes, '\0');
        EXPECT_EQ(base64url_decode(text.data(), BASE64URL_TEXT_BYTES(bytes), &back[0], bytes),
                  static_cast<int64_t>(bytes));
        EXPECT_EQ(back, data);
        if (bytes > 0) {
            EXPECT_EQ(base64url_decode(text.data(), BASE64URL_TEXT_BYTES(bytes), &back[0], bytes - 1), -1) << "no room";
        }
    }
    char out[16];
    EXPECT_EQ(base64url_decode("AA", 2, out, 16), 1);
    EXPECT_EQ(base64url_decode("AB", 2, out, 16), -1) << "bits left over";
    for (const char *odd : {"A", "AAAAA", "AA==", "AA ", "+/+/", "AA\n"})
        EXPECT_EQ(base64url_decode(odd, strlen(odd), out, 16), -1) << odd;
}

} // namespace
