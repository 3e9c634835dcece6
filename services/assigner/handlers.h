/* The methods of AssignerService. What each does is said in proto/muster/v1/assigner.proto.
 * Until the roll has been heard from the registry once, Assign and Gaps are UNAVAILABLE: the
 * counts would say that nobody runs anything.
 *
 * Threading: the loop's thread. */

#pragma once

#include "common/rpc/rpc.h"
#include "services/assigner/assigner.h"

struct handlers;

/* Borrows the assigner. */
struct handlers *handlers_create(struct rpc_loop *loop, struct assigner *assigner);

/* After the server is gone. NULL is fine. */
void handlers_destroy(struct handlers *handlers);

/* Adds the service to a server that has not started. */
bool handlers_add(struct handlers *handlers, struct rpc_server *server);

/* Sends the catalog to everybody who watches it. */
void handlers_catalog_changed(struct handlers *handlers);

/* Finishes the watches, so that the server can drain. */
void handlers_stop(struct handlers *handlers);
