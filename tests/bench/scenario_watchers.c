/* How long a change takes to all who watch: the registry beside etcd, at the same rate of
 * changes, each with a connection for each watcher. Both write a change to the same disk before
 * it is seen. Muster's has four watchers more: the coordinator's other processes.
 *
 * Both have written many records before, as they have when they run for a while: then SQLite
 * writes over its log instead of making it longer, as etcd, whose log is as long as it gets from
 * the start, always does. */

#include "tests/bench/bench.h"
#include "tests/bench/puts.h"
#include "tests/bench/watching.h"

enum {
    RECORDS = 40000,
    RECORDS_QUICK = 2000,
    CHANGES_PER_SECOND = 100,
    CHANGES = 500,
    CHANGES_QUICK = 100,
    WARM_UP_CHANGES = 20,
    CALLERS = 8,
    START_MS = 10000,
    SETTLE_MS = 300,
    LAST_MS = 10000,
    STEP_MS = 10,
};

struct side {
    struct measurement *measurement;
    const struct server *server;
    uint16_t port;
    struct grpc_source (*record)(struct registrations *registrations);
    struct grpc_source (*watch)(struct watching *watching);
    struct grpc_source (*change)(struct watching *watching);
    unsigned next; /* the number of the next change */
};

static bool fill(struct bench *bench, struct side *side, unsigned records, struct failure *failure)
{
    struct registrations registrations = {0};
    struct grpc_source source = side->record(&registrations);
    struct load_plan plan = {.port = side->port, .connections = 4, .outstanding = 64, .limit = records};
    struct load_result result;
    side->next = records;
    return load_grpc(&bench->loop, &plan, &source, &result, failure);
}

static bool await_watchers(struct bench *bench, const struct grpc_run *watchers, unsigned count,
                           struct failure *failure)
{
    for (unsigned waited_ms = 0; load_grpc_answering(watchers) < count; waited_ms += STEP_MS) {
        if (waited_ms > START_MS || loop_interrupted(&bench->loop))
            return fail(failure, "%u of %u watchers began", load_grpc_answering(watchers), count);
        loop_run_ms(&bench->loop, STEP_MS);
    }
    return true;
}

/* Muster's watchers go on after a revision, so that they need no snapshot, and miss nothing
 * whenever they begin; etcd's are waited for. */
static bool await_watchers_of(struct bench *bench, const struct side *side, const struct grpc_run *run,
                              unsigned watchers, struct failure *failure)
{
    if (side->watch != watching_roll_source)
        return await_watchers(bench, run, watchers, failure);
    loop_run_ms(&bench->loop, SETTLE_MS);
    return true;
}

/* Makes the changes, and waits for the last of them to be seen by all. */
static bool make_changes(struct bench *bench, const struct side *side, struct watching *watching,
                         struct failure *failure)
{
    struct grpc_source source = side->change(watching);
    struct load_plan plan = {.port = side->port,
                             .connections = 1,
                             .outstanding = CALLERS,
                             .limit = watching->count,
                             .per_second = CHANGES_PER_SECOND};
    struct load_result result;
    if (!load_grpc(&bench->loop, &plan, &source, &result, failure))
        return false;
    for (unsigned waited_ms = 0; watching->complete < watching->count; waited_ms += STEP_MS) {
        if (waited_ms > LAST_MS || loop_interrupted(&bench->loop))
            return fail(failure, "%u of %u changes were seen by all watchers", watching->complete, watching->count);
        loop_run_ms(&bench->loop, STEP_MS);
    }
    return true;
}

static bool measure_round(struct bench *bench, struct side *side, unsigned watchers, double *milliseconds,
                          struct failure *failure)
{
    struct watching watching;
    struct failure watch_failure = {"the watchers failed"};
    unsigned changes = bench->quick ? CHANGES_QUICK : CHANGES;
    bool done = watching_make(&watching, watchers, side->next, changes, WARM_UP_CHANGES);
    if (!done)
        fail(failure, "out of memory");
    side->next += changes;
    struct roll_totals totals = {0};
    if (done && side->watch == watching_roll_source)
        done = ask_roll(bench, side->server, &totals, failure);
    watching.after_revision = totals.revision;
    struct grpc_source source = side->watch(&watching);
    struct load_plan plan = {.port = side->port, .connections = watchers, .outstanding = 1};
    struct grpc_run *run = done ? load_grpc_begin(&bench->loop, &plan, &source, &watch_failure) : NULL;
    if (done && run == NULL)
        done = fail(failure, "%s", watch_failure.text);
    done =
        done && await_watchers_of(bench, side, run, watchers, failure) && make_changes(bench, side, &watching, failure);
    if (!load_grpc_end(run))
        done = fail(failure, "%s", watch_failure.text);
    *milliseconds = samples_percentile(&watching.latencies, 99);
    fprintf(stderr, " %s %.1f ms (median %.1f)", side->measurement->server, *milliseconds,
            samples_percentile(&watching.latencies, 50));
    if (done && watching.latencies.failed)
        done = fail(failure, "out of memory");
    watching_free(&watching);
    return done;
}

void scenario_watchers(struct bench *bench, struct row_result *results, size_t count)
{
    struct server muster = {0}, etcd = {0};
    struct server_plan plan = server_plan_of(bench, 0);
    struct failure failure;
    struct row_result *result = row_named(results, count, "watchers-100");
    if (result == NULL)
        return;
    fprintf(stderr, "%-20s", result->row->name);
    if (!server_start_etcd(&etcd, &plan, &failure))
        group_fail(results, count, ROW_WATCHERS, "etcd", &failure);
    if (!server_start_muster(&muster, &plan, &failure))
        group_fail(results, count, ROW_WATCHERS, "muster", &failure);
    struct side sides[] = {
        {&result->muster, &muster, muster.registry_port, registration_source, watching_roll_source,
         watching_registrations_source, 0},
        {&result->peers[0], &etcd, etcd.port, put_source, watching_keys_source, watching_puts_source, 0},
    };
    unsigned records = bench->quick ? RECORDS_QUICK : RECORDS;
    for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++)
        if (!sides[i].measurement->failed && !fill(bench, &sides[i], records, &failure))
            measurement_fail(sides[i].measurement, &failure);
    for (unsigned round = 0; round < bench->rounds; round++)
        for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++) {
            double milliseconds;
            if (sides[i].measurement->failed)
                continue;
            if (measure_round(bench, &sides[i], result->row->connections, &milliseconds, &failure))
                note_round(sides[i].measurement, milliseconds);
            else
                measurement_fail(sides[i].measurement, &failure);
        }
    fputc('\n', stderr);
    server_stop(&muster);
    server_stop(&etcd);
}
