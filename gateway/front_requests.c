/* Requests that the backend answers: checked here, on the front's thread, as far as that goes
 * without knowing anything. */

#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "common/clock.h"
#include "common/json/write.h"
#include "gateway/backend.h"
#include "gateway/edge.h"
#include "gateway/edge_peers.h"
#include "gateway/front.h"
#include "gateway/proof.h"
#include "gateway/request_json.h"

static void refuse_body(struct job *job, enum request_json_result result, const struct json_error *error)
{
    enum error_id id = result == REQUEST_JSON_MALFORMED ? ERROR_MALFORMED_JSON
                       : result == REQUEST_JSON_INVALID ? ERROR_INVALID_FIELD
                                                        : ERROR_INTERNAL;
    front_fail(job->front, job->exchange, id, "%s", error->message);
}

bool front_read_registration(struct job *job, struct http_text body)
{
    struct json_error error = {.message = ""};
    bool is_worker = false;
    enum request_json_result result =
        register_request_from_json(body.data, body.bytes, &job->arena, &job->registration, &is_worker, &error);
    job->is_worker = is_worker;
    if (result != REQUEST_JSON_OK)
        refuse_body(job, result, &error);
    return result == REQUEST_JSON_OK;
}

bool front_read_heartbeat(struct job *job, struct http_text body)
{
    struct json_error error = {.message = ""};
    enum request_json_result result = heartbeat_from_json(body.data, body.bytes, &job->arena, &job->heartbeat, &error);
    if (result != REQUEST_JSON_OK)
        refuse_body(job, result, &error);
    job->received_at_ms = clock_unix_ms();
    return result == REQUEST_JSON_OK;
}

/* The first URL of a worker that leads to where the worker itself could not come from; NULL: none. Who is inside
 * already may name what is inside: machines of one network are not strangers. */
static const char *leads_inside(const struct front *front, const struct http_exchange *exchange,
                                const Muster__V1__WorkerSpec *spec)
{
    char address[CLIENT_ADDRESS_BYTES];
    if (!front->gateway->guards_inside)
        return NULL;
    client_address(&front->gateway->client_address, http_exchange_head(exchange),
                   http_exchange_client_address(exchange), address);
    if (!address_text_is_public(address))
        return NULL;
    for (size_t i = 0; i <= spec->n_services; i++) {
        const char *url = i == 0 ? spec->tunnel_url : spec->services[i - 1]->url;
        struct http_origin origin;
        if (http_origin_parse(http_text_of(url), &origin) && address_host_is_inside(origin.host))
            return url;
    }
    return NULL;
}

static void registration_collected(void *context, struct http_exchange *exchange, struct http_text body)
{
    struct job *job = context;
    if (!front_read_registration(job, body))
        return;
    const char *inside = leads_inside(job->front, exchange, job->registration->spec);
    if (inside != NULL) {
        front_fail(
            job->front, exchange, ERROR_FORBIDDEN_URL,
            "%.700s leads to a private address, which workers from elsewhere may not name; register a public URL "
            "(or --tunnel link), or start this coordinator with --allow-private-urls",
            inside);
        return;
    }
    job->client_is_local = front_client_is_local(job->front, exchange);
    front_submit(job);
}

static void heartbeat_collected(void *context, struct http_exchange *exchange, struct http_text body)
{
    (void)exchange;
    if (front_read_heartbeat(context, body))
        front_submit(context);
}

static void submit_document(struct job *job)
{
    if (job->route->operation == API_EDGE_REGISTER || job->route->operation == API_EDGE_HEARTBEAT)
        front_note_client(job);
    front_submit(job);
}

