/* The router's table, as far as others are told of it: which workers a service has, and where.
 * It follows WatchRoutes, and says which services changed so that others need to know; that is
 * not so when only weights did.
 *
 * While a snapshot comes in nothing is said: what was there stays until all of it is known.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "muster/v1/dht.pb-c.h"
#include "muster/v1/router.pb-c.h"

/* More do not fit into one value. */
#define DHT_ROUTES_WORKERS_MAX 64

struct dht_routes;

struct dht_routes *dht_routes_create(void); /* NULL: memory ran out */
void dht_routes_free(struct dht_routes *routes);

/* Applies a message of WatchRoutes. False: memory ran out; watch again from the start. */
bool dht_routes_apply(struct dht_routes *routes, const Muster__V1__WatchRoutesResponse *response);

/* A service, and those of its workers to which requests go now: of the lowest priority number that
 * there is, in the order of their ids, which does not change with their loads. */
struct dht_routes_service {
    const char *name;
    Muster__V1__DhtWorker workers[DHT_ROUTES_WORKERS_MAX]; /* the first of them; id, url and type are set */
    size_t count;                                          /* of these */
    size_t total;                                          /* 0: it has none, or is gone */
};

/* The next service that changed since it was asked for last; valid until the routes are touched
 * again. False: there is none. */
bool dht_routes_next_changed(struct dht_routes *routes, struct dht_routes_service *service);
