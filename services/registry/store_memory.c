/* A store in memory; see store_memory.h. */

#include "services/registry/store_memory.h"

#include "common/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows are kept sorted by id in one array: small and plain, not fast. */
struct row {
    uint64_t number;
    char *id; /* the value follows it in the same memory */
    size_t id_bytes;
    size_t value_bytes;
};

struct memory_store {
    struct store base;
    bool (*allowed)(void *argument);
    void *argument;
    struct row *rows;
    size_t count;
    struct store_meta meta;
    uint8_t secret[STORE_SECRET_BYTES];
};

static bool is_allowed(struct memory_store *store, struct store_error *error)
{
    if (store->allowed == NULL || store->allowed(store->argument))
        return true;
    snprintf(error->text, sizeof(error->text), "memory store: the step was made to fail");
    return false;
}

static int compare(const struct row *row, const char *id, size_t id_bytes)
{
    int order = memcmp(row->id, id, row->id_bytes < id_bytes ? row->id_bytes : id_bytes);
    return order != 0 ? order : (row->id_bytes > id_bytes) - (row->id_bytes < id_bytes);
}

static enum store_result memory_load(struct store *base, struct store_meta *meta, store_visit visit, void *argument,
                                     struct store_error *error)
{
    struct memory_store *store = (struct memory_store *)base;
    *meta = store->meta;
    for (size_t i = 0; i < store->count; i++) {
        const struct row *row = &store->rows[i];
        if (!is_allowed(store, error))
            return STORE_UNAVAILABLE;
        if (!visit(argument, row->number, row->id, row->id_bytes, row->id + row->id_bytes, row->value_bytes, error))
            return STORE_UNUSABLE;
    }
    return STORE_OK;
}

static bool make_row(struct row *row, const struct store_change *change)
{
    *row = (struct row){change->row, malloc(change->id_bytes + change->value_bytes + 1), change->id_bytes,
                        change->value_bytes};
    if (row->id == NULL)
        return false;
    memcpy(row->id, change->id, change->id_bytes);
    memcpy(row->id + change->id_bytes, change->value, change->value_bytes);
    return true;
}

/* The place of an id in the rows, or where it would go. */
static size_t place_of(const struct memory_store *store, const char *id, size_t id_bytes, bool *found)
{
    size_t place = 0;
    while (place < store->count && compare(&store->rows[place], id, id_bytes) < 0)
        place++;
    *found = place < store->count && compare(&store->rows[place], id, id_bytes) == 0;
    return place;
}

static void put(struct memory_store *store, struct row row)
{
    bool found;
    size_t place = place_of(store, row.id, row.id_bytes, &found);
    if (found) {
        free(store->rows[place].id);
    } else {
        memmove(&store->rows[place + 1], &store->rows[place], (store->count - place) * sizeof(*store->rows));
        store->count++;
    }
    store->rows[place] = row;
}

static void remove_row(struct memory_store *store, const char *id, size_t id_bytes)
{
    bool found;
    size_t place = place_of(store, id, id_bytes, &found);
    if (!found)
        return;
    free(store->rows[place].id);
    store->count--;
    memmove(&store->rows[place], &store->rows[place + 1], (store->count - place) * sizeof(*store->rows));
}

/* Everything that can fail comes first: the new rows and room for them. */
static enum store_result memory_commit(struct store *base, const struct store_batch *batch, struct store_error *error)
{
    struct memory_store *store = (struct memory_store *)base;
    struct row *made = calloc(batch->count + 1, sizeof(*made));
    struct row *rows = made == NULL ? NULL : realloc(store->rows, (store->count + batch->count + 1) * sizeof(*rows));
    bool ready = rows != NULL;
    if (rows != NULL)
        store->rows = rows;
    if (!ready)
        snprintf(error->text, sizeof(error->text), "memory store: out of memory; try again");
    for (size_t i = 0; ready && i <= batch->count; i++) {
        ready = is_allowed(store, error);
        if (ready && i < batch->count && batch->changes[i].value != NULL && !make_row(&made[i], &batch->changes[i])) {
            snprintf(error->text, sizeof(error->text), "memory store: out of memory; try again");
            ready = false;
        }
    }
    for (size_t i = 0; i < batch->count && made != NULL; i++) {
        if (!ready)
            free(made[i].id);
        else if (made[i].id != NULL)
            put(store, made[i]);
        else
            remove_row(store, batch->changes[i].id, batch->changes[i].id_bytes);
    }
    free(made);
    if (!ready)
        return STORE_UNAVAILABLE;
    store->meta = batch->meta;
    return STORE_OK;
}

static enum store_result memory_secret(struct store *base, uint8_t secret[STORE_SECRET_BYTES],
                                       struct store_error *error)
{
    struct memory_store *store = (struct memory_store *)base;
    if (!is_allowed(store, error))
        return STORE_UNAVAILABLE;
    memcpy(secret, store->secret, STORE_SECRET_BYTES);
    return STORE_OK;
}

static void memory_close(struct store *base)
{
    struct memory_store *store = (struct memory_store *)base;
    for (size_t i = 0; i < store->count; i++)
        free(store->rows[i].id);
    free(store->rows);
    free(store);
}

static const struct store_operations operations = {memory_load, memory_commit, NULL, memory_secret, memory_close};

struct store *store_memory_open(bool (*allowed)(void *argument), void *argument)
{
    struct memory_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return NULL;
    store->base.operations = &operations;
    random_bytes(store->secret, sizeof(store->secret));
    store->allowed = allowed;
    store->argument = argument;
    return &store->base;
}
