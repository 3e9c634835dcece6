/* WebSockets of a front: /ws/events and /ws/topology.
 *
 * A subscriber is told everything that follows the revision that it has come to, as fast as it
 * takes it. What waits for it is never more than the socket's buffers and one high-water mark of
 * the server; when it stops reading, it stays where it is, and when the events that it needs
 * next have left the ring it is dropped.
 *
 * Dropped, that is: a close frame (1008, with the reason) goes behind what waits already. One that
 * reads on gets it. One that takes nothing at all for 30 s, the server's write_idle_timeout_ms, is
 * cut off without a word, since no frame gets through to it. */

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "gateway/backend.h"
#include "gateway/front.h"
#include "gateway/pieces.h"
#include "gateway/websocket.h"

/* Intervals of pings without a word from the client after which it is taken for dead. */
#define SILENT_PINGS 3

struct subscriber {
    struct loop_reapable reapable; /* first: freeing casts */
    struct subscriber *next, *previous;
    struct front *front;
    struct http_exchange *exchange;
    struct websocket *websocket;
    struct job *job;    /* asks for the revision, then for the topology if that is wanted */
    struct list *parts; /* of a long topology, that follow its first message; NULL: none do, or no more */
    struct timer timer;
    uint64_t revision; /* it has been told everything up to this one */
    uint64_t heard_at_ms;
    bool wants_topology;
    bool linked;  /* in the front's list: it is told of events */
    bool blocked; /* takes no more at the moment */
    bool over;
    char accept[WEBSOCKET_ACCEPT_BYTES];
};

/* --- The parts of a long topology --- */

static void ask_for_part(struct list *parts)
{
    rpc_loop_post(parts->pieces.front->gateway->rpc_loop, parts->pieces.next, parts);
}

/* Nobody waits for them any more. If they are at the backend, they end when they come back. */
static void abandon_parts(struct subscriber *subscriber)
{
    struct list *parts = subscriber->parts;
    subscriber->parts = NULL;
    if (parts == NULL)
        return;
    parts->subscriber = NULL;
    if (!parts->pieces.is_blocked)
        return;
    parts->pieces.is_blocked = false;
    parts->pieces.cancelled = true;
    ask_for_part(parts);
}

static void free_parts(struct list *parts)
{
    atomic_fetch_sub_explicit(&parts->pieces.front->gateway->jobs, 1, memory_order_relaxed);
    buffer_free(&parts->pieces.body);
    free(parts);
}

/* --- The end --- */

static void free_subscriber(struct loop_reapable *reapable)
{
    struct subscriber *subscriber = (struct subscriber *)reapable;
    websocket_free(subscriber->websocket);
    if (subscriber->job != NULL)
        front_free_job(subscriber->job);
    free(subscriber);
}

static void finished(void *context, struct http_exchange *exchange)
{
    struct subscriber *subscriber = context;
    struct front *front = subscriber->front;
    (void)exchange;
    subscriber->over = true;
    abandon_parts(subscriber);
    loop_timer_stop(front->loop, &subscriber->timer);
    if (subscriber->linked) {
        if (subscriber->next != NULL)
            subscriber->next->previous = subscriber->previous;
        if (subscriber->previous != NULL)
            subscriber->previous->next = subscriber->next;
        else
            front->subscribers = subscriber->next;
    }
    atomic_store_explicit(&front->gateway->subscriber_left_at_ms, loop_now_ms(front->loop), memory_order_relaxed);
    atomic_fetch_sub_explicit(&front->gateway->subscribers, 1, memory_order_relaxed);
    /* Later: frames of it may be on the stack. */
    loop_reap(front->loop, &subscriber->reapable, free_subscriber);
}

static void end(struct subscriber *subscriber)
{
    if (subscriber->over)
        return;
    subscriber->over = true;
    http_response_end(subscriber->exchange);
}

static void say_goodbye(struct subscriber *subscriber, enum websocket_close code, const char *reason)
{
    if (subscriber->over)
        return;
    websocket_send_close(subscriber->websocket, code, reason);
    end(subscriber);
}

static void drop(struct subscriber *subscriber, const char *reason)
{
    if (subscriber->over)
        return;
    log_warning("a subscriber is dropped", LOG_TEXT("reason", reason),
                LOG_TEXT("client", http_exchange_client_address(subscriber->exchange)),
                LOG_UINT("revision", subscriber->revision), LOG_UINT("newest", subscriber->front->events.newest),
                LOG_TEXT("request_id", http_exchange_request_id(subscriber->exchange)));
    say_goodbye(subscriber, WEBSOCKET_CLOSE_POLICY, reason);
}

