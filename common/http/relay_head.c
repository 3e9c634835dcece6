#include "common/http/relay_head.h"

#include "common/http/put.h"

#include <string.h>

/* Name, colon, blanks and value lie together, and were checked: they go in one piece. */
static void append_as_received(struct buffer *out, const struct http_head *head, const struct http_field *field)
{
    http_put(out, head->base + field->name_at, field->value_at + field->value_bytes - field->name_at);
    http_put(out, "\r\n", 2);
}

/* Whether Connection names anything but what it usually does: then every field has to be
 * compared with what it names. */
static bool connection_names_fields(const struct http_head *head)
{
    for (unsigned i = 0; i < head->field_count; i++) {
        if (head->fields[i].name != HTTP_FIELD_CONNECTION)
            continue;
        struct http_text value = http_field_value(head, &head->fields[i]);
        if (!http_text_equal_ignoring_case(value, "close") && !http_text_equal_ignoring_case(value, "keep-alive") &&
            !http_text_equal_ignoring_case(value, "upgrade"))
            return true;
    }
    return false;
}

static bool connection_names(const struct http_head *head, const struct http_field *field)
{
    char name[64];
    if (field->name_bytes >= sizeof name)
        return false; /* longer than any field that is about a connection */
    memcpy(name, head->base + field->name_at, field->name_bytes);
    name[field->name_bytes] = '\0';
    return http_head_has_token(head, "connection", name);
}

static bool is_replaced(const struct http_head *head, const struct http_field *field, const struct http_header *headers,
                        size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (http_text_equal_ignoring_case(http_field_name_text(head, field), headers[i].name))
            return true;
    return false;
}

static bool is_withheld(const struct http_head *head, const struct http_field *field,
                        const struct http_relay_target *target)
{
    for (size_t i = 0; i < target->withheld_count; i++)
        if (http_text_equal_ignoring_case(http_field_name_text(head, field), target->withheld[i]))
            return true;
    return false;
}

/* Between two machines only (RFC 9110 7.6.1), or written anew by every proxy. */
static bool is_hop_by_hop(enum http_field_name name)
{
    switch (name) {
    case HTTP_FIELD_CONNECTION:
    case HTTP_FIELD_CONTENT_LENGTH:
    case HTTP_FIELD_KEEP_ALIVE:
    case HTTP_FIELD_PROXY_AUTHENTICATE:
    case HTTP_FIELD_PROXY_AUTHORIZATION:
    case HTTP_FIELD_PROXY_CONNECTION:
    case HTTP_FIELD_TE:
    case HTTP_FIELD_TRAILER:
    case HTTP_FIELD_TRANSFER_ENCODING:
    case HTTP_FIELD_UPGRADE:
    case HTTP_FIELD_X_REQUEST_ID:
        return true;
    default:
        return false;
    }
}

static void append_headers(struct buffer *out, const struct http_header *headers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        http_put_field(out, headers[i].name, strlen(headers[i].name), headers[i].value, strlen(headers[i].value));
}

/* A list field: what was there, then ours. */
static void append_list(struct buffer *out, const struct http_head *head, enum http_field_name known, const char *name,
                        const char *first_part, const char *second_part)
{
    http_put_text(out, name);
    http_put(out, ": ", 2);
    for (unsigned i = 0; i < head->field_count; i++) {
        if (head->fields[i].name != known)
            continue;
        struct http_text value = http_field_value(head, &head->fields[i]);
        http_put(out, value.data, value.bytes);
        http_put(out, ", ", 2);
    }
    http_put_text(out, first_part);
    http_put_text(out, second_part);
    http_put(out, "\r\n", 2);
}

static void append_upgrade(struct buffer *out, const struct http_head *head)
{
    struct http_text protocol = http_head_get_known(head, HTTP_FIELD_UPGRADE);
    http_put_field(out, "Connection", 10, "Upgrade", 7);
    http_put_field(out, "Upgrade", 7, protocol.data, protocol.bytes);
}

