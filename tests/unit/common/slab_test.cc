// Objects of all sizes keep what is written into them, lie where no other one does, and their memory goes back.

extern "C" {
#include "common/random.h"
#include "common/slab.h"
}

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace
{

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kOwnMemory = false;
#else
constexpr bool kOwnMemory = true;
#endif

struct Object {
    unsigned char *memory;
    size_t bytes;
    unsigned char mark;
};

Object take(slab *slab, size_t bytes, unsigned char mark)
{
    auto *memory = static_cast<unsigned char *>(slab_take(slab, bytes));
    EXPECT_NE(memory, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % 8, 0u);
    std::memset(memory, mark, bytes);
    return {memory, bytes, mark};
}

void give(const Object &object)
{
    ASSERT_EQ(object.memory[0], object.mark) << object.bytes;
    ASSERT_EQ(std::memcmp(object.memory, object.memory + 1, object.bytes - 1), 0) << object.bytes;
    slab_give(object.memory, object.bytes);
}

TEST(Slab, KeepsWhatIsWrittenOverRandomRuns)
{
    struct random generator;
    random_seed(&generator, 7);
    slab *slab = slab_create();
    std::vector<Object> objects;
    for (int step = 0; step < 200000; step++) {
        // The fleet grows, shrinks and grows again.
        bool grows = step / 50000 % 2 == 0;
        if (objects.empty() || random_below(&generator, 10) < (grows ? 7 : 3)) {
            size_t limit = random_below(&generator, 20) == 0 ? SLAB_OBJECT_BYTES_MAX + 200 : 700;
            objects.push_back(
                take(slab, 1 + random_below(&generator, limit), static_cast<unsigned char>(random_next(&generator))));
        } else {
            std::swap(objects[random_below(&generator, objects.size())], objects.back());
            give(objects.back());
            objects.pop_back();
        }
    }
    for (const Object &object : objects)
        give(object);
    EXPECT_LE(slab_held_bytes(slab), size_t{1} << 20) << "one region may be kept";
    slab_destroy(slab);
}

TEST(Slab, LiesDenselyAndItsMemoryServesOtherSizes)
{
    if (!kOwnMemory)
        GTEST_SKIP() << "objects come from malloc";
    slab *slab = slab_create();
    std::vector<Object> objects;
    for (size_t bytes : {616u, 200u, 2048u}) {
        for (int i = 0; i < 50000; i++)
            objects.push_back(take(slab, bytes, 1));
        size_t needed = 50000 * bytes;
        EXPECT_GE(slab_held_bytes(slab), needed);
        EXPECT_LE(slab_held_bytes(slab), needed + needed / 16 + (2u << 20)) << bytes;
        std::reverse(objects.begin(), objects.end());
        for (const Object &object : objects)
            give(object);
        objects.clear();
        EXPECT_LE(slab_held_bytes(slab), size_t{1} << 20);
    }
    slab_destroy(slab);
    slab_destroy(nullptr);
}

TEST(Slab, LargestOfTheSmallAndSmallestOfTheLarge)
{
    slab *slab = slab_create();
    std::vector<Object> objects;
    for (size_t bytes : {1u, 8u, 9u, unsigned{SLAB_OBJECT_BYTES_MAX}, unsigned{SLAB_OBJECT_BYTES_MAX} + 1, 100000u})
        for (int i = 0; i < 100; i++)
            objects.push_back(take(slab, bytes, static_cast<unsigned char>(bytes)));
    for (const Object &object : objects)
        give(object);
    slab_destroy(slab);
}

} // namespace
