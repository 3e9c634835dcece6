/* A backup put in the place of the database; see restore.h. */

#include "services/registry/restore.h"

#include "services/registry/store_sqlite.h"

#include <sqlite3.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* More changes than any registry makes between a backup and its restoring. */
#define REVISIONS_SKIPPED (1ull << 40)

static enum store_result fail(struct store_error *error, const char *what, const char *name, const char *why)
{
    snprintf(error->text, sizeof(error->text), "%s %.200s: %.120s", what, name, why);
    return STORE_UNAVAILABLE;
}

static bool count_row(void *argument, uint64_t row, const char *id, size_t id_bytes, const void *value,
                      size_t value_bytes, struct store_error *error)
{
    (void)argument, (void)row, (void)id, (void)id_bytes, (void)value, (void)value_bytes, (void)error;
    return true;
}

/* Whether a registry can start from the directory; with `skip` its revisions are moved on. That it
 * can be opened also says that no registry runs on it. */
static enum store_result check(const char *directory, bool skip, struct store_error *error)
{
    enum store_result result;
    struct store_meta meta;
    struct store *store = store_sqlite_open(directory, NULL, &result, error);
    if (store == NULL)
        return result;
    result = store_load(store, &meta, count_row, NULL, error);
    if (result == STORE_OK && skip) {
        meta.revision_ceiling += REVISIONS_SKIPPED;
        result = store_commit(store, &(struct store_batch){.meta = meta}, error);
    }
    store_close(store);
    return result;
}

enum store_result restore_check(const char *directory, struct store_error *error)
{
    error->text[0] = '\0';
    return check(directory, false, error);
}

/* Copies the database into a new file. SQLite does it, so that a backup with a log beside it is
 * taken whole. */
static enum store_result copy(const char *from, const char *to, struct store_error *error)
{
    sqlite3 *source = NULL, *copied = NULL;
    enum store_result result = STORE_OK;
    if (access(from, R_OK) != 0)
        return fail(error, "cannot read", from, strerror(errno));
    int opened = sqlite3_open_v2(from, &source, SQLITE_OPEN_READONLY, NULL);
    int made = sqlite3_open_v2(to, &copied, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    sqlite3_backup *backup =
        opened == SQLITE_OK && made == SQLITE_OK ? sqlite3_backup_init(copied, "main", source, "main") : NULL;
    int step = backup != NULL ? sqlite3_backup_step(backup, -1) : SQLITE_ERROR;
    if (sqlite3_backup_finish(backup) != SQLITE_OK || step != SQLITE_DONE)
        result = fail(error, "cannot copy", from,
                      step == SQLITE_NOTADB ? "it is no backup; choose another file" : sqlite3_errstr(step));
    sqlite3_close(source);
    sqlite3_close(copied);
    return result;
}

/* Without a name that is on disk, what was renamed is not either. */
static bool sync_directory(const char *directory)
{
    int descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = descriptor >= 0 && fsync(descriptor) == 0;
    if (descriptor >= 0)
        close(descriptor);
    return synced;
}

static enum store_result put_in_place(const char *made, const char *directory, struct store_error *error)
{
    char database[PATH_MAX], log[PATH_MAX];
    snprintf(database, sizeof(database), "%.4000s/registry.sqlite3", directory);
    snprintf(log, sizeof(log), "%.4000s/registry.sqlite3-wal", directory);
    /* The log of the database that was closed is empty; one that is left would be taken for the
     * new one's. */
    if (unlink(log) != 0 && errno != ENOENT)
        return fail(error, "cannot remove", log, strerror(errno));
    if (rename(made, database) != 0)
        return fail(error, "cannot replace", database, strerror(errno));
    return sync_directory(directory) ? STORE_OK : fail(error, "cannot sync", directory, strerror(errno));
}

enum store_result restore_backup(const char *file, const char *directory, bool replace, struct store_error *error)
{
    char database[PATH_MAX], scratch[PATH_MAX], made[PATH_MAX];
    error->text[0] = '\0';
    snprintf(database, sizeof(database), "%.4000s/registry.sqlite3", directory);
    snprintf(scratch, sizeof(scratch), "%.4000s/restore", directory);
    snprintf(made, sizeof(made), "%.4000s/restore/registry.sqlite3", directory);
    if (mkdir(directory, 0750) != 0 && errno != EEXIST)
        return fail(error, "cannot make", directory, strerror(errno));
    bool present = access(database, F_OK) == 0;
    if (present && !replace)
        return fail(error, "there is a database already,", database, "put it aside, or replace it with --replace");
    if (mkdir(scratch, 0750) != 0 && errno != EEXIST)
        return fail(error, "cannot make", scratch, strerror(errno));
    (void)unlink(made); /* of one that was cut off */
    enum store_result result = copy(file, made, error);
    if (result == STORE_OK)
        result = check(scratch, true, error);
    /* A damaged database may be replaced; one in use may not. */
    if (result == STORE_OK && present && check(directory, false, error) == STORE_UNAVAILABLE)
        result = STORE_UNAVAILABLE;
    if (result == STORE_OK)
        result = put_in_place(made, directory, error);
    (void)unlink(made);
    (void)rmdir(scratch);
    return result;
}
