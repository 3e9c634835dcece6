/* Sends probes; see shell.h. */

#include "services/router/shell.h"

#include "common/http_calls.h"
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBES_MAX 4096 /* that wait or are under way */

struct probing {
    struct http_call_batch batch; /* first */
    struct http_call call;
    struct router_shell *shell;
    char *worker_id, *service;
    uint64_t number;
};

static void free_probing(struct probing *probing)
{
    free(probing->worker_id);
    free(probing->service);
    free(probing->call.url);
    buffer_free(&probing->call.response);
    free(probing);
}

static void describe_failure(const struct http_call *call, char *text, size_t text_bytes)
{
    if (call->status != 0)
        snprintf(text, text_bytes, "%s answered %ld", call->url, call->status);
    else
        snprintf(text, text_bytes, "%s: %s", call->url, call->timed_out ? "no answer in time" : call->error);
}

static void probed(struct http_call_batch *batch)
{
    struct probing *probing = (struct probing *)batch;
    struct router_shell *shell = probing->shell;
    bool passed = probing->call.status >= 200 && probing->call.status < 400;
    char reason[400] = "";
    if (!passed)
        describe_failure(&probing->call, reason, sizeof reason);
    if (!shell->stopping &&
        router_probe_ended(shell->core, probing->worker_id, probing->service, probing->number,
                           passed ? ROUTER_PROBE_PASSED : ROUTER_PROBE_FAILED, reason, rpc_loop_now_ms(shell->loop))) {
        if (passed)
            log_info("probes succeed again", LOG_TEXT("worker_id", probing->worker_id),
                     LOG_TEXT("service", probing->service));
        else
            log_warning("probes fail; no requests are sent there while others are left",
                        LOG_TEXT("worker_id", probing->worker_id), LOG_TEXT("service", probing->service),
                        LOG_TEXT("reason", reason));
    }
    if (!shell->stopping)
        router_shell_touch(shell);
    free_probing(probing);
}

static bool send_probe(struct router_shell *shell, const struct router_probe_request *request)
{
    struct probing *probing = calloc(1, sizeof(*probing));
    if (probing == NULL)
        return false;
    probing->shell = shell;
    probing->number = request->number;
    probing->worker_id = strdup(request->worker_id);
    probing->service = strdup(request->service);
    probing->call.url = http_calls_url(request->url, request->path);
    probing->batch.calls = &probing->call;
    probing->batch.call_count = 1;
    probing->batch.timeout_ms = request->timeout_ms;
    probing->batch.done = probed;
    if (shell->http_calls == NULL)
        shell->http_calls = http_calls_create(shell->loop, "muster-router", PROBES_MAX);
    if (probing->worker_id != NULL && probing->service != NULL && probing->call.url != NULL &&
        shell->http_calls != NULL && http_calls_send(shell->http_calls, &probing->batch))
        return true;
    free_probing(probing);
    return false;
}

void router_prober_pump(struct router_shell *shell)
{
    struct router_probe_request request;
    while (router_next_probe(shell->core, &request)) {
        if (!send_probe(shell, &request))
            (void)router_probe_ended(shell->core, request.worker_id, request.service, request.number,
                                     ROUTER_PROBE_NOT_MADE, "", rpc_loop_now_ms(shell->loop)); /* later */
    }
}

void router_prober_stop(struct router_shell *shell)
{
    http_calls_destroy(shell->http_calls);
    shell->http_calls = NULL;
}
