/* A strict HTTP/1.1 parser for the heads of requests and responses (RFC 9112).
 *
 * Strict, because a gateway that takes what the server behind it reads differently can be
 * used to smuggle requests. Refused among others: a line that ends without CR, a CR or a
 * NUL or another control character inside a line, white space before a colon, folded
 * lines, Content-Length beside Transfer-Encoding, Content-Lengths that differ, a transfer
 * coding other than chunked, no Host or several, targets with "." or ".." segments or with
 * encoded slashes, fragments, and anything that is longer than the limits.
 *
 * Nothing is copied: a head is positions in the bytes that it was parsed from, relative to
 * `base`, so that the bytes may move while more of them arrive. When they move for good,
 * point `base` to the new place.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of somebody else's memory, without a zero at the end. */
struct http_text {
    const char *data;
    size_t bytes;
};

struct http_text http_text_of(const char *text);
bool http_text_equal(struct http_text text, const char *other);
bool http_text_equal_ignoring_case(struct http_text text, const char *other);

enum http_method {
    HTTP_METHOD_OTHER, /* any other token: see http_head_method */
    HTTP_METHOD_GET,
    HTTP_METHOD_HEAD,
    HTTP_METHOD_POST,
    HTTP_METHOD_PUT,
    HTTP_METHOD_DELETE,
    HTTP_METHOD_PATCH,
    HTTP_METHOD_OPTIONS,
    HTTP_METHOD_TRACE,
};

/* GET, HEAD, PUT, DELETE, OPTIONS, TRACE: the same request twice is as good as once. */
bool http_method_is_idempotent(enum http_method method);

/* Fields that a server or a proxy has to act on; the parser tells them apart. */
enum http_field_name {
    HTTP_FIELD_OTHER,
    HTTP_FIELD_CONNECTION,
    HTTP_FIELD_CONTENT_LENGTH,
    HTTP_FIELD_DATE,
    HTTP_FIELD_EXPECT,
    HTTP_FIELD_HOST,
    HTTP_FIELD_KEEP_ALIVE,
    HTTP_FIELD_PROXY_AUTHENTICATE,
    HTTP_FIELD_PROXY_AUTHORIZATION,
    HTTP_FIELD_PROXY_CONNECTION,
    HTTP_FIELD_SERVER,
    HTTP_FIELD_TE,
    HTTP_FIELD_TRAILER,
    HTTP_FIELD_TRANSFER_ENCODING,
    HTTP_FIELD_UPGRADE,
    HTTP_FIELD_VIA,
    HTTP_FIELD_X_FORWARDED_FOR,
    HTTP_FIELD_X_FORWARDED_HOST,
    HTTP_FIELD_X_FORWARDED_PROTO,
    HTTP_FIELD_X_REQUEST_ID,
    HTTP_FIELD_X_SERVED_BY,
};

#define HTTP_FIELDS_MAX 100

/* Positions are relative to the head's base. */
struct http_span {
    uint32_t at, bytes;
};

struct http_field {
    uint32_t name_at, value_at, value_bytes;
    uint16_t name_bytes;
    uint8_t name; /* enum http_field_name */
};

struct http_head {
    const char *base;
    uint32_t head_bytes; /* all of it, with the empty line */
    uint16_t field_count;
    uint8_t minor_version; /* HTTP/1.x: 0 or 1 */
    bool keep_alive;       /* what the version and Connection say together */
    bool chunked;          /* Transfer-Encoding: chunked */
    bool has_length;       /* Content-Length was there: */
    uint64_t content_bytes;
    bool upgrade; /* Connection names "upgrade", and there is an Upgrade field */

    /* Of requests. */
    enum http_method method;
    bool expect_continue;
    struct http_span method_text;
    struct http_span path;  /* begins with "/", or is "*"; as received, but checked */
    struct http_span query; /* what follows "?", may be empty */
    bool has_query;
    struct http_span host; /* of the target if that is absolute, else of the Host field */

    /* Of responses. */
    unsigned status; /* 100 to 599 */
    struct http_span reason;

    struct http_field fields[HTTP_FIELDS_MAX];
};

static inline struct http_text http_head_text(const struct http_head *head, struct http_span span)
{
    return (struct http_text){head->base + span.at, span.bytes};
}

static inline struct http_text http_head_path(const struct http_head *head)
{
    return http_head_text(head, head->path);
}

static inline struct http_text http_head_query(const struct http_head *head)
{
    return http_head_text(head, head->query);
}

static inline struct http_text http_field_name_text(const struct http_head *head, const struct http_field *field)
{
    return (struct http_text){head->base + field->name_at, field->name_bytes};
}

static inline struct http_text http_field_value(const struct http_head *head, const struct http_field *field)
{
    return (struct http_text){head->base + field->value_at, field->value_bytes};
}

