/* The lists of a long roll on the backend's side, piece by piece; see pieces.h. Between two pieces the
 * roll changes: a worker that stays is listed once, as it is when its turn comes. */

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "gateway/backend.h"
#include "gateway/edge.h"
#include "gateway/front.h"
#include "gateway/pieces.h"
#include "gateway/topology.h"

static void begin_walk(struct list *list)
{
    struct backend *backend = list->pieces.backend;
    replica_walk_begin(&backend->replica, &list->walk);
    list->walks = true;
}

static void hand_back(struct list *list)
{
    if (list->pieces.complete && list->walks) {
        replica_walk_end(&list->pieces.backend->replica, &list->walk);
        list->walks = false;
    }
    loop_post(list->pieces.front->loop, &list->pieces.back);
}

/* The next workers of the roll; fewer than LIST_PIECE_WORKERS: these were the last. */
static size_t take_workers(struct list *list, struct replica_worker *workers[LIST_PIECE_WORKERS])
{
    size_t count = 0;
    while (count < LIST_PIECE_WORKERS &&
           (workers[count] = replica_walk_next(&list->pieces.backend->replica, &list->walk)) != NULL)
        count++;
    return count;
}

/* --- As an answer --- */

static void begin_list(struct list *list, struct json_writer *writer)
{
    struct backend *backend = list->pieces.backend;
    begin_walk(list);
    rendered_name(list->view, backend->replica.version, backend->epoch, clock_monotonic_ms(), list->pieces.etag,
                  sizeof list->pieces.etag);
    view_list_begin(writer);
}

static void fill_list(struct list *list, struct json_writer *writer)
{
    struct backend *backend = list->pieces.backend;
    struct replica_worker *workers[LIST_PIECE_WORKERS];
    size_t count = take_workers(list, workers);
    const struct view_moment moment = {rpc_loop_now_ms(backend->loop), clock_unix_ms()};
    for (size_t i = 0; i < count; i++)
        view_list_worker(list->view, &backend->replica, workers[i], moment, &list->listed, writer);
    if (count == LIST_PIECE_WORKERS)
        return;
    struct view_regions regions;
    bool has_regions = backend->edge != NULL && edge_regions(backend, &regions);
    view_list_end(list->view, &backend->replica, &list->listed, has_regions ? &regions : NULL, moment.now_unix_ms,
                  writer);
    list->pieces.complete = true;
}

static void fill_topology(struct list *list, struct json_writer *writer)
{
    struct backend *backend = list->pieces.backend;
    const char *coordinator_id = backend->gateway->coordinator_id;
    struct replica_worker *workers[LIST_PIECE_WORKERS];
    size_t count = take_workers(list, workers);
    if (list->in_connections)
        topology_write_connections(workers, count, coordinator_id, writer);
    else
        topology_write_workers(workers, count, coordinator_id, writer);
    if (count == LIST_PIECE_WORKERS)
        return;
    json_write_array_end(writer);
    replica_walk_end(&backend->replica, &list->walk);
    list->walks = false;
    if (list->in_connections) {
        struct topology topology;
        if (backend_topology(backend, &topology))
            topology_write_rest(&topology, true, clock_unix_ms(), writer);
        else
            writer->out->failed = true;
        json_write_object_end(writer);
        list->pieces.complete = true;
        return;
    }
    begin_walk(list);
    list->in_connections = true;
    json_write_key(writer, "connections");
    json_write_array_begin(writer);
}

void backend_run_list(void *argument)
{
    struct list *list = argument;
    struct json_writer writer = {&list->pieces.body, list->comma};
    buffer_clear(&list->pieces.body);
    if (!list->walks)
        begin_list(list, &writer);
    if (list->pieces.cancelled)
        list->pieces.complete = true;
    else if (list->view == VIEW_TOPOLOGY)
        fill_topology(list, &writer);
    else
        fill_list(list, &writer);
    list->comma = writer.comma;
    hand_back(list);
}

/* --- As messages --- */

void backend_run_topology_parts(void *argument)
{
    struct list *list = argument;
    struct backend *backend = list->pieces.backend;
    const char *coordinator_id = backend->gateway->coordinator_id;
    struct json_writer writer = json_writer_into(&list->pieces.body);
    struct replica_worker *workers[LIST_PIECE_WORKERS];
    buffer_clear(&list->pieces.body);
    if (!list->walks)
        begin_walk(list);
    size_t count = list->pieces.cancelled ? 0 : take_workers(list, workers);
    list->pieces.complete = count < LIST_PIECE_WORKERS;
    json_write_object_begin(&writer);
    json_write_named_text(&writer, "type", "topology_part");
    json_write_named_uint(&writer, "revision", backend->events.revision);
    json_write_key(&writer, "workers");
    json_write_array_begin(&writer);
    topology_write_workers(workers, count, coordinator_id, &writer);
    json_write_array_end(&writer);
    json_write_key(&writer, "connections");
    json_write_array_begin(&writer);
    topology_write_connections(workers, count, coordinator_id, &writer);
    json_write_array_end(&writer);
    json_write_named_bool(&writer, "complete", list->pieces.complete);
    json_write_object_end(&writer);
    hand_back(list);
}
