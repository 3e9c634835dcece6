/* Inside the core of muster-router: its records, and what its files offer each other.
 *
 *     router.c     life, publishing
 *     workers.c    workers: the registry's and health's watches
 *     services.c   services: the catalog, names, endpoints
 *     outliers.c   ejections
 *     probes.c     active probes
 *     explain.c    Route and Explain
 *     watchers.c   the route table as messages */

#pragma once

#include "common/arena.h"
#include "common/map.h"
#include "common/random.h"
#include "common/timer_wheel.h"
#include "common/worker_status.h"
#include "services/router/router.h"

/* A name under which a worker serves something, as the registry has it. */
struct router_offer {
    char *name;
    char *url;     /* NULL: the worker's own */
    bool assigned; /* told to run it; else announced */
};

/* How health says that a worker is. */
struct router_health {
    bool known;
    uint64_t incarnation;
    Muster__V1__WorkerStatus status;
    char *reason; /* NULL: none */
    struct policy_figures figures;
    char *states; /* name, zero, state, zero, ... and an empty name; NULL: none */
    uint32_t generation;
};

struct router_worker {
    bool registered; /* the registry has it; else only health spoke of it so far */
    bool draining;
    Muster__V1__WorkerType type;
    Muster__V1__WorkerStatus status; /* as the registry has it */
    uint64_t incarnation;
    uint32_t generation;
    char *url;
    char *reason; /* of the registry's status; NULL: none */
    struct router_offer *offers;
    size_t offer_count;
    struct router_endpoint **endpoints; /* one for each service that the offers name */
    size_t endpoint_count;
    struct router_health health;
    char id[];
};

struct router_outlier {
    struct router *router;
    struct timer timer;        /* the end of the ejection, or of the time to be forgiven */
    uint32_t failures;         /* connection failures in a row */
    uint32_t ejections;        /* not forgiven yet */
    uint64_t ejected_until_ms; /* 0: it is not ejected */
};

/* Of an endpoint whose service is probed. */
struct router_probe {
    struct router *router;
    struct router_endpoint *endpoint;
    struct timer timer;                   /* the next one */
    struct router_probe *next, *previous; /* while it is due */
    bool due;
    bool failing;                 /* no requests are sent there */
    uint32_t failures, successes; /* in a row */
    uint64_t number;              /* of the one that was begun last; 0: none */
    char reason[160];             /* of the last failure */
};

/* How a service is probed, from the catalog. */
struct router_probing {
    char *path; /* NULL: not at all */
    uint32_t interval_ms, timeout_ms, failures, successes;
};

struct router_endpoint {
    struct router_worker *worker;
    struct router_service *service;
    const struct router_offer *offer;
    struct router_outlier *outlier; /* NULL: no failures */
    struct router_probe *probe;     /* NULL: the service is not probed */
    size_t index;                   /* in service->endpoints */
    bool eligible;                  /* as last judged; without regard to ejection */
    /* As published. */
    bool in_table;
    uint8_t priority;
    uint32_t weight;
};

struct router_service {
    char *name;
    char **aliases;
    size_t alias_count;
    char *path;
    Muster__V1__WorkerType required;
    bool repeatable;
    struct router_probing probing;
    bool in_catalog;
    bool gone;         /* published as removed; kept until every watcher knows */
    bool dirty;        /* to be computed anew */
    bool urgent;       /* at once */
    bool altered;      /* to be published whatever the endpoints' state */
    uint64_t revision; /* at which it was last published */
    struct router_endpoint **endpoints;
    size_t endpoint_count, endpoint_capacity;
    size_t table_count; /* of them in the published table */
};

struct router_watcher {
    uint64_t revision; /* 0: nothing was sent */
};

struct router {
    const struct policy *policy;
    struct timer_wheel wheel;
    struct random random;
    struct map workers;  /* by id */
    struct map services; /* by name */
    struct map names;    /* by name and alias, to the same services */
    struct arena arena;  /* what the last answer points into */
    uint8_t *catalog;    /* the last catalog, packed; to see whether it changed */
    size_t catalog_bytes;
    bool catalog_known;
    uint64_t workers_revision;
    uint32_t workers_generation, health_generation;
    bool workers_in_snapshot, workers_synchronised;
    bool health_in_snapshot, health_synchronised;
    uint64_t ready_at_ms; /* at the latest; UINT64_MAX: not known yet */
    bool ready;
    uint64_t revision;
    bool urgent;
    uint64_t publish_at_ms; /* UINT64_MAX: nothing waits */
    size_t last_published;  /* endpoints in the last publication */
    size_t gone_count;      /* services that are published as removed */
    uint64_t now_ms;
    struct router_probe *first_probe, *last_probe; /* that are due */
    uint64_t probe_number;                         /* of the last one that was begun */
    struct router_watcher *watchers[ROUTER_WATCHERS_MAX];
};

/* --- router.c --- */

/* Frees what the last answer pointed into. */
void router_reset_arena(struct router *router);

/* --- workers.c --- */

struct router_worker *router_worker_find(const struct router *router, const char *worker_id);
/* How it is, by whoever knows best, and why ("" if nobody said). */
Muster__V1__WorkerStatus router_worker_status(const struct router_worker *worker, const char **reason);
/* What the worker says of the service; NULL: nothing. */
const char *router_worker_service_state(const struct router *router, const struct router_worker *worker,
                                        const struct router_service *service);
void router_worker_free(struct router *router, struct router_worker *worker);

/* --- services.c --- */

struct router_service *router_service_find(const struct router *router, const char *name_or_alias);
/* Connects a worker with the services that its offers name. False: out of memory. */
bool router_endpoints_attach(struct router *router, struct router_worker *worker);
void router_endpoints_detach(struct router *router, struct router_worker *worker);
/* Looks at the worker's endpoints again after its state changed. */
void router_endpoints_judge(struct router *router, struct router_worker *worker, bool figures_changed);
bool router_endpoint_is_eligible(const struct router *router, const struct router_endpoint *endpoint);
void router_service_touch(struct router *router, struct router_service *service, bool urgent);
void router_service_free(struct router_service *service);
/* Frees services that are gone, which every watcher has been told. */
void router_services_reap(struct router *router);
/* Brings the published state of its endpoints up to date. Returns whether it changed. */
bool router_service_compute(struct router *router, struct router_service *service);
/* Whether it is left out of the table while others are left: ejected, or its probes fail. */
bool router_endpoint_is_out(const struct router_endpoint *endpoint);
const char *router_endpoint_url(const struct router_endpoint *endpoint);

/* --- outliers.c --- */

/* Connection failures were reported, or none and successes. */
void router_outlier_note(struct router *router, struct router_endpoint *endpoint, uint64_t failures, bool successes);
bool router_outlier_is_ejected(const struct router_endpoint *endpoint);
void router_outlier_free(struct router *router, struct router_endpoint *endpoint);

/* --- probes.c --- */

/* Begins to probe the endpoint, if its service is probed. */
void router_probe_start(struct router *router, struct router_endpoint *endpoint);
bool router_probe_is_failing(const struct router_endpoint *endpoint);
void router_probe_free(struct router *router, struct router_endpoint *endpoint);
