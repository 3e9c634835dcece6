/* Tokens with which a worker speaks for itself, and for nobody else.
 *
 * A token names a worker and the registration that it was given for, and proves with an HMAC
 * (RFC 2104, over SHA-256) that the roll's keeper made it:
 *
 *     mw1.BASE64URL(worker_id).INCARNATION.BASE64URL(HMAC(secret, "worker" 0 INCARNATION worker_id))
 *
 * The secret is the roll's: muster-registry draws it once, keeps it beside the roll, makes the
 * tokens, and hands it to those who check them (gateways, muster-health) with its watch. So tokens
 * hold over restarts and at every gateway, nobody has to be asked about one, and a worker that
 * registers again outdates the token that it had.
 *
 * A peer token (`mp1.BASE64URL(HMAC(secret, "peer"))`) says that who presents it is one of the
 * coordinator's own processes: a gateway, that hands on the heartbeats of many.
 *
 * Threading: none of its own. No I/O. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AUTH_SECRET_BYTES 32
#define AUTH_WORKER_ID_BYTES_MAX 256
#define AUTH_WORKER_TOKEN_PREFIX "mw1."

/* Room for a token and a zero byte. */
#define AUTH_WORKER_TOKEN_BYTES 432
#define AUTH_PEER_TOKEN_BYTES 48

/* Whether a credential is meant to be one: everything that begins so. */
bool auth_looks_like_worker_token(const char *text, size_t bytes);

/* Writes the token of this registration. False: the id is empty or too long. */
bool auth_worker_token_make(const uint8_t secret[AUTH_SECRET_BYTES], const char *worker_id, uint64_t incarnation,
                            char token[AUTH_WORKER_TOKEN_BYTES]);

/* Checks one, in constant time as far as the HMAC goes, and gives what it says. */
bool auth_worker_token_check(const uint8_t secret[AUTH_SECRET_BYTES], const char *token, size_t bytes,
                             char worker_id[AUTH_WORKER_ID_BYTES_MAX + 1], uint64_t *incarnation);

void auth_peer_token_make(const uint8_t secret[AUTH_SECRET_BYTES], char token[AUTH_PEER_TOKEN_BYTES]);
bool auth_peer_token_check(const uint8_t secret[AUTH_SECRET_BYTES], const char *token, size_t bytes);
