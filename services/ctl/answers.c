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

/* Adds the names in a list to `out`, separated by commas, leaving out those that `known`
 * lists. An item is a name, or an object with one. */
static void append_names(struct buffer *out, const json_t *list, const json_t *known)
{
    size_t index;
    const json_t *item;
    json_array_foreach(list, index, item)
    {
        const char *name =
            json_is_object(item) ? json_string_value(json_object_get(item, "name")) : json_string_value(item);
        if (name == NULL || is_listed(known, name))
            continue;
        if (out->bytes > 0)
            buffer_append_char(out, ',');
        buffer_append_text(out, name);
    }
}

/* The cell becomes the names of two lists, each once; NULL: an empty list. */
static void set_names(struct table *table, const json_t *first, const json_t *second)
{
    struct buffer names = BUFFER_INIT;
    append_names(&names, first, NULL);
    append_names(&names, second, first);
    table_set(table, "%s", names.data != NULL ? names.data : "");
    if (buffer_failed(&names))
        table->failed = true;
    buffer_free(&names);
}

/* --- Tables with a row for each object of a list --- */

struct column {
    const char *title;
    enum table_alignment alignment;
    const char *member;                                     /* shown as it is, or */
    void (*set)(struct table *table, const json_t *object); /* sets the cell */
};

static bool render_list(const json_t *list, const struct column *columns, size_t count, struct buffer *out)
{
    struct table table = {0};
    for (size_t i = 0; i < count; i++)
        table_add_column(&table, columns[i].title, columns[i].alignment);
    size_t index;
    const json_t *object;
    json_array_foreach(list, index, object)
    {
        table_add_row(&table);
        for (size_t i = 0; i < count; i++) {
            if (columns[i].set != NULL)
                columns[i].set(&table, object);
            else
                set_member(&table, object, columns[i].member);
        }
    }
    bool rendered = table_render(&table, out);
    table_free(&table);
    return rendered;
}

#define RENDER_LIST(list, columns, out) render_list(list, columns, sizeof(columns) / sizeof((columns)[0]), out)

/* What a worker runs: what it was assigned, then what it announced besides. */
static void set_services(struct table *table, const json_t *worker)
{
    set_names(table, json_object_get(worker, "assigned_services"), json_object_get(worker, "services"));
}

bool render_workers(const json_t *answer, struct buffer *out)
{
    static const struct column columns[] = {
        {"worker", TABLE_LEFT, "worker_id", NULL},   {"type", TABLE_LEFT, "worker_type", NULL},
        {"status", TABLE_LEFT, "status", NULL},      {"location", TABLE_LEFT, "location", NULL},
        {"load", TABLE_RIGHT, "current_load", NULL}, {"active", TABLE_RIGHT, "active_requests", NULL},
        {"age s", TABLE_RIGHT, "age_seconds", NULL}, {"services", TABLE_LEFT, NULL, set_services},
        {"url", TABLE_LEFT, "tunnel_url", NULL},
    };
    return RENDER_LIST(json_object_get(answer, "workers"), columns, out);
}

static void set_workers(struct table *table, const json_t *service)
{
    set_names(table, json_object_get(service, "workers"), NULL);
}

/* Of objects with a worker_id. */
static void set_worker_ids(struct table *table, const json_t *value)
{
    struct buffer ids = BUFFER_INIT;
    size_t index;
    const json_t *worker;
    json_array_foreach(json_object_get(value, "workers"), index, worker)
    {
        const char *id = json_string_value(json_object_get(worker, "worker_id"));
        buffer_append_text(&ids, ids.bytes > 0 ? "," : "");
        buffer_append_text(&ids, id != NULL ? id : "");
    }
    table_set(table, "%s", ids.data != NULL ? ids.data : "");
    if (buffer_failed(&ids))
        table->failed = true;
    buffer_free(&ids);
}

bool render_services(const json_t *answer, struct buffer *out)
{
    static const struct column columns[] = {
        {"service", TABLE_LEFT, "name", NULL},
        {"count", TABLE_RIGHT, "worker_count", NULL},
        {"workers", TABLE_LEFT, NULL, set_workers},
    };
    return RENDER_LIST(json_object_get(answer, "services"), columns, out);
}

bool render_dht(const json_t *answer, struct buffer *out)
{
    static const struct column columns[] = {
        {"node", TABLE_LEFT, "id", NULL},
        {"url", TABLE_LEFT, "url", NULL},
        {"grpc", TABLE_LEFT, "grpc_address", NULL},
        {"shared bits", TABLE_RIGHT, "shared_bits", NULL},
        {"last heard", TABLE_LEFT, "last_heard", NULL},
        {"failures", TABLE_RIGHT, "failures", NULL},
    };
    return RENDER_LIST(json_object_get(answer, "nodes"), columns, out);
}

