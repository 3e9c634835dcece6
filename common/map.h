/* A hash map from byte strings to pointers: open addressing with linear probing, keys
 * hashed with SipHash-1-3 and a random seed for each process, so that ids chosen by
 * strangers cannot make it slow.
 *
 * The map does not copy keys: a key lives inside the value that it leads to, or longer.
 * It does not free values.
 *
 * Threading: none of its own; one thread owns a map. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_entry {
    const char *key; /* NULL: free */
    uint32_t key_bytes;
    uint32_t hash;
    void *value;
};

struct map {
    struct map_entry *entries;
    size_t capacity; /* 0 or a power of two */
    size_t count;
};

/* An all-zero struct map is an empty map. */
#define MAP_INIT                                                                                                       \
    {                                                                                                                  \
        NULL, 0, 0                                                                                                     \
    }

/* For a simulation that is to be replayed: keys are hashed the same way in every run, so that maps are walked in the
 * same order. Call it before the first map is filled. */
void map_use_seed(uint64_t seed);

/* Frees the table, neither keys nor values. The map is empty afterwards. */
void map_free(struct map *map);

/* The value, or NULL. `_text` variants take a key that ends with a zero byte. */
void *map_get(const struct map *map, const char *key, size_t key_bytes);
void *map_get_text(const struct map *map, const char *key);

/* This key will be looked up soon: meanwhile its place comes into the caches. For many lookups, one after the other, in
 * a map that is larger than these. */
void map_expect(const struct map *map, const char *key, size_t key_bytes);

/* Puts value under key and replaces (key pointer included) what was there; `value` is not
 * NULL. Returns false, and changes nothing, when memory runs out; what replaces takes none. `old`, if not NULL,
 * receives the value that was replaced, or NULL. */
bool map_put(struct map *map, const char *key, size_t key_bytes, void *value, void **old);
bool map_put_text(struct map *map, const char *key, void *value, void **old);

/* Puts value under a key that has none, and leaves one that has alone. Returns what is there now: `value`, or the other
 * one; NULL when memory runs out. */
void *map_add(struct map *map, const char *key, size_t key_bytes, void *value);
void *map_add_text(struct map *map, const char *key, void *value);

/* Removes; returns the value that was there, or NULL. */
void *map_remove(struct map *map, const char *key, size_t key_bytes);
void *map_remove_text(struct map *map, const char *key);

/* The hash that all maps of this process use, for tables of another shape, and its seed, which
 * such a table has to draw first; false: that failed. */
bool map_seed(void);
uint32_t map_hash(const char *key, size_t key_bytes);

/* Walks over all values in no order: start with *position = 0, until it returns NULL. The
 * map must not be changed meanwhile. */
void *map_next(const struct map *map, size_t *position);
