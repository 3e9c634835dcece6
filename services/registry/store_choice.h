/* Which store the settings ask for. A new kind of store is one file beside store_sqlite.c and one
 * line in store_choice.c.
 *
 * Threading: none. */

#pragma once

#include "services/registry/store.h"

/* As the settings of muster-registry give them; none is NULL. */
struct store_choice {
    const char *kind;           /* "sqlite", "redis", "memory" */
    const char *data_directory; /* of SQLite */
    const char *redis_address;  /* "HOST:PORT", "[::1]:PORT" */
    uint64_t redis_database;
    const char *redis_user;
    const char *redis_password;
    const char *redis_prefix;
    const char *redis_durability; /* "always", "everysec", "any" */
};

/* Opens it. NULL is returned with *result and *error set. `description`, of at least 200 bytes,
 * receives in words what a commit survives. */
struct store *store_choice_open(const struct store_choice *choice, char *description, enum store_result *result,
                                struct store_error *error);
