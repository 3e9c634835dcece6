/* Work moves from services that can spare a worker to overloaded ones; see struct assigner_balance. */

#include "services/assigner/state.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY_MS 1000
#define SWAPS_MAX 16 /* at once */

/* A service, as it was at the last look. */
struct service_load {
    double load;                                    /* smoothed; below 0: nobody has said any */
    uint64_t overloaded_since_ms, sparing_since_ms; /* 0: it is not, it cannot */
    uint64_t touched_at_ms;                         /* a move of it ended or began; 0: never */
};

/* A worker that is told to run both, until it drops one. */
struct swap {
    char *worker_id; /* NULL: free */
    uint64_t incarnation;
    size_t from, to;
    uint64_t since_ms;
};

struct balance {
    struct assigner_balance settings;
    struct service_load *services;
    struct swap swaps[SWAPS_MAX];
    size_t swap_count;
    uint64_t looked_at_ms, moved_at_ms;
};

bool balance_create(struct assigner *assigner)
{
    struct balance *balance = assigner->balance;
    if (balance == NULL) {
        balance = assigner->balance = calloc(1, sizeof(*balance));
        if (balance == NULL)
            return false;
        balance->settings = ASSIGNER_BALANCE_DEFAULT;
    }
    balance->services = calloc(catalog_count(assigner->catalog), sizeof(*balance->services));
    for (size_t i = 0; balance->services != NULL && i < catalog_count(assigner->catalog); i++)
        balance->services[i].load = -1;
    return balance->services != NULL;
}

static void forget_swap(struct balance *balance, struct swap *swap)
{
    free(swap->worker_id);
    *swap = (struct swap){.worker_id = NULL};
    balance->swap_count--;
}

void balance_forget(struct assigner *assigner)
{
    struct balance *balance = assigner->balance;
    if (balance == NULL)
        return;
    for (size_t i = 0; i < SWAPS_MAX; i++)
        if (balance->swaps[i].worker_id != NULL)
            forget_swap(balance, &balance->swaps[i]);
    free(balance->services);
    balance->services = NULL;
}

void assigner_set_balance(struct assigner *assigner, const struct assigner_balance *settings)
{
    assigner->balance->settings = *settings;
}

size_t assigner_swap_count(const struct assigner *assigner)
{
    return assigner->balance->swap_count;
}

/* --- How the services are --- */

/* The time since when `is` holds; 0 when it does not. */
static uint64_t since(bool is, uint64_t before_ms, uint64_t now_ms)
{
    return !is ? 0 : before_ms != 0 ? before_ms : now_ms;
}

/* Exponential smoothing over a third of the time that a load must last. */
static double smoothed(const struct balance *balance, double before, double load, uint64_t passed_ms)
{
    double time_constant = (double)balance->settings.sustain_ms / 3;
    return before < 0 ? load : before + (load - before) * (double)passed_ms / (time_constant + (double)passed_ms);
}

static void look_at_service(const struct assigner *assigner, size_t number, uint64_t passed_ms, uint64_t now_ms)
{
    const struct balance *balance = assigner->balance;
    struct service_load *service = &balance->services[number];
    uint32_t loaded = assigner->counts.loaded[number], healthy = assigner->counts.healthy[number];
    service->load = loaded == 0 ? -1
                                : smoothed(balance, service->load,
                                           (double)assigner->counts.load[number] / (1000.0 * loaded), passed_ms);
    bool overloaded = service->load >= balance->settings.overloaded;
    bool spares =
        service->load >= 0 && healthy >= 2 && service->load * healthy / (healthy - 1) <= balance->settings.spare;
    service->overloaded_since_ms = since(overloaded, service->overloaded_since_ms, now_ms);
    service->sparing_since_ms = since(spares, service->sparing_since_ms, now_ms);
}

