/* The worker's side of --tunnel link: one WebSocket to a coordinator's gateway, through which requests reach this
 * worker (common/link), so that it needs no address of its own.
 *
 * The connection is made by libcurl on a thread of its own, since names, proxies and TLS take their time there: http
 * and https coordinators, HTTP_PROXY and HTTPS_PROXY (through CONNECT) as everywhere. Once it is lost it is made anew
 * with back-off and jitter. The link keeps its name, and so the worker its URL, as long as the process lives.
 *
 * Threading: the loop's thread. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/loop/loop.h"
#include "common/random.h"

struct uplink;

struct uplink_config {
    struct loop *loop;
    struct random *random;
    const char *worker_id; /* the buffer that holds it */
    const char *api_key;   /* "": none */
    const char *ca_file;   /* "": the system's */
    uint64_t ping_ms;      /* between pings; after three without a word the coordinator is taken for dead */

    /* A connection came through the link: a socket that is the callee's. */
    void (*handed_out)(void *context, int descriptor);
    /* What became of uplink_reach, if that returned false. error NULL: the link is open; else why it is not, with
     * the status of the gateway's answer, 0: there was none. */
    void (*reached)(void *context, unsigned status, const char *error);
    void *context;
};

/* Texts outlive it. NULL when memory runs out. */
struct uplink *uplink_create(const struct uplink_config *config);

/* Cuts it off. NULL is fine. Not from inside a callback. */
void uplink_destroy(struct uplink *uplink);

/* From now on the link is kept to this coordinator. True: it is open; false: `reached` will tell. */
bool uplink_reach(struct uplink *uplink, const char *coordinator_url);

/* The URL of this worker while its link is kept to that coordinator. False: it is too long. */
bool uplink_url(const struct uplink *uplink, const char *coordinator_url, char *url, size_t url_bytes);

bool uplink_is_open(const struct uplink *uplink);
