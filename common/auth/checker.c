/* See checker.h. */

#include "common/auth/checker.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <stdlib.h>
#include <string.h>

/* A token has two places where it can be. */
#define PLACES 2

struct remembered {
    uint8_t digest[AUTH_DIGEST_BYTES];
    struct auth_jwt jwt; /* identity NULL: free */
};

struct auth_checker {
    struct auth_keys *keys;
    bool has_secret;
    uint8_t secret[AUTH_SECRET_BYTES];
    EVP_MD_CTX *digest; /* made once: fetching the algorithm takes longer than using it */
    const EVP_MD *sha256;
    EVP_MD *fetched;
    struct remembered *remembered; /* AUTH_CHECKER_REMEMBERED; NULL before the first */
    struct auth_identity *held;    /* of the last answer, when nobody else keeps it */
};

struct auth_checker *auth_checker_create(void)
{
    struct auth_checker *checker = calloc(1, sizeof *checker);
    if (checker == NULL)
        return NULL;
    checker->digest = EVP_MD_CTX_new();
    checker->fetched = EVP_MD_fetch(NULL, "SHA256", NULL);
    checker->sha256 = checker->fetched;
    if (checker->digest == NULL || checker->fetched == NULL) {
        auth_checker_free(checker);
        return NULL;
    }
    return checker;
}

static void forget_all(struct auth_checker *checker)
{
    for (size_t i = 0; checker->remembered != NULL && i < AUTH_CHECKER_REMEMBERED; i++)
        auth_identity_release(checker->remembered[i].jwt.identity);
    free(checker->remembered);
    checker->remembered = NULL;
    auth_identity_release(checker->held);
    checker->held = NULL;
}

void auth_checker_free(struct auth_checker *checker)
{
    if (checker == NULL)
        return;
    forget_all(checker);
    auth_keys_release(checker->keys);
    EVP_MD_CTX_free(checker->digest);
    EVP_MD_free(checker->fetched);
    OPENSSL_cleanse(checker->secret, sizeof checker->secret);
    free(checker);
}

void auth_checker_set(struct auth_checker *checker, struct auth_keys *keys, const uint8_t *secret)
{
    forget_all(checker);
    auth_keys_release(checker->keys);
    checker->keys = keys;
    checker->has_secret = secret != NULL;
    if (secret != NULL)
        memcpy(checker->secret, secret, sizeof checker->secret);
}

size_t auth_checker_remembered(const struct auth_checker *checker)
{
    size_t count = 0;
    for (size_t i = 0; checker->remembered != NULL && i < AUTH_CHECKER_REMEMBERED; i++)
        count += checker->remembered[i].jwt.identity != NULL;
    return count;
}

/* --- Tokens of others --- */

static struct remembered *place_of(struct auth_checker *checker, const uint8_t digest[AUTH_DIGEST_BYTES], size_t number)
{
    uint16_t where;
    memcpy(&where, digest + 2 * number, sizeof where);
    return &checker->remembered[where % AUTH_CHECKER_REMEMBERED];
}

static struct auth_identity *recall(struct auth_checker *checker, const uint8_t digest[AUTH_DIGEST_BYTES],
                                    int64_t unix_s)
{
    for (size_t i = 0; checker->remembered != NULL && i < PLACES; i++) {
        struct remembered *place = place_of(checker, digest, i);
        if (place->jwt.identity == NULL || CRYPTO_memcmp(place->digest, digest, AUTH_DIGEST_BYTES) != 0)
            continue;
        if (unix_s >= place->jwt.valid_from_s && unix_s < place->jwt.valid_until_s)
            return place->jwt.identity;
        auth_identity_release(place->jwt.identity);
        place->jwt.identity = NULL;
    }
    return NULL;
}

