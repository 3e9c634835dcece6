/* POST /api/admin/import: a whole roll, streamed through the gateway. The export is in pieces.h.
 *
 * The front splits the body into workers (common/json/splitter.h), reads each, and
 * gathers them in chunks. Two chunks may be at the registry; while they are, the body waits in the
 * kernel's buffers and the client is held back: the memory of an import does not grow with its
 * length. A chunk comes back when all of it is on disk.
 *
 * Threading: a chunk belongs to the front while it is there and to the backend from rpc_loop_post
 * until it comes back. */

#pragma once

#include "common/arena.h"
#include "common/buffer.h"
#include "common/loop/loop.h"
#include "common/rpc/status.h"
#include "common/timer_wheel.h"
#include "muster/v1/registry.pb-c.h"

#include <stdatomic.h>

struct backend;
struct front;
struct http_exchange;
struct import;
struct rpc_call;

/* Fewer than the registry takes in one request: the workers' texts are up to 4 MiB long. */
#define IMPORT_CHUNK_WORKERS_MAX 500
/* A chunk that holds that much is sent; with one more worker it is below the registry's 8 MiB. */
#define IMPORT_CHUNK_BYTES (1024 * 1024)

struct import_skipped {
    char *worker_id, *reason; /* in the chunk's arena */
};

struct import_chunk {
    struct loop_task back; /* first: how it comes back */
    struct backend *backend;
    struct front *front;
    struct import *import;
    bool is_away;
    struct arena arena;
    Muster__V1__Worker *workers[IMPORT_CHUNK_WORKERS_MAX];
    size_t count;
    size_t bytes; /* of their texts */

    /* What became of it. With `wait_for_revision`, and no workers, it comes back when the
     * replica has come that far, or does not get there soon. */
    enum rpc_status status;
    char text[256];
    bool answered;
    uint64_t imported;
    uint64_t revision, wait_for_revision;
    struct import_skipped *skipped;
    size_t skipped_count;
    struct timer timer;
    uint64_t deadline_ms;
};

/* Posted to the backend's loop: a struct import_chunk. */
void backend_run_import(void *chunk);
