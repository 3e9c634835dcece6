/* See topology.h. */

#include "gateway/topology.h"

#include <string.h>

#include "common/json/write.h"
#include "gateway/events.h"

struct totals {
    size_t workers, healthy;
    double load; /* of the healthy ones together */
};

static bool holds(const struct topology_coordinator *coordinator, const struct replica_worker *worker)
{
    return worker->coordinator == NULL || strcmp(worker->coordinator, coordinator->id) == 0;
}

/* Of one coordinator; NULL: of all. */
static struct totals count(const struct replica *replica, const struct topology_coordinator *coordinator)
{
    struct totals totals = {replica->worker_count, replica->healthy_count, (double)replica->load_sum / 1e6};
    /* Without coordinators behind this one, all are its own. */
    if (coordinator == NULL || replica->worker_count == 0 || replica->workers[0]->coordinator == NULL)
        return totals;
    totals = (struct totals){0};
    for (size_t i = 0; i < replica->worker_count; i++) {
        const struct replica_worker *worker = replica->workers[i];
        if (!holds(coordinator, worker))
            continue;
        totals.workers++;
        totals.healthy += replica_is_healthy(worker) ? 1 : 0;
        totals.load += replica_is_healthy(worker) ? replica_load(worker) : 0;
    }
    return totals;
}

static double average_load(const struct totals *totals)
{
    return totals->healthy == 0 ? 0 : totals->load / (double)totals->healthy;
}

static void write_coordinators(struct json_writer *writer, const struct topology *topology)
{
    json_write_key(writer, "coordinators");
    json_write_array_begin(writer);
    for (size_t i = 0; i < topology->coordinator_count; i++) {
        const struct topology_coordinator *coordinator = &topology->coordinators[i];
        const struct totals totals = count(topology->replica, coordinator);
        json_write_object_begin(writer);
        json_write_named_text(writer, "id", coordinator->id);
        json_write_named_text(writer, "url", coordinator->url);
        json_write_named_text(writer, "location", coordinator->location);
        json_write_named_uint(writer, "workers", totals.workers);
        json_write_named_uint(writer, "workers_count", totals.workers);
        json_write_key(writer, "load");
        json_write_double(writer, average_load(&totals));
        json_write_named_text(writer, "status", coordinator->status);
        json_write_key(writer, "last_seen");
        json_write_time(writer, coordinator->last_seen_ms);
        json_write_object_end(writer);
    }
    json_write_array_end(writer);
}

const char *topology_own_id(const struct topology *topology)
{
    return topology->coordinator_count == 0 ? "" : topology->coordinators[0].id;
}

void topology_write_workers(struct replica_worker *const *workers, size_t count, const char *coordinator_id,
                            struct json_writer *writer)
{
    for (size_t i = 0; i < count; i++)
        event_write_worker(writer, workers[i], coordinator_id);
}

void topology_write_connections(struct replica_worker *const *workers, size_t count, const char *coordinator_id,
                                struct json_writer *writer)
{
    for (size_t i = 0; i < count; i++) {
        json_write_object_begin(writer);
        json_write_named_text(writer, "from",
                              workers[i]->coordinator != NULL ? workers[i]->coordinator : coordinator_id);
        json_write_named_text(writer, "to", workers[i]->id);
        json_write_named_text(writer, "type", "worker");
        json_write_named_bool(writer, "active", replica_is_healthy(workers[i]));
        json_write_object_end(writer);
    }
}

static void write_statistics(struct json_writer *writer, const struct topology *topology)
{
    const struct totals totals = count(topology->replica, NULL);
    size_t active = 0, services = 0, covered = 0, position = 0;
    const struct replica_service *service;
    for (size_t i = 0; i < topology->coordinator_count; i++)
        active += topology->coordinators[i].active ? 1 : 0;
    while ((service = map_next(&topology->replica->services, &position)) != NULL) {
        services++;
        covered += service->healthy_count > 0 ? 1 : 0;
    }
    json_write_key(writer, "statistics");
    json_write_object_begin(writer);
    json_write_named_uint(writer, "total_coordinators", topology->coordinator_count);
    json_write_named_uint(writer, "active_coordinators", active);
    json_write_named_uint(writer, "total_workers", totals.workers);
    json_write_named_uint(writer, "active_workers", totals.healthy);
    json_write_named_uint(writer, "total_services", services);
    json_write_named_uint(writer, "covered_services", covered);
    json_write_key(writer, "average_load");
    json_write_double(writer, average_load(&totals));
    json_write_object_end(writer);
}

void topology_write_rest(const struct topology *topology, bool complete, int64_t now_unix_ms,
                         struct json_writer *writer)
{
    write_coordinators(writer, topology);
    write_statistics(writer, topology);
    view_write_regions(writer, topology->regions);
    json_write_named_uint(writer, "revision", topology->revision);
    json_write_named_bool(writer, "complete", complete);
    json_write_key(writer, "timestamp");
    json_write_time(writer, now_unix_ms);
}

void topology_render(const struct topology *topology, size_t most, int64_t now_unix_ms, struct buffer *out)
{
    struct json_writer inner = json_writer_into(out);
    struct json_writer *writer = &inner;
    const struct replica *replica = topology->replica;
    const char *own_id = topology_own_id(topology);
    size_t shown = replica->worker_count < most ? replica->worker_count : most;
    json_write_object_begin(writer);
    json_write_key(writer, "workers");
    json_write_array_begin(writer);
    topology_write_workers(replica->workers, shown, own_id, writer);
    json_write_array_end(writer);
    json_write_key(writer, "connections");
    json_write_array_begin(writer);
    topology_write_connections(replica->workers, shown, own_id, writer);
    json_write_array_end(writer);
    topology_write_rest(topology, shown == replica->worker_count, now_unix_ms, writer);
    json_write_object_end(writer);
}
