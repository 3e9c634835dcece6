/* See edge.h. Here: life, and the coordinators themselves. */

#include "gateway/edge.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/http/target.h"
#include "common/log.h"
#include "common/random.h"
#include "gateway/edge_peers.h"
#include "gateway/front.h"
#include "gateway/worker_json.h"

/* Calls of all kinds at a time: one to each coordinator, and challenges. */
#define CALLS_MAX 4096
/* Coordinators that a heartbeat is answered with. */
#define FALLBACKS_MAX FEDERATION_CHOICES_MAX

bool edge_start(struct backend *backend)
{
    struct edge *edge = calloc(1, sizeof *edge);
    uint64_t seed;
    if (edge == NULL)
        return false;
    random_bytes(&seed, sizeof seed);
    edge->backend = backend;
    edge->waiting_end = &edge->waiting;
    replica_init(&edge->roll);
    federation_init(&edge->federation, &backend->replica, seed);
    edge->calls = http_calls_create(backend->loop, "muster-edge-router", CALLS_MAX);
    backend->edge = edge;
    backend->roll = &edge->roll;
    if (edge->calls == NULL || !edge_peers_start(backend))
        return false;
    edge_regions_start(backend);
    edge_places_start(backend);
    return true;
}

void edge_stop(struct backend *backend)
{
    struct edge *edge = backend->edge;
    if (edge->calls == NULL)
        return;
    edge_peers_stop(backend);
    edge_regions_stop(backend);
    edge_places_stop(backend);
    struct http_calls *calls = edge->calls;
    edge->calls = NULL;
    http_calls_destroy(calls);
}

void edge_free(struct backend *backend)
{
    struct edge *edge = backend->edge;
    edge_stop(backend);
    edge_peers_free(backend);
    federation_free(&edge->federation);
    replica_free(&edge->roll);
    free(edge->view_list);
    free(edge);
    backend->edge = NULL;
    backend->roll = &backend->replica;
}

void edge_roll_changed(struct backend *backend)
{
    struct edge *edge = backend->edge;
    size_t before = edge->federation.regions.count;
    if (!federation_reconcile(&edge->federation, &edge->roll))
        log_error("out of memory for a coordinator's region; it is tried again");
    if (edge->federation.regions.count < before)
        edge->read_all_at_ms = 0; /* workers of one that has gone may be held by another one as well */
    backend->replica.version++;   /* lists show the coordinators as well */
}

void edge_tell_fronts_gone(struct backend *backend, const char *coordinator_id)
{
    for (unsigned i = 0; i < backend->gateway->front_count; i++)
        front_coordinator_gone(backend->gateway->fronts[i], coordinator_id);
}

size_t edge_pool_size(const struct backend *backend)
{
    return federation_pool_size(&backend->edge->federation, &backend->edge->roll);
}

/* --- How the regions are --- */

static int by_id(const void *a, const void *b)
{
    const struct view_region *left = a;
    const struct view_region *right = b;
    return strcmp(left->coordinator, right->coordinator);
}

bool edge_regions(struct backend *backend, struct view_regions *regions)
{
    struct edge *edge = backend->edge;
    const struct replica *roll = &edge->roll;
    struct view_region *list = realloc(edge->view_list, (roll->worker_count + 1) * sizeof *list);
    if (list == NULL)
        return false;
    edge->view_list = list;
    *regions = (struct view_regions){.list = list};
    for (size_t i = 0; i < roll->worker_count; i++) {
        const struct replica_worker *coordinator = roll->workers[i];
        const struct federation_region *region = federation_find(&edge->federation, coordinator->id);
        bool reached = region != NULL && !region->standing.out;
        list[regions->count++] = (struct view_region){
            .coordinator = coordinator->id,
            .url = region == NULL ? "" : region->url,
            .location = region == NULL ? "" : region->location,
            .status = reached ? worker_status_word(replica_status(coordinator)) : "unreachable",
            .problem = region == NULL ? "" : region->problem,
            .as_of_ms = region == NULL ? 0 : region->as_of_ms,
            .workers = region == NULL ? 0 : region->worker_count,
            .answers = reached && region->listing > 0 && region->problem[0] == '\0',
        };
    }
    qsort(list, regions->count, sizeof *list, by_id);
    return true;
}

