/* Exchanges: their life, and the body of the request; see connection.h. */

#include "common/http/connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FREE_EXCHANGES_MAX 1024

static void recycle(struct loop_reapable *reapable)
{
    struct http_exchange *exchange = (struct http_exchange *)reapable;
    struct http_server *server = exchange->server;
    server->exchanges_alive--;
    if (server->free_exchange_count < FREE_EXCHANGES_MAX && !server->destroyed) {
        exchange->next_free = server->free_exchanges;
        server->free_exchanges = exchange;
        server->free_exchange_count++;
    } else {
        free(exchange);
    }
    http_server_free_if_unused(server);
}

struct http_exchange *http_exchange_new(struct http_connection *connection)
{
    struct http_server *server = connection->server;
    struct http_exchange *exchange = server->free_exchanges;
    if (exchange != NULL) {
        server->free_exchanges = exchange->next_free;
        server->free_exchange_count--;
    } else {
        exchange = malloc(sizeof *exchange);
        if (exchange == NULL)
            return NULL;
    }
    memset(exchange, 0, offsetof(struct http_exchange, request_id));
    exchange->request_id[0] = '\0';
    exchange->connection = connection;
    exchange->server = server;
    exchange->head_deadline_ms = loop_now_ms(server->loop) + server->config.head_timeout_ms;
    http_parser_init_request(&exchange->parser, &exchange->head, server->config.limits);
    memcpy(exchange->client_address, connection->address, sizeof exchange->client_address);
    server->exchanges_alive++;
    return exchange;
}

void http_exchange_over(struct http_exchange *exchange)
{
    if (exchange->over)
        return;
    exchange->over = true;
    struct http_server *server = exchange->server;
    if (exchange->phase == PHASE_HANDLING)
        server->counts.requests_in_flight--;
    /* A connection that closed before the head was complete was no request. */
    if (exchange->phase == PHASE_HANDLING || exchange->status != 0) {
        if (server->config.exchange_finished != NULL)
            server->config.exchange_finished(server->config.context, exchange);
        if (exchange->finished != NULL)
            exchange->finished(exchange->finished_context, exchange);
    }
    buffer_free(&exchange->collected);
    free(exchange->head_memory);
    loop_reap(server->loop, &exchange->reapable, recycle);
}

void http_exchange_begin(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    struct http_head *head = &exchange->head;
    exchange->phase = PHASE_HANDLING;
    server->counts.requests_in_flight++;
    /* The bytes that it was parsed from are about to be overwritten. */
    char *memory = exchange->head_inline;
    if (head->head_bytes > HTTP_HEAD_INLINE_BYTES) {
        memory = exchange->head_memory = malloc(head->head_bytes);
        if (memory == NULL) {
            http_connection_close(exchange->connection);
            return;
        }
    }
    memcpy(memory, head->base, head->head_bytes);
    head->base = memory;

    exchange->started_us = loop_clock_us();
    exchange->body_framing = http_request_framing(head);
    exchange->body_over = exchange->body_framing == HTTP_FRAMING_NONE;
    exchange->body_pending_continue = head->expect_continue && !exchange->body_over;
    if (exchange->body_framing == HTTP_FRAMING_LENGTH)
        exchange->piece_left_bytes = head->content_bytes;
    server->config.handle(server->config.context, exchange);
}

void http_exchange_detach(struct http_exchange *exchange)
{
    bool handlers = exchange->phase == PHASE_HANDLING && !exchange->answered &&
                    !(exchange->body_mode == BODY_COLLECT && !exchange->body_over);
    exchange->connection = NULL;
    if (!handlers) {
        http_exchange_over(exchange);
        return;
    }
    if (exchange->body_mode == BODY_STREAM && !exchange->body_over)
        http_exchange_fail_body(exchange, HTTP_BODY_CUT_OFF);
    if (!exchange->answered && exchange->gone != NULL)
        exchange->gone(exchange->gone_context, exchange);
}

/* --- The request ------------------------------------------------------------------------- */

const struct http_head *http_exchange_head(const struct http_exchange *exchange)
{
    return &exchange->head;
}

const char *http_exchange_client_address(const struct http_exchange *exchange)
{
    return exchange->client_address;
}

static bool sane_request_id(struct http_text id)
{
    if (id.bytes == 0 || id.bytes >= HTTP_REQUEST_ID_BYTES)
        return false;
    for (size_t i = 0; i < id.bytes; i++) {
        char c = id.data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' ||
              c == '-'))
            return false;
    }
    return true;
}

