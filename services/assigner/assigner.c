/* The assigner's replica of the roll and its counts; see assigner.h. */

#include "services/assigner/state.h"

#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* --- Memory --- */

struct tables {
    uint32_t *expected, *healthy, *able, *failing, *loaded, *seen, *here;
    struct load_sums *load;
    size_t *services;
    bool *taken;
};

static void free_tables(struct tables *tables)
{
    free(tables->expected);
    free(tables->healthy);
    free(tables->able);
    free(tables->failing);
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
    tables->failing = calloc(count, sizeof(*tables->failing));
    tables->loaded = calloc(count, sizeof(*tables->loaded));
    tables->load = calloc(count, sizeof(*tables->load));
    tables->seen = calloc(count, sizeof(*tables->seen));
    tables->here = calloc(count, sizeof(*tables->here));
    tables->services = calloc(count, sizeof(*tables->services));
    tables->taken = calloc(count, sizeof(*tables->taken));
    if (tables->expected != NULL && tables->healthy != NULL && tables->able != NULL && tables->failing != NULL &&
        tables->loaded != NULL && tables->load != NULL && tables->seen != NULL && tables->here != NULL &&
        tables->services != NULL && tables->taken != NULL)
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
                           .failing = counts->failing,
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
                                       .failing = tables->failing,
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

void assigner_destroy(struct assigner *assigner)
{
    if (assigner == NULL)
        return;
    assigner_free_values(&assigner->members);
    assigner_free_values(&assigner->promises);
    struct tables tables = tables_of(assigner);
    free_tables(&tables);
    assigner_free_values(&assigner->counts.located);
    moves_forget(assigner);
    adapt_forget(assigner);
    balance_forget(assigner);
    free(assigner->balance);
    swaps_free(assigner);
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

/* Looks its names up, once: counting asks for their services again and again. */
static void number_names(struct member *member, const struct catalog *catalog)
{
    const char *name = member_name(member, 0);
    for (uint32_t i = 0; i < member->name_count; i++, name += strlen(name) + 1) {
        size_t number = catalog_find(catalog, name);
        member->numbers[i] = number == CATALOG_NONE ? UINT32_MAX : (uint32_t)number;
    }
}

static struct member *create_member(const struct catalog *catalog, const char *id, const struct names lists[2],
                                    const char *location, const struct limit *limit)
{
    size_t id_bytes = strlen(id) + 1, bytes = id_bytes + strlen(location) + 1, count = 0;
    for (size_t list = 0; list < 2; list++) {
        count += lists[list].count;
        bytes += names_bytes(&lists[list]);
    }
    if (limit->given)
        bytes += names_bytes(&limit->names) + 1;
    size_t alignment = _Alignof(uint32_t);
    size_t numbers_at = (sizeof(struct member) + bytes + alignment - 1) / alignment * alignment;
    struct member *member = calloc(1, numbers_at + count * sizeof(*member->numbers));
    if (member == NULL)
        return NULL;
    member->numbers = (uint32_t *)(void *)((char *)member + numbers_at);
    member->name_count = (uint32_t)count;
    member->assigned_count = (uint32_t)lists[0].count;
    member->swap_from = member->swap_to = NAME_NONE;
    char *at = member->id;
    memcpy(at, id, id_bytes);
    at += id_bytes;
    for (size_t list = 0; list < 2; list++)
        at = put_names(at, &lists[list]);
    memcpy(at, location, strlen(location) + 1);
    member->limited = limit->given;
    if (limit->given) /* the zero byte at its end is there */
        (void)put_names(at + strlen(location) + 1, &limit->names);
    number_names(member, catalog);
    return member;
}

const char *member_location(const struct member *member)
{
    return member_name(member, member->name_count); /* it follows the names */
}

const char *member_permitted(const struct member *member)
{
    if (!member->limited)
        return NULL;
    const char *location = member_location(member);
    return location + strlen(location) + 1;
}

#define IN 1u
#define OUT UINT32_MAX

/* --- The catalog --- */

const struct catalog *assigner_catalog(const struct assigner *assigner)
{
    return assigner->catalog;
}

static void number_members(const struct map *members, const struct catalog *catalog)
{
    size_t position = 0;
    struct member *member;
    while ((member = map_next(members, &position)) != NULL)
        number_names(member, catalog);
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
    number_members(&assigner->members, catalog);
    number_members(&assigner->promises, catalog);
    assigner_free_values(&assigner->counts.located);
    use_tables(assigner, &tables);
    free_tables(&old);
    assigner_recount(assigner);
    /* Its services have other numbers. Without memory, those that are lost are left to the
     * workers that register. */
    adapt_forget(assigner);
    balance_forget(assigner);
    (void)balance_create(assigner);
    rules_review(assigner);
    swaps_forget_failures(assigner);
    if (adapt_create(assigner)) {
        size_t position = 0;
        const struct member *member;
        while ((member = map_next(&assigner->members, &position)) != NULL)
            adapt_note(assigner, member);
    }
    return true;
}

/* --- The replica --- */

/* Without counting. It is the caller's then. */
static void take_promise(struct assigner *assigner, struct member *promise)
{
    map_remove_text(&assigner->promises, promise->id);
    *(promise->previous != NULL ? &promise->previous->next : &assigner->first_promise) = promise->next;
    *(promise->next != NULL ? &promise->next->previous : &assigner->last_promise) = promise->previous;
    promise->next = promise->previous = NULL;
}

static void drop_promise(struct assigner *assigner, struct member *promise)
{
    if (promise == NULL)
        return;
    take_promise(assigner, promise);
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
    assigner->review.left_some = true;            /* others may have moved in the map */
    (void)swaps_note(assigner, member->id, NULL); /* takes no memory */
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

static uint32_t find_assigned(const struct member *member, const char *wanted)
{
    const char *name = member_name(member, 0);
    for (uint32_t i = 0; i < member->assigned_count; i++, name += strlen(name) + 1)
        if (strcmp(name, wanted) == 0)
            return i;
    return NAME_NONE;
}

static void set_swap(struct member *member, const char *from, const char *to)
{
    member->swap_from = find_assigned(member, from);
    member->swap_to = find_assigned(member, to);
    if (member->swap_from == NAME_NONE || member->swap_to == NAME_NONE)
        member->swap_from = member->swap_to = NAME_NONE;
}

/* Whether the names begin at `at`, one after the other; moves it behind them. */
static bool begins_with(const char **at, const struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(*at, names->items[i]) != 0)
            return false;
        *at += strlen(*at) + 1;
    }
    return true;
}

/* Whether create_member would make the same texts. */
static bool has_texts(const struct member *member, const struct names lists[2], const char *location,
                      const struct limit *limit)
{
    if (member->assigned_count != lists[0].count || member->name_count != lists[0].count + lists[1].count ||
        member->limited != limit->given)
        return false;
    const char *at = member_name(member, 0), *permitted = member_permitted(member);
    return begins_with(&at, &lists[0]) && begins_with(&at, &lists[1]) && strcmp(at, location) == 0 &&
           (permitted == NULL || (begins_with(&permitted, &limit->names) && *permitted == '\0'));
}

/* The registry has put on the roll what was promised, as nearly always: the promise becomes the record. NULL: something
 * else came. */
static struct member *promise_that_came_true(const struct assigner *assigner, const Muster__V1__Worker *worker,
                                             const struct names lists[2], const struct limit *limit)
{
    struct member *promise = map_get_text(&assigner->promises, worker->spec->worker_id);
    bool true_to_it = promise != NULL && promise->incarnation == worker->incarnation &&
                      has_texts(promise, lists, worker->spec->location, limit);
    return true_to_it ? promise : NULL;
}

static void describe(struct member *member, const Muster__V1__Worker *worker, uint32_t generation)
{
    member->incarnation = worker->incarnation;
    member->type = (uint8_t)worker->type;
    member->status = (uint8_t)worker->status;
    member->draining = worker->draining;
    member->generation = generation;
    member->swap_from = member->swap_to = NAME_NONE;
    if (worker->swap != NULL)
        set_swap(member, worker->swap->from, worker->swap->to);
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
    struct member *promise = promise_that_came_true(assigner, worker, lists, &limit);
    struct member *member =
        promise != NULL ? promise
                        : create_member(assigner->catalog, worker->spec->worker_id, lists, worker->spec->location, &limit);
    free(announced);
    if (member == NULL)
        return false;

    assigner_count_id(assigner, member->id, OUT);
    describe(member, worker, assigner->generation);
    void *old = map_get_text(&assigner->members, member->id);
    if (old != NULL && ((struct member *)old)->incarnation == member->incarnation)
        condition_carry(member, old);
    if (!swaps_note(assigner, member->id, member) || !map_put_text(&assigner->members, member->id, member, &old)) {
        assigner_count_id(assigner, member->id, IN);
        if (promise == NULL)
            free(member);
        return false;
    }
    if (promise != NULL)
        take_promise(assigner, promise);
    else
        confirm_promise(assigner, member->id, member->incarnation);
    assigner_count_id(assigner, member->id, IN);
    adapt_note(assigner, member);
    rules_note(assigner, member);
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
    rules_note(assigner, member);
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

struct member *assigner_promise(struct assigner *assigner, const struct member *member,
                                const struct assigner_move *move, uint64_t now_ms)
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
    const struct names lists[2] = {{move->assigned, move->assigned_count}, {announced, announced_count}};
    struct limit limit;
    struct member *promise = NULL;
    if (limit_of(member, &limit))
        promise = create_member(assigner->catalog, member->id, lists, member_location(member), &limit);
    free((void *)(uintptr_t)limit.names.items); /* a list of its own */
    free(announced);
    if (promise == NULL)
        return NULL;
    promise->incarnation = member->incarnation;
    promise->type = member->type;
    promise->status = member->status;
    promise->draining = member->draining;
    if (move->swap_to != NULL)
        set_swap(promise, move->swap_from, move->swap_to);
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
    const struct member *member = map_get_text(&assigner->members, worker_id);
    if (promise == NULL)
        return;
    if (promise->swap_to != NAME_NONE && (member == NULL || member->swap_to == NAME_NONE)) {
        size_t from = member_number(promise, promise->swap_from);
        size_t to = member_number(promise, promise->swap_to);
        if (from != CATALOG_NONE && to != CATALOG_NONE)
            balance_touched(assigner, from, to, 0);
    }
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
    struct member *promise = create_member(assigner->catalog, candidate->worker_id, lists, candidate->location, &limit);
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
            assigner->here[i] = assigner_workers_at(assigner, i, location);
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

/* What the candidate is assigned and may keep. A move may be on its way to the registry, which asks for a decision from
 * what it had before: what that move takes away is not kept, and what it adds is not there yet, so that whichever of
 * the two comes first, no half of a swap is left. Returns how many names are in `kept`. */
static size_t kept_of(const struct member *promise, const Muster__V1__AssignCandidate *candidate, char **kept)
{
    bool moves = promise != NULL && promise->incarnation < candidate->incarnation;
    size_t count = 0;
    for (size_t i = 0; i < candidate->n_current_services; i++)
        if (!moves || find_assigned(promise, candidate->current_services[i]) != NAME_NONE)
            kept[count++] = candidate->current_services[i];
    return count;
}

const struct policy_decision *assigner_assign(struct assigner *assigner, const Muster__V1__AssignCandidate *candidate,
                                              uint64_t now_ms)
{
    const char *id = candidate->worker_id;
    const struct member *member = map_get_text(&assigner->members, id);
    struct member *before = map_get_text(&assigner->promises, id);
    char *permitted = candidate->services_limited ? pack_permitted(candidate) : NULL;
    char **kept = calloc(candidate->n_current_services + 1, sizeof(*kept));
    if (kept == NULL || (candidate->services_limited && permitted == NULL)) {
        free(kept);
        free(permitted);
        return NULL;
    }
    const struct policy_worker worker = {
        .id = id,
        .type = candidate->type,
        .current = kept,
        .current_count = kept_of(before, candidate, kept),
        .announced = candidate->announced_services,
        .announced_count = candidate->n_announced_services,
        .permitted = permitted,
    };

    assigner_count_id(assigner, id, OUT);
    drop_promise(assigner, before);
    assigner_decide(assigner, &worker, candidate->location);
    free(kept);
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
