/* Service requests: the worker is chosen from this thread's copy of the route table, and the
 * HTTP module relays. What becomes of each attempt is remembered for the next choice and
 * reported to the router.
 *
 * A request that lasts holds on to the endpoints that it has tried, not to the table: each attempt
 * picks from the newest one.
 *
 * A service that the table does not have, or has without endpoints, is looked up in the
 * replica once: a worker that has just registered through this gateway is there before the
 * router has heard of it. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "gateway/backend.h"
#include "gateway/front.h"

#define PROXIES_MAX 16
#define ATTEMPTS_MAX 4
#define OUTCOMES_INTERVAL_MS 100
#define SERVICE_NAME_BYTES_MAX 256
/* An id of 256 bytes, each of them as "%XX". */
#define SERVED_BY_BYTES (3 * 256 + 1)

struct relay {
    struct relay *next; /* in the front's list of idle ones */
    struct front *front;
    struct http_exchange *exchange;
    struct pick_description *service; /* a reference; NULL before one is known */
    struct pick_service *single;      /* which is not in the table; NULL: look there */
    struct job *job;                  /* asked the backend; NULL: no need */
    bool raw;                         /* /service/…: the rest is the whole path there */
    bool through_link;                /* the worker under way is behind a link, */
    bool in_link;                     /* which is held here */
    enum guard_source source;         /* of our credential: it is nobody's business behind the gateway */
    struct http_text type, rest;      /* of the request's path */

    struct pick_endpoint *endpoints[ATTEMPTS_MAX]; /* references; the last one is of the attempt under way */
    const char *tried[ATTEMPTS_MAX];               /* their workers */
    size_t tried_count;
    enum http_relay_result last_result;

    size_t header_count;

    /* From here on nothing is cleared when a relay begins: it is written before it is read. */
    struct buffer path; /* what is asked of the worker, with the query; keeps its memory */
    struct http_origin origin;
    struct cors_headers cors;
    struct http_header headers[CORS_HEADERS_MAX + 1];
    char served_by[SERVED_BY_BYTES];
};

/* Idle relays that a front keeps, and the longest path memory that one keeps. */
#define IDLE_RELAYS_MAX 64
#define IDLE_PATH_BYTES_MAX 1024

static struct relay *take_relay(struct front *front)
{
    struct relay *relay = front->idle_relays;
    if (relay != NULL) {
        front->idle_relays = relay->next;
        front->idle_relay_count--;
        buffer_clear(&relay->path);
    } else {
        relay = malloc(sizeof *relay);
        if (relay == NULL)
            return NULL;
        relay->path = (struct buffer)BUFFER_INIT;
    }
    memset(relay, 0, offsetof(struct relay, path));
    relay->front = front;
    relay->served_by[0] = '\0';
    return relay;
}

static void finished(void *context, struct http_exchange *exchange)
{
    struct relay *relay = context;
    struct front *front = relay->front;
    (void)exchange;
    if (relay->job != NULL)
        front_free_job(relay->job);
    for (size_t i = 0; i < relay->tried_count; i++)
        pick_endpoint_release(relay->endpoints[i]);
    pick_description_release(relay->service);
    pick_service_release(relay->single);
    if (relay->path.capacity > IDLE_PATH_BYTES_MAX)
        buffer_free(&relay->path);
    if (front->idle_relay_count == IDLE_RELAYS_MAX) {
        buffer_free(&relay->path);
        free(relay);
        return;
    }
    relay->next = front->idle_relays;
    front->idle_relays = relay;
    front->idle_relay_count++;
}

void front_relays_free(struct front *front)
{
    while (front->idle_relays != NULL) {
        struct relay *relay = front->idle_relays;
        front->idle_relays = relay->next;
        buffer_free(&relay->path);
        free(relay);
    }
}

/* --- Outcomes --- */

void front_flush_outcomes(struct front *front)
{
    loop_timer_stop(front->loop, &front->outcomes_timer);
    if (outcomes_empty(&front->outcomes))
        return;
    struct backend_outcomes *message = malloc(sizeof *message);
    if (message == NULL)
        return; /* they stay, and go with the next ones */
    message->backend = front->gateway->backend;
    message->outcomes = front->outcomes;
    front->outcomes = (struct outcomes){.sums = MAP_INIT};
    rpc_loop_post(front->gateway->rpc_loop, backend_take_outcomes, message);
}