static void client_gone(void *context, struct http_exchange *exchange)
{
    struct subscriber *subscriber = context;
    if (subscriber->blocked && !subscriber->over)
        log_warning("a subscriber went away, or was cut off, without taking what was sent",
                    LOG_TEXT("client", http_exchange_client_address(exchange)));
    subscriber->over = true;
    http_exchange_abort(exchange);
}

/* --- What it is told --- */

static void send_bytes(void *context, const void *data, size_t bytes)
{
    struct subscriber *subscriber = context;
    if (!subscriber->over && !http_response_write(subscriber->exchange, data, bytes))
        subscriber->blocked = true;
}

static void tell(struct subscriber *subscriber, const char *text, size_t bytes)
{
    if (!subscriber->over && !websocket_send_text(subscriber->websocket, text, bytes))
        end(subscriber);
}

/* Everything that it may know by now and takes. */
static void catch_up(struct subscriber *subscriber)
{
    const struct event_ring *ring = &subscriber->front->events;
    while (!subscriber->over && !subscriber->blocked && subscriber->revision < ring->newest) {
        if (!event_ring_continues(ring, subscriber->revision)) {
            drop(subscriber, "too slow: events were missed; connect again");
            return;
        }
        struct http_text text = http_shared_text(event_ring_after(ring, subscriber->revision));
        subscriber->revision++;
        tell(subscriber, text.data, text.bytes);
    }
}

static void part_arrived(struct loop_task *task)
{
    struct list *parts = (struct list *)task;
    struct subscriber *subscriber = parts->subscriber;
    bool fine = !buffer_failed(&parts->pieces.body);
    if (subscriber != NULL && !fine)
        drop(subscriber, "out of memory for the topology; connect again");
    else if (subscriber != NULL)
        tell(subscriber, parts->pieces.body.data, parts->pieces.body.bytes);
    if (parts->pieces.complete) {
        if (subscriber != NULL)
            subscriber->parts = NULL;
        free_parts(parts);
        return;
    }
    parts->pieces.is_blocked = subscriber != NULL && fine && subscriber->blocked;
    parts->pieces.cancelled = subscriber == NULL || !fine;
    if (!parts->pieces.is_blocked)
        ask_for_part(parts);
}

/* Without memory it is dropped: it would take the first workers for all. */
static void start_parts(struct subscriber *subscriber)
{
    struct front *front = subscriber->front;
    if (subscriber->over)
        return;
    struct list *parts = calloc(1, sizeof *parts);
    if (parts == NULL) {
        drop(subscriber, "out of memory for the topology; connect again");
        return;
    }
    parts->pieces.back.run = part_arrived;
    parts->pieces.backend = front->gateway->backend;
    parts->pieces.front = front;
    parts->pieces.next = backend_run_topology_parts;
    parts->subscriber = subscriber;
    subscriber->parts = parts;
    atomic_fetch_add_explicit(&front->gateway->jobs, 1, memory_order_relaxed);
    ask_for_part(parts);
}

static void writable(void *context, struct http_exchange *exchange)
{
    struct subscriber *subscriber = context;
    subscriber->blocked = false;
    catch_up(subscriber);
    if (!subscriber->over && !subscriber->blocked && subscriber->parts != NULL &&
        subscriber->parts->pieces.is_blocked) {
        subscriber->parts->pieces.is_blocked = false;
        ask_for_part(subscriber->parts);
    }
    if (!subscriber->over && !subscriber->blocked)
        http_exchange_resume_body(exchange);
}

/* --- What it says --- */

static size_t take_bytes(void *context, struct http_exchange *exchange, const char *data, size_t bytes)
{
    struct subscriber *subscriber = context;
    (void)exchange;
    if (subscriber->over)
        return bytes;
    if (subscriber->blocked)
        return 0; /* each ping wants an answer: none are read while answers are not taken */
    subscriber->heard_at_ms = loop_now_ms(subscriber->front->loop);
    if (!websocket_receive(subscriber->websocket, data, bytes))
        end(subscriber);
    return bytes;
}

static void input_ended(void *context, struct http_exchange *exchange, enum http_body_end how)
{
    (void)how;
    client_gone(context, exchange);
}

