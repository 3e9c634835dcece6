/* See polling.h. */

#include "gateway/proxy/polling.h"

void polling_init(struct polling *polling, uint64_t interval_ms, uint64_t retry_ms, uint64_t now_ms)
{
    *polling = (struct polling){
        .interval_ms = interval_ms, .retry_ms = retry_ms < interval_ms ? retry_ms : interval_ms, .next_ms = now_ms};
}

void polling_asked(struct polling *polling, uint64_t now_ms)
{
    polling->asked_ms = now_ms;
    polling->next_ms = UINT64_MAX;
}

void polling_answered(struct polling *polling, double chance, uint64_t now_ms)
{
    polling->failures = 0;
    polling->next_ms = now_ms + (uint64_t)((double)polling->interval_ms * (0.9 + 0.2 * chance));
}

void polling_failed(struct polling *polling, double chance, uint64_t now_ms)
{
    uint64_t pause_ms = polling->retry_ms;
    for (uint32_t i = 0; i < polling->failures && pause_ms < polling->interval_ms; i++)
        pause_ms *= 2;
    if (pause_ms > polling->interval_ms)
        pause_ms = polling->interval_ms;
    polling->failures++;
    polling->next_ms = now_ms + (uint64_t)((double)pause_ms * (0.5 + 0.5 * chance));
}

void polling_hurry(struct polling *polling)
{
    uint64_t soonest_ms = polling->asked_ms + polling->retry_ms;
    /* UINT64_MAX: it is being asked. After failures the pause is what spares the coordinator. */
    if (polling->next_ms != UINT64_MAX && polling->failures == 0 && polling->next_ms > soonest_ms)
        polling->next_ms = soonest_ms;
}
