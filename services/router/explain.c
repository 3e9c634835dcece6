/* Route and Explain; see router.h. */

#include "services/router/state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of workers that could run a service but were not told to, so many are shown. */
#define OTHERS_MAX 100
/* Throws before all endpoints are looked at. */
#define DRAWS_MAX 32

/* --- Route --- */

static bool is_excluded(const Muster__V1__RouteRequest *request, const char *worker_id)
{
    for (size_t i = 0; i < request->n_exclude_worker_ids; i++) {
        if (strcmp(request->exclude_worker_ids[i], worker_id) == 0)
            return true;
    }
    return false;
}

/* A few throws: with so many endpoints one of them hits, as a rule. NULL: none did. */
static const struct router_endpoint *draw(struct router *router, const struct router_service *service,
                                          const Muster__V1__RouteRequest *request)
{
    size_t best = 0;
    while (best < ROUTER_PRIORITIES && service->counts[best] == 0)
        best++;
    for (size_t i = 0; i < DRAWS_MAX && best < ROUTER_PRIORITIES; i++) {
        const struct router_endpoint *candidate =
            service->endpoints[random_below(&router->random, service->endpoint_count)];
        if (candidate->in_table && candidate->priority == best &&
            random_below(&router->random, POLICY_WEIGHT_MAX) < candidate->weight &&
            !is_excluded(request, candidate->worker->id))
            return candidate;
    }
    return NULL;
}

/* One pass: a reservoir of one, weighted (M. T. Chao, "A general purpose unequal probability
 * sampling plan", 1982), started anew when a better priority shows. */
static const struct router_endpoint *look_at_all(struct router *router, const struct router_service *service,
                                                 const Muster__V1__RouteRequest *request)
{
    const struct router_endpoint *chosen = NULL;
    uint64_t total = 0;
    for (size_t i = 0; i < service->endpoint_count; i++) {
        const struct router_endpoint *candidate = service->endpoints[i];
        if (!candidate->in_table || is_excluded(request, candidate->worker->id) ||
            (chosen != NULL && candidate->priority > chosen->priority))
            continue;
        if (chosen != NULL && candidate->priority < chosen->priority)
            total = 0;
        total += candidate->weight;
        if (total == candidate->weight || random_below(&router->random, total) < candidate->weight)
            chosen = candidate;
    }
    return chosen;
}

enum router_result router_route(struct router *router, const Muster__V1__RouteRequest *request,
                                Muster__V1__RouteResponse *response, Muster__V1__Endpoint *endpoint)
{
    if (!router->ready)
        return ROUTER_NOT_READY;
    struct router_service *service = router_service_find(router, request->service);
    if (service == NULL)
        return ROUTER_NO_SERVICE;
    const struct router_endpoint *chosen = draw(router, service, request);
    if (chosen == NULL)
        chosen = look_at_all(router, service, request);
    if (chosen == NULL)
        return ROUTER_NO_WORKER;
    muster__v1__endpoint__init(endpoint);
    endpoint->worker_id = chosen->worker->id;
    endpoint->url = (char *)(uintptr_t)router_endpoint_url(chosen); /* read only */
    endpoint->weight = chosen->weight;
    endpoint->priority = chosen->priority;
    endpoint->worker_type = chosen->worker->type;
    muster__v1__route_response__init(response);
    response->service = service->name;
    response->endpoint = endpoint;
    return ROUTER_OK;
}

/* --- Explain --- */

/* A text in the arena; longer ones than any that is made here are cut. */
__attribute__((format(printf, 2, 3))) static char *text(struct arena *arena, const char *format, ...)
{
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    size_t bytes = length < 0 ? 0 : (size_t)length;
    return arena_copy(arena, line, bytes < sizeof(line) ? bytes : sizeof(line) - 1);
}

struct candidate {
    const struct router_worker *worker;
    const struct router_endpoint *endpoint; /* NULL: it was not told to run the service */
    double score;
};

static bool in_table(const struct candidate *candidate)
{
    return candidate->endpoint != NULL && candidate->endpoint->in_table;
}

/* Best first: those in the table by priority and score, the others by whether they have the
 * service at all; ids make the order certain. */
