/* The roll; see registry.h. */

#include "services/registry/registry.h"

#include "services/registry/index.h"
#include "services/registry/spec.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_EVENTS 128
#define MESSAGE_BYTES (256 * 1024)

/* What is remembered of a worker that has left, until the ring has forgotten it. */
struct registry_departure {
    uint64_t incarnation;
    uint64_t row;
    int64_t unix_ms;
    size_t id_bytes;
    const char *reason; /* inside `id`, behind the id */
    char id[];
};

/* One change. A PUT or STATUS points to the record it happened to, as long as it is the last
 * of its kind there: record->put_revision or record->status_revision says so. When a later one
 * overtakes it, or the record goes, the event becomes NONE. A REMOVE owns its departure.
 * There is one for each worker: the kind lies in the lowest bits of the pointer to its subject,
 * which is aligned to 8 bytes. All zeroes are a NONE. */
enum event_kind { EVENT_NONE, EVENT_PUT, EVENT_STATUS, EVENT_REMOVE };
struct event {
    uintptr_t bits;
};
#define EVENT_KIND_BITS ((uintptr_t)3)

static struct event event_make(enum event_kind kind, void *subject)
{
    return (struct event){(uintptr_t)subject | (uintptr_t)kind};
}

static enum event_kind event_kind(const struct event *event)
{
    return (enum event_kind)(event->bits & EVENT_KIND_BITS);
}

static struct record *event_record(const struct event *event)
{
    return (struct record *)(event->bits & ~EVENT_KIND_BITS);
}

static struct registry_departure *event_departure(const struct event *event)
{
    return (struct registry_departure *)(event->bits & ~EVENT_KIND_BITS);
}

/* A message for a watcher while it is put together. */
struct message {
    Muster__V1__WatchWorkersResponse response;
    Muster__V1__WorkerEvent *pointers[MESSAGE_EVENTS];
    Muster__V1__WorkerEvent events[MESSAGE_EVENTS];
    struct record_message workers[MESSAGE_EVENTS];
    size_t bytes; /* about */
};

struct registry {
    struct index index;
    struct slab *records;    /* where they lie */
    uint64_t revision;       /* the last one given */
    uint64_t first_revision; /* the one that this process started from */
    uint64_t last_row;       /* the highest row number given */
    struct registry_meta meta;
    uint64_t forgotten; /* the last revision that was lost before the ring grew */
    size_t ring_events;
    struct event *ring; /* the event of a revision lies at revision % ring_events */
    struct message message;
};

const char *registry_result_text(enum registry_result result)
{
    switch (result) {
    case REGISTRY_OK:
        return "done";
    case REGISTRY_NOT_FOUND:
        return "no such worker is on the roll; register it first";
    case REGISTRY_STALE:
        return "the worker has registered again since; look it up for its present incarnation";
    case REGISTRY_OF_ANOTHER_KEY:
        return "a worker of this id is registered with another key; use another id, or wait until that one has gone";
    case REGISTRY_PRESENT:
        return "is on the roll already";
    case REGISTRY_INVALID:
        return "not a legal value";
    case REGISTRY_NO_REVISION:
        return "the store does not take writes, and without it no more changes can be numbered; try again";
    case REGISTRY_OUT_OF_MEMORY:
        return "out of memory; try again";
    }
    return "unknown result";
}

struct registry *registry_create(size_t ring_events)
{
    struct registry *registry = calloc(1, sizeof(*registry));
    if (registry == NULL)
        return NULL;
    registry->ring_events = ring_events;
    registry->ring = calloc(ring_events, sizeof(*registry->ring));
    registry->records = slab_create();
    if (registry->ring == NULL || registry->records == NULL) {
        free(registry->ring);
        slab_destroy(registry->records);
        free(registry);
        return NULL;
    }
    return registry;
}

void registry_destroy(struct registry *registry)
{
    if (registry == NULL)
        return;
    struct index_position position = index_position_after(&registry->index, "", 0);
    struct record *record;
    while ((record = index_next(&registry->index, &position)) != NULL)
        record_free(record);
    index_free(&registry->index);
    for (size_t i = 0; i < registry->ring_events; i++)
        if (event_kind(&registry->ring[i]) == EVENT_REMOVE)
            free(event_departure(&registry->ring[i]));
    free(registry->ring);
    slab_destroy(registry->records);
    free(registry);
}

