/* The methods of AssignerService; see handlers.h. */

#include "services/assigner/handlers.h"

#include "common/log.h"
#include "services/assigner/explain_reply.h"

#include <stdlib.h>
#include <string.h>

#define ASSIGN_MAX_CANDIDATES 1000
#define EXPIRE_MS 1000

struct catalog_watcher {
    struct catalog_watcher *next, **link;
    struct rpc_call *call;
};

struct handlers {
    struct rpc_loop *loop;
    struct assigner *assigner;
    struct timer expiry;
    struct catalog_watcher *watchers;
    bool stopping;
};

/* --- Assign --- */

/* One candidate's answer while the response is put together. */
struct answer {
    Muster__V1__Assignment message;
    Muster__V1__ServiceConfig *configs;
    Muster__V1__ServiceConfig **pointers;
    char *reason;
};

static void free_answers(struct answer *answers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(answers[i].configs);
        free(answers[i].pointers);
        free(answers[i].reason);
    }
    free(answers);
}

static bool decide(struct handlers *handlers, const Muster__V1__AssignCandidate *candidate, struct answer *answer)
{
    const struct policy_decision *decision =
        assigner_assign(handlers->assigner, candidate, rpc_loop_now_ms(handlers->loop));
    if (decision == NULL)
        return false;
    if (decision->misfits)
        log_warning("the catalog tells a worker to run a service that its type cannot run; change one of the two",
                    LOG_TEXT("worker_id", candidate->worker_id), LOG_TEXT("decision", decision->reason));
    answer->configs = calloc(decision->count + 1, sizeof(*answer->configs));
    answer->pointers = calloc(decision->count + 1, sizeof(*answer->pointers));
    answer->reason = strdup(decision->reason);
    if (answer->configs == NULL || answer->pointers == NULL || answer->reason == NULL)
        return false;
    for (size_t i = 0; i < decision->count; i++) {
        const struct catalog *catalog = assigner_catalog(handlers->assigner);
        catalog_service_config(catalog_at(catalog, decision->services[i]), &answer->configs[i]);
        answer->pointers[i] = &answer->configs[i];
    }
    muster__v1__assignment__init(&answer->message);
    answer->message.worker_id = candidate->worker_id;
    answer->message.n_services = decision->count;
    answer->message.services = answer->pointers;
    answer->message.reason = answer->reason;
    return true;
}

/* Whether all candidates make sense; the first that does not finishes the call. */
static bool check_candidates(struct rpc_call *call, const Muster__V1__AssignRequest *request)
{
    if (request->n_candidates > ASSIGN_MAX_CANDIDATES) {
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "candidates: has %zu entries; at most %d are allowed",
                        request->n_candidates, ASSIGN_MAX_CANDIDATES);
        return false;
    }
    for (size_t i = 0; i < request->n_candidates; i++) {
        const Muster__V1__AssignCandidate *candidate = request->candidates[i];
        if (candidate->worker_id[0] == '\0') {
            rpc_call_finish(call, RPC_INVALID_ARGUMENT, "candidates[%zu].worker_id: is missing", i);
            return false;
        }
        if (candidate->type < MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU ||
            candidate->type > MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE) {
            rpc_call_finish(call, RPC_INVALID_ARGUMENT, "candidates[%zu].type: must be gpu, cpu, storage or edge", i);
            return false;
        }
    }
    return true;
}

static bool check_synchronised(struct rpc_call *call, const struct handlers *handlers)
{
    if (assigner_is_synchronised(handlers->assigner))
        return true;
    rpc_call_finish(call, RPC_UNAVAILABLE, "the roll has not been heard from the registry yet; try again");
    return false;
}

