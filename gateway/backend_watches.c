/* What the backend follows: the roll, how workers are, the catalog and the route table. Each
 * is a stream that is started again whenever it ends; the roll and the routes resume where they
 * were. */

#include <stdio.h>

#include "common/clock.h"
#include "common/log.h"
#include "gateway/backend.h"
#include "gateway/edge.h"
#include "gateway/front.h"

bool backend_part_is_up(const struct backend *backend, enum backend_part part)
{
    return backend->watches[part] != NULL && rpc_kept_stream_is_up(backend->watches[part]);
}

static void heard_all_of(struct backend *backend, enum backend_part part)
{
    if (backend->heard[part])
        return;
    backend->heard[part] = true;
    if (backend->heard[PART_REGISTRY] && backend->heard[PART_HEALTH] && backend->heard[PART_ASSIGNER])
        backend_events_begin(backend);
    log_debug("part heard", LOG_TEXT("part", backend_part_name(part)));
    for (size_t i = 0; i < PART_COUNT; i++) {
        if (!backend->heard[i])
            return;
    }
    if (backend->all_heard != NULL)
        backend->all_heard(backend->gateway);
}

static void watch_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    log_info("watch ended; it will be started again", LOG_TEXT("method", rpc_call_method(call)),
             LOG_TEXT("status", rpc_status_name(status)), LOG_TEXT("reason", text));
}

static void send_only(struct rpc_call *call, const ProtobufCMessage *request)
{
    if (rpc_call_send(call, request))
        rpc_call_half_close(call);
}

/* --- registry --- */

static void workers_started(struct rpc_call *call)
{
    struct backend *backend = rpc_call_context(call);
    Muster__V1__WatchWorkersRequest request = MUSTER__V1__WATCH_WORKERS_REQUEST__INIT;
    request.after_revision = backend->roll->registry_known ? backend->roll->revision : 0;
    backend->registry_warning[0] = '\0'; /* it says so again */
    send_only(call, &request.base);
}

static void workers_message(struct rpc_call *call, const void *message)
{
    struct backend *backend = rpc_call_context(call);
    const Muster__V1__WatchWorkersResponse *response = message;
    backend_take_secret(backend, &response->token_secret);
    if (response->store != NULL)
        snprintf(backend->registry_warning, sizeof backend->registry_warning, "%s", response->store->failure);
    struct wire_bytes wire;
    wire.data = rpc_call_message_bytes(call, &wire.count);
    backend->roll->now_ms = rpc_loop_now_ms(backend->loop);
    if (!replica_apply_registry(backend->roll, response, &wire)) {
        log_error("out of memory for the roll; it will be read anew");
        backend->roll->registry_known = false;
        rpc_call_cancel(call);
    }
    if (backend->edge != NULL)
        edge_roll_changed(backend);
    backend_publish(backend);
    if (backend->roll->registry_known)
        heard_all_of(backend, PART_REGISTRY);
}

/* --- health --- */

static void health_started(struct rpc_call *call)
{
    struct backend *backend = rpc_call_context(call);
    Muster__V1__WatchHealthRequest request = MUSTER__V1__WATCH_HEALTH_REQUEST__INIT;
    replica_health_begins(backend->roll);
    send_only(call, &request.base);
}

static void health_message(struct rpc_call *call, const void *message)
{
    struct backend *backend = rpc_call_context(call);
    const Muster__V1__WatchHealthResponse *response = message;
    backend->heartbeats_total = response->heartbeats_total;
    backend->heartbeat_interval_ms = response->heartbeat_interval_ms;
    backend->evictions_waiting = response->evictions_waiting;
    snprintf(backend->health_warning, sizeof backend->health_warning, "%s", response->warning);
    if (response->history != NULL) {
        backend->history_workers = response->history->kept_workers;
        backend->history_workers_not_kept = response->history->not_kept_workers;
        backend->history_dropped = response->history->dropped_buckets;
    }
    if (!replica_apply_health(backend->roll, response, rpc_loop_now_ms(backend->loop))) {
        log_error("out of memory for the workers' health; it will be read anew");
        rpc_call_cancel(call);
    }
    backend_publish(backend);
    if (response->snapshot_complete)
        heard_all_of(backend, PART_HEALTH);
}

/* --- assigner --- */

static void catalog_started(struct rpc_call *call)
{
    Muster__V1__WatchCatalogRequest request = MUSTER__V1__WATCH_CATALOG_REQUEST__INIT;
    send_only(call, &request.base);
}

static void catalog_message(struct rpc_call *call, const void *message)
{
    struct backend *backend = rpc_call_context(call);
    if (!replica_apply_catalog(&backend->replica, message)) {
        log_error("out of memory for the catalog; it will be read anew");
        rpc_call_cancel(call);
    }
    backend_publish(backend);
    heard_all_of(backend, PART_ASSIGNER);
}

/* --- router --- */

static void routes_started(struct rpc_call *call)
{
    struct backend *backend = rpc_call_context(call);
    Muster__V1__WatchRoutesRequest request = MUSTER__V1__WATCH_ROUTES_REQUEST__INIT;
    pick_table_position(backend->table, &request);
    send_only(call, &request.base);
}

bool backend_take_routes(struct backend *backend, const Muster__V1__WatchRoutesResponse *routes)
{
    struct gateway *gateway = backend->gateway;
    struct pick_table *table = pick_table_apply(backend->table, routes);
    if (table == NULL)
        return false;
    pick_table_release(backend->table);
    backend->table = table;
    for (unsigned i = 0; i < gateway->front_count; i++)
        front_set_table(gateway->fronts[i], pick_table_reference(table));
    return true;
}

static void routes_message(struct rpc_call *call, const void *message)
{
    struct backend *backend = rpc_call_context(call);
    if (!backend_take_routes(backend, message)) {
        log_error("out of memory for the route table; it will be read anew");
        rpc_call_cancel(call);
    } else if (pick_table_is_whole(backend->table)) {
        heard_all_of(backend, PART_ROUTER);
    }
}

void backend_watches_start(struct backend *backend)
{
    static const struct rpc_events workers = {
        .started = workers_started, .message = workers_message, .ended = watch_ended};
    static const struct rpc_events health = {
        .started = health_started, .message = health_message, .ended = watch_ended};
    static const struct rpc_events catalog = {
        .started = catalog_started, .message = catalog_message, .ended = watch_ended};
    static const struct rpc_events routes = {
        .started = routes_started, .message = routes_message, .ended = watch_ended};
    backend->watches[PART_REGISTRY] =
        rpc_kept_stream_start(backend->channels[PART_REGISTRY], &muster__v1__registry_service__descriptor,
                              "WatchWorkers", NULL, &workers, backend);
    backend->watches[PART_HEALTH] = rpc_kept_stream_start(
        backend->channels[PART_HEALTH], &muster__v1__health_service__descriptor, "WatchHealth", NULL, &health, backend);
    backend->watches[PART_ASSIGNER] =
        rpc_kept_stream_start(backend->channels[PART_ASSIGNER], &muster__v1__assigner_service__descriptor,
                              "WatchCatalog", NULL, &catalog, backend);
    backend->watches[PART_ROUTER] = rpc_kept_stream_start(
        backend->channels[PART_ROUTER], &muster__v1__router_service__descriptor, "WatchRoutes", NULL, &routes, backend);
}
