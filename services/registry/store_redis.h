/* The roll in Redis, under one prefix of keys:
 *
 *     PREFIX:workers   hash: worker id -> packed muster.v1.Worker
 *     PREFIX:meta      hash: format ("1"), owner, commit, revision_ceiling, incarnation_floor, and
 *                      what the last two were before the last commit
 *     PREFIX:undo      hash: worker id -> what the last commit replaced
 *
 * A commit is one Lua script, so that it happens whole or not at all, in the append-only file
 * too. It counts commits: a registry that has lost the answer to one (a broken connection) asks
 * for the count when it is connected again, and takes the commit back if it has happened, since
 * it has told its callers that it failed.
 *
 * One registry to a prefix. Opening looks whether a client with the prefix's name is connected
 * and refuses if so; then it makes itself the owner, and each commit checks that it still is:
 * one that was cut off and replaced meanwhile cannot write any more. A commit also checks that
 * the one before it is there, so that a Redis that has come back with less than it had confirmed
 * is noticed.
 *
 * What a commit survives is up to Redis, whose settings are looked at when it is opened. By
 * default a commit that returned OK must survive a loss of power: `appendonly yes` and
 * `appendfsync always`. Less must be asked for (enum redis_durability).
 *
 * The connection is plain TCP with an optional password: for the loopback address or a private
 * network. A connection that breaks is made again by the next call.
 *
 * Threading as in store.h. */

#pragma once

#include "services/registry/store.h"

enum redis_durability {
    REDIS_DURABILITY_ALWAYS,   /* survives a loss of power: appendfsync always */
    REDIS_DURABILITY_EVERYSEC, /* the last second may be lost with the power: appendfsync everysec */
    REDIS_DURABILITY_ANY,      /* whatever Redis is set to, also when that cannot be found out */
};

struct store_redis_options {
    const char *host;
    uint16_t port;
    uint32_t database;
    const char *user;     /* "": the default user */
    const char *password; /* "": none is sent */
    const char *prefix;   /* 1 to 64 letters, digits, '.', '_', '-' */
    enum redis_durability durability;
    /* For tests: asked before each request that is sent and each answer that is read; false
     * breaks the connection there. NULL: never. */
    bool (*allowed)(void *argument);
    void *argument;
};

/* Texts of the options are copied. NULL is returned with *result and *error set. */
struct store *store_redis_open(const struct store_redis_options *options, enum store_result *result,
                               struct store_error *error);

/* How durable commits are, as found: "appendonly yes, appendfsync always". Valid as long as the
 * store, which is one of store_redis_open. */
const char *store_redis_persistence(const struct store *store);
