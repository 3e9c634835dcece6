/* The key set as a table; see keys.h. What the file says is read in keys_json.c. */

#include "common/auth/keys.h"

#include "common/auth/keys_state.h"
#include "common/auth/worker_token.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- The table --- */

static size_t place_of(const struct auth_keys *keys, const uint8_t digest[AUTH_DIGEST_BYTES])
{
    uint64_t first;
    memcpy(&first, digest, sizeof first);
    return (size_t)first & (keys->capacity - 1);
}

static struct auth_key_slot *slot_of(const struct auth_keys *keys, const uint8_t digest[AUTH_DIGEST_BYTES])
{
    size_t place = place_of(keys, digest);
    while (keys->slots[place].identity != NULL &&
           CRYPTO_memcmp(keys->slots[place].digest, digest, AUTH_DIGEST_BYTES) != 0)
        place = (place + 1) & (keys->capacity - 1);
    return &keys->slots[place];
}

static bool grow(struct auth_keys *keys)
{
    struct auth_keys larger = {.capacity = keys->capacity == 0 ? 16 : keys->capacity * 2};
    larger.slots = calloc(larger.capacity, sizeof *larger.slots);
    if (larger.slots == NULL)
        return false;
    for (size_t i = 0; i < keys->capacity; i++) {
        if (keys->slots[i].identity != NULL)
            *slot_of(&larger, keys->slots[i].digest) = keys->slots[i];
    }
    free(keys->slots);
    keys->slots = larger.slots;
    keys->capacity = larger.capacity;
    return true;
}

enum auth_add_result auth_keys_add(struct auth_keys *keys, const uint8_t digest[AUTH_DIGEST_BYTES],
                                   struct auth_identity *identity)
{
    if (2 * (keys->count + 1) > keys->capacity && !grow(keys))
        return AUTH_ADD_NO_MEMORY;
    struct auth_key_slot *slot = slot_of(keys, digest);
    if (slot->identity != NULL)
        return AUTH_ADD_TAKEN;
    memcpy(slot->digest, digest, AUTH_DIGEST_BYTES);
    slot->identity = auth_identity_reference(identity);
    keys->count++;
    return AUTH_ADDED;
}

struct auth_identity *auth_keys_find(const struct auth_keys *keys, const uint8_t digest[AUTH_DIGEST_BYTES])
{
    return keys->capacity == 0 ? NULL : slot_of(keys, digest)->identity;
}

bool auth_key_digest(const char *key, size_t bytes, uint8_t digest[AUTH_DIGEST_BYTES], struct auth_error *error)
{
    bool visible = true;
    for (size_t i = 0; i < bytes; i++)
        visible = visible && key[i] > ' ' && key[i] < 0x7F;
    if (bytes < AUTH_KEY_BYTES_MIN || bytes > AUTH_KEY_BYTES_MAX || !visible) {
        snprintf(error->text, sizeof error->text,
                 "a key must be %d to %d visible ASCII characters without spaces; `openssl rand -hex 32` makes one",
                 AUTH_KEY_BYTES_MIN, AUTH_KEY_BYTES_MAX);
        return false;
    }
    if (auth_looks_like_worker_token(key, bytes)) {
        snprintf(error->text, sizeof error->text, "a key must not begin with %s, as the tokens of workers do",
                 AUTH_WORKER_TOKEN_PREFIX);
        return false;
    }
    (void)SHA256((const unsigned char *)key, bytes, digest); /* returns digest */
    return true;
}

/* --- Knowing --- */

size_t auth_keys_count(const struct auth_keys *keys)
{
    return keys->count;
}

size_t auth_keys_token_key_count(const struct auth_keys *keys)
{
    return keys->token_key_count;
}

bool auth_keys_hold_secrets(const struct auth_keys *keys)
{
    return keys->holds_secrets;
}

