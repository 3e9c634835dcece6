/* History on disk: one SQLite file with a ring of buckets for each step.
 *
 *     step     slots   reaches back
 *     10 s       360   1 hour
 *     1 min    1,440   1 day
 *     1 h        720   30 days
 *
 * A bucket lies in the slot (time / step) modulo the number of slots; what an earlier round
 * left there is deleted when the slot is written again. So the file is bounded by slots x
 * workers, and a clock that jumps ahead for a while spoils only the slots that it wrote to:
 * readers pass over what is not within the ring before now.
 *
 * A batch of the 10 s step is folded into the open buckets of all three steps in one
 * transaction. There is no roll-up to catch up with: a process that is killed loses the step
 * that it had not handed over, and the file (WAL) is as it was after some batch.
 *
 * The tables are the store's own; people ask through the views of query.h.
 *
 * Threading: one thread at a time for a store. Other connections may read meanwhile. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "services/health/history/history.h"

struct history_store;

struct history_step {
    uint32_t seconds;
    uint32_t slots;
};
#define HISTORY_STEP_COUNT 3
/* The steps, finest first. */
const struct history_step *history_steps(void);
/* The step of so many seconds, or NULL. */
const struct history_step *history_step_find(uint32_t seconds);

#define HISTORY_ERROR_BYTES 512

/* Opens the file and makes it if it is missing. One that is damaged, or no history, is put
 * aside as FILE.damaged (`note` says so, else it is ""), since history is not worth a process
 * that does not start. NULL with the reason in `error` (HISTORY_ERROR_BYTES each). */
struct history_store *history_store_open(const char *path, char *note, char *error);
/* NULL is fine. */
void history_store_close(struct history_store *store);

/* Folds a batch in, all or nothing. False with the reason in `error`: close the store, and open
 * it again for the next batch. */
bool history_store_write(struct history_store *store, const struct history_batch *batch, char *error);

/* --- Reading --- */

/* A connection that only reads, through that VFS of SQLite (NULL: the default one); NULL with the
 * reason in `error`. Close it with sqlite3_close. */
sqlite3 *history_store_open_reader(const char *path, const char *vfs, char *error);

/* Whether nothing has been kept there yet: there is no file, or its tables are just being made. */
bool history_store_is_unmade(const char *path);

struct history_point {
    int64_t time_seconds;
    struct history_figures figures;
};

/* The buckets of one worker in a step, oldest first, which begin between the two times (seconds
 * since the epoch, inclusive) and within the ring before now. *points is the caller's to free.
 * False with the reason in `error`. */
bool history_store_read(sqlite3 *reader, const char *worker_id, const struct history_step *step, int64_t since_seconds,
                        int64_t until_seconds, int64_t now_seconds, struct history_point **points, size_t *count,
                        char *error);

/* Empty tables of the store in a database of their own, for a process that has no file. */
bool history_store_create_tables(sqlite3 *database);
