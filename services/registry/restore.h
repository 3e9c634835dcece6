/* A backup put in the place of the database, while no registry runs on it; and whether one can be.
 *
 * The backup is checked as a whole first and copied beside the database, and takes its place in
 * one step: whatever happens in between, the directory holds the one or the other. Revisions go
 * on far above those of the backup, so that whoever watched the roll since it was made gets a
 * snapshot instead of mistaking new revisions for ones that it knows.
 *
 * Threading: blocks; for a command. */

#pragma once

#include "services/registry/store.h"

/* Restores `file` into `directory`, which is made if missing. A database that is there already is
 * replaced only with `replace`, and never while a registry has it open. */
enum store_result restore_backup(const char *file, const char *directory, bool replace, struct store_error *error);

/* Whether a registry could start from `directory`, and read every record: for a backup that was just made, in a
 * directory of its own as registry.sqlite3. */
enum store_result restore_check(const char *directory, struct store_error *error);
