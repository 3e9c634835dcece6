#include "services/worker/heartbeat.h"

#include <jansson.h>
#include <pb_decode.h>
#include <pb_encode.h>
#include <string.h>

#include "muster/v1/health.pb.h"

/* ---- the protobuf form ---- */

static bool encode_text(pb_ostream_t *stream, const pb_field_t *field, void *const *argument)
{
    const char *text = *argument;
    if (text == NULL || text[0] == '\0')
        return true;
    return pb_encode_tag_for_field(stream, field) && pb_encode_string(stream, (const pb_byte_t *)text, strlen(text));
}

static pb_callback_t text_field(const char *text)
{
    /* nanopb has one type for both directions; encoding does not write through it. */
    return (pb_callback_t){.funcs.encode = encode_text, .arg = (void *)(uintptr_t)text};
}

static bool encode_services(pb_ostream_t *stream, const pb_field_t *field, void *const *argument)
{
    const struct heartbeat *heartbeat = *argument;
    for (size_t i = 0; i < heartbeat->service_count; i++) {
        muster_v1_ServiceState state = muster_v1_ServiceState_init_zero;
        state.name = text_field(heartbeat->services[i].name);
        state.state = text_field(heartbeat->services[i].state);
        if (!pb_encode_tag_for_field(stream, field) ||
            !pb_encode_submessage(stream, muster_v1_ServiceState_fields, &state))
            return false;
    }
    return true;
}

static muster_v1_WorkerStatus status_to_protobuf(enum heartbeat_status status)
{
    switch (status) {
    case HEARTBEAT_DEGRADED:
        return muster_v1_WorkerStatus_WORKER_STATUS_DEGRADED;
    case HEARTBEAT_DRAINING:
        return muster_v1_WorkerStatus_WORKER_STATUS_DRAINING;
    case HEARTBEAT_ONLINE:
        break;
    }
    return muster_v1_WorkerStatus_WORKER_STATUS_ONLINE;
}

static bool encode_heartbeats(pb_ostream_t *stream, const pb_field_t *field, void *const *argument)
{
    const struct heartbeat *heartbeat = *argument;
    muster_v1_Heartbeat message = muster_v1_Heartbeat_init_zero;
    message.worker_id = text_field(heartbeat->worker_id);
    message.incarnation = heartbeat->incarnation;
    message.status = status_to_protobuf(heartbeat->status);
    message.answer_missed = heartbeat->answer_missed;
    message.has_load = true;
    message.load.current_load = heartbeat->current_load;
    message.load.available_memory = text_field(heartbeat->available_memory);
    message.load.gpu_utilization = heartbeat->gpu_utilization;
    message.load.active_requests = heartbeat->active_requests;
    message.load.queue_depth = heartbeat->queue_depth;
    message.load.tasks_completed = heartbeat->tasks_completed;
    message.load.services_status =
        (pb_callback_t){.funcs.encode = encode_services, .arg = (void *)(uintptr_t)heartbeat};
    return pb_encode_tag_for_field(stream, field) && pb_encode_submessage(stream, muster_v1_Heartbeat_fields, &message);
}

static bool write_to_buffer(pb_ostream_t *stream, const pb_byte_t *data, size_t bytes)
{
    struct buffer *out = stream->state;
    buffer_append(out, data, bytes);
    return !buffer_failed(out);
}

bool heartbeat_encode_request(const struct heartbeat *heartbeat, const char *token, uint64_t sequence,
                              struct buffer *out)
{
    muster_v1_HeartbeatRequest request = muster_v1_HeartbeatRequest_init_zero;
    request.sequence = sequence;
    request.token = text_field(token);
    request.heartbeats = (pb_callback_t){.funcs.encode = encode_heartbeats, .arg = (void *)(uintptr_t)heartbeat};
    pb_ostream_t stream = {.callback = write_to_buffer, .state = out, .max_size = SIZE_MAX};
    return pb_encode(&stream, muster_v1_HeartbeatRequest_fields, &request) && !buffer_failed(out);
}

struct text_target {
    char *text;
    size_t capacity;
};

/* Keeps the beginning of a text that is too long: ids and names are compared whole, so that
 * a cut one matches nothing, and a reason is for people. */
static bool decode_text(pb_istream_t *stream, const pb_field_t *field, void **argument)
{
    (void)field;
    const struct text_target *target = *argument;
    size_t keep = stream->bytes_left < target->capacity - 1 ? stream->bytes_left : target->capacity - 1;
    if (!pb_read(stream, (pb_byte_t *)target->text, keep))
        return false;
    target->text[keep] = '\0';
    return pb_read(stream, NULL, stream->bytes_left);
}

static bool decode_assigned(pb_istream_t *stream, const pb_field_t *field, void **argument)
{
    struct heartbeat_names *names = *argument;
    if (names->count == HEARTBEAT_SERVICES_LIMIT || stream->bytes_left >= HEARTBEAT_NAME_BYTES)
        return false;
    struct text_target target = {names->names[names->count], HEARTBEAT_NAME_BYTES};
    void *target_argument = &target;
    if (!decode_text(stream, field, &target_argument))
        return false;
    names->count++;
    return true;
}

