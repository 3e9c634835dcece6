/* See identity.h. */

#include "services/dht/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buffer.h"

struct dht_identity {
    EVP_PKEY *key;
    uint8_t public_key[DHT_PUBLIC_KEY_BYTES];
    char *network;
};

/* --- The file --- */

/* A new key in a file that only its owner can read, whole or not at all. */
static bool make_key_file(const char *path, char *error, size_t error_bytes)
{
    char fresh[4200];
    (void)snprintf(fresh, sizeof fresh, "%s.new", path);
    (void)unlink(fresh); /* of a start that was cut off */
    int descriptor = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "w");
    if (file == NULL) {
        (void)snprintf(error, error_bytes, "cannot write %s: %s; make the folder writable or choose another --data-dir",
                       fresh, strerror(errno));
        if (descriptor >= 0)
            (void)close(descriptor);
        return false;
    }
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    bool written = key != NULL && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1;
    EVP_PKEY_free(key);
    written = fflush(file) == 0 && fsync(descriptor) == 0 && written;
    written = fclose(file) == 0 && written;
    if (written && rename(fresh, path) == 0)
        return true;
    (void)snprintf(error, error_bytes, "cannot write %s: %s; make room there or choose another --data-dir", path,
                   errno != 0 ? strerror(errno) : "the key could not be made");
    (void)unlink(fresh);
    return false;
}

/* NULL: there is none that can be used; errno is ENOENT when there is no file. */
static EVP_PKEY *read_key_file(const char *path, char *error, size_t error_bytes)
{
    struct stat status;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        int reason = errno;
        (void)snprintf(error, error_bytes, "cannot read %s: %s; make it readable or choose another --data-dir", path,
                       strerror(reason));
        errno = reason;
        return NULL;
    }
    EVP_PKEY *key = NULL;
    if (fstat(fileno(file), &status) != 0 || (status.st_mode & 077) != 0) {
        (void)snprintf(error, error_bytes,
                       "%s is this node's private key, and others can read or write it: chmod 600 it", path);
    } else {
        key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
        if (key == NULL || EVP_PKEY_get_id(key) != EVP_PKEY_ED25519) {
            (void)snprintf(error, error_bytes,
                           "%s is not an Ed25519 key: put the right file back, or remove it to become a new node",
                           path);
            EVP_PKEY_free(key);
            key = NULL;
        }
    }
    (void)fclose(file); /* was only read */
    errno = 0;
    return key;
}

struct dht_identity *dht_identity_open(const char *data_dir, const char *network, char *error, size_t error_bytes)
{
    char path[4096];
    if (mkdir(data_dir, 0755) != 0 && errno != EEXIST) {
        (void)snprintf(error, error_bytes, "cannot create the data directory %s: %s; choose another --data-dir",
                       data_dir, strerror(errno));
        return NULL;
    }
    if ((size_t)snprintf(path, sizeof path, "%s/dht-key.pem", data_dir) >= sizeof path) {
        (void)snprintf(error, error_bytes, "the path of the data directory is too long; choose another --data-dir");
        return NULL;
    }
    EVP_PKEY *key = read_key_file(path, error, error_bytes);
    if (key == NULL && errno == ENOENT && make_key_file(path, error, error_bytes))
        key = read_key_file(path, error, error_bytes);
    struct dht_identity *identity = key == NULL ? NULL : calloc(1, sizeof *identity);
    size_t bytes = DHT_PUBLIC_KEY_BYTES;
    if (identity != NULL)
        identity->network = strdup(network);
    if (identity == NULL || identity->network == NULL ||
        EVP_PKEY_get_raw_public_key(key, identity->public_key, &bytes) != 1) {
        if (key != NULL)
            (void)snprintf(error, error_bytes, "out of memory");
        EVP_PKEY_free(key);
        if (identity != NULL)
            free(identity->network);
        free(identity);
        return NULL;
    }
    identity->key = key;
    return identity;
}

