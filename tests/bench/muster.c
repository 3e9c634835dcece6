#include "tests/bench/server.h"

#include <string.h>

enum { UNHEARD_S = 3600 };

/* "127.0.0.1:7101" */
struct address {
    char text[32];
    char port[8];
    uint16_t number;
};

static bool pick_address(struct address *address, struct failure *failure)
{
    address->number = process_free_port();
    snprintf(address->text, sizeof address->text, "127.0.0.1:%u", address->number);
    snprintf(address->port, sizeof address->port, "%u", address->number);
    return address->number != 0 ? true : fail(failure, "no free port on the loopback address");
}

static bool run_binary(struct server *server, const struct server_plan *plan, const char *name, const char *binary,
                       const char **arguments, struct failure *failure)
{
    char path[600];
    if (!server_find_file(binary, path, sizeof path, failure))
        return false;
    arguments[0] = path;
    struct process_plan process = {name, arguments, server->directory, plan->core, true};
    return server_run(server, plan, &process, 0, failure);
}

static bool run_registry(struct server *server, const struct server_plan *plan, struct failure *failure)
{
    char port[8], assigner_address[32];
    snprintf(port, sizeof port, "%u", server->registry_port);
    snprintf(assigner_address, sizeof assigner_address, "127.0.0.1:%u", server->assigner_port);
    const char *arguments[] = {"",
                               "--port",
                               port,
                               "--assigner-address",
                               assigner_address,
                               "--data-dir",
                               server->directory,
                               "--log-level",
                               "warning",
                               NULL};
    return run_binary(server, plan, "muster-registry", "services/registry/muster-registry", arguments, failure);
}

bool server_start_registry_again(struct server *server, const struct server_plan *plan, struct failure *failure)
{
    return run_registry(server, plan, failure);
}

bool server_start_muster(struct server *server, const struct server_plan *plan, struct failure *failure)
{
    struct address registry, assigner, health, router, gateway;
    if (!server_prepare(server, "muster", plan, failure) || !pick_address(&registry, failure) ||
        !pick_address(&assigner, failure) || !pick_address(&health, failure) || !pick_address(&router, failure) ||
        !pick_address(&gateway, failure))
        return false;
    server->port = gateway.number;
    server->registry_port = registry.number;
    server->assigner_port = assigner.number;
    server->health_port = health.number;
    char late_s[16], gone_s[16];
    snprintf(late_s, sizeof late_s, "%u", plan->late_s != 0 ? plan->late_s : UNHEARD_S);
    snprintf(gone_s, sizeof gone_s, "%u", plan->gone_s != 0 ? plan->gone_s : 2 * UNHEARD_S);
    const char *assigner_arguments[] = {"",
                                        "--port",
                                        assigner.port,
                                        "--registry-address",
                                        registry.text,
                                        "--health-address",
                                        health.text,
                                        "--log-level",
                                        "warning",
                                        NULL};
    const char *health_arguments[] = {"",
                                      "--port",
                                      health.port,
                                      "--registry-address",
                                      registry.text,
                                      "--heartbeat-timeout-seconds",
                                      late_s,
                                      "--worker-timeout-seconds",
                                      gone_s,
                                      "--stream-grace-seconds",
                                      "3600",
                                      "--heartbeats-per-second-max",
                                      "0",
                                      "--log-level",
                                      "warning",
                                      NULL};
    const char *router_arguments[] = {"",
                                      "--port",
                                      router.port,
                                      "--registry-address",
                                      registry.text,
                                      "--assigner-address",
                                      assigner.text,
                                      "--health-address",
                                      health.text,
                                      "--log-level",
                                      "warning",
                                      NULL};
    const char *gateway_arguments[] = {"",
                                       "--host",
                                       "127.0.0.1",
                                       "--port",
                                       gateway.port,
                                       "--http-threads",
                                       "1",
                                       "--registry-address",
                                       registry.text,
                                       "--assigner-address",
                                       assigner.text,
                                       "--health-address",
                                       health.text,
                                       "--router-address",
                                       router.text,
                                       "--log-level",
                                       "warning",
                                       NULL};
    return run_registry(server, plan, failure) &&
           run_binary(server, plan, "muster-assigner", "services/assigner/muster-assigner", assigner_arguments,
                      failure) &&
           (plan->unwatched ||
            (run_binary(server, plan, "muster-health", "services/health/muster-health", health_arguments, failure) &&
             run_binary(server, plan, "muster-router", "services/router/muster-router", router_arguments, failure) &&
             run_binary(server, plan, "muster-gateway", "gateway/muster-gateway", gateway_arguments, failure)));
}

bool server_add_worker(struct server *server, const struct server_plan *plan, struct failure *failure)
{
    char coordinator_url[64];
    snprintf(coordinator_url, sizeof coordinator_url, "http://127.0.0.1:%u", server->port);
    const char *arguments[] = {
        "",  "--coordinator-url", coordinator_url, "--worker-id", "bench-worker", "--worker-type", "cpu", "--port",
        "0", "--log-level",       "warning",       NULL};
    return run_binary(server, plan, "muster-worker", "services/worker/muster-worker", arguments, failure);
}

bool server_add_worker_with(struct server *server, const struct server_plan *plan, const char *worker_id,
                            const char *service, bool linked, struct failure *failure)
{
    char coordinator_url[64];
    snprintf(coordinator_url, sizeof coordinator_url, "http://127.0.0.1:%u", server->port);
    const char *arguments[] = {"",
                               "--coordinator-url",
                               coordinator_url,
                               "--worker-id",
                               worker_id,
                               "--worker-type",
                               "cpu",
                               "--port",
                               "0",
                               "--log-level",
                               "warning",
                               "--service",
                               service,
                               linked ? "--tunnel" : NULL, /* which ends the list */
                               "link",
                               NULL};
    return run_binary(server, plan, "muster-worker", "services/worker/muster-worker", arguments, failure);
}
