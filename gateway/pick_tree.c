/* See pick_tree.h. */

#include "gateway/pick_tree.h"

#include <stdlib.h>
#include <string.h>

#include "common/map.h"

/* A branch has a child for each value of the next four bits of the hash, the highest first. */
#define BITS 4
#define CHILDREN (1 << BITS)
#define DEPTH_MAX (32 / BITS)
/* A branch with so few items becomes a leaf again. */
#define LEAF_AGAIN (PICK_LEAF_MAX / 4)
/* Leaves grow by so many entries. */
#define LEAF_STEP 8

struct pick_node {
    atomic_uint references;
    uint32_t count; /* of items */
    uint64_t weight;
    uint64_t edit;     /* the change that made it */
    uint32_t capacity; /* of a leaf's entries; 0: it is a branch */
};

struct leaf {
    struct pick_node node;
    struct pick_entry entries[];
};

struct branch {
    struct pick_node node;
    struct pick_node *children[CHILDREN]; /* NULL: nothing there */
    uint64_t weights[CHILDREN];
};

/* What is being changed, or looked for. */
struct place {
    const struct pick_kind *kind;
    uint64_t edit;
    const char *key;
    size_t key_bytes;
    uint32_t hash;
};

static struct place place_of(const struct pick_tree *tree, uint64_t edit, const char *key, size_t key_bytes)
{
    return (struct place){tree->kind, edit, key, key_bytes, map_hash(key, key_bytes)};
}

static struct leaf *leaf_of(struct pick_node *node)
{
    return (struct leaf *)node;
}

static struct branch *branch_of(struct pick_node *node)
{
    return (struct branch *)node;
}

static bool is_leaf(const struct pick_node *node)
{
    return node->capacity > 0;
}

static size_t child_of(uint32_t hash, unsigned depth)
{
    return hash >> (32 - BITS * (depth + 1)) & (CHILDREN - 1);
}

static uint16_t tag_of(uint32_t hash)
{
    return (uint16_t)hash;
}

/* --- References --- */

void pick_item_reference(struct pick_item *item)
{
    atomic_fetch_add_explicit(&item->references, 1, memory_order_relaxed);
}

void pick_item_release(const struct pick_kind *kind, struct pick_item *item)
{
    if (item != NULL && atomic_fetch_sub_explicit(&item->references, 1, memory_order_acq_rel) == 1)
        kind->destroy(item);
}

static void release(const struct pick_kind *kind, struct pick_node *node)
{
    if (node == NULL || atomic_fetch_sub_explicit(&node->references, 1, memory_order_acq_rel) != 1)
        return;
    if (is_leaf(node)) {
        for (size_t i = 0; i < node->count; i++)
            pick_item_release(kind, leaf_of(node)->entries[i].item);
    } else {
        for (size_t i = 0; i < CHILDREN; i++)
            release(kind, branch_of(node)->children[i]);
    }
    free(node);
}

static void reference(struct pick_node *node)
{
    if (node != NULL)
        atomic_fetch_add_explicit(&node->references, 1, memory_order_relaxed);
}

struct pick_tree pick_tree_reference(const struct pick_tree *tree)
{
    reference(tree->root);
    return *tree;
}

void pick_tree_release(struct pick_tree *tree)
{
    release(tree->kind, tree->root);
    tree->root = NULL;
}

/* --- Reading --- */

size_t pick_tree_count(const struct pick_tree *tree)
{
    return tree->root == NULL ? 0 : tree->root->count;
}

uint64_t pick_tree_weight(const struct pick_tree *tree)
{
    return tree->root == NULL ? 0 : tree->root->weight;
}

static bool has_key(const struct place *place, const struct pick_entry *entry)
{
    if (entry->tag != tag_of(place->hash))
        return false;
    const char *key = place->kind->key(entry->item);
    return strlen(key) == place->key_bytes && memcmp(key, place->key, place->key_bytes) == 0;
}

