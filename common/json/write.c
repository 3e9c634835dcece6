/* See write.h. */

#include "common/json/write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json/utf8.h"

static void before_value(struct json_writer *writer)
{
    if (writer->comma)
        buffer_append_char(writer->out, ',');
    writer->comma = true;
}

void json_write_object_begin(struct json_writer *writer)
{
    before_value(writer);
    buffer_append_char(writer->out, '{');
    writer->comma = false;
}

void json_write_object_end(struct json_writer *writer)
{
    buffer_append_char(writer->out, '}');
    writer->comma = true;
}

void json_write_array_begin(struct json_writer *writer)
{
    before_value(writer);
    buffer_append_char(writer->out, '[');
    writer->comma = false;
}

void json_write_array_end(struct json_writer *writer)
{
    buffer_append_char(writer->out, ']');
    writer->comma = true;
}

/* Whether the byte may stand in a string as it is. */
static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

static void append_escaped(struct buffer *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    switch (c) {
    case '"':
        buffer_append(out, "\\\"", 2);
        return;
    case '\\':
        buffer_append(out, "\\\\", 2);
        return;
    case '\n':
        buffer_append(out, "\\n", 2);
        return;
    case '\r':
        buffer_append(out, "\\r", 2);
        return;
    case '\t':
        buffer_append(out, "\\t", 2);
        return;
    default: {
        char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        buffer_append(out, escape, sizeof escape);
    }
    }
}

static void append_string(struct buffer *out, const char *text, size_t bytes)
{
    const unsigned char *at = (const unsigned char *)text;
    const unsigned char *end = at + bytes;
    buffer_append_char(out, '"');
    while (at < end) {
        const unsigned char *run = at;
        while (at < end && is_plain(*at))
            at++;
        if (at > run)
            buffer_append(out, run, (size_t)(at - run));
        if (at == end)
            break;
        if (*at < 0x80) {
            append_escaped(out, *at++);
            continue;
        }
        size_t sequence_bytes = utf8_sequence_bytes(at, (size_t)(end - at));
        if (sequence_bytes == 0) {
            buffer_append(out, "\xEF\xBF\xBD", 3);
            at++;
        } else {
            buffer_append(out, at, sequence_bytes);
            at += sequence_bytes;
        }
    }
    buffer_append_char(out, '"');
}

void json_write_key(struct json_writer *writer, const char *key)
{
    before_value(writer);
    buffer_append_char(writer->out, '"');
    buffer_append_text(writer->out, key);
    buffer_append(writer->out, "\":", 2);
    writer->comma = false;
}

void json_write_key_text(struct json_writer *writer, const char *key)
{
    json_write_text(writer, key);
    buffer_append_char(writer->out, ':');
    writer->comma = false;
}

void json_write_text(struct json_writer *writer, const char *text)
{
    json_write_text_bytes(writer, text, text == NULL ? 0 : strlen(text));
}

void json_write_text_bytes(struct json_writer *writer, const char *text, size_t bytes)
{
    before_value(writer);
    append_string(writer->out, text, bytes);
}

void json_write_uint(struct json_writer *writer, uint64_t value)
{
    before_value(writer);
    buffer_append_uint(writer->out, value);
}

void json_write_int(struct json_writer *writer, int64_t value)
{
    before_value(writer);
    if (value < 0)
        buffer_append_char(writer->out, '-');
    buffer_append_uint(writer->out, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

/* A double with at most four decimals, which is what people and load figures have. A
 * quotient of two exact doubles is rounded as the decimal text is, so that the comparison
 * is exact. */
static bool append_short_decimal(struct buffer *out, double value)
{
    double magnitude = fabs(value);
    if (magnitude >= 1e11)
        return false;
    double scaled = nearbyint(magnitude * 1e4);
    if (scaled / 1e4 != magnitude)
        return false;
    uint64_t digits = (uint64_t)scaled;
    unsigned fraction = (unsigned)(digits % 10000);
    char text[5] = {'.', (char)('0' + fraction / 1000), (char)('0' + fraction / 100 % 10),
                    (char)('0' + fraction / 10 % 10), (char)('0' + fraction % 10)};
    size_t length = 5;
    while (length > 2 && text[length - 1] == '0')
        length--;
    if (signbit(value))
        buffer_append_char(out, '-');
    buffer_append_uint(out, digits / 10000);
    buffer_append(out, text, length);
    return true;
}

void json_write_double(struct json_writer *writer, double value)
{
    if (!isfinite(value)) {
        json_write_null(writer);
        return;
    }
    before_value(writer);
    if (append_short_decimal(writer->out, value))
        return;
    char text[40];
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*g", precision, value);
        if (strtod(text, NULL) == value)
            break;
    }
    buffer_append_text(writer->out, text);
    if (strpbrk(text, ".e") == NULL)
        buffer_append(writer->out, ".0", 2);
}

void json_write_bool(struct json_writer *writer, bool value)
{
    before_value(writer);
    buffer_append_text(writer->out, value ? "true" : "false");
}

void json_write_null(struct json_writer *writer)
{
    before_value(writer);
    buffer_append(writer->out, "null", 4);
}

void json_write_time(struct json_writer *writer, int64_t unix_ms)
{
    if (unix_ms == 0) {
        json_write_null(writer);
        return;
    }
    char text[CLOCK_TEXT_BYTES];
    clock_format_unix_ms(unix_ms, text);
    json_write_text(writer, text);
}

void json_write_raw(struct json_writer *writer, const char *json, size_t bytes)
{
    before_value(writer);
    buffer_append(writer->out, json, bytes);
}

void json_write_named_text(struct json_writer *writer, const char *key, const char *text)
{
    json_write_key(writer, key);
    json_write_text(writer, text);
}

void json_write_named_uint(struct json_writer *writer, const char *key, uint64_t value)
{
    json_write_key(writer, key);
    json_write_uint(writer, value);
}

void json_write_named_double(struct json_writer *writer, const char *key, double value)
{
    json_write_key(writer, key);
    json_write_double(writer, value);
}

void json_write_named_bool(struct json_writer *writer, const char *key, bool value)
{
    json_write_key(writer, key);
    json_write_bool(writer, value);
}
