/* A call: what both ends have in common; see call.h, and internal.h for how it works. */

#include "common/rpc/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/internal.h"

#define DEFAULT_QUEUE_LIMIT_BYTES ((size_t)256 << 10)
#define STATUS_TEXT_BYTES 1024
/* What a message costs on top of its bytes; also makes an empty one count. */
#define MESSAGE_OVERHEAD_BYTES 5

static void send_done(struct rpc_tag *tag, bool success);
static void receive_done(struct rpc_tag *tag, bool success);
static void end_done(struct rpc_tag *tag, bool success);

struct rpc_call *rpc_call_create(struct rpc_loop *loop, enum rpc_side side)
{
    struct rpc_call *call = rpc_allocate_zeroed(sizeof(*call));
    call->loop = loop;
    call->side = side;
    call->queue_end = &call->queue;
    call->queue_limit_bytes = DEFAULT_QUEUE_LIMIT_BYTES;
    call->send_tag.function = send_done;
    call->receive_tag.function = receive_done;
    call->end_tag.function = end_done;
    call->status_text = grpc_empty_slice();
    grpc_metadata_array_init(&call->received_headers);
    grpc_metadata_array_init(&call->received_trailers);
    return call;
}

static void untouch(struct rpc_call *call)
{
    if (call->link_touched == NULL)
        return;
    *call->link_touched = call->next_touched;
    if (call->next_touched != NULL)
        call->next_touched->link_touched = call->link_touched;
    else
        call->loop->touched_end = call->link_touched;
    call->link_touched = NULL;
}

static void drop_queue(struct rpc_call *call)
{
    while (call->queue != NULL) {
        struct rpc_queued *queued = call->queue;
        call->queue = queued->next;
        call->queued_bytes -= queued->bytes;
        call->queued_messages--;
        grpc_byte_buffer_destroy(queued->buffer);
        free(queued);
    }
    call->queue_end = &call->queue;
}

static void drop_received(struct rpc_call *call)
{
    if (call->received != NULL)
        grpc_byte_buffer_destroy(call->received);
    call->received = NULL;
}

void rpc_call_free(struct rpc_call *call)
{
    untouch(call);
    rpc_call_unlink(call);
    drop_queue(call);
    drop_received(call);
    if (call->sending != NULL)
        grpc_byte_buffer_destroy(call->sending);
    grpc_metadata_array_destroy(&call->received_headers);
    grpc_metadata_array_destroy(&call->received_trailers);
    rpc_metadata_free(&call->headers);
    rpc_metadata_free(&call->trailers);
    grpc_slice_unref(call->status_text);
    gpr_free(call->peer);
    if (call->core != NULL)
        grpc_call_unref(call->core);
    free(call);
}

void rpc_call_link(struct rpc_call *call, struct rpc_call **list)
{
    call->next = *list;
    call->link = list;
    if (call->next != NULL)
        call->next->link = &call->next;
    *list = call;
}

void rpc_call_unlink(struct rpc_call *call)
{
    if (call->link == NULL)
        return;
    *call->link = call->next;
    if (call->next != NULL)
        call->next->link = call->link;
    call->link = NULL;
}

void rpc_call_touch(struct rpc_call *call)
{
    struct rpc_loop *loop = call->loop;
    if (call->link_touched != NULL)
        return;
    call->next_touched = NULL;
    call->link_touched = loop->touched_end;
    *loop->touched_end = call;
    loop->touched_end = &call->next_touched;
}

void rpc_call_start(struct rpc_call *call, const grpc_op *operations, size_t count, struct rpc_tag *tag)
{
    grpc_call_error error = grpc_call_start_batch(call->core, operations, count, tag, NULL);
    if (error != GRPC_CALL_OK)
        abort(); /* a batch that is not allowed is a mistake in this file */
    call->outstanding++;
    call->loop->outstanding++;
}

/* The first thing that each tag's function does. */
void rpc_call_completed(struct rpc_call *call)
{
    call->outstanding--;
    call->loop->outstanding--;
    rpc_call_touch(call);
}

/* --- Sending --- */

static bool may_send(const struct rpc_call *call)
{
    return !call->over && !call->cancelled && !call->last_wanted;
}

/* Takes the buffer over. */
static void enqueue(struct rpc_call *call, grpc_byte_buffer *buffer, size_t bytes)
{
    struct rpc_queued *queued = rpc_allocate(sizeof(*queued));
    queued->next = NULL;
    queued->buffer = buffer;
    queued->bytes = bytes + MESSAGE_OVERHEAD_BYTES;
    *call->queue_end = queued;
    call->queue_end = &queued->next;
    call->queued_bytes += queued->bytes;
    call->queued_messages++;
    if (!rpc_call_writable(call))
        call->unwritable = true;
    rpc_call_touch(call);
}

