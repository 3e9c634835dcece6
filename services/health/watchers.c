/* The list of changes, and those who read it.
 *
 * Every worker is in one list, ordered by its last change. A watcher's cursor is a link in
 * the same list: what lies behind it has not been sent. A change moves the worker to the
 * end, behind every cursor, so a worker is sent once however often it changed meanwhile. A
 * bit for each watcher says that the worker is behind its cursor already: then it need not
 * move, which is the usual case under many heartbeats. */

#include "services/health/health.h"

#include "services/health/state.h"

#include <stdlib.h>

/* Tombstones that are kept for a watcher that does not read, unless the roll is larger. */
#define TOMBSTONES_MAX 10000
/* Field number of WorkerHealth.load in muster/v1/health.proto. */
#define LOAD_FIELD 6

static bool is_cursor(const struct health *health, const struct list_link *link)
{
    for (size_t i = 0; i < HEALTH_WATCHERS_MAX && (health->active >> i) != 0; i++) {
        if (health->watchers[i] != NULL && &health->watchers[i]->cursor == link)
            return true;
    }
    return false;
}

struct health_worker *health_change_next(const struct health *health, const struct list_link *link)
{
    do {
        link = link->next;
    } while (link != &health->changes && is_cursor(health, link));
    return link == &health->changes ? NULL : LIST_OBJECT(link, struct health_worker, change);
}

void health_change_note(struct health *health, struct health_worker *worker, bool load_changed)
{
    if (load_changed)
        worker->load_pending = UINT32_MAX;
    if ((worker->pending & health->active) == health->active)
        return;
    worker->pending = UINT32_MAX;
    list_remove(&worker->change);
    list_append(&health->changes, &worker->change);
}

void health_change_pass(struct health *health, struct health_worker *worker)
{
    worker->pending = 0;
    list_remove(&worker->change);
    list_insert_before(health->changes.next, &worker->change);
}

static void bury_if_told(struct health *health, struct health_worker *worker)
{
    if ((worker->pending & health->active) != 0)
        return;
    list_remove(&worker->change);
    list_append(&health->buried, &worker->change);
    health->tombstones--;
}

void health_change_bury(struct health *health, struct health_worker *worker)
{
    if (worker->status != WORKER_REMOVED) {
        worker->status = WORKER_REMOVED;
        worker->reason = DETECTOR_WELL;
        health_change_note(health, worker, false);
    }
    health_worker_forget_load(worker);
    free(worker->untold);
    worker->untold = NULL;
    worker->gone = true;
    health->tombstones++;
    bury_if_told(health, worker);
}

void health_change_reap(struct health *health)
{
    while (!list_is_empty(&health->buried)) {
        struct health_worker *worker = LIST_OBJECT(health->buried.next, struct health_worker, change);
        list_remove(&worker->change);
        health_worker_free(worker);
    }
}

struct health_watcher *health_watcher_open(struct health *health)
{
    size_t slot = 0;
    while (slot < HEALTH_WATCHERS_MAX && health->watchers[slot] != NULL)
        slot++;
    struct health_watcher *watcher = slot < HEALTH_WATCHERS_MAX ? calloc(1, sizeof(*watcher)) : NULL;
    if (watcher == NULL)
        return NULL;
    watcher->bit = UINT32_C(1) << slot;
    watcher->round_left = UINT64_MAX;
    for (struct health_worker *worker = health_change_next(health, &health->changes); worker != NULL;
         worker = health_change_next(health, &worker->change)) {
        worker->pending |= watcher->bit;
        worker->load_pending |= watcher->bit;
        worker->known_to &= ~watcher->bit;
        watcher->snapshot_left++;
    }
    health->watchers[slot] = watcher;
    health->active |= watcher->bit;
    list_insert_before(health->changes.next, &watcher->cursor);
    return watcher;
}

void health_watcher_close(struct health *health, struct health_watcher *watcher)
{
    size_t slot = 0;
    while (health->watchers[slot] != watcher)
        slot++;
    struct health_worker *worker = health_change_next(health, &watcher->cursor);
    list_remove(&watcher->cursor);
    health->watchers[slot] = NULL;
    health->active &= ~watcher->bit;
    while (worker != NULL) {
        struct health_worker *next = health_change_next(health, &worker->change);
        if (worker->gone)
            bury_if_told(health, worker);
        worker = next;
    }
    free(watcher);
}

