/* What became of relayed requests, summed up by worker and service until it is reported.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/map.h"
#include "muster/v1/router.pb-c.h"

struct outcomes {
    struct map sums; /* struct outcome */
};

/* An all-zero struct outcomes is an empty one. */
void outcomes_free(struct outcomes *outcomes);

static inline bool outcomes_empty(const struct outcomes *outcomes)
{
    return outcomes->sums.count == 0;
}

/* Adds figures; worker and service of `outcome` say where. Without memory they are lost: they
 * are statistics. */
void outcomes_add(struct outcomes *outcomes, const Muster__V1__Outcome *outcome);

/* Adds all of `from`, which is empty then. */
void outcomes_merge(struct outcomes *outcomes, struct outcomes *from);

/* All of them as a list for a request, in no order; they stay here. The list is freed with
 * free(). NULL when memory ran out. */
Muster__V1__Outcome **outcomes_list(const struct outcomes *outcomes, size_t *count);
