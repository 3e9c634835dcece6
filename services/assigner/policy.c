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
    struct policy_decision *decision;
    bool is_free; /* nothing limits the worker but its type */
};

static const struct catalog_service *service_of(const struct decider *decider, size_t number)
{
    return catalog_at(decider->catalog, number);
}

static enum catalog_permission permission(const struct decider *decider, size_t number)
{
    return catalog_permission_within(decider->catalog, number, decider->worker->type, decider->worker->id,
                                     decider->worker->permitted);
}

/* Of a service that its type can run. */
static enum catalog_permission permission_if_fit(const struct decider *decider, size_t number)
{
    return decider->is_free ? CATALOG_ALLOWED : permission(decider, number);
}

/* Whether the worker has the service already, by itself or by the decision so far. */
static bool has(const struct decider *decider, size_t number)
{
    enum policy_verdict verdict = decider->decision->verdicts[number];
    return verdict >= POLICY_ANNOUNCED && verdict <= POLICY_TAKEN;
}

static void mark_announced(struct decider *decider)
{
    const struct policy_worker *worker = decider->worker;
    for (size_t i = 0; i < worker->announced_count; i++)
        if (worker->announced[i] != CATALOG_NO_SERVICE)
            decider->decision->verdicts[worker->announced[i]] = POLICY_ANNOUNCED;
}

static void take(struct decider *decider, uint32_t number, enum policy_verdict verdict)
{
    struct policy_decision *decision = decider->decision;
    decision->verdicts[number] = verdict;
    decision->before[decision->count] = decider->coverage->workers[number];
    decision->services[decision->count++] = number;
}

static void keep_current(struct decider *decider)
{
    const struct policy_worker *worker = decider->worker;
    for (size_t i = 0; i < worker->current_count; i++) {
        uint32_t number = worker->current[i];
        if (number != CATALOG_NO_SERVICE && !has(decider, number) && catalog_permits(permission(decider, number))) {
            take(decider, number, POLICY_KEPT);
            decider->decision->kept++;
        }
    }
}

/* What is pinned to it, and what it is reserved for. */
static void take_told(struct decider *decider)
{
    if (!catalog_has_rules(decider->catalog))
        return;
    for (uint32_t i = 0; i < catalog_count(decider->catalog); i++) {
        if (has(decider, i))
            continue;
        enum catalog_permission told = permission(decider, i);
        if (told == CATALOG_OTHER_TYPE && catalog_tells(decider->catalog, i, decider->worker->id)) {
            decider->decision->verdicts[i] = POLICY_MISFIT;
            decider->decision->misfits = true;
        }
        if (told == CATALOG_PINNED || told == CATALOG_RESERVED)
            take(decider, i, told == CATALOG_PINNED ? POLICY_PINNED : POLICY_RESERVED);
    }
}

/* How many services require the worker's type, and how many of those nobody has, this worker included. */
struct demand {
    size_t services;
    size_t uncovered;
};

