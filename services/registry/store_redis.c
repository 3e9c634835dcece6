/* The roll in Redis; see store_redis.h. */

#include "services/registry/store_redis.h"

#include "services/registry/store_redis_scripts.h"

#include "common/random.h"

#include <hiredis/hiredis.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_TIMEOUT_S 2
#define ANSWER_TIMEOUT_S 10

/* How many records are asked for at a time while loading. */
#define LOAD_RECORDS 500

#define PREFIX_MAX_BYTES 64
#define NUMBER_BYTES 24

enum script { SCRIPT_OWN, SCRIPT_COMMIT, SCRIPT_UNDO, SCRIPTS };

struct redis_store {
    struct store base;
    struct store_redis_options options; /* its texts belong to the store */
    char place[160];                    /* "Redis at 127.0.0.1:6379 (prefix muster)" */
    char client_name[PREFIX_MAX_BYTES + 24];
    char keys[3][PREFIX_MAX_BYTES + 16];
    char owner[40];
    char persistence[96];
    char scripts[SCRIPTS][48]; /* their SHA-1, as this connection's server has them */
    redisContext *connection;  /* NULL: broken */
    bool uncertain;            /* whether commit + 1 has happened is not known */
    uint64_t commit;           /* the number of the last */
};

__attribute__((format(printf, 3, 4))) static enum store_result fail(enum store_result result, struct store_error *error,
                                                                    const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    /* Redis's own texts may end in anything. */
    error->text[strcspn(error->text, "\r\n")] = '\0';
    return result;
}

/* --- One request and its answer --- */

static void disconnect(struct redis_store *store)
{
    redisFree(store->connection);
    store->connection = NULL;
}

static bool is_allowed(const struct redis_store *store)
{
    return store->options.allowed == NULL || store->options.allowed(store->options.argument);
}

static enum store_result broken(struct redis_store *store, struct store_error *error)
{
    const char *why = store->connection != NULL && store->connection->err != 0 ? store->connection->errstr : "broken";
    enum store_result result =
        fail(STORE_UNAVAILABLE, error, "%s: the connection failed (%.120s); start Redis or mend the network",
             store->place, why);
    disconnect(store);
    return result;
}

/* What an error that Redis answered means. */
static enum store_result refused(struct redis_store *store, const char *text, struct store_error *error)
{
    enum store_result result = STORE_UNAVAILABLE;
    const char *advice = "look into Redis's log";
    if (strncmp(text, "OOM", 3) == 0)
        advice = "raise maxmemory or make room";
    else if (strncmp(text, "MISCONF", 7) == 0)
        advice = "make room on Redis's disk";
    else if (strncmp(text, "READONLY", 8) == 0)
        advice = "name the primary instead";
    else if (strncmp(text, "NOAUTH", 6) == 0 || strncmp(text, "WRONGPASS", 9) == 0 || strncmp(text, "NOPERM", 6) == 0)
        advice = "check --redis-user and REDIS_PASSWORD";
    else if (strncmp(text, "WRONGTYPE", 9) == 0) {
        advice = "the prefix is used for something else: choose another --redis-prefix";
        result = STORE_UNUSABLE;
    }
    return fail(result, error, "%s: %.160s; %s", store->place, text, advice);
}

/* NULL: *result and *error are set. The answer is freed with freeReplyObject. */
static redisReply *ask(struct redis_store *store, int count, const char **arguments, const size_t *lengths,
                       enum store_result *result, struct store_error *error)
{
    void *answer = NULL;
    if (store->connection == NULL || !is_allowed(store) ||
        redisAppendCommandArgv(store->connection, count, arguments, lengths) != REDIS_OK) {
        *result = broken(store, error);
        return NULL;
    }
    int left = 0;
    while (left == 0)
        if (redisBufferWrite(store->connection, &left) != REDIS_OK) {
            *result = broken(store, error);
            return NULL;
        }
    if (!is_allowed(store) || redisGetReply(store->connection, &answer) != REDIS_OK) {
        *result = broken(store, error);
        return NULL;
    }
    redisReply *reply = answer;
    if (reply->type == REDIS_REPLY_ERROR) {
        *result = refused(store, reply->str, error);
        freeReplyObject(reply);
        return NULL;
    }
    return reply;
}

/* A command of a few texts. */
static redisReply *ask_texts(struct redis_store *store, const char **texts, size_t count, enum store_result *result,
                             struct store_error *error)
{
    size_t lengths[8];
    for (size_t i = 0; i < count; i++)
        lengths[i] = strlen(texts[i]);
    return ask(store, (int)count, texts, lengths, result, error);
}

/* A command whose answer says nothing but that it was done. */
static enum store_result tell(struct redis_store *store, const char **texts, size_t count, struct store_error *error)
{
    enum store_result result = STORE_OK;
    redisReply *reply = ask_texts(store, texts, count, &result, error);
    if (reply != NULL)
        freeReplyObject(reply);
    return result;
}

