/* ImportWorkers; see import.h. */

#include "services/registry/import.h"

#include "services/registry/handlers.h"
#include "services/registry/spec.h"

#include <stdlib.h>
#include <string.h>

/* One worker of a chunk. */
struct import_entry {
    struct ledger_entry entry; /* first: an entry is its import */
    struct chunk *chunk;
    struct record *record; /* NULL: it was not legal */
    char *worker_id;       /* of one that was skipped */
    char *reason;          /* why; NULL: it was imported */
};

struct chunk {
    struct import *import;
    struct chunk *next;
    size_t open; /* entries whose end is not known, and 1 while the chunk is being read */
    size_t count;
    struct import_entry entries[];
};

/* A call, and its chunks in the order in which they came. */
struct import {
    struct handlers *handlers;
    struct rpc_call *call; /* NULL: it has ended */
    struct chunk *first, **end;
    size_t chunk_count;
    bool half_closed;
};

/* --- Answers --- */

static void free_chunk(struct chunk *chunk)
{
    for (size_t i = 0; i < chunk->count; i++) {
        record_free(chunk->entries[i].record);
        free(chunk->entries[i].worker_id);
        free(chunk->entries[i].reason);
    }
    free(chunk);
}

static void fail(struct import *import, enum rpc_status status, const char *text)
{
    if (import->call != NULL)
        rpc_call_finish(import->call, status, "%s", text);
}

static void fail_memory(struct import *import)
{
    fail(import, RPC_RESOURCE_EXHAUSTED, "out of memory; import again, what is on the roll already is passed over");
}

/* Puts what was skipped into the response; false when memory runs out. */
static bool list_skipped(const struct chunk *chunk, Muster__V1__ImportWorkersResponse *response)
{
    size_t count = 0;
    for (size_t i = 0; i < chunk->count; i++)
        count += chunk->entries[i].reason != NULL;
    Muster__V1__SkippedWorker *skipped = calloc(count + 1, sizeof(*skipped));
    response->skipped = calloc(count + 1, sizeof(Muster__V1__SkippedWorker *));
    if (skipped == NULL || response->skipped == NULL) {
        free(skipped);
        free(response->skipped);
        return false;
    }
    /* The first pointer is that of the array, whatever it holds. */
    response->skipped[0] = skipped;
    for (size_t i = 0; i < chunk->count; i++) {
        if (chunk->entries[i].reason == NULL)
            continue;
        response->skipped[response->n_skipped++] = skipped;
        muster__v1__skipped_worker__init(skipped);
        skipped->number = (uint32_t)i;
        skipped->worker_id = chunk->entries[i].worker_id;
        skipped->reason = chunk->entries[i].reason;
        skipped++;
    }
    return true;
}

static void answer(struct import *import, const struct chunk *chunk)
{
    Muster__V1__ImportWorkersResponse response = MUSTER__V1__IMPORT_WORKERS_RESPONSE__INIT;
    if (import->call == NULL)
        return;
    if (!list_skipped(chunk, &response)) {
        fail_memory(import);
        return;
    }
    response.imported = chunk->count - response.n_skipped;
    response.revision = registry_revision(import->handlers->registry);
    /* Not taken: the call is finished already, or over. */
    (void)rpc_call_send(import->call, &response.base);
    free(response.skipped[0]);
    free(response.skipped);
}

/* Answers the chunks that are through, in their order; ends the import after its last. */
static void settle(struct import *import)
{
    struct chunk *chunk;
    while ((chunk = import->first) != NULL && chunk->open == 0) {
        import->first = chunk->next;
        if (import->first == NULL)
            import->end = &import->first;
        import->chunk_count--;
        answer(import, chunk);
        free_chunk(chunk);
    }
    if (import->call == NULL) {
        if (import->first == NULL)
            free(import);
    } else if (import->half_closed && import->first == NULL) {
        rpc_call_finish(import->call, RPC_OK, "%s", "");
    } else if (import->chunk_count < IMPORT_CHUNKS_MAX && rpc_call_writable(import->call)) {
        rpc_call_resume(import->call);
    }
}

/* --- Storing --- */

static void skip(struct import_entry *entry, const char *worker_id, const char *reason)
{
    entry->worker_id = strdup(worker_id);
    entry->reason = strdup(reason);
    if (entry->worker_id == NULL || entry->reason == NULL)
        fail_memory(entry->chunk->import);
}

static void step(struct chunk *chunk)
{
    if (--chunk->open == 0)
        settle(chunk->import);
}