/* Its place in the leaf; the count if it is not there. */
static size_t index_in(struct leaf *leaf, const struct place *place)
{
    size_t i = 0;
    while (i < leaf->node.count && !has_key(place, &leaf->entries[i]))
        i++;
    return i;
}

struct pick_entry *pick_tree_find(const struct pick_tree *tree, const char *key, size_t key_bytes)
{
    const struct place place = place_of(tree, 0, key, key_bytes);
    struct pick_node *node = tree->root;
    for (unsigned depth = 0; node != NULL && !is_leaf(node); depth++)
        node = branch_of(node)->children[child_of(place.hash, depth)];
    if (node == NULL)
        return NULL;
    size_t i = index_in(leaf_of(node), &place);
    return i == node->count ? NULL : &leaf_of(node)->entries[i];
}

const struct pick_entry *pick_tree_draw(const struct pick_tree *tree, uint64_t point)
{
    struct pick_node *node = tree->root;
    while (!is_leaf(node)) {
        const struct branch *branch = branch_of(node);
        size_t i = 0;
        while (point >= branch->weights[i])
            point -= branch->weights[i++];
        node = branch->children[i];
    }
    const struct pick_entry *entry = leaf_of(node)->entries;
    while (point >= entry->weight)
        point -= entry++->weight;
    return entry;
}

struct pick_entry *pick_tree_at(const struct pick_tree *tree, size_t index)
{
    struct pick_node *node = tree->root;
    while (!is_leaf(node)) {
        struct pick_node *const *child = branch_of(node)->children;
        while (*child == NULL || index >= (*child)->count)
            index -= *child == NULL ? 0 : (*child)->count, child++;
        node = *child;
    }
    return &leaf_of(node)->entries[index];
}

static bool visit_each(struct pick_node *node, bool (*visit)(void *context, struct pick_entry *entry), void *context)
{
    if (node == NULL)
        return true;
    for (size_t i = 0; is_leaf(node) && i < node->count; i++) {
        if (!visit(context, &leaf_of(node)->entries[i]))
            return false;
    }
    for (size_t i = 0; !is_leaf(node) && i < CHILDREN; i++) {
        if (!visit_each(branch_of(node)->children[i], visit, context))
            return false;
    }
    return true;
}

bool pick_tree_each(const struct pick_tree *tree, bool (*visit)(void *context, struct pick_entry *entry), void *context)
{
    return visit_each(tree->root, visit, context);
}

/* --- Nodes that may be written to --- */

static struct pick_node *make_leaf(uint64_t edit, size_t entries)
{
    size_t capacity = (entries + LEAF_STEP - 1) / LEAF_STEP * LEAF_STEP;
    struct leaf *leaf = malloc(sizeof *leaf + capacity * sizeof leaf->entries[0]);
    if (leaf == NULL)
        return NULL;
    leaf->node = (struct pick_node){.edit = edit, .capacity = (uint32_t)capacity};
    atomic_init(&leaf->node.references, 1);
    return &leaf->node;
}

static struct pick_node *make_branch(uint64_t edit)
{
    struct branch *branch = calloc(1, sizeof *branch);
    if (branch == NULL)
        return NULL;
    branch->node.edit = edit;
    atomic_init(&branch->node.references, 1);
    return &branch->node;
}

/* Puts in the slot a leaf with the same entries that may be written to and has room for `more`. */
static bool write_leaf(const struct place *place, struct pick_node **slot, size_t more)
{
    struct pick_node *old = *slot;
    bool own = old->edit == place->edit;
    if (own && old->count + more <= old->capacity)
        return true;
    struct pick_node *node = make_leaf(place->edit, old->count + more);
    if (node == NULL)
        return false;
    memcpy(leaf_of(node)->entries, leaf_of(old)->entries, old->count * sizeof leaf_of(node)->entries[0]);
    node->count = old->count;
    node->weight = old->weight;
    *slot = node;
    if (own) {
        free(old); /* its references of items have moved */
        return true;
    }
    for (size_t i = 0; i < node->count; i++)
        pick_item_reference(leaf_of(node)->entries[i].item);
    release(place->kind, old);
    return true;
}

