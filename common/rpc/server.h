/* A gRPC server.
 *
 *     server = rpc_server_create(loop, &(struct rpc_server_options){.address = "127.0.0.1:0"});
 *     rpc_server_add_descriptors(server, muster_descriptors, muster_descriptors_bytes);
 *     rpc_server_add_service(server, &muster__v1__router_service__descriptor, methods, count, router);
 *     port = rpc_server_start(server, error, sizeof(error));
 *
 * Methods of a service that are not in the table are answered UNIMPLEMENTED. Every server
 * also offers grpc.health.v1.Health, and reflection (grpc.reflection.v1 and v1alpha) over
 * the descriptors that it was given.
 *
 * Threading: the loop's thread, as loop.h says. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/rpc/call.h"
#include "common/rpc/loop.h"

struct rpc_server;

/* 0 or NULL takes the default. */
struct rpc_server_options {
    const char *address;           /* "HOST:PORT" or "[::1]:PORT"; port 0: any free one */
    size_t max_message_bytes;      /* longer requests end with RESOURCE_EXHAUSTED; 4 MiB */
    size_t max_metadata_bytes;     /* of one request; 16 KiB */
    uint32_t max_streams;          /* calls at a time on one connection; 1,000 */
    uint64_t keepalive_ms;         /* ping a silent client after; 60 s */
    uint64_t keepalive_timeout_ms; /* and give it up after another; 20 s */
    uint64_t min_ping_interval_ms; /* clients that ping more often are cut off; 5 s */
};

enum rpc_kind {
    RPC_UNARY,            /* one message, one answer */
    RPC_CLIENT_STREAMING, /* many messages, one answer */
    RPC_SERVER_STREAMING, /* one message, many answers */
    RPC_BIDI_STREAMING,   /* many, many */
};

/* How a method is served. */
struct rpc_method {
    const char *name; /* as in the .proto file: "RegisterWorker" */
    enum rpc_kind kind;
    struct rpc_events events;
};

struct rpc_server *rpc_server_create(struct rpc_loop *loop, const struct rpc_server_options *options);

/* Adds a service; before start. The table (an array of `count`) is copied, the descriptor must outlive
 * the server. `context` is what rpc_call_context gives to the callbacks. False: the table
 * names a method that the service does not have. */
bool rpc_server_add_service(struct rpc_server *server, const ProtobufCServiceDescriptor *service,
                            const struct rpc_method *methods, size_t count, void *context);

/* Adds a serialised google.protobuf.FileDescriptorSet (protoc --descriptor_set_out
 * --include_imports) for reflection; before start. Not copied. False: it is malformed. */
bool rpc_server_add_descriptors(struct rpc_server *server, const uint8_t *bytes, size_t count);

/* Binds, listens and serves. Returns the port, or 0 with one line in `error` that says what
 * to do; nothing else can be done with the server then than destroying it. */
uint16_t rpc_server_start(struct rpc_server *server, char *error, size_t error_bytes);

/* What the health service answers for a service's full name, or for all of them and the
 * server itself (NULL). After start everything is SERVING. */
void rpc_server_set_serving(struct rpc_server *server, const char *service, bool serving);

/* Calls that are open now, those of health and reflection left out. */
size_t rpc_server_open_calls(const struct rpc_server *server);

/* Stops gracefully: no new connections and calls (GOAWAY), health says NOT_SERVING, open
 * calls go on. Calls that are open after timeout_ms are cancelled. When all have ended,
 * done(argument), once. Long-lived streams do not end on their own: finish them. A second
 * call only brings the deadline forward. */
void rpc_server_drain(struct rpc_server *server, uint64_t timeout_ms, void (*done)(void *argument), void *argument);

/* Frees the server. One that is not drained is drained first with no time left: its calls
 * end, with their callbacks, inside this function. Not inside a callback of a call. */
void rpc_server_destroy(struct rpc_server *server);
