/* POST /api/worker/heartbeat; see request_json.h. */

#include <stdio.h>
#include <string.h>

#include "gateway/register_json.h"
#include "gateway/request_json.h"

static void read_status(const struct json_fields *body, Muster__V1__Heartbeat *heartbeat)
{
    static const struct json_word words[] = {
        {"healthy", MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE},
        {"online", MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE},
        {"degraded", MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DEGRADED},
        {"draining", MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DRAINING},
    };
    int status;
    if (json_fields_word(body, "status", words, sizeof words / sizeof words[0], &status))
        heartbeat->status = (Muster__V1__WorkerStatus)status;
}

static void read_services_status(const struct json_fields *body, struct arena *arena, Muster__V1__Load *load)
{
    const struct json_node *object = json_fields_get_typed(body, "services_status", JSON_TYPE_OBJECT);
    if (object == NULL || object->count == 0)
        return;
    if (object->count > REQUEST_ITEMS_MAX) {
        json_fields_refuse(body, "services_status", "must have at most %d members", REQUEST_ITEMS_MAX);
        return;
    }
    load->services_status = arena_take(arena, object->count * sizeof *load->services_status);
    Muster__V1__ServiceState *states = arena_take(arena, object->count * sizeof *states);
    if (load->services_status == NULL || states == NULL)
        return;
    uint32_t position = 0;
    const struct json_node *name;
    const struct json_node *state;
    while ((state = json_next(body->document, object, &position, &name)) != NULL) {
        if (state->type != JSON_TYPE_TEXT || state->text_bytes > REQUEST_TEXT_BYTES_MAX ||
            name->text_bytes > REQUEST_WORKER_ID_BYTES_MAX) {
            char field[80];
            snprintf(field, sizeof field, "services_status.%.*s", (int)(name->text_bytes < 60 ? name->text_bytes : 60),
                     name->text);
            json_fields_refuse(body, field, "must be a string of at most %d bytes", REQUEST_TEXT_BYTES_MAX);
            return;
        }
        Muster__V1__ServiceState *item = &states[load->n_services_status];
        muster__v1__service_state__init(item);
        item->name = arena_copy(arena, name->text, name->text_bytes);
        item->state = arena_copy(arena, state->text, state->text_bytes);
        if (item->name == NULL || item->state == NULL)
            return;
        load->services_status[load->n_services_status++] = item;
    }
}

static void read_text(const struct json_fields *body, const char *name, struct arena *arena, char **into)
{
    char *text = json_fields_text(body, name, REQUEST_TEXT_BYTES_MAX, arena);
    if (text != NULL)
        *into = text;
}

Muster__V1__Load *heartbeat_read_load(const struct json_fields *body, struct arena *arena)
{
    static const char *const names[] = {"current_load",    "available_memory", "gpu_utilization",
                                        "active_requests", "queue_depth",      "loaded_models",
                                        "specialization",  "services_status",  "tasks_completed"};
    bool present = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !present; i++)
        present = json_fields_get(body, names[i]) != NULL;
    Muster__V1__Load *load = present ? arena_take(arena, sizeof *load) : NULL;
    if (load == NULL)
        return NULL;
    muster__v1__load__init(load);
    uint64_t count;
    (void)json_fields_double(body, "current_load", 0, 1e9, &load->current_load);
    read_text(body, "available_memory", arena, &load->available_memory);
    (void)json_fields_double(body, "gpu_utilization", 0, 1e9, &load->gpu_utilization);
    if (json_fields_uint(body, "active_requests", UINT32_MAX, &count))
        load->active_requests = (uint32_t)count;
    if (json_fields_uint(body, "queue_depth", UINT32_MAX, &count))
        load->queue_depth = (uint32_t)count;
    load->loaded_models =
        json_fields_text_list(body, "loaded_models", REQUEST_TEXT_BYTES_MAX, arena, &load->n_loaded_models);
    if (load->n_loaded_models > REQUEST_ITEMS_MAX)
        json_fields_refuse(body, "loaded_models", "must have at most %d items", REQUEST_ITEMS_MAX);
    read_text(body, "specialization", arena, &load->specialization);
    read_services_status(body, arena, load);
    (void)json_fields_uint(body, "tasks_completed", INT64_MAX, &load->tasks_completed);
    return load;
}

static void *make_heartbeat(struct json_fields *fields, struct arena *arena)
{
    Muster__V1__Heartbeat *heartbeat = arena_take(arena, sizeof *heartbeat);
    bool missed;
    if (heartbeat == NULL)
        return NULL;
    muster__v1__heartbeat__init(heartbeat);
    char *id = json_fields_text(fields, "worker_id", REQUEST_WORKER_ID_BYTES_MAX, arena);
    if (id == NULL)
        json_fields_refuse(fields, "worker_id", "is required");
    else
        heartbeat->worker_id = id;
    (void)json_fields_uint(fields, "incarnation", INT64_MAX, &heartbeat->incarnation);
    read_status(fields, heartbeat);
    if (json_fields_bool(fields, "answer_missed", &missed))
        heartbeat->answer_missed = missed;
    heartbeat->load = heartbeat_read_load(fields, arena);
    return heartbeat;
}

enum request_json_result heartbeat_from_json(const char *body, size_t body_bytes, struct arena *arena,
                                             Muster__V1__Heartbeat **heartbeat, struct json_error *error)
{
    void *built = NULL;
    enum request_json_result result =
        request_json_read(body, body_bytes, "the body", arena, make_heartbeat, &built, error);
    if (built != NULL)
        *heartbeat = built;
    return result;
}
