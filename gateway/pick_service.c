/* What the table of pick.h is made of: descriptions and services. */

#include "gateway/pick_service.h"

#include <stdlib.h>
#include <string.h>

/* --- Descriptions --- */

static void free_description(struct pick_description *description)
{
    for (size_t i = 0; i < description->alias_count; i++)
        free(description->aliases[i]);
    free(description->aliases);
    free(description->name);
    free(description->path);
    free(description);
}

static const char *path_of(const char *path)
{
    return path[0] == '\0' ? PICK_DEFAULT_PATH : path;
}

static char *copy_text(const char *text)
{
    size_t bytes = strlen(text) + 1;
    return memcpy(pick_allocate(bytes), text, bytes);
}

static struct pick_description *create_description(const Muster__V1__ServiceRoutes *routes)
{
    struct pick_description *description = pick_allocate(sizeof *description);
    atomic_init(&description->references, 1);
    description->repeatable = routes->repeatable;
    description->name = copy_text(routes->service);
    description->path = copy_text(path_of(routes->path));
    description->aliases = pick_allocate((routes->n_aliases + 1) * sizeof *description->aliases);
    for (size_t i = 0; i < routes->n_aliases; i++)
        description->aliases[description->alias_count++] = copy_text(routes->aliases[i]);
    return description;
}

struct pick_description *pick_description_reference(const struct pick_description *description)
{
    struct pick_description *counted = (struct pick_description *)description; /* only the count changes */
    atomic_fetch_add_explicit(&counted->references, 1, memory_order_relaxed);
    return counted;
}

void pick_description_release(struct pick_description *description)
{
    if (description != NULL && atomic_fetch_sub_explicit(&description->references, 1, memory_order_acq_rel) == 1)
        free_description(description);
}

const char *pick_description_name(const struct pick_description *description)
{
    return description->name;
}

bool pick_description_repeatable(const struct pick_description *description)
{
    return description->repeatable;
}

bool pick_description_matches(const struct pick_description *description, const Muster__V1__ServiceRoutes *routes)
{
    bool same = description->repeatable == (routes->repeatable != 0) && description->alias_count == routes->n_aliases &&
                strcmp(description->path, path_of(routes->path)) == 0;
    for (size_t i = 0; same && i < routes->n_aliases; i++)
        same = strcmp(description->aliases[i], routes->aliases[i]) == 0;
    return same;
}

void pick_description_path(const struct pick_description *description, const char *type, size_t type_bytes,
                           const char *rest, size_t rest_bytes, struct buffer *path)
{
    static const char placeholder[] = "{type}";
    const char *at = description->path;
    const char *found;
    while ((found = strstr(at, placeholder)) != NULL) {
        buffer_append(path, at, (size_t)(found - at));
        buffer_append(path, type, type_bytes);
        at = found + sizeof placeholder - 1;
    }
    buffer_append_text(path, at);
    buffer_append(path, rest, rest_bytes);
}

/* --- Services --- */

void pick_service_free(void *service)
{
    struct pick_service *freed = service;
    free(freed->groups);
    pick_description_release(freed->description);
    free(freed);
}

void pick_service_discard(struct pick_service *service, const struct pick_edit *edit)
{
    for (size_t i = 0; i < service->group_count; i++)
        pick_group_discard(&service->groups[i], edit);
    pick_discard(edit, pick_service_free, service);
}

const struct pick_description *pick_service_description(const struct pick_service *service)
{
    return service->description;
}

size_t pick_service_endpoints(const struct pick_service *service)
{
    size_t count = 0;
    for (size_t i = 0; i < service->group_count; i++)
        count += service->groups[i].endpoints.count;
    return count;
}

const struct pick_endpoint *pick_service_endpoint(const struct pick_service *service, size_t index, uint32_t *weight,
                                                  uint32_t *priority)
{
    const struct pick_group *group = service->groups;
    while (index >= group->endpoints.count)
        index -= group++->endpoints.count;
    struct pick_entry entry = pick_array_at(&group->endpoints, index);
    *weight = entry.weight;
    *priority = group->priority;
    return entry.item;
}

/* Takes over the description. */
static struct pick_service *create_service(uint64_t edit, struct pick_description *description, size_t group_count)
{
    struct pick_service *service = pick_allocate(sizeof *service);
    service->name.text = description->name;
    service->edit = edit;
    service->description = description;
    if (group_count > 0)
        service->groups = pick_allocate(group_count * sizeof *service->groups);
    return service;
}

struct pick_service *pick_service_create(uint64_t edit, const Muster__V1__ServiceRoutes *routes)
{
    return create_service(edit, create_description(routes), 0);
}

struct pick_service *pick_service_copy(const struct pick_service *service, uint64_t edit,
                                       const Muster__V1__ServiceRoutes *routes)
{
    struct pick_description *description =
        routes == NULL ? pick_description_reference(service->description) : create_description(routes);
    struct pick_service *copy = create_service(edit, description, service->group_count);
    copy->named = service->named;
    copy->group_count = service->group_count;
    if (service->group_count > 0)
        memcpy(copy->groups, service->groups, service->group_count * sizeof *copy->groups);
    return copy;
}

