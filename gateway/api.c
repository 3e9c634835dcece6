/* See api.h. */

#include "gateway/api.h"

#include <stdio.h>
#include <string.h>

#include "common/http/target.h"

/* How to add an operation:
 *   1. a name in enum api_operation (api.h) and a row here; the metrics, 405, OpenAPI and who may call (.caller,
 *      guard.h) follow;
 *   2. its bodies in schemas.h, with .request and .reply pointing there; query parameters as a list
 *      of schema_field beside the table (see .query); errors of its own as API_ERROR(…) bits;
 *   3. what an edge router makes of it, if not the same: .edge;
 *   4. a handler: `dispatch` in front.c, or `runner` in front_requests.c when the backend answers.
 *      A body arrives there checked against the schema: job->document (front_requests.c). */

#define CALL_ERRORS (API_ERROR(ERROR_PART_UNAVAILABLE) | API_ERROR(ERROR_TOO_MANY_REQUESTS) | API_ERROR(ERROR_INTERNAL))
#define RELAY_ERRORS                                                                                                   \
    (API_ERROR(ERROR_NO_WORKER) | API_ERROR(ERROR_WORKER_FAILED) | API_ERROR(ERROR_WORKER_TIMEOUT) |                   \
     API_ERROR(ERROR_LOOP_DETECTED) | API_ERROR(ERROR_INTERNAL))

/* GET /api/admin/history; history_request.h takes them apart. */
static const char *const history_steps[] = {"10s", "1m", "1h", "10", "60", "3600", NULL};
static const struct schema_field history_query[] = {
    {"worker",
     {.kind = SCHEMA_NAME, .maximum = REQUEST_WORKER_ID_BYTES_MAX},
     SCHEMA_REQUIRED,
     "\"gpu-1\"",
     "Whose history."},
    {"metric",
     {.kind = SCHEMA_NAME, .maximum = 127},
     0,
     "\"load,state\"",
     "One or several, separated by commas: load, active_requests, requests, failures, latency_ms, tasks_completed, "
     "heartbeats, state. Absent: all."},
    {"since",
     {.kind = SCHEMA_NAME, .maximum = 127},
     0,
     "\"15m\"",
     "How far back: 15m, 6h or 7d before now, a date of RFC 3339, or seconds since the epoch. Absent: 1h."},
    {"step",
     {.kind = SCHEMA_TEXT, .words = history_steps},
     0,
     "\"10s\"",
     "Length of the buckets. Absent: the finest that reaches back to since."},
    {.name = NULL},
};

#define SUBSCRIPTION_ERRORS                                                                                            \
    (API_ERROR(ERROR_UPGRADE_REQUIRED) | API_ERROR(ERROR_INVALID_HANDSHAKE) | API_ERROR(ERROR_FORBIDDEN_ORIGIN) |      \
     API_ERROR(ERROR_TOO_MANY_CONNECTIONS) | API_ERROR(ERROR_INTERNAL))

static const struct schema_field subscription_query[] = {
    {"since",
     {.kind = SCHEMA_WHOLE, .minimum = 0, .maximum = (1ULL << 53) - 1},
     0,
     "0",
     "The revision of the last event that the client has seen; it is told those that followed."},
    {.name = NULL},
};

#define DHT_ERRORS (API_ERROR(ERROR_NOT_FOUND) | CALL_ERRORS)

static const char *const discovery_scopes[] = {"local", "all", NULL};
static const struct schema_field discovery_query[] = {
    {"scope",
     {.kind = SCHEMA_TEXT, .words = discovery_scopes},
     0,
     "\"all\"",
     "local: this coordinator's workers; all: also those that other coordinators have published in the hash table. "
     "Absent: local."},
    {.name = NULL},
};

/* GET /api/edge/challenge. */
static const struct schema_field challenge_query[] = {
    {"nonce", {.kind = SCHEMA_NAME, .maximum = 127}, SCHEMA_REQUIRED, "\"5f3a\"", "What the proof is to be made of."},
    {.name = NULL},
};

/* GET /api/edge/coordinators. */
static const struct schema_field place_query[] = {
    {"location",
     {.kind = SCHEMA_LINE, .maximum = REQUEST_LINE_BYTES_MAX},
     0,
     "\"uk\"",
     "Where who asks is, as in a registration. Absent: found out by its address, if there is a database of places."},
    {.name = NULL},
};

