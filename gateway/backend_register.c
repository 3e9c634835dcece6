/* Registrations: those that arrive while others are on their way to the registry go there
 * together, in one call, and so usually onto its disk in one commit. */

#include "gateway/backend.h"

#include <stdlib.h>
#include <string.h>

#include "common/json/write.h"
#include "gateway/front.h"
#include "gateway/join.h"
#include "gateway/worker_json.h"

/* So many calls may be on their way: while the registry writes one to disk it reads the next. */
#define CALLS_MAX 2
/* Of one call. The registry takes 1,000 in 8 MiB; one of 4 MiB goes alone. */
#define CALL_WORKERS_MAX 256
#define CALL_BYTES_MAX (2 * 1024 * 1024)
/* Asked of workers before health said how often it wants them. */
#define UNHEARD_HEARTBEAT_INTERVAL_SECONDS 30

/* A call to the registry and the jobs that it carries. */
struct register_call {
    struct backend *backend;
    size_t count;
    struct job *jobs[CALL_WORKERS_MAX];
};

static void write_aliases(struct json_writer *writer, char *const *aliases, size_t count)
{
    json_write_key(writer, "aliases");
    json_write_array_begin(writer);
    for (size_t i = 0; i < count; i++)
        json_write_text(writer, aliases[i]);
    json_write_array_end(writer);
}

static const Muster__V1__ServiceConfig *find_config(const Muster__V1__RegisterWorkersResponse *response,
                                                    const char *name)
{
    for (size_t i = 0; i < response->n_service_configs; i++)
        if (strcmp(response->service_configs[i]->name, name) == 0)
            return response->service_configs[i];
    return NULL;
}

