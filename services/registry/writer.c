/* The thread that writes to the store; see writer.h. */

#include "services/registry/writer.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

/* SQLite wants little stack, and each thread's counts as memory of the process. */
#define STACK_BYTES (256 * 1024)

struct writer {
    struct rpc_loop *loop;
    struct store *store;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    const struct store_batch *batch; /* guarded by mutex; NULL: nothing to write */
    const char *backup_path;         /* guarded by mutex; NULL: no backup is wanted */
    bool ending;                     /* guarded by mutex */
    bool backing_up;                 /* the loop's */
    enum store_result backup_result; /* as result and error below */
    struct store_error backup_error;
    void (*backup_done)(void *argument, enum store_result result, const struct store_error *error);
    void *backup_argument;
    bool busy; /* the loop's */
    /* Written by the thread before it posts, read by the loop after. */
    enum store_result result;
    struct store_error error;
    void (*done)(void *argument, enum store_result result, const struct store_error *error);
    void *argument;
};

static void committed(void *argument)
{
    struct writer *writer = argument;
    writer->busy = false;
    writer->done(writer->argument, writer->result, &writer->error);
}

static void backed_up(void *argument)
{
    struct writer *writer = argument;
    writer->backing_up = false;
    writer->backup_done(writer->backup_argument, writer->backup_result, &writer->backup_error);
}

/* Waits for something to do: a batch, or else a backup. False at the end. */
static bool wait_for_work(struct writer *writer, const struct store_batch **batch, const char **backup_path)
{
    pthread_mutex_lock(&writer->mutex);
    while (writer->batch == NULL && writer->backup_path == NULL && !writer->ending)
        pthread_cond_wait(&writer->changed, &writer->mutex);
    *batch = writer->batch;
    *backup_path = writer->backup_path;
    writer->batch = NULL;
    bool ending = writer->ending;
    pthread_mutex_unlock(&writer->mutex);
    return *batch != NULL || !ending;
}

/* One piece of the backup. */
static void back_up(struct writer *writer, const char *path)
{
    bool complete = false;
    writer->backup_error.text[0] = '\0';
    writer->backup_result = store_back_up(writer->store, path, &complete, &writer->backup_error);
    if (writer->backup_result == STORE_OK && !complete)
        return;
    pthread_mutex_lock(&writer->mutex);
    writer->backup_path = NULL;
    pthread_mutex_unlock(&writer->mutex);
    rpc_loop_post(writer->loop, backed_up, writer);
}

static void *write_batches(void *argument)
{
    struct writer *writer = argument;
    const struct store_batch *batch;
    const char *backup_path;
    while (wait_for_work(writer, &batch, &backup_path)) {
        if (batch == NULL) {
            back_up(writer, backup_path);
            continue;
        }
        writer->error.text[0] = '\0';
        writer->result = store_commit(writer->store, batch, &writer->error);
        rpc_loop_post(writer->loop, committed, writer);
    }
    return NULL;
}

bool writer_can_back_up(const struct writer *writer)
{
    return store_can_back_up(writer->store);
}

bool writer_back_up(struct writer *writer, const char *path,
                    void (*done)(void *argument, enum store_result result, const struct store_error *error),
                    void *argument)
{
    if (writer->backing_up)
        return false;
    writer->backing_up = true;
    writer->backup_done = done;
    writer->backup_argument = argument;
    pthread_mutex_lock(&writer->mutex);
    writer->backup_path = path;
    pthread_cond_signal(&writer->changed);
    pthread_mutex_unlock(&writer->mutex);
    return true;
}

struct writer *writer_create(struct rpc_loop *loop, struct store *store)
{
    struct writer *writer = calloc(1, sizeof(*writer));
    pthread_attr_t attributes;
    if (writer == NULL)
        abort();
    writer->loop = loop;
    writer->store = store;
    pthread_mutex_init(&writer->mutex, NULL);
    pthread_cond_init(&writer->changed, NULL);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    if (pthread_create(&writer->thread, &attributes, write_batches, writer) != 0)
        abort();
    pthread_attr_destroy(&attributes);
    return writer;
}

void writer_destroy(struct writer *writer)
{
    if (writer == NULL)
        return;
    pthread_mutex_lock(&writer->mutex);
    writer->ending = true;
    pthread_cond_signal(&writer->changed);
    pthread_mutex_unlock(&writer->mutex);
    pthread_join(writer->thread, NULL);
    rpc_loop_cancel_posts(writer->loop, writer);
    store_close(writer->store);
    if (writer->backing_up) {
        static const struct store_error stopping = {"the registry is stopping; make the backup again"};
        writer->backup_done(writer->backup_argument, STORE_UNAVAILABLE, &stopping);
    }
    pthread_cond_destroy(&writer->changed);
    pthread_mutex_destroy(&writer->mutex);
    free(writer);
}

void writer_commit(struct writer *writer, const struct store_batch *batch,
                   void (*done)(void *argument, enum store_result result, const struct store_error *error),
                   void *argument)
{
    assert(!writer->busy);
    writer->busy = true;
    writer->done = done;
    writer->argument = argument;
    pthread_mutex_lock(&writer->mutex);
    writer->batch = batch;
    pthread_cond_signal(&writer->changed);
    pthread_mutex_unlock(&writer->mutex);
}