static void look_at_services(struct assigner *assigner, uint64_t now_ms)
{
    struct balance *balance = assigner->balance;
    uint64_t passed_ms = balance->looked_at_ms == 0 ? LOOK_EVERY_MS : now_ms - balance->looked_at_ms;
    balance->looked_at_ms = now_ms;
    for (size_t i = 0; i < catalog_count(assigner->catalog); i++)
        look_at_service(assigner, i, passed_ms, now_ms);
}

static bool is_settled(const struct balance *balance, const struct service_load *service, uint64_t now_ms)
{
    return service->touched_at_ms == 0 || now_ms - service->touched_at_ms >= balance->settings.dwell_ms;
}

static bool lasts(const struct balance *balance, uint64_t since_ms, uint64_t now_ms)
{
    return since_ms != 0 && now_ms - since_ms >= balance->settings.sustain_ms;
}

/* The most important one that has been overloaded for long enough, or CATALOG_NONE. */
static size_t most_important_overloaded(const struct assigner *assigner, uint64_t now_ms)
{
    const struct balance *balance = assigner->balance;
    size_t chosen = CATALOG_NONE;
    for (size_t i = 0; i < catalog_count(assigner->catalog); i++) {
        const struct service_load *service = &balance->services[i];
        if (lasts(balance, service->overloaded_since_ms, now_ms) && is_settled(balance, service, now_ms) &&
            (chosen == CATALOG_NONE ||
             catalog_at(assigner->catalog, i)->priority < catalog_at(assigner->catalog, chosen)->priority))
            chosen = i;
    }
    return chosen;
}

/* --- A worker that can be taken --- */

struct wanted {
    size_t to;
    uint64_t now_ms;
};

/* The service that the worker would give up, the first of its own that can spare it; CATALOG_NONE: none. */
static size_t what_to_drop(const struct assigner *assigner, const struct member *member, uint64_t now_ms)
{
    const struct balance *balance = assigner->balance;
    const char *name = member->id + strlen(member->id) + 1;
    for (uint32_t i = 0; i < member->assigned_count; i++, name += strlen(name) + 1) {
        size_t number = catalog_find(assigner->catalog, name);
        if (number == CATALOG_NONE)
            continue;
        const struct service_load *service = &balance->services[number];
        enum catalog_permission permission = member_permission(assigner, member, number);
        if (permission == CATALOG_ALLOWED && lasts(balance, service->sparing_since_ms, now_ms) &&
            is_settled(balance, service, now_ms) && assigner->counts.healthy[number] >= 2)
            return number;
    }
    return CATALOG_NONE;
}

static bool is_better(struct assigner *assigner, const struct member *member, const struct member *best,
                      const void *argument)
{
    const struct wanted *wanted = argument;
    if (!member_is_healthy(member) || !member->says_load ||
        member->load_thousandths > assigner->balance->settings.spare * 1000 ||
        (best != NULL && member->load_thousandths >= best->load_thousandths))
        return false;
    enum catalog_permission permission = member_permission(assigner, member, wanted->to);
    return catalog_permits(permission) && map_get_text(&assigner->promises, member->id) == NULL &&
           member_serves(assigner, member, wanted->to) == CATALOG_NONE &&
           what_to_drop(assigner, member, wanted->now_ms) != CATALOG_NONE;
}

static bool is_enough(const struct member *best)
{
    return best->load_thousandths == 0;
}

static struct swap *free_swap(struct balance *balance)
{
    for (size_t i = 0; i < SWAPS_MAX; i++)
        if (balance->swaps[i].worker_id == NULL)
            return &balance->swaps[i];
    return NULL;
}

