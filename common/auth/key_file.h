/* The key file on disk: read at the start, and again when it has changed or when somebody says so. The one part
 * of common/auth that does I/O.
 *
 * Whether it changed is told by its inode, size and times, which are looked at every few seconds: that sees an
 * editor's rename, a mounted secret that is switched, and a file that is written in place. A file that cannot be
 * read, or is not a good one, changes nothing: the keys that there are go on to hold, and a line says why, once for
 * each state of the file.
 *
 * Threading: one thread at a time; reading blocks, for a small file on a local disk. */

#pragma once

#include <stdint.h>
#include <sys/stat.h>

#include "common/auth/keys.h"

struct key_file {
    const char *path;   /* "": there is none */
    const char *single; /* API_KEY; "": none */
    struct stat seen;   /* of the last reading, good or not */
};

/* Reads for the first time. NULL: *error says what is wrong and what to do. */
struct auth_keys *key_file_open(struct key_file *file, const char *path, const char *single, struct auth_error *error);

/* Reads it anew: when it has changed, or `anyway`. NULL: nothing is to be done, or it cannot be used, which was
 * logged. */
struct auth_keys *key_file_again(struct key_file *file, bool anyway);
