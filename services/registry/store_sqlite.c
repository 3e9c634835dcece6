/* The roll in one SQLite file; see store_sqlite.h. */

#include "services/registry/store_sqlite.h"

#include "services/registry/checksum.h"
#include "services/registry/store_sqlite_log.h"

#include "common/random.h"

#include <sqlite3.h>

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SCHEMA_VERSION 2
#define APPLICATION_ID 0x4d737472 /* "Mstr" */

/* Pages of SQLite's cache, in KiB: enough for the inner pages of a million rows' tree. */
#define CACHE_KIB 4096

/* The log is written back into the file when it has so many pages (16 MiB): seldom enough
 * not to be felt, soon enough for a quick start. */
#define CHECKPOINT_PAGES 4096

/* Copied at a time, between commits: 1 MiB. */
#define BACKUP_STEP_PAGES 256

/* On a disk that was full: a change is written to the log in whole pages, and to the file once more. */
#define ROOM_BYTES_MIN (64 * 1024)
#define ROOM_BYTES_PER_CHANGE (32 * 1024)

/* What a batch has failed of, until a batch of the numbers alone has shown that it would not fail of that any more. The
 * numbers by themselves show little: their page may be well when others are damaged, and there may be room for them when
 * there is none for a worker. */
struct doubt {
    bool raised;
    bool no_room;       /* the disk was full */
    uint64_t row;       /* the change that failed, or the first one when the commit did */
    size_t value_bytes; /* its value's; 0: it was a removal */
    size_t room_bytes;  /* that the batch may need on disk */
};

struct sqlite_store {
    struct store base;
    struct sqlite_log_files files;
    sqlite3 *database;
    sqlite3_stmt *begin, *commit, *rollback, *put, *remove, *put_meta;
    sqlite3 *copy; /* a backup under way, with the one below */
    sqlite3_backup *backup;
    bool meta_known; /* `meta` is what the file holds */
    struct store_meta meta;
    struct doubt doubt;
    char path[PATH_MAX];
};

__attribute__((format(printf, 3, 4))) static enum store_result fail(enum store_result result, struct store_error *error,
                                                                    const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    return result;
}

/* What went wrong last, as a result and in words that say what to do. */
/* What the system said when it did not read or write; 0: nothing. SQLite does not pass it on when
 * it was a commit that failed, but each of its files remembers it. */
static int last_system_error(const struct sqlite_store *store)
{
    int number = sqlite3_system_errno(store->database);
    sqlite3_file *log = NULL;
    if (number == 0 && sqlite3_file_control(store->database, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK &&
        log != NULL && log->pMethods != NULL)
        (void)log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &number); /* else it stays 0 */
    if (number == 0)
        (void)sqlite3_file_control(store->database, "main", SQLITE_FCNTL_LAST_ERRNO, &number); /* likewise */
    return number;
}

static enum store_result explain_io(const struct sqlite_store *store, struct store_error *error)
{
    int number = last_system_error(store);
    switch (number) {
    case EROFS: /* what a file system does to itself when its disk fails */
        return fail(STORE_UNAVAILABLE, error,
                    "%s cannot be written: its file system has become read-only; look into the kernel's log, mend it, "
                    "mount it again and restart muster-registry",
                    store->path);
    case ENOSPC:
    case EDQUOT:
        return fail(STORE_UNAVAILABLE, error, "%s cannot grow (%s); make room", store->path, strerror(number));
    case EACCES:
    case EPERM:
        return fail(STORE_UNAVAILABLE, error, "%s cannot be written (%s); make it and its log writable (see lsattr)",
                    store->path, strerror(number));
    default:
        return fail(STORE_UNAVAILABLE, error, "%s: %s (%s); check the disk", store->path,
                    sqlite3_errstr(sqlite3_extended_errcode(store->database)),
                    number != 0 ? strerror(number) : "no reason is known");
    }
}

