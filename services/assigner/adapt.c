/* Services that nobody runs: who should. See assigner_next_move.
 *
 * A worker that takes such a service goes on with what it has, unless it has its share already: then it drops one that
 * others run as well. The one that was lost may come back to what it had. So nothing oscillates, whatever comes and
 * goes: a service is given away again only when it has nobody again, and a worker has no more than its type's share.
 *
 * A service that fails wherever it is tried must not be tried everywhere: the more workers have it and say that it does
 * not run there, the longer the next one is waited for. */

#include "services/assigner/state.h"

#include <stdlib.h>
#include <string.h>

#define SEARCHES_MAX 2 /* that find nobody, in one call */
#define FAILURES_FREE 2
#define FAILURES_WAIT_MAX_MS 600000

struct lost_service {
    bool had_workers;     /* ever */
    uint64_t since_ms;    /* without a worker; 0: it has one */
    uint64_t given_at_ms; /* to the last worker that took it */
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
    for (uint32_t i = 0; i < member->name_count; i++) {
        size_t number = member_number(member, i);
        if (number != CATALOG_NONE)
            assigner->lost[number].had_workers = true;
    }
}

void adapt_forget(struct assigner *assigner)
{
    free(assigner->lost);
    assigner->lost = NULL;
}

/* --- Who can take one --- */

static bool may_take(const struct assigner *assigner, const struct member *member, size_t number)
{
    return member_is_healthy(member) && catalog_permits(member_permission(assigner, member, number)) &&
           member_is_settled(member) &&
           member_serves(member, number) ==
               CATALOG_NONE; /* if it has it and that does not count, it cannot */
}

/* How many of the services that the worker was assigned require the same type of machine. */
static size_t count_alike(const struct assigner *assigner, const struct member *member, size_t number)
{
    const struct catalog_service *service = catalog_at(assigner->catalog, number);
    size_t count = 0;
    for (uint32_t i = 0; i < member->assigned_count; i++) {
        size_t other = member_number(member, i);
        count += other != CATALOG_NONE && catalog_at(assigner->catalog, other)->requires == service->requires;
    }
    return count;
}

/* Room in the worker's share. While a service never had anybody the first worker of a type is left with its own share
 * (of an edge worker: two services), so that what the policy leaves to the next one stays for that. */
static bool has_room(const struct assigner *assigner, const struct member *member, size_t number)
{
    size_t workers = assigner->lost[number].had_workers ? SIZE_MAX : assigner->counts.by_type[member->type];
    return count_alike(assigner, member, number) <
           policy_most((Muster__V1__WorkerType)member->type, catalog_at(assigner->catalog, number)->requires, workers);
}

/* Workers of the very type that the service requires come first, then those that have the least to do. */
static bool comes_before(const struct assigner *assigner, const struct member *member, const struct member *best,
                         size_t number)
{
    Muster__V1__WorkerType requires = catalog_at(assigner->catalog, number)->requires;
    bool fits = member->type == requires, best_fits = best->type == requires;
    return fits != best_fits ? fits : member->assigned_count < best->assigned_count;
}

static bool is_better_with_room(struct assigner *assigner, const struct member *member, const struct member *best,
                                const void *argument)
{
    const size_t *number = argument;
    return (best == NULL || comes_before(assigner, member, best, *number)) && may_take(assigner, member, *number) &&
           has_room(assigner, member, *number);
}

static bool has_nothing(struct assigner *assigner, const struct member *best, const void *argument)
{
    const size_t *number = argument;
    return best->assigned_count == 0 && best->type == catalog_at(assigner->catalog, *number)->requires;
}

/* What the worker would drop for it: of the services that require the same type of machine and that others run as well,
 * the one that most workers run. CATALOG_NONE: nothing. */
static size_t what_to_drop(const struct assigner *assigner, const struct member *member, size_t number)
{
    const uint32_t *able = assigner->counts.able;
    size_t chosen = CATALOG_NONE;
    for (uint32_t i = 0; i < member->assigned_count; i++) {
        size_t other = member_number(member, i);
        if (other != CATALOG_NONE && able[other] >= (condition_is_able(member, i) ? 2 : 1) &&
            catalog_at(assigner->catalog, other)->requires == catalog_at(assigner->catalog, number)->requires &&
            member_permission(assigner, member, other) == CATALOG_ALLOWED &&
            (chosen == CATALOG_NONE || able[other] > able[chosen]) && !swaps_have(assigner, other))
            chosen = other;
    }
    return chosen;
}

