/* Reads a key file; keys.h says what is in it. */

#include "common/auth/base64url.h"
#include "common/auth/keys_state.h"
#include "common/json/fields.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_BYTES_MIN 32 /* RFC 7518 section 3.2 */
#define SECRET_BYTES_MAX 1024
#define RSA_BITS_MIN 2048 /* RFC 7518 section 3.3 */
#define RSA_BITS_MAX 16384
#define PEM_BYTES_MAX 16384
#define TEXT_BYTES_MAX 512
#define PATTERN_BYTES_MAX 256
#define RATE_MAX 1e9
#define LEEWAY_SECONDS_DEFAULT 30
#define LEEWAY_SECONDS_MAX 600

struct reading {
    struct auth_keys *keys;
    const struct json_document *document;
    struct json_error error;
    bool no_memory;
};

/* --- Members --- */

/* A member that is not known is refused, and one that is null: a mistyped restriction would be none. */
static void check_members(const struct json_fields *fields, const char *const *known)
{
    const struct json_node *key, *value;
    uint32_t position = 0;
    if (fields->object == NULL || fields->object->type != JSON_TYPE_OBJECT)
        return;
    while ((value = json_next(fields->document, fields->object, &position, &key)) != NULL) {
        char text[60];
        const char *const *name = known;
        while (*name != NULL && !json_text_equals(key, *name))
            name++;
        snprintf(text, sizeof text, "%.*s", (int)(key->text_bytes < 50 ? key->text_bytes : 50), key->text);
        if (*name == NULL)
            json_fields_refuse(fields, text, "is not known; is it mistyped?");
        else if (value->type == JSON_TYPE_NULL)
            json_fields_refuse(fields, text, "must not be null; leave it out, or say what it is");
    }
}

static char *required_text(const struct json_fields *fields, const char *name, struct arena *arena)
{
    char *text = json_fields_text(fields, name, TEXT_BYTES_MAX, arena);
    if (text == NULL || text[0] == '\0')
        json_fields_refuse(fields, name, "is required");
    return text;
}

static bool is_visible(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text >= 0x7F || *text == '/' || *text == '"' || *text == '\\')
            return false;
    }
    return true;
}

static char *read_name(const struct json_fields *fields, struct arena *arena)
{
    char *name = required_text(fields, "name", arena);
    if (name != NULL && (strlen(name) > AUTH_NAME_BYTES_MAX || !is_visible(name)))
        json_fields_refuse(fields, "name",
                           "must be at most %d visible ASCII characters without spaces, slashes and quotes",
                           AUTH_NAME_BYTES_MAX);
    return name;
}

/* --- Rights, lists, rates --- */

bool auth_list_read(const struct json_document *document, const struct json_node *node, struct arena *arena,
                    struct auth_list *list)
{
    const struct json_node *item;
    uint32_t position = 0;
    if (node->type != JSON_TYPE_ARRAY || node->count > AUTH_LIST_MAX)
        return false;
    list->given = true;
    list->patterns = arena_take(arena, (node->count + 1) * sizeof(char *));
    while (list->patterns != NULL && (item = json_next(document, node, &position, NULL)) != NULL) {
        if (item->type != JSON_TYPE_TEXT || item->text_bytes == 0 || item->text_bytes > PATTERN_BYTES_MAX)
            return false;
        const char *star = memchr(item->text, '*', item->text_bytes);
        if (star != NULL && star != item->text + item->text_bytes - 1)
            return false;
        char *pattern = arena_copy(arena, item->text, item->text_bytes);
        if (pattern == NULL)
            return false;
        list->patterns[list->count++] = pattern;
    }
    return list->patterns != NULL;
}

static void read_list(const struct json_fields *fields, const char *name, struct auth_identity *identity,
                      struct auth_list *list)
{
    const struct json_node *node = json_fields_get(fields, name);
    if (node == NULL)
        return;
    if (!auth_list_read(fields->document, node, &identity->arena, list))
        json_fields_refuse(fields, name,
                           "must be a list of at most %d names of 1 to %d bytes, with * at their end or nowhere",
                           AUTH_LIST_MAX, PATTERN_BYTES_MAX);
    else if ((identity->rights & AUTH_ADMIN) != 0)
        json_fields_refuse(fields, name, "narrows nothing beside the right admin, which may do everything");
}

