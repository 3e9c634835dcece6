#include "common/backoff.h"

uint64_t backoff_next_ms(struct backoff *backoff, struct random *random)
{
    uint64_t wait_ms = backoff->first_ms;
    for (unsigned i = 0; i < backoff->failures && wait_ms < backoff->longest_ms; i++)
        wait_ms *= 2;
    if (wait_ms > backoff->longest_ms)
        wait_ms = backoff->longest_ms;
    backoff->failures++;
    return wait_ms - random_below(random, wait_ms / 2 + 1);
}

uint64_t backoff_jitter_ms(uint64_t value_ms, struct random *random)
{
    uint64_t tenth_ms = value_ms / 10;
    return value_ms - tenth_ms + random_below(random, 2 * tenth_ms + 1);
}
