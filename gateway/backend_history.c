/* Jobs that the history answers: it is health's. */

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json/write.h"
#include "common/worker_status.h"
#include "gateway/backend.h"
#include "gateway/history_request.h"

/* Reading a ring takes milliseconds; more than that is a queue behind others' statements. */
#define HISTORY_TIMEOUT_MS 20000
/* On top of the time that a statement may run: a large roll is copied first. */
#define QUERY_MARGIN_MS 30000
#define QUERY_TIMEOUT_DEFAULT_MS 5000

static void refuse(struct job *job, enum rpc_status status, const char *text)
{
    switch (status) {
    case RPC_NOT_FOUND:
        job_fail(job, ERROR_UNKNOWN_WORKER, "%s", text);
        break;
    case RPC_UNAVAILABLE:
    case RPC_CANCELLED:
    case RPC_ABORTED:
        job_fail(job, ERROR_PART_UNAVAILABLE, "health cannot answer now: %s", text);
        break;
    case RPC_DEADLINE_EXCEEDED:
        job_fail(job, ERROR_PART_UNAVAILABLE,
                 "health did not answer in time: it reads other history, or this is too much of it; try again in a "
                 "moment, or ask for less");
        break;
    case RPC_FAILED_PRECONDITION:
        job_fail(job, ERROR_PART_UNAVAILABLE, "%s", text);
        break;
    default:
        job_fail(job, error_of_status(status), "%s", text);
        break;
    }
}

static void call_health(struct backend *backend, const char *method, const ProtobufCMessage *request,
                        uint32_t timeout_ms, rpc_done done, struct job *job)
{
    if (backend->channels[PART_HEALTH] == NULL) {
        job_fail(job, ERROR_PART_UNAVAILABLE, "the gateway is stopping; try another one");
        return;
    }
    (void)rpc_channel_call(backend->channels[PART_HEALTH], &muster__v1__health_service__descriptor, method, request,
                           &(struct rpc_call_options){.timeout_ms = timeout_ms}, done, job);
}

static void write_state(struct json_writer *writer, const Muster__V1__HistoryState *state)
{
    if (state == NULL)
        return;
    json_write_key(writer, "history");
    json_write_object_begin(writer);
    json_write_key(writer, "kept_workers");
    json_write_uint(writer, state->kept_workers);
    json_write_key(writer, "worker_limit");
    json_write_uint(writer, state->worker_limit);
    json_write_key(writer, "not_kept_workers");
    json_write_uint(writer, state->not_kept_workers);
    json_write_key(writer, "dropped_buckets");
    json_write_uint(writer, state->dropped_buckets);
    json_write_key(writer, "failure");
    json_write_text(writer, state->failure);
    json_write_object_end(writer);
}

/* --- GET /api/admin/history --- */

/* Whether the bucket has a figure of the metric. */
static bool has_figure(const Muster__V1__HistoryBucket *bucket, enum history_metric metric)
{
    if (metric == HISTORY_LOAD || metric == HISTORY_ACTIVE_REQUESTS)
        return bucket->load_samples > 0;
    return metric != HISTORY_LATENCY_MS || bucket->answered > 0;
}