static void assign(struct rpc_call *call, const void *message)
{
    struct handlers *handlers = rpc_call_context(call);
    const Muster__V1__AssignRequest *request = message;
    if (!check_candidates(call, request) || !check_synchronised(call, handlers))
        return;
    struct answer *answers = calloc(request->n_candidates + 1, sizeof(*answers));
    Muster__V1__Assignment **pointers = calloc(request->n_candidates + 1, sizeof(*pointers));
    bool decided = answers != NULL && pointers != NULL;
    for (size_t i = 0; decided && i < request->n_candidates; i++) {
        decided = decide(handlers, request->candidates[i], &answers[i]);
        pointers[i] = &answers[i].message;
    }
    if (decided) {
        Muster__V1__AssignResponse response = MUSTER__V1__ASSIGN_RESPONSE__INIT;
        response.n_assignments = request->n_candidates;
        response.assignments = pointers;
        rpc_call_reply(call, &response.base);
    } else {
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory; try again");
    }
    if (answers != NULL)
        free_answers(answers, request->n_candidates);
    free(pointers);
}

/* --- Gaps --- */

struct gap_row {
    Muster__V1__Gap gap;
    Muster__V1__CatalogService service;
    Muster__V1__ServiceProbe probe;
};

static void gaps(struct rpc_call *call, const void *message)
{
    struct handlers *handlers = rpc_call_context(call);
    (void)message;
    if (!check_synchronised(call, handlers))
        return;
    size_t count = catalog_count(assigner_catalog(handlers->assigner));
    struct assigner_gap *found = calloc(count, sizeof(*found));
    struct gap_row *rows = calloc(count, sizeof(*rows));
    Muster__V1__Gap **pointers = calloc(count, sizeof(*pointers));
    if (found != NULL && rows != NULL && pointers != NULL) {
        Muster__V1__GapsResponse response = MUSTER__V1__GAPS_RESPONSE__INIT;
        assigner_gaps(handlers->assigner, found);
        for (size_t i = 0; i < count; i++) {
            muster__v1__gap__init(&rows[i].gap);
            catalog_service_message(found[i].service, &rows[i].service, &rows[i].probe);
            rows[i].gap.service = &rows[i].service;
            rows[i].gap.current_workers = found[i].healthy_workers;
            rows[i].gap.status = found[i].status;
            pointers[i] = &rows[i].gap;
        }
        response.n_gaps = count;
        response.gaps = pointers;
        rpc_call_reply(call, &response.base);
    } else {
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory; try again");
    }
    free(found);
    free(rows);
    free(pointers);
}

/* --- ExplainAssignment --- */

static void explain_assignment(struct rpc_call *call, const void *message)
{
    struct handlers *handlers = rpc_call_context(call);
    const Muster__V1__ExplainAssignmentRequest *request = message;
    if (request->worker_id[0] == '\0')
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "worker_id: is missing");
    else if (check_synchronised(call, handlers))
        explain_reply(call, handlers->assigner, request->worker_id);
}

/* --- Catalog, WatchCatalog --- */

/* The catalog as a list of messages. */
struct catalog_list {
    Muster__V1__CatalogService *services;
    Muster__V1__ServiceProbe *probes;
    Muster__V1__CatalogService **pointers;
    size_t count;
};

static void free_list(struct catalog_list *list)
{
    free(list->services);
    free(list->probes);
    free(list->pointers);
}

static bool list_catalog(const struct handlers *handlers, struct catalog_list *list)
{
    const struct catalog *catalog = assigner_catalog(handlers->assigner);
    list->count = catalog_count(catalog);
    list->services = calloc(list->count, sizeof(*list->services));
    list->probes = calloc(list->count, sizeof(*list->probes));
    list->pointers = calloc(list->count, sizeof(*list->pointers));
    if (list->services == NULL || list->probes == NULL || list->pointers == NULL) {
        free_list(list);
        return false;
    }
    for (size_t i = 0; i < list->count; i++) {
        catalog_service_message(catalog_at(catalog, i), &list->services[i], &list->probes[i]);
        list->pointers[i] = &list->services[i];
    }
    return true;
}

static void catalog(struct rpc_call *call, const void *message)
{
    struct handlers *handlers = rpc_call_context(call);
    struct catalog_list list;
    (void)message;
    if (!list_catalog(handlers, &list)) {
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory; try again");
        return;
    }
    Muster__V1__CatalogResponse response = MUSTER__V1__CATALOG_RESPONSE__INIT;
    response.n_services = list.count;
    response.services = list.pointers;
    rpc_call_reply(call, &response.base);
    free_list(&list);
}

