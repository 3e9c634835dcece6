/* Reading protocol buffers' wire format field by field, without unpacking: for messages that
 * are passed on as they came, or whose schema is not at hand. Source: the format's
 * specification, protobuf.dev/programming-guides/encoding. Groups, which proto3 does not have,
 * are malformed.
 *
 * Nothing is copied: fields point into the bytes that were given. Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire_bytes {
    const uint8_t *data;
    size_t count;
};

struct wire_field {
    uint32_t number;
    uint64_t value;          /* of a varint */
    struct wire_bytes bytes; /* of a length-delimited field; data is NULL otherwise */
};

/* The next field, off the front of `rest`. False at the end, or when the bytes are malformed: then rest->count > 0 is
 * left. */
bool wire_next(struct wire_bytes *rest, struct wire_field *field);

/* The longest varint. */
#define WIRE_VARINT_BYTES 10

/* Writes a number as a varint; returns how many bytes it took. */
size_t wire_write_varint(uint64_t value, uint8_t *into);

/* How many bytes it takes. */
size_t wire_varint_bytes(uint64_t value);
