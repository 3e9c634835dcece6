/* Heartbeats of ids that health does not know: the registry is asked before anybody is told
 * to register again. One question at a time, for many ids. See health.h.
 *
 * When the registry cannot be asked, the heartbeat is acknowledged: a lookup of a relayed one
 * ends there. One that came over the worker's own stream is released (nothing waits for it)
 * and asked again later, for as long as the stream is there. Without that, a worker that
 * connects while the registry is away would not be heard before its next heartbeat, and the
 * break of its stream would say nothing. */

#include "services/health/health.h"

#include "services/health/state.h"

#include <stdlib.h>
#include <string.h>

#define WORKER_ID_BYTES_MAX 256
#define RETRY_MS 500

static void register_again(struct health *health, struct health_stream *stream, const char *worker_id,
                           uint64_t sequence, uint32_t index, uint64_t incarnation)
{
    /* Out of memory: the worker is told with its next heartbeat. */
    (void)health_stream_command(health, stream, sequence, index, worker_id, incarnation,
                                MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_REGISTER_AGAIN, NULL,
                                "no worker of this id is registered");
}

static void lookup_free(struct health_lookup *lookup)
{
    list_remove(&lookup->of_stream);
    list_remove(&lookup->queue);
    free(lookup);
}

bool health_lookup_add(struct health *health, struct health_stream *stream, const Muster__V1__Heartbeat *heartbeat,
                       uint64_t sequence, uint32_t index, bool relayed)
{
    size_t id_bytes = strlen(heartbeat->worker_id);
    if (id_bytes == 0 || id_bytes > WORKER_ID_BYTES_MAX) {
        /* No id that could be registered. It is not repeated in the answer: index says which. */
        register_again(health, stream, "", sequence, index, heartbeat->incarnation);
        return true;
    }
    if (health->lookup_count >= HEALTH_LOOKUPS_WAITING_MAX)
        return false;
    struct health_lookup *lookup = calloc(1, sizeof(*lookup) + id_bytes + 1);
    if (lookup == NULL)
        return false;
    lookup->stream = stream;
    lookup->sequence = sequence;
    lookup->index = index;
    lookup->incarnation = heartbeat->incarnation;
    lookup->said = heartbeat->status == WORKER_DEGRADED || heartbeat->status == WORKER_DRAINING
                       ? (uint8_t)heartbeat->status
                       : (uint8_t)WORKER_ONLINE;
    lookup->relayed = relayed;
    memcpy(lookup->worker_id, heartbeat->worker_id, id_bytes + 1);
    list_append(&stream->lookups, &lookup->of_stream);
    list_append(&health->lookups, &lookup->queue);
    health->lookup_count++;
    return true;
}

static void forget(struct list_link *lookups)
{
    /* They stay in the queue, since a question may be under way, but nobody waits for them. */
    while (!list_is_empty(lookups)) {
        struct health_lookup *lookup = LIST_OBJECT(lookups->next, struct health_lookup, of_stream);
        list_remove(&lookup->of_stream);
        lookup->stream = NULL;
    }
}

void health_lookup_forget_stream(struct health_stream *stream)
{
    forget(&stream->lookups);
    forget(&stream->released);
}

void health_lookup_destroy_all(struct health *health)
{
    list_move_all_to_front(&health->lookups_sent, &health->lookups);
    list_move_all_to_front(&health->lookups_later, &health->lookups);
    bare_timer_stop(&health->wheel, &health->lookup_retry);
    while (!list_is_empty(&health->lookups))
        lookup_free(LIST_OBJECT(health->lookups.next, struct health_lookup, queue));
    health->lookup_count = 0;
}

