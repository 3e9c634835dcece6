/* The edge proxy's life, the coordinators that it was told of, and its route table. See proxy.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/random.h"
#include "gateway/elsewhere.h"
#include "gateway/proxy.h"
#include "services/router/policy.h"

/* Workers that are handed to the router at a time. */
#define FEED_WORKERS 500

struct proxy_list *proxy_list_of(struct proxy *proxy, const char *id)
{
    for (size_t i = 0; i < proxy->list_count; i++) {
        if (strcmp(proxy->lists[i].id, id) == 0)
            return &proxy->lists[i];
    }
    return NULL;
}

/* --- The coordinators --- */

/* As they would be on the roll of an edge router. */
static bool put_on_roll(struct backend *backend, const char *url)
{
    Muster__V1__Worker worker = MUSTER__V1__WORKER__INIT;
    Muster__V1__WorkerSpec spec = MUSTER__V1__WORKER_SPEC__INIT;
    struct replica *roll = &backend->edge->roll;
    spec.worker_id = spec.tunnel_url = (char *)url; /* only read */
    worker.spec = &spec;
    worker.type = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE;
    worker.status = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE;
    worker.incarnation = 1;
    worker.revision = ++roll->revision;
    return replica_put(roll, &worker);
}

static bool add_coordinator(struct backend *backend, const char *url)
{
    struct proxy *proxy = backend->proxy;
    const struct gateway_settings *settings = &backend->gateway->settings;
    if (proxy_list_of(proxy, url) != NULL)
        return true;
    struct proxy_list *list = &proxy->lists[proxy->list_count++];
    list->id = url;
    arena_init(&list->catalog_arena, NULL, 0);
    polling_init(&list->polling, (uint64_t)(settings->poll_seconds * 1000),
                 (uint64_t)(settings->poll_retry_seconds * 1000), rpc_loop_now_ms(backend->loop));
    return put_on_roll(backend, url);
}

/* The setting has been checked: gateway_takes_urls. */
static bool add_coordinators(struct backend *backend)
{
    struct proxy *proxy = backend->proxy;
    char *rest = NULL;
    proxy->urls = strdup(backend->gateway->settings.coordinator_urls);
    proxy->lists = calloc(PROXY_COORDINATORS_MAX, sizeof *proxy->lists);
    if (proxy->urls == NULL || proxy->lists == NULL)
        return false;
    for (char *url = strtok_r(proxy->urls, ", ", &rest); url != NULL; url = strtok_r(NULL, ", ", &rest)) {
        size_t bytes = strlen(url);
        while (bytes > 0 && url[bytes - 1] == '/')
            url[--bytes] = '\0';
        if (!add_coordinator(backend, url))
            return false;
    }
    edge_roll_changed(backend);
    return backend->edge->federation.regions.count == proxy->list_count;
}

/* --- The route table --- */

static void pump_due(struct timer *timer, void *argument)
{
    (void)timer;
    proxy_pump(argument);
}

void proxy_pump(struct backend *backend)
{
    struct proxy *proxy = backend->proxy;
    uint64_t now_ms = rpc_loop_now_ms(backend->loop);
    Muster__V1__WatchRoutesResponse routes;
    router_advance(proxy->router, now_ms);
    while (router_watcher_fill(proxy->router, proxy->watcher, &routes)) {
        if (backend_take_routes(backend, &routes))
            continue;
        /* The watcher is past what was not taken: it begins anew. */
        Muster__V1__WatchRoutesRequest request = MUSTER__V1__WATCH_ROUTES_REQUEST__INIT;
        struct router_watcher *fresh = router_watcher_open(proxy->router, &request);
        log_error("out of memory for the route table; it will be made anew");
        if (fresh != NULL) {
            router_watcher_close(proxy->router, proxy->watcher);
            proxy->watcher = fresh;
        }
        break;
    }
    uint64_t next_ms = router_next_ms(proxy->router);
    if (next_ms != UINT64_MAX && backend->edge->calls != NULL) /* else it stops */
        rpc_loop_timer_start(backend->loop, &proxy->router_timer, next_ms > now_ms ? next_ms - now_ms : 1, pump_due,
                             backend);
}

/* One worker of the fleet, as the registry and health would tell of it. */
struct told {
    Muster__V1__WorkerEvent event;
    Muster__V1__WorkerHealth health;
    Muster__V1__Worker *record; /* unpacked; NULL: borrowed from elsewhere */
    Muster__V1__Load *load;     /* the same */
};

