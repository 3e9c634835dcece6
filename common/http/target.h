/* Targets of requests: checked paths, percent-decoding, queries, and origins of upstreams.
 *
 * Threading: none of its own. */

#pragma once

#include "common/http/parser.h"

/* Whether a path (without query) is one that we pass on: begins with "/", only characters
 * that RFC 3986 allows or well-formed percent escapes, no segment that is "." or ".."
 * however it is encoded, no encoded "/", "\" or control character. The parser has checked
 * the paths of its requests; use this for others. */
bool http_path_acceptable(struct http_text path);

/* Decodes percent escapes (and "+" as a space if `plus` is set, as queries do) into
 * decoded, which has room for `capacity` bytes including a zero at the end. Returns the
 * length, or -1 when an escape is malformed, decodes to NUL, or the room is too small. */
int64_t http_percent_decode(struct http_text text, bool plus, char *decoded, size_t capacity);

/* Cuts the next segment off a path: for "/api/worker/x" gives "api", leaves "/worker/x".
 * False at the end ("" or "/"). The segment is not decoded. */
bool http_path_next_segment(struct http_text *path, struct http_text *segment);

/* The decoded value of a query parameter; returns its length, -1 when it is absent or
 * malformed or does not fit. */
int64_t http_query_get(struct http_text query, const char *name, char *decoded, size_t capacity);

/* Where an upstream is: the parsed form of "https://host[:port][/prefix]". */
#define HTTP_ORIGIN_HOST_BYTES 256
#define HTTP_ORIGIN_PREFIX_BYTES 512
struct http_origin {
    bool tls;
    bool dialled; /* host is for `dial` of struct http_upstreams_config; never set by http_origin_parse */
    uint16_t port;
    char host[HTTP_ORIGIN_HOST_BYTES];                /* name or literal address, without brackets */
    char authority[HTTP_ORIGIN_HOST_BYTES + 10];      /* for Host: with the port if it is not the default */
    char prefix[HTTP_ORIGIN_PREFIX_BYTES];            /* path before every request's, no slash at the end */
    char key[HTTP_ORIGIN_HOST_BYTES + 16];            /* "https://host:port": names the pool */
};

/* False when the url is not http or https, has credentials, query or fragment, a bad host
 * or port, or is too long. */
bool http_origin_parse(struct http_text url, struct http_origin *origin);