static void read_rights(const struct json_fields *fields, struct auth_identity *identity)
{
    const struct json_node *node = json_fields_get_typed(fields, "rights", JSON_TYPE_ARRAY);
    const struct json_node *item;
    uint32_t position = 0;
    while (node != NULL && (item = json_next(fields->document, node, &position, NULL)) != NULL) {
        unsigned right = item->type == JSON_TYPE_TEXT ? auth_right_of_word(item->text, item->text_bytes) : 0;
        if (right == 0) {
            json_fields_refuse(fields, "rights", "must be a list of worker, client and admin");
            return;
        }
        identity->rights |= right;
    }
    if (identity->rights == 0)
        json_fields_refuse(fields, "rights", "is required: a list of worker, client and admin");
}

static void read_rate(const struct json_fields *fields, struct auth_rate *rate)
{
    double burst = 0;
    (void)json_fields_double(fields, "requests_per_second", 0, RATE_MAX, &rate->requests_per_second);
    if (json_fields_double(fields, "burst", 1, RATE_MAX, &burst) && rate->requests_per_second <= 0)
        json_fields_refuse(fields, "burst", "needs requests_per_second beside it");
    rate->burst = burst > 0 ? burst : rate->requests_per_second < 1 ? 1 : rate->requests_per_second;
}

static struct auth_identity *read_identity(struct reading *reading, const struct json_fields *fields)
{
    struct auth_identity *identity = auth_identity_create();
    if (identity == NULL) {
        reading->no_memory = true;
        return NULL;
    }
    identity->name = read_name(fields, &identity->arena);
    read_rights(fields, identity);
    read_list(fields, "services", identity, &identity->services);
    read_list(fields, "offers", identity, &identity->offers);
    read_list(fields, "workers", identity, &identity->workers);
    read_rate(fields, &identity->rate);
    reading->no_memory |= arena_failed(&identity->arena);
    return identity;
}

/* --- Keys --- */

static void add(struct reading *reading, const struct json_fields *fields, const char *name,
                const uint8_t digest[AUTH_DIGEST_BYTES], struct auth_identity *identity)
{
    enum auth_add_result result = auth_keys_add(reading->keys, digest, identity);
    if (result == AUTH_ADD_TAKEN)
        json_fields_refuse(fields, name, "is in the file twice; give each its own");
    reading->no_memory |= result == AUTH_ADD_NO_MEMORY;
}

static void add_key(struct reading *reading, const struct json_fields *fields, const struct json_node *node,
                    struct auth_identity *identity)
{
    uint8_t digest[AUTH_DIGEST_BYTES];
    struct auth_error error;
    if (node->type != JSON_TYPE_TEXT)
        json_fields_refuse(fields, "key", "must be a string, or a list of strings");
    else if (!auth_key_digest(node->text, node->text_bytes, digest, &error))
        json_fields_refuse(fields, "key", "is none: %s", error.text);
    else
        add(reading, fields, "key", digest, identity);
    reading->keys->holds_secrets = true;
}

