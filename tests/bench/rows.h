/* The rows of the bench: one table says what is measured, against whom, and what is asked.
 * Everything else (which servers start, the report, --list) follows from it. */

#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tests/bench/failure.h"
#include "tests/bench/statistics.h"

enum row_group {
    ROW_HEARTBEATS, /* gRPC, against etcd */
    ROW_REGISTRY,   /* durable changes, against etcd */
    ROW_REST,       /* against FastAPI */
    ROW_RELAY,      /* against nginx and HAProxy */
    ROW_LINK,       /* workers behind a link, against workers that are connected to */
    ROW_MEMORY,
    ROW_WATCHERS, /* latency of changes, against etcd */
    ROW_EXPIRY,   /* latency of heartbeats, against that of a quiet run */
    ROW_SCALE,    /* a million workers: minutes, and so only when named */
    ROW_GROUPS,
};

enum { ROW_PEERS_MAX = 2 };

struct row_peer {
    const char *name; /* as in server.h; NULL: no more */
    double floor;     /* Muster's figure / the peer's is to be at least this; 0: no matter */
    double ceiling;   /* the same, but at most; for what is better when it is less */
};

struct row {
    const char *name;
    const char *title;
    enum row_group group;
    const char *unit;
    struct row_peer peers[ROW_PEERS_MAX];
    /* How a load is laid out. */
    unsigned connections, outstanding;
    unsigned units; /* heartbeats in a message */
    bool streaming;
    /* For memory: what may be used at most, in the row's unit; 0: anything. */
    double limit, anonymous_limit;
    double least;        /* what is to be reached at least, in the row's unit; 0: nothing is asked */
    const char *process; /* whose memory; NULL: see scenario_memory.c */
};

extern const struct row rows[];
extern const size_t row_count;

/* Whether the row's name is `selector` or begins with it and a dash: "relay" selects
 * "relay-64". */
bool row_selected_by(const struct row *row, const char *selector);

/* What one server did in one row. */
struct measurement {
    const char *server; /* NULL: there is no such server in this row */
    double rounds[STATISTICS_VALUES_MAX];
    double busy[STATISTICS_VALUES_MAX]; /* processor time of the server / length, by round */
    size_t count;
    double anonymous; /* memory rows: the part that no file backs */
    bool failed;
    struct failure failure; /* why there are no figures */
};

struct row_result {
    const struct row *row;
    struct measurement muster;
    struct measurement peers[ROW_PEERS_MAX];
};

/* A result with nothing measured yet. */
struct row_result row_result_make(const struct row *row);

/* Notes that a server could not be measured in this row; the first reason stays. */
void measurement_fail(struct measurement *measurement, const struct failure *failure);

/* The figure of a measurement: the median of its rounds. */
double measurement_value(const struct measurement *measurement);
double measurement_busy(const struct measurement *measurement);
bool measurement_valid(const struct measurement *measurement);

enum row_verdict {
    ROW_NOT_ASKED, /* no floor, or nothing to compare */
    ROW_REACHED,
    ROW_MISSED,
};

/* Against one peer's floor or ceiling. */
enum row_verdict row_verdict_of_peer(const struct row_result *result, size_t peer);
/* Against the limits, upper and lower, that no peer sets. */
enum row_verdict row_verdict_of_limit(const struct row_result *result);
