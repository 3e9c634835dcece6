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
    if (!clock_parse_unix_ms(text, registered_at_ms))
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

static void read_worker(const struct json_fields *fields, struct arena *arena, Muster__V1__Worker *worker)
{
    register_read_spec(fields, arena, worker->spec);
    if (worker->spec->worker_id[0] == '\0')
        json_fields_refuse(fields, "worker_id", "is required");
    worker->type = worker->spec->worker_type;
    worker->assigned_services = json_fields_text_list(fields, "assigned_services", REQUEST_WORKER_ID_BYTES_MAX, arena,
                                                      &worker->n_assigned_services);
    if (worker->n_assigned_services > REQUEST_SERVICES_MAX)
        json_fields_refuse(fields, "assigned_services", "must have at most %d items", REQUEST_SERVICES_MAX);
    (void)json_fields_uint(fields, "incarnation", INT64_MAX, &worker->incarnation);
    read_registered_at(fields, &worker->registered_at_ms);
    worker->draining = read_draining(fields);
}

enum request_json_result import_worker_from_json(const char *text, size_t bytes, struct arena *arena,
                                                 Muster__V1__Worker **worker, struct json_error *error)
{
    struct json_document document;
    enum request_json_result result = REQUEST_JSON_MALFORMED;
    if (!json_document_parse(&document, text, bytes)) {
        snprintf(error->message, sizeof error->message, "the worker is not JSON: %s", document.error);
        goto done;
    }
    result = REQUEST_JSON_NO_MEMORY;
    Muster__V1__Worker *built = arena_take(arena, sizeof *built);
    Muster__V1__WorkerSpec *spec = arena_take(arena, sizeof *spec);
    if (built == NULL || spec == NULL)
        goto done;
    muster__v1__worker__init(built);
    muster__v1__worker_spec__init(spec);
    built->spec = spec;
    *worker = built;
    struct json_fields fields = json_fields_of(&document, json_root(&document), "", error);
    read_worker(&fields, arena, built);
    if (!arena_failed(arena))
        result = json_error_set(error) ? REQUEST_JSON_INVALID : REQUEST_JSON_OK;
done:
    if (result == REQUEST_JSON_NO_MEMORY)
        snprintf(error->message, sizeof error->message, "out of memory");
    json_document_free(&document);
    return result;
}
