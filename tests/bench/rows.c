#include "tests/bench/rows.h"

#include <string.h>

#define UNARY(NAME, TITLE, CONNECTIONS, OUTSTANDING, UNITS)                                                            \
    {                                                                                                                  \
        .name = NAME, .title = TITLE, .group = ROW_HEARTBEATS, .unit = "/s", .peers = {{"etcd", 0}},                   \
        .connections = CONNECTIONS, .outstanding = OUTSTANDING, .units = UNITS                                         \
    }
#define STREAM(NAME, TITLE, CONNECTIONS, OUTSTANDING, UNITS, FLOOR)                                                    \
    {                                                                                                                  \
        .name = NAME, .title = TITLE, .group = ROW_HEARTBEATS, .unit = "/s", .peers = {{"etcd", FLOOR}},               \
        .connections = CONNECTIONS, .outstanding = OUTSTANDING, .units = UNITS, .streaming = true                      \
    }
#define PROCESS_MEMORY(NAME, PROCESS, LIMIT, ANONYMOUS_LIMIT, ...)                                                     \
    {                                                                                                                  \
        .name = NAME, .title = "resident memory of " PROCESS ", idle", .group = ROW_MEMORY, .unit = " MB",             \
        .peers = {__VA_ARGS__}, .limit = LIMIT, .anonymous_limit = ANONYMOUS_LIMIT, .process = PROCESS                 \
    }

/* Floors and limits are those that the project has set itself; every peer runs as it does best
 * on the same number of connections, so etcd's keep-alives are always streamed, one lease each. */
const struct row rows[] = {
    STREAM("stream-1", "streamed heartbeats, 1 connection, 64 outstanding", 1, 64, 1, 5),
    STREAM("stream-64", "streamed heartbeats, 64 connections, each acknowledged", 64, 1, 1, 0),
    STREAM("stream-1000", "streamed heartbeats, 1,000 connections, each acknowledged", 1000, 1, 1, 2.5),
    STREAM("batch-1", "streamed, 64 heartbeats to a message, 1 connection", 1, 64, 64, 50),
    STREAM("batch-64", "streamed, 64 heartbeats to a message, 64 connections", 64, 1, 64, 50),
    STREAM("batch-1000", "streamed, 64 heartbeats to a message, 1,000 connections", 1000, 1, 64, 50),
    UNARY("unary-1", "unary heartbeats, 1 connection, 64 outstanding", 1, 64, 1),
    UNARY("unary-64", "unary heartbeats, 64 connections", 64, 1, 1),
    UNARY("unary-1000", "unary heartbeats, 1,000 connections", 1000, 1, 1),
    UNARY("unary-batch-1", "unary, 64 heartbeats to a message, 1 connection", 1, 64, 64),
    UNARY("unary-batch-64", "unary, 64 heartbeats to a message, 64 connections", 64, 1, 64),
    UNARY("unary-batch-1000", "unary, 64 heartbeats to a message, 1,000 connections", 1000, 1, 64),
    /* Three times etcd is asked of like beside like: with those who watch on both sides, or on none. What a whole
     * coordinator does beside an etcd that nobody watches is told as well. */
    {.name = "register-64",
     .title = "durable registrations, 64 callers behind one gateway, against etcd's puts of the same bytes",
     .group = ROW_REGISTRY,
     .unit = "/s",
     .peers = {{"watched", 3}, {"etcd", 0}},
     .connections = 1,
     .outstanding = 64},
    {.name = "register-unwatched-64",
     .title = "the same by registry and assigner alone: nobody watches them, as nobody watches etcd",
     .group = ROW_REGISTRY,
     .unit = "/s",
     .peers = {{"etcd", 3}},
     .connections = 1,
     .outstanding = 64},
    {.name = "register-calls-64",
     .title = "the same, 64 callers with a connection each",
     .group = ROW_REGISTRY,
     .unit = "/s",
     .peers = {{"etcd", 0}},
     .connections = 64,
     .outstanding = 1},
    {.name = "register-rest-64",
     .title = "the same by REST, 64 callers with a connection each to the gateway",
     .group = ROW_REGISTRY,
     .unit = "/s",
     .peers = {{"etcd", 0}},
     .connections = 64,
     .outstanding = 1},
    {.name = "watchers-100",
     .title = "a change until 100 watchers have it, 99th percentile (20 ms: the aim)",
     .group = ROW_WATCHERS,
     .unit = " ms",
     .peers = {{"etcd", .ceiling = 1}},
     .connections = 100},
    {.name = "expiry",
     .title = "a heartbeat's answer while 100,000 workers expire, 99th percentile",
     .group = ROW_EXPIRY,
     .unit = " ms",
     .peers = {{"quiet", .ceiling = 5}},
     .connections = 16,
     .outstanding = 16},
    {.name = "rest-list",
     .title = "GET worker list of 100, 64 connections",
     .group = ROW_REST,
     .unit = "/s",
     .peers = {{"fastapi", 60}, {"uvloop", 0}},
     .connections = 64},
    {.name = "rest-heartbeat",
     .title = "REST heartbeats through gateway and health, 64 connections",
     .group = ROW_REST,
     .unit = "/s",
     .peers = {{"fastapi", 8}, {"uvloop", 0}},
     .connections = 64},
    {.name = "rest-heartbeat-1000",
     .title = "REST heartbeats through gateway and health, 1,000 connections",
     .group = ROW_REST,
     .unit = "/s",
     .peers = {{"fastapi", 0}, {"uvloop", 0}},
     .connections = 1000},
    {.name = "relay-64",
     .title = "relayed requests, 200-byte replies, 64 connections",
     .group = ROW_RELAY,
     .unit = "/s",
     .peers = {{"nginx", 1.0}, {"haproxy", 1.1}},
     .connections = 64},
    {.name = "relay-1000",
     .title = "relayed requests, 200-byte replies, 1,000 connections",
     .group = ROW_RELAY,
     .unit = "/s",
     .peers = {{"nginx", 1.3}, {"haproxy", 1.3}},
     .connections = 1000},
    {.name = "link-64",
     .title = "requests through a worker's link, 200-byte replies, 64 connections",
     .group = ROW_LINK,
     .unit = "/s",
     .peers = {{"direct", 0.5}},
     .connections = 64},
    {.name = "link-bytes-64",
     .title = "bytes through a worker's link, 64-KiB replies, 64 connections",
     .group = ROW_LINK,
     .unit = " MB/s",
     .peers = {{"direct", 0.5}},
     .connections = 64},
    PROCESS_MEMORY("memory-registry", "muster-registry", 16, 6, {"etcd", 0}),
    PROCESS_MEMORY("memory-assigner", "muster-assigner", 16, 6),
    PROCESS_MEMORY("memory-health", "muster-health", 16, 6),
    PROCESS_MEMORY("memory-router", "muster-router", 16, 6),
    PROCESS_MEMORY("memory-gateway", "muster-gateway", 16, 6, {"nginx", 0}, {"haproxy", 0}),
    PROCESS_MEMORY("memory-worker", "muster-worker", 12, 3),
    {.name = "memory-coordinator",
     .title = "memory of the five processes together (shared pages once), idle",
     .group = ROW_MEMORY,
     .unit = " MB",
     .peers = {{"etcd", 0}, {"fastapi", 0}}},
    {.name = "memory-per-worker",
     .title = "memory per registered worker, registry and health together",
     .group = ROW_MEMORY,
     .unit = " B",
     .peers = {{"fastapi", 0}},
     .limit = 2048},
    {.name = "scale-cores",
     .title = "1,000,000 workers, heartbeats every 30 s, 16 streams: all processes",
     .group = ROW_SCALE,
     .unit = " % core",
     .connections = 16,
     .outstanding = 4,
     .limit = 100},
    {.name = "scale-memory",
     .title = "1,000,000 workers: memory of registry and health together",
     .group = ROW_SCALE,
     .unit = " MB",
     .limit = 1e9 / (1024 * 1024)},
    {.name = "scale-memory-all",
     .title = "1,000,000 workers: memory of the five processes together",
     .group = ROW_SCALE,
     .unit = " MB"},
    {.name = "scale-assignments",
     .title = "1,000,000 workers known: assignments decided, 64 to a question",
     .group = ROW_SCALE,
     .unit = "/s",
     .connections = 4,
     .outstanding = 4,
     .least = 50000},
    {.name = "scale-restart",
     .title = "1,000,000 workers in SQLite: registry restarted, to its first answer",
     .group = ROW_SCALE,
     .unit = " s",
     .peers = {{"sqlite3", .ceiling = 3}}},
};
const size_t row_count = sizeof rows / sizeof rows[0];

