/* ImportWorkers: workers of a backup onto the roll, chunk by chunk.
 *
 * Each request is a chunk. Its workers are checked and packed when it comes in, stored by the
 * ledger together with whatever else waits, and answered together. IMPORT_CHUNKS_MAX chunks of
 * a call may be under way; then the call is paused, so that the client is held back by flow
 * control: the memory of an import does not grow with its length.
 *
 * A client that goes away in the middle leaves what it had sent: chunks that were taken are
 * stored.
 *
 * Threading: the loop's thread. */

#pragma once

#include "common/rpc/rpc.h"

#define IMPORT_CHUNK_WORKERS_MAX 1000
#define IMPORT_CHUNKS_MAX 4

/* The method; the context of its calls is a struct handlers. */
extern const struct rpc_events import_events;
