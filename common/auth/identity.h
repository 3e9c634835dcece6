/* Who is calling, and what they may do: what is behind a key.
 *
 * Rights say which parts of the REST contract are open to a caller (gateway/api.c names them for
 * each route). `admin` brings the other two along.
 *
 * Lists narrow that: which services a client may call, which services a worker may offer, and
 * under which ids it may register. A list holds names as they are in the catalog; one that ends
 * in "*" stands for all that begin so. Without a list everything is allowed, with an empty one
 * nothing. An identity that came with a JSON Web Token has lists of its own beside those of the
 * entry that it was verified with; both must allow.
 *
 * Ownership: reference counts; an identity never changes. Threading: any. */

#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/arena.h"

enum auth_right {
    AUTH_WORKER = 1, /* to register workers and to speak for them */
    AUTH_CLIENT = 2, /* to call services and to see who offers them */
    AUTH_ADMIN = 4,  /* everything */
};

#define AUTH_NAME_BYTES_MAX 128

struct auth_list {
    bool given;
    char **patterns;
    size_t count;
};

/* How many requests: see buckets.h. */
struct auth_rate {
    double requests_per_second; /* 0: any number */
    double burst;               /* at once; at least 1 */
};

struct auth_identity {
    unsigned references; /* changed by __atomic builtins only: C++ has no atomic_uint */
    char *name;          /* of the key; of a token: its subject */
    unsigned rights;
    struct auth_list services, offers, workers;
    struct auth_rate rate;
    struct auth_identity *issuer; /* a reference: what the token was verified with; NULL: this is no token's */
    struct arena arena;           /* what the texts above lie in */
};

/* An empty one with one reference; NULL when memory runs out. */
struct auth_identity *auth_identity_create(void);
struct auth_identity *auth_identity_reference(struct auth_identity *identity);
void auth_identity_release(struct auth_identity *identity); /* NULL is fine */

/* Whether it has any of these rights. */
bool auth_has(const struct auth_identity *identity, unsigned rights);

/* `service` is the name in the catalog, not an alias. */
bool auth_may_call(const struct auth_identity *identity, const char *service, size_t service_bytes);

/* Whether no list narrows which services it may call: for what concerns all of them. */
bool auth_may_call_all(const struct auth_identity *identity);

bool auth_may_offer(const struct auth_identity *identity, const char *service, size_t service_bytes);
bool auth_may_register(const struct auth_identity *identity, const char *worker_id, size_t worker_id_bytes);

/* Whether a name is in a list of patterns; for lists that travelled. */
bool auth_matches(char *const *patterns, size_t count, const char *name, size_t name_bytes);

/* "worker", "client" or "admin"; 0: no such right. */
unsigned auth_right_of_word(const char *word, size_t bytes);
