/* Services that lost their last worker: who should run them instead. See assigner.h.
 *
 * Only adds: the worker goes on with what it has, and the one that was lost may come back to
 * what it had. So nothing oscillates, whatever comes and goes: a service is moved again only
 * when it has nobody again, and a worker is given no more than its type's share. */

#include "services/assigner/state.h"

#include <stdlib.h>
#include <string.h>

struct lost_service {
    bool had_workers;
    uint64_t since_ms;    /* without a worker; 0: it has one, or never had */
    uint64_t retry_at_ms; /* nobody could take it before */
};

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
    free(assigner->lost);
    assigner->lost = NULL;
}

/* Whether the worker could run the service as well, and how many it runs. */
static bool can_take(const struct assigner *assigner, const struct member *member, size_t number)
{
    const struct catalog_service *service = catalog_at(assigner->catalog, number);
    Muster__V1__WorkerType type = (Muster__V1__WorkerType)member->type;
    size_t same = 0;
    if (!member_is_healthy(member) || !catalog_permits(member_permission(assigner, member, number)) ||
        map_get_text(&assigner->promises, member->id) != NULL ||
        member_serves(assigner, member, number) != CATALOG_NONE)
        return false; /* if it has it already and that does not count, there are other reasons */
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

static bool is_better(struct assigner *assigner, const struct member *member, const struct member *best,
                      const void *argument)
{
    const size_t *number = argument;
    return (best == NULL || member->assigned_count < best->assigned_count) && can_take(assigner, member, *number);
}

static bool has_nothing(const struct member *best)
{
    return best->assigned_count == 0;
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

const struct assigner_move *adapt_next_move(struct assigner *assigner, uint64_t now_ms)
{
    if (assigner->lost == NULL)
        return NULL;
    for (size_t number; (number = most_important_lost(assigner, now_ms)) != CATALOG_NONE;) {
        assigner->lost[number].retry_at_ms = now_ms + ASSIGNER_RETRY_MS;
        const struct search search = {is_better, has_nothing, &number};
        const struct member *member = assigner_search(assigner, &search);
        if (member != NULL)
            return assigner_make_move(assigner, member, number, CATALOG_NONE, ASSIGNER_MOVE_LOST, now_ms);
        /* Perhaps the next one has somebody. */
    }
    return NULL;
}
