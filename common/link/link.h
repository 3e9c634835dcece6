/* A link: many byte streams over one WebSocket that a worker keeps to its gateway, so that requests reach a worker
 * which nobody can connect to.
 *
 * Each stream is what a TCP connection to the worker would have been: bytes both ways, either side may end its half,
 * either may break it off. The gateway opens them. They are streams of HTTP/2 (RFC 9113), as CONNECT makes them
 * (8.5), carried as they are in the WebSocket's binary messages (frames.h): nghttp2 does the multiplexing, the
 * windows and the resets. The gateway is HTTP/2's client and the WebSocket's server, the worker the other way round.
 *
 * Back-pressure is per stream. A stream's window is opened again only by link_stream_consumed, so that no more than
 * LINK_WINDOW_BYTES of it wait anywhere; the window of the whole connection is always given back at once, so that
 * one stream that nobody reads does not stop the others. What waits at most is therefore streams × window. Bytes to
 * be sent are fetched from their owner only when the transport asks for some.
 *
 * This is a core without I/O and without a clock: the transport's bytes come in by link_receive and are fetched by
 * link_output. Callbacks come from inside these two only, and must not call them, nor free the link.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/buffer.h"

#define LINK_WINDOW_BYTES (256 * 1024)
#define LINK_STREAMS_MAX 1024 /* at once */

enum link_side { LINK_GATEWAY, LINK_WORKER };

struct link;
struct link_stream;

struct link_calls {
    /* Of the worker: the gateway has opened a stream. Returns what the stream is to be known by (link_stream_user);
     * NULL: refused. */
    void *(*opened)(void *context, struct link_stream *stream);
    /* Bytes came; each is to be given to link_stream_consumed once it has been passed on. */
    void (*arrived)(void *context, struct link_stream *stream, const void *data, size_t bytes);
    /* No more will come. */
    void (*ended)(void *context, struct link_stream *stream);
    /* Asked for up to `room` bytes to send: how many, 0: that was all of them, -1: none now (link_stream_ready is
     * called when there are). */
    ssize_t (*wanted)(void *context, struct link_stream *stream, void *into, size_t room);
    /* The stream is gone: both sides have ended, or one has broken it off, or refused it. Last word of it. Not called
     * by link_free. */
    void (*closed)(void *context, struct link_stream *stream);
};

/* `calls` and `context` outlive the link. NULL when memory runs out. */
struct link *link_create(enum link_side side, const struct link_calls *calls, void *context);

/* With all its streams. NULL is allowed. */
void link_free(struct link *link);

/* Takes what the transport received. False: the link is over; what link_output still has is to be sent. */
bool link_receive(struct link *link, const void *data, size_t bytes);

/* Appends what is to be sent: at least something, if there is something, and hardly more than `enough` bytes. False:
 * the link is over, with these its last bytes. */
bool link_output(struct link *link, struct buffer *out, size_t enough);

/* Why it is over; "" while it is not. A sentence's part for a log. */
const char *link_error(const struct link *link);

void link_ping(struct link *link);

/* Says goodbye; `reason` is a short text for people, of 123 bytes at most. */
void link_close(struct link *link, const char *reason);

size_t link_stream_count(const struct link *link);

/* Of the gateway: begins a stream. NULL: there are LINK_STREAMS_MAX, the link is over, or memory ran out. */
struct link_stream *link_open(struct link *link, void *user);

void *link_stream_user(const struct link_stream *stream);

/* `wanted` may be asked again. */
void link_stream_ready(struct link_stream *stream);

/* So many of the bytes that arrived are needed no more. */
void link_stream_consumed(struct link_stream *stream, size_t bytes);

/* Breaks it off; `closed` follows. */
void link_stream_reset(struct link_stream *stream);
