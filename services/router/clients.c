/* WatchWorkers, WatchHealth, WatchCatalog; see shell.h. Each is started again whenever it
 * ends; meanwhile the core keeps what it knows. */

#include "services/router/shell.h"

#include "common/log.h"

static void log_end(const char *process, enum rpc_status status, const char *text)
{
    log_info("a watch ended; watching again", LOG_TEXT("process", process), LOG_TEXT("status", rpc_status_name(status)),
             LOG_TEXT("reason", text));
}

/* After a message: publish, or start over when memory ran out in the middle of it. */
static void applied(struct router_shell *shell, struct rpc_call *call, bool done)
{
    if (!done) {
        log_error("out of memory; watching from the start", LOG_TEXT("method", rpc_call_method(call)));
        rpc_call_cancel(call);
    }
    router_shell_touch(shell);
}

/* --- Registry --- */

static void workers_started(struct rpc_call *call)
{
    struct router_shell *shell = rpc_call_context(call);
    Muster__V1__WatchWorkersRequest request = MUSTER__V1__WATCH_WORKERS_REQUEST__INIT;
    request.after_revision = router_workers_begin(shell->core);
    /* Not taken: the call is over already; it is started again. The same holds below. */
    (void)rpc_call_send(call, &request.base);
    rpc_call_half_close(call);
}

static void workers_message(struct rpc_call *call, const void *message)
{
    struct router_shell *shell = rpc_call_context(call);
    applied(shell, call, router_apply_workers(shell->core, message, rpc_loop_now_ms(shell->loop)));
}

static void workers_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    (void)call;
    log_end("muster-registry", status, text);
}

static const struct rpc_events workers_events = {
    .started = workers_started,
    .message = workers_message,
    .ended = workers_ended,
};

/* --- Health --- */

static void health_started(struct rpc_call *call)
{
    struct router_shell *shell = rpc_call_context(call);
    Muster__V1__WatchHealthRequest request = MUSTER__V1__WATCH_HEALTH_REQUEST__INIT;
    router_health_begin(shell->core);
    (void)rpc_call_send(call, &request.base);
    rpc_call_half_close(call);
}

static void health_message(struct rpc_call *call, const void *message)
{
    struct router_shell *shell = rpc_call_context(call);
    applied(shell, call, router_apply_health(shell->core, message, rpc_loop_now_ms(shell->loop)));
}

static void health_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    (void)call;
    log_end("muster-health", status, text);
}

static const struct rpc_events health_events = {
    .started = health_started,
    .message = health_message,
    .ended = health_ended,
};

/* --- Assigner --- */

static void catalog_started(struct rpc_call *call)
{
    Muster__V1__WatchCatalogRequest request = MUSTER__V1__WATCH_CATALOG_REQUEST__INIT;
    (void)rpc_call_send(call, &request.base);
    rpc_call_half_close(call);
}

static void catalog_message(struct rpc_call *call, const void *message)
{
    struct router_shell *shell = rpc_call_context(call);
    applied(shell, call, router_apply_catalog(shell->core, message, rpc_loop_now_ms(shell->loop)));
}

static void catalog_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    (void)call;
    log_end("muster-assigner", status, text);
}

static const struct rpc_events catalog_events = {
    .started = catalog_started,
    .message = catalog_message,
    .ended = catalog_ended,
};

/* --- Life --- */

static void source_start(struct router_shell *shell, struct router_source *source, const char *address,
                         const ProtobufCServiceDescriptor *service, const char *method, const struct rpc_events *events)
{
    source->channel = rpc_channel_create(shell->loop, address, NULL);
    source->watch = rpc_kept_stream_start(source->channel, service, method, NULL, events, shell);
}

static void source_stop(struct router_source *source)
{
    if (source->channel == NULL)
        return;
    rpc_kept_stream_stop(source->watch);
    rpc_channel_destroy(source->channel);
    source->channel = NULL;
}

void router_clients_start(struct router_shell *shell, const char *registry_address, const char *health_address,
                          const char *assigner_address)
{
    source_start(shell, &shell->registry, registry_address, &muster__v1__registry_service__descriptor, "WatchWorkers",
                 &workers_events);
    source_start(shell, &shell->health, health_address, &muster__v1__health_service__descriptor, "WatchHealth",
                 &health_events);
    source_start(shell, &shell->assigner, assigner_address, &muster__v1__assigner_service__descriptor, "WatchCatalog",
                 &catalog_events);
}

void router_clients_stop(struct router_shell *shell)
{
    source_stop(&shell->registry);
    source_stop(&shell->health);
    source_stop(&shell->assigner);
}
