/* See replica.h. Here: workers and what the streams say of them; services are in
 * replica_services.c. */

#include "gateway/replica.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/replica_services.h"

/* WatchWorkersResponse.events and WorkerEvent.worker */
#define EVENTS_FIELD 4
#define RECORD_FIELD 5
/* So many workers are expected at a time: what the caches can fetch at once, and a little more. */
#define EXPECTED_WORKERS 16

void replica_init(struct replica *replica)
{
    /* Version 0 is "nothing rendered yet" to readers. */
    *replica = (struct replica){.version = 1};
}

void replica_forget_json(struct replica_worker *worker)
{
    if (worker->json == NULL)
        return;
    buffer_free(&worker->json->fixed);
    buffer_free(&worker->json->varying);
    free(worker->json);
    worker->json = NULL;
}

static size_t worker_bytes(size_t id_bytes)
{
    return sizeof(struct replica_worker) + id_bytes + 1;
}

static void free_worker(struct replica_worker *worker)
{
    replica_record_free(worker->record);
    free(worker->load);
    free(worker->health_reason);
    replica_forget_json(worker);
    slab_give(worker, worker_bytes(strlen(worker->id)));
}

void replica_free(struct replica *replica)
{
    size_t position = 0;
    struct replica_worker *worker;
    while ((worker = map_next(&replica->by_id, &position)) != NULL)
        free_worker(worker);
    map_free(&replica->by_id);
    slab_destroy(replica->memory);
    free(replica->workers);
    free(replica->tombstones);
    replica_services_free(replica);
    *replica = (struct replica){.version = 0};
}

static void changed(struct replica *replica, struct replica_worker *worker)
{
    if (worker->json != NULL)
        buffer_clear(&worker->json->varying);
    if (worker->record != NULL)
        replica->version++;
}

/* Why a worker is online that was not: what is well has no reason of its own, but the change has one. */
static const char *recovery(Muster__V1__WorkerStatus before)
{
    switch (before) {
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DEGRADED:
        return "it is heard in time, and says that it is well";
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DRAINING:
        return "it takes new requests again";
    default:
        return "heard again";
    }
}

static void tell(struct replica *replica, struct replica_change change)
{
    if (replica->observer == NULL)
        return;
    if (change.type == REPLICA_STATUS_CHANGED) {
        change.reason = replica_status_reason(change.worker);
        if (change.reason[0] == '\0' && change.worker->status_told == MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE)
            change.reason = recovery(change.before);
        change.at_ms = replica->cause != NULL ? replica_status_changed_at_ms(change.worker) : 0;
    } else {
        change.reason = replica->cause != NULL ? replica->cause : "";
        change.at_ms = replica->caused_at_ms;
    }
    replica->observer(replica->observer_context, &change);
}

static void set_cause(struct replica *replica, const char *reason, int64_t at_ms)
{
    replica->cause = reason;
    replica->caused_at_ms = at_ms;
}

/* A sum of integers, which does not drift as one of doubles would. */
static void count_load(struct replica *replica, struct replica_worker *worker, bool counts)
{
    double load = worker->current_load;
    int32_t millionths = counts && load > 0 ? (int32_t)((load < 1000 ? load : 1000) * 1e6) : 0;
    replica->load_sum += millionths - worker->counted_load;
    worker->counted_load = millionths;
}

/* After anything that a worker's status or load follows from. */
static void review_status(struct replica *replica, struct replica_worker *worker)
{
    if (worker->record == NULL)
        return;
    replica_services_recount(replica, worker);
    count_load(replica, worker, worker->counted_healthy);
    Muster__V1__WorkerStatus before = worker->status_told;
    worker->status_told = replica_status(worker);
    if (before != worker->status_told && before != MUSTER__V1__WORKER_STATUS__WORKER_STATUS_UNSPECIFIED)
        tell(replica, (struct replica_change){.type = REPLICA_STATUS_CHANGED, .worker = worker, .before = before});
}