static bool write_branch(const struct place *place, struct pick_node **slot)
{
    struct pick_node *old = *slot;
    if (old->edit == place->edit)
        return true;
    struct pick_node *node = make_branch(place->edit);
    if (node == NULL)
        return false;
    node->count = old->count;
    node->weight = old->weight;
    memcpy(branch_of(node)->children, branch_of(old)->children, sizeof branch_of(node)->children);
    memcpy(branch_of(node)->weights, branch_of(old)->weights, sizeof branch_of(node)->weights);
    for (size_t i = 0; i < CHILDREN; i++)
        reference(branch_of(node)->children[i]);
    *slot = node;
    release(place->kind, old);
    return true;
}

/* --- Changing --- */

static void append(struct pick_node *node, struct pick_entry entry)
{
    leaf_of(node)->entries[node->count++] = entry;
    node->weight += entry.weight;
}

static uint32_t hash_of(const struct pick_kind *kind, const struct pick_item *item)
{
    const char *key = kind->key(item);
    return map_hash(key, strlen(key));
}

/* After the child at `i` has changed. */
static void sum_up(struct pick_node *node, size_t i, size_t count_before)
{
    struct branch *branch = branch_of(node);
    const struct pick_node *child = branch->children[i];
    uint64_t weight = child == NULL ? 0 : child->weight;
    node->weight += weight - branch->weights[i];
    branch->weights[i] = weight;
    node->count += (uint32_t)((child == NULL ? 0 : child->count) - count_before);
}

/* Puts a branch with the same items in place of a leaf. */
static bool split(const struct place *place, struct pick_node **slot, unsigned depth)
{
    struct pick_node *leaf = *slot;
    struct pick_node *node = make_branch(place->edit);
    if (node == NULL)
        return false;
    size_t counts[CHILDREN] = {0};
    uint8_t child[PICK_LEAF_MAX];
    for (size_t i = 0; i < leaf->count; i++) {
        child[i] = (uint8_t)child_of(hash_of(place->kind, leaf_of(leaf)->entries[i].item), depth);
        counts[child[i]]++;
    }
    bool fine = true;
    for (size_t i = 0; fine && i < CHILDREN; i++) {
        if (counts[i] > 0)
            fine = (branch_of(node)->children[i] = make_leaf(place->edit, counts[i])) != NULL;
    }
    for (size_t i = 0; fine && i < leaf->count; i++) {
        append(branch_of(node)->children[child[i]], leaf_of(leaf)->entries[i]);
        pick_item_reference(leaf_of(leaf)->entries[i].item);
    }
    for (size_t i = 0; fine && i < CHILDREN; i++)
        sum_up(node, i, 0);
    if (!fine) {
        release(place->kind, node);
        return false;
    }
    *slot = node;
    release(place->kind, leaf);
    return true;
}

/* Takes over the entry's reference of its item, also on failure. */
static bool put(const struct place *place, struct pick_node **slot, unsigned depth, struct pick_entry entry)
{
    struct pick_node *node = *slot;
    bool fine = true;
    if (node == NULL) {
        fine = (*slot = make_leaf(place->edit, 1)) != NULL;
        if (fine)
            append(*slot, entry);
    } else if (is_leaf(node)) {
        size_t i = index_in(leaf_of(node), place);
        bool is_new = i == node->count;
        if (is_new && node->count == PICK_LEAF_MAX && depth < DEPTH_MAX) {
            if (split(place, slot, depth))
                return put(place, slot, depth, entry);
            fine = false;
        }
        fine = fine && write_leaf(place, slot, is_new ? 1 : 0);
        node = *slot;
        if (fine && is_new) {
            append(node, entry);
        } else if (fine) {
            struct pick_entry *old = &leaf_of(node)->entries[i];
            node->weight += (uint64_t)entry.weight - old->weight;
            pick_item_release(place->kind, old->item);
            *old = entry;
        }
    } else {
        fine = write_branch(place, slot);
        if (fine) {
            size_t i = child_of(place->hash, depth);
            struct pick_node **child = &branch_of(*slot)->children[i];
            size_t before = *child == NULL ? 0 : (*child)->count;
            if (!put(place, child, depth + 1, entry))
                return false;
            sum_up(*slot, i, before);
        }
    }
    if (!fine)
        pick_item_release(place->kind, entry.item);
    return fine;
}

