/* SQLite's log, written in few calls. To commit, SQLite appends the pages that were changed to its write-ahead log: for
 * each a write of 24 bytes and one of a page, which all lie behind each other, and then a sync. So the kernel is called
 * two dozen times for what fits into one call, and looks up three pages of its cache for each that is written.
 *
 * This is a VFS of SQLite (sqlite.org/vfs.html) over another one. It hands everything on, but for the log: what is
 * written to that is gathered for as long as it goes on where it ended, and handed on before anything else is done with
 * the file, a sync above all. So nothing is called kept that is not. What fails to be written fails the call for which
 * it had to be; SQLite takes the transaction back then, whichever that was.
 *
 * It is for one connection that has the database for itself (locking_mode EXCLUSIVE): another one would not see what is
 * gathered.
 *
 * Threading: that of the connection that is opened with it. */

#pragma once

#include <stdbool.h>

#include <sqlite3.h>

struct sqlite_log_files {
    sqlite3_vfs vfs;
    sqlite3_vfs *below;
    char name[48]; /* to open the connection with */
};

/* Over the VFS of that name; NULL: the default one. `files` must stay where it is until sqlite_log_files_end, which
 * comes after the connection was closed. False: there is no such VFS, or no memory. */
bool sqlite_log_files_begin(struct sqlite_log_files *files, const char *below);

/* Nothing, when it was not begun. */
void sqlite_log_files_end(struct sqlite_log_files *files);
