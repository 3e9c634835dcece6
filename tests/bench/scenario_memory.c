#include <string.h>

#include "tests/bench/bench.h"
#include "tests/bench/memory.h"
#include "tests/bench/messages.h"
#include "tests/bench/messages_rest.h"

enum {
    WORKERS = 50000,
    WORKERS_QUICK = 15000,
    REGISTERING_CONNECTIONS = 50,
    SETTLE_MS = 1500,
    SETTLE_QUICK_MS = 700,
    PIDS_MAX = 32,
    MEGABYTE = 1024 * 1024,
};

static unsigned settle_ms(const struct bench *bench)
{
    return bench->quick ? SETTLE_QUICK_MS : SETTLE_MS;
}

static void note(struct measurement *measurement, double value, double anonymous)
{
    measurement->rounds[0] = value;
    measurement->anonymous = anonymous;
    measurement->count = 1;
}

/* A server's memory, all of its processes or the named one. */
static bool add_server(const struct server *server, const char *process, struct memory *memory, struct failure *failure)
{
    pid_t pids[PIDS_MAX];
    if (process == NULL) {
        size_t count = server_pids(server, pids, PIDS_MAX);
        for (size_t i = 0; i < count; i++)
            if (!memory_add(pids[i], memory, failure))
                return false;
        return true;
    }
    for (size_t i = 0; i < server->process_count; i++)
        if (strcmp(server->processes[i].name, process) == 0)
            return memory_add(server->processes[i].pid, memory, failure);
    return fail(failure, "%s does not run", process);
}

static void note_idle(struct measurement *measurement, const struct server *server, const char *process)
{
    struct memory memory = {0};
    struct failure failure;
    pid_t pids[PIDS_MAX];
    if (measurement->failed)
        return;
    if (!add_server(server, process, &memory, &failure))
        measurement_fail(measurement, &failure);
    else if (process == NULL && server_pids(server, pids, PIDS_MAX) > 1)
        /* Several processes share their libraries, which must not be counted several times. */
        note(measurement, (double)memory.proportional_bytes / MEGABYTE, (double)memory.anonymous_bytes / MEGABYTE);
    else
        note(measurement, (double)memory.resident_bytes / MEGABYTE, (double)memory.anonymous_bytes / MEGABYTE);
}

static bool is_per_worker(const struct row_result *result)
{
    return strcmp(result->row->name, "memory-per-worker") == 0;
}

static bool per_worker_selected(const struct row_result *results, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_per_worker(&results[i]))
            return true;
    return false;
}

/* Idle memory of one server in every row that it is in. */
static void note_idle_rows(struct row_result *results, size_t count, const struct server *server)
{
    bool muster = strcmp(server->name, "muster") == 0;
    for (size_t i = 0; i < count; i++) {
        struct measurement *measurement =
            results[i].row->group == ROW_MEMORY ? measurement_of(&results[i], server->name) : NULL;
        const char *process = muster ? results[i].row->process : NULL;
        bool worker = process != NULL && strcmp(process, "muster-worker") == 0;
        if (measurement != NULL && !is_per_worker(&results[i]) && !worker)
            note_idle(measurement, server, process);
    }
}

static bool growth(struct bench *bench, const struct server *server, unsigned workers,
                   bool (*fill)(struct bench *, const struct server *, unsigned, struct failure *),
                   const char *const *processes, double *bytes_each, double *anonymous_each, struct failure *failure)
{
    struct memory before = {0}, after = {0};
    for (size_t i = 0; processes[i] != NULL; i++)
        if (!add_server(server, processes[i], &before, failure))
            return false;
    if (!fill(bench, server, workers, failure))
        return false;
    loop_run_ms(&bench->loop, settle_ms(bench));
    for (size_t i = 0; processes[i] != NULL; i++)
        if (!add_server(server, processes[i], &after, failure))
            return false;
    *bytes_each = ((double)after.resident_bytes - (double)before.resident_bytes) / workers;
    *anonymous_each = ((double)after.anonymous_bytes - (double)before.anonymous_bytes) / workers;
    return true;
}

