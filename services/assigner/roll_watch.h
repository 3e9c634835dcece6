/* Keeps the assigner's replica of the roll up to date: a stream from the registry, begun again
 * whenever it ends, from where it was. While the registry is away the replica stays as it is.
 *
 * Threading: the loop's thread. */

#pragma once

#include "common/rpc/rpc.h"
#include "services/assigner/assigner.h"

struct roll_watch;

/* Borrows both. */
struct roll_watch *roll_watch_start(struct rpc_channel *registry, struct assigner *assigner);

/* NULL is fine. */
void roll_watch_stop(struct roll_watch *watch);