static struct replica_worker *find_or_add(struct replica *replica, const char *id)
{
    struct replica_worker *worker = map_get_text(&replica->by_id, id);
    if (worker != NULL)
        return worker;
    if (replica->memory == NULL)
        replica->memory = slab_create();
    size_t id_bytes = strlen(id);
    worker = replica->memory == NULL ? NULL : slab_take(replica->memory, worker_bytes(id_bytes));
    if (worker == NULL)
        return NULL;
    *worker = (struct replica_worker){.record = NULL};
    memcpy(worker->id, id, id_bytes + 1);
    if (!map_put(&replica->by_id, worker->id, id_bytes, worker, NULL)) {
        free_worker(worker);
        return NULL;
    }
    return worker;
}

static void forget_if_unknown(struct replica *replica, struct replica_worker *worker)
{
    if (worker->record != NULL || worker->health_incarnation != 0 || worker->removed_at_revision != 0)
        return;
    (void)map_remove_text(&replica->by_id, worker->id); /* it is `worker` */
    free_worker(worker);
}

static void count_type(struct replica *replica, const struct replica_record *record, bool comes)
{
    size_t type = (size_t)record->type % REPLICA_TYPES;
    replica->type_counts[type] = comes ? replica->type_counts[type] + 1 : replica->type_counts[type] - 1;
}

/* False: no memory. */
static bool append(struct replica_worker ***workers, size_t *count, size_t *capacity, struct replica_worker *worker)
{
    if (*count == *capacity) {
        size_t more = *capacity == 0 ? 64 : *capacity * 2;
        struct replica_worker **moved = realloc(*workers, more * sizeof(struct replica_worker *));
        if (moved == NULL)
            return false;
        *workers = moved;
        *capacity = more;
    }
    worker->position = (uint32_t)*count;
    (*workers)[(*count)++] = worker;
    return true;
}

static bool put_on_roll(struct replica *replica, struct replica_worker *worker)
{
    return append(&replica->workers, &replica->worker_count, &replica->worker_capacity, worker);
}

static void move_worker(struct replica *replica, size_t from, size_t to)
{
    if (from == to)
        return; /* what stands there may be what has moved away */
    replica->workers[to] = replica->workers[from];
    replica->workers[to]->position = (uint32_t)to;
}

/* A worker leaves: the last one comes to its place. Where that would bring one that a walk has not met
 * among those that it has, one that it has met moves there instead, and leaves its own place, at
 * the border. */
static void close_gap(struct replica *replica, size_t gap)
{
    for (;;) {
        size_t border = SIZE_MAX;
        for (const struct replica_walk *walk = replica->walks; walk != NULL; walk = walk->next) {
            if (walk->visited > gap && walk->visited < border)
                border = walk->visited;
        }
        if (border == SIZE_MAX)
            break;
        for (struct replica_walk *walk = replica->walks; walk != NULL; walk = walk->next)
            walk->visited -= walk->visited == border ? 1 : 0;
        move_worker(replica, border - 1, gap);
        gap = border - 1;
    }
    move_worker(replica, --replica->worker_count, gap);
}

void replica_walk_begin(struct replica *replica, struct replica_walk *walk)
{
    *walk = (struct replica_walk){.next = replica->walks};
    replica->walks = walk;
}

struct replica_worker *replica_walk_next(const struct replica *replica, struct replica_walk *walk)
{
    return walk->visited < replica->worker_count ? replica->workers[walk->visited++] : NULL;
}

void replica_walk_end(struct replica *replica, struct replica_walk *walk)
{
    struct replica_walk **link = &replica->walks;
    while (*link != NULL && *link != walk)
        link = &(*link)->next;
    if (*link != NULL)
        *link = walk->next;
}

static void take_off_roll(struct replica *replica, struct replica_worker *worker)
{
    tell(replica,
         (struct replica_change){.type = REPLICA_UNREGISTERED, .worker = worker, .before = worker->status_told});
    close_gap(replica, worker->position);
    replica_services_leave(replica, worker);
    changed(replica, worker);
    count_type(replica, worker->record, false);
    count_load(replica, worker, false);
    replica_record_free(worker->record);
    worker->record = NULL;
    worker->coordinator = NULL;
    worker->status_told = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_UNSPECIFIED;
    replica_forget_json(worker);
}

