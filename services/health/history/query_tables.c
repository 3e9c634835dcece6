/* The tables that a statement sees: `history` is a view of the file, `workers` and `services`
 * are temporary tables that are filled for one statement. See query.h. */

#include "services/health/history/query_tables.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/buffer.h"
#include "services/health/history/store.h"

/* --- history --- */

struct metric {
    const char *name;
    const char *columns; /* count, sum, mean, min, max, last, state, worst_state */
    const char *without; /* NULL, or the column that is 0 when there is nothing to show */
};

#define RANK_TEXT(column)                                                                                              \
    "CASE " column " WHEN 0 THEN 'online' WHEN 1 THEN 'draining' WHEN 2 THEN 'degraded'"                               \
    " WHEN 3 THEN 'reconnecting' WHEN 4 THEN 'offline' ELSE 'removed' END"

static const struct metric metrics[] = {
    {"load", "samples, load_sum, load_sum / samples, load_min, load_max, load_last, NULL, NULL", "samples"},
    {"active_requests",
     "samples, active_sum, active_sum * 1.0 / samples, active_min, active_max, active_last, NULL, NULL", "samples"},
    {"requests", "NULL, requests, NULL, NULL, NULL, NULL, NULL, NULL", NULL},
    {"failures", "NULL, failures, NULL, NULL, NULL, NULL, NULL, NULL", NULL},
    {"latency_ms", "answered, latency_us / 1e3, latency_us / 1e3 / answered, NULL, NULL, NULL, NULL, NULL", "answered"},
    {"tasks_completed", "NULL, tasks, NULL, NULL, NULL, NULL, NULL, NULL", NULL},
    {"heartbeats", "NULL, heartbeats, NULL, NULL, NULL, NULL, NULL, NULL", NULL},
    {"state", "NULL, NULL, NULL, NULL, NULL, NULL, " RANK_TEXT("state") ", " RANK_TEXT("worst"), NULL},
};

/* What lies beyond its ring, before or after now, is not shown. */
static void append_ring(struct buffer *sql, long long now)
{
    buffer_append_format(sql, " bucket.time <= %lld AND bucket.time > CASE step", now);
    for (size_t i = 0; i < HISTORY_STEP_COUNT; i++) {
        const struct history_step *step = &history_steps()[i];
        long long reach = (long long)step->seconds * step->slots;
        buffer_append_format(sql, " WHEN %u THEN %lld", step->seconds, now - now % step->seconds - reach);
    }
    buffer_append_text(sql, " END");
}

static bool create_history(sqlite3 *database)
{
    struct buffer sql = BUFFER_INIT;
    buffer_append_text(&sql, "CREATE TEMP VIEW history(worker_id, metric, step, time, time_ms, count, sum, mean, min,"
                             " max, last, state, worst_state) AS");
    for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
        const struct metric *metric = &metrics[i];
        buffer_append_text(&sql, i == 0 ? " SELECT worker.id, '" : " UNION ALL SELECT worker.id, '");
        buffer_append_text(&sql, metric->name);
        buffer_append_text(&sql, "', step, strftime('%Y-%m-%dT%H:%M:%SZ', bucket.time, 'unixepoch'),"
                                 " bucket.time * 1000, ");
        buffer_append_text(&sql, metric->columns);
        buffer_append_text(&sql, " FROM main.bucket JOIN main.worker ON worker.number = bucket.worker WHERE");
        append_ring(&sql, (long long)time(NULL));
        if (metric->without != NULL)
            buffer_append_format(&sql, " AND %s > 0", metric->without);
    }
    bool created = !buffer_failed(&sql) && sqlite3_exec(database, sql.data, NULL, NULL, NULL) == SQLITE_OK;
    buffer_free(&sql);
    return created;
}

/* --- workers and services --- */

static bool create_roll(struct query *query)
{
    static const char sql[] =
        "PRAGMA cache_size = -8192;"
        "PRAGMA temp_store = FILE;"
        "CREATE TEMP TABLE workers(worker_id TEXT, type TEXT, tier INTEGER, location TEXT, status TEXT,"
        " status_reason TEXT, incarnation INTEGER, registered_at_ms INTEGER, last_heartbeat_at_ms INTEGER,"
        " load REAL, active_requests INTEGER, queue_depth INTEGER, gpu_utilization REAL, tasks_completed INTEGER,"
        " tunnel_url TEXT);"
        "CREATE TEMP TABLE services(name TEXT, worker_id TEXT, assigned INTEGER, announced INTEGER, url TEXT);";
    return sqlite3_exec(query->database, sql, NULL, NULL, NULL) == SQLITE_OK &&
           sqlite3_prepare_v2(query->database,
                              "INSERT INTO temp.workers VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15)", -1,
                              &query->add_worker, NULL) == SQLITE_OK &&
           sqlite3_prepare_v2(query->database, "INSERT INTO temp.services VALUES(?1,?2,?3,?4,?5)", -1,
                              &query->add_service, NULL) == SQLITE_OK &&
           sqlite3_exec(query->database, "BEGIN", NULL, NULL, NULL) == SQLITE_OK;
}

