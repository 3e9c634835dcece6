#include <stdlib.h>
#include <string.h>

#include "tests/bench/backend.h"
#include "tests/bench/bench.h"
#include "tests/bench/load_http.h"

/* A worker behind a link beside one at an address, both of one coordinator and relaying to one upstream. Everything but
 * the upstream shares the servers' core: gateway and worker together is what a request costs. */

enum { LINKED, DIRECT, WORKERS };

static bool contest_bytes(struct loop *loop, const struct load_plan *plan, const void *what, struct load_result *result,
                          struct failure *failure)
{
    bool measured = load_http(loop, plan, what, result, failure);
    result->per_second *= BACKEND_LONG_BODY_BYTES / 1e6;
    return measured;
}

static bool is_about_bytes(const struct row *row)
{
    return strcmp(row->name, "link-bytes-64") == 0;
}

static bool start(struct server *muster, struct bench *bench, const struct backend *backend,
                  const struct http_load loads[WORKERS], struct failure *failure)
{
    struct server_plan plan = server_plan_of(bench, backend_port(backend));
    if (!server_start_muster(muster, &plan, failure))
        return false;
    for (size_t i = 0; i < WORKERS; i++) {
        static const char *const names[WORKERS] = {[LINKED] = "linked", [DIRECT] = "direct"};
        char service[64];
        snprintf(service, sizeof service, "%s=http://127.0.0.1:%u", names[i], backend_port(backend));
        if (!server_add_worker_with(muster, &plan, names[i], service, i == LINKED, failure) ||
            !wait_relayed(bench, muster->port, &loads[i], failure))
            return false;
    }
    return true;
}

static void measure(struct bench *bench, struct row_result *result, const struct http_load loads[WORKERS],
                    struct failure *failure)
{
    bool bytes = is_about_bytes(result->row);
    struct server muster = {.name = "muster"};
    struct backend *backend = backend_open(&bench->loop, bytes ? BACKEND_LONG_BODY_BYTES : BACKEND_BODY_BYTES, failure);
    if (backend == NULL || !start(&muster, bench, backend, loads, failure)) {
        fprintf(stderr, "%s: %s\n", result->row->name, failure->text);
        measurement_fail(&result->muster, failure);
        measurement_fail(measurement_of(result, "direct"), failure);
    } else {
        struct contender contenders[WORKERS];
        struct load_plan plan = {.port = muster.port, .connections = result->row->connections, .outstanding = 1};
        for (size_t i = 0; i < WORKERS; i++)
            contenders[i] = (struct contender){i == LINKED ? &result->muster : measurement_of(result, "direct"),
                                               &muster, plan, bytes ? contest_bytes : contest_http, &loads[i]};
        contest(bench, result->row->name, contenders, WORKERS);
    }
    server_stop(&muster);
    backend_close(backend);
}

void scenario_link(struct bench *bench, struct row_result *results, size_t count)
{
    struct http_requests requests[WORKERS] = {{.texts = NULL}};
    struct http_load loads[WORKERS];
    struct failure failure;
    bool made = true;
    if (!group_selected(results, count, ROW_LINK))
        return;
    for (size_t i = 0; i < WORKERS; i++) {
        char *get = http_request_text("GET", i == LINKED ? "/service/linked/item" : "/service/direct/item", NULL);
        loads[i] = (struct http_load){.requests = &requests[i], .expected_status = 200, .expected_text = "mmmm"};
        made = made && get != NULL && http_requests_make(&requests[i], &get, 1);
    }
    for (size_t i = 0; i < count; i++) {
        if (results[i].row->group != ROW_LINK)
            continue;
        if (made) {
            measure(bench, &results[i], loads, &failure);
        } else {
            fail(&failure, "out of memory");
            measurement_fail(&results[i].muster, &failure);
        }
    }
    for (size_t i = 0; i < WORKERS; i++)
        http_requests_free(&requests[i]);
}
