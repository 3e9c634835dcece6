/* The assigner's replica of the roll: who is known, as the registry's watch tells. See state.h. */

#include "services/assigner/state.h"

#include "common/arena.h"

#include <string.h>

/* --- Who is known --- */

static void append_promise(struct assigner *assigner, struct member *promise)
{
    promise->next = NULL;
    promise->previous = assigner->last_promise;
    *(assigner->last_promise != NULL ? &assigner->last_promise->next : &assigner->first_promise) = promise;
    assigner->last_promise = promise;
    assigner->promise_count++;
}

static void unlink_promise(struct assigner *assigner, struct member *promise)
{
    *(promise->previous != NULL ? &promise->previous->next : &assigner->first_promise) = promise->next;
    *(promise->next != NULL ? &promise->next->previous : &assigner->last_promise) = promise->previous;
    assigner->promise_count--;
}

static struct member *first_of(struct known known)
{
    return known.record != NULL ? known.record : known.promise;
}

/* The map leads to what is first now; its key is that one's id. */
static bool lead_to(struct assigner *assigner, struct member *before, struct member *after)
{
    if (after == before)
        return true;
    if (after != NULL)
        return map_put_text(&assigner->roll, member_id(after), after, NULL);
    map_remove_text(&assigner->roll, member_id(before));
    assigner->review.left_some = true; /* others may have moved in the map */
    return true;
}

bool assigner_know(struct assigner *assigner, struct known before, struct known after)
{
    if (!lead_to(assigner, first_of(before), first_of(after)))
        return false;
    if (before.promise != NULL && before.promise != after.promise)
        unlink_promise(assigner, before.promise);
    if (after.promise != NULL && after.promise != before.promise) {
        after.promise->is_promise = true;
        append_promise(assigner, after.promise);
    }
    if (after.record != NULL) {
        after.record->is_promise = false;
        after.record->promise = after.promise;
    }
    assigner->record_count += (size_t)(after.record != NULL) - (size_t)(before.record != NULL);
    if (before.record != after.record)
        member_free(before.record);
    if (before.promise != after.promise && before.promise != after.record)
        member_free(before.promise);
    return true;
}

struct member *assigner_next_record(const struct assigner *assigner, size_t *position)
{
    struct member *found;
    while ((found = map_next(&assigner->roll, position)) != NULL && found->is_promise)
        ;
    return found;
}

/* The worker is gone. */
static void remove_record(struct assigner *assigner, struct known before, struct member *promise)
{
    const struct known after = {NULL, promise};
    assigner_count(assigner, before, OUT);
    if (before.record != NULL)
        (void)swaps_note(assigner, member_id(before.record), NULL); /* takes no memory */
    (void)assigner_know(assigner, before, after);                   /* nor does that */
    assigner_count(assigner, after, IN);
}

/* --- What the registry tells --- */

static bool is_known_type(int type)
{
    return type > 0 && type < TYPES;
}

/* The texts of its record, with what is not in one piece in the arena; false when memory runs out. */
static bool texts_of(const Muster__V1__Worker *worker, struct arena *arena, struct member_texts *texts)
{
    const Muster__V1__WorkerSpec *spec = worker->spec;
    char **announced = arena_take(arena, spec->n_services * sizeof(*announced));
    for (size_t i = 0; announced != NULL && i < spec->n_services; i++)
        announced[i] = spec->services[i]->name;
    *texts = (struct member_texts){
        .id = spec->worker_id,
        .assigned = {worker->assigned_services, worker->n_assigned_services, NULL},
        .announced = {announced, spec->n_services, NULL},
        .location = spec->location,
        .limited = spec->services_limited,
        .permitted = {spec->permitted_services, spec->n_permitted_services, NULL},
    };
    return announced != NULL;
}

static void describe(struct member *record, const Muster__V1__Worker *worker, uint32_t generation)
{
    record->incarnation = worker->incarnation;
    record->type = (uint8_t)worker->type;
    record->status = (uint8_t)worker->status;
    record->draining = worker->draining;
    record->generation = generation;
    record->swap_from = record->swap_to = NAME_NONE;
    if (worker->swap != NULL)
        member_set_swap(record, worker->swap->from, worker->swap->to);
}

/* Whether the registry has put on the roll what was promised, as nearly always: the promise becomes the record. */
static bool came_true(const struct member *promise, const Muster__V1__Worker *worker, const struct member_texts *texts)
{
    return promise != NULL && promise->incarnation == worker->incarnation && member_has_texts(promise, texts);
}

