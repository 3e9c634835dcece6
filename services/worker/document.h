/* The demonstration service behind `document-processing`: what a document consists of.
 *
 * A document is counted while it streams through: bytes, lines and words as wc(1) counts
 * them (line feeds; runs of printable characters between ASCII white space, every byte of
 * UTF-8 being printable), and its SHA-256. Memory does not depend on its length.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct document;

struct document_summary {
    uint64_t bytes;
    uint64_t lines;
    uint64_t words;
    char sha256[65]; /* lower-case hexadecimal */
};

/* NULL when memory runs out. */
struct document *document_create(void);
void document_free(struct document *document);

/* The next piece; false when the digest cannot be computed. */
bool document_add(struct document *document, const void *data, size_t bytes);

/* Sums up what was added. Nothing can be added afterwards. */
bool document_finish(struct document *document, struct document_summary *summary);
