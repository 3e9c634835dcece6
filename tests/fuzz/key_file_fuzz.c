/* Fuzz target: the key file. What is taken must be usable, what is refused must say why, in one line. */

#include "common/auth/keys.h"

#include <stdlib.h>
#include <string.h>

static void use(const struct auth_keys *keys, const uint8_t *data, size_t bytes)
{
    uint8_t digest[AUTH_DIGEST_BYTES] = {0};
    memcpy(digest, data, bytes < sizeof digest ? bytes : sizeof digest);
    const struct auth_identity *identity = auth_keys_find(keys, digest);
    if (identity != NULL) {
        (void)auth_may_call(identity, "vision-ocr", 10);
        (void)auth_may_offer(identity, "", 0);
        if (identity->name == NULL || identity->rights == 0 || auth_keys_rate(keys, identity).burst < 0)
            abort();
    }
    for (int algorithm = AUTH_HS256; algorithm <= AUTH_ES256; algorithm++) {
        const struct auth_token_key *key = auth_keys_find_token_key(keys, "1", 1, (enum auth_algorithm)algorithm);
        if (key != NULL && (key->material == NULL || key->issuer == NULL || key->audience == NULL ||
                            key->identity == NULL || (int)key->algorithm != algorithm))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct auth_error error;
    char *copy = malloc(bytes + 1); /* of its size: what is read beyond is found */
    if (copy == NULL)
        abort();
    memcpy(copy, data, bytes);
    struct auth_keys *keys = auth_keys_create(copy, bytes, "", &error);
    if (keys == NULL && (error.text[0] == '\0' || strlen(error.text) >= sizeof error.text - 1))
        abort();
    free(copy);
    if (keys != NULL)
        use(keys, data, bytes);
    auth_keys_release(keys);
    return 0;
}
