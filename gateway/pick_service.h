/* Inside of pick.h: what a service of the table consists of. For pick_service.c and
 * pick_table.c, which build it, and pick.c, which chooses from it. */

#pragma once

#include "gateway/pick_group.h"
#include "gateway/pick_names.h"

struct pick_description {
    atomic_uint references;
    bool repeatable;
    char *name;
    char *path;
    char **aliases;
    size_t alias_count;
};

struct pick_service {
    struct pick_name name; /* first; the description's */
    uint64_t edit;         /* the change that made it, which alone may change it; see pick_array.h */
    bool named;            /* by the last snapshot that has begun, or since; no reader's */
    struct pick_description *description;
    struct pick_group *groups; /* none of them empty, lowest priority number first */
    size_t group_count;
};

/* Whether the message says nothing new of the service itself. */
bool pick_description_matches(const struct pick_description *description, const Muster__V1__ServiceRoutes *routes);

/* Without endpoints. */
struct pick_service *pick_service_create(uint64_t edit, const Muster__V1__ServiceRoutes *routes);

/* A copy that this change may change. With `routes` they describe it anew, NULL: as it was. */
struct pick_service *pick_service_copy(const struct pick_service *service, uint64_t edit,
                                       const Muster__V1__ServiceRoutes *routes);

/* Frees the struct pick_service, whose groups others may have. */
void pick_service_free(void *service);

/* Of a worker that will be asked for soon: the hash of its id. */
uint32_t pick_service_expect(const struct pick_service *service, const char *worker_id);

/* A worker's endpoint, or that there is none; until an endpoint of the service changes, also in a copy of it. */
struct pick_found {
    uint32_t hash;
    size_t group;
    struct pick_place *place; /* NULL: there is none */
};

struct pick_found pick_service_find(const struct pick_service *service, const char *worker_id, uint32_t hash);

/* Whether what was found of its worker is exactly this endpoint, which is named then. */
bool pick_service_has(const struct pick_service *service, const struct pick_found *found,
                      const Muster__V1__Endpoint *endpoint);

/* Changes one endpoint of a service of this change's own, where `found` was found of its worker. */
void pick_service_put(struct pick_service *service, const struct pick_edit *edit, const struct pick_found *found,
                      const Muster__V1__Endpoint *endpoint);
void pick_service_remove(struct pick_service *service, const struct pick_edit *edit, const char *worker_id);

/* At the begin of a snapshot: neither it nor an endpoint is named. */
void pick_service_forget_names(struct pick_service *service);

/* Removes the endpoints that are not named. */
void pick_service_sweep(struct pick_service *service, const struct pick_edit *edit);

/* It and its endpoints are trash; not to be used in the version that is being made. The edit may be NULL. */
void pick_service_discard(struct pick_service *service, const struct pick_edit *edit);
