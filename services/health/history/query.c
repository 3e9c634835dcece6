/* Running a statement and its answer; see query.h. The tables are made in query_tables.c. */

#define _GNU_SOURCE /* strcasestr */

#include "services/health/history/query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "services/health/history/query_tables.h"
#include "services/health/history/store.h"

/* Instructions of SQLite's machine between two looks at the clock: each may be a function over a
 * value of QUERY_VALUE_BYTES_MAX, or two. */
#define PROGRESS_INSTRUCTIONS 20

bool query_wants_roll(const char *sql)
{
    return strcasestr(sql, "workers") != NULL || strcasestr(sql, "services") != NULL;
}

static uint64_t monotonic_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --- The guard --- */

static int is_late(void *argument)
{
    struct query *query = argument;
    query->late = query->late || atomic_load(&query->cancelled) || monotonic_ms() >= query->deadline_ms;
    return query->late;
}

static bool is_listed(const char *name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(name, list[i]) == 0)
            return true;
    }
    return false;
}

/* Functions that compute and nothing else. Not among them: what loads code, reads files or
 * tells of the process. */
static bool is_safe_function(const char *name)
{
    static const char *const safe[] = {
        "abs",      "avg",        "changes",      "char",    "coalesce",  "count",   "cume_dist",    "date",
        "datetime", "dense_rank", "first_value",  "floor",   "ceil",      "ceiling", "glob",         "group_concat",
        "hex",      "ifnull",     "iif",          "instr",   "julianday", "lag",     "last_value",   "lead",
        "length",   "like",       "lower",        "ltrim",   "max",       "min",     "mod",          "nth_value",
        "ntile",    "nullif",     "percent_rank", "pow",     "power",     "quote",   "rank",         "replace",
        "round",    "row_number", "rtrim",        "sign",    "sqrt",      "ln",      "log",          "log10",
        "log2",     "exp",        "strftime",     "substr",  "substring", "sum",     "time",         "total",
        "trim",     "trunc",      "typeof",       "unicode", "unixepoch", "upper",   "json_extract", "->",
        "->>",
    };
    return is_listed(name, safe, sizeof(safe) / sizeof(safe[0]));
}

/* What a statement may read by its name: temporary tables and views of ours. What lies under
 * the views may be read through them only, of which `view` is the name. */
static bool may_read(const char *table, const char *view)
{
    static const char *const open[] = {"workers", "services", "history"};
    static const char *const under[] = {"worker", "bucket", "history"};
    if (view != NULL && is_listed(view, open, 3) && is_listed(table, under, 3))
        return true;
    return is_listed(table, open, 3);
}

static int authorize(void *argument, int action, const char *first, const char *second, const char *database,
                     const char *view)
{
    struct query *query = argument;
    bool allowed = false;
    (void)database;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_READ:
        /* Of what a statement makes itself (subqueries, WITH) SQLite asks with the names that
         * it gave them, with no database. */
        allowed = database == NULL || may_read(first, view);
        break;
    case SQLITE_FUNCTION:
        allowed = is_safe_function(second);
        break;
    default:
        break;
    }
    if (allowed)
        return SQLITE_OK;
    query->forbidden = true;
    if (action == SQLITE_READ)
        snprintf(query->reason, sizeof(query->reason),
                 "there is no table %.64s to read; the tables are workers, services and history", first);
    else if (action == SQLITE_FUNCTION)
        snprintf(query->reason, sizeof(query->reason), "the function %.64s may not be used here", second);
    else
        snprintf(query->reason, sizeof(query->reason), "only SELECT statements may be run; this one does more");
    return SQLITE_DENY;
}

/* To trim a set of characters takes the product of both lengths; what is usual, spaces, does not. */
static void refuse_trim_set(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count, (void)values;
    sqlite3_result_error(context, "trim takes one argument here", -1);
}

/* False: out of memory. */
static bool replace_functions(sqlite3 *database)
{
    static const char *const names[] = {"trim", "ltrim", "rtrim"};
    bool replaced = true;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        replaced = replaced && sqlite3_create_function_v2(database, names[i], 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC,
                                                          NULL, refuse_trim_set, NULL, NULL, NULL) == SQLITE_OK;
    return replaced;
}

static void limit(sqlite3 *database)
{
    static const struct {
        int what, value;
    } limits[] = {
        {SQLITE_LIMIT_LENGTH, (int)QUERY_VALUE_BYTES_MAX},
        {SQLITE_LIMIT_SQL_LENGTH, QUERY_SQL_BYTES_MAX},
        {SQLITE_LIMIT_COLUMN, 100},
        {SQLITE_LIMIT_EXPR_DEPTH, 200},
        {SQLITE_LIMIT_COMPOUND_SELECT, 100},
        {SQLITE_LIMIT_VDBE_OP, 100000},
        {SQLITE_LIMIT_FUNCTION_ARG, 100},
        {SQLITE_LIMIT_ATTACHED, 0},
        {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000},
        {SQLITE_LIMIT_VARIABLE_NUMBER, 0},
        {SQLITE_LIMIT_TRIGGER_DEPTH, 0},
        {SQLITE_LIMIT_WORKER_THREADS, 0},
    };
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
        (void)sqlite3_limit(database, limits[i].what, limits[i].value); /* gives the value before */
}

