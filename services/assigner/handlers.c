/* The methods of AssignerService; see handlers.h. */

#include "services/assigner/handlers.h"

#include "common/arena.h"
#include "common/log.h"
#include "services/assigner/explain_reply.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define ASSIGN_MAX_CANDIDATES 1000
#define EXPIRE_MS 1000

/* One that stays open. */
struct stream {
    struct stream *next, **link;
    struct rpc_call *call;
};

struct handlers {
    struct rpc_loop *loop;
    struct assigner *assigner;
    struct timer expiry;
    struct stream *watchers;  /* of the catalog */
    struct stream *assigning; /* AssignStream */
    bool stopping;
};

/* --- Streams --- */

/* False: the call is finished. */
static bool add_stream(struct handlers *handlers, struct stream **list, struct rpc_call *call)
{
    struct stream *stream = handlers->stopping ? NULL : calloc(1, sizeof(*stream));
    if (stream == NULL) {
        rpc_call_finish(call, RPC_UNAVAILABLE, "%s",
                        handlers->stopping ? "the assigner is stopping; try again" : "out of memory; try again");
        return false;
    }
    stream->call = call;
    stream->next = *list;
    stream->link = list;
    if (stream->next != NULL)
        stream->next->link = &stream->next;
    *list = stream;
    rpc_call_set_user(call, stream);
    return true;
}

static void stream_ended(struct rpc_call *call, enum rpc_status status, const char *text)
{
    struct stream *stream = rpc_call_user(call);
    (void)status;
    (void)text;
    if (stream == NULL)
        return;
    *stream->link = stream->next;
    if (stream->next != NULL)
        stream->next->link = stream->link;
    free(stream);
}

static void finish_streams(struct stream *stream)
{
    for (; stream != NULL; stream = stream->next)
        rpc_call_finish(stream->call, RPC_UNAVAILABLE, "the assigner is stopping; try again");
}

/* --- Assign --- */

/* Of the answers of a call, on the stack; more comes from an arena. */
#define ANSWERS_BYTES 8192

static const char *reason_of(const struct handlers *handlers, const struct policy_decision *decision,
                             char reason[POLICY_REASON_BYTES])
{
    policy_reason(assigner_catalog(handlers->assigner), decision, reason);
    return reason;
}

