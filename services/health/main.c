/* muster-health: takes heartbeats, finds out who is late or gone, and tells the registry and
 * whoever watches. */

#include "services/health/shell.h"

#include "common/log.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* How long what a heartbeat changed may wait for the registry and the watchers. */
#define SOON_MS 2

struct health_options {
    const char *registry_address;
    double heartbeat_timeout_seconds;
    double worker_timeout_seconds;
    double stream_grace_seconds;
    const char *data_directory;
    const char *history;
    uint64_t history_workers;
    double brake_percent;
    uint64_t brake_workers_least;
    double flapping_hold_seconds;
    double flapping_hold_seconds_max;
    uint64_t heartbeats_per_second_max;
    bool worker_tokens;
};

struct health_process {
    struct health_options options;
    struct health_shell shell;
};

/* --- The pump --- */

void health_shell_touch(struct health_shell *shell)
{
    rpc_loop_at_end_of_turn(shell->loop, &shell->pump);
}

static void lease_due(struct timer *timer, void *argument)
{
    (void)timer;
    health_shell_touch(argument);
}

void health_shell_touch_soon(struct health_shell *shell)
{
    if (!timer_active(&shell->soon))
        rpc_loop_timer_start(shell->loop, &shell->soon, SOON_MS, lease_due, shell);
}

static void pump(void *argument)
{
    struct health_shell *shell = argument;
    uint64_t now_ms = rpc_loop_now_ms(shell->loop);
    health_advance(shell->core, now_ms);
    health_heartbeats_pump(shell);
    health_registry_client_pump(shell);
    if (shell->stopping)
        return; /* streams that end now do so because of us: nobody is to hear of it */
    health_watches_pump(shell);
    uint64_t next_ms = health_next_ms(shell->core);
    if (next_ms <= now_ms)
        health_shell_touch(shell); /* leases were left for the next turn */
    else if (next_ms != UINT64_MAX)
        rpc_loop_timer_start(shell->loop, &shell->next, next_ms - now_ms, lease_due, shell);
}

/* --- Life --- */

static bool check_options(struct service *service, const struct health_options *options,
                          struct health_settings *settings)
{
    if (options->worker_timeout_seconds < options->heartbeat_timeout_seconds)
        return service_fail(service,
                            "--worker-timeout-seconds %g is below --heartbeat-timeout-seconds %g; a worker must be "
                            "late before it is given up",
                            options->worker_timeout_seconds, options->heartbeat_timeout_seconds);
    if (options->flapping_hold_seconds_max < options->flapping_hold_seconds)
        return service_fail(service,
                            "--flapping-hold-seconds-max %g is below --flapping-hold-seconds %g; raise it, or set "
                            "--flapping-hold-seconds 0 to hold nobody",
                            options->flapping_hold_seconds_max, options->flapping_hold_seconds);
    *settings = (struct health_settings){
        .detector = {.late_after_ms = (uint32_t)(options->heartbeat_timeout_seconds * 1000),
                     .removed_after_ms = (uint32_t)(options->worker_timeout_seconds * 1000),
                     .stream_grace_ms = (uint32_t)(options->stream_grace_seconds * 1000)},
        .brake = {.share = options->brake_percent / 100, .workers_least = (uint32_t)options->brake_workers_least},
        .flapping = {.first_hold_ms = (uint32_t)(options->flapping_hold_seconds * 1000),
                     .longest_hold_ms = (uint32_t)(options->flapping_hold_seconds_max * 1000)},
        .heartbeats_per_second_max = (uint32_t)options->heartbeats_per_second_max,
    };
    return true;
}

/* Where the history goes: --history, or a file in --data-dir, which is made if missing. "": none. */
static bool history_path(struct service *service, char *path, size_t path_bytes)
{
    const struct health_options *options = &((struct health_process *)service->context)->options;
    int bytes;
    path[0] = '\0';
    if (options->history[0] == '\0' && options->data_directory[0] == '\0')
        return true;
    if (options->history[0] != '\0') {
        bytes = snprintf(path, path_bytes, "%s", options->history);
    } else {
        if (mkdir(options->data_directory, 0777) != 0 && errno != EEXIST)
            log_warning("cannot make the data directory", LOG_TEXT("data_directory", options->data_directory),
                        LOG_TEXT("reason", strerror(errno)));
        bytes = snprintf(path, path_bytes, "%s/history.sqlite3", options->data_directory);
    }
    if ((size_t)bytes >= path_bytes)
        return service_fail(service, "the path of the history is longer than %zu bytes; choose a shorter one",
                            path_bytes - 1);
    return true;
}

static bool start_history(struct service *service)
{
    struct health_process *process = service->context;
    char path[PATH_MAX];
    if (!history_path(service, path, sizeof(path)))
        return false;
    if (path[0] != '\0' && !health_history_start(&process->shell, path, process->options.history_workers))
        return service_fail(service, "out of memory, or of threads; free some and start again");
    return true;
}

