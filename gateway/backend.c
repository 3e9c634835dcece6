/* The backend's life, and how jobs come and go; see backend.h. */

#include "gateway/backend.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/random.h"
#include "common/http_calls.h"
#include "gateway/balance.h"
#include "gateway/edge.h"
#include "gateway/front.h"
#include "gateway/join.h"
#include "gateway/proxy.h"

/* How often a stop looks whether the last jobs are back. */
#define STOP_POLL_MS 5
/* After the fronts have drained, all that can still be under way are calls that were just
 * cancelled. */
#define STOP_LIMIT_MS 2000

const char *backend_part_name(enum backend_part part)
{
    static const char *const names[PART_COUNT] = {
        [PART_REGISTRY] = "registry",
        [PART_ASSIGNER] = "assigner",
        [PART_HEALTH] = "health",
        [PART_ROUTER] = "router",
    };
    return names[part];
}

void backend_publish(struct backend *backend)
{
    backend_events_publish(backend);
    atomic_store_explicit(&backend->gateway->replica_version, backend->replica.version, memory_order_release);
}

/* --- Jobs --- */

void backend_run_jobs(void *first_job)
{
    struct job *job = first_job;
    while (job != NULL) {
        struct job *following = job->next;
        struct backend *backend = job->front->gateway->backend;
        if (!backend->gateway->closed || backend_admits(backend, job))
            job->run(backend, job);
        job = following;
    }
}

void job_done(struct job *job)
{
    loop_post(job->front->loop, &job->back);
}