static bool is_better_in_exchange(struct assigner *assigner, const struct member *member, const struct member *best,
                                  const void *argument)
{
    const size_t *number = argument;
    return (best == NULL || comes_before(assigner, member, best, *number)) && may_take(assigner, member, *number) &&
           member->swap_to == NAME_NONE && what_to_drop(assigner, member, *number) != CATALOG_NONE &&
           !swaps_failed(assigner, member, *number);
}

/* --- Which are lost --- */

/* How long it is waited for somebody to come back, or for one that fails to recover. */
static uint64_t patience_ms(uint32_t failing)
{
    uint64_t wait_ms = ASSIGNER_RETRY_MS;
    if (failing <= FAILURES_FREE)
        return ASSIGNER_LOST_MS;
    for (uint32_t i = FAILURES_FREE + 1; i < failing && wait_ms < FAILURES_WAIT_MAX_MS; i++)
        wait_ms *= 4;
    return wait_ms < FAILURES_WAIT_MAX_MS ? wait_ms : FAILURES_WAIT_MAX_MS;
}

/* Whether somebody should be asked for it now. */
static bool is_lost(struct assigner *assigner, size_t number, uint64_t now_ms)
{
    struct lost_service *lost = &assigner->lost[number];
    if (assigner->counts.expected[number] > 0) {
        lost->since_ms = lost->retry_at_ms = 0;
        return false;
    }
    if (lost->since_ms == 0)
        lost->since_ms = now_ms;
    uint64_t from_ms = lost->given_at_ms > lost->since_ms ? lost->given_at_ms : lost->since_ms;
    return now_ms - from_ms >= patience_ms(assigner->counts.failing[number]) && now_ms >= lost->retry_at_ms;
}

/* The most important service that somebody should be asked for, or CATALOG_NONE. */
static size_t most_important_lost(struct assigner *assigner, uint64_t now_ms)
{
    size_t chosen = CATALOG_NONE;
    for (size_t i = 0; i < catalog_count(assigner->catalog); i++) {
        if (is_lost(assigner, i, now_ms) &&
            (chosen == CATALOG_NONE ||
             catalog_at(assigner->catalog, i)->priority < catalog_at(assigner->catalog, chosen)->priority))
            chosen = i;
    }
    return chosen;
}

/* Whether there is a worker that could run it; who is told to because of a pin is a matter of rules.c. */
static bool is_for_somebody(const struct assigner *assigner, size_t number)
{
    const struct catalog_service *service = catalog_at(assigner->catalog, number);
    bool fits = false;
    for (unsigned type = 0; type < TYPES; type++)
        fits = fits || (assigner->counts.by_type[type] > 0 && catalog_fits(service, (Muster__V1__WorkerType)type));
    return fits && service->pinned_count == 0;
}

static const struct assigner_move *give_away(struct assigner *assigner, size_t number, uint64_t now_ms)
{
    struct change change = {number, CATALOG_NONE, CATALOG_NONE, ASSIGNER_MOVE_LOST};
    struct search search = {is_better_with_room, has_nothing, &number};
    const struct member *member = assigner_search(assigner, &search);
    if (member == NULL && assigner->counts.failing[number] <= FAILURES_FREE) {
        search = (struct search){is_better_in_exchange, has_nothing, &number};
        member = assigner_search(assigner, &search);
        change.replaces = member == NULL ? CATALOG_NONE : what_to_drop(assigner, member, number);
    }
    return member == NULL ? NULL : assigner_make_move(assigner, member, &change, now_ms);
}

const struct assigner_move *adapt_next_move(struct assigner *assigner, uint64_t now_ms)
{
    if (assigner->lost == NULL)
        return NULL;
    size_t number;
    for (size_t searches = 0;
         searches < SEARCHES_MAX && (number = most_important_lost(assigner, now_ms)) != CATALOG_NONE;) {
        assigner->lost[number].retry_at_ms = now_ms + ASSIGNER_RETRY_MS;
        if (!is_for_somebody(assigner, number))
            continue;
        const struct assigner_move *move = give_away(assigner, number, now_ms);
        if (move != NULL) {
            assigner->lost[number].given_at_ms = now_ms;
            return move;
        }
        searches++; /* perhaps the next one has somebody */
    }
    return NULL;
}
