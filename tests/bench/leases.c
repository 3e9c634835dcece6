#include "tests/bench/leases.h"

#include "common/wire.h"
#include "tests/bench/varint.h"

enum {
    LEASE_SECONDS = 3600,
    /* Field numbers of etcd's LeaseGrantRequest, LeaseKeepAliveRequest and their responses. */
    GRANT_TTL = 1,
    GRANT_ID = 2,
    KEEP_ALIVE_ID = 1,
    RESPONSE_ID = 2,
    RESPONSE_TTL = 3,
};

static void next_grant(void *context, unsigned lane, uint64_t sequence, struct buffer *message)
{
    struct leases *leases = context;
    (void)lane, (void)sequence;
    buffer_append_char(message, GRANT_TTL << 3);
    varint_append(message, LEASE_SECONDS);
    buffer_append_char(message, GRANT_ID << 3);
    varint_append(message, (uint64_t)leases->next++);
}

static void next_keep_alive(void *context, unsigned lane, uint64_t sequence, struct buffer *message)
{
    const struct leases *leases = context;
    (void)sequence;
    buffer_append_char(message, KEEP_ALIVE_ID << 3);
    varint_append(message, 1 + lane % (uint64_t)leases->count);
}

/* Both responses have a header, an id and a time to live, which is 0 for a lease that is gone. */
static int64_t judge_lease(void *context, unsigned lane, uint64_t answered, const uint8_t *answer, size_t bytes,
                           struct failure *failure)
{
    uint64_t id = 0, seconds = 0;
    struct wire_bytes rest = {answer, bytes};
    struct wire_field field;
    (void)context, (void)lane, (void)answered;
    while (wire_next(&rest, &field)) {
        if (field.number == RESPONSE_ID)
            id = field.value;
        else if (field.number == RESPONSE_TTL)
            seconds = field.value;
    }
    if (id != 0 && seconds > 0)
        return 1;
    fail(failure, "lease %llu is not alive", (unsigned long long)id);
    return -1;
}

struct grpc_source lease_grant_source(struct leases *leases)
{
    return (struct grpc_source){.path = "/etcdserverpb.Lease/LeaseGrant",
                                .units = 1,
                                .next = next_grant,
                                .judge = judge_lease,
                                .context = leases};
}

struct grpc_source lease_keep_alive_source(struct leases *leases)
{
    return (struct grpc_source){.path = "/etcdserverpb.Lease/LeaseKeepAlive",
                                .streaming = true,
                                .units = 1,
                                .next = next_keep_alive,
                                .judge = judge_lease,
                                .context = leases};
}
