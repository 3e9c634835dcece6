/* The table of pick.h: services with reference counts, shared between versions. */

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/pick_service.h"

struct pick_table {
    atomic_uint references;
    struct map by_name;  /* struct pick_service */
    struct map by_alias; /* struct pick_service */
};

static int by_priority(const void *a, const void *b)
{
    const struct pick_endpoint *left = a;
    const struct pick_endpoint *right = b;
    if (left->priority != right->priority)
        return left->priority < right->priority ? -1 : 1;
    return strcmp(left->worker_id, right->worker_id);
}

static void free_service(struct pick_service *service)
{
    for (size_t i = 0; i < service->endpoint_count; i++) {
        free(service->endpoints[i].worker_id);
        free(service->endpoints[i].url);
    }
    for (size_t i = 0; i < service->alias_count; i++)
        free(service->aliases[i]);
    free(service->endpoints);
    free(service->aliases);
    free(service->groups);
    free(service->name);
    free(service->path);
    free(service);
}

struct pick_service *pick_service_reference(const struct pick_service *service)
{
    struct pick_service *counted = (struct pick_service *)service; /* only the count changes */
    atomic_fetch_add_explicit(&counted->references, 1, memory_order_relaxed);
    return counted;
}

void pick_service_release(struct pick_service *service)
{
    if (service != NULL && atomic_fetch_sub_explicit(&service->references, 1, memory_order_acq_rel) == 1)
        free_service(service);
}

/* Sorts the endpoints into groups of one priority and sums up weights inside each. */
static bool group_endpoints(struct pick_service *service)
{
    if (service->endpoint_count == 0)
        return true;
    qsort(service->endpoints, service->endpoint_count, sizeof *service->endpoints, by_priority);
    service->groups = calloc(service->endpoint_count, sizeof *service->groups);
    if (service->groups == NULL)
        return false;
    struct pick_group *group = NULL;
    for (size_t i = 0; i < service->endpoint_count; i++) {
        struct pick_endpoint *endpoint = &service->endpoints[i];
        if (group == NULL || service->endpoints[group->first].priority != endpoint->priority) {
            group = &service->groups[service->group_count++];
            group->first = i;
        }
        group->count++;
        group->weight_sum += endpoint->weight;
        endpoint->weight_sum = group->weight_sum;
    }
    return true;
}

static struct pick_service *create_service(const char *name, const char *path)
{
    struct pick_service *service = calloc(1, sizeof *service);
    if (service == NULL)
        return NULL;
    atomic_init(&service->references, 1);
    service->name = strdup(name);
    service->path = strdup(path[0] == '\0' ? PICK_DEFAULT_PATH : path);
    if (service->name == NULL || service->path == NULL) {
        free_service(service);
        return NULL;
    }
    return service;
}

static bool add_endpoint(struct pick_service *service, const char *worker_id, const char *url, uint32_t weight,
                         uint32_t priority)
{
    struct pick_endpoint *endpoint = &service->endpoints[service->endpoint_count++];
    endpoint->worker_id = strdup(worker_id);
    endpoint->url = strdup(url);
    endpoint->weight = weight == 0 ? 1 : weight;
    endpoint->priority = priority;
    return endpoint->worker_id != NULL && endpoint->url != NULL;
}

struct pick_service *pick_service_single(const char *name, const char *path, const char *worker_id, const char *url)
{
    struct pick_service *service = create_service(name, path);
    if (service == NULL)
        return NULL;
    service->endpoints = calloc(1, sizeof *service->endpoints);
    if (service->endpoints == NULL || !add_endpoint(service, worker_id, url, 1, 0) || !group_endpoints(service)) {
        free_service(service);
        return NULL;
    }
    return service;
}

