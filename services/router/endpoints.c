/* Endpoints: which there are, who is eligible, and what is published of them; see router.h. */

#include "services/router/state.h"

#include <stdlib.h>
#include <string.h>

const char *router_endpoint_url(const struct router_endpoint *endpoint)
{
    return endpoint->worker->texts + endpoint->url_at;
}

size_t router_table_count(const struct router_service *service)
{
    size_t count = 0;
    for (size_t i = 0; i < ROUTER_PRIORITIES; i++)
        count += service->counts[i];
    return count;
}

/* --- What is to be published of it --- */

static bool is_eligible(const struct router *router, const struct router_endpoint *endpoint)
{
    const struct router_worker *worker = endpoint->worker;
    const char *reason;
    if (!worker->registered || worker->draining || !worker_status_routable(router_worker_status(worker, &reason)))
        return false;
    const char *state = router_worker_service_state(router, worker, endpoint->service);
    return (state == NULL || strcmp(state, "running") == 0) && router_endpoint_url(endpoint)[0] != 0;
}

static bool is_out(const struct router_endpoint *endpoint)
{
    return router_outlier_is_ejected(endpoint) || router_probe_is_failing(endpoint);
}

/* Whether it belongs in the table: one that is out only while nobody is well. */
static bool belongs(const struct router_endpoint *endpoint)
{
    return endpoint->eligible && (!endpoint->out || endpoint->service->well_count == 0);
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

static uint8_t weight_of(const struct router *router, const struct router_endpoint *endpoint)
{
    return (uint8_t)policy_weight(router->policy->score(&endpoint->worker->health.figures)); /* at most 100 */
}

static bool differs(const struct router *router, const struct router_endpoint *endpoint)
{
    if (belongs(endpoint) != endpoint->in_table)
        return true;
    return endpoint->in_table && (endpoint->altered || endpoint->priority != priority_of(endpoint->worker) ||
                                  endpoint->weight != weight_of(router, endpoint));
}

/* --- Waiting --- */

static void stop_waiting(struct router *router, struct router_endpoint *endpoint)
{
    if (endpoint->waits_at == 0)
        return;
    struct router_waiting *waiting = endpoint->urgent ? &router->urgent : &router->gathered;
    struct router_endpoint *last = waiting->endpoints[--waiting->count];
    waiting->endpoints[endpoint->waits_at - 1] = last;
    last->waits_at = endpoint->waits_at;
    endpoint->waits_at = 0;
}

static void wait_for_publication(struct router *router, struct router_endpoint *endpoint, bool urgent)
{
    if (endpoint->waits_at != 0 && (endpoint->urgent || !urgent))
        return;
    struct router_waiting *waiting = urgent ? &router->urgent : &router->gathered;
    if (waiting->count == waiting->capacity) {
        uint32_t capacity = waiting->capacity * 2 + 64;
        struct router_endpoint **bigger = realloc(waiting->endpoints, capacity * sizeof(struct router_endpoint *));
        if (bigger == NULL)
            return; /* it is published when it is next looked at */
        waiting->endpoints = bigger;
        waiting->capacity = capacity;
    }
    stop_waiting(router, endpoint);
    waiting->endpoints[waiting->count++] = endpoint;
    endpoint->waits_at = waiting->count;
    endpoint->urgent = urgent;
    if (!urgent && router->publish_at_ms == UINT64_MAX)
        router->publish_at_ms = router->now_ms + ROUTER_GATHER_MS;
}

/* One that leaves the table is urgent, and one that comes. */
static void publish_if_it_differs(struct router *router, struct router_endpoint *endpoint, bool urgent)
{
    if (differs(router, endpoint))
        wait_for_publication(router, endpoint, urgent || endpoint->in_table != belongs(endpoint));
}

/* Nobody of the service is well any more, or somebody is again: those that are out come, at once, or
 * leave together with the arrival of the one that is well, so that the table is never empty. */
static void regroup(struct router *router, struct router_service *service)
{
    for (size_t i = 0; i < service->endpoint_count && service->out_count > 0; i++) {
        struct router_endpoint *endpoint = service->endpoints[i];
        if (endpoint->eligible && endpoint->out && differs(router, endpoint))
            wait_for_publication(router, endpoint, true);
    }
}

static void set_state(struct router *router, struct router_endpoint *endpoint, bool eligible, bool out)
{
    struct router_service *service = endpoint->service;
    bool any_well = service->well_count > 0;
    service->well_count -= endpoint->eligible && !endpoint->out ? 1 : 0;
    service->out_count -= endpoint->eligible && endpoint->out ? 1 : 0;
    service->well_count += eligible && !out ? 1 : 0;
    service->out_count += eligible && out ? 1 : 0;
    endpoint->eligible = eligible;
    endpoint->out = out;
    if (any_well != (service->well_count > 0))
        regroup(router, service);
}

void router_endpoint_judge(struct router *router, struct router_endpoint *endpoint)
{
    set_state(router, endpoint, is_eligible(router, endpoint), is_out(endpoint));
    publish_if_it_differs(router, endpoint, false);
}

void router_endpoints_judge(struct router *router, struct router_worker *worker)
{
    for (size_t i = 0; i < worker->endpoint_count; i++)
        router_endpoint_judge(router, worker->endpoints[i]);
}

/* --- Publishing --- */

/* In this order, so that a watcher that gets it in parts never has less than it should: who comes or
 * changes; who leaves; what was removed, and who came back after that. */
enum phase { PHASE_COMING, PHASE_LEAVING, PHASE_AGAIN };

static enum phase phase_of(const struct router_endpoint *endpoint)
{
    return !belongs(endpoint) ? PHASE_LEAVING : endpoint->again ? PHASE_AGAIN : PHASE_COMING;
}

static void publish(struct router *router, struct router_endpoint *endpoint, uint64_t revision)
{
    struct router_service *service = endpoint->service;
    if (!differs(router, endpoint))
        return;
    if (endpoint->in_table)
        service->counts[endpoint->priority]--;
    endpoint->in_table = belongs(endpoint);
    endpoint->priority = priority_of(endpoint->worker);
    endpoint->weight = weight_of(router, endpoint);
    endpoint->altered = endpoint->again = false;
    if (endpoint->in_table)
        service->counts[endpoint->priority]++;
    router_change_publish(router, &endpoint->change, revision);
    if (service->change.revision == 0)
        router_change_publish(router, &service->change, revision);
}

void router_endpoints_publish(struct router *router, uint64_t revision, bool all)
{
    struct router_waiting *const lists[] = {&router->urgent, all ? &router->gathered : NULL};
    for (enum phase phase = PHASE_COMING; phase <= PHASE_AGAIN; phase++) {
        if (phase == PHASE_AGAIN)
            router_removals_publish(router, revision);
        for (size_t i = 0; i < 2; i++) {
            for (uint32_t j = 0; lists[i] != NULL && j < lists[i]->count; j++) {
                /* Who is published differs no more: that it is met in a later phase does nothing. */
                if (phase_of(lists[i]->endpoints[j]) == phase)
                    publish(router, lists[i]->endpoints[j], revision);
            }
        }
    }
    for (size_t i = 0; i < 2 && lists[i] != NULL; i++) {
        for (uint32_t j = 0; j < lists[i]->count; j++)
            lists[i]->endpoints[j]->waits_at = 0;
        lists[i]->count = 0;
        if (lists[i]->capacity > ROUTER_WAITING_KEPT) {
            free(lists[i]->endpoints);
            *lists[i] = (struct router_waiting){.endpoints = NULL};
        }
    }
}

/* --- Which there are --- */

static void remove_endpoint(struct router *router, struct router_endpoint *endpoint)
{
    struct router_service *service = endpoint->service;
    struct router_endpoint *last = service->endpoints[--service->endpoint_count];
    service->endpoints[endpoint->index] = last;
    last->index = endpoint->index;
    router->endpoint_count--;
    stop_waiting(router, endpoint);
    router_outlier_free(router, endpoint);
    router_probe_free(router, endpoint);
    if (endpoint->in_table)
        service->counts[endpoint->priority]--;
    set_state(router, endpoint, false, false);
    router_change_remove(router, &endpoint->change, service, endpoint->worker->id, endpoint->in_table);
    if (service->endpoint_count == 0 && !service->in_catalog)
        router_service_alter(router, service, endpoint->in_table);
    free(endpoint);
}

void router_endpoints_clear(struct router *router, struct router_worker *worker)
{
    for (size_t i = 0; i < worker->endpoint_count; i++)
        remove_endpoint(router, worker->endpoints[i]);
    free(worker->endpoints);
    worker->endpoints = NULL;
    worker->endpoint_count = 0;
}

static struct router_endpoint *add_endpoint(struct router *router, struct router_worker *worker,
                                            struct router_service *service)
{
    if (service->endpoint_count == service->endpoint_capacity) {
        uint32_t capacity = service->endpoint_capacity == 0 ? 4 : service->endpoint_capacity * 2;
        struct router_endpoint **bigger = realloc(service->endpoints, capacity * sizeof(*bigger));
        if (bigger == NULL)
            return NULL;
        service->endpoints = bigger;
        service->endpoint_capacity = capacity;
    }
    struct router_endpoint *endpoint = calloc(1, sizeof(*endpoint));
    if (endpoint == NULL)
        return NULL;
    endpoint->change.kind = ROUTER_CHANGE_ENDPOINT;
    endpoint->worker = worker;
    endpoint->service = service;
    endpoint->again = router->removed != NULL; /* it may be one of those */
    endpoint->index = service->endpoint_count;
    service->endpoints[service->endpoint_count++] = endpoint;
    router->endpoint_count++;
    return endpoint;
}

static struct router_endpoint **place_of(struct router_endpoint **endpoints, size_t count,
                                         const struct router_service *service)
{
    for (size_t i = 0; i < count; i++) {
        if (endpoints[i] != NULL && endpoints[i]->service == service)
            return &endpoints[i];
    }
    return NULL;
}

/* What router_endpoints_set works on. */
struct setting {
    struct router *router;
    struct router_worker *worker;
    uint32_t *urls;               /* of worker->endpoints: where their URLs are */
    struct router_endpoint **old; /* NULL: taken over */
    size_t old_count;
};

/* The number among worker->endpoints of that of the service which the name means; -1: out of memory. */
static int64_t get_endpoint(struct setting *setting, const char *name)
{
    struct router *router = setting->router;
    struct router_worker *worker = setting->worker;
    struct router_service *service = router_service_get(router, name);
    if (service == NULL)
        return -1;
    struct router_endpoint **place = place_of(worker->endpoints, worker->endpoint_count, service);
    if (place != NULL)
        return place - worker->endpoints;
    struct router_endpoint *endpoint;
    place = place_of(setting->old, setting->old_count, service);
    if (place == NULL) {
        endpoint = add_endpoint(router, worker, service);
        if (endpoint == NULL)
            return -1;
    } else {
        endpoint = *place;
        *place = NULL;
        router_outlier_free(router, endpoint);
        router_probe_free(router, endpoint);
    }
    worker->endpoints[worker->endpoint_count] = endpoint;
    return worker->endpoint_count++;
}

static bool set_all(struct setting *setting)
{
    const char *texts = setting->worker->texts;
    const char *at = texts + strlen(texts) + 1;
    while (*at != 0) {
        const char *name = at + 1;
        const char *url = name + strlen(name) + 1;
        int64_t i = get_endpoint(setting, name);
        if (i < 0)
            return false;
        /* Assigned and announced, or announced under two names: an URL of its own wins. */
        if (url[0] != 0 && setting->urls[i] == 0)
            setting->urls[i] = (uint32_t)(url - texts);
        at = url + strlen(url) + 1;
    }
    return true;
}

static size_t count_names(const char *texts)
{
    size_t count = 0;
    for (const char *at = texts + strlen(texts) + 1; *at != 0; count++) {
        const char *url = at + strlen(at) + 1;
        at = url + strlen(url) + 1;
    }
    return count;
}

bool router_endpoints_set(struct router *router, struct router_worker *worker, const char *old_texts, bool altered)
{
    size_t count = count_names(worker->texts);
    struct setting setting = {router, worker, calloc(count + 1, sizeof(uint32_t)), worker->endpoints,
                              worker->endpoint_count};
    worker->endpoint_count = 0;
    worker->endpoints = calloc(count + 1, sizeof(struct router_endpoint *));
    bool done = setting.urls != NULL && worker->endpoints != NULL && set_all(&setting);
    for (size_t i = 0; i < setting.old_count; i++) {
        if (setting.old[i] != NULL)
            remove_endpoint(router, setting.old[i]);
    }
    free(setting.old);
    for (size_t i = 0; done && i < worker->endpoint_count; i++) {
        struct router_endpoint *endpoint = worker->endpoints[i];
        if (altered || strcmp(old_texts + endpoint->url_at, worker->texts + setting.urls[i]) != 0)
            endpoint->altered = true;
        endpoint->url_at = setting.urls[i];
        router_probe_start(router, endpoint);
        router_endpoint_judge(router, endpoint);
    }
    free(setting.urls);
    if (!done)
        router_endpoints_clear(router, worker);
    return done;
}

/* --- For tests --- */

bool router_endpoint_check(const struct router *router, const struct router_endpoint *endpoint)
{
    return endpoint->eligible == is_eligible(router, endpoint) && endpoint->out == is_out(endpoint) &&
           !differs(router, endpoint) && (!endpoint->in_table || endpoint->change.newer != NULL);
}
