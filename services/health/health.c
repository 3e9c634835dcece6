/* Life of the core, leases, and the registry's watch; see health.h. */

#include "services/health/health.h"

#include "services/health/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORKER_ID_BYTES_MAX 256

static uint64_t *count_of(struct health *health, uint8_t status)
{
    switch (status) {
    case WORKER_ONLINE:
        return &health->counts.online;
    case WORKER_DEGRADED:
        return &health->counts.degraded;
    case WORKER_DRAINING:
        return &health->counts.draining;
    case WORKER_OFFLINE:
        return &health->counts.offline;
    case WORKER_RECONNECTING:
        return &health->counts.reconnecting;
    default:
        return &health->counts.removed;
    }
}

/* --- Life --- */

static void timer_ended(struct bare_timer *timer, void *argument);

struct health *health_create(const struct health_settings *settings, uint64_t now_ms)
{
    struct health *health = calloc(1, sizeof(*health));
    if (health == NULL)
        return NULL;
    health->memory = slab_create();
    if (health->memory == NULL) {
        free(health);
        return NULL;
    }
    health->settings = *settings;
    health->brake.settings = settings->brake;
    flapping_init(&health->flapping, &settings->flapping);
    timer_wheel_init_bare(&health->wheel, now_ms, timer_ended, health);
    list_init(&health->changes);
    list_init(&health->streams);
    list_init(&health->ready_streams);
    list_init(&health->reports);
    list_init(&health->reports_sent);
    list_init(&health->lookups);
    list_init(&health->lookups_sent);
    list_init(&health->lookups_later);
    list_init(&health->buried);
    return health;
}

void health_destroy(struct health *health)
{
    if (health == NULL)
        return;
    health_lookup_destroy_all(health);
    while (!list_is_empty(&health->streams))
        health_stream_destroy(LIST_OBJECT(health->streams.next, struct health_stream, open));
    for (size_t i = 0; i < HEALTH_WATCHERS_MAX; i++) {
        if (health->watchers[i] != NULL)
            health_watcher_close(health, health->watchers[i]);
    }
    health_change_reap(health);
    while (!list_is_empty(&health->changes)) {
        struct health_worker *worker = LIST_OBJECT(health->changes.next, struct health_worker, change);
        list_remove(&worker->change);
        bare_timer_stop(&health->wheel, &worker->lease);
        health_worker_free(worker);
    }
    roster_free(&health->workers);
    flapping_free(&health->flapping);
    free(health->batch.pointers);
    free(health->batch.messages);
    free(health->batch.fields);
    free(health->batch.texts);
    free(health->scratch);
    slab_destroy(health->memory);
    free(health);
}

void health_set_history(struct health *health, struct history *history)
{
    health->history = history;
}

bool health_batch_reserve(struct health *health, size_t count)
{
    struct health_batch *batch = &health->batch;
    if (count <= batch->capacity)
        return true;
    /* The largest of the messages that are handed out in numbers. */
    size_t message_bytes = sizeof(Muster__V1__WorkerHealth);
    if (message_bytes < sizeof(Muster__V1__LivenessChange))
        message_bytes = sizeof(Muster__V1__LivenessChange);
    if (message_bytes < sizeof(Muster__V1__WorkerCommand))
        message_bytes = sizeof(Muster__V1__WorkerCommand);
    void **pointers = realloc(batch->pointers, count * sizeof(*pointers));
    if (pointers != NULL)
        batch->pointers = pointers;
    void *messages = realloc(batch->messages, count * message_bytes);
    if (messages != NULL)
        batch->messages = messages;
    ProtobufCMessageUnknownField *fields = realloc(batch->fields, count * sizeof(*fields));
    if (fields != NULL)
        batch->fields = fields;
    void *texts = realloc(batch->texts, count * DETECTOR_TEXT_BYTES);
    if (texts != NULL)
        batch->texts = texts;
    if (pointers == NULL || messages == NULL || fields == NULL || texts == NULL)
        return false;
    batch->capacity = count;
    return true;
}

/* --- Leases --- */

static void timer_ended(struct bare_timer *timer, void *argument)
{
    struct health *health = argument;
    if (timer == &health->lookup_retry) {
        health_lookup_retry(health);
        return;
    }
    /* One that was left by an earlier call is judged as of now: it may have been heard since. */
    uint64_t now_ms = health->leases_left ? health->advanced_to_ms : health->wheel.now_ms;
    health_judge(health, LIST_OBJECT(timer, struct health_worker, lease), now_ms);
}

