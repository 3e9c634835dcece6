#include "services/worker/service_table.h"

#include <stdlib.h>
#include <string.h>

static void free_texts(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
}

void service_table_free(struct service_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        struct service *service = table->services[i];
        free_texts(service->aliases, service->alias_count);
        free(service->name);
        free(service);
    }
    table->count = 0;
    table->assigned.count = 0;
}

bool service_name_acceptable(const char *name)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t bytes = strlen(name);
    /* "." and ".." are no segments of a path. */
    return bytes > 0 && bytes < HEARTBEAT_NAME_BYTES && strspn(name, letters) == bytes && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

struct service *service_table_add(struct service_table *table, const char *name, enum service_kind kind)
{
    if (table->count == SERVICE_TABLE_MAX || !service_name_acceptable(name) || service_table_find(table, name) != NULL)
        return NULL;
    struct service *service = calloc(1, sizeof *service);
    if (service == NULL)
        return NULL;
    service->name = strdup(name);
    if (service->name == NULL) {
        free(service);
        return NULL;
    }
    service->kind = kind;
    service->state = SERVICE_STARTING;
    table->services[table->count++] = service;
    return service;
}

struct service *service_table_find(const struct service_table *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->services[i]->name, name) == 0)
            return table->services[i];
    return NULL;
}

/* Names as a request may use them; `type` is not zero-terminated. */
static bool answers_to(const struct service *service, struct http_text type)
{
    if (http_text_equal(type, service->name))
        return true;
    for (size_t i = 0; i < service->alias_count; i++)
        if (http_text_equal(type, service->aliases[i]))
            return true;
    return false;
}

static struct service *find_any_name(const struct service_table *table, struct http_text name)
{
    for (size_t i = 0; i < table->count; i++)
        if (answers_to(table->services[i], name))
            return table->services[i];
    return NULL;
}

bool service_table_is_assigned(const struct service_table *table, const struct service *service)
{
    for (size_t i = 0; i < table->assigned.count; i++)
        if (answers_to(service, http_text_of(table->assigned.names[i])))
            return true;
    return false;
}

size_t service_table_announced(const struct service_table *table, const char *names[SERVICE_TABLE_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < table->count; i++)
        if (!table->services[i]->on_demand)
            names[count++] = table->services[i]->name;
    return count;
}

bool service_table_configure(struct service_table *table, const char *name, const char *const *aliases,
                             size_t alias_count)
{
    struct service *service = service_table_find(table, name);
    if (service == NULL)
        return true;
    char **copies = NULL;
    if (alias_count > 0 && (copies = calloc(alias_count, sizeof *copies)) == NULL)
        return false;
    for (size_t i = 0; i < alias_count; i++) {
        copies[i] = strdup(aliases[i]);
        if (copies[i] == NULL) {
            free_texts(copies, alias_count);
            return false;
        }
    }
    free_texts(service->aliases, service->alias_count);
    service->aliases = copies;
    service->alias_count = alias_count;
    return true;
}

const char *service_state_text(enum service_state state)
{
    switch (state) {
    case SERVICE_STARTING:
        return "starting";
    case SERVICE_RUNNING:
        return "running";
    case SERVICE_FAILED:
        return "failed";
    case SERVICE_STOPPED:
        break;
    }
    return "stopped";
}

size_t service_table_states(const struct service_table *table,
                            struct heartbeat_service states[SERVICE_TABLE_STATES_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < table->count; i++) {
        const struct service *service = table->services[i];
        enum service_state state = service->state;
        if (service->on_demand && state == SERVICE_STOPPED) {
            if (!service_table_is_assigned(table, service))
                continue;
            state = SERVICE_STARTING; /* with the loop's next turn */
        }
        states[count++] = (struct heartbeat_service){service->name, service_state_text(state)};
    }
    for (size_t i = 0; i < table->assigned.count; i++)
        if (find_any_name(table, http_text_of(table->assigned.names[i])) == NULL)
            states[count++] = (struct heartbeat_service){table->assigned.names[i], "unavailable"};
    return count;
}

/* ---- paths ---- */

/* Looks up the type that a path names. */
static enum service_match match_type(const struct service_table *table, struct http_text type,
                                     struct service_route *route)
{
    route->service = find_any_name(table, type);
    if (route->service != NULL)
        return SERVICE_MATCH_LOCAL;
    for (size_t i = 0; i < table->assigned.count; i++)
        if (http_text_equal(type, table->assigned.names[i]))
            return SERVICE_MATCH_UNAVAILABLE;
    return SERVICE_MATCH_NONE;
}

enum service_match service_table_match(const struct service_table *table, struct http_text path,
                                       struct service_route *route)
{
    struct http_text rest = path, first, type;
    *route = (struct service_route){NULL, "", path};
    if (!http_path_next_segment(&rest, &first) || !http_path_next_segment(&rest, &type))
        return SERVICE_MATCH_NONE;
    if (http_text_equal(first, "service")) {
        route->rest = rest.bytes > 0 ? rest : http_text_of("/");
        return match_type(table, type, route);
    }
    if (!http_text_equal(first, "api"))
        return SERVICE_MATCH_NONE;
    enum service_match match = match_type(table, type, route);
    if (match != SERVICE_MATCH_NONE || !http_text_equal(type, "service"))
        return match;
    route->prefix = "/api";
    route->rest = rest;
    if (!http_path_next_segment(&rest, &type))
        return SERVICE_MATCH_NONE;
    return match_type(table, type, route);
}
