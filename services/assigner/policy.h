/* What a worker that registers should run: a pure function.
 *
 * Of the services that the worker's type can run, those with the fewest workers come first,
 * then those of the highest priority (the smallest number), then the order of the catalog. Behind all of these come
 * services that are to be spread by location and that the worker's location has. How many, with n workers of its type
 * (it included) and s services that require the type:
 *
 *   n >= s     one each, and more only while services of the type have nobody (as below)
 *   GPU        one, since loading a model is expensive; up to two while two have nobody.
 *              CPU services only while nobody runs them, at most two on top; those that it
 *              has count here, and not among the first
 *   CPU        three to the first, two to the next; up to three while as many have nobody
 *   storage    three; up to five while as many have nobody
 *   edge       two to the first (the coordinator and the edge-proxy), three to the next
 *
 * What the worker is assigned already (it registers again) and still fits is kept first, even
 * if that is more than it would get now: restarting a worker must not move services about.
 * Then comes what is pinned to it or what it is reserved for, all of it; a worker that is reserved gets nothing else.
 * Both count towards its share. What it announces is covered by it as it is, and not assigned again. A worker whose
 * type has nothing left to run gets nothing, which is fine.
 *
 * Threading: none; no state. */

#pragma once

#include "services/assigner/catalog.h"

/* What is known about everybody else: the worker itself is left out of all counts. */
struct policy_coverage {
    const uint32_t *workers;     /* for each service of the catalog: who runs it or is about to */
    uint32_t workers_by_type[5]; /* indexed by Muster__V1__WorkerType */
    const uint32_t *here; /* for each service with spread_by_location: who runs it where the worker is; NULL: unknown */
};

struct policy_worker {
    const char *id; /* for pins and reservations; "" when it has none */
    Muster__V1__WorkerType type;
    /* Numbers in the catalog; those that are CATALOG_NO_SERVICE are passed over. */
    const uint32_t *current; /* what it is assigned now */
    size_t current_count;
    const uint32_t *announced; /* what it serves in any case */
    size_t announced_count;
    const char *permitted; /* as in catalog_permission_within; NULL: anything */
};

/* No decision assigns more new services than this; kept ones come on top */
#define POLICY_MAX_NEW 5

/* How many services that require `requires` a worker may run to fill gaps, when there are so many workers of its
 * type. */
size_t policy_most(Muster__V1__WorkerType type, Muster__V1__WorkerType requires, size_t workers);

/* What a decision says of one service, the reasons for it first. */
enum policy_verdict {
    POLICY_UNDECIDED, /* not assigned; policy_judge_the_rest says why */
    POLICY_ANNOUNCED, /* it runs that in any case */
    POLICY_KEPT,
    POLICY_PINNED,
    POLICY_RESERVED,
    POLICY_TAKEN,
    POLICY_OTHER_TYPE,
    POLICY_PINNED_ELSEWHERE,
    POLICY_RESERVED_FOR_OTHERS,
    POLICY_SHARE_IS_FULL,
    POLICY_COVERED,       /* a GPU worker takes CPU services only while nobody runs them */
    POLICY_NOT_PERMITTED, /* its key does not let it */
    POLICY_MISFIT,        /* the catalog tells it to run that, and its type cannot */
};

/* How it came to a number of services of the worker's own type. */
struct policy_share {
    size_t workers;   /* of its type, it included */
    size_t services;  /* that require its type and that it may run */
    size_t uncovered; /* of them: nobody runs them, and it does not have them yet */
    size_t usual;     /* what a worker in its place gets */
    size_t most;      /* up to so many, to fill gaps */
    size_t had;       /* of them: what it had before its share: kept, pinned, reserved */
    size_t added;     /* so many were to be added */
};

/* The arrays are the caller's, with room for every service of the catalog; all else is set by policy_decide. */
struct policy_decision {
    uint32_t *services;            /* numbers in the catalog, most important first */
    uint32_t *before;              /* of each of these: how many others had it */
    enum policy_verdict *verdicts; /* of each service of the catalog */
    size_t count;                  /* of `services` */
    size_t kept;                   /* how many of them, the first ones, it had already */
    Muster__V1__WorkerType type;   /* whose share that is: */
    struct policy_share share;
    bool misfits; /* the catalog tells it to run something that its type cannot; the reason says what */
};

/* Decides. Needs no memory and cannot fail. */
void policy_decide(const struct catalog *catalog, const struct policy_coverage *coverage,
                   const struct policy_worker *worker, struct policy_decision *decision);

/* Gives the services that were not assigned their verdicts too. */
void policy_judge_the_rest(const struct catalog *catalog, const struct policy_coverage *coverage,
                           const struct policy_worker *worker, struct policy_decision *decision);

/* The decision in one line, for people; it takes longer than to decide. */
#define POLICY_REASON_BYTES 512
void policy_reason(const struct catalog *catalog, const struct policy_decision *decision,
                   char reason[POLICY_REASON_BYTES]);
