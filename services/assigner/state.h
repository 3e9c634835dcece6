/* Inside the core of muster-assigner: its replica of the roll, and what its files offer each other.
 *
 *     assigner.c  its life, its catalog, gaps
 *     roll.c      who is known, as the registry's watch tells
 *     promises.c  decisions on registration, and what was decided and is not confirmed
 *     member.h    one record of a worker
 *     counts.c    how many workers serve each service
 *     moves.c     what a worker is told to run from now on
 *     condition.c what the workers say of their load and their services
 *     explain.c   why a worker runs what it runs
 *     adapt.c     what becomes of services that lost their last worker
 *     rules.c     workers are brought in line with pins and reservations
 *     balance.c   work moves from idle services to overloaded ones
 *     swaps.c     workers that run two services, one in the place of the other */

#pragma once

#include "common/map.h"
#include "services/assigner/assigner.h"
#include "services/assigner/member.h"

#define TYPES 5

#define IN 1u
#define OUT UINT32_MAX

/* Workers of a service at a location, for services that are to be spread. */
struct located {
    uint32_t workers; /* that are expected */
    char key[];       /* the number of the service, a space, the location */
};

/* Of the workers of a service that say their load, in thousandths; see balance.c. */
struct load_sums {
    uint64_t busy; /* none counted as more than `overloaded` */
    uint64_t idle; /* none counted as more than `spare` */
};

struct counts {
    uint32_t *expected; /* for each service: workers that serve it, or are about to */
    uint32_t *healthy;
    uint32_t *able;    /* of the healthy ones: those that do not say that it is still starting */
    uint32_t *failing; /* others that are healthy, have it, and say that it does not run */
    uint32_t *loaded;  /* of the healthy ones: those that say their load */
    struct load_sums *load;
    uint32_t by_type[TYPES];
    struct map located; /* struct located::key -> struct located */
};

/* A walk over the roll, while workers are not in line with the catalog. */
struct review {
    bool wanted;
    bool left_some;  /* somebody was told something, could not be yet, or may have been missed: look again */
    size_t capacity; /* of the map of members: when it changes they are elsewhere in it */
    size_t position;
    uint64_t begins_at_ms;
};

struct assigner {
    struct catalog *catalog;
    struct slab *slab;                           /* of the members */
    struct map roll;                             /* id -> struct member; see struct known */
    size_t record_count, promise_count;          /* in it */
    struct member *first_promise, *last_promise; /* in the order of their expiry */
    struct counts counts;
    uint32_t *seen; /* for each service: the last member that it was counted for */
    uint32_t seen_number;
    uint64_t revision;
    uint32_t generation;
    bool in_snapshot;
    bool synchronised;
    uint32_t *here; /* for each service: scratch of a decision */
    struct policy_decision decision;
    struct lost_service *lost;  /* for each service; see adapt.c */
    struct balance *balance;    /* see balance.c */
    struct load_sums most;      /* what one worker can add to the sums */
    struct map swaps;           /* worker id -> struct swap; see swaps.c */
    uint64_t health_heard_ms;   /* since when health is heard without a break; 0: it is not */
    struct review review;       /* see rules.c */
    struct assigner_move *move; /* the last one that assigner_next_move gave */
    uint64_t search_from;       /* where the next search for a worker begins */
};

/* --- roll.c --- */

/* What is known under an id: what the registry says, and what was decided since and is not confirmed, which stands for
 * what is expected of the worker in the place of its record. Either may be missing. (Both are found in one step: the
 * map leads to the record, which leads to its promise; to the promise itself while there is no record.) */
struct known {
    struct member *record, *promise;
};

static inline struct known known_of(struct member *found)
{
    if (found == NULL)
        return (struct known){NULL, NULL};
    return found->is_promise ? (struct known){NULL, found} : (struct known){found, found->promise};
}

static inline struct known assigner_known(const struct assigner *assigner, const char *id)
{
    return known_of(map_get_text(&assigner->roll, id));
}

/* From now on `after` is known in the place of `before`, which is what was known under that id: what is not in both is
 * put into the assigner's keeping, or freed. A promise of `before` may be the record of `after`; a new one expires
 * last. Nothing is counted. False, and nothing is changed, when memory runs out, which is so only where nothing was
 * known before. */
bool assigner_know(struct assigner *assigner, struct known before, struct known after);

/* Walks over the records as map_next does. The roll must not be changed meanwhile. */
struct member *assigner_next_record(const struct assigner *assigner, size_t *position);

/* --- counts.c --- */

/* Counts what is known of a worker IN or OUT: before and after each change of it. */
void assigner_count(struct assigner *assigner, struct known known, uint32_t change);

/* Counts everything anew. */
void assigner_recount(struct assigner *assigner);

/* Of a service that is to be spread: how many that are expected run it there; 0 for other services. */
uint32_t assigner_workers_at(const struct assigner *assigner, size_t number, const char *location);

/* Frees the map, and each value, which is in one piece. */
void assigner_free_values(struct map *map);

/* --- promises.c --- */

/* Memory on the stack for what one call needs; more comes from an arena. */
#define SCRATCH_BYTES 2048

/* Remembers, in the place of the worker's record, what it was just told to run: what the move assigns, and the names
 * that it announces (the rest of the record's names). NULL when memory runs out. */
