/* What workers did in the last ten seconds, worker by worker: the core of history.
 *
 * Signs of life, changes of state and outcomes of requests are folded into one open bucket
 * for each worker. When a step of the wall clock ends, history_advance hands the buckets that
 * something was folded into over as a batch, for a store to keep (store.h), and opens new
 * ones.
 *
 * Rules
 *   - Steps are those of the wall clock, since people ask by date. A clock that jumps, either
 *     way, ends the step that is open; it is kept under the time at which it was opened.
 *   - History is kept for a limited number of workers: those that came first. A place is
 *     given back only at the end of an hour (UTC) in which its worker went, so that no bucket
 *     of any step, up to an hour, ever holds more workers than the limit. A worker without a
 *     place gets one with its first heartbeat after there is one.
 *   - A heartbeat costs no lookup: the caller keeps the number of the worker's place.
 *   - tasks_completed is a counter of the worker's own; what is kept is by how much it grew. A
 *     counter that went down was restarted, and counts from zero.
 *
 * No I/O, no clock: unix_ms is milliseconds since the epoch. Threading: one thread. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "muster/v1/worker.pb-c.h"

#define HISTORY_STEP_SECONDS 10

struct history;

/* How bad a state is: its rank, from online up. Ranks are what the store keeps. */
enum history_rank {
    HISTORY_ONLINE,
    HISTORY_DRAINING,
    HISTORY_DEGRADED,
    HISTORY_RECONNECTING,
    HISTORY_OFFLINE,
    HISTORY_REMOVED,
    HISTORY_RANK_COUNT,
};
/* "online", … as in the REST contract; "" for a number that is no rank. */
const char *history_rank_text(unsigned int rank);

/* One bucket. */
struct history_figures {
    uint32_t heartbeats;
    uint32_t samples; /* of these: with a load; the figures of load and active requests are theirs */
    double load_sum;
    double load_min, load_max, load_last;
    uint64_t active_sum;
    uint32_t active_min, active_max, active_last;
    uint64_t tasks_completed; /* more than before */
    uint64_t requests;        /* relayed to the worker */
    uint64_t failures;        /* of these: 5xx, not reached, too slow */
    uint64_t answered;        /* of these: with a time to the first byte */
    uint64_t latency_sum_us;  /* sum of those times */
    uint8_t state, worst;     /* enum history_rank: at the end, and the worst meanwhile */
};

struct history_row {
    const char *worker_id;
    struct history_figures figures;
};

/* The buckets of one step. One allocation: free with free(). */
struct history_batch {
    struct history_batch *next; /* the owner's */
    int64_t time_seconds;       /* when the step began, seconds since the epoch; a multiple of 10 */
    size_t count;
    struct history_row rows[];
};

/* What happened to requests of one worker. */
struct history_outcome {
    uint64_t succeeded, server_errors, connection_failures, timeouts;
    uint64_t latency_sum_us; /* of those that were answered: the first two */
};

/* NULL when memory runs out. */
struct history *history_create(size_t worker_limit, int64_t unix_ms);
void history_destroy(struct history *history);

/* A worker has come onto the roll: the number of its place, or 0 when there is none for it (all
 * are taken, or memory ran out). The id is copied. */
uint32_t history_admit(struct history *history, const char *worker_id, Muster__V1__WorkerStatus status);

/* The worker has left the roll; its place must not be used any more. 0 is fine. */
void history_gone(struct history *history, uint32_t place);

/* Whether places are free: worth an attempt at history_admit. */
static inline int history_has_room(const struct history *history);

/* A heartbeat; load may be NULL. */
void history_heartbeat(struct history *history, uint32_t place, const Muster__V1__Load *load);

/* The state of the worker is another one. 0 is fine. */
void history_state(struct history *history, uint32_t place, Muster__V1__WorkerStatus status);

/* What became of requests; of a worker without a place it is forgotten. */
void history_requests(struct history *history, const char *worker_id, const struct history_outcome *outcome);

/* Whether the worker has a place. */
bool history_keeps(const struct history *history, const char *worker_id);

/* Ends the open step when it is over; its batch, the caller's to free, or NULL: nothing
 * happened in it, it goes on, or memory ran out (then it is counted as dropped). */
struct history_batch *history_advance(struct history *history, int64_t unix_ms);

/* Ends the open step now, before its time: for the end of the process. */
struct history_batch *history_finish(struct history *history);

/* When the open step ends. */
int64_t history_step_ends_unix_ms(const struct history *history);

struct history_counts {
    size_t kept;      /* workers with a place, those that went within this hour included */
    size_t present;   /* of these: on the roll */
    size_t limit;     /* places there can be */
    uint64_t dropped; /* rows that were lost for want of memory */
};
struct history_counts history_count(const struct history *history);

/* --- Inside --- */

struct history_room {
    size_t kept, limit;
};
static inline int history_has_room(const struct history *history)
{
    const struct history_room *room = (const struct history_room *)(const void *)history; /* its first member */
    return room->kept < room->limit;
}
