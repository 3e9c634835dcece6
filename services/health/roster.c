/* Open addressing with linear probing; see roster.h. */

#include "services/health/roster.h"

#include "services/health/state.h"

#include <stdlib.h>
#include <string.h>

/* Never 0, which is a free slot. */
static uint32_t hash_of(const char *worker_id, size_t id_bytes)
{
    uint32_t hash = map_hash(worker_id, id_bytes);
    return hash != 0 ? hash : 1;
}

/* The slot of that id, or the free one where it would go. The table is never full. */
static size_t find(const struct roster *roster, const char *worker_id, size_t id_bytes, uint32_t hash)
{
    size_t mask = roster->capacity - 1, slot = hash & mask;
    for (; roster->hashes[slot] != 0; slot = (slot + 1) & mask) {
        const struct health_worker *worker = roster->workers[slot];
        if (roster->hashes[slot] == hash && worker->id_bytes == id_bytes &&
            memcmp(worker->id, worker_id, id_bytes) == 0)
            break;
    }
    return slot;
}

static bool grow(struct roster *roster)
{
    struct roster bigger = {.capacity = roster->capacity == 0 ? 8 : roster->capacity * 2, .count = roster->count};
    bigger.workers = calloc(bigger.capacity, sizeof(struct health_worker *));
    bigger.hashes = calloc(bigger.capacity, sizeof(*bigger.hashes));
    if (bigger.workers == NULL || bigger.hashes == NULL) {
        roster_free(&bigger);
        return false;
    }
    for (size_t i = 0; i < roster->capacity; i++) {
        size_t slot = roster->hashes[i] & (bigger.capacity - 1);
        if (roster->hashes[i] == 0)
            continue;
        while (bigger.hashes[slot] != 0)
            slot = (slot + 1) & (bigger.capacity - 1);
        bigger.hashes[slot] = roster->hashes[i];
        bigger.workers[slot] = roster->workers[i];
    }
    roster_free(roster);
    *roster = bigger;
    return true;
}

void roster_free(struct roster *roster)
{
    free(roster->workers);
    free(roster->hashes);
    *roster = (struct roster){.count = 0};
}

struct health_worker *roster_find(const struct roster *roster, const char *worker_id)
{
    size_t id_bytes = strlen(worker_id);
    if (roster->count == 0)
        return NULL;
    return roster->workers[find(roster, worker_id, id_bytes, hash_of(worker_id, id_bytes))];
}

void roster_expect(const struct roster *roster, const char *worker_id)
{
    if (roster->capacity == 0)
        return;
    size_t slot = hash_of(worker_id, strlen(worker_id)) & (roster->capacity - 1);
    __builtin_prefetch(&roster->hashes[slot], 1);
    __builtin_prefetch(&roster->workers[slot], 1);
}

bool roster_add(struct roster *roster, struct health_worker *worker)
{
    if (!map_seed())
        return false;
    /* At most three quarters full: probes stay short. */
    if (roster->count >= roster->capacity / 4 * 3 && !grow(roster))
        return false;
    uint32_t hash = hash_of(worker->id, worker->id_bytes);
    size_t slot = find(roster, worker->id, worker->id_bytes, hash);
    roster->hashes[slot] = hash;
    roster->workers[slot] = worker;
    roster->count++;
    return true;
}

void roster_remove(struct roster *roster, const struct health_worker *worker)
{
    /* Knuth's algorithm R, as in common/map. */
    size_t mask = roster->capacity - 1;
    size_t hole = find(roster, worker->id, worker->id_bytes, hash_of(worker->id, worker->id_bytes));
    for (size_t i = (hole + 1) & mask; roster->hashes[i] != 0; i = (i + 1) & mask) {
        size_t home = roster->hashes[i] & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            roster->hashes[hole] = roster->hashes[i];
            roster->workers[hole] = roster->workers[i];
            hole = i;
        }
    }
    roster->hashes[hole] = 0;
    roster->workers[hole] = NULL;
    roster->count--;
}
