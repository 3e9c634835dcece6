// Buffers, clocks and random numbers.

extern "C" {
#include "common/buffer.h"
#include "common/clock.h"
#include "common/random.h"
}

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace
{

std::string format_time(int64_t unix_ms)
{
    char text[CLOCK_TEXT_BYTES];
    clock_format_unix_ms(unix_ms, text);
    return text;
}

TEST(Buffer, AppendsAndEndsWithAZero)
{
    buffer b = BUFFER_INIT;
    buffer_append_text(&b, "n=");
    buffer_append_uint(&b, 0);
    buffer_append_char(&b, ' ');
    buffer_append_uint(&b, UINT64_MAX);
    buffer_append_format(&b, " %s-%d", "x", -7);
    ASSERT_FALSE(buffer_failed(&b));
    EXPECT_STREQ(b.data, "n=0 18446744073709551615 x--7");
    EXPECT_EQ(b.bytes, strlen(b.data));
    buffer_consume(&b, 4);
    EXPECT_STREQ(b.data, "18446744073709551615 x--7");
    buffer_consume(&b, 1000);
    EXPECT_EQ(b.bytes, 0u);
    buffer_free(&b);
}

TEST(Buffer, AFailureStaysUntilItIsCleared)
{
    buffer b = BUFFER_INIT;
    buffer_append_text(&b, "kept?");
    EXPECT_FALSE(buffer_reserve(&b, SIZE_MAX - 100));
    EXPECT_TRUE(buffer_failed(&b));
    buffer_append_text(&b, "more");
    EXPECT_EQ(b.bytes, 0u);
    EXPECT_EQ(buffer_take(&b), nullptr);
    buffer_append_text(&b, "again");
    EXPECT_FALSE(buffer_failed(&b));
    char *taken = buffer_take(&b);
    EXPECT_STREQ(taken, "again");
    free(taken);
}

TEST(Buffer, GrowsOverManyAppends)
{
    buffer b = BUFFER_INIT;
    std::string expected;
    for (int i = 0; i < 5000; i++) {
        std::string piece = std::to_string(i) + ",";
        expected += piece;
        buffer_append(&b, piece.data(), piece.size());
    }
    EXPECT_EQ(std::string(b.data, b.bytes), expected);
    buffer_free(&b);
}

TEST(Clock, FormatsRfc3339WithMilliseconds)
{
    EXPECT_EQ(format_time(0), "1970-01-01T00:00:00.000Z");
    EXPECT_EQ(format_time(1767609000125), "2026-01-05T10:30:00.125Z");
    EXPECT_EQ(format_time(-1), "1969-12-31T23:59:59.999Z");
    EXPECT_EQ(format_time(951782400000), "2000-02-29T00:00:00.000Z");
    EXPECT_EQ(format_time(253402300799999), "9999-12-31T23:59:59.999Z");
    EXPECT_EQ(format_time(INT64_MAX), "1970-01-01T00:00:00.000Z");
}

// -1: it is no time.
int64_t parse_time(const std::string &text, bool offset_needed = true)
{
    int64_t unix_ms = -1;
    bool is_time = clock_parse_unix_ms(text.c_str(), offset_needed, &unix_ms);
    EXPECT_EQ(is_time, unix_ms != -1) << text;
    return unix_ms;
}

TEST(Clock, ParsesRfc3339)
{
    EXPECT_EQ(parse_time("2026-01-05T10:30:00.125Z"), 1767609000125);
    EXPECT_EQ(parse_time("2026-01-05T10:30:00Z"), 1767609000000);
    EXPECT_EQ(parse_time("2026-01-05t10:30:00.1259999z"), 1767609000125);
    EXPECT_EQ(parse_time("2026-01-05 10:30:00.5+00:00"), 1767609000500);
    EXPECT_EQ(parse_time("2026-01-05T11:30:00+01:00"), 1767609000000);
    EXPECT_EQ(parse_time("2026-01-05T11:30:00 01:00"), 1767609000000) << "a plus in a query";
    EXPECT_EQ(parse_time("2026-01-05T10:00:00-00:30"), 1767609000000);
    for (const char *text : {"", "2026-01-05", "2026-01-05T10:30", "2026-01-05T10:30:00", "2026-01-05T10:30:00.Z",
                             "2026-13-05T10:30:00Z", "2026-02-30T10:30:00Z", "2026-01-05T24:30:00Z",
                             "2026-01-05T10:30:00+1:00", "2026-01-05T10:30:00+24:00", "2026-01-05T10:30:00+01",
                             "2026-01-05T10:30:00+01:60", "2026-01-05T10:30:00+01:000", "2026-01-05T10:30:00Zx",
                             " 026-01-05T10:30:00Z", "2026-01-05T10:30:00+", "2026-01-05T10:30:00+0"})
        EXPECT_EQ(parse_time(text), -1) << text;
}

TEST(Clock, ParsesTimesWithoutAnOffsetIfItMay)
{
    EXPECT_EQ(parse_time("2026-01-05T10:30:00.125456", false), 1767609000125);
    EXPECT_EQ(parse_time("2026-01-05 10:30:00", false), 1767609000000);
    EXPECT_EQ(parse_time("2026-01-05T11:30:00+01:00", false), 1767609000000);
    EXPECT_EQ(parse_time("2026-01-05T11:30:00x", false), -1);
}

TEST(Clock, MonotonicUnitsAgree)
{
    uint64_t ms = clock_monotonic_ms(), us = clock_monotonic_us();
    EXPECT_GE(us / 1000, ms);
    EXPECT_GT(clock_unix_ms(), 1700000000000);
}

TEST(Random, TheSameSeedGivesTheSameNumbers)
{
    struct random a, b, c;
    random_seed(&a, 7);
    random_seed(&b, 7);
    random_seed(&c, 8);
    bool differs = false;
    for (int i = 0; i < 100; i++) {
        uint64_t value = random_next(&a);
        ASSERT_EQ(value, random_next(&b));
        differs |= value != random_next(&c);
    }
    EXPECT_TRUE(differs);
}

TEST(Random, BelowIsUniformAndInRange)
{
    struct random r;
    random_seed(&r, 1);
    int counts[10] = {};
    for (int i = 0; i < 100000; i++)
        counts[random_below(&r, 10)]++;
    for (int count : counts)
        EXPECT_NEAR(count, 10000, 500);
    for (int i = 0; i < 1000; i++) {
        double unit = random_unit(&r);
        ASSERT_GE(unit, 0);
        ASSERT_LT(unit, 1);
    }
    EXPECT_EQ(random_below(&r, 1), 0u);
}

TEST(Random, HexIsTextOfItsLength)
{
    std::set<std::string> seen;
    for (int i = 0; i < 50; i++) {
        char text[33];
        random_hex(text, 16);
        ASSERT_EQ(strlen(text), 32u);
        ASSERT_EQ(strspn(text, "0123456789abcdef"), 32u);
        seen.insert(text);
    }
    EXPECT_EQ(seen.size(), 50u);
}

} // namespace