static void outcomes_due(struct timer *timer, void *argument)
{
    (void)timer;
    front_flush_outcomes(argument);
}

/* Of the attempt that is under way. */
static struct pick_endpoint *current_endpoint(const struct relay *relay)
{
    return relay->endpoints[relay->tried_count - 1];
}

static bool is_unreachable(enum http_relay_result result)
{
    return result == HTTP_RELAY_CONNECT_FAILED || result == HTTP_RELAY_CONNECT_TIMEOUT;
}

static void note_outcome(struct relay *relay, const struct http_relay_attempt *attempt)
{
    struct front *front = relay->front;
    Muster__V1__Outcome outcome = MUSTER__V1__OUTCOME__INIT;
    outcome.worker_id = (char *)pick_endpoint_worker(current_endpoint(relay)); /* only read */
    outcome.service = (char *)pick_description_name(relay->service);
    switch (attempt->result) {
    case HTTP_RELAY_ANSWERED:
        outcome.succeeded = attempt->status < 500 ? 1 : 0;
        outcome.server_errors = 1 - outcome.succeeded;
        outcome.latency_sum_us = attempt->first_byte_us;
        break;
    case HTTP_RELAY_CONNECT_FAILED:
    case HTTP_RELAY_CONNECT_TIMEOUT:
    case HTTP_RELAY_CLOSED_EARLY:
    case HTTP_RELAY_DECLINED:
        outcome.connection_failures = 1;
        break;
    case HTTP_RELAY_TIMEOUT:
        outcome.timeouts = 1;
        break;
    case HTTP_RELAY_MALFORMED:
    case HTTP_RELAY_TRUNCATED:
        outcome.server_errors = 1;
        break;
    case HTTP_RELAY_NO_TARGET:
    case HTTP_RELAY_CLIENT_GONE:
        return; /* says nothing about the worker */
    }
    outcomes_add(&front->outcomes, &outcome);
    if (outcome.connection_failures > 0)
        front_flush_outcomes(front);
    else if (!timer_active(&front->outcomes_timer))
        loop_timer_start(front->loop, &front->outcomes_timer, OUTCOMES_INTERVAL_MS, outcomes_due, front);
}

/* --- The relay's callbacks --- */

void front_header_text(const char *id, char *text, size_t text_bytes)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t used = 0;
    for (const unsigned char *at = (const unsigned char *)id; *at != '\0' && used + 4 < text_bytes; at++) {
        if (*at > 0x20 && *at < 0x7F && *at != '%') {
            text[used++] = (char)*at;
        } else {
            text[used++] = '%';
            text[used++] = hex[*at >> 4];
            text[used++] = hex[*at & 15];
        }
    }
    text[used] = '\0';
}

/* The next endpoint to try is current_endpoint then; false: there is none. */
static bool choose(struct relay *relay)
{
    struct front *front = relay->front;
    while (relay->tried_count < ATTEMPTS_MAX) {
        const char *name = pick_description_name(relay->service);
        const struct pick_service *service =
            relay->single != NULL ? relay->single : pick_table_find(front->table, name, strlen(name));
        const struct pick_endpoint *endpoint =
            service == NULL
                ? NULL
                : pick_choose(&front->pick, service, relay->tried, relay->tried_count, loop_now_ms(front->loop));
        if (endpoint == NULL)
            return false;
        const char *url = pick_endpoint_url(endpoint);
        relay->endpoints[relay->tried_count] = pick_endpoint_reference(endpoint);
        relay->tried[relay->tried_count++] = pick_endpoint_worker(endpoint);
        if (http_origin_parse(http_text_of(url), &relay->origin)) {
            relay->in_link = front_link_redirect(front, &relay->origin, &relay->through_link);
            return true;
        }
        log_warning("a worker's url cannot be used", LOG_TEXT("worker_id", pick_endpoint_worker(endpoint)),
                    LOG_TEXT("url", url));
    }
    return false;
}

