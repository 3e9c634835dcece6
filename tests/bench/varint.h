/* Protobuf's variable-length integers, for the few messages that are written or read without
 * generated code; fields are read by common/wire. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"

static inline void varint_append(struct buffer *message, uint64_t value)
{
    char bytes[10];
    size_t count = 0;
    do {
        bytes[count++] = (char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
    } while (value > 0);
    buffer_append(message, bytes, count);
}

/* Reads a varint at *at and moves on; false at the end. */
static inline bool varint_read(const uint8_t *bytes, size_t count, size_t *at, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; *at < count && shift < 64; shift += 7) {
        uint8_t byte = bytes[(*at)++];
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return true;
    }
    return false;
}

/* A field of bytes. */
static inline void varint_append_bytes(struct buffer *message, unsigned number, const void *bytes, size_t count)
{
    buffer_append_char(message, (char)(number << 3 | 2));
    varint_append(message, count);
    buffer_append(message, bytes, count);
}
