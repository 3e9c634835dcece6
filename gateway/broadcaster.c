/* See broadcaster.h. */

#include "gateway/broadcaster.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

/* The functions of libcurl that are used here. The library and the thirty that it brings along
 * cost a process four megabytes; most gateways never send a job, so they are loaded for the first
 * one. */
#define CURL_FUNCTIONS(X)                                                                                              \
    X(easy_cleanup)                                                                                                    \
    X(easy_getinfo)                                                                                                    \
    X(easy_init)                                                                                                       \
    X(easy_setopt)                                                                                                     \
    X(easy_strerror)                                                                                                   \
    X(global_cleanup)                                                                                                  \
    X(global_init)                                                                                                     \
    X(multi_add_handle)                                                                                                \
    X(multi_cleanup)                                                                                                   \
    X(multi_info_read)                                                                                                 \
    X(multi_init)                                                                                                      \
    X(multi_perform)                                                                                                   \
    X(multi_poll)                                                                                                      \
    X(multi_remove_handle)                                                                                             \
    X(multi_wakeup)                                                                                                    \
    X(slist_append)                                                                                                    \
    X(slist_free_all)

#define DECLARE(name) __typeof__(&curl_##name) name;
static struct curl_library {
    CURL_FUNCTIONS(DECLARE)
} curl;
#undef DECLARE

#define STACK_BYTES (512 * 1024) /* name look-ups and TLS take some */
#define POLL_MS 60000            /* wake-ups and libcurl's own timers cut it short */

struct transfer {
    struct broadcast *broadcast;
    struct broadcast_target *target;
    CURL *handle;
    struct transfer *next; /* of those under way */
    struct transfer **link;
    char error[CURL_ERROR_SIZE];
};

struct broadcaster {
    struct rpc_loop *loop;
    uint32_t timeout_ms;
    pthread_t thread;
    bool running;
    CURLM *multi;
    struct curl_slist *headers;
    size_t count; /* the loop's: sent and not done */

    pthread_mutex_t mutex;
    struct broadcast *incoming, **incoming_end; /* guarded by mutex */
    bool ending;                                /* guarded by mutex */

    /* The thread's. */
    struct broadcast *waiting, **waiting_end; /* have targets that were not begun */
    struct transfer *transfers;
    size_t transfer_count;

    /* After the thread's end: what it had not finished. */
    struct broadcast *finished, **finished_end; /* guarded by mutex */
};

/* --- One transfer --- */

static size_t take_response(char *data, size_t size, size_t count, void *argument)
{
    struct broadcast_target *target = ((struct transfer *)argument)->target;
    size_t bytes = size * count;
    size_t room = BROADCAST_RESPONSE_BYTES_MAX - target->response.bytes;
    target->truncated = bytes > room;
    buffer_append(&target->response, data, bytes > room ? room : bytes);
    return target->truncated || buffer_failed(&target->response) ? 0 : bytes; /* less: libcurl cuts it off */
}

static bool set_up(struct broadcaster *broadcaster, struct transfer *transfer)
{
    CURL *handle = transfer->handle;
    const struct broadcast *broadcast = transfer->broadcast;
    return curl.easy_setopt(handle, CURLOPT_URL, transfer->target->url) == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_NOPROXY, "*") == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_TIMEOUT_MS, (long)broadcaster->timeout_ms) == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_HTTPHEADER, broadcaster->headers) == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_USERAGENT, "muster-gateway") == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)broadcast->body_bytes) == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_POSTFIELDS, broadcast->body) == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_response) == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_WRITEDATA, transfer) == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_ERRORBUFFER, transfer->error) == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_PRIVATE, transfer) == CURLE_OK;
}

static void deliver(void *argument)
{
    struct broadcaster *broadcaster = argument;
    pthread_mutex_lock(&broadcaster->mutex);
    struct broadcast *broadcast = broadcaster->finished;
    broadcaster->finished = NULL;
    broadcaster->finished_end = &broadcaster->finished;
    pthread_mutex_unlock(&broadcaster->mutex);
    while (broadcast != NULL) {
        struct broadcast *next = broadcast->next;
        broadcaster->count--;
        broadcast->done(broadcast);
        broadcast = next;
    }
}

static void target_ended(struct broadcaster *broadcaster, struct broadcast *broadcast)
{
    if (++broadcast->ended < broadcast->target_count)
        return;
    pthread_mutex_lock(&broadcaster->mutex);
    broadcast->next = NULL;
    *broadcaster->finished_end = broadcast;
    broadcaster->finished_end = &broadcast->next;
    pthread_mutex_unlock(&broadcaster->mutex);
    rpc_loop_post(broadcaster->loop, deliver, broadcaster);
}

