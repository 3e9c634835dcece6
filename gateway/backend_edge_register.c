/* A coordinator registers at an edge router. Before it is put on the roll its URL is asked for a
 * proof (proof.h) that the registrant is there: else anybody could send the world's requests to
 * somebody else's machine, or to one inside the edge router's own network.
 *
 * Who has to prove it. Always who announced a key; and whoever registers the URL of a coordinator
 * that has announced a key itself. Others (agents older than this, and coordinators of another
 * make) are taken or refused as --coordinator-proof says. */

#include "gateway/edge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "common/http/target.h"
#include "common/log.h"
#include "common/random.h"
#include "gateway/edge_peers.h"
#include "gateway/front.h"
#include "gateway/proof.h"
#include "gateway/worker_json.h"

#define CHALLENGE_TIMEOUT_MS 5000
#define NONCE_BYTES 16

struct challenge {
    struct http_call_batch batch; /* first */
    struct http_call call;
    struct job *job;
    Muster__V1__WorkerSpec *spec; /* in the job's arena, as is the key */
    const char *proof_key;
    char nonce[2 * NONCE_BYTES + 1];
};

/* --- On the roll --- */

/* As any registration is answered: agents of type edge look for this. */
static void write_assignment(struct json_writer *writer, const Muster__V1__RegisterWorkerResponse *answer)
{
    const Muster__V1__Worker *worker = answer->worker;
    json_write_named_text(writer, "worker_type", worker_type_word(worker->type));
    json_write_named_uint(writer, "tier", (uint64_t)worker->type);
    json_write_key(writer, "assigned_services");
    json_write_array_begin(writer);
    for (size_t i = 0; i < worker->n_assigned_services; i++)
        json_write_text(writer, worker->assigned_services[i]);
    json_write_array_end(writer);
    json_write_key(writer, "service_configs");
    json_write_array_begin(writer);
    for (size_t i = 0; i < answer->n_service_configs; i++) {
        json_write_object_begin(writer);
        json_write_named_text(writer, "name", answer->service_configs[i]->name);
        json_write_named_uint(writer, "port", answer->service_configs[i]->port);
        json_write_named_uint(writer, "priority", answer->service_configs[i]->priority);
        json_write_object_end(writer);
    }
    json_write_array_end(writer);
}

static void registered(struct rpc_call *call, enum rpc_status status, const char *text, const void *response,
                       void *argument)
{
    struct job *job = argument;
    struct backend *backend = job->front->gateway->backend;
    const Muster__V1__RegisterWorkerResponse *answer = response;
    (void)call;
    if (status != RPC_OK) {
        backend_refuse(job, status, text);
        return;
    }
    if (!backend_take_record(job, answer->worker))
        return;
    const Muster__V1__Worker *worker = answer->worker;
    edge_roll_changed(backend);
    backend_publish(backend);
    struct federation_region *region = federation_find(&backend->edge->federation, worker->spec->worker_id);
    if (region != NULL) {
        /* It may be another one under the same id. It comes into the pool when its workers could be read: until then
         * it is only tried when nobody else is left. */
        pool_standing_init(&region->standing);
        region->standing.out = true;
        edge_read_region(backend, region);
        edge_place_coordinator(backend, job, region);
    }
    edge_peers_heard(backend, worker->spec->worker_id);
    edge_peers_tell(backend);
    log_info("coordinator registered", LOG_TEXT("coordinator", worker->spec->worker_id),
             LOG_TEXT("url", worker->spec->tunnel_url), LOG_TEXT("location", worker->spec->location));
    struct json_writer writer = json_writer_into(&job->body);
    json_write_object_begin(&writer);
    json_write_named_text(&writer, "status", "registered");
    json_write_named_text(&writer, "role", "edge_coordinator");
    json_write_named_text(&writer, "worker_id", worker->spec->worker_id);
    write_assignment(&writer, answer);
    json_write_named_uint(&writer, "total_coordinators", backend->roll->worker_count);
    json_write_named_uint(&writer, "heartbeat_interval", backend_heartbeat_interval_seconds(backend));
    json_write_named_uint(&writer, "incarnation", worker->incarnation);
    json_write_named_text(&writer, "message", "Coordinator registered");
    json_write_object_end(&writer);
    job_done_with_body(job);
}

