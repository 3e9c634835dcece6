/* Links (common/link): WebSockets of workers that nobody can connect to, and the requests that go through them.
 *
 * A worker that keeps a link registers OUR_URL/link/NAME as its URL. A request for it that comes to the gateway that
 * holds the link goes straight into it, on whichever front it is: the relay takes a connection to it like to any other
 * worker, only that this one is a pair of sockets, the other end of which is handed to the front that has the link. To
 * all others, other gateways, edge proxies, whoever has the list of workers, the URL is a URL: they ask us, and
 * front_handle_link_request passes it on. Who does not hold the link says so with LINK_AWAY_HEADER, and whoever asked
 * turns to another worker; a load balancer of ours, to the next gateway behind it (front_balance.c). A request that came
 * by the URL is never passed on to another gateway, so that none runs in circles.
 *
 * When the gateway stops, links stay until the requests in them are answered. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/link/streams.h"
#include "common/log.h"
#include "gateway/front.h"
#include "gateway/links.h"

/* Intervals of pings without a word from the worker after which it is taken for dead. */
#define SILENT_PINGS 3
#define DISMISS_INTERVAL_MS 50

struct front_link {
    struct loop_reapable reapable; /* first: freeing casts */
    struct front_link *next, *previous;
    struct front *front;
    struct http_exchange *exchange;
    struct link_streams *streams;
    struct timer timer;
    uint64_t heard_at_ms;
    bool entered; /* among the gateway's links */
    bool over;    /* the exchange was ended */
    char name[LINK_NAME_BYTES];
    char worker_id[FRONT_NAME_BYTES];
};

/* --- The end --- */

static void free_link(struct loop_reapable *reapable)
{
    free(reapable);
}

static void link_finished(void *context, struct http_exchange *exchange)
{
    struct front_link *link = context;
    struct front *front = link->front;
    (void)exchange;
    loop_timer_stop(front->loop, &link->timer);
    if (link->entered) {
        const char *error = link->streams == NULL ? "" : link_streams_error(link->streams);
        links_leave(front->gateway->links, link->name, link);
        log_info("a worker's link is gone", LOG_TEXT("worker_id", link->worker_id),
                 LOG_TEXT("reason", error[0] != '\0' ? error : "the connection broke"));
        if (link->next != NULL)
            link->next->previous = link->previous;
        if (link->previous != NULL)
            link->previous->next = link->next;
        else
            front->links = link->next;
    }
    link_streams_free(link->streams);
    link->streams = NULL;
    loop_reap(front->loop, &link->reapable, free_link); /* frames of it may be on the stack */
}

static void worker_gone(void *context, struct http_exchange *exchange)
{
    struct front_link *link = context;
    link->over = true;
    http_exchange_abort(exchange);
}

static void link_over(void *context)
{
    struct front_link *link = context;
    if (link->over)
        return;
    link->over = true;
    http_response_end(link->exchange);
}

/* --- The WebSocket --- */

static bool send_bytes(void *context, const void *data, size_t bytes)
{
    struct front_link *link = context;
    return link->over || http_response_write(link->exchange, data, bytes);
}

static void writable(void *context, struct http_exchange *exchange)
{
    struct front_link *link = context;
    (void)exchange;
    if (!link->over && link->streams != NULL)
        link_streams_writable(link->streams);
}

/* Always taken: what comes is bounded by the streams' windows, and two sides that do not read until they have written
 * would wait for each other. */
static size_t take_bytes(void *context, struct http_exchange *exchange, const char *data, size_t bytes)
{
    struct front_link *link = context;
    (void)exchange;
    if (link->over)
        return bytes;
    link->heard_at_ms = loop_now_ms(link->front->loop);
    link_streams_receive(link->streams, data, bytes);
    return bytes;
}

static void input_ended(void *context, struct http_exchange *exchange, enum http_body_end how)
{
    (void)how;
    worker_gone(context, exchange);
}

static void ping_due(struct timer *timer, void *argument)
{
    struct front_link *link = argument;
    struct front *front = link->front;
    uint64_t interval_ms = (uint64_t)(front->gateway->settings.websocket_ping_seconds * 1000);
    if (link->over)
        return;
    loop_timer_start(front->loop, timer, interval_ms, ping_due, link);
    if (loop_now_ms(front->loop) - link->heard_at_ms >= SILENT_PINGS * interval_ms)
        link_streams_close(link->streams, "no answer to pings");
    else
        link_streams_ping(link->streams);
}

/* --- Other fronts --- */

/* For the front that has the link of that name. */
struct link_task {
    struct loop_task task;
    struct front *front;
    const struct front_link *replaced; /* to be closed, if it is still there; NULL: a socket is handed in */
    int descriptor;
    char name[LINK_NAME_BYTES];
};

static void hand_in(struct loop_task *task)
{
    struct link_task *message = (struct link_task *)task;
    struct links_place place = links_find(message->front->gateway->links, message->name);
    /* On this thread nobody else ends it. */
    if (place.front == message->front && !place.link->over)
        link_streams_hand_in(place.link->streams, message->descriptor);
    else
        close(message->descriptor);
    free(message);
}

