/* Carries out what assigner_next_move decides: asks the registry to change assignments, from
 * where they reach the workers through their heartbeats.
 *
 * Threading: the loop's thread. */

#pragma once

#include "common/rpc/rpc.h"
#include "services/assigner/assigner.h"

struct mover;

/* Looks around every 100 ms from now on. Both must outlive it. Aborts when memory runs out. */
struct mover *mover_start(struct rpc_loop *loop, struct rpc_channel *registry, struct assigner *assigner);

/* NULL is fine. A call that is under way is cancelled; the assigner is not used any more. */
void mover_stop(struct mover *mover);
