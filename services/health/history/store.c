/* See store.h. */

#include "services/health/history/store.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCHEMA_VERSION 1
#define APPLICATION_ID 0x4d737468 /* "Msth" */
#define SECONDS_PER_HOUR 3600
/* The log is written back when it has so many pages (4 MiB). */
#define CHECKPOINT_PAGES "1024"
#define BUSY_TIMEOUT_MS 2000

struct history_store {
    sqlite3 *database;
    sqlite3_stmt *begin, *commit, *find_worker, *add_worker, *seen_worker, *forget_workers, *clear_slot, *fold;
    char path[PATH_MAX];
};

const struct history_step *history_steps(void)
{
    static const struct history_step steps[HISTORY_STEP_COUNT] = {{10, 360}, {60, 1440}, {3600, 720}};
    return steps;
}

const struct history_step *history_step_find(uint32_t seconds)
{
    for (size_t i = 0; i < HISTORY_STEP_COUNT; i++) {
        if (history_steps()[i].seconds == seconds)
            return &history_steps()[i];
    }
    return NULL;
}

static int64_t floor_to(int64_t seconds, int64_t step)
{
    int64_t rest = seconds % step;
    return seconds - (rest < 0 ? rest + step : rest);
}

static int64_t slot_of(const struct history_step *step, int64_t time_seconds)
{
    int64_t slot = time_seconds / step->seconds % step->slots;
    return slot < 0 ? slot + step->slots : slot;
}

static bool execute(sqlite3 *database, const char *sql)
{
    return sqlite3_exec(database, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static void explain(sqlite3 *database, const char *path, char *error)
{
    if (database == NULL)
        snprintf(error, HISTORY_ERROR_BYTES, "%s: out of memory", path);
    else if (sqlite3_errcode(database) == SQLITE_CANTOPEN)
        snprintf(error, HISTORY_ERROR_BYTES, "%s cannot be opened (%s); make its directory writable", path,
                 strerror(sqlite3_system_errno(database)));
    else
        snprintf(error, HISTORY_ERROR_BYTES, "%s: %s (%s); check the disk", path, sqlite3_errmsg(database),
                 sqlite3_errstr(sqlite3_extended_errcode(database)));
}

/* --- Tables --- */

bool history_store_create_tables(sqlite3 *database)
{
    /* Ordered by time within a step, so that a batch is written to neighbouring pages. */
    return execute(database,
                   "BEGIN IMMEDIATE;"
                   "CREATE TABLE worker(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
                   " seen INTEGER NOT NULL);"
                   "CREATE TABLE bucket(step INTEGER NOT NULL, slot INTEGER NOT NULL, worker INTEGER NOT NULL,"
                   " time INTEGER NOT NULL, heartbeats INTEGER, samples INTEGER,"
                   " load_sum REAL, load_min REAL, load_max REAL, load_last REAL,"
                   " active_sum INTEGER, active_min INTEGER, active_max INTEGER, active_last INTEGER,"
                   " tasks INTEGER, requests INTEGER, failures INTEGER, answered INTEGER, latency_us INTEGER,"
                   " state INTEGER, worst INTEGER, PRIMARY KEY(step, slot, worker)) WITHOUT ROWID;"
                   "PRAGMA application_id = 1299412072;"
                   "PRAGMA user_version = 1;"
                   "COMMIT");
    _Static_assert(APPLICATION_ID == 1299412072 && SCHEMA_VERSION == 1, "the schema's text repeats both numbers");
}

static bool ask_number(sqlite3 *database, const char *sql, sqlite3_int64 *number)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(database, sql, -1, &statement, NULL) != SQLITE_OK)
        return false;
    bool given = sqlite3_step(statement) == SQLITE_ROW;
    if (given)
        *number = sqlite3_column_int64(statement, 0);
    return sqlite3_finalize(statement) == SQLITE_OK && given;
}

enum opened { OPENED, OPENED_DAMAGED, OPENED_NOT };

static bool is_damage(sqlite3 *database)
{
    int code = sqlite3_errcode(database) & 0xff;
    return code == SQLITE_NOTADB || code == SQLITE_CORRUPT;
}