/* Nothing is heard of it. */
static bool is_silent(uint8_t reason)
{
    return reason == DETECTOR_LATE || reason == DETECTOR_STREAM_BROKEN || reason == DETECTOR_NOT_HEARD_YET ||
           reason == DETECTOR_BRAKED;
}

/* One more, or one less, for each count that a worker with that status and reason is in. */
static void count(struct health *health, const struct health_worker *worker, uint64_t by)
{
    *count_of(health, worker->status) += by;
    health->counts.silent += is_silent(worker->reason) ? by : 0;
    health->counts.braked += worker->reason == DETECTOR_BRAKED ? by : 0;
    health->counts.held += worker->reason == DETECTOR_HELD ? by : 0;
}

#define ONE_LESS UINT64_MAX

static void set_verdict(struct health *health, struct health_worker *worker, const struct detector_verdict *verdict,
                        uint64_t now_ms)
{
    if (worker->status != WORKER_STATUS_UNKNOWN)
        count(health, worker, ONE_LESS);
    if (worker->status != verdict->status)
        worker->status_since_ms = now_ms;
    worker->status = (uint8_t)verdict->status;
    worker->reason = (uint8_t)verdict->reason;
    count(health, worker, 1);
}

/* Who is given up waits while the brake is on. */
static void hold_back(struct health *health, const struct health_worker *worker, struct detector_verdict *verdict,
                      uint64_t now_ms)
{
    const struct health_counts *counts = &health->counts;
    if (worker->status == WORKER_REMOVED ||
        brake_allows(&health->brake, counts->silent, counts->workers - counts->removed, now_ms))
        return;
    *verdict = (struct detector_verdict){WORKER_OFFLINE, DETECTOR_BRAKED, brake_ask_again_ms(worker->id, now_ms)};
}

/* A loss that many share is no sign of a worker that comes and goes. */
static void note_loss(struct health *health, const struct health_worker *worker, uint64_t now_ms)
{
    const struct health_counts *counts = &health->counts;
    if (!brake_is_on(&health->brake, counts->silent, counts->workers - counts->removed))
        flapping_lost(&health->flapping, worker->id, now_ms);
}

void health_judge(struct health *health, struct health_worker *worker, uint64_t now_ms)
{
    struct detector_lease lease = health_worker_lease(health, worker);
    struct detector_verdict verdict = detector_judge(&health->settings.detector, &lease, now_ms);
    if (verdict.status == WORKER_REMOVED)
        hold_back(health, worker, &verdict, now_ms);

    /* A timer that comes too early finds that out by itself; only one that would come too
     * late is moved. */
    if (verdict.check_at_ms == UINT64_MAX)
        bare_timer_stop(&health->wheel, &worker->lease);
    else if (!bare_timer_active(&worker->lease) || verdict.check_at_ms < worker->lease.expires_at_ms)
        bare_timer_start(&health->wheel, &worker->lease, verdict.check_at_ms);

    if (worker->status == verdict.status && worker->reason == verdict.reason)
        return;
    bool was_routable = worker_status_routable((Muster__V1__WorkerStatus)worker->status);
    if (worker->reason == DETECTOR_HELD)
        worker->held = false;
    bool was_lost = worker->reason == DETECTOR_STREAM_BROKEN || worker->reason == DETECTOR_BRAKED;
    set_verdict(health, worker, &verdict, now_ms);
    if (worker->reason == DETECTOR_STREAM_BROKEN || (worker->reason == DETECTOR_SILENT && !was_lost))
        note_loss(health, worker, now_ms);
    if (health->history != NULL)
        history_state(health->history, worker->history_place, verdict.status);
    if (was_routable != worker_status_routable(verdict.status))
        health->urgent = true;
    health_report_add(health, worker);
    health_change_note(health, worker, false);
}

void health_returned(struct health *health, struct health_worker *worker, uint64_t now_ms)
{
    worker->held = flapping_returned(&health->flapping, worker->id, now_ms).until_ms > now_ms;
}

