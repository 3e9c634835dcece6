/* Whom a request at an edge router is forwarded to. See edge.h, and pool.h for the order. */

#include "gateway/edge.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "gateway/front.h"
#include "gateway/proxy.h"

static const struct pool_wish closest = {.rules = POOL_CLOSEST, .location = ""};

/* A worker that nobody was known to hold a moment ago is not looked for again. */
#define LOOKED_LATELY_MS 1000

static void take_choices(struct job *job, const struct federation_choice *choices, size_t count, bool repeatable)
{
    struct job_choices *into = arena_take(&job->arena, sizeof *into);
    if (into != NULL)
        into->repeatable = repeatable;
    for (size_t i = 0; into != NULL && i < count; i++) {
        into->list[i].coordinator_id =
            arena_copy(&job->arena, choices[i].coordinator_id, strlen(choices[i].coordinator_id));
        into->list[i].url = arena_copy(&job->arena, choices[i].url, strlen(choices[i].url));
        into->count++;
    }
    if (arena_failed(&job->arena)) {
        job_fail(job, ERROR_INTERNAL, "out of memory");
        return;
    }
    job->choices = into;
    job_done(job);
}

static bool is_repeatable(const struct backend *backend, const char *name)
{
    const struct replica_service *service =
        name == NULL ? NULL : replica_find_service(&backend->replica, name, strlen(name));
    return service != NULL && service->catalog != NULL && service->catalog->repeatable;
}

static void choose(struct backend *backend, struct job *job, const struct pool_wish *wish, const char *service)
{
    struct edge *edge = backend->edge;
    struct federation_choice choices[FEDERATION_CHOICES_MAX];
    size_t count = federation_choose(&edge->federation, &edge->roll, wish, service, choices);
    if (count == 0)
        job_fail(job, ERROR_NO_COORDINATORS,
                 backend->proxy != NULL ? "no coordinator can be reached; try again, or see --coordinator-url"
                                        : "no coordinator is alive; start one with musterctl up --join, or try again");
    else
        take_choices(job, choices, count, is_repeatable(backend, service));
}

/* --- About one worker --- */

/* A coordinator is known here itself, but only who has a key may speak for it: a worker's token, which is judged by
 * the coordinator that it is forwarded to, says nothing here. */
static void (*own_runner(enum api_operation operation))(struct backend *, struct job *)
{
    switch (operation) {
    case API_HEARTBEAT:
        return backend_run_heartbeat;
    case API_UNREGISTER:
        return backend_run_edge_unregister;
    case API_DRAIN:
        return backend_run_drain;
    case API_UNDRAIN:
        return backend_run_undrain;
    case API_EXPLAIN:
        return backend_run_explain;
    case API_HISTORY:
        return backend_run_history;
    default:
        return NULL;
    }
}

static void choose_holder(struct backend *backend, struct job *job, const char *worker_id)
{
    struct edge *edge = backend->edge;
    void (*run)(struct backend *, struct job *) = backend->proxy == NULL ? own_runner(job->route->operation) : NULL;
    bool may_speak = !backend->gateway->closed || job->caller != NULL;
    if (may_speak && run != NULL && replica_find(&edge->roll, worker_id) != NULL) {
        run(backend, job);
        return;
    }
    const struct federation_region *region = federation_holder(&edge->federation, worker_id);
    const struct replica_worker *coordinator = region == NULL ? NULL : replica_find(&edge->roll, region->id);
    if (coordinator != NULL && region->url != NULL) {
        const struct federation_choice choice = {region->id, region->url};
        take_choices(job, &choice, 1, false);
    } else if (backend->proxy != NULL) {
        choose(backend, job, &closest, NULL); /* lists for clients do not show those that are not well */
    } else if (edge_pool_size(backend) == 0) {
        job_fail(job, ERROR_NO_COORDINATORS,
                 "no coordinator is alive; start one with musterctl up --join, or try again");
    } else if (!job->waited && edge->calls != NULL &&
               rpc_loop_now_ms(backend->loop) - edge->read_all_at_ms > LOOKED_LATELY_MS) {
        edge_wait_for_regions(backend, job); /* and comes back here */
    } else {
        job_fail(job, ERROR_UNKNOWN_WORKER, "no coordinator holds a worker %s; register again", worker_id);
    }
}

