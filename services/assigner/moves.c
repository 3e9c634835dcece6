/* Moves: who is looked for, and what a worker is told. See assigner.h. */

#include "services/assigner/state.h"

#include <stdlib.h>
#include <string.h>

#define SEARCH_MAX 10000

/* --- Who is looked for --- */

const struct member *assigner_search(struct assigner *assigner, const struct search *search)
{
    size_t capacity = assigner->roll.capacity;
    const struct member *best = NULL, *member;
    size_t position = capacity == 0 ? 0 : (size_t)(assigner->search_from % capacity);
    bool around = false;
    for (size_t looked = 0; looked < assigner->record_count && looked < SEARCH_MAX; looked++) {
        member = assigner_next_record(assigner, &position);
        if (member == NULL && !around) {
            around = true;
            position = 0;
            member = assigner_next_record(assigner, &position);
        }
        if (member == NULL)
            break;
        if (search->is_better(assigner, member, best, search->argument))
            best = member;
        if (best != NULL && search->is_enough(assigner, best, search->argument))
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

/* Takes over a name of the worker. */
static bool keep_name(const struct member *member, uint32_t number, const struct change *change,
                      struct assigner_move *move)
{
    char *copy = strdup(member_name(member, number));
    if (copy == NULL)
        return false;
    move->assigned[move->assigned_count++] = copy;
    if (change->reason != ASSIGNER_MOVE_BOTH && number == member->swap_from)
        move->swap_from = copy;
    if (change->reason != ASSIGNER_MOVE_BOTH && number == member->swap_to)
        move->swap_to = copy;
    return true;
}

/* What the worker is to run: its present names without what is removed, then what is added. */
static bool fill_move(const struct assigner *assigner, const struct member *member, const struct change *change,
                      struct assigner_move *move)
{
    move->assigned = calloc((size_t)member->assigned_count + 1, sizeof(*move->assigned));
    if (move->assigned == NULL)
        return false;
    for (uint32_t i = 0; i < member->assigned_count; i++) {
        size_t number = member_number(member, i);
        if (number == CATALOG_NONE || number == change->remove)
            continue; /* the catalog has it no more, or that is the change */
        if (!keep_name(member, i, change, move))
            return false;
        if (change->replaces != CATALOG_NONE && number == change->replaces)
            move->swap_from = move->assigned[move->assigned_count - 1];
    }
    if (change->add != CATALOG_NONE) {
        char *copy = strdup(catalog_at(assigner->catalog, change->add)->name);
        if (copy == NULL)
            return false;
        move->assigned[move->assigned_count++] = copy;
        if (change->replaces != CATALOG_NONE)
            move->swap_to = copy;
    }
    if (move->swap_from == NULL || move->swap_to == NULL)
        move->swap_from = move->swap_to = NULL; /* one of its services has gone */
    return true;
}

const struct assigner_move *assigner_make_move(struct assigner *assigner, const struct member *member,
                                               const struct change *change, uint64_t now_ms)
{
    struct assigner_move *move = calloc(1, sizeof(*move));
    forget_move(assigner);
    assigner->move = move;
    if (move == NULL)
        return NULL;
    size_t about = change->add != CATALOG_NONE ? change->add : change->remove;
    move->reason = change->reason;
    move->service = about == CATALOG_NONE ? "" : catalog_at(assigner->catalog, about)->name;
    move->incarnation = member->incarnation;
    move->worker_id = strdup(member_id(member));
    if (move->worker_id != NULL && fill_move(assigner, member, change, move) &&
        assigner_promise(assigner, member, move, now_ms) != NULL)
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
    if (move == NULL)
        move = swaps_next_move(assigner, now_ms);
    return move != NULL ? move : balance_next_move(assigner, now_ms);
}

void moves_forget(struct assigner *assigner)
{
    forget_move(assigner);
}