static const struct api_route routes[API_OPERATION_COUNT] = {
    [API_RELAY_SERVICE] =
        {
            .operation = API_RELAY_SERVICE,
            .method = "*",
            .path = "/api/service/{type}[/{rest...}]",
            .caller = API_FOR_CLIENTS,
            .edge = API_EDGE_FORWARDED,
            .flags = API_RELAYED | API_ONE_SERVICE,
            .errors = RELAY_ERRORS,
            .label = "service",
            .help = "Runs on a worker that offers the service, at the service's path there.",
        },
    [API_RELAY_RAW] =
        {
            .operation = API_RELAY_RAW,
            .method = "*",
            .path = "/service/{type}/{rest...}",
            .caller = API_FOR_CLIENTS,
            .edge = API_EDGE_FORWARDED,
            .flags = API_RELAYED | API_ONE_SERVICE,
            .errors = RELAY_ERRORS,
            .label = "service_raw",
            .help = "Runs on a worker that offers the service, at the path that follows the name.",
        },
    [API_HEARTBEAT] =
        {
            .operation = API_HEARTBEAT,
            .method = "POST",
            .path = "/api/worker/heartbeat",
            .caller = API_FOR_WORKERS,
            .edge = API_EDGE_FORWARDED,
            .flags = API_OWN_WORKER,
            .request = &schema_heartbeat,
            .body_bytes_max = REQUEST_HEARTBEAT_BYTES_MAX,
            .reply = &schema_heartbeat_reply,
            .errors = API_ERROR(ERROR_UNKNOWN_WORKER) | API_ERROR(ERROR_STALE_INCARNATION) | CALL_ERRORS,
            .label = "worker_heartbeat",
            .help = "Says that a worker is alive, and how loaded.",
        },
    [API_REGISTER] =
        {
            .operation = API_REGISTER,
            .method = "POST",
            .path = "/api/worker/register",
            .caller = API_FOR_WORKERS,
            .edge = API_EDGE_FORWARDED,
            .request = &schema_registration,
            .reply = &schema_registration_reply,
            .errors = API_ERROR(ERROR_FORBIDDEN_URL) | CALL_ERRORS,
            .label = "worker_register",
            .help = "Puts a worker on the roll and tells it what to run.",
        },
    [API_UNREGISTER] =
        {
            .operation = API_UNREGISTER,
            .method = "DELETE",
            .path = "/api/worker/unregister/{worker_id}",
            .caller = API_FOR_WORKERS,
            .edge = API_EDGE_FORWARDED,
            .flags = API_OWN_WORKER,
            .reply = &schema_status_reply,
            .errors = API_ERROR(ERROR_UNKNOWN_WORKER) | CALL_ERRORS,
            .label = "worker_unregister",
            .help = "Takes a worker off the roll.",
        },
    [API_FIND] =
        {
            .operation = API_FIND,
            .method = "GET",
            .path = "/api/worker/find/{service}",
            .caller = API_FOR_CLIENTS,
            .edge = API_EDGE_FORWARDED,
            .flags = API_ONE_SERVICE | API_AGED,
            .reply = &schema_found_worker,
            .errors = API_ERROR(ERROR_NO_WORKER) | API_ERROR(ERROR_INTERNAL),
            .label = "worker_find",
            .help = "Names one healthy worker of a service.",
        },
    [API_WORKERS] =
        {
            .operation = API_WORKERS,
            .method = "GET",
            .path = "/api/coordinator/workers",
            .caller = API_FOR_CLIENTS,
            .flags = API_TAGGED | API_ALL_SERVICES | API_AGED,
            .reply = &schema_worker_list,
            .errors = API_ERROR(ERROR_INTERNAL),
            .label = "coordinator_workers",
            .help = "Lists the healthy workers.",
        },
    [API_SERVICES] =
        {
            .operation = API_SERVICES,
            .method = "GET",
            .path = "/api/services/list",
            .caller = API_FOR_CLIENTS,
            .flags = API_TAGGED | API_AGED,
            .reply = &schema_service_list,
            .errors = API_ERROR(ERROR_INTERNAL),
            .label = "services_list",
            .help = "Lists the services and how many healthy workers each has.",
        },
    [API_DISCOVER] =
        {
            .operation = API_DISCOVER,
            .method = "GET",
            .path = "/api/services/discover/{service}",
            .caller = API_FOR_CLIENTS,
            .query = discovery_query,
            .flags = API_ONE_SERVICE | API_AGED,
            .reply = &schema_discovery,
            .errors = API_ERROR(ERROR_NO_WORKER) | API_ERROR(ERROR_INTERNAL),
            .label = "services_discover",
            .help = "Lists the healthy workers of a service, the least loaded first; with scope=all those of other "
                    "coordinators behind them.",
        },
    [API_ADMIN_WORKERS] =
        {
            .operation = API_ADMIN_WORKERS,
            .method = "GET",
            .path = "/api/admin/workers",
            .caller = API_FOR_OPERATORS,
            .flags = API_TAGGED,
            .reply = &schema_admin_worker_list,
            .errors = API_ERROR(ERROR_INTERNAL),
            .label = "admin_workers",
            .help = "Lists all workers, with their age and health.",
        },
    [API_ADMIN_SERVICES] =
        {
            .operation = API_ADMIN_SERVICES,
            .method = "GET",
            .path = "/api/admin/services",
            .caller = API_FOR_OPERATORS,
            .flags = API_TAGGED,
            .reply = &schema_admin_service_list,
            .errors = API_ERROR(ERROR_INTERNAL),
            .label = "admin_services",
            .help = "Lists the services with the workers of each.",
        },
    [API_ADMIN_GAPS] =
        {
            .operation = API_ADMIN_GAPS,
            .method = "GET",
            .path = "/api/admin/gaps",
            .caller = API_FOR_OPERATORS,
            .flags = API_TAGGED,
            .reply = &schema_gaps,
            .errors = API_ERROR(ERROR_INTERNAL),
            .label = "admin_gaps",
            .help = "Says how well each service of the catalog is covered.",
        },
    [API_ADMIN_STATS] =
        {
            .operation = API_ADMIN_STATS,
            .method = "GET",
            .path = "/api/admin/stats",
            .caller = API_FOR_OPERATORS,
            .flags = API_TAGGED,
            .reply = &schema_stats,
            .errors = API_ERROR(ERROR_INTERNAL),
            .label = "admin_stats",
            .help = "Counts workers.",
        },
    [API_IMPORT] =
        {
            .operation = API_IMPORT,
            .method = "POST",
            .path = "/api/admin/import",
            .caller = API_FOR_OPERATORS,
            .edge = API_EDGE_FORWARDED,
            .flags = API_BODY_PIPED,
            .request = &schema_backup,
            .reply = &schema_import_reply,
            .errors = CALL_ERRORS | API_ERROR(ERROR_INVALID_FIELD),
            .label = "admin_import",
            .help = "Puts the workers of a backup on the roll, each as a whole or not at all.",
        },
    [API_EXPORT] =
        {
            .operation = API_EXPORT,
            .method = "GET",
            .path = "/api/admin/export",
            .caller = API_FOR_OPERATORS,
            .edge = API_EDGE_FORWARDED,
            .reply = &schema_export,
            .errors = CALL_ERRORS,
            .label = "admin_export",
            .help = "Everything that is needed to import the workers elsewhere.",
        },
    [API_HISTORY] =
        {
            .operation = API_HISTORY,
            .method = "GET",
            .path = "/api/admin/history",
            .caller = API_FOR_OPERATORS,
            .edge = API_EDGE_FORWARDED,
            .query = history_query,
            .reply = &schema_history,
            .errors = API_ERROR(ERROR_UNKNOWN_WORKER) | CALL_ERRORS,
            .label = "admin_history",
            .help = "Shows what a worker did, in steps of 10 s (1 hour back), 1 min (1 day) or 1 h (30 days).",
        },
    [API_QUERY] =
        {
            .operation = API_QUERY,
            .method = "POST",
            .path = "/api/admin/query",
            .caller = API_FOR_OPERATORS,
            .edge = API_EDGE_FORWARDED,
            .request = &schema_query,
            .reply = &schema_query_reply,
            .errors = API_ERROR(ERROR_BAD_QUERY) | API_ERROR(ERROR_QUERY_NOT_ALLOWED) | API_ERROR(ERROR_QUERY_TIMEOUT) |
                      CALL_ERRORS,
            .label = "admin_query",
            .help = "Runs a read-only SQL statement over the tables workers, services and history.",
        },
    [API_BROADCAST] =
        {
            .operation = API_BROADCAST,
            .method = "POST",
            .path = "/api/coordinator/broadcast-job",
            .caller = API_FOR_CLIENTS,
            .flags = API_ALL_SERVICES,
            .request = &schema_broadcast,
            .reply = &schema_broadcast_reply,
            .errors = API_ERROR(ERROR_NO_WORKER) | CALL_ERRORS,
            .label = "coordinator_broadcast_job",
            .help =
                "Sends a job to every healthy worker of tier 1 or 2 that has a capability; says what each answered.",
        },
    [API_DRAIN] =
        {
            .operation = API_DRAIN,
            .method = "POST",
            .path = "/api/admin/workers/{worker_id}/drain",
            .caller = API_FOR_OPERATORS,
            .edge = API_EDGE_FORWARDED,
            .flags = API_OWN_WORKER,
            .reply = &schema_drain_reply,
            .errors = API_ERROR(ERROR_UNKNOWN_WORKER) | CALL_ERRORS,
            .label = "admin_drain",
            .help = "Takes a worker out of new work without losing it.",
        },
    [API_UNDRAIN] =
        {
            .operation = API_UNDRAIN,
            .method = "POST",
            .path = "/api/admin/workers/{worker_id}/undrain",
            .caller = API_FOR_OPERATORS,
            .edge = API_EDGE_FORWARDED,
            .reply = &schema_drain_reply,
            .errors = API_ERROR(ERROR_UNKNOWN_WORKER) | CALL_ERRORS,
            .label = "admin_undrain",
            .help = "Gives a drained worker new work again.",
        },
    [API_EXPLAIN] =
        {
            .operation = API_EXPLAIN,
            .method = "GET",
            .path = "/api/admin/workers/{worker_id}/explain",
            .caller = API_FOR_OPERATORS,
            .edge = API_EDGE_FORWARDED,
            .reply = &schema_explanation,
            .errors = API_ERROR(ERROR_UNKNOWN_WORKER) | CALL_ERRORS,
            .label = "admin_explain",
            .help = "Says why a worker is assigned what it is, and why not the rest of the catalog.",
        },
    [API_TOPOLOGY] =
        {
            .operation = API_TOPOLOGY,
            .method = "GET",
            .path = "/api/topology",
            .caller = API_FOR_OPERATORS,
            .flags = API_TAGGED,
            .reply = &schema_topology,
            .errors = API_ERROR(ERROR_INTERNAL),
            .label = "topology",
            .help = "Shows the coordinator, its workers, and what runs where.",
        },
    [API_DHT_BOOTSTRAP] =
        {
            .operation = API_DHT_BOOTSTRAP,
            .method = "GET",
            .path = "/api/dht/bootstrap",
            .caller = API_FOR_EVERYBODY,
            .edge = API_EDGE_FORWARDED,
            .reply = &schema_dht_bootstrap,
            .errors = DHT_ERRORS,
            .label = "dht_bootstrap",
            .help = "Names nodes of the coordinators' hash table to one that wants to join it.",
        },
    [API_DHT_TOPOLOGY] =
        {
            .operation = API_DHT_TOPOLOGY,
            .method = "GET",
            .path = "/api/dht/topology",
            .caller = API_FOR_OPERATORS,
            .edge = API_EDGE_FORWARDED,
            .reply = &schema_dht_topology,
            .errors = DHT_ERRORS,
            .label = "dht_topology",
            .help = "Shows whom this coordinator's node of the hash table knows.",
        },
    [API_DHT_STATS] =
        {
            .operation = API_DHT_STATS,
            .method = "GET",
            .path = "/api/dht/stats",
            .caller = API_FOR_OPERATORS,
            .edge = API_EDGE_FORWARDED,
            .reply = &schema_dht_stats,
            .errors = DHT_ERRORS,
            .label = "dht_stats",
            .help = "Counts what this coordinator's node of the hash table does and keeps.",
        },
    [API_DHT_LOOKUP] =
        {
            .operation = API_DHT_LOOKUP,
            .method = "GET",
            .path = "/api/dht/lookup/{key}",
            .caller = API_FOR_CLIENTS,
            .edge = API_EDGE_FORWARDED,
            .flags = API_ALL_SERVICES,
            .reply = &schema_dht_lookup,
            .errors = DHT_ERRORS | API_ERROR(ERROR_INVALID_FIELD),
            .label = "dht_lookup",
            .help = "Looks up what coordinators have published under coordinator:{location}, worker:{service} or "
                    "service:{worker_id}.",
        },
    [API_DHT_RPC] =
        {
            .operation = API_DHT_RPC,
            .method = "POST",
            .path = "/api/dht/rpc",
            .caller = API_FOR_EVERYBODY,
            .edge = API_EDGE_NOT,
            .request = &schema_dht_message,
            .reply = &schema_dht_message_reply,
            .errors = DHT_ERRORS,
            .label = "dht_rpc",
            .help = "A message of another coordinator's node to this one's, and the answer. Its signatures count, not "
                    "who brings it.",
        },
    [API_WS_EVENTS] =
        {
            .operation = API_WS_EVENTS,
            .method = "GET",
            .path = "/ws/events",
            .caller = API_FOR_OPERATORS,
            .flags = API_WEBSOCKET,
            .query = subscription_query,
            .reply_status = 101,
            .errors = SUBSCRIPTION_ERRORS,
            .label = "ws_events",
            .help = "A WebSocket that tells each change of the roll as it happens.",
        },
    [API_WS_TOPOLOGY] =
        {
            .operation = API_WS_TOPOLOGY,
            .method = "GET",
            .path = "/ws/topology",
            .caller = API_FOR_OPERATORS,
            .flags = API_WEBSOCKET,
            .query = subscription_query,
            .reply_status = 101,
            .errors = SUBSCRIPTION_ERRORS,
            .label = "ws_topology",
            .help = "A WebSocket that shows the topology, then tells each change as it happens.",
        },
    [API_WS_LINK] =
        {
            .operation = API_WS_LINK,
            .method = "GET",
            .path = "/ws/link/{worker_id}",
            .caller = API_FOR_WORKERS,
            .flags = API_WEBSOCKET | API_OWN_WORKER,
            .reply_status = 101,
            .errors = SUBSCRIPTION_ERRORS | API_ERROR(ERROR_NOT_READY),
            .label = "ws_link",
            .help = "A WebSocket that a worker keeps so that requests reach it: HTTP/2 in binary messages, the gateway "
                    "is "
                    "the client. Muster-Link-Secret, 64 hexadecimal digits that the worker has made up, is "
                    "hashed to the name of the link.",
        },
    [API_RELAY_LINK] =
        {
            .operation = API_RELAY_LINK,
            .method = "*",
            .path = "/link/{link}/{rest...}",
            .caller = API_FOR_EVERYBODY,
            .flags = API_RELAYED,
            .errors = RELAY_ERRORS,
            .label = "link",
            .help = "Goes to the worker that keeps the link, as to any URL of a worker; who knows the name may.",
        },
    [API_HEALTH] =
        {
            .operation = API_HEALTH,
            .method = "GET",
            .path = "/health",
            .caller = API_FOR_EVERYBODY,
            .reply = &schema_health,
            .errors = API_ERROR(ERROR_INTERNAL),
            .label = "health",
            .help = "Says how the coordinator is, and which of its parts are down.",
        },
    [API_HEALTHZ] =
        {
            .operation = API_HEALTHZ,
            .method = "GET",
            .path = "/healthz",
            .caller = API_FOR_EVERYBODY,
            .reply = &schema_status_reply,
            .label = "healthz",
            .help = "Answers while the process lives.",
        },
    [API_READYZ] =
        {
            .operation = API_READYZ,
            .method = "GET",
            .path = "/readyz",
            .caller = API_FOR_EVERYBODY,
            .reply = &schema_status_reply,
            .errors = API_ERROR(ERROR_NOT_READY),
            .label = "readyz",
            .help = "Says whether requests should be sent here.",
        },
    [API_METRICS] =
        {
            .operation = API_METRICS,
            .method = "GET",
            .path = "/metrics",
            .caller = API_FOR_OPERATORS,
            .reply_type = "text/plain; version=0.0.4",
            .errors = API_ERROR(ERROR_INTERNAL),
            .label = "metrics",
            .help = "Figures in the text format of Prometheus.",
        },
    [API_OPENAPI] =
        {
            .operation = API_OPENAPI,
            .method = "GET",
            .path = "/openapi.json",
            .caller = API_FOR_EVERYBODY,
            .flags = API_TAGGED,
            .reply = &schema_openapi,
            .errors = API_ERROR(ERROR_INTERNAL),
            .label = "openapi",
            .help = "This contract, as an OpenAPI document.",
        },
    [API_INDEX] =
        {
            .operation = API_INDEX,
            .method = "GET",
            .path = "/",
            .caller = API_FOR_EVERYBODY,
            .flags = API_TAGGED,
            .reply_type = "text/html; charset=utf-8",
            .errors = API_ERROR(ERROR_INTERNAL),
            .label = "index",
            .help = "A page that links to what an operator looks for.",
        },
    [API_DOCS] =
        {
            .operation = API_DOCS,
            .method = "GET",
            .path = "/docs",
            .caller = API_FOR_EVERYBODY,
            .flags = API_TAGGED,
            .reply_type = "text/html; charset=utf-8",
            .errors = API_ERROR(ERROR_INTERNAL),
            .label = "docs",
            .help = "This contract as a page to read and to try (Swagger UI).",
        },
    [API_REDOC] =
        {
            .operation = API_REDOC,
            .method = "GET",
            .path = "/redoc",
            .caller = API_FOR_EVERYBODY,
            .flags = API_TAGGED,
            .reply_type = "text/html; charset=utf-8",
            .errors = API_ERROR(ERROR_INTERNAL),
            .label = "redoc",
            .help = "This contract as a page to read (Redoc).",
        },
    [API_ASSET] =
        {
            .operation = API_ASSET,
            .method = "GET",
            .path = "/docs/assets/{file}",
            .caller = API_FOR_EVERYBODY,
            .flags = API_TAGGED,
            .reply_type = "*/*",
            .errors = API_ERROR(ERROR_NOT_FOUND) | API_ERROR(ERROR_INTERNAL),
            .label = "docs_asset",
            .help = "Scripts and styles of these two pages.",
        },
    [API_EDGE_REGISTER] =
        {
            .operation = API_EDGE_REGISTER,
            .method = "POST",
            .path = "/api/edge/register",
            .caller = API_FOR_WORKERS,
            .edge = API_EDGE_ONLY,
            .request = &schema_edge_registration,
            .reply = &schema_edge_registration_reply,
            .errors = API_ERROR(ERROR_CHALLENGE_FAILED) | API_ERROR(ERROR_FORBIDDEN_URL) | CALL_ERRORS,
            .label = "edge_register",
            .help = "Puts a coordinator into the pool that requests are forwarded to.",
        },
    [API_EDGE_HEARTBEAT] =
        {
            .operation = API_EDGE_HEARTBEAT,
            .method = "POST",
            .path = "/api/edge/heartbeat",
            .caller = API_FOR_WORKERS,
            .edge = API_EDGE_ONLY,
            .request = &schema_edge_heartbeat,
            .reply = &schema_edge_heartbeat_reply,
            .errors = API_ERROR(ERROR_UNKNOWN_WORKER) | API_ERROR(ERROR_STALE_INCARNATION) | CALL_ERRORS,
            .label = "edge_heartbeat",
            .help = "Says that a coordinator is alive, and how loaded.",
        },
    [API_EDGE_UNREGISTER] =
        {
            .operation = API_EDGE_UNREGISTER,
            .method = "DELETE",
            .path = "/api/edge/unregister/{coordinator_id}",
            .caller = API_FOR_WORKERS,
            .edge = API_EDGE_ONLY,
            .reply = &schema_status_reply,
            .errors = API_ERROR(ERROR_UNKNOWN_WORKER) | CALL_ERRORS,
            .label = "edge_unregister",
            .help = "Takes a coordinator out of the pool at once: its goodbye.",
        },
    [API_EDGE_CHALLENGE] =
        {
            .operation = API_EDGE_CHALLENGE,
            .method = "GET",
            .path = "/api/edge/challenge",
            .caller = API_FOR_EVERYBODY,
            .edge = API_EDGE_NOT,
            .query = challenge_query,
            .reply = &schema_challenge_reply,
            .label = "edge_challenge",
            .help = "Proves to an edge router that this coordinator is the one that registered there.",
        },
    [API_EDGE_PEERS] =
        {
            .operation = API_EDGE_PEERS,
            .method = "POST",
            .path = "/api/edge/peers",
            .caller = API_FOR_OPERATORS,
            .edge = API_EDGE_ONLY,
            .request = &schema_edge_news,
            .reply = &schema_edge_news_reply,
            .errors = API_ERROR(ERROR_FORBIDDEN_PEER) | CALL_ERRORS,
            .label = "edge_peers",
            .help = "Takes what another edge router has heard of its coordinators.",
        },
    [API_EDGE_COORDINATORS] =
        {
            .operation = API_EDGE_COORDINATORS,
            .method = "GET",
            .path = "/api/edge/coordinators",
            .caller = API_FOR_WORKERS,
            .edge = API_EDGE_ONLY,
            .query = place_query,
            .reply = &schema_edge_coordinators,
            .errors = API_ERROR(ERROR_NO_COORDINATORS) | API_ERROR(ERROR_INTERNAL),
            .label = "edge_coordinators",
            .help = "Names the coordinators that a registration from there would go to, the closest first.",
        },
    [API_COORDINATORS] =
        {
            .operation = API_COORDINATORS,
            .method = "GET",
            .path = "/api/admin/coordinators",
            .caller = API_FOR_OPERATORS,
            .edge = API_EDGE_ONLY,
            .reply = &schema_coordinator_list,
            .errors = API_ERROR(ERROR_INTERNAL),
            .label = "admin_coordinators",
            .help = "Lists the coordinators behind an edge router, and how they are.",
        },
    [API_BALANCED] = /* the last one: it takes what is left */
    {
        .operation = API_BALANCED,
        .method = "*",
        .path = "/{rest...}",
        .caller = API_FOR_CLIENTS,
        .edge = API_BALANCER_ONLY,
        .flags = API_RELAYED | API_ALL_SERVICES,
        .errors = API_ERROR(ERROR_NO_UPSTREAM) | API_ERROR(ERROR_UPSTREAM_FAILED) | API_ERROR(ERROR_UPSTREAM_TIMEOUT) |
                  API_ERROR(ERROR_LOOP_DETECTED) | API_ERROR(ERROR_INTERNAL),
        .label = "balanced",
        .help = "Goes to one of the upstreams, with its path and query as they are.",
    },
};

