/* What the coordinator publishes; see shell.h.
 *
 *     coordinator:{location}   itself
 *     worker:{service}         those of its workers to which requests for the service go, from the
 *                              router's table
 *     service:{worker_id}      each of its workers that takes requests, from the registry
 *
 * Records are made so that they stay the same while nothing changes that others need to know: no
 * loads, no times. Most keys are the workers'; beyond what one node publishes they are left out,
 * the latest first, and tried again when there is room. */

#include "services/dht/shell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/map.h"
#include "common/worker_status.h"
#include "muster/v1/dht.pb-c.h"
#include "muster/v1/registry.pb-c.h"
#include "services/dht/routes.h"

#define RETRY_MS (30 * 1000)
/* Changes of the routes are looked at together. */
#define ROUTES_SETTLE_MS 500
#define SERVICES_MAX 32 /* of one worker's record */

enum source { SOURCE_ROUTER, SOURCE_REGISTRY, SOURCE_COUNT };

/* A key, and what is or would be published under it. */
struct entry {
    char *key;
    uint8_t *data;
    size_t data_bytes;
    enum source source;
    bool wanted;    /* it is to be published */
    bool published; /* and there was room */
    bool stale;     /* not mentioned by the snapshot that comes in */
};

struct roll {
    struct dht_shell *shell;
    struct map entries; /* by key */
    struct rpc_channel *channels[SOURCE_COUNT];
    struct rpc_kept_stream *watches[SOURCE_COUNT];
    struct timer retry;
    struct dht_routes *routes;
    struct timer routes_settle;
    unsigned refused_times; /* in a row that nobody kept anything */
    uint64_t revision;      /* of the registry; 0: a snapshot is needed */
};

/* --- Entries --- */

static void publish(struct roll *roll, struct entry *entry)
{
    struct dht_shell *shell = roll->shell;
    uint64_t now_ms = rpc_loop_now_ms(shell->loop);
    if (entry->wanted)
        entry->published = dht_node_publish(shell->node, now_ms, entry->key, entry->data, entry->data_bytes);
    else
        dht_node_withdraw(shell->node, now_ms, entry->key);
    dht_shell_touch(shell);
}

static struct entry *make_entry(struct roll *roll, const char *prefix, const char *name, enum source source)
{
    char key[DHT_KEY_BYTES_MAX + 2];
    if ((size_t)snprintf(key, sizeof key, "%s%s", prefix, name) > DHT_KEY_BYTES_MAX)
        return NULL; /* longer than any id of a worker; others are not looked for */
    struct entry *entry = map_get_text(&roll->entries, key);
    if (entry != NULL)
        return entry;
    entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return NULL;
    entry->source = source;
    entry->key = strdup(key);
    if (entry->key != NULL && map_put_text(&roll->entries, entry->key, entry, NULL))
        return entry;
    free(entry->key);
    free(entry);
    return NULL;
}

static void set_record(struct roll *roll, struct entry *entry, const Muster__V1__DhtRecord *record)
{
    size_t bytes = muster__v1__dht_record__get_packed_size(record);
    uint8_t *data = malloc(bytes + 1);
    if (data == NULL)
        return; /* what was published before stays until the next change */
    (void)muster__v1__dht_record__pack(record, data);
    free(entry->data);
    entry->data = data;
    entry->data_bytes = bytes;
    entry->stale = false;
    publish(roll, entry);
}

static void free_entry(struct entry *entry)
{
    free(entry->key);
    free(entry->data);
    free(entry);
}

static void drop_entry(struct roll *roll, struct entry *entry)
{
    entry->wanted = false;
    publish(roll, entry);
    (void)map_remove_text(&roll->entries, entry->key); /* it is in there */
    free_entry(entry);
}

static void mark_stale(struct roll *roll, enum source source)
{
    size_t position = 0;
    for (struct entry *entry = map_next(&roll->entries, &position); entry != NULL;
         entry = map_next(&roll->entries, &position))
        entry->stale = entry->source == source;
}

