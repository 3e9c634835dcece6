/* A million workers in one coordinator. They are registered in parts, because each part
 * has a time limit; then each is heard every 30 seconds, through a few streams that carry
 * 64 heartbeats to a message, as gateways send them. In the end the registry is started again
 * over what it has stored. */

#include <string.h>

#include "common/clock.h"
#include "tests/bench/bench.h"
#include "tests/bench/memory.h"
#include "tests/bench/messages.h"
#include "tests/bench/roll.h"

enum {
    WORKERS = 1000000,
    WORKERS_QUICK = 100000,
    WORKERS_IN_A_PART = 50000,
    HEARTBEAT_INTERVAL_S = 30,
    SETTLE_MS = 5000,
    RESTARTS = 5,
    MEGABYTE = 1024 * 1024,
};

static bool fill(struct bench *bench, const struct server *muster, unsigned workers, struct failure *failure)
{
    for (unsigned first = 0; first < workers; first += WORKERS_IN_A_PART) {
        unsigned part = workers - first < WORKERS_IN_A_PART ? workers - first : WORKERS_IN_A_PART;
        if (!register_workers(bench, muster, first, part, NULL, failure))
            return false;
        fprintf(stderr, " %u", first + part);
    }
    return true;
}

static void note(struct row_result *result, double value)
{
    if (result != NULL)
        note_round(&result->muster, value);
}

/* Every worker is heard once as the warm-up, and once more while the processors' time is taken. */
static bool heartbeats(struct bench *bench, const struct server *muster, unsigned workers, unsigned streams,
                       double *cores, struct failure *failure)
{
    struct heartbeat_messages batches;
    double before[SERVER_PROCESSES_MAX];
    struct load_result result;
    if (!heartbeat_messages_make(&batches, workers, HEARTBEATS_IN_A_BATCH))
        return fail(failure, "out of memory");
    batches.stride = batches.count / streams;
    struct grpc_source source = heartbeat_stream_source(&batches);
    struct load_plan plan = {.port = muster->health_port,
                             .connections = streams,
                             .outstanding = 4,
                             .per_second = (double)batches.count / HEARTBEAT_INTERVAL_S,
                             .limit = batches.count};
    bool done = load_grpc(&bench->loop, &plan, &source, &result, failure);
    for (size_t i = 0; i < muster->process_count; i++)
        before[i] = process_cpu_seconds(muster->processes[i].pid);
    done = done && load_grpc(&bench->loop, &plan, &source, &result, failure);
    *cores = 0;
    for (size_t i = 0; done && i < muster->process_count; i++) {
        double used = (process_cpu_seconds(muster->processes[i].pid) - before[i]) / HEARTBEAT_INTERVAL_S;
        fprintf(stderr, " %s %.1f %%", muster->processes[i].name, used * 100);
        *cores += used;
    }
    heartbeat_messages_free(&batches);
    return done;
}

static bool note_memory(struct row_result *results, size_t count, const struct server *muster, struct failure *failure)
{
    struct memory all = {0}, owners = {0};
    for (size_t i = 0; i < muster->process_count; i++) {
        const char *name = muster->processes[i].name;
        struct memory one = {0};
        if (!memory_add(muster->processes[i].pid, &one, failure))
            return false;
        fprintf(stderr, " %s %.0f MB", name, (double)one.resident_bytes / MEGABYTE);
        all.resident_bytes += one.resident_bytes;
        if (strcmp(name, "muster-registry") == 0 || strcmp(name, "muster-health") == 0)
            owners.resident_bytes += one.resident_bytes;
    }
    note(row_named(results, count, "scale-memory"), (double)owners.resident_bytes / MEGABYTE);
    note(row_named(results, count, "scale-memory-all"), (double)all.resident_bytes / MEGABYTE);
    return true;
}

