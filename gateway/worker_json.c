/* See worker_json.h. */

#include "gateway/worker_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *worker_type_word(Muster__V1__WorkerType type)
{
    switch (type) {
    case MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU:
        return "gpu";
    case MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU:
        return "cpu";
    case MUSTER__V1__WORKER_TYPE__WORKER_TYPE_STORAGE:
        return "storage";
    case MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE:
        return "edge";
    case MUSTER__V1__WORKER_TYPE__WORKER_TYPE_UNSPECIFIED:
        return "auto";
    default:
        return "unknown";
    }
}

const char *worker_status_word(Muster__V1__WorkerStatus status)
{
    switch (status) {
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE:
        return "online";
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DEGRADED:
        return "degraded";
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DRAINING:
        return "draining";
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_OFFLINE:
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_REMOVED:
        return "offline";
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_RECONNECTING:
        return "reconnecting";
    default:
        return "unknown";
    }
}

static void write_time(struct json_writer *writer, const char *key, int64_t unix_ms)
{
    json_write_key(writer, key);
    json_write_time(writer, unix_ms);
}

static void write_texts(struct json_writer *writer, const char *key, char *const *texts, size_t count)
{
    json_write_key(writer, key);
    json_write_array_begin(writer);
    for (size_t i = 0; i < count; i++)
        json_write_text(writer, texts[i]);
    json_write_array_end(writer);
}

void worker_json_write_capabilities(struct json_writer *writer, const Muster__V1__Capabilities *capabilities)
{
    if (capabilities != NULL && capabilities->json[0] != '\0') {
        json_write_raw(writer, capabilities->json, strlen(capabilities->json));
        return;
    }
    json_write_object_begin(writer);
    if (capabilities != NULL) {
        json_write_named_bool(writer, "has_gpu", capabilities->has_gpu);
        if (capabilities->gpu_type[0] != '\0')
            json_write_named_text(writer, "gpu_type", capabilities->gpu_type);
        if (capabilities->gpu_memory[0] != '\0')
            json_write_named_text(writer, "gpu_memory", capabilities->gpu_memory);
        json_write_named_uint(writer, "cpu_cores", capabilities->cpu_cores);
        if (capabilities->ram[0] != '\0')
            json_write_named_text(writer, "ram", capabilities->ram);
        json_write_named_bool(writer, "has_storage", capabilities->has_storage);
        json_write_named_bool(writer, "has_edge", capabilities->has_edge);
        json_write_named_bool(writer, "has_public_ip", capabilities->has_public_ip);
        json_write_named_double(writer, "latency_ms", capabilities->latency_ms);
    }
    json_write_object_end(writer);
}

static void write_services(struct json_writer *writer, const Muster__V1__WorkerSpec *spec)
{
    json_write_key(writer, "services");
    json_write_array_begin(writer);
    for (size_t i = 0; i < spec->n_services; i++) {
        const Muster__V1__AnnouncedService *service = spec->services[i];
        json_write_object_begin(writer);
        json_write_named_text(writer, "name", service->name);
        if (service->url[0] != '\0')
            json_write_named_text(writer, "url", service->url);
        write_texts(writer, "capabilities", service->capabilities, service->n_capabilities);
        json_write_object_end(writer);
    }
    json_write_array_end(writer);
}

/* Members that only a registration changes, but for the names of old clients. */
static void write_registered(struct json_writer *writer, const Muster__V1__Worker *record)
{
    const Muster__V1__WorkerSpec *spec = record->spec;
    json_write_named_text(writer, "worker_id", spec->worker_id);
    json_write_named_text(writer, "tunnel_url", spec->tunnel_url);
    json_write_named_text(writer, "worker_type", worker_type_word(record->type));
    json_write_named_text(writer, "location", spec->location);
    json_write_key(writer, "capabilities");
    worker_json_write_capabilities(writer, spec->capabilities);
    write_services(writer, spec);
    write_texts(writer, "assigned_services", record->assigned_services, record->n_assigned_services);
    json_write_key(writer, "containers");
    if (spec->containers_json[0] != '\0')
        json_write_raw(writer, spec->containers_json, strlen(spec->containers_json));
    else
        json_write_raw(writer, "[]", 2);
    write_time(writer, "registered_at", record->registered_at_ms);
    json_write_named_uint(writer, "incarnation", record->incarnation);
}

/* The same for a list, without the braces around them. */
static void render_fixed(struct json_writer *writer, const struct replica_worker *worker)
{
    Muster__V1__Worker *record = replica_record_unpack(worker->record);
    if (record == NULL) {
        writer->out->failed = true;
        return;
    }
    write_registered(writer, record);
    json_write_named_text(writer, "service_url", record->spec->tunnel_url);
    json_write_named_uint(writer, "tier", (uint64_t)record->type);
    if (worker->coordinator != NULL)
        json_write_named_text(writer, "coordinator", worker->coordinator);
    muster__v1__worker__free_unpacked(record, NULL);
}

void worker_json_write_export(struct json_writer *writer, const Muster__V1__Worker *record)
{
    json_write_object_begin(writer);
    write_registered(writer, record);
    json_write_named_text(writer, "status", worker_status_word(record->status));
    json_write_named_bool(writer, "draining", record->draining);
    json_write_object_end(writer);
}

/* How far the draining of a worker is. What it works on is told by itself; when it has been told to drain, and says so
 * with nothing to work on, nothing more comes. */
