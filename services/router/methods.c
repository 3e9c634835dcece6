/* Route, Explain, ReportOutcomes, WatchRoutes; see shell.h. */

#include "services/router/shell.h"

#include <stdlib.h>

struct routes_watch {
    struct routes_watch *next;
    struct router_shell *shell;
    struct rpc_call *call;
    struct router_watcher *watcher;
};

static void refuse(struct rpc_call *call, enum router_result result, const char *service)
{
    switch (result) {
    case ROUTER_NO_SERVICE:
        rpc_call_finish(call, RPC_NOT_FOUND, "no service is named \"%.256s\"; the catalog and the workers name some",
                        service);
        break;
    case ROUTER_NO_WORKER:
        rpc_call_finish(call, RPC_UNAVAILABLE, "no worker can serve \"%.256s\" now; Explain says why", service);
        break;
    case ROUTER_NOT_READY:
        rpc_call_finish(call, RPC_UNAVAILABLE, "the router does not know the roll yet; try again soon");
        break;
    case ROUTER_OK:
    case ROUTER_OUT_OF_MEMORY:
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory; try again later");
        break;
    }
}

static void route(struct rpc_call *call, const void *message)
{
    struct router_shell *shell = rpc_call_context(call);
    const Muster__V1__RouteRequest *request = message;
    Muster__V1__RouteResponse response;
    Muster__V1__Endpoint endpoint;
    enum router_result result = router_route(shell->core, request, &response, &endpoint);
    if (result == ROUTER_OK)
        rpc_call_reply(call, &response.base);
    else
        refuse(call, result, request->service);
}

static void explain(struct rpc_call *call, const void *message)
{
    struct router_shell *shell = rpc_call_context(call);
    const Muster__V1__ExplainRequest *request = message;
    Muster__V1__ExplainResponse response;
    enum router_result result = router_explain(shell->core, request->service, rpc_loop_now_ms(shell->loop), &response);
    if (result == ROUTER_OK)
        rpc_call_reply(call, &response.base);
    else
        refuse(call, result, request->service);
}

static void report_outcomes(struct rpc_call *call, const void *message)
{
    struct router_shell *shell = rpc_call_context(call);
    Muster__V1__ReportOutcomesResponse response = MUSTER__V1__REPORT_OUTCOMES_RESPONSE__INIT;
    router_report_outcomes(shell->core, message, rpc_loop_now_ms(shell->loop));
    rpc_call_reply(call, &response.base);
    router_shell_touch(shell);
}

/* --- WatchRoutes --- */

/* One message at a time: what is published while it goes out is gathered into the next. */
static void send_routes(struct routes_watch *watch)
{
    Muster__V1__WatchRoutesResponse response;
    /* Not taken: the call is over, and `ended` on its way. */
    if (rpc_call_writable(watch->call) && router_watcher_fill(watch->shell->core, watch->watcher, &response))
        (void)rpc_call_send(watch->call, &response.base);
}

void router_methods_pump(struct router_shell *shell)
{
    for (struct routes_watch *watch = shell->watches; watch != NULL; watch = watch->next)
        send_routes(watch);
}

void router_methods_stop(struct router_shell *shell)
{
    for (struct routes_watch *watch = shell->watches; watch != NULL; watch = watch->next)
        rpc_call_finish(watch->call, RPC_UNAVAILABLE, "muster-router is stopping; watch again");
}

static void watch_routes(struct rpc_call *call, const void *message)
{
    struct router_shell *shell = rpc_call_context(call);
    struct routes_watch *watch = calloc(1, sizeof(*watch));
    struct router_watcher *watcher =
        watch == NULL || shell->stopping ? NULL : router_watcher_open(shell->core, message);
    if (watcher == NULL) {
        free(watch);
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "at most %d watchers at a time", ROUTER_WATCHERS_MAX);
        return;
    }
    watch->shell = shell;
    watch->call = call;
    watch->watcher = watcher;
    watch->next = shell->watches;
    shell->watches = watch;
    rpc_call_set_user(call, watch);
    rpc_call_set_queue_limit(call, 0);
    send_routes(watch);
}

static void watch_writable(struct rpc_call *call)
{
    struct routes_watch *watch = rpc_call_user(call);
    if (watch != NULL)
        send_routes(watch);
}

static void watch_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    struct routes_watch *watch = rpc_call_user(call);
    (void)status; /* a watcher may leave for any reason */
    (void)text;
    if (watch == NULL)
        return;
    struct routes_watch **link = &watch->shell->watches;
    while (*link != watch)
        link = &(*link)->next;
    *link = watch->next;
    router_watcher_close(watch->shell->core, watch->watcher);
    free(watch);
}

bool router_methods_add(struct router_shell *shell, struct rpc_server *server)
{
    const struct rpc_method methods[] = {
        {"Route", RPC_UNARY, {.message = route}},
        {"Explain", RPC_UNARY, {.message = explain}},
        {"ReportOutcomes", RPC_UNARY, {.message = report_outcomes}},
        {"WatchRoutes",
         RPC_SERVER_STREAMING,
         {.message = watch_routes, .writable = watch_writable, .ended = watch_ended}},
    };
    return rpc_server_add_service(server, &muster__v1__router_service__descriptor, methods,
                                  sizeof(methods) / sizeof(methods[0]), shell);
}
