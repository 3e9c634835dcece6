/* Inside the core of muster-router: its records, and what its files offer each other.
 *
 *     router.c     life, publishing
 *     workers.c    workers: the registry's and health's watches
 *     services.c   services: the catalog, names
 *     endpoints.c  endpoints: which there are, who is eligible, what is published of them
 *     changes.c    the list of what was published, and when
 *     outliers.c   ejections
 *     probes.c     active probes
 *     explain.c    Route and Explain
 *     watchers.c   the route table as messages */

#pragma once

#include "common/arena.h"
#include "common/buffer.h"
#include "common/map.h"
#include "common/random.h"
#include "common/timer_wheel.h"
#include "common/worker_status.h"
#include "services/router/router.h"

/* Those that endpoints in the table can have: 0 to 2. */
#define ROUTER_PRIORITIES 3

/* Places in the list of changes that are looked at for one message, which may say nothing of them. */
#define ROUTER_PIECE_LOOKS 50000

/* Lists of those that wait keep memory for so many. */
#define ROUTER_WAITING_KEPT 65536

/* Names for which it is remembered what they meant; longer ones are not. */
#define ROUTER_RECENT 64
#define ROUTER_RECENT_BYTES 48

/* A place in the list of all that was published, in the order of revisions. What a watcher that
 * knows revision R lacks is what stands behind the last place of R: each endpoint and service
 * stands there once, with its last change, and what was removed since as a struct router_removal.
 * So a watcher needs nothing but a place of its own (its `marker`), and one that begins goes
 * through the list from its start. */
enum router_change_kind {
    ROUTER_CHANGE_ENDPOINT,
    ROUTER_CHANGE_SERVICE,
    ROUTER_CHANGE_REMOVAL,
    ROUTER_CHANGE_MARKER,
};

#define ROUTER_REVISION_MASK ((1ULL << 60) - 1)

struct router_change {
    struct router_change *older, *newer; /* NULL: not in the list */
    uint64_t revision : 60;              /* 0: it never was published */
    unsigned kind : 4;                   /* enum router_change_kind */
};

