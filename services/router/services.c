/* Services: the catalog, names, and the endpoints that connect them with workers; see
 * router.h. */

#include "services/router/router.h"

#include "services/router/state.h"

#include <stdlib.h>
#include <string.h>

/* --- Services and their names --- */

struct router_service *router_service_find(const struct router *router, const char *name_or_alias)
{
    struct router_service *service = map_get_text(&router->names, name_or_alias);
    return service == NULL || service->gone ? NULL : service;
}

static void free_texts(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
}

void router_service_free(struct router_service *service)
{
    free_texts(service->aliases, service->alias_count);
    free(service->path);
    free(service->probing.path);
    free(service->endpoints);
    free(service->name);
    free(service);
}

/* The service of that name, alias or not; made if there is none. NULL: out of memory. */
static struct router_service *get_service(struct router *router, struct map *names, const char *name)
{
    struct router_service *service = map_get_text(names, name);
    if (service == NULL)
        service = map_get_text(&router->services, name);
    if (service == NULL) {
        service = calloc(1, sizeof(*service));
        if (service == NULL)
            return NULL;
        service->name = strdup(name);
        if (service->name == NULL || !map_put_text(&router->services, service->name, service, NULL)) {
            router_service_free(service);
            return NULL;
        }
    }
    if (service->gone) {
        service->gone = false;
        router->gone_count--;
        service->altered = true;
    }
    if (!map_get_text(names, name) && !map_put_text(names, service->name, service, NULL))
        return NULL;
    return service;
}

static void bury(struct router *router, struct router_service *service)
{
    if (map_get_text(&router->names, service->name) == service)
        map_remove_text(&router->names, service->name);
    map_remove_text(&router->services, service->name);
    router->gone_count--;
    router_service_free(service);
}

void router_services_reap(struct router *router)
{
    if (router->gone_count == 0)
        return;
    uint64_t told = UINT64_MAX;
    for (size_t i = 0; i < ROUTER_WATCHERS_MAX; i++) {
        /* One that was sent nothing yet gets a snapshot, which needs no removals. */
        if (router->watchers[i] != NULL && router->watchers[i]->revision != 0 && router->watchers[i]->revision < told)
            told = router->watchers[i]->revision;
    }
    struct router_service *batch[64];
    size_t count;
    do {
        count = 0;
        size_t position = 0;
        for (struct router_service *service;
             count < 64 && (service = map_next(&router->services, &position)) != NULL;) {
            if (service->gone && service->revision <= told)
                batch[count++] = service;
        }
        for (size_t i = 0; i < count; i++)
            bury(router, batch[i]);
    } while (count == 64);
}

/* --- Endpoints --- */

const char *router_endpoint_url(const struct router_endpoint *endpoint)
{
    return endpoint->offer->url != NULL ? endpoint->offer->url : endpoint->worker->url;
}

bool router_endpoint_is_eligible(const struct router *router, const struct router_endpoint *endpoint)
{
    const struct router_worker *worker = endpoint->worker;
    const char *reason;
    if (!worker->registered || worker->draining || !worker_status_routable(router_worker_status(worker, &reason)))
        return false;
    const char *state = router_worker_service_state(router, worker, endpoint->service);
    return (state == NULL || strcmp(state, "running") == 0) && router_endpoint_url(endpoint)[0] != 0;
}

static bool add_endpoint(struct router_worker *worker, struct router_service *service, const struct router_offer *offer)
{
    if (service->endpoint_count == service->endpoint_capacity) {
        size_t capacity = service->endpoint_capacity == 0 ? 4 : service->endpoint_capacity * 2;
        struct router_endpoint **bigger = realloc(service->endpoints, capacity * sizeof(*bigger));
        if (bigger == NULL)
            return false;
        service->endpoints = bigger;
        service->endpoint_capacity = capacity;
    }
    struct router_endpoint *endpoint = calloc(1, sizeof(*endpoint));
    if (endpoint == NULL)
        return false;
    endpoint->worker = worker;
    endpoint->service = service;
    endpoint->offer = offer;
    endpoint->index = service->endpoint_count;
    service->endpoints[service->endpoint_count++] = endpoint;
    worker->endpoints[worker->endpoint_count++] = endpoint;
    return true;
}

