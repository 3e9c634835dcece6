/* The values that a node keeps for others (and of its own, when it is near their keys).
 *
 * All of it is bounded: values of one key, of one publisher, values in all, and their bytes.
 * What is over a limit is refused, and what is there stays: a newcomer can not push out what
 * others rely on. Expired values are not given out any more, and go with the next sweep.
 *
 * Replication (Maymounkov and Mazieres 2002, section 2.5): a holder stores the values of a key
 * again at the nodes that are nearest to it by then, once in a while, so that a key outlives the
 * nodes that held it. A value that was stored here meanwhile has been so stored by somebody else,
 * and waits for another interval, each drawn at random so that it is not always all of them.
 *
 * Threading: none of its own. */

#pragma once

#include "common/map.h"
#include "common/random.h"
#include "services/dht/value.h"

struct dht_store_limits {
    size_t values, values_of_key, values_of_publisher;
    size_t bytes; /* of all values, with what is around them */
    uint64_t replicate_ms;
};

#define DHT_STORE_DEFAULT_LIMITS                                                                                       \
    {                                                                                                                  \
        .values = 20000, .values_of_key = 128, .values_of_publisher = 2000, .bytes = 16 << 20,                         \
        .replicate_ms = 30 * 60 * 1000                                                                                 \
    }

struct dht_store {
    struct dht_store_limits limits;
    struct map keys;                 /* of struct stored_key */
    struct stored_key *first, *last; /* of them, in the order in which they came: walks are repeatable */
    struct map publishers;           /* of struct publisher */
    size_t count, bytes;
    uint64_t refused; /* since the start, over a limit */
};

void dht_store_init(struct dht_store *store, const struct dht_store_limits *limits);
void dht_store_free(struct dht_store *store);

enum dht_put {
    DHT_PUT_STORED,
    DHT_PUT_KNOWN,   /* this one, or a later one of that publisher, is here */
    DHT_PUT_EXPIRED, /* or its times are no good */
    DHT_PUT_FULL,    /* it is over a limit, or memory ran out */
};

/* Whether dht_store_put would take a value; for checks that are worth less than a signature's. */
enum dht_put dht_store_would_put(const struct dht_store *store, const struct dht_value *value, int64_t unix_ms);

enum dht_put dht_store_put(struct dht_store *store, struct dht_value *value, uint64_t now_ms, int64_t unix_ms,
                           struct random *random);

/* Values of a key in the order of their publishers, from behind `after` on (NULL: from the first
 * one on), at most `max` and, but for the first, at most max_bytes; no references. *more: there
 * are others behind them. */
size_t dht_store_get(const struct dht_store *store, const struct dht_id *key_id, const struct dht_id *after,
                     uint64_t now_ms, struct dht_value **values, size_t max, size_t max_bytes, bool *more);

/* Drops what has expired, and asks for each key of which a value is to be replicated; false: not
 * now, ask again with the next sweep. The store must not be changed meanwhile. */
void dht_store_sweep(struct dht_store *store, uint64_t now_ms, struct random *random,
                     bool (*replicate)(void *context, const struct dht_id *key_id), void *context);

/* The key that came next after this one (NULL: the first of all); NULL: that was the last. */
const struct dht_id *dht_store_next_key(const struct dht_store *store, const struct dht_id *key_id);

/* What one value counts as. */
size_t dht_store_bytes_of(const struct dht_value *value);
