/* POST /api/coordinator/broadcast-job: whom a job goes to, and what is told of it. The sending
 * is done by common/http_calls. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json/write.h"
#include "common/random.h"
#include "gateway/backend.h"
#include "common/http_calls.h"

#define BROADCASTS_MAX 64 /* at a time */
#define JOB_ID_RANDOM_BYTES 8

/* --- Whom --- */

/* Whether the free-form capabilities have that key, and not as false or null. */
static bool has_key(const char *json, const char *capability)
{
    struct json_document document;
    /* Most workers can be passed over without reading: the key is not there as it is, nor escaped. */
    if (strstr(json, capability) == NULL && strchr(json, '\\') == NULL)
        return false;
    bool has = false;
    if (json_document_parse(&document, json, strlen(json)) && json_root(&document)->type == JSON_TYPE_OBJECT) {
        const struct json_node *value = json_member(&document, json_root(&document), capability);
        has = value != NULL && value->type != JSON_TYPE_NULL && (value->type != JSON_TYPE_BOOL || value->boolean);
    }
    json_document_free(&document);
    return has;
}

static bool is_capable(const Muster__V1__WorkerSpec *spec, const char *capability)
{
    if (capability == NULL)
        return true;
    if (spec->capabilities != NULL && has_key(spec->capabilities->json, capability))
        return true;
    for (size_t i = 0; i < spec->n_services; i++) {
        for (size_t j = 0; j < spec->services[i]->n_capabilities; j++) {
            if (strcmp(spec->services[i]->capabilities[j], capability) == 0)
                return true;
        }
    }
    return false;
}

/* By its type and how it is; the rest takes its record. */
static bool may_be_wanted(const struct replica_worker *worker)
{
    Muster__V1__WorkerType type = worker->record->type;
    return replica_is_healthy(worker) &&
           (type == MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU || type == MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU);
}

static bool is_wanted(const Muster__V1__WorkerSpec *spec, const char *capability)
{
    return spec->tunnel_url[0] != '\0' && is_capable(spec, capability);
}

/* --- The job under way --- */

struct sending {
    struct http_call_batch broadcast; /* first */
    struct job *job;
    char *job_id, *job_type; /* in the job's arena */
    struct buffer body;
    size_t capacity;
};

static void free_sending(struct sending *sending)
{
    for (size_t i = 0; i < sending->broadcast.call_count; i++) {
        free(sending->broadcast.calls[i].label);
        free(sending->broadcast.calls[i].url);
        buffer_free(&sending->broadcast.calls[i].response);
    }
    free(sending->broadcast.calls);
    buffer_free(&sending->body);
    free(sending);
}

static bool add_target(struct sending *sending, const Muster__V1__WorkerSpec *spec)
{
    struct http_call_batch *broadcast = &sending->broadcast;
    if (broadcast->call_count == sending->capacity) {
        size_t capacity = sending->capacity == 0 ? 16 : sending->capacity * 2;
        struct http_call *calls = realloc(broadcast->calls, capacity * sizeof *calls);
        if (calls == NULL)
            return false;
        broadcast->calls = calls;
        sending->capacity = capacity;
    }
    struct http_call *target = &broadcast->calls[broadcast->call_count];
    *target = (struct http_call){.label = strdup(spec->worker_id), .url = http_calls_url(spec->tunnel_url, "/api/job")};
    broadcast->call_count++; /* so that it is freed in any case */
    return target->label != NULL && target->url != NULL;
}

/* The body as it came, with a job_id. */
static void write_body(struct sending *sending, const struct json_document *document)
{
    struct json_writer writer = json_writer_into(&sending->body);
    const struct json_node *key, *value;
    uint32_t position = 0;
    json_write_object_begin(&writer);
    json_write_key(&writer, "job_id");
    json_write_text(&writer, sending->job_id);
    while ((value = json_next(document, json_root(document), &position, &key)) != NULL) {
        if (json_text_equals(key, "job_id"))
            continue;
        char *name = arena_copy(&sending->job->arena, key->text, key->text_bytes);
        if (name == NULL) {
            sending->body.failed = true;
            return;
        }
        json_write_key_text(&writer, name);
        json_write_raw(&writer, document->source + value->start, value->end - value->start);
    }
    json_write_object_end(&writer);
    sending->broadcast.body = sending->body.data;
    sending->broadcast.body_bytes = sending->body.bytes;
}

/* --- What is told --- */

static void write_response(struct json_writer *writer, const struct http_call *target)
{
    struct json_document document;
    if (target->response.bytes == 0)
        return;
    json_write_key(writer, "response");
    if (!target->truncated && json_document_parse(&document, target->response.data, target->response.bytes))
        json_write_raw(writer, target->response.data, target->response.bytes);
    else
        json_write_text_bytes(writer, target->response.data, target->response.bytes);
    if (!target->truncated)
        json_document_free(&document);
    if (target->truncated) {
        json_write_key(writer, "response_truncated");
        json_write_bool(writer, true);
    }
}

