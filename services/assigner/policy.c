/* What a worker that registers should run; see policy.h. */

#include "services/assigner/policy.h"

#include <stdint.h>
#include <string.h>

#define GPU MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU
#define CPU MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU
#define STORAGE MUSTER__V1__WORKER_TYPE__WORKER_TYPE_STORAGE
#define EDGE MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE

/* CPU services for a GPU worker, on top of its own. */
#define GPU_CPU_MAX 2

struct decider {
    const struct catalog *catalog;
    const struct policy_coverage *coverage;
    const struct policy_worker *worker;
    Muster__V1__WorkerType type;
    struct policy_decision *decision;
    size_t told; /* services that it has because of a pin or a reservation */
    size_t reason_bytes;
};

/* Adds to the reason, as far as there is room. (With printf the reasons took as long as all the rest of a decision.) */
static void say(struct decider *decider, const char *text)
{
    char *reason = decider->decision->reason;
    size_t bytes = strlen(text), room = POLICY_REASON_BYTES - 1 - decider->reason_bytes;
    bytes = bytes < room ? bytes : room;
    memcpy(reason + decider->reason_bytes, text, bytes);
    decider->reason_bytes += bytes;
    reason[decider->reason_bytes] = '\0';
}

static void say_number(struct decider *decider, uint64_t number)
{
    char digits[21] = "", *at = digits + sizeof digits - 1;
    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    say(decider, at);
}

static void say_service(struct decider *decider, bool first, const char *verb, size_t number)
{
    say(decider, first ? verb : ", ");
    say(decider, catalog_at(decider->catalog, number)->name);
}

static const char *type_name(Muster__V1__WorkerType type)
{
    static const char *const names[] = {"unknown", "gpu", "cpu", "storage", "edge"};
    return type >= GPU && type <= EDGE ? names[type] : names[0];
}

static enum catalog_permission permission(const struct decider *decider, size_t number)
{
    return catalog_permission_within(decider->catalog, number, decider->type, decider->worker->id,
                                     decider->worker->permitted);
}

static void note(struct decider *decider, size_t number, enum policy_verdict verdict)
{
    if (decider->decision->verdicts != NULL)
        decider->decision->verdicts[number] = verdict;
}

static void mark_announced(struct decider *decider)
{
    const struct policy_worker *worker = decider->worker;
    for (size_t i = 0; i < worker->announced_count; i++) {
        size_t number = catalog_find(decider->catalog, worker->announced[i]);
        if (number == CATALOG_NONE)
            continue;
        decider->decision->taken[number] = true;
        note(decider, number, POLICY_ANNOUNCED);
    }
}

static void take(struct decider *decider, size_t number, enum policy_verdict verdict)
{
    decider->decision->taken[number] = true;
    decider->decision->services[decider->decision->count++] = number;
    note(decider, number, verdict);
}

static void keep_current(struct decider *decider)
{
    const struct policy_worker *worker = decider->worker;
    for (size_t i = 0; i < worker->current_count; i++) {
        size_t number = catalog_find(decider->catalog, worker->current[i]);
        if (number == CATALOG_NONE || decider->decision->taken[number] || !catalog_permits(permission(decider, number)))
            continue;
        take(decider, number, POLICY_KEPT);
        say_service(decider, decider->decision->kept++ == 0, "; keeps ", number);
    }
}

/* What is pinned to it, and what it is reserved for. */
static void take_told(struct decider *decider)
{
    if (!catalog_has_rules(decider->catalog))
        return;
    for (size_t i = 0; i < catalog_count(decider->catalog); i++) {
        if (decider->decision->taken[i])
            continue;
        enum catalog_permission told = permission(decider, i);
        if (told == CATALOG_OTHER_TYPE && catalog_tells(decider->catalog, i, decider->worker->id)) {
            say_service(decider, true, "; cannot run ", i);
            say(decider, ", which the catalog tells it to (it needs a ");
            say(decider, type_name(catalog_at(decider->catalog, i)->requires));
            say(decider, " worker)");
            decider->decision->misfits = true;
        }
        if (told != CATALOG_PINNED && told != CATALOG_RESERVED)
            continue;
        take(decider, i, told == CATALOG_PINNED ? POLICY_PINNED : POLICY_RESERVED);
        say_service(decider, decider->told++ == 0, "; is told to run ", i);
        say(decider, told == CATALOG_PINNED ? " (pinned to it)" : " (it is reserved for that)");
    }
}

/* How many services require the type, and how many of those nobody has, this worker included. */
struct demand {
    size_t services;
    size_t uncovered;
};

static struct demand demand_of(const struct decider *decider, Muster__V1__WorkerType type)
{
    struct demand demand = {0, 0};
    for (size_t i = 0; i < catalog_count(decider->catalog); i++) {
        if (catalog_at(decider->catalog, i)->requires != type || !catalog_permits(permission(decider, i)))
            continue;
        demand.services++;
        if (decider->coverage->workers[i] == 0 && !decider->decision->taken[i])
            demand.uncovered++;
    }
    return demand;
}

/* How many services of its type the n-th worker gets, and up to how many to fill gaps. */
static void share_of(Muster__V1__WorkerType type, size_t n, size_t *usual, size_t *most)
{
    switch (type) {
    case GPU:
        *usual = 1;
        *most = 2;
        return;
    case STORAGE:
        *usual = 3;
        *most = POLICY_MAX_NEW;
        return;
    case EDGE:
        *usual = *most = n == 1 ? 2 : 3;
        return;
    default:
        *usual = n == 1 ? 3 : 2;
        *most = 3;
        return;
    }
}

