/* Memory for very many small objects; see slab.h. */

#define _GNU_SOURCE

#include "common/slab.h"

#include "common/list.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define STEP_BYTES 8
#define CLASSES (SLAB_OBJECT_BYTES_MAX / STEP_BYTES)
#define BLOCK_BYTES ((size_t)64 * 1024)
#define REGION_BYTES ((size_t)1024 * 1024)
#define REGION_BLOCKS (REGION_BYTES / BLOCK_BYTES)
#define ALL_FREE ((UINT32_C(1) << REGION_BLOCKS) - 1)

#if defined(__SANITIZE_ADDRESS__)
#define FROM_MALLOC true
#else
#define FROM_MALLOC false
#endif

/* An object that is not used. */
struct free_object {
    struct free_object *next;
};

/* The start of each block; objects follow. The first block of a region speaks for the region too. */
struct block {
    struct slab *slab;
    struct list_link partial; /* in its class's list, while it has room */
    struct free_object *free; /* given back */
    uint32_t object_bytes;
    uint32_t used;         /* objects that are taken */
    uint32_t next;         /* where the objects begin that were never taken */
    uint32_t free_blocks;  /* of the region: a bit for each */
    struct list_link room; /* in the slab's regions, while the region has a free block */
};

struct slab {
    struct list_link partial[CLASSES]; /* blocks with room, by size */
    struct list_link regions;          /* with free blocks */
    size_t region_count;
};

static struct block *region_of(struct block *block)
{
    return (struct block *)((uintptr_t)block & ~(REGION_BYTES - 1));
}

static struct block *block_of(void *object)
{
    return (struct block *)((uintptr_t)object & ~(BLOCK_BYTES - 1));
}

struct slab *slab_create(void)
{
    struct slab *slab = malloc(sizeof(*slab));
    if (slab == NULL)
        return NULL;
    for (size_t i = 0; i < CLASSES; i++)
        list_init(&slab->partial[i]);
    list_init(&slab->regions);
    slab->region_count = 0;
    return slab;
}

static void release_region(struct slab *slab, struct block *region)
{
    list_remove(&region->room);
    slab->region_count--;
    (void)munmap(region, REGION_BYTES); /* it can only fail for what was never mapped */
}

void slab_destroy(struct slab *slab)
{
    if (slab == NULL)
        return;
    while (!list_is_empty(&slab->regions))
        release_region(slab, LIST_OBJECT(slab->regions.next, struct block, room));
    assert(slab->region_count == 0);
    free(slab);
}

static char *map_pages(size_t bytes)
{
    void *mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mapped == MAP_FAILED ? NULL : mapped;
}

/* How far it is from there to where a region can begin. */
static size_t until_aligned(const char *mapped)
{
    return -(uintptr_t)mapped & (REGION_BYTES - 1);
}

/* The system aligns to pages. A region mostly comes to lie beside the one before, and is aligned
 * as that is; otherwise one is cut out of twice as much, and the rest goes back. */
static char *map_region(void)
{
    char *mapped = map_pages(REGION_BYTES);
    if (mapped == NULL || until_aligned(mapped) == 0)
        return mapped;
    (void)munmap(mapped, REGION_BYTES);
    mapped = map_pages(2 * REGION_BYTES);
    if (mapped == NULL)
        return NULL;
    size_t before = until_aligned(mapped);
    if (before > 0)
        (void)munmap(mapped, before);
    (void)munmap(mapped + before + REGION_BYTES, REGION_BYTES - before);
    return mapped + before;
}

/* A region of free blocks. */
static struct block *add_region(struct slab *slab)
{
    struct block *region = (struct block *)(void *)map_region();
    if (region == NULL)
        return NULL;
    region->free_blocks = ALL_FREE;
    list_append(&slab->regions, &region->room);
    slab->region_count++;
    return region;
}

/* A block without objects for that size, in the list of those with room. */
static struct block *add_block(struct slab *slab, size_t class)
{
    struct block *region =
        list_is_empty(&slab->regions) ? add_region(slab) : LIST_OBJECT(slab->regions.next, struct block, room);
    if (region == NULL)
        return NULL;
    unsigned number = (unsigned)__builtin_ctz(region->free_blocks);
    struct block *block = (struct block *)(void *)((char *)region + number * BLOCK_BYTES);
    region->free_blocks &= ~(UINT32_C(1) << number);
    if (region->free_blocks == 0)
        list_remove(&region->room);
    block->slab = slab;
    block->free = NULL;
    block->object_bytes = (uint32_t)((class + 1) * STEP_BYTES);
    block->used = 0;
    block->next = sizeof(*block);
    list_append(&slab->partial[class], &block->partial);
    return block;
}

static bool is_full(const struct block *block)
{
    return block->free == NULL && block->next + block->object_bytes > BLOCK_BYTES;
}

void *slab_take(struct slab *slab, size_t bytes)
{
    if (FROM_MALLOC || bytes > SLAB_OBJECT_BYTES_MAX)
        return malloc(bytes);
    size_t class = (bytes - 1) / STEP_BYTES;
    struct list_link *partial = &slab->partial[class];
    struct block *block =
        list_is_empty(partial) ? add_block(slab, class) : LIST_OBJECT(partial->next, struct block, partial);
    if (block == NULL)
        return NULL;
    void *object = block->free;
    if (object != NULL) {
        block->free = block->free->next;
    } else {
        object = (char *)block + block->next;
        block->next += block->object_bytes;
    }
    block->used++;
    if (is_full(block))
        list_remove(&block->partial);
    return object;
}

/* One region without anything in it is kept, for what comes next. */
static void release_block(struct block *block)
{
    struct slab *slab = block->slab;
    struct block *region = region_of(block);
    size_t number = (size_t)((char *)block - (char *)region) / BLOCK_BYTES;
    list_remove(&block->partial);
    if (region->free_blocks == 0)
        list_append(&slab->regions, &region->room);
    region->free_blocks |= UINT32_C(1) << number;
    if (region->free_blocks == ALL_FREE && slab->regions.next != slab->regions.previous)
        release_region(slab, region);
}

void slab_give(void *object, size_t bytes)
{
    if (FROM_MALLOC || bytes > SLAB_OBJECT_BYTES_MAX) {
        free(object);
        return;
    }
    struct block *block = block_of(object);
    struct free_object *unused = object;
    assert(block->object_bytes == (bytes + STEP_BYTES - 1) / STEP_BYTES * STEP_BYTES);
    if (is_full(block))
        list_append(&block->slab->partial[(bytes - 1) / STEP_BYTES], &block->partial);
    unused->next = block->free;
    block->free = unused;
    if (--block->used == 0)
        release_block(block);
}

size_t slab_held_bytes(const struct slab *slab)
{
    return slab->region_count * REGION_BYTES;
}
