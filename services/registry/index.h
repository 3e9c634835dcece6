/* All records, in the order of their ids (bytewise): lookup, insertion, removal and walking
 * on from any id, which is what paged lists and snapshots for watchers need.
 *
 * Two levels: an array of chunks, each an array of at most 512 pointers in order. A lookup is
 * two binary searches; an insertion moves at most 4 KiB, and rarely splits a chunk. That is a
 * B+ tree of height two: at a million records its top has some 3,000 entries. It costs 8 to 16
 * bytes a record; a hash table beside it would be faster to look up in and cost 40 more.
 *
 * The index does not own the records. Threading: none of its own. */

#pragma once

#include "services/registry/record.h"

struct index_chunk;

struct index {
    struct index_chunk **chunks;
    size_t chunk_count;
    size_t chunk_capacity;
    size_t count; /* of records */
};

/* An all-zero struct index is an empty one. Frees the index, not the records. */
void index_free(struct index *index);

/* The record of that id, or NULL. */
struct record *index_find(const struct index *index, const char *id, size_t id_bytes);

/* Puts a record in; `*old` receives the one of the same id that it replaced, or NULL. False
 * when memory runs out: nothing is changed. Records that come in order are packed densely. */
bool index_put(struct index *index, struct record *record, struct record **old);

/* Takes the record of that id out and returns it, or NULL. */
struct record *index_remove(struct index *index, const char *id, size_t id_bytes);

/* Walking in order: a place before the next record, valid until the index is changed. Starts
 * behind `id`, which need not be in the index; with id_bytes 0 before the first record. */
struct index_position {
    size_t chunk, slot;
};
struct index_position index_position_after(const struct index *index, const char *id, size_t id_bytes);
struct record *index_next(const struct index *index, struct index_position *position); /* NULL: the end */

/* Checks order and counts; for tests. */
bool index_check(const struct index *index);
