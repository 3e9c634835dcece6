/* A relay's way to the upstream: the request's head, its body, and what of it is kept for another
 * attempt; see relay_inside.h. */

#include "common/http/relay_head.h"
#include "common/http/relay_inside.h"

#define OUTPUT_HIGH_BYTES 65536 /* the client's body pauses while so much waits for the upstream */

static void check_request_complete(struct http_relay *relay)
{
    if (relay->phase != RELAY_WAITING || relay->request_complete || !relay->upload_over || relay->output.bytes > 0)
        return;
    relay->request_complete = true;
    relay_wait_for_answer(relay);
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
void relay_send_request(struct http_relay *relay)
{
    struct buffer *head = &relay->upstreams->render;
    buffer_clear(head);
    relay_render_request(head, relay->exchange, &relay->target, relay->upstreams->config.via, relay->upload_framing,
                         relay->exchange->head.content_bytes);
    relay->phase = RELAY_WAITING;
    if (buffer_failed(head) || buffer_failed(&relay->held)) {
        relay_attempt_failed(relay, HTTP_RELAY_CONNECT_FAILED);
        return;
    }
    send_body(relay, head, relay->held.data, relay->held.bytes, relay->upload_over);
    relay_note_progress(relay);
    check_request_complete(relay);
}

/* Keeps what is sent as long as it may have to be sent again. */
static void hold(struct http_relay *relay, const char *data, size_t bytes)
{
    if (relay->held_lost || relay->phase == RELAY_ANSWERING)
        return;
    bool may_be_needed = relay_is_repeatable(relay) || relay->options.calls->declines != NULL;
    if (may_be_needed && relay->held.bytes + bytes <= relay->upstreams->config.replay_bytes_max) {
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
    relay_note_progress(relay);
    if (relay->connection->send_broken)
        relay_pump(relay);
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
        relay_client_gone(relay, exchange);
        return;
    }
    bool begun = exchange->response_begun;
    relay_report(relay, HTTP_RELAY_CLIENT_GONE, false);
    relay_release(relay);
    if (begun)
        http_exchange_cut_off(exchange);
    else if (end == HTTP_BODY_TIMEOUT)
        http_exchange_answer_error(exchange, 408, "request_timeout", "The body did not arrive in time.");
    else
        http_exchange_answer_error(exchange, 400, "malformed_request", "The chunked body is malformed.");
}

const struct http_body_reader relay_body_reader = {on_body, on_body_end};

void relay_flush(struct http_relay *relay)
{
    struct upstream_connection *connection = relay->connection;
    while (relay->output.bytes > 0 && connection->writable && !connection->send_broken) {
        struct iovec vectors[16];
        int count = http_output_vectors(&relay->output, vectors, 16);
        size_t sent = upstream_send(connection, vectors, count);
        relay->sent_bytes += sent;
        http_output_consume(&relay->output, sent);
        if (sent > 0)
            relay_note_progress(relay);
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