static void end_transfer(struct broadcaster *broadcaster, struct transfer *transfer, CURLcode result)
{
    struct broadcast_target *target = transfer->target;
    /* A body that was cut off, by us or by the worker, takes nothing from the status. */
    (void)curl.easy_getinfo(transfer->handle, CURLINFO_RESPONSE_CODE, &target->status); /* known to libcurl */
    if (result != CURLE_OK && !(result == CURLE_WRITE_ERROR && target->truncated)) {
        target->status = 0;
        target->timed_out = result == CURLE_OPERATION_TIMEDOUT;
        snprintf(target->error, sizeof(target->error), "%.159s",
                 transfer->error[0] != '\0' ? transfer->error : curl.easy_strerror(result));
    }
    *transfer->link = transfer->next;
    if (transfer->next != NULL)
        transfer->next->link = transfer->link;
    broadcaster->transfer_count--;
    (void)curl.multi_remove_handle(broadcaster->multi, transfer->handle); /* it is in there, or was never */
    curl.easy_cleanup(transfer->handle);
    target_ended(broadcaster, transfer->broadcast);
    free(transfer);
}

static void begin_transfer(struct broadcaster *broadcaster, struct broadcast *broadcast,
                           struct broadcast_target *target)
{
    struct transfer *transfer = calloc(1, sizeof(*transfer));
    CURL *handle = transfer == NULL ? NULL : curl.easy_init();
    if (handle == NULL) {
        free(transfer);
        snprintf(target->error, sizeof(target->error), "the gateway is out of memory");
        target_ended(broadcaster, broadcast);
        return;
    }
    *transfer = (struct transfer){.broadcast = broadcast, .target = target, .handle = handle};
    transfer->next = broadcaster->transfers;
    transfer->link = &broadcaster->transfers;
    if (transfer->next != NULL)
        transfer->next->link = &transfer->next;
    broadcaster->transfers = transfer;
    broadcaster->transfer_count++;
    if (!set_up(broadcaster, transfer) || curl.multi_add_handle(broadcaster->multi, handle) != CURLM_OK)
        end_transfer(broadcaster, transfer, CURLE_OUT_OF_MEMORY);
}

/* --- The thread --- */

/* False: the end. */
static bool take_incoming(struct broadcaster *broadcaster)
{
    pthread_mutex_lock(&broadcaster->mutex);
    if (broadcaster->incoming != NULL) {
        *broadcaster->waiting_end = broadcaster->incoming;
        broadcaster->waiting_end = broadcaster->incoming_end;
        broadcaster->incoming = NULL;
        broadcaster->incoming_end = &broadcaster->incoming;
    }
    bool ending = broadcaster->ending;
    pthread_mutex_unlock(&broadcaster->mutex);
    return !ending;
}

static void begin_transfers(struct broadcaster *broadcaster)
{
    while (broadcaster->waiting != NULL && broadcaster->transfer_count < BROADCAST_SOCKETS_MAX) {
        struct broadcast *broadcast = broadcaster->waiting;
        struct broadcast_target *target = &broadcast->targets[broadcast->begun++];
        if (broadcast->begun == broadcast->target_count) {
            broadcaster->waiting = broadcast->next;
            if (broadcaster->waiting == NULL)
                broadcaster->waiting_end = &broadcaster->waiting;
        }
        begin_transfer(broadcaster, broadcast, target); /* which may end it */
    }
}

static void end_transfers(struct broadcaster *broadcaster)
{
    int left;
    const CURLMsg *message;
    while ((message = curl.multi_info_read(broadcaster->multi, &left)) != NULL) {
        char *transfer = NULL;
        if (message->msg != CURLMSG_DONE ||
            curl.easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer) != CURLE_OK)
            continue;
        end_transfer(broadcaster, (struct transfer *)(void *)transfer, message->data.result);
    }
}

/* The gateway stops: nobody waits for the rest. */
static void give_up(struct broadcaster *broadcaster)
{
    while (broadcaster->transfers != NULL) {
        snprintf(broadcaster->transfers->error, CURL_ERROR_SIZE, "the gateway is stopping");
        end_transfer(broadcaster, broadcaster->transfers, CURLE_ABORTED_BY_CALLBACK);
    }
    while (broadcaster->waiting != NULL) {
        struct broadcast *broadcast = broadcaster->waiting;
        broadcaster->waiting = broadcast->next;
        while (broadcast->begun < broadcast->target_count) {
            struct broadcast_target *target = &broadcast->targets[broadcast->begun++];
            snprintf(target->error, sizeof(target->error), "the gateway is stopping");
            target_ended(broadcaster, broadcast);
        }
    }
}