static struct demand demand_for(const struct decider *decider)
{
    struct demand demand = {0, 0};
    size_t count;
    const uint32_t *numbers = catalog_of_type(decider->catalog, decider->worker->type, &count);
    for (size_t i = 0; i < count; i++) {
        if (!catalog_permits(permission_if_fit(decider, numbers[i])))
            continue;
        demand.services++;
        demand.uncovered += decider->coverage->workers[numbers[i]] == 0 && !has(decider, numbers[i]);
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
static size_t count_of(const struct decider *decider, Muster__V1__WorkerType type)
{
    size_t count = 0;
    for (size_t i = 0; i < decider->decision->count; i++)
    count += service_of(decider, decider->decision->services[i])->requires == type;
    return count;
}

static size_t how_many(struct decider *decider)
{
    Muster__V1__WorkerType type = decider->worker->type;
    struct demand demand = demand_for(decider);
    struct policy_share *share = &decider->decision->share;
    *share = (struct policy_share){
        .workers = (size_t)decider->coverage->workers_by_type[type] + 1,
        .services = demand.services,
        .uncovered = demand.uncovered,
        .had = count_of(decider, type),
    };
    share_of(type, share->workers, &share->usual, &share->most);
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
    return decider->coverage->here != NULL && service_of(decider, number)->spread_by_location &&
           decider->coverage->here[number] > 0;
}

/* Whether it comes before one that is more important, or as important and earlier in the catalog. */
static bool overtakes(const struct decider *decider, size_t number, size_t other)
{
    const uint32_t *workers = decider->coverage->workers;
    if (is_here(decider, number) != is_here(decider, other))
        return is_here(decider, other);
    return workers[number] < workers[other];
}

/* The best service of those that require the type, or CATALOG_NO_SERVICE. */
static uint32_t best_of(const struct decider *decider, Muster__V1__WorkerType type, bool uncovered_only)
{
    uint32_t best = CATALOG_NO_SERVICE;
    size_t count;
    const uint32_t *numbers = catalog_of_type(decider->catalog, type, &count);
    for (size_t i = 0; i < count; i++) {
        if (has(decider, numbers[i]) || (uncovered_only && decider->coverage->workers[numbers[i]] > 0) ||
            permission_if_fit(decider, numbers[i]) != CATALOG_ALLOWED)
            continue;
        if (best == CATALOG_NO_SERVICE || overtakes(decider, numbers[i], best))
            best = numbers[i];
    }
    return best;
}

static void take_best(struct decider *decider, Muster__V1__WorkerType type, bool uncovered_only, size_t limit)
{
    for (size_t i = 0; i < limit; i++) {
        uint32_t number = best_of(decider, type, uncovered_only);
        if (number == CATALOG_NO_SERVICE)
            return;
        take(decider, number, POLICY_TAKEN);
    }
}

static struct decider decider_for(const struct catalog *catalog, const struct policy_coverage *coverage,
                                  const struct policy_worker *worker, struct policy_decision *decision)
{
    bool is_free = worker->permitted == NULL && !catalog_has_rules(catalog);
    return (struct decider){catalog, coverage, worker, decision, is_free};
}

void policy_decide(const struct catalog *catalog, const struct policy_coverage *coverage,
                   const struct policy_worker *worker, struct policy_decision *decision)
{
    struct decider decider = decider_for(catalog, coverage, worker, decision);
    decision->count = 0;
    decision->kept = 0;
    decision->type = worker->type;
    decision->misfits = false;
    memset(decision->verdicts, 0, catalog_count(catalog) * sizeof(*decision->verdicts)); /* POLICY_UNDECIDED */

    mark_announced(&decider);
    keep_current(&decider);
    take_told(&decider);
    take_best(&decider, worker->type, false, how_many(&decider));
    if (worker->type == GPU) {
        size_t count = count_of(&decider, CPU);
        take_best(&decider, CPU, true, count < GPU_CPU_MAX ? GPU_CPU_MAX - count : 0);
    }
}

/* --- In words --- */

/* Of a service that it was not given. */
static enum policy_verdict why_not(const struct decider *decider, size_t number)
{
    switch (permission(decider, number)) {
    case CATALOG_OTHER_TYPE:
        return POLICY_OTHER_TYPE;
    case CATALOG_PINNED_ELSEWHERE:
        return POLICY_PINNED_ELSEWHERE;
    case CATALOG_RESERVED_FOR_OTHERS:
        return POLICY_RESERVED_FOR_OTHERS;
    case CATALOG_NOT_PERMITTED:
        return POLICY_NOT_PERMITTED;
    default:
        return service_of(decider, number)->requires
        != decider->worker->type && decider->coverage->workers[number] > 0 ? POLICY_COVERED : POLICY_SHARE_IS_FULL;
    }
}

void policy_judge_the_rest(const struct catalog *catalog, const struct policy_coverage *coverage,
                           const struct policy_worker *worker, struct policy_decision *decision)
{
    struct decider decider = decider_for(catalog, coverage, worker, decision);
    for (size_t i = 0; i < catalog_count(catalog); i++)
        if (decision->verdicts[i] == POLICY_UNDECIDED)
            decision->verdicts[i] = why_not(&decider, i);
}

/* A text of at most POLICY_REASON_BYTES, its zero byte included. */
struct reason {
    char *text;
    size_t bytes;
};

/* Adds to it, as far as there is room. */
static void say(struct reason *reason, const char *text)
{
    size_t bytes = strlen(text), room = POLICY_REASON_BYTES - 1 - reason->bytes;
    bytes = bytes < room ? bytes : room;
    memcpy(reason->text + reason->bytes, text, bytes);
    reason->bytes += bytes;
    reason->text[reason->bytes] = '\0';
}

static void say_number(struct reason *reason, uint64_t number)
{
    char digits[21] = "", *at = digits + sizeof digits - 1;
    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    say(reason, at);
}

static const char *type_name(Muster__V1__WorkerType type)
{
    static const char *const names[] = {"unknown", "gpu", "cpu", "storage", "edge"};
    return type >= GPU && type <= EDGE ? names[type] : names[0];
}

static void say_misfits(struct reason *reason, const struct catalog *catalog, const struct policy_decision *decision)
{
    for (size_t i = 0; decision->misfits && i < catalog_count(catalog); i++) {
        if (decision->verdicts[i] != POLICY_MISFIT)
            continue;
        say(reason, "; cannot run ");
        say(reason, catalog_at(catalog, i)->name);
        say(reason, ", which the catalog tells it to (it needs a ");
        say(reason, type_name(catalog_at(catalog, i)->requires));
        say(reason, " worker)");
    }
}

static const char *verb_of(enum policy_verdict verdict)
{
    return verdict == POLICY_KEPT ? "; keeps " : verdict == POLICY_TAKEN ? "; takes " : "; is told to run ";
}

void policy_reason(const struct catalog *catalog, const struct policy_decision *decision,
                   char text[POLICY_REASON_BYTES])
{
    struct reason reason = {text, 0};
    const char *verb = NULL;
    say(&reason, "worker ");
    say_number(&reason, decision->share.workers);
    say(&reason, " of type ");
    say(&reason, type_name(decision->type));
    say_misfits(&reason, catalog, decision);
    for (size_t i = 0; i < decision->count; i++) {
        size_t number = decision->services[i];
        enum policy_verdict verdict = decision->verdicts[number];
        say(&reason, verb_of(verdict) == verb ? ", " : verb_of(verdict));
        verb = verb_of(verdict);
        say(&reason, catalog_at(catalog, number)->name);
        if (verdict == POLICY_PINNED) {
            say(&reason, " (pinned to it)");
        } else if (verdict == POLICY_RESERVED) {
            say(&reason, " (it is reserved for that)");
        } else if (verdict == POLICY_TAKEN) {
            say(&reason, " (");
            say_number(&reason, decision->before[i]);
            say(&reason, " before it)");
        }
    }
    if (decision->count == 0)
        say(&reason, "; everything that it could run is announced by it or not for it, or nothing in the catalog fits");
}