static struct router_endpoint *endpoint_of(const struct router_worker *worker, const struct router_service *service)
{
    for (size_t i = 0; i < worker->endpoint_count; i++) {
        if (worker->endpoints[i]->service == service)
            return worker->endpoints[i];
    }
    return NULL;
}

bool router_endpoints_attach(struct router *router, struct router_worker *worker)
{
    if (worker->offer_count == 0)
        return true;
    worker->endpoints = calloc(worker->offer_count, sizeof(struct router_endpoint *));
    if (worker->endpoints == NULL)
        return false;
    for (size_t i = 0; i < worker->offer_count; i++) {
        const struct router_offer *offer = &worker->offers[i];
        struct router_service *service = get_service(router, &router->names, offer->name);
        if (service == NULL)
            return false;
        struct router_endpoint *endpoint = endpoint_of(worker, service);
        if (endpoint == NULL && !add_endpoint(worker, service, offer))
            return false;
        /* Assigned and announced, or announced under two names: an URL of its own wins. */
        if (endpoint != NULL && endpoint->offer->url == NULL && offer->url != NULL)
            endpoint->offer = offer;
    }
    for (size_t i = 0; i < worker->endpoint_count; i++) {
        struct router_endpoint *endpoint = worker->endpoints[i];
        endpoint->eligible = router_endpoint_is_eligible(router, endpoint);
        router_probe_start(router, endpoint);
        /* The first endpoint of a service ends its outage. */
        router_service_touch(router, endpoint->service, endpoint->eligible && endpoint->service->table_count == 0);
    }
    return true;
}

void router_endpoints_detach(struct router *router, struct router_worker *worker)
{
    for (size_t i = 0; i < worker->endpoint_count; i++) {
        struct router_endpoint *endpoint = worker->endpoints[i];
        struct router_service *service = endpoint->service;
        struct router_endpoint *last = service->endpoints[--service->endpoint_count];
        service->endpoints[endpoint->index] = last;
        last->index = endpoint->index;
        if (endpoint->in_table) {
            service->table_count--;
            service->altered = true;
        }
        router_service_touch(router, service, endpoint->in_table);
        router_outlier_free(router, endpoint);
        router_probe_free(router, endpoint);
        free(endpoint);
    }
    free(worker->endpoints);
    worker->endpoints = NULL;
    worker->endpoint_count = 0;
}

void router_endpoints_judge(struct router *router, struct router_worker *worker, bool figures_changed)
{
    for (size_t i = 0; i < worker->endpoint_count; i++) {
        struct router_endpoint *endpoint = worker->endpoints[i];
        bool eligible = router_endpoint_is_eligible(router, endpoint);
        if (eligible != endpoint->eligible) {
            endpoint->eligible = eligible;
            router_service_touch(router, endpoint->service, endpoint->in_table || endpoint->service->table_count == 0);
        } else if (figures_changed && eligible) {
            router_service_touch(router, endpoint->service, false);
        }
    }
}

bool router_endpoint_is_out(const struct router_endpoint *endpoint)
{
    return router_outlier_is_ejected(endpoint) || router_probe_is_failing(endpoint);
}

static uint8_t priority_of(const struct router_worker *worker)
{
    const char *reason;
    switch (router_worker_status(worker, &reason)) {
    case WORKER_ONLINE:
        return 0;
    case WORKER_DEGRADED:
        return 1;
    default:
        return 2;
    }
}

bool router_service_compute(struct router *router, struct router_service *service)
{
    bool changed = service->altered;
    bool gone = service->endpoint_count == 0 && !service->in_catalog;
    size_t left = 0;
    for (size_t i = 0; i < service->endpoint_count; i++)
        left += service->endpoints[i]->eligible && !router_endpoint_is_out(service->endpoints[i]) ? 1 : 0;
    service->table_count = 0;
    for (size_t i = 0; i < service->endpoint_count; i++) {
        struct router_endpoint *endpoint = service->endpoints[i];
        bool in_table = endpoint->eligible && (left == 0 || !router_endpoint_is_out(endpoint));
        uint8_t priority = in_table ? priority_of(endpoint->worker) : 0;
        uint32_t weight = in_table ? policy_weight(router->policy->score(&endpoint->worker->health.figures)) : 0;
        changed =
            changed || in_table != endpoint->in_table || priority != endpoint->priority || weight != endpoint->weight;
        endpoint->in_table = in_table;
        endpoint->priority = priority;
        endpoint->weight = weight;
        service->table_count += in_table ? 1 : 0;
    }
    if (gone && !service->gone) {
        service->gone = true;
        router->gone_count++;
        changed = true;
    }
    service->dirty = service->urgent = service->altered = false;
    return changed || service->revision == 0;
}

