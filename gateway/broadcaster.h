/* Sends a job to many workers at once and gathers what each says: libcurl on a thread of its
 * own, so that no worker, however slow, holds up the gateway.
 *
 * Every request has its own time limit, from the moment at which it is begun. At most
 * BROADCAST_SOCKETS_MAX are under way at a time; the rest begin as those end. Redirects are not
 * followed, only http and https are spoken, no proxy of the environment is used, and of an
 * answer BROADCAST_RESPONSE_BYTES_MAX are kept: a worker that sends more is cut off.
 *
 * Threading: every function on the rpc loop's thread, which also runs `done`. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/rpc/loop.h"

#define BROADCAST_SOCKETS_MAX 256
#define BROADCAST_RESPONSE_BYTES_MAX 16384
/* Broadcasts at a time. */
#define BROADCASTS_MAX 64

struct broadcaster;

struct broadcast_target {
    char *worker_id; /* the owner's */
    char *url;       /* likewise: "http://host:port/prefix/api/job" */
    long status;     /* of HTTP; 0: there is no answer */
    bool timed_out;
    bool truncated; /* `response` is the beginning only */
    struct buffer response;
    char error[160]; /* with status 0 */
};

struct broadcast {
    struct broadcast *next;          /* the broadcaster's */
    struct broadcaster *broadcaster; /* likewise */
    size_t begun, ended;             /* likewise */
    char *body;                      /* sent as JSON; the owner's */
    size_t body_bytes;
    struct broadcast_target *targets; /* the owner's, all zero but for id and url */
    size_t target_count;              /* at least 1 */
    /* All targets have answered or not; the broadcast is the owner's again. When the broadcaster
     * ends it is called for what is under way as well, with what is known. */
    void (*done)(struct broadcast *broadcast);
};

/* NULL: no memory, no thread, or no libcurl, which the log says then. */
struct broadcaster *broadcaster_create(struct rpc_loop *loop, uint32_t timeout_ms);

/* Ends what is under way; each broadcast's `done` is called inside. The loop must run once more,
 * which frees it. NULL is fine. */
void broadcaster_destroy(struct broadcaster *broadcaster);

/* False: BROADCASTS_MAX are under way, nothing was done. */
bool broadcaster_send(struct broadcaster *broadcaster, struct broadcast *broadcast);