static bool completes(const struct health *health, const struct health_watcher *watcher)
{
    return !watcher->complete && watcher->snapshot_left == 0 && health->synchronised;
}

void health_watcher_begin_round(struct health *health, struct health_watcher *watcher)
{
    /* Everybody is in the list once. */
    watcher->round_left = health->counts.workers + health->tombstones;
}

/* What messages say of the roll as a whole is as old as the last of them. */
static bool counted_otherwise(const struct health *health, const struct health_watcher *watcher)
{
    return watcher->workers_counted != health->counts.workers;
}

bool health_watcher_is_behind(const struct health *health, const struct health_watcher *watcher)
{
    return completes(health, watcher) || counted_otherwise(health, watcher) ||
           health_change_next(health, &watcher->cursor) != NULL;
}

bool health_watcher_is_too_slow(const struct health *health, const struct health_watcher *watcher)
{
    uint64_t limit = health->counts.workers > TOMBSTONES_MAX ? health->counts.workers : TOMBSTONES_MAX;
    return health->tombstones > limit && health_change_next(health, &watcher->cursor) != NULL;
}

/* The i-th message of the batch says how the worker is. */
static void describe(struct health *health, const struct health_watcher *watcher, struct health_worker *worker,
                     size_t i, uint64_t now_ms, int64_t unix_ms)
{
    struct health_batch *batch = &health->batch;
    Muster__V1__WorkerHealth *message = &((Muster__V1__WorkerHealth *)batch->messages)[i];
    muster__v1__worker_health__init(message);
    message->worker_id = worker->id;
    message->incarnation = worker->incarnation;
    message->status = (Muster__V1__WorkerStatus)worker->status;
    uint64_t silent_ms = now_ms - worker->last_heard_ms;
    health_describe(health, worker, now_ms, batch->texts[i]);
    message->reason = batch->texts[i];
    message->last_heartbeat_at_ms = unix_ms - (int64_t)silent_ms;
    message->silent_ms = silent_ms;
    message->held = worker->reason == DETECTOR_HELD;
    message->status_changed_at_ms = unix_ms - (int64_t)(now_ms - worker->status_since_ms);
    if (worker->load != NULL && (worker->load_pending & watcher->bit) != 0) {
        /* The load is kept packed; it goes out as it is. protobuf-c writes what it calls an
         * unknown field byte for byte, and the reader sees an ordinary field 6. */
        batch->fields[i] = (ProtobufCMessageUnknownField){
            .tag = LOAD_FIELD,
            .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
            .len = worker->load_bytes,
            .data = worker->load,
        };
        message->base.n_unknown_fields = 1;
        message->base.unknown_fields = &batch->fields[i];
    }
    worker->load_pending &= ~watcher->bit;
    batch->pointers[i] = message;
}

bool health_watcher_fill(struct health *health, struct health_watcher *watcher, size_t limit, uint64_t now_ms,
                         int64_t unix_ms, Muster__V1__WatchHealthResponse *response)
{
    health_change_reap(health);
    if (!health_batch_reserve(health, limit))
        return false;
    size_t count = 0;
    struct health_worker *worker = health_change_next(health, &watcher->cursor);
    while (worker != NULL && count < limit && watcher->round_left > 0) {
        watcher->round_left--;
        bool known = (worker->known_to & watcher->bit) != 0;
        if (!known) {
            worker->known_to |= watcher->bit;
            watcher->snapshot_left--;
        }
        worker->pending &= ~watcher->bit;
        if (known || !worker->gone)
            describe(health, watcher, worker, count++, now_ms, unix_ms);
        list_remove(&watcher->cursor);
        list_insert_before(worker->change.next, &watcher->cursor);
        if (worker->gone)
            bury_if_told(health, worker);
        worker = health_change_next(health, &watcher->cursor);
    }
    bool complete = completes(health, watcher);
    if (count == 0 && !complete && !counted_otherwise(health, watcher))
        return false;
    watcher->workers_counted = health->counts.workers;
    muster__v1__watch_health_response__init(response);
    response->n_workers = count;
    response->workers = (Muster__V1__WorkerHealth **)health->batch.pointers;
    response->snapshot_complete = complete;
    response->heartbeats_total = health->counts.heartbeats;
    response->heartbeat_interval_ms = detector_heartbeat_interval_ms(&health->settings.detector);
    response->evictions_waiting = health->counts.braked;
    health_warning(health, health->warning);
    response->warning = health->warning;
    watcher->complete = watcher->complete || complete;
    return true;
}
