/* How good an endpoint is: a policy scores it, and the score becomes its weight.
 *
 * A policy is one small file behind two functions; a new one touches nothing but the table in
 * policy.c. It sees one candidate at a time and keeps no state, so that a worker's weight
 * does not depend on when the others were looked at. Who is eligible at all, and which
 * priority it has, is not a policy's business (see router.h).
 *
 * Threading: pure functions. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a worker said of its load. */
struct policy_figures {
    bool known;          /* it said something at all */
    double current_load; /* 0 to 1, whatever the worker sent */
    uint32_t active_requests;
    uint32_t queue_depth;
};

struct policy {
    const char *name; /* as in --policy */
    const char *help;
    /* Above 0, at most 1; higher is better. */
    double (*score)(const struct policy_figures *figures);
    /* The figures that decided, for people: "load 0.42, 0 waiting". Cut at text_bytes. */
    void (*describe)(const struct policy_figures *figures, char *text, size_t text_bytes);
};

/* Prefers workers with capacity left; the default. */
extern const struct policy policy_least_loaded;
/* All alike: with random picks, what round robin gives. */
extern const struct policy policy_equal;

/* NULL: no policy has that name. */
const struct policy *policy_find(const char *name);

#define POLICY_WEIGHT_MAX 100

/* A weight for a score: 1 to 100 in steps of 5. Coarse, so that a load that trembles does not
 * change the route table. */
uint32_t policy_weight(double score);
