/* The worker's HTTP port: finds the service that a path means (service_table.h) and has it
 * answered, by the built-in demonstration or through common/http's relay; answers /health.
 *
 * Errors are JSON as everywhere: 404 unknown_service, 503 service_unavailable (assigned, but
 * it cannot be run here, or does not answer now; with Retry-After, another worker may be
 * asked), 503 worker_busy over the limit of concurrent requests, 502 and 504 for a service
 * that failed or was too slow in the middle.
 *
 * Threading: the loop's thread. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/http/relay.h"
#include "common/http/server.h"
#include "services/worker/service_table.h"

struct front;

struct front_config {
    struct loop *loop;
    const struct service_table *table;
    const char *worker_id;          /* the buffer that holds it */
    uint32_t most_requests;         /* of services, at once */
    struct http_resolver *resolver; /* NULL: services are at literal addresses */

    /* The number of requests being worked on changed. */
    void (*active_changed)(void *context, uint32_t active);
    /* Appends the JSON of /health. */
    void (*render_health)(void *context, struct buffer *body);
    /* A service could not be connected to. */
    void (*unreachable)(void *context, const struct service *service);
    void *context;
};

/* `config` is copied; what it points to outlives the front. NULL, with a sentence in `error`. */
struct front *front_create(const struct front_config *config, char *error, size_t error_bytes);

/* Accepts on this socket, which stays the caller's. */
bool front_listen(struct front *front, int descriptor);

/* As http_server_adopt. */
void front_adopt(struct front *front, int descriptor);

/* As http_server_drain. */
void front_drain(struct front *front, uint32_t timeout_ms, void (*drained)(void *context), void *context);

/* After it has drained. */
void front_destroy(struct front *front);

uint32_t front_active(const struct front *front);
uint64_t front_completed(const struct front *front);
