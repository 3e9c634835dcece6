/* One bidirectional streaming call of gRPC over HTTP/2, the client's side, with the
 * transport left to the caller: bytes that arrived go in, bytes to be sent come out.
 *
 * One connection carries this one call and nothing else, which is what a worker needs, and
 * keeps the state small (about 15 KB with nghttp2's). Plain HTTP/2 with prior knowledge.
 *
 * Order of use: grpc_stream_create; grpc_stream_output whenever something was done to it;
 * grpc_stream_receive for what arrives; `ended` is called once, at the call's end, however
 * that comes about except through grpc_stream_free. Callbacks come from inside
 * grpc_stream_receive only; the stream must not be freed there.
 *
 * Bounds: messages of message_limit_bytes at most; 1 MiB waiting to be sent; flow control
 * with windows of 64 KiB; a peer that sends pings or settings without end is cut off by
 * nghttp2.
 *
 * When the server says that it goes away (GOAWAY) our side of the call is closed, so that
 * it can end the call and need not wait.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"

struct grpc_stream;

#define GRPC_STREAM_REASON_BYTES 256

/* Status codes of gRPC that we give ourselves. */
enum {
    GRPC_STATUS_UNKNOWN = 2,
    GRPC_STATUS_RESOURCE_EXHAUSTED = 8,
    GRPC_STATUS_INTERNAL = 13,
    GRPC_STATUS_UNAVAILABLE = 14
};

struct grpc_stream_end {
    int status; /* grpc-status, or one of ours if the server gave none */
    const char *reason;
};

struct grpc_stream_calls {
    /* A message of the server's; the bytes are gone after the call. */
    void (*message)(void *context, const void *message, size_t message_bytes);
    void (*ended)(void *context, const struct grpc_stream_end *end);
};

/* Begins a call of `path` ("/package.Service/Method") at `authority` ("host:port"); both are
 * copied. `calls` and `context` outlive the stream. NULL when memory runs out. */
struct grpc_stream *grpc_stream_create(const char *authority, const char *path, size_t message_limit_bytes,
                                       const struct grpc_stream_calls *calls, void *context);
void grpc_stream_free(struct grpc_stream *stream);

/* Queues a message. False: the call is over or closed by us, or too much waits already. */
bool grpc_stream_send(struct grpc_stream *stream, const void *message, size_t message_bytes);

/* Closes our side when what is queued has been sent. */
void grpc_stream_finish(struct grpc_stream *stream);

/* Asks the peer for a sign of life; grpc_stream_pongs counts the answers. */
void grpc_stream_ping(struct grpc_stream *stream);
uint64_t grpc_stream_pongs(const struct grpc_stream *stream);

/* Takes bytes from the transport. False: the connection is of no more use; `ended` has been
 * called. */
bool grpc_stream_receive(struct grpc_stream *stream, const void *data, size_t bytes);

/* Appends bytes for the transport, up to about limit_bytes. False as above. */
bool grpc_stream_output(struct grpc_stream *stream, struct buffer *out, size_t limit_bytes);
