/* WebSocket (RFC 6455) of the gateway's own endpoints: the handshake, and one connection's frames,
 * which wslay parses and builds. Bytes come in by a call and go out by a callback.
 *
 * The endpoints only speak: messages of a client are read, up to WEBSOCKET_MESSAGE_BYTES_MAX,
 * and dropped. Pings are answered, a close is answered and ends the connection.
 *
 * Threading: a connection belongs to one thread. No I/O, no clock. */

#pragma once

#include "common/http/parser.h"
#include "common/link/handshake.h"
#include "gateway/cors.h"

/* --- The handshake --- */

enum websocket_verdict {
    WEBSOCKET_ACCEPTED,
    WEBSOCKET_NOT_ASKED_FOR,    /* an ordinary request: 426 */
    WEBSOCKET_WRONG_VERSION,    /* 426, which names the one that is spoken */
    WEBSOCKET_BAD_KEY,          /* none, several, or not 16 bytes in base64: 400 */
    WEBSOCKET_FORBIDDEN_ORIGIN, /* a page that may not: 403 */
};

#define WEBSOCKET_VERSION "13"
/* The subprotocol that is chosen when a client offers it: browsers that offer some want one of them answered. */
#define WEBSOCKET_PROTOCOL "muster"
#define WEBSOCKET_ACCEPT_BYTES LINK_ACCEPT_BYTES

/* Judges a request. On WEBSOCKET_ACCEPTED `accept` is the value of Sec-WebSocket-Accept. A request
 * without Origin comes from no page, and is not held to be one. */
enum websocket_verdict websocket_judge(const struct http_head *head, const struct cors *cors,
                                       char accept[WEBSOCKET_ACCEPT_BYTES]);

/* --- Frames --- */

#define WEBSOCKET_MESSAGE_BYTES_MAX 4096

enum websocket_close {
    WEBSOCKET_CLOSE_NORMAL = 1000,
    WEBSOCKET_CLOSE_GOING_AWAY = 1001,
    WEBSOCKET_CLOSE_POLICY = 1008,
};

struct websocket;

/* `send` takes all bytes, at once; it is called from inside the functions below, and must not
 * call them. NULL when memory runs out. */
struct websocket *websocket_create(void (*send)(void *context, const void *data, size_t bytes), void *context);
void websocket_free(struct websocket *websocket); /* NULL is allowed */

/* Takes what the client sent. False: the connection is over, close it; what was to be said
 * has been sent. */
bool websocket_receive(struct websocket *websocket, const void *data, size_t bytes);

/* These do nothing once a close was sent. False: memory ran out, close the connection. */
bool websocket_send_text(struct websocket *websocket, const char *text, size_t bytes);
bool websocket_send_ping(struct websocket *websocket);

/* Says goodbye; `reason` is a short text for people. */
void websocket_send_close(struct websocket *websocket, enum websocket_close code, const char *reason);