bool rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message)
{
    if (!may_send(call))
        return false;
    size_t bytes;
    grpc_byte_buffer *buffer = rpc_pack(message, &bytes);
    enqueue(call, buffer, bytes);
    return true;
}

bool rpc_call_send_packed(struct rpc_call *call, const struct rpc_packed *packed)
{
    if (!may_send(call))
        return false;
    enqueue(call, rpc_packed_share(packed), rpc_packed_bytes(packed));
    return true;
}

void rpc_call_half_close(struct rpc_call *call)
{
    if (call->side != RPC_SIDE_CLIENT || !may_send(call))
        return;
    call->last_wanted = true;
    rpc_call_touch(call);
}

void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *message)
{
    rpc_call_send(call, message);
    rpc_call_finish(call, RPC_OK, "%s", "");
}

void rpc_call_finish(struct rpc_call *call, enum rpc_status status, const char *format, ...)
{
    if (call->side != RPC_SIDE_SERVER || call->last_wanted)
        return;
    call->last_wanted = true;
    call->status = (grpc_status_code)status;
    char text[STATUS_TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (length > 0)
        call->status_text = grpc_slice_from_copied_string(text);
    rpc_call_touch(call);
}

void rpc_call_cancel(struct rpc_call *call)
{
    if (call->over || call->cancelled)
        return;
    call->cancelled = true;
    call->last_wanted = true;
    drop_queue(call);
    drop_received(call);
    grpc_call_error error = grpc_call_cancel(call->core, NULL);
    (void)error; /* fails only for a reserved argument that is not NULL */
    rpc_call_touch(call);
}

size_t rpc_call_queued_bytes(const struct rpc_call *call)
{
    return call->queued_bytes;
}

size_t rpc_call_queued_messages(const struct rpc_call *call)
{
    return call->queued_messages;
}

bool rpc_call_writable(const struct rpc_call *call)
{
    return call->queued_bytes <= call->queue_limit_bytes;
}

void rpc_call_set_queue_limit(struct rpc_call *call, size_t bytes)
{
    call->queue_limit_bytes = bytes;
    if (!rpc_call_writable(call))
        call->unwritable = true;
}

bool rpc_call_add_header(struct rpc_call *call, const struct rpc_metadata *metadata)
{
    return !call->headers_sent && rpc_metadata_add(&call->headers, metadata);
}

bool rpc_call_add_trailer(struct rpc_call *call, const struct rpc_metadata *metadata)
{
    return !call->last_sent && rpc_metadata_add(&call->trailers, metadata);
}

void rpc_call_send_headers(struct rpc_call *call)
{
    call->headers_wanted = true;
    rpc_call_touch(call);
}

static void add_last(struct rpc_call *call, grpc_op *operation)
{
    call->last_sent = true;
    if (call->side == RPC_SIDE_CLIENT) {
        operation->op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
        return;
    }
    operation->op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    operation->data.send_status_from_server.trailing_metadata_count = call->trailers.count;
    operation->data.send_status_from_server.trailing_metadata = call->trailers.items;
    operation->data.send_status_from_server.status = call->status;
    operation->data.send_status_from_server.status_details = &call->status_text;
}

static void add_end(struct rpc_call *call, grpc_op *operation)
{
    call->end_started = true;
    operation->op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    operation->data.recv_close_on_server.cancelled = &call->core_cancelled;
}

/* Starts one batch with all that can be sent now: headers, a message, and what ends it. */
static void start_send(struct rpc_call *call)
{
    if (call->send_outstanding)
        return;
    grpc_op operations[4];
    size_t count = 0;
    memset(operations, 0, sizeof(operations));
    if (!call->headers_sent && (call->headers_wanted || call->queue != NULL || call->last_wanted)) {
        call->headers_sent = true;
        operations[count].op = GRPC_OP_SEND_INITIAL_METADATA;
        operations[count].flags = call->header_flags;
        operations[count].data.send_initial_metadata.count = call->headers.count;
        operations[count++].data.send_initial_metadata.metadata = call->headers.items;
    }
    if (call->queue != NULL) {
        struct rpc_queued *queued = call->queue;
        call->queue = queued->next;
        if (call->queue == NULL)
            call->queue_end = &call->queue;
        call->sending = queued->buffer;
        call->sending_bytes = queued->bytes;
        free(queued);
        operations[count].op = GRPC_OP_SEND_MESSAGE;
        /* More follows: the transport may gather some before it writes. Not together with
         * the headers, which would wait, too, and this batch with them. */
        operations[count].flags = call->queue != NULL && count == 0 ? GRPC_WRITE_BUFFER_HINT : 0;
        operations[count++].data.send_message.send_message = call->sending;
    }
    if (call->last_wanted && !call->last_sent && call->queue == NULL) {
        add_last(call, &operations[count++]);
        if (call->side == RPC_SIDE_SERVER && !call->end_started) {
            add_end(call, &operations[count++]);
            call->end_rides = true;
        }
    }
    if (count == 0)
        return;
    call->send_outstanding = true;
    rpc_call_start(call, operations, count, &call->send_tag);
}

static void send_done(struct rpc_tag *tag, bool success)
{
    struct rpc_call *call = RPC_CONTAINER(tag, struct rpc_call, send_tag);
    rpc_call_completed(call);
    call->send_outstanding = false;
    if (call->sending != NULL) {
        grpc_byte_buffer_destroy(call->sending);
        call->sending = NULL;
        call->queued_bytes -= call->sending_bytes;
        call->queued_messages--;
    }
    if (!success)
        call->send_failed = true; /* the end is near, and says why */
    if (call->end_rides)
        call->over = true;
    if (call->unwritable && rpc_call_writable(call) && may_send(call)) {
        call->unwritable = false;
        if (success && !call->abandoned && call->events->writable != NULL)
            call->events->writable(call);
    }
}

/* --- Receiving --- */

static bool may_deliver(const struct rpc_call *call)
{
    if (call->paused || call->cancelled || call->abandoned)
        return false;
    /* A server that has finished, or whose client has gone, has no use for more; a client
     * is given what came before the status. */
    return call->side == RPC_SIDE_CLIENT || (!call->over && !call->last_wanted);
}

static void malformed(struct rpc_call *call)
{
    if (call->side == RPC_SIDE_SERVER) {
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "the request is not a valid %s message", call->incoming_type->name);
        return;
    }
    char text[256];
    snprintf(text, sizeof(text), "the answer is not a valid %s message", call->incoming_type->name);
    call->no_more_messages = true;
    grpc_call_error error = grpc_call_cancel_with_status(call->core, GRPC_STATUS_INTERNAL, text, NULL);
    (void)error; /* as in rpc_call_cancel */
}

