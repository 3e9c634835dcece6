/* The roll in one SQLite file, DIR/registry.sqlite3.
 *
 * Schema, version 2 (PRAGMA user_version; PRAGMA application_id is "Mstr"):
 *     worker(row INTEGER PRIMARY KEY, id BLOB NOT NULL, record BLOB NOT NULL, checksum INTEGER NOT NULL)
 *     meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID
 *         "revision_ceiling", "incarnation_floor"
 * Version 1 had the id as its key, so that each of the workers that registered together lay on
 * a page of its own; such a file is brought to version 2 in one transaction when it is opened.
 * `record` is a packed muster.v1.Worker, `checksum` the CRC-32 of id and record. The two numbers
 * are stored as 64-bit patterns.
 *
 * What a commit survives: write-ahead log with synchronous=FULL, that is, one fsync of the log
 * in every commit. So a commit that returned OK survives a crash of the process, of the system
 * and a loss of power, as far as the disk keeps what it has confirmed. (With NORMAL, SQLite's
 * advice for such logs, a loss of power would take the last commits, which were answered.)
 *
 * The file is locked for as long as it is open: a second registry on the same directory is
 * refused. Opening creates what is missing and never repairs or replaces anything: a file that
 * is damaged, of another program or of a newer Muster is left as it is, and the error says
 * what to do.
 *
 * Threading as in store.h; the thread that uses it may change. */

#pragma once

#include "services/registry/store.h"

/* Creates `directory` (its parent must exist) and the file in it when they are missing. `vfs`
 * names the SQLite file system to go through, NULL for the usual one. NULL is returned with
 * *result and *error set. */
struct store *store_sqlite_open(const char *directory, const char *vfs, enum store_result *result,
                                struct store_error *error);
