/* See health_watch.h. */

#include "services/assigner/health_watch.h"

#include <stdlib.h>

/* A worker that cannot run its only service any more is to be known of well within a second. */
#define GATHER_MS 250
#define LOOK_EVERY_MS 100

struct health_watch {
    struct rpc_loop *loop;
    struct rpc_channel *health;
    struct assigner *assigner;
    struct timer timer; /* until the roll is known */
    struct rpc_kept_stream *stream;
};

static void started(struct rpc_call *call)
{
    Muster__V1__WatchHealthRequest request = MUSTER__V1__WATCH_HEALTH_REQUEST__INIT;
    request.min_interval_ms = GATHER_MS;
    /* Not taken: the call is over already; it is started again. */
    (void)rpc_call_send(call, &request.base);
    rpc_call_half_close(call);
}

static void message(struct rpc_call *call, const void *response)
{
    struct health_watch *watch = rpc_call_context(call);
    assigner_apply_health(watch->assigner, response, rpc_loop_now_ms(watch->loop));
}

static void ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    struct health_watch *watch = rpc_call_context(call);
    (void)status;
    (void)text;
    assigner_health_lost(watch->assigner);
}

static const struct rpc_events events = {.started = started, .message = message, .ended = ended};

static void start_when_known(struct timer *timer, void *argument)
{
    struct health_watch *watch = argument;
    if (!assigner_is_synchronised(watch->assigner)) {
        rpc_loop_timer_start(watch->loop, timer, LOOK_EVERY_MS, start_when_known, watch);
        return;
    }
    watch->stream = rpc_kept_stream_start(watch->health, &muster__v1__health_service__descriptor, "WatchHealth", NULL,
                                          &events, watch);
}

struct health_watch *health_watch_start(struct rpc_loop *loop, struct rpc_channel *health, struct assigner *assigner)
{
    struct health_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        abort();
    watch->loop = loop;
    watch->health = health;
    watch->assigner = assigner;
    start_when_known(&watch->timer, watch);
    return watch;
}

void health_watch_stop(struct health_watch *watch)
{
    if (watch == NULL)
        return;
    rpc_loop_timer_stop(watch->loop, &watch->timer);
    if (watch->stream != NULL)
        rpc_kept_stream_stop(watch->stream);
    free(watch);
}
