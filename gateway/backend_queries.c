/* Jobs that are answered from the replica. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/http/target.h"
#include "common/json/write.h"
#include "gateway/backend.h"
#include "gateway/balance.h"
#include "gateway/edge.h"
#include "gateway/front.h"
#include "gateway/index_page.h"
#include "gateway/links.h"
#include "gateway/pieces.h"
#include "gateway/proxy.h"
#include "gateway/topology.h"

/* --- Lists --- */

static bool is_fresh(const struct backend *backend, const struct rendered *rendered, uint64_t now_ms)
{
    uint32_t lifetime_ms = view_lifetime_ms(rendered->view);
    uint64_t changes = backend->edge == NULL ? 0 : backend->edge->shown_changes;
    return rendered->version == backend->replica.version && rendered->forwarded_changes == changes &&
           (lifetime_ms == 0 || now_ms - rendered->rendered_at_ms < lifetime_ms);
}

#define FAILED_MAX (PART_COUNT + 1)

/* The names of the processes that cannot be reached; returns how many. */
static size_t failed_parts(const struct backend *backend, const char *names[FAILED_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < PART_COUNT && !api_stands_alone(backend->gateway->role); i++) {
        if (!backend_part_is_up(backend, i))
            names[count++] = backend_part_name(i);
    }
    if (backend_dht_has_failed(backend))
        names[count++] = "dht";
    return count;
}

static bool has_warning(const struct backend *backend)
{
    return backend->health_warning[0] != '\0' || backend->registry_warning[0] != '\0';
}

bool backend_is_degraded(const struct backend *backend)
{
    const char *failed[FAILED_MAX];
    return failed_parts(backend, failed) > 0 || has_warning(backend);
}

#define WARNING_BYTES (sizeof((struct backend *)0)->health_warning + sizeof((struct backend *)0)->registry_warning + 64)

/* What the parts want operators to know, in one text. */
static void gather_warnings(const struct backend *backend, char warning[WARNING_BYTES])
{
    bool store_fails = backend->registry_warning[0] != '\0';
    snprintf(warning, WARNING_BYTES, "%s%s%s%s", store_fails ? "registry: changes are refused: " : "",
             backend->registry_warning, store_fails && backend->health_warning[0] != '\0' ? "; " : "",
             backend->health_warning);
}

static void write_warning(const struct backend *backend, struct json_writer *writer)
{
    char warning[WARNING_BYTES];
    gather_warnings(backend, warning);
    json_write_key(writer, "warning");
    json_write_text(writer, warning);
}

static void fill_coordinators(struct backend *backend, struct topology_coordinator *coordinators)
{
    const struct view_regions *regions = &backend->topology_regions;
    for (size_t i = 0; i < regions->count; i++) {
        const struct view_region *region = &regions->list[i];
        bool online = strcmp(region->status, "online") == 0;
        coordinators[i] = (struct topology_coordinator){
            .id = region->coordinator,
            .url = region->url,
            .location = region->location,
            .status = online ? "healthy" : region->status,
            .active = online,
            .last_seen_ms = replica_last_heard_ms(replica_find(backend->roll, region->coordinator)),
        };
    }
}

/* The coordinators behind an edge router, or this one. */
bool backend_topology(struct backend *backend, struct topology *topology)
{
    if (backend->edge != NULL && !edge_regions(backend, &backend->topology_regions))
        return false;
    size_t count = backend->edge != NULL ? backend->topology_regions.count : 1;
    struct topology_coordinator *coordinators =
        realloc(backend->topology_coordinators, (count + 1) * sizeof *coordinators);
    if (coordinators == NULL)
        return false;
    backend->topology_coordinators = coordinators;
    bool degraded = backend_is_degraded(backend);
    if (backend->edge != NULL)
        fill_coordinators(backend, coordinators);
    else
        coordinators[0] = (struct topology_coordinator){.id = backend->gateway->coordinator_id,
                                                        .url = backend->gateway->settings.public_url,
                                                        .location = backend->gateway->settings.location,
                                                        .status = degraded ? "degraded" : "healthy",
                                                        .active = !degraded,
                                                        .last_seen_ms = clock_unix_ms()};
    *topology = (struct topology){.replica = &backend->replica,
                                  .coordinators = coordinators,
                                  .coordinator_count = count,
                                  .regions = backend->edge != NULL ? &backend->topology_regions : NULL,
                                  .revision = backend->events.revision};
    return true;
}

static void render_topology(struct backend *backend, struct buffer *body)
{
    struct topology topology;
    bool is_long = backend->replica.worker_count > LIST_WHOLE_WORKERS_MAX;
    if (!backend_topology(backend, &topology))
        body->failed = true;
    else
        topology_render(&topology, is_long ? LIST_PIECE_WORKERS : SIZE_MAX, clock_unix_ms(), body);
}

