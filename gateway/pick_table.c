/* The table of pick.h: its versions, and how messages of WatchRoutes make the next one. */

#include <stdlib.h>
#include <string.h>

#include "gateway/pick_service.h"

struct pick_table {
    atomic_uint references;
    struct pick_tree services; /* struct pick_service by name */
    struct pick_tree aliases;  /* struct alias */
    uint64_t edit;             /* the change that made it */

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

static bool put_aliases(struct pick_table *table, const struct pick_description *service)
{
    for (size_t i = 0; i < service->alias_count; i++) {
        size_t bytes = strlen(service->aliases[i]) + 1;
        struct alias *alias = malloc(sizeof *alias + bytes);
        if (alias == NULL)
            return false;
        atomic_init(&alias->item.references, 1);
        alias->service = pick_description_reference(service);
        memcpy(alias->name, service->aliases[i], bytes);
        if (!pick_tree_put(&table->aliases, table->edit, &alias->item, 1, 0))
            return false;
    }
    return true;
}

/* Those that still are the service's. */
static bool remove_aliases(struct pick_table *table, const struct pick_description *service)
{
    for (size_t i = 0; i < service->alias_count; i++) {
        const char *name = service->aliases[i];
        const struct pick_entry *entry = pick_tree_find(&table->aliases, name, strlen(name));
        if (entry != NULL && strcmp(((const struct alias *)entry->item)->service->name, service->name) == 0 &&
            !pick_tree_remove(&table->aliases, table->edit, name))
            return false;
    }
    return true;
}

/* --- Versions --- */

struct pick_table *pick_table_create(void)
{
    struct pick_table *table = calloc(1, sizeof *table);
    if (table == NULL)
        return NULL;
    atomic_init(&table->references, 1);
    table->services.kind = &pick_service_kind;
    table->aliases.kind = &alias_kind;
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
    pick_tree_release(&table->services);
    pick_tree_release(&table->aliases);
    free(table);
}

static struct pick_table *next_version(const struct pick_table *table)
{
    struct pick_table *next = pick_table_create();
    if (next == NULL)
        return NULL;
    next->services = pick_tree_reference(&table->services);
    next->aliases = pick_tree_reference(&table->aliases);
    next->edit = table->edit + 1;
    next->epoch = table->epoch;
    next->revision = table->revision;
    next->in_snapshot = table->in_snapshot;
    next->snapshot = table->snapshot;
    return next;
}

static struct pick_service *service_in(const struct pick_entry *entry)
{
    return entry == NULL ? NULL : (struct pick_service *)entry->item;
}

static bool remove_service(struct pick_table *table, const char *name)
{
    const struct pick_service *service = service_in(pick_tree_find(&table->services, name, strlen(name)));
    return service == NULL ||
           (remove_aliases(table, service->description) && pick_tree_remove(&table->services, table->edit, name));
}

/* The service of that name, which this change may change; NULL when memory ran out. With `routes`
 * it is made if there is none, and described by them; without, it is there. */
static struct pick_service *write_service(struct pick_table *table, const char *name,
                                          const Muster__V1__ServiceRoutes *routes)
{
    const struct pick_entry *entry = pick_tree_find(&table->services, name, strlen(name));
    struct pick_service *old = service_in(entry);
    bool anew = old == NULL || (routes != NULL && !pick_description_matches(old->description, routes));
    if (!anew && old->edit == table->edit)
        return old;
    struct pick_service *service = old == NULL ? pick_service_create(table->edit, routes)
                                               : pick_service_copy(old, table->edit, anew ? routes : NULL);
    if (service == NULL)
        return NULL;
    if (anew &&
        ((old != NULL && !remove_aliases(table, old->description)) || !put_aliases(table, service->description))) {
        pick_service_release(service);
        return NULL;
    }
    uint16_t mark = old == NULL ? table->snapshot : entry->mark;
    return pick_tree_put(&table->services, table->edit, &service->item, 1, mark) ? service : NULL;
}

static bool apply_service(struct pick_table *table, const Muster__V1__ServiceRoutes *routes)
{
    struct pick_entry *entry = pick_tree_find(&table->services, routes->service, strlen(routes->service));
    const struct pick_service *current = service_in(entry);
    if (entry == NULL || !pick_description_matches(current->description, routes) || routes->n_removed_worker_ids > 0) {
        current = write_service(table, routes->service, routes);
        if (current == NULL)
            return false;
        entry = pick_tree_find(&table->services, routes->service, strlen(routes->service));
    }
    entry->mark = table->snapshot;
    for (size_t i = 0; i < routes->n_removed_worker_ids; i++) {
        if (!pick_service_remove((struct pick_service *)current, routes->removed_worker_ids[i]))
            return false;
    }
    for (size_t i = 0; i < routes->n_endpoints; i++) {
        if (pick_service_has(current, routes->endpoints[i], table->snapshot))
            continue;
        struct pick_service *own = write_service(table, routes->service, NULL);
        if (own == NULL || !pick_service_put(own, routes->endpoints[i], table->snapshot))
            return false;
        current = own;
    }
    return true;
}

/* --- The end of a snapshot --- */

/* What is to go: items that the snapshot did not name. */
struct leftovers {
    const struct pick_kind *kind; /* of the items */
    uint16_t mark;
    struct pick_item **items;
    size_t count, capacity;
    bool failed;
};

static bool note_leftover(void *context, struct pick_entry *entry)
{
    struct leftovers *left = context;
    if (entry->mark == left->mark)
        return true;
    if (left->count == left->capacity) {
        size_t capacity = left->capacity * 2 + 64;
        struct pick_item **items = realloc(left->items, capacity * sizeof *items);
        left->failed = items == NULL;
        if (items == NULL)
            return false;
        left->items = items;
        left->capacity = capacity;
    }
    pick_item_reference(entry->item); /* removing one may be its end, and with it the key's */
    left->items[left->count++] = entry->item;
    return true;
}

static struct leftovers leftovers_of(const struct pick_tree *tree, uint16_t mark)
{
    struct leftovers left = {.kind = tree->kind, .mark = mark};
    (void)pick_tree_each(tree, note_leftover, &left); /* says in `failed` whether it came to its end */
    return left;
}

static void free_leftovers(struct leftovers *left)
{
    for (size_t i = 0; i < left->count; i++)
        pick_item_release(left->kind, left->items[i]);
    free(left->items);
}

static bool sweep_group(struct pick_table *table, const char *service, const struct pick_tree *endpoints)
{
    struct leftovers left = leftovers_of(endpoints, table->snapshot);
    struct pick_service *own = left.failed || left.count == 0 ? NULL : write_service(table, service, NULL);
    bool fine = !left.failed && (left.count == 0 || own != NULL);
    for (size_t i = 0; fine && i < left.count; i++)
        fine = pick_service_remove(own, left.kind->key(left.items[i]));
    free_leftovers(&left);
    return fine;
}

static bool sweep_services(struct pick_table *table)
{
    struct leftovers left = leftovers_of(&table->services, table->snapshot);
    bool fine = !left.failed;
    for (size_t i = 0; fine && i < left.count; i++)
        fine = remove_service(table, left.kind->key(left.items[i]));
    free_leftovers(&left);
    return fine;
}

/* `before` is the same version once more: its groups stay while those of `table` change. */
static bool sweep(struct pick_table *table, const struct pick_tree *before)
{
    if (!sweep_services(table))
        return false;
    for (size_t i = 0; i < pick_tree_count(before); i++) {
        const struct pick_service *service = service_in(pick_tree_at(before, i));
        const char *name = service->description->name;
        if (pick_tree_find(&table->services, name, strlen(name)) == NULL)
            continue;
        for (size_t j = 0; j < service->group_count; j++) {
            if (!sweep_group(table, name, &service->groups[j].endpoints))
                return false;
        }
    }
    return true;
}

/* --- Applying --- */

static bool apply(struct pick_table *table, const Muster__V1__WatchRoutesResponse *change)
{
    bool fine = true;
    for (size_t i = 0; fine && i < change->n_removed_services; i++)
        fine = remove_service(table, change->removed_services[i]);
    for (size_t i = 0; fine && i < change->n_services; i++)
        fine = apply_service(table, change->services[i]);
    return fine;
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
    bool fine = apply(next, change);
    if (fine && change->snapshot_complete && next->in_snapshot) {
        struct pick_tree before = pick_tree_reference(&next->services);
        next->edit++; /* so that `before` stays as it is */
        fine = sweep(next, &before);
        pick_tree_release(&before);
        next->in_snapshot = false;
    }
    if (fine && !next->in_snapshot)
        next->revision = change->revision;
    if (!fine) {
        pick_table_release(next);
        return NULL;
    }
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
    const struct pick_entry *entry = pick_tree_find(&table->services, name, name_bytes);
    if (entry != NULL)
        return service_in(entry);
    entry = pick_tree_find(&table->aliases, name, name_bytes);
    if (entry == NULL)
        return NULL;
    const char *meant = ((const struct alias *)entry->item)->service->name;
    return service_in(pick_tree_find(&table->services, meant, strlen(meant)));
}

size_t pick_table_services(const struct pick_table *table)
{
    return pick_tree_count(&table->services);
}

static bool check_service(void *context, struct pick_entry *entry)
{
    const struct pick_service *service = service_in(entry);
    (void)context;
    for (size_t i = 0; i < service->group_count; i++) {
        if (pick_tree_count(&service->groups[i].endpoints) == 0 || !pick_tree_check(&service->groups[i].endpoints) ||
            (i > 0 && service->groups[i].priority <= service->groups[i - 1].priority))
            return false;
    }
    return true;
}

bool pick_table_check(const struct pick_table *table)
{
    return pick_tree_check(&table->services) && pick_tree_check(&table->aliases) &&
           pick_tree_each(&table->services, check_service, NULL);
}
