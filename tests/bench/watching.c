#include "tests/bench/watching.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/wire.h"
#include "tests/bench/puts.h"
#include "tests/bench/varint.h"

enum {
    /* Field numbers of etcd's WatchRequest, WatchCreateRequest, WatchResponse, Event and KeyValue. */
    WATCH_CREATE = 1,
    CREATE_KEY = 1,
    CREATE_RANGE_END = 2,
    RESPONSE_CREATED = 3,
    RESPONSE_CANCELED = 4,
    RESPONSE_EVENT = 11,
    EVENT_KEY_VALUE = 2,
    KEY_VALUE_KEY = 1,
};

/* All keys of workers: from the one up to before the other. */
static const char keys_begin[] = "worker-", keys_end[] = "worker.";

bool watching_make(struct watching *watching, unsigned watchers, unsigned first, unsigned count, unsigned warm_up)
{
    *watching = (struct watching){.watchers = watchers,
                                  .first = first,
                                  .count = count,
                                  .warm_up = warm_up,
                                  .changes.next = first,
                                  .state = calloc(count, sizeof *watching->state),
                                  .got = calloc((size_t)count * watchers, sizeof *watching->got)};
    return watching->state != NULL && watching->got != NULL;
}

void watching_free(struct watching *watching)
{
    samples_free(&watching->latencies);
    free(watching->state);
    free(watching->got);
    *watching = (struct watching){0};
}

/* A watcher has got the change of that worker. */
static void got_change(struct watching *watching, unsigned watcher, const char *id, size_t id_bytes)
{
    char text[WORKER_ID_BYTES] = "";
    unsigned number;
    if (id_bytes >= sizeof text)
        return;
    memcpy(text, id, id_bytes);
    if (sscanf(text, "worker-%u", &number) != 1 || number < watching->first ||
        number - watching->first >= watching->count)
        return;
    unsigned place = number - watching->first;
    struct watching_change *change = &watching->state[place];
    bool *got = &watching->got[(size_t)place * watching->watchers + watcher];
    /* Sent once more, with something else changed: no news. */
    if (*got || change->sent_us == 0)
        return;
    *got = true;
    if (++change->seen < watching->watchers)
        return;
    watching->complete++;
    if (place >= watching->warm_up)
        samples_add(&watching->latencies, (double)(clock_monotonic_us() - change->sent_us) / 1e3);
}

static void note_sent(struct watching *watching)
{
    unsigned place = watching->changes.next - watching->first;
    if (place < watching->count)
        watching->state[place].sent_us = clock_monotonic_us();
}

/* --- Muster --- */

static void roll_changed(void *context, unsigned lane, const Muster__V1__WorkerEvent *event)
{
    if (event->type == MUSTER__V1__WORKER_EVENT_TYPE__WORKER_EVENT_TYPE_PUT)
        got_change(context, lane, event->worker_id, strlen(event->worker_id));
}

struct grpc_source watching_roll_source(struct watching *watching)
{
    watching->roll = (struct roll_watch){watching->after_revision, roll_changed, watching};
    return roll_watch_source(&watching->roll);
}

static void next_registration(void *context, unsigned lane, uint64_t sequence, struct buffer *message)
{
    struct watching *watching = context;
    note_sent(watching);
    registration_source(&watching->changes).next(&watching->changes, lane, sequence, message);
}

struct grpc_source watching_registrations_source(struct watching *watching)
{
    struct grpc_source source = registration_source(&watching->changes);
    source.next = next_registration;
    source.context = watching; /* the judge looks at none */
    return source;
}

/* --- etcd --- */

static void next_keys(void *context, unsigned lane, uint64_t sequence, struct buffer *message)
{
    struct buffer create = BUFFER_INIT;
    (void)context, (void)lane, (void)sequence;
    varint_append_bytes(&create, CREATE_KEY, keys_begin, strlen(keys_begin));
    varint_append_bytes(&create, CREATE_RANGE_END, keys_end, strlen(keys_end));
    varint_append_bytes(message, WATCH_CREATE, create.data, create.bytes);
    message->failed |= create.failed;
    buffer_free(&create);
}

static void got_event(struct watching *watching, unsigned lane, struct wire_bytes event)
{
    struct wire_field pair, key;
    while (wire_next(&event, &pair))
        while (pair.number == EVENT_KEY_VALUE && wire_next(&pair.bytes, &key))
            if (key.number == KEY_VALUE_KEY)
                got_change(watching, lane, (const char *)key.bytes.data, key.bytes.count);
}

static int64_t judge_keys(void *context, unsigned lane, uint64_t answered, const uint8_t *answer, size_t bytes,
                          struct failure *failure)
{
    struct wire_bytes rest = {answer, bytes};
    struct wire_field field;
    int64_t count = 0;
    while (wire_next(&rest, &field)) {
        if (field.number == RESPONSE_CANCELED && field.value != 0) {
            fail(failure, "a watch was cancelled");
            return -1;
        }
        if (field.number == RESPONSE_CREATED && field.value != 0 && answered == 0)
            count = 1;
        else if (field.number == RESPONSE_EVENT)
            got_event(context, lane, field.bytes);
    }
    return count;
}

struct grpc_source watching_keys_source(struct watching *watching)
{
    return (struct grpc_source){.path = "/etcdserverpb.Watch/Watch",
                                .streaming = true,
                                .units = 1,
                                .next = next_keys,
                                .judge = judge_keys,
                                .context = watching};
}

static void next_put(void *context, unsigned lane, uint64_t sequence, struct buffer *message)
{
    struct watching *watching = context;
    note_sent(watching);
    put_source(&watching->changes).next(&watching->changes, lane, sequence, message);
}

struct grpc_source watching_puts_source(struct watching *watching)
{
    struct grpc_source source = put_source(&watching->changes);
    source.next = next_put;
    source.context = watching; /* the judge looks at none */
    return source;
}
