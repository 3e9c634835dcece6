#include "common/http/output.h"

#include <stdlib.h>
#include <string.h>

struct http_piece {
    struct http_piece *next;
    const char *data; /* not yet sent */
    size_t bytes;
    size_t room_bytes; /* free behind data, in copied pieces */
    struct http_shared *shared;
    char copied[];
};

/* Copied pieces are at least this large, so that many small writes share one. */
#define PIECE_BYTES 4096

static void append_piece(struct http_output *output, struct http_piece *piece)
{
    piece->next = NULL;
    if (output->last != NULL)
        output->last->next = piece;
    else
        output->first = piece;
    output->last = piece;
    output->bytes += piece->bytes;
}

static bool append_shared(struct http_output *output, const char *data, size_t bytes, struct http_shared *shared)
{
    struct http_piece *piece = malloc(sizeof *piece);
    if (piece == NULL)
        return false;
    *piece = (struct http_piece){.data = data, .bytes = bytes, .shared = http_shared_reference(shared)};
    append_piece(output, piece);
    return true;
}

static bool append_copy(struct http_output *output, const char *data, size_t bytes)
{
    struct http_piece *last = output->last;
    if (last != NULL && last->shared == NULL && last->room_bytes >= bytes) {
        memcpy((char *)last->data + last->bytes, data, bytes);
        last->bytes += bytes;
        last->room_bytes -= bytes;
        output->bytes += bytes;
        return true;
    }
    size_t capacity = bytes > PIECE_BYTES ? bytes : PIECE_BYTES;
    struct http_piece *piece = malloc(sizeof *piece + capacity);
    if (piece == NULL)
        return false;
    memcpy(piece->copied, data, bytes);
    piece->data = piece->copied;
    piece->bytes = bytes;
    piece->room_bytes = capacity - bytes;
    piece->shared = NULL;
    append_piece(output, piece);
    return true;
}

bool http_output_append(struct http_output *output, const struct iovec *vectors, int count, size_t skip,
                        struct http_shared *shared)
{
    for (int i = 0; i < count; i++) {
        if (skip >= vectors[i].iov_len) {
            skip -= vectors[i].iov_len;
            continue;
        }
        const char *data = (const char *)vectors[i].iov_base + skip;
        size_t bytes = vectors[i].iov_len - skip;
        skip = 0;
        bool appended = shared != NULL && i == count - 1 ? append_shared(output, data, bytes, shared)
                                                         : append_copy(output, data, bytes);
        if (!appended)
            return false;
    }
    return true;
}

int http_output_vectors(const struct http_output *output, struct iovec *vectors, int count)
{
    int filled = 0;
    for (const struct http_piece *piece = output->first; piece != NULL && filled < count; piece = piece->next)
        vectors[filled++] = (struct iovec){(void *)piece->data, piece->bytes};
    return filled;
}

void http_output_consume(struct http_output *output, size_t bytes)
{
    output->bytes -= bytes;
    while (bytes > 0) {
        struct http_piece *piece = output->first;
        if (bytes < piece->bytes) {
            piece->data += bytes;
            piece->bytes -= bytes;
            return;
        }
        bytes -= piece->bytes;
        output->first = piece->next;
        if (output->first == NULL)
            output->last = NULL;
        http_shared_release(piece->shared);
        free(piece);
    }
}

void http_output_clear(struct http_output *output)
{
    http_output_consume(output, output->bytes);
}
