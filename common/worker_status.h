/* Short names for the states of a worker (muster/v1/worker.proto says what they mean), and
 * their names for people.
 *
 * Threading: any. */

#pragma once

#include <stdbool.h>

#include "muster/v1/worker.pb-c.h"

/* The generated names, made readable. Macros, since only they keep the enumeration's type
 * and serve as case labels. */
#define WORKER_STATUS_UNKNOWN MUSTER__V1__WORKER_STATUS__WORKER_STATUS_UNSPECIFIED
#define WORKER_ONLINE MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE
#define WORKER_DEGRADED MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DEGRADED
#define WORKER_DRAINING MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DRAINING
#define WORKER_OFFLINE MUSTER__V1__WORKER_STATUS__WORKER_STATUS_OFFLINE
#define WORKER_RECONNECTING MUSTER__V1__WORKER_STATUS__WORKER_STATUS_RECONNECTING
#define WORKER_REMOVED MUSTER__V1__WORKER_STATUS__WORKER_STATUS_REMOVED

/* "online", "degraded", ... as the REST contract spells them; "unknown" for anything else. */
const char *worker_status_text(Muster__V1__WorkerStatus status);

/* Whether new requests may be sent to a worker in that state. */
bool worker_status_routable(Muster__V1__WorkerStatus status);
