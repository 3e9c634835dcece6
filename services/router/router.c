/* Life of the core and publishing; see router.h. */

#include "services/router/state.h"

#include <stdlib.h>

struct router *router_create(const struct policy *policy, uint64_t seed, uint64_t now_ms)
{
    struct router *router = calloc(1, sizeof(*router));
    if (router == NULL)
        return NULL;
    router->policy = policy;
    router->now_ms = now_ms;
    router->ready_at_ms = UINT64_MAX;
    router->publish_at_ms = UINT64_MAX;
    arena_init(&router->arena, NULL, 0);
    random_seed(&router->random, seed);
    do {
        router->epoch = random_next(&router->random);
    } while (router->epoch == 0);
    router_changes_init(router);
    timer_wheel_init(&router->wheel, now_ms);
    return router;
}

void router_destroy(struct router *router)
{
    if (router == NULL)
        return;
    size_t position = 0;
    for (struct router_worker *worker; (worker = map_next(&router->workers, &position)) != NULL;) {
        router_endpoints_free(router, worker);
        router_worker_free(router, worker);
    }
    map_free(&router->workers);
    router_changes_free(router);
    position = 0;
    for (struct router_service *service; (service = map_next(&router->services, &position)) != NULL;)
        router_service_free(service);
    map_free(&router->services);
    map_free(&router->names);
    for (size_t i = 0; i < ROUTER_WATCHERS_MAX; i++)
        free(router->watchers[i]);
    arena_free(&router->arena);
    free(router->wanted);
    buffer_free(&router->texts);
    free(router->urgent.endpoints);
    free(router->gathered.endpoints);
    free(router->catalog);
    free(router);
}

void router_reset_arena(struct router *router)
{
    arena_free(&router->arena);
    arena_init(&router->arena, NULL, 0);
}

/* --- Publishing --- */

static void become_ready(struct router *router)
{
    if (router->ready || !router->workers_synchronised)
        return;
    bool complete = router->health_synchronised && router->catalog_known;
    if (!complete && router->now_ms < router->ready_at_ms)
        return;
    router->ready = true;
    router->publish_at_ms = router->now_ms;
    /* A fleet without any service has a table too: an empty one. */
    router->revision++;
}

static bool something_is_urgent(const struct router *router)
{
    return router->urgent.count > 0 || router->removed != NULL || router->urgent_service;
}

static void publish(struct router *router)
{
    bool all = router->now_ms >= router->publish_at_ms;
    if (!router->ready || (!all && !something_is_urgent(router)))
        return;
    uint64_t revision = router->revision + 1;
    router_endpoints_publish(router, revision, all);
    router_services_publish(router, revision);
    if (all)
        router->publish_at_ms = UINT64_MAX;
    router_removals_trim(router);
}

void router_advance(struct router *router, uint64_t now_ms)
{
    timer_wheel_advance(&router->wheel, now_ms);
    router->now_ms = now_ms;
    become_ready(router);
    publish(router);
}

uint64_t router_next_ms(const struct router *router)
{
    uint64_t next_ms = timer_wheel_next_ms(&router->wheel);
    uint64_t publish_ms = router->ready_at_ms;
    if (router->ready)
        publish_ms = something_is_urgent(router) ? router->now_ms : router->publish_at_ms;
    return publish_ms < next_ms ? publish_ms : next_ms;
}

bool router_is_ready(const struct router *router)
{
    return router->ready;
}

size_t router_worker_count(const struct router *router)
{
    return router->workers.count;
}

size_t router_service_count(const struct router *router)
{
    return router->services.count - router->gone_count;
}

/* --- For tests --- */

static bool check_service(struct router *router, struct router_service *service)
{
    size_t well = 0, out = 0, counts[ROUTER_PRIORITIES] = {0};
    for (size_t i = 0; i < service->endpoint_count; i++) {
        const struct router_endpoint *endpoint = service->endpoints[i];
        if (endpoint->index != i || endpoint->service != service || endpoint->waits_at != 0 ||
            !router_endpoint_check(router, endpoint))
            return false;
        well += endpoint->eligible && !endpoint->out ? 1 : 0;
        out += endpoint->eligible && endpoint->out ? 1 : 0;
        if (endpoint->in_table)
            counts[endpoint->priority]++;
    }
    for (size_t i = 0; i < ROUTER_PRIORITIES; i++) {
        if (counts[i] != service->counts[i])
            return false;
    }
    return well == service->well_count && out == service->out_count && !service->altered &&
           service->gone == (service->endpoint_count == 0 && !service->in_catalog);
}

bool router_check(struct router *router)
{
    size_t endpoints = 0, gone = 0;
    size_t position = 0;
    for (struct router_service *service; (service = map_next(&router->services, &position)) != NULL;) {
        if (!check_service(router, service))
            return false;
        endpoints += service->endpoint_count;
        gone += service->gone ? 1 : 0;
    }
    if (endpoints != router->endpoint_count)
        return false;
    position = 0;
    for (const struct router_worker *worker; (worker = map_next(&router->workers, &position)) != NULL;) {
        for (size_t i = 0; i < worker->endpoint_count; i++) {
            if (worker->endpoints[i].worker != worker)
                return false;
        }
        if (!router_standing_check(router, worker))
            return false;
        endpoints -= worker->endpoint_count;
    }
    return endpoints == 0 && gone == router->gone_count && router->urgent.count == 0 && router->gathered.count == 0 &&
           router_changes_check(router) && timer_wheel_check(&router->wheel);
}
