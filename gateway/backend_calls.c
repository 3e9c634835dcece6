/* Jobs that change the roll: through the registry, and into the replica before they are
 * answered. */

#include "common/json/write.h"
#include "gateway/backend.h"
#include "gateway/front.h"
#include "gateway/worker_json.h"

/* The registry waits 5 s for the assigner; a little more, so that its reason comes through. */
#define REGISTRY_TIMEOUT_MS 10000
/* Asked of workers before health said how often it wants them. */
#define UNHEARD_HEARTBEAT_INTERVAL_SECONDS 30

static void call_registry(struct backend *backend, const char *method, const ProtobufCMessage *request, rpc_done done,
                          struct job *job)
{
    if (backend->channels[PART_REGISTRY] == NULL) {
        job_fail(job, ERROR_PART_UNAVAILABLE, "the gateway is stopping; try another one");
        return;
    }
    (void)rpc_channel_call(backend->channels[PART_REGISTRY], &muster__v1__registry_service__descriptor, method, request,
                           &(struct rpc_call_options){.timeout_ms = REGISTRY_TIMEOUT_MS}, done, job);
}

/* Answers a call to the registry that failed. */
static void refuse(struct job *job, enum rpc_status status, const char *text)
{
    enum error_id error = error_of_status(status);
    if (error == ERROR_PART_UNAVAILABLE)
        job_fail(job, error, "the registry cannot be reached or is not ready (%s); try again in a moment", text);
    else if (error == ERROR_UNKNOWN_WORKER)
        job_fail(job, error, "no worker %s is registered", job->name);
    else
        job_fail(job, error, "%s", text);
}

/* Shows a record that the registry answered to those who read from here next. False: it
 * answered none, and the job has failed. */
static bool take_record(struct job *job, const Muster__V1__Worker *worker)
{
    struct backend *backend = job->front->gateway->backend;
    if (worker == NULL || worker->spec == NULL) {
        job_fail(job, ERROR_INTERNAL, "the registry answered without a record");
        return false;
    }
    /* Without memory the record comes with the watch, a moment later. */
    (void)replica_put(&backend->replica, worker);
    backend_publish(backend);
    return true;
}

/* --- Register --- */

static void write_aliases(struct json_writer *writer, char *const *aliases, size_t count)
{
    json_write_key(writer, "aliases");
    json_write_array_begin(writer);
    for (size_t i = 0; i < count; i++)
        json_write_text(writer, aliases[i]);
    json_write_array_end(writer);
}

static void write_service_configs(struct json_writer *writer, const Muster__V1__RegisterWorkerResponse *response)
{
    json_write_key(writer, "service_configs");
    json_write_array_begin(writer);
    for (size_t i = 0; i < response->n_service_configs; i++) {
        const Muster__V1__ServiceConfig *config = response->service_configs[i];
        json_write_object_begin(writer);
        json_write_key(writer, "name");
        json_write_text(writer, config->name);
        json_write_key(writer, "port");
        json_write_uint(writer, config->port);
        json_write_key(writer, "priority");
        json_write_uint(writer, config->priority);
        write_aliases(writer, config->aliases, config->n_aliases);
        json_write_key(writer, "path");
        json_write_text(writer, config->path[0] != '\0' ? config->path : PICK_DEFAULT_PATH);
        json_write_object_end(writer);
    }
    json_write_array_end(writer);
}

/* All aliases of the catalog: a worker may be called directly, under any name of a service
 * that it announces or is assigned later. */
static void write_service_aliases(struct json_writer *writer, const Muster__V1__WatchCatalogResponse *catalog)
{
    json_write_key(writer, "service_aliases");
    json_write_array_begin(writer);
    for (size_t i = 0; catalog != NULL && i < catalog->n_services; i++) {
        const Muster__V1__CatalogService *service = catalog->services[i];
        if (service->n_aliases == 0)
            continue;
        json_write_object_begin(writer);
        json_write_key(writer, "name");
        json_write_text(writer, service->name);
        write_aliases(writer, service->aliases, service->n_aliases);
        json_write_object_end(writer);
    }
    json_write_array_end(writer);
}

/* Whole seconds: agents in the field take no others. */
static uint64_t heartbeat_interval_seconds(const struct backend *backend)
{
    if (backend->heartbeat_interval_ms == 0)
        return UNHEARD_HEARTBEAT_INTERVAL_SECONDS;
    return backend->heartbeat_interval_ms < 1000 ? 1 : backend->heartbeat_interval_ms / 1000;
}

