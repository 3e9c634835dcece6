/* Decisions on registration, and promises: what was decided and is not confirmed by the registry. See assigner.h. */

#include "services/assigner/state.h"

#include "common/arena.h"

#include <string.h>

/* --- Decisions --- */

struct policy_coverage assigner_coverage(struct assigner *assigner, const char *location)
{
    const struct catalog *catalog = assigner->catalog;
    bool spreads = catalog_spreads(catalog) && location[0] != '\0';
    struct policy_coverage coverage = {.workers = assigner->counts.expected, .here = spreads ? assigner->here : NULL};
    for (size_t i = 0; spreads && i < catalog_count(catalog); i++)
        if (catalog_at(catalog, i)->spread_by_location)
            assigner->here[i] = assigner_workers_at(assigner, i, location);
    memcpy(coverage.workers_by_type, assigner->counts.by_type, sizeof(coverage.workers_by_type));
    return coverage;
}

/* The numbers of a candidate's names; NULL when memory runs out. */
static uint32_t *look_up(const struct catalog *catalog, char *const *names, size_t count, struct arena *arena)
{
    uint32_t *numbers = arena_take(arena, count * sizeof(*numbers));
    for (size_t i = 0; numbers != NULL && i < count; i++)
        numbers[i] = catalog_number(catalog, names[i]);
    return numbers;
}

/* What the candidate is assigned and may keep. A move may be on its way to the registry, which asks for a decision from
 * what it had before: what that move takes away is not kept, and what it adds is not there yet, so that whichever of
 * the two comes first, no half of a swap is left. Returns how many numbers are left, the first ones. */
static size_t leave_kept(const struct member *promise, uint64_t incarnation, uint32_t *numbers, size_t count)
{
    size_t kept = 0;
    if (promise == NULL || promise->incarnation >= incarnation)
        return count;
    for (size_t i = 0; i < count; i++)
        if (numbers[i] != CATALOG_NO_SERVICE && member_assigned(promise, numbers[i]) != CATALOG_NONE)
            numbers[kept++] = numbers[i];
    return kept;
}

/* The candidate as the policy takes it; false when memory runs out. */
static bool describe(const struct catalog *catalog, const Muster__V1__AssignCandidate *candidate,
                     const struct member *promise, struct arena *arena, struct policy_worker *worker)
{
    uint32_t *current = look_up(catalog, candidate->current_services, candidate->n_current_services, arena);
    const uint32_t *announced = look_up(catalog, candidate->announced_services, candidate->n_announced_services, arena);
    const struct names permitted = {candidate->permitted_services, candidate->n_permitted_services, NULL};
    char *packed = NULL;
    if (candidate->services_limited)
        packed = arena_take(arena, names_bytes(&permitted) + 1); /* the zero byte at its end is there */
    if (arena_failed(arena))
        return false;
    if (packed != NULL)
        (void)names_put(packed, &permitted);
    *worker = (struct policy_worker){
        .id = candidate->worker_id,
        .type = candidate->type,
        .current = current,
        .current_count = leave_kept(promise, candidate->incarnation, current, candidate->n_current_services),
        .announced = announced,
        .announced_count = candidate->n_announced_services,
        .permitted = packed,
    };
    return true;
}

/* What was decided, as a record; NULL when memory runs out. */
static struct member *create_promise(struct assigner *assigner, const Muster__V1__AssignCandidate *candidate,
                                     const struct policy_worker *worker, struct arena *arena)
{
    const struct policy_decision *decision = &assigner->decision;
    char **assigned = arena_take(arena, decision->count * sizeof(*assigned));
    if (assigned == NULL)
        return NULL;
    for (size_t i = 0; i < decision->count; i++)
        assigned[i] = catalog_at(assigner->catalog, decision->services[i])->name;
    const struct member_texts texts = {
        .id = candidate->worker_id,
        .assigned = {assigned, decision->count, decision->services},
        .announced = {candidate->announced_services, candidate->n_announced_services, worker->announced},
        .location = candidate->location,
        .limited = candidate->services_limited,
        .permitted = {candidate->permitted_services, candidate->n_permitted_services, NULL},
    };
    struct member *promise = member_create(assigner->slab, assigner->catalog, &texts);
    if (promise == NULL)
        return NULL;
    promise->incarnation = candidate->incarnation;
    promise->type = (uint8_t)candidate->type;
    promise->status = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE;
    return promise;
}

