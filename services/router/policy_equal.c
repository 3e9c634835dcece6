/* Everybody gets the same share, whatever the load: for fleets of equal machines whose load
 * figures say little. */

#include "services/router/policy.h"

#include <stdio.h>

static double score(const struct policy_figures *figures)
{
    (void)figures;
    return 1;
}

static void describe(const struct policy_figures *figures, char *text, size_t text_bytes)
{
    (void)figures;
    snprintf(text, text_bytes, "all weigh the same");
}

const struct policy policy_equal = {
    .name = "equal",
    .help = "the same weight for all",
    .score = score,
    .describe = describe,
};
