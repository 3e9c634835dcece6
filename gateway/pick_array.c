/* See pick_array.h. */

#include "gateway/pick_array.h"

#include <stdlib.h>
#include <string.h>

/* A leaf has so many entries at most, a branch so many children. */
#define LEAF_BITS 5
#define LEAF_MAX (1 << LEAF_BITS)
#define BITS 4
#define CHILDREN (1 << BITS)
/* A leaf has room for so many first, and for twice as many when these are there. */
#define LEAF_MIN 4

struct pick_node {
    uint64_t edit; /* the change that made it */
};

/* Nobody looks behind the end of the array that a version has, where a leaf may have what is left of others. */
struct leaf {
    struct pick_node node;
    size_t capacity;
    void *items[]; /* and behind them the weights: a draw looks at those alone */
};

struct branch {
    struct pick_node node;
    struct pick_node *children[CHILDREN]; /* NULL behind the end */
    uint64_t weights[CHILDREN];
};

static struct leaf *leaf_of(struct pick_node *node)
{
    return (struct leaf *)node;
}

static struct branch *branch_of(struct pick_node *node)
{
    return (struct branch *)node;
}

static uint32_t *weights_of(struct leaf *leaf)
{
    return (uint32_t *)(void *)&leaf->items[leaf->capacity];
}

/* Entries that a node of that height has room for below it. */
static size_t span_of(uint32_t height)
{
    return (size_t)LEAF_MAX << BITS * height;
}

/* Which child of a branch of that height leads to the index. */
static size_t child_of(size_t index, uint32_t height)
{
    return index >> (LEAF_BITS + BITS * (height - 1)) & (CHILDREN - 1);
}

/* --- Memory --- */

void *pick_allocate(size_t bytes)
{
    void *memory = calloc(1, bytes);
    if (memory == NULL)
        abort();
    return memory;
}

void pick_discard(const struct pick_edit *edit, void (*release)(void *thing), void *thing)
{
    if (edit == NULL) {
        release(thing);
        return;
    }
    struct pick_trash *trash = edit->trash;
    if (trash->count == trash->capacity) {
        trash->capacity = trash->capacity * 2 + 16;
        trash->things = realloc(trash->things, trash->capacity * sizeof *trash->things);
        if (trash->things == NULL)
            abort();
    }
    trash->things[trash->count++] = (struct pick_discarded){release, thing};
}

void pick_trash_empty(struct pick_trash *trash)
{
    for (size_t i = 0; i < trash->count; i++)
        trash->things[i].release(trash->things[i].thing);
    free(trash->things);
    *trash = (struct pick_trash){NULL, 0, 0};
}

/* Of the node alone. One that this change has made nobody else has. */
static void discard_node(const struct pick_edit *edit, struct pick_node *node)
{
    pick_discard(edit == NULL || node->edit == edit->number ? NULL : edit, free, node);
}

static void discard_nodes(const struct pick_edit *edit, struct pick_node *node, uint32_t height)
{
    if (node == NULL)
        return;
    for (size_t i = 0; height > 0 && i < CHILDREN; i++)
        discard_nodes(edit, branch_of(node)->children[i], height - 1);
    discard_node(edit, node);
}

void pick_array_discard(const struct pick_array *array, const struct pick_edit *edit)
{
    discard_nodes(edit, array->root, array->height);
}

/* --- Reading --- */

static struct pick_entry entry_of(struct leaf *leaf, size_t i)
{
    return (struct pick_entry){leaf->items[i], weights_of(leaf)[i]};
}

struct pick_entry pick_array_at(const struct pick_array *array, size_t index)
{
    struct pick_node *node = array->root;
    for (uint32_t height = array->height; height > 0; height--)
        node = branch_of(node)->children[child_of(index, height)];
    return entry_of(leaf_of(node), index % LEAF_MAX);
}

struct pick_entry pick_array_draw(const struct pick_array *array, uint64_t point)
{
    struct pick_node *node = array->root;
    size_t i = 0;
    for (uint32_t height = array->height; height > 0; height--) {
        const struct branch *branch = branch_of(node);
        for (i = 0; point >= branch->weights[i]; i++)
            point -= branch->weights[i];
        node = branch->children[i];
    }
    const uint32_t *weights = weights_of(leaf_of(node));
    for (i = 0; point >= weights[i]; i++)
        point -= weights[i];
    return entry_of(leaf_of(node), i);
}

/* --- Nodes that may be written to --- */

