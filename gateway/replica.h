/* This gateway's copy of the roll: what it lists and finds without asking anyone.
 *
 * It is fed from three streams and from the gateway's own requests:
 *   - registry: records of workers, with revisions (WatchWorkers);
 *   - health: status and load (WatchHealth);
 *   - assigner: the catalog (WatchCatalog);
 *   - what a request through this gateway changed, before that request is answered: so a
 *     client reads its own writes, though the streams come later.
 * The same change thus comes twice, and older news can come after newer. Revisions decide
 * between records: an event of an earlier revision than the record's is passed over, also for
 * a worker that was removed here (its revision of removal is kept until the watch has passed
 * it). Health has no revisions: for REPLICA_FRESH_MS after a heartbeat that went through this
 * gateway, reports of an earlier heartbeat are passed over, unless they say that the worker
 * is gone; of the status that is known already they still give the reason.
 *
 * What a worker's status is: draining when an operator said so; else what health says of this
 * incarnation; else what the registry's record says.
 *
 * The replica goes on with what it last knew while a process is away. `version` grows with
 * every change that a reader could see.
 *
 * Threading: one thread owns it. No I/O, no clock. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/map.h"
#include "gateway/replica_record.h"
#include "muster/v1/assigner.pb-c.h"
#include "muster/v1/health.pb-c.h"
#include "muster/v1/registry.pb-c.h"

#define REPLICA_FRESH_MS 1000

/* Services whose names came lately, for the next workers, which mostly offer the same. A power of two. */
#define REPLICA_RECENT_SERVICES 64

/* Types of workers, and one for those of a later version of the protocol. */
#define REPLICA_TYPES 8

/* What an observer is told. */
enum replica_change_type {
    REPLICA_REGISTERED,      /* a worker is on the roll, or anew with a higher incarnation */
    REPLICA_UNREGISTERED,    /* a worker is about to leave the roll */
    REPLICA_STATUS_CHANGED,  /* of a worker: `before` and its replica_status */
    REPLICA_ASSIGNED,        /* a worker's assigned services changed */
    REPLICA_COVERAGE,        /* of a service of the catalog: `coverage_before` and its coverage_told */
    REPLICA_CATALOG_CHANGED, /* services came, went or mean something else: all coverage is to be read anew */
};

/* How many healthy workers a service has: none, one, or enough. */
enum replica_coverage {
    REPLICA_COVERAGE_NONE,
    REPLICA_COVERAGE_ONE,
    REPLICA_COVERAGE_ENOUGH,
    REPLICA_COVERAGE_UNKNOWN
};

struct replica_change {
    enum replica_change_type type;
    const struct replica_worker *worker;
    const struct replica_service *service;
    Muster__V1__WorkerStatus before;
    enum replica_coverage coverage_before;
    const char *reason; /* for people; "" when nobody gave one */
    int64_t at_ms;      /* when it happened, by the clock of who saw it; 0: not said, so about now */
};

/* A service that somebody offers, or that is in the catalog. */
struct replica_service {
    char *name;
    const Muster__V1__CatalogService *catalog; /* NULL: a worker's own */
    struct replica_worker **workers;           /* on the roll, in no order */
    size_t worker_count, worker_capacity;
    size_t healthy_count;                /* of these workers */
    enum replica_coverage coverage_told; /* to the observer */
    bool unsettled;                      /* in the replica's list of those whose coverage may have changed */
    struct replica_service *next_unsettled;
};

/* A worker's JSON, kept by worker_json.c; a text is empty when it has to be made anew. */
struct replica_json {
    struct buffer fixed, varying;
};

struct replica_worker {
    struct replica_record *record; /* NULL: not on the roll, only health knows it */
    uint64_t removed_at_revision;  /* not on the roll since; 0: never was removed here */
    uint32_t position;             /* in replica.workers when on the roll, else in replica.tombstones */
    uint32_t generation;           /* of the snapshot that last mentioned it */

    /* What health says; incarnation 0: nothing. */
    uint64_t health_incarnation;
    uint32_t health_generation;
    char *health_reason;                 /* why it has that status; NULL: it is well */
    int64_t health_status_changed_at_ms; /* 0: not known */
    int64_t last_heartbeat_at_ms;
    uint64_t last_heard_ms;  /* the same moment, monotonic; 0: not known */
    uint64_t fresh_until_ms; /* monotonic; see REPLICA_FRESH_MS */
    uint8_t *load;           /* a Load, packed; NULL: none was reported. Heartbeats are many, readings of it few. */
    uint32_t load_bytes;
    Muster__V1__WorkerStatus health_status;
    double current_load; /* of `load`, as is the next one */
    uint32_t queue_depth;

    Muster__V1__WorkerStatus status_told; /* to the observer; unspecified: it was not told of this worker */
    bool held;                            /* heard, and out of routing nevertheless */
    bool counted_healthy;                 /* in healthy_count of the replica and of its services */
    int32_t counted_load;                 /* in the replica's load_sum */

    uint32_t offer_count; /* services offered, by their names in the catalog, each once: in record->offers */

    const char *coordinator; /* that holds it, at an edge router; see replica.coordinator. NULL: this one */
    struct replica_json *json; /* NULL: not made, or not kept */
    char id[];
};

/* JSON of workers is kept while the roll has at most so many: it takes more memory than all the rest. */
#define REPLICA_JSON_WORKERS_MAX 10000

