/* The coordinator, its workers and what runs where, as one JSON object: GET /api/topology, and the
 * first message of /ws/topology.
 *
 * Threading: the replica's thread. No I/O, no clock. */

#pragma once

#include "common/buffer.h"
#include "common/json/write.h"
#include "gateway/replica.h"

struct topology_coordinator {
    const char *id;
    const char *url; /* "": not known */
    bool degraded;   /* a process behind the gateway is down */
};

/* Appends the object, with the first `most` workers of the roll and their connections; `revision` is
 * that of the last event that it shows. */
void topology_render(const struct replica *replica, const struct topology_coordinator *coordinator, uint64_t revision,
                     size_t most, int64_t now_unix_ms, struct buffer *out);

/* Parts of it: items of "workers" and of "connections", and all other members. `complete`: no
 * workers follow elsewhere. */
void topology_write_workers(struct replica_worker *const *workers, size_t count, const char *coordinator_id,
                            struct json_writer *writer);
void topology_write_connections(struct replica_worker *const *workers, size_t count, const char *coordinator_id,
                                struct json_writer *writer);
void topology_write_rest(const struct replica *replica, const struct topology_coordinator *coordinator,
                         uint64_t revision, bool complete, int64_t now_unix_ms, struct json_writer *writer);