void health_describe(const struct health *health, const struct health_worker *worker, uint64_t now_ms,
                     char text[DETECTOR_TEXT_BYTES])
{
    detector_describe(&health->settings.detector, (enum detector_reason)worker->reason, now_ms - worker->last_heard_ms,
                      text);
    struct flapping_hold hold =
        worker->held ? flapping_hold_of(&health->flapping, worker->id) : (struct flapping_hold){0};
    if (worker->reason == DETECTOR_HELD && hold.until_ms != 0)
        snprintf(text, DETECTOR_TEXT_BYTES,
                 "held out of routing for %" PRIu64 " s: it was lost %" PRIu32 " times lately",
                 (hold.hold_ms + 999) / 1000, hold.losses);
}

void health_warning(const struct health *health, char text[HEALTH_WARNING_BYTES])
{
    const struct health_counts *counts = &health->counts;
    uint64_t all = counts->workers - counts->removed;
    double rate = brake_rate(health->brake.fleet);
    text[0] = '\0';
    if (counts->braked > 0)
        snprintf(text, HEALTH_WARNING_BYTES,
                 "%" PRIu64 " of %" PRIu64 " workers fell silent at once; evictions are slowed down to %.*f a second, "
                 "%" PRIu64 " wait; look at the network between them and here",
                 counts->silent, all, rate < 10 ? 2 : 0, rate, counts->braked);
}

void health_advance(struct health *health, uint64_t now_ms)
{
    size_t reports = health->report_count;
    health_change_reap(health);
    if (now_ms < health->leases_rest_until_ms)
        return;
    health->advanced_to_ms = now_ms;
    timer_wheel_advance_some(&health->wheel, now_ms, HEALTH_LEASES_AT_ONCE);
    health->leases_left = timer_wheel_next_ms(&health->wheel) <= now_ms;
    /* Leases of workers that are well cost little, and need no rest. */
    if (health->leases_left && health->report_count != reports)
        health->leases_rest_until_ms = now_ms + HEALTH_LEASES_REST_MS;
}

uint64_t health_next_ms(const struct health *health)
{
    uint64_t next_ms = timer_wheel_next_ms(&health->wheel);
    return next_ms > health->leases_rest_until_ms ? next_ms : health->leases_rest_until_ms;
}

/* --- The roll --- */

struct health_worker *health_find(const struct health *health, const char *worker_id)
{
    return roster_find(&health->workers, worker_id);
}

static struct health_worker *add(struct health *health, const Muster__V1__Worker *record)
{
    struct health_worker *worker = health_worker_create(health, record->spec->worker_id, record->incarnation);
    if (worker == NULL)
        return NULL;
    if (!roster_add(&health->workers, worker)) {
        health_worker_free(worker);
        return NULL;
    }
    list_append(&health->changes, &worker->change);
    health->counts.workers++;
    return worker;
}

/* The state of a record that was found, as far as it can be believed. */
static uint8_t found_base(Muster__V1__WorkerStatus status)
{
    switch (status) {
    case WORKER_DEGRADED:
    case WORKER_DRAINING:
    case WORKER_OFFLINE:
    case WORKER_RECONNECTING:
        return (uint8_t)status;
    default:
        return WORKER_ONLINE;
    }
}

/* A registration that health hears of: a lease begins. */
static void begin_lease(struct health *health, struct health_worker *worker, const Muster__V1__Worker *record,
                        bool fresh, uint64_t now_ms)
{
    bool first = worker->status == WORKER_STATUS_UNKNOWN;
    health_stream_detach(worker);
    if (fresh)
        health_returned(health, worker, now_ms);
    worker->incarnation = record->incarnation;
    worker->last_heard_ms = now_ms;
    worker->stream_broken = false;
    worker->heard = fresh;
    worker->beaten = false;
    worker->base = fresh ? WORKER_ONLINE : found_base(record->status);
    bare_timer_stop(&health->wheel, &worker->lease);
    /* Whether it believes that it is to drain, left over from an earlier registration maybe,
     * shows in its first heartbeat. */
    worker->told_draining = false;
    worker->drain_unconfirmed = true;
    free(worker->untold);
    worker->untold = NULL;
    if (!first) {
        health_report_remove(health, worker);
        health_judge(health, worker, now_ms);
        health_report_remove(health, worker); /* the registry knows what it just told us, */
        if (worker->reason == DETECTOR_CONTESTED)
            health_report_add(health, worker); /* but not this */
        return;
    }
    struct detector_lease lease = health_worker_lease(health, worker);
    struct detector_verdict verdict = detector_judge(&health->settings.detector, &lease, now_ms);
    set_verdict(health, worker, &verdict, now_ms);
    if (health->history != NULL) {
        worker->history_place = history_admit(health->history, worker->id, verdict.status);
        history_state(health->history, worker->history_place, verdict.status);
    }
    bare_timer_start(&health->wheel, &worker->lease, verdict.check_at_ms);
}

