/* What is asked of the coordinators' hash table: through muster-dht, where it runs. */

#include <stdlib.h>
#include <string.h>

#include "common/auth/base64url.h"
#include "common/clock.h"
#include "common/http/target.h"
#include "common/json/write.h"
#include "gateway/backend.h"
#include "gateway/front.h"
#include "gateway/worker_json.h"
#include "muster/v1/dht.pb-c.h"

#define TIMEOUT_MS 5000
/* What a look-up may take; the call itself gets a little more. */
#define LOOKUP_MS 4000
#define BOOTSTRAP_NODES_MAX 20

/* --- Calling --- */

static void state_changed(struct rpc_channel *channel, enum rpc_channel_state state, void *argument)
{
    (void)argument;
    if (state == RPC_CHANNEL_IDLE)
        rpc_channel_connect(channel); /* so that it is known when it is gone */
}

void backend_dht_start(struct backend *backend)
{
    const char *address = backend->gateway->settings.dht_address;
    if (address[0] == '\0')
        return;
    backend->dht =
        rpc_channel_create(backend->loop, address, &(struct rpc_channel_options){.state_changed = state_changed});
    rpc_channel_connect(backend->dht);
}

void backend_dht_stop(struct backend *backend)
{
    if (backend->dht != NULL)
        rpc_channel_destroy(backend->dht);
    backend->dht = NULL;
}

bool backend_dht_has_failed(const struct backend *backend)
{
    return backend->dht != NULL && rpc_channel_state(backend->dht) == RPC_CHANNEL_FAILING;
}

/* False: the job has failed. */
static bool is_on(struct backend *backend, struct job *job)
{
    if (backend->gateway->settings.dht_address[0] == '\0')
        job_fail(job, ERROR_NOT_FOUND,
                 "this coordinator has no part in the hash table; start it with musterctl up --dht");
    else if (backend->dht == NULL)
        job_fail(job, ERROR_PART_UNAVAILABLE, "the gateway is stopping; try another one");
    return backend->dht != NULL;
}

static void call_dht(struct backend *backend, const char *method, const ProtobufCMessage *request, rpc_done done,
                     void *argument)
{
    (void)rpc_channel_call(backend->dht, &muster__v1__dht_service__descriptor, method, request,
                           &(struct rpc_call_options){.timeout_ms = TIMEOUT_MS}, done, argument);
}

static void refuse(struct job *job, enum rpc_status status, const char *text)
{
    enum error_id error = error_of_status(status);
    if (error == ERROR_PART_UNAVAILABLE)
        job_fail(job, error, "muster-dht cannot be reached (%s); try again in a moment", text);
    else
        job_fail(job, error, "%s", text);
}

/* --- Pieces of answers --- */

static void write_node(struct json_writer *writer, const Muster__V1__DhtNode *node)
{
    json_write_named_text(writer, "id", node->node_id);
    json_write_named_text(writer, "url", node->url);
    json_write_named_text(writer, "grpc_address", node->grpc_address);
}

static void write_nodes(struct json_writer *writer, const char *key, Muster__V1__DhtNode *const *nodes, size_t count)
{
    json_write_key(writer, key);
    json_write_array_begin(writer);
    for (size_t i = 0; i < count; i++) {
        json_write_object_begin(writer);
        write_node(writer, nodes[i]);
        json_write_object_end(writer);
    }
    json_write_array_end(writer);
}

static void write_time(struct json_writer *writer, const char *key, int64_t unix_ms)
{
    json_write_key(writer, key);
    json_write_time(writer, unix_ms);
}

/* What a stranger has published is never written as it is: `json` would be. */
static void write_capabilities(struct json_writer *writer, const Muster__V1__Capabilities *capabilities)
{
    static char none[1];
    Muster__V1__Capabilities copy = MUSTER__V1__CAPABILITIES__INIT;
    json_write_key(writer, "capabilities");
    if (capabilities != NULL) {
        copy = *capabilities;
        copy.json = none;
    }
    worker_json_write_capabilities(writer, capabilities == NULL ? NULL : &copy);
}

