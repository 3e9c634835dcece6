/* Requests at a load balancer: each goes to the next upstream that is up, and on to those behind it when it fails in a
 * way that is safe to repeat. See balance.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/link/handshake.h"
#include "common/log.h"
#include "gateway/balance.h"
#include "gateway/front.h"

#define ATTEMPTS_MAX 4

struct balancing {
    struct front *front;
    struct http_exchange *exchange;
    struct balancer_table *table; /* a reference */
    uint64_t request;             /* its number */
    size_t attempt;
    struct balancer_target *target; /* of the attempt under way */
    enum http_relay_result last_result;
    enum guard_source source; /* of our credential */
    struct buffer path;
    struct cors_headers cors;
    struct http_header response_headers[CORS_HEADERS_MAX + 1];
    size_t response_header_count;
    struct http_header request_header;
    char hops[FRONT_HOPS_BYTES];
};

static void finished(void *context, struct http_exchange *exchange)
{
    struct balancing *balancing = context;
    (void)exchange;
    balancer_table_release(balancing->table);
    buffer_free(&balancing->path);
    free(balancing);
}

/* --- The relay's callbacks --- */

static bool next(void *context, struct http_exchange *exchange, unsigned number, struct http_relay_target *target)
{
    struct balancing *balancing = context;
    (void)exchange;
    (void)number;
    struct balancer_target *chosen = balancer_choose(balancing->table, balancing->request, balancing->attempt);
    if (chosen == NULL)
        return false;
    balancing->attempt++;
    balancing->target = chosen;
    balancing->response_headers[balancing->response_header_count - 1].value = balancer_target_origin(chosen)->authority;
    *target = (struct http_relay_target){
        .origin = balancer_target_origin(chosen),
        .path = {balancing->path.data, balancing->path.bytes},
        .response_headers = balancing->response_headers,
        .response_header_count = balancing->response_header_count,
        .request_headers = &balancing->request_header,
        .request_header_count = 1,
    };
    if (!balancing->front->gateway->settings.pass_credentials)
        target->withheld_count = front_withheld(balancing->source, &target->withheld);
    return true;
}

static char *put_text(char *at, const char *text, const char **into)
{
    size_t bytes = strlen(text) + 1;
    memcpy(at, text, bytes);
    *into = at;
    return at + bytes;
}

/* What counts against an upstream: that it was slow, or answered something odd, may be one request's fault. */
static bool is_unreachable(enum http_relay_result result)
{
    return result == HTTP_RELAY_CONNECT_FAILED || result == HTTP_RELAY_CONNECT_TIMEOUT ||
           result == HTTP_RELAY_CLOSED_EARLY;
}

static void tell(const struct balancing *balancing, enum http_relay_result result)
{
    const struct gateway *gateway = balancing->front->gateway;
    const char *url = balancer_target_url(balancing->target), *reason = http_relay_result_text(result);
    struct balance_failure *failure = malloc(sizeof *failure + strlen(url) + strlen(reason) + 2);
    if (failure == NULL)
        return; /* its checks find out */
    failure->backend = gateway->backend;
    (void)put_text(put_text((char *)(failure + 1), url, &failure->url), reason, &failure->reason);
    rpc_loop_post(gateway->rpc_loop, balance_attempt_failed, failure);
}

static void attempted(void *context, struct http_exchange *exchange, const struct http_relay_attempt *attempt)
{
    struct balancing *balancing = context;
    struct front_metrics *metrics = &balancing->front->metrics;
    (void)exchange;
    balancing->last_result = attempt->result;
    metrics_add(&metrics->relay_attempts[attempt->result], 1);
    if (attempt->will_retry)
        metrics_add(&metrics->relay_retries, 1);
    balancer_target_count(balancing->target,
                          attempt->result != HTTP_RELAY_ANSWERED && attempt->result != HTTP_RELAY_CLIENT_GONE);
    if (is_unreachable(attempt->result))
        tell(balancing, attempt->result);
}

static void failed(void *context, struct http_exchange *exchange, enum http_relay_result result)
{
    struct balancing *balancing = context;
    struct front *front = balancing->front;
    const char *who = balancing->target == NULL ? "" : balancer_target_origin(balancing->target)->authority;
    if (result == HTTP_RELAY_NO_TARGET && balancing->attempt > 0)
        result = balancing->last_result;
    switch (result) {
    case HTTP_RELAY_NO_TARGET:
        front_fail(front, exchange, ERROR_NO_UPSTREAM, "no upstream is up; GET /health says how each of them is");
        break;
    case HTTP_RELAY_CONNECT_FAILED:
    case HTTP_RELAY_CONNECT_TIMEOUT:
        front_fail(front, exchange, ERROR_NO_UPSTREAM, "no upstream could be reached; try again in a moment");
        break;
    case HTTP_RELAY_TIMEOUT:
        front_fail(front, exchange, ERROR_UPSTREAM_TIMEOUT, "upstream %s did not answer in time", who);
        break;
    default:
        front_fail(front, exchange, ERROR_UPSTREAM_FAILED, "upstream %s failed: %s", who,
                   http_relay_result_text(result));
        break;
    }
}