static bool tell_of(const struct replica_worker *worker, struct told *told)
{
    muster__v1__worker_event__init(&told->event);
    muster__v1__worker_health__init(&told->health);
    told->record = replica_record_unpack(worker->record);
    told->load = worker->load == NULL ? NULL : muster__v1__load__unpack(NULL, worker->load_bytes, worker->load);
    if (told->record == NULL)
        return false;
    told->record->status = replica_status(worker);
    told->record->draining = worker->record->draining;
    told->event.type = MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_PUT;
    told->event.worker = told->record;
    told->health.worker_id = (char *)worker->id; /* only read */
    told->health.incarnation = worker->record->incarnation;
    told->health.status = replica_status(worker);
    told->health.load = told->load;
    return true;
}

static void free_told(struct told *told)
{
    muster__v1__worker__free_unpacked(told->record, NULL);
    muster__v1__load__free_unpacked(told->load, NULL);
    *told = (struct told){.record = NULL};
}

struct feeding {
    struct router *router;
    uint64_t now_ms;
    struct told told[FEED_WORKERS];
    Muster__V1__WorkerEvent *events[FEED_WORKERS];
    Muster__V1__WorkerHealth *healths[FEED_WORKERS];
    size_t count;
    bool begun;
};

static bool send_told(struct feeding *feeding, bool complete)
{
    Muster__V1__WatchWorkersResponse workers = MUSTER__V1__WATCH_WORKERS_RESPONSE__INIT;
    Muster__V1__WatchHealthResponse health = MUSTER__V1__WATCH_HEALTH_RESPONSE__INIT;
    workers.snapshot_begin = !feeding->begun;
    workers.snapshot_complete = health.snapshot_complete = complete;
    workers.revision = 1;
    workers.events = feeding->events;
    workers.n_events = health.n_workers = feeding->count;
    health.workers = feeding->healths;
    bool applied = router_apply_workers(feeding->router, &workers, feeding->now_ms) &&
                   router_apply_health(feeding->router, &health, feeding->now_ms);
    for (size_t i = 0; i < feeding->count; i++)
        free_told(&feeding->told[i]);
    feeding->count = 0;
    feeding->begun = true;
    return applied;
}

/* Workers that are in no list, as coordinators have found them elsewhere. */
static bool feed_elsewhere(struct feeding *feeding, const struct proxy *proxy, const struct replica *fleet)
{
    struct arena arena;
    struct elsewhere_worker **workers;
    if (proxy->elsewhere == NULL)
        return true;
    arena_init(&arena, NULL, 0);
    size_t count = elsewhere_workers(&proxy->elsewhere->table, &arena, &workers);
    bool fine = count != SIZE_MAX;
    for (size_t i = 0; fine && i < count; i++) {
        struct elsewhere_worker *worker = workers[i];
        if (replica_find(fleet, worker->spec.worker_id) != NULL)
            continue; /* a list knows better */
        Muster__V1__WorkerEvent event = MUSTER__V1__WORKER_EVENT__INIT;
        Muster__V1__WorkerHealth health = MUSTER__V1__WORKER_HEALTH__INIT;
        Muster__V1__Load load = MUSTER__V1__LOAD__INIT;
        Muster__V1__WatchWorkersResponse told = MUSTER__V1__WATCH_WORKERS_RESPONSE__INIT;
        Muster__V1__WatchHealthResponse said = MUSTER__V1__WATCH_HEALTH_RESPONSE__INIT;
        worker->record.status = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE;
        event.type = MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_PUT;
        event.worker = &worker->record;
        load.current_load = worker->load;
        health.worker_id = worker->spec.worker_id;
        health.incarnation = worker->record.incarnation;
        health.status = worker->record.status;
        health.load = &load;
        told.events = (Muster__V1__WorkerEvent *[]){&event};
        said.workers = (Muster__V1__WorkerHealth *[]){&health};
        told.n_events = said.n_workers = 1;
        told.snapshot_begin = !feeding->begun;
        feeding->begun = true;
        fine = router_apply_workers(feeding->router, &told, feeding->now_ms) &&
               router_apply_health(feeding->router, &said, feeding->now_ms);
    }
    arena_free(&arena);
    return fine;
}

static bool feed_fleet(struct feeding *feeding, const struct proxy *proxy, const struct replica *fleet)
{
    (void)router_workers_begin(feeding->router); /* it is told everything */
    router_health_begin(feeding->router);
    bool fine = feed_elsewhere(feeding, proxy, fleet);
    for (size_t i = 0; fine && i < fleet->worker_count; i++) {
        struct told *told = &feeding->told[feeding->count];
        fine = tell_of(fleet->workers[i], told);
        feeding->events[feeding->count] = &told->event;
        feeding->healths[feeding->count++] = &told->health;
        if (fine && feeding->count == FEED_WORKERS)
            fine = send_told(feeding, false);
    }
    for (size_t i = 0; !fine && i < feeding->count; i++)
        free_told(&feeding->told[i]);
    return fine && send_told(feeding, true);
}