static void stored(struct ledger_entry *done, const struct ledger_outcome *outcome)
{
    struct import_entry *entry = (struct import_entry *)done;
    struct chunk *chunk = entry->chunk;
    if (outcome->result == LEDGER_STORE_FAILED)
        fail(chunk->import, RPC_UNAVAILABLE, outcome->text);
    else if (outcome->result == LEDGER_REFUSED && outcome->refusal == REGISTRY_PRESENT)
        skip(entry, entry->record->id, outcome->text);
    else if (outcome->result == LEDGER_REFUSED)
        fail(chunk->import, RPC_RESOURCE_EXHAUSTED, outcome->text);
    record_free(entry->record);
    entry->record = NULL;
    step(chunk);
}

/* Checks and packs a worker of a message. NULL: skipped with a reason, or out of memory. */
static struct record *pack(struct import_entry *entry, const Muster__V1__Worker *worker)
{
    char error[SPEC_ERROR_BYTES], no_id[SPEC_ERROR_BYTES];
    if (!spec_check_import(worker, error)) {
        /* An id that is not legal might be no text at all. */
        bool named = worker->spec != NULL && spec_check_id(worker->spec->worker_id, "worker_id", no_id);
        skip(entry, named ? worker->spec->worker_id : "", error);
        return NULL;
    }
    /* The message lies in the call's own memory and is forgotten after this callback: its texts
     * may be shortened in place. */
    (void)spec_normalise(worker->spec);
    Muster__V1__Worker kept = *worker;
    if (kept.type == MUSTER__V1__WORKER_TYPE__WORKER_TYPE_UNSPECIFIED)
        kept.type = spec_type(worker->spec);
    struct record *record = record_create(&kept, NULL);
    if (record == NULL)
        fail_memory(entry->chunk->import);
    return record;
}

static void take(struct import_entry *entry, const Muster__V1__Worker *worker)
{
    struct import *import = entry->chunk->import;
    entry->record = pack(entry, worker);
    if (entry->record == NULL)
        return;
    entry->entry.kind = LEDGER_IMPORT;
    entry->entry.worker_id = entry->record->id;
    entry->entry.wanted.imported = entry->record;
    entry->entry.done = stored;
    if (ledger_submit(import->handlers->ledger, &entry->entry))
        entry->chunk->open++;
    else
        fail(import, RPC_RESOURCE_EXHAUSTED, "too many changes wait for the disk; import again");
}

/* --- The call --- */

static void begin(struct rpc_call *call)
{
    struct import *import = calloc(1, sizeof(*import));
    if (import == NULL) {
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory; try again");
        return;
    }
    import->handlers = rpc_call_context(call);
    import->call = call;
    import->end = &import->first;
    rpc_call_set_user(call, import);
}

static void message(struct rpc_call *call, const void *packed)
{
    const Muster__V1__ImportWorkersRequest *request = packed;
    struct import *import = rpc_call_user(call);
    if (import == NULL)
        return;
    if (request->n_workers > IMPORT_CHUNK_WORKERS_MAX) {
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "workers: has %zu entries; send at most %d in a message",
                        request->n_workers, IMPORT_CHUNK_WORKERS_MAX);
        return;
    }
    struct chunk *chunk = calloc(1, sizeof(*chunk) + request->n_workers * sizeof(chunk->entries[0]));
    if (chunk == NULL) {
        fail_memory(import);
        return;
    }
    chunk->import = import;
    chunk->count = request->n_workers;
    chunk->open = 1;
    *import->end = chunk;
    import->end = &chunk->next;
    if (++import->chunk_count == IMPORT_CHUNKS_MAX || !rpc_call_writable(call))
        rpc_call_pause(call);
    for (size_t i = 0; i < request->n_workers; i++) {
        chunk->entries[i].chunk = chunk;
        take(&chunk->entries[i], request->workers[i]);
    }
    step(chunk);
}

static void half_closed(struct rpc_call *call)
{
    struct import *import = rpc_call_user(call);
    if (import == NULL)
        return;
    import->half_closed = true;
    settle(import);
}

static void writable(struct rpc_call *call)
{
    struct import *import = rpc_call_user(call);
    if (import != NULL)
        settle(import);
}

static void ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    struct import *import = rpc_call_user(call);
    (void)status;
    (void)text;
    if (import == NULL)
        return;
    import->call = NULL;
    settle(import);
}

const struct rpc_events import_events = {
    .started = begin, .message = message, .half_closed = half_closed, .writable = writable, .ended = ended};
