/* Where workers and coordinators are, at an edge router that has a database of places (--geoip-database, geoip.h).
 *
 *   a worker       what it says itself goes first: `location`. If it says nothing, the country of its address counts as
 *                  its location, and the continent as one of which that is a part. Its coordinates, if the database has
 *                  any, tell apart who is equally close by name.
 *   a coordinator  what it says itself goes first: `location`, and `latitude` with `longitude` in its capabilities
 *                  (--coordinates). If it gives no coordinates, those of the address from which it registered and sends
 *                  heartbeats count: behind a tunnel its URL leads to somebody else's machine, but it calls from home.
 *
 * pool.h says how these are compared. */

#include "gateway/edge.h"

#include <string.h>

#include "gateway/geoip.h"

/* How often the file is looked at. */
#define INTERVAL_MS 1000

void edge_place_worker(const struct backend *backend, const struct job *job, struct geoip_answer *answer,
                       struct pool_wish *wish)
{
    if (backend->gateway->geoip == NULL || job->client_address == NULL ||
        !geoip_find(backend->gateway->geoip, job->client_address, answer))
        return;
    if (wish->location[0] == '\0') {
        wish->location = answer->country;
        wish->continent = answer->continent;
    }
    wish->place =
        (struct pool_place){.known = answer->place_known, .latitude = answer->latitude, .longitude = answer->longitude};
}

void edge_place_coordinator(const struct backend *backend, const struct job *job, struct federation_region *region)
{
    struct geoip_answer answer;
    if (backend->gateway->geoip == NULL || job->client_address == NULL || region == NULL || region->place_is_own ||
        !geoip_find(backend->gateway->geoip, job->client_address, &answer) || !answer.place_known)
        return;
    region->place = (struct pool_place){.known = true, .latitude = answer.latitude, .longitude = answer.longitude};
}

static void due(struct timer *timer, void *argument)
{
    struct backend *backend = argument;
    geoip_again(backend->gateway->geoip, false);
    rpc_loop_timer_start(backend->loop, timer, INTERVAL_MS, due, backend);
}

void edge_places_read(struct backend *backend)
{
    if (backend->gateway->geoip != NULL)
        geoip_again(backend->gateway->geoip, true);
}

void edge_places_start(struct backend *backend)
{
    if (backend->gateway->geoip != NULL)
        rpc_loop_timer_start(backend->loop, &backend->edge->places_timer, INTERVAL_MS, due, backend);
}

void edge_places_stop(struct backend *backend)
{
    rpc_loop_timer_stop(backend->loop, &backend->edge->places_timer);
}
