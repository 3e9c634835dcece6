/* Active probes: when which endpoint is asked, and what follows from the answers; see router.h. */

#include "services/router/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool router_probe_is_failing(const struct router_endpoint *endpoint)
{
    return endpoint->probe != NULL && endpoint->probe->failing;
}

static void unlink_due(struct router *router, struct router_probe *probe)
{
    if (!probe->due)
        return;
    *(probe->previous != NULL ? &probe->previous->next : &router->first_probe) = probe->next;
    *(probe->next != NULL ? &probe->next->previous : &router->last_probe) = probe->previous;
    probe->due = false;
}

static void append_due(struct router *router, struct router_probe *probe)
{
    probe->due = true;
    probe->next = NULL;
    probe->previous = router->last_probe;
    *(router->last_probe != NULL ? &router->last_probe->next : &router->first_probe) = probe;
    router->last_probe = probe;
}

static void time_has_come(struct timer *timer, void *argument)
{
    struct router_endpoint *endpoint = argument;
    struct router_probe *probe = endpoint->probe;
    if (endpoint->eligible)
        append_due(probe->router, probe);
    else /* nobody is sent there anyway */
        timer_start(&probe->router->wheel, timer, probe->router->wheel.now_ms + endpoint->service->probing.interval_ms,
                    time_has_come, endpoint);
}

void router_probe_start(struct router *router, struct router_endpoint *endpoint)
{
    const struct router_probing *probing = &endpoint->service->probing;
    if (probing->path == NULL || endpoint->probe != NULL)
        return;
    endpoint->probe = calloc(1, sizeof(*endpoint->probe));
    if (endpoint->probe == NULL)
        return; /* it is not probed, which is no worse than without probes */
    endpoint->probe->router = router;
    endpoint->probe->endpoint = endpoint;
    /* Spread over the interval, so that a fleet that came at once is not asked at once for ever. */
    timer_start(&router->wheel, &endpoint->probe->timer,
                router->now_ms + random_below(&router->random, probing->interval_ms), time_has_come, endpoint);
}

void router_probe_free(struct router *router, struct router_endpoint *endpoint)
{
    if (endpoint->probe == NULL)
        return;
    timer_stop(&router->wheel, &endpoint->probe->timer);
    unlink_due(router, endpoint->probe);
    free(endpoint->probe);
    endpoint->probe = NULL;
}

bool router_next_probe(struct router *router, struct router_probe_request *request)
{
    struct router_probe *probe = router->first_probe;
    if (probe == NULL)
        return false;
    const struct router_endpoint *endpoint = probe->endpoint;
    unlink_due(router, probe);
    probe->number = ++router->probe_number;
    *request = (struct router_probe_request){
        .worker_id = endpoint->worker->id,
        .service = endpoint->service->name,
        .url = router_endpoint_url(endpoint),
        .path = endpoint->service->probing.path,
        .timeout_ms = endpoint->service->probing.timeout_ms,
        .number = probe->number,
    };
    return true;
}

static struct router_probe *find_probe(struct router *router, const char *worker_id, const char *service,
                                       uint64_t number)
{
    const struct router_worker *worker = router_worker_find(router, worker_id);
    for (size_t i = 0; worker != NULL && i < worker->endpoint_count; i++) {
        struct router_probe *probe = worker->endpoints[i].probe;
        if (probe != NULL && probe->number == number && strcmp(worker->endpoints[i].service->name, service) == 0)
            return probe;
    }
    return NULL;
}

static void note_failure(struct router *router, struct router_probe *probe, const char *reason)
{
    struct router_endpoint *endpoint = probe->endpoint;
    probe->successes = 0;
    probe->failures++;
    snprintf(probe->reason, sizeof(probe->reason), "%s", reason);
    if (probe->failing || probe->failures < endpoint->service->probing.failures)
        return;
    probe->failing = true;
    router_endpoint_judge(router, endpoint);
}

static void note_success(struct router *router, struct router_probe *probe)
{
    struct router_endpoint *endpoint = probe->endpoint;
    probe->failures = 0;
    probe->successes++;
    if (!probe->failing || probe->successes < endpoint->service->probing.successes)
        return;
    probe->failing = false;
    router_endpoint_judge(router, endpoint);
}

bool router_probe_ended(struct router *router, const char *worker_id, const char *service, uint64_t number,
                        enum router_probe_result result, const char *reason, uint64_t now_ms)
{
    router->now_ms = now_ms;
    struct router_probe *probe = find_probe(router, worker_id, service, number);
    if (probe == NULL)
        return false; /* it went away, or came back as another one */
    bool failed_before = probe->failing;
    if (result == ROUTER_PROBE_FAILED)
        note_failure(router, probe, reason);
    else if (result == ROUTER_PROBE_PASSED)
        note_success(router, probe);
    timer_start(&router->wheel, &probe->timer, now_ms + probe->endpoint->service->probing.interval_ms, time_has_come,
                probe->endpoint);
    return probe->failing != failed_before;
}
