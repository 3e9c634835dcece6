/* Reads each coordinator's list of workers, every --region-interval-seconds, and at once when
 * somebody waits for it; long ones less often. See edge.h. */

#include "gateway/edge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/random.h"
#include "gateway/front.h"
#include "gateway/proxy.h"

#define LIST_PATH "/api/admin/workers"
#define LIST_BYTES_MAX (256 << 20) /* a quarter of a million workers */
#define TICK_MS 50
/* Jobs do not wait longer than that for regions that are slow to answer. */
#define WAIT_LIMIT_MS 3000
/* Long lists are read less often than --region-interval-seconds says: what reading one takes, from the question to the
 * end of taking it in, is followed by so many times as long without. */
#define REST_FACTOR 19
#define REST_LIMIT_MS 60000

struct reading {
    struct http_call_batch batch; /* first */
    struct http_call call;
    struct backend *backend;
    int64_t begun_at_ms;
    uint64_t begun_monotonic_ms;
    char header[600];
    char id[]; /* the coordinator's */
};

/* --- Who waits --- */

/* Whether a region that somebody waits for is being read. */
static bool is_waited_for(const struct edge *edge)
{
    size_t position = 0;
    const struct federation_region *region;
    while ((region = map_next(&edge->federation.regions, &position)) != NULL) {
        if (region->waited_for && region->on_roll && !region->standing.out)
            return true;
    }
    return false;
}

static void run_waiting(struct backend *backend)
{
    struct edge *edge = backend->edge;
    struct job *job = edge->waiting;
    rpc_loop_timer_stop(backend->loop, &edge->waiting_limit);
    edge->waiting = NULL;
    edge->waiting_end = &edge->waiting;
    edge->read_all_at_ms = rpc_loop_now_ms(backend->loop);
    while (job != NULL) {
        struct job *following = job->next;
        job->run(backend, job);
        job = following;
    }
}

static void waited_long_enough(struct timer *timer, void *argument)
{
    (void)timer;
    run_waiting(argument);
}

static void wait(struct backend *backend, struct job *job)
{
    struct edge *edge = backend->edge;
    job->waited = true;
    job->next = NULL;
    *edge->waiting_end = job;
    edge->waiting_end = &job->next;
    if (!timer_active(&edge->waiting_limit))
        rpc_loop_timer_start(backend->loop, &edge->waiting_limit, WAIT_LIMIT_MS, waited_long_enough, backend);
    if (!is_waited_for(edge))
        run_waiting(backend);
}

void edge_wait_for_regions(struct backend *backend, struct job *job)
{
    struct edge *edge = backend->edge;
    size_t position = 0;
    struct federation_region *region;
    /* What is read from now on shows them. */
    edge->shown_changes = atomic_load_explicit(&backend->gateway->forwarded_changes, memory_order_acquire);
    while ((region = map_next(&edge->federation.regions, &position)) != NULL) {
        if (!region->on_roll || region->standing.out)
            continue;
        edge_read_region(backend, region);
        region->waited_for = region->asked;
    }
    wait(backend, job);
}

bool edge_view_waits(struct backend *backend, struct job *job)
{
    struct edge *edge = backend->edge;
    if (job->waited || edge->calls == NULL)
        return false;
    if (edge->shown_changes != atomic_load_explicit(&backend->gateway->forwarded_changes, memory_order_acquire))
        edge_wait_for_regions(backend, job);
    else if (edge->waiting != NULL)
        wait(backend, job); /* for what is being read already */
    else
        return false;
    return true;
}

/* --- One reading --- */

/* An edge proxy asks for what any client may have. */
static const char *list_path(const struct backend *backend)
{
    return backend->proxy != NULL ? PROXY_LIST_PATH : LIST_PATH;
}

