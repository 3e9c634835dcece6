/* See recorder.h. */

#include "services/health/history/recorder.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "services/health/history/store.h"

/* SQLite wants little stack for what the writer does; a statement of an operator may nest. */
#define WRITER_STACK_BYTES (256 * 1024)
#define READER_STACK_BYTES (1024 * 1024)

struct reader {
    struct recorder *recorder;
    pthread_t thread;
    bool runs;
    pthread_cond_t task_came;
    struct recorder_task *tasks, **tasks_end; /* guarded by the recorder's mutex */
};

struct recorder {
    struct rpc_loop *loop;
    char *path;
    pthread_t writer;
    bool writer_runs;
    struct reader readers[RECORDER_KINDS];
    pthread_mutex_t mutex;
    pthread_cond_t batch_came;
    /* Guarded by mutex. */
    struct history_batch *batches, **batches_end;
    size_t batch_count;
    bool ending;
    struct recorder_state state;
};

/* --- Writing --- */

static struct history_batch *wait_for_batch(struct recorder *recorder)
{
    pthread_mutex_lock(&recorder->mutex);
    while (recorder->batches == NULL && !recorder->ending)
        pthread_cond_wait(&recorder->batch_came, &recorder->mutex);
    struct history_batch *batch = recorder->batches;
    if (batch != NULL) {
        recorder->batches = batch->next;
        recorder->batch_count--;
        if (batch->next == NULL)
            recorder->batches_end = &recorder->batches;
    }
    pthread_mutex_unlock(&recorder->mutex);
    return batch;
}

static void note(struct recorder *recorder, const struct history_batch *batch, const char *error)
{
    pthread_mutex_lock(&recorder->mutex);
    bool failed = recorder->state.failure[0] != '\0';
    snprintf(recorder->state.failure, sizeof(recorder->state.failure), "%s", error);
    if (error[0] != '\0')
        recorder->state.dropped += batch->count;
    pthread_mutex_unlock(&recorder->mutex);
    if (error[0] != '\0' && !failed)
        log_error("history is not written; it is dropped until the disk is well", LOG_TEXT("reason", error));
    else if (error[0] == '\0' && failed)
        log_info("history is written again");
}

static void *write_batches(void *argument)
{
    struct recorder *recorder = argument;
    struct history_store *store = NULL;
    struct history_batch *batch;
    while ((batch = wait_for_batch(recorder)) != NULL) {
        char error[HISTORY_ERROR_BYTES] = "";
        char aside[HISTORY_ERROR_BYTES] = "";
        if (store == NULL)
            store = history_store_open(recorder->path, aside, error);
        if (aside[0] != '\0')
            log_warning("the file of the history was put aside", LOG_TEXT("reason", aside));
        if (store != NULL && !history_store_write(store, batch, error)) {
            history_store_close(store);
            store = NULL;
        }
        note(recorder, batch, error);
        free(batch);
    }
    history_store_close(store);
    return NULL;
}

void recorder_write(struct recorder *recorder, struct history_batch *batch)
{
    batch->next = NULL;
    pthread_mutex_lock(&recorder->mutex);
    bool full = recorder->batch_count == HISTORY_QUEUE_MAX;
    if (full) {
        recorder->state.dropped += batch->count;
    } else {
        *recorder->batches_end = batch;
        recorder->batches_end = &batch->next;
        recorder->batch_count++;
        pthread_cond_signal(&recorder->batch_came);
    }
    pthread_mutex_unlock(&recorder->mutex);
    if (full)
        free(batch);
}

void recorder_get_state(struct recorder *recorder, struct recorder_state *state)
{
    pthread_mutex_lock(&recorder->mutex);
    *state = recorder->state;
    pthread_mutex_unlock(&recorder->mutex);
}

/* --- Reading --- */