static enum heartbeat_command_type type_from_protobuf(muster_v1_WorkerCommandType type)
{
    switch (type) {
    case muster_v1_WorkerCommandType_WORKER_COMMAND_TYPE_REGISTER_AGAIN:
        return HEARTBEAT_COMMAND_REGISTER_AGAIN;
    case muster_v1_WorkerCommandType_WORKER_COMMAND_TYPE_STALE_INCARNATION:
        return HEARTBEAT_COMMAND_STALE_INCARNATION;
    case muster_v1_WorkerCommandType_WORKER_COMMAND_TYPE_ASSIGNMENT:
        return HEARTBEAT_COMMAND_ASSIGNMENT;
    case muster_v1_WorkerCommandType_WORKER_COMMAND_TYPE_DRAIN:
        return HEARTBEAT_COMMAND_DRAIN;
    case muster_v1_WorkerCommandType_WORKER_COMMAND_TYPE_UNDRAIN:
        return HEARTBEAT_COMMAND_UNDRAIN;
    case muster_v1_WorkerCommandType_WORKER_COMMAND_TYPE_SLOW_DOWN:
        return HEARTBEAT_COMMAND_SLOW_DOWN;
    case muster_v1_WorkerCommandType_WORKER_COMMAND_TYPE_UNSPECIFIED:
        break;
    }
    return HEARTBEAT_COMMAND_UNKNOWN;
}

struct decoding {
    struct heartbeat_command command;
    void (*called)(const struct heartbeat_command *command, void *argument);
    void *argument;
};

static bool decode_command(pb_istream_t *stream, const pb_field_t *field, void **argument)
{
    (void)field;
    struct decoding *decoding = *argument;
    struct heartbeat_command *command = &decoding->command;
    command->worker_id[0] = '\0';
    command->reason[0] = '\0';
    command->assigned.count = 0;

    struct text_target id = {command->worker_id, sizeof command->worker_id};
    struct text_target reason = {command->reason, sizeof command->reason};
    muster_v1_WorkerCommand message = muster_v1_WorkerCommand_init_zero;
    message.worker_id = (pb_callback_t){.funcs.decode = decode_text, .arg = &id};
    message.reason = (pb_callback_t){.funcs.decode = decode_text, .arg = &reason};
    message.assigned_services = (pb_callback_t){.funcs.decode = decode_assigned, .arg = &command->assigned};
    if (!pb_decode(stream, muster_v1_WorkerCommand_fields, &message))
        return false;
    command->type = type_from_protobuf(message.type);
    command->sequence = message.sequence;
    decoding->called(command, decoding->argument);
    return true;
}

bool heartbeat_decode_response(const void *message, size_t message_bytes, uint64_t *acknowledged_sequence,
                               void (*command)(const struct heartbeat_command *command, void *argument), void *argument)
{
    struct decoding decoding = {.called = command, .argument = argument};
    muster_v1_HeartbeatResponse response = muster_v1_HeartbeatResponse_init_zero;
    response.commands = (pb_callback_t){.funcs.decode = decode_command, .arg = &decoding};
    pb_istream_t stream = pb_istream_from_buffer(message, message_bytes);
    if (!pb_decode(&stream, muster_v1_HeartbeatResponse_fields, &response))
        return false;
    *acknowledged_sequence = response.acknowledged_sequence;
    return true;
}

/* ---- the JSON form ---- */

static const char *status_to_json(enum heartbeat_status status)
{
    switch (status) {
    case HEARTBEAT_DEGRADED:
        return "degraded";
    case HEARTBEAT_DRAINING:
        return "draining";
    case HEARTBEAT_ONLINE:
        break;
    }
    return "healthy";
}

static int append_json(const char *data, size_t bytes, void *argument)
{
    struct buffer *out = argument;
    buffer_append(out, data, bytes);
    return buffer_failed(out) ? -1 : 0;
}

bool heartbeat_encode_json(const struct heartbeat *heartbeat, struct buffer *out)
{
    json_t *services = json_object();
    for (size_t i = 0; i < heartbeat->service_count; i++)
        if (json_object_set_new(services, heartbeat->services[i].name, json_string(heartbeat->services[i].state)) !=
            0) {
            json_decref(services);
            return false;
        }
    /* "o" takes the reference over, also when packing fails. */
    json_t *body = json_pack("{s:s, s:I, s:s, s:b, s:f, s:s, s:f, s:I, s:I, s:I, s:o}", /* */
                             "worker_id", heartbeat->worker_id,                         /* */
                             "incarnation", (json_int_t)heartbeat->incarnation,         /* */
                             "status", status_to_json(heartbeat->status),               /* */
                             "answer_missed", heartbeat->answer_missed,                 /* */
                             "current_load", heartbeat->current_load,                   /* */
                             "available_memory", heartbeat->available_memory,           /* */
                             "gpu_utilization", heartbeat->gpu_utilization,             /* */
                             "active_requests", (json_int_t)heartbeat->active_requests, /* */
                             "queue_depth", (json_int_t)heartbeat->queue_depth,         /* */
                             "tasks_completed", (json_int_t)heartbeat->tasks_completed, /* */
                             "services_status", services);
    if (body == NULL)
        return false;
    int failed = json_dump_callback(body, append_json, out, JSON_COMPACT | JSON_REAL_PRECISION(6));
    json_decref(body);
    return failed == 0 && !buffer_failed(out);
}
