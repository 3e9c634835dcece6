/* What is asked of Muster's roll: a page of it with its totals, and its changes. */

#pragma once

#include "muster/v1/registry.pb-c.h"
#include "tests/bench/load_grpc.h"

struct roll_totals {
    uint64_t workers;
    uint64_t revision;
};

/* RegistryService.ListWorkers for its first page; the last answer is kept. */
struct grpc_source roll_list_source(struct roll_totals *totals);

/* RegistryService.WatchWorkers. A watcher that was sent a snapshot (after_revision 0) has its
 * first answer when that is complete; what it holds is not told. */
struct roll_watch {
    uint64_t after_revision;
    void (*happened)(void *context, unsigned lane, const Muster__V1__WorkerEvent *event);
    void *context;
};
struct grpc_source roll_watch_source(struct roll_watch *watch);
