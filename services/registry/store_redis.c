/* The roll in Redis; see store_redis.h. */

#include "services/registry/store_redis.h"

#include "services/registry/store_redis_link.h"

#include "common/random.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How many records are asked for at a time while loading. */
#define LOAD_RECORDS 500

#define NUMBER_BYTES 24

struct redis_store {
    struct store base;
    struct redis_link link;
    char owner[40];
    char persistence[96];
    bool uncertain;  /* whether commit + 1 has happened is not known */
    uint64_t commit; /* the number of the last */
};

/* Takes the uncertain commit back, if it has happened. */
static enum store_result resolve(struct redis_store *store, struct store_error *error)
{
    struct redis_call call;
    char last[NUMBER_BYTES], uncertain[NUMBER_BYTES];
    snprintf(last, sizeof(last), "%" PRIu64, store->commit);
    snprintf(uncertain, sizeof(uncertain), "%" PRIu64, store->commit + 1);
    if (!redis_call_create(&call, &store->link, REDIS_LINK_UNDO, 3))
        return redis_link_fail(STORE_UNAVAILABLE, error, "out of memory; make room");
    redis_call_add_text(&call, store->owner);
    redis_call_add_text(&call, uncertain);
    redis_call_add_text(&call, last);
    enum store_result result = redis_call_settle(&call, &store->link, error);
    if (result == STORE_OK)
        store->uncertain = false;
    return result;
}

/* Ready for a request: connected, and sure of what Redis has. */
static enum store_result make_ready(struct redis_store *store, struct store_error *error)
{
    enum store_result result = redis_link_connect(&store->link, error);
    if (result == STORE_OK && store->uncertain)
        result = resolve(store, error);
    return result;
}

/* --- Committing --- */

static void add_changes(struct redis_call *call, const struct store_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        if (batch->changes[i].value != NULL) {
            redis_call_add(call, batch->changes[i].id, batch->changes[i].id_bytes);
            redis_call_add(call, batch->changes[i].value, batch->changes[i].value_bytes);
        }
    for (size_t i = 0; i < batch->count; i++)
        if (batch->changes[i].value == NULL)
            redis_call_add(call, batch->changes[i].id, batch->changes[i].id_bytes);
}

static enum store_result redis_commit(struct store *base, const struct store_batch *batch, struct store_error *error)
{
    struct redis_store *store = (struct redis_store *)base;
    struct redis_call call;
    char numbers[5][NUMBER_BYTES];
    size_t puts = 0;
    enum store_result result = make_ready(store, error);
    if (result != STORE_OK)
        return result;
    for (size_t i = 0; i < batch->count; i++)
        puts += batch->changes[i].value != NULL;
    uint64_t values[5] = {store->commit, store->commit + 1, batch->meta.revision_ceiling, batch->meta.incarnation_floor,
                          puts};
    if (!redis_call_create(&call, &store->link, REDIS_LINK_COMMIT, 6 + 2 * batch->count))
        return redis_link_fail(STORE_UNAVAILABLE, error, "out of memory; make room");
    redis_call_add_text(&call, store->owner);
    for (size_t i = 0; i < 5; i++) {
        snprintf(numbers[i], sizeof(numbers[i]), "%" PRIu64, values[i]);
        redis_call_add_text(&call, numbers[i]);
    }
    add_changes(&call, batch);
    /* Until the answer says otherwise. */
    store->uncertain = true;
    result = redis_call_settle(&call, &store->link, error);
    if (result == STORE_OK) {
        store->uncertain = false;
        store->commit++;
    }
    return result;
}

/* --- Loading --- */

static enum store_result load_meta(struct redis_store *store, struct store_meta *meta, struct store_error *error)
{
    enum store_result result = STORE_OK;
    redisReply *reply = redis_link_ask_texts(
        &store->link, (const char *[]){"HMGET", store->link.keys[1], "revision_ceiling", "incarnation_floor"}, 4,
        &result, error);
    if (reply == NULL)
        return result;
    uint64_t *numbers[] = {&meta->revision_ceiling, &meta->incarnation_floor};
    for (size_t i = 0; i < 2; i++) {
        const redisReply *number = reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 ? reply->element[i] : NULL;
        *numbers[i] = number != NULL && number->type == REDIS_REPLY_STRING ? strtoull(number->str, NULL, 10) : 0;
    }
    freeReplyObject(reply);
    return STORE_OK;
}

