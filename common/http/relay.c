/* Relays: attempts, timeouts and the end; see relay.h and relay_inside.h. */

#include "common/http/relay_inside.h"

#include <stdlib.h>
#include <string.h>

#define FREE_RELAYS_MAX 1024

const char *http_relay_result_text(enum http_relay_result result)
{
    switch (result) {
    case HTTP_RELAY_ANSWERED:
        return "answered";
    case HTTP_RELAY_NO_TARGET:
        return "no upstream";
    case HTTP_RELAY_CONNECT_FAILED:
        return "the upstream could not be connected to";
    case HTTP_RELAY_CONNECT_TIMEOUT:
        return "the upstream did not accept the connection in time";
    case HTTP_RELAY_CLOSED_EARLY:
        return "the upstream closed the connection before it answered";
    case HTTP_RELAY_TIMEOUT:
        return "the upstream did not answer in time";
    case HTTP_RELAY_MALFORMED:
        return "the upstream's answer was malformed";
    case HTTP_RELAY_TRUNCATED:
        return "the upstream's answer broke off";
    case HTTP_RELAY_DECLINED:
        return "the upstream declined the request";
    case HTTP_RELAY_CLIENT_GONE:
        return "the client went away";
    }
    return "unknown";
}

static void next_attempt(struct http_relay *relay);
static void begin_attempt(struct http_relay *relay, bool fresh);

/* --- The end --------------------------------------------------------------------------------- */

static void recycle(struct loop_reapable *reapable)
{
    struct http_relay *relay = (struct http_relay *)reapable;
    struct http_upstreams *upstreams = relay->upstreams;
    if (upstreams->free_relay_count >= FREE_RELAYS_MAX) {
        free(relay);
        return;
    }
    relay->next_free = upstreams->free_relays;
    upstreams->free_relays = relay;
    upstreams->free_relay_count++;
}

void http_relays_free(struct http_upstreams *upstreams)
{
    while (upstreams->free_relays != NULL) {
        struct http_relay *relay = upstreams->free_relays;
        upstreams->free_relays = relay->next_free;
        free(relay);
    }
}

/* Lets go of everything but the exchange, which the caller ends. */
void relay_release(struct http_relay *relay)
{
    struct http_exchange *exchange = relay->exchange;
    relay->phase = RELAY_OVER;
    loop_timer_stop(relay->upstreams->loop, &relay->timer);
    if (relay->connection != NULL)
        upstream_close(relay->connection);
    relay->connection = NULL;
    http_output_clear(&relay->output);
    buffer_free(&relay->held);
    buffer_free(&relay->input);
    exchange->gone = relay->gone;
    exchange->gone_context = relay->gone_context;
    exchange->writable = NULL;
    if (!exchange->body_over)
        exchange->body_mode = BODY_UNDECIDED; /* its reader was this relay */
    loop_reap(relay->upstreams->loop, &relay->reapable, recycle);
}

void relay_report(struct http_relay *relay, enum http_relay_result result, bool will_retry)
{
    if (relay->options.calls->attempted == NULL || relay->phase == RELAY_IDLE)
        return;
    const struct http_relay_attempt attempt = {
        .result = result,
        .number = relay->number,
        .status = relay->head.status,
        .reused_connection = relay->connection != NULL && relay->connection->reused,
        .will_retry = will_retry,
        .first_byte_us = relay->first_byte_us != 0 ? relay->first_byte_us - relay->started_us : 0,
        .duration_us = loop_clock_us() - relay->started_us,
        .sent_body_bytes = relay->sent_body_bytes,
        .received_body_bytes = relay->received_body_bytes,
        .origin = relay->target.origin,
    };
    relay->options.calls->attempted(relay->options.context, relay->exchange, &attempt);
}

/* --- Attempts that failed ---------------------------------------------------------------------- */

bool relay_is_repeatable(const struct http_relay *relay)
{
    return relay->options.safe_to_repeat || http_method_is_idempotent(relay->exchange->head.method);
}

static bool may_try_again(const struct http_relay *relay, enum http_relay_result result)
{
    if (relay->held_lost)
        return false;
    switch (result) {
    case HTTP_RELAY_CONNECT_FAILED:
    case HTTP_RELAY_CONNECT_TIMEOUT:
    case HTTP_RELAY_DECLINED:
        return true;
    case HTTP_RELAY_CLOSED_EARLY:
    case HTTP_RELAY_TIMEOUT:
        return relay->sent_bytes == 0 || relay_is_repeatable(relay);
    default:
        return false;
    }
}