/* --- Bootstrap, topology, stats --- */

/* Itself first, then others, from all over the table. */
static void bootstrap(struct json_writer *writer, const Muster__V1__DescribeNodeResponse *answer)
{
    size_t step = (answer->n_nodes + BOOTSTRAP_NODES_MAX - 1) / BOOTSTRAP_NODES_MAX, count = 1;
    json_write_key(writer, "nodes");
    json_write_array_begin(writer);
    json_write_object_begin(writer);
    write_node(writer, answer->own);
    json_write_object_end(writer);
    for (size_t i = 0; i < answer->n_nodes && count < BOOTSTRAP_NODES_MAX; i += step) {
        if (answer->nodes[i]->failures > 0)
            continue;
        json_write_object_begin(writer);
        write_node(writer, answer->nodes[i]);
        json_write_object_end(writer);
        count++;
    }
    json_write_array_end(writer);
    json_write_named_uint(writer, "count", count);
    write_time(writer, "timestamp", clock_unix_ms());
}

static void topology(struct json_writer *writer, const Muster__V1__DescribeNodeResponse *answer)
{
    json_write_key(writer, "node");
    json_write_object_begin(writer);
    write_node(writer, answer->own);
    json_write_named_bool(writer, "joined", answer->joined);
    json_write_object_end(writer);
    json_write_key(writer, "nodes");
    json_write_array_begin(writer);
    for (size_t i = 0; i < answer->n_nodes; i++) {
        const Muster__V1__DhtNode *node = answer->nodes[i];
        json_write_object_begin(writer);
        write_node(writer, node);
        json_write_named_uint(writer, "shared_bits", node->shared_bits);
        write_time(writer, "last_heard", node->last_heard_at_ms);
        json_write_named_uint(writer, "failures", node->failures);
        json_write_object_end(writer);
    }
    json_write_array_end(writer);
    json_write_named_uint(writer, "count", answer->n_nodes);
    write_time(writer, "timestamp", clock_unix_ms());
}

static void write_requests(struct json_writer *writer, const Muster__V1__DhtRequestCounts *requests)
{
    json_write_key(writer, "requests");
    json_write_object_begin(writer);
    json_write_named_uint(writer, "ping", requests == NULL ? 0 : requests->ping);
    json_write_named_uint(writer, "find_node", requests == NULL ? 0 : requests->find_node);
    json_write_named_uint(writer, "find_value", requests == NULL ? 0 : requests->find_value);
    json_write_named_uint(writer, "store", requests == NULL ? 0 : requests->store);
    json_write_object_end(writer);
}

static void stats(struct json_writer *writer, const Muster__V1__DescribeNodeResponse *answer)
{
    uint64_t found = answer->lookups - answer->lookups_empty;
    json_write_named_text(writer, "node_id", answer->own->node_id);
    json_write_named_bool(writer, "joined", answer->joined);
    json_write_named_uint(writer, "nodes", answer->n_nodes);
    write_requests(writer, answer->requests);
    json_write_named_uint(writer, "calls", answer->calls);
    json_write_named_uint(writer, "unanswered", answer->unanswered);
    json_write_named_uint(writer, "lies", answer->lies);
    json_write_named_uint(writer, "lookups", answer->lookups);
    json_write_named_double(writer, "mean_hops", found == 0 ? 0 : (double)answer->lookup_hops / (double)found);
    json_write_named_uint(writer, "keys", answer->keys);
    json_write_named_uint(writer, "values", answer->values);
    json_write_named_uint(writer, "value_bytes", answer->value_bytes);
    json_write_named_uint(writer, "values_refused", answer->values_refused);
    json_write_named_uint(writer, "published", answer->published);
    json_write_named_uint(writer, "published_waiting", answer->published_waiting);
    json_write_named_uint(writer, "not_published", answer->not_published);
    json_write_key(writer, "seeds");
    json_write_array_begin(writer);
    for (size_t i = 0; i < answer->n_seeds; i++)
        json_write_text(writer, answer->seeds[i]);
    json_write_array_end(writer);
    write_time(writer, "timestamp", clock_unix_ms());
}

