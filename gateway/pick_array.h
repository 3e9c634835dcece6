/* An array of things with weights, of which versions are made: each version stays as it is, and
 * shares with the one before what is the same in both.
 *
 * It is a tree of small arrays, in which an index is the way from the root (P. Bagwell and T. Rompf,
 * "RRB-Trees", 2011, describe the plain one that this is, too), whose branches know the sum of the weights
 * below each child. To look at an index, to draw by weight, and to change one thing looks at some
 * five nodes in an array of a million; a change copies these, and leaves all others to both
 * versions. What is appended comes to lie where the last was appended, in memory that the processor's caches
 * still have, however long the array is. Nodes that a change has made it may write to until the version is
 * handed on, so that many changes made together cost less than so many.
 *
 * Nothing counts who holds a node: to copy one would mean to write to everything below it. What a
 * change replaces goes to a heap of trash instead, which belongs to the version before it (the old
 * nodes are in that one and in older ones, and in no newer one), and is emptied when that version and
 * all before it are gone. That is epoch-based reclamation (K. Fraser, "Practical lock-freedom",
 * 2004) with versions for epochs. Who keeps the order of versions is the owner of the arrays: pick_table.c.
 *
 * Memory: a process without memory for a node ends (abort), as everywhere in common/rpc.
 * Threading: a version may be read by any thread; one thread makes versions. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pick_entry {
    void *item;
    uint32_t weight;
};

struct pick_node;

/* An all-zero array is an empty one. A copy of the struct is the same version. */
struct pick_array {
    struct pick_node *root;
    uint64_t weight; /* of all together */
    uint32_t count;
    uint32_t height; /* of the tree: branches between the root and a leaf */
};

void *pick_allocate(size_t bytes); /* zeroed */

/* What is at `index`, below the count. */
struct pick_entry pick_array_at(const struct pick_array *array, size_t index);

/* That in whose share `point` lies, which is below the array's weight. */
struct pick_entry pick_array_draw(const struct pick_array *array, uint64_t point);

/* --- Making the next version --- */

/* What is no more in the newest version, and how it is freed. */
struct pick_discarded {
    void (*release)(void *thing);
    void *thing;
};

struct pick_trash {
    struct pick_discarded *things;
    size_t count, capacity;
};

void pick_trash_empty(struct pick_trash *trash);

/* A change: nodes made with the same number are written to, what older ones it replaces is trash of the version before.
 * Where an edit may be NULL, there is no version before: what would be trash is freed at once. */
struct pick_edit {
    uint64_t number;
    struct pick_trash *trash;
};

/* Of a thing that older versions may have; the edit may be NULL. */
void pick_discard(const struct pick_edit *edit, void (*release)(void *thing), void *thing);

/* Replaces what is at the index, or appends if that is the count. The array does nothing with what was there. */
void pick_array_put(struct pick_array *array, const struct pick_edit *edit, size_t index, void *item, uint32_t weight);

/* Takes off the last one; there is one. */
void pick_array_pop(struct pick_array *array, const struct pick_edit *edit);

/* Its memory is trash; it is not to be used in the version that is being made. The edit may be NULL. */
void pick_array_discard(const struct pick_array *array, const struct pick_edit *edit);

/* For tests: whether the sums are right. */
bool pick_array_check(const struct pick_array *array);
