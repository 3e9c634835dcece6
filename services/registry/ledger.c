/* Group commit; see ledger.h. */

#include "services/registry/ledger.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MAX_ENTRIES 8192
#define BATCH_MAX_BYTES (32 * 1024 * 1024)
#define RETRY_MS 1000

_Static_assert(BATCH_MAX_ENTRIES <= REGISTRY_BATCH_MAX, "the roll keeps revisions back for so many");

struct queue {
    struct ledger_entry *first, **end;
};

struct ledger {
    struct rpc_loop *loop;
    struct registry *registry;
    struct writer *writer;
    struct ledger_events events;
    struct rpc_turn_hook hook;
    struct timer retry;
    struct queue waiting;
    size_t waiting_count;
    bool committing;
    bool retrying;      /* the timer has expired: write the numbers */
    struct queue batch; /* being written */
    struct store_change *changes;
    struct buffer values; /* of the changes */
    struct store_batch store_batch;
    bool failing;
    struct store_error failure;
};

static void queue_clear(struct queue *queue)
{
    queue->first = NULL;
    queue->end = &queue->first;
}

static void queue_append(struct queue *queue, struct ledger_entry *entry)
{
    entry->next = NULL;
    *queue->end = entry;
    queue->end = &entry->next;
}

static struct ledger_entry *queue_take(struct queue *queue)
{
    struct ledger_entry *entry = queue->first;
    if (entry != NULL) {
        queue->first = entry->next;
        if (queue->first == NULL)
            queue->end = &queue->first;
    }
    return entry;
}

static void answer(struct ledger_entry *entry, const struct ledger_outcome *outcome)
{
    entry->done(entry, outcome);
}

static void refuse(struct ledger_entry *entry, enum registry_result refusal)
{
    answer(entry, &(struct ledger_outcome){
                      .result = LEDGER_REFUSED, .refusal = refusal, .text = registry_result_text(refusal)});
}

/* --- After a commit --- */

/* Health, watchers and the log are told when the store begins to fail, and when it is back. */
static void note_result(struct ledger *ledger, enum store_result result, const struct store_error *error)
{
    bool was_failing = ledger->failing;
    /* That one change could be written does not say that the one that failed could be: the store answers for that only
     * when it is asked with the numbers alone (see store.h). The timer does so. */
    if (was_failing && result == STORE_OK && ledger->store_batch.count > 0)
        return;
    ledger->failing = result != STORE_OK;
    if (ledger->failing) {
        ledger->failure = *error;
        rpc_loop_timer_start(ledger->loop, &ledger->retry, RETRY_MS, ledger->retry.expired, ledger);
    } else {
        rpc_loop_timer_stop(ledger->loop, &ledger->retry);
    }
    if (ledger->failing != was_failing) {
        if (ledger->failing)
            log_error("the store fails; reads go on", LOG_TEXT("error", error->text));
        else
            log_info("the store takes writes again");
        ledger->events.store_failed(ledger->events.argument, ledger->failing ? ledger->failure.text : NULL);
    }
}

static void apply_entry(struct ledger *ledger, struct ledger_entry *entry)
{
    struct record *record = entry->change.record;
    uint64_t revision = registry_apply(ledger->registry, &entry->change);
    if (revision == 0) {
        /* The disk has it and memory does not: what is said from here on would be wrong. */
        log_error("out of memory after a commit; ending, to start again from the disk");
        abort();
    }
    answer(entry, &(struct ledger_outcome){.result = LEDGER_DONE, .text = "", .revision = revision, .record = record});
}

static void discard_entry(struct ledger *ledger, struct ledger_entry *entry)
{
    registry_discard(&entry->change);
    answer(entry, &(struct ledger_outcome){.result = LEDGER_STORE_FAILED, .text = ledger->failure.text});
}

static void free_changes(struct ledger *ledger)
{
    free(ledger->changes);
    ledger->changes = NULL;
    buffer_free(&ledger->values);
}

