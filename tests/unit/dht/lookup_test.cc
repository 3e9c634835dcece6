// The lookup: whom it asks, and when it ends.

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/unit/dht/ids.h"

namespace
{

class LookupTest : public ::testing::Test
{
  protected:
    LookupTest() : lookup(std::make_unique<dht_lookup>())
    {
        Begin(false);
    }
    ~LookupTest() override
    {
        dht_lookup_free(lookup.get());
    }

    void Begin(bool for_values)
    {
        dht_id own = Id({0xff}), target = {};
        dht_lookup_init(lookup.get(), &own, &target, for_values);
    }

    void Add(std::initializer_list<uint8_t> bytes, unsigned hops = 1)
    {
        dht_contact *contact = Contact(bytes);
        dht_lookup_add(lookup.get(), contact, hops);
        dht_contact_release(contact);
    }

    // The first byte of whom it asks; 0: nobody.
    uint8_t Next()
    {
        dht_contact *contact = dht_lookup_next(lookup.get());
        uint8_t byte = contact == nullptr ? 0 : contact->id.bytes[0];
        dht_contact_release(contact);
        return byte;
    }

    void Answered(uint8_t byte)
    {
        dht_id id = Id({byte});
        (void)dht_lookup_answered(lookup.get(), &id);
    }

    void Failed(uint8_t byte, bool lies = false)
    {
        dht_contact *contact = Contact({byte});
        dht_lookup_failed(lookup.get(), contact, lies);
        dht_contact_release(contact);
    }

