/* A front's life, and how it dispatches and answers; see front.h. */

#include "gateway/front.h"

#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/random.h"
#include "gateway/backend.h"
#include "gateway/balancer/balancer.h"
#include "gateway/websocket.h"

/* Connections to one worker that a front keeps while they idle. With a thousand clients as many
 * requests can end in one turn of the loop: fewer would be closed only to be made again. */
#define UPSTREAM_IDLE_MAX 2048

#define ANSWER_HEADERS_MAX (CORS_HEADERS_MAX + 16)

/* --- Answers --- */

/* How old the list is that an edge proxy answers from (RFC 9111, 5.1). */
static bool list_age(const struct front *front, struct http_exchange *exchange, const struct answer *answer, char *age,
                     size_t age_bytes)
{
    const struct gateway *gateway = front->gateway;
    const struct api_route *route = http_exchange_user(exchange);
    if (gateway->role != API_EDGE_PROXY || route == NULL || (route->flags & API_AGED) == 0 ||
        (answer->status != 200 && answer->status != 304))
        return false;
    int64_t born_ms = atomic_load_explicit(&gateway->list_born_ms, memory_order_relaxed);
    int64_t now_ms = (int64_t)clock_monotonic_ms();
    if (born_ms == LIST_UNBORN)
        return false;
    snprintf(age, age_bytes, "%lld", (long long)((now_ms > born_ms ? now_ms - born_ms : 0) / 1000));
    return true;
}

static void send(struct front *front, struct http_exchange *exchange, const struct answer *answer, bool in_pieces)
{
    struct cors_headers cors;
    struct http_header headers[ANSWER_HEADERS_MAX];
    char retry_after[16], age[24];
    size_t count = 0;
    cors_headers_for(&front->gateway->cors, http_head_get(http_exchange_head(exchange), "origin"), false, &cors);
    for (size_t i = 0; i < cors.count; i++)
        headers[count++] = cors.headers[i];
    if (answer->retry_after_seconds > 0) {
        snprintf(retry_after, sizeof retry_after, "%u", answer->retry_after_seconds);
        headers[count++] = (struct http_header){"Retry-After", retry_after};
    }
    if (answer->allow != NULL)
        headers[count++] = (struct http_header){"Allow", answer->allow};
    if (answer->authenticate != NULL)
        headers[count++] = (struct http_header){"WWW-Authenticate", answer->authenticate};
    if (answer->security_policy != NULL) {
        headers[count++] = (struct http_header){"Content-Security-Policy", answer->security_policy};
        headers[count++] = (struct http_header){"X-Content-Type-Options", "nosniff"};
    }
    if (answer->etag != NULL) {
        headers[count++] = (struct http_header){"ETag", answer->etag};
        headers[count++] =
            (struct http_header){"Cache-Control", answer->cache_control != NULL ? answer->cache_control : "no-cache"};
    }
    if (answer->etag != NULL || answer->packed)
        headers[count++] = (struct http_header){"Vary", "Accept-Encoding"};
    if (answer->served_by != NULL)
        headers[count++] = (struct http_header){"X-Served-By", answer->served_by};
    if (answer->link_is_away)
        headers[count++] = (struct http_header){LINK_AWAY_HEADER, LINK_AWAY};
    if (list_age(front, exchange, answer, age, sizeof age))
        headers[count++] = (struct http_header){"Age", age};
    if (answer->status == 426) { /* says to what (RFC 9110 15.5.22, RFC 6455 4.2.2) */
        headers[count++] = (struct http_header){"Connection", "Upgrade"};
        headers[count++] = (struct http_header){"Upgrade", "websocket"};
        headers[count++] = (struct http_header){"Sec-WebSocket-Version", WEBSOCKET_VERSION};
    }
    if (answer->packed)
        headers[count++] = (struct http_header){"Content-Encoding", "gzip"};
    bool has_body = in_pieces || answer->shared != NULL || answer->body_bytes > 0;
    struct http_response response = {
        .status = answer->status,
        .content_type = !has_body                      ? NULL
                        : answer->content_type != NULL ? answer->content_type
                                                       : "application/json",
        .headers = headers,
        .header_count = count,
        .body = answer->body,
        .body_bytes = answer->body_bytes,
        .shared = answer->shared,
    };
    if (in_pieces)
        http_response_begin(exchange, &response, HTTP_LENGTH_UNKNOWN);
    else
        http_respond(exchange, &response);
}