/* --- Start --- */

enum registry_result registry_restore(struct registry *registry, uint64_t row, const char *id, size_t id_bytes,
                                      const void *value, size_t value_bytes, int64_t unix_ms)
{
    struct record *record = record_from_value(value, value_bytes, registry->records);
    if (record == NULL)
        return REGISTRY_INVALID;
    enum registry_result result = REGISTRY_OK;
    struct record *old = NULL;
    if (record->id_bytes != id_bytes || memcmp(record->id, id, id_bytes) != 0)
        result = REGISTRY_INVALID;
    else if (index_find(&registry->index, id, id_bytes) != NULL)
        result = REGISTRY_PRESENT;
    else if (!record_set_status(record, MUSTER__V1__WORKER_STATUS__WORKER_STATUS_RECONNECTING, NULL, unix_ms) ||
             !index_put(&registry->index, record, &old))
        result = REGISTRY_OUT_OF_MEMORY;
    if (result != REGISTRY_OK) {
        record_free(record);
        return result;
    }
    record->row = row;
    if (row > registry->last_row)
        registry->last_row = row;
    return REGISTRY_OK;
}

static uint64_t revisions_left(const struct registry *registry)
{
    uint64_t ceiling = registry->meta.revision_ceiling;
    return ceiling > registry->revision ? ceiling - registry->revision : 0;
}

bool registry_needs_ceiling(const struct registry *registry)
{
    return revisions_left(registry) < REGISTRY_REVISION_BLOCK / 2;
}

void registry_meta_stored(struct registry *registry, const struct registry_meta *meta)
{
    registry->meta = *meta;
}

/* --- Events --- */

/* The oldest revision from which a watcher can go on: all events after it are in the ring. */
static uint64_t oldest_revision(const struct registry *registry)
{
    uint64_t given = registry->revision - registry->first_revision;
    uint64_t oldest =
        given > registry->ring_events ? registry->revision - registry->ring_events : registry->first_revision;
    return oldest > registry->forgotten ? oldest : registry->forgotten;
}

/* Makes the ring as large as the roll, so that a change of every worker at once (all of them
 * are heard again after a restart, all of them fall silent) does not send every watcher back to
 * a snapshot. Without memory for that the ring stays as it is, which is slower and not wrong. */
static void grow_ring(struct registry *registry)
{
    size_t events = registry->ring_events;
    while (events < registry->index.count)
        events *= 2;
    struct event *ring = events > registry->ring_events ? calloc(events, sizeof(*ring)) : NULL;
    if (ring == NULL)
        return;
    registry->forgotten = oldest_revision(registry);
    for (uint64_t revision = registry->forgotten + 1; revision <= registry->revision; revision++)
        ring[revision % events] = registry->ring[revision % registry->ring_events];
    free(registry->ring);
    registry->ring = ring;
    registry->ring_events = events;
}

/* Takes the PUT or STATUS of that revision back, unless the ring has forgotten it (or the
 * revision is 0: there is none). */
static void forget_event(struct registry *registry, uint64_t revision)
{
    if (revision > oldest_revision(registry))
        registry->ring[revision % registry->ring_events] = event_make(EVENT_NONE, NULL);
}

static void add_event(struct registry *registry, enum event_kind kind, void *subject)
{
    struct event *event = &registry->ring[++registry->revision % registry->ring_events];
    if (event_kind(event) == EVENT_REMOVE)
        free(event_departure(event));
    *event = event_make(kind, subject);
}

/* Frees a record that is in the index no more. */
static void let_go(struct registry *registry, struct record *record)
{
    forget_event(registry, record->put_revision);
    forget_event(registry, record->status_revision);
    record_free(record);
}

void registry_restored(struct registry *registry, const struct registry_meta *stored)
{
    registry->meta = *stored;
    /* Never 0, which is how a watcher says that it has seen nothing. */
    registry->revision = stored->revision_ceiling + 1;
    registry->first_revision = registry->revision;
    struct index_position position = index_position_after(&registry->index, "", 0);
    struct record *record;
    while ((record = index_next(&registry->index, &position)) != NULL) {
        record->put_revision = registry->revision;
        if (record->row == 0)
            record->row = ++registry->last_row;
    }
    grow_ring(registry);
}

