/* muster-registry: who is on the roll, kept on disk. */

#include "services/registry/backup.h"
#include "services/registry/handlers.h"
#include "services/registry/store_choice.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/service/service.h"

#include <stdio.h>

struct process {
    struct store_choice store;
    char durability[200]; /* in words */
    const char *assigner_address;
    struct rpc_server *server;
    struct registry *registry;
    struct ledger *ledger;
    struct registrar *registrar;
    struct watchers *watchers;
    struct rpc_channel *assigner;
    uint8_t secret[STORE_SECRET_BYTES]; /* of the workers' tokens */
    struct handlers handlers;
};

/* --- Start --- */

struct loading {
    struct registry *registry;
    int64_t unix_ms;
};

static bool restore(void *argument, uint64_t row, const char *id, size_t id_bytes, const void *value,
                    size_t value_bytes, struct store_error *error)
{
    struct loading *loading = argument;
    enum registry_result result =
        registry_restore(loading->registry, row, id, id_bytes, value, value_bytes, loading->unix_ms);
    if (result == REGISTRY_OK)
        return true;
    if (result == REGISTRY_OUT_OF_MEMORY)
        snprintf(error->text, sizeof(error->text), "too many workers for the memory of this machine");
    else
        snprintf(error->text, sizeof(error->text),
                 "the row of a worker is damaged; put the file aside or restore a backup");
    return false;
}

/* Everything from the disk into the roll. Ends with a first write, so that a store that cannot
 * be written is found before anything was promised. */
static bool load(struct service *service, struct store *store)
{
    struct process *process = service->context;
    struct loading loading = {process->registry, clock_unix_ms()};
    struct store_meta stored;
    struct store_error error = {""};
    if (store_secret(store, process->secret, &error) != STORE_OK)
        return service_fail(service, "%s", error.text);
    if (store_load(store, &stored, restore, &loading, &error) != STORE_OK)
        return service_fail(service, "%s", error.text);
    registry_restored(process->registry, &(struct registry_meta){stored.revision_ceiling, stored.incarnation_floor});
    struct registry_meta meta = registry_meta_after(process->registry, NULL, 0);
    struct store_batch batch = {.meta = {meta.revision_ceiling, meta.incarnation_floor}};
    if (store_commit(store, &batch, &error) != STORE_OK)
        return service_fail(service, "%s", error.text);
    registry_meta_stored(process->registry, &meta);
    return true;
}

static void roll_changed(void *argument)
{
    struct process *process = argument;
    watchers_wake(process->watchers);
}

/* Without a disk reads go on, but the registry's own service is not what it should be. */
static void store_failed(void *argument, const char *text)
{
    struct process *process = argument;
    rpc_server_set_serving(process->server, muster__v1__registry_service__descriptor.name, text == NULL);
    watchers_set_store_failure(process->watchers, text);
}

static bool start(struct service *service)
{
    struct process *process = service->context;
    enum store_result result;
    struct store_error error = {""};
    struct store *store = store_choice_open(&process->store, process->durability, &result, &error);
    if (store == NULL)
        return service_fail(service, "%s", error.text);
    process->registry = registry_create(REGISTRY_RING_EVENTS);
    if (process->registry == NULL) {
        store_close(store);
        return service_fail(service, "out of memory; make room");
    }
    if (!load(service, store)) {
        store_close(store);
        return false;
    }
    process->server = service->server;
    process->watchers = watchers_create(service->loop, process->registry, process->secret);
    struct writer *writer = writer_create(service->loop, store);
    process->ledger = ledger_create(
        service->loop, process->registry, writer,
        &(struct ledger_events){.changed = roll_changed, .store_failed = store_failed, .argument = process});
    process->assigner = rpc_channel_create(service->loop, process->assigner_address, NULL);
    process->registrar = registrar_create(service->loop, process->registry, process->ledger, process->assigner);
    process->handlers = (struct handlers){.registry = process->registry,
                                          .ledger = process->ledger,
                                          .registrar = process->registrar,
                                          .watchers = process->watchers,
                                          .writer = writer,
                                          .secret = process->secret,
                                          .data_directory = process->store.data_directory};
    random_seed_from_kernel(&process->handlers.random);
    if (!handlers_add(&process->handlers, service->server))
        return service_fail(service, "the table of methods does not fit the service; build it again");
    return true;
}

