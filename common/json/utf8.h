/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */

#pragma once

#include <stddef.h>
#include <stdint.h>

/* Length of the valid sequence at the start of the bytes (1 to 4), or 0 when there is none. */
size_t utf8_sequence_bytes(const unsigned char *bytes, size_t available);

/* Writes a code point (at most U+10FFFF, no surrogate) and returns how many bytes it took,
 * at most 4. */
size_t utf8_encode(uint32_t code_point, char *out);
