/* Swaps: workers that were told to run a second service and drop another one when it runs; see struct
 * assigner_balance.
 *
 * The registry keeps with a worker's assignment that a swap is under way, so the swaps here are a mirror of the roll:
 * an assigner that is killed in the middle of one finds it again, as does one whose call was applied and not answered,
 * and a worker that registers again meanwhile. Nothing that was told is forgotten. Only the time since when each goes
 * on is known here alone, and begins anew with the process. */

#include "services/assigner/state.h"

#include <stdlib.h>
#include <string.h>

struct swap {
    bool is_over;         /* stays as a note of what failed; see swaps_failed */
    uint64_t since_ms;    /* under way, and health was heard; 0: not looked at yet */
    uint64_t incarnation; /* of what failed */
    char *failed;         /* a service that did not come to run, until the worker registers again; NULL: none */
    char worker_id[];
};

static void free_swap(struct swap *swap)
{
    if (swap == NULL)
        return;
    free(swap->failed);
    free(swap);
}

void swaps_free(struct assigner *assigner)
{
    size_t position = 0;
    struct swap *swap;
    while ((swap = map_next(&assigner->swaps, &position)) != NULL)
        free_swap(swap);
    map_free(&assigner->swaps);
}

static bool add(struct assigner *assigner, const char *worker_id)
{
    size_t bytes = strlen(worker_id) + 1;
    struct swap *swap = calloc(1, sizeof(*swap) + bytes);
    if (swap == NULL)
        return false;
    memcpy(swap->worker_id, worker_id, bytes);
    if (map_put_text(&assigner->swaps, swap->worker_id, swap, NULL))
        return true;
    free(swap);
    return false;
}

bool swaps_note(struct assigner *assigner, const char *worker_id, const struct member *member)
{
    struct swap *swap = map_get_text(&assigner->swaps, worker_id);
    bool under_way = member != NULL && member->swap_to != NAME_NONE;
    if (swap == NULL)
        return !under_way || add(assigner, worker_id);
    if (under_way && swap->is_over)
        swap->since_ms = 0;
    swap->is_over = !under_way;
    bool is_note = swap->failed != NULL && member != NULL && member->incarnation == swap->incarnation;
    if (!under_way && !is_note)
        free_swap(map_remove_text(&assigner->swaps, worker_id));
    return true;
}

bool swaps_failed(const struct assigner *assigner, const struct member *member, size_t number)
{
    const struct swap *swap = assigner->swaps.count == 0 ? NULL : map_get_text(&assigner->swaps, member_id(member));
    return swap != NULL && swap->failed != NULL && swap->incarnation == member->incarnation &&
           catalog_find(assigner->catalog, swap->failed) == number;
}

void swaps_forget_failures(struct assigner *assigner)
{
    size_t position = 0;
    struct swap *swap;
    while ((swap = map_next(&assigner->swaps, &position)) != NULL) {
        free(swap->failed);
        swap->failed = NULL; /* one that is over goes with the worker's next record */
    }
}

/* The services of a swap; CATALOG_NONE when the catalog has it no more. */
struct pair {
    size_t from, to;
};

static struct pair pair_of(const struct member *member)
{
    if (member == NULL || member->swap_to == NAME_NONE)
        return (struct pair){CATALOG_NONE, CATALOG_NONE};
    return (struct pair){member_number(member, member->swap_from), member_number(member, member->swap_to)};
}

bool swaps_have(const struct assigner *assigner, size_t number)
{
    size_t position = 0;
    const struct swap *swap;
    while ((swap = map_next(&assigner->swaps, &position)) != NULL) {
        struct pair pair = pair_of(assigner_known(assigner, swap->worker_id).record);
        if (!swap->is_over && (pair.from == number || pair.to == number))
            return true;
    }
    return false;
}

size_t assigner_swap_count(const struct assigner *assigner)
{
    size_t count = 0, position = 0;
    const struct swap *swap;
    while ((swap = map_next(&assigner->swaps, &position)) != NULL)
        count += !swap->is_over;
    return count;
}

/* --- The end of one --- */

static bool new_one_runs(const struct member *member, uint64_t passed_ms)
{
    if (condition_is_running(member, member->swap_to))
        return true;
    return (member->running | member->unavailable) == 0 && passed_ms >= ASSIGNER_SILENT_MS;
}

/* What the worker is told now. False: nothing yet. */
static bool end_of(const struct assigner *assigner, const struct member *member, struct pair pair, uint64_t passed_ms,
                   struct change *change)
{
    bool late = passed_ms >= ASSIGNER_SWAP_MS;
    *change = (struct change){CATALOG_NONE, CATALOG_NONE, CATALOG_NONE, ASSIGNER_MOVE_BOTH};
    if (!new_one_runs(member, passed_ms)) {
        change->remove = pair.to;
        change->reason = ASSIGNER_MOVE_UNDO;
        return late;
    }
    if (assigner->counts.able[pair.from] >= (condition_is_able(member, member->swap_from) ? 2 : 1)) {
        change->remove = pair.from;
        change->reason = ASSIGNER_MOVE_DROP;
        return true;
    }
    return late; /* it has become the last one of both */
}

static void note_failure(struct swap *swap, const struct member *member)
{
    free(swap->failed);
    swap->failed = strdup(member_name(member, member->swap_to)); /* NULL: it may be tried again */
    swap->incarnation = member->incarnation;
}

const struct assigner_move *swaps_next_move(struct assigner *assigner, uint64_t now_ms)
{
    size_t position = 0;
    struct swap *swap;
    if (assigner->health_heard_ms == 0)
        return NULL; /* how the services are is not known */
    while ((swap = map_next(&assigner->swaps, &position)) != NULL) {
        const struct member *member = assigner_known(assigner, swap->worker_id).record;
        struct pair pair = pair_of(member);
        struct change change;
        if (swap->since_ms == 0 || assigner->health_heard_ms > swap->since_ms)
            swap->since_ms = now_ms;
        /* Services that the catalog has no more are dropped by rules.c. */
        if (swap->is_over || pair.from == CATALOG_NONE || pair.to == CATALOG_NONE || !member_is_healthy(member) ||
            !member_is_settled(member) || !end_of(assigner, member, pair, now_ms - swap->since_ms, &change))
            continue;
        balance_touched(assigner, pair.from, pair.to, now_ms);
        if (change.reason == ASSIGNER_MOVE_UNDO)
            note_failure(swap, member);
        return assigner_make_move(assigner, member, &change, now_ms);
    }
    return NULL;
}