static void send_catalog(struct handlers *handlers, struct rpc_call *call)
{
    struct catalog_list list;
    if (!list_catalog(handlers, &list)) {
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory; watch again");
        return;
    }
    Muster__V1__WatchCatalogResponse response = MUSTER__V1__WATCH_CATALOG_RESPONSE__INIT;
    response.n_services = list.count;
    response.services = list.pointers;
    /* Not taken when the call is over: then there is nobody to tell. */
    (void)rpc_call_send(call, &response.base);
    free_list(&list);
}

static void watch_catalog(struct rpc_call *call, const void *message)
{
    struct handlers *handlers = rpc_call_context(call);
    struct catalog_watcher *watcher = handlers->stopping ? NULL : calloc(1, sizeof(*watcher));
    (void)message;
    if (watcher == NULL) {
        rpc_call_finish(call, RPC_UNAVAILABLE,
                        handlers->stopping ? "the assigner is stopping; watch again" : "out of memory; watch again");
        return;
    }
    watcher->call = call;
    watcher->next = handlers->watchers;
    watcher->link = &handlers->watchers;
    if (watcher->next != NULL)
        watcher->next->link = &watcher->next;
    handlers->watchers = watcher;
    rpc_call_set_user(call, watcher);
    send_catalog(handlers, call);
}

static void watch_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    struct catalog_watcher *watcher = rpc_call_user(call);
    (void)status;
    (void)text;
    if (watcher == NULL)
        return;
    *watcher->link = watcher->next;
    if (watcher->next != NULL)
        watcher->next->link = watcher->link;
    free(watcher);
}

void handlers_catalog_changed(struct handlers *handlers)
{
    /* A catalog is small and changes when somebody edits a file: a slow watcher's queue holds
     * few of them. */
    for (struct catalog_watcher *watcher = handlers->watchers; watcher != NULL; watcher = watcher->next)
        send_catalog(handlers, watcher->call);
}

void handlers_stop(struct handlers *handlers)
{
    handlers->stopping = true;
    for (struct catalog_watcher *watcher = handlers->watchers; watcher != NULL; watcher = watcher->next)
        rpc_call_finish(watcher->call, RPC_UNAVAILABLE, "the assigner is stopping; watch again");
}

/* --- Its life --- */

static void expire(struct timer *timer, void *argument)
{
    struct handlers *handlers = argument;
    assigner_expire(handlers->assigner, rpc_loop_now_ms(handlers->loop));
    rpc_loop_timer_start(handlers->loop, timer, EXPIRE_MS, expire, handlers);
}

struct handlers *handlers_create(struct rpc_loop *loop, struct assigner *assigner)
{
    struct handlers *handlers = calloc(1, sizeof(*handlers));
    if (handlers == NULL)
        abort();
    handlers->loop = loop;
    handlers->assigner = assigner;
    rpc_loop_timer_start(loop, &handlers->expiry, EXPIRE_MS, expire, handlers);
    return handlers;
}

void handlers_destroy(struct handlers *handlers)
{
    if (handlers == NULL)
        return;
    rpc_loop_timer_stop(handlers->loop, &handlers->expiry);
    free(handlers);
}

bool handlers_add(struct handlers *handlers, struct rpc_server *server)
{
    static const struct rpc_method methods[] = {
        {"Assign", RPC_UNARY, {.message = assign}},
        {"Gaps", RPC_UNARY, {.message = gaps}},
        {"ExplainAssignment", RPC_UNARY, {.message = explain_assignment}},
        {"Catalog", RPC_UNARY, {.message = catalog}},
        {"WatchCatalog", RPC_SERVER_STREAMING, {.message = watch_catalog, .ended = watch_ended}},
    };
    return rpc_server_add_service(server, &muster__v1__assigner_service__descriptor, methods,
                                  sizeof(methods) / sizeof(methods[0]), handlers);
}
