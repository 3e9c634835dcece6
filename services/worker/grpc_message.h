/* gRPC's framing of messages inside a stream of bytes: one byte that says whether the
 * message is compressed, four bytes of length (big endian), the message. HTTP/2 may cut
 * that anywhere, so that the reader takes bytes in any portions.
 *
 * We offer no compression, so a compressed message is an error of the peer's. A length
 * over the limit is refused when it is announced: nothing is ever allocated for it.
 *
 * Threading: none of its own. */

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"

#define GRPC_MESSAGE_PREFIX_BYTES 5

enum grpc_message_result {
    GRPC_MESSAGE_MORE,       /* all bytes are taken, no message is complete */
    GRPC_MESSAGE_COMPLETE,   /* reader->message holds one, until the next call */
    GRPC_MESSAGE_COMPRESSED, /* the peer compresses without having been asked to */
    GRPC_MESSAGE_TOO_LARGE,  /* longer than the limit */
    GRPC_MESSAGE_OUT_OF_MEMORY,
};

struct grpc_message_reader {
    size_t limit_bytes;
    uint8_t prefix[GRPC_MESSAGE_PREFIX_BYTES];
    size_t prefix_bytes;
    size_t expected_bytes; /* of the message, once the prefix is whole */
    struct buffer message;
};

/* Messages may have up to limit_bytes. */
void grpc_message_reader_init(struct grpc_message_reader *reader, size_t limit_bytes);
void grpc_message_reader_free(struct grpc_message_reader *reader);

/* Takes bytes from the front of (*data, *bytes) up to the end of one message and moves both
 * on past them. Call again while it returns GRPC_MESSAGE_COMPLETE. After an error the
 * reader must not be used but freed. */
enum grpc_message_result grpc_message_read(struct grpc_message_reader *reader, const uint8_t **data, size_t *bytes);

/* Whether the stream stands between two messages; ending anywhere else, it was cut off. */
static inline bool grpc_message_at_boundary(const struct grpc_message_reader *reader)
{
    return reader->prefix_bytes == 0;
}

/* Appends the prefix and the message. A message is shorter than 4 GiB. */
void grpc_message_append(struct buffer *out, const void *message, size_t message_bytes);