bool pick_tree_put(struct pick_tree *tree, uint64_t edit, struct pick_item *item, uint32_t weight, uint16_t mark)
{
    if (!map_seed()) { /* as long as nothing was put, nobody cares about hashes */
        pick_item_release(tree->kind, item);
        return false;
    }
    const char *key = tree->kind->key(item);
    struct place place = place_of(tree, edit, key, strlen(key));
    return put(&place, &tree->root, 0, (struct pick_entry){item, weight, tag_of(place.hash), mark});
}

static bool gather(void *context, struct pick_entry *entry)
{
    append(context, *entry);
    pick_item_reference(entry->item);
    return true;
}

static bool make_leaf_again(const struct place *place, struct pick_node **slot)
{
    struct pick_node *leaf = make_leaf(place->edit, (*slot)->count);
    if (leaf == NULL)
        return false;
    (void)visit_each(*slot, gather, leaf); /* never ends early */
    release(place->kind, *slot);
    *slot = leaf;
    return true;
}

/* It is known to be there. */
static bool take_out(const struct place *place, struct pick_node **slot, unsigned depth)
{
    if (!is_leaf(*slot)) {
        if (!write_branch(place, slot))
            return false;
        size_t i = child_of(place->hash, depth);
        struct pick_node **child = &branch_of(*slot)->children[i];
        size_t before = (*child)->count;
        if (!take_out(place, child, depth + 1))
            return false;
        sum_up(*slot, i, before);
        /* Without memory it stays a branch, which is right as well. */
        if ((*slot)->count <= LEAF_AGAIN)
            (void)make_leaf_again(place, slot);
        return true;
    }
    if ((*slot)->count == 1) {
        release(place->kind, *slot);
        *slot = NULL;
        return true;
    }
    if (!write_leaf(place, slot, 0))
        return false;
    struct pick_node *node = *slot;
    struct pick_entry *entry = &leaf_of(node)->entries[index_in(leaf_of(node), place)];
    node->weight -= entry->weight;
    pick_item_release(place->kind, entry->item);
    *entry = leaf_of(node)->entries[--node->count];
    return true;
}

bool pick_tree_remove(struct pick_tree *tree, uint64_t edit, const char *key)
{
    struct place place = place_of(tree, edit, key, strlen(key));
    return pick_tree_find(tree, key, place.key_bytes) == NULL || take_out(&place, &tree->root, 0);
}

/* --- For tests --- */

static bool check(const struct pick_kind *kind, struct pick_node *node, unsigned depth, uint32_t path)
{
    uint64_t weight = 0;
    size_t count = 0;
    for (size_t i = 0; is_leaf(node) && i < node->count; i++) {
        const struct pick_entry *entry = &leaf_of(node)->entries[i];
        uint32_t hash = hash_of(kind, entry->item);
        if (entry->tag != tag_of(hash) || (depth > 0 && hash >> (32 - BITS * depth) != path))
            return false;
        weight += entry->weight;
        count++;
    }
    for (size_t i = 0; !is_leaf(node) && i < CHILDREN; i++) {
        struct pick_node *child = branch_of(node)->children[i];
        if (branch_of(node)->weights[i] != (child == NULL ? 0 : child->weight))
            return false;
        if (child == NULL)
            continue;
        if (!check(kind, child, depth + 1, path << BITS | (uint32_t)i))
            return false;
        weight += child->weight;
        count += child->count;
    }
    return count > 0 && count == node->count && weight == node->weight;
}

bool pick_tree_check(const struct pick_tree *tree)
{
    return tree->root == NULL || check(tree->kind, tree->root, 0, 0);
}
