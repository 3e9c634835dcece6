/* Load over gRPC: HTTP/2 by nghttp2, messages encoded beforehand, the same generator for
 * every server. It costs the load's core about a third of what gRPC core costs the server's.
 *
 * A lane is a place in which one call runs. Streaming: each connection has one lane, its
 * call stays open, and `outstanding` messages are on their way in it. Unary: each
 * connection has `outstanding` lanes, each with one call after the other. Lanes are
 * numbered from 0 over all connections.
 *
 * What is sent and how an answer is judged comes from a source, so that a heartbeat to
 * Muster, a keep-alive of etcd and a registration are three small sources. */

#pragma once

#include "common/buffer.h"
#include "tests/bench/load.h"

struct grpc_run;

struct grpc_source {
    const char *path; /* "/muster.v1.HealthService/Heartbeat" */
    bool streaming;
    unsigned units; /* what one message counts for: 64 when it holds 64 heartbeats */
    /* Appends message `sequence` (from 1, by lane) to `message`, without gRPC's prefix. */
    void (*next)(void *context, unsigned lane, uint64_t sequence, struct buffer *message);
    /* Judges an answer in a lane that `answered` messages have been answered in: returns how
     * many more it answers, or -1 when it is wrong, and writes why. */
    int64_t (*judge)(void *context, unsigned lane, uint64_t answered, const uint8_t *answer, size_t bytes,
                     struct failure *failure);
    void *context;
};

bool load_grpc(struct loop *loop, const struct load_plan *plan, const struct grpc_source *source,
               struct load_result *result, struct failure *failure);

/* A load that runs beside others, as watchers do: of its plan, which like the source must
 * outlive it, the port and the numbers of connections and messages count. NULL when it could
 * not begin. */
struct grpc_run *load_grpc_begin(struct loop *loop, const struct load_plan *plan, const struct grpc_source *source,
                                 struct failure *failure);
/* Connections that have had an answer which answered something. */
unsigned load_grpc_answering(const struct grpc_run *run);
/* Ends it, NULL too; false when something was wrong meanwhile. */
bool load_grpc_end(struct grpc_run *run);
