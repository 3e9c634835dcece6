/* What workers did, on its way to the history's file; see shell.h. */

#include "services/health/shell.h"

#include "common/clock.h"
#include "services/health/history/history.h"
#include "services/health/history/recorder.h"

#include <string.h>

static void step_ends(struct timer *timer, void *argument);

/* A clock that was set is found out within this time. */
#define LONGEST_WAIT_MS (HISTORY_STEP_SECONDS * 1000)

static void wait_for_step(struct health_shell *shell)
{
    int64_t left_ms = history_step_ends_unix_ms(shell->history) - clock_unix_ms();
    uint64_t delay_ms = left_ms < 1 ? 1 : left_ms > LONGEST_WAIT_MS ? LONGEST_WAIT_MS : (uint64_t)left_ms;
    rpc_loop_timer_start(shell->loop, &shell->history_step, delay_ms, step_ends, shell);
}

static void step_ends(struct timer *timer, void *argument)
{
    struct health_shell *shell = argument;
    (void)timer;
    struct history_batch *batch = history_advance(shell->history, clock_unix_ms());
    if (batch != NULL)
        recorder_write(shell->recorder, batch);
    wait_for_step(shell);
}

bool health_history_start(struct health_shell *shell, const char *path, size_t worker_limit)
{
    shell->history = history_create(worker_limit, clock_unix_ms());
    shell->recorder = shell->history == NULL ? NULL : recorder_create(shell->loop, path);
    if (shell->recorder == NULL) {
        history_destroy(shell->history);
        shell->history = NULL;
        return false;
    }
    health_set_history(shell->core, shell->history);
    wait_for_step(shell);
    return true;
}

void health_history_stop(struct health_shell *shell)
{
    if (shell->recorder == NULL)
        return;
    rpc_loop_timer_stop(shell->loop, &shell->history_step);
    health_set_history(shell->core, NULL);
    struct history_batch *batch = history_finish(shell->history);
    if (batch != NULL)
        recorder_write(shell->recorder, batch);
    recorder_destroy(shell->recorder);
    shell->recorder = NULL;
    history_destroy(shell->history);
    shell->history = NULL;
    health_history_queries_free(shell);
}

void health_history_state(struct health_shell *shell, struct recorder_state *recorder, Muster__V1__HistoryState *state)
{
    struct history_counts counts = history_count(shell->history);
    uint64_t workers = health_count(shell->core).workers;
    recorder_get_state(shell->recorder, recorder);
    muster__v1__history_state__init(state);
    state->kept_workers = counts.present;
    state->worker_limit = counts.limit;
    state->not_kept_workers = workers > counts.present ? workers - counts.present : 0;
    state->dropped_buckets = counts.dropped + recorder->dropped;
    state->failure = recorder->failure;
}

static void record_outcomes(struct rpc_call *call, const void *message)
{
    struct health_shell *shell = rpc_call_context(call);
    const Muster__V1__RecordOutcomesRequest *request = message;
    Muster__V1__RecordOutcomesResponse response = MUSTER__V1__RECORD_OUTCOMES_RESPONSE__INIT;
    for (size_t i = 0; shell->history != NULL && i < request->n_outcomes; i++) {
        const Muster__V1__Outcome *outcome = request->outcomes[i];
        history_requests(shell->history, outcome->worker_id,
                         &(struct history_outcome){.succeeded = outcome->succeeded,
                                                   .server_errors = outcome->server_errors,
                                                   .connection_failures = outcome->connection_failures,
                                                   .timeouts = outcome->timeouts,
                                                   .latency_sum_us = outcome->latency_sum_us});
    }
    rpc_call_reply(call, &response.base);
}

const struct rpc_events history_outcomes_events = {.message = record_outcomes};
