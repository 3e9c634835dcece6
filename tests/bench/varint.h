/* Protobuf's variable-length integers, and fields of them, for the few messages that are written
 * or read without generated code. */

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

struct varint_field {
    uint64_t number;
    uint64_t value;         /* or the length of what follows */
    const uint8_t *content; /* NULL: it is a number */
};

/* Reads a field at *at and moves on; false at the end, and at what is neither a varint nor
 * length-delimited, of which etcd's messages have none. */
static inline bool varint_field_read(const uint8_t *bytes, size_t count, size_t *at, struct varint_field *field)
{
    uint64_t key;
    if (!varint_read(bytes, count, at, &key) || !varint_read(bytes, count, at, &field->value))
        return false;
    field->number = key >> 3;
    field->content = NULL;
    if ((key & 7) == 0)
        return true;
    if ((key & 7) != 2 || field->value > count - *at)
        return false;
    field->content = bytes + *at;
    *at += field->value;
    return true;
}

static inline void varint_field_append_bytes(struct buffer *message, unsigned number, const void *bytes, size_t count)
{
    buffer_append_char(message, (char)(number << 3 | 2));
    varint_append(message, count);
    buffer_append(message, bytes, count);
}