/* Names in the braces of paths. */
static const struct schema_field path_parameters[] = {
    {"worker_id",
     {.kind = SCHEMA_SEGMENT, .maximum = REQUEST_WORKER_ID_BYTES_MAX},
     SCHEMA_REQUIRED,
     "\"gpu-1\"",
     "A worker's id."},
    {"link",
     {.kind = SCHEMA_NAME, .maximum = 32},
     SCHEMA_REQUIRED,
     "\"0123456789abcdef0123456789abcdef\"",
     "The name of a worker's link."},
    {"coordinator_id",
     {.kind = SCHEMA_NAME, .maximum = REQUEST_WORKER_ID_BYTES_MAX},
     SCHEMA_REQUIRED,
     "\"uk-1\"",
     "A coordinator's id."},
    {"service",
     {.kind = SCHEMA_SEGMENT, .maximum = REQUEST_WORKER_ID_BYTES_MAX},
     SCHEMA_REQUIRED,
     "\"ocr\"",
     "A service's name or alias."},
    {"type",
     {.kind = SCHEMA_SEGMENT, .maximum = REQUEST_WORKER_ID_BYTES_MAX},
     SCHEMA_REQUIRED,
     "\"ocr\"",
     "A service's name or alias."},
    {"key",
     {.kind = SCHEMA_NAME, .maximum = REQUEST_WORKER_ID_BYTES_MAX},
     SCHEMA_REQUIRED,
     "\"worker:vision-ocr\"",
     "A key of the hash table."},
    {"rest", {.kind = SCHEMA_TEXT}, SCHEMA_REQUIRED, "\"a/b\"", "The path on the worker; it may have slashes."},
    {"file", {.kind = SCHEMA_SEGMENT, .maximum = 64}, SCHEMA_REQUIRED, "\"swagger.js\"", "A file's name."},
};

