/* Finding the nodes nearest to an id, and the values of a key on the way there (Maymounkov and
 * Mazieres 2002, section 2.3).
 *
 * A lookup keeps a list of the nearest nodes that it has heard of and asks those that it has not
 * asked yet, the nearest first, DHT_PARALLEL at a time; each answers with the nearest that it
 * knows. It ends when the DHT_BUCKET_SIZE nearest that did not fail have all answered. One for
 * values ends before that when DHT_QUORUM nodes have answered with values: one alone may have
 * missed what a publisher said last.
 *
 * Answers are lies until proven otherwise: the list is short, and at most DHT_LOOKUP_ASKED_MAX
 * nodes are asked, so whoever invents ever nearer nodes only ends the lookup early.
 *
 * Pure: the node (node.h) sends what dht_lookup_next says. Threading: none of its own. */

#pragma once

#include "services/dht/table.h"
#include "services/dht/value.h"

#define DHT_PARALLEL 3 /* alpha of the paper */
#define DHT_QUORUM 3
#define DHT_LOOKUP_LENGTH (3 * DHT_BUCKET_SIZE)
#define DHT_LOOKUP_ASKED_MAX 200
#define DHT_LOOKUP_AGAIN 3
#define DHT_LOOKUP_VALUES_MAX 256
#define DHT_LOOKUP_UNANSWERED_MAX 16

struct dht_lookup_node {
    struct dht_contact *contact; /* a reference */
    enum { DHT_LOOKUP_NEW, DHT_LOOKUP_ASKED, DHT_LOOKUP_ANSWERED } state;
    bool has_values; /* it answered with some */
    bool again;      /* it is asked for the second time */
    unsigned hops;   /* 1: it was in this node's table; each node that had to be asked for it one more */
};

struct dht_lookup {
    struct dht_id target, own;
    bool for_values;
    struct dht_lookup_node nodes[DHT_LOOKUP_LENGTH]; /* the nearest first; those that failed are not in it */
    size_t count;
    unsigned asked, under_way, failed, holders;
    struct dht_id failed_ids[DHT_LOOKUP_ASKED_MAX];
    struct dht_value *values[DHT_LOOKUP_VALUES_MAX]; /* the latest of each publisher; references */
    size_t value_count;
    struct dht_contact *unanswered[DHT_LOOKUP_UNANSWERED_MAX]; /* the first that failed; references */
    size_t unanswered_count;
};

void dht_lookup_init(struct dht_lookup *lookup, const struct dht_id *own, const struct dht_id *target, bool for_values);
void dht_lookup_free(struct dht_lookup *lookup);

/* Somebody who may be near; `hops` as above. */
void dht_lookup_add(struct dht_lookup *lookup, struct dht_contact *contact, unsigned hops);

/* Whom to ask now, with a reference for the caller: the node counts as asked. NULL: nobody, until
 * somebody has answered or failed. */
struct dht_contact *dht_lookup_next(struct dht_lookup *lookup);

/* Nobody needs to be asked any more. Answers that are under way may still be taken. */
bool dht_lookup_finished(const struct dht_lookup *lookup);

/* An asked node has answered. Returns its hops. */
unsigned dht_lookup_answered(struct dht_lookup *lookup, const struct dht_id *id);

/* An asked node has not answered, or (`lies`) with what cannot be. One of the DHT_LOOKUP_AGAIN
 * nearest that did not is asked once more: a message may have been lost, and it is they who are
 * looked for. */
void dht_lookup_failed(struct dht_lookup *lookup, struct dht_contact *contact, bool lies);

/* A node holds these values, which were checked. False: there is no room for more. */
void dht_lookup_holds(struct dht_lookup *lookup, const struct dht_id *id);
bool dht_lookup_take_value(struct dht_lookup *lookup, struct dht_value *value);

/* The nearest nodes that have answered, at most `max`; no references. */
size_t dht_lookup_nearest(const struct dht_lookup *lookup, struct dht_contact **contacts, size_t max);

/* The nearest node that has answered without values, of the DHT_BUCKET_SIZE nearest; NULL: none. */
struct dht_contact *dht_lookup_nearest_without_values(const struct dht_lookup *lookup);

/* The hops to the nearest node that has answered; 0: nobody has. */
unsigned dht_lookup_hops(const struct dht_lookup *lookup);