/* What a first look shows: a file of ours with the tables that this program knows. */
static enum opened check(sqlite3 *database)
{
    sqlite3_int64 application, version, tables;
    if (!execute(database, "PRAGMA journal_mode = WAL") ||
        !execute(database, "PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = " CHECKPOINT_PAGES
                           "; PRAGMA cache_size = -2048; PRAGMA journal_size_limit = 8388608") ||
        !ask_number(database, "PRAGMA application_id", &application) ||
        !ask_number(database, "PRAGMA user_version", &version) ||
        !ask_number(database, "SELECT count(*) FROM sqlite_schema", &tables))
        return is_damage(database) ? OPENED_DAMAGED : OPENED_NOT;
    if (application == 0 && version == 0 && tables == 0)
        return history_store_create_tables(database) ? OPENED : OPENED_NOT;
    return application == APPLICATION_ID && version == SCHEMA_VERSION ? OPENED : OPENED_DAMAGED;
}

/* --- Life --- */

static bool prepare(struct history_store *store)
{
    static const char fold[] =
        "INSERT INTO bucket VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21)"
        " ON CONFLICT DO UPDATE SET heartbeats = heartbeats + excluded.heartbeats,"
        " samples = samples + excluded.samples, load_sum = load_sum + excluded.load_sum,"
        " load_min = coalesce(min(load_min, excluded.load_min), load_min, excluded.load_min),"
        " load_max = coalesce(max(load_max, excluded.load_max), load_max, excluded.load_max),"
        " load_last = coalesce(excluded.load_last, load_last), active_sum = active_sum + excluded.active_sum,"
        " active_min = coalesce(min(active_min, excluded.active_min), active_min, excluded.active_min),"
        " active_max = coalesce(max(active_max, excluded.active_max), active_max, excluded.active_max),"
        " active_last = coalesce(excluded.active_last, active_last), tasks = tasks + excluded.tasks,"
        " requests = requests + excluded.requests, failures = failures + excluded.failures,"
        " answered = answered + excluded.answered, latency_us = latency_us + excluded.latency_us,"
        " state = excluded.state, worst = max(worst, excluded.worst)";
    struct {
        sqlite3_stmt **statement;
        const char *sql;
    } const statements[] = {
        {&store->begin, "BEGIN IMMEDIATE"},
        {&store->commit, "COMMIT"},
        {&store->find_worker, "SELECT number, seen FROM worker WHERE id = ?1"},
        {&store->add_worker, "INSERT INTO worker(id, seen) VALUES(?1, ?2)"},
        {&store->seen_worker, "UPDATE worker SET seen = ?2 WHERE number = ?1"},
        {&store->forget_workers, "DELETE FROM worker WHERE seen < ?1 OR seen > ?2"},
        {&store->clear_slot, "DELETE FROM bucket WHERE step = ?1 AND slot = ?2 AND time <> ?3"},
        {&store->fold, fold},
    };
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        if (sqlite3_prepare_v3(store->database, statements[i].sql, -1, SQLITE_PREPARE_PERSISTENT,
                               statements[i].statement, NULL) != SQLITE_OK)
            return false;
    }
    return true;
}

void history_store_close(struct history_store *store)
{
    if (store == NULL)
        return;
    sqlite3_stmt *statements[] = {store->begin,       store->commit,     store->find_worker, store->add_worker,
                                  store->seen_worker, store->clear_slot, store->fold,        store->forget_workers};
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++)
        (void)sqlite3_finalize(statements[i]); /* repeats the statement's last error */
    (void)sqlite3_close_v2(store->database);   /* writes the log back; if that fails the next start does it */
    free(store);
}

static enum opened open_file(struct history_store *store, char *error)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    enum opened opened = OPENED_NOT;
    if (sqlite3_open_v2(store->path, &store->database, flags, NULL) == SQLITE_OK &&
        sqlite3_busy_timeout(store->database, BUSY_TIMEOUT_MS) == SQLITE_OK)
        opened = check(store->database);
    if (opened == OPENED && !prepare(store))
        opened = is_damage(store->database) ? OPENED_DAMAGED : OPENED_NOT;
    if (opened != OPENED)
        explain(store->database, store->path, error);
    return opened;
}