/* What a snapshot did not mention is gone. */
static void drop_stale(struct roll *roll)
{
    struct entry *stale = NULL;
    do {
        size_t position = 0;
        stale = map_next(&roll->entries, &position);
        while (stale != NULL && !stale->stale)
            stale = map_next(&roll->entries, &position);
        if (stale != NULL)
            drop_entry(roll, stale);
    } while (stale != NULL);
}

/* Others refuse what was published in their future, or longer ago than it lives. */
static void check_copies(struct roll *roll)
{
    const struct dht_node *node = roll->shell->node;
    struct dht_counts counts = dht_node_counts(node);
    bool refused = dht_node_joined(node) && counts.published > 0 && counts.published_waiting == counts.published;
    roll->refused_times = refused ? roll->refused_times + 1 : 0;
    if (roll->refused_times == 2) /* not just since it has joined */
        log_warning("no other node keeps what this one publishes; see whether this machine's clock is right");
}

static void retry(struct timer *timer, void *argument)
{
    struct roll *roll = argument;
    size_t position = 0;
    (void)timer;
    for (struct entry *entry = map_next(&roll->entries, &position); entry != NULL;
         entry = map_next(&roll->entries, &position)) {
        if (entry->wanted && !entry->published)
            publish(roll, entry);
    }
    check_copies(roll);
    rpc_loop_timer_start(roll->shell->loop, &roll->retry, RETRY_MS, retry, roll);
}

uint64_t roll_not_published(const struct roll *roll)
{
    uint64_t count = 0;
    size_t position = 0;
    for (const struct entry *entry = roll == NULL ? NULL : map_next(&roll->entries, &position); entry != NULL;
         entry = map_next(&roll->entries, &position))
        count += entry->wanted && !entry->published ? 1 : 0;
    return count;
}

/* --- Records --- */

static char *text(const char *constant)
{
    return (char *)(uintptr_t)constant; /* protobuf-c's messages are not constant */
}

static void begin_record(const struct dht_shell *shell, Muster__V1__DhtRecord *record)
{
    muster__v1__dht_record__init(record);
    record->coordinator_id = text(shell->coordinator_id);
    record->coordinator_url = text(shell->url);
    record->location = text(shell->settings.location);
}

/* As many of the workers as fit. */
static void publish_service(struct roll *roll, struct dht_routes_service *service)
{
    struct entry *entry = make_entry(roll, "worker:", service->name, SOURCE_ROUTER);
    if (entry == NULL)
        return;
    if (service->total == 0) {
        drop_entry(roll, entry);
        return;
    }
    Muster__V1__DhtWorker *list[DHT_ROUTES_WORKERS_MAX];
    Muster__V1__DhtRecord record;
    begin_record(roll->shell, &record);
    record.worker_count = service->total < UINT32_MAX ? (uint32_t)service->total : UINT32_MAX;
    record.workers = list;
    while (record.n_workers < service->count) {
        list[record.n_workers] = &service->workers[record.n_workers];
        record.n_workers++;
        if (muster__v1__dht_record__get_packed_size(&record) > DHT_DATA_BYTES_MAX) {
            record.n_workers--;
            break;
        }
    }
    entry->wanted = true;
    set_record(roll, entry, &record);
}

static void add_service(Muster__V1__DhtWorker *worker, const Muster__V1__DhtRecord *record, const char *service)
{
    for (size_t i = 0; i < worker->n_services; i++) {
        if (strcmp(worker->services[i], service) == 0)
            return;
    }
    if (worker->n_services == SERVICES_MAX)
        return;
    worker->services[worker->n_services++] = text(service);
    if (muster__v1__dht_record__get_packed_size(record) > DHT_DATA_BYTES_MAX)
        worker->n_services--;
}

