/* Which store; see store_choice.h. */

#include "services/registry/store_choice.h"

#include "services/registry/store_memory.h"
#include "services/registry/store_redis.h"
#include "services/registry/store_sqlite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DESCRIPTION_BYTES 200
#define HOST_BYTES 256

static struct store *refuse(enum store_result *result, struct store_error *error, const char *text)
{
    *result = STORE_UNUSABLE;
    snprintf(error->text, sizeof(error->text), "%s", text);
    return NULL;
}

/* Splits "HOST:PORT" or "[HOST]:PORT". */
static bool split_address(const char *address, char host[HOST_BYTES], uint16_t *port)
{
    const char *colon = strrchr(address, ':');
    char *end;
    if (colon == NULL || colon == address || (size_t)(colon - address) >= HOST_BYTES)
        return false;
    unsigned long number = strtoul(colon + 1, &end, 10);
    size_t bytes = (size_t)(colon - address);
    if (colon[1] < '0' || colon[1] > '9' || *end != '\0' || number < 1 || number > 65535)
        return false;
    if (address[0] == '[' && colon[-1] == ']') {
        address++;
        bytes -= 2;
    }
    memcpy(host, address, bytes);
    host[bytes] = '\0';
    *port = (uint16_t)number;
    return bytes > 0;
}

static struct store *open_redis(const struct store_choice *choice, char *description, enum store_result *result,
                                struct store_error *error)
{
    static const char *const durabilities[] = {
        [REDIS_DURABILITY_ALWAYS] = "always", [REDIS_DURABILITY_EVERYSEC] = "everysec", [REDIS_DURABILITY_ANY] = "any"};
    char host[HOST_BYTES];
    struct store_redis_options options = {.host = host,
                                          .database = (uint32_t)choice->redis_database,
                                          .user = choice->redis_user,
                                          .password = choice->redis_password,
                                          .prefix = choice->redis_prefix};
    size_t durability = 0;
    if (!split_address(choice->redis_address, host, &options.port))
        return refuse(result, error, "--redis-address must be HOST:PORT, as in 127.0.0.1:6379");
    while (durability <= REDIS_DURABILITY_ANY && strcmp(durabilities[durability], choice->redis_durability) != 0)
        durability++;
    if (durability > REDIS_DURABILITY_ANY)
        return refuse(result, error, "--redis-durability must be always, everysec or any");
    options.durability = (enum redis_durability)durability;
    struct store *store = store_redis_open(&options, result, error);
    if (store != NULL)
        snprintf(description, DESCRIPTION_BYTES, "Redis at %.80s, %s", choice->redis_address,
                 store_redis_persistence(store));
    return store;
}

struct store *store_choice_open(const struct store_choice *choice, char *description, enum store_result *result,
                                struct store_error *error)
{
    if (strcmp(choice->kind, "redis") == 0)
        return open_redis(choice, description, result, error);
    if (strcmp(choice->kind, "sqlite") == 0) {
        snprintf(description, DESCRIPTION_BYTES, "SQLite in %.150s, synced in every commit", choice->data_directory);
        return store_sqlite_open(choice->data_directory, NULL, result, error);
    }
    if (strcmp(choice->kind, "memory") != 0)
        return refuse(result, error, "--store must be sqlite, redis or memory");
    snprintf(description, DESCRIPTION_BYTES, "memory, nothing is kept");
    struct store *store = store_memory_open(NULL, NULL);
    *result = STORE_OK;
    return store != NULL ? store : refuse(result, error, "out of memory; make room");
}
