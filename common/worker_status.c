/* See worker_status.h. */

#include "common/worker_status.h"

const char *worker_status_text(Muster__V1__WorkerStatus status)
{
    switch (status) {
    case WORKER_ONLINE:
        return "online";
    case WORKER_DEGRADED:
        return "degraded";
    case WORKER_DRAINING:
        return "draining";
    case WORKER_OFFLINE:
        return "offline";
    case WORKER_RECONNECTING:
        return "reconnecting";
    case WORKER_REMOVED:
        return "removed";
    default:
        return "unknown";
    }
}

bool worker_status_routable(Muster__V1__WorkerStatus status)
{
    return status == WORKER_ONLINE || status == WORKER_DEGRADED || status == WORKER_RECONNECTING;
}
