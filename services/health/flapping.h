/* Workers that come and go: how often each was lost lately, and how long it is held out of
 * routing for that when it is back.
 *
 * Like route flap damping (RFC 2439) it punishes instability that is seen, forgets it with
 * time and knows an upper bound; like Kubernetes' restart back-off the time doubles, which can
 * be said in one sentence: the first FLAPPING_FREE losses are free, for each one more the
 * worker is held twice as long, and one loss is forgotten for each quiet FLAPPING_FORGET_MS.
 *
 * It remembers an id over its removal and next registration. Only ids that were lost are in
 * the table, at most FLAPPING_IDS_MAX; then those that were lost longest ago are forgotten.
 *
 * Threading: one thread. Times are milliseconds of one monotonic clock. */

#pragma once

#include <stdint.h>

#include "common/list.h"
#include "common/map.h"

#define FLAPPING_FREE 2
#define FLAPPING_FORGET_MS 300000
#define FLAPPING_IDS_MAX 100000

struct flapping_settings {
    uint32_t first_hold_ms;   /* at the first loss that is not free; 0: nobody is ever held */
    uint32_t longest_hold_ms; /* not below first_hold_ms */
};

struct flapping {
    struct flapping_settings settings;
    struct map ids;          /* struct flapping_id, see flapping.c */
    struct list_link oldest; /* all of them, by their last loss */
};

void flapping_init(struct flapping *flapping, const struct flapping_settings *settings);
void flapping_free(struct flapping *flapping);

/* The worker was lost: its stream broke, or it was given up. Without memory it is not counted. */
void flapping_lost(struct flapping *flapping, const char *worker_id, uint64_t now_ms);

struct flapping_hold {
    uint32_t losses;   /* that are not forgotten */
    uint64_t until_ms; /* not to be routed to before; 0: no hold */
    uint64_t hold_ms;  /* how long that was in all */
};

/* The worker is back: says whether it is to be held, and remembers until when. */
struct flapping_hold flapping_returned(struct flapping *flapping, const char *worker_id, uint64_t now_ms);

/* The hold that flapping_returned began; all zero: none. */
struct flapping_hold flapping_hold_of(const struct flapping *flapping, const char *worker_id);