static void write_figures(struct json_writer *writer, const Muster__V1__HistoryBucket *bucket,
                          enum history_metric metric)
{
    switch (metric) {
    case HISTORY_LOAD:
        json_write_named_double(writer, "mean", bucket->load_mean);
        json_write_named_double(writer, "min", bucket->load_min);
        json_write_named_double(writer, "max", bucket->load_max);
        json_write_named_double(writer, "last", bucket->load_last);
        json_write_named_uint(writer, "count", bucket->load_samples);
        break;
    case HISTORY_ACTIVE_REQUESTS:
        json_write_named_double(writer, "mean", bucket->active_mean);
        json_write_named_uint(writer, "min", bucket->active_min);
        json_write_named_uint(writer, "max", bucket->active_max);
        json_write_named_uint(writer, "last", bucket->active_last);
        json_write_named_uint(writer, "count", bucket->load_samples);
        break;
    case HISTORY_REQUESTS:
        json_write_named_uint(writer, "sum", bucket->requests);
        break;
    case HISTORY_FAILURES:
        json_write_named_uint(writer, "sum", bucket->failures);
        break;
    case HISTORY_LATENCY_MS:
        json_write_named_double(writer, "mean", (double)bucket->latency_sum_us / 1000 / (double)bucket->answered);
        json_write_named_uint(writer, "count", bucket->answered);
        break;
    case HISTORY_TASKS_COMPLETED:
        json_write_named_uint(writer, "sum", bucket->tasks_completed);
        break;
    case HISTORY_HEARTBEATS:
        json_write_named_uint(writer, "sum", bucket->heartbeats);
        break;
    case HISTORY_STATE:
    default:
        json_write_key(writer, "last");
        json_write_text(writer, worker_status_text(bucket->status));
        json_write_key(writer, "worst");
        json_write_text(writer, worker_status_text(bucket->worst_status));
        break;
    }
}

static void write_metric(struct json_writer *writer, const Muster__V1__QueryHistoryResponse *response,
                         enum history_metric metric)
{
    json_write_key(writer, history_metric_name(metric));
    json_write_array_begin(writer);
    for (size_t i = 0; i < response->n_buckets; i++) {
        const Muster__V1__HistoryBucket *bucket = response->buckets[i];
        if (!has_figure(bucket, metric))
            continue;
        json_write_object_begin(writer);
        json_write_key(writer, "time");
        json_write_time(writer, bucket->time_ms);
        write_figures(writer, bucket, metric);
        json_write_object_end(writer);
    }
    json_write_array_end(writer);
}

static void history_read(struct rpc_call *call, enum rpc_status status, const char *text, const void *message,
                         void *argument)
{
    struct job *job = argument;
    const struct history_request *request = job->context;
    const Muster__V1__QueryHistoryResponse *response = message;
    (void)call;
    if (status != RPC_OK) {
        refuse(job, status, text);
        return;
    }
    struct json_writer writer = json_writer_into(&job->body);
    json_write_object_begin(&writer);
    json_write_key(&writer, "worker");
    json_write_text(&writer, request->worker);
    json_write_key(&writer, "kept");
    json_write_bool(&writer, response->kept);
    json_write_named_uint(&writer, "step", request->step_seconds);
    json_write_key(&writer, "since");
    json_write_time(&writer, request->since_ms);
    json_write_key(&writer, "metrics");
    json_write_object_begin(&writer);
    for (size_t i = 0; i < HISTORY_METRIC_COUNT; i++) {
        if ((request->metrics >> i & 1) != 0)
            write_metric(&writer, response, (enum history_metric)i);
    }
    json_write_object_end(&writer);
    write_state(&writer, response->state);
    json_write_object_end(&writer);
    job_done_with_body(job);
}

void backend_run_history(struct backend *backend, struct job *job)
{
    struct json_error error = {.message = ""};
    struct history_request *request = arena_take(&job->arena, sizeof *request);
    if (request == NULL) {
        job_fail(job, ERROR_INTERNAL, "out of memory");
        return;
    }
    if (!history_request_parse(job->query, clock_unix_ms(), request, &error)) {
        job_fail(job, ERROR_INVALID_FIELD, "%s", error.message);
        return;
    }
    job->context = request;
    Muster__V1__QueryHistoryRequest question = MUSTER__V1__QUERY_HISTORY_REQUEST__INIT;
    question.worker_id = request->worker;
    question.step_seconds = request->step_seconds;
    question.since_ms = request->since_ms;
    call_health(backend, "QueryHistory", &question.base, HISTORY_TIMEOUT_MS, history_read, job);
}

/* --- POST /api/admin/query --- */