static void described(struct rpc_call *call, enum rpc_status status, const char *text, const void *response,
                      void *argument)
{
    struct job *job = argument;
    const Muster__V1__DescribeNodeResponse *answer = response;
    (void)call;
    if (status != RPC_OK || answer->own == NULL) {
        refuse(job, status == RPC_OK ? RPC_UNAVAILABLE : status, text);
        return;
    }
    struct json_writer writer = json_writer_into(&job->body);
    json_write_object_begin(&writer);
    if (job->route->operation == API_DHT_BOOTSTRAP)
        bootstrap(&writer, answer);
    else if (job->route->operation == API_DHT_TOPOLOGY)
        topology(&writer, answer);
    else
        stats(&writer, answer);
    json_write_object_end(&writer);
    job_done_with_body(job);
}

void backend_run_dht_describe(struct backend *backend, struct job *job)
{
    Muster__V1__DescribeNodeRequest request = MUSTER__V1__DESCRIBE_NODE_REQUEST__INIT;
    if (is_on(backend, job))
        call_dht(backend, "DescribeNode", &request.base, described, job);
}

/* --- Looking up --- */

static void write_effort(struct json_writer *writer, const Muster__V1__LookUpKeyResponse *answer)
{
    json_write_named_uint(writer, "asked", answer->asked);
    json_write_named_uint(writer, "failed", answer->failed);
    write_nodes(writer, "unanswered", answer->unanswered, answer->n_unanswered);
    json_write_named_bool(writer, "complete", answer->complete);
    json_write_named_uint(writer, "hops", answer->hops);
}

static void write_coordinator(struct json_writer *writer, const Muster__V1__DhtFoundRecord *found)
{
    json_write_named_text(writer, "node_id", found->node_id);
    json_write_named_bool(writer, "is_own", found->is_own);
    json_write_named_text(writer, "coordinator_id", found->record->coordinator_id);
    json_write_named_text(writer, "coordinator_url", found->record->coordinator_url);
    json_write_named_text(writer, "location", found->record->location);
    json_write_named_uint(writer, "worker_count", found->record->worker_count);
    write_time(writer, "as_of", found->issued_at_ms);
    write_time(writer, "expires_at", found->expires_at_ms);
}

static void write_worker(struct json_writer *writer, const Muster__V1__DhtWorker *worker)
{
    json_write_object_begin(writer);
    json_write_named_text(writer, "worker_id", worker->worker_id);
    json_write_named_text(writer, "tunnel_url", worker->url);
    json_write_named_text(writer, "worker_type", worker_type_word(worker->type));
    json_write_named_uint(writer, "tier", (uint64_t)worker->type);
    json_write_named_text(writer, "location", worker->location);
    json_write_key(writer, "services");
    json_write_array_begin(writer);
    for (size_t i = 0; i < worker->n_services; i++)
        json_write_text(writer, worker->services[i]);
    json_write_array_end(writer);
    write_capabilities(writer, worker->capabilities);
    json_write_object_end(writer);
}