static void committed(void *argument, enum store_result result, const struct store_error *error)
{
    struct ledger *ledger = argument;
    struct ledger_entry *entry;
    free_changes(ledger);
    ledger->committing = false;
    note_result(ledger, result, error);
    if (result == STORE_OK) {
        struct registry_meta meta = {ledger->store_batch.meta.revision_ceiling,
                                     ledger->store_batch.meta.incarnation_floor};
        registry_meta_stored(ledger->registry, &meta);
    }
    while ((entry = queue_take(&ledger->batch)) != NULL) {
        if (result == STORE_OK)
            apply_entry(ledger, entry);
        else
            discard_entry(ledger, entry);
    }
    if (result == STORE_OK && ledger->store_batch.count > 0)
        ledger->events.changed(ledger->events.argument);
    if (ledger->waiting.first != NULL)
        rpc_loop_at_end_of_turn(ledger->loop, &ledger->hook);
}

/* --- Making a batch --- */

static enum registry_result prepare(struct ledger *ledger, struct ledger_entry *entry, int64_t unix_ms)
{
    switch (entry->kind) {
    case LEDGER_REGISTRATION:
        return registry_prepare_registration(ledger->registry, entry->wanted.registration.spec,
                                             entry->wanted.registration.wire, entry->wanted.registration.assigned,
                                             entry->wanted.registration.assigned_count, unix_ms, &entry->change);
    case LEDGER_IMPORT:
        return registry_prepare_import(ledger->registry, entry->wanted.imported, unix_ms, &entry->change);
    case LEDGER_REMOVAL:
        return registry_prepare_removal(ledger->registry, entry->worker_id, entry->wanted.removal.incarnation,
                                        entry->wanted.removal.reason, unix_ms, &entry->change);
    case LEDGER_DRAINING:
        return registry_prepare_draining(ledger->registry, entry->worker_id, entry->wanted.draining, &entry->change);
    case LEDGER_ASSIGNMENT:
        return registry_prepare_assignment(ledger->registry, entry->worker_id, entry->wanted.assignment.incarnation,
                                           entry->wanted.assignment.assigned, entry->wanted.assignment.assigned_count,
                                           entry->wanted.assignment.swap, &entry->change);
    }
    return REGISTRY_INVALID;
}

/* Prepares an entry and adds it to the batch, unless there is a reason to refuse it. */
static enum registry_result add_to_batch(struct ledger *ledger, struct ledger_entry *entry, int64_t unix_ms)
{
    enum registry_result result = prepare(ledger, entry, unix_ms);
    if (result != REGISTRY_OK)
        return result;
    struct store_change *change = &ledger->changes[ledger->store_batch.count++];
    change->row = registry_change_row(&entry->change);
    change->id = registry_change_id(&entry->change, &change->id_bytes);
    queue_append(&ledger->batch, entry);
    return REGISTRY_OK;
}

/* Writes the values of the batch's changes, which take at most so many bytes, one after the other. Without memory for
 * them nothing is left of the batch. */
static void write_values(struct ledger *ledger, size_t bytes_max)
{
    struct buffer *values = &ledger->values;
    struct ledger_entry *entry;
    if (!buffer_reserve(values, bytes_max)) {
        buffer_free(values);
        ledger->store_batch.count = 0;
        while ((entry = queue_take(&ledger->batch)) != NULL) {
            registry_discard(&entry->change);
            refuse(entry, REGISTRY_OUT_OF_MEMORY);
        }
        return;
    }
    struct store_change *change = ledger->changes;
    for (entry = ledger->batch.first; entry != NULL; entry = entry->next, change++) {
        size_t before = values->bytes;
        registry_change_value(&entry->change, values);
        change->value_bytes = values->bytes - before;
        change->value = change->value_bytes > 0 ? values->data + before : NULL;
    }
}

/* Moves what waits into the batch, as far as it goes; there is room for so many changes. */
static void gather(struct ledger *ledger, size_t room)
{
    struct queue later;
    struct map ids = MAP_INIT;
    struct ledger_entry *entry;
    int64_t unix_ms = clock_unix_ms();
    size_t bytes = 0;
    queue_clear(&later);
    while (ledger->store_batch.count < room && bytes < BATCH_MAX_BYTES &&
           (entry = queue_take(&ledger->waiting)) != NULL) {
        if (map_add_text(&ids, entry->worker_id, entry) != entry) {
            queue_append(&later, entry);
            continue;
        }
        ledger->waiting_count--;
        enum registry_result result = add_to_batch(ledger, entry, unix_ms);
        if (result == REGISTRY_OK) {
            bytes += registry_change_value_bytes_max(&entry->change);
        } else {
            /* Its answer frees it, and it is in nobody's way. */
            map_remove_text(&ids, entry->worker_id);
            refuse(entry, result);
        }
    }
    map_free(&ids);
    /* Those that were passed over came before those that are left. */
    if (later.first != NULL) {
        *later.end = ledger->waiting.first;
        if (ledger->waiting.first == NULL)
            ledger->waiting.end = later.end;
        ledger->waiting.first = later.first;
    }
    write_values(ledger, bytes);
}