static struct history_store *create(const char *path, char *error)
{
    struct history_store *store = calloc(1, sizeof(*store));
    if (store == NULL || (size_t)snprintf(store->path, sizeof(store->path), "%s", path) >= sizeof(store->path)) {
        snprintf(error, HISTORY_ERROR_BYTES, store == NULL ? "out of memory" : "the path of the history is too long");
        free(store);
        return NULL;
    }
    return store;
}

/* With its log, which belongs to it. */
static bool put_aside(const char *path, char *note, char *error)
{
    static const char *const endings[] = {"-wal", "-shm", ""};
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        char from[PATH_MAX + 8];
        char to[PATH_MAX + 24];
        snprintf(from, sizeof(from), "%s%s", path, endings[i]);
        snprintf(to, sizeof(to), "%s.damaged%s", path, endings[i]);
        if (rename(from, to) != 0 && errno != ENOENT) {
            snprintf(error, HISTORY_ERROR_BYTES, "%s is damaged and cannot be put aside (%s); move it away", path,
                     strerror(errno));
            return false;
        }
    }
    snprintf(note, HISTORY_ERROR_BYTES, "%s was damaged or no history; it is kept as %s.damaged", path, path);
    return true;
}

struct history_store *history_store_open(const char *path, char *note, char *error)
{
    note[0] = error[0] = '\0';
    for (int attempt = 0; attempt < 2; attempt++) {
        struct history_store *store = create(path, error);
        if (store == NULL)
            return NULL;
        enum opened opened = open_file(store, error);
        if (opened == OPENED)
            return store;
        history_store_close(store);
        if (opened == OPENED_NOT || attempt == 1 || !put_aside(path, note, error))
            return NULL;
    }
    return NULL;
}

/* --- Writing --- */

static bool run(sqlite3_stmt *statement)
{
    bool done = sqlite3_step(statement) == SQLITE_DONE;
    return sqlite3_reset(statement) == SQLITE_OK && done;
}

/* Binding an integer or a double fails only for an index that is none. */
static void bind_int(sqlite3_stmt *statement, int index, uint64_t value)
{
    (void)sqlite3_bind_int64(statement, index, value > INT64_MAX ? INT64_MAX : (sqlite3_int64)value);
}

static void bind_signed(sqlite3_stmt *statement, int index, int64_t value)
{
    (void)sqlite3_bind_int64(statement, index, value);
}

/* The number of a worker; `hour` is when it was seen. */
static bool number_worker(struct history_store *store, const char *id, int64_t hour, int64_t *number)
{
    sqlite3_stmt *find = store->find_worker;
    if (sqlite3_bind_text(find, 1, id, -1, SQLITE_STATIC) != SQLITE_OK)
        return false;
    int step = sqlite3_step(find);
    int64_t seen = 0;
    if (step == SQLITE_ROW) {
        *number = sqlite3_column_int64(find, 0);
        seen = sqlite3_column_int64(find, 1);
    }
    if (sqlite3_reset(find) != SQLITE_OK)
        return false;
    if (step == SQLITE_ROW && seen == hour)
        return true;
    if (step == SQLITE_ROW) {
        bind_signed(store->seen_worker, 1, *number);
        bind_signed(store->seen_worker, 2, hour);
        return run(store->seen_worker);
    }
    bind_signed(store->add_worker, 2, hour);
    if (sqlite3_bind_text(store->add_worker, 1, id, -1, SQLITE_STATIC) != SQLITE_OK || !run(store->add_worker))
        return false;
    *number = sqlite3_last_insert_rowid(store->database);
    return true;
}

