/* How long to wait before trying again: doubling from first_ms to longest_ms, the upper
 * half of it random, so that a thousand workers that lost the same coordinator do not come
 * back in the same instant. */

#pragma once

#include <stdint.h>

#include "common/random.h"

struct backoff {
    uint64_t first_ms;
    uint64_t longest_ms;
    unsigned failures; /* in a row */
};

/* The wait after one more failure. */
uint64_t backoff_next_ms(struct backoff *backoff, struct random *random);

/* It worked: the next wait is short again. */
static inline void backoff_reset(struct backoff *backoff)
{
    backoff->failures = 0;
}

/* `value` give or take a tenth. */
uint64_t backoff_jitter_ms(uint64_t value_ms, struct random *random);
