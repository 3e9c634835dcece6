#include <stdlib.h>
#include <string.h>

#include "tests/bench/backend.h"
#include "tests/bench/bench.h"
#include "tests/bench/load_http.h"
#include "tests/bench/messages.h"

enum {
    ROUTABLE_TRIES = 100,
    ROUTABLE_WAIT_MS = 50,
};

bool wait_relayed(struct bench *bench, uint16_t port, const struct http_load *load, struct failure *failure)
{
    struct load_plan plan = {.port = port, .connections = 1, .outstanding = 1, .limit = 1};
    struct load_result result;
    for (unsigned try = 0; try < ROUTABLE_TRIES && !loop_interrupted(&bench->loop); try++) {
        if (load_http(&bench->loop, &plan, load, &result, failure))
            return true;
        loop_run_ms(&bench->loop, ROUTABLE_WAIT_MS);
    }
    return false;
}

static bool start_muster(struct server *muster, struct bench *bench, const struct server_plan *plan,
                         struct failure *failure)
{
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u", plan->upstream_port);
    return server_start_muster(muster, plan, failure) && register_workers(bench, muster, 0, 1, url, failure);
}

static void measure_all(struct bench *bench, struct row_result *results, size_t count, const struct backend *backend,
                        const struct http_load *load)
{
    struct server servers[] = {{.name = "muster"}, {.name = "nginx"}, {.name = "haproxy"}};
    enum { MUSTER, NGINX, HAPROXY, SERVERS };
    struct server_plan plan = server_plan_of(bench, backend_port(backend));
    for (size_t i = 0; i < SERVERS; i++) {
        struct failure failure;
        const char *name = servers[i].name;
        bool started = i == MUSTER  ? start_muster(&servers[i], bench, &plan, &failure)
                       : i == NGINX ? server_start_nginx(&servers[i], &plan, &failure)
                                    : server_start_haproxy(&servers[i], &plan, &failure);
        if (!started || !wait_relayed(bench, servers[i].port, load, &failure))
            group_fail(results, count, ROW_RELAY, name, &failure);
    }
    for (size_t i = 0; i < count; i++) {
        struct contender contenders[SERVERS];
        if (results[i].row->group != ROW_RELAY)
            continue;
        for (size_t j = 0; j < SERVERS; j++) {
            struct load_plan load_plan = {
                .port = servers[j].port, .connections = results[i].row->connections, .outstanding = 1};
            contenders[j] = (struct contender){measurement_of(&results[i], servers[j].name), &servers[j], load_plan,
                                               contest_http, load};
        }
        contest(bench, results[i].row->name, contenders, SERVERS);
    }
    for (size_t i = 0; i < SERVERS; i++)
        server_stop(&servers[i]);
}

void scenario_relay(struct bench *bench, struct row_result *results, size_t count)
{
    struct http_requests requests = {0};
    struct failure failure;
    if (!group_selected(results, count, ROW_RELAY))
        return;
    struct backend *backend = backend_open(&bench->loop, BACKEND_BODY_BYTES, &failure);
    char *get = http_request_text("GET", "/service/" BENCH_SERVICE "/item", NULL);
    if (backend != NULL && get != NULL && http_requests_make(&requests, &get, 1)) {
        struct http_load load = {.requests = &requests, .expected_status = 200, .expected_text = "mmmm"};
        measure_all(bench, results, count, backend, &load);
    } else {
        if (backend != NULL)
            fail(&failure, "out of memory");
        free(get);
        group_fail(results, count, ROW_RELAY, "muster", &failure);
    }
    http_requests_free(&requests);
    backend_close(backend);
}
