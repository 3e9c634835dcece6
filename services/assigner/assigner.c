/* The assigner's replica of the roll and its counts; see assigner.h. */

#include "services/assigner/state.h"

#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* --- Memory --- */

struct tables {
    uint32_t *expected, *healthy, *able, *loaded, *seen, *here;
    uint64_t *load;
    size_t *services;
    bool *taken;
};

static void free_tables(struct tables *tables)
{
    free(tables->expected);
    free(tables->healthy);
    free(tables->able);
    free(tables->loaded);
    free(tables->load);
    free(tables->seen);
    free(tables->here);
    free(tables->services);
    free(tables->taken);
}

static bool create_tables(struct tables *tables, size_t count)
{
    tables->expected = calloc(count, sizeof(*tables->expected));
    tables->healthy = calloc(count, sizeof(*tables->healthy));
    tables->able = calloc(count, sizeof(*tables->able));
    tables->loaded = calloc(count, sizeof(*tables->loaded));
    tables->load = calloc(count, sizeof(*tables->load));
    tables->seen = calloc(count, sizeof(*tables->seen));
    tables->here = calloc(count, sizeof(*tables->here));
    tables->services = calloc(count, sizeof(*tables->services));
    tables->taken = calloc(count, sizeof(*tables->taken));
    if (tables->expected != NULL && tables->healthy != NULL && tables->able != NULL && tables->loaded != NULL &&
        tables->load != NULL && tables->seen != NULL && tables->here != NULL && tables->services != NULL &&
        tables->taken != NULL)
        return true;
    free_tables(tables);
    return false;
}

static struct tables tables_of(const struct assigner *assigner)
{
    const struct counts *counts = &assigner->counts;
    return (struct tables){.expected = counts->expected,
                           .healthy = counts->healthy,
                           .able = counts->able,
                           .loaded = counts->loaded,
                           .seen = assigner->seen,
                           .here = assigner->here,
                           .load = counts->load,
                           .services = assigner->decision.services,
                           .taken = assigner->decision.taken};
}

static void use_tables(struct assigner *assigner, const struct tables *tables)
{
    assigner->counts = (struct counts){.expected = tables->expected,
                                       .healthy = tables->healthy,
                                       .able = tables->able,
                                       .loaded = tables->loaded,
                                       .load = tables->load};
    assigner->seen = tables->seen;
    assigner->here = tables->here;
    assigner->seen_number = 0;
    assigner->decision.services = tables->services;
    assigner->decision.taken = tables->taken;
}

struct assigner *assigner_create(struct catalog *catalog)
{
    struct assigner *assigner = calloc(1, sizeof(*assigner));
    struct tables tables;
    if (assigner == NULL || !create_tables(&tables, catalog_count(catalog))) {
        free(assigner);
        catalog_destroy(catalog);
        return NULL;
    }
    assigner->catalog = catalog;
    use_tables(assigner, &tables);
    if (!adapt_create(assigner) || !balance_create(assigner)) {
        assigner_destroy(assigner);
        return NULL;
    }
    return assigner;
}

/* Each value in one piece. */
static void free_values(struct map *map)
{
    size_t position = 0;
    void *value;
    while ((value = map_next(map, &position)) != NULL)
        free(value);
    map_free(map);
}

void assigner_destroy(struct assigner *assigner)
{
    if (assigner == NULL)
        return;
    free_values(&assigner->members);
    free_values(&assigner->promises);
    struct tables tables = tables_of(assigner);
    free_tables(&tables);
    free_values(&assigner->counts.located);
    moves_forget(assigner);
    adapt_forget(assigner);
    balance_forget(assigner);
    free(assigner->balance);
    catalog_destroy(assigner->catalog);
    free(assigner);
}

/* Names of several lists, put behind the id of a new member. */
struct names {
    char *const *items;
    size_t count;
};

/* What a key lets a worker run. */
struct limit {
    bool given;
    struct names names;
};