/* --- The answer --- */

/* How many bytes a value takes in the answer, about. */
static size_t value_bytes(sqlite3_stmt *statement, int column)
{
    int type = sqlite3_column_type(statement, column);
    return 12 + (type == SQLITE_TEXT || type == SQLITE_BLOB ? (size_t)sqlite3_column_bytes(statement, column) : 0);
}

/* Whether the answer has room for the row. */
static bool has_room(struct query *query, sqlite3_stmt *statement)
{
    for (int i = 0; i < sqlite3_column_count(statement); i++)
        query->answer_bytes += value_bytes(statement, i);
    return query->answer_bytes <= QUERY_ANSWER_BYTES_MAX;
}

static bool has_zero(sqlite3_stmt *statement, int column)
{
    const unsigned char *text = sqlite3_column_text(statement, column);
    return text != NULL && memchr(text, 0, (size_t)sqlite3_column_bytes(statement, column)) != NULL;
}

/* False: out of memory, or query->has_zero. */
static bool add_values(struct query *query, sqlite3_stmt *statement, Muster__V1__QueryRow *row)
{
    size_t columns = (size_t)sqlite3_column_count(statement);
    Muster__V1__QueryValue *values = arena_take(&query->arena, (columns + 1) * sizeof(*values));
    row->values = arena_take(&query->arena, (columns + 1) * sizeof(*row->values));
    if (arena_failed(&query->arena))
        return false;
    row->n_values = columns;
    for (size_t i = 0; i < columns; i++) {
        Muster__V1__QueryValue *value = row->values[i] = &values[i];
        int column = (int)i;
        muster__v1__query_value__init(value);
        switch (sqlite3_column_type(statement, column)) {
        case SQLITE_INTEGER:
            value->kind_case = MUSTER__V1__QUERY_VALUE__KIND_INTEGER;
            value->integer = sqlite3_column_int64(statement, column);
            break;
        case SQLITE_FLOAT:
            value->kind_case = MUSTER__V1__QUERY_VALUE__KIND_REAL;
            value->real = sqlite3_column_double(statement, column);
            break;
        case SQLITE_TEXT:
            query->has_zero = has_zero(statement, column);
            if (query->has_zero)
                return false;
            value->kind_case = MUSTER__V1__QUERY_VALUE__KIND_TEXT;
            value->text = arena_copy(&query->arena, sqlite3_column_text(statement, column),
                                     (size_t)sqlite3_column_bytes(statement, column));
            break;
        case SQLITE_BLOB: {
            size_t bytes = (size_t)sqlite3_column_bytes(statement, column);
            const void *blob = sqlite3_column_blob(statement, column);
            value->kind_case = MUSTER__V1__QUERY_VALUE__KIND_BLOB;
            value->blob.len = bytes;
            value->blob.data = (uint8_t *)arena_copy(&query->arena, blob == NULL ? "" : blob, bytes);
            break;
        }
        default:
            break;
        }
    }
    return !arena_failed(&query->arena);
}

static bool name_columns(struct query *query, sqlite3_stmt *statement, Muster__V1__RunQueryResponse *response)
{
    size_t columns = (size_t)sqlite3_column_count(statement);
    response->columns = arena_take(&query->arena, (columns + 1) * sizeof(*response->columns));
    for (size_t i = 0; response->columns != NULL && i < columns; i++) {
        const char *name = sqlite3_column_name(statement, (int)i);
        response->columns[i] = name == NULL ? NULL : arena_copy(&query->arena, name, strlen(name));
        if (response->columns[i] == NULL)
            return false;
    }
    response->n_columns = columns;
    return response->columns != NULL;
}

/* SQLITE_DONE when all rows, or all that there is room for, are there. */
static int collect(struct query *query, sqlite3_stmt *statement, uint32_t row_limit,
                   Muster__V1__RunQueryResponse *response)
{
    Muster__V1__QueryRow *rows = arena_take(&query->arena, (row_limit + 1) * sizeof(*rows));
    response->rows = arena_take(&query->arena, (row_limit + 1) * sizeof(*response->rows));
    if (arena_failed(&query->arena) || !name_columns(query, statement, response))
        return SQLITE_NOMEM;
    int result;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        Muster__V1__QueryRow *row = &rows[response->n_rows];
        if (response->n_rows == row_limit || !has_room(query, statement)) {
            response->truncated = 1;
            return SQLITE_DONE;
        }
        muster__v1__query_row__init(row);
        if (!add_values(query, statement, row))
            return SQLITE_NOMEM;
        response->rows[response->n_rows++] = row;
    }
    return result;
}

/* --- Running --- */

void query_cancel(struct query *query)
{
    atomic_store(&query->cancelled, true);
}

