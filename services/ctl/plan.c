/* What a coordinator consists of; see plan.h. */

#define _GNU_SOURCE

#include "services/ctl/plan.h"

#include "services/ctl/ports.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    enum plan_role role;
    const char *binary;
    unsigned int stage;
} fixed[PLAN_WORKER] = {
    {PLAN_REGISTRY, "muster-registry", 0}, {PLAN_ASSIGNER, "muster-assigner", 1}, {PLAN_HEALTH, "muster-health", 2},
    {PLAN_ROUTER, "muster-router", 2},     {PLAN_GATEWAY, "muster-gateway", 3},   {PLAN_DHT, "muster-dht", 3},
    {PLAN_TUNNEL, "muster-tunnel", 2},
};

#define WORKER_STAGE 4
/* In the data directory: where muster-tunnel tells the gateway its URL. */
#define URL_FILE "public-url"

/* Processes before the demo workers. */
static size_t fixed_count(const struct plan_options *options)
{
    return PLAN_FIXED_COUNT + (size_t)options->dht + (size_t)options->tunnel;
}

static enum plan_role role_of(const struct plan_options *options, size_t index)
{
    if (index < PLAN_FIXED_COUNT)
        return (enum plan_role)index;
    if (index >= fixed_count(options))
        return PLAN_WORKER;
    return index == PLAN_FIXED_COUNT && options->dht ? PLAN_DHT : PLAN_TUNNEL;
}

size_t plan_process_count(const struct plan_options *options)
{
    return fixed_count(options) + (size_t)options->demo_workers;
}

bool plan_listens(const struct plan_options *options, size_t index)
{
    return role_of(options, index) != PLAN_TUNNEL;
}

const char *plan_host_of(const struct plan_options *options, size_t index)
{
    return index == PLAN_GATEWAY ? options->host : options->grpc_host;
}

/* Adds --flag VALUE. */
__attribute__((format(printf, 4, 5))) static void add(struct plan *plan, struct plan_process *process, const char *flag,
                                                      const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *value = NULL;
    if (vasprintf(&value, format, arguments) < 0)
        value = NULL;
    va_end(arguments);
    char *name = NULL;
    if (asprintf(&name, "--%s", flag) < 0)
        name = NULL;
    if (name == NULL || value == NULL || process->argument_count + 2 > PLAN_MAX_ARGUMENTS) {
        free(name);
        free(value);
        plan->failed = true;
        return;
    }
    process->arguments[process->argument_count++] = name;
    process->arguments[process->argument_count++] = value;
}

/* Adds --flag. */
static void add_switch(struct plan *plan, struct plan_process *process, const char *flag)
{
    char *name = NULL;
    if (asprintf(&name, "--%s", flag) < 0 || process->argument_count + 1 > PLAN_MAX_ARGUMENTS) {
        free(name);
        plan->failed = true;
        return;
    }
    process->arguments[process->argument_count++] = name;
}

void plan_local_url(const struct plan_options *options, char *text, size_t text_bytes)
{
    const char *host = options->host;
    if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "*") == 0)
        host = "127.0.0.1";
    else if (strcmp(host, "::") == 0)
        host = "::1";
    char address[300];
    port_format_address(host, options->ports[PLAN_GATEWAY], address, sizeof(address));
    (void)snprintf(text, text_bytes, "http://%s", address);
}

/* Which of the other processes a process calls. */
static bool calls(enum plan_role role, enum plan_role other)
{
    switch (role) {
    case PLAN_REGISTRY:
        return other == PLAN_ASSIGNER;
    case PLAN_ASSIGNER:
        return other == PLAN_REGISTRY || other == PLAN_HEALTH;
    case PLAN_HEALTH:
        return other == PLAN_REGISTRY;
    case PLAN_ROUTER:
        return other == PLAN_REGISTRY || other == PLAN_ASSIGNER || other == PLAN_HEALTH;
    case PLAN_GATEWAY:
        return other < PLAN_GATEWAY;
    case PLAN_DHT:
        return other == PLAN_REGISTRY || other == PLAN_ROUTER;
    case PLAN_TUNNEL:
    case PLAN_WORKER:
    default:
        return false;
    }
}

static void add_addresses(struct plan *plan, struct plan_process *process)
{
    static const char *const flags[] = {"registry-address", "assigner-address", "health-address", "router-address"};
    for (size_t other = 0; other < sizeof(flags) / sizeof(flags[0]); other++)
        if (calls(process->role, (enum plan_role)other))
            add(plan, process, flags[other], "%s", plan->processes[other].address);
}

static void fill(struct plan *plan, struct plan_process *process, size_t index, const struct plan_options *options)
{
    const char *host = plan_host_of(options, index);
    process->role = role_of(options, index);
    if (process->role != PLAN_WORKER) {
        process->stage = fixed[process->role].stage;
        process->binary = fixed[process->role].binary;
        (void)snprintf(process->name, sizeof(process->name), "%s", process->binary);
    } else {
        process->stage = WORKER_STAGE;
        process->binary = "muster-worker";
        (void)snprintf(process->name, sizeof(process->name), "demo-%zu", index - fixed_count(options) + 1);
    }
    if (plan_listens(options, index)) {
        port_format_address(host, options->ports[index], process->address, sizeof(process->address));
        add(plan, process, "host", "%s", host);
        add(plan, process, "port", "%u", options->ports[index]);
    }
    add(plan, process, "ready-fd", "%d", options->ready_fd);
    add(plan, process, "log-level", "%s", options->log_level);
    add(plan, process, "log-format", "%s", options->log_format);
}

