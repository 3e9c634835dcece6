/* See views.h. */

#include "gateway/views.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/worker_json.h"

uint32_t view_lifetime_ms(enum view view)
{
    return view == VIEW_ADMIN_WORKERS || view == VIEW_TOPOLOGY || view == VIEW_INDEX ? 1000 : 0;
}

static size_t healthy_workers(const struct replica_service *service)
{
    return service->healthy_count;
}

void view_count(const struct replica *replica, struct view_counts *counts)
{
    *counts = (struct view_counts){.total = replica->worker_count, .healthy = replica->healthy_count};
    memcpy(counts->by_type, replica->type_counts, sizeof counts->by_type);
    size_t position = 0;
    const struct replica_service *service;
    while ((service = map_next(&replica->services, &position)) != NULL)
        counts->services += healthy_workers(service) > 0 ? 1 : 0;
}

static int by_name(const void *a, const void *b)
{
    const struct replica_service *const *left = a;
    const struct replica_service *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

/* All services in the order of their names, for lists that do not change their order with
 * every process; NULL when memory ran out. */
static struct replica_service **sorted_services(const struct replica *replica, size_t *count)
{
    struct replica_service **services = malloc((replica->services.count + 1) * sizeof(struct replica_service *));
    if (services == NULL)
        return NULL;
    *count = 0;
    size_t position = 0;
    struct replica_service *service;
    while ((service = map_next(&replica->services, &position)) != NULL)
        services[(*count)++] = service;
    qsort(services, *count, sizeof *services, by_name);
    return services;
}

static void write_timestamp(struct json_writer *writer, int64_t now_unix_ms)
{
    json_write_key(writer, "timestamp");
    json_write_time(writer, now_unix_ms);
}

/* The oldest reading of those that answer: all of theirs is as new as that. */
static int64_t as_of(const struct view_regions *regions)
{
    int64_t oldest_ms = 0;
    for (size_t i = 0; i < regions->count; i++) {
        const struct view_region *region = &regions->list[i];
        if (region->answers && region->as_of_ms > 0 && (oldest_ms == 0 || region->as_of_ms < oldest_ms))
            oldest_ms = region->as_of_ms;
    }
    return oldest_ms;
}

void view_write_regions(struct json_writer *writer, const struct view_regions *regions)
{
    if (regions == NULL)
        return;
    json_write_key(writer, "as_of");
    json_write_time(writer, as_of(regions));
    json_write_key(writer, "regions");
    json_write_array_begin(writer);
    for (size_t i = 0; i < regions->count; i++) {
        const struct view_region *region = &regions->list[i];
        json_write_object_begin(writer);
        json_write_named_text(writer, "coordinator", region->coordinator);
        json_write_named_text(writer, "url", region->url);
        json_write_named_text(writer, "location", region->location);
        json_write_named_text(writer, "status", region->status);
        json_write_key(writer, "as_of");
        json_write_time(writer, region->as_of_ms);
        json_write_named_uint(writer, "workers", region->workers);
        if (region->problem[0] != '\0')
            json_write_named_text(writer, "problem", region->problem);
        json_write_object_end(writer);
    }
    json_write_array_end(writer);
}

void view_list_begin(struct json_writer *writer)
{
    json_write_object_begin(writer);
    json_write_key(writer, "workers");
    json_write_array_begin(writer);
}

void view_list_worker(enum view view, const struct replica *replica, struct replica_worker *worker,
                      struct view_moment moment, struct view_listed *listed, struct json_writer *writer)
{
    bool healthy = replica_is_healthy(worker);
    if (view == VIEW_WORKERS && !healthy)
        return;
    listed->count++;
    listed->healthy += healthy ? 1 : 0;
    if (view == VIEW_WORKERS)
        worker_json_write(writer, replica, worker);
    else
        worker_json_write_admin(writer, replica, worker, replica_age_ms(worker, moment.now_ms, moment.now_unix_ms));
}

/* What services are called and where they are on a worker: with it, who has the list needs nobody else. */
static void write_catalog(const Muster__V1__WatchCatalogResponse *catalog, struct json_writer *writer)
{
    json_write_key(writer, "catalog");
    json_write_array_begin(writer);
    for (size_t i = 0; i < catalog->n_services; i++) {
        const Muster__V1__CatalogService *service = catalog->services[i];
        json_write_object_begin(writer);
        json_write_named_text(writer, "name", service->name);
        json_write_key(writer, "aliases");
        json_write_array_begin(writer);
        for (size_t j = 0; j < service->n_aliases; j++)
            json_write_text(writer, service->aliases[j]);
        json_write_array_end(writer);
        json_write_named_text(writer, "path", service->path);
        json_write_named_text(writer, "requires", worker_type_word(service->requires));
        json_write_named_uint(writer, "priority", service->priority);
        json_write_named_uint(writer, "port", service->port);
        json_write_named_bool(writer, "repeatable", service->repeatable);
        json_write_object_end(writer);
    }
    json_write_array_end(writer);
}

void view_list_end(enum view view, const struct replica *replica, const struct view_listed *listed,
                   const struct view_regions *regions, int64_t now_unix_ms, struct json_writer *writer)
{
    json_write_array_end(writer);
    json_write_named_uint(writer, view == VIEW_WORKERS ? "count" : "total", listed->count);
    if (view == VIEW_WORKERS)
        write_timestamp(writer, now_unix_ms);
    else
        json_write_named_uint(writer, "healthy", listed->healthy);
    if (view == VIEW_WORKERS && replica->catalog != NULL)
        write_catalog(replica->catalog, writer);
    view_write_regions(writer, regions);
    json_write_object_end(writer);
}

static void render_list(enum view view, struct replica *replica, const struct view_regions *regions,
                        struct view_moment moment, struct json_writer *writer)
{
    struct view_listed listed = {0};
    view_list_begin(writer);
    for (size_t i = 0; i < replica->worker_count; i++)
        view_list_worker(view, replica, replica->workers[i], moment, &listed, writer);
    view_list_end(view, replica, &listed, regions, moment.now_unix_ms, writer);
}

static void render_services(const struct replica *replica, const struct view_regions *regions, int64_t now_unix_ms,
                            struct json_writer *writer)
{
    size_t count = 0;
    size_t available = 0;
    struct replica_service **services = sorted_services(replica, &count);
    if (services == NULL) {
        writer->out->failed = true;
        return;
    }
    json_write_object_begin(writer);
    json_write_key(writer, "services");
    json_write_object_begin(writer);
    for (size_t i = 0; i < count; i++) {
        const struct replica_service *service = services[i];
        size_t healthy = healthy_workers(service);
        available += healthy > 0 ? 1 : 0;
        json_write_key_text(writer, service->name);
        json_write_object_begin(writer);
        json_write_named_text(writer, "name", service->name);
        json_write_named_uint(writer, "healthy_workers", healthy);
        if (service->catalog != NULL) {
            json_write_named_uint(writer, "tier", (uint64_t)service->catalog->requires);
            json_write_named_text(writer, "requires", worker_type_word(service->catalog->requires));
        } else { /* a worker's own: no kind of machine is required */
            json_write_key(writer, "tier");
            json_write_null(writer);
            json_write_key(writer, "requires");
            json_write_null(writer);
        }
        json_write_object_end(writer);
    }
    json_write_object_end(writer);
    json_write_named_uint(writer, "total_available", available);
    write_timestamp(writer, now_unix_ms);
    view_write_regions(writer, regions);
    json_write_object_end(writer);
    free(services);
}

static void render_admin_services(const struct replica *replica, const struct view_regions *regions,
                                  struct json_writer *writer)
{
    size_t count = 0;
    size_t listed = 0;
    struct replica_service **services = sorted_services(replica, &count);
    if (services == NULL) {
        writer->out->failed = true;
        return;
    }
    json_write_object_begin(writer);
    json_write_key(writer, "services");
    json_write_array_begin(writer);
    for (size_t i = 0; i < count; i++) {
        const struct replica_service *service = services[i];
        if (service->worker_count == 0)
            continue;
        listed++;
        json_write_object_begin(writer);
        json_write_named_text(writer, "name", service->name);
        json_write_key(writer, "workers");
        json_write_array_begin(writer);
        for (size_t j = 0; j < service->worker_count; j++)
            json_write_text(writer, service->workers[j]->id);
        json_write_array_end(writer);
        json_write_named_uint(writer, "worker_count", service->worker_count);
        json_write_object_end(writer);
    }
    json_write_array_end(writer);
    json_write_named_uint(writer, "total_services", listed);
    view_write_regions(writer, regions);
    json_write_object_end(writer);
    free(services);
}

struct gap {
    const Muster__V1__CatalogService *service;
    size_t workers;
};

/* Critical ones first, then warnings; by priority, then by name. */
static int by_urgency(const void *a, const void *b)
{
    const struct gap *left = a;
    const struct gap *right = b;
    size_t left_rank = left->workers < 2 ? left->workers : 2;
    size_t right_rank = right->workers < 2 ? right->workers : 2;
    if (left_rank != right_rank)
        return left_rank < right_rank ? -1 : 1;
    if (left->service->priority != right->service->priority)
        return left->service->priority < right->service->priority ? -1 : 1;
    return strcmp(left->service->name, right->service->name);
}

static void write_gaps(struct json_writer *writer, const char *key, const struct gap *gaps, size_t count)
{
    static const char *const statuses[] = {"critical", "warning", "ok"};
    json_write_key(writer, key);
    json_write_array_begin(writer);
    for (size_t i = 0; i < count; i++) {
        json_write_object_begin(writer);
        json_write_named_text(writer, "service", gaps[i].service->name);
        json_write_named_text(writer, "required_type", worker_type_word(gaps[i].service->requires));
        json_write_named_uint(writer, "priority", gaps[i].service->priority);
        json_write_named_uint(writer, "current_workers", gaps[i].workers);
        json_write_named_text(writer, "status", statuses[gaps[i].workers < 2 ? gaps[i].workers : 2]);
        json_write_named_uint(writer, "port", gaps[i].service->port);
        json_write_object_end(writer);
    }
    json_write_array_end(writer);
}

static void render_gaps(const struct replica *replica, const struct view_regions *regions, struct json_writer *writer)
{
    size_t count = replica->catalog == NULL ? 0 : replica->catalog->n_services;
    struct gap *gaps = calloc(count + 1, sizeof *gaps);
    size_t critical = 0;
    size_t warnings = 0;
    if (gaps == NULL) {
        writer->out->failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        gaps[i].service = replica->catalog->services[i];
        const struct replica_service *service = map_get_text(&replica->services, gaps[i].service->name);
        gaps[i].workers = service == NULL ? 0 : healthy_workers(service);
        critical += gaps[i].workers == 0 ? 1 : 0;
        warnings += gaps[i].workers == 1 ? 1 : 0;
    }
    qsort(gaps, count, sizeof *gaps, by_urgency);
    json_write_object_begin(writer);
    write_gaps(writer, "gaps", gaps, count);
    write_gaps(writer, "critical_gaps", gaps, critical);
    write_gaps(writer, "warnings", gaps + critical, warnings);
    json_write_key(writer, "summary");
    json_write_object_begin(writer);
    json_write_named_uint(writer, "total_services", count);
    json_write_named_uint(writer, "covered", count - critical);
    json_write_named_uint(writer, "needs_attention", critical + warnings);
    json_write_object_end(writer);
    view_write_regions(writer, regions);
    json_write_object_end(writer);
    free(gaps);
}

static void render_stats(const struct replica *replica, const struct view_regions *regions, struct json_writer *writer)
{
    static const char *const tiers[] = {NULL, "1", "2", "3", "4"};
    struct view_counts counts;
    view_count(replica, &counts);
    json_write_object_begin(writer);
    json_write_named_uint(writer, "total_workers", counts.total);
    json_write_named_uint(writer, "healthy_workers", counts.healthy);
    json_write_named_uint(writer, "offline_workers", counts.total - counts.healthy);
    json_write_key(writer, "by_tier");
    json_write_object_begin(writer);
    for (size_t tier = 1; tier <= 4; tier++)
        json_write_named_uint(writer, tiers[tier], counts.by_type[tier]);
    json_write_object_end(writer);
    view_write_regions(writer, regions);
    json_write_object_end(writer);
}

void view_render(enum view view, struct replica *replica, const struct view_regions *regions, uint64_t now_ms,
                 int64_t now_unix_ms, struct buffer *out)
{
    struct json_writer writer = json_writer_into(out);
    switch (view) {
    case VIEW_WORKERS:
    case VIEW_ADMIN_WORKERS:
        render_list(view, replica, regions, (struct view_moment){now_ms, now_unix_ms}, &writer);
        break;
    case VIEW_SERVICES:
        render_services(replica, regions, now_unix_ms, &writer);
        break;
    case VIEW_ADMIN_SERVICES:
        render_admin_services(replica, regions, &writer);
        break;
    case VIEW_ADMIN_GAPS:
        render_gaps(replica, regions, &writer);
        break;
    case VIEW_ADMIN_STATS:
        render_stats(replica, regions, &writer);
        break;
    case VIEW_TOPOLOGY: /* topology.h's */
    case VIEW_INDEX:    /* index_page.h's */
    case VIEW_COUNT:
        break;
    }
}

static int by_load(const void *a, const void *b)
{
    const struct replica_worker *const *left = a;
    const struct replica_worker *const *right = b;
    double left_load = replica_load(*left);
    double right_load = replica_load(*right);
    if (left_load != right_load)
        return left_load < right_load ? -1 : 1;
    return strcmp((*left)->id, (*right)->id);
}

struct replica_worker *view_best_worker(const struct replica_service *service)
{
    struct replica_worker *best = NULL;
    for (size_t i = 0; i < service->worker_count; i++) {
        struct replica_worker *worker = service->workers[i];
        if (replica_is_healthy(worker) && (best == NULL || by_load(&worker, &best) < 0))
            best = worker;
    }
    return best;
}

size_t view_write_discovered(struct replica *replica, const struct replica_service *service, struct json_writer *writer,
                             const char *coordinator_id, const char **recommended)
{
    struct replica_worker **workers = malloc((service->worker_count + 1) * sizeof(struct replica_worker *));
    if (workers == NULL) {
        writer->out->failed = true;
        return 1;
    }
    size_t count = 0;
    for (size_t i = 0; i < service->worker_count; i++) {
        if (replica_is_healthy(service->workers[i]))
            workers[count++] = service->workers[i];
    }
    qsort(workers, count, sizeof *workers, by_load);
    for (size_t i = 0; i < count; i++) {
        Muster__V1__Worker *record = replica_record_unpack(workers[i]->record);
        if (record == NULL) {
            writer->out->failed = true;
            break;
        }
        json_write_object_begin(writer);
        json_write_named_text(writer, "worker_id", workers[i]->id);
        json_write_named_text(writer, "tunnel_url", replica_service_url(replica, record, service));
        json_write_key(writer, "capabilities");
        worker_json_write_capabilities(writer, record->spec->capabilities);
        muster__v1__worker__free_unpacked(record, NULL);
        json_write_key(writer, "load");
        json_write_double(writer, replica_load(workers[i]));
        json_write_key(writer, "last_heartbeat");
        json_write_time(writer, replica_last_heard_ms(workers[i]));
        if (coordinator_id != NULL)
            json_write_named_text(writer, "coordinator_id", coordinator_id);
        else if (workers[i]->coordinator != NULL)
            json_write_named_text(writer, "coordinator_id", workers[i]->coordinator);
        json_write_object_end(writer);
    }
    if (count > 0 && *recommended == NULL)
        *recommended = workers[0]->id;
    free(workers);
    return count;
}

size_t view_render_discovery(struct replica *replica, const char *name, size_t name_bytes,
                             const struct view_regions *regions, struct buffer *out)
{
    const struct replica_service *service = replica_find_service(replica, name, name_bytes);
    const char *recommended = NULL;
    if (service == NULL || healthy_workers(service) == 0)
        return 0;
    struct json_writer inner = json_writer_into(out);
    struct json_writer *writer = &inner;
    json_write_object_begin(writer);
    json_write_named_text(writer, "service", service->name);
    json_write_key(writer, "workers");
    json_write_array_begin(writer);
    size_t count = view_write_discovered(replica, service, writer, NULL, &recommended);
    json_write_array_end(writer);
    json_write_named_uint(writer, "count", count);
    json_write_named_text(writer, "recommended", recommended);
    view_write_regions(writer, regions);
    json_write_object_end(writer);
    return count;
}
