/* What the assigner knows and decides; the core of muster-assigner, without network or clock.
 *
 * It holds a replica of the roll, fed with the registry's watch: of each worker its type, its
 * status and the names that it serves. How many workers run each service is counted as they
 * come and go, so that a decision costs the same whatever the size of the fleet.
 *
 * Two counts are kept. For decisions a worker counts while it is expected to serve (online,
 * degraded, reconnecting), and so does one whose assignment was just decided and has not been
 * confirmed by the watch; such a promise is forgotten after ASSIGNER_PROMISE_MS, since the
 * registration may have failed. For gaps only those count that are healthy (online,
 * degraded). A worker that drains counts for neither.
 *
 * Ownership: strings are copied. Threading: one thread owns an assigner. */

#pragma once

#include "services/assigner/catalog.h"
#include "services/assigner/policy.h"

#include "muster/v1/registry.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ASSIGNER_PROMISE_MS 15000

struct assigner;

/* Takes the catalog over, also when it fails. NULL when memory runs out. */
struct assigner *assigner_create(struct catalog *catalog);
void assigner_destroy(struct assigner *assigner);

const struct catalog *assigner_catalog(const struct assigner *assigner);

/* Exchanges the catalog and counts anew. Takes it over; false when memory runs out: then the
 * old one stays and the new one is destroyed. */
bool assigner_set_catalog(struct assigner *assigner, struct catalog *catalog);

/* Applies a message of the registry's WatchWorkers, as it was unpacked. False when memory ran out: the replica is
 * then incomplete, so watch again from revision 0. */
bool assigner_apply(struct assigner *assigner, const Muster__V1__WatchWorkersResponse *message);

/* Whether a snapshot has ever been completed, so that the counts mean something; and the
 * revision to resume the watch from (0: a snapshot is needed). */
bool assigner_is_synchronised(const struct assigner *assigner);
uint64_t assigner_revision(const struct assigner *assigner);

/* Decides for one candidate and remembers it as a promise until now_ms (monotonic) +
 * ASSIGNER_PROMISE_MS. The decision is valid until the next call. NULL when memory runs out. */
const struct policy_decision *assigner_assign(struct assigner *assigner, const Muster__V1__AssignCandidate *candidate,
                                              uint64_t now_ms);

/* Why a worker of the roll runs what it runs: what the policy would decide, were it to register again now, beside what
 * it has. Changes nothing. */
struct assigner_explanation {
    const struct policy_decision
        *decision;            /* with verdicts; its texts are the catalog's. Valid until the next decision */
    const uint32_t *coverage; /* for each service: others that run it, or are about to */
    const uint32_t *here;     /* of them, at the same location; 0 where nothing is to be spread */
    const bool *assigned_now; /* for each service */
    Muster__V1__WorkerType type;
    uint64_t incarnation;
    const char *location;
    bool counts; /* for coverage: it is up or expected back, and does not drain */
};

/* `use` is called once, before the worker is counted in again, with what lives until it returns. False, and no call,
 * when the worker is not on the roll or memory runs out (*found tells which). */
bool assigner_explain(struct assigner *assigner, const char *worker_id, bool *found,
                      void (*use)(const struct assigner_explanation *explanation, void *argument), void *argument);

/* Forgets promises that have run out; cheap, call it once a second or so. */
void assigner_expire(struct assigner *assigner, uint64_t now_ms);

struct assigner_gap {
    const struct catalog_service *service;
    uint64_t healthy_workers;
    Muster__V1__GapStatus status;
};

/* Coverage of every service, critical first, then warnings; by priority inside each, then by
 * name. `gaps` has room for catalog_count. */
void assigner_gaps(const struct assigner *assigner, struct assigner_gap *gaps);

/* --- Services that lost their last worker (adapt.c) --- */

/* Somebody else is asked when a service has had no worker for so long: a worker whose stream
 * broke may be back at once. */
#define ASSIGNER_LOST_MS 300
/* When nobody can take it, the next look around is so much later. */
#define ASSIGNER_RETRY_MS 2000

struct assigner_move {
    char *worker_id;
    uint64_t incarnation;
    char **assigned; /* names, the new one at the end: all that the worker is to run from now on */
    size_t assigned_count;
};

/* The next worker that should be told to run a service too, because the service has lost its
 * last worker: of those that are healthy, can run it and have fewer services than a worker of
 * their type would get, one with the fewest. Call it every 100 ms or so, until it gives NULL.
 * The move is a promise (see above) until the registry confirms it; it is valid until the next
 * call. A service that never had a worker is left to the workers that register. */
const struct assigner_move *assigner_next_move(struct assigner *assigner, uint64_t now_ms);

/* The registry did not take a move: its promise is forgotten. */
void assigner_move_failed(struct assigner *assigner, const char *worker_id);

/* Workers in the replica, and promises that are open. */
size_t assigner_worker_count(const struct assigner *assigner);
size_t assigner_promise_count(const struct assigner *assigner);

/* Counts everything from scratch and compares with the running counts; for tests. */
bool assigner_check(struct assigner *assigner);
