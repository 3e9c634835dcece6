/* Read-only SQL of an operator, over three tables:
 *
 *   workers   worker_id, type, tier, location, status, status_reason, incarnation,
 *             registered_at_ms, last_heartbeat_at_ms, load, active_requests, queue_depth,
 *             gpu_utilization, tasks_completed, tunnel_url
 *             - the roll as it is now.
 *   services  name, worker_id, assigned, announced, url
 *             - who offers what: a row for each service of each worker; `assigned` by the
 *             coordinator, `announced` by the worker itself (0 or 1).
 *   history   worker_id, metric, step, time, time_ms, count, sum, mean, min, max, last, state,
 *             worst_state
 *             - a row for each metric of each bucket. `step` in seconds: 10, 60 or 3600; `time`
 *             is RFC 3339. What a metric has no figure for is NULL:
 *               load, active_requests   count (of samples), sum, mean, min, max, last
 *               requests, failures, tasks_completed, heartbeats   sum
 *               latency_ms              count (of answered requests), sum, mean
 *               state                   state (at the end of the bucket), worst_state
 *
 * What keeps an operator's statement from doing harm: the connection is opened read-only; an
 * authorizer refuses all but SELECT on these tables with functions of a list; SQLite's own
 * limits on lengths and depths are low; a progress handler ends what takes too long; rows and
 * bytes of the answer are limited, and so are temporary files. The clock is looked at between
 * instructions of SQLite's machine, so no function of the list may take long for one value: printf
 * (which counts to a billion for a width of a billion) is not among them, and values are short.
 *
 * Threading: one thread at a time for a query. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "muster/v1/health.pb-c.h"

#define QUERY_SQL_BYTES_MAX 65536
#define QUERY_ROWS_DEFAULT 1000
#define QUERY_ROWS_MAX 10000
#define QUERY_TIMEOUT_MS_DEFAULT 5000
#define QUERY_TIMEOUT_MS_MAX 30000
/* Of an answer; rows after that are cut off. */
#define QUERY_ANSWER_BYTES_MAX (2u << 20)
/* Of one value, whatever makes it. */
#define QUERY_VALUE_BYTES_MAX (64u << 10)
/* Of temporary files, beside those that hold the roll. */
#define QUERY_TEMPORARY_BYTES_MAX (256ull << 20)

struct query;

/* A worker as `workers` and `services` show it. Texts are borrowed. */
struct query_worker {
    const Muster__V1__Worker *record;
    const char *status, *status_reason;
    int64_t last_heartbeat_at_ms;
    const Muster__V1__Load *load; /* NULL: none was heard */
};

enum query_result {
    QUERY_OK,
    QUERY_BAD_SQL,   /* the text says what and where */
    QUERY_FORBIDDEN, /* it would do more than read */
    QUERY_TOO_SLOW,
    QUERY_FAILED, /* not the statement's fault: memory, disk */
};

#define QUERY_ERROR_BYTES 512

/* Opens a query on the history in that file; one that cannot be opened shows as empty.
 * NULL: out of memory. */
struct query *query_open(const char *path);
void query_close(struct query *query);

/* Adds workers, before query_run. False: out of memory or disk. */
bool query_add_worker(struct query *query, const struct query_worker *worker);

/* Runs one statement; once for a query. In QUERY_OK the response is filled in; what it points to belongs to the
 * query. Otherwise `error` (QUERY_ERROR_BYTES) says what to do. Limits of 0 take the default;
 * higher ones than the maximum take that. */
enum query_result query_run(struct query *query, const char *sql, uint32_t row_limit, uint32_t timeout_ms,
                            Muster__V1__RunQueryResponse *response, char *error);

/* Has query_run end soon, with QUERY_TOO_SLOW. Any thread, while the query is open. */
void query_cancel(struct query *query);

/* Whether the statement can mention `workers` or `services`: if not, nobody has to be added. */
bool query_wants_roll(const char *sql);
