/* Writes JSON into a struct buffer, fast enough for replies that are made for every request.
 *
 * Commas are put in by the writer; that begins and ends match, and that a key precedes each
 * value of an object, is up to the caller. Failures are the buffer's (buffer_failed).
 *
 * Threading: none of its own. */

#pragma once

#include "common/buffer.h"

struct json_writer {
    struct buffer *out;
    bool comma; /* the next key or value needs one before it */
};

static inline struct json_writer json_writer_into(struct buffer *out)
{
    return (struct json_writer){out, false};
}

void json_write_object_begin(struct json_writer *writer);
void json_write_object_end(struct json_writer *writer);
void json_write_array_begin(struct json_writer *writer);
void json_write_array_end(struct json_writer *writer);

/* `key` is a name from the source: it is not escaped. */
void json_write_key(struct json_writer *writer, const char *key);
/* The same for a key that comes from outside. */
void json_write_key_text(struct json_writer *writer, const char *key);

/* NULL is written as "". Bytes that are no UTF-8 become U+FFFD. */
void json_write_text(struct json_writer *writer, const char *text);
void json_write_text_bytes(struct json_writer *writer, const char *text, size_t bytes);
void json_write_uint(struct json_writer *writer, uint64_t value);
void json_write_int(struct json_writer *writer, int64_t value);
/* The shortest decimals that read back as the same double, with a point ("2.0"); null for
 * what JSON cannot say (infinities, NaN). */
void json_write_double(struct json_writer *writer, double value);
void json_write_bool(struct json_writer *writer, bool value);
void json_write_null(struct json_writer *writer);
/* Milliseconds since the epoch as an RFC 3339 text; null for 0, which means "never". */
void json_write_time(struct json_writer *writer, int64_t unix_ms);
/* A value that is JSON already. */
void json_write_raw(struct json_writer *writer, const char *json, size_t bytes);

/* A key and its value. */
void json_write_named_text(struct json_writer *writer, const char *key, const char *text);
void json_write_named_uint(struct json_writer *writer, const char *key, uint64_t value);
void json_write_named_double(struct json_writer *writer, const char *key, double value);
void json_write_named_bool(struct json_writer *writer, const char *key, bool value);
