// Nodes among each other: joining, publishing, taking back, and strangers who lie.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/simulation/dht_world.h"

namespace
{

constexpr uint64_t kMinuteMs = 60 * 1000;

class NodeTest : public ::testing::Test
{
  protected:
    NodeTest() : NodeTest(dht_node_default_settings) {}
    explicit NodeTest(const dht_node_settings &settings) : world(1, settings, Quiet()) {}

    static dht::Network Quiet()
    {
        dht::Network network;
        network.loss = 0;
        return network;
    }

    void Join(size_t count)
    {
        for (size_t i = 0; i < count; i++) {
            (void)world.Join();
            world.Run(1000);
        }
        world.Run(2 * kMinuteMs);
    }

    // What is found under a key, "" for what was taken back.
    std::vector<std::string> Find(size_t from, const std::string &key)
    {
        std::vector<std::string> all;
        bool told = false;
        EXPECT_TRUE(world.Find(from, dht_id_of(key.data(), key.size()), true, [&](const dht_found &found) {
            told = true;
            complete = found.complete;
            for (size_t i = 0; i < found.lookup->value_count; i++)
                all.emplace_back(reinterpret_cast<const char *>(found.lookup->values[i]->data),
                                 found.lookup->values[i]->data_bytes);
        }));
        world.Run(kMinuteMs);
        EXPECT_TRUE(told);
        return all;
    }

    dht_counts Counts(size_t index)
    {
        return dht_node_counts(world.node(index).core);
    }

