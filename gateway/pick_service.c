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
    struct pick_endpoint *endpoint = malloc(sizeof *endpoint + id_bytes + url_bytes);
    if (endpoint == NULL)
        return NULL;
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

static struct pick_description *create_description(const Muster__V1__ServiceRoutes *routes)
{
    struct pick_description *description = calloc(1, sizeof *description);
    if (description == NULL)
        return NULL;
    atomic_init(&description->references, 1);
    description->repeatable = routes->repeatable;
    description->name = strdup(routes->service);
    description->path = strdup(path_of(routes->path));
    description->aliases = calloc(routes->n_aliases + 1, sizeof *description->aliases);
    bool fine = description->name != NULL && description->path != NULL && description->aliases != NULL;
    for (size_t i = 0; fine && i < routes->n_aliases; i++) {
        description->aliases[description->alias_count] = strdup(routes->aliases[i]);
        fine = description->aliases[description->alias_count++] != NULL;
    }
    if (fine)
        return description;
    free_description(description);
    return NULL;
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
    for (size_t i = 0; i < service->group_count; i++)
        pick_tree_release(&service->groups[i].endpoints);
    free(service->groups);
    pick_description_release(service->description);
    free(service);
}

const struct pick_kind pick_service_kind = {service_key, destroy_service};

void pick_service_release(struct pick_service *service)
{
    pick_item_release(&pick_service_kind, (struct pick_item *)service);
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

/* Takes over the description; NULL: memory ran out for it already. */
static struct pick_service *create_service(uint64_t edit, struct pick_description *description, size_t group_count)
{
    struct pick_service *service = description == NULL ? NULL : calloc(1, sizeof *service);
    if (service == NULL) {
        pick_description_release(description);
        return NULL;
    }
    atomic_init(&service->item.references, 1);
    service->edit = edit;
    service->description = description;
    if (group_count > 0 && (service->groups = calloc(group_count, sizeof *service->groups)) == NULL) {
        pick_service_release(service);
        return NULL;
    }
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
    if (copy == NULL)
        return NULL;
    copy->group_count = service->group_count;
    for (size_t i = 0; i < service->group_count; i++) {
        copy->groups[i].priority = service->groups[i].priority;
        copy->groups[i].endpoints = pick_tree_reference(&service->groups[i].endpoints);
    }
    return copy;
}

struct pick_service *pick_service_single(const char *name, const char *path, const char *worker_id, const char *url)
{
    /* Nothing is written to through the messages. */
    Muster__V1__ServiceRoutes routes = MUSTER__V1__SERVICE_ROUTES__INIT;
    routes.service = (char *)name;
    routes.path = (char *)path;
    Muster__V1__Endpoint endpoint = MUSTER__V1__ENDPOINT__INIT;
    endpoint.worker_id = (char *)worker_id;
    endpoint.url = (char *)url;
    struct pick_service *service = pick_service_create(1, &routes);
    if (service != NULL && !pick_service_put(service, &endpoint, 0)) {
        pick_service_release(service);
        return NULL;
    }
    return service;
}

/* --- Their endpoints --- */

static uint32_t weight_of(const Muster__V1__Endpoint *endpoint)
{
    return endpoint->weight == 0 ? 1 : endpoint->weight;
}

/* The worker's entry and the number of its group; NULL: it has none. */
static struct pick_entry *find_endpoint(const struct pick_service *service, const char *worker_id, size_t *group)
{
    struct pick_entry *entry = NULL;
    size_t id_bytes = strlen(worker_id);
    for (*group = 0; *group < service->group_count; (*group)++) {
        entry = pick_tree_find(&service->groups[*group].endpoints, worker_id, id_bytes);
        if (entry != NULL)
            break;
    }
    return entry;
}

static bool has_url(const struct pick_entry *entry, const char *url)
{
    return strcmp(pick_endpoint_url((const struct pick_endpoint *)entry->item), url) == 0;
}

bool pick_service_has(const struct pick_service *service, const Muster__V1__Endpoint *endpoint, uint16_t mark)
{
    size_t group;
    struct pick_entry *entry = find_endpoint(service, endpoint->worker_id, &group);
    if (entry == NULL || service->groups[group].priority != endpoint->priority ||
        entry->weight != weight_of(endpoint) || !has_url(entry, endpoint->url))
        return false;
    entry->mark = mark;
    return true;
}

/* The group of that priority, made if there is none; NULL when memory ran out. */
static struct pick_group *get_group(struct pick_service *service, uint32_t priority)
{
    size_t i = 0;
    while (i < service->group_count && service->groups[i].priority < priority)
        i++;
    if (i < service->group_count && service->groups[i].priority == priority)
        return &service->groups[i];
    struct pick_group *groups = realloc(service->groups, (service->group_count + 1) * sizeof *groups);
    if (groups == NULL)
        return NULL;
    service->groups = groups;
    memmove(&groups[i + 1], &groups[i], (service->group_count - i) * sizeof *groups);
    groups[i] = (struct pick_group){.priority = priority, .endpoints = {.kind = &endpoint_kind}};
    service->group_count++;
    return &groups[i];
}

static bool remove_from_group(struct pick_service *service, size_t i, const char *worker_id)
{
    struct pick_group *group = &service->groups[i];
    if (!pick_tree_remove(&group->endpoints, service->edit, worker_id))
        return false;
    if (pick_tree_count(&group->endpoints) == 0) {
        service->group_count--;
        memmove(group, group + 1, (service->group_count - i) * sizeof *group);
    }
    return true;
}

bool pick_service_put(struct pick_service *service, const Muster__V1__Endpoint *endpoint, uint16_t mark)
{
    size_t place;
    struct pick_entry *entry = find_endpoint(service, endpoint->worker_id, &place);
    struct pick_endpoint *item = NULL;
    if (entry != NULL && has_url(entry, endpoint->url)) {
        item = (struct pick_endpoint *)entry->item;
        pick_item_reference(entry->item);
    } else {
        item = create_endpoint(endpoint->worker_id, endpoint->url);
    }
    if (item == NULL)
        return false;
    bool fine = entry == NULL || service->groups[place].priority == endpoint->priority ||
                remove_from_group(service, place, endpoint->worker_id);
    struct pick_group *group = fine ? get_group(service, endpoint->priority) : NULL;
    if (group == NULL) {
        pick_endpoint_release(item);
        return false;
    }
    return pick_tree_put(&group->endpoints, service->edit, &item->item, weight_of(endpoint), mark);
}

bool pick_service_remove(struct pick_service *service, const char *worker_id)
{
    size_t group;
    return find_endpoint(service, worker_id, &group) == NULL || remove_from_group(service, group, worker_id);
}
