/* Work moves from services that can spare a worker to overloaded ones; see struct assigner_balance.
 *
 * A worker says one load, whichever of its services it comes from. So a service is judged by the room that its workers
 * have: that one of them is full because of another service says nothing while the rest have room. */

#include "services/assigner/state.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY_MS 1000
#define SWAPS_MAX 16   /* at once */
#define TOLERANCE 0.02 /* a service is overloaded when its workers lack so much of being so, on average */

/* A service, as it was at the last look. */
struct service_load {
    double busy, idle; /* means of what its workers say, counted up to `overloaded` and `spare`, smoothed; below 0:
                          nobody has said any */
    uint64_t overloaded_since_ms, sparing_since_ms; /* 0: it is not, it cannot */
    uint64_t touched_at_ms;                         /* a swap of it ended or began; 0: never */
};

struct balance {
    struct assigner_balance settings;
    struct service_load *services;
    uint64_t looked_at_ms, moved_at_ms;
};

bool balance_create(struct assigner *assigner)
{
    struct balance *balance = assigner->balance;
    if (balance == NULL) {
        balance = assigner->balance = calloc(1, sizeof(*balance));
        if (balance == NULL)
            return false;
        assigner_set_balance(assigner, &ASSIGNER_BALANCE_DEFAULT);
    }
    balance->services = calloc(catalog_count(assigner->catalog), sizeof(*balance->services));
    for (size_t i = 0; balance->services != NULL && i < catalog_count(assigner->catalog); i++)
        balance->services[i].busy = balance->services[i].idle = -1;
    return balance->services != NULL;
}

void balance_forget(struct assigner *assigner)
{
    if (assigner->balance == NULL)
        return;
    free(assigner->balance->services);
    assigner->balance->services = NULL;
}

void assigner_set_balance(struct assigner *assigner, const struct assigner_balance *settings)
{
    assigner->balance->settings = *settings;
    assigner->most =
        (struct load_sums){(uint64_t)(settings->overloaded * 1000 + 0.5), (uint64_t)(settings->spare * 1000 + 0.5)};
    assigner_recount(assigner);
}

struct load_sums balance_load(const struct assigner *assigner, const struct member *member)
{
    uint64_t load = member->load_thousandths;
    return (struct load_sums){load < assigner->most.busy ? load : assigner->most.busy,
                              load < assigner->most.idle ? load : assigner->most.idle};
}

void balance_touched(struct assigner *assigner, size_t from, size_t to, uint64_t now_ms)
{
    struct service_load *services = assigner->balance->services;
    if (services != NULL)
        services[from].touched_at_ms = services[to].touched_at_ms = now_ms;
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
    const struct load_sums *sums = &assigner->counts.load[number];
    /* What was heard last is worth nothing while health is away. */
    bool known = loaded > 0 && assigner->health_heard_ms != 0;
    service->busy = known ? smoothed(balance, service->busy, (double)sums->busy / (1000.0 * loaded), passed_ms) : -1;
    service->idle = known ? smoothed(balance, service->idle, (double)sums->idle / (1000.0 * loaded), passed_ms) : -1;
    /* Above 1 nothing is. */
    bool overloaded = known && service->busy >= balance->settings.overloaded - TOLERANCE;
    /* The others have room for a whole worker. */
    bool spares =
        known && healthy >= 2 && (balance->settings.spare - service->idle) * healthy >= balance->settings.spare;
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

/* No swap of the service is under way, and none was lately. */
static bool is_settled(const struct assigner *assigner, size_t number, uint64_t now_ms)
{
    const struct balance *balance = assigner->balance;
    uint64_t touched_at_ms = balance->services[number].touched_at_ms;
    return (touched_at_ms == 0 || now_ms - touched_at_ms >= balance->settings.dwell_ms) &&
           !swaps_have(assigner, number);
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
        if (lasts(balance, balance->services[i].overloaded_since_ms, now_ms) && is_settled(assigner, i, now_ms) &&
            (chosen == CATALOG_NONE ||
             catalog_at(assigner->catalog, i)->priority < catalog_at(assigner->catalog, chosen)->priority))
            chosen = i;
    }
    return chosen;
}

/* --- A worker that can be taken --- */