/* The value of the first field of that name, any case; data is NULL when there is none. */
struct http_text http_head_get(const struct http_head *head, const char *name);

/* The same for one that the parser knows: cheaper. */
struct http_text http_head_get_known(const struct http_head *head, enum http_field_name name);

/* Whether a field that is a comma list (all fields of that name together) has the token. */
bool http_head_has_token(const struct http_head *head, const char *name, const char *token);

/* Whether Accept-Encoding takes a content coding: named with a weight above 0, or not named and
 * covered by "*" (RFC 9110, 12.5.3). False without the field: it is not needed, then. */
bool http_head_accepts_coding(const struct http_head *head, const char *coding);

enum http_parse {
    HTTP_PARSE_DONE,
    HTTP_PARSE_MORE, /* well formed so far, not complete */

    /* Errors; each has a status and a text. */
    HTTP_PARSE_BAD_LINE_END,       /* LF without CR, or CR without LF */
    HTTP_PARSE_BAD_CHARACTER,      /* control character or NUL where none may be */
    HTTP_PARSE_BAD_METHOD,         /* not a token, or CONNECT, which we do not offer */
    HTTP_PARSE_BAD_TARGET,         /* malformed, or a path that climbs or hides slashes */
    HTTP_PARSE_BAD_VERSION,        /* not "HTTP/" digit "." digit */
    HTTP_PARSE_VERSION_UNSUPPORTED,/* not 1.0 or 1.1 */
    HTTP_PARSE_BAD_STATUS,         /* status line that is none */
    HTTP_PARSE_BAD_FIELD_NAME,     /* empty, not a token, or white space before the colon */
    HTTP_PARSE_FOLDED_FIELD,       /* line that begins with white space */
    HTTP_PARSE_BAD_HOST,           /* none in HTTP/1.1, several, or malformed */
    HTTP_PARSE_BAD_LENGTH,         /* Content-Length not a number, or several that differ */
    HTTP_PARSE_BAD_CODING,         /* transfer coding malformed, twice, or in HTTP/1.0 */
    HTTP_PARSE_CODING_UNSUPPORTED, /* transfer coding other than chunked */
    HTTP_PARSE_LENGTH_AND_CODING,  /* Content-Length beside Transfer-Encoding */
    HTTP_PARSE_BAD_EXPECTATION,    /* Expect other than 100-continue */
    HTTP_PARSE_LINE_TOO_LONG,      /* request line over its limit */
    HTTP_PARSE_FIELDS_TOO_LARGE,   /* header block over its limit */
    HTTP_PARSE_TOO_MANY_FIELDS,
    HTTP_PARSE_BAD_CHUNK,          /* chunk size or end of a chunk malformed */
    HTTP_PARSE_CHUNK_LINE_TOO_LONG,/* chunk extension or trailers over their limit */
};

static inline bool http_parse_failed(enum http_parse result)
{
    return result > HTTP_PARSE_MORE;
}

/* The status for a request that failed so: 400, 414, 417, 431, 501 or 505. */
unsigned http_parse_status(enum http_parse error);

/* What is wrong with it, one sentence for people. */
const char *http_parse_text(enum http_parse error);

struct http_limits {
    uint32_t line_bytes;   /* request or status line; default 8,192 */
    uint32_t head_bytes;   /* all of the head; default 16,384 */
    uint32_t field_count;  /* default and at most HTTP_FIELDS_MAX */
};

#define HTTP_LIMITS_DEFAULT {8192, 16384, HTTP_FIELDS_MAX}

struct http_parser {
    struct http_limits limits;
    uint32_t scanned; /* bytes in which the end of the current line was looked for */
    uint32_t line_at; /* where the current line begins */
    bool response;
    bool in_fields;
};

void http_parser_init_request(struct http_parser *parser, struct http_head *head, struct http_limits limits);
void http_parser_init_response(struct http_parser *parser, struct http_head *head, struct http_limits limits);

/* `data` holds all bytes of the head received so far (not only the new ones), and may hold
 * more behind it. On HTTP_PARSE_DONE the head is complete and its base is data; what
 * follows starts at head->head_bytes. On HTTP_PARSE_MORE call again with more. */
enum http_parse http_parser_feed(struct http_parser *parser, struct http_head *head, const char *data, size_t bytes);

/* How the body of a message ends. */
enum http_framing { HTTP_FRAMING_NONE, HTTP_FRAMING_LENGTH, HTTP_FRAMING_CHUNKED, HTTP_FRAMING_CLOSE };

enum http_framing http_request_framing(const struct http_head *head);

/* A response's depends on the request's method (HEAD has none). */
enum http_framing http_response_framing(const struct http_head *head, enum http_method request_method);
