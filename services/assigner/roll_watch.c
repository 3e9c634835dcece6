/* Keeps the replica up to date; see roll_watch.h. */

#include "services/assigner/roll_watch.h"

#include "common/log.h"

#include <stdlib.h>

struct roll_watch {
    struct assigner *assigner;
    struct rpc_kept_stream *stream;
    bool heard; /* since the stream was last begun */
};

static void started(struct rpc_call *call)
{
    struct roll_watch *watch = rpc_call_context(call);
    Muster__V1__WatchWorkersRequest request = MUSTER__V1__WATCH_WORKERS_REQUEST__INIT;
    request.after_revision = assigner_revision(watch->assigner);
    watch->heard = false;
    rpc_call_send(call, &request.base);
    rpc_call_half_close(call);
}

static void message(struct rpc_call *call, const void *response)
{
    struct roll_watch *watch = rpc_call_context(call);
    const Muster__V1__WatchWorkersResponse *changes = response;
    watch->heard = true;
    if (!assigner_apply(watch->assigner, changes)) {
        log_error("out of memory for the roll; watching it again from the start");
        rpc_call_cancel(call);
    } else if (changes->snapshot_complete) {
        log_info("the roll is known", LOG_UINT("workers", assigner_worker_count(watch->assigner)),
                 LOG_UINT("revision", changes->revision));
    }
}

static void ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    struct roll_watch *watch = rpc_call_context(call);
    /* Said once, not for every attempt to come back. */
    if (watch->heard)
        log_warning("the registry does not answer; going on with what is known",
                    LOG_TEXT("status", rpc_status_name(status)), LOG_TEXT("text", text));
}

struct roll_watch *roll_watch_start(struct rpc_channel *registry, struct assigner *assigner)
{
    struct roll_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        abort();
    watch->assigner = assigner;
    watch->stream =
        rpc_kept_stream_start(registry, &muster__v1__registry_service__descriptor, "WatchWorkers", NULL,
                              &(struct rpc_events){.started = started, .message = message, .ended = ended}, watch);
    return watch;
}

void roll_watch_stop(struct roll_watch *watch)
{
    if (watch == NULL)
        return;
    rpc_kept_stream_stop(watch->stream);
    free(watch);
}
