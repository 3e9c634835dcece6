/* Heartbeat and ReportHeartbeats; see shell.h. */

#include "services/health/shell.h"

#include <stdlib.h>

/* A stream whose commands pile up is not read from until they have gone out. */
#define WAITING_COMMANDS_MAX 10000

struct heartbeats {
    struct list_link open;
    struct health_shell *shell;
    struct rpc_call *call;
    struct health_stream *stream;
    bool unary;       /* a call of ReportHeartbeats */
    bool half_closed; /* the client has said all; finish when all of it is answered */
    bool paused;
    bool finished;
    /* The client sent its last message after everything before was acknowledged: it waits
     * for each acknowledgement, and gathering them would only cost time. */
    bool one_by_one;
    size_t unacknowledged; /* messages since the last response */
};

static struct heartbeats *heartbeats_open(struct rpc_call *call, bool unary)
{
    struct health_shell *shell = rpc_call_context(call);
    struct heartbeats *heartbeats = calloc(1, sizeof(*heartbeats));
    if (heartbeats == NULL)
        return NULL;
    heartbeats->shell = shell;
    heartbeats->call = call;
    heartbeats->unary = unary;
    heartbeats->stream = health_stream_open(shell->core, heartbeats);
    if (heartbeats->stream == NULL) {
        free(heartbeats);
        return NULL;
    }
    list_append(&shell->heartbeats, &heartbeats->open);
    return heartbeats;
}

static void heartbeats_close(struct heartbeats *heartbeats)
{
    struct health_shell *shell = heartbeats->shell;
    health_stream_closed(shell->core, heartbeats->stream, rpc_loop_now_ms(shell->loop));
    list_remove(&heartbeats->open);
    free(heartbeats);
    health_shell_touch(shell);
}

/* Ends a call whose message was not taken. */
static void refuse(struct heartbeats *heartbeats, enum health_message_result result)
{
    enum rpc_status status = RPC_INVALID_ARGUMENT;
    const char *text = "";
    switch (result) {
    case HEALTH_MESSAGE_TAKEN:
        return;
    case HEALTH_MESSAGE_BAD_SEQUENCE:
        text = "sequence: must start at 1 and grow with every message";
        break;
    case HEALTH_MESSAGE_TOO_MANY:
        text = "heartbeats: at most 10000 in one message; send several messages";
        break;
    case HEALTH_MESSAGE_NOT_ALLOWED:
        status = RPC_PERMISSION_DENIED;
        text = "token: must be the worker_token of the worker's last registration; each speaks for itself only";
        break;
    case HEALTH_MESSAGE_NOT_READY:
        status = RPC_UNAVAILABLE;
        text = "tokens cannot be checked before the registry was heard; try again in a moment";
        break;
    }
    heartbeats->finished = true;
    rpc_call_finish(heartbeats->call, status, "%s", text);
}

/* --- Answers --- */

static void reply(struct heartbeats *heartbeats)
{
    struct health *core = heartbeats->shell->core;
    Muster__V1__HeartbeatResponse gathered;
    Muster__V1__ReportHeartbeatsResponse response = MUSTER__V1__REPORT_HEARTBEATS_RESPONSE__INIT;
    if (!health_stream_is_settled(heartbeats->stream))
        return;
    if (health_stream_response(core, heartbeats->stream, &gathered)) {
        for (size_t i = 0; i < gathered.n_commands; i++)
            gathered.commands[i]->sequence = 0;
        response.n_commands = gathered.n_commands;
        response.commands = gathered.commands;
    }
    rpc_call_reply(heartbeats->call, &response.base);
    /* Asking again says that the answer has gone out: its commands are not told anew. */
    (void)health_stream_response(core, heartbeats->stream, &gathered);
    heartbeats_close(heartbeats);
}

static void flush(struct heartbeats *heartbeats)
{
    Muster__V1__HeartbeatResponse response;
    if (heartbeats->unary) {
        reply(heartbeats);
        return;
    }
    if (heartbeats->finished || !rpc_call_writable(heartbeats->call))
        return;
    /* Not taken: the call is over, and `ended` on its way. */
    if (health_stream_response(heartbeats->shell->core, heartbeats->stream, &response)) {
        (void)rpc_call_send(heartbeats->call, &response.base);
        heartbeats->one_by_one = heartbeats->unacknowledged <= 1;
        heartbeats->unacknowledged = 0;
    }
    if (heartbeats->paused && health_stream_waiting_commands(heartbeats->stream) == 0) {
        heartbeats->paused = false;
        rpc_call_resume(heartbeats->call);
    }
    if (heartbeats->half_closed && health_stream_is_settled(heartbeats->stream)) {
        heartbeats->finished = true;
        rpc_call_finish(heartbeats->call, RPC_OK, "%s", "");
    }
}

