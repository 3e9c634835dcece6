/* See rendered.h. */

#include "gateway/rendered.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "gateway/packer.h"

void rendered_name(enum view view, uint64_t version, uint64_t epoch, uint64_t now_ms, char *etag, size_t etag_bytes)
{
    snprintf(etag, etag_bytes, "W/\"%llx-%d-%llx-%llx\"", (unsigned long long)epoch, (int)view,
             (unsigned long long)version, (unsigned long long)(view_lifetime_ms(view) == 0 ? 0 : now_ms));
}

struct rendered *rendered_create(enum view view, uint64_t version, uint64_t epoch, uint64_t now_ms, struct buffer *body)
{
    struct rendered *rendered = calloc(1, sizeof *rendered);
    size_t bytes = body->bytes;
    char *data = buffer_take(body);
    if (rendered == NULL || data == NULL) {
        free(rendered);
        free(data);
        return NULL;
    }
    rendered->body = http_shared_take(data, bytes);
    if (rendered->body == NULL) {
        free(rendered);
        return NULL;
    }
    atomic_init(&rendered->references, 1);
    rendered->view = view;
    rendered->version = version;
    rendered->rendered_at_ms = now_ms;
    rendered_name(view, version, epoch, now_ms, rendered->etag, sizeof rendered->etag);
    return rendered;
}

struct rendered *rendered_reference(struct rendered *rendered)
{
    atomic_fetch_add_explicit(&rendered->references, 1, memory_order_relaxed);
    return rendered;
}

void rendered_release(struct rendered *rendered)
{
    if (rendered == NULL || atomic_fetch_sub_explicit(&rendered->references, 1, memory_order_acq_rel) != 1)
        return;
    http_shared_release(rendered->body);
    free(rendered);
}

struct http_shared *rendered_pack(struct http_text text)
{
    struct packer *packer = packer_create();
    struct buffer packed = BUFFER_INIT;
    struct http_shared *result = NULL;
    if (packer != NULL && packer_add(packer, text.data, text.bytes, true, &packed)) {
        size_t bytes = packed.bytes;
        result = http_shared_take(buffer_take(&packed), bytes);
    }
    buffer_free(&packed);
    packer_destroy(packer);
    return result;
}

struct http_shared *rendered_unpack(struct http_text packed)
{
    /* The last four bytes are the length, least significant first (RFC 1952, 2.3.1). */
    const unsigned char *trailer = (const unsigned char *)packed.data + packed.bytes - 4;
    z_stream stream = {.zalloc = Z_NULL};
    if (packed.bytes < 18 || packed.bytes > UINT32_MAX / 2 || inflateInit2(&stream, PACKER_WINDOW_BITS) != Z_OK)
        return NULL;
    size_t bytes = (size_t)trailer[0] | (size_t)trailer[1] << 8 | (size_t)trailer[2] << 16 | (size_t)trailer[3] << 24;
    unsigned char *text = malloc(bytes + 1);
    struct http_shared *result = NULL;
    if (text != NULL) {
        stream.next_in = (unsigned char *)packed.data; /* zlib does not write to it */
        stream.avail_in = (unsigned)packed.bytes;
        stream.next_out = text;
        stream.avail_out = (unsigned)bytes;
        if (inflate(&stream, Z_FINISH) == Z_STREAM_END && stream.total_out == bytes)
            result = http_shared_take((char *)text, bytes);
        else
            free(text);
    }
    (void)inflateEnd(&stream); /* only frees */
    return result;
}
