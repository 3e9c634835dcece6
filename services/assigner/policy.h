/* What a worker that registers should run: a pure function.
 *
 * Of the services that the worker's type can run, those with the fewest workers come first,
 * then those of the highest priority (the smallest number), then the order of the catalog. How
 * many, with n workers of its type (it included) and s services that require the type:
 *
 *   n >= s     one each, and more only while services of the type have nobody (as below)
 *   GPU        one, since loading a model is expensive; up to two while two have nobody.
 *              CPU services only while nobody runs them, at most two on top
 *   CPU        three to the first, two to the next; up to three while as many have nobody
 *   storage    three; up to five while as many have nobody
 *   edge       two to the first (the coordinator and the edge-proxy), three to the next
 *
 * What the worker is assigned already (it registers again) and still fits is kept first, even
 * if that is more than it would get now: restarting a worker must not move services about.
 * What it announces is covered by it as it is, and not assigned again. A worker whose type
 * has nothing left to run gets nothing, which is fine.
 *
 * Threading: none; no state. */

#pragma once

#include "services/assigner/catalog.h"

/* What is known about everybody else: the worker itself is left out of all counts. */
struct policy_coverage {
    const uint32_t *workers;     /* for each service of the catalog: who runs it or is about to */
    uint32_t workers_by_type[5]; /* indexed by Muster__V1__WorkerType */
};

struct policy_worker {
    Muster__V1__WorkerType type;
    char *const *current; /* names assigned now */
    size_t current_count;
    char *const *announced; /* names or aliases that it serves in any case */
    size_t announced_count;
};

/* No decision assigns more new services than this; kept ones come on top */
#define POLICY_MAX_NEW 5

/* How many services that require `requires` a worker of a type may run, to fill gaps. */
size_t policy_most(Muster__V1__WorkerType type, Muster__V1__WorkerType requires);

#define POLICY_REASON_BYTES 512

struct policy_decision {
    size_t *services; /* numbers in the catalog, most important first; room for catalog_count */
    bool *taken;      /* scratch, the same room: services that the worker has already */
    size_t count;
    size_t kept; /* how many of them, the first ones, it had already */
    char reason[POLICY_REASON_BYTES];
};

/* Decides. `decision->services` and `decision->taken` are the caller's arrays, with room for
 * every service of the catalog; all else of the decision is set here. Needs no memory and
 * cannot fail. */
void policy_decide(const struct catalog *catalog, const struct policy_coverage *coverage,
                   const struct policy_worker *worker, struct policy_decision *decision);
