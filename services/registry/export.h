/* ExportWorkers: the whole roll to a client, in pieces, in the order of the ids.
 *
 * An export is a place in that order (the last id that was sent), so that however large the
 * roll is and however slowly its client reads, it costs a few messages of memory.
 *
 * Threading: the loop's thread. */

#pragma once

#include "common/rpc/rpc.h"

/* The method; the context of its calls is a struct handlers. */
extern const struct rpc_events export_events;
