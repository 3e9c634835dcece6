/* Pages that are made of the tables: the OpenAPI document, and what is at /. */

#include <stdio.h>
#include <string.h>

#include "gateway/api.h"
#include "gateway/front.h"
#include "gateway/openapi.h"

/* Nothing from elsewhere, nothing in frames of others. */
#define SECURITY_POLICY                                                                                                \
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; "             \
    "base-uri 'none'; form-action 'self'"

/* Shorter ones are not worth packing. */
#define PACK_BYTES_MIN 1024

static void append_escaped(struct buffer *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '<':
            buffer_append_text(out, "&lt;");
            break;
        case '&':
            buffer_append_text(out, "&amp;");
            break;
        case '"':
            buffer_append_text(out, "&quot;");
            break;
        default:
            buffer_append_char(out, *text);
        }
    }
}

/* A browser can follow it: it reads, and takes no parameter. */
static bool is_link(const struct api_route *route)
{
    return strcmp(route->method, "GET") == 0 && strchr(route->path, '{') == NULL && route->reply_status == 0;
}

static void append_row(const struct api_route *route, struct buffer *out)
{
    buffer_append_text(out, "<tr><td>");
    append_escaped(out, strcmp(route->method, "*") == 0 ? "ANY" : route->method);
    buffer_append_text(out, "</td><td>");
    if (is_link(route))
        buffer_append_format(out, "<a href=\"%s\">%s</a>", route->path, route->path);
    else
        append_escaped(out, route->path);
    buffer_append_text(out, "</td><td>");
    append_escaped(out, route->help);
    buffer_append_text(out, "</td></tr>\n");
}

static void render_index(const struct gateway *gateway, struct buffer *out)
{
    buffer_append_text(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                            "<meta name=\"viewport\" content=\"width=device-width\">\n<title>Muster</title>\n"
                            "<style>body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
                            "td{padding:.2em 1em .2em 0;vertical-align:top}</style>\n</head>\n<body>\n<h1>Muster: ");
    append_escaped(out, gateway->coordinator_id);
    buffer_append_text(out, "</h1>\n<p>A coordinator of lent machines. What can be asked of it:</p>\n<table>\n");
    for (size_t i = 0; i < API_OPERATION_COUNT; i++)
        append_row(&api_routes()[i], out);
    buffer_append_text(out, "</table>\n</body>\n</html>\n");
}

/* FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/: tells one content from the next. */
static void write_etag(const char *text, size_t bytes, char *etag, size_t etag_bytes)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
    snprintf(etag, etag_bytes, "W/\"%016llx\"", (unsigned long long)hash);
}

/* False when memory ran out. */
static bool make(const struct gateway *gateway, enum page page, struct front_page *kept)
{
    struct buffer body = BUFFER_INIT;
    if (page == PAGE_OPENAPI)
        openapi_render(&body);
    else
        render_index(gateway, &body);
    size_t bytes = body.bytes;
    char *data = buffer_take(&body);
    buffer_free(&body);
    if (data == NULL)
        return false;
    write_etag(data, bytes, kept->etag, sizeof kept->etag);
    kept->body = http_shared_take(data, bytes);
    if (kept->body != NULL && bytes >= PACK_BYTES_MIN)
        kept->packed = rendered_pack(http_shared_text(kept->body)); /* without memory it goes out as it is */
    return kept->body != NULL;
}

void front_handle_page(struct front *front, struct http_exchange *exchange, const struct api_route *route)
{
    enum page page = route->operation == API_OPENAPI ? PAGE_OPENAPI : PAGE_INDEX;
    struct front_page *kept = &front->pages[page];
    const struct http_head *head = http_exchange_head(exchange);
    if (kept->body == NULL && !make(front->gateway, page, kept)) {
        front_fail(front, exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    struct answer answer = {.status = 200,
                            .shared = kept->body,
                            .content_type = route->reply_type,
                            .etag = kept->etag,
                            .security_policy = page == PAGE_OPENAPI ? NULL : SECURITY_POLICY};
    if (front_client_has_it(head, kept->etag)) {
        answer.status = 304;
        answer.shared = NULL;
    } else if (kept->packed != NULL && http_head_has_token(head, "accept-encoding", "gzip")) {
        answer.shared = kept->packed;
        answer.packed = true;
    }
    front_answer(front, exchange, &answer);
}

void front_pages_free(struct front *front)
{
    for (size_t i = 0; i < PAGE_COUNT; i++) {
        http_shared_release(front->pages[i].body);
        http_shared_release(front->pages[i].packed);
    }
}