static void close_replaced(struct loop_task *task)
{
    struct link_task *message = (struct link_task *)task;
    struct front_link *link = message->front->links;
    while (link != NULL && link != message->replaced)
        link = link->next;
    /* Or it is gone, and this is another one at the same place in memory. */
    if (link != NULL && !link->over && links_find(link->front->gateway->links, link->name).link != link)
        link_streams_close(link->streams, "the worker has opened another one");
    free(message);
}

static bool post_to(struct front *front, const char *name, const struct front_link *replaced, int descriptor)
{
    struct link_task *message = malloc(sizeof *message);
    if (message == NULL)
        return false;
    *message = (struct link_task){.task = {.run = replaced != NULL ? close_replaced : hand_in},
                                  .front = front,
                                  .replaced = replaced,
                                  .descriptor = descriptor};
    strcpy(message->name, name);
    loop_post(front->loop, &message->task);
    return true;
}

int front_link_dial(void *context, const char *name)
{
    struct front *front = context;
    struct links_place place = links_find(front->gateway->links, name);
    int ends[2];
    if (place.front == NULL || !link_socket_pair(ends))
        return -1;
    if (place.front == front && !place.link->over) {
        link_streams_hand_in(place.link->streams, ends[1]);
    } else if (place.front == front || !post_to(place.front, name, NULL, ends[1])) {
        close(ends[0]);
        close(ends[1]);
        return -1;
    }
    return ends[0];
}

/* --- Opening --- */

