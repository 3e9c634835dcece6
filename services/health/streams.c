/* Heartbeats in, acknowledgements and commands out; see health.h. */

#include "services/health/health.h"

#include "services/health/state.h"

#include <stdlib.h>
#include <string.h>

/* Heartbeats of one message that are looked up together. */
#define TOGETHER 16
#define CACHE_LINE_BYTES 64

struct health_stream *health_stream_open(struct health *health, void *user)
{
    struct health_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL)
        return NULL;
    stream->user = user;
    list_init(&stream->workers);
    list_init(&stream->commands);
    list_init(&stream->sent);
    list_init(&stream->lookups);
    list_init(&stream->released);
    list_append(&health->streams, &stream->open);
    return stream;
}

void *health_stream_user(const struct health_stream *stream)
{
    return stream->user;
}

void health_stream_ready(struct health *health, struct health_stream *stream)
{
    if (!list_is_linked(&stream->ready))
        list_append(&health->ready_streams, &stream->ready);
}

struct health_stream *health_next_ready_stream(struct health *health)
{
    if (list_is_empty(&health->ready_streams))
        return NULL;
    struct health_stream *stream = LIST_OBJECT(health->ready_streams.next, struct health_stream, ready);
    list_remove(&stream->ready);
    return stream;
}

size_t health_stream_waiting_commands(const struct health_stream *stream)
{
    return stream->command_count;
}

bool health_stream_is_settled(const struct health_stream *stream)
{
    return list_is_empty(&stream->lookups);
}

/* --- Commands --- */

static void command_free(struct health_command *command)
{
    free(command->names);
    free(command);
}

static void free_commands(struct list_link *list)
{
    while (!list_is_empty(list)) {
        struct health_command *command = LIST_OBJECT(list->next, struct health_command, link);
        list_remove(&command->link);
        command_free(command);
    }
}

bool health_stream_command(struct health *health, struct health_stream *stream, uint64_t sequence, uint32_t index,
                           const char *worker_id, uint64_t incarnation, Muster__V1__WorkerCommandType type,
                           struct name_list *names, const char *reason)
{
    size_t id_bytes = strlen(worker_id) + 1;
    struct health_command *command = calloc(1, sizeof(*command) + id_bytes);
    if (command == NULL)
        return false;
    command->sequence = sequence;
    command->index = index;
    command->incarnation = incarnation;
    command->type = type;
    command->names = names;
    command->reason = reason;
    memcpy(command->worker_id, worker_id, id_bytes);
    list_append(&stream->commands, &command->link);
    stream->command_count++;
    health_stream_ready(health, stream);
    return true;
}

void health_stream_tell(struct health *health, struct health_stream *stream, struct health_worker *worker,
                        uint64_t sequence, uint32_t index)
{
    if (worker->untold != NULL &&
        health_stream_command(health, stream, sequence, index, worker->id, worker->incarnation,
                              MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_ASSIGNMENT, worker->untold, ""))
        worker->untold = NULL;
    if (worker->draining != worker->told_draining &&
        health_stream_command(health, stream, sequence, index, worker->id, worker->incarnation,
                              worker->draining ? MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_DRAIN
                                               : MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_UNDRAIN,
                              NULL, "asked for by an operator")) {
        worker->told_draining = worker->draining;
        worker->drain_unconfirmed = true;
    }
}

/* A stream broke before its commands surely arrived: assignments are to be told again. To be
 * told twice does no harm. (Whether a worker knows that it drains, it says itself.) */
static void untell(struct health *health, struct list_link *commands)
{
    for (struct list_link *link = commands->next; link != commands; link = link->next) {
        struct health_command *command = LIST_OBJECT(link, struct health_command, link);
        struct health_worker *worker = health_find(health, command->worker_id);
        if (command->names == NULL || worker == NULL || worker->incarnation != command->incarnation ||
            worker->untold != NULL)
            continue;
        worker->untold = command->names;
        command->names = NULL;
    }
}

/* --- Heartbeats --- */

void health_stream_detach(struct health_worker *worker)
{
    if (worker->own == NULL)
        return;
    list_remove(&worker->own->sent_by);
    slab_give(worker->own, sizeof(*worker->own));
    worker->own = NULL;
}

