/* The buckets that all fronts of a gateway take requests out of: see common/auth/buckets.h.
 *
 * Threading: any; a lock is held for as long as it takes to look at one bucket. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/auth/buckets.h"

struct limiter;

/* NULL when memory runs out. */
struct limiter *limiter_create(void);
void limiter_free(struct limiter *limiter); /* NULL is fine */

/* As auth_buckets_take. */
bool limiter_take(struct limiter *limiter, const struct auth_bucket_id *id, struct auth_rate rate, uint64_t now_us,
                  uint64_t *wait_us);
