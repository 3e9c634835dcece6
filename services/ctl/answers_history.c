/* How the answers of `musterctl history` and `musterctl query` look as text; see view.h. */

#include "services/ctl/view.h"

#include "services/ctl/table.h"

#include <string.h>

/* The bucket of that time; the lists are in order, so *next only goes ahead. */
static const json_t *bucket_at(const json_t *list, const char *time, size_t *next)
{
    const json_t *bucket = json_array_get(list, *next);
    const char *its_time = json_string_value(json_object_get(bucket, "time"));
    if (its_time == NULL || strcmp(its_time, time) != 0)
        return NULL;
    (*next)++;
    return bucket;
}

static void set_number(struct table *table, const json_t *bucket, const char *key, int decimals)
{
    const json_t *value = json_object_get(bucket, key);
    if (json_is_number(value))
        table_set(table, "%.*f", json_is_integer(value) ? 0 : decimals, json_number_value(value));
    else
        table_set(table, "%s", "");
}

bool render_history(const json_t *answer, struct buffer *out)
{
    static const struct {
        const char *title, *metric, *key;
    } columns[] = {
        {"load", "load", "mean"},
        {"max", "load", "max"},
        {"active", "active_requests", "mean"},
        {"requests", "requests", "sum"},
        {"failures", "failures", "sum"},
        {"latency ms", "latency_ms", "mean"},
        {"tasks", "tasks_completed", "sum"},
        {"heartbeats", "heartbeats", "sum"},
    };
    enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };
    size_t next[COLUMNS] = {0};
    struct table table = {0};
    const json_t *metrics = json_object_get(answer, "metrics");
    table_add_column(&table, "time", TABLE_LEFT);
    table_add_column(&table, "state", TABLE_LEFT);
    table_add_column(&table, "worst", TABLE_LEFT);
    for (size_t i = 0; i < COLUMNS; i++)
        table_add_column(&table, columns[i].title, TABLE_RIGHT);
    size_t index;
    const json_t *state;
    json_array_foreach(json_object_get(metrics, "state"), index, state) /* every bucket has one */
    {
        const char *time = json_string_value(json_object_get(state, "time"));
        const char *last = json_string_value(json_object_get(state, "last"));
        const char *worst = json_string_value(json_object_get(state, "worst"));
        table_add_row(&table);
        table_set(&table, "%s", time != NULL ? time : "");
        table_set(&table, "%s", last != NULL ? last : "");
        table_set(&table, "%s", worst != NULL ? worst : "");
        for (size_t i = 0; i < COLUMNS; i++)
            set_number(&table,
                       bucket_at(json_object_get(metrics, columns[i].metric), time != NULL ? time : "", &next[i]),
                       columns[i].key, 2);
    }
    bool rendered = table_render(&table, out);
    table_free(&table);
    return rendered;
}

static void set_value(struct table *table, const json_t *value)
{
    if (json_is_string(value))
        table_set(table, "%s", json_string_value(value));
    else if (json_is_integer(value))
        table_set(table, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        table_set(table, "%g", json_real_value(value));
    else
        table_set(table, "%s", "");
}

bool render_query(const json_t *answer, struct buffer *out)
{
    struct table table = {0};
    const json_t *rows = json_object_get(answer, "rows");
    size_t index, column;
    const json_t *name, *row, *value;
    json_array_foreach(json_object_get(answer, "columns"), index, name)
    {
        /* Numbers stand below each other by their ends. */
        bool is_number = json_is_number(json_array_get(json_array_get(rows, 0), index));
        if (index < TABLE_COLUMNS)
            table_add_column(&table, json_string_value(name), is_number ? TABLE_RIGHT : TABLE_LEFT);
    }
    json_array_foreach(rows, index, row)
    {
        table_add_row(&table);
        json_array_foreach(row, column, value)
        {
            if (column < TABLE_COLUMNS)
                set_value(&table, value);
        }
    }
    bool rendered = table_render(&table, out);
    table_free(&table);
    if (json_is_true(json_object_get(answer, "truncated")))
        buffer_append_text(out, "There are more rows; add LIMIT, or ask for less.\n");
    return rendered && !buffer_failed(out);
}