static enum store_result explain(const struct sqlite_store *store, struct store_error *error)
{
    const char *message = sqlite3_errmsg(store->database);
    switch (sqlite3_errcode(store->database) & 0xff) {
    case SQLITE_NOTADB:
        return fail(STORE_UNUSABLE, error,
                    "%s is not a SQLite database, or damaged at its start; put it aside or restore a backup",
                    store->path);
    case SQLITE_CORRUPT:
        return fail(STORE_UNUSABLE, error, "%s is damaged (%s); put it aside or restore a backup", store->path,
                    message);
    case SQLITE_BUSY:
        return fail(STORE_UNAVAILABLE, error,
                    "%s is in use by another process; stop that one or choose another data directory", store->path);
    case SQLITE_FULL:
        return fail(STORE_UNAVAILABLE, error, "%s cannot grow: the disk is full; make room", store->path);
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return fail(STORE_UNAVAILABLE, error, "%s cannot be written (%s); make it and its directory writable",
                    store->path, message);
    case SQLITE_CANTOPEN:
        return fail(STORE_UNAVAILABLE, error, "%s cannot be opened (%s); make its directory writable", store->path,
                    strerror(sqlite3_system_errno(store->database)));
    case SQLITE_IOERR:
        return explain_io(store, error);
    default:
        return fail(STORE_UNAVAILABLE, error, "%s: %s (%s); check the disk", store->path, message,
                    sqlite3_errstr(sqlite3_extended_errcode(store->database)));
    }
}

static bool execute(struct sqlite_store *store, const char *sql)
{
    return sqlite3_exec(store->database, sql, NULL, NULL, NULL) == SQLITE_OK;
}

/* The one number that a statement gives. */
static bool ask_number(struct sqlite_store *store, const char *sql, sqlite3_int64 *number)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(store->database, sql, -1, &statement, NULL) != SQLITE_OK)
        return false;
    bool given = sqlite3_step(statement) == SQLITE_ROW;
    if (given)
        *number = sqlite3_column_int64(statement, 0);
    /* Repeats an error of the step, which `given` tells already. */
    return sqlite3_finalize(statement) == SQLITE_OK && given;
}

/* --- Committing --- */

/* Runs a statement that gives no rows. */
static bool run(sqlite3_stmt *statement)
{
    bool done = sqlite3_step(statement) == SQLITE_DONE;
    return sqlite3_reset(statement) == SQLITE_OK && done;
}

static bool write_meta(struct sqlite_store *store, const char *name, uint64_t value)
{
    return sqlite3_bind_text(store->put_meta, 1, name, -1, SQLITE_STATIC) == SQLITE_OK &&
           sqlite3_bind_int64(store->put_meta, 2, (sqlite3_int64)value) == SQLITE_OK && run(store->put_meta);
}

/* SQLite notices damage to the structure of its pages, not to what lies in them. */
static sqlite3_int64 row_checksum(const void *id, size_t id_bytes, const void *value, size_t value_bytes)
{
    return checksum(checksum(0, id, id_bytes), value, value_bytes);
}

static bool write_change(struct sqlite_store *store, const struct store_change *change)
{
    sqlite3_stmt *statement = change->value != NULL ? store->put : store->remove;
    if (sqlite3_bind_int64(statement, 1, (sqlite3_int64)change->row) != SQLITE_OK)
        return false;
    if (change->value != NULL &&
        (sqlite3_bind_blob64(statement, 2, change->id, change->id_bytes, SQLITE_STATIC) != SQLITE_OK ||
         sqlite3_bind_blob64(statement, 3, change->value, change->value_bytes, SQLITE_STATIC) != SQLITE_OK ||
         sqlite3_bind_int64(statement, 4,
                            row_checksum(change->id, change->id_bytes, change->value, change->value_bytes)) !=
             SQLITE_OK))
        return false;
    return run(statement);
}