static int hexadecimal(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static void add_digest(struct reading *reading, const struct json_fields *fields, const struct json_node *node,
                       struct auth_identity *identity)
{
    uint8_t digest[AUTH_DIGEST_BYTES];
    bool fine = node->type == JSON_TYPE_TEXT && node->text_bytes == 2 * sizeof digest;
    for (size_t i = 0; fine && i < sizeof digest; i++) {
        int high = hexadecimal(node->text[2 * i]), low = hexadecimal(node->text[2 * i + 1]);
        fine = high >= 0 && low >= 0;
        if (fine)
            digest[i] = (uint8_t)(high << 4 | low);
    }
    if (!fine)
        json_fields_refuse(fields, "key_sha256", "must be 64 hexadecimal digits: printf %%s KEY | sha256sum");
    else
        add(reading, fields, "key_sha256", digest, identity);
}

/* One, or a list of them. */
static void for_each(struct reading *reading, const struct json_fields *fields, const struct json_node *node,
                     struct auth_identity *identity,
                     void (*take)(struct reading *reading, const struct json_fields *fields,
                                  const struct json_node *node, struct auth_identity *identity))
{
    const struct json_node *item;
    uint32_t position = 0;
    if (node == NULL)
        return;
    if (node->type != JSON_TYPE_ARRAY) {
        take(reading, fields, node, identity);
        return;
    }
    while (!json_error_set(&reading->error) && (item = json_next(reading->document, node, &position, NULL)) != NULL)
        take(reading, fields, item, identity);
}

static void read_key(struct reading *reading, const struct json_fields *fields)
{
    static const char *const known[] = {"name",   "key",     "key_sha256",          "rights", "services",
                                        "offers", "workers", "requests_per_second", "burst",  NULL};
    check_members(fields, known);
    struct auth_identity *identity = read_identity(reading, fields);
    if (identity == NULL)
        return;
    size_t before = reading->keys->count;
    if (!json_error_set(&reading->error) && !reading->no_memory) {
        for_each(reading, fields, json_fields_get(fields, "key"), identity, add_key);
        for_each(reading, fields, json_fields_get(fields, "key_sha256"), identity, add_digest);
        if (reading->keys->count == before)
            json_fields_refuse(fields, "key", "is required, or key_sha256");
        else if (reading->keys->count > AUTH_KEYS_MAX)
            json_fields_refuse(fields, "key", "is one too many: there may be %d", AUTH_KEYS_MAX);
    }
    auth_identity_release(identity);
}

/* --- Keys of tokens --- */

/* The public key in PEM is one for the algorithm. */
static bool is_good_public_key(const char *pem, size_t bytes, enum auth_algorithm algorithm)
{
    BIO *memory = BIO_new_mem_buf(pem, (int)bytes);
    EVP_PKEY *key = memory == NULL ? NULL : PEM_read_bio_PUBKEY(memory, NULL, NULL, NULL);
    bool good = false;
    if (key != NULL && algorithm == AUTH_RS256)
        good = EVP_PKEY_base_id(key) == EVP_PKEY_RSA && EVP_PKEY_bits(key) >= RSA_BITS_MIN &&
               EVP_PKEY_bits(key) <= RSA_BITS_MAX;
    if (key != NULL && algorithm == AUTH_ES256) {
        char curve[64] = "";
        good = EVP_PKEY_base_id(key) == EVP_PKEY_EC && EVP_PKEY_get_group_name(key, curve, sizeof curve, NULL) == 1 &&
               strcmp(curve, "prime256v1") == 0;
    }
    EVP_PKEY_free(key);
    BIO_free(memory);
    ERR_clear_error();
    return good;
}

static unsigned char *take_material(struct reading *reading, const void *data, size_t bytes)
{
    unsigned char *material = malloc(bytes + 1);
    if (material == NULL) {
        reading->no_memory = true;
        return NULL;
    }
    memcpy(material, data, bytes);
    material[bytes] = '\0';
    return material;
}

static void read_public_key(struct reading *reading, const struct json_fields *fields, struct auth_token_key *key)
{
    const struct json_node *node = json_fields_get_typed(fields, "public_key", JSON_TYPE_TEXT);
    if (json_fields_get(fields, "secret") != NULL || json_fields_get(fields, "secret_base64url") != NULL)
        json_fields_refuse(fields, "secret", "is for HS256 only; this algorithm takes public_key");
    else if (node == NULL)
        json_fields_refuse(fields, "public_key", "is required: a public key in PEM");
    else if (node->text_bytes > PEM_BYTES_MAX || !is_good_public_key(node->text, node->text_bytes, key->algorithm))
        json_fields_refuse(fields, "public_key", "must be a public key in PEM (-----BEGIN PUBLIC KEY-----), %s",
                           key->algorithm == AUTH_RS256 ? "RSA of at least 2048 bits" : "on the curve P-256");
    else if ((key->material = take_material(reading, node->text, node->text_bytes)) != NULL)
        key->material_bytes = node->text_bytes;
}

static void read_secret(struct reading *reading, const struct json_fields *fields, struct auth_token_key *key)
{
    const struct json_node *plain = json_fields_get_typed(fields, "secret", JSON_TYPE_TEXT);
    const struct json_node *encoded = json_fields_get_typed(fields, "secret_base64url", JSON_TYPE_TEXT);
    uint8_t bytes[SECRET_BYTES_MAX];
    int64_t length = -1;
    reading->keys->holds_secrets = true;
    if (json_fields_get(fields, "public_key") != NULL)
        json_fields_refuse(fields, "public_key", "is not for HS256, which takes a secret");
    else if ((plain == NULL) == (encoded == NULL))
        json_fields_refuse(fields, "secret", "is required, or secret_base64url, and not both");
    if (json_error_set(&reading->error))
        return;
    if (encoded != NULL) {
        length = base64url_decode(encoded->text, encoded->text_bytes, bytes, sizeof bytes);
    } else if (plain->text_bytes <= sizeof bytes) {
        memcpy(bytes, plain->text, plain->text_bytes);
        length = plain->text_bytes;
    }
    if (length < SECRET_BYTES_MIN)
        json_fields_refuse(fields, encoded != NULL ? "secret_base64url" : "secret", "must be %d to %d bytes%s",
                           SECRET_BYTES_MIN, SECRET_BYTES_MAX, encoded != NULL ? " in base64url" : "");
    else if ((key->material = take_material(reading, bytes, (size_t)length)) != NULL)
        key->material_bytes = (size_t)length;
    OPENSSL_cleanse(bytes, sizeof bytes);
}

static void read_token_key_fields(struct reading *reading, const struct json_fields *fields, struct auth_token_key *key)
{
    static const char *const known[] = {
        "name",   "kid",      "algorithm", "public_key", "secret",         "secret_base64url",    "issuer", "audience",
        "rights", "services", "offers",    "workers",    "leeway_seconds", "requests_per_second", "burst",  NULL};
    static const struct json_word algorithms[] = {{"HS256", AUTH_HS256}, {"RS256", AUTH_RS256}, {"ES256", AUTH_ES256}};
    int algorithm = -1;
    uint64_t leeway = LEEWAY_SECONDS_DEFAULT;
    check_members(fields, known);
    key->kid = json_fields_text(fields, "kid", TEXT_BYTES_MAX, &reading->keys->arena);
    key->issuer = required_text(fields, "issuer", &reading->keys->arena);
    key->audience = required_text(fields, "audience", &reading->keys->arena);
    (void)json_fields_uint(fields, "leeway_seconds", LEEWAY_SECONDS_MAX, &leeway);
    key->leeway_seconds = (int64_t)leeway;
    if (!json_fields_word(fields, "algorithm", algorithms, sizeof algorithms / sizeof algorithms[0], &algorithm)) {
        json_fields_refuse(fields, "algorithm", "is required: HS256, RS256 or ES256");
        return;
    }
    key->algorithm = (enum auth_algorithm)algorithm;
    if (key->algorithm == AUTH_HS256)
        read_secret(reading, fields, key);
    else
        read_public_key(reading, fields, key);
}

/* Whether an entry before the last has its kid, or, for one without, its algorithm. */
static bool is_repeated(const struct auth_keys *keys)
{
    const struct auth_token_key *last = &keys->token_keys[keys->token_key_count - 1];
    for (size_t i = 0; i + 1 < keys->token_key_count; i++) {
        const struct auth_token_key *key = &keys->token_keys[i];
        if (key->kid == NULL || last->kid == NULL
                ? key->kid == NULL && last->kid == NULL && key->algorithm == last->algorithm
                : strcmp(key->kid, last->kid) == 0)
            return true;
    }
    return false;
}

static void read_token_key(struct reading *reading, const struct json_fields *fields)
{
    struct auth_keys *keys = reading->keys;
    struct auth_token_key *larger = realloc(keys->token_keys, (keys->token_key_count + 1) * sizeof *larger);
    if (larger == NULL) {
        reading->no_memory = true;
        return;
    }
    keys->token_keys = larger;
    struct auth_token_key *key = &larger[keys->token_key_count++];
    *key = (struct auth_token_key){.kid = NULL};
    read_token_key_fields(reading, fields, key);
    key->identity = read_identity(reading, fields);
    if (json_error_set(&reading->error))
        return;
    if (is_repeated(keys))
        json_fields_refuse(fields, "kid",
                           "must be its own; one entry for each algorithm may be without, for tokens that name none");
    else if (keys->token_key_count > AUTH_TOKEN_KEYS_MAX)
        json_fields_refuse(fields, "kid", "is of one entry too many: there may be %d", AUTH_TOKEN_KEYS_MAX);
    reading->no_memory |= arena_failed(&keys->arena);
}

/* --- The file --- */

static void read_entries(struct reading *reading, const struct json_fields *root, const char *name,
                         void (*read)(struct reading *reading, const struct json_fields *fields))
{
    const struct json_node *list = json_fields_get_typed(root, name, JSON_TYPE_ARRAY);
    const struct json_node *item;
    uint32_t position = 0;
    for (unsigned i = 0; list != NULL && !json_error_set(&reading->error) && !reading->no_memory &&
                         (item = json_next(reading->document, list, &position, NULL)) != NULL;
         i++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "%s[%u].", name, i);
        struct json_fields fields = json_fields_of(reading->document, item, prefix, &reading->error);
        read(reading, &fields);
    }
}

