/* See http_calls.h. */

#include "common/http_calls.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "common/address.h"
#include "common/log.h"

/* The functions of libcurl that are used here. The library is loaded for the first
 * one; see the header. */
#define CURL_FUNCTIONS(X)                                                                                              \
    X(easy_cleanup)                                                                                                    \
    X(easy_getinfo)                                                                                                    \
    X(easy_header)                                                                                                     \
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
    struct http_call_batch *batch;
    struct http_call *call;
    CURL *handle;
    struct transfer *next; /* of those under way */
    struct transfer **link;
    struct curl_slist *headers; /* NULL: those of all */
    bool refused;               /* it would have gone to an address that is not public */
    char error[CURL_ERROR_SIZE];
};

struct http_calls {
    struct rpc_loop *loop;
    const char *user_agent;
    size_t batches_max;
    size_t transfers_max;
    pthread_t thread;
    bool running;
    CURLM *multi;
    struct curl_slist *headers;
    size_t count; /* the loop's: sent and not done */

    pthread_mutex_t mutex;
    struct http_call_batch *incoming, **incoming_end; /* guarded by mutex */
    bool ending;                                      /* guarded by mutex */

    /* The thread's. */
    struct http_call_batch *waiting, **waiting_end; /* have targets that were not begun */
    struct transfer *transfers;
    size_t transfer_count;

    /* After the thread's end: what it had not finished. */
    struct http_call_batch *finished, **finished_end; /* guarded by mutex */
};

/* --- One transfer --- */

static size_t take_response(char *data, size_t size, size_t count, void *argument)
{
    const struct transfer *transfer = argument;
    struct http_call *call = transfer->call;
    size_t limit = transfer->batch->response_bytes_max;
    size_t bytes = size * count;
    size_t room = (limit == 0 ? HTTP_CALLS_RESPONSE_BYTES_MAX : limit) - call->response.bytes;
    call->truncated = bytes > room;
    buffer_append(&call->response, data, bytes > room ? room : bytes);
    return call->truncated || buffer_failed(&call->response) ? 0 : bytes; /* less: libcurl cuts it off */
}

static bool set_body(CURL *handle, const struct http_call_batch *batch)
{
    return batch->body == NULL ||
           (curl.easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)batch->body_bytes) == CURLE_OK &&
            curl.easy_setopt(handle, CURLOPT_POSTFIELDS, batch->body) == CURLE_OK);
}

/* For what strangers name: asked for each address that a name turns out to have, so that a name
 * that means another one the second time helps nobody. */
static curl_socket_t open_public(void *argument, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct transfer *transfer = argument;
    (void)purpose; /* there is only one */
    if (address_is_public(&address->addr))
        return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    transfer->refused = true;
    return CURL_SOCKET_BAD;
}

static bool keep_public(struct transfer *transfer)
{
    return !transfer->batch->public_only ||
           (curl.easy_setopt(transfer->handle, CURLOPT_OPENSOCKETFUNCTION, open_public) == CURLE_OK &&
            curl.easy_setopt(transfer->handle, CURLOPT_OPENSOCKETDATA, transfer) == CURLE_OK);
}

/* Those of all calls; without "Expect: 100-continue", which simple workers leave unanswered. */
static struct curl_slist *common_headers(const char *one_more, const char *another)
{
    struct curl_slist *headers = curl.slist_append(NULL, "Content-Type: application/json");
    const char *const others[] = {"Expect:", one_more, another};
    for (size_t i = 0; headers != NULL && i < sizeof others / sizeof others[0]; i++) {
        struct curl_slist *longer = others[i] == NULL ? headers : curl.slist_append(headers, others[i]);
        if (longer == NULL)
            curl.slist_free_all(headers);
        headers = longer;
    }
    return headers;
}

