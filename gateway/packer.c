/* Packing piece by piece; see packer.h. */

#include "gateway/packer.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

/* The fastest. */
#define LEVEL 1
/* What is taken from zlib at a time. */
#define ROOM_BYTES 16384

struct packer {
    z_stream stream;
};

struct packer *packer_create(void)
{
    struct packer *packer = calloc(1, sizeof *packer);
    if (packer != NULL &&
        deflateInit2(&packer->stream, LEVEL, Z_DEFLATED, PACKER_WINDOW_BITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(packer);
        return NULL;
    }
    return packer;
}

void packer_destroy(struct packer *packer)
{
    if (packer == NULL)
        return;
    (void)deflateEnd(&packer->stream); /* only frees */
    free(packer);
}

bool packer_add(struct packer *packer, const void *piece, size_t bytes, bool last, struct buffer *packed)
{
    z_stream *stream = &packer->stream;
    if (bytes > UINT_MAX)
        return false;
    stream->next_in = (unsigned char *)piece; /* zlib does not write to it */
    stream->avail_in = (unsigned)bytes;
    size_t taken;
    do {
        unsigned char room[ROOM_BYTES];
        stream->next_out = room;
        stream->avail_out = sizeof room;
        /* Z_BUF_ERROR: there was nothing to do. */
        int result = deflate(stream, last ? Z_FINISH : Z_NO_FLUSH);
        if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
            return false;
        taken = sizeof room - stream->avail_out;
        buffer_append(packed, room, taken);
    } while (taken == ROOM_BYTES);
    return !buffer_failed(packed);
}