/* Registers workers and lets each be heard once. */
static bool fill_muster(struct bench *bench, const struct server *server, unsigned workers, struct failure *failure)
{
    struct heartbeat_messages batches;
    if (!register_workers(bench, server, 0, workers, NULL, failure))
        return false;
    if (!heartbeat_messages_make(&batches, workers, HEARTBEATS_IN_A_BATCH))
        return fail(failure, "out of memory");
    struct grpc_source source = heartbeat_unary_source(&batches);
    struct load_plan plan = {.port = server->health_port, .connections = 1, .outstanding = 1, .limit = batches.count};
    struct load_result result;
    bool done = load_grpc(&bench->loop, &plan, &source, &result, failure);
    heartbeat_messages_free(&batches);
    return done;
}

static bool fill_fastapi(struct bench *bench, const struct server *server, unsigned workers, struct failure *failure)
{
    struct http_requests requests;
    if (!registration_requests(&requests, workers))
        return fail(failure, "out of memory");
    struct http_load load = {.requests = &requests, .expected_status = 200, .expected_text = "registered"};
    struct load_plan plan = {
        .port = server->port, .connections = REGISTERING_CONNECTIONS, .outstanding = 1, .limit = workers};
    struct load_result result;
    bool done = load_http(&bench->loop, &plan, &load, &result, failure);
    http_requests_free(&requests);
    return done;
}

static void measure_per_worker(struct bench *bench, struct row_result *results, size_t count,
                               const struct server *server)
{
    static const char *const owners[] = {"muster-registry", "muster-health", NULL}, *const fastapi[] = {"fastapi",
                                                                                                        NULL};
    bool muster = strcmp(server->name, "muster") == 0;
    unsigned workers = bench->quick ? WORKERS_QUICK : WORKERS;
    for (size_t i = 0; i < count; i++) {
        struct measurement *measurement = is_per_worker(&results[i]) ? measurement_of(&results[i], server->name) : NULL;
        double each = 0, anonymous = 0;
        struct failure failure;
        if (measurement == NULL || measurement->failed)
            continue;
        if (growth(bench, server, workers, muster ? fill_muster : fill_fastapi, muster ? owners : fastapi, &each,
                   &anonymous, &failure))
            note(measurement, each, anonymous);
        else
            measurement_fail(measurement, &failure);
    }
}

static void measure_worker(struct bench *bench, struct row_result *results, size_t count, struct server *muster)
{
    for (size_t i = 0; i < count; i++) {
        struct failure failure;
        struct server_plan plan = server_plan_of(bench, 0);
        if (strcmp(results[i].row->name, "memory-worker") != 0 || results[i].muster.failed)
            continue;
        if (!server_add_worker(muster, &plan, &failure)) {
            measurement_fail(&results[i].muster, &failure);
            continue;
        }
        loop_run_ms(&bench->loop, settle_ms(bench));
        note_idle(&results[i].muster, muster, "muster-worker");
    }
}

void scenario_memory(struct bench *bench, struct row_result *results, size_t count)
{
    static const struct {
        const char *name;
        bool (*start)(struct server *server, const struct server_plan *plan, struct failure *failure);
    } servers[] = {{"muster", server_start_muster},
                   {"etcd", server_start_etcd},
                   {"nginx", server_start_nginx},
                   {"haproxy", server_start_haproxy},
                   {"fastapi", server_start_fastapi}};
    if (!group_selected(results, count, ROW_MEMORY))
        return;
    for (size_t i = 0; i < sizeof servers / sizeof servers[0] && !loop_interrupted(&bench->loop); i++) {
        struct server server = {.name = servers[i].name};
        struct server_plan plan = server_plan_of(bench, process_free_port());
        struct failure failure;
        if (i > 0 && !peer_needed(results, count, ROW_MEMORY, servers[i].name))
            continue;
        fprintf(stderr, "%-20s %s\n", "memory", server.name);
        if (servers[i].start(&server, &plan, &failure)) {
            loop_run_ms(&bench->loop, settle_ms(bench));
            note_idle_rows(results, count, &server);
            if (per_worker_selected(results, count))
                measure_per_worker(bench, results, count, &server);
            if (i == 0)
                measure_worker(bench, results, count, &server);
        } else {
            group_fail(results, count, ROW_MEMORY, servers[i].name, &failure);
        }
        server_stop(&server);
    }
}
