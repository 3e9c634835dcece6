/* What a worker that registers should run; see policy.h. */

#include "services/assigner/policy.h"

#include <stdarg.h>
#include <stdio.h>
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
    Muster__V1__WorkerType type;
    struct policy_decision *decision;
    size_t reason_bytes;
};

__attribute__((format(printf, 2, 3))) static void explain(struct decider *decider, const char *format, ...)
{
    size_t room = POLICY_REASON_BYTES - decider->reason_bytes;
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(decider->decision->reason + decider->reason_bytes, room, format, arguments);
    va_end(arguments);
    if (written > 0)
        decider->reason_bytes += (size_t)written < room ? (size_t)written : room - 1;
}

static const char *type_name(Muster__V1__WorkerType type)
{
    static const char *const names[] = {"unknown", "gpu", "cpu", "storage", "edge"};
    return type >= GPU && type <= EDGE ? names[type] : names[0];
}

static void mark_announced(struct decider *decider, const struct policy_worker *worker)
{
    for (size_t i = 0; i < worker->announced_count; i++) {
        size_t number = catalog_find(decider->catalog, worker->announced[i]);
        if (number != CATALOG_NONE)
            decider->decision->taken[number] = true;
    }
}

static void take(struct decider *decider, size_t number)
{
    decider->decision->taken[number] = true;
    decider->decision->services[decider->decision->count++] = number;
}

static void keep_current(struct decider *decider, const struct policy_worker *worker)
{
    for (size_t i = 0; i < worker->current_count; i++) {
        size_t number = catalog_find(decider->catalog, worker->current[i]);
        if (number == CATALOG_NONE || decider->decision->taken[number])
            continue;
        const struct catalog_service *service = catalog_at(decider->catalog, number);
        if (!catalog_fits(service, decider->type))
            continue;
        take(decider, number);
        explain(decider, "%s%s", decider->decision->kept++ == 0 ? "; keeps " : ", ", service->name);
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
        if (catalog_at(decider->catalog, i)->requires != type)
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

size_t policy_most(Muster__V1__WorkerType type, Muster__V1__WorkerType requires)
{
    size_t usual, most;
    if (type == GPU && requires == CPU)
        return GPU_CPU_MAX;
    share_of(type, 2, &usual, &most);
    return most;
}

static size_t how_many(struct decider *decider)
{
    struct demand demand = demand_of(decider, decider->type);
    size_t n = (size_t)decider->coverage->workers_by_type[decider->type] + 1;
    size_t kept = decider->decision->kept, usual, most;
    share_of(decider->type, n, &usual, &most);
    if (n >= demand.services)
        usual = 1;
    size_t wanted = usual > kept ? usual - kept : 0;
    size_t room = most > kept ? most - kept : 0;
    size_t gaps = demand.uncovered < room ? demand.uncovered : room;
    return gaps > wanted ? gaps : wanted;
}

static bool comes_before(const struct decider *decider, size_t a, size_t b)
{
    const uint32_t *workers = decider->coverage->workers;
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
            (uncovered_only && decider->coverage->workers[i] > 0))
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
        explain(decider, "%s%s (%u before it)", decider->decision->count == decider->decision->kept ? "; takes " : ", ",
                catalog_at(decider->catalog, number)->name, (unsigned)decider->coverage->workers[number]);
        take(decider, number);
    }
}

void policy_decide(const struct catalog *catalog, const struct policy_coverage *coverage,
                   const struct policy_worker *worker, struct policy_decision *decision)
{
    struct decider decider = {catalog, coverage, worker->type, decision, 0};
    decision->count = 0;
    decision->kept = 0;
    memset(decision->taken, 0, catalog_count(catalog) * sizeof(*decision->taken));
    explain(&decider, "worker %llu of type %s", (unsigned long long)coverage->workers_by_type[worker->type] + 1,
            type_name(worker->type));

    mark_announced(&decider, worker);
    keep_current(&decider, worker);
    take_best(&decider, worker->type, false, how_many(&decider));
    if (worker->type == GPU)
        take_best(&decider, CPU, true, GPU_CPU_MAX);
    if (decision->count == 0)
        explain(&decider, "; everything that it could run is announced by it, or nothing in the catalog fits");
}
