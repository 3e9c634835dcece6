/* Memory for one answer: taken piece by piece, given back all at once.
 *
 * After a failure everything that follows fails too; check arena_failed once at the end.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* the newest first */
    bool failed;
};

/* Zeroed, aligned for anything; NULL when memory runs out. */
void *arena_take(struct arena *arena, size_t count, size_t bytes);

/* A formatted text; NULL when memory runs out. */
__attribute__((format(printf, 2, 3))) char *arena_format(struct arena *arena, const char *format, ...);

bool arena_failed(const struct arena *arena);

/* Frees all, and forgets a failure. An all-zero arena is an empty one. */
void arena_reset(struct arena *arena);