static bool run(sqlite3_stmt *statement)
{
    bool done = sqlite3_step(statement) == SQLITE_DONE;
    return sqlite3_reset(statement) == SQLITE_OK && done;
}

/* A text that lives until the statement has run. */
static void bind_text(sqlite3_stmt *statement, int index, const char *text)
{
    (void)sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC); /* only fails for lengths that are refused */
}

static const char *type_text(Muster__V1__WorkerType type)
{
    static const char *const texts[] = {"", "gpu", "cpu", "storage", "edge"};
    return type > 0 && (size_t)type < sizeof(texts) / sizeof(texts[0]) ? texts[type] : "";
}

static bool add_services(struct query *query, const Muster__V1__Worker *record)
{
    const Muster__V1__WorkerSpec *spec = record->spec;
    sqlite3_stmt *add = query->add_service;
    bind_text(add, 2, spec->worker_id);
    for (size_t i = 0; i < record->n_assigned_services + spec->n_services; i++) {
        bool is_assigned = i < record->n_assigned_services;
        const Muster__V1__AnnouncedService *announced =
            is_assigned ? NULL : spec->services[i - record->n_assigned_services];
        const char *name = is_assigned ? record->assigned_services[i] : announced->name;
        bool also = false;
        for (size_t j = 0; is_assigned && announced == NULL && j < spec->n_services; j++) {
            if (strcmp(spec->services[j]->name, name) == 0)
                announced = spec->services[j];
        }
        for (size_t j = 0; !is_assigned && j < record->n_assigned_services; j++)
            also = also || strcmp(record->assigned_services[j], name) == 0;
        if (also)
            continue; /* it has its row */
        bind_text(add, 1, name);
        (void)sqlite3_bind_int(add, 3, is_assigned);
        (void)sqlite3_bind_int(add, 4, announced != NULL);
        bind_text(add, 5, announced != NULL && announced->url[0] != '\0' ? announced->url : spec->tunnel_url);
        if (!run(add))
            return false;
    }
    return true;
}

static void bind_load(sqlite3_stmt *add, const Muster__V1__Load *load)
{
    for (int i = 10; i <= 14; i++)
        (void)sqlite3_bind_null(add, i);
    if (load == NULL)
        return;
    (void)sqlite3_bind_double(add, 10, load->current_load);
    (void)sqlite3_bind_int64(add, 11, load->active_requests);
    (void)sqlite3_bind_int64(add, 12, load->queue_depth);
    (void)sqlite3_bind_double(add, 13, load->gpu_utilization);
    (void)sqlite3_bind_int64(add, 14, (sqlite3_int64)load->tasks_completed);
}

bool query_add_worker(struct query *query, const struct query_worker *worker)
{
    const Muster__V1__Worker *record = worker->record;
    sqlite3_stmt *add = query->add_worker;
    bind_text(add, 1, record->spec->worker_id);
    bind_text(add, 2, type_text(record->type));
    (void)sqlite3_bind_int(add, 3, (int)record->type);
    bind_text(add, 4, record->spec->location);
    bind_text(add, 5, worker->status);
    bind_text(add, 6, worker->status_reason);
    (void)sqlite3_bind_int64(add, 7, (sqlite3_int64)record->incarnation);
    (void)sqlite3_bind_int64(add, 8, record->registered_at_ms);
    (void)sqlite3_bind_int64(add, 9, worker->last_heartbeat_at_ms);
    if (worker->last_heartbeat_at_ms == 0)
        (void)sqlite3_bind_null(add, 9);
    bind_load(add, worker->load);
    bind_text(add, 15, record->spec->tunnel_url);
    return run(add) && add_services(query, record);
}

/* --- Life --- */

struct query *query_open(const char *path)
{
    char error[HISTORY_ERROR_BYTES];
    struct query *query = calloc(1, sizeof(*query));
    if (query == NULL)
        return NULL;
    arena_init(&query->arena, NULL, 0);
    if (!query_files_begin(&query->files)) {
        query_close(query);
        return NULL;
    }
    const char *vfs = query->files.name;
    query->database = path == NULL ? NULL : history_store_open_reader(path, vfs, error);
    if (query->database == NULL &&
        (sqlite3_open_v2(":memory:", &query->database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, vfs) != SQLITE_OK ||
         !history_store_create_tables(query->database))) {
        query_close(query);
        return NULL;
    }
    if (!create_roll(query) || !create_history(query->database)) {
        query_close(query);
        return NULL;
    }
    return query;
}

bool query_tables_finish(struct query *query)
{
    (void)sqlite3_finalize(query->add_worker); /* their errors were told when they were run */
    (void)sqlite3_finalize(query->add_service);
    query->add_worker = query->add_service = NULL;
    return sqlite3_exec(query->database, "COMMIT; PRAGMA query_only = 1", NULL, NULL, NULL) == SQLITE_OK;
}

void query_close(struct query *query)
{
    if (query == NULL)
        return;
    (void)sqlite3_finalize(query->add_worker); /* as above */
    (void)sqlite3_finalize(query->add_service);
    (void)sqlite3_close(query->database); /* nothing was written */
    query_files_end(&query->files);
    arena_free(&query->arena);
    free(query);
}
