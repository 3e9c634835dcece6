/* POST /api/admin/import and GET /api/admin/export: the whole roll, streamed through the gateway.
 *
 * Import: the front splits the body into workers (common/json/splitter.h), reads each, and
 * gathers them in chunks. Two chunks may be at the registry; while they are, the body waits in the
 * kernel's buffers and the client is held back: the memory of an import does not grow with its
 * length. A chunk comes back when all of it is on disk.
 *
 * Export: the backend reads the registry's stream and hands it to the front message by message;
 * the next one is read when the client has taken the one before.
 *
 * Threading: a chunk and a piece belong to the front while they are there and to the backend
 * from rpc_loop_post until they come back. */

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

/* An export; freed by the backend, with its last piece back. */
struct export_piece {
    struct loop_task back; /* first */
    struct backend *backend;
    struct front *front;
    struct http_exchange *exchange; /* the front's */
    struct rpc_call *call;          /* the backend's; NULL: it has ended, with this status and text */
    bool is_away;                   /* the backend's: the front has the piece's body */
    bool is_headed;                 /* the backend's: what stands before the first worker is written */
    bool begun;                     /* the front's: the answer's head is sent */
    bool is_blocked;                /* the front's: the client has not taken the piece before */
    bool cancelled;                 /* the front's word to the backend */
    bool complete;
    enum rpc_status status;
    char text[256];
    uint64_t count; /* workers until now */
    struct buffer body;
};

/* Posted to the backend's loop: starts an export, and asks for the next piece of it. */
void backend_run_export(void *piece);
void backend_continue_export(void *piece);
