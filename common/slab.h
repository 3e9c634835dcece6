/* Memory for very many small objects that live long, packed densely.
 *
 * What a process keeps for each of a million workers is allocated between much that is gone a
 * moment later, and with malloc it ends up with holes all around it: a fifth of the registry's
 * memory was such holes. Here objects of one size lie together, without a header: sizes are
 * rounded up to 8 bytes, blocks of 64 KiB hold one size each, and are cut from regions of 1 MiB
 * that come from the system and go back to it when nothing in them is used (J. Bonwick, "The Slab
 * Allocator", 1994, without its constructors). Objects above SLAB_OBJECT_BYTES_MAX come from
 * malloc.
 *
 * Under AddressSanitizer all objects come from malloc, so that it sees them.
 *
 * Ownership: a slab outlives its objects. Threading: one thread owns a slab and its objects. */

#pragma once

#include <stddef.h>

struct slab;

#define SLAB_OBJECT_BYTES_MAX 2048

/* NULL when memory runs out. */
struct slab *slab_create(void);

/* All objects were given back. NULL is fine. */
void slab_destroy(struct slab *slab);

/* Not initialised, aligned for everything that needs 8 bytes; NULL when memory runs out. `bytes`
 * is above 0. */
void *slab_take(struct slab *slab, size_t bytes);

/* Gives an object back that was taken with so many bytes. */
void slab_give(void *object, size_t bytes);

/* Held from the system, used or not, but for what came from malloc. */
size_t slab_held_bytes(const struct slab *slab);
