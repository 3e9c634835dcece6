/* The table of pick.h: its versions, and how messages of WatchRoutes make the next one. */

#include <stdlib.h>
#include <string.h>

#include "gateway/pick_service.h"

struct pick_table {
    atomic_uint references; /* of this version */
    /* One for itself while it has references, and one for the version before it while that is there: so versions
     * end in their order. */
    atomic_uint holds;
    struct pick_table *next; /* the version that was made of it; NULL: it is the newest */
    struct pick_trash trash; /* what it has and the next has not */
    struct pick_tree services; /* struct pick_service by name */
    struct pick_tree aliases;  /* struct alias */
    struct pick_edit edit;     /* the change that made it, while that goes on */

    /* What the watch has come to; see router.proto. */
    uint64_t epoch, revision;
    bool in_snapshot;
    /* Entries that the last snapshot has named have it for their mark. It is the same again after
     * 65,536 snapshots: every one that is completed does away with older marks. */
    uint16_t snapshot;
};

/* --- Aliases --- */

struct alias {
    struct pick_item item; /* first */
    struct pick_description *service;
    char name[];
};

static const char *alias_key(const struct pick_item *item)
{
    return ((const struct alias *)item)->name;
}

static void destroy_alias(struct pick_item *item)
{
    pick_description_release(((struct alias *)item)->service);
    free(item);
}

static const struct pick_kind alias_kind = {alias_key, destroy_alias};

static void put_aliases(struct pick_table *table, const struct pick_description *service)
{
    for (size_t i = 0; i < service->alias_count; i++) {
        size_t bytes = strlen(service->aliases[i]);
        struct alias *alias = pick_allocate(sizeof *alias + bytes + 1);
        atomic_init(&alias->item.references, 1);
        alias->service = pick_description_reference(service);
        memcpy(alias->name, service->aliases[i], bytes + 1);
        struct pick_key key = pick_key_of(alias->name, bytes);
        pick_tree_put(&table->aliases, &table->edit, &key, pick_tree_find(&table->aliases, &key), &alias->item, 1, 0);
    }
}