void front_answer(struct front *front, struct http_exchange *exchange, const struct answer *answer)
{
    send(front, exchange, answer, false);
}

void front_answer_begin(struct front *front, struct http_exchange *exchange, const struct answer *answer)
{
    send(front, exchange, answer, true);
}

static void fail(struct front *front, struct http_exchange *exchange, const char *worker, enum error_id error,
                 const char *format, va_list arguments)
{
    const struct error_kind *kind = error_kind(error);
    struct buffer body = BUFFER_INIT;
    char message[512];
    vsnprintf(message, sizeof message, format, arguments);
    error_render(kind->code, message, &body);
    front_answer(front, exchange,
                 &(struct answer){.status = kind->status,
                                  .body = body.data,
                                  .body_bytes = body.bytes,
                                  .retry_after_seconds = kind->retry_after_seconds,
                                  .served_by = worker});
    buffer_free(&body);
}

void front_fail(struct front *front, struct http_exchange *exchange, enum error_id error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fail(front, exchange, NULL, error, format, arguments);
    va_end(arguments);
}

void front_fail_of(struct front *front, struct http_exchange *exchange, const char *worker, enum error_id error,
                   const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fail(front, exchange, worker, error, format, arguments);
    va_end(arguments);
}

static bool is_local(const char *address, size_t bytes)
{
    return (bytes >= 4 && memcmp(address, "127.", 4) == 0) || (bytes == 3 && memcmp(address, "::1", 3) == 0);
}

bool front_client_is_local(const struct front *front, const struct http_exchange *exchange)
{
    char address[CLIENT_ADDRESS_BYTES];
    client_address(&front->gateway->client_address, http_exchange_head(exchange),
                   http_exchange_client_address(exchange), address);
    struct http_text via = http_head_get(http_exchange_head(exchange), "x-forwarded-for");
    if (!is_local(address, strlen(address)))
        return false;
    /* A proxy on this machine, a tunnel or an edge router say, speaks for others. */
    for (size_t at = 0; at < via.bytes;) {
        size_t start = at;
        while (at < via.bytes && via.data[at] != ',' && via.data[at] != ' ')
            at++;
        if (at > start && !is_local(via.data + start, at - start))
            return false;
        at++;
    }
    return true;
}

void front_note_client(struct job *job)
{
    const struct gateway *gateway = job->front->gateway;
    char address[CLIENT_ADDRESS_BYTES];
    if (gateway->geoip == NULL)
        return;
    client_address(&gateway->client_address, http_exchange_head(job->exchange),
                   http_exchange_client_address(job->exchange), address);
    job->client_address = arena_copy(&job->arena, address, strlen(address)); /* without memory it is not known */
}

/* --- Jobs --- */

void front_free_job(struct job *job)
{
    buffer_free(&job->body);
    rendered_release(job->rendered);
    if (job->caller != NULL)
        auth_identity_release(job->caller->identity);
    if (job->has_document)
        json_document_free((struct json_document *)job->document); /* the front's own again */
    arena_free(&job->arena);
    free(job);
}

static void job_exchange_finished(void *context, struct http_exchange *exchange)
{
    (void)exchange;
    front_free_job(context);
}

/* What glibc's malloc keeps at hand is at most this long (tcache, malloc/malloc.c). */
_Static_assert(sizeof(struct job) <= 1032, "a heartbeat's job must be cheap to allocate");

