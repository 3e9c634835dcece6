/* See limiter.h. */

#include "gateway/limiter.h"

#include "common/random.h"

#include <pthread.h>
#include <stdlib.h>

/* One and a half megabytes, of which those pages are used that are touched. */
#define LIMITER_PLACES 65536

struct limiter {
    pthread_mutex_t lock;
    struct auth_buckets *buckets;
};

struct limiter *limiter_create(void)
{
    struct limiter *limiter = calloc(1, sizeof *limiter);
    uint64_t seed[2];
    if (limiter == NULL)
        return NULL;
    random_bytes(seed, sizeof seed);
    limiter->buckets = auth_buckets_create(LIMITER_PLACES, seed);
    if (limiter->buckets == NULL || pthread_mutex_init(&limiter->lock, NULL) != 0) {
        auth_buckets_free(limiter->buckets);
        free(limiter);
        return NULL;
    }
    return limiter;
}

void limiter_free(struct limiter *limiter)
{
    if (limiter == NULL)
        return;
    pthread_mutex_destroy(&limiter->lock);
    auth_buckets_free(limiter->buckets);
    free(limiter);
}

bool limiter_take(struct limiter *limiter, const struct auth_bucket_id *id, struct auth_rate rate, uint64_t now_us,
                  uint64_t *wait_us)
{
    pthread_mutex_lock(&limiter->lock);
    bool taken = auth_buckets_take(limiter->buckets, id, rate, now_us, wait_us);
    pthread_mutex_unlock(&limiter->lock);
    return taken;
}
