/* The core of muster-router: which worker a request for a service should go to.
 *
 * It joins three watches: the registry's (who is there and what was assigned or announced),
 * health's (how they are and how loaded), and the assigner's (the catalog: names, aliases,
 * paths). Out of them comes the route table: for each service the endpoints that requests may
 * be sent to, each with a weight and a priority.
 *
 * A worker W is an endpoint of service S when
 *   - S was assigned to W, or W announces S by its name or an alias; services that no catalog
 *     knows are taken as they are announced;
 *   - W is online (priority 0), degraded (1) or reconnecting (2), and not draining;
 *   - W does not say of S that it is in another state than "running";
 *   - and it is not ejected as an outlier: gateways reported OUTLIER_FAILURES connection
 *     failures in a row. An ejection lasts 5 s, twice as long each time it comes again, at
 *     most 5 minutes, and ends on its own; a time as long as the last ejection without another
 *     one is forgiven one step. When every endpoint of a service would be ejected, none is:
 *     trying is better than refusing.
 *   - and its probes do not fail, if the catalog says that the service is probed: it is asked
 *     every interval, by GET at its URL with the probe's path behind it; after so many failures
 *     in a row it is left out, after so many successes it is back. The same holds: when nobody
 *     would be left, trying is better than refusing.
 * Its URL is the one announced for S, else the worker's tunnel_url. Its weight comes from the
 * policy.
 *
 * Where registry and health differ, health is right for the incarnation that it speaks of. A
 * watch that is down changes nothing: what was last known stays. After it is up again, what
 * its snapshot does not name is forgotten when the snapshot is complete, not before.
 *
 * Changes of endpoints are published with a revision. One that takes an endpoint away or brings
 * one is published at once: who registers a worker finds it. Weights are gathered for
 * ROUTER_GATHER_MS, and what was changed back meanwhile is no change. Only endpoints that were touched
 * are looked at, so that the cost of a change does not depend on how many there are.
 *
 * A watcher is sent what was published since, each endpoint once and as it is by then, in
 * messages of at most ROUTER_PIECE_CHANGES. One that begins is sent all, in the same pieces: what
 * changes while it gets them comes at their end. One that comes back says how far it was, and goes
 * on from there, if this is the same router and it still knows all that was removed since: it
 * remembers ROUTER_REMOVALS_MAX removals, or half as many as there are endpoints if that is more.
 * Else it gets a new snapshot, and so does one that is too slow.
 *
 * Nothing is published before the registry's first snapshot was complete, and those of health
 * and the catalog too unless they stay away for ROUTER_START_WAIT_MS: a router that restarts
 * must not replace a gateway's good table by an empty one.
 *
 * Time: now_ms is monotonic.
 * Ownership: what functions fill in points into the core and is valid until the next call of
 * any function here.
 * Threading: one thread. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ejection.h"
#include "muster/v1/assigner.pb-c.h"
#include "muster/v1/health.pb-c.h"
#include "muster/v1/registry.pb-c.h"
#include "muster/v1/router.pb-c.h"
#include "services/router/policy.h"

struct router;
struct router_watcher;

#define ROUTER_GATHER_MS 100
#define ROUTER_START_WAIT_MS 2000
#define ROUTER_WATCHERS_MAX 64
#define ROUTER_EXPLAIN_CANDIDATES_MAX 1000
#define ROUTER_PIECE_CHANGES 1000
#define ROUTER_REMOVALS_MAX 65536

#define OUTLIER_FAILURES 3
#define OUTLIER_FIRST_MS EJECTION_FIRST_MS
#define OUTLIER_LONGEST_MS EJECTION_LONGEST_MS

/* NULL when memory runs out. The seed makes the random picks of router_route. */
struct router *router_create(const struct policy *policy, uint64_t seed, uint64_t now_ms);
void router_destroy(struct router *router);

/* Ends ejections and publishes what is due. Call it after anything that applied a change. */
void router_advance(struct router *router, uint64_t now_ms);

/* When router_advance has something to do next; UINT64_MAX: never, on its own. */
uint64_t router_next_ms(const struct router *router);

/* Whether the route table may be shown. */
bool router_is_ready(const struct router *router);

/* --- The three watches. Applying returns false when memory runs out: start that watch from
 * nothing then. --- */

/* The registry's watch begins: returns the revision to ask for changes after. */
uint64_t router_workers_begin(struct router *router);
bool router_apply_workers(struct router *router, const Muster__V1__WatchWorkersResponse *message, uint64_t now_ms);

/* Health's watch begins: it starts with everything that health knows. */
void router_health_begin(struct router *router);
bool router_apply_health(struct router *router, const Muster__V1__WatchHealthResponse *message, uint64_t now_ms);

/* The whole catalog. */
bool router_apply_catalog(struct router *router, const Muster__V1__WatchCatalogResponse *message, uint64_t now_ms);

/* --- What became of requests --- */

void router_report_outcomes(struct router *router, const Muster__V1__ReportOutcomesRequest *request, uint64_t now_ms);

/* --- Active probes --- */

struct router_probe_request {
    const char *worker_id, *service; /* the names to give back with the answer */
    const char *url, *path;
    uint32_t timeout_ms;
    uint64_t number; /* likewise */
};

/* The next probe that is due; false: none. Look after router_advance. */
bool router_next_probe(struct router *router, struct router_probe_request *request);

enum router_probe_result { ROUTER_PROBE_PASSED, ROUTER_PROBE_FAILED, ROUTER_PROBE_NOT_MADE };

/* What became of one, and why. Whether the endpoint was put out of routing by it, or back into it. */
bool router_probe_ended(struct router *router, const char *worker_id, const char *service, uint64_t number,
                        enum router_probe_result result, const char *reason, uint64_t now_ms);

/* --- Asking --- */

enum router_result {
    ROUTER_OK,
    ROUTER_NO_SERVICE, /* no such name */
    ROUTER_NO_WORKER,  /* nobody to serve it, or all were excluded */
    ROUTER_NOT_READY,
    ROUTER_OUT_OF_MEMORY,
};

/* Picks as a gateway does: among the endpoints of the lowest priority number, at random by
 * weight. `response` holds the endpoint in `endpoint`, which the caller provides. */
enum router_result router_route(struct router *router, const Muster__V1__RouteRequest *request,
                                Muster__V1__RouteResponse *response, Muster__V1__Endpoint *endpoint);

/* Every candidate and why it won or lost. */
enum router_result router_explain(struct router *router, const char *service, uint64_t now_ms,
                                  Muster__V1__ExplainResponse *response);

/* --- Watchers --- */

/* NULL: there are ROUTER_WATCHERS_MAX, or no memory. */
struct router_watcher *router_watcher_open(struct router *router, const Muster__V1__WatchRoutesRequest *request);
void router_watcher_close(struct router *router, struct router_watcher *watcher);

/* Fills in the next piece of what the watcher lacks. False: nothing. */
bool router_watcher_fill(struct router *router, struct router_watcher *watcher,
                         Muster__V1__WatchRoutesResponse *response);

/* --- Knowing --- */

size_t router_worker_count(const struct router *router);
size_t router_service_count(const struct router *router);

/* Computes the published table anew and compares, and checks the links; for tests. False also
 * when changes wait to be published. */
bool router_check(struct router *router);
