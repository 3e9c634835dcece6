/* The inside of the server: what its files share. Not for users of the server.
 *
 * A connection is a socket with at most one exchange, the request being received or
 * answered; pipelined requests wait in its input. http_connection_pump moves everything
 * that can move: it sends what waits, ends an exchange that is complete, and feeds input to
 * the parser or to the body. It is the one place that reads, and calls from inside a callback
 * come back to the pump that is already running.
 *
 * An exchange is in one of these hands:
 *   server     PHASE_HEAD, or a body being collected: failures are answered here
 *   handler    PHASE_HANDLING until `answered`
 *   nobody     answered: over as soon as the output is sent and the body received
 * When a connection closes under a handler the exchange lives on without it. */

#pragma once

#include "common/http/chunked.h"
#include "common/http/output.h"
#include "common/http/server.h"
#include "common/random.h"

#include <netinet/in.h>

#define HTTP_SCRATCH_BYTES 65536
#define HTTP_OUTPUT_HIGH_BYTES 65536 /* http_response_write says stop above this */
#define HTTP_HEAD_INLINE_BYTES 1024
#define HTTP_REQUEST_ID_BYTES 129

enum http_phase { PHASE_HEAD, PHASE_HANDLING };

enum http_body_mode {
    BODY_UNDECIDED, /* the handler has not said: not read */
    BODY_COLLECT,
    BODY_STREAM,
    BODY_DISCARD, /* read and dropped so that the connection can go on */
};

struct http_exchange {
    struct loop_reapable reapable;
    struct http_connection *connection; /* NULL: the client is gone */
    struct http_server *server;
    struct http_exchange *next_free;

    struct http_parser parser;
    enum http_phase phase;
    bool answered;
    bool over;
    bool keep_alive; /* after this exchange */
    bool cut_off;

    /* The body of the request. `piece_left_bytes` of the input are body bytes as they
     * stand: the rest of a Content-Length, or of a chunk, or all there is in a tunnel. */
    enum http_body_mode body_mode;
    enum http_framing body_framing;
    bool body_over;
    bool body_paused;
    bool body_failed;
    bool body_pending_continue; /* the client waits for 100 Continue */
    bool tunnel;
    struct http_chunked chunked;
    uint64_t piece_left_bytes;
    struct buffer collected;
    size_t collect_limit_bytes;
    void (*collected_call)(void *context, struct http_exchange *exchange, struct http_text body);
    const struct http_body_reader *reader;
    void *body_context;

    /* The response. */
    bool response_begun;
    enum http_framing response_framing;
    bool response_bodiless;      /* HEAD, 204, 304: what is written is dropped */
    bool above_high_water;       /* a write returned false since `writable` was last called */
    uint64_t response_left_bytes; /* of HTTP_FRAMING_LENGTH */
    void (*writable)(void *context, struct http_exchange *exchange);
    void *writable_context;

    void (*finished)(void *context, struct http_exchange *exchange);
    void *finished_context;
    void (*gone)(void *context, struct http_exchange *exchange);
    void *gone_context;
    void *user;

    uint64_t head_deadline_ms;
    uint64_t started_us;
    unsigned status;
    uint64_t received_body_bytes, sent_body_bytes;
    char *head_memory; /* NULL: head_inline */

    /* From here on not cleared for each exchange. */
    char request_id[HTTP_REQUEST_ID_BYTES]; /* empty: not made up yet */
    char client_address[INET6_ADDRSTRLEN];
    char head_inline[HTTP_HEAD_INLINE_BYTES];
    struct http_head head; /* last: mostly untouched */
};

struct http_connection {
    struct loop_watch watch; /* first: the callback casts */
    struct loop_reapable reapable;
    struct http_server *server;
    struct http_connection *next, *previous;
    struct http_exchange *exchange;
    struct http_output output;
    struct timer timer;
    uint64_t deadline_ms; /* 0: none; the timer may be set earlier and is then moved on */

    /* Bytes received and not yet used. NULL while there are none. */
    char *input;
    uint32_t input_at, input_end, input_capacity;

    /* While a handler is called: what was received behind the head, to be taken by a handler
     * that asks for the body at once. */
    const char *view;
    size_t view_bytes;

