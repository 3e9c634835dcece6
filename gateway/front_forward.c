/* Requests at an edge router that a coordinator is to answer. The backend says which ones could
 * (backend_edge_choose.c), the HTTP module relays: the first that cannot be reached is replaced by
 * the next one inside the same request. What becomes of each attempt is told to the backend.
 *
 * Registrations and heartbeats are read before they are forwarded, since they say who sends them;
 * all other bodies stream.
 *
 * Loops. Each edge router, and each load balancer, adds its name to X-Muster-Hops; one that finds its own
 * there, or FRONT_HOPS_MAX others, refuses. */

#define _GNU_SOURCE /* memmem */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/backend.h"
#include "gateway/edge.h"
#include "gateway/front.h"
#include "gateway/request_json.h"

#define HOPS_HEADER "X-Muster-Hops"
/* A coordinator that has not answered a registration by then is passed over: the worker waits. */
#define REGISTER_TIMEOUT_MS 4000
#define COORDINATOR_BYTES (3 * REQUEST_WORKER_ID_BYTES_MAX + 1)

struct forward {
    struct list_link link; /* of the front's, once it is relayed */
    struct front *front;
    struct http_exchange *exchange;
    struct job *job;
    size_t next; /* of the choices */
    const struct job_choice *choice;
    struct http_text body; /* that was collected */
    const char *name;      /* the worker's that it is about; NULL: none */
    enum http_relay_result last_result;

    struct http_origin origin;
    struct buffer path;
    struct cors_headers cors;
    struct http_header response_headers[CORS_HEADERS_MAX + 1];
    size_t response_header_count;
    struct http_header request_header;
    char coordinator[COORDINATOR_BYTES];
    char hops[FRONT_HOPS_BYTES];
};

static void finished(void *context, struct http_exchange *exchange)
{
    struct forward *forward = context;
    (void)exchange;
    list_remove(&forward->link); /* if it is in there */
    front_free_job(forward->job);
    buffer_free(&forward->path);
    free(forward);
}

/* --- Hops --- */

bool front_add_hop(const struct front *front, struct http_exchange *exchange, bool may_return,
                   char hops[FRONT_HOPS_BYTES], struct http_header *header)
{
    const char *instance = front->gateway->instance;
    struct http_text before = http_head_get(http_exchange_head(exchange), HOPS_HEADER);
    if (before.data != NULL && (before.bytes > (FRONT_HOP_BYTES + 2) * FRONT_HOPS_MAX ||
                                (!may_return && memmem(before.data, before.bytes, instance, strlen(instance)) != NULL)))
        return false;
    snprintf(hops, FRONT_HOPS_BYTES, "%.*s%s%s", (int)before.bytes, before.data == NULL ? "" : before.data,
             before.bytes > 0 ? ", " : "", instance);
    *header = (struct http_header){HOPS_HEADER, hops};
    return true;
}

/* --- The relay's callbacks --- */

static bool next(void *context, struct http_exchange *exchange, unsigned number, struct http_relay_target *target)
{
    struct forward *forward = context;
    const struct job_choices *choices = forward->job->choices;
    (void)exchange;
    (void)number;
    do {
        if (forward->next == choices->count)
            return false;
        forward->choice = &choices->list[forward->next++];
    } while (!http_origin_parse(http_text_of(forward->choice->url), &forward->origin));
    front_header_text(forward->choice->coordinator_id, forward->coordinator, sizeof forward->coordinator);
    *target = (struct http_relay_target){
        .origin = &forward->origin,
        .path = {forward->path.data, forward->path.bytes},
        .response_headers = forward->response_headers,
        .response_header_count = forward->response_header_count,
        .request_headers = &forward->request_header,
        .request_header_count = 1,
    };
    return true;
}

static char *put_text(char *at, const char *text, const char **into)
{
    size_t bytes = strlen(text) + 1;
    memcpy(at, text, bytes);
    *into = at;
    return at + bytes;
}

/* That it was too slow, or answered something odd, may be the worker's fault behind it; but a registration is its own
 * business. */
static bool is_failure(enum api_operation operation, enum http_relay_result result)
{
    if (result == HTTP_RELAY_TIMEOUT)
        return operation == API_REGISTER;
    return result == HTTP_RELAY_CONNECT_FAILED || result == HTTP_RELAY_CONNECT_TIMEOUT ||
           result == HTTP_RELAY_CLOSED_EARLY || result == HTTP_RELAY_TRUNCATED;
}

/* Tells the backend: `told` with the texts of the request. */
static void tell(struct forward *forward, struct edge_attempt told)
{
    const char *id = forward->choice->coordinator_id;
    const char *name = forward->name;
    struct edge_attempt *message = malloc(sizeof *message + strlen(id) + (name == NULL ? 0 : strlen(name)) + 2);
    if (message == NULL)
        return; /* the pool learns it from the next one, who holds a worker from its coordinator's list */
    *message = told;
    message->backend = forward->front->gateway->backend;
    message->operation = forward->job->route->operation;
    char *at = put_text((char *)(message + 1), id, &message->coordinator_id);
    if (name != NULL)
        (void)put_text(at, name, &message->name);
    rpc_loop_post(forward->front->gateway->rpc_loop, edge_attempt_ended, message);
}