static bool write_batch(struct sqlite_store *store, const struct store_batch *batch, size_t *at)
{
    for (*at = 0; *at < batch->count; ++*at)
        if (!write_change(store, &batch->changes[*at]))
            return false;
    /* Most batches leave the numbers alone: that is a page less to write. */
    if (store->meta_known && store->meta.revision_ceiling == batch->meta.revision_ceiling &&
        store->meta.incarnation_floor == batch->meta.incarnation_floor && batch->count > 0)
        return true;
    return write_meta(store, "revision_ceiling", batch->meta.revision_ceiling) &&
           write_meta(store, "incarnation_floor", batch->meta.incarnation_floor);
}

/* To be called while SQLite still knows what went wrong. */
static void raise_doubt(struct sqlite_store *store, const struct store_batch *batch, size_t at)
{
    const struct store_change *change = &batch->changes[at < batch->count ? at : 0];
    int number = last_system_error(store);
    struct doubt *doubt = &store->doubt;
    *doubt = (struct doubt){.raised = true, .row = change->row, .value_bytes = change->value_bytes};
    doubt->no_room =
        (sqlite3_errcode(store->database) & 0xff) == SQLITE_FULL || number == ENOSPC || number == EDQUOT;
    doubt->room_bytes = ROOM_BYTES_MIN;
    for (size_t i = 0; i < batch->count; i++)
        doubt->room_bytes += batch->changes[i].value_bytes + ROOM_BYTES_PER_CHANGE;
}

static bool has_room(const struct sqlite_store *store)
{
    struct statvfs disk;
    return statvfs(store->path, &disk) != 0 || disk.f_bavail >= store->doubt.room_bytes / disk.f_frsize + 1;
}

/* Writes what failed before, and takes it back, inside a transaction. */
static bool write_doubtful(struct sqlite_store *store)
{
    const struct doubt *doubt = &store->doubt;
    if (!execute(store, "SAVEPOINT doubtful") ||
        sqlite3_bind_int64(store->put, 1, (sqlite3_int64)doubt->row) != SQLITE_OK ||
        sqlite3_bind_zeroblob(store->put, 2, 1) != SQLITE_OK ||
        sqlite3_bind_zeroblob64(store->put, 3, doubt->value_bytes) != SQLITE_OK ||
        sqlite3_bind_int64(store->put, 4, 0) != SQLITE_OK)
        return false;
    return run(store->put) && execute(store, "ROLLBACK TO doubtful") && execute(store, "RELEASE doubtful");
}

static enum store_result sqlite_commit(struct store *base, const struct store_batch *batch, struct store_error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    size_t at = 0;
    bool settles = batch->count == 0 && store->doubt.raised;
    if (settles && store->doubt.no_room && !has_room(store))
        return fail(STORE_UNAVAILABLE, error, "%s cannot grow: the disk is full; make room", store->path);
    if (run(store->begin) && (!settles || write_doubtful(store)) && write_batch(store, batch, &at) &&
        run(store->commit)) {
        store->meta_known = true;
        store->meta = batch->meta;
        if (settles)
            store->doubt.raised = false;
        return STORE_OK;
    }
    store->meta_known = false;
    enum store_result result = explain(store, error);
    if (batch->count > 0)
        raise_doubt(store, batch, at);
    /* Some errors have rolled back already; in that case this fails, and nothing is lost. */
    if (sqlite3_get_autocommit(store->database) == 0)
        (void)run(store->rollback);
    /* A page that was damaged stays so in the cache, also when it has been mended on disk. What cannot be freed stays. */
    (void)sqlite3_db_release_memory(store->database);
    return result;
}

/* --- Loading --- */