/* --- Durable changes --- */

/* A change that puts `record`, which is NULL when memory ran out. */
static enum registry_result change_to(struct record *record, struct registry_change *change)
{
    *change = (struct registry_change){.record = record};
    return record != NULL ? REGISTRY_OK : REGISTRY_OUT_OF_MEMORY;
}

uint64_t registry_next_incarnation(const struct registry *registry, const struct record *present)
{
    return (present != NULL ? present->incarnation : registry->meta.incarnation_floor) + 1;
}

/* Whether somebody with this key may register what has this record (NULL: none). */
static enum registry_result check_key(const struct record *present, const char *registered_by)
{
    if (present == NULL || registered_by[0] == '\0')
        return REGISTRY_OK;
    Muster__V1__Worker *worker = record_unpack(present);
    if (worker == NULL)
        return REGISTRY_OUT_OF_MEMORY;
    const char *owner = worker->spec->registered_by;
    bool other = owner[0] != '\0' && strcmp(owner, registered_by) != 0;
    muster__v1__worker__free_unpacked(worker, NULL);
    return other ? REGISTRY_OF_ANOTHER_KEY : REGISTRY_OK;
}

enum registry_result registry_check_key(const struct registry *registry, const char *worker_id,
                                        const char *registered_by)
{
    return registered_by[0] == '\0' ? REGISTRY_OK : check_key(registry_find(registry, worker_id), registered_by);
}

enum registry_result registry_prepare_registration(struct registry *registry, const Muster__V1__WorkerSpec *spec,
                                                   const struct wire_bytes *wire, char *const *assigned,
                                                   size_t assigned_count, int64_t unix_ms,
                                                   struct registry_change *change)
{
    const struct record *present = registry_find(registry, spec->worker_id);
    /* Once more: since it was asked for somebody else may have come. */
    enum registry_result key = check_key(present, spec->registered_by);
    if (key != REGISTRY_OK)
        return key;
    Muster__V1__Worker worker = MUSTER__V1__WORKER__INIT;
    worker.spec = (Muster__V1__WorkerSpec *)spec;
    worker.type = spec_type(spec);
    worker.n_assigned_services = assigned_count;
    worker.assigned_services = (char **)assigned;
    worker.incarnation = registry_next_incarnation(registry, present);
    worker.registered_at_ms = unix_ms;
    worker.draining = present != NULL && present->draining;
    Muster__V1__Worker *before = present != NULL && present->swapping ? record_unpack(present) : NULL;
    if (before != NULL && record_swap_fits(before->swap, assigned, assigned_count))
        worker.swap = before->swap;

    struct record *record = NULL;
    if (before != NULL || present == NULL || !present->swapping) /* else memory ran out */
        record = wire != NULL ? record_create_from_wire(&worker, wire, registry->records)
                              : record_create(&worker, registry->records);
    enum registry_result result = change_to(record, change);
    muster__v1__worker__free_unpacked(before, NULL);
    if (result != REGISTRY_OK)
        return result;
    change->record->row = present != NULL ? present->row : ++registry->last_row;
    /* Registering is a sign of life. Without a reason this needs no memory. */
    record_set_status(change->record, MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE, NULL, unix_ms);
    return REGISTRY_OK;
}

enum registry_result registry_prepare_import(struct registry *registry, const struct record *imported, int64_t unix_ms,
                                             struct registry_change *change)
{
    if (registry_find(registry, imported->id) != NULL)
        return REGISTRY_PRESENT;
    enum registry_result result = change_to(record_copy(imported, registry->records), change);
    if (result != REGISTRY_OK)
        return result;
    change->record->row = ++registry->last_row;
    if (change->record->incarnation <= registry->meta.incarnation_floor)
        change->record->incarnation = registry->meta.incarnation_floor + 1;
    if (change->record->registered_at_ms == 0)
        change->record->registered_at_ms = unix_ms;
    /* Without a reason this needs no memory. */
    record_set_status(change->record, MUSTER__V1__WORKER_STATUS__WORKER_STATUS_RECONNECTING, NULL, unix_ms);
    return REGISTRY_OK;
}