static size_t names_bytes(const struct names *names)
{
    size_t bytes = 0;
    for (size_t i = 0; i < names->count; i++)
        bytes += strlen(names->items[i]) + 1;
    return bytes;
}

static char *put_names(char *at, const struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        size_t bytes = strlen(names->items[i]) + 1;
        memcpy(at, names->items[i], bytes);
        at += bytes;
    }
    return at;
}

static struct member *create_member(const char *id, const struct names lists[2], const char *location,
                                    const struct limit *limit)
{
    size_t id_bytes = strlen(id) + 1, bytes = id_bytes + strlen(location) + 1, count = 0;
    for (size_t list = 0; list < 2; list++) {
        count += lists[list].count;
        bytes += names_bytes(&lists[list]);
    }
    if (limit->given)
        bytes += names_bytes(&limit->names) + 1;
    struct member *member = calloc(1, sizeof(*member) + bytes);
    if (member == NULL)
        return NULL;
    member->name_count = (uint32_t)count;
    member->assigned_count = (uint32_t)lists[0].count;
    char *at = member->id;
    memcpy(at, id, id_bytes);
    at += id_bytes;
    for (size_t list = 0; list < 2; list++)
        at = put_names(at, &lists[list]);
    memcpy(at, location, strlen(location) + 1);
    member->limited = limit->given;
    if (limit->given) /* the zero byte at its end is there */
        (void)put_names(at + strlen(location) + 1, &limit->names);
    return member;
}

const char *member_location(const struct member *member)
{
    const char *at = member->id + strlen(member->id) + 1;
    for (uint32_t i = 0; i < member->name_count; i++)
        at += strlen(at) + 1;
    return at;
}

const char *member_permitted(const struct member *member)
{
    if (!member->limited)
        return NULL;
    const char *location = member_location(member);
    return location + strlen(location) + 1;
}

/* --- Counting --- */

#define IN 1u
#define OUT UINT32_MAX

bool member_is_healthy(const struct member *member)
{
    return !member->draining && (member->status == MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE ||
                                 member->status == MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DEGRADED);
}

bool member_is_expected(const struct member *member)
{
    return member_is_healthy(member) ||
           (!member->draining && member->status == MUSTER__V1__WORKER_STATUS__WORKER_STATUS_RECONNECTING);
}

#define LOCATED_KEY_BYTES 1024

static void write_located_key(char key[LOCATED_KEY_BYTES], size_t number, const char *location)
{
    /* A location has at most 256 bytes (the registry's limit); a longer one would share a count. */
    snprintf(key, LOCATED_KEY_BYTES, "%zu %s", number, location);
}

static uint32_t count_located(const struct assigner *assigner, size_t number, const char *location)
{
    char key[LOCATED_KEY_BYTES];
    write_located_key(key, number, location);
    const struct located *located = map_get_text(&assigner->counts.located, key);
    return located == NULL ? 0 : located->workers;
}

/* Without memory a worker is not counted: a service is then spread less well, and nothing else. */
static void change_located(struct assigner *assigner, size_t number, const char *location, uint32_t change)
{
    struct map *map = &assigner->counts.located;
    char key[LOCATED_KEY_BYTES];
    write_located_key(key, number, location);
    struct located *located = map_get_text(map, key);
    if (located == NULL && change == IN) {
        located = calloc(1, sizeof(*located) + strlen(key) + 1);
        if (located == NULL)
            return;
        memcpy(located->key, key, strlen(key) + 1);
        if (!map_put_text(map, located->key, located, NULL)) {
            free(located);
            return;
        }
    }
    if (located == NULL)
        return;
    located->workers += change;
    if (located->workers == 0)
        free(map_remove_text(map, key));
}

/* Adds `change` (1, or -1 modulo 2^32) to the table's number of each service that the member
 * serves. One that it both announces and was assigned, or announces under two names, counts
 * once, and one of which it says that it is unavailable not at all. With a location, there as well; into the table of
 * healthy ones, the load too. */
