/* See routes.h. */

#include "services/dht/routes.h"

#include <stdlib.h>
#include <string.h>

#include "common/map.h"

struct endpoint {
    struct endpoint *next, *previous; /* of the service */
    char *worker_id, *url;
    uint32_t priority;
    Muster__V1__WorkerType type;
    bool stale; /* not named by the snapshot that comes in */
};

struct service {
    char *name;
    struct map endpoints; /* by worker id */
    struct endpoint *first;
    bool stale; /* likewise */
    bool gone;  /* it was removed; to be told once more */
    bool changed;
    struct service *next_changed;
};

struct dht_routes {
    struct map services; /* by name */
    struct service *changed;
    struct service *told; /* gone, and told of: freed when it is not looked at any more */
    bool in_snapshot;
};

/* --- Endpoints --- */

static void remove_endpoint(struct service *service, struct endpoint *endpoint)
{
    (void)map_remove_text(&service->endpoints, endpoint->worker_id); /* it is in there */
    *(endpoint->previous != NULL ? &endpoint->previous->next : &service->first) = endpoint->next;
    if (endpoint->next != NULL)
        endpoint->next->previous = endpoint->previous;
    free(endpoint->worker_id);
    free(endpoint->url);
    free(endpoint);
}

static struct endpoint *add_endpoint(struct service *service, const char *worker_id)
{
    struct endpoint *endpoint = calloc(1, sizeof *endpoint);
    if (endpoint == NULL)
        return NULL;
    endpoint->worker_id = strdup(worker_id);
    if (endpoint->worker_id == NULL || !map_put_text(&service->endpoints, endpoint->worker_id, endpoint, NULL)) {
        free(endpoint->worker_id);
        free(endpoint);
        return NULL;
    }
    endpoint->next = service->first;
    if (endpoint->next != NULL)
        endpoint->next->previous = endpoint;
    service->first = endpoint;
    return endpoint;
}

static bool put_endpoint(struct service *service, const Muster__V1__Endpoint *told, bool *changed)
{
    struct endpoint *endpoint = map_get_text(&service->endpoints, told->worker_id);
    if (endpoint == NULL)
        endpoint = add_endpoint(service, told->worker_id);
    if (endpoint == NULL)
        return false;
    endpoint->stale = false;
    if (endpoint->url == NULL || strcmp(endpoint->url, told->url) != 0) {
        char *url = strdup(told->url);
        if (url == NULL)
            return endpoint->url != NULL; /* the old one stays, or there is none that could be told */
        free(endpoint->url);
        endpoint->url = url;
        *changed = true;
    }
    *changed = *changed || endpoint->priority != told->priority || endpoint->type != told->worker_type;
    endpoint->priority = told->priority;
    endpoint->type = told->worker_type;
    return true;
}

/* --- Services --- */

static void mark_changed(struct dht_routes *routes, struct service *service)
{
    if (service->changed)
        return;
    service->changed = true;
    service->next_changed = routes->changed;
    routes->changed = service;
}

static void free_service(struct service *service)
{
    while (service->first != NULL)
        remove_endpoint(service, service->first);
    map_free(&service->endpoints);
    free(service->name);
    free(service);
}

static struct service *make_service(struct dht_routes *routes, const char *name)
{
    struct service *service = map_get_text(&routes->services, name);
    if (service != NULL)
        return service;
    service = calloc(1, sizeof *service);
    if (service == NULL)
        return NULL;
    service->name = strdup(name);
    if (service->name != NULL && map_put_text(&routes->services, service->name, service, NULL))
        return service;
    free(service->name);
    free(service);
    return NULL;
}

static void remove_service(struct dht_routes *routes, struct service *service)
{
    while (service->first != NULL)
        remove_endpoint(service, service->first);
    service->gone = true;
    mark_changed(routes, service);
}

/* --- Snapshots --- */

static void begin_snapshot(struct dht_routes *routes)
{
    size_t position = 0;
    routes->in_snapshot = true;
    for (struct service *service = map_next(&routes->services, &position); service != NULL;
         service = map_next(&routes->services, &position)) {
        service->stale = true;
        for (struct endpoint *endpoint = service->first; endpoint != NULL; endpoint = endpoint->next)
            endpoint->stale = true;
    }
}

