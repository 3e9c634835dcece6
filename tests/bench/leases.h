/* etcd's way of saying "alive": a lease for each lane, kept alive over a stream.
 *
 * LeaseGrant grants leases 1 to n, one after the other; LeaseKeepAlive keeps lease 1 + lane
 * (around). A keep-alive carries a lease id and nothing else, which is in etcd's favour. */

#pragma once

#include "tests/bench/load_grpc.h"

struct leases {
    int64_t next;  /* to grant; starts at 1 */
    int64_t count; /* that were granted */
};
struct grpc_source lease_grant_source(struct leases *leases);
struct grpc_source lease_keep_alive_source(struct leases *leases);
