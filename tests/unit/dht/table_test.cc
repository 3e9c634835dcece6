// Ids and the routing table.

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/unit/dht/ids.h"

namespace
{

TEST(IdTest, SharedBitsAndDistance)
{
    dht_id high = Id({0x80}), zero = {};
    EXPECT_EQ(dht_id_shared_bits(&high, &zero), 0u);
    dht_id a = Id({0xf0, 0x01}), b = Id({0xf0, 0x00}), c = Id({0xf0, 0x03});
    EXPECT_EQ(dht_id_shared_bits(&a, &b), 15u);
    EXPECT_EQ(dht_id_shared_bits(&a, &c), 14u);
    EXPECT_EQ(dht_id_shared_bits(&a, &a), static_cast<unsigned>(DHT_ID_BITS));
    EXPECT_LT(dht_id_compare_distance(&a, &b, &c), 0);
    EXPECT_GT(dht_id_compare_distance(&a, &c, &b), 0);
    EXPECT_EQ(dht_id_compare_distance(&a, &c, &c), 0);
    dht_id far = {}, last = {};
    last.bytes[DHT_ID_BYTES - 1] = 1;
    EXPECT_LT(dht_id_compare_distance(&far, &far, &last), 0) << "the last bit counts, too";
    EXPECT_EQ(dht_id_shared_bits(&far, &last), DHT_ID_BITS - 1u);
}

TEST(IdTest, RandomIdsPartWhereTheyShould)
{
    struct random random;
    random_seed(&random, 1);
    dht_id own = dht_id_of("own", 3);
    for (unsigned bits = 0; bits < DHT_ID_BITS; bits++) {
        for (int i = 0; i < 20; i++) {
            dht_id id = dht_id_random(&own, bits, &random);
            ASSERT_EQ(dht_id_shared_bits(&own, &id), bits);
        }
    }
}

TEST(IdTest, OfAKeyIsTheBeginningOfItsSha256)
{
    dht_id id = dht_id_of("abc", 3);
    char text[DHT_ID_TEXT_BYTES];
    dht_id_format(&id, text);
    EXPECT_STREQ(text, "ba7816bf8f01cfea414140de5dae2223b00361a3"); // FIPS 180-4's example
}

class TableTest : public ::testing::Test
{
  protected:
    TableTest()
    {
        dht_id own = {};
        dht_table_init(&table, &own);
    }
    ~TableTest() override
    {
        dht_table_free(&table);
    }

    dht_heard Heard(std::initializer_list<uint8_t> bytes, uint64_t now_ms = 1, int64_t issued_at_ms = 1)
    {
        dht_contact *contact = Contact(bytes, issued_at_ms);
        dht_heard result = dht_table_heard(&table, contact, now_ms);
        dht_contact_release(contact);
        return result;
    }

    bool Called(std::initializer_list<uint8_t> bytes, uint64_t now_ms = 1, int64_t issued_at_ms = 1)
    {
        dht_contact *contact = Contact(bytes, issued_at_ms);
        bool result = dht_table_called(&table, contact, now_ms);
        dht_contact_release(contact);
        return result;
    }

    // Fills the bucket of those that share no bit: 0x80 to 0x93, heard at 100, 101, …
    void FillFirstBucket()
    {
        for (uint8_t i = 0; i < DHT_BUCKET_SIZE; i++)
            ASSERT_EQ(Heard({static_cast<uint8_t>(0x80 + i)}, 100u + i), DHT_HEARD_ADDED);
    }

