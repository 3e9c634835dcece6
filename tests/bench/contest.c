#include <string.h>

#include "tests/bench/bench.h"
#include "tests/bench/load_http.h"
#include "tests/bench/messages.h"
#include "tests/bench/roll.h"

enum {
    /* Between two rounds, so that the servers are done with the connections that closed. */
    REST_MS = 100,
    PIDS_MAX = 32,
};

void contest(struct bench *bench, const char *row_name, struct contender *contenders, size_t count)
{
    fprintf(stderr, "%-20s", row_name);
    for (unsigned round = 0; round < bench->rounds; round++) {
        for (size_t i = 0; i < count; i++) {
            struct contender *contender = &contenders[i];
            struct measurement *measurement = contender->measurement;
            if (measurement->failed)
                continue;
            pid_t pids[PIDS_MAX];
            struct load_plan plan = contender->plan;
            struct load_result result;
            struct failure failure;
            plan.warm_up_ms = bench->warm_up_ms;
            plan.window_ms = bench->window_ms;
            plan.server_pids = pids;
            plan.server_count = server_pids(contender->server, pids, PIDS_MAX);
            loop_run_ms(&bench->loop, REST_MS);
            if (!contender->run(&bench->loop, &plan, contender->what, &result, &failure)) {
                measurement_fail(measurement, &failure);
                fprintf(stderr, " [%s: %s]", measurement->server, failure.text);
                continue;
            }
            measurement->rounds[measurement->count] = result.per_second;
            measurement->busy[measurement->count++] = result.server_busy;
            fprintf(stderr, " %s %.0f", measurement->server, result.per_second);
        }
    }
    fputc('\n', stderr);
}

bool contest_http(struct loop *loop, const struct load_plan *plan, const void *what, struct load_result *result,
                  struct failure *failure)
{
    return load_http(loop, plan, what, result, failure);
}

bool contest_grpc(struct loop *loop, const struct load_plan *plan, const void *what, struct load_result *result,
                  struct failure *failure)
{
    return load_grpc(loop, plan, what, result, failure);
}

bool group_selected(const struct row_result *results, size_t count, enum row_group group)
{
    for (size_t i = 0; i < count; i++)
        if (results[i].row->group == group)
            return true;
    return false;
}

bool peer_needed(const struct row_result *results, size_t count, enum row_group group, const char *peer)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; results[i].row->group == group && j < ROW_PEERS_MAX; j++)
            if (results[i].peers[j].server != NULL && strcmp(results[i].peers[j].server, peer) == 0)
                return true;
    return false;
}

struct measurement *measurement_of(struct row_result *result, const char *server)
{
    if (strcmp(server, result->muster.server) == 0)
        return &result->muster;
    for (size_t i = 0; i < ROW_PEERS_MAX; i++)
        if (result->peers[i].server != NULL && strcmp(server, result->peers[i].server) == 0)
            return &result->peers[i];
    return NULL;
}

struct row_result *row_named(struct row_result *results, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(results[i].row->name, name) == 0)
            return &results[i];
    return NULL;
}

void note_round(struct measurement *measurement, double value)
{
    if (!measurement->failed && measurement->count < STATISTICS_VALUES_MAX)
        measurement->rounds[measurement->count++] = value;
}

void group_fail(struct row_result *results, size_t count, enum row_group group, const char *server,
                const struct failure *failure)
{
    fprintf(stderr, "%s: %s\n", server, failure->text);
    for (size_t i = 0; i < count; i++) {
        struct measurement *measurement = results[i].row->group == group ? measurement_of(&results[i], server) : NULL;
        if (measurement != NULL)
            measurement_fail(measurement, failure);
    }
}

struct server_plan server_plan_of(struct bench *bench, uint16_t upstream_port)
{
    return (struct server_plan){.loop = &bench->loop,
                                .directory = bench->directory,
                                .core = bench->server_core,
                                .upstream_port = upstream_port};
}

bool ask_roll(struct bench *bench, const struct server *muster, struct roll_totals *totals, struct failure *failure)
{
    struct grpc_source source = roll_list_source(totals);
    struct load_plan plan = {.port = muster->registry_port, .connections = 1, .outstanding = 1, .limit = 1};
    struct load_result result;
    return load_grpc(&bench->loop, &plan, &source, &result, failure);
}

bool register_workers(struct bench *bench, const struct server *muster, unsigned first, unsigned count,
                      const char *service_url, struct failure *failure)
{
    struct registrations registrations = {.next = first, .service_url = service_url};
    struct grpc_source source = registration_source(&registrations);
    struct load_plan plan = {.port = muster->registry_port, .connections = 4, .outstanding = 64, .limit = count};
    struct load_result result;
    return load_grpc(&bench->loop, &plan, &source, &result, failure);
}
