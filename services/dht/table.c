/* See table.h. */

#include "services/dht/table.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    struct dht_contact *contact;
    uint64_t heard_at_ms;
    unsigned failures;
};

struct dht_bucket {
    struct entry entries[DHT_BUCKET_SIZE];         /* the one heard last at the end */
    struct dht_contact *waiting[DHT_WAITING_SIZE]; /* likewise */
    unsigned count, waiting_count;
    uint64_t searched_at_ms;
};

void dht_table_init(struct dht_table *table, const struct dht_id *own)
{
    *table = (struct dht_table){.own = *own};
}

void dht_table_free(struct dht_table *table)
{
    for (unsigned i = 0; i < DHT_ID_BITS; i++) {
        struct dht_bucket *bucket = table->buckets[i];
        if (bucket == NULL)
            continue;
        for (unsigned j = 0; j < bucket->count; j++)
            dht_contact_release(bucket->entries[j].contact);
        for (unsigned j = 0; j < bucket->waiting_count; j++)
            dht_contact_release(bucket->waiting[j]);
        free(bucket);
    }
    *table = (struct dht_table){.own = table->own};
}

/* NULL: nobody was ever there, or it is the id of this node. */
static struct dht_bucket *bucket_of(const struct dht_table *table, const struct dht_id *id)
{
    unsigned bits = dht_id_shared_bits(&table->own, id);
    return bits == DHT_ID_BITS ? NULL : table->buckets[bits];
}

/* bucket->count: it is not there. */
static unsigned position_of(const struct dht_bucket *bucket, const struct dht_id *id)
{
    unsigned i = 0;
    while (i < bucket->count && dht_id_compare(&bucket->entries[i].contact->id, id) != 0)
        i++;
    return i;
}

static unsigned waiting_position_of(const struct dht_bucket *bucket, const struct dht_id *id)
{
    unsigned i = 0;
    while (i < bucket->waiting_count && dht_id_compare(&bucket->waiting[i]->id, id) != 0)
        i++;
    return i;
}

static void remove_waiting(struct dht_bucket *bucket, unsigned position)
{
    bucket->waiting_count--;
    memmove(bucket->waiting + position, bucket->waiting + position + 1,
            (bucket->waiting_count - position) * sizeof(struct dht_contact *));
}

static void wait_for_place(struct dht_bucket *bucket, struct dht_contact *contact)
{
    unsigned position = waiting_position_of(bucket, &contact->id);
    if (position == bucket->waiting_count && position == DHT_WAITING_SIZE)
        position = 0; /* the one that has waited for the longest time is the least likely to be there */
    (void)dht_contact_reference(contact);
    if (position < bucket->waiting_count) {
        dht_contact_release(bucket->waiting[position]);
        remove_waiting(bucket, position);
    }
    bucket->waiting[bucket->waiting_count++] = contact;
}

/* Heard just now: to the end. */
static void move_to_end(struct dht_bucket *bucket, unsigned position, uint64_t now_ms)
{
    struct entry entry = bucket->entries[position];
    entry.heard_at_ms = now_ms;
    entry.failures = 0;
    memmove(bucket->entries + position, bucket->entries + position + 1,
            (bucket->count - 1 - position) * sizeof(struct entry));
    bucket->entries[bucket->count - 1] = entry;
}

static struct dht_bucket *make_bucket(struct dht_table *table, unsigned bits)
{
    if (table->buckets[bits] == NULL)
        table->buckets[bits] = calloc(1, sizeof *table->buckets[bits]);
    if (table->buckets[bits] != NULL && table->depth < bits + 1)
        table->depth = bits + 1;
    return table->buckets[bits];
}