void dht_identity_free(struct dht_identity *identity)
{
    if (identity == NULL)
        return;
    EVP_PKEY_free(identity->key);
    free(identity->network);
    free(identity);
}

const uint8_t *dht_identity_public_key(const struct dht_identity *identity)
{
    return identity->public_key;
}

/* --- What is signed --- */

static void append_number(struct buffer *out, uint64_t number)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(number >> (56 - 8 * i));
    buffer_append(out, bytes, sizeof bytes);
}

static void append_bytes(struct buffer *out, const void *data, size_t bytes)
{
    append_number(out, bytes);
    buffer_append(out, data, bytes);
}

static void write_contact(struct buffer *out, const char *network, const struct dht_contact *contact)
{
    static const char what[] = "muster dht contact 1";
    buffer_append(out, what, sizeof what);
    append_bytes(out, network, strlen(network));
    append_number(out, (uint64_t)contact->issued_at_ms);
    append_bytes(out, contact->url, strlen(contact->url));
    append_bytes(out, contact->address, strlen(contact->address));
}

static void write_value(struct buffer *out, const char *network, const struct dht_value *value)
{
    static const char what[] = "muster dht value 1";
    buffer_append(out, what, sizeof what);
    append_bytes(out, network, strlen(network));
    append_number(out, (uint64_t)value->issued_at_ms);
    append_number(out, (uint64_t)value->lifetime_ms);
    append_bytes(out, value->key, value->key_bytes);
    append_bytes(out, value->data, value->data_bytes);
}

/* Without memory the signature stays as it is, and others will not take it. */
static void sign(const struct dht_identity *identity, const struct buffer *what, uint8_t signature[DHT_SIGNATURE_BYTES])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    size_t bytes = DHT_SIGNATURE_BYTES;
    if (context != NULL && !buffer_failed(what) && EVP_DigestSignInit(context, NULL, NULL, NULL, identity->key) == 1)
        (void)EVP_DigestSign(context, signature, &bytes, (const unsigned char *)what->data, what->bytes);
    EVP_MD_CTX_free(context);
}

static bool holds(const uint8_t public_key[DHT_PUBLIC_KEY_BYTES], const struct buffer *what,
                  const uint8_t signature[DHT_SIGNATURE_BYTES])
{
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, DHT_PUBLIC_KEY_BYTES);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool genuine =
        key != NULL && context != NULL && !buffer_failed(what) &&
        EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1 &&
        EVP_DigestVerify(context, signature, DHT_SIGNATURE_BYTES, (const unsigned char *)what->data, what->bytes) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return genuine;
}

struct dht_contact *dht_identity_contact(const struct dht_identity *identity, int64_t issued_at_ms, const char *url,
                                         const char *address)
{
    static const uint8_t none[DHT_SIGNATURE_BYTES];
    struct buffer what = BUFFER_INIT;
    struct dht_contact *contact = dht_contact_create(identity->public_key, none, issued_at_ms, url, address);
    if (contact == NULL)
        return NULL;
    write_contact(&what, identity->network, contact);
    sign(identity, &what, contact->signature);
    buffer_free(&what);
    contact->checked = DHT_GENUINE;
    return contact;
}

void dht_identity_sign(const struct dht_identity *identity, struct dht_value *value)
{
    struct buffer what = BUFFER_INIT;
    write_value(&what, identity->network, value);
    sign(identity, &what, value->signature);
    buffer_free(&what);
}

bool dht_contact_is_genuine(const struct dht_identity *identity, const struct dht_contact *contact)
{
    struct buffer what = BUFFER_INIT;
    write_contact(&what, identity->network, contact);
    bool genuine = holds(contact->public_key, &what, contact->signature);
    buffer_free(&what);
    return genuine;
}

bool dht_value_is_genuine(const struct dht_identity *identity, const struct dht_value *value)
{
    struct buffer what = BUFFER_INIT;
    write_value(&what, identity->network, value);
    bool genuine = holds(value->public_key, &what, value->signature);
    buffer_free(&what);
    return genuine;
}
