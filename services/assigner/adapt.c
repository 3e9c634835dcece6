/* Services that lost their last worker: who should run them instead. See assigner.h.
 *
 * Only adds: the worker goes on with what it has, and the one that was lost may come back to
 * what it had. So nothing oscillates, whatever comes and goes: a service is moved again only
 * when it has nobody again, and a worker is given no more than its type's share. */

#include "services/assigner/state.h"

#include <stdlib.h>
#include <string.h>

/* Workers that are looked at in one search: with a million of them, a few thousand taken from
 * the middle hold one that is as good as any. */
#define SEARCH_MAX 10000

struct lost_service {
    bool had_workers;
    uint64_t since_ms;    /* without a worker; 0: it has one, or never had */
    uint64_t retry_at_ms; /* nobody could take it before */
};

static void free_move(struct assigner_move *move)
{
    if (move == NULL)
        return;
    for (size_t i = 0; move->assigned != NULL && i < move->assigned_count; i++)
        free(move->assigned[i]);
    free(move->assigned);
    free(move->worker_id);
    free(move);
}

bool adapt_create(struct assigner *assigner)
{
    assigner->lost = calloc(catalog_count(assigner->catalog), sizeof(*assigner->lost));
    return assigner->lost != NULL;
}

void adapt_note(struct assigner *assigner, const struct member *member)
{
    if (!member_is_expected(member) || assigner->lost == NULL)
        return;
    const char *name = member->id + strlen(member->id) + 1;
    for (uint32_t i = 0; i < member->name_count; i++, name += strlen(name) + 1) {
        size_t number = catalog_find(assigner->catalog, name);
        if (number != CATALOG_NONE)
            assigner->lost[number].had_workers = true;
    }
}

void adapt_forget(struct assigner *assigner)
{
    free_move(assigner->move);
    free(assigner->lost);
    assigner->move = NULL;
    assigner->lost = NULL;
}

/* Whether the worker could run the service as well, and how many it runs. */
static bool can_take(const struct assigner *assigner, const struct member *member, size_t number)
{
    const struct catalog_service *service = catalog_at(assigner->catalog, number);
    Muster__V1__WorkerType type = (Muster__V1__WorkerType)member->type;
    size_t same = 0;
    if (!member_is_healthy(member) ||
        !catalog_permits(catalog_permission(assigner->catalog, number, type, member->id)) ||
        map_get_text(&assigner->promises, member->id) != NULL)
        return false;
    const char *name = member->id + strlen(member->id) + 1;
    for (uint32_t i = 0; i < member->name_count; i++, name += strlen(name) + 1) {
        size_t other = catalog_find(assigner->catalog, name);
        if (other == number)
            return false; /* it has it already; that it does not count has other reasons */
        if (other != CATALOG_NONE && i < member->assigned_count &&
            catalog_at(assigner->catalog, other)->requires == service->requires)
            same++;
    }
    return same < policy_most(type, service->requires);
}

static const struct member *find_worker(struct assigner *assigner, size_t number)
{
    const struct map *members = &assigner->members;
    const struct member *best = NULL, *member;
    size_t position = members->capacity == 0 ? 0 : (size_t)(assigner->search_from % members->capacity);
    bool around = false;
    for (size_t looked = 0; looked < members->count && looked < SEARCH_MAX; looked++) {
        member = map_next(members, &position);
        if (member == NULL && !around) {
            around = true;
            position = 0;
            member = map_next(members, &position);
        }
        if (member == NULL)
            break;
        if ((best == NULL || member->assigned_count < best->assigned_count) && can_take(assigner, member, number))
            best = member;
        if (best != NULL && best->assigned_count == 0)
            break;
    }
    /* Elsewhere the next time, by the golden ratio (D. E. Knuth, TAOCP 3, 6.4), so that one stretch of a
     * large roll is not asked for everything. */
    assigner->search_from += UINT64_C(0x9E3779B97F4A7C15) >> 20;
    return best;
}

static struct assigner_move *create_move(const struct assigner *assigner, const struct member *member, size_t number)
{
    struct assigner_move *move = calloc(1, sizeof(*move));
    if (move == NULL)
        return NULL;
    move->worker_id = strdup(member->id);
    move->incarnation = member->incarnation;
    move->assigned_count = (size_t)member->assigned_count + 1;
    move->assigned = calloc(move->assigned_count, sizeof(*move->assigned));
    bool copied = move->worker_id != NULL && move->assigned != NULL;
    const char *name = member->id + strlen(member->id) + 1;
    for (uint32_t i = 0; copied && i < member->assigned_count; i++, name += strlen(name) + 1)
        copied = (move->assigned[i] = strdup(name)) != NULL;
    if (copied)
        copied = (move->assigned[member->assigned_count] = strdup(catalog_at(assigner->catalog, number)->name)) != NULL;
    if (copied)
        return move;
    free_move(move);
    return NULL;
}

/* Whether somebody should be asked for it now. */
static bool is_lost(struct lost_service *lost, uint32_t workers, uint64_t now_ms)
{
    if (workers > 0) {
        lost->since_ms = lost->retry_at_ms = 0;
        return false;
    }
    if (!lost->had_workers)
        return false;
    if (lost->since_ms == 0)
        lost->since_ms = now_ms;
    return now_ms - lost->since_ms >= ASSIGNER_LOST_MS && now_ms >= lost->retry_at_ms;
}

/* The most important service that somebody should be asked for, or CATALOG_NONE. */
static size_t most_important_lost(struct assigner *assigner, uint64_t now_ms)
{
    size_t chosen = CATALOG_NONE;
    for (size_t i = 0; i < catalog_count(assigner->catalog); i++) {
        if (is_lost(&assigner->lost[i], assigner->counts.expected[i], now_ms) &&
            (chosen == CATALOG_NONE ||
             catalog_at(assigner->catalog, i)->priority < catalog_at(assigner->catalog, chosen)->priority))
            chosen = i;
    }
    return chosen;
}

const struct assigner_move *assigner_next_move(struct assigner *assigner, uint64_t now_ms)
{
    free_move(assigner->move);
    assigner->move = NULL;
    if (!assigner->synchronised || assigner->in_snapshot || assigner->lost == NULL)
        return NULL;
    for (size_t number; (number = most_important_lost(assigner, now_ms)) != CATALOG_NONE;) {
        assigner->lost[number].retry_at_ms = now_ms + ASSIGNER_RETRY_MS;
        const struct member *member = find_worker(assigner, number);
        if (member == NULL)
            continue; /* perhaps the next one has somebody */
        assigner->move = create_move(assigner, member, number);
        if (assigner->move != NULL && assigner_promise(assigner, member, assigner->move->assigned,
                                                       assigner->move->assigned_count, now_ms) != NULL)
            return assigner->move;
        return NULL; /* out of memory */
    }
    return NULL;
}