static void count_services(struct assigner *assigner, const struct member *member, uint32_t *table,
                           const char *location, uint32_t change)
{
    if (++assigner->seen_number == 0) {
        memset(assigner->seen, 0, catalog_count(assigner->catalog) * sizeof(*assigner->seen));
        assigner->seen_number = 1;
    }
    const char *name = member->id + strlen(member->id) + 1;
    for (uint32_t i = 0; i < member->name_count; i++, name += strlen(name) + 1) {
        size_t number = catalog_find(assigner->catalog, name);
        if (number == CATALOG_NONE || assigner->seen[number] == assigner->seen_number ||
            condition_is_unavailable(member, i))
            continue;
        assigner->seen[number] = assigner->seen_number;
        table[number] += change;
        if (table == assigner->counts.healthy && condition_is_able(member, i))
            assigner->counts.able[number] += change;
        if (table == assigner->counts.healthy && member->says_load) {
            assigner->counts.loaded[number] += change;
            assigner->counts.load[number] +=
                change == IN ? member->load_thousandths : -(uint64_t)member->load_thousandths;
        }
        if (location != NULL && catalog_at(assigner->catalog, number)->spread_by_location)
            change_located(assigner, number, location, change);
    }
}

static void count_expected(struct assigner *assigner, const struct member *member, uint32_t change)
{
    if (!member_is_expected(member))
        return;
    const char *location = catalog_spreads(assigner->catalog) ? member_location(member) : "";
    assigner->counts.by_type[member->type] += change;
    count_services(assigner, member, assigner->counts.expected, location[0] == '\0' ? NULL : location, change);
}

/* A promise stands for what is expected of the worker in the place of its present record. */
void assigner_count_id(struct assigner *assigner, const char *id, uint32_t change)
{
    const struct member *member = map_get_text(&assigner->members, id);
    const struct member *promise = map_get_text(&assigner->promises, id);
    if (promise != NULL)
        count_expected(assigner, promise, change);
    else if (member != NULL)
        count_expected(assigner, member, change);
    if (member != NULL && member_is_healthy(member))
        count_services(assigner, member, assigner->counts.healthy, NULL, change);
}

static void count_all(struct assigner *assigner)
{
    size_t position = 0;
    const struct member *member;
    while ((member = map_next(&assigner->members, &position)) != NULL)
        assigner_count_id(assigner, member->id, IN);
    position = 0;
    while ((member = map_next(&assigner->promises, &position)) != NULL)
        if (map_get_text(&assigner->members, member->id) == NULL)
            assigner_count_id(assigner, member->id, IN);
}

/* --- The catalog --- */

const struct catalog *assigner_catalog(const struct assigner *assigner)
{
    return assigner->catalog;
}

bool assigner_set_catalog(struct assigner *assigner, struct catalog *catalog)
{
    struct tables tables, old = tables_of(assigner);
    if (!create_tables(&tables, catalog_count(catalog))) {
        catalog_destroy(catalog);
        return false;
    }
    moves_forget(assigner);
    catalog_destroy(assigner->catalog);
    assigner->catalog = catalog;
    struct map located = assigner->counts.located;
    use_tables(assigner, &tables);
    free_tables(&old);
    free_values(&located);
    count_all(assigner);
    /* Its services have other numbers. Without memory, those that are lost are left to the
     * workers that register. */
    adapt_forget(assigner);
    balance_forget(assigner);
    (void)balance_create(assigner);
    rules_review(assigner);
    if (adapt_create(assigner)) {
        size_t position = 0;
        const struct member *member;
        while ((member = map_next(&assigner->members, &position)) != NULL)
            adapt_note(assigner, member);
    }
    return true;
}

/* --- The replica --- */