/* --- Links --- */

/* The URL of a worker's link leads through us when the gateways that may hold it stand behind us. A gateway that does
 * not hold it may be asking for a request that came from here: so that is no loop, and passes on as often as hops do.
 */
static bool is_for_link(const struct http_exchange *exchange)
{
    struct http_text path = http_head_path(http_exchange_head(exchange));
    return path.bytes > strlen(LINK_PATH) && memcmp(path.data, LINK_PATH, strlen(LINK_PATH)) == 0;
}

/* This gateway does not hold the link; another one may. */
static bool has_no_link(void *context, struct http_exchange *exchange, const struct http_head *head)
{
    const struct balancing *balancing = context;
    (void)exchange;
    return front_link_is_away(head) &&
           balancer_choose(balancing->table, balancing->request, balancing->attempt) != NULL;
}

/* --- Beginning --- */

static bool prepare(struct balancing *balancing)
{
    const struct http_head *head = http_exchange_head(balancing->exchange);
    struct http_text path = http_head_path(head);
    buffer_append(&balancing->path, path.data, path.bytes);
    if (head->has_query) {
        struct http_text query = http_head_query(head);
        buffer_append_char(&balancing->path, '?');
        buffer_append(&balancing->path, query.data, query.bytes);
    }
    cors_headers_for(&balancing->front->gateway->cors, http_head_get(head, "origin"), false, &balancing->cors);
    for (size_t i = 0; i < balancing->cors.count; i++)
        balancing->response_headers[balancing->response_header_count++] = balancing->cors.headers[i];
    balancing->response_headers[balancing->response_header_count++] = (struct http_header){"X-Upstream", ""};
    return !buffer_failed(&balancing->path);
}

void front_handle_balance(struct front *front, struct http_exchange *exchange)
{
    static const struct http_relay_calls calls = {.next = next, .attempted = attempted, .failed = failed};
    static const struct http_relay_calls link_calls = {
        .next = next, .attempted = attempted, .declines = has_no_link, .failed = failed};
    bool for_link = is_for_link(exchange);
    struct balancing *balancing = calloc(1, sizeof *balancing);
    if (balancing == NULL) {
        front_fail(front, exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    balancing->front = front;
    balancing->exchange = exchange;
    balancing->source = front->closed ? front->source : GUARD_NOTHING;
    balancing->request = atomic_fetch_add_explicit(&front->gateway->balanced, 1, memory_order_relaxed);
    if (front->upstream_table != NULL)
        balancing->table = balancer_table_reference(front->upstream_table);
    http_exchange_on_finished(exchange, finished, balancing);
    if (!front_add_hop(front, exchange, for_link, balancing->hops, &balancing->request_header)) {
        front_fail(front, exchange, ERROR_LOOP_DETECTED,
                   "this request has come through here before: an upstream leads back to this load balancer");
        return;
    }
    if (balancing->table == NULL) {
        front_fail(front, exchange, ERROR_NO_UPSTREAM, "the upstreams are not known yet; try again in a moment");
        return;
    }
    if (!prepare(balancing)) {
        front_fail(front, exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    http_relay(front->upstreams, exchange,
               &(struct http_relay_options){
                   .calls = for_link ? &link_calls : &calls, .context = balancing, .attempts_max = ATTEMPTS_MAX});
}

/* --- The table --- */

struct upstreams_message {
    struct loop_task task;
    struct front *front;
    struct balancer_table *table;
};

static void take_table(struct loop_task *task)
{
    struct upstreams_message *message = (struct upstreams_message *)task;
    balancer_table_release(message->front->upstream_table);
    message->front->upstream_table = message->table;
    free(message);
}

void front_set_upstreams(struct front *front, struct balancer_table *table)
{
    struct upstreams_message *message = malloc(sizeof *message);
    if (message == NULL) {
        /* The front goes on with the table that it has; the next change brings another. */
        log_error("out of memory for the upstreams");
        balancer_table_release(table);
        return;
    }
    *message = (struct upstreams_message){.task = {.run = take_table}, .front = front, .table = table};
    loop_post(front->loop, &message->task);
}