/* `record` is what the registry has put under the id, or the promise that it is like. False when memory runs out. */
static bool put_record(struct assigner *assigner, struct known before, struct member *record,
                       const Muster__V1__Worker *worker)
{
    bool confirmed = before.promise == NULL || worker->incarnation >= before.promise->incarnation;
    const struct known after = {record, confirmed ? NULL : before.promise};
    assigner_count(assigner, before, OUT);
    describe(record, worker, assigner->generation);
    if (before.record != NULL && before.record->incarnation == record->incarnation)
        condition_carry(record, before.record);
    if (!swaps_note(assigner, member_id(record), record) || !assigner_know(assigner, before, after)) {
        assigner_count(assigner, before, IN);
        return false;
    }
    assigner_count(assigner, after, IN);
    adapt_note(assigner, record);
    rules_note(assigner, record);
    return true;
}

static bool apply_worker(struct assigner *assigner, const Muster__V1__Worker *worker, struct arena *arena)
{
    const struct known before = assigner_known(assigner, worker->spec->worker_id);
    struct member_texts texts;
    if (!texts_of(worker, arena, &texts))
        return false;
    if (came_true(before.promise, worker, &texts))
        return put_record(assigner, before, before.promise, worker);
    struct member *record = member_create(assigner->slab, assigner->catalog, &texts);
    if (record != NULL && put_record(assigner, before, record, worker))
        return true;
    member_free(record);
    return false;
}

static bool apply_put(struct assigner *assigner, const Muster__V1__Worker *worker)
{
    /* A record that makes no sense is not worth a restart of the watch: it counts for nothing. */
    if (worker == NULL || worker->spec == NULL || worker->spec->worker_id[0] == '\0' ||
        !is_known_type((int)worker->type))
        return true;
    _Alignas(max_align_t) char scratch[SCRATCH_BYTES];
    struct arena arena;
    arena_init(&arena, scratch, sizeof scratch);
    bool applied = apply_worker(assigner, worker, &arena);
    arena_free(&arena);
    return applied;
}

static void apply_status(struct assigner *assigner, const Muster__V1__WorkerEvent *event)
{
    const struct known known = assigner_known(assigner, event->worker_id);
    if (known.record == NULL || known.record->incarnation != event->incarnation)
        return;
    assigner_count(assigner, known, OUT);
    known.record->status = (uint8_t)event->status;
    assigner_count(assigner, known, IN);
    adapt_note(assigner, known.record);
    rules_note(assigner, known.record);
}

static void apply_remove(struct assigner *assigner, const Muster__V1__WorkerEvent *event)
{
    const struct known before = assigner_known(assigner, event->worker_id);
    bool confirmed = before.promise != NULL && event->incarnation >= before.promise->incarnation;
    remove_record(assigner, before, confirmed ? NULL : before.promise);
}

static void remove_unmentioned(struct assigner *assigner)
{
    struct member *gone = NULL, *record;
    size_t position = 0;
    while ((record = assigner_next_record(assigner, &position)) != NULL) {
        if (record->generation != assigner->generation) {
            record->next_of_gone = gone;
            gone = record;
        }
    }
    while ((record = gone) != NULL) {
        gone = record->next_of_gone;
        remove_record(assigner, known_of(record), record->promise);
    }
}

static bool apply_event(struct assigner *assigner, const Muster__V1__WorkerEvent *event)
{
    switch (event->type) {
    case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_PUT:
        return apply_put(assigner, event->worker);
    case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_STATUS:
        apply_status(assigner, event);
        return true;
    case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_REMOVE:
        apply_remove(assigner, event);
        return true;
    default: /* of a newer registry */
        return true;
    }
}

bool assigner_apply(struct assigner *assigner, const Muster__V1__WatchWorkersResponse *message)
{
    if (message->snapshot_begin) {
        assigner->generation++;
        assigner->in_snapshot = true;
    }
    for (size_t i = 0; i < message->n_events; i++) {
        if (!apply_event(assigner, message->events[i])) {
            assigner->revision = 0;
            return false;
        }
    }
    if (message->snapshot_complete && assigner->in_snapshot) {
        assigner->in_snapshot = false;
        assigner->synchronised = true;
        remove_unmentioned(assigner);
    }
    if (message->revision != 0)
        assigner->revision = message->revision;
    return true;
}

bool assigner_is_synchronised(const struct assigner *assigner)
{
    return assigner->synchronised;
}

uint64_t assigner_revision(const struct assigner *assigner)
{
    return assigner->in_snapshot ? 0 : assigner->revision;
}

size_t assigner_worker_count(const struct assigner *assigner)
{
    return assigner->record_count;
}

size_t assigner_promise_count(const struct assigner *assigner)
{
    return assigner->promise_count;
}

void assigner_expect(const struct assigner *assigner, const char *worker_id)
{
    map_expect(&assigner->roll, worker_id, strlen(worker_id));
}
