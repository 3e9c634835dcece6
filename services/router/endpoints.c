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

/* What follows for all endpoints of a worker from how it is. */
struct standing {
    bool serves;
    uint8_t priority, weight;
};

static struct standing standing_of(const struct router *router, const struct router_worker *worker)
{
    const char *reason;
    Muster__V1__WorkerStatus status = router_worker_status(worker, &reason);
    return (struct standing){
        .serves = worker->registered && !worker->draining && worker_status_routable(status),
        .priority = status == WORKER_ONLINE     ? 0
                    : status == WORKER_DEGRADED ? 1
                                                : 2,
        .weight = (uint8_t)policy_weight(router->policy->score(&worker->health.figures)), /* at most 100 */
    };
}

static void judge_worker(const struct router *router, struct router_worker *worker)
{
    struct standing standing = standing_of(router, worker);
    worker->serves = standing.serves;
    worker->priority = standing.priority;
    worker->weight = standing.weight;
}

static bool is_eligible(const struct router *router, const struct router_endpoint *endpoint)
{
    const struct router_worker *worker = endpoint->worker;
    if (!worker->serves)
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

static bool differs(const struct router_endpoint *endpoint)
{
    if (belongs(endpoint) != endpoint->in_table)
        return true;
    return endpoint->in_table && (endpoint->altered || endpoint->priority != endpoint->worker->priority ||
                                  endpoint->weight != endpoint->worker->weight);
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
    if (differs(endpoint))
        wait_for_publication(router, endpoint, urgent || endpoint->in_table != belongs(endpoint));
}

/* Nobody of the service is well any more, or somebody is again: those that are out come, at once, or
 * leave together with the arrival of the one that is well, so that the table is never empty. */
static void regroup(struct router *router, struct router_service *service)
{
    for (size_t i = 0; i < service->endpoint_count && service->out_count > 0; i++) {
        struct router_endpoint *endpoint = service->endpoints[i];
        if (endpoint->eligible && endpoint->out && differs(endpoint))
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
    judge_worker(router, worker);
    for (size_t i = 0; i < worker->endpoint_count; i++)
        router_endpoint_judge(router, &worker->endpoints[i]);
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
    if (!differs(endpoint))
        return;
    if (endpoint->in_table)
        service->counts[endpoint->priority]--;
    endpoint->in_table = belongs(endpoint);
    endpoint->priority = endpoint->worker->priority;
    endpoint->weight = endpoint->worker->weight;
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

/* Its memory is the worker's. */
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
}

void router_endpoints_clear(struct router *router, struct router_worker *worker)
{
    for (size_t i = 0; i < worker->endpoint_count; i++)
        remove_endpoint(router, &worker->endpoints[i]);
    free(worker->endpoints);
    worker->endpoints = NULL;
    worker->endpoint_count = 0;
}

void router_endpoints_free(struct router *router, struct router_worker *worker)
{
    for (size_t i = 0; i < worker->endpoint_count; i++) {
        router_outlier_free(router, &worker->endpoints[i]);
        router_probe_free(router, &worker->endpoints[i]);
    }
    free(worker->endpoints);
    worker->endpoints = NULL;
    worker->endpoint_count = 0;
}

/* Room in the service for one more. */
static bool reserve(struct router_service *service)
{
    if (service->endpoint_count < service->endpoint_capacity)
        return true;
    uint32_t capacity = service->endpoint_capacity == 0 ? 4 : service->endpoint_capacity * 2;
    struct router_endpoint **bigger = realloc(service->endpoints, capacity * sizeof(*bigger));
    if (bigger == NULL)
        return false;
    service->endpoints = bigger;
    service->endpoint_capacity = capacity;
    return true;
}

/* There is room for it. */
static void begin_endpoint(struct router *router, struct router_worker *worker, struct router_service *service,
                           struct router_endpoint *endpoint)
{
    *endpoint = (struct router_endpoint){
        .change.kind = ROUTER_CHANGE_ENDPOINT,
        .worker = worker,
        .service = service,
        .index = service->endpoint_count,
        .again = router->removed != NULL, /* it may be one of those */
    };
    service->endpoints[service->endpoint_count++] = endpoint;
    router->endpoint_count++;
}

/* One against which nothing is held: neither outlier nor probe points to it. What is left has no service. */
static void move_endpoint(struct router *router, struct router_endpoint *from, struct router_endpoint *to)
{
    *to = *from;
    to->service->endpoints[to->index] = to;
    if (to->waits_at != 0)
        (to->urgent ? &router->urgent : &router->gathered)->endpoints[to->waits_at - 1] = to;
    if (to->change.newer != NULL) {
        to->change.newer->older = &to->change;
        to->change.older->newer = &to->change;
    }
    from->service = NULL;
}

static struct router_endpoint *endpoint_of(const struct router_worker *worker, const struct router_service *service)
{
    for (size_t i = 0; i < worker->endpoint_count; i++) {
        if (worker->endpoints[i].service == service)
            return &worker->endpoints[i];
    }
    return NULL;
}

/* What a name means, which is mostly one that another worker had lately. NULL: out of memory. */
static struct router_service *service_meant(struct router *router, const char *name, size_t name_bytes)
{
    uint8_t first = (uint8_t)name[0], last = name_bytes == 0 ? 0 : (uint8_t)name[name_bytes - 1];
    struct router_recent *recent = &router->recent[(name_bytes + first + last) % ROUTER_RECENT];
    if (recent->service != NULL && !recent->service->gone && recent->name_bytes == name_bytes &&
        memcmp(recent->name, name, name_bytes) == 0)
        return recent->service;
    struct router_service *service = router_service_get(router, name);
    recent->service = name_bytes <= ROUTER_RECENT_BYTES ? service : NULL;
    recent->name_bytes = name_bytes;
    if (recent->service != NULL)
        memcpy(recent->name, name, name_bytes);
    return service;
}

/* The place of the service in router->wanted. False: out of memory. */
static bool want(struct router *router, struct router_service *service, size_t *count, size_t *place)
{
    for (*place = 0; *place < *count; ++*place) {
        if (router->wanted[*place].service == service)
            return true;
    }
    if (*count == router->wanted_capacity) {
        uint32_t capacity = router->wanted_capacity * 2 + 16;
        struct router_wanted *bigger = realloc(router->wanted, capacity * sizeof(*bigger));
        if (bigger == NULL)
            return false;
        router->wanted = bigger;
        router->wanted_capacity = capacity;
    }
    router->wanted[(*count)++] = (struct router_wanted){.service = service};
    return true;
}

/* Fills router->wanted with the services that the worker's texts name, each once. False: out of memory. */
static bool read_texts(struct router *router, const struct router_worker *worker, size_t *count)
{
    *count = 0;
    if (worker->texts == NULL)
        return true;
    const char *at = worker->texts + strlen(worker->texts) + 1, *end = worker->texts + worker->texts_bytes;
    while (at < end) {
        struct router_lengths lengths;
        memcpy(&lengths, at, sizeof(lengths));
        const char *name = at + sizeof(lengths);
        const char *url = name + lengths.name + 1;
        struct router_service *service = service_meant(router, name, lengths.name);
        size_t place;
        if (service == NULL || !want(router, service, count, &place))
            return false;
        /* Assigned and announced, or announced under two names: an URL of its own wins. */
        if (lengths.url > 0 && router->wanted[place].url_at == 0)
            router->wanted[place].url_at = (uint32_t)(url - worker->texts);
        at = url + lengths.url + 1;
    }
    return true;
}

static bool has_what_is_wanted(const struct router *router, const struct router_worker *worker, size_t count)
{
    bool has = worker->endpoint_count == count;
    for (size_t i = 0; has && i < count; i++)
        has = worker->endpoints[i].service == router->wanted[i].service;
    return has;
}

/* Gives the worker the endpoints that are wanted. False: out of memory, nothing is changed. */
static bool replace_endpoints(struct router *router, struct router_worker *worker, size_t count)
{
    struct router_endpoint *endpoints = NULL;
    if (count > 0 && (endpoints = malloc(count * sizeof(*endpoints))) == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!reserve(router->wanted[i].service)) {
            free(endpoints);
            return false;
        }
    }
    for (size_t i = 0; i < count; i++) {
        struct router_endpoint *before = endpoint_of(worker, router->wanted[i].service);
        if (before == NULL)
            begin_endpoint(router, worker, router->wanted[i].service, &endpoints[i]);
        else
            move_endpoint(router, before, &endpoints[i]);
    }
    for (size_t i = 0; i < worker->endpoint_count; i++) {
        if (worker->endpoints[i].service != NULL)
            remove_endpoint(router, &worker->endpoints[i]);
    }
    free(worker->endpoints);
    worker->endpoints = endpoints;
    worker->endpoint_count = (uint32_t)count;
    return true;
}

bool router_endpoints_set(struct router *router, struct router_worker *worker, const char *old_texts, bool altered)
{
    size_t count;
    for (size_t i = 0; i < worker->endpoint_count; i++) {
        router_outlier_free(router, &worker->endpoints[i]);
        router_probe_free(router, &worker->endpoints[i]);
    }
    if (!read_texts(router, worker, &count) ||
        (!has_what_is_wanted(router, worker, count) && !replace_endpoints(router, worker, count))) {
        router_endpoints_clear(router, worker);
        return false;
    }
    judge_worker(router, worker);
    for (size_t i = 0; i < count; i++) {
        struct router_endpoint *endpoint = &worker->endpoints[i];
        uint32_t url_at = router->wanted[i].url_at;
        if (endpoint->in_table && (altered || strcmp(old_texts + endpoint->url_at, worker->texts + url_at) != 0))
            endpoint->altered = true;
        endpoint->url_at = url_at;
        router_probe_start(router, endpoint);
        router_endpoint_judge(router, endpoint);
    }
    return true;
}

/* --- For tests --- */

bool router_endpoint_check(const struct router *router, const struct router_endpoint *endpoint)
{
    return endpoint->eligible == is_eligible(router, endpoint) && endpoint->out == is_out(endpoint) &&
           !differs(endpoint) && (!endpoint->in_table || endpoint->change.newer != NULL);
}

bool router_standing_check(const struct router *router, const struct router_worker *worker)
{
    struct standing standing = standing_of(router, worker);
    return worker->endpoint_count == 0 || (worker->serves == standing.serves && worker->priority == standing.priority &&
                                           worker->weight == standing.weight);
}
