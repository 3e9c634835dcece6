/* See brake.h. */

#include "services/health/brake.h"

#define SLOWEST_RATE 0.1
#define ASK_AGAIN_MS 10000
#define ASK_SPREAD_MS 20000

bool brake_is_on(const struct brake *brake, uint64_t silent, uint64_t all)
{
    return brake->settings.share > 0 && all >= brake->settings.workers_least &&
           (double)silent > brake->settings.share * (double)all;
}

double brake_rate(uint64_t fleet)
{
    double rate = (double)fleet / BRAKE_WHOLE_FLEET_S;
    return rate > SLOWEST_RATE ? rate : SLOWEST_RATE;
}

bool brake_allows(struct brake *brake, uint64_t silent, uint64_t all, uint64_t now_ms)
{
    if (!brake_is_on(brake, silent, all)) {
        brake->at_ms = 0;
        return true;
    }
    if (brake->at_ms == 0) { /* it begins: the first one has to wait as well */
        brake->allowance = 0;
        brake->at_ms = now_ms;
        brake->fleet = all;
    }
    double rate = brake_rate(brake->fleet);
    brake->allowance += rate * (double)(now_ms - brake->at_ms) / 1000;
    brake->at_ms = now_ms;
    /* What was not used up (they ask every 10 to 30 s) does not pile up for longer than that. */
    double most = 1 + rate * (ASK_AGAIN_MS + ASK_SPREAD_MS) / 1000;
    if (brake->allowance > most)
        brake->allowance = most;
    if (brake->allowance < 1)
        return false;
    brake->allowance--;
    return true;
}

uint64_t brake_ask_again_ms(const char *worker_id, uint64_t now_ms)
{
    uint32_t hash = 2166136261U; /* FNV-1a (G. Fowler, L. C. Noll, P. Vo) */
    for (const char *at = worker_id; *at != '\0'; at++)
        hash = (hash ^ (uint8_t)*at) * 16777619U;
    return now_ms + ASK_AGAIN_MS + hash % ASK_SPREAD_MS;
}
