/* A connection to Redis for the store in store_redis.c: one request and its answer at a time, errors
 * in words that say what to do, and the scripts of store_redis_scripts.h, which each connection has
 * Redis take in anew.
 *
 * A connection that breaks is made again by redis_link_connect; what became of the request that it
 * broke under is the caller's to find out. So is one whose server has forgotten the scripts (SCRIPT
 * FLUSH): that counts as broken, too.
 *
 * Threading as in store.h. */

#pragma once

#include "services/registry/store_redis.h"

#include <hiredis/hiredis.h>

#define REDIS_LINK_PREFIX_MAX_BYTES 64

enum redis_link_script { REDIS_LINK_OWN, REDIS_LINK_COMMIT, REDIS_LINK_UNDO, REDIS_LINK_SCRIPTS };

struct redis_link {
    struct store_redis_options options; /* its texts belong to the link */
    char place[160];                    /* "Redis at 127.0.0.1:6379 (prefix muster)" */
    char client_name[REDIS_LINK_PREFIX_MAX_BYTES + 24];
    char keys[3][REDIS_LINK_PREFIX_MAX_BYTES + 16]; /* of the scripts: workers, meta, undo */
    char scripts[REDIS_LINK_SCRIPTS][48];           /* their SHA-1, as this connection's server has them */
    redisContext *connection;                       /* NULL: broken */
};

/* Writes one line into *error and returns `result`. */
__attribute__((format(printf, 3, 4))) enum store_result
redis_link_fail(enum store_result result, struct store_error *error, const char *format, ...);

/* Copies the options' texts; does not connect. False: out of memory. */
bool redis_link_init(struct redis_link *link, const struct store_redis_options *options);
void redis_link_free(struct redis_link *link);

/* Connects, logs in, and loads the scripts, unless that is done already. */
enum store_result redis_link_connect(struct redis_link *link, struct store_error *error);
bool redis_link_is_connected(const struct redis_link *link);

/* Sends a command and waits for its answer, to be freed with freeReplyObject. NULL: *result and
 * *error are set. */
redisReply *redis_link_ask(struct redis_link *link, int count, const char **arguments, const size_t *lengths,
                           enum store_result *result, struct store_error *error);
/* The same for a command of a few texts, at most 8. */
redisReply *redis_link_ask_texts(struct redis_link *link, const char **texts, size_t count, enum store_result *result,
                                 struct store_error *error);

/* A script and its arguments, put together. */
struct redis_call {
    const char **arguments;
    size_t *lengths;
    int count;
};

/* With room for so many arguments. False: out of memory. What is added must stay until the call has
 * been run, which frees it. */
bool redis_call_create(struct redis_call *call, const struct redis_link *link, enum redis_link_script script,
                       size_t room);
void redis_call_add(struct redis_call *call, const void *bytes, size_t length);
void redis_call_add_text(struct redis_call *call, const char *text);
redisReply *redis_call_run(struct redis_call *call, struct redis_link *link, enum store_result *result,
                           struct store_error *error);
/* Runs a script whose answer is to be "ok". */
enum store_result redis_call_settle(struct redis_call *call, struct redis_link *link, struct store_error *error);
