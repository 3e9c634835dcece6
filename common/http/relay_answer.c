/* A relay's way back: the upstream's head, its body framed anew, tunnels; see relay_inside.h. */

#include "common/http/relay_head.h"
#include "common/http/relay_inside.h"

#include <string.h>

#define INPUT_ROOM_BYTES 4096

void relay_client_writable(void *context, struct http_exchange *exchange)
{
    (void)exchange;
    struct http_relay *relay = context;
    relay->answer_paused = false;
    relay_pump(relay);
}

/* The answer is complete. The connection goes back first: sending the end may bring the
 * client's next request. */
static void finish(struct http_relay *relay, struct buffer *head, const char *data, size_t bytes, bool reusable)
{
    struct http_exchange *exchange = relay->exchange;
    struct buffer input = relay->input; /* data may lie in it */
    relay->input = (struct buffer)BUFFER_INIT;
    relay_report(relay, HTTP_RELAY_ANSWERED, false);
    if (reusable && relay->upload_over && relay->output.bytes == 0) {
        upstream_give_back(relay->connection);
        relay->connection = NULL;
    }
    relay_release(relay);
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
            relay_attempt_failed(relay, HTTP_RELAY_TRUNCATED);
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
    relay_note_progress(relay);
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
        http_exchange_stream_body(exchange, &relay_body_reader, relay);
}

static bool is_declined(const struct http_relay *relay)
{
    const struct http_relay_options *options = &relay->options;
    return options->calls->declines != NULL && relay->number < options->attempts_max && !relay->held_lost &&
           options->calls->declines(options->context, relay->exchange, &relay->head);
}

/* The head of the final answer is there; data is what follows it. */
static void begin_answer(struct http_relay *relay, char *data, size_t bytes)
{
    struct http_exchange *exchange = relay->exchange;
    const struct http_head *head = &relay->head;
    struct buffer *out = &relay->upstreams->render;
    bool switching = head->status == 101;
    if (switching && (!exchange->head.upgrade || !relay->upload_over || exchange->connection == NULL)) {
        relay_attempt_failed(relay, HTTP_RELAY_MALFORMED);
        return;
    }
    if (is_declined(relay)) {
        relay_attempt_failed(relay, HTTP_RELAY_DECLINED);
        return;
    }
    if (relay->options.calls->answering != NULL)
        relay->options.calls->answering(relay->options.context, exchange, head);
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
            relay_attempt_failed(relay, HTTP_RELAY_MALFORMED);
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
        relay_attempt_failed(relay, HTTP_RELAY_CLOSED_EARLY);
    else if (cleanly && relay->answer_framing == HTTP_FRAMING_CLOSE)
        finish(relay, NULL, NULL, 0, false);
    else
        relay_attempt_failed(relay, HTTP_RELAY_TRUNCATED);
}

/* Reads once; false when there is nothing more to read now. */
bool relay_receive(struct http_relay *relay)
{
    struct http_upstreams *upstreams = relay->upstreams;
    bool direct = relay->input.bytes == 0;
    if (!direct && !buffer_reserve(&relay->input, INPUT_ROOM_BYTES)) {
        relay_attempt_failed(relay, HTTP_RELAY_MALFORMED);
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
        relay_attempt_failed(relay, HTTP_RELAY_MALFORMED);
    return true;
}