/* New workers arrive: how many decisions the assigner makes while it knows all the others. */
static bool assignments(struct bench *bench, const struct server *muster, struct row_result *result,
                        struct failure *failure)
{
    unsigned next = 0;
    struct grpc_source source = assignment_source(&next);
    struct load_result decided;
    if (result == NULL)
        return true;
    struct load_plan plan = {.port = muster->assigner_port,
                             .connections = result->row->connections,
                             .outstanding = result->row->outstanding,
                             .warm_up_ms = bench->warm_up_ms,
                             .window_ms = bench->window_ms};
    if (!load_grpc(&bench->loop, &plan, &source, &decided, failure))
        return false;
    note(result, decided.per_second);
    return true;
}

/* From exec to the first answer that tells the whole roll. */
static bool time_restart(struct bench *bench, struct server *muster, unsigned workers, double *seconds,
                         struct failure *failure)
{
    struct server_plan plan = server_plan_of(bench, 0);
    struct roll_totals totals;
    uint64_t start_us = clock_monotonic_us();
    if (!server_start_registry_again(muster, &plan, failure) || !ask_roll(bench, muster, &totals, failure))
        return false;
    *seconds = (double)(clock_monotonic_us() - start_us) / 1e6;
    server_stop(muster);
    return totals.workers >= workers ? true
                                     : fail(failure, "%u workers were registered, %llu are there after the restart",
                                            workers, (unsigned long long)totals.workers);
}

/* What reads the same rows and does nothing with them but to write them down. */
static bool time_dump(struct bench *bench, const struct server *muster, double *seconds, struct failure *failure)
{
    char path[400];
    snprintf(path, sizeof path, "%s/registry.sqlite3", muster->directory);
    const char *arguments[] = {"sqlite3", path, ".output /dev/null", ".dump worker", NULL};
    struct process_plan plan = {"sqlite3", arguments, muster->directory, bench->server_core, false};
    struct process shell;
    uint64_t start_us = clock_monotonic_us();
    bool dumped = process_start(&shell, &plan, failure) && process_wait_end(&shell, &bench->loop, failure);
    *seconds = (double)(clock_monotonic_us() - start_us) / 1e6;
    process_stop(&shell);
    return dumped;
}

/* The server has been stopped; its file is in the system's memory for both. */
static void restart(struct bench *bench, struct server *muster, unsigned workers, struct row_result *result)
{
    struct measurement *shell = &result->peers[0];
    struct failure failure;
    for (unsigned round = 0; round < RESTARTS; round++) {
        double seconds;
        if (!shell->failed && time_dump(bench, muster, &seconds, &failure))
            note_round(shell, seconds);
        else
            measurement_fail(shell, &failure);
        if (!result->muster.failed && time_restart(bench, muster, workers, &seconds, &failure))
            note_round(&result->muster, seconds);
        else
            measurement_fail(&result->muster, &failure);
    }
    fprintf(stderr, " restart %.2f s, dump %.2f s", measurement_value(&result->muster), measurement_value(shell));
}

void scenario_scale(struct bench *bench, struct row_result *results, size_t count)
{
    unsigned workers = bench->quick ? WORKERS_QUICK : WORKERS;
    struct server muster = {.name = "muster"};
    struct server_plan plan = server_plan_of(bench, 0);
    struct failure failure;
    double cores = 0;
    if (!group_selected(results, count, ROW_SCALE))
        return;
    fprintf(stderr, "%-20s", "scale");
    bool done = server_start_muster(&muster, &plan, &failure) && fill(bench, &muster, workers, &failure);
    if (done) {
        loop_run_ms(&bench->loop, SETTLE_MS);
        done = heartbeats(bench, &muster, workers, 16, &cores, &failure) &&
               note_memory(results, count, &muster, &failure) &&
               assignments(bench, &muster, row_named(results, count, "scale-assignments"), &failure);
    }
    if (done)
        note(row_named(results, count, "scale-cores"), cores * 100);
    else
        group_fail(results, count, ROW_SCALE, "muster", &failure);
    server_stop(&muster);
    struct row_result *restarted = row_named(results, count, "scale-restart");
    if (done && restarted != NULL)
        restart(bench, &muster, workers, restarted);
    fputc('\n', stderr);
}
