/* Which coordinator a request at an edge router goes to, and in which order the others are
 * tried: the part of the edge router that chooses.
 *
 * Weight. The seeds' formula: 1 / (latency + 1) x 1 / (queue + 1) x health, where latency is
 * what this edge router measured in milliseconds, queue the requests that wait at the
 * coordinator as it says itself, and health, from 0 to 1, its state times the share of its last
 * requests that went well.
 *
 * Order. A whole order is drawn at once: at random, each place by weight among those that are
 * left ("Weighted random sampling with a reservoir", P. Efraimidis and P. Spirakis, 2006: the key
 * of each is u^(1/weight)). Before that come, in this order,
 *   1. who is in the pool, before who was put out of it: trying is better than refusing;
 *   2. with POOL_OFFERS: who offers the service, before who does not (what is known of it may be
 *      a moment old);
 *   3. with POOL_CLOSEST: who is closest. The same location as the client's ("uk"), then one
 *      that is a part of it or that it is a part of ("uk-london") or that is its continent ("eu"),
 *      then all others; among these
 *      the one that is fewer steps of POOL_DISTANCE_STEP_KM away, if both places are known;
 *      among these the one with the lower latency, in steps of a factor of two.
 *
 * In and out. A request that fails puts a coordinator out of the pool at once. Reaching it again
 * (a poll that was answered) brings it back, at the first time at once, later not before a time
 * has passed that doubles each time (common/ejection.h); POOL_FORGIVEN_MS without a failure make
 * it as if there had been none.
 *
 * Time: now_ms is monotonic. Threading: none; no I/O, no clock. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/random.h"

#define POOL_DISTANCE_STEP_KM 100
#define POOL_FORGIVEN_MS 600000
/* Taken for the latency of one that was not measured yet. */
#define POOL_UNMEASURED_MS 100

struct pool_place {
    bool known;
    double latitude, longitude; /* degrees */
};

/* What is remembered of one coordinator's requests. All zero but for success = 1 at first. */
struct pool_standing {
    double success;    /* share of requests that went well, the last ones counting most */
    double latency_ms; /* smoothed; 0: not measured */
    bool out;
    uint32_t ejections;
    uint64_t failed_at_ms;
};

void pool_standing_init(struct pool_standing *standing);

/* A request or a poll could not be answered by it. True: it was in the pool until now. */
bool pool_failed(struct pool_standing *standing, uint64_t now_ms);

/* One was answered, whatever the answer; latency_ms 0: was not measured. True: it is back in the pool. */
bool pool_answered(struct pool_standing *standing, double latency_ms, uint64_t now_ms);

struct pool_candidate {
    const char *location; /* "": not known */
    struct pool_place place;
    const struct pool_standing *standing;
    uint32_t queue_depth;
    bool healthy; /* it is heard, and says that it is well; else it counts half */
    bool offers;  /* the service that is asked for */
};

enum pool_rule {
    POOL_ANY = 0,
    POOL_OFFERS = 1,
    POOL_CLOSEST = 2,
};

struct pool_wish {
    unsigned rules;
    const char *location; /* of the client; "": not known */
    struct pool_place place;
    const char *continent; /* as a location is called; NULL or "": not known */
};

double pool_weight(const struct pool_candidate *candidate);

/* Writes the numbers of all candidates into `order`, which has room for `count`, whom to try
 * first first. False: memory ran out. */
bool pool_order(const struct pool_candidate *candidates, size_t count, const struct pool_wish *wish,
                struct random *random, uint32_t *order);

/* Along the surface of the earth. */
double pool_distance_km(const struct pool_place *a, const struct pool_place *b);
