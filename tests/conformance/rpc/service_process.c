/* A process of common/service for its test: answers UnaryCall after response_size
 * milliseconds, with an empty payload. */

#include <stdlib.h>

#include "common/service/service.h"
#include "grpc/testing/test.pb-c.h"

struct process {
    bool fails;
};

struct waiting {
    struct rpc_call *call;
    struct timer timer;
};

static void answer(struct timer *timer, void *argument)
{
    struct waiting *waiting = argument;
    (void)timer;
    Grpc__Testing__SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    rpc_call_reply(waiting->call, &response.base);
    free(waiting);
}

static void asked(struct rpc_call *call, const void *message)
{
    const Grpc__Testing__SimpleRequest *request = message;
    struct service *service = rpc_call_context(call);
    struct waiting *waiting = calloc(1, sizeof(*waiting));
    if (waiting == NULL || request->response_size < 0) {
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "response_size is below 0");
        free(waiting);
        return;
    }
    waiting->call = call;
    rpc_loop_timer_start(service->loop, &waiting->timer, (uint64_t)request->response_size, answer, waiting);
}

static bool start(struct service *service)
{
    static const struct rpc_method methods[] = {{"UnaryCall", RPC_UNARY, {.message = asked}}};
    const struct process *process = service->context;
    if (process->fails)
        return service_fail(service, "told to fail; leave out --fail");
    return rpc_server_add_service(service->server, &grpc__testing__test_service__descriptor, methods, 1, service) ||
           service_fail(service, "the method is unknown");
}

int main(int argc, char **argv)
{
    struct process process = {0};
    const struct setting settings[] = {
        {"fail", SETTING_BOOL, &process.fails, NULL, NULL, "Fail to start.", 0, 0},
    };
    struct service service = {
        .program = "service_process",
        .summary = "Answers late.",
        .settings = settings,
        .setting_count = 1,
        .default_port = 7199,
        .context = &process,
        .start = start,
    };
    return service_main(&service, argc, argv);
}
