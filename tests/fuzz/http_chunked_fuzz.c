/* A chunked body decoded at once and in pieces has to give the same bytes; what it gives is
 * encoded again, and that decoded has to be the same once more. */

#include "common/http/chunked.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* Decodes into body, which has room for `count` bytes; *length says how many there were. */
static enum http_parse decode(const char *bytes, size_t count, size_t step, char *body, size_t *length, size_t *used_all)
{
    struct http_chunked chunked;
    http_chunked_init(&chunked);
    enum http_parse result = HTTP_PARSE_MORE;
    size_t at = 0;
    *length = 0;
    while (at < count && result == HTTP_PARSE_MORE) {
        size_t used, offered = count - at < step ? count - at : step;
        struct http_text piece;
        result = http_chunked_decode(&chunked, bytes + at, offered, &used, &piece);
        check(used > 0 && used <= offered);
        check(piece.bytes == 0 || (piece.data >= bytes + at && piece.data + piece.bytes <= bytes + at + used));
        memcpy(body + *length, piece.data, piece.bytes);
        *length += piece.bytes;
        at += used;
    }
    *used_all = at;
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 2)
        return 0;
    size_t step = data[0] % 16u + 1, count = bytes - 1, length, again_length, used, again_used;
    char *input = malloc(count), *body = malloc(count), *again = malloc(count), *encoded = malloc(count + 64);
    check(input != NULL && body != NULL && again != NULL && encoded != NULL);
    memcpy(input, data + 1, count);
    enum http_parse result = decode(input, count, count, body, &length, &used);
    check(decode(input, count, step, again, &again_length, &again_used) == result);
    if (!http_parse_failed(result)) {
        check(length == again_length && memcmp(body, again, length) == 0 && used == again_used);
        size_t at = 0;
        if (length > 0) {
            at = http_chunk_head(encoded, length);
            memcpy(encoded + at, body, length);
            at += length;
            memcpy(encoded + at, "\r\n", 2);
            at += 2;
        }
        memcpy(encoded + at, "0\r\n\r\n", 5);
        at += 5;
        check(decode(encoded, at, step, again, &again_length, &again_used) == HTTP_PARSE_DONE);
        check(again_length == length && memcmp(body, again, length) == 0 && again_used == at);
    }
    free(input);
    free(body);
    free(again);
    free(encoded);
    return 0;
}