static enum store_result load_rows(struct sqlite_store *store, sqlite3_stmt *rows, store_visit visit, void *argument,
                                   struct store_error *error)
{
    int step;
    while ((step = sqlite3_step(rows)) == SQLITE_ROW) {
        uint64_t row = (uint64_t)sqlite3_column_int64(rows, 0);
        const char *id = sqlite3_column_blob(rows, 1);
        const void *value = sqlite3_column_blob(rows, 2);
        size_t id_bytes = (size_t)sqlite3_column_bytes(rows, 1);
        size_t value_bytes = (size_t)sqlite3_column_bytes(rows, 2);
        struct store_error reason = {""};
        if (id == NULL || value == NULL || sqlite3_column_int64(rows, 3) != row_checksum(id, id_bytes, value, value_bytes))
            return fail(STORE_UNUSABLE, error,
                        "%s is damaged (a row does not match its checksum); put it aside or restore a backup",
                        store->path);
        if (!visit(argument, row, id, id_bytes, value, value_bytes, &reason))
            return fail(STORE_UNUSABLE, error, "%.200s: %.150s", store->path, reason.text);
    }
    return step == SQLITE_DONE ? STORE_OK : explain(store, error);
}

static enum store_result sqlite_load(struct store *base, struct store_meta *meta, store_visit visit, void *argument,
                                     struct store_error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    sqlite3_int64 ceiling, floor;
    if (!ask_number(store, "SELECT coalesce(max(value), 0) FROM meta WHERE name = 'revision_ceiling'", &ceiling) ||
        !ask_number(store, "SELECT coalesce(max(value), 0) FROM meta WHERE name = 'incarnation_floor'", &floor))
        return explain(store, error);
    meta->revision_ceiling = (uint64_t)ceiling;
    meta->incarnation_floor = (uint64_t)floor;

    sqlite3_stmt *rows;
    if (sqlite3_prepare_v2(store->database, "SELECT row, id, record, checksum FROM worker", -1, &rows, NULL) !=
        SQLITE_OK)
        return explain(store, error);
    enum store_result result = load_rows(store, rows, visit, argument, error);
    /* Repeats an error of the last step, which has been told. */
    (void)sqlite3_finalize(rows);
    return result;
}

/* --- Backup --- */

static bool begin_backup(struct sqlite_store *store, const char *path)
{
    if (sqlite3_open_v2(path, &store->copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK)
        return false;
    store->backup = sqlite3_backup_init(store->copy, "main", store->database, "main");
    return store->backup != NULL;
}

static bool end_backup(struct sqlite_store *store)
{
    bool fine = sqlite3_backup_finish(store->backup) == SQLITE_OK;
    store->backup = NULL;
    fine = sqlite3_close(store->copy) == SQLITE_OK && fine;
    store->copy = NULL;
    return fine;
}

static enum store_result sqlite_backup(struct store *base, const char *path, bool *complete, struct store_error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    *complete = false;
    if (store->backup == NULL && !begin_backup(store, path)) {
        enum store_result result = fail(STORE_UNAVAILABLE, error, "backup %.150s cannot be made (%.100s); make room",
                                        path, store->copy != NULL ? sqlite3_errmsg(store->copy) : "out of memory");
        (void)end_backup(store);
        return result;
    }
    int step = sqlite3_backup_step(store->backup, BACKUP_STEP_PAGES);
    if (step == SQLITE_OK)
        return STORE_OK;
    *complete = end_backup(store) && step == SQLITE_DONE;
    return *complete ? STORE_OK
                     : fail(STORE_UNAVAILABLE, error, "backup %.150s failed (%s); make room or check the disk", path,
                            sqlite3_errstr(step));
}

/* --- The secret --- */

/* False: the statement failed. `found`: there is one, and it is whole. */
static bool read_secret(struct sqlite_store *store, uint8_t secret[STORE_SECRET_BYTES], bool *found)
{
    sqlite3_stmt *statement;
    *found = false;
    if (sqlite3_prepare_v2(store->database, "SELECT value FROM meta WHERE name = 'token_secret'", -1, &statement,
                           NULL) != SQLITE_OK)
        return false;
    int step = sqlite3_step(statement);
    if (step == SQLITE_ROW && sqlite3_column_bytes(statement, 0) == STORE_SECRET_BYTES) {
        memcpy(secret, sqlite3_column_blob(statement, 0), STORE_SECRET_BYTES);
        *found = true;
    }
    /* Repeats an error of the step, which `step` tells already. */
    return sqlite3_finalize(statement) == SQLITE_OK && (step == SQLITE_ROW || step == SQLITE_DONE);
}

static enum store_result sqlite_secret(struct store *base, uint8_t secret[STORE_SECRET_BYTES],
                                       struct store_error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    bool found;
    if (!read_secret(store, secret, &found))
        return explain(store, error);
    if (found)
        return STORE_OK;
    random_bytes(secret, STORE_SECRET_BYTES);
    if (sqlite3_bind_text(store->put_meta, 1, "token_secret", -1, SQLITE_STATIC) != SQLITE_OK ||
        sqlite3_bind_blob64(store->put_meta, 2, secret, STORE_SECRET_BYTES, SQLITE_STATIC) != SQLITE_OK ||
        !run(store->put_meta))
        return explain(store, error);
    return STORE_OK;
}

/* --- Opening --- */

static void sqlite_close(struct store *base)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    (void)end_backup(store); /* one that is given up */
    sqlite3_stmt *statements[] = {store->begin, store->commit, store->rollback,
                                  store->put,   store->remove, store->put_meta};
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++)
        /* Only repeats the statement's last error; NULL is fine. */
        (void)sqlite3_finalize(statements[i]);
    /* Writes the log back; if that fails the next start does it. */
    (void)sqlite3_close_v2(store->database);
    sqlite_log_files_end(&store->files);
    free(store);
}