enum dht_heard dht_table_heard(struct dht_table *table, struct dht_contact *contact, uint64_t now_ms)
{
    unsigned bits = dht_id_shared_bits(&table->own, &contact->id);
    struct dht_bucket *bucket = bits == DHT_ID_BITS ? NULL : make_bucket(table, bits);
    if (bucket == NULL)
        return DHT_HEARD_NOT;
    unsigned position = position_of(bucket, &contact->id);
    if (position < bucket->count) {
        struct entry *entry = &bucket->entries[position];
        if (contact->issued_at_ms > entry->contact->issued_at_ms) {
            (void)dht_contact_reference(contact);
            dht_contact_release(entry->contact);
            entry->contact = contact;
        }
        move_to_end(bucket, position, now_ms);
        return DHT_HEARD_KNOWN;
    }
    if (bucket->count == DHT_BUCKET_SIZE) {
        wait_for_place(bucket, contact);
        return DHT_HEARD_WAITING;
    }
    unsigned waiting = waiting_position_of(bucket, &contact->id);
    if (waiting < bucket->waiting_count) {
        dht_contact_release(bucket->waiting[waiting]);
        remove_waiting(bucket, waiting);
    }
    bucket->entries[bucket->count++] = (struct entry){dht_contact_reference(contact), now_ms, 0};
    table->count++;
    return DHT_HEARD_ADDED;
}

bool dht_table_called(struct dht_table *table, const struct dht_contact *contact, uint64_t now_ms)
{
    unsigned bits = dht_id_shared_bits(&table->own, &contact->id);
    if (bits == DHT_ID_BITS)
        return false;
    struct dht_bucket *bucket = table->buckets[bits];
    if (bucket == NULL)
        return true;
    unsigned position = position_of(bucket, &contact->id);
    if (position == bucket->count)
        return bucket->count < DHT_BUCKET_SIZE;
    if (contact->issued_at_ms > bucket->entries[position].contact->issued_at_ms)
        return true;
    /* That it can call says little of whether it can be called: failures stay. */
    if (bucket->entries[position].failures == 0)
        move_to_end(bucket, position, now_ms);
    return false;
}

struct dht_contact *dht_table_failed(struct dht_table *table, const struct dht_id *id)
{
    struct dht_bucket *bucket = bucket_of(table, id);
    if (bucket == NULL)
        return NULL;
    unsigned position = position_of(bucket, id);
    if (position == bucket->count) {
        position = waiting_position_of(bucket, id);
        if (position < bucket->waiting_count) {
            dht_contact_release(bucket->waiting[position]);
            remove_waiting(bucket, position);
        }
        return NULL;
    }
    if (++bucket->entries[position].failures < DHT_FAILURES_MAX && bucket->waiting_count == 0)
        return NULL;
    dht_contact_release(bucket->entries[position].contact);
    bucket->count--;
    table->count--;
    memmove(bucket->entries + position, bucket->entries + position + 1,
            (bucket->count - position) * sizeof(struct entry));
    if (bucket->waiting_count == 0)
        return NULL;
    struct dht_contact *next = bucket->waiting[bucket->waiting_count - 1];
    remove_waiting(bucket, bucket->waiting_count - 1);
    return next; /* and the reference with it */
}

struct dht_contact *dht_table_oldest(const struct dht_table *table, unsigned bits, uint64_t now_ms, uint64_t silent_ms)
{
    const struct dht_bucket *bucket = bits < DHT_ID_BITS ? table->buckets[bits] : NULL;
    if (bucket == NULL || bucket->count == 0 || now_ms - bucket->entries[0].heard_at_ms <= silent_ms)
        return NULL;
    return bucket->entries[0].contact;
}

/* --- The nearest --- */

struct nearest {
    const struct dht_id *target;
    struct dht_contact **contacts; /* the nearest first */
    size_t count, max;
    bool failed_ones;
};

static void gather(struct nearest *nearest, const struct dht_bucket *bucket)
{
    for (unsigned i = 0; bucket != NULL && i < bucket->count; i++) {
        struct dht_contact *contact = bucket->entries[i].contact;
        if ((bucket->entries[i].failures > 0) != nearest->failed_ones)
            continue;
        size_t place = nearest->count;
        while (place > 0 &&
               dht_id_compare_distance(nearest->target, &contact->id, &nearest->contacts[place - 1]->id) < 0)
            place--;
        if (place == nearest->max)
            continue;
        if (nearest->count < nearest->max)
            nearest->count++;
        memmove(nearest->contacts + place + 1, nearest->contacts + place,
                (nearest->count - 1 - place) * sizeof(struct dht_contact *));
        nearest->contacts[place] = contact;
    }
}

