#include "services/worker/homeward.h"

#include <string.h>

#define RETURNS_MAX 5u
#define FORGIVEN_MS 3600000u
#define LONGEST_WAIT_MS 600000u
/* So many looks fall into after_ms. */
#define LOOKS 4u
#define SHORTEST_PACE_MS 50u

static uint64_t pace_ms(uint64_t after_ms)
{
    return after_ms / LOOKS < SHORTEST_PACE_MS ? SHORTEST_PACE_MS : after_ms / LOOKS;
}

void homeward_init(struct homeward *homeward, uint64_t after_ms)
{
    memset(homeward, 0, sizeof *homeward);
    homeward->after_ms = after_ms;
    homeward->look_at_ms = UINT64_MAX;
    homeward->backoff = (struct backoff){pace_ms(after_ms), LONGEST_WAIT_MS, 0};
}

static void look_again(struct homeward *homeward, uint64_t now_ms, struct random *random)
{
    homeward->look_at_ms = now_ms + (homeward->answers ? backoff_jitter_ms(pace_ms(homeward->after_ms), random)
                                                       : backoff_next_ms(&homeward->backoff, random));
}

void homeward_registered(struct homeward *homeward, const char *before, const char *home, uint64_t now_ms,
                         struct random *random)
{
    if (homeward->after_ms == 0)
        return;
    homeward->answers = false;
    if (homeward->url[0] == '\0') {
        if (before[0] == '\0' || strcmp(before, home) == 0)
            return;
        strcpy(homeward->url, before); /* both are a coordinator's */
        backoff_reset(&homeward->backoff);
        if (now_ms - homeward->returned_at_ms >= FORGIVEN_MS)
            homeward->returns = 0;
    } else if (strcmp(homeward->url, home) == 0) {
        homeward->url[0] = '\0';
        homeward->returned_at_ms = now_ms;
        homeward->look_at_ms = UINT64_MAX;
        return;
    }
    look_again(homeward, now_ms, random);
}

bool homeward_looked(struct homeward *homeward, bool answers, uint64_t now_ms, struct random *random)
{
    bool begins = answers && !homeward->answers;
    homeward->answers = answers;
    if (begins) {
        homeward->answers_since_ms = now_ms;
        backoff_reset(&homeward->backoff);
    }
    bool goes = answers && now_ms - homeward->answers_since_ms >= homeward->after_ms << homeward->returns;
    if (goes && homeward->returns < RETURNS_MAX)
        homeward->returns++;
    if (goes)
        homeward->answers = false; /* should it not be taken there, all begins anew */
    look_again(homeward, now_ms, random);
    return goes;
}