static void write_draining(struct json_writer *writer, const struct replica_worker *worker,
                           const Muster__V1__Load *load)
{
    Muster__V1__WorkerStatus said = worker->health_incarnation == worker->record->incarnation
                                        ? worker->health_status
                                        : MUSTER__V1__WORKER_STATUS__WORKER_STATUS_UNSPECIFIED;
    bool told = said == MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DRAINING;
    bool away = said == MUSTER__V1__WORKER_STATUS__WORKER_STATUS_OFFLINE;
    unsigned requests = load->active_requests + load->queue_depth;
    char reason[128];
    if (away)
        snprintf(reason, sizeof(reason), "drained by an operator; it is not heard any more");
    else if (told && requests == 0)
        snprintf(reason, sizeof(reason), "drained by an operator; no request runs any more, it may leave");
    else
        snprintf(reason, sizeof(reason), "drained by an operator; requests that run%s: %u",
                 told ? "" : ", as it said before it knew", requests);
    json_write_named_text(writer, "status_reason", reason);
    json_write_named_bool(writer, "may_leave", away || (told && requests == 0));
}

/* Members that heartbeats and the failure detector change. */
static void render_varying(struct json_writer *writer, const struct replica_worker *worker)
{
    static const Muster__V1__Load nothing = MUSTER__V1__LOAD__INIT;
    Muster__V1__Load *kept =
        worker->load == NULL ? NULL : muster__v1__load__unpack(NULL, worker->load_bytes, worker->load);
    if (worker->load != NULL && kept == NULL)
        writer->out->failed = true; /* out of memory: it was packed here */
    const Muster__V1__Load *load = kept != NULL ? kept : &nothing;
    json_write_named_text(writer, "status", worker_status_word(replica_status(worker)));
    if (worker->record->draining)
        write_draining(writer, worker, load);
    else if (replica_status_reason(worker)[0] != '\0')
        json_write_named_text(writer, "status_reason", replica_status_reason(worker));
    if (replica_status_changed_at_ms(worker) > 0)
        write_time(writer, "status_changed_at", replica_status_changed_at_ms(worker));
    write_time(writer, "last_heartbeat", replica_last_heard_ms(worker));
    json_write_named_double(writer, "current_load", load->current_load);
    json_write_named_text(writer, "available_memory", load->available_memory);
    json_write_named_double(writer, "gpu_utilization", load->gpu_utilization);
    json_write_named_uint(writer, "active_requests", load->active_requests);
    json_write_named_uint(writer, "queue_depth", load->queue_depth);
    write_texts(writer, "loaded_models", load->loaded_models, load->n_loaded_models);
    json_write_named_text(writer, "specialization", load->specialization);
    json_write_key(writer, "services_status");
    json_write_object_begin(writer);
    for (size_t i = 0; i < load->n_services_status; i++) {
        json_write_key_text(writer, load->services_status[i]->name);
        json_write_text(writer, load->services_status[i]->state);
    }
    json_write_object_end(writer);
    json_write_named_uint(writer, "tasks_completed", load->tasks_completed);
    muster__v1__load__free_unpacked(kept, NULL);
}

/* Both from what is kept, made anew where it is empty. */
static void write_kept(struct json_writer *writer, struct replica_worker *worker)
{
    struct replica_json *json = worker->json;
    if (json->fixed.bytes == 0) {
        struct json_writer inner = json_writer_into(&json->fixed);
        render_fixed(&inner, worker);
    }
    if (json->varying.bytes == 0) {
        struct json_writer inner = {&json->varying, true};
        render_varying(&inner, worker);
    }
    /* A piece that failed for lack of memory must not give half an object: the list fails. */
    if (buffer_failed(&json->fixed) || buffer_failed(&json->varying)) {
        buffer_clear(&json->fixed);
        buffer_clear(&json->varying);
        writer->out->failed = true;
        return;
    }
    buffer_append(writer->out, json->fixed.data, json->fixed.bytes);
    buffer_append(writer->out, json->varying.data, json->varying.bytes);
    writer->comma = true;
}

/* All but the end of the object. */
static void begin_worker(struct json_writer *writer, const struct replica *replica, struct replica_worker *worker)
{
    json_write_object_begin(writer);
    if (replica->worker_count > REPLICA_JSON_WORKERS_MAX)
        replica_forget_json(worker);
    else if (worker->json == NULL)
        worker->json = calloc(1, sizeof *worker->json);
    if (worker->json != NULL) {
        write_kept(writer, worker);
        return;
    }
    render_fixed(writer, worker);
    render_varying(writer, worker);
}

void worker_json_write(struct json_writer *writer, const struct replica *replica, struct replica_worker *worker)
{
    begin_worker(writer, replica, worker);
    json_write_object_end(writer);
}

void worker_json_write_admin(struct json_writer *writer, const struct replica *replica, struct replica_worker *worker,
                             uint64_t age_ms)
{
    begin_worker(writer, replica, worker);
    json_write_named_double(writer, "age_seconds", (double)age_ms / 1000.0);
    json_write_named_bool(writer, "is_healthy", replica_is_healthy(worker));
    const char *owner = replica_record_owner(worker->record);
    if (owner != NULL)
        json_write_named_text(writer, "registered_by", owner);
    json_write_object_end(writer);
}
