/* A worker of a backup; see request_json.h. */

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "gateway/register_json.h"
#include "gateway/request_json.h"

static void read_registered_at(const struct json_fields *fields, int64_t *registered_at_ms)
{
    char text[64];
    const struct json_node *node = json_fields_get_typed(fields, "registered_at", JSON_TYPE_TEXT);
    if (node == NULL)
        return;
    size_t bytes = node->text_bytes < sizeof text ? node->text_bytes : sizeof text - 1;
    memcpy(text, node->text, bytes);
    text[bytes] = '\0';
    /* The coordinator that this one replaces writes its times without an offset. */
    if (!clock_parse_unix_ms(text, false, registered_at_ms))
        json_fields_refuse(fields, "registered_at", "must be a time like 2026-01-05T10:30:00.125Z");
}

/* A list of workers has no member `draining`, but says it as the status. */
static bool read_draining(const struct json_fields *fields)
{
    bool draining = false;
    const struct json_node *status = json_fields_get_typed(fields, "status", JSON_TYPE_TEXT);
    if (!json_fields_bool(fields, "draining", &draining) && status != NULL)
        draining = json_text_equals(status, "draining");
    return draining;
}

void import_read_worker(const struct json_fields *fields, struct arena *arena, Muster__V1__Worker *worker)
{
    register_read_spec(fields, arena, worker->spec);
    if (worker->spec->worker_id[0] == '\0')
        json_fields_refuse(fields, "worker_id", "is required");
    worker->type = worker->spec->worker_type;
    worker->assigned_services = register_read_names(fields, "assigned_services", REQUEST_SERVICES_MAX, arena,
                                                    &worker->n_assigned_services);
    (void)json_fields_uint(fields, "incarnation", REQUEST_INCARNATION_MAX, &worker->incarnation);
    read_registered_at(fields, &worker->registered_at_ms);
    worker->draining = read_draining(fields);
}

static void *make_worker(struct json_fields *fields, struct arena *arena)
{
    Muster__V1__Worker *worker = arena_take(arena, sizeof *worker);
    Muster__V1__WorkerSpec *spec = arena_take(arena, sizeof *spec);
    if (worker == NULL || spec == NULL)
        return NULL;
    muster__v1__worker__init(worker);
    muster__v1__worker_spec__init(spec);
    worker->spec = spec;
    import_read_worker(fields, arena, worker);
    return worker;
}

enum request_json_result import_worker_from_json(const char *text, size_t bytes, struct arena *arena,
                                                 Muster__V1__Worker **worker, struct json_error *error)
{
    void *built = NULL;
    enum request_json_result result = request_json_read(text, bytes, "the worker", arena, make_worker, &built, error);
    if (built != NULL)
        *worker = built;
    return result;
}
