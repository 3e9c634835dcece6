#include "tests/unit/gateway/metrics_shim.h"

#include <stdbool.h>
#include <stdlib.h>

#include "gateway/metrics.h"

void metrics_shim_render(struct buffer *out)
{
    struct front_metrics *first = calloc(1, sizeof *first);
    struct front_metrics *second = calloc(1, sizeof *second);
    const struct front_metrics *fronts[] = {first, second};
    const struct part_metrics parts[] = {{"registry", true}, {"health", false}};
    const struct coordinator_metrics coordinator = {.workers = 7,
                                                    .active_workers = 6,
                                                    .services = 5,
                                                    .heartbeats = 4,
                                                    .rest_heartbeats = 3,
                                                    .parts = parts,
                                                    .part_count = 2};
    if (first == NULL || second == NULL)
        abort();
    const struct api_route *health = &api_routes()[API_HEALTH];
    metrics_request(first, health, 200, 50);
    metrics_request(second, health, 200, 3000);
    metrics_request(second, health, 503, 20000000);
    metrics_request(first, NULL, 404, 10);
    metrics_render(fronts, 2, &coordinator, out);
    free(first);
    free(second);
}
