/* A growing run of bytes; see buffer.h. */

#include "common/buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer)BUFFER_INIT;
}

void buffer_clear(struct buffer *buffer)
{
    buffer->bytes = 0;
    buffer->failed = false;
    if (buffer->data != NULL)
        buffer->data[0] = '\0';
}

static void fail(struct buffer *buffer)
{
    buffer_free(buffer);
    buffer->failed = true;
}

bool buffer_reserve(struct buffer *buffer, size_t more_bytes)
{
    if (buffer->failed)
        return false;
    if (more_bytes > SIZE_MAX / 2 - buffer->bytes - 1) {
        fail(buffer);
        return false;
    }
    size_t needed = buffer->bytes + more_bytes + 1;
    if (needed <= buffer->capacity)
        return true;
    size_t capacity = buffer->capacity < 64 ? 64 : buffer->capacity;
    while (capacity < needed)
        capacity *= 2;
    char *data = realloc(buffer->data, capacity);
    if (data == NULL) {
        fail(buffer);
        return false;
    }
    if (buffer->data == NULL)
        data[0] = '\0';
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

void buffer_append(struct buffer *buffer, const void *data, size_t bytes)
{
    if (!buffer_reserve(buffer, bytes))
        return;
    if (bytes > 0)
        memcpy(buffer->data + buffer->bytes, data, bytes);
    buffer->bytes += bytes;
    buffer->data[buffer->bytes] = '\0';
}

void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_append_char(struct buffer *buffer, char c)
{
    buffer_append(buffer, &c, 1);
}

void buffer_append_uint(struct buffer *buffer, uint64_t value)
{
    char digits[20];
    size_t first = sizeof(digits);
    do {
        digits[--first] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    buffer_append(buffer, digits + first, sizeof(digits) - first);
}

void buffer_append_format(struct buffer *buffer, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0) {
        fail(buffer);
    } else if (buffer_reserve(buffer, (size_t)length)) {
        (void)vsnprintf(buffer->data + buffer->bytes, (size_t)length + 1, format, again);
        buffer->bytes += (size_t)length;
    }
    va_end(again);
}

void buffer_consume(struct buffer *buffer, size_t bytes)
{
    if (bytes >= buffer->bytes) {
        bool failed = buffer->failed;
        buffer_clear(buffer);
        buffer->failed = failed;
        return;
    }
    memmove(buffer->data, buffer->data + bytes, buffer->bytes - bytes + 1);
    buffer->bytes -= bytes;
}

char *buffer_take(struct buffer *buffer)
{
    char *data = buffer->data;
    *buffer = (struct buffer)BUFFER_INIT;
    return data;
}