/* Without counting. */
static void drop_promise(struct assigner *assigner, struct member *promise)
{
    if (promise == NULL)
        return;
    map_remove_text(&assigner->promises, promise->id);
    *(promise->previous != NULL ? &promise->previous->next : &assigner->first_promise) = promise->next;
    *(promise->next != NULL ? &promise->next->previous : &assigner->last_promise) = promise->previous;
    free(promise);
}

/* Without counting: the registry has told of this or a later incarnation. */
static void confirm_promise(struct assigner *assigner, const char *id, uint64_t incarnation)
{
    struct member *promise = map_get_text(&assigner->promises, id);
    if (promise != NULL && incarnation >= promise->incarnation)
        drop_promise(assigner, promise);
}

static void remove_member(struct assigner *assigner, struct member *member)
{
    assigner_count_id(assigner, member->id, OUT);
    map_remove_text(&assigner->members, member->id);
    assigner_count_id(assigner, member->id, IN);
    free(member);
}

/* The names that a record serves: assigned and announced. The announced ones are copied to
 * `announced`, which the caller frees; false when memory runs out. */
static bool names_of(const Muster__V1__Worker *worker, struct names lists[2], char ***announced)
{
    const Muster__V1__WorkerSpec *spec = worker->spec;
    *announced = calloc(spec->n_services + 1, sizeof(char *));
    if (*announced == NULL)
        return false;
    for (size_t i = 0; i < spec->n_services; i++)
        (*announced)[i] = spec->services[i]->name;
    lists[0] = (struct names){worker->assigned_services, worker->n_assigned_services};
    lists[1] = (struct names){*announced, spec->n_services};
    return true;
}

static bool is_known_type(int type)
{
    return type > 0 && type < TYPES;
}

static bool apply_put(struct assigner *assigner, const Muster__V1__Worker *worker)
{
    /* A record that makes no sense is not worth a restart of the watch: it counts for nothing. */
    if (worker == NULL || worker->spec == NULL || worker->spec->worker_id[0] == '\0' ||
        !is_known_type((int)worker->type))
        return true;
    struct names lists[2];
    char **announced;
    if (!names_of(worker, lists, &announced))
        return false;
    const struct limit limit = {worker->spec->services_limited,
                                {worker->spec->permitted_services, worker->spec->n_permitted_services}};
    struct member *member = create_member(worker->spec->worker_id, lists, worker->spec->location, &limit);
    free(announced);
    if (member == NULL)
        return false;
    member->incarnation = worker->incarnation;
    member->type = (uint8_t)worker->type;
    member->status = (uint8_t)worker->status;
    member->draining = worker->draining;
    member->generation = assigner->generation;

    void *old = map_get_text(&assigner->members, member->id);
    if (old != NULL && ((struct member *)old)->incarnation == member->incarnation)
        condition_carry(member, old);
    assigner_count_id(assigner, member->id, OUT);
    if (!map_put_text(&assigner->members, member->id, member, &old)) {
        assigner_count_id(assigner, member->id, IN);
        free(member);
        return false;
    }
    confirm_promise(assigner, member->id, member->incarnation);
    assigner_count_id(assigner, member->id, IN);
    adapt_note(assigner, member);
    free(old);
    return true;
}

static void apply_status(struct assigner *assigner, const Muster__V1__WorkerEvent *event)
{
    struct member *member = map_get_text(&assigner->members, event->worker_id);
    if (member == NULL || member->incarnation != event->incarnation)
        return;
    assigner_count_id(assigner, member->id, OUT);
    member->status = (uint8_t)event->status;
    assigner_count_id(assigner, member->id, IN);
    adapt_note(assigner, member);
}

static void apply_remove(struct assigner *assigner, const Muster__V1__WorkerEvent *event)
{
    struct member *member = map_get_text(&assigner->members, event->worker_id);
    assigner_count_id(assigner, event->worker_id, OUT);
    confirm_promise(assigner, event->worker_id, event->incarnation);
    assigner_count_id(assigner, event->worker_id, IN);
    if (member != NULL)
        remove_member(assigner, member);
}

