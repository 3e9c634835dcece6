/* A set of items, found by their keys and drawn by their weights, that never changes: changing
 * it makes another version, which shares with the one before what is the same in both.
 *
 * It is a hash trie (P. Bagwell, "Ideal Hash Trees", 2001) with up to PICK_LEAF_MAX items in
 * a leaf, whose nodes carry the sum of the weights below them. To find, to draw, and to change
 * one item looks at some five nodes in a set of a million; a change copies these, and leaves
 * all others to both versions. Nodes that a change has made it may write to until the version is
 * handed on, so that many changes made together cost less than so many.
 *
 * Each entry has a mark, which is no part of the version: the one thread that makes versions
 * writes it, also in versions that others read, and nobody else looks at it. It tells what a
 * snapshot has named.
 *
 * Ownership: a tree holds a reference of its root, and the entries one of each item.
 * Threading: a version may be read by any thread that holds a reference of it; one thread makes
 * versions. References may be taken and given back by any thread. */

#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PICK_LEAF_MAX 64

/* What is in the set begins with this; `references` counts entries of nodes and who else holds it. */
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

/* An all-zero tree with its kind set is an empty one. */
struct pick_tree {
    const struct pick_kind *kind;
    struct pick_node *root;
};

void pick_item_reference(struct pick_item *item);
void pick_item_release(const struct pick_kind *kind, struct pick_item *item); /* NULL is allowed */

/* Another holder of the same version. */
struct pick_tree pick_tree_reference(const struct pick_tree *tree);
void pick_tree_release(struct pick_tree *tree); /* it is empty afterwards */

size_t pick_tree_count(const struct pick_tree *tree);
uint64_t pick_tree_weight(const struct pick_tree *tree);

/* NULL: there is none with that key. Only `mark` may be written to. */
struct pick_entry *pick_tree_find(const struct pick_tree *tree, const char *key, size_t key_bytes);

/* The entry in whose share `point` lies, which is below the tree's weight. */
const struct pick_entry *pick_tree_draw(const struct pick_tree *tree, uint64_t point);

/* The entry at `index`, below the count: in the order of hashes, so in no order. */
struct pick_entry *pick_tree_at(const struct pick_tree *tree, size_t index);

/* Calls `visit` for all entries, in the same order; ends when it returns false. */
bool pick_tree_each(const struct pick_tree *tree, bool (*visit)(void *context, struct pick_entry *entry),
                    void *context);

/* --- Making the next version. `edit` is the number of the change: nodes made with the same number are
 * written to. False: memory ran out, and the tree is fit for nothing but to be released. --- */

/* Adds it, or replaces the one with its key. Takes over a reference of the item, also on failure. */
bool pick_tree_put(struct pick_tree *tree, uint64_t edit, struct pick_item *item, uint32_t weight, uint16_t mark);

/* True also when there is none. */
bool pick_tree_remove(struct pick_tree *tree, uint64_t edit, const char *key);

/* For tests: whether counts, sums and places are right. */
bool pick_tree_check(const struct pick_tree *tree);
