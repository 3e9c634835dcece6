/* An HTTP/1.1 server on one loop.
 *
 * A request and its answer are one exchange. When the head of a request is complete the
 * server calls `handle(context, exchange)`. The handler chooses what becomes of the body
 *
 *     nothing                     it is discarded (a long one costs the connection)
 *     http_exchange_collect_body  called back once with all of it; 413 over the limit
 *     http_exchange_stream_body   called back piece by piece, with back-pressure
 *
 * and answers, at once or later, exactly once
 *
 *     http_respond                a whole answer
 *     http_response_begin … _end  an answer in pieces, with back-pressure
 *     http_relay (relay.h)        somebody else's answer
 *     http_exchange_abort         none: the connection is closed
 *
 * Ownership of the exchange: the handler's, from `handle` until it answered. If the client
 * goes away meanwhile the exchange stays valid, and answering it does nothing: a late
 * answer is harmless. From the call of http_exchange_collect_body until its callback the
 * exchange is the server's: when the body is too long, malformed, late or cut off, the
 * server answers by itself and the callback never comes. Whatever happens, the `finished`
 * callback of the exchange is called exactly once, when all is over, just before the exchange is
 * freed: free there what you hold for it. Texts of the request are valid until then.
 *
 * The server sees to: keep-alive, pipelining (answers in order), HTTP/1.0, HEAD, Expect:
 * 100-continue (100 goes out when the handler asks for the body), Date, X-Request-Id,
 * Content-Length or chunks, malformed requests (answered through `render_error`), and the
 * limits below. Buffers are given back while a connection idles.
 *
 * Threading: everything here belongs to the loop's thread, http_listen and the functions
 * of struct http_shared excepted. To answer from elsewhere, loop_post to the loop. */

#pragma once

#include "common/buffer.h"
#include "common/http/parser.h"
#include "common/loop/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_server;
struct http_exchange;
struct http_response;

/* --- Bodies that many answers share ------------------------------------------------------- */

/* Bytes with a reference count, sent without being copied. Any thread may make, reference
 * and release one. */
struct http_shared;

/* Takes over memory from malloc (freed with the last reference, or at once on failure).
 * The caller holds one reference. NULL when memory runs out. */
struct http_shared *http_shared_take(char *data, size_t bytes);
struct http_shared *http_shared_reference(struct http_shared *shared);
void http_shared_release(struct http_shared *shared); /* NULL is allowed */
struct http_text http_shared_text(const struct http_shared *shared);

/* --- The server ---------------------------------------------------------------------------- */

struct http_header {
    const char *name;
    const char *value;
};

/* Renders the body of an error that the server itself answers (parse errors, 413, 408, 503 over
 * the connection limit …): appends to body. The content type is application/json. `code` is a
 * stable snake_case word, `message` a sentence. */
typedef void http_render_error(void *context, unsigned status, const char *code, const char *message,
                               struct buffer *body);

/* Zeros stand for the defaults. */
struct http_server_config {
    void *context;
    void (*handle)(void *context, struct http_exchange *exchange);
    http_render_error *render_error; /* default: {"error": …, "message": …, "detail": …} */

    /* Sends such an error on an exchange, by http_respond, perhaps with headers of its own. The head
     * is empty if that is what was wrong. Default: as it is. */
    void (*respond_error)(void *context, struct http_exchange *exchange, const struct http_response *response);

    /* Called for every exchange when it is over, before its own `finished`: for access
     * logs and metrics. Also for requests that were malformed (their head may be empty). */
    void (*exchange_finished)(void *context, struct http_exchange *exchange);

    struct http_limits limits;
    const char *server_name;          /* Server field; default "muster" */
    uint32_t connections_max;         /* over it: 503 and close; default 20,000 */
    uint32_t head_timeout_ms;         /* whole head, from its first byte, or from accept; default 10,000 */
    uint32_t body_idle_timeout_ms;    /* body makes no progress; default 30,000 */
    uint32_t write_idle_timeout_ms;   /* client takes no bytes; default 30,000 */
    uint32_t keep_alive_timeout_ms;   /* between requests; default 75,000 */
    uint32_t requests_per_connection; /* then it is closed; default: no limit */
};