static void serving(struct service *service)
{
    struct process *process = service->context;
    if (writer_can_back_up(process->handlers.writer))
        backup_remove_left_behind(process->store.data_directory);
    log_info("the roll is there", LOG_UINT("workers", registry_count(process->registry)),
             LOG_UINT("revision", registry_revision(process->registry)), LOG_TEXT("store", process->durability));
    rpc_channel_connect(process->assigner);
}

/* --- End --- */

static void stopping(struct service *service)
{
    struct process *process = service->context;
    watchers_stop(process->watchers);
}

static void stopped(struct service *service)
{
    struct process *process = service->context;
    registrar_destroy(process->registrar);
    if (process->assigner != NULL)
        rpc_channel_destroy(process->assigner);
    ledger_destroy(process->ledger);
    watchers_destroy(process->watchers);
    registry_destroy(process->registry);
}

int main(int argc, char **argv)
{
    struct process process = {.registry = NULL};
    const struct setting settings[] = {
        {.name = "data-dir",
         .type = SETTING_TEXT,
         .value = &process.store.data_directory,
         .default_value = "muster-data",
         .placeholder = "DIR",
         .help = "Directory of the file that the roll is kept in, registry.sqlite3; made if missing."},
        {.name = "store",
         .type = SETTING_TEXT,
         .value = &process.store.kind,
         .default_value = "sqlite",
         .placeholder = "KIND",
         .help = "Where the roll is kept: sqlite (in --data-dir), redis, or memory (nothing is kept)."},
        {.name = "redis-address",
         .type = SETTING_TEXT,
         .value = &process.store.redis_address,
         .default_value = "127.0.0.1:6379",
         .placeholder = "HOST:PORT",
         .help = "With --store redis: where it is. Not encrypted; for a private network."},
        {.name = "redis-database",
         .type = SETTING_UINT,
         .value = &process.store.redis_database,
         .default_value = "0",
         .placeholder = "N",
         .help = "With --store redis: the number of the database.",
         .minimum = 0,
         .maximum = 1000000},
        {.name = "redis-user",
         .type = SETTING_TEXT,
         .value = &process.store.redis_user,
         .placeholder = "NAME",
         .help = "With --store redis: the user to log in as; empty: the default one."},
        {.name = "redis-password",
         .type = SETTING_TEXT,
         .value = &process.store.redis_password,
         .placeholder = "TEXT",
         .help = "With --store redis: its password. Better given as REDIS_PASSWORD: flags can be seen by others."},
        {.name = "redis-prefix",
         .type = SETTING_TEXT,
         .value = &process.store.redis_prefix,
         .default_value = "muster",
         .placeholder = "TEXT",
         .help = "With --store redis: what its keys begin with; one registry to a prefix."},
        {.name = "redis-durability",
         .type = SETTING_TEXT,
         .value = &process.store.redis_durability,
         .default_value = "always",
         .placeholder = "HOW",
         .help = "With --store redis: what Redis must be set to. always: appendonly yes, appendfsync always. "
                 "everysec: the last second may be lost with the power. any: as it is."},
        {.name = "assigner-address",
         .type = SETTING_TEXT,
         .value = &process.assigner_address,
         .default_value = "127.0.0.1:7102",
         .placeholder = "HOST:PORT",
         .help = "Where muster-assigner is."},
    };
    struct service service = {
        .program = "muster-registry",
        .summary = "Keeps the roll: which workers are registered, with what, on disk.",
        .settings = settings,
        .setting_count = sizeof(settings) / sizeof(settings[0]),
        .default_port = 7101,
        .max_message_bytes = 8 * 1024 * 1024,
        .context = &process,
        .start = start,
        .serving = serving,
        .stopping = stopping,
        .stopped = stopped,
    };
    return service_main(&service, argc, argv);
}
