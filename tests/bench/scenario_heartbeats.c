#include "tests/bench/bench.h"
#include "tests/bench/leases.h"
#include "tests/bench/messages.h"

enum {
    WORKERS = 10000,
    WORKERS_QUICK = 2048,
    LEASES = 1000,
};

static bool start_etcd(struct bench *bench, struct server *etcd, struct leases *leases, struct failure *failure)
{
    struct server_plan plan = server_plan_of(bench, 0);
    if (!server_start_etcd(etcd, &plan, failure))
        return false;
    struct grpc_source grant = lease_grant_source(leases);
    struct load_plan grants = {
        .port = etcd->port, .connections = 1, .outstanding = 64, .limit = (uint64_t)leases->count};
    struct load_result result;
    return load_grpc(&bench->loop, &grants, &grant, &result, failure);
}

static bool start_muster(struct bench *bench, struct server *muster, unsigned workers, struct failure *failure)
{
    struct server_plan plan = server_plan_of(bench, 0);
    return server_start_muster(muster, &plan, failure) && register_workers(bench, muster, 0, workers, NULL, failure);
}

static void measure(struct bench *bench, struct row_result *result, const struct server *muster,
                    const struct server *etcd, struct heartbeat_messages *messages, struct leases *leases)
{
    const struct row *row = result->row;
    struct grpc_source heartbeats =
        row->streaming ? heartbeat_stream_source(messages) : heartbeat_unary_source(messages);
    struct grpc_source keep_alives = lease_keep_alive_source(leases);
    struct load_plan plan = {.connections = row->connections, .outstanding = row->outstanding};
    struct contender contenders[] = {{&result->muster, muster, plan, contest_grpc, &heartbeats},
                                     {&result->peers[0], etcd, plan, contest_grpc, &keep_alives}};
    contenders[0].plan.port = muster->health_port;
    contenders[1].plan.port = etcd->port;
    contest(bench, row->name, contenders, sizeof contenders / sizeof contenders[0]);
}

void scenario_heartbeats(struct bench *bench, struct row_result *results, size_t count)
{
    unsigned workers = bench->quick ? WORKERS_QUICK : WORKERS;
    struct server muster = {0}, etcd = {0};
    struct leases leases = {.next = 1, .count = LEASES};
    struct heartbeat_messages singles = {0}, batches = {0};
    struct failure failure;
    if (!group_selected(results, count, ROW_HEARTBEATS))
        return;
    if (!start_etcd(bench, &etcd, &leases, &failure))
        group_fail(results, count, ROW_HEARTBEATS, "etcd", &failure);
    if (!start_muster(bench, &muster, workers, &failure))
        group_fail(results, count, ROW_HEARTBEATS, "muster", &failure);
    if (heartbeat_messages_make(&singles, workers, 1) &&
        heartbeat_messages_make(&batches, workers, HEARTBEATS_IN_A_BATCH)) {
        for (size_t i = 0; i < count; i++)
            if (results[i].row->group == ROW_HEARTBEATS)
                measure(bench, &results[i], &muster, &etcd, results[i].row->units > 1 ? &batches : &singles, &leases);
    } else {
        fail(&failure, "out of memory");
        group_fail(results, count, ROW_HEARTBEATS, "muster", &failure);
    }
    heartbeat_messages_free(&singles);
    heartbeat_messages_free(&batches);
    server_stop(&muster);
    server_stop(&etcd);
}