struct member *assigner_promise(struct assigner *assigner, const struct member *record,
                                const struct assigner_move *move, uint64_t now_ms);

/* What the policy is to know of everybody else, for a worker at that location that is counted out. Valid until the
 * next change. */
struct policy_coverage assigner_coverage(struct assigner *assigner, const char *location);

/* --- moves.c --- */

/* Whether it may be assigned the service. */
static inline enum catalog_permission member_permission(const struct assigner *assigner, const struct member *member,
                                                        size_t number)
{
    return catalog_permission_within(assigner->catalog, number, (Muster__V1__WorkerType)member->type, member_id(member),
                                     member_permitted(member));
}

/* Who is looked at in one search: with a million workers, a few thousand taken from the middle hold one that is as good
 * as any. Walks over some of them, elsewhere each time, and gives the best: `is_better` says whether a worker can be
 * taken and, if there was one before (else NULL), is better; `is_enough` whether to look no further. */
struct search {
    bool (*is_better)(struct assigner *assigner, const struct member *member, const struct member *best,
                      const void *argument);
    bool (*is_enough)(struct assigner *assigner, const struct member *best, const void *argument);
    const void *argument;
};
const struct member *assigner_search(struct assigner *assigner, const struct search *search);

/* A change of what a worker is told to run: numbers of services, CATALOG_NONE: none. */
struct change {
    size_t add;
    size_t remove;
    size_t replaces; /* what `add` takes the place of: a swap begins */
    enum assigner_move_reason reason;
};

/* A move that makes that change, promised. A swap that is under way stays, unless one of its services is removed or
 * the reason is ASSIGNER_MOVE_BOTH. Owned by the assigner, as the last one. NULL when memory runs out. */
const struct assigner_move *assigner_make_move(struct assigner *assigner, const struct member *member,
                                               const struct change *change, uint64_t now_ms);

/* Whether the worker may be told something now: nothing is under way to it that is not confirmed. */
static inline bool member_is_settled(const struct member *record)
{
    return record->promise == NULL;
}

/* Forgets the last move: the catalog's texts are going. */
void moves_forget(struct assigner *assigner);

/* --- condition.c --- */

/* `to` is a record of the same registration: takes over what the worker said of itself, for the names that it still
 * has. */
void condition_carry(struct member *to, const struct member *from);
/* Whether the worker says that it cannot serve the name of that number. */
static inline bool condition_is_unavailable(const struct member *member, uint32_t name)
{
    return name < 32 && (member->unavailable >> name & 1u) != 0;
}
static inline bool condition_is_running(const struct member *member, uint32_t name)
{
    return name < 32 && (member->running >> name & 1u) != 0;
}
/* Whether requests for it may be sent to the worker: it says that it runs, or says nothing of any of its services. */
static inline bool condition_is_able(const struct member *member, uint32_t name)
{
    return condition_is_running(member, name) || (member->running | member->unavailable) == 0;
}
static inline bool condition_is_told(const struct member *member, uint32_t name)
{
    return condition_is_running(member, name) || condition_is_unavailable(member, name);
}

/* --- rules.c --- */

/* The catalog is new: looks at every worker. */
void rules_review(struct assigner *assigner);
/* The worker's record is new: looks at every worker if this one is not in line. */
void rules_note(struct assigner *assigner, const struct member *member);
const struct assigner_move *rules_next_move(struct assigner *assigner, uint64_t now_ms);

/* --- balance.c --- */

bool balance_create(struct assigner *assigner);
void balance_forget(struct assigner *assigner);
/* What the worker adds to the sums. */
struct load_sums balance_load(const struct assigner *assigner, const struct member *member);
/* The next move that load asks for, or NULL. */
const struct assigner_move *balance_next_move(struct assigner *assigner, uint64_t now_ms);
/* A swap of these services begins or ends; 0: it did not come about. */
void balance_touched(struct assigner *assigner, size_t from, size_t to, uint64_t now_ms);

/* --- swaps.c --- */

/* The worker's record is as it is now (NULL: it is gone): whether a swap is under way. False when memory runs out. */
bool swaps_note(struct assigner *assigner, const char *worker_id, const struct member *member);
/* The next move that ends a swap, or NULL. */
const struct assigner_move *swaps_next_move(struct assigner *assigner, uint64_t now_ms);
/* Whether one is under way of which the service is part. */
bool swaps_have(const struct assigner *assigner, size_t number);
/* Whether the service did not come to run on the worker in a swap, and the worker has not registered again since. */
bool swaps_failed(const struct assigner *assigner, const struct member *member, size_t number);
/* The catalog is another one: what failed may work now. */
void swaps_forget_failures(struct assigner *assigner);
void swaps_free(struct assigner *assigner);

/* --- adapt.c --- */

/* False when memory runs out. */
bool adapt_create(struct assigner *assigner);
/* Forgets which services are lost; the catalog is changed or gone. */
void adapt_forget(struct assigner *assigner);
/* Who takes the next service that lost its last worker, or NULL. */
const struct assigner_move *adapt_next_move(struct assigner *assigner, uint64_t now_ms);
/* The worker is on the roll: if it takes work, the services that it has are lost without it. */
void adapt_note(struct assigner *assigner, const struct member *member);