/* Where the target parts from this node's id, after `bits` bits, there are three kinds of
 * contacts: those in bucket `bits` part from this node there as well, and so share more with the
 * target than all others; those in deeper buckets part from the target at that very bit; and each
 * bucket before that is farther away than the one behind it. So they are gathered in this order,
 * until there are enough. */
static void gather_all(struct nearest *nearest, const struct dht_table *table)
{
    unsigned bits = dht_id_shared_bits(&table->own, nearest->target);
    if (bits < DHT_ID_BITS)
        gather(nearest, table->buckets[bits]);
    if (nearest->count < nearest->max) {
        for (unsigned i = bits + 1; i < table->depth; i++)
            gather(nearest, table->buckets[i]);
    }
    for (unsigned i = bits < table->depth ? bits : table->depth; i-- > 0 && nearest->count < nearest->max;)
        gather(nearest, table->buckets[i]);
}

size_t dht_table_closest(const struct dht_table *table, const struct dht_id *target, struct dht_contact **contacts,
                         size_t max)
{
    struct nearest nearest = {.target = target, .contacts = contacts, .max = max};
    gather_all(&nearest, table);
    if (nearest.count == 0) {
        nearest.failed_ones = true;
        gather_all(&nearest, table);
    }
    return nearest.count;
}

size_t dht_table_count_nearer(const struct dht_table *table, const struct dht_id *target, size_t max)
{
    unsigned bits = dht_id_shared_bits(&table->own, target);
    size_t count = 0;
    for (unsigned i = bits; i < table->depth && count < max; i++) {
        const struct dht_bucket *bucket = table->buckets[i];
        for (unsigned j = 0; bucket != NULL && j < bucket->count && count < max; j++) {
            if (i == bits || dht_id_compare_distance(target, &bucket->entries[j].contact->id, &table->own) < 0)
                count++;
        }
    }
    return count;
}

struct dht_contact *dht_table_find(const struct dht_table *table, const struct dht_id *id)
{
    const struct dht_bucket *bucket = bucket_of(table, id);
    unsigned position = bucket == NULL ? 0 : position_of(bucket, id);
    return bucket == NULL || position == bucket->count ? NULL : bucket->entries[position].contact;
}

/* --- Refreshing, showing --- */

void dht_table_searched(struct dht_table *table, const struct dht_id *target, uint64_t now_ms)
{
    unsigned bits = dht_id_shared_bits(&table->own, target);
    struct dht_bucket *bucket = bits < table->depth ? make_bucket(table, bits) : NULL;
    if (bucket != NULL)
        bucket->searched_at_ms = now_ms;
}

unsigned dht_table_unsearched(const struct dht_table *table, uint64_t since_ms)
{
    for (unsigned i = 0; i < table->depth; i++) {
        if (table->buckets[i] == NULL || table->buckets[i]->searched_at_ms < since_ms)
            return i;
    }
    return DHT_ID_BITS;
}

bool dht_table_next(const struct dht_table *table, size_t *position, struct dht_table_entry *entry)
{
    for (; *position < (size_t)table->depth * DHT_BUCKET_SIZE; (*position)++) {
        unsigned bits = (unsigned)(*position / DHT_BUCKET_SIZE);
        const struct dht_bucket *bucket = table->buckets[bits];
        unsigned place = (unsigned)(*position % DHT_BUCKET_SIZE);
        if (bucket == NULL || place >= bucket->count)
            continue;
        const struct entry *found = &bucket->entries[place];
        *entry = (struct dht_table_entry){found->contact, found->heard_at_ms, found->failures, bits};
        (*position)++;
        return true;
    }
    return false;
}