static int compare(const void *left, const void *right)
{
    const struct candidate *a = left, *b = right;
    if (in_table(a) != in_table(b))
        return in_table(a) ? -1 : 1;
    if (in_table(a) && a->endpoint->priority != b->endpoint->priority)
        return a->endpoint->priority < b->endpoint->priority ? -1 : 1;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    if ((a->endpoint != NULL) != (b->endpoint != NULL))
        return a->endpoint != NULL ? -1 : 1;
    return strcmp(a->worker->id, b->worker->id);
}

static size_t keep_best(struct candidate *candidates, size_t count)
{
    qsort(candidates, count, sizeof(*candidates), compare);
    return count < ROUTER_EXPLAIN_CANDIDATES_MAX ? count : ROUTER_EXPLAIN_CANDIDATES_MAX;
}

static const char *ordinal(uint32_t number)
{
    return number == 1 ? "st" : number == 2 ? "nd" : number == 3 ? "rd" : "th";
}

/* Why it cannot be chosen at all. */
static char *explain_ineligible(struct router *router, const struct router_service *service,
                                const struct candidate *candidate, uint64_t now_ms)
{
    struct arena *arena = &router->arena;
    const struct router_worker *worker = candidate->worker;
    const struct router_endpoint *endpoint = candidate->endpoint;
    const char *reason;
    Muster__V1__WorkerStatus status = router_worker_status(worker, &reason);
    if (endpoint == NULL)
        return text(arena, "not assigned to it, and it does not announce it");
    if (worker->draining || status == WORKER_DRAINING)
        return text(arena, "draining: takes no new requests");
    if (!worker_status_routable(status))
        return text(arena, "%s%s%s", worker_status_text(status), reason[0] == 0 ? "" : ": ", reason);
    const char *state = router_worker_service_state(router, worker, service);
    if (state != NULL && strcmp(state, "running") != 0)
        return text(arena, "not running there: the worker says that the service is \"%s\"", state);
    if (router_endpoint_url(endpoint)[0] == 0)
        return text(arena, "no URL is known for it");
    if (router_outlier_is_ejected(endpoint)) {
        const struct router_outlier *outlier = endpoint->outlier;
        uint64_t left_ms = outlier->ejected_until_ms > now_ms ? outlier->ejected_until_ms - now_ms : 0;
        return text(arena, "ejected for another %.1f s after %u connection failures in a row (%u%s ejection)",
                    (double)left_ms / 1000.0, outlier->failures, outlier->ejections, ordinal(outlier->ejections));
    }
    if (router_probe_is_failing(endpoint))
        return text(arena, "its probe failed %u times in a row: %s", endpoint->probe->failures,
                    endpoint->probe->reason);
    return text(arena, "not published yet");
}

/* Decimals with which two numbers that differ look different: three, or more where it takes more. */
static int digits_that_differ(double a, double b)
{
    char first[64], second[64];
    int digits = 3;
    for (; digits < 20; digits++) {
        snprintf(first, sizeof(first), "%.*f", digits, a);
        snprintf(second, sizeof(second), "%.*f", digits, b);
        if (strcmp(first, second) != 0)
            break;
    }
    return digits;
}

/* Why it won, or lost against the best one. */
static char *explain_eligible(struct router *router, const struct candidate *candidate, const struct candidate *best,
                              size_t eligible)
{
    struct arena *arena = &router->arena;
    char figures[128], best_figures[128];
    router->policy->describe(&candidate->worker->health.figures, figures, sizeof(figures));
    router->policy->describe(&best->worker->health.figures, best_figures, sizeof(best_figures));
    const char *trial = router_outlier_is_ejected(candidate->endpoint)
                            ? "; would be ejected for connection failures, but nobody else is left"
                        : router_probe_is_failing(candidate->endpoint) ? "; its probes fail, but nobody else is left"
                                                                       : "";
    const char *reason;
    const char *status = worker_status_text(router_worker_status(candidate->worker, &reason));
    if (candidate == best)
        return text(arena, "best of %zu: %s, weight %u%s%s%s", eligible, figures, candidate->endpoint->weight,
                    candidate->endpoint->priority > 0 ? ", though " : "",
                    candidate->endpoint->priority > 0 ? status : "", trial);
    if (candidate->endpoint->priority != best->endpoint->priority)
        return text(arena, "%s%s%s%s: used only when nobody better answers; %s%s", status, reason[0] == 0 ? "" : " (",
                    reason, reason[0] == 0 ? "" : ")", figures, trial);
    if (candidate->score == best->score)
        return text(arena, "as good as %s: %s, weight %u; requests are shared%s", best->worker->id, figures,
                    candidate->endpoint->weight, trial);
    int digits = digits_that_differ(candidate->score, best->score);
    return text(arena, "%s against %s of %s: score %.*f below %.*f, weight %u to %u%s", figures, best_figures,
                best->worker->id, digits, candidate->score, digits, best->score, candidate->endpoint->weight,
                best->endpoint->weight, trial);
}

