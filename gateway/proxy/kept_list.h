/* The file in which an edge proxy keeps the list that a coordinator answered last, so that it can go on with it after
 * its own restart while the coordinator is away.
 *
 * A line of JSON, then the answer's body byte for byte:
 *
 *     {"format": "muster list 1", "url": "https://uk.example.org", "as_of_ms": 1767609000125, "etag": "\"…\"",
 *      "bytes": 1234, "sha256": "…"}
 *
 * `sha256` is that of the body, in hexadecimal. A file that is cut, was changed, is of another format or another
 * coordinator's is refused as a whole.
 *
 * Threading: none; no I/O. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"

#define KEPT_LIST_HEAD_BYTES_MAX 4096
#define KEPT_LIST_NAME_BYTES 32

struct kept_list {
    int64_t as_of_ms; /* milliseconds since the epoch */
    char etag[128];   /* "": the coordinator gave none */
    const char *body; /* in the text that was read */
    size_t body_bytes;
};

/* The file's name, which depends on the coordinator's URL alone. */
void kept_list_name(const char *url, char name[KEPT_LIST_NAME_BYTES]);

/* Appends the line; the body follows it. */
void kept_list_write_head(const char *url, const struct kept_list *list, struct buffer *out);

/* Reads a whole file. False: `problem` says for people what is wrong with it. */
bool kept_list_read(const char *text, size_t bytes, const char *url, struct kept_list *list, char *problem,
                    size_t problem_bytes);