static void remove_unmentioned(struct assigner *assigner)
{
    struct member *gone = NULL, *member;
    size_t position = 0;
    while ((member = map_next(&assigner->members, &position)) != NULL) {
        if (member->generation != assigner->generation) {
            member->next = gone;
            gone = member;
        }
    }
    while ((member = gone) != NULL) {
        gone = member->next;
        remove_member(assigner, member);
    }
}

bool assigner_apply(struct assigner *assigner, const Muster__V1__WatchWorkersResponse *message)
{
    if (message->snapshot_begin) {
        assigner->generation++;
        assigner->in_snapshot = true;
    }
    for (size_t i = 0; i < message->n_events; i++) {
        const Muster__V1__WorkerEvent *event = message->events[i];
        switch (event->type) {
        case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_PUT:
            if (!apply_put(assigner, event->worker)) {
                assigner->revision = 0;
                return false;
            }
            break;
        case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_STATUS:
            apply_status(assigner, event);
            break;
        case MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_REMOVE:
            apply_remove(assigner, event);
            break;
        default: /* of a newer registry */
            break;
        }
    }
    if (message->snapshot_complete && assigner->in_snapshot) {
        assigner->in_snapshot = false;
        assigner->synchronised = true;
        rules_review(assigner);
        remove_unmentioned(assigner);
    }
    if (message->revision != 0)
        assigner->revision = message->revision;
    return true;
}

bool assigner_is_synchronised(const struct assigner *assigner)
{
    return assigner->synchronised;
}

uint64_t assigner_revision(const struct assigner *assigner)
{
    return assigner->in_snapshot ? 0 : assigner->revision;
}

/* --- Deciding --- */

static void append_promise(struct assigner *assigner, struct member *promise, uint64_t now_ms)
{
    promise->expires_at_ms = now_ms + ASSIGNER_PROMISE_MS;
    promise->previous = assigner->last_promise;
    *(assigner->last_promise != NULL ? &assigner->last_promise->next : &assigner->first_promise) = promise;
    assigner->last_promise = promise;
}

/* The limit of a member, in a list for the caller to free; false when memory runs out. */
static bool limit_of(const struct member *member, struct limit *limit)
{
    const char *permitted = member_permitted(member);
    *limit = (struct limit){.given = member->limited};
    if (permitted == NULL)
        return true;
    for (const char *name = permitted; *name != '\0'; name += strlen(name) + 1)
        limit->names.count++;
    char **items = calloc(limit->names.count + 1, sizeof(*items));
    size_t i = 0;
    for (const char *name = permitted; items != NULL && *name != '\0'; name += strlen(name) + 1)
        items[i++] = (char *)(uintptr_t)name; /* only read */
    limit->names.items = items;
    return items != NULL;
}

struct member *assigner_promise(struct assigner *assigner, const struct member *member, char *const *assigned,
                                size_t assigned_count, uint64_t now_ms)
{
    size_t announced_count = member->name_count - member->assigned_count;
    char **announced = calloc(announced_count + 1, sizeof(*announced));
    if (announced == NULL)
        return NULL;
    const char *name = member->id + strlen(member->id) + 1;
    for (uint32_t i = 0; i < member->name_count; i++, name += strlen(name) + 1) {
        if (i >= member->assigned_count)
            announced[i - member->assigned_count] = (char *)name; /* only read */
    }
    const struct names lists[2] = {{assigned, assigned_count}, {announced, announced_count}};
    struct limit limit;
    struct member *promise = NULL;
    if (limit_of(member, &limit))
        promise = create_member(member->id, lists, member_location(member), &limit);
    free((void *)(uintptr_t)limit.names.items); /* a list of its own */
    free(announced);
    if (promise == NULL)
        return NULL;
    promise->incarnation = member->incarnation;
    promise->type = member->type;
    promise->status = member->status;
    promise->draining = member->draining;
    condition_carry(promise, member);
    assigner_count_id(assigner, promise->id, OUT);
    drop_promise(assigner, map_get_text(&assigner->promises, promise->id));
    bool put = map_put_text(&assigner->promises, promise->id, promise, NULL);
    if (put)
        append_promise(assigner, promise, now_ms);
    assigner_count_id(assigner, promise->id, IN);
    if (put)
        return promise;
    free(promise);
    return NULL;
}