static bool start(struct service *service)
{
    struct health_process *process = service->context;
    struct health_shell *shell = &process->shell;
    struct health_settings settings;
    if (!check_options(service, &process->options, &settings))
        return false;
    shell->loop = service->loop;
    shell->pump.function = pump;
    shell->pump.argument = shell;
    list_init(&shell->heartbeats);
    list_init(&shell->watches);
    list_init(&shell->history_queries);
    shell->core = health_create(&settings, rpc_loop_now_ms(service->loop));
    if (shell->core == NULL)
        return service_fail(service, "out of memory; free some and start again");
    if (process->options.worker_tokens)
        health_require_tokens(shell->core);
    if (!start_history(service))
        return false;
    const struct rpc_method methods[] = {
        {"Heartbeat", RPC_BIDI_STREAMING, heartbeats_stream_events},
        {"ReportHeartbeats", RPC_UNARY, heartbeats_report_events},
        {"WatchHealth", RPC_SERVER_STREAMING, watches_events},
        {"RecordOutcomes", RPC_UNARY, history_outcomes_events},
        {"QueryHistory", RPC_UNARY, history_read_events},
        {"RunQuery", RPC_UNARY, history_query_events},
    };
    if (!rpc_server_add_service(service->server, &muster__v1__health_service__descriptor, methods,
                                sizeof(methods) / sizeof(methods[0]), shell))
        return service_fail(service, "the program's own services do not fit together; build it again");
    health_registry_client_start(shell, process->options.registry_address);
    return true;
}

static void stopping(struct service *service)
{
    struct health_shell *shell = &((struct health_process *)service->context)->shell;
    shell->stopping = true;
    health_history_queries_cancel(shell);
    health_watches_stop(shell);
    health_heartbeats_stop(shell);
}

static void stopped(struct service *service)
{
    struct health_shell *shell = &((struct health_process *)service->context)->shell;
    if (shell->core == NULL)
        return;
    health_registry_client_stop(shell);
    rpc_loop_timer_stop(shell->loop, &shell->next);
    rpc_loop_timer_stop(shell->loop, &shell->soon);
    rpc_loop_cancel_end_of_turn(shell->loop, &shell->pump);
    health_heartbeats_free(shell);
    health_history_stop(shell);
    health_destroy(shell->core);
    shell->core = NULL;
}

int main(int argc, char **argv)
{
    struct health_process process = {0};
    struct health_options *options = &process.options;
    const struct setting table[] = {
        {"registry-address", SETTING_TEXT, &options->registry_address, "127.0.0.1:7101", "HOST:PORT",
         "Where muster-registry serves.", 0, 0},
        {"heartbeat-timeout-seconds", SETTING_DOUBLE, &options->heartbeat_timeout_seconds, "90", "SECONDS",
         "A worker that is not heard for so long is degraded.", 0.01, 1000000},
        {"worker-timeout-seconds", SETTING_DOUBLE, &options->worker_timeout_seconds, "120", "SECONDS",
         "A worker that is not heard for so long is taken off the roll.", 0.01, 1000000},
        {"stream-grace-seconds", SETTING_DOUBLE, &options->stream_grace_seconds, "5", "SECONDS",
         "A worker whose stream broke is taken off the roll after so long unless it is heard again.", 0, 1000000},
        {"data-dir", SETTING_TEXT, &options->data_directory, "", "DIR",
         "Directory of the history's file, history.sqlite3; made if missing. Empty: no history is kept.", 0, 0},
        {"history", SETTING_TEXT, &options->history, "", "FILE", "The history's file, if it is to be another one.", 0,
         0},
        {"history-workers", SETTING_UINT, &options->history_workers, "2000", "N",
         "Keep history of at most so many workers; a thousand take up to 250 MB.", 1, 100000},
        {"eviction-brake-percent", SETTING_DOUBLE, &options->brake_percent, "55", "PERCENT",
         "When more than this part of the fleet is silent, workers are taken off the roll slowly; 0: never.", 0, 100},
        {"eviction-brake-workers-min", SETTING_UINT, &options->brake_workers_least, "10", "N",
         "A fleet of fewer workers is never braked.", 1, 1000000000},
        {"flapping-hold-seconds", SETTING_DOUBLE, &options->flapping_hold_seconds, "15", "SECONDS",
         "A worker that was lost three times lately is held out of routing for so long, and twice as long for each "
         "time more; 0: nobody is held.",
         0, 1000000},
        {"flapping-hold-seconds-max", SETTING_DOUBLE, &options->flapping_hold_seconds_max, "600", "SECONDS",
         "But never for longer.", 0, 1000000},
        {"heartbeats-per-second-max", SETTING_UINT, &options->heartbeats_per_second_max, "100", "N",
         "Heartbeats of one worker that are taken in a second; more are refused. 0: any number.", 0, 1000000},
        {"worker-tokens", SETTING_BOOL, &options->worker_tokens, NULL, NULL,
         "Take heartbeats from those only who prove with a token that they speak for the worker.", 0, 0},
    };
    struct service service = {
        .program = "muster-health",
        .summary = "Takes heartbeats and finds out which workers are late or gone.",
        .settings = table,
        .setting_count = sizeof(table) / sizeof(table[0]),
        .default_port = 7103,
        .max_message_bytes = 16 << 20,
        .context = &process,
        .start = start,
        .stopping = stopping,
        .stopped = stopped,
    };
    return service_main(&service, argc, argv);
}
