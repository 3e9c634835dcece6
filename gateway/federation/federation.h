/* What an edge router knows of the coordinators behind it, and of their workers.
 *
 * Who the coordinators are is on this edge router's own roll, durable, and kept alive by their
 * heartbeats like any worker's: the roll of an edge router holds nobody else. Beside each of them
 * there is a region here: what is soft about it. The workers of all regions are in one replica,
 * the fleet, from which the same lists are made as at a coordinator. They are read from each
 * coordinator's own list (GET /api/admin/workers) again and again; a region that does not answer
 * keeps the workers that it was last known to have, until its coordinator is off the roll.
 *
 * A worker is held by one region. When two list it (it has moved, or registered in two places) it
 * is counted once, where it registered last, by the coordinators' clocks.
 *
 * Time: now_ms is monotonic, unix_ms is for people.
 * Threading: one thread. No I/O, no clock. */

#pragma once

#include "gateway/federation/pool.h"
#include "gateway/replica.h"

struct federation_region {
    /* From the coordinator's record, which the roll keeps packed. */
    char *url, *location;
    char *capabilities; /* JSON */
    uint64_t revision;  /* of that record */

    struct pool_standing standing;
    struct pool_place place;
    bool place_is_own; /* its capabilities say so; else it is where it was seen */
    uint64_t listing;  /* number of the last list that was read whole; 0: none was */
    int64_t as_of_ms;  /* when that was asked for, unix_ms; 0: none was */
    char problem[160]; /* why the last one could not be read; "": it could */
    size_t worker_count; /* that it holds; one that has moved counts elsewhere from then on */
    size_t passed_over; /* workers of its last list that another region holds, or has taken since */
    bool on_roll;       /* during federation_reconcile */

    /* Those of who asks for the lists. */
    bool asked, ask_again, waited_for;
    uint64_t ask_at_ms;

    char id[]; /* the coordinator's */
};

struct federation {
    struct replica *fleet;
    struct map regions;     /* struct federation_region by id */
    struct map holdings;    /* by worker id */
    uint64_t listing;       /* number of the last list that was begun */
    uint64_t released;      /* workers that have left the fleet */
    struct buffer *catalog; /* where the member `catalog` of a list is put; NULL: it is not wanted */
    struct random random;
};

void federation_init(struct federation *federation, struct replica *fleet, uint64_t seed);
void federation_free(struct federation *federation);

/* Has a region for each coordinator that is on the roll, and no other. False: memory ran out; the
 * next call tries again. */
bool federation_reconcile(struct federation *federation, const struct replica *roll);

struct federation_region *federation_find(const struct federation *federation, const char *coordinator_id);

/* --- A region's list --- */

/* Reads the text of a whole answer of GET /api/admin/workers, or of /api/coordinator/workers, that was asked for at
 * as_of_ms.
 * False: it is no such list, or memory ran out; region->problem says so, and the region keeps the
 * workers that it had, or has some of the new ones. Workers that cannot be understood are left
 * out. */
bool federation_read_list(struct federation *federation, struct federation_region *region, const char *text,
                          size_t bytes, int64_t as_of_ms, uint64_t now_ms);

/* The list could not be had. */
void federation_note_problem(struct federation *federation, struct federation_region *region, const char *problem);

/* --- Who holds a worker --- */

/* NULL: nobody that is known. */
struct federation_region *federation_holder(const struct federation *federation, const char *worker_id);

/* It has registered there a moment ago, before any list shows it. */
bool federation_hold(struct federation *federation, const char *worker_id, struct federation_region *region,
                     int64_t unix_ms);

/* It has unregistered. */
void federation_release(struct federation *federation, const char *worker_id);

/* --- Whom to ask --- */

#define FEDERATION_CHOICES_MAX 4

struct federation_choice {
    const char *coordinator_id, *url; /* valid until the roll changes */
};

/* The coordinators for a request, the one to try first first; at most FEDERATION_CHOICES_MAX. With
 * POOL_OFFERS `service` is the service's name or alias. Returns how many. */
size_t federation_choose(struct federation *federation, const struct replica *roll, const struct pool_wish *wish,
                         const char *service, struct federation_choice *choices);

/* Whether requests may be sent to a coordinator of the roll at all: it has been heard within the time that health
 * allows, and no operator has drained it. */
bool federation_may_serve(const struct replica_worker *coordinator);

/* How many of the roll may serve and are in the pool. */
size_t federation_pool_size(const struct federation *federation, const struct replica *roll);