enum registry_result registry_prepare_removal(const struct registry *registry, const char *worker_id,
                                              uint64_t incarnation, const char *reason, int64_t unix_ms,
                                              struct registry_change *change)
{
    const struct record *record = registry_find(registry, worker_id);
    if (record == NULL)
        return REGISTRY_NOT_FOUND;
    if (incarnation != 0 && incarnation != record->incarnation)
        return REGISTRY_STALE;
    size_t reason_bytes = record_reason_bytes(reason);
    struct registry_departure *departure = malloc(sizeof(*departure) + record->id_bytes + 1 + reason_bytes + 1);
    if (departure == NULL)
        return REGISTRY_OUT_OF_MEMORY;
    *departure = (struct registry_departure){
        .incarnation = record->incarnation,
        .row = record->row,
        .unix_ms = unix_ms,
        .id_bytes = record->id_bytes,
        .reason = departure->id + record->id_bytes + 1,
    };
    memcpy(departure->id, record->id, record->id_bytes + 1u);
    memcpy(departure->id + record->id_bytes + 1, reason, reason_bytes);
    departure->id[record->id_bytes + 1 + reason_bytes] = '\0';
    *change = (struct registry_change){.departure = departure};
    return REGISTRY_OK;
}

enum registry_result registry_prepare_draining(const struct registry *registry, const char *worker_id, bool draining,
                                               struct registry_change *change)
{
    const struct record *record = registry_find(registry, worker_id);
    if (record == NULL)
        return REGISTRY_NOT_FOUND;
    enum registry_result result = change_to(record_copy(record, registry->records), change);
    if (result != REGISTRY_OK)
        return result;
    change->keeps_status = true;
    change->record->draining = draining;
    return REGISTRY_OK;
}

enum registry_result registry_prepare_assignment(const struct registry *registry, const char *worker_id,
                                                 uint64_t incarnation, char *const *assigned, size_t assigned_count,
                                                 const Muster__V1__ServiceSwap *swap, struct registry_change *change)
{
    const struct record *record = registry_find(registry, worker_id);
    if (record == NULL)
        return REGISTRY_NOT_FOUND;
    if (record->incarnation != incarnation)
        return REGISTRY_STALE;
    if (swap != NULL && !record_swap_fits(swap, assigned, assigned_count))
        return REGISTRY_INVALID;
    enum registry_result result =
        change_to(record_reassign(record, assigned, assigned_count, swap, registry->records), change);
    change->keeps_status = true;
    return result;
}

uint64_t registry_change_row(const struct registry_change *change)
{
    return change->record != NULL ? change->record->row : change->departure->row;
}

const char *registry_change_id(const struct registry_change *change, size_t *id_bytes)
{
    if (change->record != NULL) {
        *id_bytes = change->record->id_bytes;
        return change->record->id;
    }
    *id_bytes = change->departure->id_bytes;
    return change->departure->id;
}

void registry_change_value(const struct registry_change *change, struct buffer *value)
{
    if (change->record != NULL)
        record_to_value(change->record, value);
}

size_t registry_change_value_bytes_max(const struct registry_change *change)
{
    return change->record != NULL ? record_value_bytes_max(change->record) : 0;
}

struct registry_meta registry_meta_after(const struct registry *registry, const struct registry_change *changes,
                                         size_t count)
{
    struct registry_meta meta = registry->meta;
    if (registry_needs_ceiling(registry))
        meta.revision_ceiling = registry->revision + REGISTRY_REVISION_BLOCK;
    for (size_t i = 0; i < count; i++)
        if (changes[i].record == NULL && changes[i].departure->incarnation > meta.incarnation_floor)
            meta.incarnation_floor = changes[i].departure->incarnation;
    return meta;
}

static void apply_removal(struct registry *registry, struct registry_change *change)
{
    struct registry_departure *departure = change->departure;
    struct record *record = index_remove(&registry->index, departure->id, departure->id_bytes);
    assert(record != NULL);
    let_go(registry, record);
    add_event(registry, EVENT_REMOVE, departure);
}

