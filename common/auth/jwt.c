/* See jwt.h. */

#include "common/auth/jwt.h"

#include "common/auth/base64url.h"
#include "common/json/document.h"

#include <jwt.h>
#include <openssl/err.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES_MAX 2048
#define SUBJECT_BYTES_MAX 128
/* Seconds since the epoch, beyond any date: sums with a leeway must not overflow. */
#define SECONDS_MAX (1LL << 53)

const char *auth_refusal_text(enum auth_refusal refusal)
{
    switch (refusal) {
    case AUTH_ACCEPTED:
        return "accepted";
    case AUTH_UNKNOWN_KEY:
        return "the key is not known";
    case AUTH_TOKEN_MALFORMED:
        return "the token is malformed";
    case AUTH_TOKEN_TOO_LARGE:
        return "the token is too large";
    case AUTH_TOKEN_ALGORITHM:
        return "the token's algorithm is not one that is accepted for its kid";
    case AUTH_TOKEN_UNKNOWN_KID:
        return "the token was signed with a key that is not known";
    case AUTH_TOKEN_SIGNATURE:
        return "the token's signature is wrong";
    case AUTH_TOKEN_ISSUER:
        return "the token is of another issuer";
    case AUTH_TOKEN_AUDIENCE:
        return "the token is for another audience";
    case AUTH_TOKEN_EXPIRED:
        return "the token has expired";
    case AUTH_TOKEN_EARLY:
        return "the token is not valid yet";
    case AUTH_TOKEN_CLAIMS:
        return "the token lacks exp or sub, or one of its claims has the wrong type";
    case AUTH_WORKER_TOKEN:
        return "the worker's token is not one of this coordinator's; register again";
    case AUTH_NOT_READY:
        return "tokens of workers cannot be checked before the registry was heard; try again in a moment";
    case AUTH_NO_MEMORY:
        return "out of memory";
    }
    return "refused";
}

/* --- Parts --- */

struct parts {
    const char *header, *payload, *signature;
    size_t header_bytes, payload_bytes, signature_bytes;
};

static bool split(const char *token, size_t bytes, struct parts *parts)
{
    const char *end = token + bytes;
    const char *first = memchr(token, '.', bytes);
    const char *second = first == NULL ? NULL : memchr(first + 1, '.', (size_t)(end - first - 1));
    if (second == NULL || memchr(second + 1, '.', (size_t)(end - second - 1)) != NULL)
        return false;
    *parts = (struct parts){token,
                            first + 1,
                            second + 1,
                            (size_t)(first - token),
                            (size_t)(second - first - 1),
                            (size_t)(end - second - 1)};
    return true;
}

bool auth_looks_like_jwt(const char *text, size_t bytes)
{
    struct parts parts;
    return split(text, bytes, &parts);
}

/* Decodes a part into `text`, which the document then points into. */
static bool parse_part(const char *part, size_t part_bytes, char *text, size_t capacity, struct json_document *document)
{
    int64_t bytes = base64url_decode(part, part_bytes, text, capacity);
    /* Also one that is never parsed is freed. */
    document->nodes = document->inline_nodes;
    document->decoded = NULL;
    return bytes >= 0 && json_document_parse(document, text, (size_t)bytes) &&
           json_root(document)->type == JSON_TYPE_OBJECT;
}

/* --- The header --- */

static enum auth_refusal find_key(const struct auth_keys *keys, const struct json_document *header,
                                  const struct auth_token_key **key)
{
    const struct json_node *root = json_root(header);
    const struct json_node *word = json_member(header, root, "alg");
    const struct json_node *kid = json_member(header, root, "kid");
    enum auth_algorithm algorithm;
    if (word == NULL || word->type != JSON_TYPE_TEXT || (kid != NULL && kid->type != JSON_TYPE_TEXT) ||
        json_member(header, root, "crit") != NULL)
        return AUTH_TOKEN_MALFORMED;
    if (!auth_algorithm_of_word(word->text, word->text_bytes, &algorithm))
        return AUTH_TOKEN_ALGORITHM;
    const char *name = kid == NULL ? NULL : kid->text;
    size_t name_bytes = kid == NULL ? 0 : kid->text_bytes;
    *key = auth_keys_find_token_key(keys, name, name_bytes, algorithm);
    if (*key != NULL)
        return AUTH_ACCEPTED;
    for (int other = AUTH_HS256; other <= AUTH_ES256; other++) {
        if (auth_keys_find_token_key(keys, name, name_bytes, (enum auth_algorithm)other) != NULL)
            return AUTH_TOKEN_ALGORITHM;
    }
    return AUTH_TOKEN_UNKNOWN_KID;
}

