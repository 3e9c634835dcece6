/* The query of GET /api/admin/history, taken apart.
 *
 *     worker   whose history: an id
 *     metric   one of them, or several separated by commas; absent: all
 *     since    how far back: "15m" (s, m, h, d) before now, a date of RFC 3339
 *              ("2026-01-05T10:30:00Z"), or seconds since the epoch; absent: one hour
 *     step     "10s", "1m" or "1h", also as seconds; absent: the finest that reaches back to since
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/http/target.h"
#include "common/json/fields.h"

enum history_metric {
    HISTORY_LOAD,
    HISTORY_ACTIVE_REQUESTS,
    HISTORY_REQUESTS,
    HISTORY_FAILURES,
    HISTORY_LATENCY_MS,
    HISTORY_TASKS_COMPLETED,
    HISTORY_HEARTBEATS,
    HISTORY_STATE,
    HISTORY_METRIC_COUNT,
};

const char *history_metric_name(enum history_metric metric);

#define HISTORY_REQUEST_WORKER_BYTES 257

struct history_request {
    char worker[HISTORY_REQUEST_WORKER_BYTES];
    uint32_t metrics; /* a bit for each */
    int64_t since_ms; /* since the epoch, at least 0 */
    uint32_t step_seconds;
};

/* False: error->message says what is wrong with which parameter. */
bool history_request_parse(struct http_text query, int64_t now_ms, struct history_request *request,
                           struct json_error *error);