/* Opens a listening socket, non-blocking, without SO_REUSEPORT: a second server on one
 * port fails. `host` is a literal address or a name, port 0 picks a free one; backlog as
 * listen(2). Returns the descriptor, or -1 with a message for people. The socket may be
 * given to the servers of several loops. */
int http_listen(const char *host, uint16_t port, int backlog, char *error, size_t error_bytes);

/* The port a socket is bound to; 0 on error. */
uint16_t http_listener_port(int descriptor);

/* `config` is copied; what it points to must outlive the server. NULL when memory runs out. */
struct http_server *http_server_create(struct loop *loop, const struct http_server_config *config);

/* Accepts from this socket (several are possible). The descriptor stays the caller's, who
 * closes it after http_server_drain or _destroy. False, with errno, when the loop refuses. */
bool http_server_listen(struct http_server *server, int descriptor);

/* Takes a connected, non-blocking stream socket as if a client had connected with it from this machine; it is the
 * server's from now on. */
void http_server_adopt(struct http_server *server, int descriptor);

/* Stops accepting (the kernel refuses connections from now on, for all servers that accept from
 * the same socket), lets requests in flight finish (with Connection: close), closes idle
 * connections a quarter of a second later, since a request may be on its way, then calls
 * drained(context), at the end of a turn, once. After timeout_ms what is left is cut off. */
void http_server_drain(struct http_server *server, uint32_t timeout_ms, void (*drained)(void *context), void *context);

/* Cuts all connections and frees the server. Exchanges that handlers still hold stay valid
 * until they are answered; the loop must live that long. Not from a callback of the server. */
void http_server_destroy(struct http_server *server);

struct http_server_counts {
    uint64_t connections_accepted, connections_refused, connections_open, connections_idle;
    uint64_t requests, requests_malformed, requests_in_flight;
    uint64_t received_bytes, sent_bytes;
};

void http_server_read_counts(const struct http_server *server, struct http_server_counts *counts);

/* --- The request --------------------------------------------------------------------------- */

const struct http_head *http_exchange_head(const struct http_exchange *exchange);

/* Address of the client, "192.0.2.1" or "2001:db8::1". */
const char *http_exchange_client_address(const struct http_exchange *exchange);

/* The client's X-Request-Id if it is sane (1 to 128 of A-Z a-z 0-9 . _ -), else one of ours. It is
 * added to every response. */
const char *http_exchange_request_id(struct http_exchange *exchange);

struct loop *http_exchange_loop(const struct http_exchange *exchange);

/* A pointer of the handler's. */
void http_exchange_set_user(struct http_exchange *exchange, void *user);
void *http_exchange_user(const struct http_exchange *exchange);

/* Called once, when the exchange is over and before it is freed. */
void http_exchange_on_finished(struct http_exchange *exchange,
                               void (*finished)(void *context, struct http_exchange *exchange), void *context);

/* Called at most once, when the client goes away before the answer was complete; the
 * handler still has to answer (or abort), then or later. To stop work that nobody waits for. */
void http_exchange_on_client_gone(struct http_exchange *exchange,
                                  void (*gone)(void *context, struct http_exchange *exchange), void *context);
bool http_exchange_client_is_gone(const struct http_exchange *exchange);

/* For logs, complete in `finished`. The status is 0 when nothing was answered. */
struct http_exchange_summary {
    unsigned status;
    uint64_t received_body_bytes, sent_body_bytes;
    uint64_t duration_us; /* from the complete head to now */
    bool cut_off;         /* the answer did not reach its end */
};

void http_exchange_summarize(const struct http_exchange *exchange, struct http_exchange_summary *summary);

