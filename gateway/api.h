/* The REST contract as one table: what can be asked for, where, by whom, with which body, what is
 * answered, and how it is called in the metrics. Dispatch, the check of query and body, 405
 * answers, GET /openapi.json, the page at / and metric labels come from it, so that they cannot
 * drift; //tests/conformance:contract_test drives every operation from the document that is
 * generated here.
 *
 * A path pattern is literal but for these:
 *     {name}        one segment, not empty; comes out as a parameter, still encoded
 *     /{rest...}    at the end: what is left, at least "/"
 *     [/{rest...}]  at the end: what is left, also nothing
 *
 * Threading: none of its own; the table is constant. */

#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/http/parser.h"
#include "gateway/error.h"
#include "gateway/schemas.h"

enum api_operation {
    API_RELAY_SERVICE,
    API_RELAY_RAW,
    API_HEARTBEAT,
    API_REGISTER,
    API_UNREGISTER,
    API_FIND,
    API_WORKERS,
    API_SERVICES,
    API_DISCOVER,
    API_ADMIN_WORKERS,
    API_ADMIN_SERVICES,
    API_ADMIN_GAPS,
    API_ADMIN_STATS,
    API_IMPORT,
    API_EXPORT,
    API_HISTORY,
    API_QUERY,
    API_BROADCAST,
    API_DRAIN,
    API_UNDRAIN,
    API_EXPLAIN,
    API_TOPOLOGY,
    API_DHT_BOOTSTRAP,
    API_DHT_TOPOLOGY,
    API_DHT_STATS,
    API_DHT_LOOKUP,
    API_DHT_RPC,
    API_WS_EVENTS,
    API_WS_TOPOLOGY,
    API_WS_LINK,
    API_RELAY_LINK,
    API_HEALTH,
    API_HEALTHZ,
    API_READYZ,
    API_METRICS,
    API_OPENAPI,
    API_INDEX,
    API_DOCS,
    API_REDOC,
    API_ASSET,
    API_EDGE_REGISTER,
    API_EDGE_HEARTBEAT,
    API_EDGE_UNREGISTER,
    API_EDGE_CHALLENGE,
    API_EDGE_PEERS,
    API_EDGE_COORDINATORS,
    API_COORDINATORS,
    API_BALANCED,
    API_OPERATION_COUNT,
};

/* What a gateway is. */
enum api_role { API_COORDINATOR, API_EDGE_ROUTER, API_EDGE_PROXY, API_LOAD_BALANCER };

/* Whether it works without registry, assigner, health and router behind it. */
static inline bool api_stands_alone(enum api_role role)
{
    return role == API_EDGE_PROXY || role == API_LOAD_BALANCER;
}

/* What becomes of a route at an edge router. */
enum api_edge {
    API_EDGE_SAME = 0,  /* answered there as at a coordinator, lists from the workers of all regions */
    API_EDGE_FORWARDED, /* to a coordinator; front_forward.c says to which */
    API_EDGE_ONLY,      /* a coordinator does not have it */
    API_EDGE_NOT,       /* an edge router does not have it */
    API_BALANCER_ONLY,  /* nobody but a load balancer has it */
};

/* Who an operation is meant for. Where keys are configured, who calls must have the right for it: guard.h. */
enum api_caller {
    API_FOR_EVERYBODY, /* no key is asked for */
    API_FOR_CLIENTS,   /* who want a service */
    API_FOR_WORKERS,
    API_FOR_OPERATORS, /* who run the coordinator */
};

/* How a route stands for many. */
enum api_flag {
    API_RELAYED = 1,       /* a worker answers: whatever it likes */
    API_BODY_PIPED = 2,    /* the body is read piece by piece: no limit of its length, no check at once */
    API_WEBSOCKET = 4,     /* a request to upgrade; the reply is a 101 */
    API_TAGGED = 8,        /* the reply has an ETag; 304 when the client has it */
    API_OWN_WORKER = 16,   /* a worker's own token will do, for itself: the worker of the path or of the body */
    API_ONE_SERVICE = 32,  /* about the service of the path: a key that may not call it is refused */
    API_ALL_SERVICES = 64, /* about all services: a key that may call some only is refused */
    API_AGED = 128,        /* an edge proxy answers it from the list that it has: the reply has an Age */
};

#define API_ERROR(id) (UINT64_C(1) << (id))

struct api_route {
    enum api_operation operation;
    const char *method; /* "GET" (which brings HEAD along), …, or "*": any */
    const char *path;
    enum api_caller caller;
    enum api_edge edge;
    unsigned flags;
    const struct schema_field *query; /* ends with a NULL name; NULL: none */
    const struct schema *request;     /* the body; NULL: none is read */
    uint32_t body_bytes_max;          /* of the body, if that is less than --max-body-bytes; 0: it is not */
    const struct schema *reply;       /* NULL: not JSON, see reply_type */
    const char *reply_type;           /* content type of a reply that is not JSON; NULL: JSON, or whatever */
    unsigned reply_status;            /* 0: 200 */
    uint64_t errors;   /* API_ERROR(…) | …, besides those that a query, a body and a parameter bring along */
    const char *label; /* `route` in the metrics, `operationId` */
    const char *help;
};

/* All of them: API_OPERATION_COUNT, each at the index that is its operation. */
const struct api_route *api_routes(void);

/* Whether gateways of that role have it. */
bool api_has(enum api_role role, const struct api_route *route);

/* Whether gateways of that role have somebody else answer it: a coordinator. An edge proxy answers itself what clients
 * of services ask for, and how it is. */
bool api_is_forwarded(enum api_role role, const struct api_route *route);

/* All errors that a route may answer, as bits. */
uint64_t api_errors(enum api_role role, const struct api_route *route);

/* What stands behind a name in the braces of a path: never NULL for those of the table. */
const struct schema_field *api_path_parameter(const char *name, size_t name_bytes);

/* Checks the parameters of a query that the route has; others are ignored. False: error->message
 * names the first that is wrong. */
bool api_check_query(const struct api_route *route, struct http_text query, struct json_error *error);

#define API_PARAMETERS_MAX 2

struct api_match {
    const struct api_route *route; /* NULL: none */
    bool path_exists;              /* without a route: the path has other methods, in `allow` */
    struct http_text parameters[API_PARAMETERS_MAX];
    size_t parameter_count;
    struct http_text rest; /* empty, or begins with "/" */
    char allow[64];        /* when path_exists: "GET, HEAD, OPTIONS" */
};

/* Finds the route for a method and a path (as received, without the query). */
void api_find(enum api_role role, struct http_text method, struct http_text path, struct api_match *match);