static bool next(void *context, struct http_exchange *exchange, unsigned number, struct http_relay_target *target)
{
    struct relay *relay = context;
    (void)exchange;
    (void)number;
    if (!choose(relay))
        return false;
    if (relay->in_link)
        front_link_begin(relay->front);
    pick_begin(&relay->front->pick, pick_endpoint_worker(current_endpoint(relay)));
    front_header_text(pick_endpoint_worker(current_endpoint(relay)), relay->served_by, sizeof relay->served_by);
    *target = (struct http_relay_target){
        .origin = &relay->origin,
        .path = {relay->path.data, relay->path.bytes},
        .response_headers = relay->headers,
        .response_header_count = relay->header_count,
    };
    target->withheld_count = front_withheld(relay->source, &target->withheld);
    return true;
}

static void attempted(void *context, struct http_exchange *exchange, const struct http_relay_attempt *attempt)
{
    struct relay *relay = context;
    struct front_metrics *metrics = &relay->front->metrics;
    (void)exchange;
    if (relay->in_link)
        front_link_end(relay->front);
    relay->last_result = attempt->result;
    metrics_add(&metrics->relay_attempts[attempt->result], 1);
    if (attempt->will_retry)
        metrics_add(&metrics->relay_retries, 1);
    /* Only a gateway that does not hold the worker's link declines. */
    bool unreachable = is_unreachable(attempt->result) || attempt->result == HTTP_RELAY_DECLINED;
    pick_end(&relay->front->pick, pick_endpoint_worker(current_endpoint(relay)), unreachable,
             loop_now_ms(relay->front->loop));
    note_outcome(relay, attempt);
}

static bool declines(void *context, struct http_exchange *exchange, const struct http_head *head)
{
    const struct relay *relay = context;
    (void)exchange;
    return relay->through_link && head->status == 503 && front_link_is_away(head);
}

static void answer_no_worker(struct relay *relay)
{
    front_fail(relay->front, relay->exchange, ERROR_NO_WORKER, "no healthy worker offers %.*s; try again in a moment",
               (int)(relay->type.bytes < 100 ? relay->type.bytes : 100), relay->type.data);
}

static void failed(void *context, struct http_exchange *exchange, enum http_relay_result result)
{
    struct relay *relay = context;
    const char *worker = relay->served_by;
    if (result == HTTP_RELAY_NO_TARGET && relay->tried_count > 0)
        result = relay->last_result;
    switch (result) {
    case HTTP_RELAY_NO_TARGET:
        answer_no_worker(relay);
        break;
    case HTTP_RELAY_CONNECT_FAILED:
    case HTTP_RELAY_CONNECT_TIMEOUT:
    case HTTP_RELAY_DECLINED:
        /* Nothing was done: the client may try again, which 503 tells it. */
        front_fail(relay->front, exchange, ERROR_NO_WORKER, "no worker that offers %.*s could be reached",
                   (int)(relay->type.bytes < 100 ? relay->type.bytes : 100), relay->type.data);
        break;
    case HTTP_RELAY_TIMEOUT:
        front_fail_of(relay->front, exchange, worker, ERROR_WORKER_TIMEOUT, "worker %s did not answer in time", worker);
        break;
    default:
        front_fail_of(relay->front, exchange, worker, ERROR_WORKER_FAILED, "worker %s failed: %s", worker,
                      http_relay_result_text(result));
        break;
    }
}

/* --- Beginning --- */

