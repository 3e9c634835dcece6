#include "tests/bench/puts.h"

#include "tests/bench/varint.h"

#include <string.h>

enum {
    /* Field numbers of etcd's PutRequest and PutResponse, all length-delimited. */
    PUT_KEY = 1,
    PUT_VALUE = 2,
    RESPONSE_HEADER = 1,
};

static void next_put(void *context, unsigned lane, uint64_t sequence, struct buffer *message)
{
    struct registrations *registrations = context;
    struct grpc_source registration = registration_source(registrations);
    struct buffer value = BUFFER_INIT;
    char id[WORKER_ID_BYTES];
    worker_id(id, registrations->next);
    registration.next(registration.context, lane, sequence, &value);
    varint_append_bytes(message, PUT_KEY, id, strlen(id));
    varint_append_bytes(message, PUT_VALUE, value.data, value.bytes);
    message->failed |= value.failed;
    buffer_free(&value);
}

static int64_t judge_put(void *context, unsigned lane, uint64_t answered, const uint8_t *answer, size_t bytes,
                         struct failure *failure)
{
    (void)context, (void)lane, (void)answered;
    if (bytes > 0 && answer[0] == (RESPONSE_HEADER << 3 | 2))
        return 1;
    fail(failure, "a put was not answered with a revision");
    return -1;
}

struct grpc_source put_source(struct registrations *registrations)
{
    return (struct grpc_source){
        .path = "/etcdserverpb.KV/Put", .units = 1, .next = next_put, .judge = judge_put, .context = registrations};
}
