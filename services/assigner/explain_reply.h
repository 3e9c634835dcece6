/* The answer to ExplainAssignment: the core's explanation as a message, with each verdict in words.
 *
 * Threading: the loop's. */

#pragma once

#include "common/rpc/server.h"
#include "services/assigner/assigner.h"

/* Replies to the call, or finishes it: NOT_FOUND for a worker that is not on the roll. */
void explain_reply(struct rpc_call *call, struct assigner *assigner, const char *worker_id);
