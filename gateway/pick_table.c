/* The table of pick.h: its versions, and how messages of WatchRoutes make the next one. */

#include <stdlib.h>
#include <string.h>

#include "gateway/pick_service.h"

struct pick_table {
    atomic_uint references; /* of this version */
    /* One for itself while it has references, and one for the version before it while that is there: so versions
     * end in their order. */
    atomic_uint holds;
    struct pick_table *next;    /* the version that was made of it; NULL: it is the newest */
    struct pick_trash trash;    /* what it has and the next has not */
    struct pick_array services; /* struct pick_service by name: pick_names.h */
    struct pick_array aliases;  /* struct alias */
    struct pick_edit edit;      /* the change that made it, while that goes on */

    /* What the watch has come to; see router.proto. */
    uint64_t epoch, revision;
    bool in_snapshot;
};

/* So many endpoints' places are asked for before they are looked at. */
#define AHEAD 16

/* --- Aliases --- */

struct alias {
    struct pick_name name; /* first */
    struct pick_description *service;
    char text[];
};

static struct alias *create_alias(const struct pick_description *service, const char *text)
{
    size_t bytes = strlen(text) + 1;
    struct alias *alias = pick_allocate(sizeof *alias + bytes);
    alias->service = pick_description_reference(service);
    alias->name.text = memcpy(alias->text, text, bytes);
    return alias;
}

static void free_alias(void *alias)
{
    pick_description_release(((struct alias *)alias)->service);
    free(alias);
}

static struct alias *find_alias(const struct pick_table *table, const char *name, size_t name_bytes)
{
    return (struct alias *)pick_names_find(&table->aliases, name, name_bytes);
}

static void put_aliases(struct pick_table *table, const struct pick_description *service)
{
    for (size_t i = 0; i < service->alias_count; i++) {
        const char *name = service->aliases[i];
        struct alias *old = find_alias(table, name, strlen(name));
        pick_names_put(&table->aliases, &table->edit, &create_alias(service, name)->name);
        if (old != NULL)
            pick_discard(&table->edit, free_alias, old);
    }
}

/* Those that still are the service's. */
static void remove_aliases(struct pick_table *table, const struct pick_description *service)
{
    for (size_t i = 0; i < service->alias_count; i++) {
        struct alias *alias = find_alias(table, service->aliases[i], strlen(service->aliases[i]));
        if (alias == NULL || strcmp(alias->service->name, service->name) != 0)
            continue;
        pick_names_remove(&table->aliases, &table->edit, &alias->name);
        pick_discard(&table->edit, free_alias, alias);
    }
}

/* --- Versions --- */

struct pick_table *pick_table_create(void)
{
    struct pick_table *table = map_seed() ? calloc(1, sizeof *table) : NULL;
    if (table == NULL)
        return NULL;
    atomic_init(&table->references, 1);
    atomic_init(&table->holds, 1);
    return table;
}

struct pick_table *pick_table_reference(struct pick_table *table)
{
    atomic_fetch_add_explicit(&table->references, 1, memory_order_relaxed);
    return table;
}

static struct pick_service *service_at(const struct pick_table *table, size_t place)
{
    return pick_array_at(&table->services, place).item;
}

/* Of the newest version, when there are no others. */
static void destroy_contents(struct pick_table *table)
{
    for (size_t i = 0; i < table->services.count; i++) {
        if (service_at(table, i) != NULL)
            pick_service_discard(service_at(table, i), NULL);
    }
    for (size_t i = 0; i < table->aliases.count; i++) {
        struct alias *alias = pick_array_at(&table->aliases, i).item;
        if (alias != NULL)
            free_alias(alias);
    }
    pick_array_discard(&table->services, NULL);
    pick_array_discard(&table->aliases, NULL);
}

static bool drop_hold(struct pick_table *table)
{
    return atomic_fetch_sub_explicit(&table->holds, 1, memory_order_acq_rel) == 1;
}

void pick_table_release(struct pick_table *table)
{
    if (table == NULL || atomic_fetch_sub_explicit(&table->references, 1, memory_order_acq_rel) != 1)
        return;
    while (table != NULL && drop_hold(table)) {
        struct pick_table *next = table->next;
        if (next == NULL)
            destroy_contents(table);
        pick_trash_empty(&table->trash);
        free(table);
        table = next;
    }
}

static struct pick_table *next_version(struct pick_table *table)
{
    struct pick_table *next = calloc(1, sizeof *next);
    if (next == NULL)
        return NULL;
    atomic_init(&next->references, 1);
    atomic_init(&next->holds, 2);
    next->services = table->services;
    next->aliases = table->aliases;
    next->edit = (struct pick_edit){table->edit.number + 1, &table->trash};
    next->epoch = table->epoch;
    next->revision = table->revision;
    next->in_snapshot = table->in_snapshot;
    table->next = next;
    return next;
}

/* --- Applying --- */

static struct pick_service *find_service(const struct pick_table *table, const char *name, size_t name_bytes)
{
    return (struct pick_service *)pick_names_find(&table->services, name, name_bytes);
}

static void remove_service(struct pick_table *table, struct pick_service *service)
{
    remove_aliases(table, service->description);
    pick_names_remove(&table->services, &table->edit, &service->name);
    pick_service_discard(service, &table->edit);
}

