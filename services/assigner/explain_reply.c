/* See explain_reply.h. */

#include "services/assigner/explain_reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define REASON_BYTES 256

struct row {
    Muster__V1__ExplainedService message;
    Muster__V1__CatalogService service;
    Muster__V1__ServiceProbe probe;
    char reason[REASON_BYTES];
};

struct reply {
    struct rpc_call *call;
    const struct catalog *catalog;
    const char *worker_id;
};

static const char *type_word(Muster__V1__WorkerType type)
{
    static const char *const words[] = {"unknown", "gpu", "cpu", "storage", "edge"};
    return (size_t)type < sizeof(words) / sizeof(words[0]) ? words[type] : words[0];
}

/* The enumerations have the same order, so that a number is enough. */
_Static_assert((int)POLICY_MISFIT == (int)MUSTER__V1__ASSIGNMENT_VERDICT__ASSIGNMENT_VERDICT_MISFIT &&
                   (int)POLICY_NOT_PERMITTED == (int)MUSTER__V1__ASSIGNMENT_VERDICT__ASSIGNMENT_VERDICT_NOT_PERMITTED &&
                   (int)POLICY_TAKEN == (int)MUSTER__V1__ASSIGNMENT_VERDICT__ASSIGNMENT_VERDICT_TAKEN &&
                   (int)POLICY_OTHER_TYPE == (int)MUSTER__V1__ASSIGNMENT_VERDICT__ASSIGNMENT_VERDICT_OTHER_TYPE,
               "a verdict of the policy is one of the message");

static void put_verdict_in_words(const struct assigner_explanation *explanation, const struct catalog_service *service,
                                 size_t number, char text[REASON_BYTES])
{
    unsigned others = explanation->coverage[number], here = explanation->here[number];
    const char *type = type_word(explanation->type);
    switch (explanation->decision->verdicts[number]) {
    case POLICY_ANNOUNCED:
        snprintf(text, REASON_BYTES, "the worker announces it, so it runs it in any case");
        return;
    case POLICY_KEPT:
        snprintf(text, REASON_BYTES, "the worker has it already and still fits; %u others run it", others);
        return;
    case POLICY_PINNED:
        snprintf(text, REASON_BYTES, "the catalog pins it to this worker");
        return;
    case POLICY_RESERVED:
        snprintf(text, REASON_BYTES, "the catalog reserves this worker for it");
        return;
    case POLICY_TAKEN:
        snprintf(text, REASON_BYTES, "%u others run it; it has priority %u", others, (unsigned)service->priority);
        return;
    case POLICY_OTHER_TYPE:
        snprintf(text, REASON_BYTES, "it needs a %s worker, and this is a %s worker", type_word(service->requires),
                 type);
        return;
    case POLICY_MISFIT:
        snprintf(
            text, REASON_BYTES,
            "the catalog pins it to this worker, or reserves this worker for it, but it needs a %s worker, and this "
            "is a %s worker; change the catalog",
            type_word(service->requires), type);
        return;
    case POLICY_PINNED_ELSEWHERE:
        snprintf(text, REASON_BYTES, "the catalog pins it to other workers (%.100s%s)", service->pinned_to[0],
                 service->pinned_count > 1 ? " and more" : "");
        return;
    case POLICY_RESERVED_FOR_OTHERS:
        snprintf(text, REASON_BYTES, "the catalog reserves this worker for other services");
        return;
    case POLICY_NOT_PERMITTED:
        snprintf(text, REASON_BYTES, "the key that the worker was registered with does not let it offer that");
        return;
    case POLICY_COVERED:
        snprintf(text, REASON_BYTES, "%u others run it, and a GPU worker takes what needs a CPU only while nobody does",
                 others);
        return;
    default:
        snprintf(text, REASON_BYTES, "the worker's share is full; %u others run it%s", others,
                 here > 0 ? ", and some of them where this worker is" : "");
        return;
    }
}

