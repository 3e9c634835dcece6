/* A hash map from byte strings to pointers; see map.h. */

#include "common/map.h"

#include "common/random.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* The seed is the one thing here at file scope: all maps of a process share it, and it never
 * changes after the first of them is filled. */
static uint64_t seed[2];
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void draw_seed(void)
{
    random_bytes(seed, sizeof(seed));
}

void map_use_seed(uint64_t given)
{
    if (pthread_once(&seed_once, draw_seed) != 0)
        return;
    seed[0] = given;
    seed[1] = ~given;
}

static uint64_t rotate_left(uint64_t value, int bits)
{
    return (value << bits) | (value >> (64 - bits));
}

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotate_left(s->v1, 13) ^ s->v0;
    s->v0 = rotate_left(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate_left(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate_left(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate_left(s->v1, 17) ^ s->v2;
    s->v2 = rotate_left(s->v2, 32);
}

/* Up to seven bytes, little-endian. */
static inline uint64_t read_rest(const char *key, size_t bytes)
{
    uint32_t low, high;
    uint16_t pair;
    if (bytes >= 4) { /* the halves may overlap: the bits are the same */
        memcpy(&low, key, 4);
        memcpy(&high, key + bytes - 4, 4);
        return low | (uint64_t)high << (8 * (bytes - 4));
    }
    if (bytes < 2)
        return bytes == 0 ? 0 : (unsigned char)*key;
    memcpy(&pair, key, 2);
    return pair | (uint64_t)(unsigned char)key[bytes - 1] << (8 * (bytes - 1));
}

/* SipHash-1-3 (J.-P. Aumasson and D. J. Bernstein, "SipHash: a fast short-input PRF", 2012;
 * one round a word and three at the end, as Rust's and Python's tables use it). */
uint32_t map_hash(const char *key, size_t key_bytes)
{
    struct sip s = {
        seed[0] ^ 0x736f6d6570736575u,
        seed[1] ^ 0x646f72616e646f6du,
        seed[0] ^ 0x6c7967656e657261u,
        seed[1] ^ 0x7465646279746573u,
    };
    size_t bytes = key_bytes;
    uint64_t last = (uint64_t)bytes << 56;
    for (; bytes >= 8; key += 8, bytes -= 8) {
        uint64_t word;
        memcpy(&word, key, 8);
        s.v3 ^= word;
        sip_round(&s);
        s.v0 ^= word;
    }
    last |= read_rest(key, bytes);
    s.v3 ^= last;
    sip_round(&s);
    s.v0 ^= last;
    s.v2 ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(&s);
    uint64_t hash = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
    return (uint32_t)(hash ^ (hash >> 32));
}

/* The entry of the key, or the free one where it would go. The table is never full. */
static struct map_entry *find(const struct map *map, const char *key, size_t key_bytes, uint32_t hash)
{
    size_t mask = map->capacity - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct map_entry *entry = &map->entries[i];
        if (entry->key == NULL ||
            (entry->hash == hash && entry->key_bytes == key_bytes && memcmp(entry->key, key, key_bytes) == 0))
            return entry;
    }
}

static bool grow(struct map *map)
{
    struct map bigger = {.capacity = map->capacity == 0 ? 8 : map->capacity * 2, .count = map->count};
    bigger.entries = calloc(bigger.capacity, sizeof(*bigger.entries));
    if (bigger.entries == NULL)
        return false;
    for (size_t i = 0; i < map->capacity; i++) {
        const struct map_entry *entry = &map->entries[i];
        if (entry->key != NULL)
            *find(&bigger, entry->key, entry->key_bytes, entry->hash) = *entry;
    }
    free(map->entries);
    *map = bigger;
    return true;
}

void map_free(struct map *map)
{
    free(map->entries);
    *map = (struct map)MAP_INIT;
}

void *map_get(const struct map *map, const char *key, size_t key_bytes)
{
    if (map->count == 0)
        return NULL;
    return find(map, key, key_bytes, map_hash(key, key_bytes))->value;
}

void map_expect(const struct map *map, const char *key, size_t key_bytes)
{
    if (map->capacity > 0)
        __builtin_prefetch(&map->entries[map_hash(key, key_bytes) & (map->capacity - 1)], 1);
}

bool map_seed(void)
{
    return pthread_once(&seed_once, draw_seed) == 0;
}

/* The entry of the key, or a free one for it; NULL: out of memory. */
static struct map_entry *make_place(struct map *map, const char *key, size_t key_bytes, uint32_t *hash)
{
    if (!map_seed() || key_bytes > UINT32_MAX)
        return NULL;
    *hash = map_hash(key, key_bytes);
    struct map_entry *entry = map->count == 0 ? NULL : find(map, key, key_bytes, *hash);
    bool is_new = entry == NULL || entry->key == NULL;
    /* At most three quarters full: probes stay short. */
    if (is_new && map->count >= map->capacity / 4 * 3) {
        if (!grow(map))
            return NULL;
        entry = NULL;
    }
    return entry != NULL ? entry : find(map, key, key_bytes, *hash);
}

bool map_put(struct map *map, const char *key, size_t key_bytes, void *value, void **old)
{
    uint32_t hash;
    struct map_entry *entry = make_place(map, key, key_bytes, &hash);
    if (entry == NULL)
        return false;
    if (old != NULL)
        *old = entry->value;
    map->count += entry->key == NULL;
    *entry = (struct map_entry){key, (uint32_t)key_bytes, hash, value};
    return true;
}

void *map_add(struct map *map, const char *key, size_t key_bytes, void *value)
{
    uint32_t hash;
    struct map_entry *entry = make_place(map, key, key_bytes, &hash);
    if (entry == NULL)
        return NULL;
    if (entry->key == NULL) {
        map->count++;
        *entry = (struct map_entry){key, (uint32_t)key_bytes, hash, value};
    }
    return entry->value;
}

void *map_remove(struct map *map, const char *key, size_t key_bytes)
{
    if (map->count == 0)
        return NULL;
    struct map_entry *entry = find(map, key, key_bytes, map_hash(key, key_bytes));
    void *value = entry->value;
    if (entry->key == NULL)
        return NULL;
    /* Knuth's algorithm R (The Art of Computer Programming, vol. 3, 6.4): entries behind the
     * hole move into it unless that would put them before their own place. */
    size_t mask = map->capacity - 1;
    size_t hole = (size_t)(entry - map->entries);
    for (size_t i = (hole + 1) & mask; map->entries[i].key != NULL; i = (i + 1) & mask) {
        size_t home = map->entries[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            map->entries[hole] = map->entries[i];
            hole = i;
        }
    }
    map->entries[hole] = (struct map_entry){NULL, 0, 0, NULL};
    map->count--;
    return value;
}

void *map_get_text(const struct map *map, const char *key)
{
    return map_get(map, key, strlen(key));
}

bool map_put_text(struct map *map, const char *key, void *value, void **old)
{
    return map_put(map, key, strlen(key), value, old);
}

void *map_add_text(struct map *map, const char *key, void *value)
{
    return map_add(map, key, strlen(key), value);
}

void *map_remove_text(struct map *map, const char *key)
{
    return map_remove(map, key, strlen(key));
}

void *map_next(const struct map *map, size_t *position)
{
    while (*position < map->capacity) {
        const struct map_entry *entry = &map->entries[(*position)++];
        if (entry->key != NULL)
            return entry->value;
    }
    return NULL;
}
