/* Which workers' links (common/link) this gateway holds, by name, and on which front. A link belongs to the front that
 * accepted its WebSocket; the others learn here where to turn.
 *
 * Threading: any thread; a lock that is held for moments. What stands behind the pointers belongs to the front. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/link/handshake.h"

struct front;
struct front_link;
struct links;

/* NULL when memory runs out. */
struct links *links_create(size_t links_max);
void links_free(struct links *links); /* NULL is allowed */

enum links_result { LINKS_ENTERED, LINKS_FULL, LINKS_NO_MEMORY };

/* Enters a link of this front's. One of that name that was there before is replaced, and comes out. */
struct links_place {
    struct front *front; /* NULL: nobody has it */
    struct front_link *link;
};
enum links_result links_enter(struct links *links, const char *name, const struct links_place *place,
                              struct links_place *replaced);

/* Removes the link, unless the name stands for another one by now. */
void links_leave(struct links *links, const char *name, const struct front_link *link);

struct links_place links_find(struct links *links, const char *name);

size_t links_count(struct links *links);