struct wanted {
    size_t to;
    bool *spared; /* for each service: it can spare a worker now */
};

/* The service that the worker would give up, the least important of its own that can spare it; CATALOG_NONE: none. */
static size_t what_to_drop(const struct assigner *assigner, const struct member *member, const struct wanted *wanted)
{
    size_t chosen = CATALOG_NONE;
    for (uint32_t i = 0; i < member->assigned_count; i++) {
        size_t number = member_number(member, i);
        if (number != CATALOG_NONE && wanted->spared[number] &&
            member_permission(assigner, member, number) == CATALOG_ALLOWED &&
            (chosen == CATALOG_NONE ||
             catalog_at(assigner->catalog, number)->priority > catalog_at(assigner->catalog, chosen)->priority))
            chosen = number;
    }
    return chosen;
}

/* Whether the wanted service is to be spread by location, and the worker's location has it. */
static bool is_crowded(const struct assigner *assigner, const struct member *member, const struct wanted *wanted)
{
    return catalog_at(assigner->catalog, wanted->to)->spread_by_location &&
           assigner_workers_at(assigner, wanted->to, member_location(member)) > 0;
}

static bool comes_before(const struct assigner *assigner, const struct member *member, const struct member *best,
                         const struct wanted *wanted)
{
    bool crowded = is_crowded(assigner, member, wanted);
    if (crowded != is_crowded(assigner, best, wanted))
        return !crowded;
    return member->load_thousandths < best->load_thousandths;
}

static bool is_better(struct assigner *assigner, const struct member *member, const struct member *best,
                      const void *argument)
{
    const struct wanted *wanted = argument;
    if (!member_is_healthy(member) || !member->says_load ||
        member->load_thousandths > assigner->balance->settings.spare * 1000 ||
        (best != NULL && !comes_before(assigner, member, best, wanted)))
        return false;
    return catalog_permits(member_permission(assigner, member, wanted->to)) && member_is_settled(member) &&
           member->swap_to == NAME_NONE && member_serves(member, wanted->to) == CATALOG_NONE &&
           what_to_drop(assigner, member, wanted) != CATALOG_NONE && !swaps_failed(assigner, member, wanted->to);
}

static bool is_enough(struct assigner *assigner, const struct member *best, const void *argument)
{
    return best->load_thousandths == 0 && !is_crowded(assigner, best, argument);
}

static const struct assigner_move *begin_swap(struct assigner *assigner, struct wanted *wanted, uint64_t now_ms)
{
    struct balance *balance = assigner->balance;
    for (size_t i = 0; i < catalog_count(assigner->catalog); i++)
        wanted->spared[i] = lasts(balance, balance->services[i].sparing_since_ms, now_ms) &&
                            assigner->counts.healthy[i] >= 2 && is_settled(assigner, i, now_ms);
    const struct search search = {is_better, is_enough, wanted};
    const struct member *member = assigner_search(assigner, &search);
    if (member == NULL)
        return NULL;
    struct change change = {wanted->to, CATALOG_NONE, what_to_drop(assigner, member, wanted), ASSIGNER_MOVE_OVERLOADED};
    balance->moved_at_ms = now_ms;
    balance_touched(assigner, change.replaces, change.add, now_ms);
    return assigner_make_move(assigner, member, &change, now_ms);
}

const struct assigner_move *balance_next_move(struct assigner *assigner, uint64_t now_ms)
{
    struct balance *balance = assigner->balance;
    if (balance->services == NULL || (balance->looked_at_ms != 0 && now_ms - balance->looked_at_ms < LOOK_EVERY_MS))
        return NULL;
    look_at_services(assigner, now_ms);
    if (balance->moved_at_ms != 0 && now_ms - balance->moved_at_ms < ASSIGNER_PAUSE_MS)
        return NULL;
    struct wanted wanted = {most_important_overloaded(assigner, now_ms), NULL};
    if (wanted.to == CATALOG_NONE || assigner_swap_count(assigner) >= SWAPS_MAX)
        return NULL;
    wanted.spared = calloc(catalog_count(assigner->catalog), sizeof(*wanted.spared));
    const struct assigner_move *move = wanted.spared == NULL ? NULL : begin_swap(assigner, &wanted, now_ms);
    free(wanted.spared);
    return move;
}