void rpc_call_deliver(struct rpc_call *call, grpc_byte_buffer *buffer)
{
    struct rpc_incoming incoming;
    rpc_incoming_open(&incoming, buffer);
    const ProtobufCMessage *message =
        rpc_unpack(&call->loop->arena, call->incoming_type, incoming.bytes, incoming.count);
    if (message == NULL) {
        malformed(call);
    } else if (call->events->message != NULL) {
        call->current = &incoming;
        call->events->message(call, message);
        call->current = NULL;
    }
    rpc_incoming_close(&incoming);
    grpc_byte_buffer_destroy(buffer);
}

static void start_receive(struct rpc_call *call)
{
    if (!call->receives || call->receive_outstanding || call->no_more_messages || call->received != NULL ||
        !may_deliver(call))
        return;
    grpc_op operation;
    memset(&operation, 0, sizeof(operation));
    operation.op = GRPC_OP_RECV_MESSAGE;
    operation.data.recv_message.recv_message = &call->received;
    call->receive_outstanding = true;
    rpc_call_start(call, &operation, 1, &call->receive_tag);
}

static void receive_done(struct rpc_tag *tag, bool success)
{
    struct rpc_call *call = RPC_CONTAINER(tag, struct rpc_call, receive_tag);
    rpc_call_completed(call);
    call->receive_outstanding = false;
    if (!success)
        drop_received(call);
    if (call->received == NULL) {
        /* Half-closed, or lost: if that, the end is on its way and may already be in the
         * queue behind us. */
        call->no_more_messages = true;
        call->half_close_due =
            success && call->side == RPC_SIDE_SERVER && !grpc_call_failed_before_recv_message(call->core);
    } else if (may_deliver(call)) {
        grpc_byte_buffer *buffer = call->received;
        call->received = NULL;
        rpc_call_deliver(call, buffer);
    }
}

void rpc_call_pause(struct rpc_call *call)
{
    call->paused = true;
}

void rpc_call_resume(struct rpc_call *call)
{
    call->paused = false;
    rpc_call_touch(call);
}

const uint8_t *rpc_call_message_bytes(const struct rpc_call *call, size_t *bytes)
{
    *bytes = call->current != NULL ? call->current->count : 0;
    return call->current != NULL ? call->current->bytes : NULL;
}

