/* A list that was rendered once and is sent many times.
 *
 * Threading: made by the backend, never changed after that; references may be taken and given
 * back by any thread. */

#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "common/http/server.h"
#include "gateway/views.h"

struct rendered {
    atomic_uint references;
    enum view view;
    uint64_t version;           /* of the replica that it shows */
    uint64_t rendered_at_ms;    /* monotonic */
    uint64_t forwarded_changes; /* of an edge router, that it shows; set by who made it */
    uint64_t event_revision;    /* of the last event that it shows; set by who made it */
    struct http_shared *body;
    char etag[64]; /* with its quotes; weak, since it stands for the packed body as well */
};

/* Takes over the buffer's memory. `epoch` tells the versions of this process from those of
 * the ones before it. NULL when memory ran out. */
struct rendered *rendered_create(enum view view, uint64_t version, uint64_t epoch, uint64_t now_ms,
                                 struct buffer *body);

/* The ETag of a list: what tells it from all others. */
void rendered_name(enum view view, uint64_t version, uint64_t epoch, uint64_t now_ms, char *etag, size_t etag_bytes);

struct rendered *rendered_reference(struct rendered *rendered);
void rendered_release(struct rendered *rendered); /* NULL is allowed */

/* Packs a text with gzip; NULL when memory ran out. */
struct http_shared *rendered_pack(struct http_text text);

/* Unpacks what was packed with gzip; NULL when memory ran out or it was not. */
struct http_shared *rendered_unpack(struct http_text packed);
