/* See store.h. */

#include "services/dht/store.h"

#include <stdlib.h>
#include <string.h>

struct stored {
    struct dht_value *value;
    uint64_t expires_at_ms;
    uint64_t replicate_at_ms;
};

struct stored_key {
    struct dht_id id;
    struct stored *values; /* in the order of their publishers */
    size_t count, capacity;
    struct stored_key *next, *previous;
};

struct publisher {
    struct dht_id id;
    size_t count;
};

void dht_store_init(struct dht_store *store, const struct dht_store_limits *limits)
{
    *store = (struct dht_store){.limits = *limits, .keys = MAP_INIT, .publishers = MAP_INIT};
}

static void free_key(struct stored_key *key)
{
    for (size_t i = 0; i < key->count; i++)
        dht_value_release(key->values[i].value);
    free(key->values);
    free(key);
}

void dht_store_free(struct dht_store *store)
{
    struct stored_key *next = NULL;
    for (struct stored_key *key = store->first; key != NULL; key = next) {
        next = key->next;
        free_key(key);
    }
    size_t position = 0;
    for (struct publisher *publisher = map_next(&store->publishers, &position); publisher != NULL;
         publisher = map_next(&store->publishers, &position))
        free(publisher);
    map_free(&store->keys);
    map_free(&store->publishers);
    dht_store_init(store, &store->limits);
}

static void *by_id(const struct map *map, const struct dht_id *id)
{
    return map_get(map, (const char *)id->bytes, sizeof id->bytes);
}

size_t dht_store_bytes_of(const struct dht_value *value)
{
    return sizeof *value + sizeof(struct stored) + value->key_bytes + value->data_bytes;
}