static void publish_worker(struct roll *roll, const Muster__V1__Worker *worker)
{
    const Muster__V1__WorkerSpec *spec = worker->spec;
    struct entry *entry = make_entry(roll, "service:", spec->worker_id, SOURCE_REGISTRY);
    if (entry == NULL)
        return;
    Muster__V1__DhtRecord record;
    Muster__V1__DhtWorker one = MUSTER__V1__DHT_WORKER__INIT, *list[1] = {&one};
    Muster__V1__Capabilities capabilities = MUSTER__V1__CAPABILITIES__INIT;
    char *services[SERVICES_MAX];
    begin_record(roll->shell, &record);
    record.workers = list;
    record.n_workers = 1;
    one.worker_id = spec->worker_id;
    one.url = spec->tunnel_url;
    one.type = worker->type;
    if (strlen(spec->location) <= 256)
        one.location = spec->location;
    one.services = services;
    if (spec->capabilities != NULL) {
        capabilities = *spec->capabilities;
        capabilities.json = text("");
        one.capabilities = &capabilities;
        if (muster__v1__dht_record__get_packed_size(&record) > DHT_DATA_BYTES_MAX / 2)
            one.capabilities = NULL; /* texts of a stranger's, without end */
    }
    for (size_t i = 0; i < worker->n_assigned_services; i++)
        add_service(&one, &record, worker->assigned_services[i]);
    for (size_t i = 0; i < spec->n_services; i++)
        add_service(&one, &record, spec->services[i]->name);
    entry->wanted = worker_status_routable(worker->status);
    set_record(roll, entry, &record);
}

static void publish_coordinator(struct roll *roll)
{
    Muster__V1__DhtRecord record;
    /* Of no source: no snapshot says whether it is there. */
    struct entry *entry = make_entry(roll, "coordinator:", roll->shell->settings.location, SOURCE_COUNT);
    if (entry == NULL)
        return;
    begin_record(roll->shell, &record);
    entry->wanted = true;
    set_record(roll, entry, &record);
}

void roll_moved(struct roll *roll)
{
    size_t position = 0;
    for (struct entry *entry = map_next(&roll->entries, &position); entry != NULL;
         entry = map_next(&roll->entries, &position)) {
        Muster__V1__DhtRecord *record =
            entry->data == NULL ? NULL : muster__v1__dht_record__unpack(NULL, entry->data_bytes, entry->data);
        char *url = record == NULL ? NULL : strdup(roll->shell->url);
        if (url != NULL) { /* else what was published before stays until the next change */
            if (record->coordinator_url != protobuf_c_empty_string)
                free(record->coordinator_url);
            record->coordinator_url = url;
            while (record->n_workers > 0 && muster__v1__dht_record__get_packed_size(record) > DHT_DATA_BYTES_MAX)
                muster__v1__dht_worker__free_unpacked(record->workers[--record->n_workers], NULL);
            bool stale = entry->stale;
            set_record(roll, entry, record);
            entry->stale = stale;
        }
        if (record != NULL)
            muster__v1__dht_record__free_unpacked(record, NULL);
    }
}

/* --- Watches --- */

static void watch_ended(struct rpc_call *call, enum rpc_status status, const char *reason)
{
    log_info("a watch ended; watching again", LOG_TEXT("method", rpc_call_method(call)),
             LOG_TEXT("status", rpc_status_name(status)), LOG_TEXT("reason", reason));
}

static void routes_started(struct rpc_call *call)
{
    Muster__V1__WatchRoutesRequest request = MUSTER__V1__WATCH_ROUTES_REQUEST__INIT;
    /* Not taken: the call is over already; it is started again. The same holds below. */
    (void)rpc_call_send(call, &request.base);
    rpc_call_half_close(call);
}

static void routes_settled(struct timer *timer, void *argument)
{
    struct roll *roll = argument;
    struct dht_routes_service service;
    (void)timer;
    while (dht_routes_next_changed(roll->routes, &service))
        publish_service(roll, &service);
}