static void put_on_roll(struct backend *backend, struct job *job, Muster__V1__WorkerSpec *spec)
{
    Muster__V1__RegisterWorkerRequest request = MUSTER__V1__REGISTER_WORKER_REQUEST__INIT;
    request.spec = spec;
    backend_call_registry(backend, "RegisterWorker", &request.base, registered, job);
}

/* --- The proof --- */

/* What the coordinator there answered as its proof, into `proof`; false: it knows nothing of proofs. */
static bool read_proof(const struct http_call *call, char proof[PROOF_TEXT_BYTES])
{
    struct json_document document;
    bool found = false;
    if (call->status != 200 || call->truncated || call->response.bytes == 0)
        return false;
    if (json_document_parse(&document, call->response.data, call->response.bytes) &&
        json_root(&document)->type == JSON_TYPE_OBJECT) {
        const struct json_node *node = json_member(&document, json_root(&document), "proof");
        found = node != NULL && node->type == JSON_TYPE_TEXT;
        size_t bytes = found && node->text_bytes < PROOF_TEXT_BYTES ? node->text_bytes : 0;
        if (bytes > 0)
            memcpy(proof, node->text, bytes);
        proof[bytes] = '\0';
    }
    json_document_free(&document);
    return found;
}

/* False: the job has been refused. */
static bool is_proved(const struct backend *backend, const struct challenge *challenge)
{
    const struct http_call *call = &challenge->call;
    const char *url = challenge->spec->tunnel_url;
    bool required =
        challenge->proof_key != NULL || strcmp(backend->gateway->settings.coordinator_proof, "required") == 0;
    char proof[PROOF_TEXT_BYTES] = "";
    bool answered = read_proof(call, proof);
    if (answered && challenge->proof_key != NULL && proof_matches(challenge->proof_key, challenge->nonce, proof))
        return true;
    if (answered && proof[0] != '\0')
        job_fail(challenge->job, ERROR_CHALLENGE_FAILED,
                 "the coordinator at %s is not the one that registers it: it must register itself, with --join", url);
    else if (!required)
        return true;
    else if (call->status == 0)
        job_fail(challenge->job, ERROR_CHALLENGE_FAILED,
                 "%s cannot be asked whether it is yours: %s; make it reachable", url, call->error);
    else
        job_fail(challenge->job, ERROR_CHALLENGE_FAILED,
                 "%s does not prove that it is yours (it answered %ld); have the coordinator there join by itself, or "
                 "start this edge router with --coordinator-proof optional",
                 url, call->status);
    return false;
}

static void challenge_answered(struct http_call_batch *batch)
{
    struct challenge *challenge = (struct challenge *)batch;
    struct job *job = challenge->job;
    struct backend *backend = job->front->gateway->backend;
    if (is_proved(backend, challenge))
        put_on_roll(backend, job, challenge->spec);
    free(challenge->call.url);
    buffer_free(&challenge->call.response);
    free(challenge);
}

static bool send_challenge(struct backend *backend, struct challenge *challenge)
{
    char path[64 + 2 * NONCE_BYTES];
    random_hex(challenge->nonce, NONCE_BYTES);
    snprintf(path, sizeof path, "/api/edge/challenge?nonce=%s", challenge->nonce);
    challenge->call.url = http_calls_url(challenge->spec->tunnel_url, path);
    challenge->batch = (struct http_call_batch){.timeout_ms = CHALLENGE_TIMEOUT_MS,
                                                .calls = &challenge->call,
                                                .call_count = 1,
                                                .public_only = backend->gateway->public_only,
                                                .done = challenge_answered};
    return challenge->call.url != NULL && http_calls_send(backend->edge->calls, &challenge->batch);
}

