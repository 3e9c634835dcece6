/* See arena.h. */

#include "common/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT _Alignof(max_align_t)
#define BLOCK_BYTES 4096

struct arena_block {
    struct arena_block *next;
    max_align_t data[];
};

void arena_init(struct arena *arena, void *first, size_t first_bytes)
{
    arena->blocks = NULL;
    arena->at = first;
    arena->end = arena->at == NULL ? NULL : arena->at + first_bytes;
    arena->failed = false;
}

void arena_free(struct arena *arena)
{
    while (arena->blocks != NULL) {
        struct arena_block *block = arena->blocks;
        arena->blocks = block->next;
        free(block);
    }
    arena->at = arena->end = NULL;
}

static bool add_block(struct arena *arena, size_t bytes)
{
    size_t data_bytes = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
    if (data_bytes > SIZE_MAX - sizeof(struct arena_block))
        return false;
    struct arena_block *block = malloc(sizeof *block + data_bytes);
    if (block == NULL)
        return false;
    block->next = arena->blocks;
    arena->blocks = block;
    arena->at = (char *)block->data;
    arena->end = arena->at + data_bytes;
    return true;
}

/* Moves `at` so that `bytes` lie there, aligned; false when memory ran out. */
static bool make_room(struct arena *arena, size_t bytes, size_t alignment)
{
    if (arena->failed)
        return false;
    if (arena->at != NULL) {
        size_t padding = (size_t)(-(uintptr_t)arena->at & (alignment - 1));
        size_t left = (size_t)(arena->end - arena->at);
        if (padding <= left && bytes <= left - padding) {
            arena->at += padding;
            return true;
        }
    }
    if (!add_block(arena, bytes)) {
        arena->failed = true;
        return false;
    }
    return true;
}

void *arena_take(struct arena *arena, size_t bytes)
{
    if (!make_room(arena, bytes, ALIGNMENT))
        return NULL;
    void *memory = arena->at;
    arena->at += bytes;
    return memset(memory, 0, bytes);
}

char *arena_copy(struct arena *arena, const void *data, size_t bytes)
{
    if (bytes == SIZE_MAX || !make_room(arena, bytes + 1, 1))
        return NULL;
    char *copy = arena->at;
    arena->at += bytes + 1;
    if (bytes > 0)
        memcpy(copy, data, bytes);
    copy[bytes] = '\0';
    return copy;
}
