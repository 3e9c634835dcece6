/* See detector.h. */

#include "services/health/detector.h"

#include <inttypes.h>
#include <stdio.h>

#define HEARTBEATS_UNTIL_LATE 3
#define LONGEST_INTERVAL_MS 30000

static enum detector_reason base_reason(const struct detector_lease *lease)
{
    if (!lease->heard && lease->base != WORKER_ONLINE)
        return DETECTOR_NOT_HEARD_YET;
    if (lease->base != WORKER_ONLINE)
        return DETECTOR_SAYS_SO;
    return lease->contested ? DETECTOR_CONTESTED : DETECTOR_WELL;
}

/* Whether lateness would make a worker found in that state look better than it is. */
static bool worse_than_late(Muster__V1__WorkerStatus status)
{
    return status == WORKER_OFFLINE || status == WORKER_RECONNECTING || status == WORKER_DRAINING;
}

uint32_t detector_heartbeat_interval_ms(const struct detector_settings *settings)
{
    uint32_t interval_ms = settings->late_after_ms / HEARTBEATS_UNTIL_LATE;
    if (interval_ms > LONGEST_INTERVAL_MS)
        return LONGEST_INTERVAL_MS;
    return interval_ms > 0 ? interval_ms : 1;
}

struct detector_verdict detector_judge(const struct detector_settings *settings, const struct detector_lease *lease,
                                       uint64_t now_ms)
{
    uint64_t removed_at_ms = lease->last_heard_ms + settings->removed_after_ms;
    uint64_t late_at_ms = lease->last_heard_ms + settings->late_after_ms;

    if (now_ms >= removed_at_ms)
        return (struct detector_verdict){WORKER_REMOVED, DETECTOR_SILENT, UINT64_MAX};
    if (lease->stream_broken) {
        uint64_t grace_over_ms = lease->broken_at_ms + settings->stream_grace_ms;
        if (now_ms >= grace_over_ms)
            return (struct detector_verdict){WORKER_REMOVED, DETECTOR_GRACE_OVER, UINT64_MAX};
        return (struct detector_verdict){WORKER_OFFLINE, DETECTOR_STREAM_BROKEN,
                                         grace_over_ms < removed_at_ms ? grace_over_ms : removed_at_ms};
    }
    if (now_ms < lease->held_until_ms)
        return (struct detector_verdict){WORKER_OFFLINE, DETECTOR_HELD,
                                         lease->held_until_ms < removed_at_ms ? lease->held_until_ms : removed_at_ms};
    if (worse_than_late(lease->base))
        return (struct detector_verdict){lease->base, base_reason(lease), removed_at_ms};
    if (now_ms >= late_at_ms)
        return (struct detector_verdict){WORKER_DEGRADED, DETECTOR_LATE, removed_at_ms};
    return (struct detector_verdict){lease->base, base_reason(lease), late_at_ms};
}

void detector_describe(const struct detector_settings *settings, enum detector_reason reason, uint64_t silent_ms,
                       char text[DETECTOR_TEXT_BYTES])
{
    text[0] = 0;
    switch (reason) {
    case DETECTOR_WELL:
        break;
    case DETECTOR_SAYS_SO:
        snprintf(text, DETECTOR_TEXT_BYTES, "the worker says so");
        break;
    case DETECTOR_LATE:
        snprintf(text, DETECTOR_TEXT_BYTES, "heartbeat late: not heard for %" PRIu64 " s", silent_ms / 1000);
        break;
    case DETECTOR_STREAM_BROKEN:
        snprintf(text, DETECTOR_TEXT_BYTES, "stream broken");
        break;
    case DETECTOR_NOT_HEARD_YET:
        snprintf(text, DETECTOR_TEXT_BYTES, "not heard since the coordinator restarted");
        break;
    case DETECTOR_SILENT:
        snprintf(text, DETECTOR_TEXT_BYTES, "not heard for %" PRIu64 " s", silent_ms / 1000);
        break;
    case DETECTOR_HELD:
        snprintf(text, DETECTOR_TEXT_BYTES, "held out of routing: it came and went too often");
        break;
    case DETECTOR_CONTESTED:
        snprintf(text, DETECTOR_TEXT_BYTES, "another worker uses this id, too; give each its own (--worker-id)");
        break;
    case DETECTOR_BRAKED:
        snprintf(text, DETECTOR_TEXT_BYTES, "not heard for %" PRIu64 " s; evictions are slowed down", silent_ms / 1000);
        break;
    case DETECTOR_GRACE_OVER:
        snprintf(text, DETECTOR_TEXT_BYTES, "stream broken and not back within %.1f s",
                 (double)settings->stream_grace_ms / 1000.0);
        break;
    }
}
