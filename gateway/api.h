/* The REST contract as one table: what can be asked for, where, by whom, and how it is
 * called in the metrics. Dispatch, 405 answers and metric labels come from it.
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
    API_DRAIN,
    API_UNDRAIN,
    API_HEALTH,
    API_HEALTHZ,
    API_READYZ,
    API_METRICS,
    API_OPERATION_COUNT,
};

/* Who an operation is meant for. */
enum api_caller {
    API_FOR_EVERYBODY,
    API_FOR_CLIENTS, /* who want a service */
    API_FOR_WORKERS,
    API_FOR_OPERATORS, /* who run the coordinator */
};

struct api_route {
    enum api_operation operation;
    const char *method; /* "GET" (which brings HEAD along), …, or "*": any */
    const char *path;
    enum api_caller caller;
    const char *request_schema; /* name of the body's schema; NULL: none is read */
    const char *reply_schema;   /* NULL: not JSON, or somebody else's */
    const char *label;          /* `route` in the metrics */
    const char *help;
};

/* All of them: API_OPERATION_COUNT, each at the index that is its operation. */
const struct api_route *api_routes(void);

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
void api_find(struct http_text method, struct http_text path, struct api_match *match);
