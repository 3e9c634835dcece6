/* WatchHealth; see shell.h. */

#include "services/health/shell.h"

#include "common/clock.h"
#include "services/health/history/recorder.h"

#include <stdlib.h>

#define DEFAULT_INTERVAL_MS 250
#define LONGEST_INTERVAL_MS 60000
/* Workers in one message. */
#define MESSAGE_WORKERS 1000
/* A watcher is sent about so many workers a millisecond: when more change, it is sent less
 * often, and each still once. What is urgent does not wait. A worker costs a router or a
 * gateway about a microsecond; a million workers that are heard every 30 seconds stay below
 * this rate. */
#define WORKERS_PER_MS 40

struct watch {
    struct list_link open;
    struct health_shell *shell;
    struct rpc_call *call;
    struct health_watcher *watcher;
    struct timer gather; /* runs while changes are gathered */
    uint32_t min_interval_ms;
    uint64_t interval_ms;
    bool sending;  /* the rest of a round waits for the call to become writable */
    uint64_t sent; /* workers in this round */
};

static void send_round(struct watch *watch);

static void gathered(struct timer *timer, void *argument)
{
    (void)timer;
    send_round(argument);
}

/* Sends the rest of a round, as far as the call takes it. */
static void send_rest(struct watch *watch)
{
    struct health_shell *shell = watch->shell;
    watch->sending = false;
    struct recorder_state recorder_state;
    Muster__V1__HistoryState history = MUSTER__V1__HISTORY_STATE__INIT;
    if (shell->recorder != NULL)
        health_history_state(shell, &recorder_state, &history);
    for (;;) {
        Muster__V1__WatchHealthResponse response;
        if (!rpc_call_writable(watch->call)) {
            watch->sending = true;
            break;
        }
        if (!health_watcher_fill(shell->core, watch->watcher, MESSAGE_WORKERS, rpc_loop_now_ms(shell->loop),
                                 clock_unix_ms(), &response))
            break;
        watch->sent += response.n_workers;
        response.history = shell->recorder != NULL ? &history : NULL;
        /* Not taken: the call is over, and `ended` on its way. */
        if (!rpc_call_send(watch->call, &response.base))
            break;
    }
    uint64_t by_size_ms = watch->sent / WORKERS_PER_MS;
    watch->interval_ms = by_size_ms > watch->min_interval_ms ? by_size_ms : watch->min_interval_ms;
}

static void send_round(struct watch *watch)
{
    struct health_shell *shell = watch->shell;
    rpc_loop_timer_stop(shell->loop, &watch->gather);
    watch->sent = 0;
    health_watcher_begin_round(shell->core, watch->watcher);
    send_rest(watch);
}

void health_watches_pump(struct health_shell *shell)
{
    bool urgent = health_urgent_changes(shell->core);
    for (struct list_link *link = shell->watches.next; link != &shell->watches; link = link->next) {
        struct watch *watch = LIST_OBJECT(link, struct watch, open);
        if (watch->sending) {
            if (health_watcher_is_too_slow(shell->core, watch->watcher))
                rpc_call_cancel(watch->call);
            else if (urgent)
                health_watcher_begin_round(shell->core, watch->watcher);
        } else if (urgent) {
            send_round(watch);
        } else if (!timer_active(&watch->gather) && health_watcher_is_behind(shell->core, watch->watcher)) {
            rpc_loop_timer_start(shell->loop, &watch->gather, watch->interval_ms, gathered, watch);
        }
    }
}

void health_watches_stop(struct health_shell *shell)
{
    for (struct list_link *link = shell->watches.next; link != &shell->watches; link = link->next)
        rpc_call_finish(LIST_OBJECT(link, struct watch, open)->call, RPC_UNAVAILABLE,
                        "muster-health is stopping; watch again");
}

static void watch_message(struct rpc_call *call, const void *message)
{
    struct health_shell *shell = rpc_call_context(call);
    const Muster__V1__WatchHealthRequest *request = message;
    struct watch *watch = calloc(1, sizeof(*watch));
    struct health_watcher *watcher = watch == NULL || shell->stopping ? NULL : health_watcher_open(shell->core);
    if (watcher == NULL) {
        free(watch);
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "at most %d watchers at a time", HEALTH_WATCHERS_MAX);
        return;
    }
    watch->shell = shell;
    watch->call = call;
    watch->watcher = watcher;
    watch->min_interval_ms = request->min_interval_ms == 0 ? DEFAULT_INTERVAL_MS : request->min_interval_ms;
    if (watch->min_interval_ms > LONGEST_INTERVAL_MS)
        watch->min_interval_ms = LONGEST_INTERVAL_MS;
    watch->interval_ms = watch->min_interval_ms;
    rpc_call_set_user(call, watch);
    list_append(&shell->watches, &watch->open);
    send_round(watch);
}

static void watch_writable(struct rpc_call *call)
{
    struct watch *watch = rpc_call_user(call);
    if (watch != NULL && watch->sending)
        send_rest(watch);
}

static void watch_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    struct watch *watch = rpc_call_user(call);
    (void)status; /* a watcher may leave for any reason */
    (void)text;
    if (watch == NULL)
        return;
    rpc_loop_timer_stop(watch->shell->loop, &watch->gather);
    health_watcher_close(watch->shell->core, watch->watcher);
    list_remove(&watch->open);
    free(watch);
}

const struct rpc_events watches_events = {
    .message = watch_message,
    .writable = watch_writable,
    .ended = watch_ended,
};
