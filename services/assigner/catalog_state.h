/* Inside the catalog: what is read from a file and what is asked of it share this.
 *
 *     catalog.c       the default, its life, questions
 *     catalog_json.c  a catalog from its file
 *     catalog_rules.c pins and reservations */

#pragma once

#include "common/map.h"
#include "services/assigner/catalog.h"

struct catalog_reservation {
    size_t *services; /* numbers, in the order of the file, each once */
    size_t count;
    char worker_id[];
};

#define CATALOG_TYPES 5 /* with the one that is not used, 0 */

struct catalog {
    struct catalog_service *services;
    size_t count;
    Muster__V1__ServiceConfig *configs; /* of each service; filled by catalog_complete, as is: */
    uint32_t *ordered;                  /* numbers: those that require type t from ordered[starts[t]] on */
    size_t starts[CATALOG_TYPES + 1];
    struct map names;        /* name or alias -> struct catalog_service, whose texts are the keys */
    struct map reservations; /* worker id -> struct catalog_reservation */
    bool spreads;            /* some service has spread_by_location */
    bool pins;               /* some service is pinned */
};

/* An empty one with room for `count` services; all of it is freed by catalog_destroy, however far it was filled.
 * NULL when memory runs out. */
struct catalog *catalog_create(size_t count);

/* The services are read: makes what is made of them. */
void catalog_complete(struct catalog *catalog);

/* Whether no pin or reservation contradicts another one; else `error` says which in one line. */
bool catalog_check_rules(const struct catalog *catalog, char error[CATALOG_ERROR_BYTES]);