static void put_how_many(const struct assigner_explanation *explanation, char text[REASON_BYTES * 2])
{
    const struct policy_share *share = &explanation->decision->share;
    snprintf(
        text, REASON_BYTES * 2,
        "it is one of %zu %s workers for %zu services that need one and that it may run: such a worker usually runs "
        "%zu of them, and up to %zu while some have nobody (%zu now); it has %zu, so %zu more",
        share->workers, type_word(explanation->type), share->services, share->usual, share->most, share->uncovered,
        share->had, share->added);
}

static bool is_assigned(enum policy_verdict verdict)
{
    return verdict >= POLICY_KEPT && verdict <= POLICY_TAKEN;
}

static void fill_row(const struct assigner_explanation *explanation, const struct catalog_service *service,
                     size_t number, struct row *row)
{
    enum policy_verdict verdict = explanation->decision->verdicts[number];
    muster__v1__explained_service__init(&row->message);
    catalog_service_message(service, &row->service, &row->probe);
    put_verdict_in_words(explanation, service, number, row->reason);
    row->message.service = &row->service;
    row->message.verdict = (Muster__V1__AssignmentVerdict)verdict;
    row->message.other_workers = explanation->coverage[number];
    row->message.other_workers_here = explanation->here[number];
    row->message.assigned_now = explanation->assigned_now[number];
    row->message.would_be_assigned = is_assigned(verdict);
    row->message.reason = row->reason;
}

static void send_reply(const struct assigner_explanation *explanation, void *argument)
{
    const struct reply *reply = argument;
    size_t count = catalog_count(reply->catalog);
    struct row *rows = calloc(count, sizeof(*rows));
    Muster__V1__ExplainedService **pointers = calloc(count, sizeof(*pointers));
    if (rows == NULL || pointers == NULL) {
        rpc_call_finish(reply->call, RPC_RESOURCE_EXHAUSTED, "out of memory; try again");
    } else {
        const struct policy_share *share = &explanation->decision->share;
        char how_many[REASON_BYTES * 2];
        char reason[POLICY_REASON_BYTES];
        put_how_many(explanation, how_many);
        policy_reason(reply->catalog, explanation->decision, reason);
        for (size_t i = 0; i < count; i++) {
            fill_row(explanation, catalog_at(reply->catalog, i), i, &rows[i]);
            pointers[i] = &rows[i].message;
        }
        Muster__V1__ExplainAssignmentResponse response = MUSTER__V1__EXPLAIN_ASSIGNMENT_RESPONSE__INIT;
        response.worker_id = (char *)reply->worker_id;
        response.incarnation = explanation->incarnation;
        response.type = explanation->type;
        response.location = (char *)explanation->location;
        response.counts = explanation->counts;
        response.workers_of_type = share->workers;
        response.services_of_type = share->services;
        response.uncovered_of_type = share->uncovered;
        response.usual_share = share->usual;
        response.largest_share = share->most;
        response.share_to_add = share->added;
        response.how_many = how_many;
        response.n_services = count;
        response.services = pointers;
        response.reason = reason;
        Muster__V1__ServiceSwap swap = MUSTER__V1__SERVICE_SWAP__INIT;
        if (explanation->swap_to != NULL) {
            swap.from = (char *)explanation->swap_from; /* only read */
            swap.to = (char *)explanation->swap_to;
            response.swap = &swap;
        }
        rpc_call_reply(reply->call, &response.base);
    }
    free(rows);
    free(pointers);
}

void explain_reply(struct rpc_call *call, struct assigner *assigner, const char *worker_id)
{
    struct reply reply = {call, assigner_catalog(assigner), worker_id};
    bool found;
    if (assigner_explain(assigner, worker_id, &found, send_reply, &reply))
        return;
    if (found)
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory; try again");
    else
        rpc_call_finish(call, RPC_NOT_FOUND, "no worker has the id '%.128s'; see the list of workers", worker_id);
}
