/* muster-router: knows which worker a request for a service should go to, and tells gateways. */

#include "services/router/shell.h"

#include "common/log.h"
#include "common/random.h"

struct router_settings {
    const char *registry_address;
    const char *health_address;
    const char *assigner_address;
    const char *policy;
};

struct router_process {
    struct router_settings settings;
    struct router_shell shell;
};

/* --- The pump --- */

void router_shell_touch(struct router_shell *shell)
{
    rpc_loop_at_end_of_turn(shell->loop, &shell->pump);
}

static void due(struct timer *timer, void *argument)
{
    (void)timer;
    router_shell_touch(argument);
}

static void pump(void *argument)
{
    struct router_shell *shell = argument;
    uint64_t now_ms = rpc_loop_now_ms(shell->loop);
    bool was_ready = router_is_ready(shell->core);
    router_advance(shell->core, now_ms);
    if (shell->stopping)
        return;
    if (!was_ready && router_is_ready(shell->core))
        log_info("know the roll", LOG_UINT("workers", router_worker_count(shell->core)),
                 LOG_UINT("services", router_service_count(shell->core)));
    router_methods_pump(shell);
    router_prober_pump(shell);
    uint64_t next_ms = router_next_ms(shell->core);
    if (next_ms != UINT64_MAX)
        rpc_loop_timer_start(shell->loop, &shell->next, next_ms > now_ms ? next_ms - now_ms : 1, due, shell);
}

/* --- Life --- */

static bool start(struct service *service)
{
    struct router_process *process = service->context;
    struct router_shell *shell = &process->shell;
    const struct policy *policy = policy_find(process->settings.policy);
    if (policy == NULL)
        return service_fail(service, "--policy \"%s\" is not known; use %s or %s", process->settings.policy,
                            policy_least_loaded.name, policy_equal.name);
    struct random random;
    random_seed_from_kernel(&random);
    shell->loop = service->loop;
    shell->pump.function = pump;
    shell->pump.argument = shell;
    shell->core = router_create(policy, random_next(&random), rpc_loop_now_ms(service->loop));
    if (shell->core == NULL)
        return service_fail(service, "out of memory; free some and start again");
    if (!router_methods_add(shell, service->server))
        return service_fail(service, "the program's own services do not fit together; build it again");
    router_clients_start(shell, process->settings.registry_address, process->settings.health_address,
                         process->settings.assigner_address);
    return true;
}

static void stopping(struct service *service)
{
    struct router_shell *shell = &((struct router_process *)service->context)->shell;
    shell->stopping = true;
    router_methods_stop(shell);
    router_prober_stop(shell);
}

static void stopped(struct service *service)
{
    struct router_shell *shell = &((struct router_process *)service->context)->shell;
    if (shell->core == NULL)
        return;
    router_clients_stop(shell);
    rpc_loop_timer_stop(shell->loop, &shell->next);
    rpc_loop_cancel_end_of_turn(shell->loop, &shell->pump);
    router_destroy(shell->core);
    shell->core = NULL;
}

int main(int argc, char **argv)
{
    struct router_process process = {0};
    struct router_settings *settings = &process.settings;
    const struct setting table[] = {
        {"registry-address", SETTING_TEXT, &settings->registry_address, "127.0.0.1:7101", "HOST:PORT",
         "Where muster-registry serves.", 0, 0},
        {"assigner-address", SETTING_TEXT, &settings->assigner_address, "127.0.0.1:7102", "HOST:PORT",
         "Where muster-assigner serves.", 0, 0},
        {"health-address", SETTING_TEXT, &settings->health_address, "127.0.0.1:7103", "HOST:PORT",
         "Where muster-health serves.", 0, 0},
        {"policy", SETTING_TEXT, &settings->policy, "least-loaded", "NAME",
         "How workers are weighed: least-loaded (by free capacity) or equal.", 0, 0},
    };
    struct service service = {
        .program = "muster-router",
        .summary = "Knows which worker a request for a service should go to.",
        .settings = table,
        .setting_count = sizeof(table) / sizeof(table[0]),
        .default_port = 7104,
        .context = &process,
        .start = start,
        .stopping = stopping,
        .stopped = stopped,
    };
    return service_main(&service, argc, argv);
}