/* Nothing of it is left if it fails; the exchange was answered then. */
static void open_link(struct front_link *link, const char *accept)
{
    static const struct http_body_reader reader = {take_bytes, input_ended};
    static const struct link_streams_calls calls = {send_bytes, link_over, NULL};
    struct front *front = link->front;
    const struct http_header headers[] = {{"Sec-WebSocket-Accept", accept}};
    http_exchange_on_finished(link->exchange, link_finished, link);
    http_exchange_on_client_gone(link->exchange, worker_gone, link);
    http_response_on_writable(link->exchange, writable, link);
    link->streams = link_streams_create(front->loop, LINK_GATEWAY, &calls, link);
    if (link->streams == NULL) {
        front_fail(front, link->exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    struct links_place place = {front, link}, replaced;
    enum links_result result = links_enter(front->gateway->links, link->name, &place, &replaced);
    if (result != LINKS_ENTERED) {
        link->over = true;
        front_fail(front, link->exchange, result == LINKS_FULL ? ERROR_TOO_MANY_CONNECTIONS : ERROR_INTERNAL, "%s",
                   result == LINKS_FULL ? "there are as many links as --links-max allows; use another coordinator"
                                        : "out of memory");
        return;
    }
    link->entered = true;
    link->next = front->links;
    if (link->next != NULL)
        link->next->previous = link;
    front->links = link;
    log_info("a worker's link is open", LOG_TEXT("worker_id", link->worker_id),
             LOG_TEXT("client", http_exchange_client_address(link->exchange)));
    if (replaced.front != NULL) /* without memory it stays until it breaks, and nobody uses it */
        (void)post_to(replaced.front, link->name, replaced.link, -1);
    link->heard_at_ms = loop_now_ms(front->loop);
    loop_timer_start(front->loop, &link->timer, (uint64_t)(front->gateway->settings.websocket_ping_seconds * 1000),
                     ping_due, link);
    metrics_add(&front->metrics.links_opened, 1);
    if (!http_response_upgrade(link->exchange, "websocket", headers, 1, &reader, link)) {
        link->over = true;
        front_fail(front, link->exchange, ERROR_INVALID_HANDSHAKE, "a WebSocket handshake has no body");
    }
}

void front_handle_link_socket(struct front *front, struct http_exchange *exchange, const struct api_match *match)
{
    char accept[LINK_ACCEPT_BYTES];
    struct http_text secret = http_head_get(http_exchange_head(exchange), LINK_SECRET_HEADER);
    struct front_link *link = calloc(1, sizeof *link);
    if (link == NULL) {
        front_fail(front, exchange, ERROR_INTERNAL, "out of memory");
    } else if (front_read_name(front, exchange, match, link->worker_id) < 0 ||
               !front_accepts_websocket(front, exchange, accept)) {
        /* It was answered. */
    } else if (atomic_load(&front->gateway->draining)) {
        front_fail(front, exchange, ERROR_NOT_READY, "the gateway is stopping");
    } else if (!link_name(secret.data, secret.bytes, link->name)) {
        front_fail(front, exchange, ERROR_INVALID_HANDSHAKE,
                   LINK_SECRET_HEADER " must be 64 hexadecimal digits in lower case, which the worker has made up");
    } else {
        link->front = front;
        link->exchange = exchange;
        open_link(link, accept);
        return;
    }
    free(link);
}

/* --- Requests --- */

bool front_link_redirect(struct front *front, struct http_origin *origin, bool *through_link)
{
    char name[LINK_NAME_BYTES];
    const char *rest;
    *through_link = link_name_in_path(origin->prefix, name, &rest);
    if (!*through_link || links_find(front->gateway->links, name).front == NULL)
        return false;
    memmove(origin->prefix, rest, strlen(rest) + 1);
    strcpy(origin->host, name);
    snprintf(origin->key, sizeof origin->key, "link://%s", name);
    origin->tls = false;
    origin->dialled = true;
    return true;
}

bool front_link_is_away(const struct http_head *head)
{
    return http_head_get(head, LINK_AWAY_HEADER).data != NULL;
}

struct link_relay {
    struct front *front;
    struct http_origin origin;
    struct buffer path;
    bool under_way;
};

static void relay_finished(void *context, struct http_exchange *exchange)
{
    struct link_relay *relay = context;
    (void)exchange;
    buffer_free(&relay->path);
    free(relay);
}

static bool next(void *context, struct http_exchange *exchange, unsigned number, struct http_relay_target *target)
{
    struct link_relay *relay = context;
    (void)exchange;
    if (number > 1)
        return false;
    relay->under_way = true;
    front_link_begin(relay->front);
    *target = (struct http_relay_target){.origin = &relay->origin, .path = {relay->path.data, relay->path.bytes}};
    return true;
}

static void attempted(void *context, struct http_exchange *exchange, const struct http_relay_attempt *attempt)
{
    struct link_relay *relay = context;
    (void)exchange;
    (void)attempt;
    front_link_end(relay->front);
}

static void answer_away(struct front *front, struct http_exchange *exchange)
{
    struct buffer body = BUFFER_INIT;
    error_render(error_kind(ERROR_NO_WORKER)->code,
                 "the worker's link is not open here; it comes back by itself, try again in a moment", &body);
    front_answer(front, exchange,
                 &(struct answer){.status = error_kind(ERROR_NO_WORKER)->status,
                                  .body = body.data,
                                  .body_bytes = body.bytes,
                                  .retry_after_seconds = 1,
                                  .link_is_away = true});
    buffer_free(&body);
}

static void failed(void *context, struct http_exchange *exchange, enum http_relay_result result)
{
    struct link_relay *relay = context;
    switch (result) {
    case HTTP_RELAY_NO_TARGET:
    case HTTP_RELAY_CONNECT_FAILED:
    case HTTP_RELAY_CONNECT_TIMEOUT:
        answer_away(relay->front, exchange);
        break;
    case HTTP_RELAY_TIMEOUT:
        front_fail(relay->front, exchange, ERROR_WORKER_TIMEOUT, "the worker did not answer in time");
        break;
    default:
        front_fail(relay->front, exchange, ERROR_WORKER_FAILED, "the worker failed: %s",
                   http_relay_result_text(result));
        break;
    }
}

void front_handle_link_request(struct front *front, struct http_exchange *exchange, const struct api_match *match)
{
    static const struct http_relay_calls calls = {.next = next, .attempted = attempted, .failed = failed};
    const struct http_head *head = http_exchange_head(exchange);
    struct link_relay *relay = calloc(1, sizeof *relay);
    bool through_link;
    if (relay == NULL) {
        front_fail(front, exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    relay->front = front;
    http_exchange_on_finished(exchange, relay_finished, relay);
    snprintf(relay->origin.prefix, sizeof relay->origin.prefix, LINK_PATH "%.*s",
             (int)(match->parameters[0].bytes < 64 ? match->parameters[0].bytes : 64), match->parameters[0].data);
    strcpy(relay->origin.authority, "worker.link");
    if (!front_link_redirect(front, &relay->origin, &through_link)) {
        answer_away(front, exchange);
        return;
    }
    buffer_append(&relay->path, match->rest.data, match->rest.bytes);
    if (head->has_query) {
        struct http_text query = http_head_query(head);
        buffer_append_char(&relay->path, '?');
        buffer_append(&relay->path, query.data, query.bytes);
    }
    if (buffer_failed(&relay->path)) {
        front_fail(front, exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    http_relay(front->upstreams, exchange,
               &(struct http_relay_options){.calls = &calls, .context = relay, .attempts_max = 1});
}

/* --- Stopping --- */

static void dismiss(struct timer *timer, void *argument)
{
    struct front *front = argument;
    if (atomic_load_explicit(&front->gateway->link_requests, memory_order_relaxed) > 0) {
        loop_timer_start(front->loop, timer, DISMISS_INTERVAL_MS, dismiss, front);
        return;
    }
    for (struct front_link *link = front->links; link != NULL; link = link->next) {
        if (!link->over)
            link_streams_close(link->streams, "the gateway is stopping");
    }
}

void front_dismiss_links(struct front *front)
{
    loop_timer_start(front->loop, &front->links_timer, DISMISS_INTERVAL_MS, dismiss, front);
}
