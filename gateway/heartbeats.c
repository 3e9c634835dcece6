/* See heartbeats.h. */

#include "gateway/heartbeats.h"

#include <stdlib.h>
#include <string.h>

void heartbeats_init(struct heartbeats *heartbeats)
{
    memset(heartbeats, 0, sizeof *heartbeats);
    heartbeats->waiting_end = &heartbeats->waiting;
}

void heartbeats_free(struct heartbeats *heartbeats)
{
    for (size_t i = 0; i < HEARTBEATS_OUTSTANDING_MAX; i++)
        free(heartbeats->batches[i].jobs);
}

bool heartbeats_add(struct heartbeats *heartbeats, struct job *job)
{
    if (heartbeats->waiting_count == HEARTBEATS_WAITING_MAX)
        return false;
    job->next = NULL;
    *heartbeats->waiting_end = job;
    heartbeats->waiting_end = &job->next;
    heartbeats->waiting_count++;
    return true;
}

static struct job *take_waiting(struct heartbeats *heartbeats)
{
    struct job *job = heartbeats->waiting;
    if (job == NULL)
        return NULL;
    heartbeats->waiting = job->next;
    if (heartbeats->waiting == NULL)
        heartbeats->waiting_end = &heartbeats->waiting;
    heartbeats->waiting_count--;
    return job;
}

/* A free place with room for `count` jobs, or NULL. */
static struct heartbeat_batch *free_batch(struct heartbeats *heartbeats, size_t count)
{
    for (size_t i = 0; i < HEARTBEATS_OUTSTANDING_MAX; i++) {
        struct heartbeat_batch *batch = &heartbeats->batches[i];
        if (batch->sequence != 0)
            continue;
        struct job **jobs = realloc(batch->jobs, count * sizeof(struct job *));
        if (jobs == NULL)
            return NULL;
        batch->jobs = jobs;
        return batch;
    }
    return NULL;
}

bool heartbeats_next(struct heartbeats *heartbeats, uint64_t now_ms, Muster__V1__HeartbeatRequest *message,
                     Muster__V1__Heartbeat **list)
{
    if (heartbeats->waiting_count == 0)
        return false;
    size_t count =
        heartbeats->waiting_count < HEARTBEATS_MESSAGE_MAX ? heartbeats->waiting_count : HEARTBEATS_MESSAGE_MAX;
    struct heartbeat_batch *batch = free_batch(heartbeats, count);
    if (batch == NULL)
        return false;
    batch->sequence = ++heartbeats->last_sequence;
    batch->sent_at_ms = now_ms;
    batch->count = count;
    for (size_t i = 0; i < count; i++) {
        batch->jobs[i] = take_waiting(heartbeats);
        list[i] = batch->jobs[i]->heartbeat;
    }
    heartbeats->messages++;
    message->heartbeats = list;
    message->n_heartbeats = count;
    message->sequence = batch->sequence;
    message->relayed = true;
    return true;
}

static struct job *find_job(struct heartbeats *heartbeats, const Muster__V1__WorkerCommand *command)
{
    for (size_t i = 0; i < HEARTBEATS_OUTSTANDING_MAX; i++) {
        struct heartbeat_batch *batch = &heartbeats->batches[i];
        if (command->sequence != 0 && batch->sequence == command->sequence && command->index < batch->count)
            return batch->jobs[command->index];
    }
    return NULL;
}

static void note_command(struct job *job, const Muster__V1__WorkerCommand *command)
{
    switch (command->type) {
    case MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_REGISTER_AGAIN:
    case MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_STALE_INCARNATION:
    case MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_SLOW_DOWN:
        job->refusal = command->type;
        break;
    case MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_ASSIGNMENT:
        job->has_assignment = true;
        job->assigned_services = arena_take(&job->arena, (command->n_assigned_services + 1) * sizeof(char *));
        job->assigned_service_count = 0;
        for (size_t i = 0; job->assigned_services != NULL && i < command->n_assigned_services; i++) {
            const char *name = command->assigned_services[i];
            char *copy = arena_copy(&job->arena, name, strlen(name));
            if (copy != NULL)
                job->assigned_services[job->assigned_service_count++] = copy;
        }
        break;
    case MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_DRAIN:
    case MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_UNDRAIN:
        job->has_draining = true;
        job->draining = command->type == MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_DRAIN;
        break;
    default:
        break; /* of a newer health process */
    }
}

void heartbeats_answered(struct heartbeats *heartbeats, const Muster__V1__HeartbeatResponse *response,
                         void (*finish)(void *context, struct job *job), void *context)
{
    for (size_t i = 0; i < response->n_commands; i++) {
        struct job *job = find_job(heartbeats, response->commands[i]);
        if (job != NULL)
            note_command(job, response->commands[i]);
    }
    for (size_t i = 0; i < HEARTBEATS_OUTSTANDING_MAX; i++) {
        struct heartbeat_batch *batch = &heartbeats->batches[i];
        if (batch->sequence == 0 || batch->sequence > response->acknowledged_sequence)
            continue;
        batch->sequence = 0;
        heartbeats->taken += batch->count;
        for (size_t j = 0; j < batch->count; j++)
            finish(context, batch->jobs[j]);
        batch->count = 0;
    }
}

void heartbeats_lost(struct heartbeats *heartbeats, void (*fail)(void *context, struct job *job), void *context)
{
    for (size_t i = 0; i < HEARTBEATS_OUTSTANDING_MAX; i++) {
        struct heartbeat_batch *batch = &heartbeats->batches[i];
        for (size_t j = 0; batch->sequence != 0 && j < batch->count; j++)
            fail(context, batch->jobs[j]);
        batch->sequence = 0;
        batch->count = 0;
    }
    struct job *job;
    while ((job = take_waiting(heartbeats)) != NULL)
        fail(context, job);
    heartbeats->last_sequence = 0;
}

uint64_t heartbeats_oldest_ms(const struct heartbeats *heartbeats)
{
    uint64_t oldest = UINT64_MAX;
    for (size_t i = 0; i < HEARTBEATS_OUTSTANDING_MAX; i++) {
        const struct heartbeat_batch *batch = &heartbeats->batches[i];
        if (batch->sequence != 0 && batch->sent_at_ms < oldest)
            oldest = batch->sent_at_ms;
    }
    return oldest;
}
