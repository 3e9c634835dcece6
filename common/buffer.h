/* A growing run of bytes, for text and messages that are put together piece by piece.
 *
 * When memory runs out the buffer becomes "failed": it keeps nothing, takes nothing more
 * and says so in buffer_failed, so that a long series of appends needs one check, at its
 * end. The bytes are always followed by a zero that is not counted, once anything was
 * appended.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct buffer {
    char *data; /* NULL while nothing was appended */
    size_t bytes;
    size_t capacity;
    bool failed;
};

/* An all-zero struct buffer is an empty one. */
#define BUFFER_INIT                                                                                                    \
    {                                                                                                                  \
        NULL, 0, 0, false                                                                                              \
    }

/* Frees; the buffer is empty and usable afterwards. */
void buffer_free(struct buffer *buffer);

/* Forgets the bytes and a failure, keeps the memory. */
void buffer_clear(struct buffer *buffer);

/* Makes room for that many more bytes; false when memory runs out. */
bool buffer_reserve(struct buffer *buffer, size_t more_bytes);

void buffer_append(struct buffer *buffer, const void *data, size_t bytes);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_append_char(struct buffer *buffer, char c);
void buffer_append_uint(struct buffer *buffer, uint64_t value);
__attribute__((format(printf, 2, 3))) void buffer_append_format(struct buffer *buffer, const char *format, ...);

/* Drops that many bytes from the front. */
void buffer_consume(struct buffer *buffer, size_t bytes);

/* Whether an append failed since the last clear. */
static inline bool buffer_failed(const struct buffer *buffer)
{
    return buffer->failed;
}

/* Hands the memory to the caller, who frees it with free(); NULL when failed or empty. */
char *buffer_take(struct buffer *buffer);