static void commit(void *argument)
{
    struct ledger *ledger = argument;
    if (ledger->committing)
        return;
    size_t room = ledger->waiting_count < BATCH_MAX_ENTRIES ? ledger->waiting_count : BATCH_MAX_ENTRIES;
    ledger->changes = calloc(room + 1, sizeof(*ledger->changes));
    if (ledger->changes == NULL)
        abort();
    ledger->store_batch = (struct store_batch){.changes = ledger->changes};
    gather(ledger, ledger->retrying ? 0 : room); /* what waits comes right behind */
    if (ledger->store_batch.count == 0 && !ledger->retrying && !registry_needs_ceiling(ledger->registry)) {
        free_changes(ledger);
        /* Only what there was no memory to gather. */
        if (ledger->waiting.first != NULL)
            rpc_loop_at_end_of_turn(ledger->loop, &ledger->hook);
        return;
    }
    ledger->retrying = false;

    struct registry_meta meta = registry_meta_after(ledger->registry, NULL, 0);
    for (const struct ledger_entry *entry = ledger->batch.first; entry != NULL; entry = entry->next) {
        struct registry_meta after = registry_meta_after(ledger->registry, &entry->change, 1);
        if (after.incarnation_floor > meta.incarnation_floor)
            meta.incarnation_floor = after.incarnation_floor;
    }
    ledger->store_batch.meta = (struct store_meta){meta.revision_ceiling, meta.incarnation_floor};
    ledger->committing = true;
    writer_commit(ledger->writer, &ledger->store_batch, committed, ledger);
}

static void retry(struct timer *timer, void *argument)
{
    struct ledger *ledger = argument;
    (void)timer;
    ledger->retrying = true;
    rpc_loop_at_end_of_turn(ledger->loop, &ledger->hook);
}

/* --- Its life --- */

struct ledger *ledger_create(struct rpc_loop *loop, struct registry *registry, struct writer *writer,
                             const struct ledger_events *events)
{
    struct ledger *ledger = calloc(1, sizeof(*ledger));
    if (ledger == NULL)
        abort();
    ledger->loop = loop;
    ledger->registry = registry;
    ledger->writer = writer;
    ledger->events = *events;
    ledger->hook.function = commit;
    ledger->hook.argument = ledger;
    ledger->retry.expired = retry;
    queue_clear(&ledger->waiting);
    queue_clear(&ledger->batch);
    return ledger;
}

void ledger_destroy(struct ledger *ledger)
{
    if (ledger == NULL)
        return;
    rpc_loop_cancel_end_of_turn(ledger->loop, &ledger->hook);
    rpc_loop_timer_stop(ledger->loop, &ledger->retry);
    writer_destroy(ledger->writer);
    snprintf(ledger->failure.text, sizeof(ledger->failure.text), "the registry is stopping; try again");
    struct ledger_entry *entry;
    while ((entry = queue_take(&ledger->batch)) != NULL)
        discard_entry(ledger, entry);
    while ((entry = queue_take(&ledger->waiting)) != NULL)
        answer(entry, &(struct ledger_outcome){.result = LEDGER_STORE_FAILED, .text = ledger->failure.text});
    free_changes(ledger);
    free(ledger);
}

bool ledger_submit(struct ledger *ledger, struct ledger_entry *entry)
{
    if (ledger->waiting_count >= LEDGER_QUEUE_MAX)
        return false;
    entry->change = (struct registry_change){.record = NULL};
    queue_append(&ledger->waiting, entry);
    ledger->waiting_count++;
    rpc_loop_at_end_of_turn(ledger->loop, &ledger->hook);
    return true;
}

void ledger_check_ceiling(struct ledger *ledger)
{
    if (registry_needs_ceiling(ledger->registry) && !ledger->failing)
        rpc_loop_at_end_of_turn(ledger->loop, &ledger->hook);
}