/* The records of these ids. */
static enum store_result load_some(struct redis_store *store, redisReply *const *ids, size_t count, store_visit visit,
                                   void *argument, struct store_error *error)
{
    const char *arguments[LOAD_RECORDS + 2] = {"HMGET", store->link.keys[0]};
    size_t lengths[LOAD_RECORDS + 2] = {5, strlen(store->link.keys[0])};
    for (size_t i = 0; i < count; i++) {
        arguments[i + 2] = ids[i]->str;
        lengths[i + 2] = ids[i]->len;
    }
    enum store_result result = STORE_OK;
    redisReply *reply = redis_link_ask(&store->link, (int)count + 2, arguments, lengths, &result, error);
    if (reply == NULL)
        return result;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != count)
        result = redis_link_fail(STORE_UNAVAILABLE, error, "%s: an answer that is none; look into Redis's log",
                                 store->link.place);
    for (size_t i = 0; result == STORE_OK && i < count; i++) {
        const redisReply *value = reply->element[i];
        struct store_error reason = {""};
        if (value->type != REDIS_REPLY_STRING)
            result = redis_link_fail(STORE_UNUSABLE, error,
                                     "%s: somebody else changes the roll meanwhile; have them stop", store->link.place);
        else if (!visit(argument, 0, ids[i]->str, ids[i]->len, value->str, value->len, &reason))
            result = redis_link_fail(STORE_UNUSABLE, error, "%s: %.150s", store->link.place, reason.text);
    }
    freeReplyObject(reply);
    return result;
}

static enum store_result redis_load(struct store *base, struct store_meta *meta, store_visit visit, void *argument,
                                    struct store_error *error)
{
    struct redis_store *store = (struct redis_store *)base;
    enum store_result result = make_ready(store, error);
    if (result == STORE_OK)
        result = load_meta(store, meta, error);
    if (result != STORE_OK)
        return result;
    /* All ids first: a scan may name one twice. */
    redisReply *ids =
        redis_link_ask_texts(&store->link, (const char *[]){"HKEYS", store->link.keys[0]}, 2, &result, error);
    if (ids == NULL)
        return result;
    for (size_t i = 0; result == STORE_OK && i < ids->elements; i += LOAD_RECORDS) {
        size_t count = ids->elements - i < LOAD_RECORDS ? ids->elements - i : LOAD_RECORDS;
        result = load_some(store, ids->element + i, count, visit, argument, error);
    }
    freeReplyObject(ids);
    return result;
}

/* --- The secret --- */

/* As hexadecimal text. */
static bool parse_secret(const redisReply *reply, uint8_t secret[STORE_SECRET_BYTES])
{
    if (reply->type != REDIS_REPLY_STRING || reply->len != 2 * STORE_SECRET_BYTES)
        return false;
    for (size_t i = 0; i < STORE_SECRET_BYTES; i++) {
        const char digits[] = {reply->str[2 * i], reply->str[2 * i + 1], '\0'};
        char *end;
        secret[i] = (uint8_t)strtoul(digits, &end, 16);
        if (*end != '\0')
            return false;
    }
    return true;
}

static enum store_result redis_secret(struct store *base, uint8_t secret[STORE_SECRET_BYTES], struct store_error *error)
{
    struct redis_store *store = (struct redis_store *)base;
    char drawn[2 * STORE_SECRET_BYTES + 1];
    random_hex(drawn, STORE_SECRET_BYTES);
    const char *key = store->link.keys[1];
    redisReply *reply = NULL;
    enum store_result result = make_ready(store, error);
    if (result == STORE_OK) /* which leaves one that is there already alone */
        reply = redis_link_ask_texts(&store->link, (const char *[]){"HSETNX", key, "token_secret", drawn}, 4, &result,
                                     error);
    if (reply == NULL)
        return result;
    freeReplyObject(reply);
    reply = redis_link_ask_texts(&store->link, (const char *[]){"HGET", key, "token_secret"}, 3, &result, error);
    if (reply == NULL)
        return result;
    if (!parse_secret(reply, secret))
        result = redis_link_fail(STORE_UNUSABLE, error,
                                 "%s: token_secret is damaged; remove that field, and workers register anew",
                                 store->link.place);
    freeReplyObject(reply);
    return result;
}

/* --- Opening --- */

/* Whether another client with this name is connected. */
static enum store_result check_alone(struct redis_store *store, struct store_error *error)
{
    enum store_result result = STORE_OK;
    char name[sizeof(store->link.client_name) + 8];
    redisReply *reply = redis_link_ask_texts(&store->link, (const char *[]){"CLIENT", "LIST"}, 2, &result, error);
    if (reply == NULL)
        return result;
    snprintf(name, sizeof(name), " name=%s ", store->link.client_name);
    const char *found = reply->str != NULL ? strstr(reply->str, name) : NULL;
    if (found != NULL && strstr(found + 1, name) != NULL)
        result = redis_link_fail(STORE_UNAVAILABLE, error,
                                 "%s is in use by another registry; stop that one or choose another --redis-prefix",
                                 store->link.place);
    freeReplyObject(reply);
    return result;
}