static void attempted(void *context, struct http_exchange *exchange, const struct http_relay_attempt *attempt)
{
    struct forward *forward = context;
    struct front_metrics *metrics = &forward->front->metrics;
    (void)exchange;
    forward->last_result = attempt->result;
    metrics_add(&metrics->relay_attempts[attempt->result], 1);
    if (attempt->will_retry)
        metrics_add(&metrics->relay_retries, 1);
    if (attempt->result != HTTP_RELAY_CLIENT_GONE)
        tell(forward, (struct edge_attempt){.failed = is_failure(forward->job->route->operation, attempt->result),
                                            .answered = attempt->result == HTTP_RELAY_ANSWERED});
}

/* A client reads its own writes, whichever front its next request comes to: so it is told of before the answer. */
static void answering(void *context, struct http_exchange *exchange, const struct http_head *head)
{
    struct forward *forward = context;
    (void)exchange;
    if (head->status >= 300 || !edge_changes_roll(forward->job->route->operation))
        return;
    tell(forward, (struct edge_attempt){.changed = true});
    atomic_fetch_add_explicit(&forward->front->gateway->forwarded_changes, 1, memory_order_release);
}

/* The coordinator itself has nobody for it, or is none and leads back to us: a worker's own answer says who gave it. */
static bool declines(void *context, struct http_exchange *exchange, const struct http_head *head)
{
    const struct forward *forward = context;
    enum api_operation operation = forward->job->route->operation;
    (void)exchange;
    bool has_nobody = head->status == 503 && (operation == API_RELAY_SERVICE || operation == API_RELAY_RAW ||
                                              operation == API_FIND || operation == API_REGISTER);
    bool is_loop = head->status == error_kind(ERROR_LOOP_DETECTED)->status;
    return (has_nobody || is_loop) && forward->next < forward->job->choices->count &&
           http_head_get(head, "x-served-by").data == NULL;
}

static void failed(void *context, struct http_exchange *exchange, enum http_relay_result result)
{
    struct forward *forward = context;
    struct front *front = forward->front;
    if (result == HTTP_RELAY_NO_TARGET && forward->next > 0)
        result = forward->last_result;
    /* Whoever holds a worker and is away has lost it: it finds its place anew. */
    if (forward->job->route->operation == API_HEARTBEAT) {
        front_fail(front, exchange, ERROR_UNKNOWN_WORKER,
                   "coordinator %s, which holds %s, cannot be reached; register again", forward->coordinator,
                   forward->name);
        return;
    }
    switch (result) {
    case HTTP_RELAY_NO_TARGET:
    case HTTP_RELAY_CONNECT_FAILED:
    case HTTP_RELAY_CONNECT_TIMEOUT:
        front_fail(front, exchange, ERROR_NO_COORDINATORS, "no coordinator could be reached; try again in a moment");
        break;
    case HTTP_RELAY_TIMEOUT:
        front_fail(front, exchange, ERROR_COORDINATOR_TIMEOUT,
                   "coordinator %s did not answer in time (--first-byte-timeout-seconds); what was asked for may have "
                   "been done, repeat it only if that does no harm",
                   forward->coordinator);
        break;
    default:
        front_fail(front, exchange, ERROR_COORDINATOR_FAILED, "coordinator %s failed: %s", forward->coordinator,
                   http_relay_result_text(result));
        break;
    }
}

/* --- A coordinator that is gone --- */

struct gone_message {
    struct loop_task task;
    struct front *front;
    char coordinator_id[];
};

/* Those that wait for it and can go elsewhere do. */
static void leave_gone(struct loop_task *task)
{
    struct gone_message *message = (struct gone_message *)task;
    struct list_link *head = &message->front->forwards;
    for (struct list_link *link = head->next, *following; link != head; link = following) {
        struct forward *forward = (struct forward *)link; /* its first member */
        following = link->next;                           /* this one may be finished by what follows */
        if (forward->choice != NULL && forward->next < forward->job->choices->count &&
            strcmp(forward->choice->coordinator_id, message->coordinator_id) == 0)
            http_relay_give_up_attempt(forward->exchange);
    }
    free(message);
}

void front_coordinator_gone(struct front *front, const char *coordinator_id)
{
    size_t bytes = strlen(coordinator_id) + 1;
    struct gone_message *message = malloc(sizeof *message + bytes);
    if (message == NULL)
        return; /* requests wait until their time is over */
    *message = (struct gone_message){.task = {.run = leave_gone}, .front = front};
    memcpy(message->coordinator_id, coordinator_id, bytes);
    loop_post(front->loop, &message->task);
}