/* Of a worker that has just registered the registry's record says all that there is to say, until it
 * is heard or judged to be otherwise. */
static bool says_more(const struct health_worker *worker, const Muster__V1__Worker *record)
{
    return !worker->heard || worker->reason != DETECTOR_WELL || worker->status != WORKER_ONLINE ||
           record->status != WORKER_ONLINE || record->status_reason[0] != 0;
}

/* The registry says how a worker is that health knows as well. One that was heard is as health
 * says, and the registry is told so (its echo of an earlier report ends here too, with at most
 * one report more). One that was not is as the registry says: when it is heard at last, that
 * must be a change to be reported. */
static void compare_status(struct health *health, struct health_worker *worker, Muster__V1__WorkerStatus status,
                           uint64_t now_ms)
{
    if (status == (Muster__V1__WorkerStatus)worker->status || worker->status == WORKER_REMOVED)
        return;
    if (worker->heard) {
        health_report_add(health, worker);
        if (!worker->beaten) {
            /* Watchers may have nothing but the record (see says_more), which is wrong now. */
            health_change_note(health, worker, false);
            health->urgent = true;
        }
        return;
    }
    worker->base = found_base(status);
    worker->stream_broken = false;
    health_judge(health, worker, now_ms);
    if (status == (Muster__V1__WorkerStatus)worker->status)
        health_report_remove(health, worker);
}

struct health_worker *health_put(struct health *health, const Muster__V1__Worker *record, bool fresh, uint64_t now_ms)
{
    struct health_worker *worker = health_find(health, record->spec->worker_id);
    bool first = worker == NULL;
    bool registered = first || record->incarnation > worker->incarnation;
    if (first)
        worker = add(health, record);
    if (worker == NULL)
        return NULL;
    worker->generation = health->generation;
    if (record->incarnation < worker->incarnation)
        return worker;

    uint64_t hash = health_name_list_hash(record->assigned_services, record->n_assigned_services);
    bool told = registered && (fresh || health->synchronised);
    if (registered)
        begin_lease(health, worker, record, fresh, now_ms);
    if ((registered || hash != worker->assignment_hash || worker->assignment_doubtful) && !told) {
        struct name_list *names = health_name_list_create(record->assigned_services, record->n_assigned_services);
        if (names == NULL)
            return NULL;
        free(worker->untold);
        worker->untold = names;
    }
    worker->assignment_hash = hash;
    worker->assignment_doubtful = false;
    worker->draining = record->draining;
    if (first && !says_more(worker, record)) {
        health_change_pass(health, worker);
    } else if (registered) {
        health_change_note(health, worker, true);
        health->urgent = health->urgent || first;
    } else if (worker->own != NULL) {
        health_stream_tell(health, worker->own->stream, worker, 0, 0);
    }
    return worker;
}

void health_drop(struct health *health, struct health_worker *worker)
{
    roster_remove(&health->workers, worker);
    health_report_remove(health, worker);
    health_stream_detach(worker);
    bare_timer_stop(&health->wheel, &worker->lease);
    count(health, worker, ONE_LESS);
    health->counts.workers--;
    if (health->history != NULL)
        history_gone(health->history, worker->history_place);
    if (worker_status_routable((Muster__V1__WorkerStatus)worker->status))
        health->urgent = true;
    health_change_bury(health, worker);
}

/* --- The registry's watch --- */