/* What follows from it is to be reviewed. */
static void clear_health(struct replica *replica, struct replica_worker *worker)
{
    free(worker->load);
    worker->load = NULL;
    worker->load_bytes = 0;
    worker->current_load = 0;
    worker->queue_depth = 0;
    free(worker->health_reason);
    worker->health_reason = NULL;
    worker->health_status_changed_at_ms = 0;
    worker->held = false;
    worker->health_incarnation = 0;
    worker->health_status = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_UNSPECIFIED;
    worker->last_heartbeat_at_ms = 0;
    worker->last_heard_ms = 0;
    worker->fresh_until_ms = 0;
    changed(replica, worker);
}

static void forget_health(struct replica *replica, struct replica_worker *worker)
{
    clear_health(replica, worker);
    review_status(replica, worker);
}

static bool put_tombstone(struct replica *replica, struct replica_worker *worker, uint64_t revision)
{
    if (!append(&replica->tombstones, &replica->tombstone_count, &replica->tombstone_capacity, worker))
        return false;
    worker->removed_at_revision = revision;
    return true;
}

static void clear_tombstone(struct replica *replica, struct replica_worker *worker)
{
    if (worker->removed_at_revision == 0)
        return;
    struct replica_worker *last = replica->tombstones[--replica->tombstone_count];
    replica->tombstones[worker->position] = last;
    last->position = worker->position;
    worker->removed_at_revision = 0;
}

/* Of those that the registry's watch has passed. */
static void clear_old_tombstones(struct replica *replica)
{
    for (size_t i = replica->tombstone_count; i > 0; i--) {
        struct replica_worker *worker = replica->tombstones[i - 1];
        if (worker->removed_at_revision <= replica->revision) {
            clear_tombstone(replica, worker);
            forget_if_unknown(replica, worker);
        }
    }
}

/* Whether the record says so of the same registration; without memory it does not. */
static bool has_same_assignment(const struct replica_record *before, const Muster__V1__Worker *now)
{
    Muster__V1__Worker *old = replica_record_unpack(before);
    bool same = old != NULL && old->n_assigned_services == now->n_assigned_services;
    for (size_t i = 0; same && i < now->n_assigned_services; i++)
        same = strcmp(old->assigned_services[i], now->assigned_services[i]) == 0;
    muster__v1__worker__free_unpacked(old, NULL);
    return same;
}

/* `before` is what was on the roll, NULL: nothing. */
static void tell_of_record(struct replica *replica, struct replica_worker *worker, const struct replica_record *before,
                           const Muster__V1__Worker *now)
{
    if (before == NULL || before->incarnation != now->incarnation) {
        worker->status_told = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_UNSPECIFIED; /* the next line tells it */
        tell(replica, (struct replica_change){.type = REPLICA_REGISTERED, .worker = worker});
    } else if (replica->observer != NULL && !has_same_assignment(before, now)) {
        tell(replica, (struct replica_change){.type = REPLICA_ASSIGNED, .worker = worker});
    }
    review_status(replica, worker);
}

/* `wire`: the record's bytes, or NULL. */
static bool put_worker(struct replica *replica, const Muster__V1__Worker *record, const struct wire_bytes *wire)
{
    if (record->spec == NULL || record->spec->worker_id[0] == '\0')
        return true; /* no record of anybody */
    struct replica_worker *worker = find_or_add(replica, record->spec->worker_id);
    if (worker == NULL)
        return false;
    worker->generation = replica->generation;
    if (record->revision < worker->removed_at_revision ||
        (worker->record != NULL && record->revision < worker->record->revision))
        return true;
    /* What a request through this gateway put comes again with the watch. */
    if (worker->record != NULL && record->revision == worker->record->revision &&
        record->incarnation == worker->record->incarnation)
        return true;
    struct replica_record *copy = replica_record_create(replica->memory, record, wire);
    clear_tombstone(replica, worker);
    if (copy == NULL || (worker->record == NULL && !put_on_roll(replica, worker))) {
        replica_record_free(copy);
        forget_if_unknown(replica, worker);
        return false;
    }
    struct replica_record *before = worker->record;
    replica_services_leave(replica, worker);
    bool registers = !replica->in_snapshot && (before == NULL || before->incarnation != copy->incarnation);
    if (registers && worker->health_incarnation == 0)
        worker->last_heard_ms = replica->now_ms;
    if (before != NULL)
        count_type(replica, before, false);
    count_type(replica, copy, true);
    worker->record = copy;
    worker->coordinator = replica->coordinator;
    if (worker->json != NULL)
        buffer_clear(&worker->json->fixed);
    changed(replica, worker);
    bool joined = replica_services_join(replica, worker, record);
    tell_of_record(replica, worker, before, record);
    replica_record_free(before);
    return joined;
}

