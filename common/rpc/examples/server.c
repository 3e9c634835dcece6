/* A server: `server HOST:PORT`. Ask it with any gRPC tool; it has reflection. */

#include <stdio.h>
#include <stdlib.h>

#include "clock.pb-c.h"
#include "common/clock.h"
#include "common/rpc/examples/clock_descriptors.h"
#include "common/rpc/rpc.h"

struct ticker { /* one call of Tick */
    struct rpc_call *call;
    struct timer timer;
    uint32_t interval_ms;
};

static void now(struct rpc_call *call, const void *message)
{
    (void)message;
    Example__NowResponse response = EXAMPLE__NOW_RESPONSE__INIT;
    response.unix_ms = clock_unix_ms();
    rpc_call_reply(call, &response.base);
}

static void tick(struct timer *timer, void *argument)
{
    struct ticker *ticker = argument;
    Example__NowResponse response = EXAMPLE__NOW_RESPONSE__INIT;
    response.unix_ms = clock_unix_ms();
    if (rpc_call_writable(ticker->call)) /* a slow client misses ticks, and costs no memory */
        rpc_call_send(ticker->call, &response.base);
    rpc_loop_timer_start(rpc_call_context(ticker->call), timer, ticker->interval_ms, tick, ticker);
}

static void tick_asked(struct rpc_call *call, const void *message)
{
    const Example__TickRequest *request = message;
    struct ticker *ticker = calloc(1, sizeof(*ticker));
    if (ticker == NULL || request->interval_ms == 0) {
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "interval_ms must be above 0");
        free(ticker);
        return;
    }
    ticker->call = call;
    ticker->interval_ms = request->interval_ms;
    rpc_call_set_user(call, ticker);
    tick(&ticker->timer, ticker);
}

static void tick_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    struct ticker *ticker = rpc_call_user(call);
    (void)status; /* cancelled: there is no other end */
    (void)text;
    if (ticker != NULL)
        rpc_loop_timer_stop(rpc_call_context(call), &ticker->timer);
    free(ticker);
}

int main(int argc, char **argv)
{
    static const struct rpc_method methods[] = {
        {"Now", RPC_UNARY, {.message = now}},
        {"Tick", RPC_SERVER_STREAMING, {.message = tick_asked, .ended = tick_ended}},
    };
    char error[256];
    struct rpc_loop *loop = rpc_loop_create();
    struct rpc_server_options options = {.address = argc > 1 ? argv[1] : "127.0.0.1:7200"};
    struct rpc_server *server = rpc_server_create(loop, &options);
    rpc_server_add_service(server, &example__clock__descriptor, methods, 2, loop);
    rpc_server_add_descriptors(server, clock_descriptors, clock_descriptors_bytes);
    uint16_t port = rpc_server_start(server, error, sizeof(error));
    if (port != 0) {
        printf("serving on port %u\n", (unsigned)port);
        fflush(stdout);
        rpc_loop_run(loop); /* common/service adds signals and settings */
    } else {
        fprintf(stderr, "%s\n", error);
    }
    rpc_server_destroy(server);
    rpc_loop_destroy(loop);
    return port == 0;
}