/* --- Heartbeats --- */

static double number_of(const struct json_document *document, const char *name)
{
    const struct json_node *node = json_member(document, json_root(document), name);
    return node == NULL || node->type != JSON_TYPE_NUMBER ? 0 : node->number;
}

static void take_services(struct job *job, const struct json_document *document, Muster__V1__Load *load)
{
    const struct json_node *services = json_member(document, json_root(document), "services");
    if (services == NULL || services->type != JSON_TYPE_OBJECT || services->count == 0)
        return;
    load->service_workers = arena_take(&job->arena, services->count * sizeof *load->service_workers);
    Muster__V1__ServiceWorkers *items = arena_take(&job->arena, services->count * sizeof *items);
    const struct json_node *name, *count;
    uint32_t position = 0;
    while (!arena_failed(&job->arena) && (count = json_next(document, services, &position, &name)) != NULL) {
        Muster__V1__ServiceWorkers *item = &items[load->n_service_workers];
        muster__v1__service_workers__init(item);
        item->name = arena_copy(&job->arena, name->text, name->text_bytes);
        item->workers = count->type == JSON_TYPE_NUMBER ? (uint32_t)count->number : 0;
        if (item->name != NULL)
            load->service_workers[load->n_service_workers++] = item;
    }
}

static Muster__V1__WorkerStatus status_of(const struct json_document *document)
{
    const struct json_node *status = json_member(document, json_root(document), "status");
    if (status == NULL || status->type != JSON_TYPE_TEXT)
        return MUSTER__V1__WORKER_STATUS__WORKER_STATUS_UNSPECIFIED;
    return json_text_equals(status, "degraded")   ? MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DEGRADED
           : json_text_equals(status, "draining") ? MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DRAINING
                                                  : MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE;
}

/* The body, as its schema has let it through; in the job's arena. */
static Muster__V1__Heartbeat *read_heartbeat(struct job *job)
{
    const struct json_document *document = job->document;
    Muster__V1__Heartbeat *heartbeat = arena_take(&job->arena, sizeof *heartbeat);
    Muster__V1__Load *load = arena_take(&job->arena, sizeof *load);
    const struct json_node *id = json_member(document, json_root(document), "worker_id");
    const struct json_node *incarnation = json_member(document, json_root(document), "incarnation");
    if (heartbeat == NULL || load == NULL)
        return NULL;
    muster__v1__heartbeat__init(heartbeat);
    muster__v1__load__init(load);
    heartbeat->worker_id = arena_copy(&job->arena, id->text, id->text_bytes);
    if (incarnation != NULL && incarnation->type == JSON_TYPE_NUMBER && incarnation->boolean)
        heartbeat->incarnation = (uint64_t)incarnation->integer;
    heartbeat->status = status_of(document);
    heartbeat->load = load;
    load->current_load = number_of(document, "load");
    load->cpu_percent = number_of(document, "cpu_percent");
    load->memory_percent = number_of(document, "memory_percent");
    load->queue_depth = (uint32_t)number_of(document, "queue_depth");
    load->workers = (uint32_t)number_of(document, "workers");
    take_services(job, document, load);
    return arena_failed(&job->arena) ? NULL : heartbeat;
}

void backend_run_edge_heartbeat(struct backend *backend, struct job *job)
{
    Muster__V1__Heartbeat *heartbeat = read_heartbeat(job);
    /* The document and the heartbeat take turns in the job. */
    json_document_free((struct json_document *)job->document);
    job->has_document = false;
    job->registration = NULL;
    job->heartbeat = heartbeat;
    job->received_at_ms = clock_unix_ms();
    if (heartbeat == NULL)
        job_fail(job, ERROR_INTERNAL, "out of memory");
    else
        backend_run_heartbeat(backend, job);
}