/* SQLite's offset as people count: from 1. */
static void locate(const char *sql, int offset, size_t *line, size_t *column)
{
    *line = *column = 1;
    for (int i = 0; i < offset && sql[i] != '\0'; i++) {
        *column = sql[i] == '\n' ? 1 : *column + 1;
        *line += sql[i] == '\n';
    }
}

static enum query_result explain(struct query *query, int result, const char *sql, char *error)
{
    if (query->late || result == SQLITE_INTERRUPT) {
        snprintf(error, QUERY_ERROR_BYTES,
                 "the statement took longer than it may; ask for less, or raise timeout_ms (at most %d)",
                 QUERY_TIMEOUT_MS_MAX);
        return QUERY_TOO_SLOW;
    }
    if (query->forbidden || result == SQLITE_AUTH) {
        snprintf(error, QUERY_ERROR_BYTES, "%s", query->forbidden ? query->reason : "only reading is allowed");
        return QUERY_FORBIDDEN;
    }
    if (query->has_zero) {
        snprintf(error, QUERY_ERROR_BYTES, "a text of the answer has a zero character inside; ask for hex() of it");
        return QUERY_BAD_SQL;
    }
    if (query->files.full) {
        snprintf(error, QUERY_ERROR_BYTES, "the statement needs more than %llu MB of temporary files; ask for less",
                 QUERY_TEMPORARY_BYTES_MAX >> 20);
        return QUERY_BAD_SQL;
    }
    const char *message = sqlite3_errmsg(query->database);
    switch (result & 0xff) {
    case SQLITE_NOMEM:
    case SQLITE_FULL:
        snprintf(error, QUERY_ERROR_BYTES, "the statement needs more memory or disk than there is; ask for less");
        return QUERY_FAILED;
    case SQLITE_IOERR:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CANTOPEN:
    case SQLITE_BUSY:
        snprintf(error, QUERY_ERROR_BYTES, "the history cannot be read: %.300s; check the disk", message);
        return QUERY_FAILED;
    default:
        break;
    }
    int offset = sqlite3_error_offset(query->database);
    if (offset < 0) {
        snprintf(error, QUERY_ERROR_BYTES, "%.400s", message);
        return QUERY_BAD_SQL;
    }
    size_t line, column;
    locate(sql, offset, &line, &column);
    snprintf(error, QUERY_ERROR_BYTES, "line %zu, column %zu: %.400s", line, column, message);
    return QUERY_BAD_SQL;
}

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n;")] == '\0';
}

static enum query_result refuse(char *error, enum query_result result, const char *text)
{
    snprintf(error, QUERY_ERROR_BYTES, "%s", text);
    return result;
}

enum query_result query_run(struct query *query, const char *sql, uint32_t row_limit, uint32_t timeout_ms,
                            Muster__V1__RunQueryResponse *response, char *error)
{
    row_limit = row_limit == 0 ? QUERY_ROWS_DEFAULT : row_limit > QUERY_ROWS_MAX ? QUERY_ROWS_MAX : row_limit;
    timeout_ms = timeout_ms == 0                     ? QUERY_TIMEOUT_MS_DEFAULT
                 : timeout_ms > QUERY_TIMEOUT_MS_MAX ? QUERY_TIMEOUT_MS_MAX
                                                     : timeout_ms;
    muster__v1__run_query_response__init(response);
    if (is_blank(sql))
        return refuse(error, QUERY_BAD_SQL, "there is no statement; write a SELECT");
    if (!query_tables_finish(query) || !replace_functions(query->database))
        return explain(query, sqlite3_errcode(query->database), sql, error);
    limit(query->database);
    query->files.limit_bytes = query->files.used_bytes + QUERY_TEMPORARY_BYTES_MAX;
    query->deadline_ms = monotonic_ms() + timeout_ms;
    sqlite3_progress_handler(query->database, PROGRESS_INSTRUCTIONS, is_late, query);
    (void)sqlite3_set_authorizer(query->database, authorize, query); /* always SQLITE_OK */

    sqlite3_stmt *statement = NULL;
    const char *rest = NULL;
    int result = sqlite3_prepare_v2(query->database, sql, -1, &statement, &rest);
    if (result != SQLITE_OK)
        return explain(query, result, sql, error);
    enum query_result answer = QUERY_OK;
    if (statement == NULL)
        answer = refuse(error, QUERY_BAD_SQL, "there is no statement; write a SELECT");
    else if (!is_blank(rest))
        answer = refuse(error, QUERY_BAD_SQL, "there is more than one statement; send one at a time");
    else if (!sqlite3_stmt_readonly(statement) || sqlite3_stmt_isexplain(statement) != 0)
        answer = refuse(error, QUERY_FORBIDDEN, "only SELECT statements may be run");
    if (answer == QUERY_OK && (result = collect(query, statement, row_limit, response)) != SQLITE_DONE)
        answer = explain(query, result, sql, error);
    (void)sqlite3_finalize(statement); /* repeats the error that was told */
    return answer;
}
