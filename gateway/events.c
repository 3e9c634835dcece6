/* See events.h. */

#include "gateway/events.h"

#include <string.h>

#include "gateway/worker_json.h"

uint64_t events_first_revision(int64_t now_unix_ms)
{
    return (uint64_t)(now_unix_ms > 0 ? now_unix_ms : 1) * EVENTS_PER_MS;
}

/* --- JSON --- */

static void write_services(struct json_writer *writer, const struct replica_worker *worker)
{
    json_write_key(writer, "services");
    json_write_array_begin(writer);
    for (size_t i = 0; i < worker->offer_count; i++)
        json_write_text(writer, worker->record->offers[i].service->name);
    json_write_array_end(writer);
}

void event_write_worker(struct json_writer *writer, const struct replica_worker *worker, const char *coordinator_id)
{
    Muster__V1__Worker *record = replica_record_unpack(worker->record);
    if (record == NULL) {
        writer->out->failed = true;
        return;
    }
    json_write_object_begin(writer);
    json_write_named_text(writer, "id", worker->id);
    json_write_named_text(writer, "type", worker_type_word(record->type));
    const char *coordinator = worker->coordinator != NULL ? worker->coordinator : coordinator_id;
    json_write_named_text(writer, "coordinator", coordinator);
    json_write_named_text(writer, "coordinator_id", coordinator);
    write_services(writer, worker);
    json_write_named_text(writer, "status", worker_status_word(replica_status(worker)));
    json_write_named_text(writer, "tunnel_url", record->spec->tunnel_url);
    json_write_named_text(writer, "location", record->spec->location);
    json_write_key(writer, "capabilities");
    worker_json_write_capabilities(writer, record->spec->capabilities);
    json_write_key(writer, "metrics");
    json_write_object_begin(writer);
    json_write_key(writer, "current_load");
    json_write_double(writer, replica_load(worker));
    json_write_object_end(writer);
    json_write_key(writer, "incarnation");
    json_write_uint(writer, record->incarnation);
    json_write_key(writer, "last_seen");
    json_write_time(writer, replica_last_heard_ms(worker));
    json_write_object_end(writer);
    muster__v1__worker__free_unpacked(record, NULL);
}

static const char *coverage_word(enum replica_coverage coverage)
{
    static const char *const words[] = {"critical", "warning", "ok", "unknown"};
    return words[coverage];
}

static const char *type_word(const struct replica_change *change)
{
    switch (change->type) {
    case REPLICA_REGISTERED:
        return "worker_registered";
    case REPLICA_UNREGISTERED:
        return "worker_unregistered";
    case REPLICA_STATUS_CHANGED:
        return "worker_status";
    case REPLICA_ASSIGNED:
        return "worker_assigned";
    case REPLICA_COVERAGE:
        return change->service->coverage_told == REPLICA_COVERAGE_NONE ? "gap_opened"
               : change->coverage_before == REPLICA_COVERAGE_NONE      ? "gap_closed"
                                                                       : "coverage_changed";
    case REPLICA_CATALOG_CHANGED:
        return "catalog_changed";
    }
    return "unknown";
}

static void write_coverage(struct json_writer *writer, const struct replica_change *change)
{
    const struct replica_service *service = change->service;
    json_write_named_text(writer, "service", service->name);
    json_write_named_text(writer, "required_type", worker_type_word(service->catalog->requires));
    json_write_named_text(writer, "status", coverage_word(service->coverage_told));
    json_write_named_text(writer, "previous_status", coverage_word(change->coverage_before));
    json_write_key(writer, "current_workers");
    json_write_uint(writer, service->healthy_count);
}

void event_render(const struct replica_change *change, uint64_t revision, int64_t now_unix_ms,
                  const char *coordinator_id, struct buffer *out)
{
    struct json_writer inner = json_writer_into(out);
    struct json_writer *writer = &inner;
    json_write_object_begin(writer);
    json_write_named_text(writer, "type", type_word(change));
    json_write_key(writer, "revision");
    json_write_uint(writer, revision);
    json_write_key(writer, "time");
    json_write_time(writer, change->at_ms > 0 ? change->at_ms : now_unix_ms);
    if (change->worker != NULL)
        json_write_named_text(writer, "worker_id", change->worker->id);
    switch (change->type) {
    case REPLICA_REGISTERED:
        json_write_key(writer, "worker");
        event_write_worker(writer, change->worker, coordinator_id);
        break;
    case REPLICA_STATUS_CHANGED:
        json_write_named_text(writer, "status", worker_status_word(replica_status(change->worker)));
        json_write_named_text(writer, "previous_status", worker_status_word(change->before));
        break;
    case REPLICA_ASSIGNED:
        write_services(writer, change->worker);
        break;
    case REPLICA_COVERAGE:
        write_coverage(writer, change);
        break;
    case REPLICA_UNREGISTERED:
    case REPLICA_CATALOG_CHANGED:
        break;
    }
    if (change->type == REPLICA_UNREGISTERED || change->type == REPLICA_STATUS_CHANGED)
        json_write_named_text(writer, "reason", change->reason);
    json_write_object_end(writer);
}

/* --- The ring --- */

void event_ring_init(struct event_ring *ring, uint64_t first_revision)
{
    *ring = (struct event_ring){.newest = first_revision};
}

void event_ring_free(struct event_ring *ring)
{
    for (size_t i = 0; i < EVENT_RING_CAPACITY; i++)
        http_shared_release(ring->texts[i]);
    event_ring_init(ring, ring->newest);
}

static void drop_oldest(struct event_ring *ring)
{
    struct http_shared **slot = &ring->texts[(ring->newest - ring->count + 1) % EVENT_RING_CAPACITY];
    ring->bytes -= http_shared_text(*slot).bytes;
    ring->count--;
    http_shared_release(*slot);
    *slot = NULL;
}

void event_ring_skip(struct event_ring *ring, uint64_t revision)
{
    if (revision <= ring->newest)
        return;
    event_ring_free(ring);
    ring->newest = revision;
}

void event_ring_push(struct event_ring *ring, const struct event *event)
{
    if (event->text == NULL || event->revision != ring->newest + 1) {
        event_ring_skip(ring, event->revision);
        return;
    }
    if (ring->count == EVENT_RING_CAPACITY)
        drop_oldest(ring);
    ring->texts[event->revision % EVENT_RING_CAPACITY] = http_shared_reference(event->text);
    ring->newest = event->revision;
    ring->count++;
    ring->bytes += http_shared_text(event->text).bytes;
    while (ring->bytes > EVENT_RING_BYTES_MAX && ring->count > 1)
        drop_oldest(ring);
}

bool event_ring_continues(const struct event_ring *ring, uint64_t revision)
{
    return revision <= ring->newest && ring->newest - revision <= ring->count;
}

struct http_shared *event_ring_after(const struct event_ring *ring, uint64_t revision)
{
    return revision == ring->newest ? NULL : ring->texts[(revision + 1) % EVENT_RING_CAPACITY];
}
