/* POST /api/admin/import on the front's side; see import.h. */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json/document.h"
#include "common/json/splitter.h"
#include "common/json/write.h"
#include "common/log.h"
#include "gateway/backend.h"
#include "gateway/front.h"
#include "gateway/import.h"
#include "gateway/request_json.h"

#define CHUNKS_AWAY_MAX 2
/* So many skipped workers are named; the others are counted. */
#define SKIPPED_LISTED_MAX 1000

struct import {
    struct front *front;
    struct http_exchange *exchange;
    struct json_splitter splitter;
    struct import_chunk chunks[CHUNKS_AWAY_MAX];
    struct import_chunk *filling; /* NULL: none was begun */
    unsigned away;
    bool paused, body_over, client_gone, settled;

    bool failed;
    enum error_id error;
    char message[256];

    uint64_t imported, skipped_total, revision;
    size_t skipped_listed;
    struct buffer skipped; /* members of a JSON array */
    struct json_writer skipped_writer;
};

static void go_on(struct import *import);

__attribute__((format(printf, 3, 4))) static void fail(struct import *import, enum error_id error, const char *format,
                                                       ...)
{
    va_list arguments;
    if (import->failed)
        return;
    import->failed = true;
    import->error = error;
    va_start(arguments, format);
    vsnprintf(import->message, sizeof import->message, format, arguments);
    va_end(arguments);
}

static void skip(struct import *import, const char *worker_id, const char *reason)
{
    import->skipped_total++;
    if (import->skipped_listed == SKIPPED_LISTED_MAX)
        return;
    import->skipped_listed++;
    json_write_object_begin(&import->skipped_writer);
    json_write_key(&import->skipped_writer, "worker_id");
    json_write_text(&import->skipped_writer, worker_id);
    json_write_key(&import->skipped_writer, "reason");
    json_write_text(&import->skipped_writer, reason);
    json_write_object_end(&import->skipped_writer);
}

/* --- Chunks --- */

static void chunk_arrived(struct loop_task *task);

static void send_chunk(struct import *import, struct import_chunk *chunk)
{
    struct gateway *gateway = import->front->gateway;
    chunk->is_away = true;
    chunk->back.run = chunk_arrived;
    chunk->backend = gateway->backend;
    chunk->front = import->front;
    import->away++;
    import->filling = NULL;
    atomic_fetch_add_explicit(&gateway->jobs, 1, memory_order_relaxed);
    rpc_loop_post(gateway->rpc_loop, backend_run_import, chunk);
}

static void empty_chunk(struct import_chunk *chunk)
{
    arena_free(&chunk->arena);
    arena_init(&chunk->arena, NULL, 0);
    chunk->bytes = 0;
}

/* The chunk that is being filled, a fresh one if need be; NULL: all are away. */
static struct import_chunk *chunk_to_fill(struct import *import)
{
    for (size_t i = 0; i < CHUNKS_AWAY_MAX && import->filling == NULL; i++) {
        struct import_chunk *chunk = &import->chunks[i];
        if (chunk->is_away)
            continue;
        memset(chunk, 0, sizeof *chunk);
        arena_init(&chunk->arena, NULL, 0);
        chunk->import = import;
        import->filling = chunk;
    }
    return import->filling;
}

static void chunk_arrived(struct loop_task *task)
{
    struct import_chunk *chunk = (struct import_chunk *)task;
    struct import *import = chunk->import;
    atomic_fetch_sub_explicit(&import->front->gateway->jobs, 1, memory_order_relaxed);
    import->away--;
    chunk->is_away = false;
    import->imported += chunk->imported;
    if (chunk->revision > import->revision)
        import->revision = chunk->revision;
    for (size_t i = 0; i < chunk->skipped_count; i++)
        skip(import, chunk->skipped[i].worker_id, chunk->skipped[i].reason);
    if (chunk->status != RPC_OK && error_of_status(chunk->status) == ERROR_PART_UNAVAILABLE)
        fail(import, ERROR_PART_UNAVAILABLE, "the registry cannot be reached or is not ready (%s)", chunk->text);
    else if (chunk->status != RPC_OK)
        fail(import, ERROR_INTERNAL, "the registry refused a part: %s", chunk->text);
    empty_chunk(chunk);
    go_on(import);
}

