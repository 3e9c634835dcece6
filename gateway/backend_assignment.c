/* GET /api/admin/workers/{worker_id}/explain: what the assigner says of a worker. */

#include "common/json/write.h"
#include "gateway/backend.h"
#include "gateway/front.h"
#include "gateway/worker_json.h"

#define ASSIGNER_TIMEOUT_MS 5000

static const char *verdict_word(Muster__V1__AssignmentVerdict verdict)
{
    static const char *const words[] = {
        "unknown",          "announced",           "kept",          "pinned",  "reserved",      "taken",  "other_type",
        "pinned_elsewhere", "reserved_for_others", "share_is_full", "covered", "not_permitted", "misfit",
    };
    return (size_t)verdict < sizeof words / sizeof words[0] ? words[verdict] : words[0];
}

static void write_service(struct json_writer *writer, const Muster__V1__ExplainedService *service)
{
    json_write_object_begin(writer);
    json_write_named_text(writer, "service", service->service->name);
    json_write_named_text(writer, "verdict", verdict_word(service->verdict));
    json_write_named_text(writer, "reason", service->reason);
    json_write_named_bool(writer, "assigned_now", service->assigned_now);
    json_write_named_bool(writer, "would_be_assigned", service->would_be_assigned);
    json_write_named_uint(writer, "other_workers", service->other_workers);
    json_write_named_uint(writer, "other_workers_here", service->other_workers_here);
    json_write_named_text(writer, "required_type", worker_type_word(service->service->requires));
    json_write_named_uint(writer, "priority", service->service->priority);
    json_write_object_end(writer);
}

static void write_share(struct json_writer *writer, const Muster__V1__ExplainAssignmentResponse *answer)
{
    json_write_key(writer, "share");
    json_write_object_begin(writer);
    json_write_named_uint(writer, "workers_of_type", answer->workers_of_type);
    json_write_named_uint(writer, "services_of_type", answer->services_of_type);
    json_write_named_uint(writer, "uncovered_of_type", answer->uncovered_of_type);
    json_write_named_uint(writer, "usual", answer->usual_share);
    json_write_named_uint(writer, "largest", answer->largest_share);
    json_write_named_uint(writer, "to_add", answer->share_to_add);
    json_write_named_text(writer, "reason", answer->how_many);
    json_write_object_end(writer);
}

static void write_explanation(struct json_writer *writer, const Muster__V1__ExplainAssignmentResponse *answer)
{
    json_write_object_begin(writer);
    json_write_named_text(writer, "worker_id", answer->worker_id);
    json_write_named_uint(writer, "incarnation", answer->incarnation);
    json_write_named_text(writer, "worker_type", worker_type_word(answer->type));
    json_write_named_text(writer, "location", answer->location);
    json_write_named_bool(writer, "counts_for_coverage", answer->counts);
    json_write_named_text(writer, "reason", answer->reason);
    if (answer->swap != NULL) {
        json_write_key(writer, "swap");
        json_write_object_begin(writer);
        json_write_named_text(writer, "from", answer->swap->from);
        json_write_named_text(writer, "to", answer->swap->to);
        json_write_object_end(writer);
    }
    write_share(writer, answer);
    json_write_key(writer, "services");
    json_write_array_begin(writer);
    for (size_t i = 0; i < answer->n_services; i++)
        write_service(writer, answer->services[i]);
    json_write_array_end(writer);
    json_write_object_end(writer);
}

static void explained(struct rpc_call *call, enum rpc_status status, const char *text, const void *response,
                      void *argument)
{
    struct job *job = argument;
    (void)call;
    if (status == RPC_OK) {
        struct json_writer writer = json_writer_into(&job->body);
        write_explanation(&writer, response);
        job_done_with_body(job);
        return;
    }
    enum error_id error = error_of_status(status);
    if (error == ERROR_PART_UNAVAILABLE)
        job_fail(job, error, "the assigner cannot be reached or is not ready (%s); try again in a moment", text);
    else
        job_fail(job, error, "%s", text);
}

void backend_run_explain(struct backend *backend, struct job *job)
{
    if (backend->channels[PART_ASSIGNER] == NULL) {
        job_fail(job, ERROR_PART_UNAVAILABLE, "the gateway is stopping; try another one");
        return;
    }
    Muster__V1__ExplainAssignmentRequest request = MUSTER__V1__EXPLAIN_ASSIGNMENT_REQUEST__INIT;
    request.worker_id = job->name;
    (void)rpc_channel_call(backend->channels[PART_ASSIGNER], &muster__v1__assigner_service__descriptor,
                           "ExplainAssignment", &request.base,
                           &(struct rpc_call_options){.timeout_ms = ASSIGNER_TIMEOUT_MS}, explained, job);
}
