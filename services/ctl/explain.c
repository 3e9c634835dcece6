/* Asks the router, over gRPC, where it would send a request and why. */

#include "services/ctl/view.h"

#include "common/rpc/rpc.h"
#include "muster/v1/router.pb-c.h"

#include <stdio.h>
#include <string.h>

struct asking {
    struct rpc_loop *loop;
    json_t *answer;
    char *error;
    size_t error_bytes;
    const char *address;
};

/* "WORKER_STATUS_ONLINE" is shown as "online". */
static const char *status_name(Muster__V1__WorkerStatus status)
{
    switch (status) {
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE:
        return "online";
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DEGRADED:
        return "degraded";
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_OFFLINE:
        return "offline";
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_RECONNECTING:
        return "reconnecting";
    case MUSTER__V1__WORKER_STATUS__WORKER_STATUS_REMOVED:
        return "removed";
    default:
        return "unknown";
    }
}

static json_t *explanation_to_json(const Muster__V1__ExplainResponse *response)
{
    json_t *candidates = json_array();
    for (size_t i = 0; i < response->n_candidates; i++) {
        const Muster__V1__Candidate *candidate = response->candidates[i];
        json_t *entry =
            json_pack("{s:s, s:s, s:f, s:b, s:b, s:s, s:s}", "worker_id", candidate->worker_id, "url", candidate->url,
                      "score", candidate->score, "eligible", (int)candidate->eligible, "selected",
                      (int)candidate->selected, "status", status_name(candidate->status), "reason", candidate->reason);
        if (json_array_append_new(candidates, entry) != 0) {
            json_decref(candidates);
            return NULL;
        }
    }
    return json_pack("{s:s, s:s, s:o}", "service", response->service, "policy", response->policy, "candidates",
                     candidates);
}

static void explained(struct rpc_call *call, enum rpc_status status, const char *text, const void *response,
                      void *argument)
{
    (void)call;
    struct asking *asking = argument;
    if (status == RPC_OK)
        asking->answer = explanation_to_json(response);
    if (status == RPC_OK && asking->answer == NULL)
        (void)snprintf(asking->error, asking->error_bytes, "the router's answer cannot be shown");
    else if (status == RPC_UNAVAILABLE || status == RPC_DEADLINE_EXCEEDED)
        (void)snprintf(asking->error, asking->error_bytes,
                       "cannot reach the router at %s: %s; is --router-address right?", asking->address, text);
    else if (status != RPC_OK)
        (void)snprintf(asking->error, asking->error_bytes, "the router answered %s: %s", rpc_status_name(status), text);
    rpc_loop_stop(asking->loop);
}

json_t *view_fetch_explain(const struct view_source *source, char *error, size_t error_bytes)
{
    struct rpc_loop *loop = rpc_loop_create();
    struct rpc_channel *channel = rpc_channel_create(loop, source->router_address, NULL);
    struct asking asking = {loop, NULL, error, error_bytes, source->router_address};
    char service[256];
    (void)snprintf(service, sizeof(service), "%s", source->subject);
    Muster__V1__ExplainRequest request = MUSTER__V1__EXPLAIN_REQUEST__INIT;
    request.service = service;
    (void)rpc_channel_call(channel, &muster__v1__router_service__descriptor, "Explain", &request.base,
                           &(struct rpc_call_options){.timeout_ms = source->timeout_ms}, explained, &asking);
    rpc_loop_run(loop);
    rpc_channel_destroy(channel);
    rpc_loop_destroy(loop);
    return asking.answer;
}
