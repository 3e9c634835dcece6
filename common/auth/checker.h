/* Checks what requests come with, for one thread: keys by their digest, tokens of others (JWT), and the
 * workers' own tokens.
 *
 * Tokens of others cost a signature each, some fifty microseconds. Those that were found good are remembered
 * by the SHA-256 of their text, AUTH_CHECKER_REMEMBERED at most, until they expire; a new one takes the
 * place of one that was there. What was refused is not remembered: limits by address (buckets.h) are
 * against those who try.
 *
 * Threading: one thread has it; the sets that it is given may be shared. No I/O, no clock. */

#pragma once

#include "common/auth/jwt.h"
#include "common/auth/worker_token.h"

#define AUTH_CHECKER_REMEMBERED 1024

struct auth_checker;

/* Who it is that calls. */
struct auth_caller {
    struct auth_identity *identity; /* valid until the checker's next call; NULL: a worker, which is */
    char worker_id[AUTH_WORKER_ID_BYTES_MAX + 1];
    uint64_t incarnation;
};

/* NULL when memory runs out. It knows no keys at first. */
struct auth_checker *auth_checker_create(void);
void auth_checker_free(struct auth_checker *checker);

/* From now on these keys (takes over the reference) and this secret of the roll (copied; NULL: not heard yet) hold. */
void auth_checker_set(struct auth_checker *checker, struct auth_keys *keys, const uint8_t *secret);

/* Who has this credential. unix_s: seconds since the epoch. *caller is set with AUTH_ACCEPTED. */
enum auth_refusal auth_checker_check(struct auth_checker *checker, const char *credential, size_t bytes, int64_t unix_s,
                                     struct auth_caller *caller);

/* How many tokens of others are remembered. */
size_t auth_checker_remembered(const struct auth_checker *checker);

/* The credential in the value of an Authorization field: "Bearer CREDENTIAL" (RFC 6750 section 2.1), the scheme in
 * any case. False: it is of another scheme, or malformed. */
bool auth_bearer(const char *value, size_t bytes, const char **credential, size_t *credential_bytes);