static bool apply_event(struct health *health, const Muster__V1__WorkerEvent *event, uint64_t now_ms)
{
    struct health_worker *worker;
    switch (event->type) {
    case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_PUT:
        /* A registry that sends nonsense is passed over: nothing that we hold depends on it. */
        if (event->worker == NULL || event->worker->spec == NULL || event->worker->spec->worker_id[0] == 0 ||
            strlen(event->worker->spec->worker_id) > WORKER_ID_BYTES_MAX)
            return true;
        /* Registering is a sign of life; being imported from a backup is none. */
        worker = health_put(health, event->worker, !health->in_snapshot && event->worker->status != WORKER_RECONNECTING,
                            now_ms);
        if (worker == NULL)
            return false;
        if (event->worker->incarnation == worker->incarnation)
            compare_status(health, worker, event->worker->status, now_ms);
        return true;
    case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_STATUS:
        worker = health_find(health, event->worker_id);
        if (worker != NULL && event->incarnation == worker->incarnation)
            compare_status(health, worker, event->status, now_ms);
        return true;
    case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_REMOVE:
        worker = health_find(health, event->worker_id);
        if (worker != NULL && event->incarnation >= worker->incarnation)
            health_drop(health, worker);
        return true;
    default:
        return true;
    }
}

/* What the finished snapshot did not name is gone. */
static void sweep(struct health *health)
{
    struct health_worker *worker = health_change_next(health, &health->changes);
    while (worker != NULL) {
        struct health_worker *next = health_change_next(health, &worker->change);
        if (!worker->gone && worker->generation != health->generation) {
            /* A tombstone moves to the end of the list, where it is passed over. */
            health_drop(health, worker);
        }
        worker = next;
    }
}

/* So many workers are expected at a time: what the caches can fetch at once, and a little more. */
#define EXPECTED_WORKERS 16

static void expect(const struct health *health, Muster__V1__WorkerEvent *const *events, size_t count)
{
    for (size_t i = 0; i < count && i < EXPECTED_WORKERS; i++)
        roster_expect(&health->workers, events[i]->worker_id);
}

bool health_apply_watch(struct health *health, const Muster__V1__WatchWorkersResponse *message, uint64_t now_ms)
{
    health_change_reap(health);
    health_set_secret(health, message->token_secret.data, message->token_secret.len);
    if (message->snapshot_begin) {
        health->generation++;
        health->in_snapshot = true;
    }
    for (size_t i = 0; i < message->n_events; i++) {
        if (i % EXPECTED_WORKERS == 0)
            expect(health, message->events + i, message->n_events - i);
        if (!apply_event(health, message->events[i], now_ms)) {
            health->revision = 0;
            return false;
        }
    }
    if (message->snapshot_complete && health->in_snapshot) {
        sweep(health);
        health->in_snapshot = false;
        health->urgent = health->urgent || !health->synchronised;
        health->synchronised = true;
    }
    if (!health->in_snapshot)
        health->revision = message->revision;
    return true;
}

uint64_t health_watch_begin(struct health *health)
{
    /* A snapshot that broke off is void: the registry starts another one, or goes on after a
     * revision that was complete. */
    health->in_snapshot = false;
    return health->revision;
}

bool health_is_synchronised(const struct health *health)
{
    return health->synchronised;
}

/* --- Knowing --- */

bool health_urgent_changes(struct health *health)
{
    bool urgent = health->urgent;
    health->urgent = false;
    return urgent;
}

struct health_counts health_count(const struct health *health)
{
    return health->counts;
}

Muster__V1__WorkerStatus health_worker_status(const struct health *health, const char *worker_id)
{
    const struct health_worker *worker = health_find(health, worker_id);
    return worker == NULL ? WORKER_STATUS_UNKNOWN : (Muster__V1__WorkerStatus)worker->status;
}

bool health_worker_facts(const struct health *health, const char *worker_id, uint64_t now_ms, int64_t unix_ms,
                         struct health_facts *facts)
{
    const struct health_worker *worker = health_find(health, worker_id);
    if (worker == NULL)
        return false;
    uint64_t silent_ms = now_ms - worker->last_heard_ms;
    *facts =
        (struct health_facts){.status = (Muster__V1__WorkerStatus)worker->status, .incarnation = worker->incarnation};
    health_describe(health, worker, now_ms, facts->reason);
    if (worker->heard)
        facts->last_heartbeat_at_ms = unix_ms - (int64_t)silent_ms;
    if (worker->load == NULL)
        return true;
    facts->load = worker->load;
    facts->load_bytes = worker->load_bytes;
    while ((*facts->load & 0x80) != 0) { /* the length before it */
        facts->load++;
        facts->load_bytes--;
    }
    facts->load++;
    facts->load_bytes--;
    return true;
}
