/* See worker_token.h. */

#include "common/auth/worker_token.h"

#include "common/auth/base64url.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAC_BYTES 32
#define PREFIX_BYTES (sizeof AUTH_WORKER_TOKEN_PREFIX - 1)
#define PEER_PREFIX "mp1."
#define PEER_PREFIX_BYTES (sizeof PEER_PREFIX - 1)
#define MAC_TEXT_BYTES BASE64URL_TEXT_BYTES(MAC_BYTES)

_Static_assert(AUTH_WORKER_TOKEN_BYTES >=
                   PREFIX_BYTES + BASE64URL_TEXT_BYTES(AUTH_WORKER_ID_BYTES_MAX) + 1 + 20 + 1 + MAC_TEXT_BYTES + 1,
               "room for the longest token");
_Static_assert(AUTH_PEER_TOKEN_BYTES >= PEER_PREFIX_BYTES + MAC_TEXT_BYTES + 1, "room for a peer's token");

static void authenticate(const uint8_t secret[AUTH_SECRET_BYTES], const void *message, size_t bytes,
                         uint8_t mac[MAC_BYTES])
{
    unsigned length = 0;
    /* Fails for want of memory only; a MAC that was not made must not be compared with. */
    if (HMAC(EVP_sha256(), secret, AUTH_SECRET_BYTES, message, bytes, mac, &length) == NULL || length != MAC_BYTES)
        abort();
}

static void worker_mac(const uint8_t secret[AUTH_SECRET_BYTES], const char *worker_id, size_t id_bytes,
                       uint64_t incarnation, uint8_t mac[MAC_BYTES])
{
    uint8_t message[7 + 8 + AUTH_WORKER_ID_BYTES_MAX] = "worker";
    for (int i = 0; i < 8; i++)
        message[7 + i] = (uint8_t)(incarnation >> (56 - 8 * i));
    memcpy(message + 15, worker_id, id_bytes);
    authenticate(secret, message, 15 + id_bytes, mac);
}

bool auth_looks_like_worker_token(const char *text, size_t bytes)
{
    return bytes >= PREFIX_BYTES && memcmp(text, AUTH_WORKER_TOKEN_PREFIX, PREFIX_BYTES) == 0;
}

bool auth_worker_token_make(const uint8_t secret[AUTH_SECRET_BYTES], const char *worker_id, uint64_t incarnation,
                            char token[AUTH_WORKER_TOKEN_BYTES])
{
    uint8_t mac[MAC_BYTES];
    char id_text[BASE64URL_TEXT_BYTES(AUTH_WORKER_ID_BYTES_MAX) + 1], mac_text[MAC_TEXT_BYTES + 1];
    size_t id_bytes = strlen(worker_id);
    if (id_bytes == 0 || id_bytes > AUTH_WORKER_ID_BYTES_MAX)
        return false;
    worker_mac(secret, worker_id, id_bytes, incarnation, mac);
    base64url_encode(worker_id, id_bytes, id_text);
    base64url_encode(mac, sizeof mac, mac_text);
    snprintf(token, AUTH_WORKER_TOKEN_BYTES, AUTH_WORKER_TOKEN_PREFIX "%s.%" PRIu64 ".%s", id_text, incarnation,
             mac_text);
    return true;
}

/* A number without leading zeroes, the way it is written above; its end is `end`. */
static bool read_number(const char *text, size_t bytes, uint64_t *number)
{
    *number = 0;
    if (bytes == 0 || bytes > 20 || (text[0] == '0' && bytes > 1))
        return false;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(*number, (uint64_t)10, number) ||
            __builtin_add_overflow(*number, (uint64_t)(text[i] - '0'), number))
            return false;
    }
    return true;
}

bool auth_worker_token_check(const uint8_t secret[AUTH_SECRET_BYTES], const char *token, size_t bytes,
                             char worker_id[AUTH_WORKER_ID_BYTES_MAX + 1], uint64_t *incarnation)
{
    uint8_t mac[MAC_BYTES], given[MAC_BYTES];
    if (!auth_looks_like_worker_token(token, bytes) || bytes >= AUTH_WORKER_TOKEN_BYTES)
        return false;
    const char *id = token + PREFIX_BYTES, *end = token + bytes;
    const char *id_end = memchr(id, '.', (size_t)(end - id));
    const char *number_end = id_end == NULL ? NULL : memchr(id_end + 1, '.', (size_t)(end - id_end - 1));
    if (number_end == NULL)
        return false;
    int64_t id_bytes = base64url_decode(id, (size_t)(id_end - id), worker_id, AUTH_WORKER_ID_BYTES_MAX);
    if (id_bytes <= 0 || memchr(worker_id, '\0', (size_t)id_bytes) != NULL ||
        !read_number(id_end + 1, (size_t)(number_end - id_end - 1), incarnation) ||
        base64url_decode(number_end + 1, (size_t)(end - number_end - 1), given, sizeof given) != MAC_BYTES)
        return false;
    worker_id[id_bytes] = '\0';
    worker_mac(secret, worker_id, (size_t)id_bytes, *incarnation, mac);
    return CRYPTO_memcmp(mac, given, MAC_BYTES) == 0;
}

void auth_peer_token_make(const uint8_t secret[AUTH_SECRET_BYTES], char token[AUTH_PEER_TOKEN_BYTES])
{
    uint8_t mac[MAC_BYTES];
    authenticate(secret, "peer", 4, mac);
    memcpy(token, PEER_PREFIX, PEER_PREFIX_BYTES);
    base64url_encode(mac, sizeof mac, token + PEER_PREFIX_BYTES);
}

bool auth_peer_token_check(const uint8_t secret[AUTH_SECRET_BYTES], const char *token, size_t bytes)
{
    uint8_t mac[MAC_BYTES], given[MAC_BYTES];
    if (bytes != PEER_PREFIX_BYTES + MAC_TEXT_BYTES || memcmp(token, PEER_PREFIX, PEER_PREFIX_BYTES) != 0 ||
        base64url_decode(token + PEER_PREFIX_BYTES, MAC_TEXT_BYTES, given, sizeof given) != MAC_BYTES)
        return false;
    authenticate(secret, "peer", 4, mac);
    return CRYPTO_memcmp(mac, given, MAC_BYTES) == 0;
}