const char *http_exchange_request_id(struct http_exchange *exchange)
{
    if (exchange->request_id[0] != '\0')
        return exchange->request_id;
    struct http_text id = {NULL, 0};
    if (exchange->phase == PHASE_HANDLING)
        id = http_head_get_known(&exchange->head, HTTP_FIELD_X_REQUEST_ID);
    if (sane_request_id(id)) {
        memcpy(exchange->request_id, id.data, id.bytes);
        exchange->request_id[id.bytes] = '\0';
        return exchange->request_id;
    }
    uint64_t number = random_next(&exchange->server->random);
    for (int i = 0; i < 16; i++)
        exchange->request_id[i] = "0123456789abcdef"[number >> (60 - 4 * i) & 15];
    exchange->request_id[16] = '\0';
    return exchange->request_id;
}

struct loop *http_exchange_loop(const struct http_exchange *exchange)
{
    return exchange->server->loop;
}

void http_exchange_set_user(struct http_exchange *exchange, void *user)
{
    exchange->user = user;
}

void *http_exchange_user(const struct http_exchange *exchange)
{
    return exchange->user;
}

void http_exchange_on_finished(struct http_exchange *exchange,
                               void (*finished)(void *context, struct http_exchange *exchange), void *context)
{
    exchange->finished = finished;
    exchange->finished_context = context;
}

void http_exchange_on_client_gone(struct http_exchange *exchange,
                                  void (*gone)(void *context, struct http_exchange *exchange), void *context)
{
    exchange->gone = gone;
    exchange->gone_context = context;
}

bool http_exchange_client_is_gone(const struct http_exchange *exchange)
{
    return exchange->connection == NULL;
}

void http_exchange_summarize(const struct http_exchange *exchange, struct http_exchange_summary *summary)
{
    *summary = (struct http_exchange_summary){
        .status = exchange->status,
        .received_body_bytes = exchange->received_body_bytes,
        .sent_body_bytes = exchange->sent_body_bytes,
        .duration_us = exchange->started_us != 0 ? loop_clock_us() - exchange->started_us : 0,
        .cut_off = exchange->cut_off,
    };
}

/* --- Its body ---------------------------------------------------------------------------- */

static void body_complete(struct http_exchange *exchange)
{
    exchange->body_over = true;
    if (exchange->answered)
        return;
    if (exchange->body_mode == BODY_COLLECT)
        exchange->collected_call(exchange->body_context, exchange,
                                 (struct http_text){exchange->collected.data, exchange->collected.bytes});
    else if (exchange->body_mode == BODY_STREAM && exchange->reader->end != NULL)
        exchange->reader->end(exchange->body_context, exchange, HTTP_BODY_COMPLETE);
}

void http_exchange_fail_body(struct http_exchange *exchange, enum http_body_end end)
{
    enum http_body_mode mode = exchange->body_mode;
    exchange->keep_alive = false;
    exchange->body_failed = true;
    if (exchange->answered) { /* only its connection was at stake */
        if (exchange->connection != NULL && exchange->connection->output.bytes == 0)
            http_connection_close(exchange->connection);
        return;
    }
    if (mode == BODY_STREAM) {
        exchange->body_over = true;
        if (exchange->reader->end != NULL)
            exchange->reader->end(exchange->body_context, exchange, end);
    } else if (mode == BODY_COLLECT) {
        if (end == HTTP_BODY_TIMEOUT)
            http_exchange_answer_error(exchange, 408, "request_timeout", "The body did not arrive in time.");
        else if (end == HTTP_BODY_MALFORMED)
            http_exchange_answer_error(exchange, 400, "malformed_request", "The chunked body is malformed.");
        else
            http_exchange_answer_error(exchange, 400, "incomplete_body", "The body ended early.");
    }
}

/* Over the limit: what follows is not read, which costs the connection. */
static void too_large(struct http_exchange *exchange)
{
    char message[96];
    snprintf(message, sizeof message, "The body is larger than the %zu bytes that are accepted here.",
             exchange->collect_limit_bytes);
    http_exchange_answer_error(exchange, 413, "body_too_large", message);
}

