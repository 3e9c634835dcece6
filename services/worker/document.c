#include "services/worker/document.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

struct document {
    EVP_MD_CTX *digest;
    uint64_t bytes;
    uint64_t lines;
    uint64_t words;
    bool in_word;
};

struct document *document_create(void)
{
    struct document *document = calloc(1, sizeof *document);
    if (document == NULL)
        return NULL;
    document->digest = EVP_MD_CTX_new();
    if (document->digest == NULL || EVP_DigestInit_ex(document->digest, EVP_sha256(), NULL) != 1) {
        document_free(document);
        return NULL;
    }
    return document;
}

void document_free(struct document *document)
{
    if (document == NULL)
        return;
    EVP_MD_CTX_free(document->digest);
    free(document);
}

/* White space of the C locale; isspace would ask the current one. */
static bool is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* What begins a word. Control characters do not, as in wc; they do not end one either. */
static bool is_graphic(unsigned char c)
{
    return c > ' ' && c != 0x7f;
}

bool document_add(struct document *document, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < bytes; i++) {
        if (is_space(p[i])) {
            document->in_word = false;
            if (p[i] == '\n')
                document->lines++;
        } else if (is_graphic(p[i]) && !document->in_word) {
            document->in_word = true;
            document->words++;
        }
    }
    document->bytes += bytes;
    return EVP_DigestUpdate(document->digest, data, bytes) == 1;
}

bool document_finish(struct document *document, struct document_summary *summary)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int digest_bytes = 0;
    if (EVP_DigestFinal_ex(document->digest, digest, &digest_bytes) != 1 || digest_bytes != 32)
        return false;
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < digest_bytes; i++) {
        summary->sha256[2 * i] = digits[digest[i] >> 4];
        summary->sha256[2 * i + 1] = digits[digest[i] & 15];
    }
    summary->sha256[2 * digest_bytes] = '\0';
    summary->bytes = document->bytes;
    summary->lines = document->lines;
    summary->words = document->words;
    return true;
}