static void document_collected(void *context, struct http_exchange *exchange, struct http_text body)
{
    struct job *job = context;
    struct json_error error = {.message = ""};
    struct json_document *document = arena_take(&job->arena, sizeof *document);
    (void)exchange;
    if (document == NULL) {
        front_fail(job->front, job->exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    job->document = document;
    job->has_document = true;
    if (!json_document_parse(document, body.data, body.bytes))
        front_fail(job->front, job->exchange, ERROR_MALFORMED_JSON, "the body is not JSON: %s", document->error);
    else if (!schema_check(job->route->request, document, json_root(document), "", &error))
        front_fail(job->front, job->exchange, ERROR_INVALID_FIELD, "%s", error.message);
    else
        submit_document(job);
}

int64_t front_read_name(struct front *front, struct http_exchange *exchange, const struct api_match *match,
                        char name[FRONT_NAME_BYTES])
{
    const char *field_name = strchr(match->route->path, '{') + 1;
    const struct schema_field *field = api_path_parameter(field_name, strcspn(field_name, "}"));
    struct json_error error = {.message = ""};
    int64_t bytes = http_percent_decode(match->parameters[0], false, name, FRONT_NAME_BYTES);
    if (bytes < 0) {
        front_fail(front, exchange, ERROR_INVALID_PATH,
                   "the %s in the path must be 1 to %d bytes long and well encoded", field->name,
                   REQUEST_WORKER_ID_BYTES_MAX);
    } else if (!schema_check_text(&field->value, field->name, name, (size_t)bytes, &error)) {
        front_fail(front, exchange, ERROR_INVALID_PATH, "in the path, %s", error.message);
        bytes = -1;
    }
    return bytes;
}

bool front_take_name(struct job *job, struct http_text parameter)
{
    const struct api_match match = {.route = job->route, .parameters = {parameter}, .parameter_count = 1};
    char name[FRONT_NAME_BYTES];
    int64_t bytes = front_read_name(job->front, job->exchange, &match, name);
    if (bytes < 0)
        return false;
    job->name = arena_copy(&job->arena, name, (size_t)bytes);
    if (job->name == NULL) {
        front_fail(job->front, job->exchange, ERROR_INTERNAL, "out of memory");
        return false;
    }
    return true;
}

/* How each operation runs on the backend. */
static void (*runner(enum api_operation operation))(struct backend *, struct job *)
{
    switch (operation) {
    case API_REGISTER:
        return backend_run_register;
    case API_HEARTBEAT:
        return backend_run_heartbeat;
    case API_UNREGISTER:
        return backend_run_unregister;
    case API_DRAIN:
        return backend_run_drain;
    case API_UNDRAIN:
        return backend_run_undrain;
    case API_EXPLAIN:
        return backend_run_explain;
    case API_HISTORY:
        return backend_run_history;
    case API_QUERY:
        return backend_run_query;
    case API_BROADCAST:
        return backend_run_broadcast;
    case API_FIND:
        return backend_run_find;
    case API_DISCOVER:
        return backend_run_discover;
    case API_DHT_BOOTSTRAP:
    case API_DHT_TOPOLOGY:
    case API_DHT_STATS:
        return backend_run_dht_describe;
    case API_DHT_LOOKUP:
        return backend_run_dht_lookup;
    case API_DHT_RPC:
        return backend_run_dht_exchange;
    case API_HEALTH:
        return backend_run_health;
    case API_METRICS:
        return backend_run_metrics;
    case API_EDGE_REGISTER:
        return backend_run_edge_register;
    case API_EDGE_HEARTBEAT:
        return backend_run_edge_heartbeat;
    case API_EDGE_UNREGISTER:
        return backend_run_edge_unregister;
    case API_EDGE_PEERS:
        return backend_run_edge_peers;
    case API_EDGE_COORDINATORS:
        return backend_run_edge_coordinators;
    case API_COORDINATORS:
        return backend_run_coordinators;
    default:
        abort(); /* an operation of the table that nobody handles: a mistake of the program */
    }
}

size_t front_body_limit(const struct front *front, const struct api_route *route)
{
    size_t limit_bytes = (size_t)front->gateway->settings.max_body_bytes;
    return route->body_bytes_max != 0 && route->body_bytes_max < limit_bytes ? route->body_bytes_max : limit_bytes;
}

void front_handle_request(struct front *front, struct http_exchange *exchange, const struct api_match *match)
{
    struct job *job = front_job(front, exchange, match->route);
    if (job == NULL)
        return;
    const struct api_route *route = match->route;
    job->run = runner(route->operation);
    if (route->operation != API_REGISTER && route->operation != API_HEARTBEAT)
        job->query = http_head_query(http_exchange_head(exchange));
    if (match->parameter_count > 0 && !front_take_name(job, match->parameters[0]))
        return;
    if (!front_note_caller(front, job)) {
        front_fail(front, exchange, ERROR_INTERNAL, "out of memory");
        return;
    }
    if (route->operation == API_EDGE_COORDINATORS)
        front_note_client(job);
    size_t limit_bytes = front_body_limit(front, route);
    if (route->operation == API_REGISTER)
        http_exchange_collect_body(exchange, limit_bytes, registration_collected, job);
    else if (route->operation == API_HEARTBEAT)
        http_exchange_collect_body(exchange, limit_bytes, heartbeat_collected, job);
    else if (route->request != NULL)
        http_exchange_collect_body(exchange, limit_bytes, document_collected, job);
    else
        front_submit(job);
}

void front_handle_challenge(struct front *front, struct http_exchange *exchange)
{
    const struct gateway *gateway = front->gateway;
    struct buffer body = BUFFER_INIT;
    struct json_writer writer = json_writer_into(&body);
    char nonce[128], proof[PROOF_TEXT_BYTES] = "";
    /* The route's query has been checked. */
    if (http_query_get(http_head_query(http_exchange_head(exchange)), "nonce", nonce, sizeof nonce) >= 0 &&
        gateway->settings.join[0] != '\0')
        proof_make(gateway->proof_key, nonce, proof);
    json_write_object_begin(&writer);
    json_write_named_text(&writer, "worker_id", gateway->coordinator_id);
    json_write_named_text(&writer, "proof", proof);
    json_write_object_end(&writer);
    if (buffer_failed(&body))
        front_fail(front, exchange, ERROR_INTERNAL, "out of memory");
    else
        front_answer(front, exchange, &(struct answer){.status = 200, .body = body.data, .body_bytes = body.bytes});
    buffer_free(&body);
}
