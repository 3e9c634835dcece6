/* The threads of the history: one that writes its file, and two that read it. The loop never waits
 * for a disk, and a short question never for a long one.
 *
 * Writing: batches wait in a queue of HISTORY_QUEUE_MAX; what does not fit, or cannot be written,
 * is dropped and counted, and the next batch is tried anew: so history comes back by itself when
 * the disk does. A failure is logged when it begins and when it ends.
 *
 * Reading: tasks of one kind run one after the other, on a thread of their own. How many wait is
 * the caller's to limit.
 *
 * Threading: every function on the loop's thread, which also runs what `done` points to. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/rpc/loop.h"
#include "services/health/history/history.h"

#define HISTORY_QUEUE_MAX 6

struct recorder;

/* Starts the threads; `path` is copied. NULL: no memory, or no more threads. */
struct recorder *recorder_create(struct rpc_loop *loop, const char *path);

/* Writes what waits, and ends the threads. Tasks that have not begun get `done` never: their
 * `drop` is called instead. NULL is fine. */
void recorder_destroy(struct recorder *recorder);

const char *recorder_path(const struct recorder *recorder);

/* Takes the batch over. */
void recorder_write(struct recorder *recorder, struct history_batch *batch);

struct recorder_state {
    uint64_t dropped;  /* rows */
    char failure[512]; /* why the last batch was not written; empty: it was */
};
void recorder_get_state(struct recorder *recorder, struct recorder_state *state);

enum recorder_kind {
    RECORDER_LOOKUP,    /* takes milliseconds: buckets of a worker */
    RECORDER_STATEMENT, /* may take as long as an operator's statement may */
    RECORDER_KINDS,
};

/* Work for a reading thread. The owner keeps it until `done` or `drop`. */
struct recorder_task {
    enum recorder_kind kind;
    struct recorder_task *next;               /* the recorder's */
    struct recorder *recorder;                /* the recorder's */
    void (*run)(struct recorder_task *task);  /* on the thread */
    void (*done)(struct recorder_task *task); /* then, on the loop */
    void (*drop)(struct recorder_task *task); /* instead of both, inside recorder_destroy */
};
void recorder_run(struct recorder *recorder, struct recorder_task *task);
