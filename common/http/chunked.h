/* Decodes a chunked body piece by piece, without copying.
 *
 * Chunk extensions are checked for their length and characters and dropped, trailers are
 * checked and dropped. Strict like the parser: sizes are 1 to 16 hexadecimal digits that
 * fit in 63 bits, lines end with CR LF.
 *
 * Threading: none of its own. */

#pragma once

#include "common/http/parser.h"

#define HTTP_CHUNK_LINE_BYTES_MAX 256      /* size, extensions */
#define HTTP_CHUNK_TRAILERS_BYTES_MAX 4096 /* all trailers together */

struct http_chunked {
    uint64_t left_bytes; /* of the current chunk */
    uint32_t line_bytes; /* of the current line, or of all trailers, so far */
    uint8_t state;
    uint8_t digits;
};

/* An all-zero struct is at the start of a body as well. */
void http_chunked_init(struct http_chunked *chunked);

/* Decodes from data until a piece of body, the end, an error, or all bytes are used.
 * *used: bytes of data consumed, the piece included. *piece: body bytes inside data, empty
 * if there are none. HTTP_PARSE_MORE: call again with what follows. HTTP_PARSE_DONE: the
 * body and its trailers are complete; what follows `used` is the next message. */
enum http_parse http_chunked_decode(struct http_chunked *chunked, const char *data, size_t bytes, size_t *used,
                                    struct http_text *piece);

/* Writes the line that begins a chunk, "1a2b\r\n"; returns its bytes. After the chunk's
 * bytes comes "\r\n", after the last one "0\r\n\r\n". */
#define HTTP_CHUNK_HEAD_BYTES_MAX 18
size_t http_chunk_head(char line[HTTP_CHUNK_HEAD_BYTES_MAX], uint64_t chunk_bytes);
