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

#include "muster/v1/health.pb-c.h"
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

/* A decision for that worker is about to be asked for; cheap. Of many that are asked for together each is told first. */
void assigner_expect(const struct assigner *assigner, const char *worker_id);

/* Why a worker of the roll runs what it runs: what the policy would decide, were it to register again now, beside what
 * it has. Changes nothing. */
struct assigner_explanation {
    const struct policy_decision *decision; /* with all verdicts. Valid until the next decision */
    const uint32_t *coverage;               /* for each service: others that run it, or are about to */
    const uint32_t *here;                   /* of them, at the same location; 0 where nothing is to be spread */
    const bool *assigned_now;               /* for each service */
    Muster__V1__WorkerType type;
    uint64_t incarnation;
    const char *location;
    const char *swap_from, *swap_to; /* a swap that is under way; NULL: none */
    bool counts;                     /* for coverage: it is up or expected back, and does not drain */
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

/* Applies a message of health's WatchHealth: what workers say of their load and of each of their services. A service
 * of which its worker says that it is unavailable, failed or stopped does not count as covered by it. Workers that are
 * not in the replica, and other incarnations, are passed over. */
void assigner_apply_health(struct assigner *assigner, const Muster__V1__WatchHealthResponse *message, uint64_t now_ms);

/* The stream of those messages has ended: until the next one, nothing is moved by load, and no swap ends. */
void assigner_health_lost(struct assigner *assigner);

/* --- Services that lost their last worker (adapt.c), and work that moves (balance.c) --- */

/* Somebody else is asked when a service has had no worker for so long: a worker whose stream
 * broke may be back at once. */
#define ASSIGNER_LOST_MS 300
/* When nobody can take it, the next look around is so much later. */
#define ASSIGNER_RETRY_MS 2000

enum assigner_move_reason {
    ASSIGNER_MOVE_LOST,       /* the service lost its last worker: this one takes it too */
    ASSIGNER_MOVE_OVERLOADED, /* the service is overloaded: this one takes it, and drops another one when it runs */
    ASSIGNER_MOVE_DROP,       /* the new one runs: the old one is dropped */
    ASSIGNER_MOVE_TOLD,       /* the catalog pins the service to the worker, or reserves the worker for it */
    ASSIGNER_MOVE_GONE,       /* the catalog has something no more that the worker runs: it is dropped */
    ASSIGNER_MOVE_BARRED,     /* the catalog keeps it from the worker, and others run it: it is dropped */
    ASSIGNER_MOVE_UNDO,       /* the new one did not come to run in time: it is dropped again */
    ASSIGNER_MOVE_BOTH,       /* the new one runs, and nobody else has the old one: it keeps both */
};

struct assigner_move {
    char *worker_id;
    uint64_t incarnation;
    char **assigned; /* names: all that the worker is to run from now on */
    size_t assigned_count;
    const char *swap_from, *swap_to; /* of them: one takes the place of the other; NULL: none does */
    enum assigner_move_reason reason;
    const char *service; /* that it takes or drops: the catalog's text */
};

/* When work moves by load, which is what healthy workers say of theirs, smoothed over a third of `sustain_ms`.
 *
 * A service whose workers all have a load of `overloaded` or more for `sustain_ms` takes a worker from one that could
 * spare it for as long: its other workers have room for a whole one, none of them being filled to more than `spare`
 * (with the same load everywhere: with one worker less it would be at most `spare`). The worker's own load is no
 * more than that either, and it can run the service. It is first told to run both, which is a swap; when it says that
 * the new one runs (or says nothing of its services for ASSIGNER_SILENT_MS) it is told to drop the old one, unless that
 * would leave nobody with it; when the new one does not run after ASSIGNER_SWAP_MS it is taken back, and the worker is
 * not asked for it again before it registers again. A service is part of one swap at a time; afterwards neither service
 * is touched for `dwell_ms`, and no other swap begins for ASSIGNER_PAUSE_MS. The registry keeps a swap that is under
 * way with the assignment, so it is ended by whoever assigns then.
 *
 * Nothing swings while spare < overloaded: with the demand unchanged, giving never makes a service overloaded, so each
 * move is one towards a service that was so before, and there are finitely many. */
struct assigner_balance {
    double overloaded, spare; /* shares of the capacity, 0 to 1; overloaded above 1: work never moves */
    uint64_t sustain_ms, dwell_ms;
};
#define ASSIGNER_BALANCE_DEFAULT ((struct assigner_balance){0.85, 0.6, 30000, 300000})
#define ASSIGNER_PAUSE_MS 10000
#define ASSIGNER_SILENT_MS 60000
#define ASSIGNER_SWAP_MS 600000

void assigner_set_balance(struct assigner *assigner, const struct assigner_balance *balance);

/* Swaps that are under way, by load or for a lost service: workers that have both services. */
size_t assigner_swap_count(const struct assigner *assigner);

/* The next worker that should be told to run something else. Call it every 100 ms or so, until it gives NULL. The move
 * is a promise (see above) until the registry confirms it; it is valid until the next call.
 *
 * First, a service that nobody runs is given to somebody: of those that are healthy, can run it and have fewer services
 * than a worker of their type would get, one with the fewest, and one that requires another type only if there is no
 * other. When all have their share, one takes it in the place of a service that others run as well (a swap, as below).
 * Then workers get what is pinned to them or what they are reserved for, and drop what they may not run any more as
 * soon as somebody else runs it, and what the catalog has no more at once. Then swaps are ended, and what load asks for
 * is begun; see struct assigner_balance. */
const struct assigner_move *assigner_next_move(struct assigner *assigner, uint64_t now_ms);

/* The registry did not take a move: its promise is forgotten. */
void assigner_move_failed(struct assigner *assigner, const char *worker_id);

/* Tells of pins and reservations that do nothing: the worker is not on the roll (`is_there` is false: perhaps its id is
 * mistyped), or its type cannot run the service. For an operator who has edited the catalog. */
void assigner_idle_rules(const struct assigner *assigner,
                         void (*tell)(const struct catalog_service *service, const char *worker_id, bool is_there,
                                      void *argument),
                         void *argument);

/* Workers in the replica, and promises that are open. */
size_t assigner_worker_count(const struct assigner *assigner);
size_t assigner_promise_count(const struct assigner *assigner);

/* Counts everything from scratch and compares with the running counts; for tests. */
bool assigner_check(struct assigner *assigner);
