#include "services/worker/grpc_message.h"

#include <string.h>

void grpc_message_reader_init(struct grpc_message_reader *reader, size_t limit_bytes)
{
    memset(reader, 0, sizeof *reader);
    reader->limit_bytes = limit_bytes;
}

void grpc_message_reader_free(struct grpc_message_reader *reader)
{
    buffer_free(&reader->message);
    reader->prefix_bytes = 0;
}

/* Takes up to `wanted` of what is there. */
static size_t available(size_t wanted, size_t bytes)
{
    return wanted < bytes ? wanted : bytes;
}

enum grpc_message_result grpc_message_read(struct grpc_message_reader *reader, const uint8_t **data, size_t *bytes)
{
    if (reader->prefix_bytes < GRPC_MESSAGE_PREFIX_BYTES) {
        size_t take = available(GRPC_MESSAGE_PREFIX_BYTES - reader->prefix_bytes, *bytes);
        if (take > 0)
            memcpy(reader->prefix + reader->prefix_bytes, *data, take);
        reader->prefix_bytes += take;
        *data += take;
        *bytes -= take;
        if (reader->prefix_bytes < GRPC_MESSAGE_PREFIX_BYTES)
            return GRPC_MESSAGE_MORE;
        if (reader->prefix[0] != 0)
            return GRPC_MESSAGE_COMPRESSED;
        reader->expected_bytes = (size_t)reader->prefix[1] << 24 | (size_t)reader->prefix[2] << 16 |
                                 (size_t)reader->prefix[3] << 8 | (size_t)reader->prefix[4];
        if (reader->expected_bytes > reader->limit_bytes)
            return GRPC_MESSAGE_TOO_LARGE;
        buffer_clear(&reader->message);
    }
    size_t take = available(reader->expected_bytes - reader->message.bytes, *bytes);
    if (take > 0)
        buffer_append(&reader->message, *data, take);
    if (buffer_failed(&reader->message))
        return GRPC_MESSAGE_OUT_OF_MEMORY;
    *data += take;
    *bytes -= take;
    if (reader->message.bytes < reader->expected_bytes)
        return GRPC_MESSAGE_MORE;
    reader->prefix_bytes = 0;
    return GRPC_MESSAGE_COMPLETE;
}

void grpc_message_append(struct buffer *out, const void *message, size_t message_bytes)
{
    uint8_t prefix[GRPC_MESSAGE_PREFIX_BYTES] = {
        0,
        (uint8_t)(message_bytes >> 24),
        (uint8_t)(message_bytes >> 16),
        (uint8_t)(message_bytes >> 8),
        (uint8_t)message_bytes,
    };
    buffer_append(out, prefix, sizeof prefix);
    if (message_bytes > 0)
        buffer_append(out, message, message_bytes);
}
