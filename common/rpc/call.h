/* A call: one request and its answer, or two streams of messages. The same object and the
 * same functions at both ends; server.h and client.h say how a call begins.
 *
 * Life of a call
 *   - Its events are callbacks on the loop's thread. None is ever made inside a function of
 *     this header: rpc_call_finish returns before `ended` is called.
 *   - `ended` comes exactly once and last. When it returns the call is freed: forget the
 *     pointer there. It comes whichever way the call is over: finished, cancelled by either
 *     side, deadline passed, connection lost.
 *   - A server method without `ended` may keep a call for as long as it likes: the call then
 *     stays valid until rpc_call_reply or rpc_call_finish, even when its peer has gone
 *     meanwhile (the answer goes nowhere). This is what a unary method that answers later
 *     wants.
 *   - A server method must finish each call; one that was never finished is open forever.
 *
 * Messages
 *   - A message handed to a callback is valid during that callback only: it lies in memory
 *     that the next message reuses. Copy what is kept, or keep it whole (rpc_call_keep_message).
 *   - A message that is sent is packed at once; it stays the caller's.
 *   - The next message is asked for when the callback returns, unless reading was paused:
 *     what the program does not take, flow control holds back at the sender.
 *   - Sending queues without limit; be it the sender's part to stop while
 *     rpc_call_writable says no, and to go on when `writable` is called.
 *
 * Threading: the loop's thread, as loop.h says. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/rpc/status.h"

struct rpc_call;

/* What happens to a call. Any of them may be NULL. */
struct rpc_events {
    /* Server: a call has come in; its metadata are there. Not needed for methods that take
     * one message. Client, kept streams only: a call was started; send the first request. */
    void (*started)(struct rpc_call *call);
    /* Client: the server has accepted the call, its headers are there. */
    void (*accepted)(struct rpc_call *call);
    /* A message of the type that the method's descriptor names. */
    void (*message)(struct rpc_call *call, const void *message);
    /* The peer sends no more messages: at a server, the client's last one has been seen. Not
     * called when the call ended instead, nor for methods that take one message. A client
     * hears of a server's end by `ended`. */
    void (*half_closed)(struct rpc_call *call);
    /* rpc_call_writable has become true again. */
    void (*writable)(struct rpc_call *call);
    /* The call is over. At a client: the server's status and text, or what stands for them.
     * At a server: RPC_OK when the client was given the status that the handler finished
     * with, RPC_CANCELLED when the call was over before that. `text` is never NULL. */
    void (*ended)(struct rpc_call *call, enum rpc_status status, const char *text);
};

/* A line of metadata. Keys are lower case; a key that ends in "-bin" may have any bytes as
 * its value, others printable ASCII. */
struct rpc_metadata {
    const char *key;
    const void *value;
    size_t value_bytes;
};

/* --- Sending --- */

/* Sends a message. False: not taken, since the call is over, finished, or half-closed. */
bool rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message);

/* A message that was packed once, to be sent on many calls: they share its bytes, and one send
 * costs neither packing nor copying. Free it at any time, also while calls still send it. */
struct rpc_packed;
struct rpc_packed *rpc_packed_create(const ProtobufCMessage *message);
void rpc_packed_free(struct rpc_packed *packed); /* NULL is fine */
size_t rpc_packed_bytes(const struct rpc_packed *packed);

/* As rpc_call_send. */
bool rpc_call_send_packed(struct rpc_call *call, const struct rpc_packed *packed);

/* Client: no more messages will be sent. Queued ones still go out. */
void rpc_call_half_close(struct rpc_call *call);

/* Server: sends the one message and finishes with RPC_OK; for methods that answer with one. */
void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *message);

/* Server: ends the call after what is queued has gone out. The text is for people; it is
 * cut at 1 KiB. Finishing twice does nothing. */
__attribute__((format(printf, 3, 4))) void rpc_call_finish(struct rpc_call *call, enum rpc_status status,
                                                           const char *format, ...);

/* Ends the call now; what is queued is dropped. `ended` follows, with RPC_CANCELLED unless
 * another end came first. */
void rpc_call_cancel(struct rpc_call *call);

/* Messages that were handed to rpc_call_send and have not gone to the transport. */
size_t rpc_call_queued_bytes(const struct rpc_call *call);
size_t rpc_call_queued_messages(const struct rpc_call *call);

/* Whether the queue holds no more than its limit. */
bool rpc_call_writable(const struct rpc_call *call);

/* The limit, 256 KiB at first. With 0 a call is writable only when all has gone out: so the
 * next message can gather what came up meanwhile. */
void rpc_call_set_queue_limit(struct rpc_call *call, size_t bytes);

/* Server: metadata to send with the first message or (trailing) with the status. Copied.
 * False: the headers have gone out already, or key or value is not legal. */
bool rpc_call_add_header(struct rpc_call *call, const struct rpc_metadata *metadata);
bool rpc_call_add_trailer(struct rpc_call *call, const struct rpc_metadata *metadata);

/* Server: sends the headers now. Streaming methods do so on their own after their first
 * callback. */
void rpc_call_send_headers(struct rpc_call *call);

/* --- Receiving --- */

/* No message callback until resumed; one that is under way already is kept back. At a client
 * the end comes after the messages before it, so it waits, too; rpc_call_cancel ends that. */
void rpc_call_pause(struct rpc_call *call);
void rpc_call_resume(struct rpc_call *call);

/* Inside a message callback: the message as it came, packed. */
const uint8_t *rpc_call_message_bytes(const struct rpc_call *call, size_t *bytes);

/* Inside a message callback, or the `done` of a unary call: keeps the message that it brought, nearly always
 * without a copy, until its memory is freed. Returns the message to use from here on, or NULL when it needs more memory
 * than its size allows; `memory` is set in any case. Once for each message. */
struct rpc_message_memory;
void *rpc_call_keep_message(struct rpc_call *call, const void *message, struct rpc_message_memory **memory);
void rpc_message_memory_free(struct rpc_message_memory *memory); /* NULL is fine */

/* The n-th value (from 0) that the peer sent under this key: at a server the client's
 * metadata, at a client the server's headers or trailers. NULL: there is none. Not followed
 * by a zero byte. Valid as long as the call. */
const void *rpc_call_header(const struct rpc_call *call, const char *key, size_t n, size_t *value_bytes);
const void *rpc_call_trailer(const struct rpc_call *call, const char *key, size_t n, size_t *value_bytes);

/* --- Knowing --- */

/* A pointer of the handler's own; NULL at first. */
void rpc_call_set_user(struct rpc_call *call, void *user);
void *rpc_call_user(const struct rpc_call *call);

/* Server: the context given with the service. Client: the argument given with the call. */
void *rpc_call_context(const struct rpc_call *call);

/* "/muster.v1.RegistryService/RegisterWorker"; valid as long as the call. */
const char *rpc_call_method(const struct rpc_call *call);

/* Where the peer is: "ipv4:127.0.0.1:40312". Valid as long as the call. */
const char *rpc_call_peer(struct rpc_call *call);

/* Milliseconds until the call's deadline, 0 when it has passed, UINT64_MAX without one. */
uint64_t rpc_call_remaining_ms(const struct rpc_call *call);

/* Whether the call was cancelled, timed out or lost; `ended` is about to come, or comes
 * after rpc_call_finish when the method has no `ended`. */
bool rpc_call_is_over(const struct rpc_call *call);
