/* See proof.h. */

#include "gateway/proof.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

void proof_make(const char *key, const char *nonce, char text[PROOF_TEXT_BYTES])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int bytes = 0;
    text[0] = '\0';
    if (HMAC(EVP_sha256(), key, (int)strlen(key), (const unsigned char *)nonce, strlen(nonce), digest, &bytes) == NULL)
        return;
    for (unsigned int i = 0; i < bytes && 2 * i + 2 < PROOF_TEXT_BYTES; i++)
        snprintf(text + 2 * (size_t)i, 3, "%02x", digest[i]);
}

bool proof_matches(const char *key, const char *nonce, const char *text)
{
    char expected[PROOF_TEXT_BYTES];
    proof_make(key, nonce, expected);
    return expected[0] != '\0' && strlen(text) == strlen(expected) &&
           CRYPTO_memcmp(text, expected, strlen(expected)) == 0;
}
