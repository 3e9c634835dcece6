/* Weight by what is left: the free share of a worker's capacity, divided among the requests
 * that wait for it already. A worker that is full still gets a trickle, since its figures
 * are up to a heartbeat old; one that said nothing counts as half loaded. */

#include "services/router/policy.h"

#include <stdio.h>

#define SCORE_MINIMUM 0.01
#define SCORE_UNKNOWN 0.5

static double score(const struct policy_figures *figures)
{
    if (!figures->known)
        return SCORE_UNKNOWN;
    double busy = figures->current_load;
    if (!(busy > 0)) /* nor a NaN */
        busy = 0;
    double left = busy < 1 ? 1 - busy : 0;
    double value = left / (1 + (double)figures->queue_depth);
    return value < SCORE_MINIMUM ? SCORE_MINIMUM : value;
}

static void describe(const struct policy_figures *figures, char *text, size_t text_bytes)
{
    if (!figures->known)
        snprintf(text, text_bytes, "load not reported");
    else
        snprintf(text, text_bytes, "load %.2f, %u active, %u waiting", figures->current_load, figures->active_requests,
                 figures->queue_depth);
}

const struct policy policy_least_loaded = {
    .name = "least-loaded",
    .help = "weight by free capacity and waiting requests",
    .score = score,
    .describe = describe,
};