const struct api_route *api_routes(void)
{
    return routes;
}

bool api_has(enum api_role role, const struct api_route *route)
{
    switch (role) {
    case API_EDGE_ROUTER:
        return route->edge != API_EDGE_NOT && route->edge != API_BALANCER_ONLY;
    case API_EDGE_PROXY: /* workers keep their links to who registers them */
        return (route->edge == API_EDGE_SAME || route->edge == API_EDGE_FORWARDED) && route->operation != API_WS_LINK &&
               route->operation != API_RELAY_LINK;
    case API_LOAD_BALANCER:
        return route->edge == API_BALANCER_ONLY || route->operation == API_HEALTH || route->operation == API_HEALTHZ ||
               route->operation == API_READYZ || route->operation == API_METRICS;
    case API_COORDINATOR:
    default:
        return route->edge != API_EDGE_ONLY && route->edge != API_BALANCER_ONLY;
    }
}

static bool proxy_answers(enum api_operation operation)
{
    switch (operation) {
    case API_RELAY_SERVICE:
    case API_RELAY_RAW:
    case API_FIND:
    case API_WORKERS:
    case API_SERVICES:
    case API_DISCOVER:
    case API_HEALTH:
    case API_HEALTHZ:
    case API_READYZ:
    case API_METRICS:
    case API_OPENAPI:
    case API_INDEX:
    case API_DOCS:
    case API_REDOC:
    case API_ASSET:
        return true;
    default:
        return false;
    }
}

