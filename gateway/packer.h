/* Packs a text that comes piece by piece with gzip (RFC 1952), by zlib at its fastest level: what is packed here
 * changes often.
 *
 * Threading: one thread at a time. Memory: some 270 KB for each, while it lasts. */

#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/buffer.h"

/* zlib's window with the header and trailer of gzip instead of its own; see deflateInit2 in zlib.h. */
#define PACKER_WINDOW_BITS (15 + 16)

struct packer;

/* NULL when memory runs out. */
struct packer *packer_create(void);
/* NULL is fine. */
void packer_destroy(struct packer *packer);

/* Appends what is packed by now, which may be nothing before the last piece. False: memory ran out, and the
 * packer is fit for nothing but to be destroyed. */
bool packer_add(struct packer *packer, const void *piece, size_t bytes, bool last, struct buffer *packed);