static struct health_stream *own_stream_of(const struct health_worker *worker)
{
    return worker->own != NULL ? worker->own->stream : NULL;
}

/* Out of memory: the break of the stream will say nothing of this worker, its silence will. */
static void attach(struct health *health, struct health_worker *worker, struct health_stream *stream)
{
    struct own_stream *own = slab_take(health->memory, sizeof(*own));
    if (own == NULL)
        return;
    *own = (struct own_stream){.stream = stream, .worker = worker};
    list_append(&stream->workers, &own->sent_by);
    worker->own = own;
}

/* A worker that came when all places were taken gets one as soon as there is one. */
static void note_history(struct health *health, struct health_worker *worker, const Muster__V1__Load *load)
{
    if (worker->history_place == 0 && history_has_room(health->history))
        worker->history_place = history_admit(health->history, worker->id, (Muster__V1__WorkerStatus)worker->status);
    if (worker->history_place != 0)
        history_heartbeat(health->history, worker->history_place, load);
}

/* Two workers with one id. A heartbeat of an earlier registration that comes after one of the
 * present registration was sent by another process: one that registers again does so once, and its
 * heartbeats from before come before. Whoever set them up must see it, so that stays the worker's
 * reason until nothing more of the other one was heard for CONTESTED_PERIODS, in which the worker
 * itself was heard. */
#define CONTESTED_PERIOD_MS 32768
#define CONTESTED_PERIODS 9

static void note_contest(struct health *health, struct health_worker *worker, uint64_t now_ms)
{
    if (!worker->beaten)
        return;
    worker->contested = CONTESTED_PERIODS;
    health_judge(health, worker, now_ms);
}

static void forget_contest(struct health_worker *worker, uint64_t now_ms)
{
    if (now_ms / CONTESTED_PERIOD_MS != worker->last_heard_ms / CONTESTED_PERIOD_MS)
        worker->contested--;
}

void health_stream_heard(struct health *health, struct health_worker *worker, struct health_stream *source,
                         uint8_t said, const Muster__V1__Load *load, uint64_t now_ms)
{
    if (worker->reason == DETECTOR_STREAM_BROKEN || worker->reason == DETECTOR_BRAKED)
        health_returned(health, worker, now_ms);
    if (worker->contested > 0)
        forget_contest(worker, now_ms);
    worker->beaten = true;
    worker->last_heard_ms = now_ms;
    worker->stream_broken = false;
    worker->heard = true;
    worker->base = said;
    if (own_stream_of(worker) != source) {
        health_stream_detach(worker);
        if (source != NULL)
            attach(health, worker, source);
    }
    if (worker->drain_unconfirmed) {
        /* A command that got lost on the way is told again, until the worker says what it was
         * told. One that drains of its own accord was never told anything. */
        worker->told_draining = said == WORKER_DRAINING;
        worker->drain_unconfirmed = worker->told_draining != worker->draining;
    }
    /* A load that is refused leaves the one before, which is better than none. */
    bool load_changed = load != NULL && health_worker_set_load(health, worker, load) == LOAD_CHANGED;
    uint8_t reason = said == WORKER_ONLINE ? DETECTOR_WELL : DETECTOR_SAYS_SO;
    if (worker->status != said || worker->reason != reason)
        health_judge(health, worker, now_ms);
    if (health->history != NULL)
        note_history(health, worker, load);
    health_change_note(health, worker, load_changed);
}

static uint8_t said_of(const Muster__V1__Heartbeat *heartbeat)
{
    if (heartbeat->status == WORKER_DEGRADED || heartbeat->status == WORKER_DRAINING)
        return (uint8_t)heartbeat->status;
    return WORKER_ONLINE;
}

/* The leaky bucket as a meter (ITU-T I.371): each heartbeat that is taken pours one in, and the
 * limit is what runs out in a second. False: it would flow over. */
static bool within_limit(const struct health *health, struct health_worker *worker, uint64_t now_ms)
{
    uint64_t limit = health->settings.heartbeats_per_second_max;
    if (limit == 0)
        return true;
    uint64_t out = (now_ms - worker->last_heard_ms) * limit;
    uint64_t level = out < worker->bucket ? worker->bucket - out : 0;
    if (level + 1000 > 2 * limit * 1000)
        return false;
    worker->bucket = (uint32_t)(level + 1000);
    worker->told_slow = worker->told_slow && level > limit * 1000;
    return true;
}

