/* One worker's record: its load and its assignment, packed; see state.h. */

#include "services/health/state.h"

#include <stdlib.h>
#include <string.h>

/* A load above this is not a load: loaded_models and services_status are short lists. */
#define LOAD_BYTES_MAX 65536
/* The length before it: a varint of at most three bytes. */
#define LENGTH_BYTES_MAX 3

/* With what pads the struct at its end, which is written with it. */
static size_t worker_bytes(size_t id_bytes)
{
    size_t bytes = offsetof(struct health_worker, id) + id_bytes + 1;
    return bytes < sizeof(struct health_worker) ? sizeof(struct health_worker) : bytes;
}

struct health_worker *health_worker_create(struct health *health, const char *worker_id, uint64_t incarnation)
{
    size_t id_bytes = strlen(worker_id);
    struct health_worker *worker = slab_take(health->memory, worker_bytes(id_bytes));
    if (worker == NULL)
        return NULL;
    *worker = (struct health_worker){.incarnation = 0};
    worker->incarnation = incarnation;
    worker->id_bytes = (uint16_t)id_bytes;
    memcpy(worker->id, worker_id, id_bytes + 1);
    worker->pending = worker->load_pending = worker->known_to = UINT32_MAX;
    return worker;
}

void health_worker_free(struct health_worker *worker)
{
    health_worker_forget_load(worker);
    free(worker->untold);
    slab_give(worker, worker_bytes(worker->id_bytes));
}

void health_worker_forget_load(struct health_worker *worker)
{
    if (worker->load != NULL)
        slab_give(worker->load, worker->load_bytes);
    worker->load = NULL;
    worker->load_bytes = 0;
}

struct detector_lease health_worker_lease(const struct health *health, const struct health_worker *worker)
{
    return (struct detector_lease){
        .last_heard_ms = worker->last_heard_ms,
        .broken_at_ms = worker->last_heard_ms + worker->broken_after_ms,
        .stream_broken = worker->stream_broken,
        .held_until_ms = worker->held ? flapping_hold_of(&health->flapping, worker->id).until_ms : 0,
        .heard = worker->heard,
        .contested = worker->contested > 0,
        .base = (Muster__V1__WorkerStatus)worker->base,
    };
}

enum load_result health_worker_set_load(struct health *health, struct health_worker *worker,
                                        const Muster__V1__Load *load)
{
    size_t bytes = muster__v1__load__get_packed_size(load);
    if (bytes > LOAD_BYTES_MAX)
        return LOAD_REFUSED;
    if (health->scratch_bytes < bytes + LENGTH_BYTES_MAX) {
        uint8_t *bigger = realloc(health->scratch, bytes + LENGTH_BYTES_MAX);
        if (bigger == NULL)
            return LOAD_REFUSED;
        health->scratch = bigger;
        health->scratch_bytes = bytes + LENGTH_BYTES_MAX;
    }
    size_t length_bytes = 0;
    size_t rest = bytes;
    do {
        uint8_t more = rest > 0x7f ? 0x80 : 0;
        health->scratch[length_bytes++] = (uint8_t)((rest & 0x7f) | more);
        rest >>= 7;
    } while (rest != 0);
    size_t total = length_bytes + muster__v1__load__pack(load, health->scratch + length_bytes);

    if (worker->load != NULL && worker->load_bytes == total) {
        if (memcmp(worker->load, health->scratch, total) == 0)
            return LOAD_SAME;
    } else {
        uint8_t *kept = slab_take(health->memory, total);
        if (kept == NULL)
            return LOAD_REFUSED;
        health_worker_forget_load(worker);
        worker->load = kept;
        worker->load_bytes = (uint32_t)total;
    }
    memcpy(worker->load, health->scratch, total);
    return LOAD_CHANGED;
}

struct name_list *health_name_list_create(char *const *names, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += strlen(names[i]) + 1;
    if (bytes > UINT32_MAX || count > UINT32_MAX)
        return NULL;
    struct name_list *list = malloc(sizeof(*list) + bytes);
    if (list == NULL)
        return NULL;
    list->count = (uint32_t)count;
    list->bytes = (uint32_t)bytes;
    char *text = list->text;
    for (size_t i = 0; i < count; i++) {
        size_t name_bytes = strlen(names[i]) + 1;
        memcpy(text, names[i], name_bytes);
        text += name_bytes;
    }
    return list;
}

/* FNV-1a (G. Fowler, L. C. Noll, P. Vo), the zero bytes between the names included. The
 * names come from the catalog, not from strangers. */
uint64_t health_name_list_hash(char *const *names, size_t count)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < count; i++) {
        const char *text = names[i];
        do {
            hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
        } while (*text++ != 0);
    }
    return hash;
}
