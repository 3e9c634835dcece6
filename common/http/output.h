/* What a connection still has to send: pieces that the kernel did not take at once.
 *
 * Most answers leave with the one call that is made for them and never get here. What
 * does is copied, but for shared bodies, which are referenced.
 *
 * Threading: none of its own. */

#pragma once

#include "common/http/server.h"

#include <sys/uio.h>

struct http_piece;

/* All zero is empty. */
struct http_output {
    struct http_piece *first, *last;
    size_t bytes;
};

/* Appends what lies behind the first `skip` bytes of the vectors. The last of them is
 * `shared`'s own memory if that is not NULL. False when memory runs out: part of it may be
 * queued then, and the stream is broken. */
bool http_output_append(struct http_output *output, const struct iovec *vectors, int count, size_t skip,
                        struct http_shared *shared);

/* Fills up to `count` vectors with what comes first; returns how many. */
int http_output_vectors(const struct http_output *output, struct iovec *vectors, int count);

/* Drops bytes that were sent. */
void http_output_consume(struct http_output *output, size_t bytes);

void http_output_clear(struct http_output *output);