/* --- The catalog --- */

/* Whether this is the catalog that is known already; remembers it if not. */
static bool catalog_is_known(struct router *router, const Muster__V1__WatchCatalogResponse *message,
                             bool *out_of_memory)
{
    size_t bytes = muster__v1__watch_catalog_response__get_packed_size(message);
    uint8_t *packed = malloc(bytes + 1);
    *out_of_memory = packed == NULL;
    if (packed == NULL)
        return false;
    muster__v1__watch_catalog_response__pack(message, packed);
    if (router->catalog_known && bytes == router->catalog_bytes && memcmp(packed, router->catalog, bytes) == 0) {
        free(packed);
        return true;
    }
    free(router->catalog);
    router->catalog = packed;
    router->catalog_bytes = bytes;
    return false;
}

static bool take_probing(struct router_probing *probing, const Muster__V1__ServiceProbe *probe)
{
    if (probe == NULL || probe->path[0] == 0 || probe->interval_ms == 0)
        return true;
    *probing = (struct router_probing){strdup(probe->path), probe->interval_ms, probe->timeout_ms, probe->failures,
                                       probe->successes};
    return probing->path != NULL;
}

static bool take_catalog_service(struct router *router, const Muster__V1__CatalogService *entry)
{
    struct router_service *service = get_service(router, &router->names, entry->name);
    if (service == NULL)
        return false;
    service->in_catalog = true;
    service->required = entry->requires;
    service->repeatable = entry->repeatable;
    if (!take_probing(&service->probing, entry->probe))
        return false;
    service->path = strdup(entry->path);
    service->aliases = calloc(entry->n_aliases + 1, sizeof(char *));
    if (service->path == NULL || service->aliases == NULL)
        return false;
    for (size_t i = 0; i < entry->n_aliases; i++) {
        char *alias = strdup(entry->aliases[i]);
        if (alias == NULL)
            return false;
        service->aliases[service->alias_count++] = alias;
        /* A service's own name goes before another's alias; the assigner refuses such catalogs. */
        if (map_get_text(&router->names, alias) == NULL && !map_put_text(&router->names, alias, service, NULL))
            return false;
    }
    return true;
}

bool router_apply_catalog(struct router *router, const Muster__V1__WatchCatalogResponse *message, uint64_t now_ms)
{
    bool out_of_memory;
    router->now_ms = now_ms;
    router_reset_arena(router);
    if (catalog_is_known(router, message, &out_of_memory) || out_of_memory)
        return !out_of_memory;
    router->catalog_known = false; /* until all of it is applied */

    size_t position = 0;
    for (struct router_worker *worker; (worker = map_next(&router->workers, &position)) != NULL;)
        router_endpoints_detach(router, worker);
    map_free(&router->names);
    position = 0;
    for (struct router_service *service; (service = map_next(&router->services, &position)) != NULL;) {
        free_texts(service->aliases, service->alias_count);
        free(service->path);
        service->aliases = NULL;
        service->alias_count = 0;
        service->path = NULL;
        free(service->probing.path);
        service->probing = (struct router_probing){.path = NULL};
        service->in_catalog = service->repeatable = false;
        service->required = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_UNSPECIFIED;
        service->altered = true;
        router_service_touch(router, service, true);
    }
    bool done = true;
    for (size_t i = 0; i < message->n_services && done; i++)
        done = get_service(router, &router->names, message->services[i]->name) != NULL;
    for (size_t i = 0; i < message->n_services && done; i++)
        done = take_catalog_service(router, message->services[i]);
    position = 0;
    for (struct router_worker *worker; (worker = map_next(&router->workers, &position)) != NULL;)
        done = router_endpoints_attach(router, worker) && done;
    position = 0;
    for (struct router_service *service; (service = map_next(&router->services, &position)) != NULL;)
        router_service_touch(router, service, true);
    router->catalog_known = done;
    return done;
}