static void complete_snapshot(struct dht_routes *routes)
{
    size_t position = 0;
    routes->in_snapshot = false;
    for (struct service *service = map_next(&routes->services, &position); service != NULL;
         service = map_next(&routes->services, &position)) {
        struct endpoint *next = NULL;
        for (struct endpoint *endpoint = service->first; endpoint != NULL; endpoint = next) {
            next = endpoint->next;
            if (!endpoint->stale)
                continue;
            remove_endpoint(service, endpoint);
            mark_changed(routes, service);
        }
        if (service->stale)
            remove_service(routes, service);
    }
}

/* --- Applying, telling --- */

static bool apply_service(struct dht_routes *routes, const Muster__V1__ServiceRoutes *told)
{
    struct service *service = make_service(routes, told->service);
    bool changed = false, complete = true;
    if (service == NULL)
        return false;
    service->stale = service->gone = false;
    for (size_t i = 0; i < told->n_removed_worker_ids; i++) {
        struct endpoint *endpoint = map_get_text(&service->endpoints, told->removed_worker_ids[i]);
        if (endpoint == NULL)
            continue;
        remove_endpoint(service, endpoint);
        changed = true;
    }
    for (size_t i = 0; complete && i < told->n_endpoints; i++)
        complete = put_endpoint(service, told->endpoints[i], &changed);
    if (changed)
        mark_changed(routes, service);
    return complete;
}

bool dht_routes_apply(struct dht_routes *routes, const Muster__V1__WatchRoutesResponse *response)
{
    bool complete = true;
    if (response->snapshot)
        begin_snapshot(routes);
    for (size_t i = 0; i < response->n_removed_services; i++) {
        struct service *service = map_get_text(&routes->services, response->removed_services[i]);
        if (service != NULL)
            remove_service(routes, service);
    }
    for (size_t i = 0; complete && i < response->n_services; i++)
        complete = apply_service(routes, response->services[i]);
    if (complete && response->snapshot_complete)
        complete_snapshot(routes);
    return complete;
}

/* Into its place by id, if it is among the first. */
static void list_worker(struct dht_routes_service *service, const struct endpoint *endpoint)
{
    size_t place = service->count;
    while (place > 0 && strcmp(endpoint->worker_id, service->workers[place - 1].worker_id) < 0)
        place--;
    if (place == DHT_ROUTES_WORKERS_MAX)
        return;
    if (service->count < DHT_ROUTES_WORKERS_MAX)
        service->count++;
    memmove(service->workers + place + 1, service->workers + place,
            (service->count - 1 - place) * sizeof service->workers[0]);
    muster__v1__dht_worker__init(&service->workers[place]);
    service->workers[place].worker_id = endpoint->worker_id;
    service->workers[place].url = endpoint->url;
    service->workers[place].type = endpoint->type;
}

static void forget_told(struct dht_routes *routes)
{
    if (routes->told == NULL)
        return;
    free_service(routes->told);
    routes->told = NULL;
}

bool dht_routes_next_changed(struct dht_routes *routes, struct dht_routes_service *told)
{
    struct service *service = routes->in_snapshot ? NULL : routes->changed;
    forget_told(routes);
    if (service == NULL)
        return false;
    routes->changed = service->next_changed;
    service->changed = false;
    told->name = service->name;
    told->count = told->total = 0;
    uint32_t priority = UINT32_MAX;
    for (const struct endpoint *endpoint = service->first; endpoint != NULL; endpoint = endpoint->next)
        priority = endpoint->priority < priority ? endpoint->priority : priority;
    for (const struct endpoint *endpoint = service->first; endpoint != NULL; endpoint = endpoint->next) {
        if (endpoint->priority != priority || endpoint->url == NULL)
            continue;
        told->total++;
        list_worker(told, endpoint);
    }
    if (service->gone) {
        (void)map_remove_text(&routes->services, service->name); /* it is in there */
        routes->told = service;
    }
    return true;
}

struct dht_routes *dht_routes_create(void)
{
    return calloc(1, sizeof(struct dht_routes));
}

void dht_routes_free(struct dht_routes *routes)
{
    if (routes == NULL)
        return;
    forget_told(routes);
    size_t position = 0;
    for (struct service *service = map_next(&routes->services, &position); service != NULL;
         service = map_next(&routes->services, &position))
        free_service(service);
    map_free(&routes->services);
    free(routes);
}
