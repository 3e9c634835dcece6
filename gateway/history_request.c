/* See history_request.h. */

#include "gateway/history_request.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

#define HOUR_MS INT64_C(3600000)
#define TEXT_BYTES 128
/* Seconds that are more than this are milliseconds: the year 5138. */
#define SECONDS_MAX INT64_C(100000000000)

const char *history_metric_name(enum history_metric metric)
{
    static const char *const names[HISTORY_METRIC_COUNT] = {"load",       "active_requests", "requests",   "failures",
                                                            "latency_ms", "tasks_completed", "heartbeats", "state"};
    return names[metric];
}

__attribute__((format(printf, 2, 3))) static bool refuse(struct json_error *error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    return false;
}

/* Digits at the start of a text; -1: there are none, or too many. */
static int64_t take_number(const char **text, int digits_min, int digits_max)
{
    int64_t number = 0;
    int digits = 0;
    for (; isdigit((unsigned char)**text) && digits <= digits_max; digits++)
        number = number * 10 + (*(*text)++ - '0');
    return digits < digits_min || digits > digits_max ? -1 : number;
}

/* "15m": that long before now. */
static bool parse_age(const char *text, int64_t now_ms, int64_t *unix_ms)
{
    static const char units[] = "smhd";
    static const int64_t unit_ms[] = {1000, 60000, HOUR_MS, 24 * HOUR_MS};
    int64_t number = take_number(&text, 1, 9);
    const char *unit = number < 0 || *text == '\0' || text[1] != '\0' ? NULL : strchr(units, *text);
    if (unit == NULL)
        return false;
    *unix_ms = now_ms - number * unit_ms[unit - units];
    return true;
}

static bool parse_seconds(const char *text, int64_t *unix_ms)
{
    int64_t number = take_number(&text, 1, 15);
    if (number < 0 || *text != '\0')
        return false;
    *unix_ms = number > SECONDS_MAX ? number : number * 1000;
    return true;
}

static bool parse_since(const char *text, int64_t now_ms, int64_t *since_ms)
{
    if (!parse_age(text, now_ms, since_ms) && !parse_seconds(text, since_ms) && !clock_parse_unix_ms(text, true, since_ms))
        return false;
    if (*since_ms < 0)
        *since_ms = 0;
    return true;
}

static bool parse_step(const char *text, uint32_t *seconds)
{
    static const struct {
        const char *text, *number;
        uint32_t seconds;
    } steps[] = {{"10s", "10", 10}, {"1m", "60", 60}, {"1h", "3600", 3600}};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (strcmp(text, steps[i].text) == 0 || strcmp(text, steps[i].number) == 0) {
            *seconds = steps[i].seconds;
            return true;
        }
    }
    return false;
}

static bool parse_metrics(char *text, uint32_t *metrics)
{
    char *rest = text;
    char *name;
    *metrics = 0;
    while ((name = strsep(&rest, ",")) != NULL) {
        size_t i = 0;
        while (i < HISTORY_METRIC_COUNT && strcmp(name, history_metric_name((enum history_metric)i)) != 0)
            i++;
        if (i == HISTORY_METRIC_COUNT)
            return false;
        *metrics |= UINT32_C(1) << i;
    }
    return true;
}

/* The finest step whose ring reaches back that far: an hour, a day, 30 days. */
static uint32_t finest_step(int64_t age_ms)
{
    return age_ms <= HOUR_MS ? 10 : age_ms <= 24 * HOUR_MS ? 60 : 3600;
}

/* Whether the query has the parameter at all, readable or not. */
static bool has(struct http_text query, const char *name)
{
    size_t bytes = strlen(name);
    const char *end = query.data + query.bytes;
    for (const char *at = query.data; query.bytes > 0 && at < end;) {
        const char *next = memchr(at, '&', (size_t)(end - at));
        size_t length = (size_t)((next == NULL ? end : next) - at);
        if (length >= bytes && memcmp(at, name, bytes) == 0 && (length == bytes || at[bytes] == '='))
            return true;
        at = next == NULL ? end : next + 1;
    }
    return false;
}

bool history_request_parse(struct http_text query, int64_t now_ms, struct history_request *request,
                           struct json_error *error)
{
    char text[TEXT_BYTES];
    *request = (struct history_request){.metrics = (UINT32_C(1) << HISTORY_METRIC_COUNT) - 1,
                                        .since_ms = now_ms > HOUR_MS ? now_ms - HOUR_MS : 0};
    if (http_query_get(query, "worker", request->worker, sizeof request->worker) <= 0 || request->worker[0] == '\0')
        return refuse(error, "parameter worker must be the id of a worker, 1 to %d bytes",
                      HISTORY_REQUEST_WORKER_BYTES - 1);
    if (has(query, "metric") &&
        (http_query_get(query, "metric", text, sizeof text) <= 0 || !parse_metrics(text, &request->metrics)))
        return refuse(error, "parameter metric must be load, active_requests, requests, failures, latency_ms, "
                             "tasks_completed, heartbeats or state, or several of them separated by commas");
    if (has(query, "since") &&
        (http_query_get(query, "since", text, sizeof text) <= 0 || !parse_since(text, now_ms, &request->since_ms)))
        return refuse(error, "parameter since must be a time before now like 15m, 6h or 7d, a date like "
                             "2026-01-05T10:30:00Z, or seconds since 1970");
    request->step_seconds = finest_step(now_ms - request->since_ms);
    if (has(query, "step") &&
        (http_query_get(query, "step", text, sizeof text) <= 0 || !parse_step(text, &request->step_seconds)))
        return refuse(error, "parameter step must be 10s, 1m or 1h");
    return true;
}
