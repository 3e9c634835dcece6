#include "common/http/relay_head.h"

#include "common/http/characters.h"

#include <string.h>

static void append_line(struct buffer *out, const char *name, size_t name_bytes, const char *value, size_t value_bytes)
{
    buffer_append(out, name, name_bytes);
    buffer_append(out, ": ", 2);
    buffer_append(out, value, value_bytes);
    buffer_append(out, "\r\n", 2);
}

/* Name, colon, blanks and value lie together, and were checked: they go in one piece. */
static void append_as_received(struct buffer *out, const struct http_head *head, const struct http_field *field)
{
    buffer_append(out, head->base + field->name_at, field->value_at + field->value_bytes - field->name_at);
    buffer_append(out, "\r\n", 2);
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
        append_line(out, headers[i].name, strlen(headers[i].name), headers[i].value, strlen(headers[i].value));
}

/* A list field: what was there, then ours. */
static void append_list(struct buffer *out, const struct http_head *head, enum http_field_name known, const char *name,
                        const char *first_part, const char *second_part)
{
    buffer_append_text(out, name);
    buffer_append(out, ": ", 2);
    for (unsigned i = 0; i < head->field_count; i++) {
        if (head->fields[i].name != known)
            continue;
        struct http_text value = http_field_value(head, &head->fields[i]);
        buffer_append(out, value.data, value.bytes);
        buffer_append(out, ", ", 2);
    }
    buffer_append_text(out, first_part);
    buffer_append_text(out, second_part);
    buffer_append(out, "\r\n", 2);
}

static void append_upgrade(struct buffer *out, const struct http_head *head)
{
    struct http_text protocol = http_head_get_known(head, HTTP_FIELD_UPGRADE);
    append_line(out, "Connection", 10, "Upgrade", 7);
    append_line(out, "Upgrade", 7, protocol.data, protocol.bytes);
}

void relay_render_request(struct buffer *out, struct http_exchange *exchange, const struct http_relay_target *target,
                          const char *via, enum http_framing framing, uint64_t body_bytes)
{
    const struct http_head *head = http_exchange_head(exchange);
    struct http_text method = http_head_text(head, head->method_text);
    buffer_append(out, method.data, method.bytes);
    buffer_append_char(out, ' ');
    buffer_append_text(out, target->origin->prefix);
    buffer_append(out, target->path.data, target->path.bytes);
    buffer_append_text(out, " HTTP/1.1\r\nHost: ");
    buffer_append_text(out, target->origin->authority);
    buffer_append(out, "\r\n", 2);

    bool named = connection_names_fields(head), has_proto = false, has_host = false;
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        enum http_field_name name = field->name;
        if (is_hop_by_hop(name) || name == HTTP_FIELD_HOST || name == HTTP_FIELD_EXPECT ||
            name == HTTP_FIELD_X_FORWARDED_FOR || name == HTTP_FIELD_VIA ||
            (named && connection_names(head, field)) ||
            is_replaced(head, field, target->request_headers, target->request_header_count))
            continue;
        has_proto = has_proto || name == HTTP_FIELD_X_FORWARDED_PROTO;
        has_host = has_host || name == HTTP_FIELD_X_FORWARDED_HOST;
        append_as_received(out, head, field);
    }
    append_list(out, head, HTTP_FIELD_X_FORWARDED_FOR, "X-Forwarded-For", http_exchange_client_address(exchange), "");
    if (!has_proto)
        append_line(out, "X-Forwarded-Proto", 17, "http", 4);
    struct http_text host = http_head_text(head, head->host);
    if (!has_host && host.bytes > 0)
        append_line(out, "X-Forwarded-Host", 16, host.data, host.bytes);
    append_list(out, head, HTTP_FIELD_VIA, "Via", head->minor_version == 1 ? "1.1 " : "1.0 ", via);
    const char *id = http_exchange_request_id(exchange);
    append_line(out, "X-Request-Id", 12, id, strlen(id));
    append_headers(out, target->request_headers, target->request_header_count);

    if (framing == HTTP_FRAMING_CHUNKED) {
        buffer_append_text(out, "Transfer-Encoding: chunked\r\n");
    } else if (framing == HTTP_FRAMING_LENGTH || head->has_length) {
        buffer_append_text(out, "Content-Length: ");
        buffer_append_uint(out, body_bytes);
        buffer_append(out, "\r\n", 2);
    }
    if (head->upgrade)
        append_upgrade(out, head);
    buffer_append(out, "\r\n", 2);
}

void relay_render_response(struct buffer *out, struct http_exchange *exchange, const struct http_head *head,
                           const struct http_relay_target *target, const char *via, const char *date)
{
    struct http_text reason = http_head_text(head, head->reason);
    buffer_append(out, "HTTP/1.1 ", 9);
    buffer_append_uint(out, head->status);
    buffer_append_char(out, ' ');
    buffer_append(out, reason.data, reason.bytes);
    buffer_append(out, "\r\n", 2);

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
        append_line(out, "Date", 4, date, strlen(date));
    append_list(out, head, HTTP_FIELD_VIA, "Via", head->minor_version == 1 ? "1.1 " : "1.0 ", via);
    const char *id = http_exchange_request_id(exchange);
    append_line(out, "X-Request-Id", 12, id, strlen(id));
    append_headers(out, target->response_headers, target->response_header_count);
    if (head->status == 101)
        append_upgrade(out, head);
}
