/* See key_file.h. */

#include "common/auth/key_file.h"

#include "common/log.h"

#include <openssl/crypto.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool fail(struct auth_error *error, const char *path, const char *what)
{
    snprintf(error->text, sizeof error->text, "the key file %.400s %.200s", path, what);
    return false;
}

/* The file's text, for the caller to free. */
static bool read_text(int descriptor, size_t expected_bytes, char **text, size_t *bytes)
{
    size_t capacity = expected_bytes + 1; /* one more tells whether it has grown */
    *text = malloc(capacity);
    *bytes = 0;
    while (*text != NULL && *bytes < capacity) {
        ssize_t got = read(descriptor, *text + *bytes, capacity - *bytes);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got == 0;
        *bytes += (size_t)got;
    }
    errno = *text == NULL ? ENOMEM : EAGAIN; /* it grows while it is read: next time */
    return false;
}

static struct auth_keys *parse(const struct key_file *file, int descriptor, struct auth_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    struct auth_keys *keys = NULL;
    if (!read_text(descriptor, (size_t)file->seen.st_size, &text, &bytes)) {
        (void)fail(error, file->path, errno == EAGAIN ? "is being written; try again" : strerror(errno));
    } else {
        struct auth_error reason;
        keys = auth_keys_create(text, bytes, file->single, &reason);
        if (keys == NULL)
            snprintf(error->text, sizeof error->text, "the key file %.400s is wrong: %.300s", file->path, reason.text);
    }
    if (text != NULL)
        OPENSSL_cleanse(text, bytes);
    free(text);
    return keys;
}

static struct auth_keys *read_file(struct key_file *file, struct auth_error *error)
{
    struct auth_keys *keys = NULL;
    char reason[200];
    int descriptor = open(file->path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0 || fstat(descriptor, &file->seen) != 0) {
        snprintf(reason, sizeof reason, "cannot be read: %s", strerror(errno));
        file->seen = (struct stat){.st_size = 0};
        (void)fail(error, file->path, reason);
    } else if (!S_ISREG(file->seen.st_mode) || file->seen.st_size > (off_t)AUTH_FILE_BYTES_MAX) {
        (void)fail(error, file->path, "must be a file of at most 4 MiB");
    } else {
        keys = parse(file, descriptor, error);
    }
    if (descriptor >= 0)
        (void)close(descriptor); /* nothing was written to it */
    if (keys != NULL && auth_keys_hold_secrets(keys) && (file->seen.st_mode & (S_IRGRP | S_IROTH)) != 0)
        log_warning("others can read the key file: chmod 600, or put key_sha256 into it", LOG_TEXT("path", file->path));
    return keys;
}

struct auth_keys *key_file_open(struct key_file *file, const char *path, const char *single, struct auth_error *error)
{
    *file = (struct key_file){.path = path, .single = single};
    return path[0] == '\0' ? auth_keys_create(NULL, 0, single, error) : read_file(file, error);
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

struct auth_keys *key_file_again(struct key_file *file, bool anyway)
{
    struct stat now = {.st_size = 0};
    struct auth_error error = {.text = ""};
    if (file->path[0] == '\0')
        return NULL;
    if (stat(file->path, &now) != 0)
        now = (struct stat){.st_size = 0};
    if (!anyway && is_same(&now, &file->seen))
        return NULL;
    struct auth_keys *keys = read_file(file, &error);
    if (keys == NULL)
        log_error("the keys were not read anew; those that were there still hold", LOG_TEXT("reason", error.text));
    else
        log_info("keys were read", LOG_TEXT("path", file->path), LOG_UINT("keys", auth_keys_count(keys)),
                 LOG_UINT("token_keys", auth_keys_token_key_count(keys)));
    return keys;
}