static void looked_up(struct rpc_call *call, enum rpc_status status, const char *text, const void *response,
                      void *argument)
{
    struct job *job = argument;
    const Muster__V1__LookUpKeyResponse *answer = response;
    (void)call;
    if (status != RPC_OK) {
        refuse(job, status, text);
        return;
    }
    struct json_writer inner = json_writer_into(&job->body);
    struct json_writer *writer = &inner;
    json_write_object_begin(writer);
    json_write_named_text(writer, "key", job->name);
    json_write_key(writer, "values");
    json_write_array_begin(writer);
    for (size_t i = 0; i < answer->n_records; i++) {
        const Muster__V1__DhtFoundRecord *found = answer->records[i];
        json_write_object_begin(writer);
        write_coordinator(writer, found);
        json_write_key(writer, "workers");
        json_write_array_begin(writer);
        for (size_t j = 0; j < found->record->n_workers; j++)
            write_worker(writer, found->record->workers[j]);
        json_write_array_end(writer);
        json_write_object_end(writer);
    }
    json_write_array_end(writer);
    json_write_named_uint(writer, "count", answer->n_records);
    write_effort(writer, answer);
    json_write_object_end(writer);
    job_done_with_body(job);
}

static void look_up(struct backend *backend, char *key, rpc_done done, struct job *job)
{
    Muster__V1__LookUpKeyRequest request = MUSTER__V1__LOOK_UP_KEY_REQUEST__INIT;
    request.key = key;
    request.timeout_ms = LOOKUP_MS;
    call_dht(backend, "LookUpKey", &request.base, done, job);
}

void backend_run_dht_lookup(struct backend *backend, struct job *job)
{
    if (is_on(backend, job))
        look_up(backend, job->name, looked_up, job);
}

/* --- A service anywhere --- */

/* The workers of other coordinators: as fresh as what those have published, and without a load. */
static size_t write_elsewhere(struct json_writer *writer, const Muster__V1__LookUpKeyResponse *answer,
                              const char **recommended)
{
    size_t count = 0;
    for (size_t i = 0; answer != NULL && i < answer->n_records; i++) {
        const Muster__V1__DhtRecord *record = answer->records[i]->record;
        for (size_t j = 0; j < record->n_workers && !answer->records[i]->is_own; j++) {
            json_write_object_begin(writer);
            json_write_named_text(writer, "worker_id", record->workers[j]->worker_id);
            json_write_named_text(writer, "tunnel_url", record->workers[j]->url);
            write_capabilities(writer, record->workers[j]->capabilities);
            json_write_key(writer, "load");
            json_write_null(writer);
            json_write_key(writer, "last_heartbeat");
            json_write_null(writer);
            json_write_named_text(writer, "node_id", answer->records[i]->node_id);
            json_write_named_text(writer, "coordinator_id", record->coordinator_id);
            json_write_named_text(writer, "coordinator_url", record->coordinator_url);
            json_write_named_text(writer, "location", record->location);
            write_time(writer, "as_of", answer->records[i]->issued_at_ms);
            json_write_object_end(writer);
            if (*recommended == NULL)
                *recommended = record->workers[j]->worker_id;
            count++;
        }
    }
    return count;
}

/* `answer` is NULL when the table was not asked or did not answer; `problem` says why. */
static void answer_everywhere(struct backend *backend, struct job *job, const Muster__V1__LookUpKeyResponse *answer,
                              const char *problem)
{
    struct replica_service *service = replica_find_service(&backend->replica, job->name, strlen(job->name));
    struct json_writer inner = json_writer_into(&job->body);
    struct json_writer *writer = &inner;
    const char *recommended = NULL;
    json_write_object_begin(writer);
    json_write_named_text(writer, "service", service == NULL ? job->name : service->name);
    json_write_key(writer, "workers");
    json_write_array_begin(writer);
    size_t count = service == NULL ? 0
                                   : view_write_discovered(&backend->replica, service, writer,
                                                           backend->gateway->coordinator_id, &recommended);
    count += write_elsewhere(writer, answer, &recommended);
    json_write_array_end(writer);
    json_write_named_uint(writer, "count", count);
    json_write_named_text(writer, "recommended", recommended);
    json_write_named_text(writer, "scope", "all");
    json_write_key(writer, "coordinators");
    json_write_array_begin(writer);
    for (size_t i = 0; answer != NULL && i < answer->n_records; i++) {
        json_write_object_begin(writer);
        write_coordinator(writer, answer->records[i]);
        json_write_object_end(writer);
    }
    json_write_array_end(writer);
    if (answer != NULL)
        write_effort(writer, answer);
    else
        json_write_named_bool(writer, "complete", false);
    if (problem != NULL)
        json_write_named_text(writer, "problem", problem);
    json_write_object_end(writer);
    if (count > 0)
        job_done_with_body(job);
    else if (problem != NULL)
        job_fail(job, ERROR_NO_WORKER, "no healthy worker here offers %s, and others were not asked: %s", job->name,
                 problem);
    else
        job_fail(job, ERROR_NO_WORKER, "no healthy worker offers %s, here or elsewhere%s; try again in a moment",
                 job->name, answer != NULL && !answer->complete ? " as far as others have answered" : "");
}

