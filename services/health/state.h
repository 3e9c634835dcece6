/* Inside the core of muster-health: its records, and what its files offer each other.
 *
 *     health.c     life of the core, leases, the registry's watch
 *     roster.c     who there is, by id
 *     worker.c     one worker's record: its load and its assignment, packed
 *     streams.c    heartbeats in, acknowledgements and commands out
 *     lookups.c    unknown ids
 *     liveness.c   the queue to the registry
 *     watchers.c   the list of changes
 *     check.c      what must hold, for tests
 *
 * A million of struct health_worker must fit into a few hundred megabytes: think before
 * adding a field. */

#pragma once

#include "common/auth/worker_token.h"
#include "common/list.h"
#include "common/map.h"
#include "common/slab.h"
#include "common/timer_wheel.h"
#include "services/health/health.h"
#include "services/health/history/history.h"
#include "services/health/roster.h"

/* Names of services in one allocation. */
struct name_list {
    uint32_t count;
    uint32_t bytes;
    char text[]; /* each with a zero byte after it */
};

/* A worker's last heartbeat came over a stream of its own. Most come over gateways, which relay. */
struct own_stream {
    struct list_link sent_by; /* in the stream's workers */
    struct health_stream *stream;
    struct health_worker *worker;
};

struct health_worker {
    struct bare_timer lease; /* runs unless the worker is given up */
    struct list_link change; /* in health->changes, always */
    struct list_link report; /* in health->reports or ->reports_sent, if the registry must be told */
    struct own_stream *own;  /* or NULL: the last heartbeat, if any, was relayed */
    uint64_t last_heard_ms;
    uint64_t status_since_ms; /* monotonic, of the last change of `status` */
    uint64_t incarnation;
    uint8_t *load;            /* a packed Load with its length before it, as a field of a message; or NULL */
    struct name_list *untold; /* assignment that the worker has not been told; or NULL */
    uint64_t assignment_hash; /* of the assignment that the registry last said */
    uint32_t broken_after_ms; /* from last_heard_ms to the stream's break; with stream_broken */
    uint32_t load_bytes;
    uint32_t pending;       /* watchers that have not been sent the last change; a bit each */
    uint32_t load_pending;  /* watchers that have not been sent the load */
    uint32_t known_to;      /* watchers that have been sent the worker at all */
    uint32_t generation;    /* of the snapshot that last named it */
    uint32_t history_place; /* see history/history.h; 0: none */
    uint32_t bucket;        /* heartbeats, in thousandths, as of last_heard_ms; see streams.c */
    uint16_t id_bytes;
    uint8_t base;     /* Muster__V1__WorkerStatus; see struct detector_lease */
    uint8_t status;   /* Muster__V1__WorkerStatus, as last judged */
    uint8_t reason;   /* enum detector_reason, as last judged */
    uint8_t reported; /* status in the report that is under way */
    bool heard : 1;
    bool held : 1;      /* flapping_hold_of knows until when */
    bool told_slow : 1; /* that it sends too many heartbeats, since it last sent few */
    bool stream_broken : 1;
    bool draining : 1;          /* as the registry says */
    bool told_draining : 1;     /* what the worker knows of that */
    bool drain_unconfirmed : 1; /* it has not said so yet */
    bool report_sent : 1;       /* in ->reports_sent */
    bool changed_since_report : 1;
    bool assignment_doubtful : 1; /* whether it was told of it; the registry is asked what to say */
    bool gone : 1;                /* a tombstone: only in `changes`, for watchers to be told */
    bool beaten : 1;              /* the present registration has sent a heartbeat, here */
    uint8_t contested : 4;        /* above 0: another worker uses the id, too; see streams.c */
    char id[];                    /* with a zero byte */
};

struct health_command {
    struct list_link link;
    uint64_t sequence;
    uint64_t incarnation;
    uint32_t index;
    Muster__V1__WorkerCommandType type;
    struct name_list *names; /* with ASSIGNMENT */
    const char *reason;      /* a constant */
    char worker_id[];
};