static void read_limit(struct reading *reading, const struct json_fields *limits, const char *name,
                       struct auth_rate *rate)
{
    static const char *const known[] = {"requests_per_second", "burst", NULL};
    const struct json_node *node = json_fields_get_typed(limits, name, JSON_TYPE_OBJECT);
    char prefix[32];
    if (node == NULL)
        return;
    snprintf(prefix, sizeof prefix, "limits.%s.", name);
    struct json_fields fields = json_fields_of(reading->document, node, prefix, &reading->error);
    check_members(&fields, known);
    read_rate(&fields, rate);
}

static void read_limits(struct reading *reading, const struct json_fields *root)
{
    static const char *const known[] = {"address", "key", NULL};
    const struct json_node *node = json_fields_get_typed(root, "limits", JSON_TYPE_OBJECT);
    if (node == NULL)
        return;
    struct json_fields limits = json_fields_of(reading->document, node, "limits.", &reading->error);
    check_members(&limits, known);
    read_limit(reading, &limits, "address", &reading->keys->address_rate);
    read_limit(reading, &limits, "key", &reading->keys->key_rate);
}

/* Each name once, or nobody could tell two keys apart. */
static const char *repeated_name(const struct auth_keys *keys)
{
    for (size_t i = 0; i < keys->token_key_count; i++) {
        const char *name = keys->token_keys[i].identity->name;
        for (size_t j = 0; j < i; j++) {
            if (strcmp(keys->token_keys[j].identity->name, name) == 0)
                return name;
        }
        for (size_t j = 0; j < keys->capacity; j++) {
            if (keys->slots[j].identity != NULL && strcmp(keys->slots[j].identity->name, name) == 0)
                return name;
        }
    }
    return NULL;
}