/* Puts in the slot a leaf with the same entries, `used` of them, that may be written to and has room for `wanted`. */
static struct leaf *write_leaf(const struct pick_edit *edit, struct pick_node **slot, size_t used, size_t wanted)
{
    struct pick_node *old = *slot;
    if (old != NULL && old->edit == edit->number && wanted <= leaf_of(old)->capacity)
        return leaf_of(old);
    size_t capacity = LEAF_MIN;
    while (capacity < used || capacity < wanted)
        capacity *= 2;
    struct leaf *leaf = malloc(sizeof *leaf + capacity * (sizeof leaf->items[0] + sizeof(uint32_t)));
    if (leaf == NULL)
        abort();
    leaf->node.edit = edit->number;
    leaf->capacity = capacity;
    if (old != NULL) {
        memcpy(leaf->items, leaf_of(old)->items, used * sizeof leaf->items[0]);
        memcpy(weights_of(leaf), weights_of(leaf_of(old)), used * sizeof(uint32_t));
        discard_node(edit, old);
    }
    *slot = &leaf->node;
    return leaf;
}

static struct branch *write_branch(const struct pick_edit *edit, struct pick_node **slot)
{
    struct pick_node *old = *slot;
    if (old != NULL && old->edit == edit->number)
        return branch_of(old);
    struct branch *branch = pick_allocate(sizeof *branch);
    if (old != NULL) {
        *branch = *branch_of(old);
        discard_node(edit, old);
    }
    branch->node.edit = edit->number;
    *slot = &branch->node;
    return branch;
}

/* --- Changing --- */

void pick_array_put(struct pick_array *array, const struct pick_edit *edit, size_t index, void *item, uint32_t weight)
{
    uint64_t more = weight;
    if (index < array->count) {
        more -= pick_array_at(array, index).weight;
    } else if (index == span_of(array->height)) {
        struct pick_node *old = array->root;
        array->root = NULL;
        struct branch *root = write_branch(edit, &array->root);
        root->children[0] = old;
        root->weights[0] = array->weight;
        array->height++;
    }
    struct pick_node **slot = &array->root;
    for (uint32_t height = array->height; height > 0; height--) {
        size_t i = child_of(index, height);
        struct branch *branch = write_branch(edit, slot);
        branch->weights[i] += more;
        slot = &branch->children[i];
    }
    size_t first = index / LEAF_MAX * LEAF_MAX;
    size_t used = array->count - first < LEAF_MAX ? array->count - first : LEAF_MAX;
    struct leaf *leaf = write_leaf(edit, slot, used, index - first + 1);
    leaf->items[index - first] = item;
    weights_of(leaf)[index - first] = weight;
    array->weight += more;
    if (index == array->count)
        array->count++;
}

void pick_array_pop(struct pick_array *array, const struct pick_edit *edit)
{
    size_t last = array->count - 1;
    uint32_t weight = pick_array_at(array, last).weight;
    struct pick_node **slot = &array->root;
    uint32_t height = array->height;
    /* Down to where it is the only one: a node at whose begin it lies, or a leaf, of which nobody looks at it then. */
    for (; height > 0 && last % span_of(height) != 0; height--) {
        size_t i = child_of(last, height);
        struct branch *branch = write_branch(edit, slot);
        branch->weights[i] -= weight;
        slot = &branch->children[i];
    }
    if (last % span_of(height) == 0) {
        discard_nodes(edit, *slot, height);
        *slot = NULL;
    }
    array->count--;
    array->weight -= weight;
    for (; array->height > 0 && array->count <= span_of(array->height - 1); array->height--) {
        struct pick_node *root = array->root;
        array->root = branch_of(root)->children[0];
        discard_node(edit, root);
    }
}

/* --- For tests --- */

/* Of a node at whose begin the entry `first` lies. */
static bool check(const struct pick_array *array, struct pick_node *node, uint32_t height, size_t first,
                  uint64_t weight)
{
    if (first >= array->count)
        return node == NULL && weight == 0;
    for (size_t i = 0; height > 0 && i < CHILDREN; i++) {
        const struct branch *branch = branch_of(node);
        if (!check(array, branch->children[i], height - 1, first + i * span_of(height - 1), branch->weights[i]))
            return false;
        weight -= branch->weights[i];
    }
    for (size_t i = 0; height == 0 && i < LEAF_MAX && first + i < array->count; i++)
        weight -= weights_of(leaf_of(node))[i];
    return weight == 0;
}

bool pick_array_check(const struct pick_array *array)
{
    return array->count <= span_of(array->height) &&
           (array->height == 0 || array->count > span_of(array->height - 1)) &&
           check(array, array->root, array->height, 0, array->weight);
}
