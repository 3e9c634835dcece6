/* One run of the bench, and the scenarios that it is made of.
 *
 * A scenario starts the servers that the selected rows of its group need, measures those
 * rows and stops the servers. What cannot be measured (a peer that is not installed, a
 * server that answers wrongly) is noted in the row; other rows go on. */

#pragma once

#include "tests/bench/load.h"
#include "tests/bench/rows.h"
#include "tests/bench/server.h"

struct bench {
    struct loop loop;
    char directory[256]; /* holds everything that servers write; removed at the end */
    unsigned server_core, load_core;
    bool quick;
    unsigned rounds;
    unsigned warm_up_ms, window_ms;
};

/* Each takes all selected results and fills those of its group. */
void scenario_heartbeats(struct bench *bench, struct row_result *results, size_t count);
void scenario_registry(struct bench *bench, struct row_result *results, size_t count);
void scenario_rest(struct bench *bench, struct row_result *results, size_t count);
void scenario_link(struct bench *bench, struct row_result *results, size_t count);
void scenario_relay(struct bench *bench, struct row_result *results, size_t count);
void scenario_memory(struct bench *bench, struct row_result *results, size_t count);
void scenario_watchers(struct bench *bench, struct row_result *results, size_t count);
void scenario_expiry(struct bench *bench, struct row_result *results, size_t count);
void scenario_scale(struct bench *bench, struct row_result *results, size_t count);

/* One of those who take turns in a row. */
struct contender {
    struct measurement *measurement;
    const struct server *server;
    struct load_plan plan; /* port, connections, outstanding; the rest is filled in */
    bool (*run)(struct loop *loop, const struct load_plan *plan, const void *what, struct load_result *result,
                struct failure *failure);
    const void *what; /* for run */
};

/* Measures the contenders in turn, A B A B, so that whatever else the machine does meets
 * them alike; says on standard error what it is doing. Contenders whose measurement has
 * failed already are passed over. */
void contest(struct bench *bench, const char *row_name, struct contender *contenders, size_t count);

/* The two loads as a contender's `run`: `what` is a struct http_load or a struct grpc_source. */
bool contest_http(struct loop *loop, const struct load_plan *plan, const void *what, struct load_result *result,
                  struct failure *failure);
bool contest_grpc(struct loop *loop, const struct load_plan *plan, const void *what, struct load_result *result,
                  struct failure *failure);

/* Whether any selected row belongs to the group, or needs that peer in it. */
bool group_selected(const struct row_result *results, size_t count, enum row_group group);
bool peer_needed(const struct row_result *results, size_t count, enum row_group group, const char *peer);

/* The row's measurement of that server; NULL if it is not in the row. */
struct measurement *measurement_of(struct row_result *result, const char *server);

/* The selected row of that name; NULL: it was not selected. */
struct row_result *row_named(struct row_result *results, size_t count, const char *name);

/* Notes a round's figure, unless the measurement has failed. */
void note_round(struct measurement *measurement, double value);

/* Notes in all rows of the group why a server cannot be measured. */
void group_fail(struct row_result *results, size_t count, enum row_group group, const char *server,
                const struct failure *failure);

/* Sends one request until it is relayed: a route takes a moment to reach the gateway. The
 * upstream answers from the same loop, so this has to be a load and not a blocking request. */
struct http_load;
bool wait_relayed(struct bench *bench, uint16_t port, const struct http_load *load, struct failure *failure);

struct server_plan server_plan_of(struct bench *bench, uint16_t upstream_port);

/* What the registry says of its roll. */
struct roll_totals;
bool ask_roll(struct bench *bench, const struct server *muster, struct roll_totals *totals, struct failure *failure);

/* Registers workers `first` to `first + count - 1` through muster-registry. */
bool register_workers(struct bench *bench, const struct server *muster, unsigned first, unsigned count,
                      const char *service_url, struct failure *failure);