struct job *front_job(struct front *front, struct http_exchange *exchange, const struct api_route *route)
{
    struct job *job = malloc(sizeof *job);
    if (job == NULL) {
        front_fail(front, exchange, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    /* All but the first block, which the arena clears as it is taken. */
    memset(job, 0, offsetof(struct job, first_block));
    job->front = front;
    job->exchange = exchange;
    job->route = route;
    arena_init(&job->arena, job->first_block, sizeof job->first_block);
    http_exchange_on_finished(exchange, job_exchange_finished, job);
    return job;
}

void front_send_answer(struct job *job)
{
    const char *body = job->constant_body != NULL ? job->constant_body : job->body.data;
    front_answer(job->front, job->exchange,
                 &(struct answer){.status = job->status,
                                  .content_type = job->content_type,
                                  .body = body,
                                  .body_bytes = job->constant_body != NULL ? strlen(body) : job->body.bytes,
                                  .retry_after_seconds = job->retry_after_seconds});
}

/* Back from the backend. */
static void job_arrived(struct loop_task *task)
{
    struct job *job = (struct job *)task;
    atomic_fetch_sub_explicit(&job->front->gateway->jobs, 1, memory_order_relaxed);
    if (job->arrived != NULL)
        job->arrived(job);
    else
        front_send_answer(job);
}

static void send_outgoing(struct loop_hook *hook)
{
    struct front *front = (struct front *)((char *)hook - offsetof(struct front, outgoing_hook));
    struct job *first = front->outgoing;
    front->outgoing = NULL;
    front->outgoing_end = &front->outgoing;
    rpc_loop_post(front->gateway->rpc_loop, backend_run_jobs, first);
}

void front_submit(struct job *job)
{
    struct front *front = job->front;
    job->back.run = job_arrived;
    job->next = NULL;
    *front->outgoing_end = job;
    front->outgoing_end = &job->next;
    atomic_fetch_add_explicit(&front->gateway->jobs, 1, memory_order_relaxed);
    loop_at_end_of_turn(front->loop, &front->outgoing_hook);
}

/* --- Dispatch --- */

static void answer_preflight(struct front *front, struct http_exchange *exchange, const char *allow)
{
    const struct http_head *head = http_exchange_head(exchange);
    struct cors_headers cors;
    struct http_header headers[CORS_HEADERS_MAX + 1];
    cors_headers_for(&front->gateway->cors, http_head_get(head, "origin"), true, &cors);
    size_t count = 0;
    for (; count < cors.count; count++)
        headers[count] = cors.headers[count];
    if (allow[0] != '\0')
        headers[count++] = (struct http_header){"Allow", allow};
    http_respond(exchange, &(struct http_response){.status = 204, .headers = headers, .header_count = count});
}

/* News of coordinators is believed: see edge_peers.h. */
static bool is_known_peer(const struct front *front, struct http_exchange *exchange)
{
    const struct gateway *gateway = front->gateway;
    const char *key = gateway->settings.federation_key;
    struct http_text sent = http_head_get(http_exchange_head(exchange), "x-api-key");
    if (key[0] == '\0')
        return !gateway->public_only;
    return sent.data != NULL && sent.bytes == strlen(key) && CRYPTO_memcmp(sent.data, key, sent.bytes) == 0;
}

/* At an edge proxy: what all coordinators together know is for one of them to say. */
static bool asks_elsewhere(const struct front *front, struct http_exchange *exchange, const struct api_route *route)
{
    char scope[8];
    return front->gateway->role == API_EDGE_PROXY && route->operation == API_DISCOVER &&
           http_query_get(http_head_query(http_exchange_head(exchange)), "scope", scope, sizeof scope) >= 0 &&
           strcmp(scope, "all") == 0;
}

static void dispatch(struct front *front, struct http_exchange *exchange, const struct api_match *match)
{
    static const char alive[] = "{\"status\":\"ok\"}";
    struct json_error error = {.message = ""};
    /* A worker's own token is its coordinator's to judge. */
    bool is_judged_elsewhere =
        api_is_forwarded(front->gateway->role, match->route) && (match->route->flags & API_OWN_WORKER) != 0;
    if (front->closed && !is_judged_elsewhere && !front_admit(front, exchange, match))
        return;
    if (match->route->query != NULL &&
        !api_check_query(match->route, http_head_query(http_exchange_head(exchange)), &error)) {
        front_fail(front, exchange, ERROR_INVALID_FIELD, "%s", error.message);
        return;
    }
    if (api_is_forwarded(front->gateway->role, match->route) || asks_elsewhere(front, exchange, match->route)) {
        front_handle_forward(front, exchange, match);
        return;
    }
    if (match->route->operation == API_EDGE_PEERS && !is_known_peer(front, exchange)) {
        front_fail(front, exchange, ERROR_FORBIDDEN_PEER,
                   "this edge router takes news from who has its --federation-key only; give all of them the same one");
        return;
    }
    switch (match->route->operation) {
    case API_RELAY_SERVICE:
    case API_RELAY_RAW:
        front_handle_relay(front, exchange, match);
        return;
    case API_BALANCED:
        front_handle_balance(front, exchange);
        return;
    case API_WORKERS:
        front_handle_view(front, exchange, match->route, VIEW_WORKERS);
        return;
    case API_SERVICES:
        front_handle_view(front, exchange, match->route, VIEW_SERVICES);
        return;
    case API_ADMIN_WORKERS:
        front_handle_view(front, exchange, match->route, VIEW_ADMIN_WORKERS);
        return;
    case API_ADMIN_SERVICES:
        front_handle_view(front, exchange, match->route, VIEW_ADMIN_SERVICES);
        return;
    case API_ADMIN_GAPS:
        front_handle_view(front, exchange, match->route, VIEW_ADMIN_GAPS);
        return;
    case API_ADMIN_STATS:
        front_handle_view(front, exchange, match->route, VIEW_ADMIN_STATS);
        return;
    case API_IMPORT:
        front_handle_import(front, exchange);
        return;
    case API_EXPORT:
        front_handle_export(front, exchange);
        return;
    case API_TOPOLOGY:
        front_handle_view(front, exchange, match->route, VIEW_TOPOLOGY);
        return;
    case API_WS_EVENTS:
    case API_WS_TOPOLOGY:
        front_handle_subscription(front, exchange, match->route);
        return;
    case API_WS_LINK:
        front_handle_link_socket(front, exchange, match);
        return;
    case API_RELAY_LINK:
        front_handle_link_request(front, exchange, match);
        return;
    case API_HEALTHZ:
        front_answer(front, exchange, &(struct answer){.status = 200, .body = alive, .body_bytes = sizeof alive - 1});
        return;
    case API_READYZ:
        if (atomic_load(&front->gateway->ready) && !atomic_load(&front->gateway->draining))
            front_answer(front, exchange,
                         &(struct answer){.status = 200, .body = alive, .body_bytes = sizeof alive - 1});
        else
            front_fail(front, exchange, ERROR_NOT_READY, "%s",
                       atomic_load(&front->gateway->draining)
                           ? "the gateway is stopping"
                           : "the processes behind the gateway were not all heard yet");
        return;
    case API_OPENAPI:
        front_handle_page(front, exchange, match->route, PAGE_OPENAPI);
        return;
    case API_INDEX:
        front_handle_view(front, exchange, match->route, VIEW_INDEX);
        return;
    case API_DOCS:
        front_handle_page(front, exchange, match->route, PAGE_DOCS);
        return;
    case API_REDOC:
        front_handle_page(front, exchange, match->route, PAGE_REDOC);
        return;
    case API_EDGE_CHALLENGE:
        front_handle_challenge(front, exchange);
        return;
    case API_ASSET:
        front_handle_asset(front, exchange, match);
        return;
    default:
        front_handle_request(front, exchange, match);
        return;
    }
}

static void handle(void *context, struct http_exchange *exchange)
{
    struct front *front = context;
    const struct http_head *head = http_exchange_head(exchange);
    struct http_text method = http_head_text(head, head->method_text);
    struct http_text path = http_head_path(head);
    struct api_match match;
    api_find(front->gateway->role, method, path, &match);
    http_exchange_set_user(exchange, (void *)match.route);
    if (front->gateway->limiter != NULL && !front_within_address_limit(front, exchange))
        return;
    if (head->method == HTTP_METHOD_OPTIONS && http_head_get(head, "access-control-request-method").data != NULL) {
        answer_preflight(front, exchange, "");
    } else if (match.route != NULL) {
        dispatch(front, exchange, &match);
    } else if (match.path_exists && head->method == HTTP_METHOD_OPTIONS) {
        answer_preflight(front, exchange, match.allow);
    } else if (match.path_exists) {
        const struct error_kind *kind = error_kind(ERROR_METHOD_NOT_ALLOWED);
        struct buffer body = BUFFER_INIT;
        char message[160];
        snprintf(message, sizeof message, "this path does not have the method %.*s; it has %s",
                 (int)(method.bytes < 32 ? method.bytes : 32), method.data, match.allow);
        error_render(kind->code, message, &body);
        front_answer(front, exchange,
                     &(struct answer){
                         .status = kind->status, .body = body.data, .body_bytes = body.bytes, .allow = match.allow});
        buffer_free(&body);
    } else {
        front_fail(front, exchange, ERROR_NOT_FOUND, "there is nothing at %.*s",
                   (int)(path.bytes < 200 ? path.bytes : 200), path.data);
    }
}

static void render_error(void *context, unsigned status, const char *code, const char *message, struct buffer *body)
{
    (void)context;
    (void)status;
    error_render(code, message, body);
}

/* A page that may call must be able to read what was wrong. */
static void respond_error(void *context, struct http_exchange *exchange, const struct http_response *response)
{
    struct front *front = context;
    struct cors_headers cors;
    cors_headers_for(&front->gateway->cors, http_head_get(http_exchange_head(exchange), "origin"), false, &cors);
    struct http_response answer = *response;
    answer.headers = cors.headers;
    answer.header_count = cors.count;
    http_respond(exchange, &answer);
}

static void exchange_finished(void *context, struct http_exchange *exchange)
{
    struct front *front = context;
    struct http_exchange_summary summary;
    http_exchange_summarize(exchange, &summary);
    metrics_request(&front->metrics, http_exchange_user(exchange), summary.status, summary.duration_us);
    if (log_enabled(LOG_DEBUG)) {
        const struct http_head *head = http_exchange_head(exchange);
        struct http_text path = http_head_path(head);
        char text[256];
        snprintf(text, sizeof text, "%.*s", (int)(path.bytes < 255 ? path.bytes : 255),
                 path.data == NULL ? "" : path.data);
        log_debug("request", LOG_TEXT("path", text), LOG_UINT("status", summary.status),
                  LOG_UINT("duration_us", summary.duration_us),
                  LOG_TEXT("request_id", http_exchange_request_id(exchange)));
    }
}

/* --- Messages from other threads --- */

struct table_message {
    struct loop_task task;
    struct front *front;
    struct pick_table *table;
};

static void take_table(struct loop_task *task)
{
    struct table_message *message = (struct table_message *)task;
    struct front *front = message->front;
    pick_table_release(front->table);
    front->table = message->table;
    pick_state_sweep(&front->pick, loop_now_ms(front->loop));
    free(message);
}

void front_set_table(struct front *front, struct pick_table *table)
{
    struct table_message *message = malloc(sizeof *message);
    if (message == NULL) {
        /* The front goes on with the table that it has; the next change brings another. */
        log_error("out of memory for a route table");
        pick_table_release(table);
        return;
    }
    *message = (struct table_message){.task = {.run = take_table}, .front = front, .table = table};
    loop_post(front->loop, &message->task);
}

static void server_drained(void *context)
{
    struct front *front = context;
    front_flush_outcomes(front);
    rpc_loop_post(front->gateway->rpc_loop, backend_front_drained, front->gateway->backend);
}

static void begin_drain(struct loop_task *task)
{
    struct front *front = (struct front *)((char *)task - offsetof(struct front, drain_task));
    front_dismiss_subscribers(front);
    front_dismiss_links(front);
    http_server_drain(front->server, (uint32_t)(front->gateway->settings.drain_timeout_seconds * 1000), server_drained,
                      front);
}

void front_drain(struct front *front)
{
    front->drain_task = (struct loop_task){.run = begin_drain};
    loop_post(front->loop, &front->drain_task);
}

/* --- Life --- */

static void *run(void *argument)
{
    struct front *front = argument;
    loop_run(front->loop);
    return NULL;
}

static void free_front(struct front *front)
{
    front_views_stop(front);
    if (front->server != NULL)
        http_server_destroy(front->server);
    if (front->upstreams != NULL)
        http_upstreams_destroy(front->upstreams);
    if (front->loop != NULL) {
        loop_timer_stop(front->loop, &front->outcomes_timer);
        loop_destroy(front->loop);
    }
    outcomes_free(&front->outcomes);
    front_views_free(front);
    front_pages_free(front);
    event_ring_free(&front->events);
    front_relays_free(front);
    pick_state_free(&front->pick);
    pick_table_release(front->table);
    balancer_table_release(front->upstream_table);
    auth_checker_free(front->checker);
    auth_keys_release(front->keys);
    free(front);
}

static bool build(struct front *front, int listener, struct http_resolver *resolver, char *error, size_t error_bytes)
{
    uint64_t seed;
    random_bytes(&seed, sizeof seed);
    pick_state_init(&front->pick, seed);
    front->table = pick_table_create();
    front->loop = loop_create();
    if (front->table == NULL || front->loop == NULL) {
        snprintf(error, error_bytes, "cannot create an event loop; check the limits of memory and open files");
        return false;
    }
    front->closed = front->gateway->closed;
    /* What it takes of OpenSSL costs memory, which one that asks for no keys does without. */
    front->checker = front->closed ? auth_checker_create() : NULL;
    if (front->closed && front->checker == NULL) {
        snprintf(error, error_bytes, "cannot set up what checks keys; check the limit of memory, and OpenSSL");
        return false;
    }
    front_guard_set(front, auth_keys_reference(front->gateway->keys), NULL);
    list_init(&front->forwards);
    front->upstreams = http_upstreams_create(
        front->loop,
        &(struct http_upstreams_config){
            .resolver = resolver,
            .pool_idle_max = UPSTREAM_IDLE_MAX,
            .dial = front_link_dial,
            .dial_context = front,
            .public_only = front->gateway->public_only,
            .first_byte_timeout_ms = (uint32_t)(front->gateway->settings.first_byte_timeout_seconds * 1000),
        },
        error, error_bytes);
    if (front->upstreams == NULL)
        return false;
    front->server = http_server_create(front->loop, &(struct http_server_config){
                                                        .context = front,
                                                        .handle = handle,
                                                        .render_error = render_error,
                                                        .respond_error = respond_error,
                                                        .exchange_finished = exchange_finished,
                                                    });
    if (front->server == NULL || !http_server_listen(front->server, listener)) {
        snprintf(error, error_bytes, "cannot watch the listening socket; check the limit of open files");
        return false;
    }
    return true;
}

struct front *front_start(struct gateway *gateway, int listener, struct http_resolver *resolver, char *error,
                          size_t error_bytes)
{
    struct front *front = calloc(1, sizeof *front);
    if (front == NULL) {
        snprintf(error, error_bytes, "out of memory");
        return NULL;
    }
    front->gateway = gateway;
    event_ring_init(&front->events, gateway->first_event_revision);
    front->outgoing_end = &front->outgoing;
    front->outgoing_hook.run = send_outgoing;
    if (!build(front, listener, resolver, error, error_bytes)) {
        free_front(front);
        return NULL;
    }
    if (pthread_create(&front->thread, NULL, run, front) != 0) {
        snprintf(error, error_bytes, "cannot start a thread; check the limit of processes");
        free_front(front);
        return NULL;
    }
    front->running = true;
    return front;
}

void front_stop(struct front *front)
{
    if (front->running) {
        loop_stop(front->loop);
        pthread_join(front->thread, NULL);
    }
    free_front(front);
}