#define TELL(store, error, ...)                                                                                        \
    tell(store, (const char *[]){__VA_ARGS__}, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), error)

/* What the scripts answer instead of "ok". */
static enum store_result judge(struct redis_store *store, const redisReply *reply, struct store_error *error)
{
    const char *text = reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS ? reply->str : "?";
    if (strcmp(text, "ok") == 0)
        return STORE_OK;
    if (strcmp(text, "fenced") == 0)
        return fail(STORE_UNUSABLE, error,
                    "%s: another registry has taken the prefix over; stop one of the two and restart the other",
                    store->place);
    if (strcmp(text, "lost") == 0)
        return fail(
            STORE_UNUSABLE, error,
            "%s: Redis has lost changes that it had confirmed; restart the registry to go on with what is left, "
            "or restore a backup",
            store->place);
    return fail(STORE_UNUSABLE, error, "%s: a script answered '%.60s'; look into Redis's log", store->place, text);
}

/* --- Connecting --- */

static enum store_result load_scripts(struct redis_store *store, struct store_error *error)
{
    static const char *const texts[SCRIPTS] = {redis_script_own, redis_script_commit, redis_script_undo};
    for (size_t i = 0; i < SCRIPTS; i++) {
        enum store_result result = STORE_OK;
        redisReply *reply = ask_texts(store, (const char *[]){"SCRIPT", "LOAD", texts[i]}, 3, &result, error);
        if (reply == NULL)
            return result;
        snprintf(store->scripts[i], sizeof(store->scripts[i]), "%s",
                 reply->type == REDIS_REPLY_STRING ? reply->str : "");
        freeReplyObject(reply);
    }
    return STORE_OK;
}

static enum store_result authenticate(struct redis_store *store, struct store_error *error)
{
    const struct store_redis_options *options = &store->options;
    if (options->password[0] == '\0')
        return STORE_OK;
    if (options->user[0] == '\0')
        return TELL(store, error, "AUTH", options->password);
    return TELL(store, error, "AUTH", options->user, options->password);
}

static enum store_result resolve(struct redis_store *store, struct store_error *error);

static enum store_result connect_again(struct redis_store *store, struct store_error *error)
{
    struct timeval connect_timeout = {.tv_sec = CONNECT_TIMEOUT_S}, answer_timeout = {.tv_sec = ANSWER_TIMEOUT_S};
    char database[NUMBER_BYTES];
    if (store->connection != NULL)
        return STORE_OK;
    store->connection = redisConnectWithTimeout(store->options.host, store->options.port, connect_timeout);
    if (store->connection == NULL)
        return fail(STORE_UNAVAILABLE, error, "out of memory; make room");
    if (store->connection->err != 0 || redisSetTimeout(store->connection, answer_timeout) != REDIS_OK)
        return broken(store, error);
    snprintf(database, sizeof(database), "%" PRIu32, store->options.database);
    enum store_result result = authenticate(store, error);
    if (result == STORE_OK)
        result = TELL(store, error, "SELECT", database);
    if (result == STORE_OK)
        result = TELL(store, error, "CLIENT", "SETNAME", store->client_name);
    if (result == STORE_OK)
        result = load_scripts(store, error);
    if (result != STORE_OK)
        disconnect(store);
    return result;
}

/* Ready for a request: connected, and sure of what Redis has. */
static enum store_result make_ready(struct redis_store *store, struct store_error *error)
{
    enum store_result result = connect_again(store, error);
    if (result == STORE_OK && store->uncertain)
        result = resolve(store, error);
    return result;
}

/* --- Scripts --- */

/* Arguments of a script, put together. */
struct call {
    const char **arguments;
    size_t *lengths;
    int count;
};

static bool call_create(struct call *call, struct redis_store *store, enum script script, size_t room)
{
    *call = (struct call){calloc(room + 6, sizeof(char *)), calloc(room + 6, sizeof(size_t)), 0};
    if (call->arguments == NULL || call->lengths == NULL) {
        free(call->arguments);
        free(call->lengths);
        return false;
    }
    const char *head[] = {"EVALSHA", store->scripts[script], "3", store->keys[0], store->keys[1], store->keys[2]};
    for (; call->count < 6; call->count++) {
        call->arguments[call->count] = head[call->count];
        call->lengths[call->count] = strlen(head[call->count]);
    }
    return true;
}

static void call_add(struct call *call, const void *bytes, size_t length)
{
    call->arguments[call->count] = bytes;
    call->lengths[call->count++] = length;
}

static void call_add_text(struct call *call, const char *text)
{
    call_add(call, text, strlen(text));
}

