#include "services/worker/front.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/worker/document.h"

/* Models take their time to answer. */
#define FIRST_BYTE_TIMEOUT_MS 300000u

struct front {
    struct front_config config;
    struct http_server *server;
    struct http_upstreams *upstreams;
    uint32_t active;
    uint64_t completed;
};

/* A request of a service. */
struct request {
    struct front *front;
    struct service *service;
    struct http_origin origin; /* the service's when the request came; it may move */
    struct buffer path;        /* as the service is to see it, with the query */
    struct http_header served_by;
    struct document *document; /* of the built-in service */
};

/* ---- errors ---- */

/* `header` may be NULL. */
static void send_error(struct http_exchange *exchange, unsigned status, const char *code, const char *message,
                       const struct http_header *header)
{
    char body[1024];
    /* The texts are ours and need no escapes. */
    int bytes =
        snprintf(body, sizeof body, "{\"error\":\"%s\",\"message\":\"%s\",\"detail\":\"%s\"}", code, message, message);
    struct http_response response = {
        .status = status,
        .content_type = "application/json",
        .headers = header,
        .header_count = header != NULL ? 1 : 0,
        .body = body,
        .body_bytes = bytes > 0 && (size_t)bytes < sizeof body ? (size_t)bytes : 0,
    };
    http_respond(exchange, &response);
}

static void answer_error(struct http_exchange *exchange, unsigned status, const char *code, const char *message)
{
    static const struct http_header retry = {"Retry-After", "1"};
    send_error(exchange, status, code, message, status == 503 ? &retry : NULL);
}

static void refuse_method(struct http_exchange *exchange, const char *allowed, const char *message)
{
    const struct http_header allow = {"Allow", allowed};
    send_error(exchange, 405, "method_not_allowed", message, &allow);
}

static void answer_not_running(struct http_exchange *exchange, const char *name, const char *state)
{
    char message[256];
    snprintf(message, sizeof message, "Service %s is %s on this worker. Try again, or another worker.", name, state);
    answer_error(exchange, 503, "service_unavailable", message);
}

/* ---- the life of a request ---- */

static void request_finished(void *context, struct http_exchange *exchange)
{
    (void)exchange;
    struct request *request = context;
    struct front *front = request->front;
    front->active--;
    request->service->active--;
    front->completed++;
    document_free(request->document);
    buffer_free(&request->path);
    free(request);
    front->config.active_changed(front->config.context, front->active);
}

static struct request *begin_request(struct front *front, struct http_exchange *exchange, struct service *service)
{
    struct request *request = calloc(1, sizeof *request);
    if (request == NULL)
        return NULL;
    request->front = front;
    request->service = service;
    request->served_by = (struct http_header){"X-Served-By", front->config.worker_id};
    http_exchange_on_finished(exchange, request_finished, request);
    front->active++;
    service->active++;
    front->config.active_changed(front->config.context, front->active);
    return request;
}

/* ---- the built-in service ---- */

static size_t document_data(void *context, struct http_exchange *exchange, const char *data, size_t bytes)
{
    (void)exchange;
    struct request *request = context;
    if (request->document != NULL && !document_add(request->document, data, bytes)) {
        document_free(request->document);
        request->document = NULL;
    }
    return bytes;
}

static void document_end(void *context, struct http_exchange *exchange, enum http_body_end end)
{
    struct request *request = context;
    if (end != HTTP_BODY_COMPLETE) {
        answer_error(exchange, end == HTTP_BODY_TIMEOUT ? 408 : 400, "incomplete_body",
                     "The document ended early. Send all of it.");
        return;
    }
    struct document_summary summary;
    if (request->document == NULL || !document_finish(request->document, &summary)) {
        answer_error(exchange, 500, "internal_error", "The document's digest could not be computed. Try again.");
        return;
    }
    char body[512 + HEARTBEAT_ID_BYTES];
    int bytes = snprintf(body, sizeof body,
                         "{\"bytes\":%llu,\"lines\":%llu,\"words\":%llu,\"sha256\":\"%s\",\"worker_id\":\"%s\"}\n",
                         (unsigned long long)summary.bytes, (unsigned long long)summary.lines,
                         (unsigned long long)summary.words, summary.sha256, request->front->config.worker_id);
    struct http_response response = {
        .status = 200,
        .content_type = "application/json",
        .headers = &request->served_by,
        .header_count = 1,
        .body = body,
        .body_bytes = bytes > 0 && (size_t)bytes < sizeof body ? (size_t)bytes : 0,
    };
    http_respond(exchange, &response);
}

