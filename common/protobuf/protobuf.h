/* Messages of protobuf-c to bytes and back, in one pass each way.
 *
 * Why not protobuf-c's own functions: they visit every field twice (to count, to copy), take a
 * piece of memory for every string, and compute the size of a message once more for each
 * message that it lies in. Of what a registration costs in all five processes they were 40 %.
 * The generated structs, and the descriptors that tell how they lie in memory, are protobuf-c's;
 * bytes that one writes the other reads.
 *
 * Unpacking copies the packed bytes once, into the caller's memory. Strings and bytes of the
 * message point into that copy; a string is ended by a zero over the first byte of the field
 * behind it, which is read from the original. So nothing is freed by itself: the memory is
 * given back as a whole, and protobuf_c_message_free_unpacked must not be used.
 *
 * Packing begins with the last field and goes to the front of its buffer: when the length of a
 * sub-message is due, it has been written already. (The way of upb, Google's small library for
 * protocol buffers: "encode backwards".)
 *
 * What is read: messages of proto3 without `optional`, which the generator does not know either.
 * Fields that the descriptor does not name are
 * kept, and packed again behind the others. A sub-message that comes twice is merged. Strings
 * are not checked to be UTF-8 (protobuf-c does not either). Source of the format:
 * protobuf.dev/programming-guides/encoding.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/buffer.h"

/* Memory for a message, aligned for any type; NULL: there is no more. */
struct protobuf_memory {
    void *(*allocate)(void *context, size_t bytes);
    void *context;
};

/* NULL: the bytes are not such a message, or there was no memory. `bytes` may be NULL when `count` is 0. */
ProtobufCMessage *protobuf_unpack(const ProtobufCMessageDescriptor *descriptor, const struct protobuf_memory *memory,
                                  const uint8_t *bytes, size_t count);

/* Room for packed messages, one after the other. */
struct protobuf_packer {
    uint8_t *memory;
    size_t capacity;
    bool is_on_heap; /* else `memory` is the caller's, and is left for the heap when a message does not fit */
};

/* The packed message; it lies at the end of the packer's memory until the next call. NULL: out of memory. */
const uint8_t *protobuf_pack(struct protobuf_packer *packer, const ProtobufCMessage *message, size_t *count);

void protobuf_packer_free(struct protobuf_packer *packer);

/* Appends the packed message to a buffer, which is marked as failed when there was no memory. */
void protobuf_append(struct buffer *buffer, const ProtobufCMessage *message);