/* A walk over the roll that lasts, while workers come and go: it meets each of those that stay once. */
struct replica_walk {
    size_t visited; /* that many, which are the first ones in `workers` */
    struct replica_walk *next;
};

struct replica {
    struct slab *memory;             /* of the workers and their records; NULL: there were none yet */
    struct map by_id;                /* struct replica_worker, on the roll or not */
    struct replica_worker **workers; /* on the roll, in no order */
    size_t worker_count, worker_capacity;
    struct replica_walk *walks; /* under way */
    struct replica_worker **tombstones; /* those with removed_at_revision, in no order */
    size_t tombstone_count, tombstone_capacity;
    size_t healthy_count;              /* of those on the roll */
    int64_t load_sum;                  /* of these, in millionths */
    size_t type_counts[REPLICA_TYPES]; /* the same, by their type */

    struct map services;                       /* struct replica_service by name */
    struct map aliases;                        /* const CatalogService by alias */
    struct replica_service *recent[REPLICA_RECENT_SERVICES]; /* see replica_services.c */
    Muster__V1__WatchCatalogResponse *catalog; /* NULL: not heard yet */

    uint64_t revision; /* of the registry, up to which the watch has come */
    uint64_t now_ms;   /* monotonic; set by the owner before it puts what happens now. 0: not known */
    uint64_t version;
    uint32_t generation, health_generation;
    struct replica_service *unsettled;
    const char *cause; /* reason and time that come with the message that is being applied */
    int64_t caused_at_ms;

    /* Told of each change while it is applied, or NULL; it must not change the replica. */
    void (*observer)(void *context, const struct replica_change *change);
    void *observer_context;

    /* Who holds the workers that replica_put puts from now on; the text must live for as long as
     * they are on the roll. NULL: this coordinator. */
    const char *coordinator;

    bool in_snapshot;
    bool registry_known; /* a snapshot was complete once */
};

void replica_init(struct replica *replica);
void replica_free(struct replica *replica);

/* --- What comes in. Messages are copied. False: memory ran out, and what the message said is
 * lost in part; the stream should be started anew from a snapshot. --- */

/* `wire`: the bytes that the message was unpacked from, or NULL; with them records cost less. */
bool replica_apply_registry(struct replica *replica, const Muster__V1__WatchWorkersResponse *message,
                            const struct wire_bytes *wire);
bool replica_apply_health(struct replica *replica, const Muster__V1__WatchHealthResponse *message, uint64_t now_ms);
bool replica_apply_catalog(struct replica *replica, const Muster__V1__WatchCatalogResponse *message);

/* A stream of health begins: what its snapshot does not mention is forgotten at its end. */
void replica_health_begins(struct replica *replica);

/* A request of ours put this record, or removed the worker at that revision; `reason` is what the observer is told. */
bool replica_put(struct replica *replica, const Muster__V1__Worker *record);
bool replica_remove(struct replica *replica, const char *id, uint64_t revision, const char *reason);

/* What this gateway knows of a heartbeat before health has seen it. The watch of health may be
 * behind what a request through this gateway has changed. */
enum replica_verdict { REPLICA_ASK_HEALTH, REPLICA_STALE_INCARNATION, REPLICA_REMOVED };
enum replica_verdict replica_judge(const struct replica *replica, const Muster__V1__Heartbeat *heartbeat);

/* A heartbeat of ours was taken by health; received_at_ms is when it came in here. */
bool replica_heartbeat(struct replica *replica, const Muster__V1__Heartbeat *heartbeat, int64_t received_at_ms,
                       uint64_t now_ms);

/* Tells the observer which services gained or lost coverage since the last call. Apart, so that a
 * worker that registers anew does not open a gap and close it again. */
void replica_settle(struct replica *replica);

/* --- What is there --- */

/* A worker on the roll, or NULL. */
struct replica_worker *replica_find(const struct replica *replica, const char *id);

Muster__V1__WorkerStatus replica_status(const struct replica_worker *worker);

/* Why it has that status; empty: it is well. And since when, milliseconds since the epoch; 0: not
 * known. */
const char *replica_status_reason(const struct replica_worker *worker);
int64_t replica_status_changed_at_ms(const struct replica_worker *worker);

/* Online or degraded: it is listed to clients and counts as coverage. */
bool replica_is_healthy(const struct replica_worker *worker);

/* When it was last heard: its registration counts. Milliseconds since the epoch. */
int64_t replica_last_heard_ms(const struct replica_worker *worker);

/* How long ago that was: also right when the wall clock was set meanwhile. */
uint64_t replica_age_ms(const struct replica_worker *worker, uint64_t now_ms, int64_t now_unix_ms);

double replica_load(const struct replica_worker *worker);

/* Begins a walk; what the next call finds, NULL: the end; ends it, wherever it is. */
void replica_walk_begin(struct replica *replica, struct replica_walk *walk);
struct replica_worker *replica_walk_next(const struct replica *replica, struct replica_walk *walk);
void replica_walk_end(struct replica *replica, struct replica_walk *walk);

/* Frees the JSON that is kept of it. */
void replica_forget_json(struct replica_worker *worker);

/* A service by name or alias, or NULL. */
struct replica_service *replica_find_service(const struct replica *replica, const char *name, size_t name_bytes);

/* Where a worker serves it, by its record unpacked: the URL that it announced for it, else its
 * tunnel_url. */
const char *replica_service_url(const struct replica *replica, const Muster__V1__Worker *record,
                                const struct replica_service *service);