/* --- All of them --- */

static void choose_for_registration(struct backend *backend, struct job *job)
{
    Muster__V1__WorkerSpec *spec = job->registration->spec;
    if (spec->worker_type == MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE && !job->is_worker && backend->proxy == NULL) {
        edge_register(backend, job, spec, NULL);
        return;
    }
    struct pool_wish wish = {.rules = POOL_CLOSEST, .location = spec->location};
    struct geoip_answer answer;
    edge_place_worker(backend, job, &answer, &wish);
    choose(backend, job, &wish, NULL);
}

static void choose_for_history(struct backend *backend, struct job *job)
{
    char worker_id[REQUEST_WORKER_ID_BYTES_MAX + 1];
    if (http_query_get(job->query, "worker", worker_id, sizeof worker_id) <= 0)
        job_fail(job, ERROR_INVALID_FIELD, "field worker is required in the query");
    else
        choose_holder(backend, job, worker_id);
}

void backend_run_choose(struct backend *backend, struct job *job)
{
    static const struct pool_wish offers = {.rules = POOL_OFFERS, .location = ""};
    switch (job->route->operation) {
    case API_REGISTER:
        choose_for_registration(backend, job);
        break;
    case API_HEARTBEAT:
        choose_holder(backend, job, job->heartbeat->worker_id);
        break;
    case API_UNREGISTER:
    case API_DRAIN:
    case API_UNDRAIN:
    case API_EXPLAIN:
        choose_holder(backend, job, job->name);
        break;
    case API_HISTORY:
        choose_for_history(backend, job);
        break;
    case API_RELAY_SERVICE:
    case API_RELAY_RAW:
    case API_FIND:
        choose(backend, job, &offers, job->name);
        break;
    default:
        choose(backend, job, &closest, NULL);
        break;
    }
}

/* --- What became of it --- */

bool edge_changes_roll(enum api_operation operation)
{
    return operation == API_REGISTER || operation == API_UNREGISTER || operation == API_DRAIN ||
           operation == API_UNDRAIN || operation == API_IMPORT;
}

static void note_change(struct backend *backend, const struct edge_attempt *attempt, struct federation_region *region)
{
    struct edge *edge = backend->edge;
    if (attempt->operation == API_REGISTER && attempt->name != NULL)
        (void)federation_hold(&edge->federation, attempt->name, region, clock_unix_ms()); /* else its list says so */
    if (attempt->operation == API_UNREGISTER && attempt->name != NULL)
        federation_release(&edge->federation, attempt->name);
}

void edge_attempt_ended(void *message)
{
    struct edge_attempt *attempt = message;
    struct backend *backend = attempt->backend;
    struct edge *edge = backend->edge;
    struct federation_region *region =
        edge == NULL ? NULL : federation_find(&edge->federation, attempt->coordinator_id);
    uint64_t now_ms = rpc_loop_now_ms(backend->loop);
    if (region != NULL && attempt->failed && pool_failed(&region->standing, now_ms)) {
        log_warning("a coordinator failed a request; it is out of the pool until it can be read again",
                    LOG_TEXT("coordinator", region->id));
        backend->replica.version++;
        edge_tell_fronts_gone(backend, region->id);
        edge_read_region(backend, region);
    }
    if (region != NULL && attempt->answered) {
        if (!region->standing.out)
            (void)pool_answered(&region->standing, 0, now_ms); /* it is in the pool, and stays in */
    }
    if (region != NULL && attempt->changed)
        note_change(backend, attempt, region);
    if (region != NULL && attempt->changed && backend->proxy != NULL)
        edge_read_region(backend, region); /* requests go by its list */
    if (edge != NULL)
        backend_publish(backend);
    free(attempt);
}
