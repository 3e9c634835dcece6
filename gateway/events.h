/* What happens on the roll, as a numbered sequence of JSON texts: the feed behind /ws/events and
 * /ws/topology.
 *
 * A subscriber is first sent one of
 *     {"type": "ready", "revision": R, "missed": false}      everything after R follows
 *     {"type": "reset", "revision": R, "missed": true}       the same, but what came between its
 *                                                            ?since= and R is not known any more
 *     {"type": "topology", "revision": R, "missed": …, "topology": {…}}
 *                                                            /ws/topology, unless ?since= is known
 *     The topology's "complete" is false when the roll is long: its first workers are shown, and
 *     all of them follow in messages between the events,
 *     {"type": "topology_part", "revision": …, "workers": […], "connections": […], "complete": true
 *     with the last one}
 * and then each event: {"type": …, "revision": R + 1, "time": …} with, by type,
 *     worker_registered      worker_id, worker (as in the topology); also when it registers anew
 *     worker_unregistered    worker_id, reason
 *     worker_status          worker_id, status, previous_status, reason; "draining" is one
 *     worker_assigned        worker_id, services
 *     gap_opened             service, required_type, status, previous_status, current_workers:
 *                            no healthy worker is left
 *     gap_closed             the same members: there is one again
 *     coverage_changed       the same members: one, or enough
 *     catalog_changed        nothing: read /api/admin/gaps
 *
 * Revisions count up by one with each event. A process begins at the milliseconds since the
 * epoch at its start, times EVENTS_PER_MS: so it never reuses a revision that an earlier process
 * gave out, nor one that another gateway did, and a client that comes back with a revision from
 * elsewhere is found out: it lies outside what is kept here. They stay below 2^53, which
 * JavaScript counts exactly.
 *
 * The backend renders events while somebody subscribes, and for ten minutes after; each front keeps the last of them in
 * a ring of its own, whose texts are shared. A subscriber is no more than the revision that it has come to: nothing is
 * queued for it, and one that falls behind the ring is to be dropped.
 *
 * Threading: a ring belongs to one thread; texts may be shared. No I/O, no clock. */

#pragma once

#include "common/http/server.h"
#include "common/json/write.h"
#include "gateway/replica.h"

#define EVENTS_PER_MS 4096
#define EVENT_RING_CAPACITY 4096
/* Of texts in a ring: a worker may have a megabyte of capabilities. */
#define EVENT_RING_BYTES_MAX (16 * 1024 * 1024)

/* The revision before the first event of a process that starts now. */
uint64_t events_first_revision(int64_t now_unix_ms);

struct event {
    uint64_t revision;
    struct http_shared *text; /* a reference of whoever holds the event */
};

/* Appends the JSON of a change. `now_unix_ms` stands in for a change without a time of its own. */
void event_render(const struct replica_change *change, uint64_t revision, int64_t now_unix_ms,
                  const char *coordinator_id, struct buffer *out);

/* A worker as the topology shows it; `active` also when it only has been late. */
void event_write_worker(struct json_writer *writer, const struct replica_worker *worker, const char *coordinator_id);

/* --- What was last --- */

struct event_ring {
    uint64_t newest; /* revision; of the last event, or before the first one */
    size_t count;    /* of those kept: revisions newest - count + 1 … newest */
    size_t bytes;    /* of their texts */
    struct http_shared *texts[EVENT_RING_CAPACITY];
};

/* An all-zero ring with `newest` set is empty. */
void event_ring_init(struct event_ring *ring, uint64_t first_revision);
void event_ring_free(struct event_ring *ring);

/* Takes a reference of its own. The revision must be the next one: if it is not, or the text is
 * NULL (memory ran out), all that is kept is let go, so that nobody takes the gap for nothing. */
void event_ring_push(struct event_ring *ring, const struct event *event);

/* Events up to this revision were not kept: nobody listened. Does nothing when the ring is there already. */
void event_ring_skip(struct event_ring *ring, uint64_t revision);

/* Whether one who knows everything up to this revision can be told all that came since. */
bool event_ring_continues(const struct event_ring *ring, uint64_t revision);

/* The text of the event after `revision`, for which event_ring_continues holds; NULL: there is
 * none yet. */
struct http_shared *event_ring_after(const struct event_ring *ring, uint64_t revision);