static void bind_figures(sqlite3_stmt *fold, const struct history_figures *figures)
{
    bind_int(fold, 5, figures->heartbeats);
    bind_int(fold, 6, figures->samples);
    (void)sqlite3_bind_double(fold, 7, figures->load_sum);
    (void)sqlite3_bind_double(fold, 8, figures->load_min);
    (void)sqlite3_bind_double(fold, 9, figures->load_max);
    (void)sqlite3_bind_double(fold, 10, figures->load_last);
    bind_int(fold, 11, figures->active_sum);
    bind_int(fold, 12, figures->active_min);
    bind_int(fold, 13, figures->active_max);
    bind_int(fold, 14, figures->active_last);
    for (int i = 8; i <= 14 && figures->samples == 0; i++) {
        if (i != 11)
            (void)sqlite3_bind_null(fold, i); /* there is no least of nothing */
    }
    bind_int(fold, 15, figures->tasks_completed);
    bind_int(fold, 16, figures->requests);
    bind_int(fold, 17, figures->failures);
    bind_int(fold, 18, figures->answered);
    bind_int(fold, 19, figures->latency_sum_us);
    bind_int(fold, 20, figures->state);
    bind_int(fold, 21, figures->worst);
}

static bool write_row(struct history_store *store, const struct history_row *row, int64_t time_seconds)
{
    int64_t number = 0;
    if (!number_worker(store, row->worker_id, floor_to(time_seconds, SECONDS_PER_HOUR), &number))
        return false;
    bind_figures(store->fold, &row->figures);
    for (size_t i = 0; i < HISTORY_STEP_COUNT; i++) {
        const struct history_step *step = &history_steps()[i];
        int64_t begins = floor_to(time_seconds, step->seconds);
        bind_int(store->fold, 1, step->seconds);
        bind_signed(store->fold, 2, slot_of(step, begins));
        bind_signed(store->fold, 3, number);
        bind_signed(store->fold, 4, begins);
        if (!run(store->fold))
            return false;
    }
    return true;
}

/* Makes room: the slots that the batch goes to belong to its time from now on. */
static bool clear_slots(struct history_store *store, int64_t time_seconds)
{
    for (size_t i = 0; i < HISTORY_STEP_COUNT; i++) {
        const struct history_step *step = &history_steps()[i];
        int64_t begins = floor_to(time_seconds, step->seconds);
        bind_int(store->clear_slot, 1, step->seconds);
        bind_signed(store->clear_slot, 2, slot_of(step, begins));
        bind_signed(store->clear_slot, 3, begins);
        if (!run(store->clear_slot))
            return false;
    }
    return true;
}

/* Names of workers whose last bucket is older than the longest ring. A clock that was ahead may
 * have left some in the future; when they are heard they are seen at the right time again. */
static bool forget_workers(struct history_store *store, int64_t time_seconds)
{
    const struct history_step *longest = &history_steps()[HISTORY_STEP_COUNT - 1];
    int64_t reach = (int64_t)longest->seconds * longest->slots;
    if (floor_to(time_seconds, longest->seconds) != time_seconds)
        return true; /* once an hour is enough */
    bind_signed(store->forget_workers, 1, time_seconds - reach);
    bind_signed(store->forget_workers, 2, time_seconds + reach);
    return run(store->forget_workers);
}

static bool write_rows(struct history_store *store, const struct history_batch *batch)
{
    if (!clear_slots(store, batch->time_seconds) || !forget_workers(store, batch->time_seconds))
        return false;
    for (size_t i = 0; i < batch->count; i++) {
        if (!write_row(store, &batch->rows[i], batch->time_seconds))
            return false;
    }
    return true;
}

bool history_store_write(struct history_store *store, const struct history_batch *batch, char *error)
{
    if (run(store->begin) && write_rows(store, batch) && run(store->commit))
        return true;
    explain(store->database, store->path, error);
    if (sqlite3_get_autocommit(store->database) == 0)
        (void)execute(store->database, "ROLLBACK"); /* else it has been rolled back already */
    return false;
}

/* --- Reading --- */

sqlite3 *history_store_open_reader(const char *path, const char *vfs, char *error)
{
    sqlite3 *reader = NULL;
    sqlite3_int64 version = 0;
    if (sqlite3_open_v2(path, &reader, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, vfs) == SQLITE_OK &&
        sqlite3_busy_timeout(reader, BUSY_TIMEOUT_MS) == SQLITE_OK &&
        ask_number(reader, "PRAGMA user_version", &version) && version == SCHEMA_VERSION)
        return reader;
    explain(reader, path, error);
    (void)sqlite3_close(reader); /* nothing was written */
    return NULL;
}

