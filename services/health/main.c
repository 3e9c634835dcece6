/* muster-health: takes heartbeats, finds out who is late or gone, and tells the registry and
 * whoever watches. */

#include "services/health/shell.h"

#include "common/log.h"

#include <stddef.h>

/* How long what a heartbeat changed may wait for the registry and the watchers. */
#define SOON_MS 2

struct health_settings {
    const char *registry_address;
    double heartbeat_timeout_seconds;
    double worker_timeout_seconds;
    double stream_grace_seconds;
};

struct health_process {
    struct health_settings settings;
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
    if (next_ms != UINT64_MAX)
        rpc_loop_timer_start(shell->loop, &shell->next, next_ms > now_ms ? next_ms - now_ms : 1, lease_due, shell);
}

/* --- Life --- */

static bool check_settings(struct service *service, const struct health_settings *settings,
                           struct detector_settings *detector)
{
    if (settings->worker_timeout_seconds < settings->heartbeat_timeout_seconds)
        return service_fail(service,
                            "--worker-timeout-seconds %g is below --heartbeat-timeout-seconds %g; a worker must be "
                            "late before it is given up",
                            settings->worker_timeout_seconds, settings->heartbeat_timeout_seconds);
    *detector = (struct detector_settings){
        .late_after_ms = (uint32_t)(settings->heartbeat_timeout_seconds * 1000),
        .removed_after_ms = (uint32_t)(settings->worker_timeout_seconds * 1000),
        .stream_grace_ms = (uint32_t)(settings->stream_grace_seconds * 1000),
    };
    return true;
}

static bool start(struct service *service)
{
    struct health_process *process = service->context;
    struct health_shell *shell = &process->shell;
    struct detector_settings detector;
    if (!check_settings(service, &process->settings, &detector))
        return false;
    shell->loop = service->loop;
    shell->pump.function = pump;
    shell->pump.argument = shell;
    list_init(&shell->heartbeats);
    list_init(&shell->watches);
    shell->core = health_create(&detector, rpc_loop_now_ms(service->loop));
    if (shell->core == NULL)
        return service_fail(service, "out of memory; free some and start again");
    const struct rpc_method methods[] = {
        {"Heartbeat", RPC_BIDI_STREAMING, heartbeats_stream_events},
        {"ReportHeartbeats", RPC_UNARY, heartbeats_report_events},
        {"WatchHealth", RPC_SERVER_STREAMING, watches_events},
    };
    if (!rpc_server_add_service(service->server, &muster__v1__health_service__descriptor, methods,
                                sizeof(methods) / sizeof(methods[0]), shell))
        return service_fail(service, "the program's own services do not fit together; build it again");
    health_registry_client_start(shell, process->settings.registry_address);
    return true;
}

static void stopping(struct service *service)
{
    struct health_shell *shell = &((struct health_process *)service->context)->shell;
    shell->stopping = true;
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
    health_destroy(shell->core);
    shell->core = NULL;
}

int main(int argc, char **argv)
{
    struct health_process process = {0};
    struct health_settings *settings = &process.settings;
    const struct setting table[] = {
        {"registry-address", SETTING_TEXT, &settings->registry_address, "127.0.0.1:7101", "HOST:PORT",
         "Where muster-registry serves.", 0, 0},
        {"heartbeat-timeout-seconds", SETTING_DOUBLE, &settings->heartbeat_timeout_seconds, "90", "SECONDS",
         "A worker that is not heard for so long is degraded.", 0.01, 1000000},
        {"worker-timeout-seconds", SETTING_DOUBLE, &settings->worker_timeout_seconds, "120", "SECONDS",
         "A worker that is not heard for so long is taken off the roll.", 0.01, 1000000},
        {"stream-grace-seconds", SETTING_DOUBLE, &settings->stream_grace_seconds, "5", "SECONDS",
         "A worker whose stream broke is taken off the roll after so long unless it is heard again.", 0, 1000000},
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