/* Coordinators by the wish, without `except`. Returns how many. */
static size_t write_known(struct json_writer *writer, struct edge *edge, const struct pool_wish *wish,
                          const struct federation_region *except)
{
    struct federation_choice choices[FALLBACKS_MAX];
    size_t count = federation_choose(&edge->federation, &edge->roll, wish, NULL, choices), written = 0;
    json_write_key(writer, "coordinators");
    json_write_array_begin(writer);
    for (size_t i = 0; i < count; i++) {
        const struct federation_region *other = federation_find(&edge->federation, choices[i].coordinator_id);
        if (other == except || other == NULL)
            continue;
        json_write_object_begin(writer);
        json_write_named_text(writer, "worker_id", choices[i].coordinator_id);
        json_write_named_text(writer, "url", choices[i].url);
        json_write_named_text(writer, "location", other->location);
        json_write_object_end(writer);
        written++;
    }
    json_write_array_end(writer);
    return written;
}

/* The other coordinators, the closest to this one first. */
static void write_fallbacks(struct json_writer *writer, struct edge *edge, const struct replica_worker *coordinator)
{
    const struct federation_region *region = federation_find(&edge->federation, coordinator->id);
    const struct pool_wish wish = {.rules = POOL_CLOSEST,
                                   .location = region == NULL ? "" : region->location,
                                   .place = region == NULL ? (struct pool_place){.known = false} : region->place};
    (void)write_known(writer, edge, &wish, region);
}

bool edge_heartbeat_taken(struct backend *backend, struct job *job)
{
    struct edge *edge = backend->edge;
    const struct replica_worker *coordinator = replica_find(&edge->roll, job->heartbeat->worker_id);
    if (coordinator == NULL)
        return false; /* the watch has not told of it yet */
    struct federation_region *region = federation_find(&edge->federation, coordinator->id);
    /* Heard again: whether it can be reached again as well is found out at once. */
    if (region != NULL && region->standing.out)
        edge_read_region(backend, region);
    edge_place_coordinator(backend, job, region);
    edge_peers_heard(backend, coordinator->id);
    if (job->route->operation != API_EDGE_HEARTBEAT)
        return false;
    struct json_writer writer = json_writer_into(&job->body);
    json_write_object_begin(&writer);
    json_write_named_text(&writer, "status", "ok");
    write_fallbacks(&writer, edge, coordinator);
    json_write_object_end(&writer);
    job_done_with_body(job);
    return true;
}

void backend_run_edge_coordinators(struct backend *backend, struct job *job)
{
    char location[REQUEST_LINE_BYTES_MAX + 1];
    struct geoip_answer answer;
    struct json_writer writer = json_writer_into(&job->body);
    bool is_said = http_query_get(job->query, "location", location, sizeof location) >= 0;
    struct pool_wish wish = {.rules = POOL_CLOSEST, .location = is_said ? location : ""};
    edge_place_worker(backend, job, &answer, &wish);
    json_write_object_begin(&writer);
    size_t count = write_known(&writer, backend->edge, &wish, NULL);
    json_write_object_end(&writer);
    if (count > 0)
        job_done_with_body(job);
    else
        job_fail(job, ERROR_NO_COORDINATORS,
                 "no coordinator is alive; start one with musterctl up --join, or try again");
}

/* --- Goodbye --- */

static void unregistered(struct rpc_call *call, enum rpc_status status, const char *text, const void *response,
                         void *argument)
{
    struct job *job = argument;
    struct backend *backend = job->front->gateway->backend;
    const Muster__V1__UnregisterWorkerResponse *answer = response;
    (void)call;
    if (status == RPC_NOT_FOUND) {
        job_fail(job, ERROR_UNKNOWN_WORKER, "no coordinator %s is registered", job->name);
        return;
    }
    if (status != RPC_OK) {
        backend_refuse(job, status, text);
        return;
    }
    edge_peers_gone(backend, job->name);
    /* Without memory the watch brings it. */
    (void)replica_remove(backend->roll, job->name, answer->revision, "unregistered");
    edge_roll_changed(backend);
    backend_publish(backend);
    job->status = 200;
    job->constant_body = "{\"status\":\"ok\",\"message\":\"Coordinator unregistered\"}";
    job_done(job);
}