static void process_document(struct request *request, struct http_exchange *exchange)
{
    static const struct http_body_reader reader = {document_data, document_end};
    if (http_exchange_head(exchange)->method != HTTP_METHOD_POST) {
        refuse_method(exchange, "POST", "Send the document with POST.");
        return;
    }
    request->document = document_create();
    if (request->document == NULL) {
        answer_error(exchange, 503, "worker_busy", "The worker is out of memory. Try again, or another worker.");
        return;
    }
    http_exchange_stream_body(exchange, &reader, request);
}

/* ---- relayed services ---- */

static bool next_target(void *context, struct http_exchange *exchange, unsigned number,
                        struct http_relay_target *target)
{
    (void)exchange;
    struct request *request = context;
    if (number > 1)
        return false; /* there is one server; other workers are the coordinator's business */
    *target = (struct http_relay_target){
        .origin = &request->origin,
        .path = {request->path.data, request->path.bytes},
        .response_headers = &request->served_by,
        .response_header_count = 1,
    };
    return true;
}

static void relay_failed(void *context, struct http_exchange *exchange, enum http_relay_result result)
{
    struct request *request = context;
    struct front *front = request->front;
    char message[256];
    switch (result) {
    case HTTP_RELAY_CONNECT_FAILED:
    case HTTP_RELAY_CONNECT_TIMEOUT:
    case HTTP_RELAY_NO_TARGET:
        front->config.unreachable(front->config.context, request->service);
        answer_not_running(exchange, request->service->name, "not answering");
        break;
    case HTTP_RELAY_TIMEOUT:
        snprintf(message, sizeof message, "Service %s did not answer in time.", request->service->name);
        answer_error(exchange, 504, "service_timeout", message);
        break;
    default:
        snprintf(message, sizeof message, "Service %s failed: %s.", request->service->name,
                 http_relay_result_text(result));
        answer_error(exchange, 502, "service_failed", message);
        break;
    }
}

static void relay(struct request *request, struct http_exchange *exchange, const struct service_route *route)
{
    static const struct http_relay_calls calls = {.next = next_target, .failed = relay_failed};
    const struct http_head *head = http_exchange_head(exchange);
    request->origin = request->service->origin;
    buffer_append_text(&request->path, route->prefix);
    buffer_append(&request->path, route->rest.data, route->rest.bytes);
    if (head->has_query) {
        struct http_text query = http_head_query(head);
        buffer_append_char(&request->path, '?');
        buffer_append(&request->path, query.data, query.bytes);
    }
    if (buffer_failed(&request->path)) {
        answer_error(exchange, 503, "worker_busy", "The worker is out of memory. Try again, or another worker.");
        return;
    }
    struct http_relay_options options = {.calls = &calls, .context = request};
    http_relay(request->front->upstreams, exchange, &options);
}

/* ---- dispatch ---- */

static void answer_health(struct front *front, struct http_exchange *exchange)
{
    struct buffer body = BUFFER_INIT;
    front->config.render_health(front->config.context, &body);
    if (buffer_failed(&body))
        answer_error(exchange, 503, "worker_busy", "The worker is out of memory. Try again.");
    else
        http_respond_json(exchange, 200, body.data, body.bytes);
    buffer_free(&body);
}

