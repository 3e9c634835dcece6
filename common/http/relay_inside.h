/* The inside of a relay: what its files share. relay.c has the attempts and the end,
 * relay_request.c what goes to the upstream, relay_answer.c what comes back.
 *
 * relay_pump moves whatever can move; calls from inside a callback come back to the pump that is
 * already running. After relay_release, or anything that may call it, look at the phase: the
 * memory is valid until the end of the turn, the exchange and the connection are not the relay's. */

#pragma once

#include "common/http/connection.h"
#include "common/http/upstream.h"

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

/* relay.c */
void relay_pump(struct http_relay *relay);

/* Ends the attempt; begins another, gives up, or cuts the answer off, as is right. */
void relay_attempt_failed(struct http_relay *relay, enum http_relay_result result);

/* Whether the request may be sent twice. */
bool relay_is_repeatable(const struct http_relay *relay);

void relay_report(struct http_relay *relay, enum http_relay_result result, bool will_retry);

/* Lets go of everything but the exchange, which the caller ends. */
void relay_release(struct http_relay *relay);
void relay_client_gone(void *context, struct http_exchange *exchange);

/* Something moved: the time in which the next thing has to starts over. */
void relay_note_progress(struct http_relay *relay);

/* The request is sent: the time for the answer's first byte starts. */
void relay_wait_for_answer(struct http_relay *relay);

/* relay_request.c */
extern const struct http_body_reader relay_body_reader;

/* Connected: the head goes out, and with it what of the body is held. */
void relay_send_request(struct http_relay *relay);

/* Sends what waits, and goes on with the client's body once there is room. */
void relay_flush(struct http_relay *relay);

/* relay_answer.c */

/* Reads once; false when there is nothing more to read now. */
bool relay_receive(struct http_relay *relay);
void relay_client_writable(void *context, struct http_exchange *exchange);
