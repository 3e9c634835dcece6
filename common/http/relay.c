/* One relay: attempts, bodies, the end; see relay.h. */

#include "common/http/connection.h"
#include "common/http/relay_head.h"
#include "common/http/upstream.h"

#include <stdlib.h>
#include <string.h>

#define FREE_RELAYS_MAX 1024
#define OUTPUT_HIGH_BYTES 65536 /* the client's body pauses while so much waits for the upstream */
#define INPUT_ROOM_BYTES 4096

enum relay_phase {
    RELAY_IDLE,       /* between attempts */
    RELAY_CONNECTING, /* the client's body is held, up to a limit */
    RELAY_WAITING,    /* the request is being sent; nothing of the answer was passed on */
    RELAY_ANSWERING,
    RELAY_TUNNEL,
    RELAY_OVER,
};

struct http_relay {
    struct loop_reapable reapable; /* first: freeing casts */
    struct http_relay *next_free;
    struct http_upstreams *upstreams;
    struct http_exchange *exchange;
    struct http_relay_options options;
    struct http_relay_target target;
    struct upstream_connection *connection;
    enum relay_phase phase;
    bool pumping;
    struct timer timer;
    uint64_t deadline_ms; /* the timer may be set earlier and is then moved on */
    void (*gone)(void *context, struct http_exchange *exchange); /* the caller's, put back at the end */
    void *gone_context;

    /* The attempt. */
    unsigned number;
    enum http_relay_result result;
    bool request_complete; /* all of it was given to the kernel */
    uint64_t started_us, first_byte_us;
    uint64_t sent_bytes, sent_body_bytes, received_body_bytes;
    struct http_output output;

    /* The request's body. `held` is what was taken from the client: what has to be sent
     * again in another attempt. */
    enum http_framing upload_framing;
    bool upload_over;
    bool upload_paused;
    bool held_lost; /* more than is kept was sent */
    struct buffer held;

    /* The answer. */
    struct http_parser parser;
    struct buffer input; /* an incomplete head */
    bool answer_paused;  /* until the client has taken what waits */
    enum http_framing answer_framing;
    uint64_t answer_left_bytes;
    struct http_chunked chunked;
    struct http_head head; /* last: mostly untouched */
};

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
    case HTTP_RELAY_CLIENT_GONE:
        return "the client went away";
    }
    return "unknown";
}

static void pump(struct http_relay *relay);
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
static void release(struct http_relay *relay)
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

static void report(struct http_relay *relay, enum http_relay_result result, bool will_retry)
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

static bool is_repeatable(const struct http_relay *relay)
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
        return true;
    case HTTP_RELAY_CLOSED_EARLY:
    case HTTP_RELAY_TIMEOUT:
        return relay->sent_bytes == 0 || is_repeatable(relay);
    default:
        return false;
    }
}

/* A pooled connection that the upstream had closed, or was closing, when it was used. */
static bool was_stale(const struct http_relay *relay, enum http_relay_result result)
{
    return result == HTTP_RELAY_CLOSED_EARLY && relay->connection != NULL && relay->connection->reused &&
           relay->first_byte_us == 0 && !relay->held_lost &&
           (relay->sent_bytes == 0 || relay->upload_framing == HTTP_FRAMING_NONE || is_repeatable(relay));
}

/* Nothing was passed on to the client, and nothing more is to be tried. */
static void give_up(struct http_relay *relay, enum http_relay_result result)
{
    struct http_exchange *exchange = relay->exchange;
    const struct http_relay_options options = relay->options;
    release(relay);
    options.calls->failed(options.context, exchange, result);
}