#define WORKER_COLUMNS "(row INTEGER PRIMARY KEY, id BLOB NOT NULL, record BLOB NOT NULL, checksum INTEGER NOT NULL)"

/* Several statements that are one transaction. */
static enum store_result execute_transaction(struct sqlite_store *store, const char *sql, struct store_error *error)
{
    if (execute(store, sql))
        return STORE_OK;
    enum store_result result = explain(store, error);
    if (sqlite3_get_autocommit(store->database) == 0)
        (void)execute(store, "ROLLBACK");
    return result;
}

/* From version 1, whose table was kept in the order of the ids. */
static enum store_result migrate(struct sqlite_store *store, struct store_error *error)
{
    return execute_transaction(store,
                               "BEGIN IMMEDIATE;"
                               "ALTER TABLE worker RENAME TO worker_1;"
                               "CREATE TABLE worker" WORKER_COLUMNS ";"
                               "INSERT INTO worker(id, record, checksum) SELECT id, record, checksum FROM worker_1;"
                               "DROP TABLE worker_1;"
                               "PRAGMA user_version = 2;"
                               "COMMIT",
                               error);
}

static enum store_result create_schema(struct sqlite_store *store, struct store_error *error)
{
    static const char schema[] = "BEGIN IMMEDIATE;"
                                 "CREATE TABLE worker" WORKER_COLUMNS ";"
                                 "CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
                                 "PRAGMA application_id = 1299412082;"
                                 "PRAGMA user_version = 2;"
                                 "COMMIT";
    _Static_assert(APPLICATION_ID == 1299412082 && SCHEMA_VERSION == 2, "the schema's text repeats both numbers");
    return execute_transaction(store, schema, error);
}

/* Whether the file is ours; a new one is made so. Nothing is written before that is known. */
static enum store_result check_schema(struct sqlite_store *store, struct store_error *error)
{
    sqlite3_int64 application, version, tables;
    if (!ask_number(store, "PRAGMA application_id", &application) ||
        !ask_number(store, "PRAGMA user_version", &version) ||
        !ask_number(store, "SELECT count(*) FROM sqlite_schema", &tables))
        return explain(store, error);
    if (application == 0 && version == 0 && tables == 0)
        return create_schema(store, error);
    if (application != APPLICATION_ID)
        return fail(STORE_UNUSABLE, error, "%s belongs to another program; choose another data directory", store->path);
    if (version == 1)
        return migrate(store, error);
    if (version != SCHEMA_VERSION)
        return fail(STORE_UNUSABLE, error,
                    "%s was written by another version of Muster (schema %lld, this one knows %d); use that version",
                    store->path, (long long)version, SCHEMA_VERSION);
    return STORE_OK;
}

