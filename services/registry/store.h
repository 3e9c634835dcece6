/* Where the roll is kept: a table of worker id -> row number and bytes, and two numbers. All that the
 * registry asks of a disk goes through this interface, so that another kind of store is one
 * file beside store_sqlite.c and one line in store_choice.c.
 *
 * Contract, checked for every implementation by one suite (tests/unit/registry/store_test.cc)
 * with an error injected at every call beneath:
 *   - store_commit is atomic: all of the batch, or nothing, also after a crash in the middle;
 *   - when it returns STORE_OK, the batch survives the death of the process, and as far as the
 *     implementation states also that of the machine;
 *   - when it fails, the store holds what it held before and stays usable: the next commit may
 *     succeed. After a crash that follows a failure the whole batch may be there all the same,
 *     as with any store whose last write was not confirmed;
 *   - store_load sees every committed batch;
 *   - store_secret gives the same bytes for as long as the roll is kept, and other ones for every other roll.
 *
 * Row numbers are the caller's: each id has one of its own, above 0, from its first put to its
 * removal. A store may keep its rows in their order: new workers then come at the end, side by
 * side, wherever their ids are in the alphabet, and a batch of them is a few pages on disk. A
 * store that does not need them forgets them, and gives 0 back.
 *
 * Threading: one thread at a time; the functions block. Errors are a result and a text that
 * says what to do, in one line. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum store_result {
    STORE_OK,
    STORE_UNAVAILABLE, /* the disk (or memory) failed us; may pass */
    STORE_UNUSABLE,    /* corrupt, of another program, of a newer version: needs a human */
};

struct store_error {
    char text[400];
};

struct store_meta {
    uint64_t revision_ceiling;
    uint64_t incarnation_floor;
};

/* A put, or (value NULL) a removal, which may be of an id that is not there. */
struct store_change {
    uint64_t row;
    const char *id;
    size_t id_bytes;
    const void *value;
    size_t value_bytes;
};

/* The ids of one batch are distinct, and so are their row numbers. A batch without changes stores the numbers alone,
 * and succeeds only if what a batch failed of before is over, as far as the store can tell without leaving a trace. */
struct store_batch {
    const struct store_change *changes;
    size_t count;
    struct store_meta meta;
};

/* Called for each row; false stops the loading, which then fails as STORE_UNUSABLE with the
 * text that the visitor has put into error. */
typedef bool (*store_visit)(void *argument, uint64_t row, const char *id, size_t id_bytes, const void *value,
                            size_t value_bytes, struct store_error *error);

/* Bytes that belong to a roll, and that nobody can guess. */
#define STORE_SECRET_BYTES 32

struct store;

struct store_operations {
    enum store_result (*load)(struct store *store, struct store_meta *meta, store_visit visit, void *argument,
                              struct store_error *error);
    enum store_result (*commit)(struct store *store, const struct store_batch *batch, struct store_error *error);
    /* NULL: the store has no file to copy. */
    enum store_result (*backup)(struct store *store, const char *path, bool *complete, struct store_error *error);
    enum store_result (*secret)(struct store *store, uint8_t secret[STORE_SECRET_BYTES], struct store_error *error);
    void (*close)(struct store *store);
};

/* The first member of every implementation. */
struct store {
    const struct store_operations *operations;
};

/* Gives the numbers (zeroes at first) and every row, in no particular order. */
static inline enum store_result store_load(struct store *store, struct store_meta *meta, store_visit visit,
                                           void *argument, struct store_error *error)
{
    return store->operations->load(store, meta, visit, argument, error);
}

static inline enum store_result store_commit(struct store *store, const struct store_batch *batch,
                                             struct store_error *error)
{
    return store->operations->commit(store, batch, error);
}

static inline bool store_can_back_up(const struct store *store)
{
    return store->operations->backup != NULL;
}

/* Copies a piece of the store, some milliseconds' worth, into a new file; call it until it says
 * that the copy is complete, with commits in between, which become part of it. One copy at a
 * time; one that fails is given up, and its file is the caller's to remove. */
static inline enum store_result store_back_up(struct store *store, const char *path, bool *complete,
                                              struct store_error *error)
{
    return store->operations->backup(store, path, complete, error);
}

/* Gives the roll's secret, which is drawn and kept when there is none yet. */
static inline enum store_result store_secret(struct store *store, uint8_t secret[STORE_SECRET_BYTES],
                                             struct store_error *error)
{
    return store->operations->secret(store, secret, error);
}

/* Frees; NULL is fine. Commits nothing: what was committed is there already. */
static inline void store_close(struct store *store)
{
    if (store != NULL)
        store->operations->close(store);
}
