/* See pick_names.h. */

#include "gateway/pick_names.h"

#include <string.h>

#include "common/map.h"

#define PLACES_MIN 4

/* What is in that place, or NULL. */
static struct pick_name *name_at(const struct pick_array *names, size_t place)
{
    return pick_array_at(names, place).item;
}

/* Where that name is, or the free place where it would go. The number of places is a power of two. */
static size_t place_of(const struct pick_array *names, const char *text, size_t bytes, uint32_t hash)
{
    for (size_t place = hash;; place++) {
        place &= names->count - 1;
        const struct pick_name *name = name_at(names, place);
        if (name == NULL || (name->hash == hash && strlen(name->text) == bytes && memcmp(name->text, text, bytes) == 0))
            return place;
    }
}

struct pick_name *pick_names_find(const struct pick_array *names, const char *text, size_t bytes)
{
    return names->count == 0 ? NULL : name_at(names, place_of(names, text, bytes, map_hash(text, bytes)));
}

static void put(struct pick_array *names, const struct pick_edit *edit, struct pick_name *name)
{
    pick_array_put(names, edit, place_of(names, name->text, strlen(name->text), name->hash), name, 1);
}

static void grow(struct pick_array *names, const struct pick_edit *edit)
{
    struct pick_array old = *names;
    size_t place_count = old.count == 0 ? PLACES_MIN : 2 * (size_t)old.count;
    *names = (struct pick_array){.root = NULL};
    for (size_t place = 0; place < place_count; place++)
        pick_array_put(names, edit, place, NULL, 0);
    for (size_t place = 0; place < old.count; place++) {
        if (name_at(&old, place) != NULL)
            put(names, edit, name_at(&old, place));
    }
    pick_array_discard(&old, edit);
}

void pick_names_put(struct pick_array *names, const struct pick_edit *edit, struct pick_name *name)
{
    /* At most half of the places are taken: probes stay short. */
    if (names->count < 2 * (names->weight + 1))
        grow(names, edit);
    name->hash = map_hash(name->text, strlen(name->text));
    put(names, edit, name);
}

void pick_names_remove(struct pick_array *names, const struct pick_edit *edit, const struct pick_name *name)
{
    /* Knuth's algorithm R: those behind the hole move into it unless that would put them before their own place. */
    size_t mask = names->count - 1;
    size_t hole = place_of(names, name->text, strlen(name->text), name->hash);
    struct pick_name *next;
    for (size_t i = (hole + 1) & mask; (next = name_at(names, i)) != NULL; i = (i + 1) & mask) {
        if (((i - next->hash) & mask) >= ((i - hole) & mask)) {
            pick_array_put(names, edit, hole, next, 1);
            hole = i;
        }
    }
    pick_array_put(names, edit, hole, NULL, 0);
}
