#include "tests/bench/roll.h"

static void next_list(void *context, unsigned lane, uint64_t sequence, struct buffer *message)
{
    /* All of its fields are left out: the first page, as long as pages are. */
    (void)context, (void)lane, (void)sequence, (void)message;
}

static int64_t judge_list(void *context, unsigned lane, uint64_t answered, const uint8_t *answer, size_t bytes,
                          struct failure *failure)
{
    struct roll_totals *totals = context;
    (void)lane, (void)answered;
    Muster__V1__ListWorkersResponse *response = muster__v1__list_workers_response__unpack(NULL, bytes, answer);
    if (response == NULL) {
        fail(failure, "not a ListWorkersResponse");
        return -1;
    }
    *totals = (struct roll_totals){response->total, response->revision};
    bool whole = response->n_workers == response->total || response->next_page_token[0] != '\0';
    muster__v1__list_workers_response__free_unpacked(response, NULL);
    if (!whole)
        fail(failure, "a page is neither full nor the last one");
    return whole ? 1 : -1;
}

struct grpc_source roll_list_source(struct roll_totals *totals)
{
    return (struct grpc_source){.path = "/muster.v1.RegistryService/ListWorkers",
                                .units = 1,
                                .next = next_list,
                                .judge = judge_list,
                                .context = totals};
}

static void next_watch(void *context, unsigned lane, uint64_t sequence, struct buffer *message)
{
    const struct roll_watch *watch = context;
    Muster__V1__WatchWorkersRequest request = MUSTER__V1__WATCH_WORKERS_REQUEST__INIT;
    (void)lane, (void)sequence;
    request.after_revision = watch->after_revision;
    if (buffer_reserve(message, muster__v1__watch_workers_request__get_packed_size(&request)))
        message->bytes += muster__v1__watch_workers_request__pack(&request, (uint8_t *)message->data + message->bytes);
}

static int64_t judge_watch(void *context, unsigned lane, uint64_t answered, const uint8_t *answer, size_t bytes,
                           struct failure *failure)
{
    const struct roll_watch *watch = context;
    Muster__V1__WatchWorkersResponse *response = muster__v1__watch_workers_response__unpack(NULL, bytes, answer);
    if (response == NULL) {
        fail(failure, "not a WatchWorkersResponse");
        return -1;
    }
    bool complete = response->snapshot_complete && answered == 0;
    bool snapshot = watch->after_revision == 0 && answered == 0;
    for (size_t i = 0; !snapshot && i < response->n_events; i++)
        watch->happened(watch->context, lane, response->events[i]);
    muster__v1__watch_workers_response__free_unpacked(response, NULL);
    return complete ? 1 : 0;
}

struct grpc_source roll_watch_source(struct roll_watch *watch)
{
    return (struct grpc_source){.path = "/muster.v1.RegistryService/WatchWorkers",
                                .streaming = true,
                                .units = 1,
                                .next = next_watch,
                                .judge = judge_watch,
                                .context = watch};
}
