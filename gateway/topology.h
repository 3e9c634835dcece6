/* The coordinator, its workers and what runs where, as one JSON object: GET /api/topology, and the
 * first message of /ws/topology.
 *
 * Threading: the replica's thread. No I/O, no clock. */

#pragma once

#include "common/buffer.h"
#include "gateway/replica.h"

struct topology_coordinator {
    const char *id;
    const char *url; /* "": not known */
    bool degraded;   /* a process behind the gateway is down */
};

/* Appends the object; `revision` is that of the last event that it shows. */
void topology_render(const struct replica *replica, const struct topology_coordinator *coordinator, uint64_t revision,
                     int64_t now_unix_ms, struct buffer *out);