/* Decides, and puts the answer together in the arena; NULL when memory runs out. */
static Muster__V1__Assignment *decide(const struct handlers *handlers, const Muster__V1__AssignCandidate *candidate,
                                      bool with_reason, uint64_t now_ms, struct arena *arena)
{
    const struct catalog *catalog = assigner_catalog(handlers->assigner);
    const struct policy_decision *decision = assigner_assign(handlers->assigner, candidate, now_ms);
    char reason[POLICY_REASON_BYTES];
    if (decision == NULL)
        return NULL;
    if (decision->misfits)
        log_warning("the catalog tells a worker to run a service that its type cannot run; change one of the two",
                    LOG_TEXT("worker_id", candidate->worker_id),
                    LOG_TEXT("decision", reason_of(handlers, decision, reason)));
    Muster__V1__Assignment *answer = arena_take(arena, sizeof(*answer));
    Muster__V1__ServiceConfig **services = arena_take(arena, decision->count * sizeof(Muster__V1__ServiceConfig *));
    if (answer == NULL || services == NULL)
        return NULL;
    for (size_t i = 0; i < decision->count; i++)
        services[i] = catalog_config(catalog, decision->services[i]);
    muster__v1__assignment__init(answer);
    answer->worker_id = candidate->worker_id;
    answer->n_services = decision->count;
    answer->services = services;
    if (with_reason) {
        (void)reason_of(handlers, decision, reason);
        answer->reason = arena_copy(arena, reason, strlen(reason));
    }
    return answer->reason != NULL ? answer : NULL;
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

/* False when memory runs out. */
static bool decide_all(const struct handlers *handlers, const Muster__V1__AssignRequest *request,
                       Muster__V1__AssignResponse *response, struct arena *arena)
{
    uint64_t now_ms = rpc_loop_now_ms(handlers->loop);
    response->assignments = arena_take(arena, request->n_candidates * sizeof(*response->assignments));
    bool decided = response->assignments != NULL;
    for (size_t i = 0; i < request->n_candidates; i++)
        assigner_expect(handlers->assigner, request->candidates[i]->worker_id);
    for (size_t i = 0; decided && i < request->n_candidates; i++) {
        response->assignments[i] = decide(handlers, request->candidates[i], !request->without_reasons, now_ms, arena);
        decided = response->assignments[i] != NULL;
    }
    response->n_assignments = request->n_candidates;
    return decided;
}

/* Decides, and hands the answer on, which lives until that returns. Without one the call is finished. */
static void answer(struct rpc_call *call, const Muster__V1__AssignRequest *request,
                   void (*send)(struct rpc_call *call, const Muster__V1__AssignResponse *response))
{
    struct handlers *handlers = rpc_call_context(call);
    if (!check_candidates(call, request) || !check_synchronised(call, handlers))
        return;
    _Alignas(max_align_t) char first[ANSWERS_BYTES];
    struct arena arena;
    arena_init(&arena, first, sizeof first);
    Muster__V1__AssignResponse response = MUSTER__V1__ASSIGN_RESPONSE__INIT;
    if (decide_all(handlers, request, &response, &arena))
        send(call, &response);
    else
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory; try again");
    arena_free(&arena);
}

static void send_only(struct rpc_call *call, const Muster__V1__AssignResponse *response)
{
    rpc_call_reply(call, &response->base);
}

static void assign(struct rpc_call *call, const void *message)
{
    answer(call, message, send_only);
}

/* --- AssignStream --- */

static void assign_begun(struct rpc_call *call)
{
    struct handlers *handlers = rpc_call_context(call);
    (void)add_stream(handlers, &handlers->assigning, call); /* else the call is over */
}

static void send_next(struct rpc_call *call, const Muster__V1__AssignResponse *response)
{
    Muster__V1__AssignStreamResponse next = MUSTER__V1__ASSIGN_STREAM_RESPONSE__INIT;
    next.n_assignments = response->n_assignments;
    next.assignments = response->assignments;
    /* Not taken when the call is over: then there is nobody to tell. */
    (void)rpc_call_send(call, &next.base);
}

static void assign_next(struct rpc_call *call, const void *message)
{
    const Muster__V1__AssignStreamRequest *next = message;
    Muster__V1__AssignRequest request = MUSTER__V1__ASSIGN_REQUEST__INIT;
    request.n_candidates = next->n_candidates;
    request.candidates = next->candidates;
    request.without_reasons = next->without_reasons;
    answer(call, &request, send_next);
}

static void assign_no_more(struct rpc_call *call)
{
    rpc_call_finish(call, RPC_OK, "%s", "");
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
    (void)message;
    if (add_stream(handlers, &handlers->watchers, call))
        send_catalog(handlers, call);
}

void handlers_catalog_changed(struct handlers *handlers)
{
    /* A catalog is small and changes when somebody edits a file: a slow watcher's queue holds
     * few of them. */
    for (struct stream *watcher = handlers->watchers; watcher != NULL; watcher = watcher->next)
        send_catalog(handlers, watcher->call);
}

void handlers_stop(struct handlers *handlers)
{
    handlers->stopping = true;
    finish_streams(handlers->watchers);
    finish_streams(handlers->assigning);
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
        {"AssignStream",
         RPC_BIDI_STREAMING,
         {.started = assign_begun, .message = assign_next, .half_closed = assign_no_more, .ended = stream_ended}},
        {"Gaps", RPC_UNARY, {.message = gaps}},
        {"ExplainAssignment", RPC_UNARY, {.message = explain_assignment}},
        {"Catalog", RPC_UNARY, {.message = catalog}},
        {"WatchCatalog", RPC_SERVER_STREAMING, {.message = watch_catalog, .ended = stream_ended}},
    };
    return rpc_server_add_service(server, &muster__v1__assigner_service__descriptor, methods,
                                  sizeof(methods) / sizeof(methods[0]), handlers);
}
