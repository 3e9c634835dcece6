#include <stdlib.h>
#include <string.h>

#include "tests/bench/bench.h"
#include "tests/bench/messages.h"
#include "tests/bench/messages_rest.h"

enum {
    WORKERS = 1000,
    LISTED = 100,
    REGISTERING_CONNECTIONS = 50,
};

/* The requests from `first` on, each sent once. The view shares the texts. */
static bool send_once(struct bench *bench, uint16_t port, const struct http_requests *requests, size_t first,
                      size_t count, struct failure *failure)
{
    struct http_requests view = {requests->texts + first, requests->lengths + first, count};
    struct http_load load = {.requests = &view, .expected_status = 200, .expected_text = "registered"};
    struct load_plan plan = {.port = port, .connections = REGISTERING_CONNECTIONS, .outstanding = 1, .limit = count};
    struct load_result result;
    return load_http(&bench->loop, &plan, &load, &result, failure);
}

/* Both lists must hold the same hundred workers before their rates are compared. */
static bool lists_all(uint16_t port, struct failure *failure)
{
    unsigned status = 0;
    char *body = NULL, *request = http_request_text("GET", "/api/coordinator/workers", NULL), last[WORKER_ID_BYTES];
    bool asked = request != NULL && http_ask(port, request, &status, &body, failure);
    worker_id(last, LISTED - 1);
    bool complete = asked && status == 200 && strstr(body, last) != NULL &&
                    (strstr(body, "\"count\":100") != NULL || strstr(body, "\"count\": 100") != NULL);
    if (asked && !complete)
        fail(failure, "the worker list (status %u) does not hold the %d workers", status, LISTED);
    free(body);
    free(request);
    return complete;
}

static void start(struct bench *bench, struct row_result *results, size_t count, struct server *server,
                  const char *name, const struct http_requests *registrations)
{
    struct failure failure;
    struct server_plan plan = server_plan_of(bench, 0);
    bool started = strcmp(name, "muster") == 0   ? server_start_muster(server, &plan, &failure)
                   : strcmp(name, "uvloop") == 0 ? server_start_uvloop(server, &plan, &failure)
                                                 : server_start_fastapi(server, &plan, &failure);
    if (!started || !send_once(bench, server->port, registrations, 0, LISTED, &failure) ||
        !lists_all(server->port, &failure))
        group_fail(results, count, ROW_REST, name, &failure);
}

enum { MUSTER, FASTAPI, UVLOOP, SERVERS };
static const char *const names[SERVERS] = {"muster", "fastapi", "uvloop"};

static void measure(struct bench *bench, struct row_result *result, const struct server *servers,
                    const struct http_load *load)
{
    struct contender contenders[SERVERS];
    for (size_t i = 0; i < SERVERS; i++) {
        struct load_plan plan = {.port = servers[i].port, .connections = result->row->connections, .outstanding = 1};
        contenders[i] = (struct contender){measurement_of(result, names[i]), &servers[i], plan, contest_http, load};
    }
    contest(bench, result->row->name, contenders, SERVERS);
}

static void measure_all(struct bench *bench, struct row_result *results, size_t count,
                        const struct http_requests *registrations, const struct http_requests *heartbeats,
                        const struct http_requests *list)
{
    struct server servers[SERVERS] = {{0}};
    struct http_load listing = {.requests = list, .expected_status = 200, .expected_text = "\"workers\""};
    struct http_load beating = {.requests = heartbeats, .expected_status = 200, .expected_text = "ok"};
    for (size_t i = 0; i < SERVERS; i++)
        start(bench, results, count, &servers[i], names[i], registrations);
    for (size_t i = 0; i < count; i++)
        if (strcmp(results[i].row->name, "rest-list") == 0)
            measure(bench, &results[i], servers, &listing);
    for (size_t i = 0; i < SERVERS; i++) {
        struct failure failure;
        if (servers[i].process_count > 0 &&
            !send_once(bench, servers[i].port, registrations, LISTED, WORKERS - LISTED, &failure))
            group_fail(results, count, ROW_REST, names[i], &failure);
    }
    for (size_t i = 0; i < count; i++)
        if (results[i].row->group == ROW_REST && strcmp(results[i].row->name, "rest-list") != 0)
            measure(bench, &results[i], servers, &beating);
    for (size_t i = 0; i < SERVERS; i++)
        server_stop(&servers[i]);
}

void scenario_rest(struct bench *bench, struct row_result *results, size_t count)
{
    struct http_requests registrations = {0}, heartbeats = {0}, list = {0};
    if (!group_selected(results, count, ROW_REST))
        return;
    char *get = http_request_text("GET", "/api/coordinator/workers", NULL);
    bool made = get != NULL && http_requests_make(&list, &get, 1);
    if (!made)
        free(get);
    if (made && registration_requests(&registrations, WORKERS) && heartbeat_requests(&heartbeats, WORKERS)) {
        measure_all(bench, results, count, &registrations, &heartbeats, &list);
    } else {
        struct failure failure;
        fail(&failure, "out of memory");
        group_fail(results, count, ROW_REST, "muster", &failure);
    }
    http_requests_free(&registrations);
    http_requests_free(&heartbeats);
    http_requests_free(&list);
}
