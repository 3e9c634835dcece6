#include "tests/fuzz/http_head_fuzz.h"

#include "common/http/target.h"

#include <stdlib.h>
#include <string.h>

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* The bytes are in memory of exactly their size, so that reading beyond them is noticed. */
static enum http_parse parse(const char *bytes, size_t count, size_t step, bool response, struct http_head *head)
{
    struct http_parser parser;
    const struct http_limits limits = {512, 4096, 16};
    if (response)
        http_parser_init_response(&parser, head, limits);
    else
        http_parser_init_request(&parser, head, limits);
    enum http_parse result = HTTP_PARSE_MORE;
    for (size_t at = 0; at < count && result == HTTP_PARSE_MORE;) {
        at = at + step < count ? at + step : count;
        result = http_parser_feed(&parser, head, bytes, at);
    }
    return result;
}

static void check_span(const struct http_head *head, struct http_span span)
{
    check(span.at <= head->head_bytes && span.bytes <= head->head_bytes - span.at);
}

static void check_head(const struct http_head *head, size_t count, bool response)
{
    check(head->head_bytes <= count);
    check(head->head_bytes >= 4 && memcmp(head->base + head->head_bytes - 4, "\r\n\r\n", 4) == 0);
    check(!(head->chunked && head->has_length));
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        check_span(head, (struct http_span){field->name_at, field->name_bytes});
        check_span(head, (struct http_span){field->value_at, field->value_bytes});
        check(field->name_bytes > 0);
        check(memchr(head->base + field->name_at, '\n', field->name_bytes) == NULL);
        check(memchr(head->base + field->value_at, '\n', field->value_bytes) == NULL);
        check(memchr(head->base + field->value_at, '\0', field->value_bytes) == NULL);
    }
    if (response) {
        check(head->status >= 100 && head->status < 600);
        check_span(head, head->reason);
        return;
    }
    check_span(head, head->method_text);
    check_span(head, head->path);
    check_span(head, head->query);
    check_span(head, head->host);
    check(head->minor_version == 0 || head->host.bytes > 0);
    check(http_path_acceptable(http_head_path(head)) || http_text_equal(http_head_path(head), "*"));
}

void http_head_fuzz(const uint8_t *data, size_t count, bool response)
{
    if (count < 1)
        return;
    size_t step = data[0] % 32u + 1;
    count--;
    char *bytes = malloc(count > 0 ? count : 1);
    if (bytes == NULL)
        return;
    memcpy(bytes, data + 1, count);
    struct http_head *whole = calloc(1, sizeof *whole), *pieces = calloc(1, sizeof *pieces);
    check(whole != NULL && pieces != NULL);
    enum http_parse result = parse(bytes, count, count > 0 ? count : 1, response, whole);
    check(parse(bytes, count, step, response, pieces) == result);
    check(http_parse_text(result) != NULL);
    if (result == HTTP_PARSE_DONE) {
        check_head(whole, count, response);
        check(whole->head_bytes == pieces->head_bytes);
        check(whole->field_count == pieces->field_count);
        check(whole->content_bytes == pieces->content_bytes);
    }
    free(whole);
    free(pieces);
    free(bytes);
}
