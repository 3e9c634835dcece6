/* Moves: who is looked for, and what a worker is told. See assigner.h. */

#include "services/assigner/state.h"

#include <stdlib.h>
#include <string.h>

#define SEARCH_MAX 10000

/* --- Members --- */

static size_t find_name(const struct assigner *assigner, const struct member *member, uint32_t count, size_t number)
{
    const char *name = member->id + strlen(member->id) + 1;
    for (uint32_t i = 0; i < count; i++, name += strlen(name) + 1)
        if (catalog_find(assigner->catalog, name) == number)
            return i;
    return CATALOG_NONE;
}

size_t member_assigned(const struct assigner *assigner, const struct member *member, size_t number)
{
    return find_name(assigner, member, member->assigned_count, number);
}

size_t member_serves(const struct assigner *assigner, const struct member *member, size_t number)
{
    return find_name(assigner, member, member->name_count, number);
}

bool member_is_able(const struct assigner *assigner, const struct member *member, size_t number)
{
    size_t name = member_serves(assigner, member, number);
    return name != CATALOG_NONE && condition_is_able(member, (uint32_t)name);
}

const struct member *assigner_search(struct assigner *assigner, const struct search *search)
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
        if (search->is_better(assigner, member, best, search->argument))
            best = member;
        if (best != NULL && search->is_enough(best))
            break;
    }
    /* Elsewhere the next time, by the golden ratio (D. E. Knuth, TAOCP 3, 6.4), so that one stretch of a
     * large roll is not asked for everything. */
    assigner->search_from += UINT64_C(0x9E3779B97F4A7C15) >> 20;
    return best;
}

/* --- A move --- */

static void forget_move(struct assigner *assigner)
{
    struct assigner_move *move = assigner->move;
    assigner->move = NULL;
    if (move == NULL)
        return;
    for (size_t i = 0; move->assigned != NULL && i < move->assigned_count; i++)
        free(move->assigned[i]);
    free(move->assigned);
    free(move->worker_id);
    free(move);
}

/* The names that the worker is to run: its present ones without `remove`, then `add`. */
static bool copy_names(const struct assigner *assigner, const struct member *member, size_t add, size_t remove,
                       struct assigner_move *move)
{
    const char *name = member->id + strlen(member->id) + 1;
    move->assigned = calloc((size_t)member->assigned_count + 1, sizeof(*move->assigned));
    if (move->assigned == NULL)
        return false;
    for (uint32_t i = 0; i < member->assigned_count; i++, name += strlen(name) + 1) {
        if (remove != CATALOG_NONE && catalog_find(assigner->catalog, name) == remove)
            continue;
        move->assigned[move->assigned_count] = strdup(name);
        if (move->assigned[move->assigned_count] == NULL)
            return false;
        move->assigned_count++;
    }
    if (add == CATALOG_NONE)
        return true;
    move->assigned[move->assigned_count] = strdup(catalog_at(assigner->catalog, add)->name);
    return move->assigned[move->assigned_count++] != NULL;
}

const struct assigner_move *assigner_make_move(struct assigner *assigner, const struct member *member, size_t add,
                                               size_t remove, enum assigner_move_reason reason, uint64_t now_ms)
{
    struct assigner_move *move = calloc(1, sizeof(*move));
    forget_move(assigner);
    assigner->move = move;
    if (move == NULL)
        return NULL;
    move->reason = reason;
    move->service = catalog_at(assigner->catalog, add != CATALOG_NONE ? add : remove)->name;
    move->incarnation = member->incarnation;
    move->worker_id = strdup(member->id);
    if (move->worker_id != NULL && copy_names(assigner, member, add, remove, move) &&
        assigner_promise(assigner, member, move->assigned, move->assigned_count, now_ms) != NULL)
        return move;
    forget_move(assigner);
    return NULL;
}

const struct assigner_move *assigner_next_move(struct assigner *assigner, uint64_t now_ms)
{
    forget_move(assigner);
    if (!assigner->synchronised || assigner->in_snapshot)
        return NULL;
    const struct assigner_move *move = adapt_next_move(assigner, now_ms);
    if (move == NULL)
        move = rules_next_move(assigner, now_ms);
    return move != NULL ? move : balance_next_move(assigner, now_ms);
}

void moves_forget(struct assigner *assigner)
{
    forget_move(assigner);
}