void health_heartbeats_pump(struct health_shell *shell)
{
    for (struct health_stream *stream; (stream = health_next_ready_stream(shell->core)) != NULL;)
        flush(health_stream_user(stream));
}

void health_heartbeats_stop(struct health_shell *shell)
{
    for (struct list_link *link = shell->heartbeats.next; link != &shell->heartbeats; link = link->next) {
        struct heartbeats *heartbeats = LIST_OBJECT(link, struct heartbeats, open);
        if (heartbeats->unary)
            continue; /* answered as soon as the registry was asked */
        flush(heartbeats);
        heartbeats->finished = true;
        rpc_call_finish(heartbeats->call, RPC_UNAVAILABLE, "muster-health is stopping; connect again");
    }
}

void health_heartbeats_free(struct health_shell *shell)
{
    while (!list_is_empty(&shell->heartbeats)) {
        struct heartbeats *heartbeats = LIST_OBJECT(shell->heartbeats.next, struct heartbeats, open);
        list_remove(&heartbeats->open);
        free(heartbeats); /* its stream is the core's, which frees what is open */
    }
}

/* --- The stream --- */

static void stream_started(struct rpc_call *call)
{
    struct health_shell *shell = rpc_call_context(call);
    struct heartbeats *heartbeats = shell->stopping ? NULL : heartbeats_open(call, false);
    if (heartbeats == NULL) {
        rpc_call_finish(call, RPC_UNAVAILABLE, "%s", shell->stopping ? "stopping" : "out of memory; try again later");
        return;
    }
    rpc_call_set_user(call, heartbeats);
    /* Writable only when everything has gone out: so acknowledgements gather. */
    rpc_call_set_queue_limit(call, 0);
}

static void stream_message(struct rpc_call *call, const void *message)
{
    struct heartbeats *heartbeats = rpc_call_user(call);
    if (heartbeats == NULL || heartbeats->finished)
        return;
    struct health_shell *shell = heartbeats->shell;
    enum health_message_result result =
        health_stream_message(shell->core, heartbeats->stream, message, rpc_loop_now_ms(shell->loop));
    if (result != HEALTH_MESSAGE_TAKEN) {
        refuse(heartbeats, result);
        return;
    }
    if (health_stream_waiting_commands(heartbeats->stream) > WAITING_COMMANDS_MAX && !heartbeats->paused) {
        heartbeats->paused = true;
        rpc_call_pause(call);
    }
    heartbeats->unacknowledged++;
    if (heartbeats->one_by_one) {
        flush(heartbeats);
        health_shell_touch_soon(shell);
    } else {
        health_shell_touch(shell);
    }
}

static void stream_half_closed(struct rpc_call *call)
{
    struct heartbeats *heartbeats = rpc_call_user(call);
    if (heartbeats == NULL)
        return;
    heartbeats->half_closed = true;
    flush(heartbeats);
}

static void stream_writable(struct rpc_call *call)
{
    struct heartbeats *heartbeats = rpc_call_user(call);
    if (heartbeats != NULL)
        flush(heartbeats);
}

static void stream_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    struct heartbeats *heartbeats = rpc_call_user(call);
    (void)status; /* however it ended: the stream is not there any more */
    (void)text;
    if (heartbeats != NULL)
        heartbeats_close(heartbeats);
}

const struct rpc_events heartbeats_stream_events = {
    .started = stream_started,
    .message = stream_message,
    .half_closed = stream_half_closed,
    .writable = stream_writable,
    .ended = stream_ended,
};

/* --- The unary call --- */

static void report_message(struct rpc_call *call, const void *message)
{
    const Muster__V1__ReportHeartbeatsRequest *request = message;
    struct heartbeats *heartbeats = heartbeats_open(call, true);
    if (heartbeats == NULL) {
        rpc_call_finish(call, RPC_UNAVAILABLE, "out of memory; try again later");
        return;
    }
    struct health_shell *shell = heartbeats->shell;
    Muster__V1__HeartbeatRequest as_stream = MUSTER__V1__HEARTBEAT_REQUEST__INIT;
    as_stream.n_heartbeats = request->n_heartbeats;
    as_stream.heartbeats = request->heartbeats;
    as_stream.sequence = 1;
    as_stream.relayed = 1; /* the end of this call says nothing about the workers */
    as_stream.token = request->token;
    enum health_message_result result =
        health_stream_message(shell->core, heartbeats->stream, &as_stream, rpc_loop_now_ms(shell->loop));
    if (result != HEALTH_MESSAGE_TAKEN) {
        refuse(heartbeats, result);
        heartbeats_close(heartbeats);
        return;
    }
    health_shell_touch(shell);
}

const struct rpc_events heartbeats_report_events = {.message = report_message};