static void handle_service(struct front *front, struct http_exchange *exchange, const struct service_route *route)
{
    if (front->active >= front->config.most_requests) {
        answer_error(exchange, 503, "worker_busy",
                     "The worker has as many requests as it takes at once. Try again, or another worker.");
        return;
    }
    if (route->service->state != SERVICE_RUNNING) {
        answer_not_running(exchange, route->service->name, service_state_text(route->service->state));
        return;
    }
    struct request *request = begin_request(front, exchange, route->service);
    if (request == NULL)
        answer_error(exchange, 503, "worker_busy", "The worker is out of memory. Try again, or another worker.");
    else if (route->service->kind == SERVICE_BUILT_IN)
        process_document(request, exchange);
    else
        relay(request, exchange, route);
}

static void handle(void *context, struct http_exchange *exchange)
{
    struct front *front = context;
    const struct http_head *head = http_exchange_head(exchange);
    struct http_text path = http_head_path(head);
    bool reads = head->method == HTTP_METHOD_GET || head->method == HTTP_METHOD_HEAD;
    if (http_text_equal(path, "/health")) {
        if (reads)
            answer_health(front, exchange);
        else
            refuse_method(exchange, "GET, HEAD", "Ask for the worker's health with GET.");
        return;
    }
    struct service_route route;
    switch (service_table_match(front->config.table, path, &route)) {
    case SERVICE_MATCH_LOCAL:
        handle_service(front, exchange, &route);
        break;
    case SERVICE_MATCH_UNAVAILABLE:
        answer_error(exchange, 503, "service_unavailable",
                     "This worker was assigned the service, but has nothing to run it with: "
                     "start it with --service NAME=URL or --run NAME=COMMAND.");
        break;
    case SERVICE_MATCH_NONE:
        if (http_text_equal(path, "/api/job")) {
            answer_error(exchange, 404, "no_job_service",
                         "This worker takes no broadcast jobs: start it with --service job=URL or --run job=COMMAND "
                         "to have them handed on.");
            break;
        }
        answer_error(
            exchange, 404, "unknown_service",
            "This worker has no such service. Paths are /api/NAME, /api/service/NAME, /service/NAME and /health, "
            "which lists the names.");
        break;
    }
}

/* ---- from outside ---- */

struct front *front_create(const struct front_config *config, char *error, size_t error_bytes)
{
    struct front *front = calloc(1, sizeof *front);
    if (front == NULL) {
        snprintf(error, error_bytes, "out of memory");
        return NULL;
    }
    front->config = *config;
    struct http_upstreams_config upstreams = {
        .resolver = config->resolver,
        .first_byte_timeout_ms = FIRST_BYTE_TIMEOUT_MS,
        .via = "muster-worker",
    };
    front->upstreams = http_upstreams_create(config->loop, &upstreams, error, error_bytes);
    if (front->upstreams == NULL) {
        free(front);
        return NULL;
    }
    struct http_server_config server = {.context = front, .handle = handle, .server_name = "muster-worker"};
    front->server = http_server_create(config->loop, &server);
    if (front->server == NULL) {
        snprintf(error, error_bytes, "out of memory");
        http_upstreams_destroy(front->upstreams);
        free(front);
        return NULL;
    }
    return front;
}

bool front_listen(struct front *front, int descriptor)
{
    return http_server_listen(front->server, descriptor);
}

void front_adopt(struct front *front, int descriptor)
{
    http_server_adopt(front->server, descriptor);
}

void front_drain(struct front *front, uint32_t timeout_ms, void (*drained)(void *context), void *context)
{
    http_server_drain(front->server, timeout_ms, drained, context);
}

void front_destroy(struct front *front)
{
    if (front == NULL)
        return;
    http_server_destroy(front->server);
    http_upstreams_destroy(front->upstreams);
    free(front);
}

uint32_t front_active(const struct front *front)
{
    return front->active;
}

uint64_t front_completed(const struct front *front)
{
    return front->completed;
}