/* --- Its body ------------------------------------------------------------------------------- */

/* Calls collected(context, exchange, body) with the whole body, which is valid until
 * the exchange is answered; inside this call or later. Over limit_bytes: 413. */
void http_exchange_collect_body(struct http_exchange *exchange, size_t limit_bytes,
                                void (*collected)(void *context, struct http_exchange *exchange, struct http_text body),
                                void *context);

enum http_body_end {
    HTTP_BODY_COMPLETE,
    HTTP_BODY_MALFORMED, /* bad chunk */
    HTTP_BODY_CUT_OFF,   /* the client went away */
    HTTP_BODY_TIMEOUT,   /* the client stopped sending */
};

struct http_body_reader {
    /* Takes what it can and returns how many bytes that were. Less than `bytes` pauses the
     * body until http_exchange_resume_body. */
    size_t (*data)(void *context, struct http_exchange *exchange, const char *data, size_t bytes);

    /* Once, when the body is over. Unless it is complete the connection cannot be used
     * again; the handler still has to answer or abort. */
    void (*end)(void *context, struct http_exchange *exchange, enum http_body_end end);
};

/* `reader` must outlive the exchange (a static const). Its functions may be called inside this
 * call. No more of them come once the exchange is answered. */
void http_exchange_stream_body(struct http_exchange *exchange, const struct http_body_reader *reader, void *context);
void http_exchange_resume_body(struct http_exchange *exchange);

/* --- The answer ----------------------------------------------------------------------------- */

struct http_response {
    unsigned status;
    const char *content_type;          /* NULL: none */
    const struct http_header *headers; /* more fields; not those that the server sees to */
    size_t header_count;
    const char *body; /* copied or sent inside the call */
    size_t body_bytes;
    struct http_shared *shared; /* instead of body; http_respond takes a reference of its own */
};

/* Sends a whole answer and ends the exchange, which is freed when the answer has left.
 * HEAD requests get the head with the body's length; 204 and 304 have no body. */
void http_respond(struct http_exchange *exchange, const struct http_response *response);

/* For short: an answer of application/json. */
void http_respond_json(struct http_exchange *exchange, unsigned status, const char *body, size_t body_bytes);

#define HTTP_LENGTH_UNKNOWN UINT64_MAX

/* Sends a head; the body of `response` is not looked at. With HTTP_LENGTH_UNKNOWN the body is
 * chunked (HTTP/1.0: ends with the connection). */
void http_response_begin(struct http_exchange *exchange, const struct http_response *response, uint64_t body_bytes);

/* Takes all of the bytes. False when more than 64 KiB wait to be sent: write no more until
 * `writable`. Nothing is held back: each write leaves at once. */
bool http_response_write(struct http_exchange *exchange, const void *data, size_t bytes);

/* Called when the client has taken what waited; set it before the first write. */
void http_response_on_writable(struct http_exchange *exchange,
                               void (*writable)(void *context, struct http_exchange *exchange), void *context);

/* Ends the answer and the exchange. If fewer bytes were written than announced the
 * connection is closed, so that the client sees that something is missing. */
void http_response_end(struct http_exchange *exchange);

/* Answers an upgrade with 101 and `headers`, then hands over what the client sends to `reader` and
 * takes what http_response_write sends, both as they are, until http_response_end or
 * _abort. Nothing times the client out from here on, except that it does not take what was
 * written. Only for a request whose head has `upgrade`; what comes before the end of
 * the head's body is not allowed: false, and nothing was done, if it has one. */
bool http_response_upgrade(struct http_exchange *exchange, const char *protocol, const struct http_header *headers,
                           size_t header_count, const struct http_body_reader *reader, void *context);

/* Ends the exchange without an answer, or in the middle of one: the connection is closed, never cleanly. */
void http_exchange_abort(struct http_exchange *exchange);

/* The standard phrase of a status, "Not Found". */
const char *http_status_phrase(unsigned status);