static redisReply *call_run(struct call *call, struct redis_store *store, enum store_result *result,
                            struct store_error *error)
{
    redisReply *reply = ask(store, call->count, call->arguments, call->lengths, result, error);
    free(call->arguments);
    free(call->lengths);
    return reply;
}

/* Runs a call whose answer is to be "ok". */
static enum store_result call_settle(struct call *call, struct redis_store *store, struct store_error *error)
{
    enum store_result result = STORE_OK;
    redisReply *reply = call_run(call, store, &result, error);
    if (reply == NULL)
        return result;
    result = judge(store, reply, error);
    freeReplyObject(reply);
    return result;
}

/* Takes the uncertain commit back, if it has happened. */
static enum store_result resolve(struct redis_store *store, struct store_error *error)
{
    struct call call;
    char last[NUMBER_BYTES], uncertain[NUMBER_BYTES];
    snprintf(last, sizeof(last), "%" PRIu64, store->commit);
    snprintf(uncertain, sizeof(uncertain), "%" PRIu64, store->commit + 1);
    if (!call_create(&call, store, SCRIPT_UNDO, 3))
        return fail(STORE_UNAVAILABLE, error, "out of memory; make room");
    call_add_text(&call, store->owner);
    call_add_text(&call, uncertain);
    call_add_text(&call, last);
    enum store_result result = call_settle(&call, store, error);
    if (result == STORE_OK)
        store->uncertain = false;
    return result;
}

/* --- Committing --- */

static void add_changes(struct call *call, const struct store_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        if (batch->changes[i].value != NULL) {
            call_add(call, batch->changes[i].id, batch->changes[i].id_bytes);
            call_add(call, batch->changes[i].value, batch->changes[i].value_bytes);
        }
    for (size_t i = 0; i < batch->count; i++)
        if (batch->changes[i].value == NULL)
            call_add(call, batch->changes[i].id, batch->changes[i].id_bytes);
}

static enum store_result redis_commit(struct store *base, const struct store_batch *batch, struct store_error *error)
{
    struct redis_store *store = (struct redis_store *)base;
    struct call call;
    char numbers[5][NUMBER_BYTES];
    size_t puts = 0;
    enum store_result result = make_ready(store, error);
    if (result != STORE_OK)
        return result;
    for (size_t i = 0; i < batch->count; i++)
        puts += batch->changes[i].value != NULL;
    uint64_t values[5] = {store->commit, store->commit + 1, batch->meta.revision_ceiling, batch->meta.incarnation_floor,
                          puts};
    if (!call_create(&call, store, SCRIPT_COMMIT, 6 + 2 * batch->count))
        return fail(STORE_UNAVAILABLE, error, "out of memory; make room");
    call_add_text(&call, store->owner);
    for (size_t i = 0; i < 5; i++) {
        snprintf(numbers[i], sizeof(numbers[i]), "%" PRIu64, values[i]);
        call_add_text(&call, numbers[i]);
    }
    add_changes(&call, batch);
    /* Until the answer says otherwise. */
    store->uncertain = true;
    result = call_settle(&call, store, error);
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
    redisReply *reply = ask_texts(
        store, (const char *[]){"HMGET", store->keys[1], "revision_ceiling", "incarnation_floor"}, 4, &result, error);
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
    const char *arguments[LOAD_RECORDS + 2] = {"HMGET", store->keys[0]};
    size_t lengths[LOAD_RECORDS + 2] = {5, strlen(store->keys[0])};
    for (size_t i = 0; i < count; i++) {
        arguments[i + 2] = ids[i]->str;
        lengths[i + 2] = ids[i]->len;
    }
    enum store_result result = STORE_OK;
    redisReply *reply = ask(store, (int)count + 2, arguments, lengths, &result, error);
    if (reply == NULL)
        return result;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != count)
        result = fail(STORE_UNAVAILABLE, error, "%s: an answer that is none; look into Redis's log", store->place);
    for (size_t i = 0; result == STORE_OK && i < count; i++) {
        const redisReply *value = reply->element[i];
        struct store_error reason = {""};
        if (value->type != REDIS_REPLY_STRING)
            result = fail(STORE_UNUSABLE, error, "%s: somebody else changes the roll meanwhile; have them stop",
                          store->place);
        else if (!visit(argument, 0, ids[i]->str, ids[i]->len, value->str, value->len, &reason))
            result = fail(STORE_UNUSABLE, error, "%s: %.150s", store->place, reason.text);
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
    redisReply *ids = ask_texts(store, (const char *[]){"HKEYS", store->keys[0]}, 2, &result, error);
    if (ids == NULL)
        return result;
    for (size_t i = 0; result == STORE_OK && i < ids->elements; i += LOAD_RECORDS) {
        size_t count = ids->elements - i < LOAD_RECORDS ? ids->elements - i : LOAD_RECORDS;
        result = load_some(store, ids->element + i, count, visit, argument, error);
    }
    freeReplyObject(ids);
    return result;
}