bool api_is_forwarded(enum api_role role, const struct api_route *route)
{
    return role == API_EDGE_PROXY ? !proxy_answers(route->operation)
                                  : role == API_EDGE_ROUTER && route->edge == API_EDGE_FORWARDED;
}

uint64_t api_errors(enum api_role role, const struct api_route *route)
{
    uint64_t errors = route->errors | API_ERROR(ERROR_MALFORMED_REQUEST) | API_ERROR(ERROR_RATE_LIMITED);
    if (route->caller != API_FOR_EVERYBODY)
        errors |= API_ERROR(ERROR_UNAUTHORIZED) | API_ERROR(ERROR_FORBIDDEN);
    if ((route->flags & API_OWN_WORKER) != 0)
        errors |= API_ERROR(ERROR_PART_UNAVAILABLE); /* the registry knows how to check tokens */
    if (api_is_forwarded(role, route) || (role == API_EDGE_PROXY && route->operation == API_DISCOVER))
        errors |= API_ERROR(ERROR_NO_COORDINATORS) | API_ERROR(ERROR_COORDINATOR_FAILED) |
                  API_ERROR(ERROR_COORDINATOR_TIMEOUT) | API_ERROR(ERROR_LOOP_DETECTED) |
                  API_ERROR(ERROR_PART_UNAVAILABLE) | API_ERROR(ERROR_INTERNAL);
    if (route->query != NULL)
        errors |= API_ERROR(ERROR_INVALID_FIELD);
    if (route->request != NULL)
        errors |= API_ERROR(ERROR_MALFORMED_JSON);
    if (route->request != NULL && (route->flags & API_BODY_PIPED) == 0)
        errors |= API_ERROR(ERROR_INVALID_FIELD) | API_ERROR(ERROR_BODY_TOO_LARGE);
    if (strchr(route->path, '{') != NULL)
        errors |= API_ERROR(ERROR_INVALID_PATH);
    return errors;
}

