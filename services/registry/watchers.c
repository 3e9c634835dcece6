/* Streams of changes; see watchers.h. */

#include "services/registry/watchers.h"

#include <stdlib.h>

struct watcher {
    struct watcher *next, **link;
    struct watchers *watchers;
    struct rpc_call *call;
    struct registry_cursor cursor;
};

struct watchers {
    struct rpc_loop *loop;
    struct registry *registry;
    struct rpc_turn_hook hook;
    struct watcher *first;
    bool stopping;
};

/* Sends what the call takes. */
static void feed(struct watcher *watcher)
{
    const Muster__V1__WatchWorkersResponse *message;
    while (rpc_call_writable(watcher->call) &&
           (message = registry_cursor_next(watcher->watchers->registry, &watcher->cursor)) != NULL) {
        /* Not taken: the call is over, and `ended` comes. */
        if (!rpc_call_send(watcher->call, &message->base))
            return;
    }
}

static void feed_all(void *argument)
{
    struct watchers *watchers = argument;
    for (struct watcher *watcher = watchers->first; watcher != NULL; watcher = watcher->next)
        feed(watcher);
}

struct watchers *watchers_create(struct rpc_loop *loop, struct registry *registry)
{
    struct watchers *watchers = calloc(1, sizeof(*watchers));
    if (watchers == NULL)
        abort();
    watchers->loop = loop;
    watchers->registry = registry;
    watchers->hook.function = feed_all;
    watchers->hook.argument = watchers;
    return watchers;
}

void watchers_destroy(struct watchers *watchers)
{
    if (watchers == NULL)
        return;
    rpc_loop_cancel_end_of_turn(watchers->loop, &watchers->hook);
    free(watchers);
}

void watchers_add(struct watchers *watchers, struct rpc_call *call, uint64_t after_revision)
{
    struct watcher *watcher = watchers->stopping ? NULL : calloc(1, sizeof(*watcher));
    if (watcher == NULL) {
        rpc_call_finish(call, RPC_UNAVAILABLE,
                        watchers->stopping ? "the registry is stopping; watch again" : "out of memory; watch again");
        return;
    }
    watcher->watchers = watchers;
    watcher->call = call;
    watcher->next = watchers->first;
    watcher->link = &watchers->first;
    if (watcher->next != NULL)
        watcher->next->link = &watcher->next;
    watchers->first = watcher;
    rpc_call_set_user(call, watcher);
    registry_cursor_start(watchers->registry, &watcher->cursor, after_revision);
    feed(watcher);
}

void watchers_writable(struct rpc_call *call)
{
    struct watcher *watcher = rpc_call_user(call);
    if (watcher != NULL)
        feed(watcher);
}

void watchers_ended(struct rpc_call *call)
{
    struct watcher *watcher = rpc_call_user(call);
    if (watcher == NULL)
        return;
    *watcher->link = watcher->next;
    if (watcher->next != NULL)
        watcher->next->link = watcher->link;
    free(watcher);
}

void watchers_wake(struct watchers *watchers)
{
    if (watchers->first != NULL)
        rpc_loop_at_end_of_turn(watchers->loop, &watchers->hook);
}

void watchers_stop(struct watchers *watchers)
{
    watchers->stopping = true;
    for (struct watcher *watcher = watchers->first; watcher != NULL; watcher = watcher->next)
        rpc_call_finish(watcher->call, RPC_UNAVAILABLE, "the registry is stopping; watch again");
}