void relay_render_request(struct buffer *out, struct http_exchange *exchange, const struct http_relay_target *target,
                          const char *via, enum http_framing framing, uint64_t body_bytes)
{
    const struct http_head *head = http_exchange_head(exchange);
    struct http_text method = http_head_text(head, head->method_text);
    http_put(out, method.data, method.bytes);
    http_put(out, " ", 1);
    http_put_text(out, target->origin->prefix);
    http_put(out, target->path.data, target->path.bytes);
    http_put_text(out, " HTTP/1.1\r\nHost: ");
    http_put_text(out, target->origin->authority);
    http_put(out, "\r\n", 2);

    bool named = connection_names_fields(head), has_proto = false, has_host = false;
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        enum http_field_name name = field->name;
        if (is_hop_by_hop(name) || name == HTTP_FIELD_HOST || name == HTTP_FIELD_EXPECT ||
            name == HTTP_FIELD_X_FORWARDED_FOR || name == HTTP_FIELD_VIA ||
            (named && connection_names(head, field)) ||
            is_replaced(head, field, target->request_headers, target->request_header_count) ||
            is_withheld(head, field, target))
            continue;
        has_proto = has_proto || name == HTTP_FIELD_X_FORWARDED_PROTO;
        has_host = has_host || name == HTTP_FIELD_X_FORWARDED_HOST;
        append_as_received(out, head, field);
    }
    append_list(out, head, HTTP_FIELD_X_FORWARDED_FOR, "X-Forwarded-For", http_exchange_client_address(exchange), "");
    if (!has_proto)
        http_put_field(out, "X-Forwarded-Proto", 17, "http", 4);
    struct http_text host = http_head_text(head, head->host);
    if (!has_host && host.bytes > 0)
        http_put_field(out, "X-Forwarded-Host", 16, host.data, host.bytes);
    append_list(out, head, HTTP_FIELD_VIA, "Via", head->minor_version == 1 ? "1.1 " : "1.0 ", via);
    const char *id = http_exchange_request_id(exchange);
    http_put_field(out, "X-Request-Id", 12, id, strlen(id));
    append_headers(out, target->request_headers, target->request_header_count);

    if (framing == HTTP_FRAMING_CHUNKED) {
        http_put_text(out, "Transfer-Encoding: chunked\r\n");
    } else if (framing == HTTP_FRAMING_LENGTH || head->has_length) {
        http_put_text(out, "Content-Length: ");
        http_put_uint(out, body_bytes);
        http_put(out, "\r\n", 2);
    }
    if (head->upgrade)
        append_upgrade(out, head);
    http_put(out, "\r\n", 2);
}

void relay_render_response(struct buffer *out, struct http_exchange *exchange, const struct http_head *head,
                           const struct http_relay_target *target, const char *via, const char *date)
{
    struct http_text reason = http_head_text(head, head->reason);
    http_put(out, "HTTP/1.1 ", 9);
    http_put_uint(out, head->status);
    http_put(out, " ", 1);
    http_put(out, reason.data, reason.bytes);
    http_put(out, "\r\n", 2);

    bool named = connection_names_fields(head), has_date = false;
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        enum http_field_name name = field->name;
        if (is_hop_by_hop(name) || name == HTTP_FIELD_VIA || (named && connection_names(head, field)) ||
            is_replaced(head, field, target->response_headers, target->response_header_count))
            continue;
        has_date = has_date || name == HTTP_FIELD_DATE;
        append_as_received(out, head, field);
    }
    if (!has_date)
        http_put_field(out, "Date", 4, date, strlen(date));
    append_list(out, head, HTTP_FIELD_VIA, "Via", head->minor_version == 1 ? "1.1 " : "1.0 ", via);
    const char *id = http_exchange_request_id(exchange);
    http_put_field(out, "X-Request-Id", 12, id, strlen(id));
    append_headers(out, target->response_headers, target->response_header_count);
    /* 426 says to what to upgrade, also when it comes through a proxy (RFC 9110 15.5.22). */
    if (head->status == 101 || (head->status == 426 && http_head_get_known(head, HTTP_FIELD_UPGRADE).bytes > 0))
        append_upgrade(out, head);
}