static bool set_headers(const struct http_calls *owner, struct transfer *transfer)
{
    const struct http_call_batch *batch = transfer->batch;
    char condition[sizeof transfer->call->etag + 20];
    bool has_condition = batch->if_none_match != NULL;
    if (has_condition)
        snprintf(condition, sizeof condition, "If-None-Match: %s", batch->if_none_match);
    if ((batch->header != NULL || has_condition) &&
        (transfer->headers = common_headers(batch->header, has_condition ? condition : NULL)) == NULL)
        return false;
    return curl.easy_setopt(transfer->handle, CURLOPT_HTTPHEADER,
                            transfer->headers != NULL ? transfer->headers : owner->headers) == CURLE_OK &&
           (batch->method == NULL ||
            curl.easy_setopt(transfer->handle, CURLOPT_CUSTOMREQUEST, batch->method) == CURLE_OK);
}

static bool set_silence(CURL *handle, const struct http_call_batch *batch)
{
    long seconds = (long)batch->silence_seconds;
    return seconds == 0 || (curl.easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, seconds) == CURLE_OK &&
                            curl.easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L) == CURLE_OK &&
                            curl.easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, seconds) == CURLE_OK);
}

static bool set_up(struct http_calls *owner, struct transfer *transfer)
{
    CURL *handle = transfer->handle;
    const struct http_call_batch *batch = transfer->batch;
    return curl.easy_setopt(handle, CURLOPT_URL, transfer->call->url) == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_NOPROXY, "*") == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_TIMEOUT_MS, (long)batch->timeout_ms) == CURLE_OK &&
           set_silence(handle, batch) && set_headers(owner, transfer) &&
           (!batch->packed || curl.easy_setopt(handle, CURLOPT_ACCEPT_ENCODING, "gzip") == CURLE_OK) &&
           curl.easy_setopt(handle, CURLOPT_USERAGENT, owner->user_agent) == CURLE_OK && set_body(handle, batch) &&
           keep_public(transfer) && curl.easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_response) == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_WRITEDATA, transfer) == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_ERRORBUFFER, transfer->error) == CURLE_OK &&
           curl.easy_setopt(handle, CURLOPT_PRIVATE, transfer) == CURLE_OK;
}

static void deliver(void *argument)
{
    struct http_calls *owner = argument;
    pthread_mutex_lock(&owner->mutex);
    struct http_call_batch *batch = owner->finished;
    owner->finished = NULL;
    owner->finished_end = &owner->finished;
    pthread_mutex_unlock(&owner->mutex);
    while (batch != NULL) {
        struct http_call_batch *next = batch->next;
        owner->count--;
        batch->done(batch);
        batch = next;
    }
}

static void call_ended(struct http_calls *owner, struct http_call_batch *batch)
{
    if (++batch->ended < batch->call_count)
        return;
    pthread_mutex_lock(&owner->mutex);
    batch->next = NULL;
    *owner->finished_end = batch;
    owner->finished_end = &batch->next;
    pthread_mutex_unlock(&owner->mutex);
    rpc_loop_post(owner->loop, deliver, owner);
}

static void end_transfer(struct http_calls *owner, struct transfer *transfer, CURLcode result)
{
    struct http_call *call = transfer->call;
    /* A body that was cut off, by us or by the worker, takes nothing from the status. */
    (void)curl.easy_getinfo(transfer->handle, CURLINFO_RESPONSE_CODE, &call->status); /* known to libcurl */
    curl_off_t sent_us = 0, begun_us = 0;
    if (curl.easy_getinfo(transfer->handle, CURLINFO_PRETRANSFER_TIME_T, &sent_us) == CURLE_OK &&
        curl.easy_getinfo(transfer->handle, CURLINFO_STARTTRANSFER_TIME_T, &begun_us) == CURLE_OK && begun_us > sent_us)
        call->first_byte_us = (uint32_t)(begun_us - sent_us);
    struct curl_header *etag = NULL;
    if (curl.easy_header(transfer->handle, "ETag", 0, CURLH_HEADER, -1, &etag) == CURLHE_OK &&
        strlen(etag->value) < sizeof call->etag)
        memcpy(call->etag, etag->value, strlen(etag->value) + 1);
    if (result != CURLE_OK && !(result == CURLE_WRITE_ERROR && call->truncated)) {
        call->status = 0;
        call->timed_out = result == CURLE_OPERATION_TIMEDOUT;
        snprintf(call->error, sizeof(call->error), "%.159s",
                 transfer->refused            ? "it is at a private address, which is not called"
                 : transfer->error[0] != '\0' ? transfer->error
                                              : curl.easy_strerror(result));
    }
    *transfer->link = transfer->next;
    if (transfer->next != NULL)
        transfer->next->link = transfer->link;
    owner->transfer_count--;
    (void)curl.multi_remove_handle(owner->multi, transfer->handle); /* it is in there, or was never */
    curl.easy_cleanup(transfer->handle);
    curl.slist_free_all(transfer->headers);
    call_ended(owner, transfer->batch);
    free(transfer);
}