void backend_run_edge_unregister(struct backend *backend, struct job *job)
{
    Muster__V1__UnregisterWorkerRequest request = MUSTER__V1__UNREGISTER_WORKER_REQUEST__INIT;
    request.worker_id = job->name;
    backend_call_registry(backend, "UnregisterWorker", &request.base, unregistered, job);
}

/* --- The list of coordinators --- */

static void write_load(struct json_writer *writer, const struct replica_worker *coordinator)
{
    static const Muster__V1__Load nothing = MUSTER__V1__LOAD__INIT;
    Muster__V1__Load *kept =
        coordinator->load == NULL ? NULL : muster__v1__load__unpack(NULL, coordinator->load_bytes, coordinator->load);
    const Muster__V1__Load *load = kept == NULL ? &nothing : kept;
    json_write_key(writer, "services");
    json_write_object_begin(writer);
    for (size_t i = 0; i < load->n_service_workers; i++) {
        json_write_key_text(writer, load->service_workers[i]->name);
        json_write_uint(writer, load->service_workers[i]->workers);
    }
    json_write_object_end(writer);
    json_write_named_double(writer, "load", load->current_load);
    json_write_named_double(writer, "cpu_percent", load->cpu_percent);
    json_write_named_double(writer, "memory_percent", load->memory_percent);
    json_write_named_uint(writer, "queue_depth", load->queue_depth);
    muster__v1__load__free_unpacked(kept, NULL);
}

/* Times are integers here: clients compute with them. */
static void write_unix_ms(struct json_writer *writer, const char *name, int64_t unix_ms, bool nullable)
{
    json_write_key(writer, name);
    if (unix_ms == 0 && nullable)
        json_write_null(writer);
    else
        json_write_int(writer, unix_ms);
}

static void write_coordinator(struct json_writer *writer, const struct replica_worker *coordinator,
                              const struct federation_region *region)
{
    const struct replica_record *record = coordinator->record;
    json_write_object_begin(writer);
    json_write_named_text(writer, "worker_id", coordinator->id);
    json_write_named_text(writer, "tunnel_url", region == NULL ? "" : region->url);
    json_write_named_text(writer, "location", region == NULL ? "" : region->location);
    write_unix_ms(writer, "registered_at", record->registered_at_ms, false);
    write_unix_ms(writer, "last_seen", replica_last_heard_ms(coordinator), false);
    json_write_named_text(writer, "status", worker_status_word(replica_status(coordinator)));
    json_write_named_bool(writer, "in_pool",
                          federation_may_serve(coordinator) && (region == NULL || !region->standing.out));
    if (region != NULL && region->problem[0] != '\0')
        json_write_named_text(writer, "problem", region->problem);
    write_unix_ms(writer, "as_of", region == NULL ? 0 : region->as_of_ms, true);
    json_write_named_uint(writer, "workers", region == NULL ? 0 : region->worker_count);
    write_load(writer, coordinator);
    json_write_key(writer, "latency_ms");
    if (region != NULL && region->standing.latency_ms > 0)
        json_write_double(writer, region->standing.latency_ms);
    else
        json_write_null(writer);
    json_write_key(writer, "capabilities");
    const char *capabilities = region == NULL ? "{}" : region->capabilities;
    json_write_raw(writer, capabilities, strlen(capabilities));
    json_write_named_uint(writer, "incarnation", record->incarnation);
    json_write_object_end(writer);
}

void backend_run_coordinators(struct backend *backend, struct job *job)
{
    struct edge *edge = backend->edge;
    struct view_regions regions; /* in the order of their ids */
    struct json_writer writer = json_writer_into(&job->body);
    if (!edge_regions(backend, &regions)) {
        job_fail(job, ERROR_INTERNAL, "out of memory");
        return;
    }
    json_write_array_begin(&writer);
    for (size_t i = 0; i < regions.count; i++)
        write_coordinator(&writer, replica_find(&edge->roll, regions.list[i].coordinator),
                          federation_find(&edge->federation, regions.list[i].coordinator));
    json_write_array_end(&writer);
    job_done_with_body(job);
}