static struct pick_service *service_of(const Muster__V1__ServiceRoutes *routes)
{
    struct pick_service *service = create_service(routes->service, routes->path);
    if (service == NULL)
        return NULL;
    service->repeatable = routes->repeatable;
    service->endpoints = calloc(routes->n_endpoints + 1, sizeof *service->endpoints);
    service->aliases = calloc(routes->n_aliases + 1, sizeof *service->aliases);
    bool fine = service->endpoints != NULL && service->aliases != NULL;
    for (size_t i = 0; fine && i < routes->n_endpoints; i++) {
        const Muster__V1__Endpoint *endpoint = routes->endpoints[i];
        fine = add_endpoint(service, endpoint->worker_id, endpoint->url, endpoint->weight, endpoint->priority);
    }
    for (size_t i = 0; fine && i < routes->n_aliases; i++) {
        service->aliases[service->alias_count] = strdup(routes->aliases[i]);
        fine = service->aliases[service->alias_count++] != NULL;
    }
    if (!fine || !group_endpoints(service)) {
        free_service(service);
        return NULL;
    }
    return service;
}

struct pick_table *pick_table_create(void)
{
    struct pick_table *table = calloc(1, sizeof *table);
    if (table != NULL)
        atomic_init(&table->references, 1);
    return table;
}

struct pick_table *pick_table_reference(struct pick_table *table)
{
    atomic_fetch_add_explicit(&table->references, 1, memory_order_relaxed);
    return table;
}

void pick_table_release(struct pick_table *table)
{
    if (table == NULL || atomic_fetch_sub_explicit(&table->references, 1, memory_order_acq_rel) != 1)
        return;
    size_t position = 0;
    struct pick_service *service;
    while ((service = map_next(&table->by_name, &position)) != NULL)
        pick_service_release(service);
    map_free(&table->by_name);
    map_free(&table->by_alias);
    free(table);
}

/* Takes over the reference, also on failure. */
static bool put_service(struct pick_table *table, struct pick_service *service)
{
    void *old = NULL;
    if (service == NULL)
        return false;
    if (!map_put_text(&table->by_name, service->name, service, &old)) {
        pick_service_release(service);
        return false;
    }
    pick_service_release(old);
    return true;
}

/* Aliases last, when it is known which services the table has. */
static bool index_aliases(struct pick_table *table)
{
    size_t position = 0;
    struct pick_service *service;
    while ((service = map_next(&table->by_name, &position)) != NULL) {
        for (size_t i = 0; i < service->alias_count; i++) {
            if (!map_put_text(&table->by_alias, service->aliases[i], service, NULL))
                return false;
        }
    }
    return true;
}

static bool copy_services(const struct pick_table *from, struct pick_table *to)
{
    size_t position = 0;
    struct pick_service *service;
    while ((service = map_next(&from->by_name, &position)) != NULL) {
        if (!put_service(to, pick_service_reference(service)))
            return false;
    }
    return true;
}

struct pick_table *pick_table_apply(const struct pick_table *table, const Muster__V1__WatchRoutesResponse *change)
{
    struct pick_table *next = pick_table_create();
    if (next == NULL)
        return NULL;
    bool fine = change->snapshot || copy_services(table, next);
    for (size_t i = 0; fine && i < change->n_removed_services; i++)
        pick_service_release(map_remove_text(&next->by_name, change->removed_services[i]));
    for (size_t i = 0; fine && i < change->n_services; i++)
        fine = put_service(next, service_of(change->services[i]));
    if (!fine || !index_aliases(next)) {
        pick_table_release(next);
        return NULL;
    }
    return next;
}

const struct pick_service *pick_table_find(const struct pick_table *table, const char *name, size_t name_bytes)
{
    const struct pick_service *service = map_get(&table->by_name, name, name_bytes);
    return service != NULL ? service : map_get(&table->by_alias, name, name_bytes);
}

const char *pick_service_name(const struct pick_service *service)
{
    return service->name;
}

size_t pick_service_endpoints(const struct pick_service *service)
{
    return service->endpoint_count;
}

bool pick_service_repeatable(const struct pick_service *service)
{
    return service->repeatable;
}

void pick_service_path(const struct pick_service *service, const char *type, size_t type_bytes, const char *rest,
                       size_t rest_bytes, struct buffer *path)
{
    static const char placeholder[] = "{type}";
    const char *at = service->path;
    const char *found;
    while ((found = strstr(at, placeholder)) != NULL) {
        buffer_append(path, at, (size_t)(found - at));
        buffer_append(path, type, type_bytes);
        at = found + sizeof placeholder - 1;
    }
    buffer_append_text(path, at);
    buffer_append(path, rest, rest_bytes);
}
