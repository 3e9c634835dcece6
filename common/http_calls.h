/* Calls HTTP servers, many at once, and gathers what each says: libcurl on a thread of its own, so that no server,
 * however slow, holds up the process. For calls that are rare beside those that a process exists for: broadcast jobs,
 * probes.
 *
 * Every call has its own time limit, from the moment at which it is begun. All of a batch begin at once, but for that
 * a quarter of the descriptors that the process may have, and no more than HTTP_CALLS_SOCKETS_MAX, are under way at a
 * time; the rest begin as those end. Redirects are not followed, only http and https are spoken, no proxy of the
 * environment is used, and of an answer HTTP_CALLS_RESPONSE_BYTES_MAX are kept, unless the batch says otherwise: a
 * server that sends more is cut off, which takes nothing from its status.
 *
 * libcurl is loaded with the first http_calls_create: it and the thirty libraries that it brings along cost a process
 * four megabytes.
 *
 * Threading: every function on the rpc loop's thread, which also runs `done`. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/rpc/loop.h"

#define HTTP_CALLS_SOCKETS_MAX 4096
#define HTTP_CALLS_RESPONSE_BYTES_MAX 16384

struct http_calls;

struct http_call {
    char *label;            /* the caller's: what it is about */
    char *url;              /* likewise: "http://host:port/prefix/api/job" */
    long status;            /* of HTTP; 0: there is no answer */
    uint32_t first_byte_us; /* from the request's last byte to the answer's first; 0: none came */
    bool timed_out;
    bool truncated; /* `response` is the beginning only */
    char etag[128]; /* of the answer; "": none, or one that is too long */
    struct buffer response;
    char error[160]; /* with status 0 */
};

struct http_call_batch {
    struct http_call_batch *next; /* the owner's */
    struct http_calls *owner;     /* likewise */
    size_t begun, ended;          /* likewise */
    const char *method;           /* NULL: POST with a body, GET without; borrowed, as are the next three */
    const char *header;           /* one more, "Name: value"; NULL: none */
    const char *if_none_match;    /* an ETag: the answer may be 304; NULL: none */
    bool packed;                  /* answers may come with gzip; what is kept of them is unpacked */
    char *body;                   /* sent as JSON; NULL: none */
    size_t body_bytes;
    size_t response_bytes_max; /* kept of each answer; 0: HTTP_CALLS_RESPONSE_BYTES_MAX */
    uint32_t timeout_ms;       /* of each call */
    uint32_t silence_seconds;  /* without a byte, which end a call before that; 0: they do not */
    bool public_only;          /* no address of this machine or network is connected to (address.h) */
    struct http_call *calls;   /* the owner's, all zero but for id and url */
    size_t call_count;         /* at least 1 */
    /* All targets have answered or not; the batch is the owner's again. When the owner
     * ends it is called for what is under way as well, with what is known. */
    void (*done)(struct http_call_batch *batch);
};

/* NULL: no memory, no thread, or no libcurl, which the log says then. Sends itself as `user_agent`, which it borrows;
 * no more than batches_max batches are under way at a time. */
struct http_calls *http_calls_create(struct rpc_loop *loop, const char *user_agent, size_t batches_max);

/* Ends what is under way; each batch's `done` is called inside. The loop must run once more, which frees it. NULL is
 * fine. */
void http_calls_destroy(struct http_calls *owner);

/* False: batches_max are under way, nothing was done. */
bool http_calls_send(struct http_calls *owner, struct http_call_batch *batch);

/* `base` without slashes at its end, and `path` behind it, for the caller to free; NULL when memory runs out. */
char *http_calls_url(const char *base, const char *path);
