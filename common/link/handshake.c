/* See handshake.h. */

#include "common/link/handshake.h"

#include <openssl/evp.h>
#include <string.h>

bool link_accept(const char *key, size_t key_bytes, char accept[LINK_ACCEPT_BYTES])
{
    /* RFC 6455 4.2.2: base64 of the SHA-1 of the key and a fixed text. */
    static const char suffix[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char joined[64 + sizeof suffix - 1];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_bytes = 0;
    if (key_bytes > 64)
        return false;
    memcpy(joined, key, key_bytes);
    memcpy(joined + key_bytes, suffix, sizeof suffix - 1);
    return EVP_Digest(joined, key_bytes + sizeof suffix - 1, digest, &digest_bytes, EVP_sha1(), NULL) == 1 &&
           EVP_EncodeBlock((unsigned char *)accept, digest, (int)digest_bytes) == LINK_ACCEPT_BYTES - 1;
}

static bool is_hexadecimal(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
            return false;
    }
    return true;
}

bool link_name(const char *secret, size_t secret_bytes, char name[LINK_NAME_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_bytes = 0;
    if (secret == NULL || secret_bytes != LINK_SECRET_BYTES - 1 || !is_hexadecimal(secret, secret_bytes) ||
        EVP_Digest(secret, secret_bytes, digest, &digest_bytes, EVP_sha256(), NULL) != 1)
        return false;
    for (size_t i = 0; i < LINK_NAME_BYTES / 2; i++) {
        name[2 * i] = digits[digest[i] >> 4];
        name[2 * i + 1] = digits[digest[i] & 15];
    }
    name[LINK_NAME_BYTES - 1] = '\0';
    return true;
}

bool link_name_in_path(const char *path, char name[LINK_NAME_BYTES], const char **rest)
{
    size_t prefix_bytes = sizeof LINK_PATH - 1;
    if (strncmp(path, LINK_PATH, prefix_bytes) != 0)
        return false;
    path += prefix_bytes;
    size_t bytes = strcspn(path, "/");
    if (bytes != LINK_NAME_BYTES - 1 || !is_hexadecimal(path, bytes))
        return false;
    memcpy(name, path, bytes);
    name[bytes] = '\0';
    *rest = path + bytes;
    return true;
}