static bool apply_put(struct registry *registry, struct registry_change *change)
{
    struct record *record = change->record;
    struct record *old;
    if (!index_put(&registry->index, record, &old))
        return false;
    if (old != NULL) {
        if (change->keeps_status) {
            record->status = old->status;
            record->status_changed_at_ms = old->status_changed_at_ms;
            record->status_reason = old->status_reason;
            old->status_reason = NULL;
        }
        let_go(registry, old);
    }
    if (registry->index.count > registry->ring_events)
        grow_ring(registry);
    add_event(registry, EVENT_PUT, record);
    record->put_revision = registry->revision;
    record->status_revision = 0;
    return true;
}

uint64_t registry_apply(struct registry *registry, struct registry_change *change)
{
    assert(revisions_left(registry) > 0);
    if (change->record == NULL)
        apply_removal(registry, change);
    else if (!apply_put(registry, change))
        return 0;
    return registry->revision;
}

void registry_discard(struct registry_change *change)
{
    record_free(change->record);
    free(change->departure);
    *change = (struct registry_change){.record = NULL};
}

/* --- Soft changes --- */

enum registry_result registry_set_status(struct registry *registry, const char *worker_id, uint64_t incarnation,
                                         Muster__V1__WorkerStatus status, const char *reason, int64_t unix_ms)
{
    if (status <= MUSTER__V1__WORKER_STATUS__WORKER_STATUS_UNSPECIFIED ||
        status >= MUSTER__V1__WORKER_STATUS__WORKER_STATUS_REMOVED)
        return REGISTRY_INVALID;
    struct record *record = index_find(&registry->index, worker_id, strlen(worker_id));
    if (record == NULL)
        return REGISTRY_NOT_FOUND;
    if (record->incarnation != incarnation)
        return REGISTRY_STALE;
    const char *present = record->status_reason != NULL ? record->status_reason : "";
    bool same_status = record->status == (uint8_t)status;
    if (same_status && strcmp(present, reason) == 0)
        return REGISTRY_OK;
    if (revisions_left(registry) <= REGISTRY_BATCH_MAX)
        return REGISTRY_NO_REVISION;
    if (!record_set_status(record, status, reason, same_status ? record->status_changed_at_ms : unix_ms))
        return REGISTRY_OUT_OF_MEMORY;
    forget_event(registry, record->status_revision);
    add_event(registry, EVENT_STATUS, record);
    record->status_revision = registry->revision;
    return REGISTRY_OK;
}

/* --- Reading --- */

size_t registry_count(const struct registry *registry)
{
    return registry->index.count;
}

uint64_t registry_revision(const struct registry *registry)
{
    return registry->revision;
}

const struct record *registry_find(const struct registry *registry, const char *worker_id)
{
    return index_find(&registry->index, worker_id, strlen(worker_id));
}

size_t registry_list(const struct registry *registry, const char *after_id, const struct record **records, size_t limit)
{
    struct index_position position = index_position_after(&registry->index, after_id, strlen(after_id));
    size_t count = 0;
    while (count < limit && (records[count] = index_next(&registry->index, &position)) != NULL)
        count++;
    return count;
}

/* --- Watching --- */

void registry_cursor_start(const struct registry *registry, struct registry_cursor *cursor, uint64_t after_revision)
{
    *cursor = (struct registry_cursor){.revision = after_revision};
    /* A revision of the future comes from a roll that was since put back from a backup. */
    cursor->in_snapshot = after_revision < oldest_revision(registry) || after_revision > registry->revision;
}

bool registry_cursor_behind(const struct registry *registry, const struct registry_cursor *cursor)
{
    return cursor->in_snapshot || cursor->revision < registry->revision;
}

static void message_reset(struct message *message)
{
    muster__v1__watch_workers_response__init(&message->response);
    message->response.events = message->pointers;
    message->bytes = 0;
}

static bool message_is_full(const struct message *message)
{
    return message->response.n_events == MESSAGE_EVENTS || message->bytes >= MESSAGE_BYTES;
}