void job_fail(struct job *job, enum error_id error, const char *format, ...)
{
    const struct error_kind *kind = error_kind(error);
    char message[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    buffer_clear(&job->body);
    error_render(kind->code, message, &job->body);
    job->status = kind->status;
    job->retry_after_seconds = kind->retry_after_seconds;
    job_done(job);
}

void job_done_with_body(struct job *job)
{
    if (buffer_failed(&job->body)) {
        job_fail(job, ERROR_INTERNAL, "out of memory");
        return;
    }
    job->status = 200;
    job_done(job);
}

/* --- Outcomes --- */

static void report_outcomes(struct backend *backend);

static void outcomes_reported(struct rpc_call *call, enum rpc_status status, const char *text, const void *response,
                              void *argument)
{
    struct backend *backend = argument;
    (void)call;
    (void)response;
    backend->reporting_outcomes--;
    if (status != RPC_OK) /* router and history judge by what they hear; what is lost is only older */
        log_debug("outcomes not reported", LOG_TEXT("status", rpc_status_name(status)), LOG_TEXT("reason", text));
    if (status == RPC_OK)
        report_outcomes(backend);
}

static void report(struct backend *backend, enum backend_part part, const ProtobufCServiceDescriptor *service,
                   const char *method, const ProtobufCMessage *request)
{
    if (backend->channels[part] == NULL)
        return;
    backend->reporting_outcomes++;
    (void)rpc_channel_call(backend->channels[part], service, method, request,
                           &(struct rpc_call_options){.timeout_ms = 2000}, outcomes_reported, backend);
}

/* To the router, which picks by them, and to health, which keeps them as history. */
static void report_outcomes(struct backend *backend)
{
    Muster__V1__ReportOutcomesRequest request = MUSTER__V1__REPORT_OUTCOMES_REQUEST__INIT;
    Muster__V1__RecordOutcomesRequest record = MUSTER__V1__RECORD_OUTCOMES_REQUEST__INIT;
    if (backend->reporting_outcomes > 0 || outcomes_empty(&backend->outcomes))
        return;
    request.outcomes = outcomes_list(&backend->outcomes, &request.n_outcomes);
    if (request.outcomes == NULL)
        return;
    record.outcomes = request.outcomes;
    record.n_outcomes = request.n_outcomes;
    if (backend->proxy != NULL)
        proxy_report_outcomes(backend, &request);
    report(backend, PART_ROUTER, &muster__v1__router_service__descriptor, "ReportOutcomes", &request.base);
    report(backend, PART_HEALTH, &muster__v1__health_service__descriptor, "RecordOutcomes", &record.base);
    free(request.outcomes);
    outcomes_free(&backend->outcomes);
}

void backend_take_outcomes(void *message)
{
    struct backend_outcomes *outcomes = message;
    outcomes_merge(&outcomes->backend->outcomes, &outcomes->outcomes);
    report_outcomes(outcomes->backend);
    free(outcomes);
}

/* --- Life --- */

static void create_channels(struct backend *backend)
{
    const struct gateway_settings *settings = &backend->gateway->settings;
    const char *addresses[PART_COUNT] = {
        [PART_REGISTRY] = settings->registry_address,
        [PART_ASSIGNER] = settings->assigner_address,
        [PART_HEALTH] = settings->health_address,
        [PART_ROUTER] = settings->router_address,
    };
    for (size_t i = 0; i < PART_COUNT; i++)
        backend->channels[i] = rpc_channel_create(backend->loop, addresses[i], NULL);
}

static void follow_parts(struct backend *backend)
{
    backend_dht_start(backend);
    backend_watches_start(backend);
    backend_heartbeats_start(backend);
    backend_registrations_start(backend);
}

static bool start_role(struct backend *backend)
{
    switch (backend->gateway->role) {
    case API_EDGE_ROUTER:
        return edge_start(backend);
    case API_EDGE_PROXY:
        return proxy_start(backend);
    case API_LOAD_BALANCER:
        return balance_start(backend);
    case API_COORDINATOR:
    default:
        return backend->gateway->settings.join[0] == '\0' || join_start(backend);
    }
}

struct backend *backend_create(struct gateway *gateway, void (*all_heard)(struct gateway *gateway))
{
    struct backend *backend = calloc(1, sizeof *backend);
    if (backend == NULL)
        return NULL;
    backend->gateway = gateway;
    backend->loop = gateway->rpc_loop;
    backend->all_heard = all_heard;
    replica_init(&backend->replica);
    backend->roll = &backend->replica;
    heartbeats_init(&backend->heartbeats);
    random_bytes(&backend->epoch, sizeof backend->epoch);
    backend->events.revision = events_first_revision(clock_unix_ms());
    gateway->first_event_revision = backend->events.revision;
    backend->table = pick_table_create();
    if (backend->table == NULL) {
        free(backend);
        return NULL;
    }
    bool stands_alone = api_stands_alone(gateway->role);
    if (!stands_alone)
        create_channels(backend);
    if (!start_role(backend)) {
        backend_destroy(backend);
        return NULL;
    }
    backend_url_start(backend);
    backend_publish(backend);
    if (!stands_alone)
        follow_parts(backend);
    backend_guard_start(backend);
    return backend;
}

/* Ends all streams and calls; those that wait for an answer get their `done` from the loop. */
static void disconnect(struct backend *backend)
{
    backend_heartbeats_stop(backend);
    backend_registrations_stop(backend);
    backend_dht_stop(backend);
    if (backend->balance != NULL)
        balance_stop(backend);
    if (backend->proxy != NULL)
        proxy_stop(backend);
    if (backend->edge != NULL)
        edge_stop(backend);
    if (backend->join != NULL)
        join_stop(backend);
    http_calls_destroy(backend->http_calls);
    backend->http_calls = NULL;
    for (size_t i = 0; i < PART_COUNT; i++) {
        if (backend->watches[i] != NULL)
            rpc_kept_stream_stop(backend->watches[i]);
        backend->watches[i] = NULL;
        if (backend->channels[i] != NULL)
            rpc_channel_destroy(backend->channels[i]);
        backend->channels[i] = NULL;
    }
}

void backend_destroy(struct backend *backend)
{
    disconnect(backend);
    backend_guard_stop(backend);
    backend_url_stop(backend);
    rpc_loop_timer_stop(backend->loop, &backend->stop_timer);
    for (size_t i = 0; i < VIEW_COUNT; i++)
        rendered_release(backend->rendered[i]);
    if (backend->balance != NULL)
        balance_free(backend);
    if (backend->proxy != NULL)
        proxy_free(backend);
    if (backend->edge != NULL)
        edge_free(backend);
    if (backend->join != NULL)
        join_free(backend);
    free(backend->topology_coordinators);
    backend_events_free(backend);
    heartbeats_free(&backend->heartbeats);
    outcomes_free(&backend->outcomes);
    pick_table_release(backend->table);
    replica_free(&backend->replica);
    free(backend);
}

static void drain_fronts(struct backend *backend)
{
    struct gateway *gateway = backend->gateway;
    for (unsigned i = 0; i < gateway->front_count; i++)
        front_drain(gateway->fronts[i]);
}

void backend_stop(struct backend *backend)
{
    log_info("stopping");
    /* First the goodbye: whoever is sent here meanwhile is still served. */
    if (backend->join != NULL)
        join_leave(backend, drain_fronts);
    else
        drain_fronts(backend);
}

static void stop_when_idle(struct timer *timer, void *argument)
{
    struct backend *backend = argument;
    uint64_t jobs = atomic_load(&backend->gateway->jobs);
    (void)timer;
    /* Reports of outcomes were cancelled with their channels; their ends still come here. */
    if (backend->reporting_outcomes > 0 || (jobs > 0 && rpc_loop_now_ms(backend->loop) < backend->stop_deadline_ms))
        rpc_loop_timer_start(backend->loop, &backend->stop_timer, STOP_POLL_MS, stop_when_idle, backend);
    else
        rpc_loop_stop(backend->loop);
}

void backend_front_drained(void *argument)
{
    struct backend *backend = argument;
    if (++backend->fronts_drained < backend->gateway->front_count)
        return;
    disconnect(backend);
    backend->stop_deadline_ms = rpc_loop_now_ms(backend->loop) + STOP_LIMIT_MS;
    rpc_loop_timer_start(backend->loop, &backend->stop_timer, STOP_POLL_MS, stop_when_idle, backend);
}
