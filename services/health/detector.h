/* The failure detector: when a worker that is not heard is late, and when it is given up.
 *
 * The model is a lease (C. Gray and D. Cheriton, "Leases", 1989): each heartbeat, and the
 * registration itself, gives a worker the right to be on the roll until a time that only
 * the receiver's monotonic clock decides. There is no vote and no second opinion: workers
 * sit behind home routers where only their own outgoing connection tells anything. An
 * accrual detector (N. Hayashibara et al., "The phi accrual failure detector", 2004) was
 * weighed: with one heartbeat in 30 s it has too few samples to learn from before it has to
 * decide, so the limits are fixed numbers:
 *
 *   - late after 90 s: three heartbeats of 30 s missed. One is lost to a Wi-Fi roaming, two
 *     to a router that restarts; three in a row are rare in a machine that still serves.
 *     A late worker is still routed to, after all the others.
 *   - given up after 120 s: one more interval for it to show up, counted from the same last
 *     heartbeat.
 *   - a stream that breaks is better evidence than silence: the kernel of the worker's
 *     machine said so, or its keep-alive went unanswered. The worker is out of routing in
 *     the same millisecond. The grace (5 s) is for one that only lost its connection:
 *     its first retry comes within a second. After it, the worker is given up.
 *     Any heartbeat, by whatever way, ends the grace.
 *
 * A worker that health did not hear itself yet (health or the registry was restarted) keeps
 * the state in which it was found until it is heard or given up; nobody is worse off
 * because our own process restarted.
 *
 * The functions are pure. All times are milliseconds of one monotonic clock. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/worker_status.h"

struct detector_settings {
    uint32_t late_after_ms;    /* silence after which a worker is DEGRADED; above 0 */
    uint32_t removed_after_ms; /* silence after which it is given up; not below late_after_ms */
    uint32_t stream_grace_ms;  /* from a stream's break until its worker is given up */
};

/* Why a worker has its status. */
enum detector_reason {
    DETECTOR_WELL,
    DETECTOR_SAYS_SO,       /* the worker itself says that it is degraded or draining */
    DETECTOR_LATE,          /* silent for late_after_ms */
    DETECTOR_STREAM_BROKEN, /* inside the grace */
    DETECTOR_NOT_HEARD_YET, /* found in this state when health or the registry restarted */
    DETECTOR_SILENT,        /* given up after removed_after_ms */
    DETECTOR_GRACE_OVER,    /* given up after stream_grace_ms */
    DETECTOR_HELD,          /* well, but it came and went too often; see flapping.h */
    DETECTOR_BRAKED,        /* to be given up, when evictions are not slowed down; see brake.h */
    DETECTOR_CONTESTED,     /* well, but another worker uses its id as well */
};

/* What is known of one worker. */
struct detector_lease {
    uint64_t last_heard_ms;        /* last heartbeat or registration */
    uint64_t broken_at_ms;         /* when its stream broke, if stream_broken */
    bool stream_broken;            /* and nothing was heard since */
    uint64_t held_until_ms;        /* not to be routed to before; 0: no hold */
    bool heard;                    /* by this process; false: found in `base` */
    bool contested;                /* an earlier registration of its id is heard as well */
    Muster__V1__WorkerStatus base; /* what it says of itself, or was found in */
};

struct detector_verdict {
    Muster__V1__WorkerStatus status; /* REMOVED: given up */
    enum detector_reason reason;
    uint64_t check_at_ms; /* the verdict stands until then if nothing is heard; UINT64_MAX: for good */
};

/* How often a worker should send heartbeats: a third of late_after_ms, at least 1. At most
 * 30 s, since a coordinator that is more patient still wants to know how loaded workers are. */
uint32_t detector_heartbeat_interval_ms(const struct detector_settings *settings);

/* How the worker is at now_ms. */
struct detector_verdict detector_judge(const struct detector_settings *settings, const struct detector_lease *lease,
                                       uint64_t now_ms);

/* The reason for people, with figures: "not heard for 90 s". Empty for DETECTOR_WELL. */
#define DETECTOR_TEXT_BYTES 96
void detector_describe(const struct detector_settings *settings, enum detector_reason reason, uint64_t silent_ms,
                       char text[DETECTOR_TEXT_BYTES]);