static int compare_names(const void *left, const void *right)
{
    const struct auth_identity *const *a = left, *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

static const char *repeated_key_name(struct reading *reading)
{
    const struct auth_keys *keys = reading->keys;
    const struct auth_identity **sorted = malloc((keys->count + 1) * sizeof(struct auth_identity *));
    const char *repeated = NULL;
    size_t count = 0;
    if (sorted == NULL) {
        reading->no_memory = true;
        return NULL;
    }
    for (size_t i = 0; i < keys->capacity; i++) {
        if (keys->slots[i].identity != NULL)
            sorted[count++] = keys->slots[i].identity;
    }
    qsort(sorted, count, sizeof sorted[0], compare_names);
    for (size_t i = 1; i < count && repeated == NULL; i++) {
        /* One that has several keys is there several times. */
        if (sorted[i] != sorted[i - 1] && strcmp(sorted[i]->name, sorted[i - 1]->name) == 0)
            repeated = sorted[i]->name;
    }
    for (size_t i = 0; i < count && repeated == NULL; i++) {
        if (strcmp(sorted[i]->name, "api-key") == 0)
            repeated = sorted[i]->name;
    }
    free(sorted);
    return repeated;
}

static void read_root(struct reading *reading)
{
    static const char *const known[] = {"keys", "tokens", "limits", NULL};
    struct json_fields root = json_fields_of(reading->document, json_root(reading->document), "", &reading->error);
    check_members(&root, known);
    read_limits(reading, &root);
    read_entries(reading, &root, "keys", read_key);
    read_entries(reading, &root, "tokens", read_token_key);
    if (json_error_set(&reading->error) || reading->no_memory)
        return;
    const char *repeated = repeated_key_name(reading);
    if (repeated == NULL && !reading->no_memory)
        repeated = repeated_name(reading->keys);
    if (repeated != NULL)
        json_fields_refuse(&root, "name", "%s is given twice, or is api-key, which is the name of API_KEY", repeated);
}

bool auth_keys_read(struct auth_keys *keys, const char *file, size_t file_bytes, struct auth_error *error)
{
    struct json_document document;
    struct reading reading = {.keys = keys, .document = &document};
    if (!json_document_parse(&document, file, file_bytes)) {
        snprintf(error->text, sizeof error->text, "it is not JSON: %s", document.error);
    } else if (json_root(&document)->type != JSON_TYPE_OBJECT) {
        snprintf(error->text, sizeof error->text, "it must be an object with keys, tokens and limits, not %s",
                 json_type_name(json_root(&document)->type));
    } else {
        read_root(&reading);
        if (reading.no_memory)
            snprintf(error->text, sizeof error->text, "out of memory");
        else if (json_error_set(&reading.error))
            snprintf(error->text, sizeof error->text, "%s", reading.error.message);
    }
    json_document_free(&document);
    return error->text[0] == '\0';
}
