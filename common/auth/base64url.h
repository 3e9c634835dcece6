/* Base64 in the alphabet of URLs, without padding (RFC 4648 section 5, RFC 7515 section 2).
 *
 * Strict: no white space, no "=", no other alphabet, and no bits left over, so that bytes have
 * one text and only one.
 *
 * Threading: none of its own. */

#pragma once

#include <stddef.h>
#include <stdint.h>

/* Characters that so many bytes become, without a zero byte. */
#define BASE64URL_TEXT_BYTES(bytes) (((bytes)*4 + 2) / 3)

/* Writes BASE64URL_TEXT_BYTES(bytes) characters and a zero byte. */
void base64url_encode(const void *data, size_t bytes, char *text);

/* Returns how many bytes were written; -1: the text is not base64url, or has more than `capacity` bytes in it. */
int64_t base64url_decode(const char *text, size_t text_bytes, void *data, size_t capacity);
