/* RegisterWorker and RegisterWorkers: a call brings one registration or many. Each is checked
 * and handed to the registrar by itself; the call is answered when the last one is through.
 *
 * Threading: the loop's thread. */

#pragma once

#include "common/rpc/rpc.h"

/* Most registrations of one call. */
#define REGISTER_MAX_WORKERS 1000

/* Methods whose context is a struct handlers. */
void register_worker(struct rpc_call *call, const void *message);
void register_workers(struct rpc_call *call, const void *message);
