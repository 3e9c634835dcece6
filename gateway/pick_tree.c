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
    uint32_t count;    /* of items */
    uint32_t capacity; /* of a leaf's entries; 0: it is a branch */
    uint64_t weight;
    uint64_t edit; /* the change that made it */
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

/* What is being changed. */
struct place {
    const struct pick_kind *kind;
    const struct pick_edit *edit;
    const struct pick_key *key;
    const struct pick_entry *old; /* with that key; NULL: there is none */
};

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

/* --- Memory --- */

void *pick_allocate(size_t bytes)
{
    void *memory = calloc(1, bytes);
    if (memory == NULL)
        abort();
    return memory;
}

void pick_item_reference(struct pick_item *item)
{
    atomic_fetch_add_explicit(&item->references, 1, memory_order_relaxed);
}

void pick_item_release(const struct pick_kind *kind, struct pick_item *item)
{
    if (item != NULL && atomic_fetch_sub_explicit(&item->references, 1, memory_order_acq_rel) == 1)
        kind->destroy(item);
}

static void discard(struct pick_trash *trash, const struct pick_kind *kind, void *thing)
{
    if (trash->count == trash->capacity) {
        trash->capacity = trash->capacity * 2 + 16;
        trash->things = realloc(trash->things, trash->capacity * sizeof *trash->things);
        if (trash->things == NULL)
            abort();
    }
    trash->things[trash->count++] = (struct pick_discarded){kind, thing};
}

void pick_trash_empty(struct pick_trash *trash)
{
    for (size_t i = 0; i < trash->count; i++) {
        if (trash->things[i].kind != NULL)
            pick_item_release(trash->things[i].kind, trash->things[i].thing);
        else
            free(trash->things[i].thing);
    }
    free(trash->things);
    *trash = (struct pick_trash){NULL, 0, 0};
}

/* Of the node alone. One that this change has made nobody else has. */
static void discard_node(const struct pick_edit *edit, struct pick_node *node)
{
    if (node->edit == edit->number)
        free(node);
    else
        discard(edit->trash, NULL, node);
}

static void discard_branches(const struct pick_edit *edit, struct pick_node *node)
{
    for (size_t i = 0; !is_leaf(node) && i < CHILDREN; i++) {
        if (branch_of(node)->children[i] != NULL)
            discard_branches(edit, branch_of(node)->children[i]);
    }
    discard_node(edit, node);
}

static void destroy(const struct pick_kind *kind, struct pick_node *node)
{
    if (node == NULL)
        return;
    for (size_t i = 0; is_leaf(node) && i < node->count; i++)
        pick_item_release(kind, leaf_of(node)->entries[i].item);
    for (size_t i = 0; !is_leaf(node) && i < CHILDREN; i++)
        destroy(kind, branch_of(node)->children[i]);
    free(node);
}

