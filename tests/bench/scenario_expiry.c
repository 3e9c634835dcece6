/* What a heartbeat waits for its answer while a large part of the fleet is given up.
 *
 * Half of the workers go on being heard, in batches as gateways send them, at the rate of a
 * million workers every 30 seconds. The others are all heard once within a fraction of a second
 * and then never again, so that all of them are late at once, and gone at once a little later:
 * health evicts them, the registry strikes them off its disk, router and gateway forget them, all
 * on one core. They are half of the fleet and not more, because evictions slow down on purpose
 * when over 55 % of it are silent (services/health/brake.h); this row measures the worse case,
 * in which all of them go as fast as they can.
 *
 * Two rounds of answers on the same connections: the quiet one ends before the first worker is
 * late, the other one begins then and ends with the last eviction. */

#include "common/clock.h"
#include "tests/bench/bench.h"
#include "tests/bench/messages.h"
#include "tests/bench/roll.h"
#include "tests/bench/statistics.h"

enum {
    WORKERS = 100000, /* of each half */
    WORKERS_QUICK = 10000,
    WORKERS_IN_A_PART = 20000,
    LATE_S = 10,
    GONE_S = 13,
    LATE_QUICK_S = 4,
    GONE_QUICK_S = 5,
    /* A million in 30 seconds, in messages; fewer workers are heard more rarely than every second. */
    MESSAGES_PER_SECOND = 1000000 / 30 / HEARTBEATS_IN_A_BATCH,
    WARM_UP_MS = 1000,
    QUIET_END_MS = 500, /* before the first is late */
    GIVE_UP_S = 60,
};

/* What has been seen of the silent half, and the answers before and meanwhile. */
struct expiry {
    unsigned silent, gone;
    uint64_t quiet_until_us, busy_from_us, give_up_us;
    uint64_t first_gone_us, last_gone_us;
    struct samples quiet, busy;
};

static void waited(void *context, double milliseconds)
{
    struct expiry *expiry = context;
    uint64_t now_us = clock_monotonic_us();
    if (now_us < expiry->quiet_until_us)
        samples_add(&expiry->quiet, milliseconds);
    else if (now_us >= expiry->busy_from_us)
        samples_add(&expiry->busy, milliseconds);
}

static bool over(void *context)
{
    const struct expiry *expiry = context;
    return expiry->gone >= expiry->silent || clock_monotonic_us() > expiry->give_up_us;
}

static void happened(void *context, unsigned lane, const Muster__V1__WorkerEvent *event)
{
    struct expiry *expiry = context;
    (void)lane;
    if (event->type != MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_REMOVE)
        return;
    expiry->last_gone_us = clock_monotonic_us();
    if (expiry->gone++ == 0)
        expiry->first_gone_us = expiry->last_gone_us;
}

/* Everybody of these is heard once, as fast as it goes. */
static bool hear(struct bench *bench, const struct server *muster, unsigned first, unsigned workers,
                 struct failure *failure)
{
    struct heartbeat_messages batches;
    if (!heartbeat_messages_make_from(&batches, first, workers, HEARTBEATS_IN_A_BATCH))
        return fail(failure, "out of memory");
    struct grpc_source source = heartbeat_stream_source(&batches);
    struct load_plan plan = {.port = muster->health_port, .connections = 1, .outstanding = 16, .limit = batches.count};
    struct load_result result;
    bool done = load_grpc(&bench->loop, &plan, &source, &result, failure);
    heartbeat_messages_free(&batches);
    return done;
}

/* The first ones are not to be late before the last are registered. */
static bool fill(struct bench *bench, const struct server *muster, unsigned workers, struct failure *failure)
{
    for (unsigned first = 0; first < workers; first += WORKERS_IN_A_PART) {
        unsigned part = workers - first < WORKERS_IN_A_PART ? workers - first : WORKERS_IN_A_PART;
        if (!register_workers(bench, muster, first, part, NULL, failure) ||
            !hear(bench, muster, 0, first + part, failure))
            return false;
        fprintf(stderr, " %u", first + part);
    }
    return true;
}

