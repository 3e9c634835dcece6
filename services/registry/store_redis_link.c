/* A connection to Redis; see store_redis_link.h. */

#include "services/registry/store_redis_link.h"

#include "services/registry/store_redis_scripts.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_TIMEOUT_S 2
#define ANSWER_TIMEOUT_S 10

#define NUMBER_BYTES 24

enum store_result redis_link_fail(enum store_result result, struct store_error *error, const char *format, ...)
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

static void disconnect(struct redis_link *link)
{
    redisFree(link->connection);
    link->connection = NULL;
}

static bool is_allowed(const struct redis_link *link)
{
    return link->options.allowed == NULL || link->options.allowed(link->options.argument);
}

static enum store_result broken(struct redis_link *link, struct store_error *error)
{
    const char *why = link->connection != NULL && link->connection->err != 0 ? link->connection->errstr : "broken";
    enum store_result result =
        redis_link_fail(STORE_UNAVAILABLE, error, "%s: the connection failed (%.120s); start Redis or mend the network",
                        link->place, why);
    disconnect(link);
    return result;
}

/* What an error that Redis answered means. */
static enum store_result refused(struct redis_link *link, const char *text, struct store_error *error)
{
    enum store_result result = STORE_UNAVAILABLE;
    const char *advice = "look into Redis's log";
    bool forgot = strncmp(text, "NOSCRIPT", 8) == 0;
    if (forgot)
        advice = "the scripts are loaded again with the next attempt";
    else if (strncmp(text, "OOM", 3) == 0)
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
    redis_link_fail(result, error, "%s: %.160s; %s", link->place, text, advice);
    /* Somebody ran SCRIPT FLUSH; a connection loads them at its beginning. */
    if (forgot)
        disconnect(link);
    return result;
}

/* NULL: *result and *error are set. The answer is freed with freeReplyObject. */
redisReply *redis_link_ask(struct redis_link *link, int count, const char **arguments, const size_t *lengths,
                           enum store_result *result, struct store_error *error)
{
    void *answer = NULL;
    if (link->connection == NULL || !is_allowed(link) ||
        redisAppendCommandArgv(link->connection, count, arguments, lengths) != REDIS_OK) {
        *result = broken(link, error);
        return NULL;
    }
    int left = 0;
    while (left == 0)
        if (redisBufferWrite(link->connection, &left) != REDIS_OK) {
            *result = broken(link, error);
            return NULL;
        }
    if (!is_allowed(link) || redisGetReply(link->connection, &answer) != REDIS_OK) {
        *result = broken(link, error);
        return NULL;
    }
    redisReply *reply = answer;
    if (reply->type == REDIS_REPLY_ERROR) {
        *result = refused(link, reply->str, error);
        freeReplyObject(reply);
        return NULL;
    }
    return reply;
}

/* A command of a few texts. */
redisReply *redis_link_ask_texts(struct redis_link *link, const char **texts, size_t count, enum store_result *result,
                                 struct store_error *error)
{
    size_t lengths[8];
    for (size_t i = 0; i < count; i++)
        lengths[i] = strlen(texts[i]);
    return redis_link_ask(link, (int)count, texts, lengths, result, error);
}

/* A command whose answer says nothing but that it was done. */
static enum store_result tell(struct redis_link *link, const char **texts, size_t count, struct store_error *error)
{
    enum store_result result = STORE_OK;
    redisReply *reply = redis_link_ask_texts(link, texts, count, &result, error);
    if (reply != NULL)
        freeReplyObject(reply);
    return result;
}

#define TELL(link, error, ...)                                                                                         \
    tell(link, (const char *[]){__VA_ARGS__}, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), error)

/* What the scripts answer instead of "ok". */
static enum store_result judge(struct redis_link *link, const redisReply *reply, struct store_error *error)
{
    const char *text = reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS ? reply->str : "?";
    if (strcmp(text, "ok") == 0)
        return STORE_OK;
    if (strcmp(text, "fenced") == 0)
        return redis_link_fail(
            STORE_UNUSABLE, error,
            "%s: another registry has taken the prefix over; stop one of the two and restart the other", link->place);
    if (strcmp(text, "lost") == 0)
        return redis_link_fail(
            STORE_UNUSABLE, error,
            "%s: Redis has lost changes that it had confirmed; restart the registry to go on with what is left, "
            "or restore a backup",
            link->place);
    return redis_link_fail(STORE_UNUSABLE, error, "%s: a script answered '%.60s'; look into Redis's log", link->place,
                           text);
}

/* --- Connecting --- */

static enum store_result load_scripts(struct redis_link *link, struct store_error *error)
{
    static const char *const texts[REDIS_LINK_SCRIPTS] = {redis_script_own, redis_script_commit, redis_script_undo};
    for (size_t i = 0; i < REDIS_LINK_SCRIPTS; i++) {
        enum store_result result = STORE_OK;
        redisReply *reply = redis_link_ask_texts(link, (const char *[]){"SCRIPT", "LOAD", texts[i]}, 3, &result, error);
        if (reply == NULL)
            return result;
        snprintf(link->scripts[i], sizeof(link->scripts[i]), "%s", reply->type == REDIS_REPLY_STRING ? reply->str : "");
        freeReplyObject(reply);
    }
    return STORE_OK;
}

