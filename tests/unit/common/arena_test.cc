// Memory that is given back at once.

extern "C" {
#include "common/arena.h"
}

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace
{

TEST(Arena, GivesAlignedZeroedMemoryThatDoesNotOverlap)
{
    alignas(max_align_t) char first[200];
    memset(first, 0x5A, sizeof first);
    struct arena arena;
    arena_init(&arena, first, sizeof first);
    for (size_t bytes : {1u, 7u, 16u, 100u, 300u, 5000u, 1u, 100000u, 3u}) {
        char *memory = static_cast<char *>(arena_take(&arena, bytes));
        ASSERT_NE(memory, nullptr);
        EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % alignof(max_align_t), 0u);
        for (size_t i = 0; i < bytes; i++)
            ASSERT_EQ(memory[i], 0) << "somebody has written here: " << i << " of " << bytes;
        memset(memory, 0x77, bytes);
        char *copy = arena_copy(&arena, "text", 4);
        EXPECT_STREQ(copy, "text");
    }
    EXPECT_FALSE(arena_failed(&arena));
    arena_free(&arena);
}

TEST(Arena, UsesTheFirstBlockFirst)
{
    alignas(max_align_t) char first[64];
    struct arena arena;
    arena_init(&arena, first, sizeof first);
    char *inside = static_cast<char *>(arena_take(&arena, 32));
    EXPECT_EQ(inside, first);
    EXPECT_EQ(arena_copy(&arena, "", 0), first + 32);
    char *outside = static_cast<char *>(arena_take(&arena, 64));
    EXPECT_TRUE(outside < first || outside >= first + sizeof first);
    arena_free(&arena);
}

TEST(Arena, StaysFailed)
{
    struct arena arena;
    arena_init(&arena, nullptr, 0);
    EXPECT_EQ(arena_take(&arena, SIZE_MAX - 8), nullptr);
    EXPECT_TRUE(arena_failed(&arena));
    EXPECT_EQ(arena_take(&arena, 1), nullptr) << "one check at the end is enough";
    EXPECT_EQ(arena_copy(&arena, "x", 1), nullptr);
    arena_free(&arena);
}

} // namespace