/* Names are found out about when they are called. */
static bool leads_inside(const struct backend *backend, const char *url)
{
    struct http_origin origin;
    return backend->gateway->public_only && http_origin_parse(http_text_of(url), &origin) &&
           address_host_is_inside(origin.host);
}

void edge_register(struct backend *backend, struct job *job, Muster__V1__WorkerSpec *spec, const char *proof_key)
{
    spec->worker_type = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE;
    if (backend->edge->calls == NULL) {
        job_fail(job, ERROR_PART_UNAVAILABLE, "the edge router is stopping; try another one");
        return;
    }
    if (leads_inside(backend, spec->tunnel_url)) {
        job_fail(job, ERROR_FORBIDDEN_URL,
                 "%s leads to a private address, which this edge router does not call; register a public URL, or start "
                 "it with --allow-private-urls",
                 spec->tunnel_url);
        return;
    }
    struct challenge *challenge = calloc(1, sizeof *challenge);
    if (challenge == NULL) {
        job_fail(job, ERROR_INTERNAL, "out of memory");
        return;
    }
    challenge->job = job;
    challenge->spec = spec;
    challenge->proof_key = proof_key;
    if (send_challenge(backend, challenge))
        return;
    free(challenge->call.url);
    free(challenge);
    job_fail(job, ERROR_TOO_MANY_REQUESTS, "too many coordinators register at once; try again in a moment");
}

/* --- POST /api/edge/register --- */

static char *text_of(struct job *job, const struct json_node *object, const char *name)
{
    const struct json_node *node = object == NULL ? NULL : json_member(job->document, object, name);
    return node == NULL || node->type != JSON_TYPE_TEXT ? NULL : arena_copy(&job->arena, node->text, node->text_bytes);
}

bool edge_read_spec(struct job *job, const struct json_node *object, Muster__V1__WorkerSpec *spec)
{
    const struct json_node *capabilities = json_member(job->document, object, "capabilities");
    muster__v1__worker_spec__init(spec);
    if (capabilities != NULL && capabilities->type != JSON_TYPE_OBJECT)
        capabilities = NULL;
    char *id = text_of(job, object, "worker_id");
    char *url = text_of(job, object, "tunnel_url");
    char *location = text_of(job, object, "location");
    if (url == NULL)
        url = text_of(job, object, "url");
    if (location == NULL)
        location = text_of(job, capabilities, "location");
    spec->worker_id = id == NULL ? spec->worker_id : id;
    spec->location = location == NULL ? spec->location : location;
    spec->tunnel_url = url == NULL ? spec->tunnel_url : url;
    for (size_t bytes = strlen(spec->tunnel_url); bytes > 0 && spec->tunnel_url[bytes - 1] == '/'; bytes--)
        spec->tunnel_url[bytes - 1] = '\0';
    if (capabilities != NULL) {
        spec->capabilities = arena_take(&job->arena, sizeof *spec->capabilities);
        if (spec->capabilities == NULL)
            return false;
        muster__v1__capabilities__init(spec->capabilities);
        spec->capabilities->has_edge = true;
        spec->capabilities->json = arena_copy(&job->arena, job->document->source + capabilities->start,
                                              capabilities->end - capabilities->start);
    }
    return !arena_failed(&job->arena);
}

void backend_run_edge_register(struct backend *backend, struct job *job)
{
    Muster__V1__WorkerSpec *spec = arena_take(&job->arena, sizeof *spec);
    if (spec == NULL || !edge_read_spec(job, json_root(job->document), spec))
        job_fail(job, ERROR_INTERNAL, "out of memory");
    else
        edge_register(backend, job, spec, text_of(job, json_root(job->document), "proof_key"));
}