bool render_lookup(const json_t *answer, struct buffer *out)
{
    static const struct column columns[] = {
        {"coordinator", TABLE_LEFT, "coordinator_id", NULL},
        {"url", TABLE_LEFT, "coordinator_url", NULL},
        {"place", TABLE_LEFT, "location", NULL},
        {"workers", TABLE_LEFT, NULL, set_worker_ids},
        {"as of", TABLE_LEFT, "as_of", NULL},
    };
    bool rendered = RENDER_LIST(json_object_get(answer, "values"), columns, out);
    size_t unanswered = json_array_size(json_object_get(answer, "unanswered"));
    if (unanswered > 0)
        buffer_append_format(out, "%zu of the nodes that were asked did not answer.\n", unanswered);
    return rendered && !buffer_failed(out);
}

bool lookup_is_bad_news(const json_t *answer)
{
    return json_array_size(json_object_get(answer, "values")) == 0;
}

bool render_gaps(const json_t *answer, struct buffer *out)
{
    static const struct column columns[] = {
        {"service", TABLE_LEFT, "service", NULL},          {"status", TABLE_LEFT, "status", NULL},
        {"workers", TABLE_RIGHT, "current_workers", NULL}, {"requires", TABLE_LEFT, "required_type", NULL},
        {"priority", TABLE_RIGHT, "priority", NULL},       {"port", TABLE_RIGHT, "port", NULL},
    };
    return RENDER_LIST(json_object_get(answer, "gaps"), columns, out);
}

bool render_assignment(const json_t *answer, struct buffer *out)
{
    static const struct column columns[] = {
        {"service", TABLE_LEFT, "service", NULL},           {"now", TABLE_LEFT, "assigned_now", NULL},
        {"decided", TABLE_LEFT, "would_be_assigned", NULL}, {"verdict", TABLE_LEFT, "verdict", NULL},
        {"others", TABLE_RIGHT, "other_workers", NULL},     {"why", TABLE_LEFT, "reason", NULL},
    };
    char scratch[64];
    buffer_append_format(out, "%s: ", text_of(answer, "worker_id", scratch, sizeof(scratch)));
    buffer_append_format(out, "%s\n", text_of(answer, "reason", scratch, sizeof(scratch)));
    buffer_append_format(out, "How many: %s\n",
                         text_of(json_object_get(answer, "share"), "reason", scratch, sizeof(scratch)));
    const json_t *swap = json_object_get(answer, "swap");
    if (swap != NULL) {
        buffer_append_format(out, "Changing: it takes %s", text_of(swap, "to", scratch, sizeof(scratch)));
        buffer_append_format(out, ", and drops %s when that runs\n", text_of(swap, "from", scratch, sizeof(scratch)));
    }
    buffer_append_char(out, '\n');
    return RENDER_LIST(json_object_get(answer, "services"), columns, out);
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
        if (json_is_array(value))
            set_names(table, value, NULL);
        else
            set_member(table, object, key);
    }
}

bool render_health(const json_t *answer, struct buffer *out)
{
    struct table table = {0};
    table_add_column(&table, "what", TABLE_LEFT);
    table_add_column(&table, "value", TABLE_LEFT);
    add_members(&table, answer, "");
    bool rendered = table_render(&table, out);
    table_free(&table);
    return rendered;
}

bool health_is_bad_news(const json_t *answer)
{
    const char *status = json_string_value(json_object_get(answer, "status"));
    return status == NULL || strcmp(status, "healthy") != 0;
}

static void set_choice(struct table *table, const json_t *candidate)
{
    bool selected = json_is_true(json_object_get(candidate, "selected"));
    bool eligible = json_is_true(json_object_get(candidate, "eligible"));
    table_set(table, "%s", selected ? "->" : eligible ? "" : "x");
}

bool render_route(const json_t *answer, struct buffer *out)
{
    static const struct column columns[] = {
        {"", TABLE_LEFT, NULL, set_choice},     {"worker", TABLE_LEFT, "worker_id", NULL},
        {"status", TABLE_LEFT, "status", NULL}, {"score", TABLE_RIGHT, "score", NULL},
        {"url", TABLE_LEFT, "url", NULL},       {"why", TABLE_LEFT, "reason", NULL},
    };
    return RENDER_LIST(json_object_get(answer, "candidates"), columns, out);
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
    static const struct column columns[] = {
        {"process", TABLE_LEFT, "name", NULL},    {"pid", TABLE_RIGHT, "pid", NULL},
        {"state", TABLE_LEFT, "state", NULL},     {"restarts", TABLE_RIGHT, "restarts", NULL},
        {"address", TABLE_LEFT, "address", NULL},
    };
    return RENDER_LIST(json_object_get(answer, "processes"), columns, out);
}