/* A pooled connection that the upstream had closed, or was closing, when it was used. */
static bool was_stale(const struct http_relay *relay, enum http_relay_result result)
{
    return result == HTTP_RELAY_CLOSED_EARLY && relay->connection != NULL && relay->connection->reused &&
           relay->first_byte_us == 0 && !relay->held_lost &&
           (relay->sent_bytes == 0 || relay->upload_framing == HTTP_FRAMING_NONE || relay_is_repeatable(relay));
}

/* Nothing was passed on to the client, and nothing more is to be tried. */
static void give_up(struct http_relay *relay, enum http_relay_result result)
{
    struct http_exchange *exchange = relay->exchange;
    const struct http_relay_options options = relay->options;
    relay_release(relay);
    options.calls->failed(options.context, exchange, result);
}

void relay_attempt_failed(struct http_relay *relay, enum http_relay_result result)
{
    bool begun = relay->phase == RELAY_ANSWERING || relay->phase == RELAY_TUNNEL;
    bool stale = !begun && was_stale(relay, result);
    bool again = !begun && !stale && relay->number < relay->options.attempts_max && may_try_again(relay, result);
    if (!stale)
        relay_report(relay, result, again);
    if (begun) {
        struct http_exchange *exchange = relay->exchange;
        relay_release(relay);
        http_exchange_cut_off(exchange);
        return;
    }
    if (relay->connection != NULL)
        upstream_close(relay->connection);
    relay->connection = NULL;
    relay->phase = RELAY_IDLE;
    relay->result = result;
    http_output_clear(&relay->output);
    buffer_clear(&relay->input);
    if (stale)
        begin_attempt(relay, true);
    else if (again)
        next_attempt(relay);
    else
        give_up(relay, result);
}

void relay_client_gone(void *context, struct http_exchange *exchange)
{
    struct http_relay *relay = context;
    if (relay->phase == RELAY_OVER)
        return;
    relay_report(relay, HTTP_RELAY_CLIENT_GONE, false);
    relay_release(relay);
    if (exchange->gone != NULL)
        exchange->gone(exchange->gone_context, exchange);
    http_exchange_abort(exchange);
}

/* --- Timeouts ------------------------------------------------------------------------------------ */

static void on_timer(struct timer *timer, void *argument);

static void set_deadline(struct http_relay *relay, uint64_t delay_ms)
{
    struct loop *loop = relay->upstreams->loop;
    relay->deadline_ms = loop_now_ms(loop) + delay_ms;
    if (!timer_active(&relay->timer) || relay->timer.bare.expires_at_ms > relay->deadline_ms)
        loop_timer_start(loop, &relay->timer, delay_ms, on_timer, relay);
}

static void on_timer(struct timer *timer, void *argument)
{
    (void)timer;
    struct http_relay *relay = argument;
    struct loop *loop = relay->upstreams->loop;
    uint64_t now_ms = loop_now_ms(loop);
    if (now_ms < relay->deadline_ms) {
        loop_timer_start(loop, &relay->timer, relay->deadline_ms - now_ms, on_timer, relay);
        return;
    }
    if (relay->phase == RELAY_ANSWERING && relay->answer_paused) {
        set_deadline(relay, relay->upstreams->config.stall_timeout_ms); /* the server watches its client */
        return;
    }
    if (relay->phase == RELAY_CONNECTING)
        relay_attempt_failed(relay, HTTP_RELAY_CONNECT_TIMEOUT);
    else if (relay->phase == RELAY_WAITING)
        relay_attempt_failed(relay, HTTP_RELAY_TIMEOUT);
    else
        relay_attempt_failed(relay, HTTP_RELAY_TRUNCATED);
    relay_pump(relay);
}

void relay_wait_for_answer(struct http_relay *relay)
{
    uint32_t own_ms = relay->options.first_byte_timeout_ms;
    set_deadline(relay, own_ms != 0 ? own_ms : relay->upstreams->config.first_byte_timeout_ms);
}

/* Something moved: the time in which the next has to starts over. */
void relay_note_progress(struct http_relay *relay)
{
    if (relay->phase == RELAY_WAITING && relay->request_complete)
        return;
    set_deadline(relay, relay->upstreams->config.stall_timeout_ms);
}

/* --- The pump ------------------------------------------------------------------------------------------ */

