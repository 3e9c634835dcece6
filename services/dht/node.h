/* One node of the hash table: what it knows of others, what it keeps, what it publishes, and how
 * it answers, as Kademlia has it (Maymounkov and Mazieres 2002). No I/O, no clock: time comes in
 * as an argument, effects go out as callbacks, so that ten thousand of them run in one program
 * under simulated time (tests/simulation/dht_*).
 *
 *   - Joining: told of any node (dht_node_call), it looks for its own id, and then once in each
 *     bucket, which fills them. Without anybody in its table it waits to be told of somebody.
 *   - Upkeep: a bucket in which nobody was looked for during refresh_ms is looked through; the
 *     node of a full bucket that was silent for long is called when somebody waits for its place.
 *   - Publishing: what it publishes is signed, stored at the DHT_BUCKET_SIZE nodes nearest to the
 *     key, and again after a third of its lifetime, or at once when it has changed.
 *   - Keeping: see store.h; a node only takes values whose keys are not far from its own id as it
 *     knows the others. One that turns up and is nearer to a key than those that hold it is given
 *     the values by the nearest holder (section 2.5).
 *   - Repair: who has looked a key up stores what it found at the nearest node that should have
 *     had it and did not (the paper's caching, but only where the values belong: what is stored
 *     elsewhere would be hard to take back).
 *
 * How strangers are held off: whoever answers under another id than it was called by, or names
 * contacts or values that are forged, has not answered; who calls is remembered only after it
 * could be called back, and those calls are limited; store, lists, lookups and answers are
 * bounded. What this does not prevent: whoever makes many keys can place many nodes.
 *
 * Threading: none of its own. */

#pragma once

#include "services/dht/lookup.h"
#include "services/dht/message.h"
#include "services/dht/store.h"

struct dht_node;
struct dht_call;

struct dht_node_settings {
    int64_t lifetime_ms; /* of what this node publishes */
    uint64_t refresh_ms; /* of a bucket */
    size_t published_max;
    struct dht_store_limits store;
};

/* An hour each; 1,000 values. */
extern const struct dht_node_settings dht_node_default_settings;

struct dht_effects {
    void *context;
    /* Sends a request, which is valid during this function only. For each one of dht_node_answered
     * and dht_node_unanswered is called later, once, and not from inside this function, unless
     * the node is destroyed before. Who sends also decides how long to wait. */
    void (*send)(void *context, struct dht_contact *to, const struct dht_request *request, struct dht_call *call);
    /* Whether a signature holds. */
    bool (*contact_is_genuine)(void *context, const struct dht_contact *contact);
    bool (*value_is_genuine)(void *context, const struct dht_value *value);
    /* Fills in the signature of a value of this node. */
    void (*sign)(void *context, struct dht_value *value);
};

/* `own` is how others reach this node; a reference is taken. NULL: memory ran out. */
struct dht_node *dht_node_create(const struct dht_node_settings *settings, struct dht_contact *own,
                                 const struct dht_effects *effects, uint64_t seed, uint64_t now_ms);

/* Ends all lookups, with what they know, and sends nothing from then on. */
void dht_node_stop(struct dht_node *node);

/* After this nobody may speak of its calls any more. */
void dht_node_destroy(struct dht_node *node);

/* What the clock of the day says beyond the time that the node is given; 0 at first. */
void dht_node_set_clock(struct dht_node *node, int64_t unix_minus_now_ms);

/* Does what is due. */
void dht_node_tick(struct dht_node *node, uint64_t now_ms);

/* When something is due next. */
uint64_t dht_node_next_ms(const struct dht_node *node);

/* Answers a request; the caller clears both. */
void dht_node_handle(struct dht_node *node, uint64_t now_ms, struct dht_request *request, struct dht_reply *reply);

/* The end of a call that was sent; the caller clears the reply. */
void dht_node_answered(struct dht_node *node, uint64_t now_ms, struct dht_call *call, struct dht_reply *reply);
void dht_node_unanswered(struct dht_node *node, uint64_t now_ms, struct dht_call *call);

/* Says of a node that it may be there: it is called, and in the table once it has answered. */
void dht_node_call(struct dht_node *node, struct dht_contact *contact);

/* A node has been heard by other means than a call of this one (the first one, of which only the
 * address was known). */
void dht_node_met(struct dht_node *node, uint64_t now_ms, struct dht_contact *contact);

/* This node is reached elsewhere from now on: `own` is a later contact of it, of which a reference is taken. All that
 * it knows are called, and so learn of it. */
void dht_node_moved(struct dht_node *node, struct dht_contact *own);

/* --- Looking up --- */

struct dht_found {
    const struct dht_lookup *lookup; /* nodes, values (those taken back among them), who did not answer */
    bool complete;                   /* it came to its end; else the time was over, or the node stopped */
};

/* Looks for the nodes nearest to an id, or for the values of a key; done is called once, not from
 * inside this function. False: too many lookups are under way; nothing was done. */
bool dht_node_find(struct dht_node *node, uint64_t now_ms, const struct dht_id *target, bool for_values,
                   uint64_t timeout_ms, void (*done)(void *context, const struct dht_found *found), void *context);

/* --- Publishing --- */

/* Publishes bytes under a key, in place of those that this node has published there before. False:
 * it publishes too many, they are too long, or memory ran out. */
bool dht_node_publish(struct dht_node *node, uint64_t now_ms, const char *key, const void *data, size_t data_bytes);

/* Takes back what was published under a key. */
void dht_node_withdraw(struct dht_node *node, uint64_t now_ms, const char *key);

/* --- Knowing --- */

struct dht_counts {
    uint64_t requests[4];                         /* answered, by method */
    uint64_t calls, answered, unanswered;         /* sent */
    uint64_t lies;                                /* answers and values that were forged or of somebody else */
    uint64_t lookups, lookup_hops, lookups_empty; /* ended; the hops of those that found somebody */
    uint64_t stores_sent, stores_taken;
    uint64_t published, published_waiting; /* keys of this node; those not stored yet */
};

struct dht_counts dht_node_counts(const struct dht_node *node);
const struct dht_table *dht_node_table(const struct dht_node *node);
const struct dht_store *dht_node_store(const struct dht_node *node);
struct dht_contact *dht_node_own(const struct dht_node *node);
/* Whether it has found its place: there are others, and it has looked for its own id. */
bool dht_node_joined(const struct dht_node *node);