/* One that is relayed waits for an answer of its own; a stream is told once. */
static void refuse_excess(struct health *health, struct health_stream *stream, struct health_worker *worker,
                          uint64_t sequence, uint32_t index, bool relayed)
{
    health->counts.limited++;
    health->counts.heartbeats--;
    if (worker->told_slow && !relayed)
        return;
    worker->told_slow = health_stream_command(health, stream, sequence, index, worker->id, worker->incarnation,
                                              MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_SLOW_DOWN, NULL,
                                              "more heartbeats than this coordinator takes from one worker");
}

static void take(struct health *health, struct health_stream *stream, struct health_worker *worker,
                 const Muster__V1__Heartbeat *heartbeat, uint64_t sequence, uint32_t index, bool relayed,
                 uint64_t now_ms)
{
    if (worker == NULL || heartbeat->incarnation > worker->incarnation) {
        /* Not known, or registered again: the registry knows, its watch lags. */
        health->counts.unknown++;
        /* If too many wait already, this one is acknowledged and asked for again next time. */
        (void)health_lookup_add(health, stream, heartbeat, sequence, index, relayed);
        return;
    }
    if (heartbeat->incarnation != 0 && heartbeat->incarnation < worker->incarnation) {
        health->counts.stale++;
        note_contest(health, worker, now_ms);
        /* Out of memory: the worker is told with its next heartbeat. */
        (void)health_stream_command(health, stream, sequence, index, worker->id, heartbeat->incarnation,
                                    MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_STALE_INCARNATION, NULL,
                                    "this id was registered again since");
        return;
    }
    if (!within_limit(health, worker, now_ms)) {
        refuse_excess(health, stream, worker, sequence, index, relayed);
        return;
    }
    health_stream_heard(health, worker, relayed ? NULL : stream, said_of(heartbeat), heartbeat->load, now_ms);
    if (heartbeat->answer_missed && worker->untold == NULL)
        worker->assignment_doubtful = true;
    if (worker->assignment_doubtful) {
        /* If it cannot be asked for now, it is with the next heartbeat. */
        (void)health_lookup_add(health, stream, heartbeat, sequence, index, relayed);
        return;
    }
    if (worker->untold != NULL || worker->draining != worker->told_draining)
        health_stream_tell(health, stream, worker, sequence, index);
}

/* With many workers nearly every heartbeat finds its record outside of the processor's caches.
 * So some of them are looked up first, and wait for their memory at the same time. Taking a
 * heartbeat never removes a worker. */
static void take_together(struct health *health, struct health_stream *stream,
                          const Muster__V1__HeartbeatRequest *message, size_t first, uint64_t now_ms)
{
    struct health_worker *workers[TOGETHER];
    size_t count = message->n_heartbeats - first < TOGETHER ? message->n_heartbeats - first : TOGETHER;
    for (size_t i = 0; i < count; i++) {
        workers[i] = health_find(health, message->heartbeats[first + i]->worker_id);
        for (size_t offset = 0; workers[i] != NULL && offset < sizeof(*workers[i]); offset += CACHE_LINE_BYTES)
            __builtin_prefetch((const char *)workers[i] + offset, 1);
    }
    for (size_t i = 0; i < count; i++) {
        if (workers[i] != NULL && workers[i]->load != NULL)
            __builtin_prefetch(workers[i]->load, 1);
    }
    for (size_t i = 0; i < count; i++)
        take(health, stream, workers[i], message->heartbeats[first + i], message->sequence, (uint32_t)(first + i),
             message->relayed, now_ms);
}

enum health_message_result health_stream_message(struct health *health, struct health_stream *stream,
                                                 const Muster__V1__HeartbeatRequest *message, uint64_t now_ms)
{
    if (message->sequence <= stream->received)
        return HEALTH_MESSAGE_BAD_SEQUENCE;
    if (message->n_heartbeats > HEALTH_MESSAGE_HEARTBEATS_MAX)
        return HEALTH_MESSAGE_TOO_MANY;
    enum health_message_result allowed = health_speaker_judge(health, stream, message);
    if (allowed != HEALTH_MESSAGE_TAKEN)
        return allowed;
    stream->received = message->sequence;
    health->counts.heartbeats += message->n_heartbeats;
    for (size_t i = 0; i < message->n_heartbeats; i += TOGETHER)
        take_together(health, stream, message, i, now_ms);
    health_stream_ready(health, stream);
    return HEALTH_MESSAGE_TAKEN;
}