/* Hands a piece to whoever wants the body; returns how much was taken. */
static size_t deliver(struct http_exchange *exchange, const char *data, size_t bytes)
{
    if (exchange->body_mode == BODY_STREAM && !exchange->answered) {
        size_t taken = exchange->reader->data(exchange->body_context, exchange, data, bytes);
        exchange->received_body_bytes += taken;
        if (taken < bytes)
            exchange->body_paused = true;
        return taken;
    }
    exchange->received_body_bytes += bytes;
    if (exchange->body_mode == BODY_COLLECT && !exchange->answered) {
        if (bytes > exchange->collect_limit_bytes - exchange->collected.bytes) {
            too_large(exchange);
            return bytes;
        }
        buffer_append(&exchange->collected, data, bytes);
        if (buffer_failed(&exchange->collected))
            http_exchange_answer_error(exchange, 503, "out_of_memory", "No memory for the body; try again later.");
    }
    return bytes;
}

size_t http_exchange_feed_body(struct http_exchange *exchange, const char *data, size_t bytes)
{
    size_t used = 0;
    exchange->body_pending_continue = false; /* it is coming: no need to be asked for */
    while (used < bytes && exchange->connection != NULL && http_exchange_wants_body(exchange)) {
        if (exchange->piece_left_bytes == 0) { /* only between chunks */
            size_t step;
            struct http_text piece;
            enum http_parse result = http_chunked_decode(&exchange->chunked, data + used, bytes - used, &step, &piece);
            used += step - piece.bytes;
            if (http_parse_failed(result)) {
                http_exchange_fail_body(exchange, HTTP_BODY_MALFORMED);
                break;
            }
            if (result == HTTP_PARSE_DONE) {
                body_complete(exchange);
                break;
            }
            exchange->piece_left_bytes = piece.bytes;
            continue;
        }
        size_t take = bytes - used < exchange->piece_left_bytes ? bytes - used : (size_t)exchange->piece_left_bytes;
        size_t taken = deliver(exchange, data + used, take);
        used += taken;
        if (!exchange->tunnel)
            exchange->piece_left_bytes -= taken;
        if (exchange->piece_left_bytes == 0 && exchange->body_framing == HTTP_FRAMING_LENGTH && !exchange->body_over)
            body_complete(exchange);
    }
    return used;
}

/* The handler wants the body: ask for it if the client waits to be asked, and take what is
 * there. */
static void start_body(struct http_exchange *exchange)
{
    struct http_connection *connection = exchange->connection;
    if (exchange->body_over) {
        body_complete(exchange);
        return;
    }
    if (connection == NULL) {
        http_exchange_fail_body(exchange, HTTP_BODY_CUT_OFF);
        return;
    }
    if (connection->view_bytes > 0) {
        size_t used = http_exchange_feed_body(exchange, connection->view, connection->view_bytes);
        connection->view += used;
        connection->view_bytes -= used;
    }
    if (exchange->body_pending_continue && connection->input_at == connection->input_end) {
        static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
        struct iovec vector = {(void *)text, sizeof text - 1};
        http_connection_send(connection, &vector, 1, NULL);
        exchange->body_pending_continue = false;
    }
    http_connection_pump(connection);
}

void http_exchange_collect_body(struct http_exchange *exchange, size_t limit_bytes,
                                void (*collected)(void *context, struct http_exchange *exchange, struct http_text body),
                                void *context)
{
    exchange->body_mode = BODY_COLLECT;
    exchange->collect_limit_bytes = limit_bytes;
    exchange->collected_call = collected;
    exchange->body_context = context;
    if (exchange->connection == NULL) { /* nobody to answer to */
        exchange->answered = true;
        http_exchange_over(exchange);
        return;
    }
    if (exchange->body_framing == HTTP_FRAMING_LENGTH) {
        if (exchange->head.content_bytes > limit_bytes) {
            too_large(exchange);
            return;
        }
        if (exchange->head.content_bytes <= HTTP_SCRATCH_BYTES)
            buffer_reserve(&exchange->collected, (size_t)exchange->head.content_bytes);
    }
    start_body(exchange);
}

void http_exchange_stream_body(struct http_exchange *exchange, const struct http_body_reader *reader, void *context)
{
    exchange->body_mode = BODY_STREAM;
    exchange->reader = reader;
    exchange->body_context = context;
    start_body(exchange);
}

void http_exchange_resume_body(struct http_exchange *exchange)
{
    exchange->body_paused = false;
    if (exchange->connection != NULL)
        http_connection_pump(exchange->connection);
}

void http_exchange_tunnel(struct http_exchange *exchange)
{
    exchange->tunnel = true;
    exchange->response_bodiless = false;
    exchange->body_over = false;
    exchange->piece_left_bytes = UINT64_MAX;
    exchange->keep_alive = false;
    exchange->response_framing = HTTP_FRAMING_CLOSE;
}
