/* See buckets.h. */

#include "common/auth/buckets.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

struct place {
    uint64_t mark[2];    /* of whose it is: a keyed hash of 128 bits */
    uint64_t full_at_us; /* in the past: nobody's */
};

struct auth_buckets {
    uint64_t seed[2];
    size_t group_mask;
    struct place places[];
};

struct auth_buckets *auth_buckets_create(size_t places, const uint64_t seed[2])
{
    size_t groups = 1;
    while (groups * BUCKETS_GROUP < places)
        groups *= 2;
    struct auth_buckets *buckets = calloc(1, sizeof *buckets + groups * BUCKETS_GROUP * sizeof buckets->places[0]);
    if (buckets == NULL)
        return NULL;
    memcpy(buckets->seed, seed, sizeof buckets->seed);
    buckets->group_mask = groups - 1;
    return buckets;
}

void auth_buckets_free(struct auth_buckets *buckets)
{
    free(buckets);
}

/* --- Whose --- */

struct auth_bucket_id auth_bucket_of_address(const char *address)
{
    struct auth_bucket_id id = {.bytes = {0}};
    struct in6_addr six;
    struct in_addr four;
    if (inet_pton(AF_INET, address, &four) == 1) {
        id.bytes[0] = 4;
        memcpy(id.bytes + 1, &four, sizeof four);
    } else if (inet_pton(AF_INET6, address, &six) == 1) {
        bool mapped = IN6_IS_ADDR_V4MAPPED(&six) != 0;
        id.bytes[0] = mapped ? 4 : 6;
        memcpy(id.bytes + 1, (const uint8_t *)&six + (mapped ? 12 : 0), mapped ? 4 : 8);
    }
    return id;
}

/* The mark that is kept is a hash anyway; a name is folded into the id by another one (FNV-1a, 128 bits). */
struct auth_bucket_id auth_bucket_of_name(const char *name)
{
    struct auth_bucket_id id = {.bytes = {'n'}};
    unsigned __int128 hash = (unsigned __int128)0x6c62272e07bb0142u << 64 | 0x62b821756295c58du;
    const unsigned __int128 prime = (unsigned __int128)1 << 88 | 0x13b;
    for (const unsigned char *at = (const unsigned char *)name; *at != '\0'; at++)
        hash = (hash ^ *at) * prime;
    memcpy(id.bytes + 1, &hash, sizeof hash);
    return id;
}

static uint64_t rotate_left(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

/* SipHash-1-3 with an output of 128 bits (J.-P. Aumasson and D. J. Bernstein, 2012): 17 bytes are three words. */
static void mark_of(const struct auth_buckets *buckets, const struct auth_bucket_id *id, uint64_t mark[2])
{
    uint64_t v0 = buckets->seed[0] ^ 0x736f6d6570736575u, v1 = buckets->seed[1] ^ 0x646f72616e646f6du ^ 0xee;
    uint64_t v2 = buckets->seed[0] ^ 0x6c7967656e657261u, v3 = buckets->seed[1] ^ 0x7465646279746573u;
    uint64_t words[3] = {0, 0, (uint64_t)BUCKETS_ID_BYTES << 56 | id->bytes[16]};
    memcpy(words, id->bytes, 16);
    mark[0] = 0; /* for compilers that do not see that the loop gets to 6 */
    for (int i = 0; i < 3 + 6; i++) {
        if (i < 3)
            v3 ^= words[i];
        else if (i == 3)
            v2 ^= 0xee;
        else if (i == 6) {
            mark[0] = v0 ^ v1 ^ v2 ^ v3;
            v1 ^= 0xdd;
        }
        v0 += v1;
        v1 = rotate_left(v1, 13) ^ v0;
        v0 = rotate_left(v0, 32);
        v2 += v3;
        v3 = rotate_left(v3, 16) ^ v2;
        v0 += v3;
        v3 = rotate_left(v3, 21) ^ v0;
        v2 += v1;
        v1 = rotate_left(v1, 17) ^ v2;
        v2 = rotate_left(v2, 32);
        if (i < 3)
            v0 ^= words[i];
    }
    mark[1] = v0 ^ v1 ^ v2 ^ v3;
}

/* --- Taking --- */

/* The place of this mark, or the one that it gets. */
static struct place *find_place(struct auth_buckets *buckets, const uint64_t mark[2])
{
    struct place *group = &buckets->places[(mark[0] & buckets->group_mask) * BUCKETS_GROUP];
    struct place *first_full = &group[0];
    for (size_t i = 0; i < BUCKETS_GROUP; i++) {
        if (group[i].mark[0] == mark[0] && group[i].mark[1] == mark[1])
            return &group[i];
        if (group[i].full_at_us < first_full->full_at_us)
            first_full = &group[i];
    }
    *first_full = (struct place){{mark[0], mark[1]}, 0};
    return first_full;
}

bool auth_buckets_take(struct auth_buckets *buckets, const struct auth_bucket_id *id, struct auth_rate rate,
                       uint64_t now_us, uint64_t *wait_us)
{
    uint64_t mark[2];
    *wait_us = 0;
    if (rate.requests_per_second <= 0)
        return true;
    double burst = rate.burst < 1 ? 1 : rate.burst;
    uint64_t one_us = (uint64_t)(1e6 / rate.requests_per_second);
    uint64_t all_us = (uint64_t)(1e6 * burst / rate.requests_per_second);
    mark_of(buckets, id, mark);
    struct place *place = find_place(buckets, mark);
    uint64_t full_at_us = place->full_at_us > now_us ? place->full_at_us : now_us;
    uint64_t ahead_us = full_at_us - now_us;
    if (ahead_us + one_us > all_us) {
        *wait_us = ahead_us + one_us - all_us;
        return false;
    }
    place->full_at_us = full_at_us + one_us;
    return true;
}

size_t auth_buckets_in_use(const struct auth_buckets *buckets, uint64_t now_us)
{
    size_t count = 0;
    for (size_t i = 0; i < (buckets->group_mask + 1) * BUCKETS_GROUP; i++)
        count += buckets->places[i].full_at_us > now_us;
    return count;
}