static void render_index(struct backend *backend, struct buffer *body)
{
    const char *failed[FAILED_MAX];
    char warning[WARNING_BYTES];
    gather_warnings(backend, warning);
    index_page_render(&(struct index_page){.role = backend->gateway->role,
                                           .coordinator_id = backend->gateway->coordinator_id,
                                           .failed = failed,
                                           .failed_count = failed_parts(backend, failed),
                                           .warning = warning,
                                           .closed = backend->gateway->closed},
                      &backend->replica, body);
}

static void render(struct backend *backend, enum view view, struct buffer *body)
{
    struct view_regions regions;
    if (view == VIEW_INDEX)
        render_index(backend, body);
    else if (view == VIEW_TOPOLOGY)
        render_topology(backend, body);
    else if (backend->edge != NULL && !edge_regions(backend, &regions))
        body->failed = true;
    else
        view_render(view, &backend->replica, backend->edge == NULL ? NULL : &regions, rpc_loop_now_ms(backend->loop),
                    clock_unix_ms(), body);
}

static bool lists_workers(enum view view)
{
    return view == VIEW_WORKERS || view == VIEW_ADMIN_WORKERS || view == VIEW_TOPOLOGY;
}

void backend_run_view(struct backend *backend, struct job *job)
{
    uint64_t now_ms = clock_monotonic_ms();
    if (backend->edge != NULL && edge_view_waits(backend, job))
        return;
    job->is_long = lists_workers(job->view) && backend->replica.worker_count > LIST_WHOLE_WORKERS_MAX;
    if (job->is_long && job->view != VIEW_TOPOLOGY) { /* of the topology the first part is made, for WebSockets */
        job_done(job);
        return;
    }
    struct rendered *rendered = backend->rendered[job->view];
    if (rendered == NULL || !is_fresh(backend, rendered, now_ms)) {
        struct buffer body = BUFFER_INIT;
        render(backend, job->view, &body);
        struct rendered *fresh = rendered_create(job->view, backend->replica.version, backend->epoch, now_ms, &body);
        if (fresh != NULL)
            fresh->event_revision = backend->events.revision;
        if (fresh != NULL && backend->edge != NULL)
            fresh->forwarded_changes = backend->edge->shown_changes;
        buffer_free(&body);
        rendered_release(rendered);
        backend->rendered[job->view] = fresh;
        rendered = fresh;
    }
    /* NULL when memory ran out, which the front answers. */
    job->rendered = rendered == NULL ? NULL : rendered_reference(rendered);
    job_done(job);
}

/* --- One service --- */

static struct replica_worker *best_worker(struct backend *backend, const char *name, struct replica_service **service)
{
    *service = replica_find_service(&backend->replica, name, strlen(name));
    return *service == NULL ? NULL : view_best_worker(*service);
}

static void fail_no_worker(struct job *job)
{
    job_fail(job, ERROR_NO_WORKER, "no healthy worker offers %s; try again in a moment", job->name);
}

void backend_run_find(struct backend *backend, struct job *job)
{
    struct replica_service *service;
    const struct replica_worker *worker = best_worker(backend, job->name, &service);
    if (worker == NULL) {
        fail_no_worker(job);
        return;
    }
    Muster__V1__Worker *record = replica_record_unpack(worker->record);
    if (record == NULL) {
        job_fail(job, ERROR_INTERNAL, "out of memory");
        return;
    }
    struct json_writer writer = json_writer_into(&job->body);
    json_write_object_begin(&writer);
    json_write_key(&writer, "worker_id");
    json_write_text(&writer, worker->id);
    json_write_key(&writer, "worker_url");
    json_write_text(&writer, replica_service_url(&backend->replica, record, service));
    json_write_key(&writer, "service");
    json_write_text(&writer, service->name);
    json_write_object_end(&writer);
    muster__v1__worker__free_unpacked(record, NULL);
    job_done_with_body(job);
}

void backend_run_discover(struct backend *backend, struct job *job)
{
    char scope[8];
    struct view_regions regions;
    if (http_query_get(job->query, "scope", scope, sizeof scope) >= 0 && strcmp(scope, "all") == 0) {
        backend_discover_everywhere(backend, job);
        return;
    }
    if (backend->edge != NULL && edge_view_waits(backend, job))
        return;
    if (backend->edge != NULL && !edge_regions(backend, &regions)) {
        job_fail(job, ERROR_INTERNAL, "out of memory");
        return;
    }
    if (view_render_discovery(&backend->replica, job->name, strlen(job->name), backend->edge == NULL ? NULL : &regions,
                              &job->body) == 0)
        fail_no_worker(job);
    else
        job_done_with_body(job);
}

static char *copy_text(struct arena *arena, const char *text)
{
    return arena_copy(arena, text, strlen(text));
}

