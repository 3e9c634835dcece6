/* Life of the core and publishing; see router.h. */

#include "services/router/router.h"

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
    timer_wheel_init(&router->wheel, now_ms);
    return router;
}

void router_destroy(struct router *router)
{
    if (router == NULL)
        return;
    size_t position = 0;
    for (struct router_worker *worker; (worker = map_next(&router->workers, &position)) != NULL;)
        router_worker_free(router, worker);
    map_free(&router->workers);
    position = 0;
    for (struct router_service *service; (service = map_next(&router->services, &position)) != NULL;)
        router_service_free(service);
    map_free(&router->services);
    map_free(&router->names);
    for (size_t i = 0; i < ROUTER_WATCHERS_MAX; i++)
        free(router->watchers[i]);
    arena_free(&router->arena);
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

/* A table that is large and changes all the time is sent less often: about 100,000 endpoints
 * a second, whatever the size. */
static uint64_t gather_ms(const struct router *router)
{
    uint64_t by_size_ms = router->last_published / 100;
    return by_size_ms > ROUTER_GATHER_MS ? by_size_ms : ROUTER_GATHER_MS;
}

void router_service_touch(struct router *router, struct router_service *service, bool urgent)
{
    service->dirty = true;
    service->urgent = service->urgent || urgent;
    router->urgent = router->urgent || urgent;
    if (router->publish_at_ms == UINT64_MAX)
        router->publish_at_ms = router->now_ms + gather_ms(router);
}

static void publish(struct router *router)
{
    bool all = router->now_ms >= router->publish_at_ms;
    if (!router->ready || (!all && !router->urgent))
        return;
    uint64_t revision = router->revision + 1;
    size_t published = 0;
    size_t position = 0;
    for (struct router_service *service; (service = map_next(&router->services, &position)) != NULL;) {
        if (!service->dirty || !(all || service->urgent))
            continue;
        if (router_service_compute(router, service)) {
            service->revision = revision;
            router->revision = revision;
            published += service->endpoint_count;
        }
    }
    if (router->revision == revision)
        router->last_published = published;
    router->urgent = false;
    if (all)
        router->publish_at_ms = UINT64_MAX;
    router_services_reap(router);
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
        publish_ms = router->urgent ? router->now_ms : router->publish_at_ms;
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
    size_t in_table = 0;
    for (size_t i = 0; i < service->endpoint_count; i++) {
        const struct router_endpoint *endpoint = service->endpoints[i];
        if (endpoint->index != i || endpoint->service != service ||
            endpoint->eligible != router_endpoint_is_eligible(router, endpoint))
            return false;
        in_table += endpoint->in_table ? 1 : 0;
    }
    return in_table == service->table_count && !service->dirty && !router_service_compute(router, service);
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
    position = 0;
    for (const struct router_worker *worker; (worker = map_next(&router->workers, &position)) != NULL;) {
        for (size_t i = 0; i < worker->endpoint_count; i++) {
            if (worker->endpoints[i]->worker != worker)
                return false;
        }
        endpoints -= worker->endpoint_count;
    }
    return endpoints == 0 && gone == router->gone_count && timer_wheel_check(&router->wheel);
}