/* --- Beginning --- */

/* Registering and being heard twice is as good as once. */
static bool is_safe_to_repeat(enum api_operation operation)
{
    return operation == API_REGISTER || operation == API_HEARTBEAT || operation == API_DRAIN ||
           operation == API_UNDRAIN;
}

static bool prepare(struct forward *forward)
{
    const struct http_head *head = http_exchange_head(forward->exchange);
    struct http_text path = http_head_path(head);
    buffer_append(&forward->path, path.data, path.bytes);
    if (head->has_query) {
        struct http_text query = http_head_query(head);
        buffer_append_char(&forward->path, '?');
        buffer_append(&forward->path, query.data, query.bytes);
    }
    cors_headers_for(&forward->front->gateway->cors, http_head_get(head, "origin"), false, &forward->cors);
    for (size_t i = 0; i < forward->cors.count; i++)
        forward->response_headers[forward->response_header_count++] = forward->cors.headers[i];
    forward->response_headers[forward->response_header_count++] =
        (struct http_header){"X-Coordinator", forward->coordinator};
    return !buffer_failed(&forward->path);
}

/* The backend has chosen, or has answered itself. */
static void chosen(struct job *job)
{
    static const struct http_relay_calls calls = {
        .next = next, .attempted = attempted, .declines = declines, .answering = answering, .failed = failed};
    struct forward *forward = job->context;
    if (job->choices == NULL) {
        front_send_answer(job);
        return;
    }
    if (!prepare(forward)) {
        front_fail(forward->front, forward->exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    list_append(&forward->front->forwards, &forward->link);
    http_relay(forward->front->upstreams, forward->exchange,
               &(struct http_relay_options){
                   .calls = &calls,
                   .context = forward,
                   .safe_to_repeat = is_safe_to_repeat(job->route->operation) || job->choices->repeatable,
                   .attempts_max = FEDERATION_CHOICES_MAX,
                   .first_byte_timeout_ms = job->route->operation == API_REGISTER ? REGISTER_TIMEOUT_MS : 0,
                   .body = forward->body,
               });
}

static void submit(struct forward *forward)
{
    struct job *job = forward->job;
    job->run = backend_run_choose;
    job->arrived = chosen;
    job->context = forward;
    front_submit(job);
}

static void registration_collected(void *context, struct http_exchange *exchange, struct http_text body)
{
    struct forward *forward = context;
    struct job *job = forward->job;
    if (!front_read_registration(job, body))
        return;
    forward->body = body;
    if (job->registration->spec->worker_id[0] != '\0')
        forward->name = job->registration->spec->worker_id;
    job->client_is_local = front_client_is_local(job->front, exchange);
    front_note_client(job);
    submit(forward);
}

static void heartbeat_collected(void *context, struct http_exchange *exchange, struct http_text body)
{
    struct forward *forward = context;
    (void)exchange;
    if (!front_read_heartbeat(forward->job, body))
        return;
    forward->body = body;
    forward->name = forward->job->heartbeat->worker_id;
    submit(forward);
}

void front_handle_forward(struct front *front, struct http_exchange *exchange, const struct api_match *match)
{
    size_t limit_bytes = front_body_limit(front, match->route);
    enum api_operation operation = match->route->operation;
    struct job *job = front_job(front, exchange, match->route);
    if (job == NULL)
        return;
    struct forward *forward = calloc(1, sizeof *forward);
    if (forward == NULL) {
        front_fail(front, exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    forward->front = front;
    forward->exchange = exchange;
    forward->job = job;
    http_exchange_on_finished(exchange, finished, forward); /* frees the job as well */
    if (!front_add_hop(front, exchange, false, forward->hops, &forward->request_header)) {
        front_fail(front, exchange, ERROR_LOOP_DETECTED,
                   "this request has come through here before, or through more than %d gateways: %s", FRONT_HOPS_MAX,
                   front->gateway->role == API_EDGE_PROXY
                       ? "--coordinator-url leads back to this edge proxy; correct it"
                       : "an edge router is registered as a coordinator at another one; take it off with "
                         "DELETE /api/edge/unregister/ID");
        return;
    }
    /* Without a caller, where there are keys, nothing is done here itself: see choose_holder. */
    if ((match->route->flags & API_OWN_WORKER) == 0 && !front_note_caller(front, job)) {
        front_fail(front, exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    if (match->parameter_count > 0 && !front_take_name(job, match->parameters[0]))
        return;
    if (operation == API_UNREGISTER)
        forward->name = job->name;
    if (operation == API_REGISTER) {
        http_exchange_collect_body(exchange, limit_bytes, registration_collected, forward);
    } else if (operation == API_HEARTBEAT) {
        http_exchange_collect_body(exchange, limit_bytes, heartbeat_collected, forward);
    } else {
        job->query = http_head_query(http_exchange_head(exchange));
        submit(forward);
    }
}
