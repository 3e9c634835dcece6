/* BackUp: a copy of the database, made between commits and then streamed to the client.
 *
 * The copy is a file in the data directory for as long as it takes, without a name as soon as it
 * is complete, so that the disk needs room for it and nothing is left behind.
 *
 * Threading: the loop's thread. */

#pragma once

#include "common/rpc/rpc.h"

/* The method; the context of its calls is a struct handlers. */
extern const struct rpc_events backup_events;