static void begin_transfer(struct http_calls *owner, struct http_call_batch *batch, struct http_call *call)
{
    struct transfer *transfer = calloc(1, sizeof(*transfer));
    CURL *handle = transfer == NULL ? NULL : curl.easy_init();
    if (handle == NULL) {
        free(transfer);
        snprintf(call->error, sizeof(call->error), "out of memory");
        call_ended(owner, batch);
        return;
    }
    *transfer = (struct transfer){.batch = batch, .call = call, .handle = handle};
    transfer->next = owner->transfers;
    transfer->link = &owner->transfers;
    if (transfer->next != NULL)
        transfer->next->link = &transfer->next;
    owner->transfers = transfer;
    owner->transfer_count++;
    if (!set_up(owner, transfer) || curl.multi_add_handle(owner->multi, handle) != CURLM_OK)
        end_transfer(owner, transfer, CURLE_OUT_OF_MEMORY);
}

/* --- The thread --- */

/* False: the end. */
static bool take_incoming(struct http_calls *owner)
{
    pthread_mutex_lock(&owner->mutex);
    if (owner->incoming != NULL) {
        *owner->waiting_end = owner->incoming;
        owner->waiting_end = owner->incoming_end;
        owner->incoming = NULL;
        owner->incoming_end = &owner->incoming;
    }
    bool ending = owner->ending;
    pthread_mutex_unlock(&owner->mutex);
    return !ending;
}

static void begin_transfers(struct http_calls *owner)
{
    while (owner->waiting != NULL && owner->transfer_count < owner->transfers_max) {
        struct http_call_batch *batch = owner->waiting;
        struct http_call *call = &batch->calls[batch->begun++];
        if (batch->begun == batch->call_count) {
            owner->waiting = batch->next;
            if (owner->waiting == NULL)
                owner->waiting_end = &owner->waiting;
        }
        begin_transfer(owner, batch, call); /* which may end it */
    }
}

static void end_transfers(struct http_calls *owner)
{
    int left;
    const CURLMsg *message;
    while ((message = curl.multi_info_read(owner->multi, &left)) != NULL) {
        char *transfer = NULL;
        if (message->msg != CURLMSG_DONE ||
            curl.easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer) != CURLE_OK)
            continue;
        end_transfer(owner, (struct transfer *)(void *)transfer, message->data.result);
    }
}

/* The process stops: nobody waits for the rest. */
static void give_up(struct http_calls *owner)
{
    while (owner->transfers != NULL) {
        snprintf(owner->transfers->error, CURL_ERROR_SIZE, "this process is stopping");
        end_transfer(owner, owner->transfers, CURLE_ABORTED_BY_CALLBACK);
    }
    while (owner->waiting != NULL) {
        struct http_call_batch *batch = owner->waiting;
        owner->waiting = batch->next;
        while (batch->begun < batch->call_count) {
            struct http_call *call = &batch->calls[batch->begun++];
            snprintf(call->error, sizeof(call->error), "this process is stopping");
            call_ended(owner, batch);
        }
    }
}

static void *run(void *argument)
{
    struct http_calls *owner = argument;
    while (take_incoming(owner)) {
        int running;
        begin_transfers(owner);
        (void)curl.multi_perform(owner->multi, &running); /* its errors are the transfers' */
        end_transfers(owner);
        (void)curl.multi_poll(owner->multi, NULL, 0, POLL_MS, NULL); /* likewise */
    }
    give_up(owner);
    return NULL;
}