bool row_selected_by(const struct row *row, const char *selector)
{
    size_t length = strlen(selector);
    return strncmp(row->name, selector, length) == 0 && (row->name[length] == '\0' || row->name[length] == '-');
}

struct row_result row_result_make(const struct row *row)
{
    struct row_result result = {.row = row, .muster.server = "muster"};
    for (size_t i = 0; i < ROW_PEERS_MAX; i++)
        result.peers[i].server = row->peers[i].name;
    return result;
}

void measurement_fail(struct measurement *measurement, const struct failure *failure)
{
    if (!measurement->failed)
        measurement->failure = *failure;
    measurement->failed = true;
}

bool measurement_valid(const struct measurement *measurement)
{
    return measurement->server != NULL && !measurement->failed && measurement->count > 0;
}

double measurement_value(const struct measurement *measurement)
{
    return statistics_median(measurement->rounds, measurement->count);
}

double measurement_busy(const struct measurement *measurement)
{
    return statistics_median(measurement->busy, measurement->count);
}

enum row_verdict row_verdict_of_peer(const struct row_result *result, size_t peer)
{
    const struct row_peer *asked = &result->row->peers[peer];
    if ((asked->floor <= 0 && asked->ceiling <= 0) || !measurement_valid(&result->muster) ||
        !measurement_valid(&result->peers[peer]))
        return ROW_NOT_ASKED;
    double value = measurement_value(&result->muster), theirs = measurement_value(&result->peers[peer]);
    bool reached = value >= asked->floor * theirs && (asked->ceiling <= 0 || value <= asked->ceiling * theirs);
    return reached ? ROW_REACHED : ROW_MISSED;
}

enum row_verdict row_verdict_of_limit(const struct row_result *result)
{
    const struct row *row = result->row;
    if ((row->limit <= 0 && row->least <= 0) || !measurement_valid(&result->muster))
        return ROW_NOT_ASKED;
    double value = measurement_value(&result->muster);
    bool within = (row->limit <= 0 || value <= row->limit) && value >= row->least &&
                  (row->anonymous_limit <= 0 || result->muster.anonymous <= row->anonymous_limit);
    return within ? ROW_REACHED : ROW_MISSED;
}
