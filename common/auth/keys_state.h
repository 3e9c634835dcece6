/* What a key set consists of; for keys.c and keys_json.c. */

#pragma once

#include "common/auth/keys.h"

struct auth_key_slot {
    uint8_t digest[AUTH_DIGEST_BYTES];
    struct auth_identity *identity; /* a reference; NULL: free */
};

struct auth_keys {
    unsigned references;         /* changed by __atomic builtins only: C++ has no atomic_uint */
    struct auth_key_slot *slots; /* open addressing, at the digest's first bytes */
    size_t capacity;             /* 0 or a power of two, at least twice the keys */
    size_t count;
    struct auth_token_key *token_keys;
    size_t token_key_count;
    struct auth_rate address_rate, key_rate;
    bool holds_secrets;
    struct arena arena; /* texts of the token keys */
};

enum auth_add_result { AUTH_ADDED, AUTH_ADD_TAKEN, AUTH_ADD_NO_MEMORY };

/* Takes a reference of its own. TAKEN: somebody has that key already. */
enum auth_add_result auth_keys_add(struct auth_keys *keys, const uint8_t digest[AUTH_DIGEST_BYTES],
                                   struct auth_identity *identity);

/* The digest of a key, if its characters and length are those of one. False: *error says what is wrong. */
bool auth_key_digest(const char *key, size_t bytes, uint8_t digest[AUTH_DIGEST_BYTES], struct auth_error *error);

/* keys_json.c: adds what the file says. */
bool auth_keys_read(struct auth_keys *keys, const char *file, size_t file_bytes, struct auth_error *error);
