/* muster-assigner: what a worker should run, and where the gaps are. */

#include "services/assigner/assigner.h"
#include "services/assigner/handlers.h"
#include "services/assigner/health_watch.h"
#include "services/assigner/mover.h"
#include "services/assigner/roll_watch.h"

#include "common/log.h"
#include "common/service/service.h"

#include <stdio.h>

struct process {
    const char *catalog_path; /* "": the default catalog */
    const char *registry_address, *health_address;
    struct assigner_balance balance;
    double sustain_seconds, dwell_seconds;
    struct assigner *assigner;
    struct rpc_channel *registry, *health;
    struct roll_watch *watch;
    struct health_watch *health_watch;
    struct handlers *handlers;
    struct mover *mover;
};

/* The catalog that the settings name; NULL with an error. */
static struct catalog *read_catalog(const struct process *process, char error[CATALOG_ERROR_BYTES])
{
    if (process->catalog_path[0] != '\0')
        return catalog_read_file(process->catalog_path, error);
    struct catalog *catalog = catalog_create_default();
    if (catalog == NULL)
        snprintf(error, CATALOG_ERROR_BYTES, "out of memory; make room");
    return catalog;
}

static bool start(struct service *service)
{
    struct process *process = service->context;
    char error[CATALOG_ERROR_BYTES];
    struct catalog *catalog = read_catalog(process, error);
    if (catalog == NULL)
        return service_fail(service, "%s", error);
    process->assigner = assigner_create(catalog);
    if (process->assigner == NULL)
        return service_fail(service, "out of memory; make room");
    process->balance.sustain_ms = (uint64_t)(process->sustain_seconds * 1000);
    process->balance.dwell_ms = (uint64_t)(process->dwell_seconds * 1000);
    if (process->balance.spare >= process->balance.overloaded)
        return service_fail(service,
                            "--spare-load must be less than --overloaded-load, or work would swing to and fro");
    assigner_set_balance(process->assigner, &process->balance);
    process->handlers = handlers_create(service->loop, process->assigner);
    process->registry = rpc_channel_create(service->loop, process->registry_address, NULL);
    process->health = rpc_channel_create(service->loop, process->health_address, NULL);
    if (!handlers_add(process->handlers, service->server))
        return service_fail(service, "the table of methods does not fit the service; build it again");
    return true;
}

static void serving(struct service *service)
{
    struct process *process = service->context;
    process->watch = roll_watch_start(process->registry, process->assigner);
    process->health_watch = health_watch_start(service->loop, process->health, process->assigner);
    process->mover = mover_start(service->loop, process->registry, process->assigner);
}

#define IDLE_RULES_SAID 20

static void say_idle_rule(const struct catalog_service *service, const char *worker_id, bool is_there, void *argument)
{
    size_t *said = argument;
    if (++*said > IDLE_RULES_SAID)
        return;
    log_warning(is_there ? "the catalog tells a worker to run a service that its type cannot run; change one of the two"
                         : "the catalog tells a worker to run a service, and no worker on the roll has that id",
                LOG_TEXT("service", service->name), LOG_TEXT("worker_id", worker_id));
}

static void reload(struct service *service)
{
    struct process *process = service->context;
    char error[CATALOG_ERROR_BYTES];
    struct catalog *catalog = read_catalog(process, error);
    if (catalog == NULL) {
        log_error("the catalog was not read again; the old one stays", LOG_TEXT("error", error));
        return;
    }
    if (!assigner_set_catalog(process->assigner, catalog)) {
        log_error("the catalog was not exchanged; the old one stays", LOG_TEXT("error", "out of memory"));
        return;
    }
    log_info("the catalog was read again", LOG_UINT("services", catalog_count(assigner_catalog(process->assigner))));
    size_t said = 0;
    if (assigner_is_synchronised(process->assigner))
        assigner_idle_rules(process->assigner, say_idle_rule, &said);
    if (said > IDLE_RULES_SAID)
        log_warning("and there are more of these", LOG_UINT("in_all", said));
    handlers_catalog_changed(process->handlers);
}

static void stopping(struct service *service)
{
    struct process *process = service->context;
    handlers_stop(process->handlers);
}

static void stopped(struct service *service)
{
    struct process *process = service->context;
    mover_stop(process->mover);
    roll_watch_stop(process->watch);
    health_watch_stop(process->health_watch);
    if (process->registry != NULL)
        rpc_channel_destroy(process->registry);
    if (process->health != NULL)
        rpc_channel_destroy(process->health);
    handlers_destroy(process->handlers);
    assigner_destroy(process->assigner);
}

int main(int argc, char **argv)
{
    struct process process = {.assigner = NULL};
    const struct setting settings[] = {
        {.name = "catalog",
         .type = SETTING_TEXT,
         .value = &process.catalog_path,
         .placeholder = "FILE",
         .help = "JSON file of the services to assign, read again on SIGHUP; empty: the built-in catalog."},
        {.name = "registry-address",
         .type = SETTING_TEXT,
         .value = &process.registry_address,
         .default_value = "127.0.0.1:7101",
         .placeholder = "HOST:PORT",
         .help = "Where muster-registry is."},
        {.name = "health-address",
         .type = SETTING_TEXT,
         .value = &process.health_address,
         .default_value = "127.0.0.1:7103",
         .placeholder = "HOST:PORT",
         .help = "Where muster-health is."},
        {.name = "overloaded-load",
         .type = SETTING_DOUBLE,
         .value = &process.balance.overloaded,
         .default_value = "0.85",
         .placeholder = "SHARE",
         .help = "A service whose workers say that much of their load gets a worker of another one; above 1: never.",
         .minimum = 0.1,
         .maximum = 2},
        {.name = "spare-load",
         .type = SETTING_DOUBLE,
         .value = &process.balance.spare,
         .default_value = "0.6",
         .placeholder = "SHARE",
         .help = "A service gives a worker away when the rest would have at most that load.",
         .minimum = 0,
         .maximum = 1},
        {.name = "overload-seconds",
         .type = SETTING_DOUBLE,
         .value = &process.sustain_seconds,
         .default_value = "30",
         .placeholder = "SECONDS",
         .help = "Both must have been so for so long before work moves.",
         .minimum = 0.1,
         .maximum = 86400},
        {.name = "dwell-seconds",
         .type = SETTING_DOUBLE,
         .value = &process.dwell_seconds,
         .default_value = "300",
         .placeholder = "SECONDS",
         .help = "Afterwards neither service is touched for so long.",
         .minimum = 0.1,
         .maximum = 86400},
    };
    struct service service = {
        .program = "muster-assigner",
        .summary = "Decides which services each worker should run, and says where the gaps are.",
        .settings = settings,
        .setting_count = sizeof(settings) / sizeof(settings[0]),
        .default_port = 7102,
        .max_message_bytes = 64 * 1024 * 1024,
        .context = &process,
        .start = start,
        .serving = serving,
        .reload = reload,
        .stopping = stopping,
        .stopped = stopped,
    };
    return service_main(&service, argc, argv);
}
