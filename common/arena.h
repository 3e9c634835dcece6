/* Memory that is taken piece by piece and given back at once: what one request needs.
 *
 * The first block may be memory of the caller's (part of a larger struct), so that a small
 * request allocates nothing.
 *
 * When memory runs out the arena becomes "failed": it returns NULL from then on and says so
 * in arena_failed, so that a series of copies needs one check, at its end.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first; those that were allocated */
    char *at, *end;             /* what is left of the newest */
    bool failed;
};

/* `first` may be NULL with 0 bytes; it must outlive the arena's contents. */
void arena_init(struct arena *arena, void *first, size_t first_bytes);

/* Gives everything back. The arena must be initialised again before it is used. */
void arena_free(struct arena *arena);

/* Zeroed memory, aligned for any type; NULL when memory ran out. */
void *arena_take(struct arena *arena, size_t bytes);

/* A copy with a zero byte behind it. */
char *arena_copy(struct arena *arena, const void *data, size_t bytes);

static inline bool arena_failed(const struct arena *arena)
{
    return arena->failed;
}
