/* Jobs that change the roll: through the registry, and into the replica before they are
 * answered. Registrations are in backend_register.c. */

#include "common/json/write.h"
#include "gateway/backend.h"
#include "gateway/front.h"

void backend_refuse_stopping(struct job *job)
{
    job_fail(job, ERROR_PART_UNAVAILABLE, "the gateway is stopping; try another one");
}

void backend_call_registry(struct backend *backend, const char *method, const ProtobufCMessage *request, rpc_done done,
                           struct job *job)
{
    if (backend->channels[PART_REGISTRY] == NULL) {
        backend_refuse_stopping(job);
        return;
    }
    (void)rpc_channel_call(backend->channels[PART_REGISTRY], &muster__v1__registry_service__descriptor, method, request,
                           &(struct rpc_call_options){.timeout_ms = BACKEND_REGISTRY_TIMEOUT_MS}, done, job);
}

/* Whether a worker asks with its own token. */
static bool speaks_for_itself(const struct job *job)
{
    return job->caller != NULL && job->caller->identity == NULL;
}

void backend_refuse(struct job *job, enum rpc_status status, const char *text)
{
    enum error_id error = error_of_status(status);
    if (error == ERROR_PART_UNAVAILABLE)
        job_fail(job, error, "the registry cannot be reached or is not ready (%s); try again in a moment", text);
    else if (error == ERROR_UNKNOWN_WORKER)
        job_fail(job, error, "no worker %s is registered", job->name);
    else if (status == RPC_FAILED_PRECONDITION && speaks_for_itself(job))
        job_fail(job, ERROR_STALE_INCARNATION, "%s was registered again since this token was given", job->name);
    else
        job_fail(job, error, "%s", text);
}

bool backend_take_record(struct job *job, const Muster__V1__Worker *worker)
{
    struct backend *backend = job->front->gateway->backend;
    if (worker == NULL || worker->spec == NULL) {
        job_fail(job, ERROR_INTERNAL, "the registry answered without a record");
        return false;
    }
    backend->roll->now_ms = rpc_loop_now_ms(backend->loop);
    /* Without memory the record comes with the watch, a moment later. */
    (void)replica_put(backend->roll, worker);
    backend_publish(backend);
    return true;
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
        backend_refuse(job, status, text);
        return;
    }
    /* As above; with the reason that the watch gives, which comes when nobody listens any more. */
    (void)replica_remove(backend->roll, job->name, answer->revision, "unregistered");
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
    request.incarnation = speaks_for_itself(job) ? job->caller->own_incarnation : 0;
    backend_call_registry(backend, "UnregisterWorker", &request.base, unregistered, job);
}

/* --- Drain --- */

static void draining_set(struct rpc_call *call, enum rpc_status status, const char *text, const void *response,
                         void *argument)
{
    struct job *job = argument;
    const Muster__V1__SetDrainingResponse *answer = response;
    (void)call;
    if (status != RPC_OK) {
        backend_refuse(job, status, text);
        return;
    }
    if (!backend_take_record(job, answer->worker))
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
    backend_call_registry(backend, "SetDraining", &request.base, draining_set, job);
}

void backend_run_drain(struct backend *backend, struct job *job)
{
    set_draining(backend, job, true);
}

void backend_run_undrain(struct backend *backend, struct job *job)
{
    set_draining(backend, job, false);
}
