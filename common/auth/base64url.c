/* See base64url.h. */

#include "common/auth/base64url.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void base64url_encode(const void *data, size_t bytes, char *text)
{
    const uint8_t *at = data;
    uint32_t bits = 0;
    unsigned held = 0; /* bits that wait in `bits` */
    for (size_t i = 0; i < bytes; i++) {
        bits = bits << 8 | at[i];
        for (held += 8; held >= 6; held -= 6)
            *text++ = alphabet[bits >> (held - 6) & 63];
    }
    if (held > 0)
        *text++ = alphabet[bits << (6 - held) & 63];
    *text = '\0';
}

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

int64_t base64url_decode(const char *text, size_t text_bytes, void *data, size_t capacity)
{
    uint8_t *out = data;
    uint32_t bits = 0;
    unsigned held = 0;
    size_t bytes = 0;
    if (text_bytes % 4 == 1)
        return -1;
    for (size_t i = 0; i < text_bytes; i++) {
        int value = value_of(text[i]);
        if (value < 0)
            return -1;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held < 8)
            continue;
        held -= 8;
        if (bytes == capacity)
            return -1;
        out[bytes++] = (uint8_t)(bits >> held);
        bits &= (1u << held) - 1;
    }
    return bits == 0 ? (int64_t)bytes : -1;
}
