/* Durable changes of the registry beside those of etcd, on the same disk, in three ways: through
 * one connection, as a gateway carries the registrations of its callers and as clients of etcd
 * carry theirs; by a gRPC call on a connection of its own for each; and by REST, while etcd's callers
 * go on with gRPC, which is the fastest that it has.
 *
 * Every registration also reaches the processes that watch the registry, on the same core, while
 * nobody watches etcd. So there is a row without them, too, and in the row with them a second etcd that
 * has as many watchers. */

#include <string.h>

#include "tests/bench/bench.h"
#include "tests/bench/messages_rest.h"
#include "tests/bench/puts.h"

/* The next worker of each kind of load: every registration is of a new one. */
struct numbers {
    struct registrations grpc, put;
    unsigned rest;
};

enum { REST_FIRST = 4000000 };

static void measure(struct bench *bench, struct row_result *result, const struct server *muster,
                    const struct server *etcd, const struct server *watched, struct numbers *numbers)
{
    const char *name = result->row->name;
    struct grpc_source calls = registration_source(&numbers->grpc), shared = registrations_source(&numbers->grpc),
                       puts = put_source(&numbers->put);
    struct http_load posts = {.expected_status = 200,
                              .expected_text = "registered",
                              .make = next_registration_request,
                              .context = &numbers->rest};
    struct load_plan plan = {.connections = result->row->connections, .outstanding = result->row->outstanding};
    struct contender contenders[] = {{&result->muster, muster, plan, contest_grpc, &calls},
                                     {measurement_of(result, "etcd"), etcd, plan, contest_grpc, &puts},
                                     {measurement_of(result, "watched"), watched, plan, contest_grpc, &puts}};
    contenders[0].plan.port = muster->registry_port;
    contenders[1].plan.port = etcd->port;
    contenders[2].plan.port = watched->port;
    if (result->row->outstanding > 1) {
        contenders[0].plan.outstanding /= REGISTRATIONS_IN_A_CALL;
        contenders[0].what = &shared;
    } else if (strcmp(name, "register-rest-64") == 0) {
        contenders[0].plan.port = muster->port;
        contenders[0].run = contest_http;
        contenders[0].what = &posts;
    }
    contest(bench, name, contenders, contenders[2].measurement != NULL ? 3 : 2);
}

static bool is_unwatched(const struct row_result *result)
{
    return strcmp(result->row->name, "register-unwatched-64") == 0;
}

void scenario_registry(struct bench *bench, struct row_result *results, size_t count)
{
    struct server muster = {0}, unwatched = {0}, etcd = {0}, watched = {0};
    struct server_plan plan = server_plan_of(bench, 0), unwatched_plan = plan;
    struct numbers numbers = {.rest = REST_FIRST};
    struct failure failure;
    unwatched_plan.unwatched = true;
    if (!group_selected(results, count, ROW_REGISTRY))
        return;
    if (!server_start_etcd(&etcd, &plan, &failure))
        group_fail(results, count, ROW_REGISTRY, "etcd", &failure);
    if (peer_needed(results, count, ROW_REGISTRY, "watched") && !server_start_watched_etcd(&watched, &plan, &failure))
        group_fail(results, count, ROW_REGISTRY, "watched", &failure);
    if (!server_start_muster(&muster, &plan, &failure))
        group_fail(results, count, ROW_REGISTRY, "muster", &failure);
    if (!server_start_muster(&unwatched, &unwatched_plan, &failure))
        group_fail(results, count, ROW_REGISTRY, "muster", &failure);
    for (size_t i = 0; i < count; i++)
        if (results[i].row->group == ROW_REGISTRY)
            measure(bench, &results[i], is_unwatched(&results[i]) ? &unwatched : &muster, &etcd, &watched, &numbers);
    server_stop(&muster);
    server_stop(&unwatched);
    server_stop(&etcd);
    server_stop(&watched);
}