/* --- The signature --- */

static bool is_signed(const struct auth_token_key *key, const char *token, size_t bytes)
{
    static const jwt_alg_t algorithms[] = {
        [AUTH_HS256] = JWT_ALG_HS256, [AUTH_RS256] = JWT_ALG_RS256, [AUTH_ES256] = JWT_ALG_ES256};
    jwt_t *jwt = NULL;
    char *copy = strndup(token, bytes);
    if (copy == NULL)
        return false;
    bool good = jwt_decode(&jwt, copy, key->material, (int)key->material_bytes) == 0;
    /* The same header was read twice; both readings must be of one mind about what was verified. */
    good = good && jwt_get_alg(jwt) == algorithms[key->algorithm];
    jwt_free(jwt);
    free(copy);
    ERR_clear_error(); /* what a bad signature leaves behind is nobody's news */
    return good;
}

/* --- The claims --- */

/* A NumericDate; fractions are cut. False: it is none. `absent` when it is not there. */
static bool read_date(const struct json_document *payload, const char *name, int64_t absent, int64_t *seconds)
{
    const struct json_node *node = json_member(payload, json_root(payload), name);
    *seconds = absent;
    if (node == NULL)
        return true;
    if (node->type != JSON_TYPE_NUMBER || !(node->number >= 0 && node->number < (double)SECONDS_MAX))
        return false;
    *seconds = node->boolean ? node->integer : (int64_t)node->number;
    return true;
}

static bool names_audience(const struct json_document *payload, const char *audience)
{
    const struct json_node *node = json_member(payload, json_root(payload), "aud");
    const struct json_node *item;
    uint32_t position = 0;
    if (node == NULL || node->type != JSON_TYPE_ARRAY)
        return node != NULL && node->type == JSON_TYPE_TEXT && json_text_equals(node, audience);
    while ((item = json_next(payload, node, &position, NULL)) != NULL) {
        if (item->type == JSON_TYPE_TEXT && json_text_equals(item, audience))
            return true;
    }
    return false;
}

static enum auth_refusal check_claims(const struct auth_token_key *key, const struct json_document *payload,
                                      int64_t now_s, struct auth_jwt *jwt)
{
    const struct json_node *issuer = json_member(payload, json_root(payload), "iss");
    int64_t expires_s, not_before_s;
    if (issuer == NULL || issuer->type != JSON_TYPE_TEXT || !json_text_equals(issuer, key->issuer))
        return AUTH_TOKEN_ISSUER;
    if (!names_audience(payload, key->audience))
        return AUTH_TOKEN_AUDIENCE;
    if (!read_date(payload, "exp", -1, &expires_s) || !read_date(payload, "nbf", 0, &not_before_s) || expires_s < 0)
        return AUTH_TOKEN_CLAIMS;
    jwt->valid_from_s = not_before_s - key->leeway_seconds;
    jwt->valid_until_s = expires_s + key->leeway_seconds;
    if (now_s >= jwt->valid_until_s)
        return AUTH_TOKEN_EXPIRED;
    return now_s < jwt->valid_from_s ? AUTH_TOKEN_EARLY : AUTH_ACCEPTED;
}

/* --- Who it is --- */

static bool read_claimed_list(const struct json_document *payload, const char *name, struct auth_identity *identity,
                              struct auth_list *list)
{
    const struct json_node *node = json_member(payload, json_root(payload), name);
    return node == NULL || auth_list_read(payload, node, &identity->arena, list);
}

/* Words that are none of ours are others' business. */
static bool read_claimed_rights(const struct json_document *payload, struct auth_identity *identity)
{
    const struct json_node *node = json_member(payload, json_root(payload), "rights");
    const struct json_node *item;
    uint32_t position = 0;
    unsigned rights = 0;
    if (node == NULL)
        return true;
    if (node->type != JSON_TYPE_ARRAY)
        return false;
    while ((item = json_next(payload, node, &position, NULL)) != NULL) {
        if (item->type != JSON_TYPE_TEXT)
            return false;
        rights |= auth_right_of_word(item->text, item->text_bytes);
    }
    /* An entry with admin may hand out the other two. */
    identity->rights = (identity->rights & AUTH_ADMIN) != 0 ? rights : rights & identity->rights;
    return true;
}

