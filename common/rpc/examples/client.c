/* A client: `client HOST:PORT`. Asks once, then listens to three ticks, also when the server
 * goes away and comes back in between. */

#include <stdio.h>

#include "clock.pb-c.h"
#include "common/rpc/rpc.h"

struct client {
    struct rpc_loop *loop;
    int ticks;
};

static void told(struct rpc_call *call, enum rpc_status status, const char *text, const void *response, void *argument)
{
    const Example__NowResponse *now = response;
    (void)call;
    (void)argument;
    if (status == RPC_OK)
        printf("now %lld\n", (long long)now->unix_ms);
    else
        printf("%s: %s\n", rpc_status_name(status), text);
}

static void started(struct rpc_call *call)
{
    Example__TickRequest request = EXAMPLE__TICK_REQUEST__INIT;
    request.interval_ms = 10;
    rpc_call_send(call, &request.base);
    rpc_call_half_close(call);
}

static void ticked(struct rpc_call *call, const void *message)
{
    const Example__NowResponse *now = message;
    struct client *client = rpc_call_context(call);
    printf("tick %lld\n", (long long)now->unix_ms);
    if (++client->ticks == 3)
        rpc_loop_stop(client->loop);
}

int main(int argc, char **argv)
{
    static const struct rpc_events events = {.started = started, .message = ticked};
    struct client client = {.loop = rpc_loop_create()};
    struct rpc_channel *channel = rpc_channel_create(client.loop, argc > 1 ? argv[1] : "127.0.0.1:7200", NULL);
    Example__NowRequest request = EXAMPLE__NOW_REQUEST__INIT;
    rpc_channel_call(channel, &example__clock__descriptor, "Now", &request.base,
                     &(struct rpc_call_options){.timeout_ms = 1000}, told, NULL);
    rpc_kept_stream_start(channel, &example__clock__descriptor, "Tick", NULL, &events, &client);
    rpc_loop_run(client.loop);
    rpc_channel_destroy(channel);
    rpc_loop_destroy(client.loop);
    return 0;
}
