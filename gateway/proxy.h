/* The edge proxy: a gateway that stands alone, with no registry, health or router behind it.
 *
 * It asks coordinators (--coordinator-url) for their lists of workers, again and again (proxy/polling.h), and goes on
 * with the last ones for as long as nobody answers, over its own restart too (proxy/kept_list.h). From the lists come
 * the fleet, as at an edge router (edge.h, federation.h: each worker counts once), and the route table: the core of
 * muster-router runs inside, fed from the fleet, with the same policy, weights and ejections. Service requests are
 * picked and relayed by the fronts as at a coordinator. What is a coordinator's to answer (api_is_forwarded) is
 * forwarded to one.
 *
 * A request that finds nobody, or a worker that cannot be reached, shows that a list is out of date: it is asked for
 * sooner. With --discover-elsewhere a service that no list has is asked for at the coordinators, which find it in
 * their hash table (backend_proxy_elsewhere.c).
 *
 *     backend_proxy.c            life, the coordinators, the route table
 *     backend_proxy_lists.c      lists: what came of asking for one, and the files
 *     backend_proxy_elsewhere.c  services that no list has
 *
 * Threading: the rpc loop's thread. */

#pragma once

#include "common/json/write.h"
#include "gateway/backend.h"
#include "gateway/edge.h"
#include "gateway/proxy/listed_catalog.h"
#include "gateway/proxy/polling.h"
#include "services/router/router.h"

#define PROXY_LIST_PATH "/api/coordinator/workers"
#define PROXY_COORDINATORS_MAX 64

/* Of one coordinator. */
struct proxy_list {
    const char *id; /* of its region: its URL without slashes at the end */
    struct polling polling;
    bool is_there;
    int64_t born_ms; /* when it was asked for, by the monotonic clock; before 0 perhaps, if it is from a file */
    char etag[128];  /* "": none */
    struct arena catalog_arena;
    Muster__V1__WatchCatalogResponse *catalog; /* NULL: it came without one */
    uint64_t read, unchanged, failed;          /* answers, for /metrics */
};

struct elsewhere;

struct proxy {
    struct backend *backend;
    struct proxy_list *lists; /* in the order in which they were given */
    size_t list_count;
    char *urls; /* what the ids point into */
    struct buffer catalog_text;
    struct arena default_arena;
    Muster__V1__WatchCatalogResponse *default_catalog; /* until a coordinator says one */
    struct router *router;
    struct router_watcher *watcher;
    struct timer router_timer;
    struct elsewhere *elsewhere; /* NULL: services that no list has are nowhere */
    uint64_t released;           /* of the federation, when the lists were last looked at */
    bool was_ready;
};

/* False: memory ran out, or a setting is wrong, which the log says. */
bool proxy_start(struct backend *backend);
void proxy_stop(struct backend *backend); /* before edge_stop */
void proxy_free(struct backend *backend); /* before edge_free */

/* --- Told by backend_edge_regions.c, which asks for the lists --- */

const char *proxy_etag(struct backend *backend, const struct federation_region *region); /* NULL: none */
void proxy_list_asked(struct backend *backend, struct federation_region *region);
/* It came, and is in the fleet already; it was the same as before. */
void proxy_list_read(struct backend *backend, struct federation_region *region, const struct http_call *call);
void proxy_list_unchanged(struct backend *backend, struct federation_region *region);
/* In any case, behind one of these or alone. */
void proxy_list_answered(struct backend *backend, struct federation_region *region);

/* --- Told by the rest of the backend --- */

void proxy_report_outcomes(struct backend *backend, const Muster__V1__ReportOutcomesRequest *request);
/* No worker was found for a job's service: true if the job waits, and runs again. */
bool proxy_looks_further(struct backend *backend, struct job *job);

/* --- How it is --- */

bool proxy_is_degraded(const struct backend *backend); /* a coordinator does not answer, or there is no list */
void proxy_write_health(struct backend *backend, struct json_writer *writer);
void proxy_render_metrics(const struct backend *backend, struct buffer *out);

/* --- Between these files --- */

struct proxy_list *proxy_list_of(struct proxy *proxy, const char *id);
/* Has the route table made from the fleet anew. */
void proxy_route(struct backend *backend);
/* Workers were ejected, or come back: tells the fronts. */
void proxy_pump(struct backend *backend);
/* Reads the files. */
void proxy_lists_load(struct backend *backend);
/* The list of whoever holds the worker is out of date; NULL: all are. */
void proxy_hurry(struct backend *backend, const char *worker_id);
