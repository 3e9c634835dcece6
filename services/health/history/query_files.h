/* The files of a query: those of the system, but for a limit on what temporary ones may take. SQLite
 * sorts, groups and remembers on disk what does not fit into its cache; without a limit a statement
 * fills a disk within its time.
 *
 * It is a VFS of SQLite (sqlite.org/vfs.html) that hands everything to the default one. Files with a
 * name (the database, its log) are the default's own; temporary files are wrapped, and their bytes
 * counted. Beyond the limit a write fails with SQLITE_FULL.
 *
 * Threading: that of the connections that are opened with it. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <sqlite3.h>

struct query_files {
    sqlite3_vfs vfs;
    sqlite3_vfs *real;
    char name[48];
    uint64_t used_bytes;  /* of temporary files that are open */
    uint64_t limit_bytes; /* may be changed at any time */
    bool full;            /* a write was refused */
};

/* Without a limit at first. `files` must stay where it is until query_files_end, which comes after
 * the last connection was closed. False: SQLite has no memory for it. */
bool query_files_begin(struct query_files *files);
void query_files_end(struct query_files *files);