static void ping_due(struct timer *timer, void *argument)
{
    struct subscriber *subscriber = argument;
    struct front *front = subscriber->front;
    uint64_t interval_ms = (uint64_t)(front->gateway->settings.websocket_ping_seconds * 1000);
    if (subscriber->over)
        return;
    if (loop_now_ms(front->loop) - subscriber->heard_at_ms >= SILENT_PINGS * interval_ms) {
        drop(subscriber, "no answer to pings");
        return;
    }
    loop_timer_start(front->loop, timer, interval_ms, ping_due, subscriber);
    if (!subscriber->blocked && !websocket_send_ping(subscriber->websocket))
        end(subscriber);
}

/* --- The beginning --- */

static void greet(struct subscriber *subscriber, const char *type, bool missed, struct http_text topology)
{
    struct buffer text = BUFFER_INIT;
    struct json_writer writer = json_writer_into(&text);
    json_write_object_begin(&writer);
    json_write_key(&writer, "type");
    json_write_text(&writer, type);
    json_write_key(&writer, "revision");
    json_write_uint(&writer, subscriber->revision);
    json_write_key(&writer, "missed");
    json_write_bool(&writer, missed);
    if (topology.data != NULL) {
        json_write_key(&writer, "topology");
        json_write_raw(&writer, topology.data, topology.bytes);
    }
    json_write_object_end(&writer);
    if (buffer_failed(&text))
        end(subscriber);
    else
        tell(subscriber, text.data, text.bytes);
    buffer_free(&text);
}

static bool upgrade(struct subscriber *subscriber)
{
    static const struct http_body_reader reader = {take_bytes, input_ended};
    struct front *front = subscriber->front;
    const struct http_header headers[] = {{"Sec-WebSocket-Accept", subscriber->accept},
                                          {"Sec-WebSocket-Protocol", WEBSOCKET_PROTOCOL}};
    bool offered = http_head_has_token(http_exchange_head(subscriber->exchange), "sec-websocket-protocol",
                                       WEBSOCKET_PROTOCOL);
    http_exchange_on_client_gone(subscriber->exchange, client_gone, subscriber);
    http_response_on_writable(subscriber->exchange, writable, subscriber);
    subscriber->heard_at_ms = loop_now_ms(front->loop);
    if (!http_response_upgrade(subscriber->exchange, "websocket", headers, offered ? 2 : 1, &reader, subscriber)) {
        front_fail(front, subscriber->exchange, ERROR_INVALID_HANDSHAKE, "a WebSocket handshake has no body");
        return false;
    }
    return !subscriber->over;
}

/* From here on it is told what happens. */
static void follow(struct subscriber *subscriber)
{
    struct front *front = subscriber->front;
    if (subscriber->over)
        return;
    subscriber->next = front->subscribers;
    if (subscriber->next != NULL)
        subscriber->next->previous = subscriber;
    front->subscribers = subscriber;
    subscriber->linked = true;
    loop_timer_start(front->loop, &subscriber->timer,
                     (uint64_t)(front->gateway->settings.websocket_ping_seconds * 1000), ping_due, subscriber);
    catch_up(subscriber);
}

static void topology_arrived(struct job *job)
{
    struct subscriber *subscriber = job->context;
    if (job->rendered == NULL) {
        front_fail(subscriber->front, subscriber->exchange, ERROR_INTERNAL,
                   "the topology could not be rendered; try again");
        return;
    }
    bool missed = subscriber->revision != 0;
    subscriber->revision = job->rendered->event_revision;
    if (!upgrade(subscriber))
        return;
    greet(subscriber, "topology", missed, http_shared_text(job->rendered->body));
    follow(subscriber);
    if (job->is_long)
        start_parts(subscriber);
}

static void ask_for_topology(struct subscriber *subscriber)
{
    struct job *job = subscriber->job;
    job->view = VIEW_TOPOLOGY;
    job->run = backend_run_view;
    job->arrived = topology_arrived;
    front_submit(job);
}

/* Where it was; 0: it does not say. Checked against the route's query already. */
static uint64_t since_of(const struct http_exchange *exchange)
{
    char text[32];
    int64_t bytes = http_query_get(http_head_query(http_exchange_head(exchange)), "since", text, sizeof text);
    return bytes > 0 ? strtoull(text, NULL, 10) : 0;
}

/* The backend renders events from this revision on, if it did not before. */
static void subscribed(struct job *job)
{
    struct subscriber *subscriber = job->context;
    struct event_ring *ring = &subscriber->front->events;
    event_ring_skip(ring, job->event_revision);
    uint64_t since = since_of(subscriber->exchange);
    bool continues = since != 0 && event_ring_continues(ring, since);
    subscriber->revision = since;
    if (subscriber->wants_topology && !continues) {
        ask_for_topology(subscriber);
        return;
    }
    if (!continues)
        subscriber->revision = ring->newest;
    if (!upgrade(subscriber))
        return;
    greet(subscriber, since != 0 && !continues ? "reset" : "ready", since != 0 && !continues,
          (struct http_text){NULL, 0});
    follow(subscriber);
}

