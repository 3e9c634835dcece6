/* BackUp: a copy of the database, made between commits and then streamed to the client.
 *
 * The copy is a file in the data directory for as long as it takes, without a name as soon as it
 * is complete, so that the disk needs room for it and nothing is left behind. The name is always
 * the same, backup.partial.sqlite3: one registry runs on a directory and makes one copy at a time,
 * so what a registry that was killed has left behind is known for what it is.
 *
 * Threading: the loop's thread. */

#pragma once

#include "common/rpc/rpc.h"

/* Removes what a killed registry has left of a copy, before the first call. The store of that
 * directory must be open: that is what says that nobody else is at work there. */
void backup_remove_left_behind(const char *data_directory);

/* The method; the context of its calls is a struct handlers. */
extern const struct rpc_events backup_events;