size_t policy_most(Muster__V1__WorkerType type, Muster__V1__WorkerType requires, size_t workers)
{
    size_t usual, most;
    if (type == GPU && requires == CPU)
        return GPU_CPU_MAX;
    share_of(type, workers, &usual, &most);
    return most;
}

/* Services that it has so far and that require the type. */
static size_t has_of(const struct decider *decider, Muster__V1__WorkerType type)
{
    size_t count = 0;
    for (size_t i = 0; i < decider->decision->count; i++)
        count += catalog_at(decider->catalog, decider->decision->services[i])->requires == type ? 1 : 0;
    return count;
}

static size_t how_many(struct decider *decider)
{
    struct demand demand = demand_of(decider, decider->type);
    struct policy_share *share = &decider->decision->share;
    *share = (struct policy_share){
        .workers = (size_t)decider->coverage->workers_by_type[decider->type] + 1,
        .services = demand.services,
        .uncovered = demand.uncovered,
        .had = has_of(decider, decider->type),
    };
    share_of(decider->type, share->workers, &share->usual, &share->most);
    if (share->workers >= demand.services)
        share->usual = 1;
    size_t wanted = share->usual > share->had ? share->usual - share->had : 0;
    size_t room = share->most > share->had ? share->most - share->had : 0;
    size_t gaps = demand.uncovered < room ? demand.uncovered : room;
    share->added = gaps > wanted ? gaps : wanted;
    return share->added;
}

/* Whether another worker at its location runs a service that is to be spread. */
static bool is_here(const struct decider *decider, size_t number)
{
    return decider->coverage->here != NULL && catalog_at(decider->catalog, number)->spread_by_location &&
           decider->coverage->here[number] > 0;
}

static bool comes_before(const struct decider *decider, size_t a, size_t b)
{
    const uint32_t *workers = decider->coverage->workers;
    if (is_here(decider, a) != is_here(decider, b))
        return is_here(decider, b);
    if (workers[a] != workers[b])
        return workers[a] < workers[b];
    uint32_t priority_a = catalog_at(decider->catalog, a)->priority;
    uint32_t priority_b = catalog_at(decider->catalog, b)->priority;
    return priority_a != priority_b ? priority_a < priority_b : a < b;
}

/* The best service of those that require the type, or CATALOG_NONE. */
static size_t best_of(const struct decider *decider, Muster__V1__WorkerType type, bool uncovered_only)
{
    size_t best = CATALOG_NONE;
    for (size_t i = 0; i < catalog_count(decider->catalog); i++) {
        if (decider->decision->taken[i] || catalog_at(decider->catalog, i)->requires != type ||
            (uncovered_only && decider->coverage->workers[i] > 0) || permission(decider, i) != CATALOG_ALLOWED)
            continue;
        if (best == CATALOG_NONE || comes_before(decider, i, best))
            best = i;
    }
    return best;
}

static void take_best(struct decider *decider, Muster__V1__WorkerType type, bool uncovered_only, size_t limit)
{
    for (size_t i = 0; i < limit; i++) {
        size_t number = best_of(decider, type, uncovered_only);
        if (number == CATALOG_NONE)
            return;
        say_service(decider, decider->decision->count == decider->decision->kept + decider->told, "; takes ", number);
        say(decider, " (");
        say_number(decider, decider->coverage->workers[number]);
        say(decider, " before it)");
        take(decider, number, POLICY_TAKEN);
    }
}

/* Of a service that it was not given. */
static enum policy_verdict why_not(const struct decider *decider, size_t number)
{
    switch (permission(decider, number)) {
    case CATALOG_OTHER_TYPE:
        return catalog_tells(decider->catalog, number, decider->worker->id) ? POLICY_MISFIT : POLICY_OTHER_TYPE;
    case CATALOG_PINNED_ELSEWHERE:
        return POLICY_PINNED_ELSEWHERE;
    case CATALOG_RESERVED_FOR_OTHERS:
        return POLICY_RESERVED_FOR_OTHERS;
    case CATALOG_NOT_PERMITTED:
        return POLICY_NOT_PERMITTED;
    default:
        return catalog_at(decider->catalog, number)->requires != decider->type && decider->coverage->workers[number] > 0
                   ? POLICY_COVERED
                   : POLICY_SHARE_IS_FULL;
    }
}

static void note_the_rest(struct decider *decider)
{
    if (decider->decision->verdicts == NULL)
        return;
    for (size_t i = 0; i < catalog_count(decider->catalog); i++)
        if (!decider->decision->taken[i])
            note(decider, i, why_not(decider, i));
}

void policy_decide(const struct catalog *catalog, const struct policy_coverage *coverage,
                   const struct policy_worker *worker, struct policy_decision *decision)
{
    struct decider decider = {
        .catalog = catalog, .coverage = coverage, .worker = worker, .type = worker->type, .decision = decision};
    decision->count = 0;
    decision->kept = 0;
    decision->misfits = false;
    memset(decision->taken, 0, catalog_count(catalog) * sizeof(*decision->taken));
    say(&decider, "worker ");
    say_number(&decider, (uint64_t)coverage->workers_by_type[worker->type] + 1);
    say(&decider, " of type ");
    say(&decider, type_name(worker->type));

    mark_announced(&decider);
    keep_current(&decider);
    take_told(&decider);
    take_best(&decider, worker->type, false, how_many(&decider));
    if (worker->type == GPU) {
        size_t has = has_of(&decider, CPU);
        take_best(&decider, CPU, true, has < GPU_CPU_MAX ? GPU_CPU_MAX - has : 0);
    }
    note_the_rest(&decider);
    if (decision->count == 0)
        say(&decider,
            "; everything that it could run is announced by it or not for it, or nothing in the catalog fits");
}
