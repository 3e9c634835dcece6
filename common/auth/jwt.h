/* JSON Web Tokens (RFC 7519) in the compact form of RFC 7515, from issuers that the key file names.
 *
 * What is taken: HS256, RS256 and ES256; the entry of the file is found by the token's `kid` and
 * algorithm, and is good for that algorithm only, so that a public key is never used as a secret
 * (RFC 8725 section 3.1) and "none" is no algorithm at all. `iss` must be the entry's issuer, `aud` its
 * audience or a list with it, `exp` must be there and ahead, `nbf`, if it is there, behind, both give or
 * take the entry's leeway. `crit` is refused, as we know no extension. Header and payload are strict JSON
 * (no key twice) in strict base64url; libjwt verifies the signature.
 *
 * Who it is: NAME/SUBJECT, of the entry and of `sub`, which is required. What it may: the entry's rights, or
 * those of them that the claim `rights` (a list of words) names, if there is one; narrowed by the entry's
 * lists and by the claims `services`, `offers` and `workers`.
 *
 * Threading: none of its own; a key set may be shared. No I/O, no clock. */

#pragma once

#include "common/auth/keys.h"

#define AUTH_JWT_BYTES_MAX 8192

enum auth_refusal {
    AUTH_ACCEPTED,
    AUTH_UNKNOWN_KEY,     /* no key of ours, and no token */
    AUTH_TOKEN_MALFORMED, /* has two dots, and is no token */
    AUTH_TOKEN_TOO_LARGE,
    AUTH_TOKEN_ALGORITHM, /* none of the three, or not the one of its kid */
    AUTH_TOKEN_UNKNOWN_KID,
    AUTH_TOKEN_SIGNATURE,
    AUTH_TOKEN_ISSUER,
    AUTH_TOKEN_AUDIENCE,
    AUTH_TOKEN_EXPIRED,
    AUTH_TOKEN_EARLY,  /* nbf is ahead */
    AUTH_TOKEN_CLAIMS, /* exp or sub is missing, or a claim has the wrong type */
    AUTH_WORKER_TOKEN, /* a worker's token that is none of this roll's */
    AUTH_NOT_READY,    /* a worker's token, and the roll's secret has not been heard */
    AUTH_NO_MEMORY,
};

/* For people: "the token has expired". */
const char *auth_refusal_text(enum auth_refusal refusal);

struct auth_jwt {
    struct auth_identity *identity;      /* a reference */
    int64_t valid_from_s, valid_until_s; /* as our clock counts: the leeway is in */
};

/* Whether a credential is meant to be one: three parts. */
bool auth_looks_like_jwt(const char *text, size_t bytes);

/* now_s: seconds since the Unix epoch. */
enum auth_refusal auth_jwt_verify(const struct auth_keys *keys, const char *token, size_t bytes, int64_t now_s,
                                  struct auth_jwt *jwt);