static bool is_accepted(const struct http_call *target)
{
    return target->status >= 200 && target->status <= 299;
}

static void write_target(struct json_writer *writer, const struct http_call *target)
{
    json_write_object_begin(writer);
    json_write_key(writer, "worker_id");
    json_write_text(writer, target->label);
    json_write_key(writer, "status");
    json_write_text(writer, is_accepted(target)   ? "accepted"
                            : target->status != 0 ? "rejected"
                            : target->timed_out   ? "timeout"
                                                  : "failed");
    if (target->status != 0) {
        json_write_key(writer, "status_code");
        json_write_uint(writer, (uint64_t)target->status);
        write_response(writer, target);
    } else {
        json_write_key(writer, "error");
        json_write_text(writer, target->error);
    }
    json_write_object_end(writer);
}

static void all_answered(struct http_call_batch *broadcast)
{
    struct sending *sending = (struct sending *)broadcast;
    struct job *job = sending->job;
    struct json_writer writer = json_writer_into(&job->body);
    size_t accepted = 0;
    for (size_t i = 0; i < broadcast->call_count; i++)
        accepted += is_accepted(&broadcast->calls[i]);
    json_write_object_begin(&writer);
    json_write_key(&writer, "job_id");
    json_write_text(&writer, sending->job_id);
    json_write_key(&writer, "job_type");
    json_write_text(&writer, sending->job_type);
    json_write_key(&writer, "broadcasted_to");
    json_write_uint(&writer, broadcast->call_count);
    json_write_key(&writer, "successful");
    json_write_uint(&writer, accepted);
    json_write_key(&writer, "failed");
    json_write_uint(&writer, broadcast->call_count - accepted);
    json_write_key(&writer, "workers");
    json_write_array_begin(&writer);
    for (size_t i = 0; i < broadcast->call_count; i++)
        write_target(&writer, &broadcast->calls[i]);
    json_write_array_end(&writer);
    json_write_object_end(&writer);
    free_sending(sending);
    job_done_with_body(job);
}

/* --- Running --- */

/* A text of the body; the schema has seen to its type. NULL: absent. */
static char *text_of(struct job *job, const char *key)
{
    const struct json_node *node = json_member(job->document, json_root(job->document), key);
    return node == NULL || node->type != JSON_TYPE_TEXT ? NULL : arena_copy(&job->arena, node->text, node->text_bytes);
}

static bool prepare(struct backend *backend, struct sending *sending)
{
    struct job *job = sending->job;
    char *capability = text_of(job, "required_capability");
    sending->job_type = text_of(job, "job_type");
    sending->job_id = text_of(job, "job_id");
    if (sending->job_id == NULL) {
        sending->job_id = arena_take(&job->arena, 2 * JOB_ID_RANDOM_BYTES + 1);
        if (sending->job_id != NULL)
            random_hex(sending->job_id, JOB_ID_RANDOM_BYTES);
    }
    if (arena_failed(&job->arena))
        return false;
    write_body(sending, job->document);
    for (size_t i = 0; i < backend->replica.worker_count; i++) {
        const struct replica_worker *worker = backend->replica.workers[i];
        Muster__V1__Worker *record = may_be_wanted(worker) ? replica_record_unpack(worker->record) : NULL;
        bool fine = record != NULL || !may_be_wanted(worker);
        if (record != NULL && is_wanted(record->spec, capability))
            fine = add_target(sending, record->spec);
        muster__v1__worker__free_unpacked(record, NULL);
        if (!fine)
            return false;
    }
    return !buffer_failed(&sending->body);
}

/* Made when it is first needed: most gateways never send a job. */
static bool have_http_calls(struct backend *backend)
{
    if (backend->http_calls == NULL)
        backend->http_calls = http_calls_create(backend->loop, "muster-gateway", BROADCASTS_MAX);
    return backend->http_calls != NULL;
}

void backend_run_broadcast(struct backend *backend, struct job *job)
{
    struct sending *sending = calloc(1, sizeof *sending);
    if (sending == NULL) {
        job_fail(job, ERROR_INTERNAL, "out of memory");
        return;
    }
    sending->job = job;
    sending->broadcast.timeout_ms = (uint32_t)(backend->gateway->settings.broadcast_timeout_seconds * 1000);
    sending->broadcast.done = all_answered;
    if (backend->channels[PART_REGISTRY] == NULL)
        job_fail(job, ERROR_PART_UNAVAILABLE, "the gateway is stopping; try another one");
    else if (!prepare(backend, sending) || !have_http_calls(backend))
        job_fail(job, ERROR_INTERNAL, "out of memory, or of threads");
    else if (sending->broadcast.call_count == 0)
        job_fail(job, ERROR_NO_WORKER, "no healthy worker of tier 1 or 2 has the capability; try again later");
    else if (!http_calls_send(backend->http_calls, &sending->broadcast))
        job_fail(job, ERROR_TOO_MANY_REQUESTS, "%d jobs are being sent out already; try again in a moment",
                 BROADCASTS_MAX);
    else
        return;
    free_sending(sending);
}