/* --- Opening --- */

/* Whether another client with this name is connected. */
static enum store_result check_alone(struct redis_store *store, struct store_error *error)
{
    enum store_result result = STORE_OK;
    char name[sizeof(store->client_name) + 8];
    redisReply *reply = ask_texts(store, (const char *[]){"CLIENT", "LIST"}, 2, &result, error);
    if (reply == NULL)
        return result;
    snprintf(name, sizeof(name), " name=%s ", store->client_name);
    const char *found = reply->str != NULL ? strstr(reply->str, name) : NULL;
    if (found != NULL && strstr(found + 1, name) != NULL)
        result = fail(STORE_UNAVAILABLE, error,
                      "%s is in use by another registry; stop that one or choose another --redis-prefix", store->place);
    freeReplyObject(reply);
    return result;
}

static enum store_result take_over(struct redis_store *store, struct store_error *error)
{
    struct call call;
    struct random random;
    random_seed_from_kernel(&random);
    snprintf(store->owner, sizeof(store->owner), "%016" PRIx64 "%016" PRIx64, random_next(&random),
             random_next(&random));
    if (!call_create(&call, store, SCRIPT_OWN, 1))
        return fail(STORE_UNAVAILABLE, error, "out of memory; make room");
    call_add_text(&call, store->owner);
    enum store_result result = STORE_OK;
    redisReply *reply = call_run(&call, store, &result, error);
    if (reply == NULL)
        return result;
    if (reply->type != REDIS_REPLY_STRING || reply->str[0] < '0' || reply->str[0] > '9')
        result =
            fail(STORE_UNUSABLE, error, "%s was written by another version of Muster; use that version", store->place);
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
    redisReply *reply = ask_texts(store, (const char *[]){"CONFIG", "GET", name}, 3, &result, error);
    snprintf(value, 32, "?");
    if (reply == NULL)
        /* An answer that says no is as good as none. */
        return store->connection != NULL ? STORE_OK : result;
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
    enum redis_durability asked = store->options.durability;
    bool enough = asked == REDIS_DURABILITY_ANY ||
                  (strcmp(file, "yes") == 0 && (strcmp(sync, "always") == 0 ||
                                                (asked == REDIS_DURABILITY_EVERYSEC && strcmp(sync, "everysec") == 0)));
    if (enough)
        return STORE_OK;
    return fail(STORE_UNUSABLE, error,
                "%s is not as durable as asked (%s); set appendonly yes and appendfsync %s in its configuration, or "
                "accept less with --redis-durability",
                store->place, store->persistence, wanted[asked]);
}

static void redis_close(struct store *base)
{
    struct redis_store *store = (struct redis_store *)base;
    redisFree(store->connection);
    free((char *)store->options.host);
    free((char *)store->options.user);
    free((char *)store->options.password);
    free((char *)store->options.prefix);
    free(store);
}

static const struct store_operations operations = {redis_load, redis_commit, NULL, redis_close};

static bool is_prefix(const char *prefix)
{
    size_t bytes = strlen(prefix);
    return bytes >= 1 && bytes <= PREFIX_MAX_BYTES &&
           strspn(prefix, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == bytes;
}

static struct redis_store *create(const struct store_redis_options *options)
{
    struct redis_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return NULL;
    store->base.operations = &operations;
    store->options = *options;
    store->options.host = strdup(options->host);
    store->options.user = strdup(options->user);
    store->options.password = strdup(options->password);
    store->options.prefix = strdup(options->prefix);
    if (store->options.host == NULL || store->options.user == NULL || store->options.password == NULL ||
        store->options.prefix == NULL) {
        redis_close(&store->base);
        return NULL;
    }
    snprintf(store->place, sizeof(store->place), "Redis at %.60s:%u (prefix %s)", options->host, options->port,
             options->prefix);
    snprintf(store->client_name, sizeof(store->client_name), "muster-registry:%s", options->prefix);
    snprintf(store->keys[0], sizeof(store->keys[0]), "%s:workers", options->prefix);
    snprintf(store->keys[1], sizeof(store->keys[1]), "%s:meta", options->prefix);
    snprintf(store->keys[2], sizeof(store->keys[2]), "%s:undo", options->prefix);
    return store;
}

struct store *store_redis_open(const struct store_redis_options *options, enum store_result *result,
                               struct store_error *error)
{
    if (!is_prefix(options->prefix)) {
        *result = fail(STORE_UNUSABLE, error, "--redis-prefix must be 1 to %d letters, digits, '.', '_' and '-'",
                       PREFIX_MAX_BYTES);
        return NULL;
    }
    struct redis_store *store = create(options);
    if (store == NULL) {
        *result = fail(STORE_UNAVAILABLE, error, "out of memory; make room");
        return NULL;
    }
    *result = connect_again(store, error);
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
