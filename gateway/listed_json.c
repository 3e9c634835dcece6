/* A worker as another coordinator lists it; see request_json.h. */

#include <string.h>

#include "common/clock.h"
#include "gateway/register_json.h"
#include "gateway/request_json.h"

static void read_status(const struct json_fields *fields, struct listed_worker *listed)
{
    static const struct json_word words[] = {
        {"online", MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE},
        {"degraded", MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DEGRADED},
        {"draining", MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DRAINING},
        {"offline", MUSTER__V1__WORKER_STATUS__WORKER_STATUS_OFFLINE},
        {"reconnecting", MUSTER__V1__WORKER_STATUS__WORKER_STATUS_RECONNECTING},
        {"unknown", MUSTER__V1__WORKER_STATUS__WORKER_STATUS_OFFLINE}, /* of a later version: not to be relied on */
    };
    int status;
    if (json_fields_word(fields, "status", words, sizeof words / sizeof words[0], &status))
        listed->health->status = (Muster__V1__WorkerStatus)status;
    else /* a coordinator of another make that lists healthy ones only */
        listed->health->status = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE;
    char *reason = json_fields_text(fields, "status_reason", REQUEST_TEXT_BYTES_MAX, listed->arena);
    if (reason != NULL)
        listed->health->reason = reason;
}

/* A time that cannot be read is none: the worker is there all the same. */
static int64_t read_time(const struct json_fields *fields, const char *name)
{
    char text[64];
    int64_t unix_ms = 0;
    const struct json_node *node = json_fields_get(fields, name);
    if (node == NULL || node->type != JSON_TYPE_TEXT || node->text_bytes >= sizeof text)
        return 0;
    memcpy(text, node->text, node->text_bytes);
    text[node->text_bytes] = '\0';
    return clock_parse_unix_ms(text, false, &unix_ms) ? unix_ms : 0;
}

static void *make_listed(struct json_fields *fields, struct arena *arena)
{
    struct listed_worker *listed = arena_take(arena, sizeof *listed);
    Muster__V1__Worker *worker = arena_take(arena, sizeof *worker);
    Muster__V1__WorkerSpec *spec = arena_take(arena, sizeof *spec);
    Muster__V1__WorkerHealth *health = arena_take(arena, sizeof *health);
    if (listed == NULL || worker == NULL || spec == NULL || health == NULL)
        return NULL;
    muster__v1__worker__init(worker);
    muster__v1__worker_spec__init(spec);
    muster__v1__worker_health__init(health);
    worker->spec = spec;
    *listed = (struct listed_worker){.record = worker, .health = health, .arena = arena};
    import_read_worker(fields, arena, worker);
    if (worker->incarnation == 0)
        worker->incarnation = 1;
    health->worker_id = spec->worker_id;
    health->incarnation = worker->incarnation;
    read_status(fields, listed);
    health->last_heartbeat_at_ms = read_time(fields, "last_heartbeat");
    health->status_changed_at_ms = read_time(fields, "status_changed_at");
    double age_seconds = 0;
    if (json_fields_double(fields, "age_seconds", 0, 1e12, &age_seconds))
        health->silent_ms = (uint64_t)(age_seconds * 1000);
    health->load = heartbeat_read_load(fields, arena);
    return listed;
}

enum request_json_result listed_worker_from_json(const char *text, size_t bytes, struct arena *arena,
                                                 struct listed_worker **worker, struct json_error *error)
{
    void *built = NULL;
    enum request_json_result result = request_json_read(text, bytes, "the worker", arena, make_listed, &built, error);
    if (built != NULL)
        *worker = built;
    return result;
}