static bool assign(struct assigner *assigner, const Muster__V1__AssignCandidate *candidate, uint64_t now_ms,
                   struct arena *arena)
{
    const struct known before = assigner_known(assigner, candidate->worker_id);
    struct policy_worker worker;
    if (!describe(assigner->catalog, candidate, before.promise, arena, &worker))
        return false;
    assigner_count(assigner, before, OUT);
    const struct policy_coverage coverage = assigner_coverage(assigner, candidate->location);
    policy_decide(assigner->catalog, &coverage, &worker, &assigner->decision);
    struct known after = {before.record, create_promise(assigner, candidate, &worker, arena)};
    bool known = after.promise != NULL;
    if (known) {
        after.promise->draining = before.record != NULL && before.record->draining;
        after.promise->expires_at_ms = now_ms + ASSIGNER_PROMISE_MS;
        known = assigner_know(assigner, before, after);
    }
    assigner_count(assigner, known ? after : before, IN);
    if (!known)
        member_free(after.promise);
    return known;
}

const struct policy_decision *assigner_assign(struct assigner *assigner, const Muster__V1__AssignCandidate *candidate,
                                              uint64_t now_ms)
{
    _Alignas(max_align_t) char scratch[SCRATCH_BYTES];
    struct arena arena;
    arena_init(&arena, scratch, sizeof scratch);
    bool assigned = assign(assigner, candidate, now_ms, &arena);
    arena_free(&arena);
    return assigned ? &assigner->decision : NULL;
}

/* --- Moves --- */

/* The texts of a record, with what is not in one piece in the arena; false when memory runs out. */
static bool texts_of(const struct member *record, struct arena *arena, struct member_texts *texts)
{
    size_t announced = record->name_count - record->assigned_count, permitted = 0;
    const char *first_permitted = member_permitted(record);
    for (const char *name = first_permitted; name != NULL && *name != '\0'; name += strlen(name) + 1)
        permitted++;
    char **names = arena_take(arena, (announced + permitted) * sizeof(*names));
    if (names == NULL)
        return false;
    const char *name = member_name(record, record->assigned_count);
    for (size_t i = 0; i < announced + permitted; i++, name += strlen(name) + 1) {
        if (i == announced)
            name = first_permitted;
        names[i] = (char *)(uintptr_t)name; /* only read */
    }
    *texts = (struct member_texts){
        .id = member_id(record),
        .announced = {names, announced, record->numbers + record->assigned_count},
        .location = member_location(record),
        .limited = record->limited,
        .permitted = {names + announced, permitted, NULL},
    };
    return true;
}

static struct member *create_moved(struct assigner *assigner, const struct member *record,
                                   const struct assigner_move *move)
{
    _Alignas(max_align_t) char scratch[SCRATCH_BYTES];
    struct arena arena;
    struct member_texts texts;
    struct member *promise = NULL;
    arena_init(&arena, scratch, sizeof scratch);
    if (texts_of(record, &arena, &texts)) {
        texts.assigned = (struct names){move->assigned, move->assigned_count, NULL};
        promise = member_create(assigner->slab, assigner->catalog, &texts);
    }
    arena_free(&arena);
    return promise;
}

struct member *assigner_promise(struct assigner *assigner, const struct member *record,
                                const struct assigner_move *move, uint64_t now_ms)
{
    const struct known before = assigner_known(assigner, member_id(record));
    struct member *promise = create_moved(assigner, record, move);
    if (promise == NULL)
        return NULL;
    promise->incarnation = record->incarnation;
    promise->type = record->type;
    promise->status = record->status;
    promise->draining = record->draining;
    promise->expires_at_ms = now_ms + ASSIGNER_PROMISE_MS;
    if (move->swap_to != NULL)
        member_set_swap(promise, move->swap_from, move->swap_to);
    condition_carry(promise, record);
    const struct known after = {before.record, promise};
    assigner_count(assigner, before, OUT);
    (void)assigner_know(assigner, before, after); /* takes no memory: there is a record */
    assigner_count(assigner, after, IN);
    return promise;
}

/* --- Their end --- */

static void forget_promise(struct assigner *assigner, struct known before)
{
    const struct known after = {before.record, NULL};
    assigner_count(assigner, before, OUT);
    (void)assigner_know(assigner, before, after); /* takes no memory */
    assigner_count(assigner, after, IN);
}

void assigner_move_failed(struct assigner *assigner, const char *worker_id)
{
    const struct known known = assigner_known(assigner, worker_id);
    const struct member *promise = known.promise;
    if (promise == NULL)
        return;
    if (promise->swap_to != NAME_NONE && (known.record == NULL || known.record->swap_to == NAME_NONE)) {
        size_t from = member_number(promise, promise->swap_from);
        size_t to = member_number(promise, promise->swap_to);
        if (from != CATALOG_NONE && to != CATALOG_NONE)
            balance_touched(assigner, from, to, 0);
    }
    forget_promise(assigner, known);
}

void assigner_expire(struct assigner *assigner, uint64_t now_ms)
{
    const struct member *promise;
    while ((promise = assigner->first_promise) != NULL && promise->expires_at_ms <= now_ms)
        forget_promise(assigner, assigner_known(assigner, member_id(promise)));
}
