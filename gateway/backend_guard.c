/* The keys on the backend's thread: reads their file, hands them to the fronts together with the roll's secret, and
 * judges what takes knowledge of the roll: whose worker it is that a request speaks for, and what a service is
 * called. guard.h says what the rules are. */

#include <string.h>

#include "common/log.h"
#include "gateway/backend.h"
#include "gateway/balance.h"
#include "gateway/edge.h"
#include "gateway/front.h"

/* How often the key file is looked at. */
#define KEYS_INTERVAL_MS 1000

/* --- What holds --- */

static void publish_keys(struct backend *backend)
{
    struct gateway *gateway = backend->gateway;
    for (unsigned i = 0; i < gateway->front_count; i++)
        front_set_keys(gateway->fronts[i], auth_keys_reference(gateway->keys),
                       backend->has_secret ? backend->secret : NULL);
}

void backend_take_secret(struct backend *backend, const ProtobufCBinaryData *secret)
{
    if (secret->len != AUTH_SECRET_BYTES ||
        (backend->has_secret && memcmp(backend->secret, secret->data, AUTH_SECRET_BYTES) == 0))
        return;
    memcpy(backend->secret, secret->data, AUTH_SECRET_BYTES);
    backend->has_secret = true;
    publish_keys(backend);
}

/* Whether the gateway would become open to everybody, or stop being so: that takes a restart, so that it does not
 * happen by a slip in a file. */
static bool changes_what_it_is(const struct gateway *gateway, const struct auth_keys *keys)
{
    return gateway->closed != (auth_keys_count(keys) + auth_keys_token_key_count(keys) > 0);
}

static void read_keys(struct backend *backend, bool anyway)
{
    struct gateway *gateway = backend->gateway;
    struct auth_keys *keys = key_file_again(&gateway->key_file, anyway);
    if (keys == NULL)
        return;
    if (changes_what_it_is(gateway, keys)) {
        log_error(gateway->closed
                      ? "the key file holds no keys any more; those that were there still hold, until a restart"
                      : "the key file holds its first keys; they hold from a restart on",
                  LOG_TEXT("path", gateway->key_file.path));
        auth_keys_release(keys);
        return;
    }
    auth_keys_release(gateway->keys);
    gateway->keys = keys;
    publish_keys(backend);
}

static void keys_due(struct timer *timer, void *argument)
{
    struct backend *backend = argument;
    read_keys(backend, false);
    rpc_loop_timer_start(backend->loop, timer, KEYS_INTERVAL_MS, keys_due, backend);
}

void backend_reload(void *argument)
{
    struct backend *backend = argument;
    read_keys(backend, true);
    if (backend->edge != NULL)
        edge_places_read(backend);
    if (backend->balance != NULL)
        balance_reload(backend);
}

void backend_guard_start(struct backend *backend)
{
    if (backend->gateway->key_file.path[0] != '\0')
        rpc_loop_timer_start(backend->loop, &backend->keys_timer, KEYS_INTERVAL_MS, keys_due, backend);
}

void backend_guard_stop(struct backend *backend)
{
    rpc_loop_timer_stop(backend->loop, &backend->keys_timer);
}

/* --- Who may speak for a worker --- */

/* The worker that a job is about; NULL: it is about none, or about one that is to be registered. */
static const char *worker_of(const struct job *job)
{
    if ((job->route->flags & API_OWN_WORKER) == 0)
        return NULL;
    return job->route->operation == API_HEARTBEAT ? job->heartbeat->worker_id : job->name;
}

static void refuse(struct job *job, const char *text)
{
    job_fail(job, ERROR_FORBIDDEN, "%s", text);
}

/* A worker's token: for that worker, and for the registration that it was given for. */
static bool admit_own(struct backend *backend, struct job *job, const char *worker_id)
{
    if (strcmp(job->caller->own_worker_id, worker_id) != 0) {
        refuse(job, "this is the token of another worker; each speaks for itself only");
        return false;
    }
    if (job->route->operation == API_HEARTBEAT) {
        if (job->heartbeat->incarnation != 0 && job->heartbeat->incarnation != job->caller->own_incarnation) {
            refuse(job, "this token was given for another incarnation than the heartbeat's; send the latest");
            return false;
        }
        job->heartbeat->incarnation = job->caller->own_incarnation;
        return true; /* stale ones are found where all are */
    }
    const struct replica_worker *worker = replica_find(&backend->replica, worker_id);
    if (worker != NULL && worker->record->incarnation > job->caller->own_incarnation) {
        job_fail(job, ERROR_STALE_INCARNATION, "%s was registered again since this token was given", worker_id);
        return false;
    }
    return true;
}

