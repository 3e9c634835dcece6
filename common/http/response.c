/* Answers: heads, framing, and what ends an exchange; see server.h. */

#include "common/http/connection.h"

#include "common/http/characters.h"
#include "common/http/put.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* The rest of a body that is no longer than this is read and dropped, so that the connection
 * can be used again; a longer one costs the connection. */
#define DISCARD_BYTES_MAX 65536

/* A body up to this length is copied behind its head. */
#define JOINED_BYTES_MAX 2048

/* Fields of a 101, with Connection and Upgrade. */
#define UPGRADE_HEADERS_MAX 8

const char *http_status_phrase(unsigned status)
{
    switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 425: return "Too Early";
    case 426: return "Upgrade Required";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "Unknown";
    }
}

/* --- Heads -------------------------------------------------------------------------------- */

/* A value that could end the line is left out: no handler's mistake may split a response. */
static bool value_acceptable(const char *value)
{
    for (; *value != '\0'; value++)
        if (!http_character_is(*value, HTTP_CHARACTER_VALUE))
            return false;
    return true;
}

static void append_field(struct buffer *head, const char *name, const char *value)
{
    if (!value_acceptable(value))
        return;
    http_put_text(head, name);
    http_put(head, ": ", 2);
    http_put_text(head, value);
    http_put(head, "\r\n", 2);
}

/* Whether the connection can be used for another request after this one. */
static bool connection_goes_on(const struct http_exchange *exchange)
{
    const struct http_server *server = exchange->server;
    const struct http_connection *connection = exchange->connection;
    if (!exchange->head.keep_alive || exchange->body_failed || server->draining || connection == NULL ||
        (server->config.requests_per_connection > 0 && connection->requests >= server->config.requests_per_connection))
        return false;
    if (exchange->body_over)
        return true;
    return exchange->body_mode == BODY_UNDECIDED && !exchange->body_pending_continue &&
           exchange->body_framing == HTTP_FRAMING_LENGTH && exchange->piece_left_bytes <= DISCARD_BYTES_MAX;
}

void http_exchange_finish_head(struct http_exchange *exchange, struct buffer *head, unsigned status,
                               uint64_t body_bytes)
{
    exchange->status = status;
    exchange->response_begun = true;
    exchange->keep_alive = connection_goes_on(exchange);
    exchange->response_bodiless =
        exchange->head.method == HTTP_METHOD_HEAD || status < 200 || status == 204 || status == 304;
    exchange->response_left_bytes = 0;
    if (status == 101) {
        http_put(head, "\r\n", 2);
        return;
    }
    if (body_bytes != HTTP_LENGTH_UNKNOWN) {
        exchange->response_framing = HTTP_FRAMING_LENGTH;
        if (!exchange->response_bodiless)
            exchange->response_left_bytes = body_bytes;
        if (status != 204 && status != 304) {
            http_put_text(head, "Content-Length: ");
            http_put_uint(head, body_bytes);
            http_put(head, "\r\n", 2);
        }
    } else if (exchange->response_bodiless) {
        exchange->response_framing = HTTP_FRAMING_NONE;
    } else if (exchange->head.minor_version == 1) {
        exchange->response_framing = HTTP_FRAMING_CHUNKED;
        http_put_text(head, "Transfer-Encoding: chunked\r\n");
    } else {
        exchange->response_framing = HTTP_FRAMING_CLOSE;
        exchange->keep_alive = false;
    }
    if (!exchange->keep_alive)
        http_put_text(head, "Connection: close\r\n");
    else if (exchange->head.minor_version == 0)
        http_put_text(head, "Connection: keep-alive\r\n");
    http_put(head, "\r\n", 2);
}

