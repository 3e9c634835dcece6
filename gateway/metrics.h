/* What is counted, by the thread that it happens on, and shown by GET /metrics.
 *
 * Threading: a struct front_metrics is written by its front only and read by any thread: its
 * numbers are atomics that one thread adds to without locking the bus. */

#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/http/relay.h"
#include "gateway/api.h"

#define METRICS_BUCKETS 13
#define METRICS_RELAY_RESULTS (HTTP_RELAY_CLIENT_GONE + 1)

typedef atomic_uint_fast64_t metrics_counter;

/* Why requests were not let in. */
enum metrics_refused {
    METRICS_REFUSED_UNAUTHORIZED,
    METRICS_REFUSED_FORBIDDEN,
    METRICS_REFUSED_RATE,
    METRICS_REFUSED_COUNT
};

struct route_metrics {
    metrics_counter by_class[6];              /* of the status; 0: nothing was answered */
    metrics_counter buckets[METRICS_BUCKETS]; /* not cumulated; what is longer is in none */
    metrics_counter duration_us;
};

struct front_metrics {
    struct route_metrics routes[API_OPERATION_COUNT + 1]; /* the last: no route */
    metrics_counter relay_attempts[METRICS_RELAY_RESULTS];
    metrics_counter relay_retries;
    metrics_counter links_opened, link_requests;
    metrics_counter refused[METRICS_REFUSED_COUNT];
};

/* The writer's way to add. */
static inline void metrics_add(metrics_counter *counter, uint64_t value)
{
    uint64_t sum = atomic_load_explicit(counter, memory_order_relaxed) + value;
    atomic_store_explicit(counter, sum, memory_order_relaxed);
}

/* A request is over; route NULL: there was none. */
void metrics_request(struct front_metrics *metrics, const struct api_route *route, unsigned status,
                     uint64_t duration_us);

/* Figures of the coordinator, as the backend knows them. */
struct coordinator_metrics {
    uint64_t workers, active_workers, services;
    uint64_t heartbeats;        /* taken by health, whichever way they came, as it last said */
    uint64_t evictions_waiting; /* workers that health would take off the roll if it did not go slowly */
    uint64_t rest_heartbeats;   /* of these: over REST, through this gateway */
    uint64_t heartbeat_messages;
    uint64_t history_workers, history_workers_not_kept, history_dropped;
    uint64_t registrations, unregistrations;
    uint64_t links, requests_in_links; /* of workers, at this gateway */
    const struct part_metrics {
        const char *name; /* "registry" */
        bool up;
    } * parts;
    size_t part_count;
};

/* Appends the text of all fronts together. */
void metrics_render(const struct front_metrics *const *fronts, size_t front_count,
                    const struct coordinator_metrics *coordinator, struct buffer *out);
