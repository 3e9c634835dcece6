/* WatchWorkers, GetWorkers, ReportLiveness; see shell.h. */

#include "services/health/shell.h"

#include "common/log.h"
#include "common/worker_status.h"

/* A heartbeat of an unknown id waits for its acknowledgement at most that long. */
#define LOOKUP_TIMEOUT_MS 1000
#define REPORT_TIMEOUT_MS 5000
#define REPORT_RETRY_FIRST_MS 100
#define REPORT_RETRY_LONGEST_MS 2000
/* Small enough that the registry's other callers need not wait for it. */
#define REPORT_CHANGES 1000
/* Changes that are logged one by one; above, only their number, gathered for so long. */
#define LOGGED_CHANGES 10
#define LOG_GATHER_MS 1000

/* --- The watch --- */

static void watch_started(struct rpc_call *call)
{
    struct health_shell *shell = rpc_call_context(call);
    Muster__V1__WatchWorkersRequest request = MUSTER__V1__WATCH_WORKERS_REQUEST__INIT;
    request.after_revision = health_watch_begin(shell->core);
    /* Not taken: the call is over already; it is started again. */
    (void)rpc_call_send(call, &request.base);
    rpc_call_half_close(call);
}

static void watch_accepted(struct rpc_call *call)
{
    struct health_shell *shell = rpc_call_context(call);
    log_debug("watching the registry", LOG_TEXT("address", rpc_channel_address(shell->registry)));
}

static void watch_message(struct rpc_call *call, const void *message)
{
    struct health_shell *shell = rpc_call_context(call);
    bool first = !health_is_synchronised(shell->core);
    if (!health_apply_watch(shell->core, message, rpc_loop_now_ms(shell->loop))) {
        log_error("out of memory; watching the registry from the start");
        rpc_call_cancel(call);
    }
    if (first && health_is_synchronised(shell->core))
        log_info("know the roll", LOG_UINT("workers", health_count(shell->core).workers));
    health_shell_touch(shell);
}

static void watch_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    (void)call;
    log_info("the watch of the registry ended; watching again", LOG_TEXT("status", rpc_status_name(status)),
             LOG_TEXT("reason", text));
}

static const struct rpc_events watch_events = {
    .started = watch_started,
    .accepted = watch_accepted,
    .message = watch_message,
    .ended = watch_ended,
};

/* --- Lookups --- */

static void got_workers(struct rpc_call *call, enum rpc_status status, const char *text, const void *response,
                        void *argument)
{
    struct health_shell *shell = argument;
    (void)call;
    if (shell->core == NULL)
        return; /* the process stops: a call that is under way ends after the core has gone */
    if (status != RPC_OK)
        log_debug("cannot ask the registry about unknown workers", LOG_TEXT("status", rpc_status_name(status)),
                  LOG_TEXT("reason", text));
    health_lookup_answered(shell->core, response, rpc_loop_now_ms(shell->loop));
    health_shell_touch(shell);
}

/* --- Reports --- */

static void retry(struct timer *timer, void *argument)
{
    (void)timer;
    health_shell_touch(argument);
}

static void reported(struct rpc_call *call, enum rpc_status status, const char *text, const void *response,
                     void *argument)
{
    struct health_shell *shell = argument;
    (void)call;
    (void)response;
    if (shell->core == NULL)
        return; /* as above */
    health_liveness_answered(shell->core, status == RPC_OK);
    if (status == RPC_OK) {
        shell->report_delay_ms = 0;
    } else {
        shell->report_delay_ms = shell->report_delay_ms == 0 ? REPORT_RETRY_FIRST_MS : shell->report_delay_ms * 2;
        if (shell->report_delay_ms > REPORT_RETRY_LONGEST_MS)
            shell->report_delay_ms = REPORT_RETRY_LONGEST_MS;
        rpc_loop_timer_start(shell->loop, &shell->report_retry, shell->report_delay_ms, retry, shell);
        log_debug("the registry did not take a report; trying again", LOG_TEXT("status", rpc_status_name(status)),
                  LOG_TEXT("reason", text));
    }
    health_shell_touch(shell);
}

static void log_changes(struct health_shell *shell)
{
    if (shell->changes_to_log > 0)
        log_info("workers changed", LOG_UINT("count", shell->changes_to_log));
    shell->changes_to_log = 0;
}

static void log_due(struct timer *timer, void *argument)
{
    (void)timer;
    log_changes(argument);
}

static void log_report(struct health_shell *shell, const Muster__V1__ReportLivenessRequest *request)
{
    if (request->n_changes > LOGGED_CHANGES) {
        shell->changes_to_log += request->n_changes;
        if (!timer_active(&shell->log_changes))
            rpc_loop_timer_start(shell->loop, &shell->log_changes, LOG_GATHER_MS, log_due, shell);
        return;
    }
    for (size_t i = 0; i < request->n_changes; i++)
        log_info("worker changed", LOG_TEXT("worker_id", request->changes[i]->worker_id),
                 LOG_TEXT("status", worker_status_text(request->changes[i]->status)),
                 LOG_TEXT("reason", request->changes[i]->reason));
}

/* --- Life --- */

void health_registry_client_pump(struct health_shell *shell)
{
    Muster__V1__GetWorkersRequest lookup;
    Muster__V1__ReportLivenessRequest report;
    if (health_fill_lookup(shell->core, &lookup))
        rpc_channel_call(shell->registry, &muster__v1__registry_service__descriptor, "GetWorkers", &lookup.base,
                         &(struct rpc_call_options){.timeout_ms = LOOKUP_TIMEOUT_MS}, got_workers, shell);
    if (!shell->stopping && !timer_active(&shell->report_retry) &&
        health_fill_liveness(shell->core, REPORT_CHANGES, rpc_loop_now_ms(shell->loop), &report)) {
        if (shell->report_delay_ms == 0)
            log_report(shell, &report);
        rpc_channel_call(shell->registry, &muster__v1__registry_service__descriptor, "ReportLiveness", &report.base,
                         &(struct rpc_call_options){.timeout_ms = REPORT_TIMEOUT_MS}, reported, shell);
    }
}

void health_registry_client_start(struct health_shell *shell, const char *address)
{
    shell->registry = rpc_channel_create(shell->loop, address, NULL);
    shell->registry_watch = rpc_kept_stream_start(shell->registry, &muster__v1__registry_service__descriptor,
                                                  "WatchWorkers", NULL, &watch_events, shell);
}

void health_registry_client_stop(struct health_shell *shell)
{
    if (shell->registry == NULL)
        return;
    rpc_loop_timer_stop(shell->loop, &shell->report_retry);
    rpc_loop_timer_stop(shell->loop, &shell->log_changes);
    log_changes(shell);
    rpc_kept_stream_stop(shell->registry_watch);
    rpc_channel_destroy(shell->registry);
    shell->registry = NULL;
}