const struct auth_token_key *auth_keys_find_token_key(const struct auth_keys *keys, const char *kid, size_t kid_bytes,
                                                      enum auth_algorithm algorithm)
{
    for (size_t i = 0; i < keys->token_key_count; i++) {
        const struct auth_token_key *key = &keys->token_keys[i];
        bool same = kid == NULL
                        ? key->kid == NULL
                        : key->kid != NULL && strlen(key->kid) == kid_bytes && memcmp(key->kid, kid, kid_bytes) == 0;
        if (same && key->algorithm == algorithm)
            return key;
    }
    return NULL;
}

struct auth_rate auth_keys_address_rate(const struct auth_keys *keys)
{
    return keys->address_rate;
}

struct auth_rate auth_keys_rate(const struct auth_keys *keys, const struct auth_identity *identity)
{
    if (identity->rate.requests_per_second > 0)
        return identity->rate;
    if (identity->issuer != NULL && identity->issuer->rate.requests_per_second > 0)
        return identity->issuer->rate;
    return keys->key_rate;
}

bool auth_algorithm_of_word(const char *word, size_t bytes, enum auth_algorithm *algorithm)
{
    static const char words[][6] = {[AUTH_HS256] = "HS256", [AUTH_RS256] = "RS256", [AUTH_ES256] = "ES256"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (bytes == 5 && memcmp(words[i], word, 5) == 0) {
            *algorithm = (enum auth_algorithm)i;
            return true;
        }
    }
    return false;
}

/* --- Life --- */

static bool add_single(struct auth_keys *keys, const char *single, struct auth_error *error)
{
    uint8_t digest[AUTH_DIGEST_BYTES];
    struct auth_error reason;
    if (!auth_key_digest(single, strlen(single), digest, &reason)) {
        snprintf(error->text, sizeof error->text, "API_KEY: %.300s", reason.text);
        return false;
    }
    struct auth_identity *identity = auth_identity_create();
    if (identity != NULL) {
        identity->name = arena_copy(&identity->arena, "api-key", 7);
        identity->rights = AUTH_ADMIN;
    }
    enum auth_add_result result =
        identity == NULL || identity->name == NULL ? AUTH_ADD_NO_MEMORY : auth_keys_add(keys, digest, identity);
    auth_identity_release(identity);
    if (result == AUTH_ADD_TAKEN)
        snprintf(error->text, sizeof error->text,
                 "API_KEY is a key of the key file as well; leave one of the two out, or they would differ in rights");
    else if (result == AUTH_ADD_NO_MEMORY)
        snprintf(error->text, sizeof error->text, "out of memory");
    return result == AUTH_ADDED;
}

struct auth_keys *auth_keys_create(const char *file, size_t file_bytes, const char *single, struct auth_error *error)
{
    struct auth_keys *keys = calloc(1, sizeof *keys);
    error->text[0] = '\0';
    if (keys == NULL) {
        snprintf(error->text, sizeof error->text, "out of memory");
        return NULL;
    }
    keys->references = 1;
    arena_init(&keys->arena, NULL, 0);
    if ((file != NULL && !auth_keys_read(keys, file, file_bytes, error)) ||
        (single[0] != '\0' && !add_single(keys, single, error))) {
        auth_keys_release(keys);
        return NULL;
    }
    return keys;
}

struct auth_keys *auth_keys_reference(struct auth_keys *keys)
{
    (void)__atomic_fetch_add(&keys->references, 1, __ATOMIC_RELAXED);
    return keys;
}

void auth_keys_release(struct auth_keys *keys)
{
    if (keys == NULL || __atomic_fetch_sub(&keys->references, 1, __ATOMIC_ACQ_REL) > 1)
        return;
    for (size_t i = 0; i < keys->capacity; i++)
        auth_identity_release(keys->slots[i].identity);
    free(keys->slots);
    for (size_t i = 0; i < keys->token_key_count; i++) {
        struct auth_token_key *key = &keys->token_keys[i];
        auth_identity_release(key->identity);
        if (key->material != NULL)
            OPENSSL_cleanse(key->material, key->material_bytes);
        free(key->material);
    }
    free(keys->token_keys);
    arena_free(&keys->arena);
    free(keys);
}
