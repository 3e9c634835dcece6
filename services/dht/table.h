/* The routing table of a node: who else there is, finely near the node's own id and coarsely
 * far from it (Maymounkov and Mazieres 2002, sections 2.2 and 2.4). Bucket i has up to
 * DHT_BUCKET_SIZE nodes that share exactly i bits with the node's own id, ordered by when they
 * were last heard. That there is one bucket for each number of bits, instead of buckets that
 * are split as they fill, holds the same nodes and is simpler.
 *
 * Who is in the table has answered a call at the place that it names: a node that only says that
 * it exists is called first. Long-lived nodes are kept (the longer one has been there, the longer
 * it will stay): a newcomer to a full bucket waits, among at most DHT_WAITING_SIZE, until a node
 * of the bucket does not answer (section 4.1). One that does not answer is not given to others,
 * and is removed when somebody waits for its place, or after DHT_FAILURES_MAX calls in a row; so
 * a short outage of this node's own network does not empty the table.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>

#include "services/dht/contact.h"

#define DHT_BUCKET_SIZE 20 /* k of the paper */
#define DHT_WAITING_SIZE 8
#define DHT_FAILURES_MAX 3

struct dht_bucket;

struct dht_table {
    struct dht_id own;
    struct dht_bucket *buckets[DHT_ID_BITS]; /* NULL: never had anybody */
    size_t count;                            /* of contacts, the waiting ones left out */
    unsigned depth;                          /* one more than the last bucket that ever had somebody */
};

/* A contact of the table, for those who show it. */
struct dht_table_entry {
    const struct dht_contact *contact;
    uint64_t heard_at_ms;
    unsigned failures; /* in a row */
    unsigned bucket;
};

void dht_table_init(struct dht_table *table, const struct dht_id *own);
void dht_table_free(struct dht_table *table);

enum dht_heard {
    DHT_HEARD_KNOWN,
    DHT_HEARD_ADDED,
    DHT_HEARD_WAITING, /* the bucket is full */
    DHT_HEARD_NOT,     /* it is this node itself, or memory ran out */
};

/* A node has answered a call. */
enum dht_heard dht_table_heard(struct dht_table *table, struct dht_contact *contact, uint64_t now_ms);

/* A node has called. True: it is not known like this, and should be called: its bucket has room,
 * or it has moved. */
bool dht_table_called(struct dht_table *table, const struct dht_contact *contact, uint64_t now_ms);

/* A node has not answered. When that takes it out of the table and somebody waits for its place,
 * that one is returned, with a reference: it should be called. */
struct dht_contact *dht_table_failed(struct dht_table *table, const struct dht_id *id);

/* The node of a bucket that was not heard for the longest time, if that is longer than silent_ms:
 * it should be called, since somebody else would have its place. NULL: none; no reference. */
struct dht_contact *dht_table_oldest(const struct dht_table *table, unsigned bucket, uint64_t now_ms,
                                     uint64_t silent_ms);

/* The contacts nearest to the target, the nearest first; no references. When none at all answered
 * its last call, those that did not. */
size_t dht_table_closest(const struct dht_table *table, const struct dht_id *target, struct dht_contact **contacts,
                         size_t max);

/* How many contacts of the table are nearer to the target than this node itself, counted up to
 * `max`. */
size_t dht_table_count_nearer(const struct dht_table *table, const struct dht_id *target, size_t max);

struct dht_contact *dht_table_find(const struct dht_table *table, const struct dht_id *id);

/* Somebody was looked for among those that share so many bits with this node. */
void dht_table_searched(struct dht_table *table, const struct dht_id *target, uint64_t now_ms);

/* The bucket in which nobody was looked for since, of those up to the deepest; DHT_ID_BITS: none. */
unsigned dht_table_unsearched(const struct dht_table *table, uint64_t since_ms);

/* Walks over all contacts: *position is 0 at first. False: that was the last. */
bool dht_table_next(const struct dht_table *table, size_t *position, struct dht_table_entry *entry);