void pick_tree_destroy(struct pick_tree *tree)
{
    destroy(tree->kind, tree->root);
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

struct pick_key pick_key_of(const char *text, size_t bytes)
{
    return (struct pick_key){text, bytes, map_hash(text, bytes)};
}

/* Its place in the leaf; the count if it is not there. */
static size_t index_in(const struct pick_kind *kind, const struct leaf *leaf, const struct pick_key *key)
{
    const uint16_t tag = tag_of(key->hash);
    size_t i = 0;
    for (; i < leaf->node.count; i++) {
        if (leaf->entries[i].tag != tag)
            continue;
        const char *text = kind->key(leaf->entries[i].item);
        if (strlen(text) == key->bytes && memcmp(text, key->text, key->bytes) == 0)
            break;
    }
    return i;
}

struct pick_entry *pick_tree_find(const struct pick_tree *tree, const struct pick_key *key)
{
    struct pick_node *node = tree->root;
    for (unsigned depth = 0; node != NULL && !is_leaf(node); depth++)
        node = branch_of(node)->children[child_of(key->hash, depth)];
    if (node == NULL)
        return NULL;
    size_t i = index_in(tree->kind, leaf_of(node), key);
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

static void visit_each(struct pick_node *node, void (*visit)(void *context, struct pick_entry *entry), void *context)
{
    if (node == NULL)
        return;
    for (size_t i = 0; is_leaf(node) && i < node->count; i++)
        visit(context, &leaf_of(node)->entries[i]);
    for (size_t i = 0; !is_leaf(node) && i < CHILDREN; i++)
        visit_each(branch_of(node)->children[i], visit, context);
}

void pick_tree_each(const struct pick_tree *tree, void (*visit)(void *context, struct pick_entry *entry), void *context)
{
    visit_each(tree->root, visit, context);
}

/* --- Nodes that may be written to --- */

static struct pick_node *make_leaf(uint64_t edit, size_t entries)
{
    size_t capacity = (entries + LEAF_STEP - 1) / LEAF_STEP * LEAF_STEP;
    struct leaf *leaf = malloc(sizeof *leaf + capacity * sizeof leaf->entries[0]);
    if (leaf == NULL)
        abort();
    leaf->node = (struct pick_node){.edit = edit, .capacity = (uint32_t)capacity};
    return &leaf->node;
}

static struct pick_node *make_branch(uint64_t edit)
{
    struct branch *branch = pick_allocate(sizeof *branch);
    branch->node.edit = edit;
    return &branch->node;
}

/* Puts in the slot a leaf with the same entries that may be written to and has room for `more`. */
static void write_leaf(const struct place *place, struct pick_node **slot, size_t more)
{
    struct pick_node *old = *slot;
    if (old->edit == place->edit->number && old->count + more <= old->capacity)
        return;
    struct pick_node *node = make_leaf(place->edit->number, old->count + more);
    memcpy(leaf_of(node)->entries, leaf_of(old)->entries, old->count * sizeof leaf_of(node)->entries[0]);
    node->count = old->count;
    node->weight = old->weight;
    *slot = node;
    discard_node(place->edit, old);
}

static void write_branch(const struct place *place, struct pick_node **slot)
{
    struct pick_node *old = *slot;
    if (old->edit == place->edit->number)
        return;
    struct branch *branch = malloc(sizeof *branch);
    if (branch == NULL)
        abort();
    *branch = *branch_of(old);
    branch->node.edit = place->edit->number;
    *slot = &branch->node;
    discard_node(place->edit, old);
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
static void split(const struct place *place, struct pick_node **slot, unsigned depth)
{
    struct pick_node *leaf = *slot;
    struct pick_node *node = make_branch(place->edit->number);
    size_t counts[CHILDREN] = {0};
    uint8_t child[PICK_LEAF_MAX];
    for (size_t i = 0; i < leaf->count; i++) {
        child[i] = (uint8_t)child_of(hash_of(place->kind, leaf_of(leaf)->entries[i].item), depth);
        counts[child[i]]++;
    }
    for (size_t i = 0; i < CHILDREN; i++) {
        if (counts[i] > 0)
            branch_of(node)->children[i] = make_leaf(place->edit->number, counts[i]);
    }
    for (size_t i = 0; i < leaf->count; i++)
        append(branch_of(node)->children[child[i]], leaf_of(leaf)->entries[i]);
    for (size_t i = 0; i < CHILDREN; i++)
        sum_up(node, i, 0);
    *slot = node;
    discard_node(place->edit, leaf);
}

static size_t index_of_old(const struct place *place, struct pick_node *leaf)
{
    return (size_t)(place->old - leaf_of(leaf)->entries);
}

static void put_into_leaf(const struct place *place, struct pick_node **slot, struct pick_entry entry)
{
    size_t i = place->old == NULL ? 0 : index_of_old(place, *slot);
    write_leaf(place, slot, place->old == NULL ? 1 : 0);
    struct pick_node *node = *slot;
    if (place->old == NULL) {
        append(node, entry);
        return;
    }
    struct pick_entry *old = &leaf_of(node)->entries[i];
    node->weight += (uint64_t)entry.weight - old->weight;
    if (old->item != entry.item)
        discard(place->edit->trash, place->kind, old->item);
    *old = entry;
}

static void put(const struct place *place, struct pick_node **slot, unsigned depth, struct pick_entry entry)
{
    struct pick_node *node = *slot;
    if (node == NULL) {
        *slot = make_leaf(place->edit->number, 1);
        append(*slot, entry);
        return;
    }
    bool is_full = is_leaf(node) && node->count == PICK_LEAF_MAX && depth < DEPTH_MAX;
    if (is_full && place->old == NULL)
        split(place, slot, depth);
    else if (is_leaf(node)) {
        put_into_leaf(place, slot, entry);
        return;
    }
    write_branch(place, slot);
    size_t i = child_of(place->key->hash, depth);
    struct pick_node **child = &branch_of(*slot)->children[i];
    size_t before = *child == NULL ? 0 : (*child)->count;
    put(place, child, depth + 1, entry);
    sum_up(*slot, i, before);
}

void pick_tree_put(struct pick_tree *tree, const struct pick_edit *edit, const struct pick_key *key,
                   const struct pick_entry *old, struct pick_item *item, uint32_t weight, uint16_t mark)
{
    struct place place = {tree->kind, edit, key, old};
    put(&place, &tree->root, 0, (struct pick_entry){item, weight, tag_of(key->hash), mark});
}

static void gather(void *context, struct pick_entry *entry)
{
    append(context, *entry);
}

static void make_leaf_again(const struct place *place, struct pick_node **slot)
{
    struct pick_node *leaf = make_leaf(place->edit->number, (*slot)->count);
    visit_each(*slot, gather, leaf);
    discard_branches(place->edit, *slot);
    *slot = leaf;
}

/* It is known to be there. */
static void take_out(const struct place *place, struct pick_node **slot, unsigned depth)
{
    if (!is_leaf(*slot)) {
        write_branch(place, slot);
        size_t i = child_of(place->key->hash, depth);
        struct pick_node **child = &branch_of(*slot)->children[i];
        size_t before = (*child)->count;
        take_out(place, child, depth + 1);
        sum_up(*slot, i, before);
        if ((*slot)->count <= LEAF_AGAIN)
            make_leaf_again(place, slot);
        return;
    }
    size_t i = index_of_old(place, *slot);
    write_leaf(place, slot, 0);
    struct pick_node *node = *slot;
    struct pick_entry *entry = &leaf_of(node)->entries[i];
    node->weight -= entry->weight;
    discard(place->edit->trash, place->kind, entry->item);
    *entry = leaf_of(node)->entries[--node->count];
    if (node->count == 0) {
        free(node); /* it is this change's own */
        *slot = NULL;
    }
}

void pick_tree_remove(struct pick_tree *tree, const struct pick_edit *edit, const struct pick_key *key)
{
    struct place place = {tree->kind, edit, key, pick_tree_find(tree, key)};
    if (place.old != NULL)
        take_out(&place, &tree->root, 0);
}

struct discarding {
    const struct pick_kind *kind;
    struct pick_trash *trash;
};

static void discard_item(void *context, struct pick_entry *entry)
{
    const struct discarding *discarding = context;
    discard(discarding->trash, discarding->kind, entry->item);
}

void pick_tree_discard(const struct pick_tree *tree, const struct pick_edit *edit)
{
    struct discarding discarding = {tree->kind, edit->trash};
    if (tree->root == NULL)
        return;
    visit_each(tree->root, discard_item, &discarding);
    discard_branches(edit, tree->root);
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