    uint32_t requests;
    bool readable, writable; /* as far as the edges told */
    bool hangup;             /* the peer has shut down its side: reads end in a zero */
    bool end_of_input;       /* and that zero was read */
    bool broken;             /* an error: nothing can be sent */
    bool lingering;          /* all sent, shut down; reading until the peer closes */
    bool pumping;
    bool closed;
    char address[INET6_ADDRSTRLEN];
};

#define HTTP_LISTENERS_MAX 8

struct http_listener {
    struct loop_watch watch; /* first: the callback casts */
    struct http_server *server;
    int descriptor;
    struct timer retry; /* while descriptors have run out */
};

struct http_server {
    struct loop *loop;
    struct http_server_config config;
    struct http_listener listeners[HTTP_LISTENERS_MAX];
    unsigned listener_count;
    struct http_connection *connections;
    struct http_exchange *free_exchanges;
    unsigned free_exchange_count;
    size_t exchanges_alive; /* with those whose client is gone */
    struct http_server_counts counts;
    struct buffer render; /* heads are put together here */
    struct random random;
    char date[40];
    uint64_t date_until_ms;
    bool draining;
    bool destroyed; /* freed with the last exchange */
    void (*drained)(void *context);
    void *drained_context;
    struct timer drain_timer;
    struct loop_hook drain_hook;
    struct loop_reapable reapable;
    char scratch[HTTP_SCRATCH_BYTES]; /* what is read lands here first */
};

/* connection.c */
void http_connection_accept(struct http_server *server, int descriptor, const struct sockaddr *address);
void http_connection_pump(struct http_connection *connection);
void http_connection_close(struct http_connection *connection);

/* Closes an idle connection of a server that drains, after a moment for a request that is on
 * its way: that one is answered, and told that the connection ends. */
void http_connection_close_when_idle(struct http_connection *connection);

/* Sends the vectors behind what waits already. `shared`: as in http_output_append. Errors
 * show in connection->broken. */
void http_connection_send(struct http_connection *connection, const struct iovec *vectors, int count,
                          struct http_shared *shared);

/* exchange.c */
struct http_exchange *http_exchange_new(struct http_connection *connection);

/* Calls the callbacks of the end and frees, at the end of the turn. */
void http_exchange_over(struct http_exchange *exchange);

/* The head is complete: keeps it and calls the handler. */
void http_exchange_begin(struct http_exchange *exchange);

/* Takes bytes of the body, as many as it can; returns how many. */
size_t http_exchange_feed_body(struct http_exchange *exchange, const char *data, size_t bytes);

/* The body will not be completed. */
void http_exchange_fail_body(struct http_exchange *exchange, enum http_body_end end);

/* The connection is gone; the exchange goes on alone or is over. */
void http_exchange_detach(struct http_exchange *exchange);

static inline bool http_exchange_wants_body(const struct http_exchange *exchange)
{
    return !exchange->body_over && exchange->body_mode != BODY_UNDECIDED && !exchange->body_paused;
}

/* After 101 was sent: input goes to the reader as it is, http_response_write writes as it is. */
void http_exchange_tunnel(struct http_exchange *exchange);

/* response.c */

/* An error that the server answers by itself; the connection is closed. */
void http_exchange_answer_error(struct http_exchange *exchange, unsigned status, const char *code, const char *message);

/* Decides how the answer is framed and whether the connection goes on after it, and appends the
 * fields that say so, and the empty line. body_bytes may be HTTP_LENGTH_UNKNOWN. */
void http_exchange_finish_head(struct http_exchange *exchange, struct buffer *head, unsigned status,
                               uint64_t body_bytes);

/* Sends a finished head (or NULL), a piece of body in its framing, and the end of it, in one call
 * to the kernel. `shared`: data is its memory, else NULL. False when much waits to be sent. */
bool http_exchange_transmit(struct http_exchange *exchange, struct buffer *head, const char *data, size_t bytes,
                            struct http_shared *shared, bool end);

/* Ends an exchange whose answer is framed so far but will not be completed. */
void http_exchange_cut_off(struct http_exchange *exchange);

/* server.c */
const char *http_server_date(struct http_server *server);
void http_server_connection_closed(struct http_server *server);
void http_server_free_if_unused(struct http_server *server);
