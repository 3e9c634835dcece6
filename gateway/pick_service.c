/* What the table of pick.h is made of: endpoints, descriptions, services. */

#include "gateway/pick_service.h"

#include <stdlib.h>
#include <string.h>

/* --- Endpoints --- */

static const char *endpoint_key(const struct pick_item *item)
{
    return ((const struct pick_endpoint *)item)->worker_id;
}

static void destroy_endpoint(struct pick_item *item)
{
    free(item);
}

static const struct pick_kind endpoint_kind = {endpoint_key, destroy_endpoint};

static struct pick_endpoint *create_endpoint(const char *worker_id, const char *url)
{
    size_t id_bytes = strlen(worker_id) + 1, url_bytes = strlen(url) + 1;
    struct pick_endpoint *endpoint = pick_allocate(sizeof *endpoint + id_bytes + url_bytes);
    atomic_init(&endpoint->item.references, 1);
    endpoint->url_offset = (uint32_t)(offsetof(struct pick_endpoint, worker_id) + id_bytes);
    memcpy(endpoint->worker_id, worker_id, id_bytes);
    memcpy(endpoint->worker_id + id_bytes, url, url_bytes);
    return endpoint;
}

const char *pick_endpoint_worker(const struct pick_endpoint *endpoint)
{
    return endpoint->worker_id;
}

const char *pick_endpoint_url(const struct pick_endpoint *endpoint)
{
    return (const char *)endpoint + endpoint->url_offset;
}

struct pick_endpoint *pick_endpoint_reference(const struct pick_endpoint *endpoint)
{
    struct pick_endpoint *counted = (struct pick_endpoint *)endpoint; /* only the count changes */
    pick_item_reference(&counted->item);
    return counted;
}

void pick_endpoint_release(struct pick_endpoint *endpoint)
{
    pick_item_release(&endpoint_kind, (struct pick_item *)endpoint);
}

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

static const char *service_key(const struct pick_item *item)
{
    return ((const struct pick_service *)item)->description->name;
}

static void destroy_service(struct pick_item *item)
{
    struct pick_service *service = (struct pick_service *)item;
    free(service->groups);
    pick_description_release(service->description);
    free(service);
}

const struct pick_kind pick_service_kind = {service_key, destroy_service};

void pick_service_discard(const struct pick_service *service, const struct pick_edit *edit)
{
    for (size_t i = 0; i < service->group_count; i++)
        pick_tree_discard(&service->groups[i].endpoints, edit);
}

void pick_service_destroy_endpoints(struct pick_service *service)
{
    for (size_t i = 0; i < service->group_count; i++)
        pick_tree_destroy(&service->groups[i].endpoints);
}

const struct pick_description *pick_service_description(const struct pick_service *service)
{
    return service->description;
}

size_t pick_service_endpoints(const struct pick_service *service)
{
    size_t count = 0;
    for (size_t i = 0; i < service->group_count; i++)
        count += pick_tree_count(&service->groups[i].endpoints);
    return count;
}

const struct pick_endpoint *pick_service_endpoint(const struct pick_service *service, size_t index, uint32_t *weight,
                                                  uint32_t *priority)
{
    const struct pick_group *group = service->groups;
    while (index >= pick_tree_count(&group->endpoints))
        index -= pick_tree_count(&group++->endpoints);
    const struct pick_entry *entry = pick_tree_at(&group->endpoints, index);
    *weight = entry->weight;
    *priority = group->priority;
    return (const struct pick_endpoint *)entry->item;
}

/* Takes over the description. */
static struct pick_service *create_service(uint64_t edit, struct pick_description *description, size_t group_count)
{
    struct pick_service *service = pick_allocate(sizeof *service);
    atomic_init(&service->item.references, 1);
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
    struct pick_found found = pick_service_find(service, worker_id);
    pick_service_put(service, &edit, &found, &endpoint, 0);
    return service;
}

void pick_service_release(struct pick_service *service)
{
    if (service == NULL)
        return;
    pick_service_destroy_endpoints(service);
    pick_item_release(&pick_service_kind, &service->item);
}

/* --- Their endpoints --- */

static uint32_t weight_of(const Muster__V1__Endpoint *endpoint)
{
    return endpoint->weight == 0 ? 1 : endpoint->weight;
}

struct pick_found pick_service_find(const struct pick_service *service, const char *worker_id)
{
    struct pick_found found = {.worker_id = pick_key_of(worker_id, strlen(worker_id))};
    for (; found.group < service->group_count; found.group++) {
        found.entry = pick_tree_find(&service->groups[found.group].endpoints, &found.worker_id);
        if (found.entry != NULL)
            break;
    }
    return found;
}

static bool has_url(const struct pick_entry *entry, const char *url)
{
    return strcmp(pick_endpoint_url((const struct pick_endpoint *)entry->item), url) == 0;
}

static bool is_same(const struct pick_group *group, const struct pick_entry *entry, const Muster__V1__Endpoint *endpoint)
{
    return group->priority == endpoint->priority && entry->weight == weight_of(endpoint) &&
           has_url(entry, endpoint->url);
}

bool pick_service_has(const struct pick_service *service, const struct pick_found *found,
                      const Muster__V1__Endpoint *endpoint, uint16_t mark)
{
    if (found->entry == NULL || !is_same(&service->groups[found->group], found->entry, endpoint))
        return false;
    found->entry->mark = mark;
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
    groups[i] = (struct pick_group){.priority = priority, .endpoints = {.kind = &endpoint_kind}};
    service->group_count++;
    return &groups[i];
}

static void remove_from_group(struct pick_service *service, const struct pick_edit *edit, size_t i,
                              const struct pick_key *worker_id)
{
    struct pick_group *group = &service->groups[i];
    pick_tree_remove(&group->endpoints, edit, worker_id);
    if (pick_tree_count(&group->endpoints) == 0) {
        service->group_count--;
        memmove(group, group + 1, (service->group_count - i) * sizeof *group);
    }
}

void pick_service_put(struct pick_service *service, const struct pick_edit *edit, const struct pick_found *found,
                      const Muster__V1__Endpoint *endpoint, uint16_t mark)
{
    const struct pick_entry *old = found->entry;
    struct pick_item *item = old == NULL || !has_url(old, endpoint->url)
                                 ? &create_endpoint(endpoint->worker_id, endpoint->url)->item
                                 : old->item;
    if (old != NULL && service->groups[found->group].priority != endpoint->priority) {
        if (item == old->item)
            pick_item_reference(item); /* for its other group; that of this one is trash */
        remove_from_group(service, edit, found->group, &found->worker_id);
        old = NULL;
    }
    pick_tree_put(&get_group(service, endpoint->priority)->endpoints, edit, &found->worker_id, old, item,
                  weight_of(endpoint), mark);
}

void pick_service_remove(struct pick_service *service, const struct pick_edit *edit, const char *worker_id)
{
    struct pick_found found = pick_service_find(service, worker_id);
    if (found.entry != NULL)
        remove_from_group(service, edit, found.group, &found.worker_id);
}