/* Those of the services that this worker is assigned, in that order. */
static void write_service_configs(struct json_writer *writer, const Muster__V1__Worker *worker,
                                  const Muster__V1__RegisterWorkersResponse *response)
{
    json_write_key(writer, "service_configs");
    json_write_array_begin(writer);
    for (size_t i = 0; i < worker->n_assigned_services; i++) {
        const Muster__V1__ServiceConfig *config = find_config(response, worker->assigned_services[i]);
        if (config == NULL)
            continue;
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

/* Agents in the field take no others than whole ones. */
uint64_t backend_heartbeat_interval_seconds(const struct backend *backend)
{
    if (backend->heartbeat_interval_ms == 0)
        return UNHEARD_HEARTBEAT_INTERVAL_SECONDS;
    return backend->heartbeat_interval_ms < 1000 ? 1 : backend->heartbeat_interval_ms / 1000;
}

static void write_registered(struct job *job, const struct backend *backend,
                             const Muster__V1__RegisterWorkersResult *result,
                             const Muster__V1__RegisterWorkersResponse *response)
{
    const Muster__V1__Worker *worker = result->worker;
    const struct gateway *gateway = backend->gateway;
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
    write_service_configs(writer, worker, response);
    write_service_aliases(writer, backend->replica.catalog);
    json_write_key(writer, "heartbeat_interval");
    json_write_uint(writer, backend_heartbeat_interval_seconds(backend));
    if (!gateway->heartbeat_stream_is_local || job->client_is_local) {
        json_write_key(writer, "heartbeat_stream");
        json_write_text(writer, gateway->settings.heartbeat_stream);
    }
    json_write_key(writer, "incarnation");
    json_write_uint(writer, worker->incarnation);
    if (result->worker_token[0] != '\0')
        json_write_named_text(writer, "worker_token", result->worker_token);
    if (backend->join != NULL)
        join_write(backend, writer);
    json_write_key(writer, "message");
    struct buffer message = BUFFER_INIT;
    buffer_append_format(&message, "Worker registered with %zu service(s)", worker->n_assigned_services);
    json_write_text(writer, message.data);
    buffer_free(&message);
    json_write_object_end(writer);
}

static void finish(struct job *job, const Muster__V1__RegisterWorkersResult *result,
                   const Muster__V1__RegisterWorkersResponse *response)
{
    struct backend *backend = job->front->gateway->backend;
    if (result->status != RPC_OK) {
        backend_refuse(job, (enum rpc_status)result->status, result->text);
        return;
    }
    Muster__V1__WorkerSpec *spec = job->registration->spec;
    if (result->worker != NULL) {
        spec->worker_id = result->worker_id;
        result->worker->spec = spec;
    }
    if (backend_take_record(job, result->worker)) {
        backend->registrations++;
        write_registered(job, backend, result, response);
        job_done_with_body(job);
    }
    if (result->worker != NULL)
        result->worker->spec = NULL; /* it is the job's, not the message's */
}

static void registered(struct rpc_call *rpc_call, enum rpc_status status, const char *text, const void *message,
                       void *argument)
{
    struct register_call *call = argument;
    struct backend *backend = call->backend;
    const Muster__V1__RegisterWorkersResponse *response = message;
    (void)rpc_call;
    for (size_t i = 0; status == RPC_OK && i < response->n_results; i++) {
        const Muster__V1__RegisterWorkersResult *result = response->results[i];
        struct job *job = result->index < call->count ? call->jobs[result->index] : NULL;
        if (job == NULL)
            continue;
        call->jobs[result->index] = NULL;
        finish(job, result, response);
    }
    for (size_t i = 0; i < call->count; i++) {
        if (call->jobs[i] == NULL)
            continue;
        if (status == RPC_OK)
            job_fail(call->jobs[i], ERROR_INTERNAL, "the registry answered without a record");
        else
            backend_refuse(call->jobs[i], status, text);
    }
    free(call);
    backend->registration_calls--;
    if (backend->first_registration != NULL)
        rpc_loop_at_end_of_turn(backend->loop, &backend->registration_hook);
}

static struct job *take_waiting(struct backend *backend)
{
    struct job *job = backend->first_registration;
    backend->first_registration = job->next;
    if (job->next == NULL)
        backend->registrations_end = &backend->first_registration;
    return job;
}

static void send_call(struct backend *backend)
{
    Muster__V1__RegisterWorkersRequest request = MUSTER__V1__REGISTER_WORKERS_REQUEST__INIT;
    Muster__V1__WorkerSpec *specs[CALL_WORKERS_MAX];
    struct register_call *call = malloc(sizeof *call);
    if (call == NULL) {
        job_fail(take_waiting(backend), ERROR_INTERNAL, "out of memory");
        return;
    }
    call->backend = backend;
    call->count = 0;
    size_t bytes = 0;
    while (backend->first_registration != NULL && call->count < CALL_WORKERS_MAX) {
        Muster__V1__WorkerSpec *spec = backend->first_registration->registration->spec;
        bytes += muster__v1__worker_spec__get_packed_size(spec);
        if (call->count > 0 && bytes > CALL_BYTES_MAX)
            break;
        specs[call->count] = spec;
        call->jobs[call->count++] = take_waiting(backend);
    }
    request.specs = specs;
    request.n_specs = call->count;
    request.without_tokens = !backend->gateway->closed;
    backend->registration_calls++;
    (void)rpc_channel_call(backend->channels[PART_REGISTRY], &muster__v1__registry_service__descriptor,
                           "RegisterWorkers", &request.base,
                           &(struct rpc_call_options){.timeout_ms = BACKEND_REGISTRY_TIMEOUT_MS}, registered, call);
}

static void turn_ended(void *argument)
{
    struct backend *backend = argument;
    while (backend->first_registration != NULL && backend->registration_calls < CALLS_MAX)
        send_call(backend);
}

void backend_run_register(struct backend *backend, struct job *job)
{
    if (backend->channels[PART_REGISTRY] == NULL) {
        backend_refuse_stopping(job);
        return;
    }
    job->next = NULL;
    *backend->registrations_end = job;
    backend->registrations_end = &job->next;
    rpc_loop_at_end_of_turn(backend->loop, &backend->registration_hook);
}

void backend_registrations_start(struct backend *backend)
{
    backend->registrations_end = &backend->first_registration;
    backend->registration_hook = (struct rpc_turn_hook){.function = turn_ended, .argument = backend};
}

void backend_registrations_stop(struct backend *backend)
{
    rpc_loop_cancel_end_of_turn(backend->loop, &backend->registration_hook);
    while (backend->first_registration != NULL)
        backend_refuse_stopping(take_waiting(backend));
}