/* Workers of the kind that the service needs which do not have it. */
static size_t add_others(struct router *router, const struct router_service *service, struct candidate *candidates,
                         size_t count, size_t limit)
{
    size_t position = 0;
    if (service->required == MUSTER__V1__WORKER_TYPE__WORKER_TYPE_UNSPECIFIED)
        return count;
    for (struct router_worker *worker; count < limit && (worker = map_next(&router->workers, &position)) != NULL;) {
        bool fits =
            worker->type == service->required || (service->required == MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU &&
                                                  worker->type == MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU);
        bool has = false;
        for (size_t i = 0; i < worker->endpoint_count; i++)
            has = has || worker->endpoints[i].service == service;
        if (worker->registered && fits && !has)
            candidates[count++] = (struct candidate){.worker = worker};
    }
    return count;
}

enum router_result router_explain(struct router *router, const char *service_name, uint64_t now_ms,
                                  Muster__V1__ExplainResponse *response)
{
    struct arena *arena = &router->arena;
    if (!router->ready)
        return ROUTER_NOT_READY;
    struct router_service *service = router_service_find(router, service_name);
    if (service == NULL)
        return ROUTER_NO_SERVICE;
    router_reset_arena(router);
    size_t capacity = 2 * ROUTER_EXPLAIN_CANDIDATES_MAX;
    struct candidate *candidates = arena_take(arena, (capacity + OTHERS_MAX) * sizeof(*candidates));
    if (candidates == NULL)
        return ROUTER_OUT_OF_MEMORY;
    size_t count = 0;
    bool was_cut = false;
    for (size_t i = 0; i < service->endpoint_count; i++) {
        const struct router_endpoint *endpoint = service->endpoints[i];
        double score = endpoint->in_table ? router->policy->score(&endpoint->worker->health.figures) : 0;
        candidates[count] = (struct candidate){endpoint->worker, endpoint, score};
        /* Once so many were kept, most are worse than the worst of these. */
        if (was_cut && compare(&candidates[count], &candidates[ROUTER_EXPLAIN_CANDIDATES_MAX - 1]) > 0)
            continue;
        if (++count == capacity) {
            count = keep_best(candidates, count);
            was_cut = true;
        }
    }
    count = add_others(router, service, candidates, count, count + OTHERS_MAX);
    count = keep_best(candidates, count);
    size_t eligible = router_table_count(service);

    Muster__V1__Candidate *messages = arena_take(arena, count * sizeof(*messages));
    Muster__V1__Candidate **pointers = arena_take(arena, count * sizeof(*pointers));
    for (size_t i = 0; i < count && !arena_failed(arena); i++) {
        const struct candidate *candidate = &candidates[i];
        Muster__V1__Candidate *message = pointers[i] = &messages[i];
        const char *reason;
        muster__v1__candidate__init(message);
        message->worker_id = (char *)(uintptr_t)candidate->worker->id; /* read only */
        message->url = (char *)(uintptr_t)(candidate->endpoint == NULL ? "" : router_endpoint_url(candidate->endpoint));
        message->score = candidate->score;
        message->eligible = in_table(candidate);
        message->selected = i == 0 && in_table(candidate);
        message->status = router_worker_status(candidate->worker, &reason);
        if (candidate->worker->draining && worker_status_routable(message->status))
            message->status = WORKER_DRAINING;
        message->reason = in_table(candidate) ? explain_eligible(router, candidate, &candidates[0], eligible)
                                              : explain_ineligible(router, service, candidate, now_ms);
    }
    if (arena_failed(arena))
        return ROUTER_OUT_OF_MEMORY;
    muster__v1__explain_response__init(response);
    response->service = service->name;
    response->policy = (char *)(uintptr_t)router->policy->name;
    response->n_candidates = count;
    response->candidates = pointers;
    return ROUTER_OK;
}