struct pick_service *pick_service_single(const char *name, const char *path, const char *worker_id, const char *url)
{
    if (!map_seed())
        return NULL;
    /* Nothing is written to through the messages. */
    Muster__V1__ServiceRoutes routes = MUSTER__V1__SERVICE_ROUTES__INIT;
    routes.service = (char *)name;
    routes.path = (char *)path;
    Muster__V1__Endpoint endpoint = MUSTER__V1__ENDPOINT__INIT;
    endpoint.worker_id = (char *)worker_id;
    endpoint.url = (char *)url;
    struct pick_trash nothing = {NULL, 0, 0};
    const struct pick_edit edit = {1, &nothing};
    struct pick_service *service = pick_service_create(edit.number, &routes);
    const struct pick_found none = {.hash = pick_group_hash(worker_id)};
    pick_service_put(service, &edit, &none, &endpoint);
    return service;
}

void pick_service_release(struct pick_service *service)
{
    if (service != NULL)
        pick_service_discard(service, NULL);
}

/* --- Their endpoints --- */

static uint32_t weight_of(const Muster__V1__Endpoint *endpoint)
{
    return endpoint->weight == 0 ? 1 : endpoint->weight;
}

uint32_t pick_service_expect(const struct pick_service *service, const char *worker_id)
{
    uint32_t hash = pick_group_hash(worker_id);
    for (size_t i = 0; i < service->group_count; i++)
        pick_group_expect(&service->groups[i], hash);
    return hash;
}

struct pick_found pick_service_find(const struct pick_service *service, const char *worker_id, uint32_t hash)
{
    struct pick_found found = {.hash = hash};
    for (; found.group < service->group_count; found.group++) {
        found.place = pick_group_find(&service->groups[found.group], worker_id, hash);
        if (found.place != NULL)
            break;
    }
    return found;
}

bool pick_service_has(const struct pick_service *service, const struct pick_found *found,
                      const Muster__V1__Endpoint *endpoint)
{
    if (found->place == NULL || service->groups[found->group].priority != endpoint->priority ||
        !pick_group_has(&service->groups[found->group], found->place, endpoint->url, weight_of(endpoint)))
        return false;
    found->place->named = true;
    return true;
}

/* The group of that priority, made if there is none. */
static struct pick_group *get_group(struct pick_service *service, uint32_t priority)
{
    size_t i = 0;
    while (i < service->group_count && service->groups[i].priority < priority)
        i++;
    if (i < service->group_count && service->groups[i].priority == priority)
        return &service->groups[i];
    struct pick_group *groups = realloc(service->groups, (service->group_count + 1) * sizeof *groups);
    if (groups == NULL)
        abort();
    service->groups = groups;
    memmove(&groups[i + 1], &groups[i], (service->group_count - i) * sizeof *groups);
    groups[i] = (struct pick_group){.priority = priority};
    service->group_count++;
    return &groups[i];
}

/* Of the group number `i`, if it is empty now. */
static void drop_group(struct pick_service *service, const struct pick_edit *edit, size_t i)
{
    struct pick_group *group = &service->groups[i];
    if (group->endpoints.count > 0)
        return;
    pick_group_discard(group, edit);
    service->group_count--;
    memmove(group, group + 1, (service->group_count - i) * sizeof *group);
}

static void remove_found(struct pick_service *service, const struct pick_edit *edit, const struct pick_found *found)
{
    pick_group_remove(&service->groups[found->group], edit, found->place);
    drop_group(service, edit, found->group);
}

void pick_service_put(struct pick_service *service, const struct pick_edit *edit, const struct pick_found *found,
                      const Muster__V1__Endpoint *endpoint)
{
    struct pick_place *place = found->place;
    if (place != NULL && service->groups[found->group].priority != endpoint->priority) {
        remove_found(service, edit, found);
        place = NULL;
    }
    pick_group_put(get_group(service, endpoint->priority), edit, place, found->hash, endpoint->worker_id, endpoint->url,
                   weight_of(endpoint));
}

void pick_service_remove(struct pick_service *service, const struct pick_edit *edit, const char *worker_id)
{
    struct pick_found found = pick_service_find(service, worker_id, pick_group_hash(worker_id));
    if (found.place != NULL)
        remove_found(service, edit, &found);
}

void pick_service_forget_names(struct pick_service *service)
{
    service->named = false;
    for (size_t i = 0; i < service->group_count; i++)
        pick_group_forget_names(&service->groups[i]);
}

void pick_service_sweep(struct pick_service *service, const struct pick_edit *edit)
{
    for (size_t i = service->group_count; i-- > 0;) {
        pick_group_sweep(&service->groups[i], edit);
        drop_group(service, edit, i);
    }
}
