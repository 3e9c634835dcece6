/* The load balancer: a gateway that stands alone and sends whatever it is asked to one of its upstreams, in turn.
 *
 * Upstreams come from one of three places: --upstreams; --upstreams-file, which is looked at every second and read
 * again on SIGHUP; or --upstream-service, the workers that a coordinator names for a service, asked for every
 * --poll-seconds, and sooner when an upstream goes down. A file that is wrong, and a coordinator that does not answer
 * or knows nobody, change nothing: the upstreams that there are go on.
 *
 * balancer/balancer.h says who is up. Everything but GET /health, /healthz, /readyz and /metrics is relayed, with its
 * path and query as they are, behind the path of the upstream's URL, if that has one. X-Upstream names who answered.
 *
 *     backend_balance.c         life, checks, how it is
 *     backend_balance_source.c  where upstreams come from
 *     front_balance.c           requests
 *
 * Threading: the rpc loop's thread; balance_attempt_failed is what fronts post to it. */

#pragma once

#include "common/http_calls.h"
#include "common/json/write.h"
#include "gateway/backend.h"
#include "gateway/balancer/balancer.h"
#include "gateway/proxy/polling.h"

#include <sys/stat.h>

struct balance {
    struct backend *backend;
    struct balancer balancer;
    struct balancer_table *table;
    struct http_calls *calls; /* NULL: it stops */
    struct timer timer;       /* checks */
    struct random random;

    struct timer source_timer;
    struct stat seen;        /* of the file, when it was read last */
    struct polling polling;  /* of the coordinators */
    size_t next_coordinator; /* whose turn it is */
    bool is_asking;
    char problem[300]; /* why the list could not be had the last time; "": it could */
};

/* False: memory ran out, or the first list is wrong, which the log says. */
bool balance_start(struct backend *backend);
void balance_stop(struct backend *backend);
void balance_free(struct backend *backend);

/* SIGHUP: reads the file again. */
void balance_reload(struct backend *backend);

/* From malloc; the texts are behind it. */
struct balance_failure {
    struct backend *backend;
    const char *url, *reason;
};
void balance_attempt_failed(void *message);

bool balance_is_degraded(const struct backend *backend); /* somebody is down, or the list cannot be had */
void balance_write_health(struct backend *backend, struct json_writer *writer);
void balance_render_metrics(const struct backend *backend, struct buffer *out);

/* --- Between these files --- */

/* These are the upstreams from now on. */
void balance_set(struct backend *backend, const char *const *urls, size_t count);
/* Begins what is due. */
void balance_pump(struct backend *backend);
bool balance_source_start(struct backend *backend);
void balance_source_stop(struct backend *backend);
/* Somebody went down: whoever knows the upstreams may know others by now. */
void balance_source_hurry(struct backend *backend);
