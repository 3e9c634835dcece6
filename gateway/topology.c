/* See topology.h. */

#include "gateway/topology.h"

#include "common/json/write.h"
#include "gateway/events.h"

struct totals {
    size_t healthy;
    double load; /* of the healthy ones together */
    size_t services, covered;
};

static struct totals count(const struct replica *replica)
{
    struct totals totals = {.healthy = replica->healthy_count, .load = (double)replica->load_sum / 1e6};
    size_t position = 0;
    const struct replica_service *service;
    while ((service = map_next(&replica->services, &position)) != NULL) {
        totals.services++;
        totals.covered += service->healthy_count > 0 ? 1 : 0;
    }
    return totals;
}

static double average_load(const struct totals *totals)
{
    return totals->healthy == 0 ? 0 : totals->load / (double)totals->healthy;
}

static void write_coordinators(struct json_writer *writer, const struct topology_coordinator *coordinator,
                               const struct replica *replica, const struct totals *totals, int64_t now_unix_ms)
{
    json_write_key(writer, "coordinators");
    json_write_array_begin(writer);
    json_write_object_begin(writer);
    json_write_named_text(writer, "id", coordinator->id);
    json_write_named_text(writer, "url", coordinator->url);
    json_write_named_text(writer, "location", "");
    json_write_named_uint(writer, "workers", replica->worker_count);
    json_write_named_uint(writer, "workers_count", replica->worker_count);
    json_write_key(writer, "load");
    json_write_double(writer, average_load(totals));
    json_write_named_text(writer, "status", coordinator->degraded ? "degraded" : "healthy");
    json_write_key(writer, "last_seen");
    json_write_time(writer, now_unix_ms);
    json_write_object_end(writer);
    json_write_array_end(writer);
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
        json_write_named_text(writer, "from", coordinator_id);
        json_write_named_text(writer, "to", workers[i]->id);
        json_write_named_text(writer, "type", "worker");
        json_write_named_bool(writer, "active", replica_is_healthy(workers[i]));
        json_write_object_end(writer);
    }
}

static void write_statistics(struct json_writer *writer, const struct topology_coordinator *coordinator,
                             const struct replica *replica, const struct totals *totals)
{
    json_write_key(writer, "statistics");
    json_write_object_begin(writer);
    json_write_named_uint(writer, "total_coordinators", 1);
    json_write_named_uint(writer, "active_coordinators", coordinator->degraded ? 0 : 1);
    json_write_named_uint(writer, "total_workers", replica->worker_count);
    json_write_named_uint(writer, "active_workers", totals->healthy);
    json_write_named_uint(writer, "total_services", totals->services);
    json_write_named_uint(writer, "covered_services", totals->covered);
    json_write_key(writer, "average_load");
    json_write_double(writer, average_load(totals));
    json_write_object_end(writer);
}

void topology_write_rest(const struct replica *replica, const struct topology_coordinator *coordinator,
                         uint64_t revision, bool complete, int64_t now_unix_ms, struct json_writer *writer)
{
    const struct totals totals = count(replica);
    write_coordinators(writer, coordinator, replica, &totals, now_unix_ms);
    write_statistics(writer, coordinator, replica, &totals);
    json_write_named_uint(writer, "revision", revision);
    json_write_named_bool(writer, "complete", complete);
    json_write_key(writer, "timestamp");
    json_write_time(writer, now_unix_ms);
}

void topology_render(const struct replica *replica, const struct topology_coordinator *coordinator, uint64_t revision,
                     size_t most, int64_t now_unix_ms, struct buffer *out)
{
    struct json_writer inner = json_writer_into(out);
    struct json_writer *writer = &inner;
    size_t count_shown = replica->worker_count < most ? replica->worker_count : most;
    json_write_object_begin(writer);
    json_write_key(writer, "workers");
    json_write_array_begin(writer);
    topology_write_workers(replica->workers, count_shown, coordinator->id, writer);
    json_write_array_end(writer);
    json_write_key(writer, "connections");
    json_write_array_begin(writer);
    topology_write_connections(replica->workers, count_shown, coordinator->id, writer);
    json_write_array_end(writer);
    topology_write_rest(replica, coordinator, revision, count_shown == replica->worker_count, now_unix_ms, writer);
    json_write_object_end(writer);
}