static void found_everywhere(struct rpc_call *call, enum rpc_status status, const char *text, const void *response,
                             void *argument)
{
    struct job *job = argument;
    (void)call;
    answer_everywhere(job->front->gateway->backend, job, response, status == RPC_OK ? NULL : text);
}

void backend_discover_everywhere(struct backend *backend, struct job *job)
{
    static const char prefix[] = "worker:";
    struct replica_service *service = replica_find_service(&backend->replica, job->name, strlen(job->name));
    const char *name = service == NULL ? job->name : service->name;
    if (backend->dht == NULL) {
        answer_everywhere(backend, job, NULL,
                          "this coordinator has no part in the hash table; start it with musterctl up --dht");
        return;
    }
    char *key = arena_take(&job->arena, sizeof prefix + strlen(name));
    if (key == NULL) {
        job_fail(job, ERROR_INTERNAL, "out of memory");
        return;
    }
    memcpy(key, prefix, sizeof prefix - 1);
    memcpy(key + sizeof prefix - 1, name, strlen(name) + 1);
    look_up(backend, key, found_everywhere, job);
}

/* --- A message of another node --- */

static void exchanged(struct rpc_call *call, enum rpc_status status, const char *text, const void *response,
                      void *argument)
{
    struct job *job = argument;
    const Muster__V1__RelayExchangeResponse *answer = response;
    (void)call;
    if (status == RPC_INVALID_ARGUMENT) {
        job_fail(job, ERROR_INVALID_FIELD, "field message is not what a node says: %s", text);
        return;
    }
    if (status != RPC_OK) {
        refuse(job, status, text);
        return;
    }
    char *encoded = malloc(BASE64URL_TEXT_BYTES(answer->message.len) + 1);
    if (encoded == NULL) {
        job_fail(job, ERROR_INTERNAL, "out of memory");
        return;
    }
    base64url_encode(answer->message.data, answer->message.len, encoded);
    struct json_writer writer = json_writer_into(&job->body);
    json_write_object_begin(&writer);
    json_write_named_text(&writer, "message", encoded);
    json_write_object_end(&writer);
    free(encoded);
    job_done_with_body(job);
}

void backend_run_dht_exchange(struct backend *backend, struct job *job)
{
    Muster__V1__RelayExchangeRequest request = MUSTER__V1__RELAY_EXCHANGE_REQUEST__INIT;
    uint8_t bytes[REQUEST_DHT_MESSAGE_BYTES_MAX];
    /* The schema has seen to it that it is a text, and there. */
    const struct json_node *node = json_member(job->document, json_root(job->document), "message");
    int64_t count = base64url_decode(node->text, node->text_bytes, bytes, sizeof bytes);
    if (count < 0) {
        job_fail(job, ERROR_INVALID_FIELD, "field message must be base64url without padding");
        return;
    }
    request.message.data = bytes;
    request.message.len = (size_t)count;
    if (is_on(backend, job))
        call_dht(backend, "RelayExchange", &request.base, exchanged, job);
}