/* An endpoint, or a service, that is no more. The oldest are forgotten (ROUTER_REMOVALS_MAX). */
struct router_removal {
    struct router_change change; /* first */
    struct router_removal *next; /* made later */
    struct router_service *service;
    char worker_id[]; /* empty: the whole service */
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

/* In the texts of a worker: of what follows. */
struct router_lengths {
    uint16_t name, url;
};

struct router_worker {
    bool registered; /* the registry has it; else only health spoke of it so far */
    bool draining;
    bool serves;              /* as last judged: requests may be sent to it, */
    uint8_t priority, weight; /* and how its endpoints are published then */
    Muster__V1__WorkerType type;
    Muster__V1__WorkerStatus status; /* as the registry has it */
    uint32_t generation;
    uint64_t incarnation;
    /* Its URL, then for each name under which it serves something, as the registry has them:
     * a struct router_lengths, not aligned, the name, and the URL there (empty: its own). A zero
     * behind each text. NULL: no URL and no names. */
    char *texts;
    uint32_t texts_bytes;
    uint32_t endpoint_count;
    char *reason;                      /* of the registry's status; NULL: none */
    struct router_endpoint *endpoints; /* one for each service that the names mean, in their order; one block */
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

struct router_watch_part; /* watchers.c's */

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
    struct router_change change; /* first */
    struct router_worker *worker;
    struct router_service *service;
    struct router_outlier *outlier; /* NULL: no failures */
    struct router_probe *probe;     /* NULL: the service is not probed */
    uint32_t index;                 /* in service->endpoints */
    uint32_t waits_at;              /* in a list of those to be published, from 1 on; 0: in none */
    uint32_t url_at;                /* in the worker's texts; 0: the worker's own */
    uint8_t weight, priority;       /* as published */
    bool in_table : 1;              /* as published */
    bool altered : 1;               /* its URL or type: to be published whatever the rest is */
    bool again : 1;                 /* made while removals wait to be published: it comes after these */
    bool eligible : 1;              /* as last judged; without regard to `out` */
    bool out : 1;                   /* ejected, or its probes fail; as last judged */
    bool urgent : 1;                /* in which list it waits */
};

struct router_service {
    struct router_change change; /* first; of what it is, without its endpoints */
    char *name;
    char **aliases;
    size_t alias_count;
    char *path;
    Muster__V1__WorkerType required;
    bool repeatable;
    struct router_probing probing;
    bool in_catalog;
    bool gone;      /* kept for what was removed of it */
    bool described; /* anew: to be published */
    bool altered;   /* in the list of those that are looked at with the next publication */
    struct router_service *next_altered;
    uint32_t removals; /* that name it */
    struct router_endpoint **endpoints;
    uint32_t endpoint_count, endpoint_capacity;
    uint32_t well_count;                /* eligible and not out */
    uint32_t out_count;                 /* eligible and out: in the table while nobody is well */
    uint32_t counts[ROUTER_PRIORITIES]; /* in the published table, by priority */
    struct router_watch_part *part;     /* while a message is filled: what it says of the service */
};

/* A service that a worker is to have an endpoint of. */
struct router_wanted {
    struct router_service *service;
    uint32_t url_at; /* as in the endpoint */
};

/* What a name meant when a worker last had it. */
struct router_recent {
    struct router_service *service; /* NULL: nothing */
    size_t name_bytes;
    char name[ROUTER_RECENT_BYTES];
};

/* Endpoints that wait to be published. */
struct router_waiting {
    struct router_endpoint **endpoints;
    uint32_t count, capacity;
};

struct router_watcher {
    struct router_change marker; /* first; it was sent what stands before it */
    uint64_t passed;             /* all of this revision stands before it */
    bool lost;                   /* it needs a snapshot */
    bool in_snapshot;
    bool begun;                 /* the snapshot: a part of it was sent */
    uint64_t snapshot_revision; /* at its begin: what was removed until then need not be said */
};

struct router {
    const struct policy *policy;
    struct timer_wheel wheel;
    struct random random;
    struct map workers;                         /* by id */
    struct map services;                        /* by name */
    struct map names;                           /* by name and alias, to the same services */
    struct router_recent recent[ROUTER_RECENT]; /* by a mixture of their letters */
    struct router_wanted *wanted;               /* by one worker: room for so many */
    uint32_t wanted_capacity;
    struct buffer texts; /* of the worker that is being put */
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
    uint64_t epoch, revision;
    struct router_change changes;   /* the list's two ends: `newer` is the first one, `older` the last */
    struct router_waiting urgent;   /* published at once */
    struct router_waiting gathered; /* at publish_at_ms */
    uint64_t publish_at_ms;         /* UINT64_MAX: nothing waits there */
    struct router_removal *removed; /* not published yet */
    struct router_service *altered; /* services */
    bool urgent_service;            /* of these */
    struct router_removal *first_removal, *last_removal;
    size_t removal_count;
    uint64_t forgotten; /* a watcher that knows less than this revision needs a snapshot */
    size_t endpoint_count;
    size_t gone_count; /* services */
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
/* The service of that name, alias or not; made if there is none. NULL: out of memory. */
struct router_service *router_service_get(struct router *router, const char *name_or_alias);
/* The names mean other services now. */
void router_service_forget_recent(struct router *router);
/* It is described anew, or may be gone: looked at with the next publication, which is at once if it is
 * urgent. */
void router_service_alter(struct router *router, struct router_service *service, bool urgent);
void router_service_free(struct router_service *service);
void router_services_publish(struct router *router, uint64_t revision);
/* Frees it if it is gone and no removal names it. */
void router_service_bury(struct router *router, struct router_service *service);

/* --- endpoints.c --- */

/* Connects a worker with the services that its texts name, and with no others. Endpoints of
 * services that it had before stay, but nothing is held against them any more. `old_texts` are
 * those before, or the same (NULL: none); `altered`: what is published of the worker itself
 * changed. False: out of memory, and it has none. */
bool router_endpoints_set(struct router *router, struct router_worker *worker, const char *old_texts, bool altered);
void router_endpoints_clear(struct router *router, struct router_worker *worker);
/* The same at the end of the router, when nobody is to be told of it. */
void router_endpoints_free(struct router *router, struct router_worker *worker);
/* Looks at the worker's endpoints again after its state changed; at one. */
void router_endpoints_judge(struct router *router, struct router_worker *worker);
void router_endpoint_judge(struct router *router, struct router_endpoint *endpoint);
const char *router_endpoint_url(const struct router_endpoint *endpoint);
size_t router_table_count(const struct router_service *service);
/* Publishes what waits, and removals: what is urgent, or all. */
void router_endpoints_publish(struct router *router, uint64_t revision, bool all);
/* For tests. */
bool router_endpoint_check(const struct router *router, const struct router_endpoint *endpoint);
bool router_standing_check(const struct router *router, const struct router_worker *worker);

/* --- changes.c --- */

void router_changes_init(struct router *router);
void router_changes_free(struct router *router);
/* Publishes it with this revision: it stands at the end. */
void router_change_publish(struct router *router, struct router_change *change, uint64_t revision);
void router_change_unlink(struct router_change *change);
/* The change's endpoint, or service (worker_id ""), is about to be freed; `told`: watchers have it in
 * their tables. */
void router_change_remove(struct router *router, struct router_change *change, struct router_service *service,
                          const char *worker_id, bool told);
void router_removals_publish(struct router *router, uint64_t revision);
/* Forgets the oldest removals when there are too many. */
void router_removals_trim(struct router *router);
bool router_changes_check(const struct router *router);

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
