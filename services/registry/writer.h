/* The thread that writes to the store, so that the loop never waits for a disk.
 *
 * One batch at a time: writer_commit hands a batch over, and `done` is called on the loop when
 * the store has said whether it is kept. What comes up meanwhile is the caller's to gather for
 * the next batch; that is what makes one fsync serve many requests.
 *
 * Threading: the loop's thread. The store belongs to the writer from its creation on. */

#pragma once

#include "common/rpc/loop.h"
#include "services/registry/store.h"

struct writer;

/* Takes the store over and starts the thread. Aborts when the system has no memory for one. */
struct writer *writer_create(struct rpc_loop *loop, struct store *store);

/* Waits for a batch that is being written (its `done` is not called any more), ends the thread
 * and closes the store. A backup that is under way is given up, and its `done` is called. NULL is
 * fine. */
void writer_destroy(struct writer *writer);

/* Whether the store can be copied, and how: piece by piece between batches into a new file, until
 * `done` is called with the result. One at a time: false means that another one is under way.
 * `path` must stay until then. */
bool writer_can_back_up(const struct writer *writer);
bool writer_back_up(struct writer *writer, const char *path,
                    void (*done)(void *argument, enum store_result result, const struct store_error *error),
                    void *argument);

/* Writes a batch, which stays the caller's and must not change until `done`. Only while none
 * is being written. `error` is valid during `done`. */
void writer_commit(struct writer *writer, const struct store_batch *batch,
                   void (*done)(void *argument, enum store_result result, const struct store_error *error),
                   void *argument);
