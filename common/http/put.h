/* Appending to a head that is being put together: struct buffer's functions, with the common
 * case, room enough, in line. A relay does this some forty times for each request.
 *
 * Threading: none of its own. */

#pragma once

#include "common/buffer.h"

#include <string.h>

static inline void http_put(struct buffer *out, const char *data, size_t bytes)
{
    if (out->data != NULL && out->capacity - out->bytes > bytes) { /* one more, for the zero */
        memcpy(out->data + out->bytes, data, bytes);
        out->bytes += bytes;
        out->data[out->bytes] = '\0';
        return;
    }
    buffer_append(out, data, bytes);
}

static inline void http_put_text(struct buffer *out, const char *text)
{
    http_put(out, text, strlen(text)); /* of a literal: known when it is compiled */
}

static inline void http_put_field(struct buffer *out, const char *name, size_t name_bytes, const char *value,
                                  size_t value_bytes)
{
    http_put(out, name, name_bytes);
    http_put(out, ": ", 2);
    http_put(out, value, value_bytes);
    http_put(out, "\r\n", 2);
}

static inline void http_put_uint(struct buffer *out, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    http_put(out, digits + at, sizeof digits - at);
}
