// The map against std::unordered_map, and what its header promises.

extern "C" {
#include "common/map.h"
#include "common/random.h"
}

#include <gtest/gtest.h>

#include <string>
#include <unordered_map>
#include <vector>

namespace
{

struct Value {
    std::string key;
    int number;
};

TEST(Map, EmptyFindsNothing)
{
    map m = MAP_INIT;
    EXPECT_EQ(map_get_text(&m, "a"), nullptr);
    EXPECT_EQ(map_remove_text(&m, "a"), nullptr);
    size_t position = 0;
    EXPECT_EQ(map_next(&m, &position), nullptr);
    map_free(&m);
}

TEST(Map, PutReplacesAndReturnsTheOldValue)
{
    map m = MAP_INIT;
    Value first{"a", 1}, second{"a", 2};
    void *old = &first;
    ASSERT_TRUE(map_put_text(&m, first.key.c_str(), &first, &old));
    EXPECT_EQ(old, nullptr);
    ASSERT_TRUE(map_put_text(&m, second.key.c_str(), &second, &old));
    EXPECT_EQ(old, &first);
    EXPECT_EQ(m.count, 1u);
    EXPECT_EQ(map_get_text(&m, "a"), &second);
    map_free(&m);
}

TEST(Map, AddingLeavesWhatIsThere)
{
    struct map map = MAP_INIT;
    int one = 1, two = 2;
    std::vector<std::string> keys;
    for (int i = 0; i < 100; i++)
        keys.push_back("key" + std::to_string(i));
    for (const std::string &key : keys)
        EXPECT_EQ(map_add_text(&map, key.c_str(), &one), &one);
    EXPECT_EQ(map.count, keys.size());
    for (const std::string &key : keys) {
        EXPECT_EQ(map_add_text(&map, std::string(key).c_str(), &two), &one);
        EXPECT_EQ(map_get_text(&map, key.c_str()), &one); // and its key is not the one that is gone
    }
    EXPECT_EQ(map.count, keys.size());
    map_free(&map);
}

TEST(Map, ExpectingAKeyChangesNothing)
{
    map m = MAP_INIT;
    Value first{"a", 1};
    map_expect(&m, "a", 1);
    EXPECT_EQ(map_get_text(&m, "a"), nullptr);
    ASSERT_TRUE(map_put_text(&m, first.key.c_str(), &first, nullptr));
    map_expect(&m, "a", 1);
    map_expect(&m, "another", 7);
    EXPECT_EQ(map_get_text(&m, "a"), &first);
    EXPECT_EQ(m.count, 1u);
    map_free(&m);
}

// What replaces takes no memory, so that who replaces need not be ready for having none.
TEST(Map, ReplacingNeverGrowsTheTable)
{
    map m = MAP_INIT;
    Value values[] = {{"a", 1}, {"b", 2}, {"c", 3}, {"d", 4}, {"e", 5}, {"f", 6}, {"g", 7}};
    for (size_t i = 0; i < 6; i++)
        ASSERT_TRUE(map_put_text(&m, values[i].key.c_str(), &values[i], nullptr));
    const size_t full = m.capacity;
    for (size_t i = 0; i < 6; i++)
        ASSERT_TRUE(map_put_text(&m, values[i].key.c_str(), &values[5 - i], nullptr));
    EXPECT_EQ(m.capacity, full);
    EXPECT_EQ(m.count, 6u);
    ASSERT_TRUE(map_put_text(&m, values[6].key.c_str(), &values[6], nullptr));
    EXPECT_GT(m.capacity, full) << "one more needs room";
    EXPECT_EQ(map_get_text(&m, "a"), &values[5]);
    map_free(&m);
}

TEST(Map, KeysAreBytesNotText)
{
    map m = MAP_INIT;
    Value a{std::string("a\0b", 3), 1}, b{std::string("a\0c", 3), 2}, empty{"", 3};
    ASSERT_TRUE(map_put(&m, a.key.data(), 3, &a, nullptr));
    ASSERT_TRUE(map_put(&m, b.key.data(), 3, &b, nullptr));
    ASSERT_TRUE(map_put(&m, empty.key.data(), 0, &empty, nullptr));
    EXPECT_EQ(map_get(&m, "a\0b", 3), &a);
    EXPECT_EQ(map_get(&m, "a\0c", 3), &b);
    EXPECT_EQ(map_get(&m, "", 0), &empty);
    EXPECT_EQ(map_get(&m, "a", 1), nullptr);
    map_free(&m);
}

TEST(Map, AgreesWithTheStandardOneOverRandomRuns)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct random generator;
        random_seed(&generator, seed);
        map m = MAP_INIT;
        std::unordered_map<std::string, Value *> model;
        for (int step = 0; step < 20000; step++) {
            std::string key = "worker-" + std::to_string(random_below(&generator, 700));
            auto found = model.find(key);
            Value *expected = found == model.end() ? nullptr : found->second;
            switch (random_below(&generator, 3)) {
            case 0: {
                Value *value = new Value{key, step};
                void *old = nullptr;
                ASSERT_TRUE(map_put_text(&m, value->key.c_str(), value, &old));
                ASSERT_EQ(old, expected);
                delete expected;
                model[key] = value;
                break;
            }
            case 1:
                ASSERT_EQ(map_remove_text(&m, key.c_str()), expected);
                model.erase(key);
                delete expected;
                break;
            default:
                ASSERT_EQ(map_get_text(&m, key.c_str()), expected);
            }
            ASSERT_EQ(m.count, model.size());
        }
        size_t position = 0, walked = 0;
        while (Value *value = static_cast<Value *>(map_next(&m, &position))) {
            ASSERT_EQ(model[value->key], value);
            walked++;
        }
        EXPECT_EQ(walked, model.size());
        for (auto &[_, value] : model)
            delete value;
        map_free(&m);
    }
}

} // namespace