static void routes_message(struct rpc_call *call, const void *message)
{
    struct roll *roll = rpc_call_context(call);
    if (!dht_routes_apply(roll->routes, message)) {
        log_error("out of memory for the routes; they will be read anew");
        rpc_call_cancel(call);
    }
    if (!timer_active(&roll->routes_settle))
        rpc_loop_timer_start(roll->shell->loop, &roll->routes_settle, ROUTES_SETTLE_MS, routes_settled, roll);
}

static void workers_started(struct rpc_call *call)
{
    struct roll *roll = rpc_call_context(call);
    Muster__V1__WatchWorkersRequest request = MUSTER__V1__WATCH_WORKERS_REQUEST__INIT;
    request.after_revision = roll->revision;
    (void)rpc_call_send(call, &request.base);
    rpc_call_half_close(call);
}

static void apply_event(struct roll *roll, const Muster__V1__WorkerEvent *event)
{
    if (event->type == MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_PUT && event->worker != NULL &&
        event->worker->spec != NULL) {
        publish_worker(roll, event->worker);
        return;
    }
    struct entry *entry = make_entry(roll, "service:", event->worker_id, SOURCE_REGISTRY);
    if (entry == NULL)
        return;
    if (event->type != MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_STATUS || entry->data == NULL) {
        drop_entry(roll, entry);
        return;
    }
    entry->wanted = worker_status_routable(event->status);
    publish(roll, entry);
}

static void workers_message(struct rpc_call *call, const void *message)
{
    struct roll *roll = rpc_call_context(call);
    const Muster__V1__WatchWorkersResponse *response = message;
    if (response->snapshot_begin) {
        roll->revision = 0;
        mark_stale(roll, SOURCE_REGISTRY);
    }
    for (size_t i = 0; i < response->n_events; i++)
        apply_event(roll, response->events[i]);
    if (response->snapshot_complete)
        drop_stale(roll);
    if (response->revision != 0)
        roll->revision = response->revision;
}

/* --- Life --- */

static void watch(struct roll *roll, enum source source, const char *address, const ProtobufCServiceDescriptor *service,
                  const char *method, const struct rpc_events *events)
{
    roll->channels[source] = rpc_channel_create(roll->shell->loop, address, NULL);
    roll->watches[source] = rpc_kept_stream_start(roll->channels[source], service, method, NULL, events, roll);
}

struct roll *roll_create(struct dht_shell *shell)
{
    static const struct rpc_events routes = {
        .started = routes_started, .message = routes_message, .ended = watch_ended};
    static const struct rpc_events workers = {
        .started = workers_started, .message = workers_message, .ended = watch_ended};
    struct roll *roll = calloc(1, sizeof *roll);
    if (roll == NULL)
        return NULL;
    roll->shell = shell;
    roll->routes = dht_routes_create();
    if (roll->routes == NULL) {
        free(roll);
        return NULL;
    }
    publish_coordinator(roll);
    watch(roll, SOURCE_ROUTER, shell->settings.router_address, &muster__v1__router_service__descriptor, "WatchRoutes",
          &routes);
    watch(roll, SOURCE_REGISTRY, shell->settings.registry_address, &muster__v1__registry_service__descriptor,
          "WatchWorkers", &workers);
    rpc_loop_timer_start(shell->loop, &roll->retry, RETRY_MS, retry, roll);
    return roll;
}

void roll_destroy(struct roll *roll)
{
    if (roll == NULL)
        return;
    rpc_loop_timer_stop(roll->shell->loop, &roll->retry);
    rpc_loop_timer_stop(roll->shell->loop, &roll->routes_settle);
    for (size_t i = 0; i < SOURCE_COUNT; i++) {
        rpc_kept_stream_stop(roll->watches[i]);
        rpc_channel_destroy(roll->channels[i]);
    }
    size_t position = 0;
    for (struct entry *entry = map_next(&roll->entries, &position); entry != NULL;
         entry = map_next(&roll->entries, &position))
        free_entry(entry);
    map_free(&roll->entries);
    dht_routes_free(roll->routes);
    free(roll);
}
