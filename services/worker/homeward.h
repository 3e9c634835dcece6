/* Whether a worker that had to leave its coordinator goes back there.
 *
 * The coordinator that took it first was the nearest, or the first one of its list. When a registration lands
 * elsewhere, the earlier one is looked at from time to time (GET /health), ever less often while it does not answer.
 * Once it has answered every time for after_ms the worker registers there again. Each return doubles the time that the
 * next one takes, up to 32 times, so that a coordinator that comes and goes does not take its workers along each time;
 * an hour at home makes it as if there had been none.
 *
 * No I/O, no clock: times are monotonic milliseconds. Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/backoff.h"
#include "services/worker/coordinators.h"

struct homeward {
    uint64_t after_ms;                /* 0: it never goes back */
    char url[COORDINATORS_URL_BYTES]; /* where it would rather be; "": it is there */
    uint64_t look_at_ms;              /* UINT64_MAX: there is nothing to look at */
    bool answers;
    uint64_t answers_since_ms;
    unsigned returns;
    uint64_t returned_at_ms;
    struct backoff backoff;
};

void homeward_init(struct homeward *homeward, uint64_t after_ms);

/* A registration was taken: it was at `before` ("": nowhere yet), and is at `home` now. */
void homeward_registered(struct homeward *homeward, const char *before, const char *home, uint64_t now_ms,
                         struct random *random);

/* What a look at `url` found. True: go back now. */
bool homeward_looked(struct homeward *homeward, bool answers, uint64_t now_ms, struct random *random);
