/* Ejections of endpoints that cannot be reached; see router.h. */

#include "services/router/state.h"

#include <stdlib.h>

bool router_outlier_is_ejected(const struct router_endpoint *endpoint)
{
    return endpoint->outlier != NULL && endpoint->outlier->ejected_until_ms != 0;
}

void router_outlier_free(struct router *router, struct router_endpoint *endpoint)
{
    if (endpoint->outlier == NULL)
        return;
    timer_stop(&router->wheel, &endpoint->outlier->timer);
    free(endpoint->outlier);
    endpoint->outlier = NULL;
}

/* An ejection ends, or a time without one has passed. */
static void time_passed(struct timer *timer, void *argument)
{
    struct router_endpoint *endpoint = argument;
    struct router_outlier *outlier = endpoint->outlier;
    struct router *router = outlier->router;
    router->now_ms = router->wheel.now_ms;
    if (outlier->ejected_until_ms != 0) {
        outlier->ejected_until_ms = 0;
        /* On trial: one more failure ejects it again, a success clears it. */
        outlier->failures = OUTLIER_FAILURES - 1;
        router_endpoint_judge(router, endpoint);
    } else {
        outlier->ejections--;
    }
    if (outlier->ejections > 0)
        timer_start(&router->wheel, timer, router->wheel.now_ms + ejection_length_ms(outlier->ejections), time_passed,
                    endpoint);
    else
        router_outlier_free(router, endpoint);
}

void router_outlier_note(struct router *router, struct router_endpoint *endpoint, uint64_t failures, bool successes)
{
    struct router_outlier *outlier = endpoint->outlier;
    if (successes) {
        /* It can be reached; failures in the same report came before or were chance. */
        if (outlier == NULL)
            return;
        outlier->failures = 0;
        if (outlier->ejections == 0)
            router_outlier_free(router, endpoint);
        return;
    }
    if (failures == 0 || router_outlier_is_ejected(endpoint))
        return;
    if (outlier == NULL) {
        outlier = calloc(1, sizeof(*outlier));
        if (outlier == NULL)
            return; /* nobody is ejected without a record of why */
        outlier->router = router;
        endpoint->outlier = outlier;
    }
    uint64_t total = outlier->failures + failures;
    outlier->failures = total > UINT32_MAX ? UINT32_MAX : (uint32_t)total;
    if (outlier->failures < OUTLIER_FAILURES)
        return;
    outlier->ejections++;
    outlier->ejected_until_ms = router->now_ms + ejection_length_ms(outlier->ejections);
    timer_start(&router->wheel, &outlier->timer, outlier->ejected_until_ms, time_passed, endpoint);
    router_endpoint_judge(router, endpoint);
}

void router_report_outcomes(struct router *router, const Muster__V1__ReportOutcomesRequest *request, uint64_t now_ms)
{
    router->now_ms = now_ms;
    for (size_t i = 0; i < request->n_outcomes; i++) {
        const Muster__V1__Outcome *outcome = request->outcomes[i];
        const struct router_worker *worker = router_worker_find(router, outcome->worker_id);
        const struct router_service *service = router_service_find(router, outcome->service);
        for (size_t j = 0; worker != NULL && j < worker->endpoint_count; j++) {
            if (worker->endpoints[j].service == service)
                router_outlier_note(router, &worker->endpoints[j], outcome->connection_failures,
                                    outcome->succeeded + outcome->server_errors > 0);
        }
    }
}
