/* grpc.health.v1.Health: whether the server, or one of its services, takes requests.
 *
 * Check answers NOT_FOUND for a service that is not here; Watch says SERVICE_UNKNOWN, and
 * goes on, as the protocol asks for. */

#include <stdlib.h>
#include <string.h>

#include "common/rpc/internal.h"
#include "grpc/health/v1/health.pb-c.h"

typedef Grpc__Health__V1__HealthCheckRequest Request;
typedef Grpc__Health__V1__HealthCheckResponse Response;
typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus Status;

#define SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define SERVICE_UNKNOWN GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN

/* A call of Watch. */
struct rpc_health_watcher {
    struct rpc_health_watcher *next, **link; /* among those of the server */
    struct rpc_call *call;
    char *service;
    Status told;
};

static Status status_of(const struct rpc_server *server, const char *service)
{
    if (service[0] == '\0')
        return server->serving ? SERVING : NOT_SERVING;
    for (size_t i = 0; i < server->service_count; i++) {
        if (strcmp(server->services[i].descriptor->name, service) == 0)
            return server->services[i].serving ? SERVING : NOT_SERVING;
    }
    return SERVICE_UNKNOWN;
}

static void check(struct rpc_call *call, const void *message)
{
    const Request *request = message;
    Response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = status_of(rpc_call_context(call), request->service);
    if (response.status == SERVICE_UNKNOWN)
        rpc_call_finish(call, RPC_NOT_FOUND, "there is no service %s here", request->service);
    else
        rpc_call_reply(call, &response.base);
}

static void tell(struct rpc_health_watcher *watcher, Status status)
{
    Response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = watcher->told = status;
    rpc_call_send(watcher->call, &response.base);
}

static void watch(struct rpc_call *call, const void *message)
{
    struct rpc_server *server = rpc_call_context(call);
    const Request *request = message;
    struct rpc_health_watcher *watcher = rpc_allocate_zeroed(sizeof(*watcher));
    watcher->call = call;
    watcher->service = rpc_copy_text(request->service);
    watcher->next = server->health_watchers;
    watcher->link = &server->health_watchers;
    if (watcher->next != NULL)
        watcher->next->link = &watcher->next;
    server->health_watchers = watcher;
    rpc_call_set_user(call, watcher);
    tell(watcher, status_of(server, watcher->service));
}

static void watch_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    struct rpc_health_watcher *watcher = rpc_call_user(call);
    (void)status;
    (void)text;
    if (watcher == NULL)
        return; /* the call never brought its request */
    *watcher->link = watcher->next;
    if (watcher->next != NULL)
        watcher->next->link = watcher->link;
    free(watcher->service);
    free(watcher);
}

void rpc_health_changed(struct rpc_server *server)
{
    for (struct rpc_health_watcher *watcher = server->health_watchers; watcher != NULL; watcher = watcher->next) {
        Status status = status_of(server, watcher->service);
        if (status != watcher->told)
            tell(watcher, status);
    }
}

void rpc_health_add(struct rpc_server *server)
{
    static const struct rpc_method methods[] = {
        {"Check", RPC_UNARY, {.message = check}},
        {"Watch", RPC_SERVER_STREAMING, {.message = watch, .ended = watch_ended}},
    };
    rpc_server_add(server, &grpc__health__v1__health__descriptor, methods, 2, server, true);
}
