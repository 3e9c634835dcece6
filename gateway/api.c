/* See api.h. */

#include "gateway/api.h"

#include <stdio.h>
#include <string.h>

static const struct api_route routes[API_OPERATION_COUNT] = {
    [API_RELAY_SERVICE] = {API_RELAY_SERVICE, "*", "/api/service/{type}[/{rest...}]", API_FOR_CLIENTS, NULL, NULL,
                           "service", "Runs on a worker that offers the service, at the service's path there."},
    [API_RELAY_RAW] = {API_RELAY_RAW, "*", "/service/{type}/{rest...}", API_FOR_CLIENTS, NULL, NULL, "service_raw",
                       "Runs on a worker that offers the service, at the path that follows the name."},
    [API_HEARTBEAT] = {API_HEARTBEAT, "POST", "/api/worker/heartbeat", API_FOR_WORKERS, "Heartbeat", "HeartbeatReply",
                       "worker_heartbeat", "Says that a worker is alive, and how loaded."},
    [API_REGISTER] = {API_REGISTER, "POST", "/api/worker/register", API_FOR_WORKERS, "Registration",
                      "RegistrationReply", "worker_register", "Puts a worker on the roll and tells it what to run."},
    [API_UNREGISTER] = {API_UNREGISTER, "DELETE", "/api/worker/unregister/{worker_id}", API_FOR_WORKERS, NULL,
                        "StatusReply", "worker_unregister", "Takes a worker off the roll."},
    [API_FIND] = {API_FIND, "GET", "/api/worker/find/{service}", API_FOR_CLIENTS, NULL, "FoundWorker", "worker_find",
                  "Names one healthy worker of a service."},
    [API_WORKERS] = {API_WORKERS, "GET", "/api/coordinator/workers", API_FOR_CLIENTS, NULL, "WorkerList",
                     "coordinator_workers", "Lists the healthy workers."},
    [API_SERVICES] = {API_SERVICES, "GET", "/api/services/list", API_FOR_CLIENTS, NULL, "ServiceList", "services_list",
                      "Lists the services and how many healthy workers each has."},
    [API_DISCOVER] = {API_DISCOVER, "GET", "/api/services/discover/{service}", API_FOR_CLIENTS, NULL, "Discovery",
                      "services_discover", "Lists the healthy workers of a service, the least loaded first."},
    [API_ADMIN_WORKERS] = {API_ADMIN_WORKERS, "GET", "/api/admin/workers", API_FOR_OPERATORS, NULL, "AdminWorkerList",
                           "admin_workers", "Lists all workers, with their age and health."},
    [API_ADMIN_SERVICES] = {API_ADMIN_SERVICES, "GET", "/api/admin/services", API_FOR_OPERATORS, NULL,
                            "AdminServiceList", "admin_services", "Lists the services with the workers of each."},
    [API_ADMIN_GAPS] = {API_ADMIN_GAPS, "GET", "/api/admin/gaps", API_FOR_OPERATORS, NULL, "Gaps", "admin_gaps",
                        "Says how well each service of the catalog is covered."},
    [API_ADMIN_STATS] = {API_ADMIN_STATS, "GET", "/api/admin/stats", API_FOR_OPERATORS, NULL, "Stats", "admin_stats",
                         "Counts workers."},
    [API_DRAIN] = {API_DRAIN, "POST", "/api/admin/workers/{worker_id}/drain", API_FOR_OPERATORS, NULL, "DrainReply",
                   "admin_drain", "Takes a worker out of new work without losing it."},
    [API_UNDRAIN] = {API_UNDRAIN, "POST", "/api/admin/workers/{worker_id}/undrain", API_FOR_OPERATORS, NULL,
                     "DrainReply", "admin_undrain", "Gives a drained worker new work again."},
    [API_HEALTH] = {API_HEALTH, "GET", "/health", API_FOR_EVERYBODY, NULL, "Health", "health",
                    "Says how the coordinator is, and which of its parts are down."},
    [API_HEALTHZ] = {API_HEALTHZ, "GET", "/healthz", API_FOR_EVERYBODY, NULL, "StatusReply", "healthz",
                     "Answers while the process lives."},
    [API_READYZ] = {API_READYZ, "GET", "/readyz", API_FOR_EVERYBODY, NULL, "StatusReply", "readyz",
                    "Says whether requests should be sent here."},
    [API_METRICS] = {API_METRICS, "GET", "/metrics", API_FOR_OPERATORS, NULL, NULL, "metrics",
                     "Figures in the text format of Prometheus."},
};

const struct api_route *api_routes(void)
{
    return routes;
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

void api_find(struct http_text method, struct http_text path, struct api_match *match)
{
    match->route = NULL;
    match->path_exists = false;
    match->allow[0] = '\0';
    for (size_t i = 0; i < API_OPERATION_COUNT; i++) {
        const struct api_route *route = &routes[i];
        if (!path_matches(route->path, path, match))
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