static enum store_result authenticate(struct redis_link *link, struct store_error *error)
{
    const struct store_redis_options *options = &link->options;
    if (options->password[0] == '\0')
        return STORE_OK;
    if (options->user[0] == '\0')
        return TELL(link, error, "AUTH", options->password);
    return TELL(link, error, "AUTH", options->user, options->password);
}

enum store_result redis_link_connect(struct redis_link *link, struct store_error *error)
{
    struct timeval connect_timeout = {.tv_sec = CONNECT_TIMEOUT_S}, answer_timeout = {.tv_sec = ANSWER_TIMEOUT_S};
    char database[NUMBER_BYTES];
    if (link->connection != NULL)
        return STORE_OK;
    link->connection = redisConnectWithTimeout(link->options.host, link->options.port, connect_timeout);
    if (link->connection == NULL)
        return redis_link_fail(STORE_UNAVAILABLE, error, "out of memory; make room");
    if (link->connection->err != 0 || redisSetTimeout(link->connection, answer_timeout) != REDIS_OK)
        return broken(link, error);
    snprintf(database, sizeof(database), "%" PRIu32, link->options.database);
    enum store_result result = authenticate(link, error);
    if (result == STORE_OK)
        result = TELL(link, error, "SELECT", database);
    if (result == STORE_OK)
        result = TELL(link, error, "CLIENT", "SETNAME", link->client_name);
    if (result == STORE_OK)
        result = load_scripts(link, error);
    if (result != STORE_OK)
        disconnect(link);
    return result;
}

/* --- Scripts --- */

bool redis_call_create(struct redis_call *call, const struct redis_link *link, enum redis_link_script script,
                       size_t room)
{
    *call = (struct redis_call){calloc(room + 6, sizeof(char *)), calloc(room + 6, sizeof(size_t)), 0};
    if (call->arguments == NULL || call->lengths == NULL) {
        free(call->arguments);
        free(call->lengths);
        return false;
    }
    const char *head[] = {"EVALSHA", link->scripts[script], "3", link->keys[0], link->keys[1], link->keys[2]};
    for (; call->count < 6; call->count++) {
        call->arguments[call->count] = head[call->count];
        call->lengths[call->count] = strlen(head[call->count]);
    }
    return true;
}

void redis_call_add(struct redis_call *call, const void *bytes, size_t length)
{
    call->arguments[call->count] = bytes;
    call->lengths[call->count++] = length;
}

void redis_call_add_text(struct redis_call *call, const char *text)
{
    redis_call_add(call, text, strlen(text));
}

redisReply *redis_call_run(struct redis_call *call, struct redis_link *link, enum store_result *result,
                           struct store_error *error)
{
    redisReply *reply = redis_link_ask(link, call->count, call->arguments, call->lengths, result, error);
    free(call->arguments);
    free(call->lengths);
    return reply;
}

enum store_result redis_call_settle(struct redis_call *call, struct redis_link *link, struct store_error *error)
{
    enum store_result result = STORE_OK;
    redisReply *reply = redis_call_run(call, link, &result, error);
    if (reply == NULL)
        return result;
    result = judge(link, reply, error);
    freeReplyObject(reply);
    return result;
}

/* --- Its life --- */

bool redis_link_is_connected(const struct redis_link *link)
{
    return link->connection != NULL;
}

bool redis_link_init(struct redis_link *link, const struct store_redis_options *options)
{
    *link = (struct redis_link){.options = *options};
    link->options.host = strdup(options->host);
    link->options.user = strdup(options->user);
    link->options.password = strdup(options->password);
    link->options.prefix = strdup(options->prefix);
    if (link->options.host == NULL || link->options.user == NULL || link->options.password == NULL ||
        link->options.prefix == NULL) {
        redis_link_free(link);
        return false;
    }
    snprintf(link->place, sizeof(link->place), "Redis at %.60s:%u (prefix %s)", options->host, options->port,
             options->prefix);
    snprintf(link->client_name, sizeof(link->client_name), "muster-registry:%s", options->prefix);
    snprintf(link->keys[0], sizeof(link->keys[0]), "%s:workers", options->prefix);
    snprintf(link->keys[1], sizeof(link->keys[1]), "%s:meta", options->prefix);
    snprintf(link->keys[2], sizeof(link->keys[2]), "%s:undo", options->prefix);
    return true;
}

void redis_link_free(struct redis_link *link)
{
    redisFree(link->connection);
    free((char *)link->options.host);
    free((char *)link->options.user);
    free((char *)link->options.password);
    free((char *)link->options.prefix);
}
