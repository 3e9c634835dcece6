/* See guard.h. */

#include "gateway/guard.h"

#include <stdio.h>
#include <string.h>

/* How often a field is there, and its (last) value. */
static unsigned count_fields(const struct http_head *head, const char *name, struct http_text *value)
{
    unsigned count = 0;
    for (unsigned i = 0; i < head->field_count; i++) {
        if (!http_text_equal_ignoring_case(http_field_name_text(head, &head->fields[i]), name))
            continue;
        *value = http_field_value(head, &head->fields[i]);
        count++;
    }
    return count;
}

static bool is_between(char c)
{
    return c == ',' || c == ' ' || c == '\t';
}

/* How many keys are among the subprotocols that are offered, and the last of them. */
static unsigned count_offered_keys(const struct http_head *head, struct http_text *key)
{
    static const char prefix[] = "muster.key.";
    const size_t prefix_bytes = sizeof prefix - 1;
    unsigned count = 0;
    for (unsigned i = 0; i < head->field_count; i++) {
        struct http_text list = http_field_value(head, &head->fields[i]);
        if (!http_text_equal_ignoring_case(http_field_name_text(head, &head->fields[i]), "sec-websocket-protocol"))
            continue;
        for (size_t at = 0; at < list.bytes;) {
            size_t start = at;
            while (start < list.bytes && is_between(list.data[start]))
                start++;
            size_t end = start;
            while (end < list.bytes && !is_between(list.data[end]))
                end++;
            if (end - start > prefix_bytes && memcmp(list.data + start, prefix, prefix_bytes) == 0) {
                *key = (struct http_text){list.data + start + prefix_bytes, end - start - prefix_bytes};
                count++;
            }
            at = end;
        }
    }
    return count;
}

enum guard_source guard_credential(const struct http_head *head, bool is_websocket, struct http_text *credential)
{
    struct http_text key, authorization;
    unsigned keys = count_fields(head, "x-api-key", &key);
    unsigned authorizations = count_fields(head, "authorization", &authorization);
    if (keys > 1 || authorizations > 1)
        return GUARD_AMBIGUOUS;
    if (keys == 1) {
        *credential = key;
        return GUARD_API_KEY;
    }
    if (authorizations == 1 &&
        auth_bearer(authorization.data, authorization.bytes, &credential->data, &credential->bytes))
        return GUARD_BEARER;
    unsigned offered = is_websocket && authorizations == 0 ? count_offered_keys(head, credential) : 0;
    return offered == 0 ? GUARD_NOTHING : offered == 1 ? GUARD_API_KEY : GUARD_AMBIGUOUS;
}

unsigned guard_right(const struct api_route *route)
{
    switch (route->caller) {
    case API_FOR_CLIENTS:
        return AUTH_CLIENT;
    case API_FOR_WORKERS:
        return AUTH_WORKER;
    case API_FOR_OPERATORS:
        return AUTH_ADMIN;
    case API_FOR_EVERYBODY:
        break;
    }
    return 0;
}

const char *guard_right_word(unsigned right)
{
    return right == AUTH_CLIENT ? "client" : right == AUTH_WORKER ? "worker" : "admin";
}

bool guard_admits(const struct api_route *route, const struct auth_caller *caller, const char *worker_id, char *message,
                  size_t message_bytes)
{
    unsigned right = guard_right(route);
    message[0] = '\0';
    if (right == 0)
        return true;
    if (caller->identity == NULL) { /* a worker */
        if ((route->flags & API_OWN_WORKER) == 0)
            snprintf(message, message_bytes, GUARD_WORKER_TOKEN_REFUSED, guard_right_word(right));
        else if (worker_id != NULL && strcmp(worker_id, caller->worker_id) != 0)
            snprintf(message, message_bytes, "this is the token of another worker; each speaks for itself only");
    } else if (!auth_has(caller->identity, right)) {
        snprintf(message, message_bytes, "the key %.150s does not have the right %s", caller->identity->name,
                 guard_right_word(right));
    } else if ((route->flags & API_ALL_SERVICES) != 0 && !auth_may_call_all(caller->identity)) {
        snprintf(message, message_bytes, "the key %.150s may call some services only, and this is about all of them",
                 caller->identity->name);
    }
    return message[0] == '\0';
}