static void start_relay(struct relay *relay)
{
    static const struct http_relay_calls calls = {
        .next = next, .attempted = attempted, .failed = failed, .declines = declines};
    const struct http_head *head = http_exchange_head(relay->exchange);
    if (relay->raw)
        buffer_append(&relay->path, relay->rest.data, relay->rest.bytes);
    else
        pick_description_path(relay->service, relay->type.data, relay->type.bytes, relay->rest.data, relay->rest.bytes,
                              &relay->path);
    if (head->has_query) {
        struct http_text query = http_head_query(head);
        buffer_append_char(&relay->path, '?');
        buffer_append(&relay->path, query.data, query.bytes);
    }
    if (buffer_failed(&relay->path)) {
        front_fail(relay->front, relay->exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    cors_headers_for(&relay->front->gateway->cors, http_head_get(head, "origin"), false, &relay->cors);
    for (size_t i = 0; i < relay->cors.count; i++)
        relay->headers[relay->header_count++] = relay->cors.headers[i];
    relay->headers[relay->header_count++] = (struct http_header){"X-Served-By", relay->served_by};
    http_relay(relay->front->upstreams, relay->exchange,
               &(struct http_relay_options){
                   .calls = &calls,
                   .context = relay,
                   .safe_to_repeat = pick_description_repeatable(relay->service),
                   .attempts_max = ATTEMPTS_MAX,
               });
}

/* The name that it is known by now, which was not when the request was let in, may be one that the key may not call. */
static bool may_call(const struct job *job, const struct pick_service *service)
{
    const char *name = pick_description_name(pick_service_description(service));
    return job->caller == NULL || auth_may_call(job->caller->identity, name, strlen(name));
}

/* The backend has looked the service up. */
static void located(struct job *job)
{
    struct relay *relay = job->context;
    const struct job_location *location = job->location;
    if (job->status == error_kind(ERROR_FORBIDDEN)->status) {
        front_fail(relay->front, relay->exchange, ERROR_FORBIDDEN, "the key %.150s may not call this service",
                   job->caller->identity->name);
        return;
    }
    /* An edge proxy may have found it elsewhere: then it is in the table by now. */
    const struct pick_service *service = pick_table_find(relay->front->table, job->name, strlen(job->name));
    if (location == NULL && service != NULL && pick_service_endpoints(service) > 0 && may_call(job, service)) {
        relay->service = pick_description_reference(pick_service_description(service));
        start_relay(relay);
        return;
    }
    if (location != NULL)
        relay->single = pick_service_single(location->service, location->path, location->worker_id, location->url);
    if (relay->single == NULL) {
        answer_no_worker(relay);
        return;
    }
    relay->service = pick_description_reference(pick_service_description(relay->single));
    start_relay(relay);
}

static void locate(struct relay *relay, const struct api_route *route, const char *name, size_t name_bytes)
{
    struct job *job = front_job(relay->front, relay->exchange, route);
    if (job == NULL)
        return;
    /* The exchange has one owner to tell of its end, which frees the job as well. */
    relay->job = job;
    http_exchange_on_finished(relay->exchange, finished, relay);
    job->name = arena_copy(&job->arena, name, name_bytes);
    if (job->name == NULL || !front_note_caller(relay->front, job)) {
        front_fail(relay->front, relay->exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    job->run = backend_run_locate;
    job->arrived = located;
    job->context = relay;
    front_submit(job);
}

/* Whether a request has come through so many proxies that one of them must be leading back: a worker can announce a
 * URL that is a gateway's. Each relay adds itself to Via. */
static bool goes_round(const struct http_exchange *exchange)
{
    struct http_text via = http_head_get_known(http_exchange_head(exchange), HTTP_FIELD_VIA);
    unsigned proxies = 1;
    for (size_t i = 0; i < via.bytes; i++)
        proxies += via.data[i] == ',' ? 1 : 0;
    return proxies > PROXIES_MAX;
}

void front_handle_relay(struct front *front, struct http_exchange *exchange, const struct api_match *match)
{
    char name[SERVICE_NAME_BYTES_MAX + 1];
    int64_t name_bytes = http_percent_decode(match->parameters[0], false, name, sizeof name);
    if (goes_round(exchange)) {
        front_fail(front, exchange, ERROR_LOOP_DETECTED,
                   "this request has come through more than %d proxies: a worker's URL leads back to a gateway; "
                   "X-Served-By says which worker, have it announce its own URL",
                   PROXIES_MAX);
        return;
    }
    if (name_bytes < 0) {
        front_fail(front, exchange, ERROR_INVALID_PATH,
                   "the service's name must be 1 to %d bytes long and well encoded", SERVICE_NAME_BYTES_MAX);
        return;
    }
    struct relay *relay = take_relay(front);
    if (relay == NULL) {
        front_fail(front, exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    relay->exchange = exchange;
    relay->raw = match->route->operation == API_RELAY_RAW;
    relay->source = front->closed ? front->source : GUARD_NOTHING;
    relay->type = match->parameters[0];
    relay->rest = match->rest;
    http_exchange_on_finished(exchange, finished, relay);
    const struct pick_service *service = pick_table_find(front->table, name, (size_t)name_bytes);
    if (service == NULL || pick_service_endpoints(service) == 0) {
        locate(relay, match->route, name, (size_t)name_bytes);
        return;
    }
    relay->service = pick_description_reference(pick_service_description(service));
    start_relay(relay);
}
