/* See outcomes.h. */

#include "gateway/outcomes.h"

#include <stdlib.h>
#include <string.h>

struct outcome {
    Muster__V1__Outcome sum; /* its texts point into key */
    size_t key_bytes;
    char key[]; /* worker, zero byte, service, zero byte */
};

void outcomes_free(struct outcomes *outcomes)
{
    size_t position = 0;
    struct outcome *outcome;
    while ((outcome = map_next(&outcomes->sums, &position)) != NULL)
        free(outcome);
    map_free(&outcomes->sums);
}

static struct outcome *create(const Muster__V1__Outcome *of)
{
    size_t worker_bytes = strlen(of->worker_id) + 1;
    size_t service_bytes = strlen(of->service) + 1;
    struct outcome *outcome = calloc(1, sizeof *outcome + worker_bytes + service_bytes);
    if (outcome == NULL)
        return NULL;
    muster__v1__outcome__init(&outcome->sum);
    outcome->key_bytes = worker_bytes + service_bytes;
    memcpy(outcome->key, of->worker_id, worker_bytes);
    memcpy(outcome->key + worker_bytes, of->service, service_bytes);
    outcome->sum.worker_id = outcome->key;
    outcome->sum.service = outcome->key + worker_bytes;
    return outcome;
}

void outcomes_add(struct outcomes *outcomes, const Muster__V1__Outcome *from)
{
    struct outcome *fresh = create(from);
    if (fresh == NULL)
        return;
    struct outcome *outcome = map_get(&outcomes->sums, fresh->key, fresh->key_bytes);
    if (outcome != NULL) {
        free(fresh);
    } else if (map_put(&outcomes->sums, fresh->key, fresh->key_bytes, fresh, NULL)) {
        outcome = fresh;
    } else {
        free(fresh);
        return;
    }
    outcome->sum.succeeded += from->succeeded;
    outcome->sum.server_errors += from->server_errors;
    outcome->sum.connection_failures += from->connection_failures;
    outcome->sum.timeouts += from->timeouts;
    outcome->sum.latency_sum_us += from->latency_sum_us;
}

void outcomes_merge(struct outcomes *outcomes, struct outcomes *from)
{
    size_t position = 0;
    const struct outcome *outcome;
    while ((outcome = map_next(&from->sums, &position)) != NULL)
        outcomes_add(outcomes, &outcome->sum);
    outcomes_free(from);
}

Muster__V1__Outcome **outcomes_list(const struct outcomes *outcomes, size_t *count)
{
    Muster__V1__Outcome **list = malloc((outcomes->sums.count + 1) * sizeof(Muster__V1__Outcome *));
    if (list == NULL)
        return NULL;
    *count = 0;
    size_t position = 0;
    struct outcome *outcome;
    while ((outcome = map_next(&outcomes->sums, &position)) != NULL)
        list[(*count)++] = &outcome->sum;
    return list;
}
