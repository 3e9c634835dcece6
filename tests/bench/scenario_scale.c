/* A million workers in one coordinator. They are registered in parts, because each part
 * has a time limit; then each is heard every 30 seconds, through a few streams that carry
 * 64 heartbeats to a message, as gateways send them. */

#include <string.h>

#include "tests/bench/bench.h"
#include "tests/bench/memory.h"
#include "tests/bench/messages.h"

enum {
    WORKERS = 1000000,
    WORKERS_QUICK = 100000,
    WORKERS_IN_A_PART = 50000,
    HEARTBEAT_INTERVAL_S = 30,
    SETTLE_MS = 5000,
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

static struct row_result *find_row(struct row_result *results, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(results[i].row->name, name) == 0)
            return &results[i];
    return NULL;
}

static void note(struct row_result *result, double value)
{
    if (result == NULL || result->muster.failed)
        return;
    result->muster.rounds[0] = value;
    result->muster.count = 1;
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
    note(find_row(results, count, "scale-memory"), (double)owners.resident_bytes / MEGABYTE);
    note(find_row(results, count, "scale-memory-all"), (double)all.resident_bytes / MEGABYTE);
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
               assignments(bench, &muster, find_row(results, count, "scale-assignments"), &failure);
    }
    if (done)
        note(find_row(results, count, "scale-cores"), cores * 100);
    else
        group_fail(results, count, ROW_SCALE, "muster", &failure);
    fputc('\n', stderr);
    server_stop(&muster);
}