/* A key: for the workers that were registered with it, and for those that were registered with none. */
static bool admit_key(struct backend *backend, struct job *job, const char *worker_id)
{
    const struct replica_worker *worker = replica_find(&backend->replica, worker_id);
    const char *owner = worker == NULL ? NULL : replica_record_owner(worker->record);
    if (auth_has(job->caller->identity, AUTH_ADMIN) || owner == NULL || strcmp(owner, job->caller->identity->name) == 0)
        return true;
    job_fail(job, ERROR_FORBIDDEN, "%s was registered with another key than %.150s", worker_id,
             job->caller->identity->name);
    return false;
}

/* --- Which services --- */

static const char *name_of_service(const struct backend *backend, const char *name)
{
    const struct replica_service *service = replica_find_service(&backend->replica, name, strlen(name));
    return service == NULL ? name : service->name;
}

static bool admit_call(struct backend *backend, struct job *job)
{
    const char *service = name_of_service(backend, job->name);
    if (auth_may_call(job->caller->identity, service, strlen(service)))
        return true;
    job_fail(job, ERROR_FORBIDDEN, "the key %.150s may not call %.200s", job->caller->identity->name, service);
    return false;
}

/* What the assigner may give a worker that was registered with this key. False: out of memory. */
static bool limit_services(struct backend *backend, struct job *job, Muster__V1__WorkerSpec *spec)
{
    const Muster__V1__WatchCatalogResponse *catalog = backend->replica.catalog;
    size_t count = catalog == NULL ? 0 : catalog->n_services, permitted = 0;
    for (size_t i = 0; i < count; i++)
        permitted +=
            auth_may_offer(job->caller->identity, catalog->services[i]->name, strlen(catalog->services[i]->name));
    if (permitted == count && catalog != NULL)
        return true;
    spec->services_limited = true;
    spec->permitted_services = arena_take(&job->arena, (permitted + 1) * sizeof(char *));
    for (size_t i = 0; spec->permitted_services != NULL && i < count; i++) {
        char *name = catalog->services[i]->name;
        if (auth_may_offer(job->caller->identity, name, strlen(name)))
            spec->permitted_services[spec->n_permitted_services++] = arena_copy(&job->arena, name, strlen(name));
    }
    return !arena_failed(&job->arena);
}

static bool admit_registration(struct backend *backend, struct job *job)
{
    Muster__V1__WorkerSpec *spec = job->registration->spec;
    const struct auth_identity *identity = job->caller->identity;
    if (!auth_may_register(identity, spec->worker_id, strlen(spec->worker_id))) {
        job_fail(job, ERROR_FORBIDDEN, "the key %.150s may not register a worker called \"%.200s\"", identity->name,
                 spec->worker_id);
        return false;
    }
    for (size_t i = 0; i < spec->n_services; i++) {
        const char *service = name_of_service(backend, spec->services[i]->name);
        if (auth_may_offer(identity, service, strlen(service)))
            continue;
        job_fail(job, ERROR_FORBIDDEN, "a worker with the key %.150s may not offer %.200s", identity->name, service);
        return false;
    }
    spec->registered_by = arena_copy(&job->arena, identity->name, strlen(identity->name));
    if (spec->registered_by != NULL && limit_services(backend, job, spec))
        return true;
    job_fail(job, ERROR_INTERNAL, "out of memory");
    return false;
}

/* --- All of it --- */

bool backend_admits(struct backend *backend, struct job *job)
{
    const char *worker_id = worker_of(job);
    if (job->caller == NULL)
        return true; /* the route is for everybody */
    if (job->caller->identity == NULL && worker_id == NULL) {
        refuse(job, "a worker's token does not do here"); /* the front has seen to that */
        return false;
    }
    if (job->caller->identity == NULL)
        return admit_own(backend, job, worker_id);
    if ((job->route->flags & API_ONE_SERVICE) != 0)
        return admit_call(backend, job);
    if (job->route->operation == API_REGISTER)
        return admit_registration(backend, job);
    return worker_id == NULL || admit_key(backend, job, worker_id);
}
