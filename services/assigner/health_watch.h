/* Tells the assigner what workers say of their load and their services: a stream from health, begun again whenever it
 * ends. It begins when the roll is known, since health may only speak of workers on it. While health is away, what was
 * said last stays.
 *
 * Threading: the loop's thread. */

#pragma once

#include "common/rpc/rpc.h"
#include "services/assigner/assigner.h"

struct health_watch;

/* Borrows all. */
struct health_watch *health_watch_start(struct rpc_loop *loop, struct rpc_channel *health, struct assigner *assigner);

/* NULL is fine. */
void health_watch_stop(struct health_watch *watch);