bool replica_put(struct replica *replica, const Muster__V1__Worker *record)
{
    return put_worker(replica, record, NULL);
}

static bool remove_worker(struct replica *replica, const char *id, uint64_t revision)
{
    struct replica_worker *worker = find_or_add(replica, id);
    if (worker == NULL)
        return false;
    if (worker->record != NULL && worker->record->revision > revision)
        return true; /* it has registered again since */
    if (worker->record != NULL) {
        take_off_roll(replica, worker);
        forget_health(replica, worker);
    }
    clear_tombstone(replica, worker);
    /* Older news of it may still come. */
    bool fine = revision <= replica->revision || put_tombstone(replica, worker, revision);
    forget_if_unknown(replica, worker);
    return fine;
}

bool replica_remove(struct replica *replica, const char *id, uint64_t revision, const char *reason)
{
    set_cause(replica, reason, 0);
    bool fine = remove_worker(replica, id, revision);
    set_cause(replica, NULL, 0);
    return fine;
}

static void apply_status(struct replica *replica, const Muster__V1__WorkerEvent *event)
{
    struct replica_worker *worker = map_get_text(&replica->by_id, event->worker_id);
    if (worker == NULL || worker->record == NULL || worker->record->incarnation != event->incarnation ||
        event->revision < worker->record->revision)
        return;
    replica_record_set_status(worker->record, event);
    changed(replica, worker);
    review_status(replica, worker);
}

/* Removes every worker for which `gone` holds. The map cannot change while it is walked. */
static bool remove_matching(struct replica *replica,
                            bool (*gone)(const struct replica *, const struct replica_worker *),
                            void (*remove)(struct replica *, struct replica_worker *))
{
    struct replica_worker **matches = malloc((replica->by_id.count + 1) * sizeof(struct replica_worker *));
    if (matches == NULL)
        return false;
    size_t count = 0;
    size_t position = 0;
    struct replica_worker *worker;
    while ((worker = map_next(&replica->by_id, &position)) != NULL) {
        if (gone(replica, worker))
            matches[count++] = worker;
    }
    for (size_t i = 0; i < count; i++) {
        remove(replica, matches[i]);
        forget_if_unknown(replica, matches[i]);
    }
    free(matches);
    return true;
}

/* Not mentioned by the snapshot, and not put by ourselves after it. */
static bool left_out_of_snapshot(const struct replica *replica, const struct replica_worker *worker)
{
    return worker->record != NULL && worker->generation != replica->generation &&
           worker->record->revision <= replica->revision;
}

static bool left_out_by_health(const struct replica *replica, const struct replica_worker *worker)
{
    return worker->health_incarnation != 0 && worker->health_generation != replica->health_generation;
}

/* The next length-delimited field of that number, off the front of `rest`, which is nothing behind the last one. */
static struct wire_bytes next_bytes(struct wire_bytes *rest, uint32_t number)
{
    struct wire_field field;
    while (wire_next(rest, &field)) {
        if (field.number == number && field.bytes.data != NULL)
            return field.bytes;
    }
    *rest = (struct wire_bytes){NULL, 0};
    return (struct wire_bytes){NULL, 0};
}

/* The bytes of an event's record; without data when there are none, or several, of which it is merged. */
static struct wire_bytes record_bytes(struct wire_bytes event)
{
    struct wire_bytes record = next_bytes(&event, RECORD_FIELD);
    return next_bytes(&event, RECORD_FIELD).data == NULL ? record : (struct wire_bytes){NULL, 0};
}

