/* Import and export on the backend's side; see import.h and pieces.h. */

#include <stdio.h>
#include <string.h>

#include "common/json/write.h"
#include "gateway/backend.h"
#include "gateway/front.h"
#include "gateway/import.h"
#include "gateway/pieces.h"
#include "gateway/worker_json.h"

/* A chunk is one transaction of the registry's; a busy disk may take its time. */
#define CHUNK_TIMEOUT_MS 60000
#define SETTLE_POLL_MS 5
/* The watch is a moment behind; when it is away, so is what it would have brought. */
#define SETTLE_LIMIT_MS 10000
#define EXPORT_TIMEOUT_MS (3600 * 1000)

/* --- Import --- */

static void chunk_done(struct import_chunk *chunk)
{
    loop_post(chunk->front->loop, &chunk->back);
}

static void settle(struct timer *timer, void *argument)
{
    struct import_chunk *chunk = argument;
    struct backend *backend = chunk->backend;
    (void)timer;
    if (backend->replica.revision >= chunk->wait_for_revision || rpc_loop_now_ms(backend->loop) >= chunk->deadline_ms ||
        backend->channels[PART_REGISTRY] == NULL) {
        backend_publish(backend);
        chunk_done(chunk);
        return;
    }
    rpc_loop_timer_start(backend->loop, &chunk->timer, SETTLE_POLL_MS, settle, chunk);
}

static void take_skipped(struct import_chunk *chunk, const Muster__V1__ImportWorkersResponse *response)
{
    chunk->skipped = arena_take(&chunk->arena, (response->n_skipped + 1) * sizeof *chunk->skipped);
    for (size_t i = 0; chunk->skipped != NULL && i < response->n_skipped; i++) {
        const Muster__V1__SkippedWorker *from = response->skipped[i];
        struct import_skipped *into = &chunk->skipped[i];
        into->worker_id = arena_copy(&chunk->arena, from->worker_id, strlen(from->worker_id));
        into->reason = arena_copy(&chunk->arena, from->reason, strlen(from->reason));
        if (into->worker_id == NULL || into->reason == NULL)
            return; /* without memory they are not listed */
        chunk->skipped_count++;
    }
}

static void chunk_answered(struct rpc_call *call, const void *message)
{
    struct import_chunk *chunk = rpc_call_context(call);
    const Muster__V1__ImportWorkersResponse *response = message;
    chunk->answered = true;
    chunk->imported = response->imported;
    chunk->revision = response->revision;
    take_skipped(chunk, response);
}

static void chunk_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    struct import_chunk *chunk = rpc_call_context(call);
    /* What was answered is on disk, however the call ended. */
    chunk->status = chunk->answered ? RPC_OK : status == RPC_OK ? RPC_UNAVAILABLE : status;
    snprintf(chunk->text, sizeof chunk->text, "%s", text);
    chunk_done(chunk);
}

void backend_run_import(void *argument)
{
    static const struct rpc_events events = {.message = chunk_answered, .ended = chunk_ended};
    struct import_chunk *chunk = argument;
    struct backend *backend = chunk->backend;
    if (chunk->wait_for_revision > 0) {
        chunk->deadline_ms = rpc_loop_now_ms(backend->loop) + SETTLE_LIMIT_MS;
        settle(&chunk->timer, chunk);
        return;
    }
    if (backend->channels[PART_REGISTRY] == NULL) {
        chunk->status = RPC_UNAVAILABLE;
        snprintf(chunk->text, sizeof chunk->text, "the gateway is stopping");
        chunk_done(chunk);
        return;
    }
    Muster__V1__ImportWorkersRequest request = MUSTER__V1__IMPORT_WORKERS_REQUEST__INIT;
    request.workers = chunk->workers;
    request.n_workers = chunk->count;
    struct rpc_call *call =
        rpc_channel_stream(backend->channels[PART_REGISTRY], &muster__v1__registry_service__descriptor, "ImportWorkers",
                           &(struct rpc_call_options){.timeout_ms = CHUNK_TIMEOUT_MS}, &events, chunk);
    (void)rpc_call_send(call, &request.base); /* not taken: the call is over, and its end comes */
    rpc_call_half_close(call);
}

/* --- Export: the registry's stream, message by message; the next one is read when the client has taken
 * the one before. --- */

static void piece_done(struct export *export)
{
    export->is_away = true;
    loop_post(export->pieces.front->loop, &export->pieces.back);
}

static void append_workers(struct export *export, const Muster__V1__ExportWorkersResponse *response)
{
    struct buffer *body = &export->pieces.body;
    if (!export->is_headed)
        buffer_append_text(body, "{\"workers\":[");
    export->is_headed = true;
    for (size_t i = 0; i < response->n_workers; i++) {
        struct json_writer writer = json_writer_into(body);
        if (response->workers[i]->spec == NULL)
            continue;
        if (export->count++ > 0)
            buffer_append_char(body, ',');
        worker_json_write_export(&writer, response->workers[i]);
    }
}

static void export_message(struct rpc_call *call, const void *message)
{
    struct export *export = rpc_call_context(call);
    append_workers(export, message);
    rpc_call_pause(call);
    piece_done(export);
}

static void send_last(struct export *export)
{
    static const Muster__V1__ExportWorkersResponse none = MUSTER__V1__EXPORT_WORKERS_RESPONSE__INIT;
    export->pieces.complete = true;
    if (export->pieces.status == RPC_OK) {
        append_workers(export, &none);
        buffer_append_format(&export->pieces.body, "],\"total\":%llu}", (unsigned long long)export->count);
    }
    piece_done(export);
}

/* Comes also while the call is paused, if no message is held back. */
static void export_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    struct export *export = rpc_call_context(call);
    export->call = NULL;
    export->pieces.status = status;
    snprintf(export->pieces.text, sizeof export->pieces.text,
             "the registry cannot be read (%.180s); try again in a moment", text);
    if (!export->is_away)
        send_last(export);
}

static void continue_export(void *argument)
{
    struct export *export = argument;
    export->is_away = false;
    buffer_clear(&export->pieces.body);
    if (export->call == NULL) {
        send_last(export);
        return;
    }
    if (export->pieces.cancelled)
        rpc_call_cancel(export->call);
    rpc_call_resume(export->call);
}

void backend_run_export(void *argument)
{
    static const struct rpc_events events = {.message = export_message, .ended = export_ended};
    struct export *export = argument;
    struct backend *backend = export->pieces.backend;
    export->pieces.next = continue_export;
    if (backend->channels[PART_REGISTRY] == NULL) {
        export->pieces.complete = true;
        export->pieces.status = RPC_UNAVAILABLE;
        snprintf(export->pieces.text, sizeof export->pieces.text, "the gateway is stopping");
        piece_done(export);
        return;
    }
    Muster__V1__ExportWorkersRequest request = MUSTER__V1__EXPORT_WORKERS_REQUEST__INIT;
    export->call =
        rpc_channel_stream(backend->channels[PART_REGISTRY], &muster__v1__registry_service__descriptor, "ExportWorkers",
                           &(struct rpc_call_options){.timeout_ms = EXPORT_TIMEOUT_MS}, &events, export);
    (void)rpc_call_send(export->call, &request.base); /* not taken: the call is over, and its end comes */
    rpc_call_half_close(export->call);
}