static bool prepare(struct sqlite_store *store, const char *sql, sqlite3_stmt **statement)
{
    return sqlite3_prepare_v3(store->database, sql, -1, SQLITE_PREPARE_PERSISTENT, statement, NULL) == SQLITE_OK;
}

static enum store_result configure(struct sqlite_store *store, struct store_error *error)
{
    char cache[64], checkpoint[64];
    snprintf(cache, sizeof(cache), "PRAGMA cache_size = -%d", CACHE_KIB);
    snprintf(checkpoint, sizeof(checkpoint), "PRAGMA wal_autocheckpoint = %d", CHECKPOINT_PAGES);
    /* Exclusive locking also does without a shared-memory file beside the log. */
    if (!execute(store, "PRAGMA locking_mode = EXCLUSIVE") || !execute(store, cache))
        return explain(store, error);
    enum store_result result = check_schema(store, error);
    if (result != STORE_OK)
        return result;
    if (!execute(store, "PRAGMA journal_mode = WAL") || !execute(store, "PRAGMA synchronous = FULL") ||
        !execute(store, checkpoint) || !prepare(store, "BEGIN IMMEDIATE", &store->begin) ||
        !prepare(store, "COMMIT", &store->commit) || !prepare(store, "ROLLBACK", &store->rollback) ||
        !prepare(store, "REPLACE INTO worker(row, id, record, checksum) VALUES(?, ?, ?, ?)", &store->put) ||
        !prepare(store, "DELETE FROM worker WHERE row = ?", &store->remove) ||
        !prepare(store, "REPLACE INTO meta(name, value) VALUES(?, ?)", &store->put_meta))
        return explain(store, error);
    return STORE_OK;
}

static const struct store_operations operations = {sqlite_load, sqlite_commit, sqlite_backup, sqlite_secret,
                                                   sqlite_close};

static enum store_result open_file(struct sqlite_store *store, const char *vfs, struct store_error *error)
{
    if (!sqlite_log_files_begin(&store->files, vfs))
        return fail(STORE_UNAVAILABLE, error, "%s: SQLite does not start; make room in memory", store->path);
    if (sqlite3_open_v2(store->path, &store->database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        store->files.name) != SQLITE_OK)
        return store->database != NULL ? explain(store, error)
                                       : fail(STORE_UNAVAILABLE, error, "%s: out of memory", store->path);
    return configure(store, error);
}

struct store *store_sqlite_open(const char *directory, const char *vfs, enum store_result *result,
                                struct store_error *error)
{
    if (mkdir(directory, 0750) != 0 && errno != EEXIST) {
        *result = fail(STORE_UNAVAILABLE, error, "data directory %s cannot be made (%s); choose another", directory,
                       strerror(errno));
        return NULL;
    }
    /* SQLite would find out too, but with a file in it does not say why. */
    if (access(directory, W_OK) != 0) {
        *result = fail(STORE_UNAVAILABLE, error,
                       "data directory %s cannot be written (%s); make it writable or choose another", directory,
                       strerror(errno));
        return NULL;
    }
    struct sqlite_store *store = calloc(1, sizeof(*store));
    if (store == NULL) {
        *result = fail(STORE_UNAVAILABLE, error, "out of memory");
        return NULL;
    }
    store->base.operations = &operations;
    int bytes = snprintf(store->path, sizeof(store->path), "%s/registry.sqlite3", directory);
    if (bytes < 0 || (size_t)bytes >= sizeof(store->path))
        *result = fail(STORE_UNAVAILABLE, error, "the name of the data directory is too long; choose another");
    else
        *result = open_file(store, vfs, error);
    if (*result == STORE_OK)
        return &store->base;
    sqlite_close(&store->base);
    return NULL;
}