void backend_run_locate(struct backend *backend, struct job *job)
{
    struct replica_service *service;
    const struct replica_worker *worker = best_worker(backend, job->name, &service);
    if (worker == NULL && backend->proxy != NULL && proxy_looks_further(backend, job))
        return;
    struct job_location *location = worker == NULL ? NULL : arena_take(&job->arena, sizeof *location);
    Muster__V1__Worker *record = location == NULL ? NULL : replica_record_unpack(worker->record);
    if (record != NULL) {
        location->service = copy_text(&job->arena, service->name);
        location->path = copy_text(&job->arena, service->catalog == NULL ? "" : service->catalog->path);
        location->worker_id = copy_text(&job->arena, worker->id);
        location->url = copy_text(&job->arena, replica_service_url(&backend->replica, record, service));
        if (!arena_failed(&job->arena))
            job->location = location;
        muster__v1__worker__free_unpacked(record, NULL);
    }
    job_done(job);
}

/* --- Operations --- */

static void write_counts(const struct view_counts *counts, struct json_writer *writer)
{
    json_write_key(writer, "workers");
    json_write_object_begin(writer);
    json_write_named_uint(writer, "total", counts->total);
    json_write_named_uint(writer, "active", counts->healthy);
    json_write_named_uint(writer, "stale", counts->total - counts->healthy);
    json_write_object_end(writer);
}

void backend_run_health(struct backend *backend, struct job *job)
{
    struct view_counts counts;
    const char *failed[FAILED_MAX];
    size_t failed_count = failed_parts(backend, failed);
    bool warned = has_warning(backend);
    bool is_degraded = failed_count > 0 || warned || (backend->proxy != NULL && proxy_is_degraded(backend)) ||
                       (backend->balance != NULL && balance_is_degraded(backend));
    view_count(&backend->replica, &counts);
    struct json_writer inner = json_writer_into(&job->body);
    struct json_writer *writer = &inner;
    json_write_object_begin(writer);
    json_write_key(writer, "status");
    json_write_text(writer, is_degraded ? "degraded" : "healthy");
    json_write_key(writer, "coordinator");
    json_write_text(writer, backend->gateway->coordinator_id);
    json_write_key(writer, "timestamp");
    json_write_time(writer, clock_unix_ms());
    if (backend->balance != NULL)
        balance_write_health(backend, writer);
    else
        write_counts(&counts, writer);
    if (backend->proxy != NULL) {
        proxy_write_health(backend, writer);
    } else if (backend->edge != NULL) {
        json_write_named_uint(writer, "coordinators", edge_pool_size(backend));
        json_write_named_text(writer, "message", "Edge router operational");
    }
    if (warned)
        write_warning(backend, writer);
    if (failed_count > 0) {
        json_write_key(writer, "failed");
        json_write_array_begin(writer);
        for (size_t i = 0; i < failed_count; i++)
            json_write_text(writer, failed[i]);
        json_write_array_end(writer);
    }
    json_write_object_end(writer);
    job_done_with_body(job);
}

void backend_run_metrics(struct backend *backend, struct job *job)
{
    struct gateway *gateway = backend->gateway;
    struct view_counts counts;
    struct part_metrics parts[PART_COUNT + 1];
    size_t part_count = api_stands_alone(gateway->role) ? 0 : PART_COUNT;
    const struct front_metrics **fronts = malloc((gateway->front_count + 1) * sizeof *fronts);
    if (fronts == NULL) {
        job_fail(job, ERROR_INTERNAL, "out of memory");
        return;
    }
    for (unsigned i = 0; i < gateway->front_count; i++)
        fronts[i] = &gateway->fronts[i]->metrics;
    for (size_t i = 0; i < part_count; i++)
        parts[i] = (struct part_metrics){backend_part_name(i), backend_part_is_up(backend, i)};
    if (backend->dht != NULL)
        parts[part_count++] = (struct part_metrics){"dht", !backend_dht_has_failed(backend)};
    view_count(&backend->replica, &counts);
    struct coordinator_metrics coordinator = {
        .workers = counts.total,
        .active_workers = counts.healthy,
        .services = counts.services,
        .heartbeats = backend->heartbeats_total,
        .evictions_waiting = backend->evictions_waiting,
        .rest_heartbeats = backend->heartbeats.taken,
        .heartbeat_messages = backend->heartbeats.messages,
        .history_workers = backend->history_workers,
        .history_workers_not_kept = backend->history_workers_not_kept,
        .history_dropped = backend->history_dropped,
        .registrations = backend->registrations,
        .unregistrations = backend->unregistrations,
        .links = links_count(gateway->links),
        .requests_in_links = atomic_load_explicit(&gateway->link_requests, memory_order_relaxed),
        .parts = parts,
        .part_count = part_count,
    };
    metrics_render(fronts, gateway->front_count, &coordinator, &job->body);
    if (backend->proxy != NULL)
        proxy_render_metrics(backend, &job->body);
    if (backend->balance != NULL)
        balance_render_metrics(backend, &job->body);
    free(fronts);
    job->content_type = "text/plain; version=0.0.4; charset=utf-8";
    job_done_with_body(job);
}