static bool is_good_subject(const struct json_node *subject)
{
    if (subject == NULL || subject->type != JSON_TYPE_TEXT || subject->text_bytes == 0 ||
        subject->text_bytes > SUBJECT_BYTES_MAX)
        return false;
    for (size_t i = 0; i < subject->text_bytes; i++) {
        if ((unsigned char)subject->text[i] < 0x20 || subject->text[i] == 0x7F)
            return false;
    }
    return true;
}

static char *name_of(struct auth_identity *identity, const char *entry, const struct json_node *subject)
{
    char text[AUTH_NAME_BYTES_MAX + 1 + SUBJECT_BYTES_MAX + 1];
    int bytes = snprintf(text, sizeof text, "%s/%.*s", entry, (int)subject->text_bytes, subject->text);
    return bytes < 0 ? NULL : arena_copy(&identity->arena, text, (size_t)bytes);
}

static enum auth_refusal identify(const struct auth_token_key *key, const struct json_document *payload,
                                  struct auth_identity **result)
{
    const struct json_node *subject = json_member(payload, json_root(payload), "sub");
    if (!is_good_subject(subject))
        return AUTH_TOKEN_CLAIMS;
    struct auth_identity *identity = auth_identity_create();
    if (identity == NULL)
        return AUTH_NO_MEMORY;
    identity->issuer = auth_identity_reference(key->identity);
    identity->rights = key->identity->rights;
    identity->name = name_of(identity, key->identity->name, subject);
    bool fine = read_claimed_rights(payload, identity) &&
                read_claimed_list(payload, "services", identity, &identity->services) &&
                read_claimed_list(payload, "offers", identity, &identity->offers) &&
                read_claimed_list(payload, "workers", identity, &identity->workers);
    if (!fine || arena_failed(&identity->arena)) {
        enum auth_refusal refusal = arena_failed(&identity->arena) ? AUTH_NO_MEMORY : AUTH_TOKEN_CLAIMS;
        auth_identity_release(identity);
        return refusal;
    }
    *result = identity;
    return AUTH_ACCEPTED;
}

/* --- All of it --- */

static enum auth_refusal verify_payload(const struct auth_token_key *key, const struct parts *parts, char *memory,
                                        int64_t now_s, struct auth_jwt *jwt)
{
    struct json_document payload;
    enum auth_refusal refusal = AUTH_TOKEN_MALFORMED;
    if (parse_part(parts->payload, parts->payload_bytes, memory, AUTH_JWT_BYTES_MAX, &payload))
        refusal = check_claims(key, &payload, now_s, jwt);
    if (refusal == AUTH_ACCEPTED)
        refusal = identify(key, &payload, &jwt->identity);
    json_document_free(&payload);
    return refusal;
}

enum auth_refusal auth_jwt_verify(const struct auth_keys *keys, const char *token, size_t bytes, int64_t now_s,
                                  struct auth_jwt *jwt)
{
    struct parts parts;
    char text[HEADER_BYTES_MAX];
    char signature[1024 * 2 + 1]; /* of RSA with 16,384 bits */
    const struct auth_token_key *key = NULL;
    *jwt = (struct auth_jwt){.identity = NULL};
    if (bytes > AUTH_JWT_BYTES_MAX)
        return AUTH_TOKEN_TOO_LARGE;
    if (!split(token, bytes, &parts) ||
        base64url_decode(parts.signature, parts.signature_bytes, signature, sizeof signature) < 0)
        return AUTH_TOKEN_MALFORMED;
    struct json_document header;
    enum auth_refusal refusal = AUTH_TOKEN_MALFORMED;
    if (parse_part(parts.header, parts.header_bytes, text, sizeof text, &header))
        refusal = find_key(keys, &header, &key);
    json_document_free(&header);
    if (refusal != AUTH_ACCEPTED)
        return refusal;
    if (!is_signed(key, token, bytes))
        return AUTH_TOKEN_SIGNATURE;
    char *memory = malloc(AUTH_JWT_BYTES_MAX);
    if (memory == NULL)
        return AUTH_NO_MEMORY;
    refusal = verify_payload(key, &parts, memory, now_s, jwt);
    free(memory);
    return refusal;
}