static Muster__V1__WorkerEvent *message_add(struct message *message, Muster__V1__WorkerEventType type)
{
    size_t number = message->response.n_events++;
    Muster__V1__WorkerEvent *event = &message->events[number];
    message->pointers[number] = event;
    muster__v1__worker_event__init(event);
    event->type = type;
    return event;
}

static Muster__V1__WorkerEvent *message_add_put(struct message *message, struct record *record)
{
    struct record_message *worker = &message->workers[message->response.n_events];
    Muster__V1__WorkerEvent *event = message_add(message, MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_PUT);
    record_message_init(worker, record);
    event->worker_id = record->id;
    event->incarnation = record->incarnation;
    event->worker = &worker->worker;
    message->bytes += record->body_bytes + 64u;
    return event;
}

static void message_add_status(struct message *message, struct record *record)
{
    Muster__V1__WorkerEvent *event = message_add(message, MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_STATUS);
    event->worker_id = record->id;
    event->incarnation = record->incarnation;
    event->revision = record->status_revision;
    event->status = (Muster__V1__WorkerStatus)record->status;
    event->reason = record->status_reason != NULL ? record->status_reason : (char *)protobuf_c_empty_string;
    event->at_ms = record->status_changed_at_ms;
}

static void message_add_removal(struct message *message, struct registry_departure *departure, uint64_t revision)
{
    Muster__V1__WorkerEvent *event = message_add(message, MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_REMOVE);
    event->worker_id = departure->id;
    event->incarnation = departure->incarnation;
    event->revision = revision;
    event->status = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_REMOVED;
    event->reason = (char *)departure->reason;
    event->at_ms = departure->unix_ms;
}

static const Muster__V1__WatchWorkersResponse *next_of_snapshot(struct registry *registry,
                                                                struct registry_cursor *cursor)
{
    struct message *message = &registry->message;
    /* Changes during the snapshot are sent after it. If the ring has lost some of them, what was
     * sent may be wrong: start again. */
    if (!cursor->begun || cursor->revision < oldest_revision(registry)) {
        cursor->begun = true;
        cursor->revision = registry->revision;
        cursor->after_id_bytes = 0;
        message->response.snapshot_begin = true;
    }
    struct index_position position = index_position_after(&registry->index, cursor->after_id, cursor->after_id_bytes);
    struct record *record = NULL;
    const struct record *last = NULL;
    while (!message_is_full(message) && (record = index_next(&registry->index, &position)) != NULL) {
        message_add_put(message, record);
        last = record;
    }
    if (record == NULL) {
        message->response.snapshot_complete = true;
        message->response.revision = cursor->revision;
        cursor->in_snapshot = false;
        return &message->response;
    }
    memcpy(cursor->after_id, last->id, last->id_bytes);
    cursor->after_id_bytes = last->id_bytes;
    return &message->response;
}

static const Muster__V1__WatchWorkersResponse *next_of_ring(struct registry *registry, struct registry_cursor *cursor)
{
    struct message *message = &registry->message;
    while (cursor->revision < registry->revision && !message_is_full(message)) {
        uint64_t revision = ++cursor->revision;
        const struct event *event = &registry->ring[revision % registry->ring_events];
        switch (event_kind(event)) {
        case EVENT_NONE:
            break;
        case EVENT_PUT:
            message_add_put(message, event_record(event))->revision = revision;
            break;
        case EVENT_STATUS:
            message_add_status(message, event_record(event));
            break;
        case EVENT_REMOVE:
            message_add_removal(message, event_departure(event), revision);
            break;
        }
    }
    message->response.revision = cursor->revision;
    /* All that was left had been overtaken by what the watcher knows already. */
    return message->response.n_events > 0 ? &message->response : NULL;
}

const Muster__V1__WatchWorkersResponse *registry_cursor_next(struct registry *registry, struct registry_cursor *cursor)
{
    if (!registry_cursor_behind(registry, cursor))
        return NULL;
    message_reset(&registry->message);
    if (!cursor->in_snapshot && cursor->revision < oldest_revision(registry)) {
        cursor->in_snapshot = true;
        cursor->begun = false;
    }
    return cursor->in_snapshot ? next_of_snapshot(registry, cursor) : next_of_ring(registry, cursor);
}