static void attempt_failed(struct http_relay *relay, enum http_relay_result result)
{
    bool begun = relay->phase == RELAY_ANSWERING || relay->phase == RELAY_TUNNEL;
    bool stale = !begun && was_stale(relay, result);
    bool again = !begun && !stale && relay->number < relay->options.attempts_max && may_try_again(relay, result);
    if (!stale)
        report(relay, result, again);
    if (begun) {
        struct http_exchange *exchange = relay->exchange;
        release(relay);
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

static void client_gone(void *context, struct http_exchange *exchange)
{
    struct http_relay *relay = context;
    if (relay->phase == RELAY_OVER)
        return;
    report(relay, HTTP_RELAY_CLIENT_GONE, false);
    release(relay);
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
    if (!timer_active(&relay->timer) || relay->timer.expires_at_ms > relay->deadline_ms)
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
        attempt_failed(relay, HTTP_RELAY_CONNECT_TIMEOUT);
    else if (relay->phase == RELAY_WAITING)
        attempt_failed(relay, HTTP_RELAY_TIMEOUT);
    else
        attempt_failed(relay, HTTP_RELAY_TRUNCATED);
    pump(relay);
}

static void wait_for_answer(struct http_relay *relay)
{
    uint32_t own_ms = relay->options.first_byte_timeout_ms;
    set_deadline(relay, own_ms != 0 ? own_ms : relay->upstreams->config.first_byte_timeout_ms);
}

/* Something moved: the time in which the next has to starts over. */
static void note_progress(struct http_relay *relay)
{
    if (relay->phase == RELAY_WAITING && relay->request_complete)
        return;
    set_deadline(relay, relay->upstreams->config.stall_timeout_ms);
}

/* --- The request ----------------------------------------------------------------------------------- */

static void check_request_complete(struct http_relay *relay)
{
    if (relay->phase != RELAY_WAITING || relay->request_complete || !relay->upload_over || relay->output.bytes > 0)
        return;
    relay->request_complete = true;
    wait_for_answer(relay);
}

static void send_vectors(struct http_relay *relay, const struct iovec *vectors, int count)
{
    struct upstream_connection *connection = relay->connection;
    size_t total = 0, sent = 0;
    for (int i = 0; i < count; i++)
        total += vectors[i].iov_len;
    if (connection->send_broken || total == 0)
        return;
    if (relay->output.bytes == 0 && connection->writable)
        sent = upstream_send(connection, vectors, count);
    relay->sent_bytes += sent;
    if (sent < total && !connection->send_broken &&
        !http_output_append(&relay->output, vectors, count, sent, NULL))
        connection->send_broken = true;
    if (connection->send_broken) {
        /* It may have answered before it closed: read, and see. */
        connection->readable = true;
        http_output_clear(&relay->output);
    }
}

/* Sends a piece of the body in its framing, behind `head` if that is not NULL. */
static void send_body(struct http_relay *relay, const struct buffer *head, const char *data, size_t bytes, bool end)
{
    struct iovec vectors[4];
    int count = 0;
    char chunk_head[HTTP_CHUNK_HEAD_BYTES_MAX];
    bool chunked = relay->upload_framing == HTTP_FRAMING_CHUNKED;
    if (head != NULL)
        vectors[count++] = (struct iovec){head->data, head->bytes};
    if (chunked && bytes > 0)
        vectors[count++] = (struct iovec){chunk_head, http_chunk_head(chunk_head, bytes)};
    if (bytes > 0)
        vectors[count++] = (struct iovec){(void *)data, bytes};
    if (chunked && bytes > 0)
        vectors[count++] = end ? (struct iovec){"\r\n0\r\n\r\n", 7} : (struct iovec){"\r\n", 2};
    else if (chunked && end)
        vectors[count++] = (struct iovec){"0\r\n\r\n", 5};
    relay->sent_body_bytes += bytes;
    send_vectors(relay, vectors, count);
}

/* Connected: the head goes out, and with it what of the body is held. */
static void send_request(struct http_relay *relay)
{
    struct buffer *head = &relay->upstreams->render;
    buffer_clear(head);
    relay_render_request(head, relay->exchange, &relay->target, relay->upstreams->config.via, relay->upload_framing,
                         relay->exchange->head.content_bytes);
    relay->phase = RELAY_WAITING;
    if (buffer_failed(head) || buffer_failed(&relay->held)) {
        attempt_failed(relay, HTTP_RELAY_CONNECT_FAILED);
        return;
    }
    send_body(relay, head, relay->held.data, relay->held.bytes, relay->upload_over);
    note_progress(relay);
    check_request_complete(relay);
}

/* Keeps what is sent as long as it may have to be sent again. */
static void hold(struct http_relay *relay, const char *data, size_t bytes)
{
    if (relay->held_lost || relay->phase == RELAY_ANSWERING)
        return;
    if (is_repeatable(relay) && relay->held.bytes + bytes <= relay->upstreams->config.replay_bytes_max) {
        buffer_append(&relay->held, data, bytes);
        if (!buffer_failed(&relay->held))
            return;
    }
    relay->held_lost = true;
    buffer_free(&relay->held);
}

static size_t on_body(void *context, struct http_exchange *exchange, const char *data, size_t bytes)
{
    (void)exchange;
    struct http_relay *relay = context;
    if (relay->phase == RELAY_IDLE || relay->phase == RELAY_CONNECTING) {
        size_t held = relay->held.bytes, limit = relay->upstreams->config.replay_bytes_max;
        size_t take = held >= limit ? 0 : bytes < limit - held ? bytes : limit - held;
        buffer_append(&relay->held, data, take);
        relay->upload_paused = take < bytes;
        return take;
    }
    if (relay->connection == NULL || relay->connection->send_broken)
        return bytes; /* it takes no more; what it has to say is awaited */
    if (relay->output.bytes >= OUTPUT_HIGH_BYTES) {
        relay->upload_paused = true;
        return 0;
    }
    hold(relay, data, bytes);
    send_body(relay, NULL, data, bytes, false);
    note_progress(relay);
    if (relay->connection->send_broken)
        pump(relay);
    return bytes;
}

static void on_body_end(void *context, struct http_exchange *exchange, enum http_body_end end)
{
    struct http_relay *relay = context;
    if (end == HTTP_BODY_COMPLETE) {
        relay->upload_over = true;
        if (relay->connection != NULL && relay->phase >= RELAY_WAITING) {
            send_body(relay, NULL, NULL, 0, true);
            check_request_complete(relay);
        }
        return;
    }
    /* The client's fault, from here on. */
    if (end == HTTP_BODY_CUT_OFF) {
        client_gone(relay, exchange);
        return;
    }
    bool begun = exchange->response_begun;
    report(relay, HTTP_RELAY_CLIENT_GONE, false);
    release(relay);
    if (begun)
        http_exchange_cut_off(exchange);
    else if (end == HTTP_BODY_TIMEOUT)
        http_exchange_answer_error(exchange, 408, "request_timeout", "The body did not arrive in time.");
    else
        http_exchange_answer_error(exchange, 400, "malformed_request", "The chunked body is malformed.");
}

static const struct http_body_reader body_reader = {on_body, on_body_end};

static void flush(struct http_relay *relay)
{
    struct upstream_connection *connection = relay->connection;
    while (relay->output.bytes > 0 && connection->writable && !connection->send_broken) {
        struct iovec vectors[16];
        int count = http_output_vectors(&relay->output, vectors, 16);
        size_t sent = upstream_send(connection, vectors, count);
        relay->sent_bytes += sent;
        http_output_consume(&relay->output, sent);
        if (sent > 0)
            note_progress(relay);
    }
    if (connection->send_broken) {
        http_output_clear(&relay->output);
        connection->readable = true;
    }
    check_request_complete(relay);
    if (relay->upload_paused && relay->output.bytes < OUTPUT_HIGH_BYTES) {
        relay->upload_paused = false;
        http_exchange_resume_body(relay->exchange);
    }
}

/* --- The answer --------------------------------------------------------------------------------------- */

static void client_writable(void *context, struct http_exchange *exchange)
{
    (void)exchange;
    struct http_relay *relay = context;
    relay->answer_paused = false;
    pump(relay);
}

/* The answer is complete. The connection goes back first: sending the end may bring the
 * client's next request. */
static void finish(struct http_relay *relay, struct buffer *head, const char *data, size_t bytes, bool reusable)
{
    struct http_exchange *exchange = relay->exchange;
    struct buffer input = relay->input; /* data may lie in it */
    relay->input = (struct buffer)BUFFER_INIT;
    report(relay, HTTP_RELAY_ANSWERED, false);
    if (reusable && relay->upload_over && relay->output.bytes == 0) {
        upstream_give_back(relay->connection);
        relay->connection = NULL;
    }
    release(relay);
    http_exchange_transmit(exchange, head, data, bytes, NULL, true);
    buffer_free(&input);
}

/* Gathers the pieces of all chunks at the front of data; *bytes becomes how many they are, *extra what
 * follows the body. */
static enum http_parse gather_chunks(struct http_chunked *chunked, char *data, size_t *bytes, size_t *extra)
{
    size_t at = 0, gathered = 0;
    enum http_parse result = HTTP_PARSE_MORE;
    while (at < *bytes && result == HTTP_PARSE_MORE) {
        size_t used;
        struct http_text piece;
        result = http_chunked_decode(chunked, data + at, *bytes - at, &used, &piece);
        memmove(data + gathered, piece.data, piece.bytes);
        gathered += piece.bytes;
        at += used;
    }
    *extra = *bytes - at;
    *bytes = gathered;
    return result;
}

/* Passes bytes of the answer's body on, behind `head` if that is not NULL. */
static void answer(struct http_relay *relay, struct buffer *head, char *data, size_t bytes)
{
    bool complete = false;
    size_t extra = 0;
    switch (relay->answer_framing) {
    case HTTP_FRAMING_NONE:
        complete = true;
        extra = bytes;
        bytes = 0;
        break;
    case HTTP_FRAMING_LENGTH:
        if (bytes > relay->answer_left_bytes) {
            extra = bytes - (size_t)relay->answer_left_bytes;
            bytes = (size_t)relay->answer_left_bytes;
        }
        relay->answer_left_bytes -= bytes;
        complete = relay->answer_left_bytes == 0;
        break;
    case HTTP_FRAMING_CHUNKED: {
        enum http_parse result = gather_chunks(&relay->chunked, data, &bytes, &extra);
        if (http_parse_failed(result)) {
            attempt_failed(relay, HTTP_RELAY_TRUNCATED);
            return;
        }
        complete = result == HTTP_PARSE_DONE;
        break;
    }
    case HTTP_FRAMING_CLOSE:
        break;
    }
    relay->received_body_bytes += bytes;
    if (complete) {
        finish(relay, head, data, bytes, relay->head.keep_alive && extra == 0);
        return;
    }
    note_progress(relay);
    if (!http_exchange_transmit(relay->exchange, head, data, bytes, NULL, false))
        relay->answer_paused = true;
}

static void begin_tunnel(struct http_relay *relay, struct buffer *head, char *data, size_t bytes)
{
    struct http_exchange *exchange = relay->exchange;
    relay->phase = RELAY_TUNNEL;
    relay->answer_framing = HTTP_FRAMING_CLOSE;
    relay->upload_framing = HTTP_FRAMING_CLOSE;
    relay->upload_over = false;
    http_exchange_tunnel(exchange);
    answer(relay, head, data, bytes);
    if (relay->phase == RELAY_TUNNEL)
        http_exchange_stream_body(exchange, &body_reader, relay);
}

/* The head of the final answer is there; data is what follows it. */
static void begin_answer(struct http_relay *relay, char *data, size_t bytes)
{
    struct http_exchange *exchange = relay->exchange;
    const struct http_head *head = &relay->head;
    struct buffer *out = &relay->upstreams->render;
    bool switching = head->status == 101;
    if (switching && (!exchange->head.upgrade || !relay->upload_over || exchange->connection == NULL)) {
        attempt_failed(relay, HTTP_RELAY_MALFORMED);
        return;
    }
    relay->phase = RELAY_ANSWERING;
    buffer_free(&relay->held);
    relay->answer_framing = http_response_framing(head, exchange->head.method);
    relay->answer_left_bytes = head->content_bytes;
    uint64_t body_bytes = head->has_length ? head->content_bytes : HTTP_LENGTH_UNKNOWN;

    buffer_clear(out);
    relay_render_response(out, exchange, head, &relay->target, relay->upstreams->config.via,
                          http_server_date(exchange->server));
    http_exchange_finish_head(exchange, out, head->status, body_bytes);
    if (switching)
        begin_tunnel(relay, out, data, bytes);
    else
        answer(relay, out, data, bytes);
}

/* Parses what there is of heads: interim ones (1xx) are dropped, the final one begins the
 * answer. Returns how many bytes belong to heads that are done with; all of them once the
 * answer has begun. */
static size_t parse_heads(struct http_relay *relay, char *data, size_t bytes)
{
    size_t used = 0;
    while (used < bytes) {
        enum http_parse result = http_parser_feed(&relay->parser, &relay->head, data + used, bytes - used);
        if (result == HTTP_PARSE_MORE)
            return used;
        if (http_parse_failed(result)) {
            relay->head.status = 0;
            attempt_failed(relay, HTTP_RELAY_MALFORMED);
            return bytes;
        }
        used += relay->head.head_bytes;
        if (relay->head.status >= 200 || relay->head.status == 101) {
            begin_answer(relay, data + used, bytes - used);
            return bytes;
        }
        http_parser_init_response(&relay->parser, &relay->head, relay->upstreams->config.limits);
    }
    return used;
}

static void ended(struct http_relay *relay, bool cleanly)
{
    if (relay->phase == RELAY_WAITING)
        attempt_failed(relay, HTTP_RELAY_CLOSED_EARLY);
    else if (cleanly && relay->answer_framing == HTTP_FRAMING_CLOSE)
        finish(relay, NULL, NULL, 0, false);
    else
        attempt_failed(relay, HTTP_RELAY_TRUNCATED);
}

/* Reads once; false when there is nothing more to read now. */
static bool receive(struct http_relay *relay)
{
    struct http_upstreams *upstreams = relay->upstreams;
    bool direct = relay->input.bytes == 0;
    if (!direct && !buffer_reserve(&relay->input, INPUT_ROOM_BYTES)) {
        attempt_failed(relay, HTTP_RELAY_MALFORMED);
        return true;
    }
    char *into = direct ? upstreams->scratch : relay->input.data + relay->input.bytes;
    size_t room = direct ? UPSTREAM_SCRATCH_BYTES : relay->input.capacity - relay->input.bytes - 1;
    ssize_t received = upstream_receive(relay->connection, into, room);
    if (received == -1)
        return false;
    if (received <= 0) {
        ended(relay, received == 0);
        return true;
    }
    if (relay->first_byte_us == 0)
        relay->first_byte_us = loop_clock_us();
    if (relay->phase != RELAY_WAITING) {
        answer(relay, NULL, into, (size_t)received);
        return true;
    }
    char *data = into;
    size_t bytes = (size_t)received;
    if (!direct) {
        relay->input.bytes += bytes;
        data = relay->input.data;
        bytes = relay->input.bytes;
    }
    size_t used = parse_heads(relay, data, bytes);
    if (relay->phase != RELAY_WAITING) {
        if (relay->phase != RELAY_OVER)
            buffer_free(&relay->input);
        return true;
    }
    if (!direct)
        buffer_consume(&relay->input, used);
    else
        buffer_append(&relay->input, data + used, bytes - used);
    if (buffer_failed(&relay->input))
        attempt_failed(relay, HTTP_RELAY_MALFORMED);
    return true;
}

/* --- The pump ------------------------------------------------------------------------------------------ */

/* One move; false when there is none now. */
static bool move(struct http_relay *relay)
{
    struct upstream_connection *connection = relay->connection;
    switch (relay->phase) {
    case RELAY_CONNECTING:
        if (connection->state == UPSTREAM_FAILED) {
            attempt_failed(relay, HTTP_RELAY_CONNECT_FAILED);
            return true;
        }
        if (connection->state != UPSTREAM_READY)
            return false;
        send_request(relay);
        return true;
    case RELAY_WAITING:
    case RELAY_ANSWERING:
    case RELAY_TUNNEL:
        flush(relay);
        if (relay->connection != connection || !connection->readable || relay->answer_paused)
            return relay->connection != connection;
        return receive(relay);
    case RELAY_IDLE:
    case RELAY_OVER:
        break;
    }
    return false;
}

static void pump(struct http_relay *relay)
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
    pump(owner);
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
        attempt_failed(relay, HTTP_RELAY_CONNECT_FAILED);
        return;
    }
    if (relay->connection->state != UPSTREAM_READY)
        set_deadline(relay, relay->upstreams->config.connect_timeout_ms);
    pump(relay);
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

void http_relay(struct http_upstreams *upstreams, struct http_exchange *exchange, const struct http_relay_options *options)
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
        release(relay);
        http_exchange_abort(exchange);
        return;
    }
    exchange->gone = client_gone;
    exchange->gone_context = relay;
    exchange->writable = client_writable;
    exchange->writable_context = relay;
    relay->phase = RELAY_IDLE;
    /* What there is of the body is taken first, so that it leaves together with the head. */
    if (!relay->upload_over)
        http_exchange_stream_body(exchange, &body_reader, relay);
    if (relay->phase == RELAY_IDLE)
        next_attempt(relay);
}