static void note_failure(struct backend *backend, struct federation_region *region, const struct http_call *call)
{
    struct federation *federation = &backend->edge->federation;
    char problem[160];
    bool refused = call->status >= 400 && call->status < 500;
    if (call->status == 0)
        snprintf(problem, sizeof problem, "it does not answer: %.120s", call->error);
    else if (call->status == 401 || call->status == 403)
        snprintf(problem, sizeof problem,
                 "it refuses to list its workers (%ld); start this gateway with --federation-key", call->status);
    else
        snprintf(problem, sizeof problem, "it answered %ld to GET %s", call->status, list_path(backend));
    federation_note_problem(federation, region, problem);
    /* One that refuses is there all the same. */
    if (call->status == 0)
        edge_tell_fronts_gone(backend, region->id);
    bool changed = refused ? pool_answered(&region->standing, 0, rpc_loop_now_ms(backend->loop))
                           : pool_failed(&region->standing, rpc_loop_now_ms(backend->loop));
    if (!changed)
        return;
    log_warning("a coordinator cannot be read", LOG_TEXT("coordinator", region->id), LOG_TEXT("problem", problem));
    backend->replica.version++;
}

static void rest(struct federation_region *region, const struct reading *reading)
{
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t rest_ms = (now_ms - reading->begun_monotonic_ms) * REST_FACTOR;
    rest_ms = rest_ms < REST_LIMIT_MS ? rest_ms : REST_LIMIT_MS;
    if (region->ask_at_ms < now_ms + rest_ms)
        region->ask_at_ms = now_ms + rest_ms;
}

static void note_list(struct backend *backend, struct federation_region *region, const struct reading *reading)
{
    const struct http_call *call = &reading->call;
    uint64_t now_ms = rpc_loop_now_ms(backend->loop);
    bool read = federation_read_list(&backend->edge->federation, region, call->response.data, call->response.bytes,
                                     reading->begun_at_ms, now_ms);
    if (read && backend->proxy != NULL)
        proxy_list_read(backend, region, call);
    rest(region, reading);
    if (!read) {
        /* Whoever lists no workers is no coordinator. */
        if (pool_failed(&region->standing, now_ms))
            log_warning("a coordinator's list cannot be read", LOG_TEXT("coordinator", region->id),
                        LOG_TEXT("problem", region->problem));
    } else if (pool_answered(&region->standing, (double)call->first_byte_us / 1000, now_ms)) {
        log_info("a coordinator is in the pool", LOG_TEXT("coordinator", region->id));
        backend->replica.version++;
    }
}

/* The list is still what it was (304). */
static void note_unchanged(struct backend *backend, struct federation_region *region, const struct reading *reading)
{
    region->as_of_ms = reading->begun_at_ms;
    region->problem[0] = '\0';
    backend->replica.version++; /* as_of is shown */
    (void)pool_answered(&region->standing, (double)reading->call.first_byte_us / 1000, rpc_loop_now_ms(backend->loop));
    proxy_list_unchanged(backend, region);
}

static void list_read(struct http_call_batch *batch)
{
    struct reading *reading = (struct reading *)batch;
    struct backend *backend = reading->backend;
    struct edge *edge = backend->edge;
    struct federation_region *region = federation_find(&edge->federation, reading->id);
    bool stopping = edge->calls == NULL;
    if (region != NULL) {
        region->asked = false;
        if (!region->on_roll)
            edge_roll_changed(backend); /* it was only kept for this answer; the roll decides */
        else if (reading->call.status == 200 && !reading->call.truncated)
            note_list(backend, region, reading);
        else if (reading->call.status == 304 && reading->batch.if_none_match != NULL)
            note_unchanged(backend, region, reading);
        else if (!stopping)
            note_failure(backend, region, &reading->call);
        if (backend->proxy != NULL)
            proxy_list_answered(backend, region);
        region = federation_find(&edge->federation, reading->id);
    }
    free(reading->call.url);
    buffer_free(&reading->call.response);
    free(reading);
    if (stopping)
        return;
    if (region != NULL && region->ask_again) {
        region->ask_again = false;
        edge_read_region(backend, region);
        region->waited_for = region->waited_for && region->asked;
    } else if (region != NULL) {
        region->waited_for = false;
    }
    backend_publish(backend);
    if (edge->waiting != NULL && !is_waited_for(edge))
        run_waiting(backend);
}

