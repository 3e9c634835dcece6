/* What the files of the node share; node.h is the interface.
 *
 *     node.c      life, requests of others, calls and their ends, upkeep
 *     search.c    lookups under way
 *     publish.c   what this node publishes, and passing on what it holds
 */

#pragma once

#include "services/dht/node.h"

struct search;
struct published;

struct dht_call {
    struct dht_call *next, **link;
    enum dht_method method;
    struct dht_contact *contact;
    struct search *search;       /* NULL: none, or it has ended */
    unsigned pages;              /* of values that were received before */
    bool of_stranger;            /* a call back to somebody who has called */
    struct published *published; /* STORE: for whom; NULL: nobody, or it is gone */
};

struct search {
    struct search *next, **link;
    struct dht_lookup lookup;
    uint64_t deadline_ms;
    unsigned values_refused; /* from peers */
    void (*done)(struct dht_node *node, struct search *search, const struct dht_found *found);
    void *context;                                               /* for done */
    void (*found)(void *context, const struct dht_found *found); /* dht_node_find's */
    void *found_context;
};

/* A key that this node publishes under. */
struct published {
    struct published *next, *previous;
    char *key;
    struct dht_id key_id;
    uint8_t *data;
    size_t data_bytes;
    uint64_t started_at_ms;  /* when it was stored last */
    uint64_t due_at_ms;      /* when it is to be stored (again) */
    uint64_t forget_at_ms;   /* taken back: when the last copy has expired; 0: it was not */
    int64_t issued_at_ms;    /* of the last value; each is later than the one before */
    struct dht_value *value; /* that is being stored, or was */
    bool under_way;          /* its nodes are being looked for */
    bool changed;            /* and what is published changed meanwhile */
    unsigned copies;         /* that nodes have confirmed, of `value` */
};

struct dht_node {
    struct dht_node_settings settings;
    struct dht_effects effects;
    struct dht_contact *own;
    struct dht_table table;
    struct dht_store store;
    struct random random;
    int64_t unix_minus_now_ms;
    struct dht_call *calls;
    struct search *searches;
    size_t search_count, background_count; /* the background's are among the searches */
    size_t strangers_called;               /* calls of strangers under way */
    uint64_t strangers_now_ms;             /* the second that ... */
    unsigned strangers_in_second;          /* ... so many of them began in */
    bool stopping, joining, joined, refreshing;
    uint64_t searched_since_ms; /* buckets have to have been looked through since; when it joined */
    uint64_t upkeep_at_ms, sweep_at_ms;
    struct map published;                               /* of struct published, by key */
    struct published *published_first, *published_last; /* in the order in which they came */
    size_t publishing;                                  /* under way */
    uint64_t publish_at_ms;                             /* nothing of it is due before */
    struct dht_counts counts;
};

/* Lookups at a time for which somebody waits; for the node's own upkeep; for publishing. */
#define DHT_SEARCHES_MAX 256
#define DHT_BACKGROUND_MAX 3
#define DHT_PUBLISHING_MAX 4

/* node.c */
int64_t dht_node_unix_ms(const struct dht_node *node, uint64_t now_ms);
/* False: nothing was sent (no memory, or the node is stopping). */
bool dht_node_send(struct dht_node *node, struct dht_contact *to, const struct dht_request *request,
                   struct search *search, struct published *published, unsigned pages);
/* Whether a contact's signature holds; checked once. */
bool dht_node_trusts_contact(struct dht_node *node, struct dht_contact *contact);
bool dht_node_trusts_value(struct dht_node *node, struct dht_value *value);

/* search.c */
struct search *dht_search_start(struct dht_node *node, uint64_t now_ms, const struct dht_id *target, bool for_values,
                                uint64_t timeout_ms,
                                void (*done)(struct dht_node *, struct search *, const struct dht_found *),
                                void *context);
/* Sends what can be sent, and ends the search when it is over; it may be gone afterwards. */
void dht_search_go_on(struct dht_node *node, struct search *search);
void dht_search_end(struct dht_node *node, struct search *search, bool complete);
/* An answer to a call of a search. */
void dht_search_answered(struct dht_node *node, uint64_t now_ms, struct dht_call *call, struct dht_reply *reply);
/* Ends those whose time is over; returns the earliest deadline of the others. */
uint64_t dht_search_expire(struct dht_node *node, uint64_t now_ms);

/* publish.c */
void dht_publish_due(struct dht_node *node, uint64_t now_ms);
/* A copy was confirmed, or not. */
void dht_publish_stored(struct dht_node *node, struct published *published, size_t stored);
void dht_publish_free(struct dht_node *node);
/* There are others now. */
void dht_publish_joined(struct dht_node *node);
/* Looks for the nodes near a key that is held here, and gives them its values. False: not now. */
bool dht_publish_replicate(struct dht_node *node, uint64_t now_ms, const struct dht_id *key_id);
/* Gives a node that was not known before what it should hold. */
void dht_publish_hand_over(struct dht_node *node, uint64_t now_ms, struct dht_contact *contact);
/* Gives a node values, in as many messages as it takes, at most `messages`. */
void dht_publish_give(struct dht_node *node, struct dht_contact *to, struct dht_value *const *values, size_t count,
                      struct published *published);
