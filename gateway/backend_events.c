/* The feed of events: what the replica tells is rendered and handed to the fronts, all of a
 * turn's changes together. While nobody subscribes they are only counted. */

#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "gateway/backend.h"
#include "gateway/front.h"

/* So long after the last subscriber has left, it may come back and be told what it missed. */
#define KEPT_FOR_MS (10 * 60 * 1000)

static bool somebody_listens(const struct backend *backend)
{
    const struct gateway *gateway = backend->gateway;
    uint64_t left_at_ms = atomic_load_explicit(&gateway->subscriber_left_at_ms, memory_order_relaxed);
    return atomic_load_explicit(&gateway->subscribers, memory_order_relaxed) > 0 ||
           (left_at_ms != 0 && rpc_loop_now_ms(backend->loop) < left_at_ms + KEPT_FOR_MS);
}

static void note_change(void *context, const struct replica_change *change)
{
    struct backend *backend = context;
    struct backend_events *feed = &backend->events;
    struct event event = {.revision = ++feed->revision};
    if (!somebody_listens(backend))
        return;
    if (feed->count == feed->capacity) {
        size_t capacity = feed->capacity == 0 ? 64 : feed->capacity * 2;
        struct event *list = realloc(feed->list, capacity * sizeof *list);
        if (list == NULL)
            return; /* the fronts see the gap in the numbers */
        feed->list = list;
        feed->capacity = capacity;
    }
    struct buffer text = BUFFER_INIT;
    event_render(change, event.revision, clock_unix_ms(), backend->gateway->coordinator_id, &text);
    size_t bytes = text.bytes;
    char *data = buffer_take(&text);
    if (data != NULL)
        event.text = http_shared_take(data, bytes); /* NULL: the fronts see that, too */
    feed->list[feed->count++] = event;
}

void backend_events_begin(struct backend *backend)
{
    if (backend->replica.observer != NULL)
        return;
    replica_settle(&backend->replica); /* as things are */
    backend->replica.observer_context = backend;
    backend->replica.observer = note_change;
}

static void hand_to(struct front *front, const struct backend_events *feed)
{
    struct front_events *message = malloc(sizeof *message + feed->count * sizeof message->list[0]);
    if (message == NULL) {
        log_error("out of memory for events; subscribers will be told that they missed some");
        return;
    }
    *message = (struct front_events){.front = front, .count = feed->count};
    for (size_t i = 0; i < feed->count; i++) {
        message->list[i] = feed->list[i];
        if (message->list[i].text != NULL)
            (void)http_shared_reference(message->list[i].text); /* the same pointer */
    }
    front_take_events(message);
}

void backend_events_publish(struct backend *backend)
{
    struct backend_events *feed = &backend->events;
    replica_settle(&backend->replica);
    if (feed->count == 0)
        return;
    for (unsigned i = 0; i < backend->gateway->front_count; i++)
        hand_to(backend->gateway->fronts[i], feed);
    backend_events_free(backend);
}

/* The subscriber was counted before it asked, so what comes after this revision is rendered. */
void backend_run_subscribe(struct backend *backend, struct job *job)
{
    backend_events_publish(backend);
    job->event_revision = backend->events.revision;
    job_done(job);
}

void backend_events_free(struct backend *backend)
{
    struct backend_events *feed = &backend->events;
    for (size_t i = 0; i < feed->count; i++)
        http_shared_release(feed->list[i].text);
    free(feed->list);
    *feed = (struct backend_events){.revision = feed->revision};
}