/* The workers of the next events will be looked up. */
static void expect(const struct replica *replica, Muster__V1__WorkerEvent *const *events, size_t count)
{
    for (size_t i = 0; i < count && i < EXPECTED_WORKERS; i++)
        map_expect(&replica->by_id, events[i]->worker_id, strlen(events[i]->worker_id));
}

bool replica_apply_registry(struct replica *replica, const Muster__V1__WatchWorkersResponse *message,
                            const struct wire_bytes *wire)
{
    struct wire_bytes events = wire != NULL ? *wire : (struct wire_bytes){NULL, 0};
    bool fine = true;
    if (message->snapshot_begin) {
        replica->generation++;
        replica->in_snapshot = true;
    }
    for (size_t i = 0; i < message->n_events; i++) {
        const Muster__V1__WorkerEvent *event = message->events[i];
        if (i % EXPECTED_WORKERS == 0)
            expect(replica, message->events + i, message->n_events - i);
        const struct wire_bytes record = record_bytes(next_bytes(&events, EVENTS_FIELD));
        set_cause(replica, event->reason, event->at_ms);
        switch (event->type) {
        case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_PUT:
            if (event->worker != NULL)
                fine = put_worker(replica, event->worker, record.data != NULL ? &record : NULL) && fine;
            break;
        case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_STATUS:
            apply_status(replica, event);
            break;
        case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_REMOVE:
            fine = remove_worker(replica, event->worker_id, event->revision) && fine;
            break;
        default:
            break; /* of a later version of the protocol */
        }
    }
    set_cause(replica, NULL, 0);
    if (message->revision > replica->revision || message->snapshot_complete)
        replica->revision = message->revision;
    if (message->snapshot_complete && replica->in_snapshot) {
        replica->in_snapshot = false;
        replica->registry_known = true;
        fine = remove_matching(replica, left_out_of_snapshot, take_off_roll) && fine;
    }
    clear_old_tombstones(replica);
    return fine;
}

void replica_health_begins(struct replica *replica)
{
    replica->health_generation++;
}

/* Whether a report of health is older than what a heartbeat of ours said. */
static bool is_outdated(const struct replica_worker *worker, const Muster__V1__WorkerHealth *health, uint64_t now_ms)
{
    return now_ms < worker->fresh_until_ms && health->last_heartbeat_at_ms < worker->last_heartbeat_at_ms &&
           health->incarnation <= worker->health_incarnation &&
           health->status != MUSTER__V1__WORKER_STATUS__WORKER_STATUS_OFFLINE;
}

static bool set_load(struct replica_worker *worker, const Muster__V1__Load *load)
{
    size_t bytes = muster__v1__load__get_packed_size(load);
    uint8_t *packed = worker->load;
    if (bytes != worker->load_bytes || packed == NULL)
        packed = bytes > UINT32_MAX - 1 ? NULL : realloc(worker->load, bytes + 1);
    if (packed == NULL)
        return false; /* the old one stays */
    worker->load = packed;
    worker->load_bytes = (uint32_t)muster__v1__load__pack(load, packed);
    worker->current_load = load->current_load;
    worker->queue_depth = load->queue_depth;
    return true;
}

/* Without memory it has no reason, which is only for people. */
static void set_reason(struct replica_worker *worker, const char *reason)
{
    if (strcmp(worker->health_reason == NULL ? "" : worker->health_reason, reason) == 0)
        return;
    free(worker->health_reason);
    worker->health_reason = reason[0] == '\0' ? NULL : strdup(reason);
}

