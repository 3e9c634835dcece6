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
 * threads hold references, and get the next version by a message. Versions share all but what
 * changed (pick_array.h): with a million endpoints a change of a thousand copies some thousand
 * small nodes. A version that is held keeps what was current with it, and what was replaced since; what a
 * request holds for as long as it lasts are therefore the endpoints that it went to and the service's
 * description, never a service. A struct pick_state is what one thread knows on top: its requests in flight
 * and the failures that it saw.
 *
 * A snapshot that comes in pieces replaces the table piece by piece: an endpoint stays until the
 * snapshot is complete and has not named it. So the table is good to pick from all the while, also
 * when the snapshot breaks off and is begun again.
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

struct pick_endpoint;

const char *pick_endpoint_worker(const struct pick_endpoint *endpoint); /* its id */
const char *pick_endpoint_url(const struct pick_endpoint *endpoint);    /* no slash at its end */
struct pick_endpoint *pick_endpoint_reference(const struct pick_endpoint *endpoint);
void pick_endpoint_release(struct pick_endpoint *endpoint); /* NULL is allowed */

/* What a service is, without where it is to be had. */
struct pick_description;

const char *pick_description_name(const struct pick_description *description);
/* Whether a request may be sent twice whatever its method. */
bool pick_description_repeatable(const struct pick_description *description);
struct pick_description *pick_description_reference(const struct pick_description *description);
void pick_description_release(struct pick_description *description); /* NULL is allowed */

struct pick_service;

const struct pick_description *pick_service_description(const struct pick_service *service);
size_t pick_service_endpoints(const struct pick_service *service);

/* Endpoint number `index`, below that count, in no order; for tests. */
const struct pick_endpoint *pick_service_endpoint(const struct pick_service *service, size_t index, uint32_t *weight,
                                                  uint32_t *priority);

/* --- The table --- */

struct pick_table;

/* An empty one, with one reference. NULL when memory ran out. */
struct pick_table *pick_table_create(void);

/* The table after a message of WatchRoutes; to those who read it the old one stays as it is. Only the newest has
 * one after it. NULL when memory ran out: watch again, from where the old one is. */
struct pick_table *pick_table_apply(struct pick_table *table, const Muster__V1__WatchRoutesResponse *change);

struct pick_table *pick_table_reference(struct pick_table *table);
void pick_table_release(struct pick_table *table); /* NULL is allowed */

/* How far it has come: what to send with the next WatchRoutes. In the middle of a snapshot it has
 * come nowhere. */
void pick_table_position(const struct pick_table *table, Muster__V1__WatchRoutesRequest *request);

/* Whether it has not begun a snapshot that it has not heard the end of. */
bool pick_table_is_whole(const struct pick_table *table);

/* By name or alias; a name wins. NULL: unknown. Valid as long as the table. */
const struct pick_service *pick_table_find(const struct pick_table *table, const char *name, size_t name_bytes);
size_t pick_table_services(const struct pick_table *table);

/* A service that is in no table, with one endpoint and one reference; for requests that come
 * before the router's table does. NULL when memory ran out. */
struct pick_service *pick_service_single(const char *name, const char *path, const char *worker_id, const char *url);
void pick_service_release(struct pick_service *service); /* NULL is allowed */

/* For tests: whether the sums and counts inside are right. */
bool pick_table_check(const struct pick_table *table);

/* Appends the path that a request goes to. `type` is the service as the request named it and
 * `rest` what follows, both still encoded; rest is empty or begins with "/". */
void pick_description_path(const struct pick_description *description, const char *type, size_t type_bytes,
                           const char *rest, size_t rest_bytes, struct buffer *path);

/* --- The choice --- */

struct pick_state {
    struct map workers; /* by id: struct pick_worker */
    struct random random;
};

void pick_state_init(struct pick_state *state, uint64_t seed);
void pick_state_free(struct pick_state *state);

/* Endpoints that are looked at when random draws find none that may be chosen. In a larger group
 * the rest counts as no better. */
#define PICK_LOOK_MAX 1024

/* The endpoint to try, none of the excluded workers, or NULL. Valid as long as the service. There
 * are fewer than PICK_LOOK_MAX excluded ones. */
const struct pick_endpoint *pick_choose(struct pick_state *state, const struct pick_service *service,
                                        const char *const *excluded_ids, size_t excluded_count, uint64_t now_ms);

/* A request goes to this worker, and is over. `unreachable`: no connection could be made. */
void pick_begin(struct pick_state *state, const char *worker_id);
void pick_end(struct pick_state *state, const char *worker_id, bool unreachable, uint64_t now_ms);

/* Requests that this thread has in flight to a worker. */
uint32_t pick_in_flight(const struct pick_state *state, const char *worker_id);

/* Forgets workers about which there is nothing to remember. */
void pick_state_sweep(struct pick_state *state, uint64_t now_ms);