const struct schema_field *api_path_parameter(const char *name, size_t name_bytes)
{
    for (size_t i = 0; i < sizeof path_parameters / sizeof path_parameters[0]; i++) {
        if (strlen(path_parameters[i].name) == name_bytes && memcmp(path_parameters[i].name, name, name_bytes) == 0)
            return &path_parameters[i];
    }
    return NULL;
}

/* Whether the query has a parameter of that name, whatever its value. */
static bool query_mentions(struct http_text query, const char *name)
{
    size_t name_bytes = strlen(name);
    const char *at = query.data;
    const char *end = query.data + query.bytes;
    while (at < end) {
        const char *next = memchr(at, '&', (size_t)(end - at));
        size_t bytes = (size_t)((next == NULL ? end : next) - at);
        if (bytes >= name_bytes && memcmp(at, name, name_bytes) == 0 && (bytes == name_bytes || at[name_bytes] == '='))
            return true;
        at = next == NULL ? end : next + 1;
    }
    return false;
}

bool api_check_query(const struct api_route *route, struct http_text query, struct json_error *error)
{
    char text[4096];
    for (const struct schema_field *field = route->query; field != NULL && field->name != NULL; field++) {
        int64_t bytes = http_query_get(query, field->name, text, sizeof text);
        if (bytes >= 0)
            (void)schema_check_text(&field->value, field->name, text, (size_t)bytes, error);
        else if (query_mentions(query, field->name))
            snprintf(error->message, sizeof error->message, "field %s must be well encoded and at most %zu bytes long",
                     field->name, sizeof text - 1);
        else if ((field->flags & SCHEMA_REQUIRED) != 0)
            snprintf(error->message, sizeof error->message, "field %s is required in the query", field->name);
        if (json_error_set(error))
            return false;
    }
    return true;
}

