/* Inside of pick.h: what a service of the table consists of. For pick_service.c and
 * pick_table.c, which build it, and pick.c, which chooses from it. */

#pragma once

#include "gateway/pick.h"
#include "gateway/pick_tree.h"

struct pick_endpoint {
    struct pick_item item; /* first; in a group's tree, by its worker */
    uint32_t url_offset;
    char worker_id[]; /* and behind it the URL */
};

struct pick_description {
    atomic_uint references;
    bool repeatable;
    char *name;
    char *path;
    char **aliases;
    size_t alias_count;
};

/* Endpoints of one priority. */
struct pick_group {
    uint32_t priority;
    struct pick_tree endpoints; /* struct pick_endpoint by worker */
};

struct pick_service {
    struct pick_item item; /* first; in the table's tree, by its name */
    uint64_t edit;         /* the change that made it, which alone may change it; see pick_tree.h */
    struct pick_description *description;
    struct pick_group *groups; /* none of them empty, lowest number first */
    size_t group_count;
};

extern const struct pick_kind pick_service_kind; /* destroying one leaves its groups' trees, which the next may share */

/* Whether the message says nothing new of the service itself. */
bool pick_description_matches(const struct pick_description *description, const Muster__V1__ServiceRoutes *routes);

/* Without endpoints. */
struct pick_service *pick_service_create(uint64_t edit, const Muster__V1__ServiceRoutes *routes);

/* A copy that this change may change. With `routes` they describe it anew, NULL: as it was. */
struct pick_service *pick_service_copy(const struct pick_service *service, uint64_t edit,
                                       const Muster__V1__ServiceRoutes *routes);

/* A worker's endpoint, or that there is none; until an endpoint of the service changes, also in a copy of it. */
struct pick_found {
    struct pick_key worker_id;
    struct pick_entry *entry; /* NULL: there is none */
    size_t group;
};

struct pick_found pick_service_find(const struct pick_service *service, const char *worker_id);

/* Whether what was found of its worker is exactly this endpoint; marks it in that case. */
bool pick_service_has(const struct pick_service *service, const struct pick_found *found,
                      const Muster__V1__Endpoint *endpoint, uint16_t mark);

/* Changes one endpoint of a service of this change's own, where `found` was found of its worker. */
void pick_service_put(struct pick_service *service, const struct pick_edit *edit, const struct pick_found *found,
                      const Muster__V1__Endpoint *endpoint, uint16_t mark);
void pick_service_remove(struct pick_service *service, const struct pick_edit *edit, const char *worker_id);

/* Its endpoints are trash; it itself is not to be used in the version that is being made. */
void pick_service_discard(const struct pick_service *service, const struct pick_edit *edit);

/* Frees its endpoints, of which there are no other versions. */
void pick_service_destroy_endpoints(struct pick_service *service);