static bool is_json(const char *text, size_t bytes)
{
    struct json_document document;
    bool is = json_document_parse(&document, text, bytes);
    json_document_free(&document);
    return is;
}

/* The splitter has failed. `piece` is what it was given last; NULL: the body is over, and JSON but for what the splitter
 * says. JSON that is no list is told from what is none, if it came in one piece. */
static void fail_by_splitter(struct import *import, const char *piece, size_t bytes)
{
    const struct json_splitter *splitter = &import->splitter;
    if (!splitter->other_kind || (piece != NULL && !is_json(piece, bytes)))
        fail(import, ERROR_MALFORMED_JSON, "the body is not a list of workers: %s", splitter->error);
    else if (!splitter->is_object)
        fail(import, ERROR_INVALID_FIELD, "the body must be an array or an object");
    else
        fail(import, ERROR_INVALID_FIELD, "field workers %s", piece == NULL ? "is required" : "must be an array");
}

/* --- Elements --- */

/* One without an id is told by its place. */
static void skip_invalid(struct import *import, const char *worker_id, const char *number, const char *reason)
{
    char text[384];
    snprintf(text, sizeof text, "%s: %s", number, reason);
    skip(import, worker_id, worker_id[0] == '\0' ? text : reason);
}

/* One worker's text into the chunk, or among the skipped. */
static void take_element(struct import *import, struct import_chunk *chunk)
{
    const struct json_splitter *splitter = &import->splitter;
    struct json_error error = {.message = ""};
    Muster__V1__Worker *worker = NULL;
    char number[80];
    chunk->bytes += splitter->element.bytes; /* of skipped ones, too: they have left something in the arena */
    snprintf(number, sizeof number, "worker %llu of the list", (unsigned long long)splitter->count);
    if (splitter->too_long) {
        snprintf(error.message, sizeof error.message, "%s is longer than %d bytes", number, REQUEST_IMPORTED_BYTES_MAX);
        skip(import, "", error.message);
        return;
    }
    switch (import_worker_from_json(splitter->element.data, splitter->element.bytes, &chunk->arena, &worker, &error)) {
    case REQUEST_JSON_OK:
        chunk->workers[chunk->count++] = worker;
        break;
    case REQUEST_JSON_INVALID:
        skip_invalid(import, worker == NULL ? "" : worker->spec->worker_id, number, error.message);
        break;
    case REQUEST_JSON_MALFORMED:
        fail(import, ERROR_MALFORMED_JSON, "%s: %s", number, error.message);
        break;
    case REQUEST_JSON_NO_MEMORY:
        fail(import, ERROR_INTERNAL, "out of memory");
        break;
    }
}

static size_t take_body(void *context, struct http_exchange *exchange, const char *data, size_t bytes)
{
    struct import *import = context;
    size_t at = 0;
    (void)exchange;
    while (at < bytes && !import->failed) {
        struct import_chunk *chunk = chunk_to_fill(import);
        if (chunk == NULL) {
            import->paused = true;
            return at;
        }
        at += json_splitter_feed(&import->splitter, data + at, bytes - at);
        if (import->splitter.state == JSON_SPLITTER_FAILED)
            fail_by_splitter(import, data, bytes);
        else if (import->splitter.state == JSON_SPLITTER_ELEMENT)
            take_element(import, chunk);
        if (chunk->count == IMPORT_CHUNK_WORKERS_MAX || (chunk->count > 0 && chunk->bytes >= IMPORT_CHUNK_BYTES))
            send_chunk(import, chunk);
        else if (chunk->bytes >= IMPORT_CHUNK_BYTES)
            empty_chunk(chunk);
    }
    if (import->failed && !import->body_over)
        go_on(import);
    return bytes;
}