/* Takes the reference over. */
static void remember(struct auth_checker *checker, const uint8_t digest[AUTH_DIGEST_BYTES], const struct auth_jwt *jwt)
{
    if (checker->remembered == NULL)
        checker->remembered = calloc(AUTH_CHECKER_REMEMBERED, sizeof *checker->remembered);
    if (checker->remembered == NULL) {
        checker->held = jwt->identity;
        return;
    }
    struct remembered *place = place_of(checker, digest, 0);
    for (size_t i = 1; i < PLACES && place->jwt.identity != NULL; i++)
        place = place_of(checker, digest, i);
    auth_identity_release(place->jwt.identity);
    memcpy(place->digest, digest, AUTH_DIGEST_BYTES);
    place->jwt = *jwt;
}

static enum auth_refusal check_jwt(struct auth_checker *checker, const char *token, size_t bytes,
                                   const uint8_t digest[AUTH_DIGEST_BYTES], int64_t unix_s, struct auth_caller *caller)
{
    struct auth_jwt jwt;
    caller->identity = recall(checker, digest, unix_s);
    if (caller->identity != NULL)
        return AUTH_ACCEPTED;
    enum auth_refusal refusal = auth_jwt_verify(checker->keys, token, bytes, unix_s, &jwt);
    if (refusal != AUTH_ACCEPTED)
        return refusal;
    caller->identity = jwt.identity;
    remember(checker, digest, &jwt);
    return AUTH_ACCEPTED;
}

/* --- All of them --- */

static bool hash(struct auth_checker *checker, const char *text, size_t bytes, uint8_t digest[AUTH_DIGEST_BYTES])
{
    return EVP_DigestInit_ex2(checker->digest, checker->sha256, NULL) == 1 &&
           EVP_DigestUpdate(checker->digest, text, bytes) == 1 &&
           EVP_DigestFinal_ex(checker->digest, digest, NULL) == 1;
}

static enum auth_refusal check_worker_token(const struct auth_checker *checker, const char *token, size_t bytes,
                                            struct auth_caller *caller)
{
    if (!checker->has_secret)
        return AUTH_NOT_READY;
    return auth_worker_token_check(checker->secret, token, bytes, caller->worker_id, &caller->incarnation)
               ? AUTH_ACCEPTED
               : AUTH_WORKER_TOKEN;
}

enum auth_refusal auth_checker_check(struct auth_checker *checker, const char *credential, size_t bytes, int64_t unix_s,
                                     struct auth_caller *caller)
{
    uint8_t digest[AUTH_DIGEST_BYTES];
    auth_identity_release(checker->held);
    checker->held = NULL;
    caller->identity = NULL;
    if (checker->keys == NULL)
        return AUTH_UNKNOWN_KEY;
    if (auth_looks_like_worker_token(credential, bytes))
        return check_worker_token(checker, credential, bytes, caller);
    if (bytes > AUTH_JWT_BYTES_MAX)
        return AUTH_TOKEN_TOO_LARGE;
    if (!hash(checker, credential, bytes, digest))
        return AUTH_NO_MEMORY;
    caller->identity = auth_keys_find(checker->keys, digest);
    if (caller->identity != NULL)
        return AUTH_ACCEPTED;
    if (auth_keys_token_key_count(checker->keys) > 0 && auth_looks_like_jwt(credential, bytes))
        return check_jwt(checker, credential, bytes, digest, unix_s, caller);
    return AUTH_UNKNOWN_KEY;
}

bool auth_bearer(const char *value, size_t bytes, const char **credential, size_t *credential_bytes)
{
    static const char scheme[] = "bearer";
    size_t at = 0;
    for (; at < sizeof scheme - 1; at++) {
        if (at >= bytes || (value[at] | 0x20) != scheme[at])
            return false;
    }
    size_t blanks = at;
    while (at < bytes && value[at] == ' ')
        at++;
    if (at == blanks || at == bytes)
        return false;
    for (size_t i = at; i < bytes; i++) {
        if (value[i] <= ' ' || value[i] >= 0x7F)
            return false;
    }
    *credential = value + at;
    *credential_bytes = bytes - at;
    return true;
}