static bool apply_worker_health(struct replica *replica, const Muster__V1__WorkerHealth *health, uint64_t now_ms)
{
    if (health->status == MUSTER__V1__WORKER_STATUS__WORKER_STATUS_REMOVED) {
        struct replica_worker *gone = map_get_text(&replica->by_id, health->worker_id);
        if (gone == NULL || gone->health_incarnation > health->incarnation)
            return true;
        if (gone->record != NULL && gone->record->incarnation > health->incarnation) { /* it is back already */
            if (gone->health_incarnation != 0)
                forget_health(replica, gone);
            return true;
        }
        clear_health(replica, gone);
        if (gone->record != NULL) {
            /* The registry is about to say so too; until then it must not look well. Without a reason it was not
             * health that took it off. */
            bool judged = health->reason[0] != '\0';
            gone->health_incarnation = gone->record->incarnation;
            gone->health_status = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_OFFLINE;
            gone->health_status_changed_at_ms = judged ? health->status_changed_at_ms
                                                       : health->last_heartbeat_at_ms + (int64_t)health->silent_ms;
            set_reason(gone, judged ? health->reason : "taken off the roll");
            gone->health_generation = replica->health_generation;
            review_status(replica, gone);
        }
        forget_if_unknown(replica, gone);
        return true;
    }
    struct replica_worker *worker = find_or_add(replica, health->worker_id);
    if (worker == NULL)
        return false;
    worker->health_generation = replica->health_generation;
    if (is_outdated(worker, health, now_ms)) {
        /* Nobody but health knows why, and it may say so once: of the status that stands, that holds. */
        if (health->incarnation == worker->health_incarnation && health->status == worker->health_status) {
            set_reason(worker, health->reason);
            changed(replica, worker);
        }
        return true;
    }
    worker->health_incarnation = health->incarnation == 0 ? 1 : health->incarnation;
    worker->health_status = health->status;
    worker->health_status_changed_at_ms = health->status_changed_at_ms;
    worker->held = health->held;
    set_reason(worker, health->reason);
    worker->last_heartbeat_at_ms = health->last_heartbeat_at_ms;
    worker->last_heard_ms = now_ms > health->silent_ms ? now_ms - health->silent_ms : 0;
    bool fine = health->load == NULL || set_load(worker, health->load);
    changed(replica, worker);
    review_status(replica, worker);
    return fine;
}