/* Those that still are the service's. */
static void remove_aliases(struct pick_table *table, const struct pick_description *service)
{
    for (size_t i = 0; i < service->alias_count; i++) {
        struct pick_key key = pick_key_of(service->aliases[i], strlen(service->aliases[i]));
        const struct pick_entry *entry = pick_tree_find(&table->aliases, &key);
        if (entry != NULL && strcmp(((const struct alias *)entry->item)->service->name, service->name) == 0)
            pick_tree_remove(&table->aliases, &table->edit, &key);
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
    table->services.kind = &pick_service_kind;
    table->aliases.kind = &alias_kind;
    return table;
}

struct pick_table *pick_table_reference(struct pick_table *table)
{
    atomic_fetch_add_explicit(&table->references, 1, memory_order_relaxed);
    return table;
}

static void destroy_endpoints(void *context, struct pick_entry *entry)
{
    (void)context;
    pick_service_destroy_endpoints((struct pick_service *)entry->item);
}

/* Of the newest version, when there are no others. */
static void destroy_contents(struct pick_table *table)
{
    pick_tree_each(&table->services, destroy_endpoints, NULL);
    pick_tree_destroy(&table->services);
    pick_tree_destroy(&table->aliases);
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
    next->snapshot = table->snapshot;
    table->next = next;
    return next;
}

static struct pick_service *service_in(const struct pick_entry *entry)
{
    return entry == NULL ? NULL : (struct pick_service *)entry->item;
}

static struct pick_entry *find_service(const struct pick_table *table, const char *name)
{
    struct pick_key key = pick_key_of(name, strlen(name));
    return pick_tree_find(&table->services, &key);
}

static void remove_service(struct pick_table *table, const char *name)
{
    const struct pick_service *service = service_in(find_service(table, name));
    if (service == NULL)
        return;
    struct pick_key key = pick_key_of(name, strlen(name));
    remove_aliases(table, service->description);
    pick_service_discard(service, &table->edit);
    pick_tree_remove(&table->services, &table->edit, &key);
}

/* The service of that name, which this change may change. With `routes`
 * it is made if there is none, and described by them; without, it is there. */
static struct pick_service *write_service(struct pick_table *table, const char *name,
                                          const Muster__V1__ServiceRoutes *routes)
{
    const struct pick_entry *entry = find_service(table, name);
    struct pick_service *old = service_in(entry);
    bool anew = old == NULL || (routes != NULL && !pick_description_matches(old->description, routes));
    if (!anew && old->edit == table->edit.number)
        return old;
    struct pick_service *service = old == NULL ? pick_service_create(table->edit.number, routes)
                                               : pick_service_copy(old, table->edit.number, anew ? routes : NULL);
    uint16_t mark = old == NULL ? table->snapshot : entry->mark;
    if (anew && old != NULL)
        remove_aliases(table, old->description);
    if (anew)
        put_aliases(table, service->description);
    struct pick_key key = pick_key_of(service->description->name, strlen(name));
    pick_tree_put(&table->services, &table->edit, &key, entry, &service->item, 1, mark);
    return service;
}

static void apply_service(struct pick_table *table, const Muster__V1__ServiceRoutes *routes)
{
    struct pick_entry *entry = find_service(table, routes->service);
    struct pick_service *service = service_in(entry);
    if (entry == NULL || !pick_description_matches(service->description, routes) || routes->n_removed_worker_ids > 0) {
        service = write_service(table, routes->service, routes);
        entry = find_service(table, routes->service);
    }
    entry->mark = table->snapshot;
    for (size_t i = 0; i < routes->n_removed_worker_ids; i++)
        pick_service_remove(service, &table->edit, routes->removed_worker_ids[i]);
    for (size_t i = 0; i < routes->n_endpoints; i++) {
        struct pick_found found = pick_service_find(service, routes->endpoints[i]->worker_id);
        if (pick_service_has(service, &found, routes->endpoints[i], table->snapshot))
            continue;
        if (service->edit != table->edit.number)
            service = write_service(table, routes->service, NULL);
        pick_service_put(service, &table->edit, &found, routes->endpoints[i], table->snapshot);
    }
}

/* --- The end of a snapshot --- */

/* What is to go: items that the snapshot did not name. They stay until the version before this one is gone. */
struct leftovers {
    uint16_t mark;
    const struct pick_item **items;
    size_t count, capacity;
};

static void note_leftover(void *context, struct pick_entry *entry)
{
    struct leftovers *left = context;
    if (entry->mark == left->mark)
        return;
    if (left->count == left->capacity) {
        left->capacity = left->capacity * 2 + 64;
        left->items = realloc(left->items, left->capacity * sizeof *left->items);
        if (left->items == NULL)
            abort();
    }
    left->items[left->count++] = entry->item;
}

static struct leftovers leftovers_of(const struct pick_tree *tree, uint16_t mark)
{
    struct leftovers left = {.mark = mark};
    pick_tree_each(tree, note_leftover, &left);
    return left;
}

static void sweep_group(struct pick_table *table, const char *service, const struct pick_tree *endpoints)
{
    struct leftovers left = leftovers_of(endpoints, table->snapshot);
    struct pick_service *own = left.count == 0 ? NULL : write_service(table, service, NULL);
    for (size_t i = 0; i < left.count; i++)
        pick_service_remove(own, &table->edit, endpoints->kind->key(left.items[i]));
    free(left.items);
}

static void sweep_services(struct pick_table *table)
{
    struct leftovers left = leftovers_of(&table->services, table->snapshot);
    for (size_t i = 0; i < left.count; i++)
        remove_service(table, table->services.kind->key(left.items[i]));
    free(left.items);
}

/* `before` is the same version once more: its groups stay while those of `table` change. */
static void sweep(struct pick_table *table, const struct pick_tree *before)
{
    sweep_services(table);
    for (size_t i = 0; i < pick_tree_count(before); i++) {
        const struct pick_service *service = service_in(pick_tree_at(before, i));
        const char *name = service->description->name;
        if (find_service(table, name) == NULL)
            continue;
        for (size_t j = 0; j < service->group_count; j++)
            sweep_group(table, name, &service->groups[j].endpoints);
    }
}

/* --- Applying --- */

static void apply(struct pick_table *table, const Muster__V1__WatchRoutesResponse *change)
{
    for (size_t i = 0; i < change->n_removed_services; i++)
        remove_service(table, change->removed_services[i]);
    for (size_t i = 0; i < change->n_services; i++)
        apply_service(table, change->services[i]);
}

struct pick_table *pick_table_apply(struct pick_table *table, const Muster__V1__WatchRoutesResponse *change)
{
    struct pick_table *next = next_version(table);
    if (next == NULL)
        return NULL;
    if (change->snapshot) {
        next->snapshot = ++table->snapshot; /* of both: marks are set in nodes that both have */
        next->in_snapshot = true;
        next->revision = 0;
        next->epoch = change->epoch;
    }
    apply(next, change);
    if (change->snapshot_complete && next->in_snapshot) {
        struct pick_tree before = next->services;
        next->edit.number++; /* so that `before` stays as it is */
        sweep(next, &before);
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
    struct pick_key key = pick_key_of(name, name_bytes);
    const struct pick_entry *entry = pick_tree_find(&table->services, &key);
    if (entry != NULL)
        return service_in(entry);
    entry = pick_tree_find(&table->aliases, &key);
    return entry == NULL ? NULL
                         : service_in(find_service(table, ((const struct alias *)entry->item)->service->name));
}

size_t pick_table_services(const struct pick_table *table)
{
    return pick_tree_count(&table->services);
}

static void check_service(void *context, struct pick_entry *entry)
{
    const struct pick_service *service = service_in(entry);
    bool *sound = context;
    for (size_t i = 0; i < service->group_count; i++) {
        if (pick_tree_count(&service->groups[i].endpoints) == 0 || !pick_tree_check(&service->groups[i].endpoints) ||
            (i > 0 && service->groups[i].priority <= service->groups[i - 1].priority))
            *sound = false;
    }
}

bool pick_table_check(const struct pick_table *table)
{
    bool sound = pick_tree_check(&table->services) && pick_tree_check(&table->aliases);
    pick_tree_each(&table->services, check_service, &sound);
    return sound;
}
