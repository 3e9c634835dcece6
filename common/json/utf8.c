/* See utf8.h. */

#include "common/json/utf8.h"

static int is_continuation(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

size_t utf8_sequence_bytes(const unsigned char *bytes, size_t available)
{
    if (available == 0)
        return 0;
    unsigned char lead = bytes[0];
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2)
        return 0; /* a continuation byte, or an overlong form of ASCII */
    if (lead < 0xE0)
        return available >= 2 && is_continuation(bytes[1]) ? 2 : 0;
    if (lead < 0xF0) {
        if (available < 3 || !is_continuation(bytes[1]) || !is_continuation(bytes[2]))
            return 0;
        if (lead == 0xE0 && bytes[1] < 0xA0)
            return 0; /* overlong */
        if (lead == 0xED && bytes[1] >= 0xA0)
            return 0; /* surrogate */
        return 3;
    }
    if (lead < 0xF5) {
        if (available < 4 || !is_continuation(bytes[1]) || !is_continuation(bytes[2]) || !is_continuation(bytes[3]))
            return 0;
        if (lead == 0xF0 && bytes[1] < 0x90)
            return 0; /* overlong */
        if (lead == 0xF4 && bytes[1] >= 0x90)
            return 0; /* above U+10FFFF */
        return 4;
    }
    return 0;
}

size_t utf8_encode(uint32_t code_point, char *out)
{
    if (code_point < 0x80) {
        out[0] = (char)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        out[0] = (char)(0xC0 | (code_point >> 6));
        out[1] = (char)(0x80 | (code_point & 0x3F));
        return 2;
    }
    if (code_point < 0x10000) {
        out[0] = (char)(0xE0 | (code_point >> 12));
        out[1] = (char)(0x80 | ((code_point >> 6) & 0x3F));
        out[2] = (char)(0x80 | (code_point & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | (code_point >> 18));
    out[1] = (char)(0x80 | ((code_point >> 12) & 0x3F));
    out[2] = (char)(0x80 | ((code_point >> 6) & 0x3F));
    out[3] = (char)(0x80 | (code_point & 0x3F));
    return 4;
}
