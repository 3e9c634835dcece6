/* Character classes of HTTP and URIs, for the parsers of this folder. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

enum http_character_class {
    HTTP_CHARACTER_TOKEN = 1, /* tchar of RFC 9110: names of methods and fields */
    HTTP_CHARACTER_VALUE = 2, /* field values: tab, visible, space, 128 and above */
    HTTP_CHARACTER_PATH = 4,  /* pchar of RFC 3986 without "%", and "/" */
    HTTP_CHARACTER_QUERY = 8, /* what clients send in queries: visible but for "#" */
    HTTP_CHARACTER_HOST = 16, /* reg-name without "%": unreserved and sub-delims */
    HTTP_CHARACTER_DIGIT = 32,
};

extern const uint8_t http_character_classes[256];

static inline bool http_character_is(char c, enum http_character_class class)
{
    return (http_character_classes[(uint8_t)c] & class) != 0;
}

/* 0 to 15, or -1. */
static inline int http_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* ASCII letters only, whatever the locale. */
static inline char http_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}
