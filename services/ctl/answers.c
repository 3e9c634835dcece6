/* How the answers of a coordinator look as text; see view.h. */

#include "services/ctl/view.h"

#include "services/ctl/table.h"

#include <stdio.h>
#include <string.h>

/* A member as text, whatever its type; "" when it is not there or null. */
static const char *text_of(const json_t *object, const char *key, char *scratch, size_t scratch_bytes)
{
    const json_t *value = json_object_get(object, key);
    switch (value != NULL ? json_typeof(value) : JSON_NULL) {
    case JSON_STRING:
        return json_string_value(value);
    case JSON_INTEGER:
        (void)snprintf(scratch, scratch_bytes, "%lld", (long long)json_integer_value(value));
        return scratch;
    case JSON_REAL:
        (void)snprintf(scratch, scratch_bytes, "%.2f", json_real_value(value));
        return scratch;
    case JSON_TRUE:
        return "yes";
    case JSON_FALSE:
        return "no";
    case JSON_OBJECT:
    case JSON_ARRAY:
    case JSON_NULL:
    default:
        return "";
    }
}

static void set_member(struct table *table, const json_t *object, const char *key)
{
    char scratch[64];
    table_set(table, "%s", text_of(object, key, scratch, sizeof(scratch)));
}

/* Adds the names in a list to `out`, separated by commas, leaving out those that are there
 * already. An item is a name, or an object with one. */
static void append_names(struct buffer *out, const json_t *list)
{
    size_t index;
    const json_t *item;
    json_array_foreach(list, index, item)
    {
        const char *name =
            json_is_object(item) ? json_string_value(json_object_get(item, "name")) : json_string_value(item);
        if (name == NULL)
            continue;
        if (out->bytes > 0)
            buffer_append_char(out, ',');
        buffer_append_text(out, name);
    }
}

static bool is_listed(const json_t *list, const char *name)
{
    size_t index;
    const json_t *item;
    json_array_foreach(list, index, item)
    {
        const char *listed = json_string_value(item);
        if (listed != NULL && strcmp(listed, name) == 0)
            return true;
    }
    return false;
}

/* What a worker runs: what it was assigned, then what it announced besides. */
static void set_services(struct table *table, const json_t *worker)
{
    struct buffer names = BUFFER_INIT;
    const json_t *assigned = json_object_get(worker, "assigned_services");
    append_names(&names, assigned);
    size_t index;
    const json_t *service;
    json_array_foreach(json_object_get(worker, "services"), index, service)
    {
        const char *name =
            json_is_object(service) ? json_string_value(json_object_get(service, "name")) : json_string_value(service);
        if (name == NULL || is_listed(assigned, name))
            continue;
        if (names.bytes > 0)
            buffer_append_char(&names, ',');
        buffer_append_text(&names, name);
    }
    table_set(table, "%s", names.data != NULL ? names.data : "");
    if (buffer_failed(&names))
        table->failed = true;
    buffer_free(&names);
}

static bool finish(struct table *table, struct buffer *out)
{
    bool rendered = table_render(table, out);
    table_free(table);
    return rendered;
}

bool render_workers(const json_t *answer, struct buffer *out)
{
    struct table table = {0};
    table_add_column(&table, "worker", TABLE_LEFT);
    table_add_column(&table, "type", TABLE_LEFT);
    table_add_column(&table, "status", TABLE_LEFT);
    table_add_column(&table, "location", TABLE_LEFT);
    table_add_column(&table, "load", TABLE_RIGHT);
    table_add_column(&table, "active", TABLE_RIGHT);
    table_add_column(&table, "age s", TABLE_RIGHT);
    table_add_column(&table, "services", TABLE_LEFT);
    table_add_column(&table, "url", TABLE_LEFT);
    size_t index;
    const json_t *worker;
    json_array_foreach(json_object_get(answer, "workers"), index, worker)
    {
        table_add_row(&table);
        set_member(&table, worker, "worker_id");
        set_member(&table, worker, "worker_type");
        set_member(&table, worker, "status");
        set_member(&table, worker, "location");
        set_member(&table, worker, "current_load");
        set_member(&table, worker, "active_requests");
        set_member(&table, worker, "age_seconds");
        set_services(&table, worker);
        set_member(&table, worker, "tunnel_url");
    }
    return finish(&table, out);
}

bool render_services(const json_t *answer, struct buffer *out)
{
    struct table table = {0};
    table_add_column(&table, "service", TABLE_LEFT);
    table_add_column(&table, "count", TABLE_RIGHT);
    table_add_column(&table, "workers", TABLE_LEFT);
    size_t index;
    const json_t *service;
    json_array_foreach(json_object_get(answer, "services"), index, service)
    {
        struct buffer names = BUFFER_INIT;
        append_names(&names, json_object_get(service, "workers"));
        table_add_row(&table);
        set_member(&table, service, "name");
        set_member(&table, service, "worker_count");
        table_set(&table, "%s", names.data != NULL ? names.data : "");
        if (buffer_failed(&names))
            table.failed = true;
        buffer_free(&names);
    }
    return finish(&table, out);
}

