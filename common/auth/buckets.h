/* Token buckets: how many requests somebody may send, many somebodies at a time, in bounded memory.
 *
 * The leaky bucket as a meter in its form of virtual scheduling (ITU-T I.371; "GCRA"): of each bucket only
 * the time is kept at which it will be full again. A request moves that on by 1 / requests_per_second,
 * and is refused when it would come to lie further ahead than `burst` requests take.
 *
 * The table has a fixed number of places, in groups of BUCKETS_GROUP that a keyed hash chooses. A bucket that
 * is full again is as good as none, so its place is free. When all places of a group are in use the one that
 * would be full first makes room: it is forgotten that it was used, in favour of one who is new. Whoever has
 * addresses enough to make that happen has as many buckets anyway.
 *
 * Threading: none of its own; time is an argument. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/auth/identity.h"

#define BUCKETS_GROUP 8
#define BUCKETS_ID_BYTES 17

struct auth_buckets;

/* With this many places, rounded up to a power of two of at least BUCKETS_GROUP; 24 bytes each. `seed` is not to be
 * known outside. NULL when memory runs out. */
struct auth_buckets *auth_buckets_create(size_t places, const uint64_t seed[2]);
void auth_buckets_free(struct auth_buckets *buckets);

/* Who: an address, an IPv6 one by the 64 bits that a customer is given, or a name. */
struct auth_bucket_id {
    uint8_t bytes[BUCKETS_ID_BYTES];
};
struct auth_bucket_id auth_bucket_of_address(const char *address);
struct auth_bucket_id auth_bucket_of_name(const char *name);

/* Takes one out of the bucket. False: it is empty; *wait_us says for how long. now_us never goes back. A rate of 0
 * always lets through. */
bool auth_buckets_take(struct auth_buckets *buckets, const struct auth_bucket_id *id, struct auth_rate rate,
                       uint64_t now_us, uint64_t *wait_us);

/* Places whose bucket is not full at the moment; for tests and metrics. */
size_t auth_buckets_in_use(const struct auth_buckets *buckets, uint64_t now_us);