/* That of the first coordinator that has said one; those of another make may not. */
static const Muster__V1__WatchCatalogResponse *catalog_of(const struct proxy *proxy)
{
    for (size_t i = 0; i < proxy->list_count; i++) {
        if (proxy->lists[i].catalog != NULL)
            return proxy->lists[i].catalog;
    }
    return proxy->default_catalog;
}

static bool feed_catalog(struct backend *backend)
{
    struct proxy *proxy = backend->proxy;
    const Muster__V1__WatchCatalogResponse *catalog = catalog_of(proxy);
    if (!router_apply_catalog(proxy->router, catalog, rpc_loop_now_ms(backend->loop)))
        return false;
    return replica_apply_catalog(&backend->replica, catalog);
}

void proxy_route(struct backend *backend)
{
    struct proxy *proxy = backend->proxy;
    struct feeding *feeding = calloc(1, sizeof *feeding);
    bool fine = feeding != NULL;
    if (fine) {
        feeding->router = proxy->router;
        feeding->now_ms = rpc_loop_now_ms(backend->loop);
        fine = feed_catalog(backend) && feed_fleet(feeding, proxy, &backend->replica);
    }
    free(feeding);
    if (!fine) /* what was routed to before goes on; the next list is another try */
        log_error("out of memory for the routes");
    proxy_pump(backend);
}

void proxy_report_outcomes(struct backend *backend, const Muster__V1__ReportOutcomesRequest *request)
{
    router_report_outcomes(backend->proxy->router, request, rpc_loop_now_ms(backend->loop));
    for (size_t i = 0; i < request->n_outcomes; i++) {
        if (request->outcomes[i]->connection_failures > 0)
            proxy_hurry(backend, request->outcomes[i]->worker_id);
    }
    proxy_pump(backend);
}

/* --- Looking further --- */

void proxy_hurry(struct backend *backend, const char *worker_id)
{
    struct proxy *proxy = backend->proxy;
    struct federation *federation = &backend->edge->federation;
    const struct federation_region *holder = worker_id == NULL ? NULL : federation_holder(federation, worker_id);
    for (size_t i = 0; i < proxy->list_count; i++) {
        struct proxy_list *list = &proxy->lists[i];
        struct federation_region *region = federation_find(federation, list->id);
        if (region == NULL || (holder != NULL && holder != region))
            continue;
        polling_hurry(&list->polling);
        region->ask_at_ms = list->polling.next_ms;
    }
}

bool proxy_looks_further(struct backend *backend, struct job *job)
{
    struct proxy *proxy = backend->proxy;
    if (edge_view_waits(backend, job))
        return true;
    if (backend->edge->calls == NULL)
        return false;
    proxy_hurry(backend, NULL);
    return proxy->elsewhere != NULL && elsewhere_looks(backend, job);
}

/* --- Life --- */

bool proxy_start(struct backend *backend)
{
    struct proxy *proxy = calloc(1, sizeof *proxy);
    Muster__V1__WatchRoutesRequest request = MUSTER__V1__WATCH_ROUTES_REQUEST__INIT;
    uint64_t seed;
    if (proxy == NULL)
        return false;
    random_bytes(&seed, sizeof seed);
    proxy->backend = backend;
    backend->proxy = proxy;
    arena_init(&proxy->default_arena, NULL, 0);
    proxy->default_catalog = listed_catalog_default(&proxy->default_arena);
    if (proxy->default_catalog == NULL || !edge_start(backend))
        return false;
    backend->edge->federation.catalog = &proxy->catalog_text;
    proxy->router = router_create(&policy_least_loaded, seed, rpc_loop_now_ms(backend->loop));
    if (proxy->router == NULL || !add_coordinators(backend))
        return false;
    proxy->watcher = router_watcher_open(proxy->router, &request);
    if (proxy->watcher == NULL || (backend->gateway->settings.discover_elsewhere && !elsewhere_start(backend)))
        return false;
    proxy_lists_load(backend);
    return true;
}

void proxy_stop(struct backend *backend)
{
    rpc_loop_timer_stop(backend->loop, &backend->proxy->router_timer);
    if (backend->proxy->elsewhere != NULL)
        elsewhere_stop(backend);
}

void proxy_free(struct backend *backend)
{
    struct proxy *proxy = backend->proxy;
    if (proxy->elsewhere != NULL)
        elsewhere_free(backend);
    for (size_t i = 0; i < proxy->list_count; i++)
        arena_free(&proxy->lists[i].catalog_arena);
    if (proxy->watcher != NULL)
        router_watcher_close(proxy->router, proxy->watcher);
    if (proxy->router != NULL)
        router_destroy(proxy->router);
    buffer_free(&proxy->catalog_text);
    arena_free(&proxy->default_arena);
    free(proxy->lists);
    free(proxy->urls);
    free(proxy);
    backend->proxy = NULL;
}
