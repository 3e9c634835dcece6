/* Calls to the coordinator over REST, and connections by name: libcurl's multi interface,
 * driven by our loop, so that http, https, names, proxies and certificates are its business
 * and nothing blocks.
 *
 * Connections are kept and used again. Answers are held in memory, 1 MiB at most.
 *
 * Threading: the loop's thread. (libcurl resolves names on a thread of its own, which is
 * there while it does so.) */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/loop/loop.h"

struct control;
struct control_call;

struct control_request {
    const char *method; /* "GET", "POST", "DELETE" */
    const char *url;
    const char *body; /* JSON; NULL: none. Copied, as everything here. */
    size_t body_bytes;
    const char *credential; /* sent as Authorization: Bearer; "" or NULL: none */
    unsigned timeout_ms;    /* for all of it */
};

struct control_answer {
    unsigned status; /* 0: there was no answer, `error` says why */
    const char *error;
    const char *body;
    size_t body_bytes;
    uint64_t retry_after_ms;  /* the server asks to be left alone for so long; 0: it does not */
    double connect_ms;        /* time that the TCP connection took; 0: an old one was used */
    const char *peer_address; /* "" when there was no connection */
    const char *local_address;
};

/* NULL when memory runs out. ca_file: certificates that https is checked against, in PEM;
 * "" for the system's. */
struct control *control_create(struct loop *loop, const char *ca_file);

/* Cancels what is under way, without calling anybody. */
void control_destroy(struct control *control);

/* Sends; `answered` is called once, never before this returns, unless the call is
 * cancelled. NULL: memory ran out, and it is not called. */
struct control_call *control_send(struct control *control, const struct control_request *request,
                                  void (*answered)(void *context, const struct control_answer *answer), void *context);

/* Connects to "host:port" ("[::1]:port"). `connected` is called as above, with a non-blocking
 * descriptor that is then the callee's, or -1 and the reason. */
struct control_call *control_connect(struct control *control, const char *address, unsigned timeout_ms,
                                     void (*connected)(void *context, int descriptor, const char *error),
                                     void *context);

/* Forgets a call that has not been answered. */
void control_cancel(struct control_call *call);