static struct recorder_task *wait_for_task(struct reader *reader)
{
    struct recorder *recorder = reader->recorder;
    pthread_mutex_lock(&recorder->mutex);
    while (reader->tasks == NULL && !recorder->ending)
        pthread_cond_wait(&reader->task_came, &recorder->mutex);
    struct recorder_task *task = recorder->ending ? NULL : reader->tasks;
    if (task != NULL) {
        reader->tasks = task->next;
        if (task->next == NULL)
            reader->tasks_end = &reader->tasks;
    }
    pthread_mutex_unlock(&recorder->mutex);
    return task;
}

static void task_done(void *argument)
{
    struct recorder_task *task = argument;
    task->done(task);
}

static void *run_tasks(void *argument)
{
    struct reader *reader = argument;
    struct recorder_task *task;
    while ((task = wait_for_task(reader)) != NULL) {
        task->run(task);
        rpc_loop_post(reader->recorder->loop, task_done, task);
    }
    return NULL;
}

void recorder_run(struct recorder *recorder, struct recorder_task *task)
{
    struct reader *reader = &recorder->readers[task->kind];
    task->next = NULL;
    task->recorder = recorder;
    pthread_mutex_lock(&recorder->mutex);
    *reader->tasks_end = task;
    reader->tasks_end = &task->next;
    pthread_cond_signal(&reader->task_came);
    pthread_mutex_unlock(&recorder->mutex);
}

/* --- Life --- */

static bool start(pthread_t *thread, size_t stack_bytes, void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return false;
    bool started = pthread_attr_setstacksize(&attributes, stack_bytes) == 0 &&
                   pthread_create(thread, &attributes, run, argument) == 0;
    pthread_attr_destroy(&attributes);
    return started;
}

struct recorder *recorder_create(struct rpc_loop *loop, const char *path)
{
    struct recorder *recorder = calloc(1, sizeof(*recorder));
    if (recorder == NULL)
        return NULL;
    recorder->loop = loop;
    recorder->path = strdup(path);
    recorder->batches_end = &recorder->batches;
    pthread_mutex_init(&recorder->mutex, NULL);
    pthread_cond_init(&recorder->batch_came, NULL);
    bool all_run = recorder->path != NULL;
    if (all_run)
        all_run = recorder->writer_runs = start(&recorder->writer, WRITER_STACK_BYTES, write_batches, recorder);
    for (size_t i = 0; i < RECORDER_KINDS; i++) {
        struct reader *reader = &recorder->readers[i];
        reader->recorder = recorder;
        reader->tasks_end = &reader->tasks;
        pthread_cond_init(&reader->task_came, NULL);
        if (all_run)
            all_run = reader->runs = start(&reader->thread, READER_STACK_BYTES, run_tasks, reader);
    }
    if (all_run)
        return recorder;
    recorder_destroy(recorder);
    return NULL;
}

void recorder_destroy(struct recorder *recorder)
{
    if (recorder == NULL)
        return;
    pthread_mutex_lock(&recorder->mutex);
    recorder->ending = true;
    pthread_cond_signal(&recorder->batch_came);
    for (size_t i = 0; i < RECORDER_KINDS; i++)
        pthread_cond_signal(&recorder->readers[i].task_came);
    pthread_mutex_unlock(&recorder->mutex);
    if (recorder->writer_runs)
        pthread_join(recorder->writer, NULL);
    for (size_t i = 0; i < RECORDER_KINDS; i++) {
        struct reader *reader = &recorder->readers[i];
        if (reader->runs)
            pthread_join(reader->thread, NULL);
        while (reader->tasks != NULL) {
            struct recorder_task *task = reader->tasks;
            reader->tasks = task->next;
            task->drop(task);
        }
        pthread_cond_destroy(&reader->task_came);
    }
    pthread_cond_destroy(&recorder->batch_came);
    pthread_mutex_destroy(&recorder->mutex);
    free(recorder->path);
    free(recorder);
}

const char *recorder_path(const struct recorder *recorder)
{
    return recorder->path;
}
