/* The endpoints of one service and one priority, of which versions are made.
 *
 * They are drawn by weight, and looked at in any order, so an array will do (pick_array.h), in which a new one comes
 * last, and the last one goes to where one is removed. Only the thread that makes versions asks for a worker's
 * endpoint: it has a hash table of where they are in the newest version, and changes that in place. The table is one
 * of linear probing (D. E. Knuth, The Art of Computer Programming, vol. 3, 6.4) with eight bytes a place. It grows by
 * a half; for that a hash is a fraction, which says how far into the table its place is, however many places there
 * are. That place is all that a new endpoint touches in memory that is long out of the caches, and pick_group_expect
 * asks for it beforehand.
 *
 * A snapshot (pick.h) names endpoints, and those that it did not name when it is complete go: a bit of their places.
 *
 * Threading: as pick_array.h. */

#pragma once

#include <stdatomic.h>

#include "gateway/pick.h"
#include "gateway/pick_array.h"

struct pick_endpoint {
    atomic_uint references; /* of requests, and one of all versions together */
    char worker_id[];       /* and behind it the URL */
};

/* Where a worker's endpoint is. */
struct pick_place {
    uint32_t hash;        /* of the worker's id */
    uint32_t named : 1;   /* by the last snapshot that has begun, or since */
    uint32_t number : 31; /* the endpoint's index and one; 0: the place is free */
};

struct pick_group {
    uint32_t priority;
    uint32_t place_count;
    struct pick_place *places; /* no reader's; true of the newest version alone */
    struct pick_array endpoints;
};

uint32_t pick_group_hash(const char *worker_id);

/* A worker with that hash will be asked for soon. */
void pick_group_expect(const struct pick_group *group, uint32_t hash);

/* NULL: it has no endpoint here. Valid until one is added or removed. */
struct pick_place *pick_group_find(const struct pick_group *group, const char *worker_id, uint32_t hash);

/* Whether the endpoint in this place has that URL and weight. */
bool pick_group_has(const struct pick_group *group, const struct pick_place *place, const char *url, uint32_t weight);

/* Changes the endpoint in this place; NULL: adds one. It is named then. */
void pick_group_put(struct pick_group *group, const struct pick_edit *edit, struct pick_place *place, uint32_t hash,
                    const char *worker_id, const char *url, uint32_t weight);
void pick_group_remove(struct pick_group *group, const struct pick_edit *edit, struct pick_place *place);

/* At the begin of a snapshot: none is named. */
void pick_group_forget_names(const struct pick_group *group);

/* Removes those that are not named. */
void pick_group_sweep(struct pick_group *group, const struct pick_edit *edit);

/* All in it is trash; it is not to be used in the version that is being made. The edit may be NULL. */
void pick_group_discard(const struct pick_group *group, const struct pick_edit *edit);

/* For tests: whether the sums are right, and the places, if it is of the newest version. */
bool pick_group_check(const struct pick_group *group, bool is_newest);
