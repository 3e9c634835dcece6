/* The stream to health that carries the heartbeats which came over REST; heartbeats.h keeps
 * the books. */

#include "common/json/write.h"
#include "common/log.h"
#include "gateway/backend.h"
#include "gateway/edge.h"

/* A message that health has not acknowledged for so long will not be: the stream is begun anew. */
#define ACKNOWLEDGE_LIMIT_MS 5000

static void refuse_unknown(struct job *job)
{
    job_fail(job, ERROR_UNKNOWN_WORKER, "no worker %s is registered; register again", job->heartbeat->worker_id);
}

static void refuse_stale(struct job *job)
{
    job_fail(job, ERROR_STALE_INCARNATION,
             "%s was registered again since this incarnation; stop, or register under another id",
             job->heartbeat->worker_id);
}

static void finish(void *context, struct job *job)
{
    struct backend *backend = context;
    if (job->refusal == MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_REGISTER_AGAIN) {
        refuse_unknown(job);
        return;
    }
    if (job->refusal == MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_STALE_INCARNATION) {
        refuse_stale(job);
        return;
    }
    if (job->refusal == MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_SLOW_DOWN) {
        job_fail(job, ERROR_TOO_MANY_REQUESTS,
                 "%s sends more heartbeats than are taken from one worker; send one every heartbeat_interval seconds",
                 job->heartbeat->worker_id);
        return;
    }
    /* Without memory the load comes with the watch, a moment later. */
    (void)replica_heartbeat(backend->roll, job->heartbeat, job->received_at_ms, rpc_loop_now_ms(backend->loop));
    backend_publish(backend); /* before the front can answer */
    if (backend->edge != NULL && edge_heartbeat_taken(backend, job))
        return;
    if (!job->has_assignment && !job->has_draining) {
        job->status = 200;
        job->constant_body = "{\"status\":\"ok\"}";
        job_done(job);
        return;
    }
    struct json_writer writer = json_writer_into(&job->body);
    json_write_object_begin(&writer);
    json_write_key(&writer, "status");
    json_write_text(&writer, "ok");
    if (job->has_draining)
        json_write_named_bool(&writer, "draining", job->draining);
    if (job->has_assignment) {
        json_write_key(&writer, "assigned_services");
        json_write_array_begin(&writer);
        for (size_t i = 0; i < job->assigned_service_count; i++)
            json_write_text(&writer, job->assigned_services[i]);
        json_write_array_end(&writer);
    }
    json_write_object_end(&writer);
    job_done_with_body(job);
}

static void fail(void *context, struct job *job)
{
    (void)context;
    job_fail(job, ERROR_PART_UNAVAILABLE, "the health process cannot be reached; try again in a moment");
}

/* Says who speaks, once on each stream: health may ask for that. Before the registry was heard nobody knows. */
static void say_token(struct backend *backend, char token[AUTH_PEER_TOKEN_BYTES], Muster__V1__HeartbeatRequest *message)
{
    message->token = (char *)protobuf_c_empty_string;
    if (backend->heartbeat_token_said || !backend->has_secret)
        return;
    auth_peer_token_make(backend->secret, token);
    message->token = token;
    backend->heartbeat_token_said = true;
}

static void send_waiting(struct backend *backend)
{
    /* Sent at once, and packed by that: the list is needed no longer. */
    Muster__V1__Heartbeat *list[HEARTBEATS_MESSAGE_MAX];
    Muster__V1__HeartbeatRequest message = MUSTER__V1__HEARTBEAT_REQUEST__INIT;
    struct rpc_call *call = backend->heartbeat_stream == NULL ? NULL : rpc_kept_stream_call(backend->heartbeat_stream);
    while (call != NULL && heartbeats_next(&backend->heartbeats, rpc_loop_now_ms(backend->loop), &message, list)) {
        char token[AUTH_PEER_TOKEN_BYTES];
        say_token(backend, token, &message);
        if (!rpc_call_send(call, &message.base))
            return; /* it is over: `ended` comes, and fails them */
    }
}