/* A tenth more or less, so that coordinators that registered together are not read together. */
static uint64_t interval_ms(struct edge *edge)
{
    double interval = edge->backend->gateway->settings.region_interval_seconds * 1000;
    return (uint64_t)(interval * (0.9 + 0.2 * random_unit(&edge->federation.random)));
}

static struct reading *make_reading(struct backend *backend, const struct federation_region *region, const char *url)
{
    const struct gateway_settings *settings = &backend->gateway->settings;
    size_t bytes = strlen(region->id) + 1;
    struct reading *reading = calloc(1, sizeof *reading + bytes);
    if (reading == NULL)
        return NULL;
    memcpy(reading->id, region->id, bytes);
    reading->backend = backend;
    reading->begun_at_ms = clock_unix_ms();
    reading->begun_monotonic_ms = clock_monotonic_ms();
    reading->call.url = http_calls_url(url, list_path(backend));
    snprintf(reading->header, sizeof reading->header, "X-API-Key: %s", settings->federation_key);
    reading->batch =
        (struct http_call_batch){.header = settings->federation_key[0] == '\0' ? NULL : reading->header,
                                 .if_none_match = backend->proxy == NULL ? NULL : proxy_etag(backend, region),
                                 .packed = true,
                                 .timeout_ms = (uint32_t)(settings->region_timeout_seconds * 1000),
                                 .silence_seconds = (uint32_t)settings->region_silence_seconds,
                                 .response_bytes_max = LIST_BYTES_MAX,
                                 .public_only = backend->gateway->public_only,
                                 .calls = &reading->call,
                                 .call_count = 1,
                                 .done = list_read};
    return reading;
}

void edge_read_region(struct backend *backend, struct federation_region *region)
{
    struct edge *edge = backend->edge;
    const struct replica_worker *coordinator = replica_find(&edge->roll, region->id);
    if (edge->calls == NULL || coordinator == NULL || region->url == NULL)
        return;
    region->ask_at_ms = rpc_loop_now_ms(backend->loop) + interval_ms(edge);
    if (region->asked) {
        region->ask_again = true;
        return;
    }
    if (backend->proxy != NULL)
        proxy_list_asked(backend, region);
    struct reading *reading = make_reading(backend, region, region->url);
    if (reading != NULL && reading->call.url != NULL && http_calls_send(edge->calls, &reading->batch)) {
        region->asked = true;
        return;
    }
    /* Without memory it is tried again at its next time. */
    if (reading != NULL)
        free(reading->call.url);
    free(reading);
    if (backend->proxy != NULL)
        proxy_list_answered(backend, region);
}

/* --- In turn --- */

static void tick(struct timer *timer, void *argument)
{
    struct backend *backend = argument;
    struct edge *edge = backend->edge;
    uint64_t now_ms = rpc_loop_now_ms(backend->loop);
    size_t position = 0;
    struct federation_region *region;
    while ((region = map_next(&edge->federation.regions, &position)) != NULL) {
        if (region->on_roll && !region->asked && now_ms >= region->ask_at_ms)
            edge_read_region(backend, region);
    }
    rpc_loop_timer_start(backend->loop, timer, TICK_MS, tick, backend);
}

void edge_regions_start(struct backend *backend)
{
    rpc_loop_timer_start(backend->loop, &backend->edge->tick, TICK_MS, tick, backend);
}

void edge_regions_stop(struct backend *backend)
{
    struct edge *edge = backend->edge;
    rpc_loop_timer_stop(backend->loop, &edge->tick);
    rpc_loop_timer_stop(backend->loop, &edge->waiting_limit);
    run_waiting(backend);
}
