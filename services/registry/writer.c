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
    bool ending;                     /* guarded by mutex */
    bool busy;                       /* the loop's */
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

/* The next batch, or NULL at the end. */
static const struct store_batch *wait_for_batch(struct writer *writer)
{
    pthread_mutex_lock(&writer->mutex);
    while (writer->batch == NULL && !writer->ending)
        pthread_cond_wait(&writer->changed, &writer->mutex);
    const struct store_batch *batch = writer->batch;
    writer->batch = NULL;
    pthread_mutex_unlock(&writer->mutex);
    return batch;
}

static void *write_batches(void *argument)
{
    struct writer *writer = argument;
    const struct store_batch *batch;
    while ((batch = wait_for_batch(writer)) != NULL) {
        writer->error.text[0] = '\0';
        writer->result = store_commit(writer->store, batch, &writer->error);
        rpc_loop_post(writer->loop, committed, writer);
    }
    return NULL;
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
    store_close(writer->store);
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