static void add_if_given(struct plan *plan, struct plan_process *process, const char *flag, const char *value)
{
    if (value != NULL && value[0] != '\0')
        add(plan, process, flag, "%s", value);
}

/* How long a coordinator may be silent, unless the environment says otherwise. */
static void add_silence(struct plan *plan, struct plan_process *process)
{
    if (getenv("WORKER_TIMEOUT_SECONDS") == NULL)
        add(plan, process, "worker-timeout-seconds", "%d", 300);
}

static void add_own_arguments(struct plan *plan, struct plan_process *process, const struct plan_options *options)
{
    char url[320];
    switch (process->role) {
    case PLAN_REGISTRY:
        add(plan, process, "data-dir", "%s", options->data_dir);
        break;
    case PLAN_ASSIGNER:
        add(plan, process, "catalog", "%s", options->catalog);
        break;
    case PLAN_WORKER:
        plan_local_url(options, url, sizeof(url));
        add(plan, process, "coordinator-url", "%s", url);
        add(plan, process, "worker-id", "%s", process->name);
        add(plan, process, "worker-type", "%s", "cpu");
        /* The environment may say so to the coordinator. */
        add(plan, process, "tunnel", "%s", "");
        add(plan, process, "tunnel-credentials", "%s", "");
        add(plan, process, "tunnel-token", "%s", "");
        break;
    case PLAN_HEALTH:
        add(plan, process, "data-dir", "%s", options->data_dir);
        if (options->worker_tokens)
            add_switch(plan, process, "worker-tokens");
        if (options->role != NULL && strcmp(options->role, PLAN_EDGE_ROUTER) == 0)
            add_silence(plan, process);
        break;
    case PLAN_GATEWAY:
        add_if_given(plan, process, "role", options->role);
        add_if_given(plan, process, "coordinator-id", options->coordinator_id);
        add_if_given(plan, process, "location", options->location);
        if (options->tunnel) {
            add(plan, process, "public-url", "%s", "");
            add(plan, process, "public-url-file", "%s/" URL_FILE, options->data_dir);
        } else {
            add_if_given(plan, process, "public-url", options->public_url);
        }
        add_if_given(plan, process, "join", options->join);
        add_if_given(plan, process, "peer", options->peers);
        if (options->dht)
            add(plan, process, "dht-address", "%s", plan->processes[PLAN_DHT].address);
        add(plan, process, "api-keys", "%s", options->api_keys);
        break;
    case PLAN_DHT:
        plan_local_url(options, url, sizeof(url));
        add(plan, process, "data-dir", "%s", options->data_dir);
        if (options->tunnel)
            add(plan, process, "public-url-file", "%s/" URL_FILE, options->data_dir);
        else
            add(plan, process, "public-url", "%s", options->public_url[0] != '\0' ? options->public_url : url);
        add_if_given(plan, process, "coordinator-id", options->coordinator_id);
        add(plan, process, "location", "%s", options->location);
        add(plan, process, "dht-seeds", "%s", options->dht_seeds);
        if (options->dht_private_peers)
            add_switch(plan, process, "dht-private-peers");
        break;
    case PLAN_TUNNEL:
        plan_local_url(options, url, sizeof(url));
        add(plan, process, "origin", "%s", url);
        add(plan, process, "url-file", "%s/" URL_FILE, options->data_dir);
        add(plan, process, "public-url", "%s", options->public_url);
        add_if_given(plan, process, "tunnel-credentials", options->tunnel_credentials);
        add_if_given(plan, process, "cloudflared", options->cloudflared);
        break;
    case PLAN_ROUTER:
    default:
        break;
    }
    if (options->insecure && process->role != PLAN_WORKER && process->role != PLAN_TUNNEL)
        add_switch(plan, process, "insecure");
}

bool plan_build(struct plan *plan, const struct plan_options *options)
{
    size_t count = plan_process_count(options);
    *plan = (struct plan){.processes = calloc(count, sizeof(*plan->processes))};
    if (plan->processes == NULL)
        return false;
    plan->count = count;
    for (size_t i = 0; i < count; i++)
        fill(plan, &plan->processes[i], i, options);
    /* All addresses are known now. */
    for (size_t i = 0; i < count; i++) {
        add_addresses(plan, &plan->processes[i]);
        add_own_arguments(plan, &plan->processes[i], options);
    }
    return !plan->failed;
}

void plan_free(struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        for (size_t argument = 0; argument < plan->processes[i].argument_count; argument++)
            free(plan->processes[i].arguments[argument]);
    free(plan->processes);
    *plan = (struct plan){0};
}