static void start(struct subscriber *subscriber, const struct api_route *route)
{
    struct job *job = front_job(subscriber->front, subscriber->exchange, route);
    http_exchange_on_finished(subscriber->exchange, finished, subscriber);
    if (job == NULL)
        return;
    subscriber->job = job;
    job->run = backend_run_subscribe;
    job->arrived = subscribed;
    job->context = subscriber;
    front_submit(job);
}

bool front_accepts_websocket(struct front *front, struct http_exchange *exchange, char accept[WEBSOCKET_ACCEPT_BYTES])
{
    const struct http_head *head = http_exchange_head(exchange);
    switch (websocket_judge(head, &front->gateway->cors, accept)) {
    case WEBSOCKET_ACCEPTED:
        return true;
    case WEBSOCKET_NOT_ASKED_FOR:
        front_fail(front, exchange, ERROR_UPGRADE_REQUIRED,
                   "this is a WebSocket: send GET with Connection: Upgrade and Upgrade: websocket");
        return false;
    case WEBSOCKET_WRONG_VERSION:
        front_fail(front, exchange, ERROR_UPGRADE_REQUIRED, "Sec-WebSocket-Version must be " WEBSOCKET_VERSION);
        return false;
    case WEBSOCKET_BAD_KEY:
        front_fail(front, exchange, ERROR_INVALID_HANDSHAKE,
                   "Sec-WebSocket-Key must be 16 bytes in base64, and there must be no body");
        return false;
    case WEBSOCKET_FORBIDDEN_ORIGIN:
        front_fail(front, exchange, ERROR_FORBIDDEN_ORIGIN,
                   "pages of this Origin may not connect; --allowed-origins names those that may");
        return false;
    }
    return false;
}

void front_handle_subscription(struct front *front, struct http_exchange *exchange, const struct api_route *route)
{
    char accept[WEBSOCKET_ACCEPT_BYTES];
    if (!front_accepts_websocket(front, exchange, accept))
        return;
    struct gateway *gateway = front->gateway;
    struct subscriber *subscriber = calloc(1, sizeof *subscriber);
    if (subscriber == NULL) {
        front_fail(front, exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    subscriber->websocket = websocket_create(send_bytes, subscriber);
    bool room =
        atomic_fetch_add_explicit(&gateway->subscribers, 1, memory_order_relaxed) < gateway->settings.websockets_max;
    if (subscriber->websocket == NULL || !room) {
        atomic_fetch_sub_explicit(&gateway->subscribers, 1, memory_order_relaxed);
        websocket_free(subscriber->websocket);
        free(subscriber);
        front_fail(front, exchange, room ? ERROR_INTERNAL : ERROR_TOO_MANY_CONNECTIONS, "%s",
                   room ? "out of memory" : "there are as many WebSockets as --websockets-max allows; try again later");
        return;
    }
    subscriber->front = front;
    subscriber->exchange = exchange;
    subscriber->wants_topology = route->operation == API_WS_TOPOLOGY;
    memcpy(subscriber->accept, accept, sizeof accept);
    start(subscriber, route);
}

/* --- News --- */

static void events_arrived(struct loop_task *task)
{
    struct front_events *message = (struct front_events *)task;
    struct front *front = message->front;
    for (size_t i = 0; i < message->count; i++) {
        event_ring_push(&front->events, &message->list[i]);
        http_shared_release(message->list[i].text);
    }
    free(message);
    struct subscriber *next;
    for (struct subscriber *subscriber = front->subscribers; subscriber != NULL; subscriber = next) {
        next = subscriber->next;
        if (!event_ring_continues(&front->events, subscriber->revision))
            drop(subscriber, "too slow: events were missed; connect again");
        else
            catch_up(subscriber);
    }
}

void front_take_events(struct front_events *message)
{
    message->task.run = events_arrived;
    loop_post(message->front->loop, &message->task);
}

void front_dismiss_subscribers(struct front *front)
{
    struct subscriber *next;
    for (struct subscriber *subscriber = front->subscribers; subscriber != NULL; subscriber = next) {
        next = subscriber->next;
        say_goodbye(subscriber, WEBSOCKET_CLOSE_GOING_AWAY, "the gateway is stopping");
    }
}