bool render_gaps(const json_t *answer, struct buffer *out)
{
    struct table table = {0};
    table_add_column(&table, "service", TABLE_LEFT);
    table_add_column(&table, "status", TABLE_LEFT);
    table_add_column(&table, "workers", TABLE_RIGHT);
    table_add_column(&table, "requires", TABLE_LEFT);
    table_add_column(&table, "priority", TABLE_RIGHT);
    table_add_column(&table, "port", TABLE_RIGHT);
    size_t index;
    const json_t *gap;
    json_array_foreach(json_object_get(answer, "gaps"), index, gap)
    {
        table_add_row(&table);
        set_member(&table, gap, "service");
        set_member(&table, gap, "status");
        set_member(&table, gap, "current_workers");
        set_member(&table, gap, "required_type");
        set_member(&table, gap, "priority");
        set_member(&table, gap, "port");
    }
    return finish(&table, out);
}

bool gaps_are_bad_news(const json_t *answer)
{
    return json_array_size(json_object_get(answer, "critical_gaps")) > 0;
}

/* Adds a row for each plain member; those of an object inside come as outer.inner. */
static void add_members(struct table *table, const json_t *object, const char *prefix)
{
    const char *key;
    json_t *value;
    /* jansson's iteration takes no const. */
    json_object_foreach((json_t *)object, key, value)
    {
        char name[256];
        (void)snprintf(name, sizeof(name), "%s%s%s", prefix, *prefix != '\0' ? "." : "", key);
        if (json_is_object(value) && *prefix == '\0') {
            add_members(table, value, name);
            continue;
        }
        table_add_row(table);
        table_set(table, "%s", name);
        if (json_is_array(value)) {
            struct buffer names = BUFFER_INIT;
            append_names(&names, value);
            table_set(table, "%s", names.data != NULL ? names.data : "");
            buffer_free(&names);
        } else {
            set_member(table, object, key);
        }
    }
}

bool render_health(const json_t *answer, struct buffer *out)
{
    struct table table = {0};
    table_add_column(&table, "what", TABLE_LEFT);
    table_add_column(&table, "value", TABLE_LEFT);
    add_members(&table, answer, "");
    return finish(&table, out);
}

bool health_is_bad_news(const json_t *answer)
{
    const char *status = json_string_value(json_object_get(answer, "status"));
    return status == NULL || strcmp(status, "healthy") != 0;
}

bool render_route(const json_t *answer, struct buffer *out)
{
    struct table table = {0};
    table_add_column(&table, "", TABLE_LEFT);
    table_add_column(&table, "worker", TABLE_LEFT);
    table_add_column(&table, "status", TABLE_LEFT);
    table_add_column(&table, "score", TABLE_RIGHT);
    table_add_column(&table, "url", TABLE_LEFT);
    table_add_column(&table, "why", TABLE_LEFT);
    size_t index;
    const json_t *candidate;
    json_array_foreach(json_object_get(answer, "candidates"), index, candidate)
    {
        bool selected = json_is_true(json_object_get(candidate, "selected"));
        bool eligible = json_is_true(json_object_get(candidate, "eligible"));
        table_add_row(&table);
        table_set(&table, "%s", selected ? "->" : eligible ? "" : "x");
        set_member(&table, candidate, "worker_id");
        set_member(&table, candidate, "status");
        set_member(&table, candidate, "score");
        set_member(&table, candidate, "url");
        set_member(&table, candidate, "reason");
    }
    return finish(&table, out);
}

bool route_is_bad_news(const json_t *answer)
{
    size_t index;
    const json_t *candidate;
    json_array_foreach(json_object_get(answer, "candidates"), index, candidate)
    {
        if (json_is_true(json_object_get(candidate, "eligible")))
            return false;
    }
    return true;
}

bool render_processes(const json_t *answer, struct buffer *out)
{
    struct table table = {0};
    table_add_column(&table, "process", TABLE_LEFT);
    table_add_column(&table, "pid", TABLE_RIGHT);
    table_add_column(&table, "state", TABLE_LEFT);
    table_add_column(&table, "restarts", TABLE_RIGHT);
    table_add_column(&table, "address", TABLE_LEFT);
    size_t index;
    const json_t *process;
    json_array_foreach(json_object_get(answer, "processes"), index, process)
    {
        table_add_row(&table);
        set_member(&table, process, "name");
        set_member(&table, process, "pid");
        set_member(&table, process, "state");
        set_member(&table, process, "restarts");
        set_member(&table, process, "address");
    }
    return finish(&table, out);
}