static const struct assigner_move *begin_swap(struct assigner *assigner, uint64_t now_ms)
{
    struct balance *balance = assigner->balance;
    struct wanted wanted = {most_important_overloaded(assigner, now_ms), now_ms};
    struct swap *swap = free_swap(balance);
    if (wanted.to == CATALOG_NONE || swap == NULL ||
        (balance->moved_at_ms != 0 && now_ms - balance->moved_at_ms < ASSIGNER_PAUSE_MS))
        return NULL;
    const struct search search = {is_better, is_enough, &wanted};
    const struct member *member = assigner_search(assigner, &search);
    char *worker_id = member == NULL ? NULL : strdup(member->id);
    if (worker_id == NULL)
        return NULL;
    *swap = (struct swap){worker_id, member->incarnation, what_to_drop(assigner, member, now_ms), wanted.to, now_ms};
    balance->swap_count++;
    balance->moved_at_ms = now_ms;
    balance->services[swap->from].touched_at_ms = balance->services[swap->to].touched_at_ms = now_ms;
    return assigner_make_move(assigner, member, swap->to, CATALOG_NONE, ASSIGNER_MOVE_OVERLOADED, now_ms);
}

/* --- A swap that is under way --- */

static bool new_one_runs(const struct assigner *assigner, const struct member *member, const struct swap *swap,
                         uint64_t now_ms)
{
    size_t name = member_assigned(assigner, member, swap->to);
    if (condition_is_running(member, (uint32_t)name))
        return true;
    return !condition_is_told(member, (uint32_t)name) && (member->running | member->unavailable) == 0 &&
           now_ms - swap->since_ms >= ASSIGNER_SILENT_MS;
}

/* What the worker should drop now: the old one, the new one again, or nothing yet (CATALOG_NONE). Sets *over when there
 * is nothing more to do. */
static size_t end_of(const struct assigner *assigner, const struct member *member, const struct swap *swap,
                     uint64_t now_ms, bool *over)
{
    bool has_from = member != NULL && member->incarnation == swap->incarnation &&
                    member_assigned(assigner, member, swap->from) != CATALOG_NONE;
    bool has_to = has_from && member_assigned(assigner, member, swap->to) != CATALOG_NONE;
    *over = !has_to; /* gone, registered again, dropped: it has what it has, and that is counted */
    if (*over || !member_is_healthy(member))
        return CATALOG_NONE;
    if (new_one_runs(assigner, member, swap, now_ms)) {
        if (assigner->counts.able[swap->from] >= (member_is_able(assigner, member, swap->from) ? 2 : 1))
            return swap->from;
        *over = now_ms - swap->since_ms >= ASSIGNER_SWAP_MS; /* it stays the last one of both */
        return CATALOG_NONE;
    }
    return now_ms - swap->since_ms >= ASSIGNER_SWAP_MS ? swap->to : CATALOG_NONE;
}

static const struct assigner_move *continue_swaps(struct assigner *assigner, uint64_t now_ms)
{
    struct balance *balance = assigner->balance;
    for (size_t i = 0; i < SWAPS_MAX; i++) {
        struct swap *swap = &balance->swaps[i];
        if (swap->worker_id == NULL || map_get_text(&assigner->promises, swap->worker_id) != NULL)
            continue; /* the registry has not confirmed yet */
        const struct member *member = map_get_text(&assigner->members, swap->worker_id);
        bool over;
        size_t drop = end_of(assigner, member, swap, now_ms, &over);
        if (over) {
            balance->services[swap->from].touched_at_ms = balance->services[swap->to].touched_at_ms = now_ms;
            forget_swap(balance, swap);
        } else if (drop != CATALOG_NONE) {
            return assigner_make_move(assigner, member, CATALOG_NONE, drop,
                                      drop == swap->from ? ASSIGNER_MOVE_DROP : ASSIGNER_MOVE_UNDO, now_ms);
        }
    }
    return NULL;
}

const struct assigner_move *balance_next_move(struct assigner *assigner, uint64_t now_ms)
{
    struct balance *balance = assigner->balance;
    if (balance->services == NULL || (balance->looked_at_ms != 0 && now_ms - balance->looked_at_ms < LOOK_EVERY_MS))
        return NULL;
    look_at_services(assigner, now_ms);
    const struct assigner_move *move = continue_swaps(assigner, now_ms);
    return move != NULL ? move : begin_swap(assigner, now_ms);
}
