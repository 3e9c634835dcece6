/* Which worker a service request goes to: this gateway's own copy of the router's table, and
 * the choice from it.
 *
 * The choice: among the endpoints of the lowest priority number that has any to offer, two
 * are drawn at random by weight, and the one with fewer requests in flight for its weight is
 * taken ("The Power of Two Random Choices", M. Mitzenmacher, 2001). A worker that could not
 * be reached is passed over by this gateway for PICK_SKIP_MS, long before the router knows,
 * unless nobody else is left.
 *
 * A struct pick_table is one version of the table and never changes once it is published: HTTP
 * threads hold references, and get the next version by a message. Services that did not change
 * are shared between versions. A struct pick_state is what one thread knows on top: its
 * requests in flight and the failures that it saw.
 *
 * Threading: references may be taken and given back by any thread; a table is built by one
 * thread; a state belongs to one thread. No I/O, no clock: time is an argument. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/map.h"
#include "common/random.h"
#include "muster/v1/router.pb-c.h"

/* How long a worker that could not be reached is passed over. */
#define PICK_SKIP_MS 1000

/* Path on the worker of a service that has none of its own. */
#define PICK_DEFAULT_PATH "/api/{type}"

struct pick_endpoint {
    char *worker_id;
    char *url;       /* no slash at its end */
    uint32_t weight; /* above 0 */
    uint32_t priority;
    uint64_t weight_sum; /* of this one and those before it with the same priority */
};

struct pick_service;

const char *pick_service_name(const struct pick_service *service);
size_t pick_service_endpoints(const struct pick_service *service);
/* Whether a request may be sent twice whatever its method. */
bool pick_service_repeatable(const struct pick_service *service);

/* --- The table --- */

struct pick_table;

/* An empty one, with one reference. NULL when memory ran out. */
struct pick_table *pick_table_create(void);

/* The table after a message of WatchRoutes; the old one is left as it is. NULL when memory
 * ran out. */
struct pick_table *pick_table_apply(const struct pick_table *table, const Muster__V1__WatchRoutesResponse *change);

struct pick_table *pick_table_reference(struct pick_table *table);
void pick_table_release(struct pick_table *table); /* NULL is allowed */

/* By name or alias; a name wins. NULL: unknown. Valid as long as the table. */
const struct pick_service *pick_table_find(const struct pick_table *table, const char *name, size_t name_bytes);

/* Keeps a service beyond its table. */
struct pick_service *pick_service_reference(const struct pick_service *service);
void pick_service_release(struct pick_service *service);

/* A service that is in no table, with one endpoint; for requests that come before the
 * router's table does. NULL when memory ran out. */
struct pick_service *pick_service_single(const char *name, const char *path, const char *worker_id, const char *url);

/* Appends the path that a request goes to. `type` is the service as the request named it and
 * `rest` what follows, both still encoded; rest is empty or begins with "/". */
void pick_service_path(const struct pick_service *service, const char *type, size_t type_bytes, const char *rest,
                       size_t rest_bytes, struct buffer *path);

/* --- The choice --- */

struct pick_state {
    struct map workers; /* by id: struct pick_worker */
    struct random random;
};

void pick_state_init(struct pick_state *state, uint64_t seed);
void pick_state_free(struct pick_state *state);

/* The endpoint to try, none of the excluded workers, or NULL. Valid as long as the service. */
const struct pick_endpoint *pick_choose(struct pick_state *state, const struct pick_service *service,
                                        const char *const *excluded_ids, size_t excluded_count, uint64_t now_ms);

/* A request goes to this worker, and is over. `unreachable`: no connection could be made. */
void pick_begin(struct pick_state *state, const char *worker_id);
void pick_end(struct pick_state *state, const char *worker_id, bool unreachable, uint64_t now_ms);

/* Requests that this thread has in flight to a worker. */
uint32_t pick_in_flight(const struct pick_state *state, const char *worker_id);

/* Forgets workers about which there is nothing to remember. */
void pick_state_sweep(struct pick_state *state, uint64_t now_ms);
