#include "common/http/chunked.h"

#include "common/http/characters.h"

#include <string.h>

enum state {
    SIZE,             /* hexadecimal digits */
    EXTENSION,        /* after ";", to CR */
    SIZE_LF,          /* LF of the size line */
    DATA,
    DATA_CR,          /* CR LF behind the data */
    DATA_LF,
    TRAILER_START,    /* first byte of a trailer line, or CR of the empty one */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    END,
};

void http_chunked_init(struct http_chunked *chunked)
{
    *chunked = (struct http_chunked){0};
}

/* Moves on by one byte outside of data. */
static enum http_parse step(struct http_chunked *chunked, char c)
{
    switch ((enum state)chunked->state) {
    case SIZE: {
        int digit = http_hex_digit(c);
        if (digit >= 0) {
            if (chunked->digits == 16 || chunked->left_bytes > INT64_MAX >> 4)
                return HTTP_PARSE_BAD_CHUNK;
            chunked->digits++;
            chunked->left_bytes = chunked->left_bytes << 4 | (uint64_t)digit;
            return HTTP_PARSE_MORE;
        }
        if (chunked->digits == 0)
            return HTTP_PARSE_BAD_CHUNK;
        if (c == '\r')
            chunked->state = SIZE_LF;
        else if (c == ';')
            chunked->state = EXTENSION;
        else
            return HTTP_PARSE_BAD_CHUNK;
        return HTTP_PARSE_MORE;
    }
    case EXTENSION:
        if (c == '\r')
            chunked->state = SIZE_LF;
        else if (!http_character_is(c, HTTP_CHARACTER_VALUE))
            return HTTP_PARSE_BAD_CHUNK;
        return HTTP_PARSE_MORE;
    case SIZE_LF:
        if (c != '\n')
            return HTTP_PARSE_BAD_CHUNK;
        chunked->state = chunked->left_bytes > 0 ? DATA : TRAILER_START;
        chunked->line_bytes = 0;
        return HTTP_PARSE_MORE;
    case DATA_CR:
        chunked->state = DATA_LF;
        return c == '\r' ? HTTP_PARSE_MORE : HTTP_PARSE_BAD_CHUNK;
    case DATA_LF:
        chunked->state = SIZE;
        chunked->digits = 0;
        chunked->line_bytes = 0;
        return c == '\n' ? HTTP_PARSE_MORE : HTTP_PARSE_BAD_CHUNK;
    case TRAILER_START:
        if (c == '\r')
            chunked->state = END_LF;
        else if (http_character_is(c, HTTP_CHARACTER_TOKEN))
            chunked->state = TRAILER_NAME;
        else
            return HTTP_PARSE_BAD_CHUNK;
        return HTTP_PARSE_MORE;
    case TRAILER_NAME:
        if (c == ':')
            chunked->state = TRAILER_VALUE;
        else if (!http_character_is(c, HTTP_CHARACTER_TOKEN))
            return HTTP_PARSE_BAD_CHUNK;
        return HTTP_PARSE_MORE;
    case TRAILER_VALUE:
        if (c == '\r')
            chunked->state = TRAILER_LF;
        else if (!http_character_is(c, HTTP_CHARACTER_VALUE))
            return HTTP_PARSE_BAD_CHUNK;
        return HTTP_PARSE_MORE;
    case TRAILER_LF:
        chunked->state = TRAILER_START;
        return c == '\n' ? HTTP_PARSE_MORE : HTTP_PARSE_BAD_CHUNK;
    case END_LF:
        chunked->state = END;
        return c == '\n' ? HTTP_PARSE_DONE : HTTP_PARSE_BAD_CHUNK;
    case DATA:
    case END:
        break;
    }
    return HTTP_PARSE_BAD_CHUNK;
}

enum http_parse http_chunked_decode(struct http_chunked *chunked, const char *data, size_t bytes, size_t *used,
                                    struct http_text *piece)
{
    size_t i = 0;
    *piece = (struct http_text){data, 0};
    enum http_parse result = chunked->state == END ? HTTP_PARSE_DONE : HTTP_PARSE_MORE;
    while (i < bytes && result == HTTP_PARSE_MORE) {
        if (chunked->state == DATA) {
            size_t take = bytes - i < chunked->left_bytes ? bytes - i : (size_t)chunked->left_bytes;
            *piece = (struct http_text){data + i, take};
            i += take;
            chunked->left_bytes -= take;
            if (chunked->left_bytes == 0)
                chunked->state = DATA_CR;
            break;
        }
        bool in_trailers = chunked->state >= TRAILER_START;
        if (++chunked->line_bytes > (in_trailers ? HTTP_CHUNK_TRAILERS_BYTES_MAX : HTTP_CHUNK_LINE_BYTES_MAX))
            result = HTTP_PARSE_CHUNK_LINE_TOO_LONG;
        else
            result = step(chunked, data[i]);
        i++;
    }
    *used = i;
    return result;
}

size_t http_chunk_head(char line[HTTP_CHUNK_HEAD_BYTES_MAX], uint64_t chunk_bytes)
{
    unsigned digits = 1;
    while (digits < 16 && chunk_bytes >> (4 * digits) != 0)
        digits++;
    for (unsigned i = 0; i < digits; i++)
        line[i] = "0123456789abcdef"[chunk_bytes >> (4 * (digits - 1 - i)) & 15];
    line[digits] = '\r';
    line[digits + 1] = '\n';
    return digits + 2;
}
