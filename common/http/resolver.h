/* Names to addresses without blocking a loop; the inside of relay.h's resolver.
 *
 * Threading: http_resolve and http_resolve_cancel on the loop's thread; one resolver serves
 * any number of loops. */

#pragma once

#include "common/http/relay.h"

#include <netinet/in.h>

#define HTTP_ADDRESSES_MAX 4

struct http_addresses {
    unsigned count;                                   /* 0: the name is unknown */
    struct sockaddr_storage list[HTTP_ADDRESSES_MAX]; /* without a port */
};

struct http_resolve_job;

/* True: *addresses is the answer, known already. False: *job runs, and done(context,
 * addresses) will be called on the loop, once, unless it is cancelled. When memory runs out
 * the answer is an empty list. */
bool http_resolve(struct http_resolver *resolver, struct loop *loop, const char *host, struct http_addresses *addresses,
                  struct http_resolve_job **job, void (*done)(void *context, const struct http_addresses *addresses),
                  void *context);

/* The job is no longer the caller's. Not after `done` was called. */
void http_resolve_cancel(struct http_resolve_job *job);