/* Who has proved to speak on a stream. */
struct health_speaker {
    enum { SPEAKER_NOBODY, SPEAKER_WORKER, SPEAKER_PEER } who;
    char *worker_id; /* of a worker, */
    uint64_t incarnation;
};

struct health_stream {
    void *user;
    struct list_link open;  /* in health->streams */
    struct list_link ready; /* in health->ready_streams, if it may have something to send */
    struct list_link workers;
    struct list_link commands;
    struct list_link sent;     /* commands of the last response; freed with the next */
    struct list_link lookups;  /* what waits for the registry, in order */
    struct list_link released; /* lookups that nothing waits for any more; see lookups.c */
    size_t command_count;
    uint64_t received;     /* sequence of the last message */
    uint64_t acknowledged; /* as last sent */
    struct health_speaker speaker;
};

/* A heartbeat of an unknown id. */
struct health_lookup {
    struct list_link of_stream;   /* unlinked when the stream has gone */
    struct list_link queue;       /* in health->lookups, ->lookups_sent or ->lookups_later */
    struct health_stream *stream; /* NULL: it has gone */
    uint64_t sequence;
    uint64_t incarnation;
    uint32_t index;
    uint8_t said;
    bool relayed;
    char worker_id[];
};

struct health_watcher {
    struct list_link cursor; /* in health->changes: what follows has not been sent */
    uint32_t bit;
    uint64_t snapshot_left;   /* workers of the first round that have not been sent */
    uint64_t round_left;      /* workers that this round may still bring */
    uint64_t workers_counted; /* on the roll, as of the last message */
    bool complete;            /* snapshot_complete has been sent */
};

/* Memory for what the fill functions hand out; grows to the largest batch. */
struct health_batch {
    size_t capacity;
    void **pointers;
    void *messages;
    ProtobufCMessageUnknownField *fields;
    char (*texts)[DETECTOR_TEXT_BYTES];
};

struct health {
    struct health_settings settings;
    struct slab *memory; /* of workers, their loads and streams */
    struct brake brake;
    struct flapping flapping;
    struct timer_wheel wheel;
    uint64_t advanced_to_ms; /* by the last health_advance */
    bool leases_left;        /* and some of the leases that had ended by then were left */
    uint64_t leases_rest_until_ms;
    struct roster workers;
    struct list_link changes; /* every worker and tombstone, oldest change first, and the cursors */
    struct list_link streams, ready_streams;
    struct list_link reports, reports_sent;
    size_t report_count;
    bool report_under_way;
    struct list_link lookups, lookups_sent, lookups_later;
    struct bare_timer lookup_retry;
    size_t lookup_count;
    bool lookup_under_way;
    struct health_watcher *watchers[HEALTH_WATCHERS_MAX];
    uint32_t active; /* bits of the watchers that are there */
    uint64_t tombstones;
    struct list_link buried; /* tombstones that may be freed at the next call */
    uint64_t revision;
    uint32_t generation;
    bool in_snapshot, synchronised, urgent;
    uint8_t *scratch;
    size_t scratch_bytes;
    struct health_batch batch;
    struct health_counts counts;
    struct history *history; /* NULL: none is kept */
    bool tokens_required, has_secret;
    uint8_t secret[AUTH_SECRET_BYTES];
    char warning[HEALTH_WARNING_BYTES]; /* of the last message to a watcher */
};

/* --- worker.c --- */

struct health_worker *health_worker_create(struct health *health, const char *worker_id, uint64_t incarnation);
/* Not while it is in any list or its timer runs. */
void health_worker_free(struct health_worker *worker);
void health_worker_forget_load(struct health_worker *worker);
struct detector_lease health_worker_lease(const struct health *health, const struct health_worker *worker);

enum load_result { LOAD_SAME, LOAD_CHANGED, LOAD_REFUSED };
/* Keeps the load. REFUSED: it is too large, or out of memory; what was known stays. */
enum load_result health_worker_set_load(struct health *health, struct health_worker *worker,
                                        const Muster__V1__Load *load);