void assigner_move_failed(struct assigner *assigner, const char *worker_id)
{
    struct member *promise = map_get_text(&assigner->promises, worker_id);
    if (promise == NULL)
        return;
    assigner_count_id(assigner, worker_id, OUT);
    drop_promise(assigner, promise);
    assigner_count_id(assigner, worker_id, IN);
}

static struct member *create_promise(struct assigner *assigner, const Muster__V1__AssignCandidate *candidate)
{
    const struct policy_decision *decision = &assigner->decision;
    char **assigned = calloc(decision->count + 1, sizeof(char *));
    if (assigned == NULL)
        return NULL;
    for (size_t i = 0; i < decision->count; i++)
        assigned[i] = catalog_at(assigner->catalog, decision->services[i])->name;
    const struct names lists[2] = {{assigned, decision->count},
                                   {candidate->announced_services, candidate->n_announced_services}};
    const struct limit limit = {candidate->services_limited,
                                {candidate->permitted_services, candidate->n_permitted_services}};
    struct member *promise = create_member(candidate->worker_id, lists, candidate->location, &limit);
    free(assigned);
    if (promise != NULL && !map_put_text(&assigner->promises, promise->id, promise, NULL)) {
        free(promise);
        return NULL;
    }
    return promise;
}

void assigner_decide(struct assigner *assigner, const struct policy_worker *worker, const char *location)
{
    bool spreads = catalog_spreads(assigner->catalog) && location[0] != '\0';
    struct policy_coverage coverage = {.workers = assigner->counts.expected, .here = spreads ? assigner->here : NULL};
    for (size_t i = 0; spreads && i < catalog_count(assigner->catalog); i++)
        if (catalog_at(assigner->catalog, i)->spread_by_location)
            assigner->here[i] = count_located(assigner, i, location);
    memcpy(coverage.workers_by_type, assigner->counts.by_type, sizeof(coverage.workers_by_type));
    policy_decide(assigner->catalog, &coverage, worker, &assigner->decision);
}

/* As catalog_permission_within takes it, for the caller to free; NULL when memory runs out. */
static char *pack_permitted(const Muster__V1__AssignCandidate *candidate)
{
    const struct names names = {candidate->permitted_services, candidate->n_permitted_services};
    char *packed = calloc(names_bytes(&names) + 1, 1);
    if (packed != NULL)
        (void)put_names(packed, &names);
    return packed;
}

const struct policy_decision *assigner_assign(struct assigner *assigner, const Muster__V1__AssignCandidate *candidate,
                                              uint64_t now_ms)
{
    const char *id = candidate->worker_id;
    const struct member *member = map_get_text(&assigner->members, id);
    char *permitted = NULL;
    if (candidate->services_limited && (permitted = pack_permitted(candidate)) == NULL)
        return NULL;
    const struct policy_worker worker = {
        .id = id,
        .type = candidate->type,
        .current = candidate->current_services,
        .current_count = candidate->n_current_services,
        .announced = candidate->announced_services,
        .announced_count = candidate->n_announced_services,
        .permitted = permitted,
    };

    assigner_count_id(assigner, id, OUT);
    drop_promise(assigner, map_get_text(&assigner->promises, id));
    assigner_decide(assigner, &worker, candidate->location);
    free(permitted);

    struct member *promise = create_promise(assigner, candidate);
    if (promise != NULL) {
        promise->incarnation = candidate->incarnation;
        promise->type = (uint8_t)candidate->type;
        promise->status = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE;
        promise->draining = member != NULL && member->draining;
        append_promise(assigner, promise, now_ms);
    }
    assigner_count_id(assigner, id, IN);
    return promise != NULL ? &assigner->decision : NULL;
}

