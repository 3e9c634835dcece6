/* Cross-origin requests: which pages in a browser may call the gateway.
 *
 * Threading: none of its own; constant after cors_parse. */

#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/http/server.h"

#define CORS_ORIGIN_BYTES_MAX 256
#define CORS_HEADERS_MAX 6

struct cors {
    bool any;       /* "*" */
    char **origins; /* "https://example.com" */
    size_t count;
};

/* Reads a comma list, "*" among its items allowed. False when memory ran out. */
bool cors_parse(struct cors *cors, const char *list);
void cors_free(struct cors *cors);

/* What an answer to a request needs: headers, and the memory that their values lie in. */
struct cors_headers {
    struct http_header headers[CORS_HEADERS_MAX];
    size_t count;
    char origin[CORS_ORIGIN_BYTES_MAX];
};

/* The headers for an answer to a request with this Origin field (empty: it has none).
 * `preflight`: the answer to one, which also names methods, headers and how long that holds.
 * The headers point into *result, which must not move. */
void cors_headers_for(const struct cors *cors, struct http_text origin, bool preflight, struct cors_headers *result);
