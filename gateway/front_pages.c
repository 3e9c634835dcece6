/* Pages: the OpenAPI document, and what shows it. */

#include <stdio.h>
#include <string.h>

#include "common/http/target.h"
#include "gateway/api.h"
#include "gateway/front.h"
#include "gateway/openapi.h"
#include "gateway/pages/assets.h"

/* An asset that is asked for with its version never changes. */
#define FOREVER "public, max-age=31536000, immutable"

/* Shorter ones are not worth packing. */
#define PACK_BYTES_MIN 1024

/* --- The contract to read --- */

/* What shows it: a script from npm, one of ours that starts it, and perhaps a style. */
static const struct viewer {
    const char *title, *style, *library, *start;
} viewers[PAGE_COUNT] = {
    [PAGE_DOCS] = {"Swagger UI", "swagger-ui.css", "swagger-ui-bundle.js", "swagger.js"},
    [PAGE_REDOC] = {"Redoc", NULL, "redoc.standalone.js", "redoc.js"},
};

/* False: the build had no such asset. */
static bool append_asset(struct buffer *out, const char *before, const char *name, const char *after)
{
    struct page_asset asset;
    if (!page_asset_find(name, &asset))
        return false;
    buffer_append_format(out, "%s/docs/assets/%s?v=%s%s", before, name, asset.version, after);
    return true;
}

static bool render_viewer(const struct viewer *viewer, struct buffer *out)
{
    buffer_append_format(out,
                         "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                         "<meta name=\"viewport\" content=\"width=device-width\">\n<title>Muster: the contract "
                         "(%s)</title>\n<link rel=\"icon\" href=\"data:,\">\n",
                         viewer->title);
    bool complete =
        viewer->style == NULL || append_asset(out, "<link rel=\"stylesheet\" href=\"", viewer->style, "\">\n");
    buffer_append_text(out, "</head>\n<body style=\"margin: 0\">\n<div id=\"contract\"></div>\n");
    complete = complete && append_asset(out, "<script src=\"", viewer->library, "\"></script>\n");
    complete = complete && append_asset(out, "<script src=\"", viewer->start, "\"></script>\n");
    buffer_append_text(out, "</body>\n</html>\n");
    return complete;
}

/* Instead of a viewer that the build did not have. */
static void render_missing(struct buffer *out)
{
    struct page_asset asset;
    struct http_shared *text = NULL;
    if (page_asset_find("missing.html", &asset))
        text = rendered_unpack((struct http_text){(const char *)asset.packed, asset.packed_bytes});
    buffer_clear(out);
    if (text != NULL)
        buffer_append(out, http_shared_text(text).data, http_shared_text(text).bytes);
    http_shared_release(text);
}

/* --- Keeping and sending --- */

/* FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/: tells one content from the next. */
static void write_etag(const char *text, size_t bytes, char *etag, size_t etag_bytes)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
    snprintf(etag, etag_bytes, "W/\"%016llx\"", (unsigned long long)hash);
}

/* False when memory ran out. */
static bool make(enum api_role role, enum page page, struct front_page *kept)
{
    struct buffer body = BUFFER_INIT;
    if (page == PAGE_OPENAPI)
        openapi_render(role, &body);
    else if (!render_viewer(&viewers[page], &body))
        render_missing(&body);
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

void front_handle_page(struct front *front, struct http_exchange *exchange, const struct api_route *route,
                       enum page page)
{
    struct front_page *kept = &front->pages[page];
    const struct http_head *head = http_exchange_head(exchange);
    if (kept->body == NULL && !make(front->gateway->role, page, kept)) {
        front_fail(front, exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    struct answer answer = {.status = 200,
                            .shared = kept->body,
                            .content_type = route->reply_type,
                            .etag = kept->etag,
                            .security_policy = page == PAGE_OPENAPI ? NULL : FRONT_SECURITY_POLICY};
    if (front_client_has_it(head, kept->etag)) {
        answer.status = 304;
        answer.shared = NULL;
    } else if (kept->packed != NULL && http_head_accepts_coding(head, "gzip")) {
        answer.shared = kept->packed;
        answer.packed = true;
    }
    front_answer(front, exchange, &answer);
}

void front_handle_asset(struct front *front, struct http_exchange *exchange, const struct api_match *match)
{
    struct page_asset asset;
    char name[64];
    char version[32];
    char etag[32];
    const struct http_head *head = http_exchange_head(exchange);
    if (http_percent_decode(match->parameters[0], false, name, sizeof name) < 0 || !page_asset_find(name, &asset)) {
        front_fail(front, exchange, ERROR_NOT_FOUND,
                   "there is no such file; /docs and /redoc name those that they need");
        return;
    }
    snprintf(etag, sizeof etag, "W/\"%s\"", asset.version);
    bool is_versioned =
        http_query_get(http_head_query(head), "v", version, sizeof version) > 0 && strcmp(version, asset.version) == 0;
    struct answer answer = {.status = 200,
                            .content_type = asset.content_type,
                            .etag = etag,
                            .cache_control = is_versioned ? FOREVER : NULL,
                            .security_policy = FRONT_SECURITY_POLICY};
    struct http_text packed = {(const char *)asset.packed, asset.packed_bytes};
    struct http_shared *unpacked = NULL;
    if (front_client_has_it(head, etag)) {
        answer.status = 304;
    } else if (http_head_accepts_coding(head, "gzip")) {
        answer.body = packed.data;
        answer.body_bytes = packed.bytes;
        answer.packed = true;
    } else if ((unpacked = rendered_unpack(packed)) != NULL) {
        answer.shared = unpacked;
    } else {
        front_fail(front, exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    front_answer(front, exchange, &answer);
    http_shared_release(unpacked);
}

void front_pages_free(struct front *front)
{
    for (size_t i = 0; i < PAGE_COUNT; i++) {
        http_shared_release(front->pages[i].body);
        http_shared_release(front->pages[i].packed);
    }
}