/* The service, so that this change may change it. With `routes` it is described by them, and made if `old` is NULL. */
static struct pick_service *write_service(struct pick_table *table, struct pick_service *old,
                                          const Muster__V1__ServiceRoutes *routes)
{
    bool anew = old == NULL || (routes != NULL && !pick_description_matches(old->description, routes));
    if (!anew && old->edit == table->edit.number)
        return old;
    struct pick_service *service = old == NULL ? pick_service_create(table->edit.number, routes)
                                               : pick_service_copy(old, table->edit.number, anew ? routes : NULL);
    if (anew && old != NULL)
        remove_aliases(table, old->description);
    if (anew)
        put_aliases(table, service->description);
    pick_names_put(&table->services, &table->edit, &service->name);
    if (old != NULL)
        pick_discard(&table->edit, pick_service_free, old);
    return service;
}

static void apply_endpoints(struct pick_table *table, struct pick_service *service,
                            const Muster__V1__ServiceRoutes *routes)
{
    uint32_t hashes[AHEAD];
    size_t end = 0;
    for (size_t i = 0; i < routes->n_endpoints; i++) {
        const Muster__V1__Endpoint *endpoint = routes->endpoints[i];
        for (; end < routes->n_endpoints && end < i + AHEAD; end++)
            hashes[end % AHEAD] = pick_service_expect(service, routes->endpoints[end]->worker_id);
        struct pick_found found = pick_service_find(service, endpoint->worker_id, hashes[i % AHEAD]);
        if (pick_service_has(service, &found, endpoint))
            continue;
        service = write_service(table, service, NULL);
        pick_service_put(service, &table->edit, &found, endpoint);
    }
}

static void apply_service(struct pick_table *table, const Muster__V1__ServiceRoutes *routes)
{
    struct pick_service *service = find_service(table, routes->service, strlen(routes->service));
    if (service == NULL || !pick_description_matches(service->description, routes) || routes->n_removed_worker_ids > 0)
        service = write_service(table, service, routes);
    service->named = true;
    for (size_t i = 0; i < routes->n_removed_worker_ids; i++)
        pick_service_remove(service, &table->edit, routes->removed_worker_ids[i]);
    apply_endpoints(table, service, routes);
}

/* At the begin of a snapshot. */
static void forget_names(const struct pick_table *table)
{
    for (size_t i = 0; i < table->services.count; i++) {
        if (service_at(table, i) != NULL)
            pick_service_forget_names(service_at(table, i));
    }
}

/* At the end of a snapshot: what it did not name goes. */
static void sweep(struct pick_table *table)
{
    for (size_t i = 0; i < table->services.count;) {
        struct pick_service *service = service_at(table, i);
        if (service != NULL && !service->named) {
            remove_service(table, service); /* another may have come to this place */
            continue;
        }
        if (service != NULL)
            pick_service_sweep(write_service(table, service, NULL), &table->edit);
        i++;
    }
}

static void apply(struct pick_table *table, const Muster__V1__WatchRoutesResponse *change)
{
    for (size_t i = 0; i < change->n_removed_services; i++) {
        const char *name = change->removed_services[i];
        struct pick_service *service = find_service(table, name, strlen(name));
        if (service != NULL)
            remove_service(table, service);
    }
    for (size_t i = 0; i < change->n_services; i++)
        apply_service(table, change->services[i]);
}

struct pick_table *pick_table_apply(struct pick_table *table, const Muster__V1__WatchRoutesResponse *change)
{
    struct pick_table *next = next_version(table);
    if (next == NULL)
        return NULL;
    if (change->snapshot) {
        forget_names(next);
        next->in_snapshot = true;
        next->revision = 0;
        next->epoch = change->epoch;
    }
    apply(next, change);
    if (change->snapshot_complete && next->in_snapshot) {
        sweep(next);
        next->in_snapshot = false;
    }
    if (!next->in_snapshot)
        next->revision = change->revision;
    return next;
}

/* --- Looking --- */

void pick_table_position(const struct pick_table *table, Muster__V1__WatchRoutesRequest *request)
{
    request->epoch = table->in_snapshot ? 0 : table->epoch;
    request->after_revision = table->in_snapshot ? 0 : table->revision;
}

bool pick_table_is_whole(const struct pick_table *table)
{
    return !table->in_snapshot && table->epoch != 0;
}

const struct pick_service *pick_table_find(const struct pick_table *table, const char *name, size_t name_bytes)
{
    const struct pick_service *service = find_service(table, name, name_bytes);
    if (service != NULL)
        return service;
    const struct alias *alias = find_alias(table, name, name_bytes);
    return alias == NULL ? NULL : find_service(table, alias->service->name, strlen(alias->service->name));
}

size_t pick_table_services(const struct pick_table *table)
{
    return table->services.weight;
}

static bool check_service(const struct pick_service *service, bool is_newest)
{
    for (size_t i = 0; i < service->group_count; i++) {
        if (!pick_group_check(&service->groups[i], is_newest) ||
            (i > 0 && service->groups[i].priority <= service->groups[i - 1].priority))
            return false;
    }
    return true;
}

bool pick_table_check(const struct pick_table *table)
{
    bool sound = pick_array_check(&table->services) && pick_array_check(&table->aliases);
    for (size_t i = 0; sound && i < table->services.count; i++)
        sound = service_at(table, i) == NULL || check_service(service_at(table, i), table->next == NULL);
    return sound;
}
