/* All records in the order of their ids; see index.h. */

#include "services/registry/index.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_RECORDS 512

struct index_chunk {
    size_t count; /* never 0 between calls */
    struct record *records[CHUNK_RECORDS];
};

static int compare(const struct record *record, const char *id, size_t id_bytes)
{
    size_t common = record->id_bytes < id_bytes ? record->id_bytes : id_bytes;
    int order = memcmp(record->id, id, common);
    if (order != 0)
        return order;
    return (record->id_bytes > id_bytes) - (record->id_bytes < id_bytes);
}

/* The chunk that the id belongs into: the last whose first record is not after it, or the
 * first chunk. Only with at least one chunk. */
static size_t find_chunk(const struct index *index, const char *id, size_t id_bytes)
{
    size_t low = 1, high = index->chunk_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(index->chunks[middle]->records[0], id, id_bytes) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low - 1;
}

/* The first slot of a chunk whose record is not before the id; `found`: it is that very id. */
static size_t find_slot(const struct index_chunk *chunk, const char *id, size_t id_bytes, bool *found)
{
    size_t low = 0, high = chunk->count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(chunk->records[middle], id, id_bytes);
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
            *found = *found || order == 0;
        }
    }
    return low;
}

void index_free(struct index *index)
{
    for (size_t i = 0; i < index->chunk_count; i++)
        free(index->chunks[i]);
    free(index->chunks);
    *index = (struct index){NULL, 0, 0, 0};
}

struct record *index_find(const struct index *index, const char *id, size_t id_bytes)
{
    if (index->count == 0)
        return NULL;
    const struct index_chunk *chunk = index->chunks[find_chunk(index, id, id_bytes)];
    bool found;
    size_t slot = find_slot(chunk, id, id_bytes, &found);
    return found ? chunk->records[slot] : NULL;
}

/* Puts an empty chunk at `place`. The caller fills it, or takes it out again. */
static struct index_chunk *insert_chunk(struct index *index, size_t place)
{
    if (index->chunk_count == index->chunk_capacity) {
        size_t capacity = index->chunk_capacity == 0 ? 8 : index->chunk_capacity * 2;
        struct index_chunk **chunks = realloc(index->chunks, capacity * sizeof(struct index_chunk *));
        if (chunks == NULL)
            return NULL;
        index->chunks = chunks;
        index->chunk_capacity = capacity;
    }
    struct index_chunk *chunk = malloc(sizeof(*chunk));
    if (chunk == NULL)
        return NULL;
    chunk->count = 0;
    memmove(&index->chunks[place + 1], &index->chunks[place],
            (index->chunk_count - place) * sizeof(struct index_chunk *));
    index->chunks[place] = chunk;
    index->chunk_count++;
    return chunk;
}

/* Makes room in the full chunk at `place`, for a record that goes to `slot` of it: gives the
 * chunk and the slot where it goes now. */
static bool split(struct index *index, size_t *place, size_t *slot)
{
    struct index_chunk *upper = insert_chunk(index, *place + 1);
    if (upper == NULL)
        return false;
    struct index_chunk *lower = index->chunks[*place];
    /* Ids that come in order (a start, or numbered workers) leave full chunks behind; halving
     * would leave half-empty ones. */
    size_t keep = *place + 2 == index->chunk_count && *slot == lower->count ? lower->count : lower->count / 2;
    upper->count = lower->count - keep;
    memcpy(upper->records, &lower->records[keep], upper->count * sizeof(struct record *));
    lower->count = keep;
    if (*slot > keep || upper->count == 0) {
        *place += 1;
        *slot -= keep;
    }
    return true;
}

bool index_put(struct index *index, struct record *record, struct record **old)
{
    *old = NULL;
    if (index->chunk_count == 0 && insert_chunk(index, 0) == NULL)
        return false;
    size_t place = find_chunk(index, record->id, record->id_bytes);
    bool found = false;
    size_t slot = 0;
    if (index->count > 0)
        slot = find_slot(index->chunks[place], record->id, record->id_bytes, &found);
    if (found) {
        *old = index->chunks[place]->records[slot];
        index->chunks[place]->records[slot] = record;
        return true;
    }
    if (index->chunks[place]->count == CHUNK_RECORDS && !split(index, &place, &slot))
        return false;
    struct index_chunk *chunk = index->chunks[place];
    memmove(&chunk->records[slot + 1], &chunk->records[slot], (chunk->count - slot) * sizeof(struct record *));
    chunk->records[slot] = record;
    chunk->count++;
    index->count++;
    return true;
}

struct record *index_remove(struct index *index, const char *id, size_t id_bytes)
{
    if (index->count == 0)
        return NULL;
    size_t place = find_chunk(index, id, id_bytes);
    struct index_chunk *chunk = index->chunks[place];
    bool found;
    size_t slot = find_slot(chunk, id, id_bytes, &found);
    if (!found)
        return NULL;
    struct record *record = chunk->records[slot];
    chunk->count--;
    index->count--;
    memmove(&chunk->records[slot], &chunk->records[slot + 1], (chunk->count - slot) * sizeof(struct record *));
    if (chunk->count == 0) {
        free(chunk);
        index->chunk_count--;
        memmove(&index->chunks[place], &index->chunks[place + 1],
                (index->chunk_count - place) * sizeof(struct index_chunk *));
    }
    return record;
}

struct index_position index_position_after(const struct index *index, const char *id, size_t id_bytes)
{
    struct index_position position = {0, 0};
    if (index->count == 0 || id_bytes == 0)
        return position;
    bool found;
    position.chunk = find_chunk(index, id, id_bytes);
    position.slot = find_slot(index->chunks[position.chunk], id, id_bytes, &found);
    if (found)
        position.slot++;
    return position;
}

struct record *index_next(const struct index *index, struct index_position *position)
{
    if (position->chunk < index->chunk_count && position->slot == index->chunks[position->chunk]->count) {
        position->chunk++;
        position->slot = 0;
    }
    if (position->chunk >= index->chunk_count)
        return NULL;
    return index->chunks[position->chunk]->records[position->slot++];
}

bool index_check(const struct index *index)
{
    size_t count = 0;
    const struct record *previous = NULL;
    for (size_t i = 0; i < index->chunk_count; i++) {
        const struct index_chunk *chunk = index->chunks[i];
        if (chunk->count == 0 || chunk->count > CHUNK_RECORDS)
            return false;
        for (size_t slot = 0; slot < chunk->count; slot++) {
            const struct record *record = chunk->records[slot];
            if (previous != NULL && compare(previous, record->id, record->id_bytes) >= 0)
                return false;
            previous = record;
        }
        count += chunk->count;
    }
    return count == index->count;
}
