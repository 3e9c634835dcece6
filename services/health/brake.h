/* The brake on evictions: when a large part of the fleet falls silent at once, the fault is
 * more likely ours (a network, a proxy, a clock) than theirs.
 *
 * Two models. Eureka's self-preservation stops all evictions while fewer renewals come than
 * expected, and compares with a number of its own that does not fall: when the machines are
 * really gone it never ends, which its users complain of. Kubernetes' node lifecycle
 * controller slows down instead: with over 55 % of a zone unhealthy it evicts 0.01 nodes a
 * second (pkg/controller/nodelifecycle). Here, too, evictions only slow down, and the share
 * is of those who are still on the roll: it ends by itself, when workers are heard again, or
 * when those who are gone have been taken off one by one. A whole fleet that is gone for good
 * is off the roll after BRAKE_WHOLE_FLEET_S at the latest, or 10 s for each worker when that
 * is longer.
 *
 * A worker that waits for its eviction is out of routing all the same.
 *
 * Pure; times are milliseconds of one monotonic clock. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BRAKE_WHOLE_FLEET_S 3600

struct brake_settings {
    double share;           /* of the fleet, silent, above which evictions slow down; 0: never */
    uint32_t workers_least; /* a smaller fleet is never braked: half of it is soon gone */
};

struct brake {
    struct brake_settings settings;
    double allowance; /* evictions that may happen now */
    uint64_t at_ms;   /* when that was true; 0: the brake is off */
    uint64_t fleet;   /* workers when it began */
};

/* Whether so many silent workers, out of all, are too many to have died. */
bool brake_is_on(const struct brake *brake, uint64_t silent, uint64_t all);

/* Evictions a second while the brake is on, of a fleet that was so large when it began. */
double brake_rate(uint64_t fleet);

/* Asks to evict one worker now; true: do it, and it has been counted. */
bool brake_allows(struct brake *brake, uint64_t silent, uint64_t all, uint64_t now_ms);

/* When a worker that was not allowed should ask again: spread, by its id, over 10 to 30 s. */
uint64_t brake_ask_again_ms(const char *worker_id, uint64_t now_ms);
