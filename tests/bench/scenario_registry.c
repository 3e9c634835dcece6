/* Durable changes of the registry beside those of etcd, on the same disk. */

#include <string.h>

#include "tests/bench/bench.h"
#include "tests/bench/puts.h"

static void measure_registrations(struct bench *bench, struct row_result *result, const struct server *muster,
                                  const struct server *etcd)
{
    struct registrations registered = {0}, put = {0};
    struct grpc_source registrations = registration_source(&registered), puts = put_source(&put);
    struct load_plan plan = {.connections = result->row->connections, .outstanding = result->row->outstanding};
    struct contender contenders[] = {{&result->muster, muster, plan, contest_grpc, &registrations},
                                     {&result->peers[0], etcd, plan, contest_grpc, &puts}};
    contenders[0].plan.port = muster->registry_port;
    contenders[1].plan.port = etcd->port;
    contest(bench, result->row->name, contenders, sizeof contenders / sizeof contenders[0]);
}

void scenario_registry(struct bench *bench, struct row_result *results, size_t count)
{
    struct server muster = {0}, etcd = {0};
    struct server_plan plan = server_plan_of(bench, 0);
    struct failure failure;
    if (!group_selected(results, count, ROW_REGISTRY))
        return;
    if (!server_start_etcd(&etcd, &plan, &failure))
        group_fail(results, count, ROW_REGISTRY, "etcd", &failure);
    if (!server_start_muster(&muster, &plan, &failure))
        group_fail(results, count, ROW_REGISTRY, "muster", &failure);
    for (size_t i = 0; i < count; i++)
        if (strcmp(results[i].row->name, "register-64") == 0)
            measure_registrations(bench, &results[i], &muster, &etcd);
    server_stop(&muster);
    server_stop(&etcd);
}
