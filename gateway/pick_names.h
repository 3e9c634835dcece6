/* Things found by their names, of which versions are made: a hash table with linear probing (D. E. Knuth, The
 * Art of Computer Programming, vol. 3, 6.4) in a pick_array, so that a change copies only what is around it: a name
 * has the weight 1, the array's weight is how many there are, and an all-zero one is an empty set. For services and
 * their aliases, which readers ask for; workers are found otherwise (pick_group.h).
 *
 * Ownership: things and names are the caller's. Threading: as pick_array.h. */

#pragma once

#include "gateway/pick_array.h"

/* What is in the set begins with this. */
struct pick_name {
    const char *text;
    uint32_t hash; /* pick_names_put sets it */
};

/* NULL: there is none. */
struct pick_name *pick_names_find(const struct pick_array *names, const char *text, size_t bytes);

/* Adds it, or puts it in place of that with the same name. */
void pick_names_put(struct pick_array *names, const struct pick_edit *edit, struct pick_name *name);

/* It is in the set. Who walks looks at its place again: another may have come there. */
void pick_names_remove(struct pick_array *names, const struct pick_edit *edit, const struct pick_name *name);