/* JSON has no bytes: they are written in hexadecimal, as SQL does. */
static void write_blob(struct json_writer *writer, const ProtobufCBinaryData *blob)
{
    static const char digits[] = "0123456789abcdef";
    struct buffer text = BUFFER_INIT;
    for (size_t i = 0; i < blob->len; i++) {
        buffer_append_char(&text, digits[blob->data[i] >> 4]);
        buffer_append_char(&text, digits[blob->data[i] & 15]);
    }
    json_write_text(writer, text.data);
    if (buffer_failed(&text))
        writer->out->failed = true;
    buffer_free(&text);
}

static void write_value(struct json_writer *writer, const Muster__V1__QueryValue *value)
{
    switch (value->kind_case) {
    case MUSTER__V1__QUERY_VALUE__KIND_INTEGER:
        json_write_int(writer, value->integer);
        break;
    case MUSTER__V1__QUERY_VALUE__KIND_REAL:
        json_write_double(writer, value->real);
        break;
    case MUSTER__V1__QUERY_VALUE__KIND_TEXT:
        json_write_text(writer, value->text);
        break;
    case MUSTER__V1__QUERY_VALUE__KIND_BLOB:
        write_blob(writer, &value->blob);
        break;
    default:
        json_write_null(writer);
        break;
    }
}

static void write_rows(struct json_writer *writer, const Muster__V1__RunQueryResponse *response)
{
    json_write_key(writer, "columns");
    json_write_array_begin(writer);
    for (size_t i = 0; i < response->n_columns; i++)
        json_write_text(writer, response->columns[i]);
    json_write_array_end(writer);
    json_write_key(writer, "rows");
    json_write_array_begin(writer);
    for (size_t i = 0; i < response->n_rows; i++) {
        json_write_array_begin(writer);
        for (size_t j = 0; j < response->rows[i]->n_values; j++)
            write_value(writer, response->rows[i]->values[j]);
        json_write_array_end(writer);
    }
    json_write_array_end(writer);
}

static void query_ran(struct rpc_call *call, enum rpc_status status, const char *text, const void *message,
                      void *argument)
{
    struct job *job = argument;
    const Muster__V1__RunQueryResponse *response = message;
    (void)call;
    switch (status) {
    case RPC_OK:
        break;
    case RPC_INVALID_ARGUMENT:
        job_fail(job, ERROR_BAD_QUERY, "%s", text);
        return;
    case RPC_PERMISSION_DENIED:
        job_fail(job, ERROR_QUERY_NOT_ALLOWED, "%s", text);
        return;
    case RPC_DEADLINE_EXCEEDED:
        job_fail(job, ERROR_QUERY_TIMEOUT, "%s", text);
        return;
    default:
        refuse(job, status, text);
        return;
    }
    struct json_writer writer = json_writer_into(&job->body);
    json_write_object_begin(&writer);
    write_rows(&writer, response);
    json_write_named_uint(&writer, "row_count", response->n_rows);
    json_write_key(&writer, "truncated");
    json_write_bool(&writer, response->truncated);
    write_state(&writer, response->state);
    json_write_object_end(&writer);
    job_done_with_body(job);
}

/* The schema has seen to types and limits. */
static uint32_t number_of(const struct json_document *document, const char *key)
{
    const struct json_node *node = json_member(document, json_root(document), key);
    return node == NULL || node->type != JSON_TYPE_NUMBER ? 0 : (uint32_t)node->number;
}

void backend_run_query(struct backend *backend, struct job *job)
{
    const struct json_node *sql = json_member(job->document, json_root(job->document), "sql");
    Muster__V1__RunQueryRequest request = MUSTER__V1__RUN_QUERY_REQUEST__INIT;
    request.sql = arena_copy(&job->arena, sql->text, sql->text_bytes);
    request.row_limit = number_of(job->document, "limit");
    request.timeout_ms = number_of(job->document, "timeout_ms");
    uint32_t runs_ms = request.timeout_ms == 0 ? QUERY_TIMEOUT_DEFAULT_MS : request.timeout_ms;
    if (request.sql == NULL)
        job_fail(job, ERROR_INTERNAL, "out of memory");
    else
        call_health(backend, "RunQuery", &request.base, runs_ms + QUERY_MARGIN_MS, query_ran, job);
}