static void write_registered(struct job *job, const struct backend *backend,
                             const Muster__V1__RegisterWorkerResponse *response)
{
    const struct gateway *gateway = backend->gateway;
    const Muster__V1__Worker *worker = response->worker;
    struct json_writer inner = json_writer_into(&job->body);
    struct json_writer *writer = &inner;
    json_write_object_begin(writer);
    json_write_key(writer, "status");
    json_write_text(writer, "registered");
    json_write_key(writer, "worker_id");
    json_write_text(writer, worker->spec->worker_id);
    json_write_key(writer, "worker_type");
    json_write_text(writer, worker_type_word(worker->type));
    json_write_key(writer, "tier");
    json_write_uint(writer, (uint64_t)worker->type);
    json_write_key(writer, "assigned_services");
    json_write_array_begin(writer);
    for (size_t i = 0; i < worker->n_assigned_services; i++)
        json_write_text(writer, worker->assigned_services[i]);
    json_write_array_end(writer);
    write_service_configs(writer, response);
    write_service_aliases(writer, backend->replica.catalog);
    json_write_key(writer, "heartbeat_interval");
    json_write_uint(writer, heartbeat_interval_seconds(backend));
    if (!gateway->heartbeat_stream_is_local || job->client_is_local) {
        json_write_key(writer, "heartbeat_stream");
        json_write_text(writer, gateway->settings.heartbeat_stream);
    }
    json_write_key(writer, "incarnation");
    json_write_uint(writer, worker->incarnation);
    json_write_key(writer, "message");
    struct buffer message = BUFFER_INIT;
    buffer_append_format(&message, "Worker registered with %zu service(s)", worker->n_assigned_services);
    json_write_text(writer, message.data);
    buffer_free(&message);
    json_write_object_end(writer);
}

static void registered(struct rpc_call *call, enum rpc_status status, const char *text, const void *response,
                       void *argument)
{
    struct job *job = argument;
    struct backend *backend = job->front->gateway->backend;
    const Muster__V1__RegisterWorkerResponse *answer = response;
    (void)call;
    if (status != RPC_OK) {
        refuse(job, status, text);
        return;
    }
    if (!take_record(job, answer->worker))
        return;
    backend->registrations++;
    write_registered(job, backend, answer);
    job_done_with_body(job);
}

void backend_run_register(struct backend *backend, struct job *job)
{
    call_registry(backend, "RegisterWorker", &job->registration->base, registered, job);
}

/* --- Unregister --- */

static void unregistered(struct rpc_call *call, enum rpc_status status, const char *text, const void *response,
                         void *argument)
{
    struct job *job = argument;
    struct backend *backend = job->front->gateway->backend;
    const Muster__V1__UnregisterWorkerResponse *answer = response;
    (void)call;
    if (status != RPC_OK) {
        refuse(job, status, text);
        return;
    }
    /* As above; with the reason that the watch gives, which comes when nobody listens any more. */
    (void)replica_remove(&backend->replica, job->name, answer->revision, "unregistered");
    backend_publish(backend);
    backend->unregistrations++;
    job->status = 200;
    job->constant_body = "{\"status\":\"ok\",\"message\":\"Worker unregistered\"}";
    job_done(job);
}

void backend_run_unregister(struct backend *backend, struct job *job)
{
    Muster__V1__UnregisterWorkerRequest request = MUSTER__V1__UNREGISTER_WORKER_REQUEST__INIT;
    request.worker_id = job->name;
    call_registry(backend, "UnregisterWorker", &request.base, unregistered, job);
}

/* --- Drain --- */

static void draining_set(struct rpc_call *call, enum rpc_status status, const char *text, const void *response,
                         void *argument)
{
    struct job *job = argument;
    const Muster__V1__SetDrainingResponse *answer = response;
    (void)call;
    if (status != RPC_OK) {
        refuse(job, status, text);
        return;
    }
    if (!take_record(job, answer->worker))
        return;
    struct json_writer writer = json_writer_into(&job->body);
    json_write_object_begin(&writer);
    json_write_key(&writer, "status");
    json_write_text(&writer, "ok");
    json_write_key(&writer, "worker_id");
    json_write_text(&writer, answer->worker->spec->worker_id);
    json_write_key(&writer, "draining");
    json_write_bool(&writer, answer->worker->draining);
    json_write_object_end(&writer);
    job_done_with_body(job);
}

static void set_draining(struct backend *backend, struct job *job, bool draining)
{
    Muster__V1__SetDrainingRequest request = MUSTER__V1__SET_DRAINING_REQUEST__INIT;
    request.worker_id = job->name;
    request.draining = draining;
    call_registry(backend, "SetDraining", &request.base, draining_set, job);
}

void backend_run_drain(struct backend *backend, struct job *job)
{
    set_draining(backend, job, true);
}

void backend_run_undrain(struct backend *backend, struct job *job)
{
    set_draining(backend, job, false);
}