static void turn_ended(void *argument)
{
    send_waiting(argument);
}

void backend_run_heartbeat(struct backend *backend, struct job *job)
{
    bool is_up = backend->heartbeat_stream != NULL && rpc_kept_stream_is_up(backend->heartbeat_stream);
    switch (replica_judge(backend->roll, job->heartbeat)) {
    case REPLICA_STALE_INCARNATION:
        if (!is_up) {
            refuse_stale(job);
            return;
        }
        /* Health is to know, too: it tells operators of two workers with one id. */
        job->refusal = MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_STALE_INCARNATION;
        break;
    case REPLICA_REMOVED:
        refuse_unknown(job);
        return;
    case REPLICA_ASK_HEALTH:
        break;
    }
    if (!is_up) {
        fail(backend, job);
        return;
    }
    if (!heartbeats_add(&backend->heartbeats, job)) {
        job_fail(job, ERROR_TOO_MANY_REQUESTS, "too many heartbeats wait already; try again in a moment");
        return;
    }
    rpc_loop_at_end_of_turn(backend->loop, &backend->heartbeat_hook);
}

static void stream_started(struct rpc_call *call)
{
    struct backend *backend = rpc_call_context(call);
    backend->heartbeat_token_said = false;
}

static void stream_answered(struct rpc_call *call, const void *message)
{
    struct backend *backend = rpc_call_context(call);
    heartbeats_answered(&backend->heartbeats, message, finish, backend);
    rpc_loop_at_end_of_turn(backend->loop, &backend->heartbeat_hook);
}

static void stream_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    struct backend *backend = rpc_call_context(call);
    log_info("heartbeat stream ended; it will be started again", LOG_TEXT("status", rpc_status_name(status)),
             LOG_TEXT("reason", text));
    heartbeats_lost(&backend->heartbeats, fail, backend);
}

static void check_acknowledgements(struct timer *timer, void *argument)
{
    struct backend *backend = argument;
    uint64_t now_ms = rpc_loop_now_ms(backend->loop);
    uint64_t oldest_ms = heartbeats_oldest_ms(&backend->heartbeats);
    struct rpc_call *call = rpc_kept_stream_call(backend->heartbeat_stream);
    (void)timer;
    if (call != NULL && oldest_ms != UINT64_MAX && now_ms - oldest_ms > ACKNOWLEDGE_LIMIT_MS) {
        log_warning("health does not acknowledge heartbeats", LOG_UINT("for_ms", now_ms - oldest_ms));
        rpc_call_cancel(call);
    }
    rpc_loop_timer_start(backend->loop, &backend->heartbeat_timer, 1000, check_acknowledgements, backend);
}

void backend_heartbeats_start(struct backend *backend)
{
    static const struct rpc_events events = {
        .started = stream_started, .message = stream_answered, .ended = stream_ended};
    backend->heartbeat_hook = (struct rpc_turn_hook){.function = turn_ended, .argument = backend};
    backend->heartbeat_stream = rpc_kept_stream_start(
        backend->channels[PART_HEALTH], &muster__v1__health_service__descriptor, "Heartbeat", NULL, &events, backend);
    rpc_loop_timer_start(backend->loop, &backend->heartbeat_timer, 1000, check_acknowledgements, backend);
}

void backend_heartbeats_stop(struct backend *backend)
{
    rpc_loop_timer_stop(backend->loop, &backend->heartbeat_timer);
    rpc_loop_cancel_end_of_turn(backend->loop, &backend->heartbeat_hook);
    if (backend->heartbeat_stream != NULL)
        rpc_kept_stream_stop(backend->heartbeat_stream);
    backend->heartbeat_stream = NULL;
    heartbeats_lost(&backend->heartbeats, fail, backend);
}
