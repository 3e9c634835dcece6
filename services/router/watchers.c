/* The route table as messages for watchers; see router.h. */

#include "services/router/router.h"

#include "services/router/state.h"

#include <stdlib.h>

struct router_watcher *router_watcher_open(struct router *router)
{
    for (size_t i = 0; i < ROUTER_WATCHERS_MAX; i++) {
        if (router->watchers[i] == NULL)
            return router->watchers[i] = calloc(1, sizeof(struct router_watcher));
    }
    return NULL;
}

void router_watcher_close(struct router *router, struct router_watcher *watcher)
{
    for (size_t i = 0; i < ROUTER_WATCHERS_MAX; i++) {
        if (router->watchers[i] == watcher)
            router->watchers[i] = NULL;
    }
    free(watcher);
    router_services_reap(router);
}

static void fill_service(struct router *router, const struct router_service *service,
                         Muster__V1__ServiceRoutes *message)
{
    muster__v1__service_routes__init(message);
    message->service = service->name;
    message->n_aliases = service->alias_count;
    message->aliases = service->aliases;
    message->path = service->path == NULL ? (char *)(uintptr_t) "" : service->path; /* read only */
    message->requires = service->required;
    message->repeatable = service->repeatable;
    message->endpoints = arena_take(&router->arena, service->table_count * sizeof(*message->endpoints));
    Muster__V1__Endpoint *endpoints = arena_take(&router->arena, service->table_count * sizeof(*endpoints));
    if (message->endpoints == NULL || endpoints == NULL)
        return;
    for (size_t i = 0; i < service->endpoint_count; i++) {
        const struct router_endpoint *endpoint = service->endpoints[i];
        if (!endpoint->in_table)
            continue;
        Muster__V1__Endpoint *one = &endpoints[message->n_endpoints];
        muster__v1__endpoint__init(one);
        one->worker_id = endpoint->worker->id;
        one->url = (char *)(uintptr_t)router_endpoint_url(endpoint); /* read only */
        one->weight = endpoint->weight;
        one->priority = endpoint->priority;
        one->worker_type = endpoint->worker->type;
        message->endpoints[message->n_endpoints++] = one;
    }
}

bool router_watcher_fill(struct router *router, struct router_watcher *watcher,
                         Muster__V1__WatchRoutesResponse *response)
{
    if (!router->ready || watcher->revision == router->revision)
        return false;
    struct arena *arena = &router->arena;
    router_reset_arena(router);
    muster__v1__watch_routes_response__init(response);
    response->snapshot = watcher->revision == 0;
    response->revision = router->revision;
    response->services = arena_take(arena, router->services.count * sizeof(*response->services));
    response->removed_services = arena_take(arena, router->services.count * sizeof(*response->removed_services));
    size_t position = 0;
    for (struct router_service *service;
         !arena_failed(arena) && (service = map_next(&router->services, &position)) != NULL;) {
        if (service->revision == 0 || service->revision <= watcher->revision)
            continue;
        if (service->gone) {
            if (!response->snapshot)
                response->removed_services[response->n_removed_services++] = service->name;
            continue;
        }
        Muster__V1__ServiceRoutes *message = arena_take(arena, sizeof(*message));
        if (message == NULL)
            break;
        fill_service(router, service, message);
        response->services[response->n_services++] = message;
    }
    /* Out of memory: nothing is sent now; the watcher still lacks it, and is tried again. */
    if (arena_failed(arena))
        return false;
    watcher->revision = router->revision;
    return true;
}