    dht::World world;
    bool complete = false;
};

TEST_F(NodeTest, AloneItFindsWhatItPublishes)
{
    Join(1);
    world.Publish(0, "coordinator:uk", "me");
    world.Run(1000);
    EXPECT_EQ(Find(0, "coordinator:uk"), std::vector<std::string>{"me"});
    EXPECT_FALSE(dht_node_joined(world.node(0).core));
}

TEST_F(NodeTest, WhatWasPublishedAloneIsStoredWhenOthersCome)
{
    Join(1);
    world.Publish(0, "coordinator:uk", "me");
    world.Run(kMinuteMs);
    Join(1);
    EXPECT_TRUE(dht_node_joined(world.node(0).core));
    EXPECT_GE(dht_node_store(world.node(1).core)->count, 1u);
    world.Leave(0);
    EXPECT_EQ(Find(1, "coordinator:uk"), std::vector<std::string>{"me"});
}

TEST_F(NodeTest, ValuesOfSeveralPublishersAreAllFound)
{
    Join(60);
    for (size_t i = 0; i < 40; i++)
        world.Publish(i, "worker:ocr", "from " + std::to_string(i) + std::string(900, '.'));
    world.Run(kMinuteMs);
    EXPECT_EQ(Find(50, "worker:ocr").size(), 40u) << "more than fit into one message";
    EXPECT_TRUE(Find(50, "worker:none").empty());
    EXPECT_TRUE(complete);
}

TEST_F(NodeTest, ChangesAndWithdrawalsAreSeen)
{
    Join(30);
    world.Publish(3, "worker:ocr", "first");
    world.Publish(4, "worker:ocr", "other");
    world.Run(kMinuteMs);
    world.Publish(3, "worker:ocr", "second");
    world.Run(kMinuteMs);
    auto found = Find(20, "worker:ocr");
    std::sort(found.begin(), found.end());
    EXPECT_EQ(found, (std::vector<std::string>{"other", "second"}));
    dht_node_withdraw(world.node(3).core, world.now_ms(), "worker:ocr");
    world.Run(kMinuteMs);
    found = Find(20, "worker:ocr");
    std::sort(found.begin(), found.end());
    EXPECT_EQ(found, (std::vector<std::string>{"", "other"}));
    EXPECT_EQ(Counts(3).published, 0u);
    // The withdrawal is forgotten when the last copy has expired, and the key can be used again.
    world.Run(70 * kMinuteMs);
    EXPECT_EQ(Find(20, "worker:ocr"), std::vector<std::string>{"other"});
    world.Publish(3, "worker:ocr", "third");
    world.Run(kMinuteMs);
    EXPECT_EQ(Find(20, "worker:ocr").size(), 2u);
}

TEST_F(NodeTest, ValuesOutliveTheirHoldersButNotTheirLifetime)
{
    Join(60);
    world.Publish(5, "service:gpu-1", "here");
    world.Run(kMinuteMs);
    // Everybody who holds it leaves, one after the other; newcomers take their places.
    for (int i = 0; i < 55; i++) {
        size_t victim = world.RandomAlive();
        if (victim != 5)
            world.Leave(victim);
        (void)world.Join();
        world.Run(2 * kMinuteMs);
    }
    EXPECT_EQ(Find(world.RandomAlive(), "service:gpu-1"), std::vector<std::string>{"here"});
    world.Leave(5);
    world.Run(61 * kMinuteMs);
    EXPECT_TRUE(Find(world.RandomAlive(), "service:gpu-1").empty());
}

TEST_F(NodeTest, ANewcomerIsGivenWhatItShouldHold)
{
    Join(10);
    for (int i = 0; i < 30; i++)
        world.Publish(static_cast<size_t>(i % 10), "k" + std::to_string(i), "v");
    world.Run(kMinuteMs);
    size_t newcomer = world.Join();
    world.Run(kMinuteMs); // long before anything is stored again
    EXPECT_EQ(dht_node_store(world.node(newcomer).core)->count, 30u) << "all are near in so small a table";
}

// Nobody keeps what comes from the future, or is over already; the others go on.
TEST_F(NodeTest, AClockThatIsFarOffOnlyHurtsItsOwner)
{
    Join(10);
    int64_t right_ms = 1700000000000;
    dht_node_set_clock(world.node(3).core, right_ms + 3600 * 1000);
    dht_node_set_clock(world.node(4).core, right_ms - 2 * 3600 * 1000);
    dht_node_set_clock(world.node(5).core, right_ms + 9 * 60 * 1000);
    for (size_t i = 3; i <= 6; i++)
        world.Publish(i, "worker:ocr", std::to_string(i));
    world.Run(kMinuteMs);
    auto found = Find(8, "worker:ocr");
    std::sort(found.begin(), found.end());
    EXPECT_EQ(found, (std::vector<std::string>{"5", "6"}));
    for (size_t i = 3; i <= 6; i++)
        EXPECT_EQ(Counts(i).published_waiting, i <= 4 ? 1u : 0u) << i;
}

class SmallPublisherTest : public NodeTest
{
  protected:
    SmallPublisherTest() : NodeTest(Settings()) {}
    static dht_node_settings Settings()
    {
        dht_node_settings settings = dht_node_default_settings;
        settings.published_max = 2;
        return settings;
    }
};

TEST_F(SmallPublisherTest, WhatANodePublishesIsLimited)
{
    Join(1);
    dht_node *node = world.node(0).core;
    EXPECT_TRUE(dht_node_publish(node, world.now_ms(), "a", "1", 1));
    EXPECT_TRUE(dht_node_publish(node, world.now_ms(), "b", "1", 1));
    EXPECT_FALSE(dht_node_publish(node, world.now_ms(), "c", "1", 1));
    EXPECT_TRUE(dht_node_publish(node, world.now_ms(), "a", "2", 1)) << "one that is there may change";
    std::string long_data(DHT_DATA_BYTES_MAX, 'x'), long_key(DHT_KEY_BYTES_MAX + 1, 'x');
    EXPECT_TRUE(dht_node_publish(node, world.now_ms(), "b", long_data.data(), long_data.size()));
    long_data += 'x';
    EXPECT_FALSE(dht_node_publish(node, world.now_ms(), "b", long_data.data(), long_data.size()));
    EXPECT_FALSE(dht_node_publish(node, world.now_ms(), long_key.c_str(), "1", 1));
    EXPECT_FALSE(dht_node_publish(node, world.now_ms(), "", "1", 1));
    dht_node_withdraw(node, world.now_ms(), "a");
    EXPECT_TRUE(dht_node_publish(node, world.now_ms(), "c", "1", 1)) << "in place of what was taken back";
    EXPECT_FALSE(dht_node_publish(node, world.now_ms(), "d", "1", 1));
    EXPECT_EQ(Counts(0).published, 2u);
}

TEST_F(NodeTest, WhatChangesAllTheTimeIsStoredAllTheSame)
{
    Join(10);
    for (int i = 0; i < 41; i++) {
        world.Publish(3, "worker:ocr", "version " + std::to_string(i));
        world.Run(500);
    }
    world.Run(10000);
    EXPECT_EQ(Find(7, "worker:ocr"), std::vector<std::string>{"version 40"});
    uint64_t before = Counts(3).stores_sent;
    for (int i = 0; i < 20; i++) {
        world.Publish(3, "worker:ocr", "again " + std::to_string(i));
        world.Run(500);
    }
    EXPECT_GT(Counts(3).stores_sent, before) << "while it changes";
    EXPECT_LE(Counts(3).stores_sent - before, 10u * 10u) << "but not each time";
}

class LongLivedTest : public NodeTest
{
  protected:
    LongLivedTest() : NodeTest(Settings()) {}
    static dht_node_settings Settings()
    {
        dht_node_settings settings = dht_node_default_settings;
        settings.lifetime_ms = 24 * 3600 * 1000;
        settings.store.replicate_ms = 10 * kMinuteMs;
        return settings;
    }
};

// The publisher has gone, and so has, hours later, everybody who was there when it published.
TEST_F(LongLivedTest, HoldersPassOnWhatTheyHold)
{
    Join(60);
    world.Publish(5, "service:gpu-1", "here");
    world.Run(kMinuteMs);
    world.Leave(5);
    for (size_t i = 0; i < 60; i++) {
        if (i == 5)
            continue;
        world.Leave(i);
        (void)world.Join();
        world.Run(5 * kMinuteMs);
    }
    EXPECT_EQ(Find(world.RandomAlive(), "service:gpu-1"), std::vector<std::string>{"here"});
}

// Nobody comes or goes: each interval one of the holders, and not all of them, stores it again.
TEST_F(LongLivedTest, HoldersTakeTurnsInReplication)
{
    Join(30);
    world.Publish(5, "service:gpu-1", "here");
    world.Run(kMinuteMs);
    world.Leave(5);
    auto sent = [&] {
        uint64_t sum = 0;
        for (size_t i = 0; i < 30; i++)
            sum += i == 5 ? 0 : Counts(i).stores_sent;
        return sum;
    };
    uint64_t before = sent();
    world.Run(60 * kMinuteMs);
    EXPECT_GE(sent() - before, 3u * DHT_BUCKET_SIZE) << "some six intervals";
    EXPECT_LE(sent() - before, 60u * DHT_BUCKET_SIZE) << "with all of them it would be some 120 times";
}

// One of the nearest holds nothing, or so it says: whoever notices gives it what it found.
TEST_F(NodeTest, WhoFindsValuesRepairsTheNearestWithoutThem)
{
    Join(30);
    world.Publish(5, "worker:ocr", "here");
    world.Run(kMinuteMs);
    dht_id key = dht_id_of("worker:ocr", 10);
    size_t nearest = world.Nearest(key), finder = nearest == 1 ? 2 : 1;
    uint64_t sent = Counts(finder).stores_sent;
    EXPECT_EQ(Find(finder, "worker:ocr").size(), 1u);
    EXPECT_EQ(Counts(finder).stores_sent, sent) << "nothing is missing";
    world.falsify = [&](size_t index, dht_reply *reply) {
        if (index != nearest || reply->method != DHT_FIND_VALUE)
            return;
        while (reply->value_count > 0)
            dht_value_release(reply->values[--reply->value_count]);
    };
    uint64_t stores = Counts(nearest).requests[DHT_STORE];
    EXPECT_EQ(Find(finder, "worker:ocr").size(), 1u);
    EXPECT_EQ(Counts(finder).stores_sent, sent + 1);
    EXPECT_EQ(Counts(nearest).requests[DHT_STORE], stores + 1);
}

// --- Liars ---

TEST_F(NodeTest, WhoAnswersForSomebodyElseIsDropped)
{
    Join(10);
    world.falsify = [&](size_t index, dht_reply *reply) {
        if (index != 7)
            return;
        dht_contact_release(reply->sender);
        reply->sender = dht_contact_reference(world.node(6).contact);
    };
    for (int i = 0; i < 10; i++)
        (void)Find(1, "k" + std::to_string(i));
    EXPECT_EQ(dht_table_find(dht_node_table(world.node(1).core), &world.node(7).contact->id), nullptr);
    EXPECT_GT(Counts(1).lies, 0u);
    EXPECT_NE(dht_table_find(dht_node_table(world.node(1).core), &world.node(6).contact->id), nullptr);
}

TEST_F(NodeTest, ForgedValuesAreNotTakenFromAnAnswer)
{
    Join(10);
    world.Publish(2, "worker:ocr", "true");
    world.Run(kMinuteMs);
    size_t liar = world.Nearest(dht_id_of("worker:ocr", 10)), lies = 0;
    world.falsify = [&](size_t index, dht_reply *reply) {
        if (index != liar || reply->method != DHT_FIND_VALUE || reply->value_count != 1)
            return;
        // A later one in the name of node 2, which has not signed it.
        const dht_contact *victim = world.node(2).contact;
        dht_value_release(reply->values[0]);
        reply->values[0] = dht_value_create(victim->public_key, "worker:ocr", 10, "false", 5,
                                            1700000000000 + static_cast<int64_t>(world.now_ms()) + 1000, 3600000);
        lies++;
    };
    for (size_t i = 0; i < 10; i++) {
        if (i == liar)
            continue;
        EXPECT_EQ(Find(i, "worker:ocr"), std::vector<std::string>{"true"}) << i;
    }
    EXPECT_GT(lies, 0u);
}

TEST_F(NodeTest, ValuesOfAnotherKeyAreALie)
{
    Join(10);
    world.Publish(2, "worker:ocr", "true");
    world.Publish(3, "worker:llm", "llm");
    world.Run(kMinuteMs);
    dht_value *other = nullptr;
    dht_id id = dht_id_of("worker:llm", 10);
    bool more;
    ASSERT_EQ(
        dht_store_get(dht_node_store(world.node(3).core), &id, nullptr, world.now_ms(), &other, 1, SIZE_MAX, &more),
        1u);
    dht_value_reference(other);
    size_t liar = world.Nearest(dht_id_of("worker:ocr", 10)), lies = 0;
    world.falsify = [&](size_t index, dht_reply *reply) {
        if (index != liar || reply->method != DHT_FIND_VALUE || reply->value_count != 1)
            return;
        dht_value_release(reply->values[0]);
        reply->values[0] = dht_value_reference(other);
        lies++;
    };
    for (size_t i = 0; i < 10; i++) {
        if (i == liar)
            continue;
        EXPECT_EQ(Find(i, "worker:ocr"), std::vector<std::string>{"true"}) << i;
    }
    EXPECT_GT(lies, 0u);
    dht_value_release(other);
}

TEST_F(NodeTest, ForgedValuesAreNotStored)
{
    Join(2);
    dht_request request = {};
    dht_reply reply;
    request.method = DHT_STORE;
    request.sender = dht_contact_reference(world.node(1).contact);
    request.values[0] = dht_value_create(world.node(1).contact->public_key, "k", 1, "d", 1,
                                         1700000000000 + static_cast<int64_t>(world.now_ms()), 3600000);
    request.value_count = 1;
    size_t before = dht_node_store(world.node(0).core)->count;
    dht_node_handle(world.node(0).core, world.now_ms(), &request, &reply);
    EXPECT_EQ(reply.stored, 0u);
    EXPECT_EQ(dht_node_store(world.node(0).core)->count, before);
    dht_reply_clear(&reply);
    request.values[0]->signature[0] = 0x5a; // as the world signs
    request.values[0]->checked = DHT_NOT_CHECKED;
    dht_node_handle(world.node(0).core, world.now_ms(), &request, &reply);
    EXPECT_EQ(reply.stored, 1u);
    dht_reply_clear(&reply);
    dht_request_clear(&request);
}

// One names a crowd of nodes that do not exist, all with forged contacts: nobody calls them.
TEST_F(NodeTest, ForgedContactsAreNotCalled)
{
    Join(10);
    uint64_t unanswered = Counts(1).unanswered;
    struct random random;
    random_seed(&random, 3);
    world.falsify = [&](size_t index, dht_reply *reply) {
        if (index != 7 || reply->contact_count == 0)
            return;
        for (size_t i = 0; i < reply->contact_count; i++)
            dht_contact_release(reply->contacts[i]);
        for (reply->contact_count = 0; reply->contact_count < DHT_BUCKET_SIZE; reply->contact_count++) {
            uint8_t key[DHT_PUBLIC_KEY_BYTES], signature[DHT_SIGNATURE_BYTES] = {};
            for (auto &byte : key)
                byte = static_cast<uint8_t>(random_next(&random));
            reply->contacts[reply->contact_count] = dht_contact_create(key, signature, 1, "", "0");
        }
    };
    for (int i = 0; i < 10; i++)
        (void)Find(1, "k" + std::to_string(i));
    EXPECT_TRUE(complete);
    EXPECT_EQ(Counts(1).unanswered, unanswered);
    EXPECT_GT(Counts(1).lies, 0u);
}

// Strangers call, and name themselves as they like: they are called back a few at a time.
TEST_F(NodeTest, CallsBackToStrangersAreLimited)
{
    Join(1);
    uint64_t before = Counts(0).calls;
    for (uint8_t i = 1; i <= 200; i++) {
        uint8_t key[DHT_PUBLIC_KEY_BYTES] = {i}, signature[DHT_SIGNATURE_BYTES] = {0x5a};
        dht_request request = {};
        dht_reply reply;
        request.method = DHT_PING;
        request.sender = dht_contact_create(key, signature, 1, "", "0");
        dht_node_handle(world.node(0).core, world.now_ms(), &request, &reply);
        dht_reply_clear(&reply);
        dht_request_clear(&request);
    }
    EXPECT_LE(Counts(0).calls - before, 16u);
    EXPECT_GT(Counts(0).calls - before, 0u);
    world.Run(kMinuteMs);
    EXPECT_EQ(dht_node_table(world.node(0).core)->count, 0u) << "none of them is where it says";
}

TEST_F(NodeTest, ValuesFarFromTheNodeAreNotKept)
{
    Join(100);
    // The node that is farthest from the key.
    dht_id key = dht_id_of("k", 1);
    size_t farthest = 0;
    for (size_t i = 1; i < 100; i++) {
        if (dht_id_compare_distance(&key, &world.node(i).contact->id, &world.node(farthest).contact->id) > 0)
            farthest = i;
    }
    dht_request request = {};
    dht_reply reply;
    request.method = DHT_STORE;
    request.values[0] = dht_value_create(world.node(1).contact->public_key, "k", 1, "d", 1,
                                         1700000000000 + static_cast<int64_t>(world.now_ms()), 3600000);
    request.values[0]->signature[0] = 0x5a;
    request.value_count = 1;
    dht_node_handle(world.node(farthest).core, world.now_ms(), &request, &reply);
    EXPECT_EQ(reply.stored, 0u);
    dht_reply_clear(&reply);
    dht_node_handle(world.node(world.Nearest(key)).core, world.now_ms(), &request, &reply);
    EXPECT_EQ(reply.stored, 1u);
    dht_reply_clear(&reply);
    dht_request_clear(&request);
}

TEST_F(NodeTest, WhenAllOthersLeaveItJoinsAgainLater)
{
    Join(5);
    for (size_t i = 1; i < 5; i++)
        world.Leave(i);
    for (int i = 0; i < 4; i++)
        (void)Find(0, "k" + std::to_string(i));
    EXPECT_EQ(dht_node_table(world.node(0).core)->count, 0u);
    EXPECT_FALSE(dht_node_joined(world.node(0).core));
    (void)world.Join();
    world.Run(kMinuteMs);
    EXPECT_TRUE(dht_node_joined(world.node(0).core));
}

TEST_F(NodeTest, WhoMovesIsKnownAtItsNewPlace)
{
    Join(30);
    dht_contact *before = world.node(0).contact;
    auto known = [&](size_t at) { return dht_table_find(dht_node_table(world.node(at).core), &before->id); };
    size_t knew = 0;
    for (size_t i = 1; i < 30; i++)
        knew += known(i) != nullptr ? 1 : 0;
    ASSERT_GT(knew, 20u);
    dht_contact *own =
        dht_contact_create(before->public_key, before->signature, before->issued_at_ms + 1, "http://new", "0");
    dht_node_moved(world.node(0).core, own);
    world.Run(kMinuteMs);
    size_t know = 0;
    for (size_t i = 1; i < 30; i++)
        know += known(i) != nullptr && known(i)->url == std::string("http://new") ? 1 : 0;
    EXPECT_GE(know, knew);
    dht_contact_release(own);
}

TEST_F(NodeTest, AStopEndsWhatIsUnderWay)
{
    Join(5);
    dht_id id = dht_id_of("k", 1);
    int told = 0;
    EXPECT_TRUE(world.Find(0, id, true, [&](const dht_found &found) {
        told++;
        EXPECT_FALSE(found.complete);
    }));
    dht_node_stop(world.node(0).core);
    EXPECT_EQ(told, 1);
    EXPECT_FALSE(dht_node_find(world.node(0).core, world.now_ms(), &id, true, 1000, nullptr, nullptr));
    world.Run(kMinuteMs);
    EXPECT_EQ(told, 1);
}

} // namespace