static enum store_result take_over(struct redis_store *store, struct store_error *error)
{
    struct redis_call call;
    struct random random;
    random_seed_from_kernel(&random);
    snprintf(store->owner, sizeof(store->owner), "%016" PRIx64 "%016" PRIx64, random_next(&random),
             random_next(&random));
    if (!redis_call_create(&call, &store->link, REDIS_LINK_OWN, 1))
        return redis_link_fail(STORE_UNAVAILABLE, error, "out of memory; make room");
    redis_call_add_text(&call, store->owner);
    enum store_result result = STORE_OK;
    redisReply *reply = redis_call_run(&call, &store->link, &result, error);
    if (reply == NULL)
        return result;
    if (reply->type != REDIS_REPLY_STRING || reply->str[0] < '0' || reply->str[0] > '9')
        result = redis_link_fail(STORE_UNUSABLE, error, "%s was written by another version of Muster; use that version",
                                 store->link.place);
    else
        store->commit = strtoull(reply->str, NULL, 10);
    freeReplyObject(reply);
    return result;
}

/* One of Redis's settings; "?" when it does not tell. */
static enum store_result find_setting(struct redis_store *store, const char *name, char value[32],
                                      struct store_error *error)
{
    enum store_result result = STORE_OK;
    redisReply *reply = redis_link_ask_texts(&store->link, (const char *[]){"CONFIG", "GET", name}, 3, &result, error);
    snprintf(value, 32, "?");
    if (reply == NULL)
        /* An answer that says no is as good as none. */
        return redis_link_is_connected(&store->link) ? STORE_OK : result;
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 && reply->element[1]->str != NULL)
        snprintf(value, 32, "%s", reply->element[1]->str);
    freeReplyObject(reply);
    return STORE_OK;
}

static enum store_result check_persistence(struct redis_store *store, struct store_error *error)
{
    static const char *const wanted[] = {"always", "everysec"};
    char file[32], sync[32];
    enum store_result result = find_setting(store, "appendonly", file, error);
    if (result == STORE_OK)
        result = find_setting(store, "appendfsync", sync, error);
    if (result != STORE_OK)
        return result;
    error->text[0] = '\0';
    snprintf(store->persistence, sizeof(store->persistence), "appendonly %s, appendfsync %s", file, sync);
    enum redis_durability asked = store->link.options.durability;
    bool enough = asked == REDIS_DURABILITY_ANY ||
                  (strcmp(file, "yes") == 0 && (strcmp(sync, "always") == 0 ||
                                                (asked == REDIS_DURABILITY_EVERYSEC && strcmp(sync, "everysec") == 0)));
    if (enough)
        return STORE_OK;
    return redis_link_fail(
        STORE_UNUSABLE, error,
        "%s is not as durable as asked (%s); set appendonly yes and appendfsync %s in its configuration, or "
        "accept less with --redis-durability",
        store->link.place, store->persistence, wanted[asked]);
}

static void redis_close(struct store *base)
{
    struct redis_store *store = (struct redis_store *)base;
    redis_link_free(&store->link);
    free(store);
}

static const struct store_operations operations = {redis_load, redis_commit, NULL, redis_secret, redis_close};

static bool is_prefix(const char *prefix)
{
    size_t bytes = strlen(prefix);
    return bytes >= 1 && bytes <= REDIS_LINK_PREFIX_MAX_BYTES &&
           strspn(prefix, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == bytes;
}

static struct redis_store *create(const struct store_redis_options *options)
{
    struct redis_store *store = calloc(1, sizeof(*store));
    if (store == NULL || !redis_link_init(&store->link, options)) {
        free(store);
        return NULL;
    }
    store->base.operations = &operations;
    return store;
}

struct store *store_redis_open(const struct store_redis_options *options, enum store_result *result,
                               struct store_error *error)
{
    if (!is_prefix(options->prefix)) {
        *result =
            redis_link_fail(STORE_UNUSABLE, error, "--redis-prefix must be 1 to %d letters, digits, '.', '_' and '-'",
                            REDIS_LINK_PREFIX_MAX_BYTES);
        return NULL;
    }
    struct redis_store *store = create(options);
    if (store == NULL) {
        *result = redis_link_fail(STORE_UNAVAILABLE, error, "out of memory; make room");
        return NULL;
    }
    *result = redis_link_connect(&store->link, error);
    if (*result == STORE_OK)
        *result = check_alone(store, error);
    if (*result == STORE_OK)
        *result = check_persistence(store, error);
    if (*result == STORE_OK)
        *result = take_over(store, error);
    if (*result == STORE_OK)
        return &store->base;
    redis_close(&store->base);
    return NULL;
}

const char *store_redis_persistence(const struct store *store)
{
    return ((const struct redis_store *)store)->persistence;
}