    std::unique_ptr<dht_lookup> lookup;
};

TEST_F(LookupTest, WithNobodyItIsOver)
{
    EXPECT_TRUE(dht_lookup_finished(lookup.get()));
    EXPECT_EQ(Next(), 0);
    EXPECT_EQ(dht_lookup_hops(lookup.get()), 0u);
}

TEST_F(LookupTest, AsksTheNearestFirstAndAFewAtATime)
{
    for (uint8_t byte : {9, 3, 7, 5, 1})
        Add({byte});
    EXPECT_EQ(Next(), 1);
    EXPECT_EQ(Next(), 3);
    EXPECT_EQ(Next(), 5);
    EXPECT_EQ(Next(), 0) << "three are under way";
    Answered(3);
    Add({2}, 2); // that is whom it named
    EXPECT_EQ(Next(), 2);
    Answered(1);
    EXPECT_EQ(Next(), 7);
    Answered(2);
    Answered(5);
    EXPECT_EQ(Next(), 9);
    Answered(7);
    EXPECT_FALSE(dht_lookup_finished(lookup.get()));
    Answered(9);
    EXPECT_TRUE(dht_lookup_finished(lookup.get()));
    dht_contact *nearest[DHT_BUCKET_SIZE];
    ASSERT_EQ(dht_lookup_nearest(lookup.get(), nearest, DHT_BUCKET_SIZE), 6u);
    EXPECT_EQ(nearest[1]->id.bytes[0], 2);
    EXPECT_EQ(dht_lookup_hops(lookup.get()), 1u) << "the nearest was known at first";
}

TEST_F(LookupTest, ItselfAndTheSameAgainAreNotAdded)
{
    Add({0xff});
    Add({1});
    Add({1});
    EXPECT_EQ(lookup->count, 1u);
}

TEST_F(LookupTest, ANearOneIsAskedTwiceAFarOneOnce)
{
    for (uint8_t byte : {1, 2, 3, 4})
        Add({byte});
    EXPECT_EQ(Next(), 1);
    Failed(1);
    EXPECT_EQ(Next(), 1) << "again";
    Failed(1);
    EXPECT_EQ(lookup->failed, 1u);
    Add({1}, 2);
    EXPECT_EQ(lookup->count, 3u) << "whoever names it again names it in vain";
    EXPECT_EQ(Next(), 2);
    Failed(2, true);
    EXPECT_EQ(lookup->count, 2u) << "a liar is not asked again";
    EXPECT_EQ(Next(), 3);
    EXPECT_EQ(Next(), 4);
    Answered(3);
    Failed(4);
    Failed(4);
    EXPECT_EQ(dht_lookup_nearest(lookup.get(), std::vector<dht_contact *>(20).data(), 20), 1u);
}

TEST_F(LookupTest, OnlyTheNearestHaveToAnswer)
{
    for (int i = 1; i <= DHT_BUCKET_SIZE + 5; i++)
        Add({static_cast<uint8_t>(i)});
    for (int i = 1; i <= DHT_BUCKET_SIZE; i++) {
        EXPECT_EQ(Next(), i);
        Answered(static_cast<uint8_t>(i));
    }
    EXPECT_TRUE(dht_lookup_finished(lookup.get()));
    EXPECT_EQ(Next(), 0);
}

TEST_F(LookupTest, TheListIsShortAndTheNearestStay)
{
    for (int i = 200; i >= 1; i--)
        Add({static_cast<uint8_t>(i)});
    EXPECT_EQ(lookup->count, static_cast<size_t>(DHT_LOOKUP_LENGTH));
    EXPECT_EQ(lookup->nodes[0].contact->id.bytes[0], 1);
    EXPECT_EQ(lookup->nodes[DHT_LOOKUP_LENGTH - 1].contact->id.bytes[0], DHT_LOOKUP_LENGTH);
    Add({250});
    EXPECT_EQ(lookup->count, static_cast<size_t>(DHT_LOOKUP_LENGTH));
    EXPECT_EQ(lookup->nodes[DHT_LOOKUP_LENGTH - 1].contact->id.bytes[0], DHT_LOOKUP_LENGTH);
}

// Each answer names somebody who is nearer still: it ends all the same.
TEST_F(LookupTest, EndlesslyNearerNodesEndIt)
{
    uint16_t distance = 0xf000;
    Add({0xf0, 0x00});
    unsigned asked = 0;
    for (dht_contact *contact; (contact = dht_lookup_next(lookup.get())) != nullptr; asked++) {
        dht_lookup_answered(lookup.get(), &contact->id);
        dht_contact_release(contact);
        distance--;
        Add({static_cast<uint8_t>(distance >> 8), static_cast<uint8_t>(distance)}, 2);
    }
    EXPECT_EQ(asked, static_cast<unsigned>(DHT_LOOKUP_ASKED_MAX));
    EXPECT_TRUE(dht_lookup_finished(lookup.get()));
}

TEST_F(LookupTest, ValuesOfAFewHoldersAreEnough)
{
    Begin(true);
    for (uint8_t byte : {1, 2, 3, 4, 5, 6})
        Add({byte});
    for (uint8_t byte : {1, 2, 3, 4}) {
        EXPECT_FALSE(dht_lookup_finished(lookup.get()));
        EXPECT_EQ(Next(), byte);
        dht_id id = Id({byte});
        if (byte != 2)
            dht_lookup_holds(lookup.get(), &id);
        Answered(byte);
    }
    EXPECT_TRUE(dht_lookup_finished(lookup.get()));
    EXPECT_EQ(dht_lookup_nearest_without_values(lookup.get())->id.bytes[0], 2);
}

TEST_F(LookupTest, TheLatestOfEachPublisherCounts)
{
    dht_value *first = Value(1, "k", "first", 10), *second = Value(1, "k", "second", 20), *other = Value(2, "k", "", 5);
    EXPECT_TRUE(dht_lookup_take_value(lookup.get(), second));
    EXPECT_TRUE(dht_lookup_take_value(lookup.get(), first));
    EXPECT_TRUE(dht_lookup_take_value(lookup.get(), other));
    ASSERT_EQ(lookup->value_count, 2u);
    EXPECT_EQ(lookup->values[0], second);
    dht_value_release(first);
    dht_value_release(second);
    dht_value_release(other);
}

} // namespace
