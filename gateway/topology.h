/* The coordinator, or all those behind an edge router, the workers and what runs where, as one JSON
 * object: GET /api/topology, and the first message of /ws/topology.
 *
 * Threading: the replica's thread. No I/O, no clock. */

#pragma once

#include "common/buffer.h"
#include "common/json/write.h"
#include "gateway/replica.h"
#include "gateway/views.h"

struct topology_coordinator {
    const char *id;
    const char *url;      /* "": not known */
    const char *location; /* likewise */
    const char *status;   /* a word: "healthy" */
    bool active;
    int64_t last_seen_ms; /* since the epoch; 0: never */
};

struct topology {
    const struct replica *replica;
    /* This one; at an edge router all those that hold workers (replica_worker.coordinator). */
    const struct topology_coordinator *coordinators;
    size_t coordinator_count;
    const struct view_regions *regions; /* NULL: not an edge router */
    uint64_t revision;                  /* of the last event that it shows */
};

/* Appends the object, with the first `most` workers of the roll and their connections. */
void topology_render(const struct topology *topology, size_t most, int64_t now_unix_ms, struct buffer *out);

/* Whose the workers are that no coordinator is named for; an edge router has none. */
const char *topology_own_id(const struct topology *topology);

/* Parts of it: items of "workers" and of "connections", and all other members. `complete`: no
 * workers follow elsewhere. */
void topology_write_workers(struct replica_worker *const *workers, size_t count, const char *coordinator_id,
                            struct json_writer *writer);
void topology_write_connections(struct replica_worker *const *workers, size_t count, const char *coordinator_id,
                                struct json_writer *writer);
void topology_write_rest(const struct topology *topology, bool complete, int64_t now_unix_ms,
                         struct json_writer *writer);
