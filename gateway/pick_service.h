/* Inside of pick.h: what a service of the table consists of. For pick_table.c, which builds
 * it, and pick.c, which chooses from it. */

#pragma once

#include <stdatomic.h>

#include "gateway/pick.h"

/* Endpoints of one priority: `count` of them from `first` on. */
struct pick_group {
    size_t first, count;
    uint64_t weight_sum;
};

struct pick_service {
    atomic_uint references;
    char *name;
    char *path;
    bool repeatable;
    char **aliases;
    size_t alias_count;
    struct pick_endpoint *endpoints; /* by priority */
    size_t endpoint_count;
    struct pick_group *groups; /* lowest number first */
    size_t group_count;
};