static struct buffer *render_head(struct http_exchange *exchange, const struct http_response *response,
                                  uint64_t body_bytes)
{
    struct http_server *server = exchange->server;
    struct buffer *head = &server->render;
    buffer_clear(head);
    http_put(head, "HTTP/1.1 ", 9);
    http_put_uint(head, response->status);
    http_put(head, " ", 1);
    http_put_text(head, http_status_phrase(response->status));
    http_put_text(head, "\r\nDate: ");
    http_put_text(head, http_server_date(server));
    http_put_text(head, "\r\nServer: ");
    http_put_text(head, server->config.server_name);
    http_put_text(head, "\r\nX-Request-Id: ");
    http_put_text(head, http_exchange_request_id(exchange));
    http_put(head, "\r\n", 2);
    if (response->content_type != NULL)
        append_field(head, "Content-Type", response->content_type);
    for (size_t i = 0; i < response->header_count; i++)
        append_field(head, response->headers[i].name, response->headers[i].value);
    http_exchange_finish_head(exchange, head, response->status, body_bytes);
    return head;
}

/* --- Sending ------------------------------------------------------------------------------- */

/* The handler is done. */
static void answered(struct http_exchange *exchange)
{
    exchange->answered = true;
    exchange->body_paused = false;
    if (!exchange->body_over)
        exchange->body_mode = BODY_DISCARD;
    if (exchange->connection == NULL)
        http_exchange_over(exchange);
    else
        http_connection_pump(exchange->connection);
}

