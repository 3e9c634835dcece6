/* The key set: which keys there are, and what tokens of others are believed. Parsed from a text,
 * the key file, which is JSON:
 *
 *     {"keys": [
 *        {"name": "lab", "key": "4f0c…", "rights": ["worker"],
 *         "workers": ["gpu-*"], "offers": ["vision-ocr", "llm-*"]},
 *        {"name": "site", "key_sha256": "9b74c9897bac770ffc029102a200c5de…", "rights": ["client"],
 *         "services": ["vision-ocr"], "requests_per_second": 50, "burst": 100},
 *        {"name": "ops", "key": ["new…", "old…"], "rights": ["admin"]}],
 *      "tokens": [
 *        {"name": "login", "kid": "2026-01", "algorithm": "RS256", "public_key": "-----BEGIN PUBLIC KEY-----\n…",
 *         "issuer": "https://login.example.org", "audience": "muster", "rights": ["client"]}],
 *      "limits": {"address": {"requests_per_second": 100, "burst": 200},
 *                 "key": {"requests_per_second": 1000, "burst": 2000}}}
 *
 * A key is 16 to 512 visible ASCII characters (`openssl rand -hex 32` makes a good one), or several
 * while one replaces another. `key_sha256` is the SHA-256 of it in hexadecimal, for a file that may be
 * read by others. Only digests are kept in memory.
 *
 * `tokens` are the keys that JSON Web Tokens are verified with; see jwt.h. HS256 takes `secret` (a text
 * of at least 32 bytes) or `secret_base64url`; RS256 (at least 2,048 bits) and ES256 (P-256) take
 * `public_key` in PEM. An entry is good for its algorithm and no other. Each has a `kid` of its own;
 * one entry for each algorithm may be without, for tokens that name none. `leeway_seconds` (30) is how far
 * clocks may differ.
 *
 * `rights`, and the lists `services`, `offers` and `workers`, are identity.h's. Who may everything is not
 * narrowed: a list beside `admin` is refused, as is every member that is not known, since a mistyped
 * restriction would be none.
 *
 * `limits`: requests from one address, and, unless a key has a limit of its own, with one key. Without
 * them there is no limit.
 *
 * Lookup: a key is hashed with SHA-256; the digest is looked up in a table by its first bytes and compared in
 * constant time. What a lookup's time could tell is about digests, from which nobody comes back to a key.
 *
 * Ownership: reference counts; a key set never changes. Threading: any. No I/O. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/auth/identity.h"

#define AUTH_DIGEST_BYTES 32
#define AUTH_KEY_BYTES_MIN 16
#define AUTH_KEY_BYTES_MAX 512
#define AUTH_KEYS_MAX 10000
#define AUTH_TOKEN_KEYS_MAX 100
#define AUTH_LIST_MAX 1000
#define AUTH_FILE_BYTES_MAX (4u << 20)

struct auth_keys;

struct auth_error {
    char text[800]; /* one line; never holds a key */
};

enum auth_algorithm { AUTH_HS256, AUTH_RS256, AUTH_ES256 };

/* What tokens are verified with. */
struct auth_token_key {
    char *kid; /* NULL: for tokens that name none */
    enum auth_algorithm algorithm;
    unsigned char *material; /* the secret, or PEM with a zero byte behind it */
    size_t material_bytes;
    char *issuer, *audience;
    int64_t leeway_seconds;
    struct auth_identity *identity; /* what its tokens may at most */
};

/* The set of a key file (`file` NULL: there is none) and of one key more that may do everything and is called
 * "api-key" (`single` "": none). NULL: *error says what is wrong, and where. */
struct auth_keys *auth_keys_create(const char *file, size_t file_bytes, const char *single, struct auth_error *error);
struct auth_keys *auth_keys_reference(struct auth_keys *keys);
void auth_keys_release(struct auth_keys *keys); /* NULL is fine */

/* How many keys and keys for tokens there are. None: nobody is asked for one. */
size_t auth_keys_count(const struct auth_keys *keys);
size_t auth_keys_token_key_count(const struct auth_keys *keys);

/* Whether the set holds keys as they are, so that nobody else should read its file. */
bool auth_keys_hold_secrets(const struct auth_keys *keys);

/* Who has the key with this SHA-256; NULL: nobody. Valid as long as the set. */
struct auth_identity *auth_keys_find(const struct auth_keys *keys, const uint8_t digest[AUTH_DIGEST_BYTES]);

/* What tokens with this `kid` (NULL: without one) and algorithm are verified with; NULL: nothing. */
const struct auth_token_key *auth_keys_find_token_key(const struct auth_keys *keys, const char *kid, size_t kid_bytes,
                                                      enum auth_algorithm algorithm);

/* Limits: of an address, and of this identity. */
struct auth_rate auth_keys_address_rate(const struct auth_keys *keys);
struct auth_rate auth_keys_rate(const struct auth_keys *keys, const struct auth_identity *identity);

/* Reads a list of patterns into an arena; `what` is named in the error. False: it is none, or memory ran out. */
struct json_document;
struct json_node;
bool auth_list_read(const struct json_document *document, const struct json_node *node, struct arena *arena,
                    struct auth_list *list);

/* "HS256"; false: none of the three. */
bool auth_algorithm_of_word(const char *word, size_t bytes, enum auth_algorithm *algorithm);