void assigner_expire(struct assigner *assigner, uint64_t now_ms)
{
    struct member *promise;
    while ((promise = assigner->first_promise) != NULL && promise->expires_at_ms <= now_ms) {
        char *id = promise->id;
        assigner_count_id(assigner, id, OUT);
        const struct member *member = map_get_text(&assigner->members, id);
        drop_promise(assigner, promise);
        if (member != NULL)
            assigner_count_id(assigner, member->id, IN);
    }
}

/* --- Gaps --- */

static int compare_gaps(const void *left, const void *right)
{
    const struct assigner_gap *a = left, *b = right;
    if (a->status != b->status)
        return a->status < b->status ? -1 : 1;
    if (a->service->priority != b->service->priority)
        return a->service->priority < b->service->priority ? -1 : 1;
    return strcmp(a->service->name, b->service->name);
}

void assigner_gaps(const struct assigner *assigner, struct assigner_gap *gaps)
{
    size_t count = catalog_count(assigner->catalog);
    for (size_t i = 0; i < count; i++) {
        uint32_t workers = assigner->counts.healthy[i];
        gaps[i] = (struct assigner_gap){
            .service = catalog_at(assigner->catalog, i),
            .healthy_workers = workers,
            .status = workers == 0   ? MUSTER__V1__GAP_STATUS__GAP_STATUS_CRITICAL
                      : workers == 1 ? MUSTER__V1__GAP_STATUS__GAP_STATUS_WARNING
                                     : MUSTER__V1__GAP_STATUS__GAP_STATUS_OK,
        };
    }
    qsort(gaps, count, sizeof(*gaps), compare_gaps);
}

size_t assigner_worker_count(const struct assigner *assigner)
{
    return assigner->members.count;
}

size_t assigner_promise_count(const struct assigner *assigner)
{
    return assigner->promises.count;
}

static bool has_same_located(const struct map *a, const struct map *b)
{
    size_t position = 0;
    const struct located *one, *other;
    while ((one = map_next(a, &position)) != NULL) {
        other = map_get_text(b, one->key);
        if (other == NULL || other->workers != one->workers)
            return false;
    }
    return a->count == b->count;
}

bool assigner_check(struct assigner *assigner)
{
    size_t count = catalog_count(assigner->catalog);
    struct counts running = assigner->counts;
    struct counts fresh = {.expected = calloc(count, sizeof(uint32_t)),
                           .healthy = calloc(count, sizeof(uint32_t)),
                           .able = calloc(count, sizeof(uint32_t)),
                           .loaded = calloc(count, sizeof(uint32_t)),
                           .load = calloc(count, sizeof(uint64_t))};
    bool same = false;
    if (fresh.expected != NULL && fresh.healthy != NULL && fresh.able != NULL && fresh.loaded != NULL &&
        fresh.load != NULL) {
        assigner->counts = fresh;
        count_all(assigner);
        same = memcmp(fresh.expected, running.expected, count * sizeof(uint32_t)) == 0 &&
               memcmp(fresh.healthy, running.healthy, count * sizeof(uint32_t)) == 0 &&
               memcmp(fresh.able, running.able, count * sizeof(uint32_t)) == 0 &&
               memcmp(fresh.loaded, running.loaded, count * sizeof(uint32_t)) == 0 &&
               memcmp(fresh.load, running.load, count * sizeof(uint64_t)) == 0 &&
               memcmp(assigner->counts.by_type, running.by_type, sizeof(running.by_type)) == 0 &&
               has_same_located(&assigner->counts.located, &running.located);
        free_values(&assigner->counts.located);
        assigner->counts = running;
    }
    free(fresh.expected);
    free(fresh.healthy);
    free(fresh.able);
    free(fresh.loaded);
    free(fresh.load);
    return same;
}
