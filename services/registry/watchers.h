/* Streams of changes to those who watch the roll.
 *
 * A watcher is a cursor into the roll, not a queue: what it has not been sent yet is held once,
 * in the roll, however many watch and however slow they are. Messages are made for a watcher
 * only while its call takes more (rpc_call_writable), so what waits for a slow one is bounded
 * by the call's queue limit. Watchers that have seen the same are sent the same: the last
 * messages of changes are kept packed, by the revision that they begin after, and a hundred
 * watchers cost one packing. (Messages of snapshots are each watcher's own.)
 *
 * A change is told at once, unless many were just told: then what comes in the next 4 ms is told together, since a
 * message costs everybody more than a change does.
 *
 * Threading: the loop's thread. */

#pragma once

#include "common/auth/worker_token.h"
#include "common/rpc/rpc.h"
#include "services/registry/registry.h"

struct watchers;

/* Each watcher is told the secret (worker_token.h), which outlives the watchers. */
struct watchers *watchers_create(struct rpc_loop *loop, struct registry *registry,
                                 const uint8_t secret[AUTH_SECRET_BYTES]);

/* After the server is gone. NULL is fine. */
void watchers_destroy(struct watchers *watchers);

/* Begins to watch; the call's user pointer becomes the watcher. */
void watchers_add(struct watchers *watchers, struct rpc_call *call, uint64_t after_revision);

/* Of the call's events. */
void watchers_writable(struct rpc_call *call);
void watchers_ended(struct rpc_call *call);

/* The roll has changed: at the end of this turn, or a little later, everybody is sent what is new. */
void watchers_wake(struct watchers *watchers);

/* Tells everybody, those who come later too, that the store fails, and why; NULL: it works. */
void watchers_set_store_failure(struct watchers *watchers, const char *failure);

/* Finishes all calls, telling them to come back; later ones are finished at once. */
void watchers_stop(struct watchers *watchers);