/* --- Life --- */

/* Into `curl`, where it stays: threads of the library may outlive its use. */
static bool load_curl(void)
{
    static bool is_loaded; /* once: threads of an earlier owner read `curl` */
    if (is_loaded)
        return true;
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    bool loaded = library != NULL;
#define LOAD(name) loaded = loaded && (*(void **)(void *)&curl.name = dlsym(library, "curl_" #name)) != NULL;
    CURL_FUNCTIONS(LOAD)
#undef LOAD
    if (!loaded)
        log_error("libcurl cannot be loaded; install libcurl4", LOG_TEXT("reason", dlerror()));
    is_loaded = loaded;
    return loaded;
}

static bool start(struct http_calls *owner)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return false;
    bool started = pthread_attr_setstacksize(&attributes, STACK_BYTES) == 0 &&
                   pthread_create(&owner->thread, &attributes, run, owner) == 0;
    pthread_attr_destroy(&attributes);
    return started;
}

static void release(void *argument)
{
    struct http_calls *owner = argument;
    if (owner->multi != NULL)
        (void)curl.multi_cleanup(owner->multi); /* no handle is in it any more */
    curl.slist_free_all(owner->headers);
    pthread_mutex_destroy(&owner->mutex);
    free(owner);
    curl.global_cleanup();
}

/* Leaves three quarters of the process's descriptors to what it exists for. */
static size_t transfers_max(void)
{
    struct rlimit limit;
    bool is_known = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    return is_known && limit.rlim_cur / 4 < HTTP_CALLS_SOCKETS_MAX ? (size_t)limit.rlim_cur / 4 + 1
                                                                   : HTTP_CALLS_SOCKETS_MAX;
}

struct http_calls *http_calls_create(struct rpc_loop *loop, const char *user_agent, size_t batches_max)
{
    struct http_calls *owner = load_curl() ? calloc(1, sizeof(*owner)) : NULL;
    if (owner == NULL || curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(owner);
        return NULL;
    }
    owner->loop = loop;
    owner->user_agent = user_agent;
    owner->batches_max = batches_max;
    owner->transfers_max = transfers_max();
    owner->incoming_end = &owner->incoming;
    owner->waiting_end = &owner->waiting;
    owner->finished_end = &owner->finished;
    pthread_mutex_init(&owner->mutex, NULL);
    owner->multi = curl.multi_init();
    owner->headers = common_headers(NULL, NULL);
    owner->running = owner->multi != NULL && owner->headers != NULL && start(owner);
    if (owner->running)
        return owner;
    release(owner);
    return NULL;
}

void http_calls_destroy(struct http_calls *owner)
{
    if (owner == NULL)
        return;
    pthread_mutex_lock(&owner->mutex);
    owner->ending = true;
    pthread_mutex_unlock(&owner->mutex);
    (void)curl.multi_wakeup(owner->multi); /* only fails without memory; then the poll ends by itself */
    pthread_join(owner->thread, NULL);
    deliver(owner);
    rpc_loop_post(owner->loop, release, owner); /* behind what its thread has posted */
}

bool http_calls_send(struct http_calls *owner, struct http_call_batch *batch)
{
    if (owner->count == owner->batches_max)
        return false;
    owner->count++;
    batch->next = NULL;
    batch->owner = owner;
    batch->begun = batch->ended = 0;
    pthread_mutex_lock(&owner->mutex);
    *owner->incoming_end = batch;
    owner->incoming_end = &batch->next;
    pthread_mutex_unlock(&owner->mutex);
    (void)curl.multi_wakeup(owner->multi); /* as above: it comes with the next turn */
    return true;
}

char *http_calls_url(const char *base, const char *path)
{
    size_t base_bytes = strlen(base), path_bytes = strlen(path);
    while (base_bytes > 0 && base[base_bytes - 1] == '/')
        base_bytes--;
    char *url = malloc(base_bytes + path_bytes + 1);
    if (url == NULL)
        return NULL;
    memcpy(url, base, base_bytes);
    memcpy(url + base_bytes, path, path_bytes + 1);
    return url;
}