/* The workers of the next reports will be looked up, and what is known of them compared. */
static void expect_reports(const struct replica *replica, Muster__V1__WorkerHealth *const *reports, size_t count)
{
    const struct replica_worker *workers[EXPECTED_WORKERS];
    if (count > EXPECTED_WORKERS)
        count = EXPECTED_WORKERS;
    for (size_t i = 0; i < count; i++)
        map_expect(&replica->by_id, reports[i]->worker_id, strlen(reports[i]->worker_id));
    for (size_t i = 0; i < count; i++) {
        workers[i] = map_get_text(&replica->by_id, reports[i]->worker_id);
        if (workers[i] != NULL) {
            __builtin_prefetch(workers[i], 1);
            __builtin_prefetch(&workers[i]->load, 1);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (workers[i] != NULL && workers[i]->record != NULL)
            __builtin_prefetch(workers[i]->record);
    }
}

bool replica_apply_health(struct replica *replica, const Muster__V1__WatchHealthResponse *message, uint64_t now_ms)
{
    bool fine = true;
    for (size_t i = 0; i < message->n_workers; i++) {
        if (i % EXPECTED_WORKERS == 0)
            expect_reports(replica, message->workers + i, message->n_workers - i);
        set_cause(replica, message->workers[i]->reason, 0);
        fine = apply_worker_health(replica, message->workers[i], now_ms) && fine;
    }
    set_cause(replica, NULL, 0);
    if (message->snapshot_complete)
        fine = remove_matching(replica, left_out_by_health, forget_health) && fine;
    return fine;
}

enum replica_verdict replica_judge(const struct replica *replica, const Muster__V1__Heartbeat *heartbeat)
{
    const struct replica_worker *worker = map_get_text(&replica->by_id, heartbeat->worker_id);
    if (worker == NULL)
        return REPLICA_ASK_HEALTH;
    if (worker->record == NULL)
        return worker->removed_at_revision != 0 ? REPLICA_REMOVED : REPLICA_ASK_HEALTH;
    bool stale = heartbeat->incarnation != 0 && heartbeat->incarnation < worker->record->incarnation;
    return stale ? REPLICA_STALE_INCARNATION : REPLICA_ASK_HEALTH;
}

bool replica_heartbeat(struct replica *replica, const Muster__V1__Heartbeat *heartbeat, int64_t received_at_ms,
                       uint64_t now_ms)
{
    struct replica_worker *worker = map_get_text(&replica->by_id, heartbeat->worker_id);
    if (worker == NULL || worker->record == NULL)
        return true; /* the watch has not told of it yet; health's report will come after that */
    if (heartbeat->incarnation != 0 && heartbeat->incarnation != worker->record->incarnation)
        return true;
    worker->health_incarnation = worker->record->incarnation;
    worker->health_generation = replica->health_generation;
    Muster__V1__WorkerStatus said = heartbeat->status == MUSTER__V1__WORKER_STATUS__WORKER_STATUS_UNSPECIFIED
                                        ? MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE
                                        : heartbeat->status;
    if (said != worker->health_status && !worker->held) {
        worker->health_status = said;
        worker->health_status_changed_at_ms = received_at_ms;
        /* In health's words (detector_describe). */
        set_reason(worker, said == MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE ? "" : "the worker says so");
    }
    worker->last_heartbeat_at_ms = received_at_ms;
    worker->last_heard_ms = now_ms;
    worker->fresh_until_ms = now_ms + REPLICA_FRESH_MS;
    bool fine = heartbeat->load == NULL || set_load(worker, heartbeat->load);
    changed(replica, worker);
    review_status(replica, worker);
    return fine;
}

struct replica_worker *replica_find(const struct replica *replica, const char *id)
{
    struct replica_worker *worker = map_get_text(&replica->by_id, id);
    return worker == NULL || worker->record == NULL ? NULL : worker;
}

/* Whether health speaks of this registration, and an operator has not decided otherwise. */
static bool health_decides(const struct replica_worker *worker)
{
    return !worker->record->draining && worker->health_incarnation == worker->record->incarnation &&
           worker->health_status != MUSTER__V1__WORKER_STATUS__WORKER_STATUS_UNSPECIFIED;
}

Muster__V1__WorkerStatus replica_status(const struct replica_worker *worker)
{
    if (worker->record->draining)
        return MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DRAINING;
    return health_decides(worker) ? worker->health_status : worker->record->status;
}

const char *replica_status_reason(const struct replica_worker *worker)
{
    if (health_decides(worker))
        return worker->health_reason == NULL ? "" : worker->health_reason;
    if (worker->record->draining)
        return "drained by an operator";
    return worker->record->status_reason == NULL ? "" : worker->record->status_reason;
}

int64_t replica_status_changed_at_ms(const struct replica_worker *worker)
{
    int64_t at_ms = health_decides(worker) ? worker->health_status_changed_at_ms : 0;
    return at_ms != 0 ? at_ms : worker->record->status_changed_at_ms;
}

bool replica_is_healthy(const struct replica_worker *worker)
{
    Muster__V1__WorkerStatus status = replica_status(worker);
    return status == MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE ||
           status == MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DEGRADED;
}

/* Whether it was heard since it registered. Dates do not tell: a clock may have been set back. */
static bool heard(const struct replica_worker *worker)
{
    return worker->last_heartbeat_at_ms != 0 && worker->health_incarnation == worker->record->incarnation;
}

int64_t replica_last_heard_ms(const struct replica_worker *worker)
{
    return heard(worker) ? worker->last_heartbeat_at_ms : worker->record->registered_at_ms;
}

uint64_t replica_age_ms(const struct replica_worker *worker, uint64_t now_ms, int64_t now_unix_ms)
{
    /* Of a registration health may say nothing before it is heard: then that is what was heard last. */
    if (worker->last_heard_ms != 0 && (worker->health_incarnation == 0 || heard(worker)))
        return now_ms > worker->last_heard_ms ? now_ms - worker->last_heard_ms : 0;
    int64_t since_ms = now_unix_ms - replica_last_heard_ms(worker);
    return since_ms > 0 ? (uint64_t)since_ms : 0;
}

double replica_load(const struct replica_worker *worker)
{
    return worker->current_load;
}
