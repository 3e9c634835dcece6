/* A set of items, found by their keys and drawn by their weights, of which versions are made: each
 * version stays as it is, and shares with the one before what is the same in both.
 *
 * It is a hash trie (P. Bagwell, "Ideal Hash Trees", 2001) with up to PICK_LEAF_MAX items in
 * a leaf, whose nodes carry the sum of the weights below them. To find, to draw, and to change
 * one item looks at some five nodes in a set of a million; a change copies these, and leaves
 * all others to both versions. Nodes that a change has made it may write to until the version is
 * handed on, so that many changes made together cost less than so many.
 *
 * Nothing counts who holds a node: to copy one would mean to write to everything below it. What a
 * change replaces goes to a heap of trash instead, which belongs to the version before it (the old
 * nodes are in that one and in older ones, and in no newer one), and is emptied when that version and
 * all before it are gone. That is epoch-based reclamation (K. Fraser, "Practical lock-freedom",
 * 2004) with versions for epochs. Who keeps the order of versions is the owner of the trees: pick_table.c.
 *
 * Each entry has a mark, which is no part of the version: the one thread that makes versions
 * writes it, also in versions that others read, and nobody else looks at it. It tells what a
 * snapshot has named.
 *
 * Memory: a process without memory for a node ends (abort), as everywhere in common/rpc.
 * Threading: a version may be read by any thread; one thread makes versions. */

#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PICK_LEAF_MAX 64

/* What is in the set begins with this; `references` counts who holds it, of whom the versions together are one. */
struct pick_item {
    atomic_uint references;
};

/* What items of a tree are. */
struct pick_kind {
    const char *(*key)(const struct pick_item *item);
    void (*destroy)(struct pick_item *item);
};

struct pick_entry {
    struct pick_item *item;
    uint32_t weight;
    uint16_t tag; /* part of the key's hash */
    uint16_t mark;
};

struct pick_node;

/* An all-zero tree with its kind set is an empty one. A copy of the struct is the same version. */
struct pick_tree {
    const struct pick_kind *kind;
    struct pick_node *root;
};

void *pick_allocate(size_t bytes); /* zeroed */

void pick_item_reference(struct pick_item *item);
void pick_item_release(const struct pick_kind *kind, struct pick_item *item); /* NULL is allowed */

/* A key and its hash. */
struct pick_key {
    const char *text;
    size_t bytes;
    uint32_t hash;
};

struct pick_key pick_key_of(const char *text, size_t bytes);

size_t pick_tree_count(const struct pick_tree *tree);
uint64_t pick_tree_weight(const struct pick_tree *tree);

/* NULL: there is none with that key. Only `mark` may be written to. */
struct pick_entry *pick_tree_find(const struct pick_tree *tree, const struct pick_key *key);

/* The entry in whose share `point` lies, which is below the tree's weight. */
const struct pick_entry *pick_tree_draw(const struct pick_tree *tree, uint64_t point);

/* The entry at `index`, below the count: in the order of hashes, so in no order. */
struct pick_entry *pick_tree_at(const struct pick_tree *tree, size_t index);

/* Calls `visit` for all entries, in the same order. */
void pick_tree_each(const struct pick_tree *tree, void (*visit)(void *context, struct pick_entry *entry), void *context);

/* --- Making the next version --- */

/* What is no more in the newest version. */
struct pick_discarded {
    const struct pick_kind *kind; /* of an item; NULL: it is a node */
    void *thing;
};

struct pick_trash {
    struct pick_discarded *things;
    size_t count, capacity;
};

void pick_trash_empty(struct pick_trash *trash);

/* A change: nodes made with the same number are written to, what older ones it replaces is trash of the version before. */
struct pick_edit {
    uint64_t number;
    struct pick_trash *trash;
};

/* Adds it, or replaces `old`, the entry with its key (as pick_tree_find tells; NULL: there is none). Takes over a reference of the item, unless it is the one that is there. */
void pick_tree_put(struct pick_tree *tree, const struct pick_edit *edit, const struct pick_key *key,
                   const struct pick_entry *old, struct pick_item *item, uint32_t weight, uint16_t mark);

/* Nothing is done when there is none. */
void pick_tree_remove(struct pick_tree *tree, const struct pick_edit *edit, const struct pick_key *key);

/* Everything in it is trash; the tree itself is not to be used in the version that is being made. */
void pick_tree_discard(const struct pick_tree *tree, const struct pick_edit *edit);

/* Frees a tree of which there are no other versions. */
void pick_tree_destroy(struct pick_tree *tree);

/* For tests: whether counts, sums and places are right. */
bool pick_tree_check(const struct pick_tree *tree);
