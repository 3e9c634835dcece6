/* Calling other processes.
 *
 * A channel is an address: it connects when first used, and again, with exponential
 * back-off, when the connection is lost. Nothing blocks; results come as callbacks.
 *
 *     channel = rpc_channel_create(loop, "127.0.0.1:7101", NULL);
 *     rpc_channel_call(channel, &muster__v1__registry_service__descriptor, "GetWorkers", &request.base,
 *                      &(struct rpc_call_options){.timeout_ms = 1000}, got_workers, self);
 *
 * Threading: the loop's thread, as loop.h says. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/rpc/call.h"
#include "common/rpc/loop.h"

struct rpc_channel;

enum rpc_channel_state {
    RPC_CHANNEL_IDLE, /* not in use, or the connection was closed while it was not */
    RPC_CHANNEL_CONNECTING,
    RPC_CHANNEL_READY,
    RPC_CHANNEL_FAILING, /* could not connect; waits before it tries again */
};

/* 0 or NULL takes the default. */
struct rpc_channel_options {
    uint64_t min_backoff_ms;       /* before the first new attempt to connect; 100 */
    uint64_t max_backoff_ms;       /* 2,000 */
    uint64_t keepalive_ms;         /* ping a silent server after, while calls are open; 30 s */
    uint64_t keepalive_timeout_ms; /* 10 s */
    size_t max_message_bytes;      /* of an answer; 64 MiB */
    size_t max_metadata_bytes;     /* of an answer; 16 KiB */
    const char *user_agent;        /* put before gRPC core's own; none */
    /* Told of each change of state. */
    void (*state_changed)(struct rpc_channel *channel, enum rpc_channel_state state, void *argument);
    void *argument;
};

struct rpc_channel *rpc_channel_create(struct rpc_loop *loop, const char *address,
                                       const struct rpc_channel_options *options);

/* Stops the channel's kept streams, which are gone then, and cancels its calls: their `ended`
 * and `done` follow from the loop, in rpc_loop_destroy at the latest. state_changed is not
 * called again. Frees the channel when the last of them has ended. */
void rpc_channel_destroy(struct rpc_channel *channel);

enum rpc_channel_state rpc_channel_state(const struct rpc_channel *channel);

/* Starts connecting without waiting for the first call. */
void rpc_channel_connect(struct rpc_channel *channel);

const char *rpc_channel_address(const struct rpc_channel *channel);

/* All zeroes, or NULL: no deadline, fail when there is no connection. */
struct rpc_call_options {
    uint64_t timeout_ms; /* RPC_DEADLINE_EXCEEDED after; 0: never */
    bool wait_for_ready; /* wait for a connection instead of failing with RPC_UNAVAILABLE */
    const struct rpc_metadata *metadata;
    size_t metadata_count;
};

/* The end of a unary call: `response` is of the method's output type, and NULL unless status
 * is RPC_OK. Valid, as is `call`, during the callback only. */
typedef void (*rpc_done)(struct rpc_call *call, enum rpc_status status, const char *text, const void *response,
                         void *argument);

/* Sends one request for one answer; `done` is called exactly once, from the loop. The call
 * may be used to cancel it until then. Descriptors must outlive the channel. Asking for a method that the service does
 * not have is an error of the program and aborts it. */
struct rpc_call *rpc_channel_call(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
                                  const char *method, const ProtobufCMessage *request,
                                  const struct rpc_call_options *options, rpc_done done, void *argument);

/* Starts a streaming call of any kind: send with rpc_call_send, then rpc_call_half_close.
 * The events are copied. */
struct rpc_call *rpc_channel_stream(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
                                    const char *method, const struct rpc_call_options *options,
                                    const struct rpc_events *events, void *argument);

/* --- Kept streams --- */

/* A stream that is started again whenever it ends, as watches are: at once the first time,
 * then after a delay that doubles up to a limit, each drawn at random from its upper half.
 * The delay starts from the beginning after a call that brought a message. The call waits
 * for a connection.
 *
 * `events` are those of every call that is made; `started` sends the first request (and half
 * closes, if it is the only one); `ended` is told of each end. rpc_call_context gives
 * `argument`. */
struct rpc_kept_stream;

struct rpc_kept_stream_options {
    uint64_t min_delay_ms;               /* 0: 100 */
    uint64_t max_delay_ms;               /* 0: 2,000 */
    const struct rpc_metadata *metadata; /* must outlive the stream */
    size_t metadata_count;
};

/* The first call is started from the loop, not inside this function. */
struct rpc_kept_stream *rpc_kept_stream_start(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
                                              const char *method, const struct rpc_kept_stream_options *options,
                                              const struct rpc_events *events, void *argument);

/* The call that is open now, or NULL while none is. */
struct rpc_call *rpc_kept_stream_call(const struct rpc_kept_stream *stream);

/* Whether the server has accepted the call that is open now. */
bool rpc_kept_stream_is_up(const struct rpc_kept_stream *stream);

/* Cancels the open call, if any, and frees the stream. No event of it comes after this,
 * `ended` included. May be called inside its events. */
void rpc_kept_stream_stop(struct rpc_kept_stream *stream);