void http_exchange_cut_off(struct http_exchange *exchange)
{
    struct http_connection *connection = exchange->connection;
    exchange->cut_off = true;
    if (connection == NULL) {
        answered(exchange);
        return;
    }
    exchange->answered = true;
    /* A body that ends with the connection would look complete after an orderly close. */
    if (exchange->response_begun && exchange->response_framing == HTTP_FRAMING_CLOSE && !exchange->tunnel) {
        struct linger reset = {.l_onoff = 1, .l_linger = 0};
        setsockopt(connection->watch.descriptor, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    }
    http_connection_close(connection);
}

bool http_exchange_transmit(struct http_exchange *exchange, struct buffer *head, const char *data, size_t bytes,
                            struct http_shared *shared, bool end)
{
    struct http_connection *connection = exchange->connection;
    if (connection == NULL) {
        if (end)
            answered(exchange);
        return true;
    }
    struct iovec vectors[4];
    int count = 0;
    char chunk_head[HTTP_CHUNK_HEAD_BYTES_MAX];
    if (exchange->response_bodiless)
        bytes = 0;
    bool chunked = exchange->response_framing == HTTP_FRAMING_CHUNKED && !exchange->response_bodiless;
    if (exchange->response_framing == HTTP_FRAMING_LENGTH) {
        if (bytes > exchange->response_left_bytes)
            bytes = (size_t)exchange->response_left_bytes;
        exchange->response_left_bytes -= bytes;
    }
    exchange->sent_body_bytes += bytes;
    if (head != NULL && bytes > 0 && bytes <= JOINED_BYTES_MAX && !chunked) {
        http_put(head, data, bytes); /* one piece is cheaper to send than two */
        bytes = 0;
    }
    if (head != NULL && buffer_failed(head)) {
        http_exchange_cut_off(exchange);
        return true;
    }
    if (head != NULL)
        vectors[count++] = (struct iovec){head->data, head->bytes};
    if (bytes > 0 && chunked)
        vectors[count++] = (struct iovec){chunk_head, http_chunk_head(chunk_head, bytes)};
    if (bytes > 0)
        vectors[count++] = (struct iovec){(void *)data, bytes};
    /* With shared bytes the last vector has to be theirs: what follows them goes extra. */
    struct iovec tail = {NULL, 0};
    if (chunked && bytes > 0)
        tail = end ? (struct iovec){"\r\n0\r\n\r\n", 7} : (struct iovec){"\r\n", 2};
    else if (chunked && end)
        tail = (struct iovec){"0\r\n\r\n", 5};
    if (tail.iov_len > 0 && shared == NULL)
        vectors[count++] = tail;
    http_connection_send(connection, vectors, count, bytes > 0 ? shared : NULL);
    if (tail.iov_len > 0 && shared != NULL)
        http_connection_send(connection, &tail, 1, NULL);
    if (end) {
        if (exchange->response_left_bytes > 0 && !connection->broken) {
            /* What was announced is missing. What was written still goes out, if it can. */
            http_exchange_cut_off(exchange);
            return true;
        }
        answered(exchange);
        return true;
    }
    exchange->above_high_water = connection->output.bytes > HTTP_OUTPUT_HIGH_BYTES;
    if (connection->broken)
        http_connection_pump(connection); /* closes it, unless the pump that runs will */
    return !exchange->above_high_water;
}

void http_respond(struct http_exchange *exchange, const struct http_response *response)
{
    if (exchange->answered)
        return;
    struct http_text body = {response->body, response->body_bytes};
    if (response->shared != NULL)
        body = http_shared_text(response->shared);
    struct buffer *head = render_head(exchange, response, body.bytes);
    http_exchange_transmit(exchange, head, body.data, body.bytes, response->shared, true);
}

void http_respond_json(struct http_exchange *exchange, unsigned status, const char *body, size_t body_bytes)
{
    http_respond(exchange, &(struct http_response){.status = status,
                                                   .content_type = "application/json",
                                                   .body = body,
                                                   .body_bytes = body_bytes});
}

void http_response_begin(struct http_exchange *exchange, const struct http_response *response, uint64_t body_bytes)
{
    if (exchange->answered || exchange->response_begun)
        return;
    struct buffer *head = render_head(exchange, response, body_bytes);
    http_exchange_transmit(exchange, head, NULL, 0, NULL, false);
}

bool http_response_upgrade(struct http_exchange *exchange, const char *protocol, const struct http_header *headers,
                           size_t header_count, const struct http_body_reader *reader, void *context)
{
    struct http_header all[UPGRADE_HEADERS_MAX];
    if (!exchange->head.upgrade || !exchange->body_over || exchange->answered || exchange->response_begun ||
        header_count + 2 > UPGRADE_HEADERS_MAX)
        return false;
    all[0] = (struct http_header){"Connection", "Upgrade"};
    all[1] = (struct http_header){"Upgrade", protocol};
    for (size_t i = 0; i < header_count; i++)
        all[i + 2] = headers[i];
    const struct http_response response = {.status = 101, .headers = all, .header_count = header_count + 2};
    struct buffer *head = render_head(exchange, &response, 0);
    http_exchange_tunnel(exchange);
    http_exchange_transmit(exchange, head, NULL, 0, NULL, false);
    if (!exchange->answered)
        http_exchange_stream_body(exchange, reader, context);
    return true;
}

bool http_response_write(struct http_exchange *exchange, const void *data, size_t bytes)
{
    if (exchange->answered || bytes == 0)
        return true;
    return http_exchange_transmit(exchange, NULL, data, bytes, NULL, false);
}

void http_response_on_writable(struct http_exchange *exchange,
                               void (*writable)(void *context, struct http_exchange *exchange), void *context)
{
    exchange->writable = writable;
    exchange->writable_context = context;
}

void http_response_end(struct http_exchange *exchange)
{
    if (!exchange->answered)
        http_exchange_transmit(exchange, NULL, NULL, 0, NULL, true);
}

void http_exchange_abort(struct http_exchange *exchange)
{
    if (!exchange->answered)
        http_exchange_cut_off(exchange);
}

void http_exchange_answer_error(struct http_exchange *exchange, unsigned status, const char *code, const char *message)
{
    struct http_server *server = exchange->server;
    if (exchange->phase == PHASE_HEAD) {
        /* Where the request ends is unknown: whatever comes is dropped. What was parsed of
         * the head points to memory that is about to be used again. */
        exchange->phase = PHASE_HANDLING;
        server->counts.requests_in_flight++;
        exchange->body_framing = HTTP_FRAMING_CLOSE;
        exchange->piece_left_bytes = UINT64_MAX;
        enum http_method method = exchange->head.method;
        http_parser_init_request(&exchange->parser, &exchange->head, server->config.limits);
        exchange->head.base = "";
        exchange->head.method = method;
        exchange->head.minor_version = 1;
    }
    exchange->body_failed = true; /* the connection ends with this answer */
    struct buffer body = BUFFER_INIT;
    server->config.render_error(server->config.context, status, code, message, &body);
    const struct http_response response = {
        .status = status, .content_type = "application/json", .body = body.data, .body_bytes = body.bytes};
    if (server->config.respond_error != NULL)
        server->config.respond_error(server->config.context, exchange, &response);
    else
        http_respond(exchange, &response);
    buffer_free(&body);
}