/* Up to the oldest message that waits for the registry. */
static uint64_t may_acknowledge(const struct health_stream *stream)
{
    if (list_is_empty(&stream->lookups))
        return stream->received;
    return LIST_OBJECT(stream->lookups.next, struct health_lookup, of_stream)->sequence - 1;
}

/* Points the batch's texts of one command at its names, which follow each other. */
static char **spread_names(struct name_list *names, char **pointers)
{
    char *text = names->text;
    for (uint32_t i = 0; i < names->count; i++) {
        pointers[i] = text;
        text += strlen(text) + 1;
    }
    return pointers + names->count;
}

bool health_stream_response(struct health *health, struct health_stream *stream,
                            Muster__V1__HeartbeatResponse *response)
{
    free_commands(&stream->sent);
    uint64_t acknowledged = may_acknowledge(stream);
    /* A command answers a message: it must not come after that message's acknowledgement,
     * and may come before. */
    size_t count = stream->command_count;
    if (count == 0 && acknowledged <= stream->acknowledged)
        return false;
    muster__v1__heartbeat_response__init(response);
    if (acknowledged < stream->acknowledged)
        acknowledged = stream->acknowledged;
    stream->acknowledged = acknowledged;
    response->acknowledged_sequence = acknowledged;
    if (count == 0)
        return true;

    size_t names = 0;
    for (struct list_link *link = stream->commands.next; link != &stream->commands; link = link->next) {
        const struct health_command *command = LIST_OBJECT(link, struct health_command, link);
        names += command->names == NULL ? 0 : command->names->count;
    }
    if (!health_batch_reserve(health, count + names))
        return true; /* the acknowledgement goes alone; the commands with the next one */
    Muster__V1__WorkerCommand *messages = health->batch.messages;
    Muster__V1__WorkerCommand **pointers = (Muster__V1__WorkerCommand **)health->batch.pointers;
    char **name_pointers = (char **)health->batch.pointers + count;
    for (size_t i = 0; i < count; i++) {
        struct health_command *command = LIST_OBJECT(stream->commands.next, struct health_command, link);
        list_remove(&command->link);
        list_append(&stream->sent, &command->link);
        muster__v1__worker_command__init(&messages[i]);
        messages[i].sequence = command->sequence;
        messages[i].index = command->index;
        messages[i].worker_id = command->worker_id;
        messages[i].type = command->type;
        messages[i].reason = (char *)(uintptr_t)command->reason; /* read only */
        if (command->names != NULL) {
            messages[i].n_assigned_services = command->names->count;
            messages[i].assigned_services = name_pointers;
            name_pointers = spread_names(command->names, name_pointers);
        }
        pointers[i] = &messages[i];
    }
    stream->command_count = 0;
    response->n_commands = count;
    response->commands = pointers;
    return true;
}

/* --- The end --- */

void health_stream_destroy(struct health_stream *stream)
{
    list_remove(&stream->open);
    list_remove(&stream->ready);
    while (!list_is_empty(&stream->workers))
        health_stream_detach(LIST_OBJECT(stream->workers.next, struct own_stream, sent_by)->worker);
    free_commands(&stream->commands);
    free_commands(&stream->sent);
    health_speaker_free(stream);
    free(stream);
}

void health_stream_closed(struct health *health, struct health_stream *stream, uint64_t now_ms)
{
    untell(health, &stream->sent);
    untell(health, &stream->commands);
    health_lookup_forget_stream(stream);
    while (!list_is_empty(&stream->workers)) {
        struct health_worker *worker = LIST_OBJECT(stream->workers.next, struct own_stream, sent_by)->worker;
        uint64_t silent_ms = now_ms - worker->last_heard_ms;
        health_stream_detach(worker);
        worker->stream_broken = true;
        worker->broken_after_ms = silent_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)silent_ms;
        health_judge(health, worker, now_ms);
    }
    health_stream_destroy(stream);
}