static void *run(void *argument)
{
    struct broadcaster *broadcaster = argument;
    while (take_incoming(broadcaster)) {
        int running;
        begin_transfers(broadcaster);
        (void)curl.multi_perform(broadcaster->multi, &running); /* its errors are the transfers' */
        end_transfers(broadcaster);
        (void)curl.multi_poll(broadcaster->multi, NULL, 0, POLL_MS, NULL); /* likewise */
    }
    give_up(broadcaster);
    return NULL;
}

/* --- Life --- */

/* Into `curl`, where it stays: threads of the library may outlive its use. */
static bool load_curl(void)
{
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    bool loaded = library != NULL;
#define LOAD(name) loaded = loaded && (*(void **)(void *)&curl.name = dlsym(library, "curl_" #name)) != NULL;
    CURL_FUNCTIONS(LOAD)
#undef LOAD
    if (!loaded)
        log_error("libcurl cannot be loaded; install libcurl4", LOG_TEXT("reason", dlerror()));
    return loaded;
}

static bool start(struct broadcaster *broadcaster)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return false;
    bool started = pthread_attr_setstacksize(&attributes, STACK_BYTES) == 0 &&
                   pthread_create(&broadcaster->thread, &attributes, run, broadcaster) == 0;
    pthread_attr_destroy(&attributes);
    return started;
}

static void release(void *argument)
{
    struct broadcaster *broadcaster = argument;
    if (broadcaster->multi != NULL)
        (void)curl.multi_cleanup(broadcaster->multi); /* no handle is in it any more */
    curl.slist_free_all(broadcaster->headers);
    pthread_mutex_destroy(&broadcaster->mutex);
    free(broadcaster);
    curl.global_cleanup();
}

struct broadcaster *broadcaster_create(struct rpc_loop *loop, uint32_t timeout_ms)
{
    struct broadcaster *broadcaster = load_curl() ? calloc(1, sizeof(*broadcaster)) : NULL;
    if (broadcaster == NULL || curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(broadcaster);
        return NULL;
    }
    broadcaster->loop = loop;
    broadcaster->timeout_ms = timeout_ms;
    broadcaster->incoming_end = &broadcaster->incoming;
    broadcaster->waiting_end = &broadcaster->waiting;
    broadcaster->finished_end = &broadcaster->finished;
    pthread_mutex_init(&broadcaster->mutex, NULL);
    broadcaster->multi = curl.multi_init();
    broadcaster->headers = curl.slist_append(NULL, "Content-Type: application/json");
    /* Without "Expect: 100-continue", which simple workers leave unanswered. */
    struct curl_slist *more = broadcaster->headers == NULL ? NULL : curl.slist_append(broadcaster->headers, "Expect:");
    broadcaster->running = broadcaster->multi != NULL && more != NULL && start(broadcaster);
    if (broadcaster->running)
        return broadcaster;
    release(broadcaster);
    return NULL;
}

void broadcaster_destroy(struct broadcaster *broadcaster)
{
    if (broadcaster == NULL)
        return;
    pthread_mutex_lock(&broadcaster->mutex);
    broadcaster->ending = true;
    pthread_mutex_unlock(&broadcaster->mutex);
    (void)curl.multi_wakeup(broadcaster->multi); /* only fails without memory; then the poll ends by itself */
    pthread_join(broadcaster->thread, NULL);
    deliver(broadcaster);
    rpc_loop_post(broadcaster->loop, release, broadcaster); /* behind what its thread has posted */
}

bool broadcaster_send(struct broadcaster *broadcaster, struct broadcast *broadcast)
{
    if (broadcaster->count == BROADCASTS_MAX)
        return false;
    broadcaster->count++;
    broadcast->next = NULL;
    broadcast->broadcaster = broadcaster;
    broadcast->begun = broadcast->ended = 0;
    pthread_mutex_lock(&broadcaster->mutex);
    *broadcaster->incoming_end = broadcast;
    broadcaster->incoming_end = &broadcast->next;
    pthread_mutex_unlock(&broadcaster->mutex);
    (void)curl.multi_wakeup(broadcaster->multi); /* as above: it comes with the next turn */
    return true;
}