static bool measure(struct bench *bench, const struct server *muster, const struct row *row, unsigned workers,
                    unsigned late_s, struct expiry *expiry, struct failure *failure)
{
    struct heartbeat_messages living;
    struct roll_totals totals;
    struct failure watch_failure = {"the watcher failed"};
    if (!hear(bench, muster, 0, 2 * workers, failure))
        return false;
    uint64_t silent_from_us = clock_monotonic_us();
    if (!ask_roll(bench, muster, &totals, failure))
        return false;
    if (totals.workers != 2 * workers)
        return fail(failure, "of %u workers %llu are on the roll: this machine is too slow for such timeouts",
                    2 * workers, (unsigned long long)totals.workers);
    if (!heartbeat_messages_make(&living, workers, HEARTBEATS_IN_A_BATCH))
        return fail(failure, "out of memory");
    living.stride = living.count / row->connections;

    struct roll_watch watch = {totals.revision, happened, expiry};
    struct grpc_source changes = roll_watch_source(&watch), heartbeats = heartbeat_stream_source(&living);
    struct load_plan watcher = {.port = muster->registry_port, .connections = 1, .outstanding = 1};
    struct load_plan plan = {.port = muster->health_port,
                             .connections = row->connections,
                             .outstanding = row->outstanding,
                             .warm_up_ms = WARM_UP_MS,
                             .window_ms = GIVE_UP_S * 1000,
                             .per_second = living.count < MESSAGES_PER_SECOND ? living.count : MESSAGES_PER_SECOND,
                             .waited = waited,
                             .over = over,
                             .context = expiry};
    struct load_result result;
    expiry->silent = workers;
    expiry->busy_from_us = silent_from_us + (uint64_t)late_s * 1000000;
    expiry->quiet_until_us = expiry->busy_from_us - QUIET_END_MS * 1000;
    expiry->give_up_us = silent_from_us + (uint64_t)GIVE_UP_S * 1000000;
    struct grpc_run *run = load_grpc_begin(&bench->loop, &watcher, &changes, &watch_failure);
    bool done = run != NULL && load_grpc(&bench->loop, &plan, &heartbeats, &result, failure);
    if (!load_grpc_end(run) || run == NULL)
        done = fail(failure, "%s", watch_failure.text);
    if (done && (expiry->gone != expiry->silent || expiry->first_gone_us < expiry->busy_from_us))
        done = fail(failure, "%u of %u silent workers were gone after %d s", expiry->gone, expiry->silent, GIVE_UP_S);
    if (done && (expiry->quiet.failed || expiry->busy.failed))
        done = fail(failure, "out of memory");
    heartbeat_messages_free(&living);
    return done;
}

void scenario_expiry(struct bench *bench, struct row_result *results, size_t count)
{
    unsigned workers = bench->quick ? WORKERS_QUICK : WORKERS;
    struct row_result *result = row_named(results, count, "expiry");
    struct server muster = {.name = "muster"};
    struct server_plan plan = server_plan_of(bench, 0);
    struct expiry expiry = {0};
    struct failure failure;
    if (result == NULL)
        return;
    fprintf(stderr, "%-20s", result->row->name);
    plan.late_s = bench->quick ? LATE_QUICK_S : LATE_S;
    plan.gone_s = bench->quick ? GONE_QUICK_S : GONE_S;
    if (server_start_muster(&muster, &plan, &failure) && fill(bench, &muster, 2 * workers, &failure) &&
        measure(bench, &muster, result->row, workers, plan.late_s, &expiry, &failure)) {
        note_round(&result->muster, samples_percentile(&expiry.busy, 99));
        note_round(&result->peers[0], samples_percentile(&expiry.quiet, 99));
        fprintf(stderr, " gone within %.2f s; median %.1f and longest %.1f ms, quiet %.1f and %.1f ms",
                (double)(expiry.last_gone_us - expiry.first_gone_us) / 1e6, samples_percentile(&expiry.busy, 50),
                samples_percentile(&expiry.busy, 100), samples_percentile(&expiry.quiet, 50),
                samples_percentile(&expiry.quiet, 100));
    } else {
        group_fail(results, count, ROW_EXPIRY, "muster", &failure);
    }
    samples_free(&expiry.quiet);
    samples_free(&expiry.busy);
    fputc('\n', stderr);
    server_stop(&muster);
}