/* One move; false when there is none now. */
static bool move(struct http_relay *relay)
{
    struct upstream_connection *connection = relay->connection;
    switch (relay->phase) {
    case RELAY_CONNECTING:
        if (connection->state == UPSTREAM_FAILED) {
            relay_attempt_failed(relay, HTTP_RELAY_CONNECT_FAILED);
            return true;
        }
        if (connection->state != UPSTREAM_READY)
            return false;
        relay_send_request(relay);
        return true;
    case RELAY_WAITING:
    case RELAY_ANSWERING:
    case RELAY_TUNNEL:
        relay_flush(relay);
        if (relay->connection != connection || !connection->readable || relay->answer_paused)
            return relay->connection != connection;
        return relay_receive(relay);
    case RELAY_IDLE:
    case RELAY_OVER:
        break;
    }
    return false;
}

void relay_pump(struct http_relay *relay)
{
    if (relay->pumping)
        return;
    relay->pumping = true;
    while (move(relay)) {
    }
    relay->pumping = false;
}

static void on_upstream(void *owner)
{
    relay_pump(owner);
}

static void begin_attempt(struct http_relay *relay, bool fresh)
{
    relay->phase = RELAY_CONNECTING;
    relay->request_complete = false;
    relay->sent_bytes = relay->sent_body_bytes = relay->received_body_bytes = 0;
    relay->first_byte_us = 0;
    relay->answer_paused = false;
    relay->chunked = (struct http_chunked){0};
    http_parser_init_response(&relay->parser, &relay->head, relay->upstreams->config.limits);
    relay->connection = upstream_take(relay->upstreams, relay->target.origin, fresh, relay, on_upstream);
    if (relay->connection == NULL) {
        relay_attempt_failed(relay, HTTP_RELAY_CONNECT_FAILED);
        return;
    }
    if (relay->connection->state != UPSTREAM_READY)
        set_deadline(relay, relay->upstreams->config.connect_timeout_ms);
    relay_pump(relay);
}

static void next_attempt(struct http_relay *relay)
{
    relay->number++;
    relay->started_us = loop_clock_us();
    relay->target = (struct http_relay_target){.origin = NULL};
    if (relay->options.calls->next(relay->options.context, relay->exchange, relay->number, &relay->target))
        begin_attempt(relay, false);
    else
        give_up(relay, relay->result);
}

void http_relay(struct http_upstreams *upstreams, struct http_exchange *exchange,
                const struct http_relay_options *options)
{
    struct http_relay *relay = upstreams->free_relays;
    if (relay != NULL) {
        upstreams->free_relays = relay->next_free;
        upstreams->free_relay_count--;
    } else {
        relay = malloc(sizeof *relay);
        if (relay == NULL) {
            options->calls->failed(options->context, exchange, HTTP_RELAY_NO_TARGET);
            return;
        }
    }
    memset(relay, 0, offsetof(struct http_relay, head));
    relay->upstreams = upstreams;
    relay->exchange = exchange;
    relay->options = *options;
    if (relay->options.attempts_max == 0)
        relay->options.attempts_max = 3;
    relay->result = HTTP_RELAY_NO_TARGET;
    relay->upload_framing = http_request_framing(&exchange->head);
    relay->upload_over = exchange->body_over;
    relay->gone = exchange->gone;
    relay->gone_context = exchange->gone_context;
    if (exchange->connection == NULL) { /* went away before it came to this */
        relay_release(relay);
        http_exchange_abort(exchange);
        return;
    }
    exchange->gone = relay_client_gone;
    exchange->gone_context = relay;
    exchange->writable = relay_client_writable;
    exchange->writable_context = relay;
    relay->phase = RELAY_IDLE;
    if (options->body.data != NULL)
        buffer_append(&relay->held, options->body.data, options->body.bytes); /* a failure shows when it is sent */
    /* What there is of the body is taken first, so that it leaves together with the head. */
    if (!relay->upload_over)
        http_exchange_stream_body(exchange, &relay_body_reader, relay);
    if (relay->phase == RELAY_IDLE)
        next_attempt(relay);
}

void http_relay_give_up_attempt(struct http_exchange *exchange)
{
    if (exchange->writable != relay_client_writable)
        return; /* it is over */
    struct http_relay *relay = exchange->writable_context;
    bool asked = relay->phase == RELAY_CONNECTING || relay->phase == RELAY_WAITING;
    if (!asked || relay->number >= relay->options.attempts_max || !may_try_again(relay, HTTP_RELAY_TIMEOUT))
        return;
    relay_attempt_failed(relay, HTTP_RELAY_TIMEOUT);
    relay_pump(relay);
}