void *rpc_call_keep_message(struct rpc_call *call, const void *message, struct rpc_message_memory **memory)
{
    return rpc_arena_keep(&call->loop->arena, message, call->current, memory);
}

const void *rpc_call_header(const struct rpc_call *call, const char *key, size_t n, size_t *value_bytes)
{
    return rpc_metadata_find(&call->received_headers, key, n, value_bytes);
}

const void *rpc_call_trailer(const struct rpc_call *call, const char *key, size_t n, size_t *value_bytes)
{
    return rpc_metadata_find(&call->received_trailers, key, n, value_bytes);
}

/* --- The end --- */

/* Server: waits for the client's end of the call. */
static void start_end(struct rpc_call *call)
{
    grpc_op operation;
    memset(&operation, 0, sizeof(operation));
    add_end(call, &operation);
    rpc_call_start(call, &operation, 1, &call->end_tag);
}

static void end_done(struct rpc_tag *tag, bool success)
{
    struct rpc_call *call = RPC_CONTAINER(tag, struct rpc_call, end_tag);
    (void)success; /* this operation always succeeds */
    rpc_call_completed(call);
    call->over = true;
}

static void tell_end(struct rpc_call *call)
{
    if (call->abandoned)
        return;
    if (call->side == RPC_SIDE_SERVER) {
        bool delivered = call->last_sent && !call->send_failed && !call->core_cancelled && !call->cancelled;
        if (call->events->ended != NULL)
            call->events->ended(call, delivered ? RPC_OK : RPC_CANCELLED,
                                delivered ? "" : "the call was cancelled or lost");
        return;
    }
    char *text = grpc_slice_to_c_string(call->status_text);
    if (call->done != NULL)
        rpc_client_done(call, (enum rpc_status)call->status, text);
    else if (call->events->ended != NULL)
        call->events->ended(call, (enum rpc_status)call->status, text);
    gpr_free(text);
}

/* Whether nothing can happen to the call any more. */
static bool has_ended(const struct rpc_call *call)
{
    if (!call->over || call->outstanding > 0)
        return false;
    if (call->abandoned || call->cancelled)
        return true;
    if (call->side == RPC_SIDE_CLIENT)
        return call->done != NULL || call->received == NULL;
    /* Without `ended` the handler may still hold the call, until it finishes it. */
    return call->events->ended != NULL || call->last_wanted;
}

void rpc_call_settle(struct rpc_call *call)
{
    untouch(call);
    if (call->received != NULL && call->done == NULL && !call->receive_outstanding && may_deliver(call)) {
        grpc_byte_buffer *buffer = call->received;
        call->received = NULL;
        rpc_call_deliver(call, buffer);
    }
    if (call->half_close_due && !call->paused) {
        call->half_close_due = false;
        if (may_deliver(call) && call->events->half_closed != NULL)
            call->events->half_closed(call);
    }
    if (!call->over) {
        if (call->cancelled)
            call->last_sent = true; /* there is no more use in sending it */
        else
            start_send(call);
        if (call->side == RPC_SIDE_SERVER && !call->end_started)
            start_end(call);
        start_receive(call);
    }
    if (has_ended(call)) {
        drop_queue(call);
        tell_end(call);
        if (call->side == RPC_SIDE_SERVER)
            rpc_server_call_gone(call);
        else
            rpc_channel_call_gone(call);
        rpc_call_free(call);
    }
}

/* --- Knowing --- */

void rpc_call_set_user(struct rpc_call *call, void *user)
{
    call->user = user;
}

void *rpc_call_user(const struct rpc_call *call)
{
    return call->user;
}

void *rpc_call_context(const struct rpc_call *call)
{
    return call->context;
}

const char *rpc_call_method(const struct rpc_call *call)
{
    return call->method_name;
}

const char *rpc_call_peer(struct rpc_call *call)
{
    if (call->peer == NULL)
        call->peer = grpc_call_get_peer(call->core);
    return call->peer;
}

uint64_t rpc_call_remaining_ms(const struct rpc_call *call)
{
    gpr_timespec never = gpr_inf_future(call->deadline.clock_type);
    if (gpr_time_cmp(call->deadline, never) == 0)
        return UINT64_MAX;
    gpr_timespec left = gpr_time_sub(call->deadline, gpr_now(call->deadline.clock_type));
    if (left.tv_sec < 0)
        return 0;
    return (uint64_t)left.tv_sec * 1000 + (uint64_t)left.tv_nsec / 1000000;
}

bool rpc_call_is_over(const struct rpc_call *call)
{
    return call->over || call->cancelled;
}