/* NULL when memory runs out. */
struct name_list *health_name_list_create(char *const *names, size_t count);
uint64_t health_name_list_hash(char *const *names, size_t count);

/* --- health.c --- */

struct health_worker *health_find(const struct health *health, const char *worker_id);

/* Puts a worker of the registry into the table or brings it up to date. `fresh`: this is a
 * registration that just happened, not a record that was found. NULL: out of memory. */
struct health_worker *health_put(struct health *health, const Muster__V1__Worker *record, bool fresh, uint64_t now_ms);

/* Judges anew; on a change tells the registry's queue and the watchers. Always restarts the
 * lease timer when the state changed. */
void health_judge(struct health *health, struct health_worker *worker, uint64_t now_ms);

/* The worker is back, by a heartbeat after its loss or by a registration: it may have to be held. */
void health_returned(struct health *health, struct health_worker *worker, uint64_t now_ms);

/* Why the worker is as it is, for people; empty when it is well. */
void health_describe(const struct health *health, const struct health_worker *worker, uint64_t now_ms,
                     char text[DETECTOR_TEXT_BYTES]);

/* Takes a worker off the roll. */
void health_drop(struct health *health, struct health_worker *worker);

/* Grows the batch to hold `count` messages of `message_bytes`. */
bool health_batch_reserve(struct health *health, size_t count);

/* --- streams.c --- */

/* Takes a heartbeat of a known worker: source NULL for a relayed one. */
void health_stream_heard(struct health *health, struct health_worker *worker, struct health_stream *source,
                         uint8_t said, const Muster__V1__Load *load, uint64_t now_ms);
/* Queues a command. Out of memory: it is lost, and false. Takes over `names`. */
bool health_stream_command(struct health *health, struct health_stream *stream, uint64_t sequence, uint32_t index,
                           const char *worker_id, uint64_t incarnation, Muster__V1__WorkerCommandType type,
                           struct name_list *names, const char *reason);
/* Tells the worker what it has not been told, as an answer to a heartbeat or on its own. */
void health_stream_tell(struct health *health, struct health_stream *stream, struct health_worker *worker,
                        uint64_t sequence, uint32_t index);
void health_stream_ready(struct health *health, struct health_stream *stream);
void health_stream_detach(struct health_worker *worker);
void health_stream_destroy(struct health_stream *stream);

/* --- lookups.c --- */

/* False: too many wait, or out of memory; acknowledge without an answer. */
bool health_lookup_add(struct health *health, struct health_stream *stream, const Muster__V1__Heartbeat *heartbeat,
                       uint64_t sequence, uint32_t index, bool relayed);
void health_lookup_forget_stream(struct health_stream *stream);
void health_lookup_destroy_all(struct health *health);
/* Time to ask again. */
void health_lookup_retry(struct health *health);

/* --- liveness.c --- */

void health_report_add(struct health *health, struct health_worker *worker);
void health_report_remove(struct health *health, struct health_worker *worker);

/* --- watchers.c --- */

/* The worker changed: watchers will be sent it. */
void health_change_note(struct health *health, struct health_worker *worker, bool load_changed);
/* Nothing is to be said of the worker before it changes: it stands where every watcher has passed. */
void health_change_pass(struct health *health, struct health_worker *worker);
/* Makes a tombstone of a worker that is in no other list any more, or frees it. */
void health_change_bury(struct health *health, struct health_worker *worker);
/* Frees tombstones that everybody has been told of. */
void health_change_reap(struct health *health);
/* The next worker of the list of changes after a link, tombstones included; NULL: none. */
struct health_worker *health_change_next(const struct health *health, const struct list_link *link);

/* --- speaker.c --- */

/* Whether the message may be taken from this stream. */
enum health_message_result health_speaker_judge(const struct health *health, struct health_stream *stream,
                                                const Muster__V1__HeartbeatRequest *message);
void health_speaker_free(struct health_stream *stream);