    dht_table table;
};

TEST_F(TableTest, NeverHoldsItself)
{
    EXPECT_EQ(Heard({}), DHT_HEARD_NOT);
    EXPECT_FALSE(Called({}));
    EXPECT_EQ(table.count, 0u);
}

TEST_F(TableTest, ABucketTakesItsNumberAndNotOneMore)
{
    FillFirstBucket();
    EXPECT_EQ(Heard({0xa0}, 200), DHT_HEARD_WAITING);
    EXPECT_EQ(table.count, static_cast<size_t>(DHT_BUCKET_SIZE));
    EXPECT_EQ(Heard({0x40}, 200), DHT_HEARD_ADDED) << "another bucket";
    EXPECT_EQ(Heard({0x80}, 201), DHT_HEARD_KNOWN);
}

TEST_F(TableTest, TheOldestIsWhoWasHeardLongestAgo)
{
    FillFirstBucket();
    EXPECT_EQ(dht_table_oldest(&table, 0, 150, 50), nullptr) << "heard 50 ago";
    dht_contact *oldest = dht_table_oldest(&table, 0, 151, 50);
    ASSERT_NE(oldest, nullptr);
    EXPECT_EQ(oldest->id.bytes[0], 0x80);
    EXPECT_EQ(Heard({0x80}, 160), DHT_HEARD_KNOWN);
    EXPECT_EQ(dht_table_oldest(&table, 0, 200, 50)->id.bytes[0], 0x81);
    EXPECT_FALSE(Called({0x81}, 170)) << "a known one that calls was heard as well";
    EXPECT_EQ(dht_table_oldest(&table, 0, 200, 50)->id.bytes[0], 0x82);
}

TEST_F(TableTest, WhoeverWaitsTakesThePlaceOfOneThatFails)
{
    FillFirstBucket();
    (void)Heard({0xa0}, 200);
    (void)Heard({0xa1}, 201);
    dht_id gone = Id({0x85});
    dht_contact *candidate = dht_table_failed(&table, &gone);
    ASSERT_NE(candidate, nullptr);
    EXPECT_EQ(candidate->id.bytes[0], 0xa1) << "the one that was heard last";
    EXPECT_EQ(dht_table_find(&table, &gone), nullptr);
    EXPECT_EQ(dht_table_find(&table, &candidate->id), nullptr) << "not before it has answered";
    EXPECT_EQ(dht_table_heard(&table, candidate, 300), DHT_HEARD_ADDED);
    dht_contact_release(candidate);
}

TEST_F(TableTest, WithNobodyWaitingItTakesThreeFailures)
{
    FillFirstBucket();
    dht_id gone = Id({0x85});
    EXPECT_EQ(dht_table_failed(&table, &gone), nullptr);
    EXPECT_EQ(dht_table_failed(&table, &gone), nullptr);
    EXPECT_NE(dht_table_find(&table, &gone), nullptr);
    dht_contact *closest[DHT_BUCKET_SIZE];
    EXPECT_EQ(dht_table_closest(&table, &gone, closest, DHT_BUCKET_SIZE), DHT_BUCKET_SIZE - 1u)
        << "not given to others";
    EXPECT_EQ(dht_table_failed(&table, &gone), nullptr);
    EXPECT_EQ(dht_table_find(&table, &gone), nullptr);
    EXPECT_EQ(table.count, DHT_BUCKET_SIZE - 1u);
}

TEST_F(TableTest, AnAnswerMakesFailuresForgotten)
{
    (void)Heard({0x80});
    dht_id id = Id({0x80});
    for (int i = 0; i < 10; i++) {
        (void)dht_table_failed(&table, &id);
        (void)dht_table_failed(&table, &id);
        EXPECT_EQ(Heard({0x80}), DHT_HEARD_KNOWN);
    }
}

TEST_F(TableTest, WhenAllHaveFailedTheyAreStillTried)
{
    (void)Heard({0x80});
    dht_id id = Id({0x80});
    (void)dht_table_failed(&table, &id);
    dht_contact *closest[2];
    EXPECT_EQ(dht_table_closest(&table, &id, closest, 2), 1u);
}

TEST_F(TableTest, OnlyALaterContactReplacesWhatIsKnown)
{
    (void)Heard({0x80}, 1, 5);
    dht_id id = Id({0x80});
    (void)Heard({0x80}, 2, 4);
    EXPECT_EQ(dht_table_find(&table, &id)->issued_at_ms, 5);
    EXPECT_FALSE(Called({0x80}, 2, 5));
    EXPECT_TRUE(Called({0x80}, 2, 6)) << "it may have moved: find out";
    EXPECT_EQ(dht_table_find(&table, &id)->issued_at_ms, 5) << "but not by its word alone";
    (void)Heard({0x80}, 2, 6);
    EXPECT_EQ(dht_table_find(&table, &id)->issued_at_ms, 6);
}

TEST_F(TableTest, WaitingIsLimited)
{
    FillFirstBucket();
    for (int i = 0; i < 3 * DHT_WAITING_SIZE; i++)
        EXPECT_EQ(Heard({static_cast<uint8_t>(0xa0 + i)}), DHT_HEARD_WAITING);
    size_t candidates = 0;
    for (uint8_t i = 0; i < DHT_BUCKET_SIZE; i++) {
        dht_id id = Id({static_cast<uint8_t>(0x80 + i)});
        dht_contact *candidate = dht_table_failed(&table, &id);
        candidates += candidate != nullptr;
        dht_contact_release(candidate);
    }
    EXPECT_EQ(candidates, static_cast<size_t>(DHT_WAITING_SIZE));
}

// Against looking at all of them, for targets near and far.
TEST_F(TableTest, TheClosestAreThoseThatAnyoneWouldFind)
{
    struct random random;
    random_seed(&random, 7);
    dht_table_free(&table);
    dht_id own = dht_id_of("own", 3);
    dht_table_init(&table, &own);
    std::vector<dht_id> all;
    for (int i = 0; i < 2000; i++) {
        dht_id id = dht_id_random(&own, static_cast<unsigned>(random_below(&random, 14)), &random);
        dht_contact *contact = Contact(id);
        if (dht_table_heard(&table, contact, 1) == DHT_HEARD_ADDED)
            all.push_back(id);
        dht_contact_release(contact);
    }
    for (int i = 0; i < 500; i++) {
        dht_id target = i == 0 ? own : dht_id_random(&own, static_cast<unsigned>(random_below(&random, 20)), &random);
        std::sort(all.begin(), all.end(),
                  [&](const dht_id &a, const dht_id &b) { return dht_id_compare_distance(&target, &a, &b) < 0; });
        dht_contact *closest[DHT_BUCKET_SIZE];
        ASSERT_EQ(dht_table_closest(&table, &target, closest, DHT_BUCKET_SIZE), static_cast<size_t>(DHT_BUCKET_SIZE));
        for (size_t j = 0; j < DHT_BUCKET_SIZE; j++)
            ASSERT_EQ(dht_id_compare(&closest[j]->id, &all[j]), 0) << i << " " << j;
        size_t nearer = 0;
        while (nearer < all.size() && dht_id_compare_distance(&target, &all[nearer], &own) < 0)
            nearer++;
        ASSERT_EQ(dht_table_count_nearer(&table, &target, 1000), nearer);
        ASSERT_EQ(dht_table_count_nearer(&table, &target, 3), std::min<size_t>(nearer, 3));
    }
}

TEST_F(TableTest, BucketsAreSearchedInTurn)
{
    (void)Heard({0x80});
    (void)Heard({0x10});
    EXPECT_EQ(dht_table_unsearched(&table, 50), 0u);
    dht_id target = Id({0x80});
    dht_table_searched(&table, &target, 50);
    EXPECT_EQ(dht_table_unsearched(&table, 50), 1u) << "empty ones on the way as well";
    for (uint8_t first : {0x40, 0x20, 0x10}) {
        target = Id({first});
        dht_table_searched(&table, &target, 60);
    }
    EXPECT_EQ(dht_table_unsearched(&table, 50), static_cast<unsigned>(DHT_ID_BITS));
    EXPECT_EQ(dht_table_unsearched(&table, 51), 0u);
}

} // namespace
