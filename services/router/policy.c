/* The policies that there are; see policy.h. */

#include "services/router/policy.h"

#include <string.h>

#define WEIGHT_STEPS 20
#define WEIGHT_STEP (POLICY_WEIGHT_MAX / WEIGHT_STEPS)

const struct policy *policy_find(const char *name)
{
    const struct policy *const policies[] = {&policy_least_loaded, &policy_equal};
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        if (strcmp(policies[i]->name, name) == 0)
            return policies[i];
    }
    return NULL;
}

uint32_t policy_weight(double score)
{
    if (!(score > 0)) /* nor a NaN */
        return 1;
    double steps = score > 1 ? WEIGHT_STEPS : score * WEIGHT_STEPS + 0.5;
    uint32_t weight = (uint32_t)steps * WEIGHT_STEP;
    return weight == 0 ? 1 : weight;
}