bool history_store_is_unmade(const char *path)
{
    sqlite3 *reader = NULL;
    sqlite3_int64 version = -1;
    if (access(path, F_OK) != 0)
        return true;
    bool unmade = sqlite3_open_v2(path, &reader, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK &&
                  sqlite3_busy_timeout(reader, BUSY_TIMEOUT_MS) == SQLITE_OK &&
                  ask_number(reader, "PRAGMA user_version", &version) && version == 0;
    (void)sqlite3_close(reader); /* nothing was written */
    return unmade;
}

static void take_point(sqlite3_stmt *row, struct history_point *point)
{
    *point = (struct history_point){
        .time_seconds = sqlite3_column_int64(row, 0),
        .figures = {.heartbeats = (uint32_t)sqlite3_column_int64(row, 1),
                    .samples = (uint32_t)sqlite3_column_int64(row, 2),
                    .load_sum = sqlite3_column_double(row, 3),
                    .load_min = sqlite3_column_double(row, 4),
                    .load_max = sqlite3_column_double(row, 5),
                    .load_last = sqlite3_column_double(row, 6),
                    .active_sum = (uint64_t)sqlite3_column_int64(row, 7),
                    .active_min = (uint32_t)sqlite3_column_int64(row, 8),
                    .active_max = (uint32_t)sqlite3_column_int64(row, 9),
                    .active_last = (uint32_t)sqlite3_column_int64(row, 10),
                    .tasks_completed = (uint64_t)sqlite3_column_int64(row, 11),
                    .requests = (uint64_t)sqlite3_column_int64(row, 12),
                    .failures = (uint64_t)sqlite3_column_int64(row, 13),
                    .answered = (uint64_t)sqlite3_column_int64(row, 14),
                    .latency_sum_us = (uint64_t)sqlite3_column_int64(row, 15),
                    .state = (uint8_t)sqlite3_column_int(row, 16),
                    .worst = (uint8_t)sqlite3_column_int(row, 17)},
    };
}

bool history_store_read(sqlite3 *reader, const char *worker_id, const struct history_step *step, int64_t since_seconds,
                        int64_t until_seconds, int64_t now_seconds, struct history_point **points, size_t *count,
                        char *error)
{
    /* One look into the tree for each slot, instead of a walk over all workers of the ring. */
    static const char sql[] =
        "WITH RECURSIVE slots(i) AS (VALUES(0) UNION ALL SELECT i + 1 FROM slots WHERE i + 1 < ?3)"
        " SELECT time, heartbeats, samples, load_sum, load_min, load_max, load_last, active_sum, active_min,"
        " active_max, active_last, tasks, requests, failures, answered, latency_us, state, worst"
        " FROM slots CROSS JOIN bucket WHERE step = ?2 AND slot = slots.i"
        " AND worker = (SELECT number FROM worker WHERE id = ?1)"
        " AND time BETWEEN ?4 AND ?5 AND time > ?6 AND time <= ?7 ORDER BY time";
    sqlite3_stmt *rows = NULL;
    *count = 0;
    *points = malloc(step->slots * sizeof(**points));
    if (*points == NULL) {
        snprintf(error, HISTORY_ERROR_BYTES, "out of memory");
        return false;
    }
    int result = sqlite3_prepare_v2(reader, sql, -1, &rows, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_bind_text(rows, 1, worker_id, -1, SQLITE_STATIC);
    if (result == SQLITE_OK) {
        bind_int(rows, 2, step->seconds);
        bind_int(rows, 3, step->slots);
        bind_signed(rows, 4, since_seconds);
        bind_signed(rows, 5, until_seconds);
        bind_signed(rows, 6, floor_to(now_seconds, step->seconds) - (int64_t)step->seconds * step->slots);
        bind_signed(rows, 7, now_seconds);
        while ((result = sqlite3_step(rows)) == SQLITE_ROW && *count < step->slots)
            take_point(rows, &(*points)[(*count)++]);
    }
    if (result != SQLITE_DONE)
        explain(reader, "history", error);
    (void)sqlite3_finalize(rows); /* repeats the error that was told */
    if (result == SQLITE_DONE)
        return true;
    free(*points);
    *points = NULL;
    return false;
}
