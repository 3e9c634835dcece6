/* Proof that a coordinator is at the URL that it registered: who registers announces a key; who
 * is asked at that URL answers a nonce with its HMAC-SHA256 by this key (RFC 2104), in
 * hexadecimal. So nobody can register a coordinator that is somebody else's.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>

#define PROOF_TEXT_BYTES 65

/* "": it cannot be made. */
void proof_make(const char *key, const char *nonce, char text[PROOF_TEXT_BYTES]);

/* In constant time. */
bool proof_matches(const char *key, const char *nonce, const char *text);