static bool begins_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool path_matches(const char *pattern, struct http_text path, struct api_match *match)
{
    const char *at = path.data;
    const char *end = path.data + path.bytes;
    match->parameter_count = 0;
    match->rest = (struct http_text){end, 0};
    while (*pattern != '\0') {
        bool optional = *pattern == '[';
        if (optional || begins_with(pattern, "/{rest...}")) {
            match->rest = (struct http_text){at, (size_t)(end - at)};
            return at == end ? optional : *at == '/';
        }
        if (*pattern == '{') {
            const char *start = at;
            while (at < end && *at != '/')
                at++;
            if (at == start || match->parameter_count == API_PARAMETERS_MAX)
                return false;
            match->parameters[match->parameter_count++] = (struct http_text){start, (size_t)(at - start)};
            pattern = strchr(pattern, '}') + 1;
            continue;
        }
        if (at == end || *at != *pattern)
            return false;
        at++;
        pattern++;
    }
    return at == end;
}

static bool method_matches(const char *method, struct http_text asked)
{
    return strcmp(method, "*") == 0 || http_text_equal(asked, method) ||
           (strcmp(method, "GET") == 0 && http_text_equal(asked, "HEAD"));
}

void api_find(enum api_role role, struct http_text method, struct http_text path, struct api_match *match)
{
    match->route = NULL;
    match->path_exists = false;
    match->allow[0] = '\0';
    for (size_t i = 0; i < API_OPERATION_COUNT; i++) {
        const struct api_route *route = &routes[i];
        if (!api_has(role, route) || !path_matches(route->path, path, match))
            continue;
        if (method_matches(route->method, method)) {
            match->route = route;
            return;
        }
        size_t used = strlen(match->allow);
        snprintf(match->allow + used, sizeof match->allow - used, "%s%s", route->method,
                 strcmp(route->method, "GET") == 0 ? ", HEAD, " : ", ");
        match->path_exists = true;
    }
    if (match->path_exists) {
        size_t used = strlen(match->allow);
        snprintf(match->allow + used, sizeof match->allow - used, "OPTIONS");
    }
}