/* Where a publisher's value is, or would be. */
static size_t place_of(const struct stored_key *key, const struct dht_id *publisher, bool *found)
{
    size_t low = 0, high = key->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (dht_id_compare(&key->values[middle].value->publisher, publisher) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = low < key->count && dht_id_compare(&key->values[low].value->publisher, publisher) == 0;
    return low;
}

static enum dht_put judge(const struct dht_store *store, const struct stored_key *key, const struct dht_value *value,
                          const struct dht_value *old)
{
    const struct publisher *publisher = by_id(&store->publishers, &value->publisher);
    const struct dht_store_limits *limits = &store->limits;
    if (old != NULL && old->issued_at_ms >= value->issued_at_ms)
        return DHT_PUT_KNOWN;
    size_t old_bytes = old == NULL ? 0 : dht_store_bytes_of(old);
    if (store->bytes - old_bytes + dht_store_bytes_of(value) > limits->bytes)
        return DHT_PUT_FULL;
    if (old == NULL && (store->count >= limits->values || (key != NULL && key->count >= limits->values_of_key) ||
                        (publisher != NULL && publisher->count >= limits->values_of_publisher)))
        return DHT_PUT_FULL;
    return DHT_PUT_STORED;
}

static struct stored *find(const struct stored_key *key, const struct dht_id *publisher)
{
    bool found = false;
    size_t place = key == NULL ? 0 : place_of(key, publisher, &found);
    return found ? &key->values[place] : NULL;
}

enum dht_put dht_store_would_put(const struct dht_store *store, const struct dht_value *value, int64_t unix_ms)
{
    const struct stored_key *key = by_id(&store->keys, &value->key_id);
    const struct stored *old = find(key, &value->publisher);
    if (dht_value_remaining_ms(value, unix_ms) == 0)
        return DHT_PUT_EXPIRED;
    return judge(store, key, value, old == NULL ? NULL : old->value);
}

static uint64_t next_replication(const struct dht_store *store, uint64_t now_ms, struct random *random)
{
    uint64_t half_ms = store->limits.replicate_ms / 2;
    return now_ms + store->limits.replicate_ms - half_ms / 2 + random_below(random, half_ms + 1);
}

static struct stored_key *make_key(struct dht_store *store, const struct dht_id *id)
{
    struct stored_key *key = by_id(&store->keys, id);
    if (key != NULL)
        return key;
    key = calloc(1, sizeof *key);
    if (key == NULL)
        return NULL;
    key->id = *id;
    if (!map_put(&store->keys, (const char *)key->id.bytes, sizeof key->id.bytes, key, NULL)) {
        free(key);
        return NULL;
    }
    key->previous = store->last;
    *(store->last != NULL ? &store->last->next : &store->first) = key;
    store->last = key;
    return key;
}

static struct publisher *make_publisher(struct dht_store *store, const struct dht_id *id)
{
    struct publisher *publisher = by_id(&store->publishers, id);
    if (publisher != NULL)
        return publisher;
    publisher = calloc(1, sizeof *publisher);
    if (publisher == NULL)
        return NULL;
    publisher->id = *id;
    if (map_put(&store->publishers, (const char *)publisher->id.bytes, sizeof publisher->id.bytes, publisher, NULL))
        return publisher;
    free(publisher);
    return NULL;
}

static void drop_if_empty(struct dht_store *store, struct stored_key *key)
{
    if (key->count > 0)
        return;
    (void)map_remove(&store->keys, (const char *)key->id.bytes, sizeof key->id.bytes); /* it is in there */
    *(key->previous != NULL ? &key->previous->next : &store->first) = key->next;
    *(key->next != NULL ? &key->next->previous : &store->last) = key->previous;
    free_key(key);
}

static void forget_publisher(struct dht_store *store, const struct dht_id *id)
{
    struct publisher *publisher = by_id(&store->publishers, id);
    if (publisher == NULL || --publisher->count > 0)
        return;
    (void)map_remove(&store->publishers, (const char *)publisher->id.bytes, sizeof publisher->id.bytes);
    free(publisher);
}

/* Room for one more. */
static bool grow(struct stored_key *key)
{
    if (key->count < key->capacity)
        return true;
    size_t capacity = key->capacity == 0 ? 2 : 2 * key->capacity;
    struct stored *values = realloc(key->values, capacity * sizeof *values);
    if (values == NULL)
        return false;
    key->values = values;
    key->capacity = capacity;
    return true;
}

static bool insert(struct dht_store *store, struct stored_key *key, const struct stored *stored)
{
    bool found = false;
    size_t place = place_of(key, &stored->value->publisher, &found);
    struct publisher *publisher = grow(key) ? make_publisher(store, &stored->value->publisher) : NULL;
    if (publisher == NULL)
        return false;
    publisher->count++;
    memmove(key->values + place + 1, key->values + place, (key->count - place) * sizeof *stored);
    key->values[place] = *stored;
    key->count++;
    store->count++;
    return true;
}

enum dht_put dht_store_put(struct dht_store *store, struct dht_value *value, uint64_t now_ms, int64_t unix_ms,
                           struct random *random)
{
    enum dht_put result = dht_store_would_put(store, value, unix_ms);
    struct stored *old = find(by_id(&store->keys, &value->key_id), &value->publisher);
    /* Only the very same counts as a copy that somebody stored: anything can claim to be an older one. */
    if (result == DHT_PUT_KNOWN && memcmp(old->value->signature, value->signature, sizeof value->signature) == 0)
        old->replicate_at_ms = next_replication(store, now_ms, random);
    if (result == DHT_PUT_FULL)
        store->refused++;
    if (result != DHT_PUT_STORED)
        return result;
    struct stored stored = {
        .value = value,
        .expires_at_ms = now_ms + (uint64_t)dht_value_remaining_ms(value, unix_ms),
        .replicate_at_ms = next_replication(store, now_ms, random),
    };
    if (old != NULL) {
        store->bytes -= dht_store_bytes_of(old->value);
        dht_value_release(old->value);
        *old = stored;
    } else {
        struct stored_key *key = make_key(store, &value->key_id);
        bool inserted = key != NULL && insert(store, key, &stored);
        if (!inserted && key != NULL)
            drop_if_empty(store, key);
        if (!inserted)
            return DHT_PUT_FULL;
    }
    (void)dht_value_reference(value);
    store->bytes += dht_store_bytes_of(value);
    return DHT_PUT_STORED;
}

size_t dht_store_get(const struct dht_store *store, const struct dht_id *key_id, const struct dht_id *after,
                     uint64_t now_ms, struct dht_value **values, size_t max, size_t max_bytes, bool *more)
{
    const struct stored_key *key = by_id(&store->keys, key_id);
    size_t count = 0, bytes = 0, i = 0;
    bool found = false;
    *more = false;
    if (key == NULL)
        return 0;
    if (after != NULL) {
        i = place_of(key, after, &found);
        i += found ? 1 : 0;
    }
    for (; i < key->count; i++) {
        struct dht_value *value = key->values[i].value;
        if (key->values[i].expires_at_ms <= now_ms)
            continue;
        bytes += dht_store_bytes_of(value);
        if (count == max || (count > 0 && bytes > max_bytes)) {
            *more = true;
            break;
        }
        values[count++] = value;
    }
    return count;
}

/* Returns whether a value of the key is to be replicated. */
static bool sweep_key(struct dht_store *store, struct stored_key *key, uint64_t now_ms)
{
    bool due = false;
    size_t kept = 0;
    for (size_t i = 0; i < key->count; i++) {
        struct stored *stored = &key->values[i];
        if (stored->expires_at_ms > now_ms) {
            due = due || stored->replicate_at_ms <= now_ms;
            key->values[kept++] = *stored;
            continue;
        }
        store->count--;
        store->bytes -= dht_store_bytes_of(stored->value);
        forget_publisher(store, &stored->value->publisher);
        dht_value_release(stored->value);
    }
    key->count = kept;
    return due;
}

void dht_store_sweep(struct dht_store *store, uint64_t now_ms, struct random *random,
                     bool (*replicate)(void *context, const struct dht_id *key_id), void *context)
{
    struct stored_key *next = NULL;
    for (struct stored_key *key = store->first; key != NULL; key = next) {
        next = key->next;
        bool due = sweep_key(store, key, now_ms) && replicate(context, &key->id);
        for (size_t i = 0; due && i < key->count; i++)
            key->values[i].replicate_at_ms = next_replication(store, now_ms, random);
        drop_if_empty(store, key);
    }
}

const struct dht_id *dht_store_next_key(const struct dht_store *store, const struct dht_id *key_id)
{
    const struct stored_key *key = key_id == NULL ? NULL : by_id(&store->keys, key_id);
    const struct stored_key *next = key_id == NULL ? store->first : key == NULL ? NULL : key->next;
    return next == NULL ? NULL : &next->id;
}