static void body_ended(void *context, struct http_exchange *exchange, enum http_body_end end)
{
    struct import *import = context;
    (void)exchange;
    import->body_over = true;
    import->client_gone = end == HTTP_BODY_CUT_OFF;
    if (end == HTTP_BODY_MALFORMED)
        fail(import, ERROR_MALFORMED_JSON, "the body's chunks are malformed");
    else if (end != HTTP_BODY_COMPLETE)
        fail(import, ERROR_MALFORMED_JSON, "the body was cut off");
    else if (!json_splitter_finish(&import->splitter))
        fail_by_splitter(import, NULL, 0);
    go_on(import);
}

/* --- The end --- */

static void answer_failure(struct import *import)
{
    if (import->client_gone) {
        log_warning("an import was cut off", LOG_UINT("imported", import->imported),
                    LOG_UINT("skipped", import->skipped_total));
        http_exchange_abort(import->exchange);
        return;
    }
    front_fail(import->front, import->exchange, import->error,
               "%s; %llu workers were imported and %llu skipped before that: send it again once it is right, what is "
               "on the roll is passed over",
               import->message, (unsigned long long)import->imported, (unsigned long long)import->skipped_total);
}

static void answer(struct import *import)
{
    struct buffer body = BUFFER_INIT;
    struct json_writer writer = json_writer_into(&body);
    json_write_object_begin(&writer);
    json_write_key(&writer, "imported");
    json_write_uint(&writer, import->imported);
    json_write_key(&writer, "skipped");
    json_write_array_begin(&writer);
    buffer_append(&body, import->skipped.data, import->skipped.bytes);
    json_write_array_end(&writer);
    json_write_key(&writer, "skipped_total");
    json_write_uint(&writer, import->skipped_total);
    json_write_object_end(&writer);
    if (buffer_failed(&body) || buffer_failed(&import->skipped))
        front_fail(import->front, import->exchange, ERROR_INTERNAL, "out of memory, but %llu workers were imported",
                   (unsigned long long)import->imported);
    else
        front_answer(import->front, import->exchange,
                     &(struct answer){.status = 200, .body = body.data, .body_bytes = body.bytes});
    buffer_free(&body);
}

/* The last chunk waits until what was imported can be read here. */
static void settle(struct import *import)
{
    struct import_chunk *chunk = chunk_to_fill(import);
    import->settled = true;
    chunk->wait_for_revision = import->revision;
    send_chunk(import, chunk);
}

/* After a chunk came back, or the body is over or wrong. */
static void go_on(struct import *import)
{
    if (!import->body_over && !import->failed) {
        if (import->paused) {
            import->paused = false;
            http_exchange_resume_body(import->exchange);
        }
        return;
    }
    if (import->filling != NULL && import->filling->count > 0 && import->error != ERROR_PART_UNAVAILABLE)
        send_chunk(import, import->filling);
    if (import->away > 0)
        return;
    if (import->imported > 0 && !import->settled)
        settle(import);
    else if (import->failed)
        answer_failure(import);
    else
        answer(import);
}

static void import_finished(void *context, struct http_exchange *exchange)
{
    struct import *import = context;
    (void)exchange;
    for (size_t i = 0; i < CHUNKS_AWAY_MAX; i++)
        arena_free(&import->chunks[i].arena);
    json_splitter_free(&import->splitter);
    buffer_free(&import->skipped);
    free(import);
}

void front_handle_import(struct front *front, struct http_exchange *exchange)
{
    static const struct http_body_reader reader = {.data = take_body, .end = body_ended};
    struct import *import = calloc(1, sizeof *import);
    if (import == NULL) {
        front_fail(front, exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    import->front = front;
    import->exchange = exchange;
    import->skipped_writer = json_writer_into(&import->skipped);
    json_splitter_init(&import->splitter, "workers", REQUEST_IMPORTED_BYTES_MAX);
    for (size_t i = 0; i < CHUNKS_AWAY_MAX; i++)
        arena_init(&import->chunks[i].arena, NULL, 0);
    http_exchange_on_finished(exchange, import_finished, import);
    http_exchange_stream_body(exchange, &reader, import);
}
