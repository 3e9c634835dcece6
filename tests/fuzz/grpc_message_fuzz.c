/* Fuzz target: what a server may send on a worker's stream. gRPC's framing, with the input
 * cut into portions in two ways, which must give the same messages; and each message as a
 * HeartbeatResponse, whose commands must keep to their bounds. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "services/worker/grpc_message.h"
#include "services/worker/heartbeat.h"

#define LIMIT_BYTES 4096

static void check_command(const struct heartbeat_command *command, void *argument)
{
    (void)argument;
    if (strnlen(command->worker_id, sizeof command->worker_id) == sizeof command->worker_id ||
        strnlen(command->reason, sizeof command->reason) == sizeof command->reason ||
        command->assigned.count > HEARTBEAT_SERVICES_LIMIT)
        abort();
    for (size_t i = 0; i < command->assigned.count; i++)
        if (strnlen(command->assigned.names[i], HEARTBEAT_NAME_BYTES) == HEARTBEAT_NAME_BYTES)
            abort();
}

/* Reads all of the input in portions; appends each message with its length to `messages`. */
static enum grpc_message_result read_all(const uint8_t *input, size_t input_bytes, size_t portion_bytes,
                                         struct buffer *messages)
{
    struct grpc_message_reader reader;
    grpc_message_reader_init(&reader, LIMIT_BYTES);
    enum grpc_message_result result = GRPC_MESSAGE_MORE;
    for (size_t at = 0; at < input_bytes && result == GRPC_MESSAGE_MORE; at += portion_bytes) {
        const uint8_t *data = input + at;
        size_t bytes = input_bytes - at < portion_bytes ? input_bytes - at : portion_bytes;
        while ((result = grpc_message_read(&reader, &data, &bytes)) == GRPC_MESSAGE_COMPLETE) {
            if (reader.message.bytes > LIMIT_BYTES)
                abort();
            grpc_message_append(messages, reader.message.data, reader.message.bytes);
            uint64_t acknowledged;
            (void)heartbeat_decode_response(reader.message.data, reader.message.bytes, &acknowledged, check_command,
                                            NULL);
        }
    }
    grpc_message_reader_free(&reader);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct buffer whole = BUFFER_INIT, pieces = BUFFER_INIT;
    enum grpc_message_result result = read_all(data, bytes, bytes > 0 ? bytes : 1, &whole);
    size_t portion_bytes = bytes > 0 ? 1 + data[bytes - 1] % 13 : 1;
    if (read_all(data, bytes, portion_bytes, &pieces) != result)
        abort();
    if (whole.bytes != pieces.bytes || (whole.bytes > 0 && memcmp(whole.data, pieces.data, whole.bytes) != 0))
        abort();
    /* What was read is framed as it came. */
    if (whole.bytes > 0 && (whole.bytes > bytes || memcmp(whole.data, data, whole.bytes) != 0))
        abort();
    buffer_free(&whole);
    buffer_free(&pieces);
    return 0;
}
