/* Fuzz target: what a request comes with. The input's first line is the value of an Authorization field, or, when it
 * is of no Bearer scheme, the credential itself; a token of two parts is signed here, so that what is behind the
 * signature is reached as well. */

#include "common/auth/base64url.h"
#include "common/auth/checker.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <stdlib.h>
#include <string.h>

#define SECRET "0123456789abcdef0123456789abcdef"
#define NOW 1700000000

static const char file[] =
    "{\"keys\": [{\"name\": \"a\", \"key\": \"0123456789abcdef\", \"rights\": [\"client\"]}],"
    " \"tokens\": [{\"name\": \"t\", \"kid\": \"1\", \"algorithm\": \"HS256\", \"secret\": \"" SECRET "\","
    "               \"issuer\": \"i\", \"audience\": \"a\", \"rights\": [\"client\", \"worker\"]},"
    "              {\"name\": \"u\", \"algorithm\": \"HS256\", \"secret\": \"" SECRET "\","
    "               \"issuer\": \"i\", \"audience\": \"a\", \"rights\": [\"client\", \"worker\"]}]}";

static void check(struct auth_checker *checker, const char *credential, size_t bytes)
{
    struct auth_caller caller;
    enum auth_refusal refusal = auth_checker_check(checker, credential, bytes, NOW, &caller);
    if (refusal != AUTH_ACCEPTED) {
        if (auth_refusal_text(refusal)[0] == '\0')
            abort();
        return;
    }
    if (caller.identity == NULL)
        abort(); /* a worker's token that nobody made */
    if ((caller.identity->rights & ~(unsigned)(AUTH_CLIENT | AUTH_WORKER)) != 0)
        abort(); /* more than the entry may give */
    (void)auth_may_call(caller.identity, "vision-ocr", 10);
    /* Again, out of what is remembered. */
    if (auth_checker_check(checker, credential, bytes, NOW, &caller) != AUTH_ACCEPTED)
        abort();
}

/* HEADER.PAYLOAD with a line end between, as JSON: encoded and signed. */
static void check_signed(struct auth_checker *checker, const char *text, size_t bytes)
{
    const char *line_end = memchr(text, '\n', bytes);
    if (line_end == NULL || bytes > 4096)
        return;
    size_t header_bytes = (size_t)(line_end - text), payload_bytes = bytes - header_bytes - 1;
    char token[8192];
    base64url_encode(text, header_bytes, token);
    strcat(token, ".");
    base64url_encode(line_end + 1, payload_bytes, token + strlen(token));
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned mac_bytes = 0;
    if (HMAC(EVP_sha256(), SECRET, sizeof SECRET - 1, (const unsigned char *)token, strlen(token), mac, &mac_bytes) ==
        NULL)
        abort();
    strcat(token, ".");
    base64url_encode(mac, mac_bytes, token + strlen(token));
    char *copy = malloc(strlen(token));
    if (copy == NULL)
        abort();
    memcpy(copy, token, strlen(token));
    check(checker, copy, strlen(token));
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const uint8_t secret[AUTH_SECRET_BYTES] = {1, 2, 3, 4};
    struct auth_error error;
    struct auth_checker *checker = auth_checker_create();
    struct auth_keys *keys = auth_keys_create(file, sizeof file - 1, "", &error);
    char *copy = malloc(bytes + 1);
    if (checker == NULL || keys == NULL || copy == NULL)
        abort();
    auth_checker_set(checker, keys, secret);
    memcpy(copy, data, bytes);
    const char *credential = copy;
    size_t credential_bytes = bytes;
    (void)auth_bearer(copy, bytes, &credential, &credential_bytes);
    check(checker, credential, credential_bytes);
    check_signed(checker, copy, bytes);
    free(copy);
    auth_checker_free(checker);
    return 0;
}