bool health_fill_lookup(struct health *health, Muster__V1__GetWorkersRequest *request)
{
    if (health->lookup_under_way)
        return false;
    size_t count = 0;
    if (list_is_empty(&health->lookups) || !health_batch_reserve(health, HEALTH_LOOKUP_IDS_MAX))
        return false;
    char **ids = (char **)health->batch.pointers;
    while (count < HEALTH_LOOKUP_IDS_MAX && !list_is_empty(&health->lookups)) {
        struct health_lookup *lookup = LIST_OBJECT(health->lookups.next, struct health_lookup, queue);
        if (lookup->stream == NULL) {
            lookup_free(lookup);
            health->lookup_count--;
            continue;
        }
        list_remove(&lookup->queue);
        list_append(&health->lookups_sent, &lookup->queue);
        ids[count++] = lookup->worker_id;
    }
    if (count == 0)
        return false;
    muster__v1__get_workers_request__init(request);
    request->n_worker_ids = count;
    request->worker_ids = ids;
    health->lookup_under_way = true;
    return true;
}

/* The registry has answered for this one: known now, or, if the answer is `current`, surely
 * not on the roll. */
static void settle(struct health *health, const struct health_lookup *lookup, bool current, uint64_t now_ms)
{
    struct health_stream *stream = lookup->stream;
    struct health_worker *worker = health_find(health, lookup->worker_id);
    if (worker == NULL) {
        if (current)
            register_again(health, stream, lookup->worker_id, lookup->sequence, lookup->index, lookup->incarnation);
        return;
    }
    if (lookup->incarnation != 0 && lookup->incarnation < worker->incarnation) {
        health->counts.stale++;
        (void)health_stream_command(health, stream, lookup->sequence, lookup->index, worker->id, lookup->incarnation,
                                    MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_STALE_INCARNATION, NULL,
                                    "this id was registered again since");
        return;
    }
    if (lookup->incarnation > worker->incarnation && current) {
        /* A registration that the registry lost, with an older backup maybe. */
        register_again(health, stream, worker->id, lookup->sequence, lookup->index, lookup->incarnation);
        return;
    }
    health_stream_heard(health, worker, lookup->relayed ? NULL : stream, lookup->said, NULL, now_ms);
    health_stream_tell(health, stream, worker, lookup->sequence, lookup->index);
}

void health_lookup_retry(struct health *health)
{
    list_move_all_to_front(&health->lookups_later, &health->lookups);
}

/* Nothing waits for it any more, but it is asked again. */
static void release(struct health *health, struct health_lookup *lookup)
{
    list_remove(&lookup->of_stream);
    list_append(&lookup->stream->released, &lookup->of_stream);
    list_remove(&lookup->queue);
    list_append(&health->lookups_later, &lookup->queue);
    lookup->sequence = 0; /* what comes of it is told on its own */
    lookup->index = 0;
    if (!bare_timer_active(&health->lookup_retry))
        bare_timer_start(&health->wheel, &health->lookup_retry, health->wheel.now_ms + RETRY_MS);
}

void health_lookup_answered(struct health *health, const Muster__V1__GetWorkersResponse *response, uint64_t now_ms)
{
    health_change_reap(health);
    health->lookup_under_way = false;
    /* When the watch is ahead of the answer, which is the rule while the roll is busy, it has
     * brought what the answer was asked for: who is not known now is not on the roll. A worker in
     * such an answer may be gone again. */
    bool newer = response != NULL && response->revision >= health->revision;
    bool current = newer || (response != NULL && health->synchronised && !health->in_snapshot);
    for (size_t i = 0; response != NULL && i < response->n_workers; i++) {
        const Muster__V1__Worker *record = response->workers[i];
        if (record->spec == NULL || record->spec->worker_id[0] == 0 ||
            strlen(record->spec->worker_id) > WORKER_ID_BYTES_MAX)
            continue;
        /* Out of memory: not known, as before; nobody is told to register again. */
        if ((newer || health_find(health, record->spec->worker_id) != NULL) &&
            health_put(health, record, false, now_ms) == NULL)
            current = false;
    }
    while (!list_is_empty(&health->lookups_sent)) {
        struct health_lookup *lookup = LIST_OBJECT(health->lookups_sent.next, struct health_lookup, queue);
        if (lookup->stream != NULL) {
            health_stream_ready(health, lookup->stream);
            if (!current && !lookup->relayed && health_find(health, lookup->worker_id) == NULL) {
                release(health, lookup);
                continue;
            }
            settle(health, lookup, current, now_ms);
        }
        lookup_free(lookup);
        health->lookup_count--;
    }
}
