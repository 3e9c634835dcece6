/* See uplink.h. */

#include "services/worker/uplink.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "common/backoff.h"
#include "common/link/handshake.h"
#include "common/link/streams.h"
#include "common/log.h"
#include "services/worker/coordinators.h"
#include "services/worker/heartbeat.h"
#include "services/worker/uplink_connect.h"

#define SILENT_PINGS 3
#define RECONNECT_FIRST_MS 200u
#define RECONNECT_LONGEST_MS 5000u
#define RECEIVE_BYTES 65536

struct attempt {
    struct loop_task task;
    struct attempt *next;
    struct uplink *uplink;
    pthread_t thread;
    bool abandoned; /* another one is under way */
    struct uplink_request request;
    struct uplink_connection connection;
    char coordinator_url[COORDINATORS_URL_BYTES];
    char worker_id[HEARTBEAT_ID_BYTES];
};

struct uplink {
    struct loop_watch watch; /* first: the callback casts */
    struct uplink_config config;
    char secret[LINK_SECRET_BYTES];
    char name[LINK_NAME_BYTES];
    char target[COORDINATORS_URL_BYTES]; /* "": none yet */
    struct attempt *attempts;            /* their threads run, or their ends have not been noticed */
    struct attempt *current;
    bool answer_wanted; /* uplink_reach waits */

    struct uplink_connection connection; /* easy NULL: there is none */
    struct link_streams *streams;
    struct buffer unsent;
    uint64_t heard_at_ms;
    struct timer timer; /* pings, or the next attempt */
    struct backoff backoff;
    bool hangup;
    char received[RECEIVE_BYTES];
};

static void start_attempt(struct uplink *uplink);

/* --- The end of a link --- */

static void disconnect(struct uplink *uplink)
{
    if (uplink->connection.easy == NULL)
        return;
    loop_watch_remove(uplink->config.loop, &uplink->watch);
    link_streams_free(uplink->streams);
    uplink->streams = NULL;
    uplink_connection_free(&uplink->connection);
    buffer_free(&uplink->unsent);
    loop_timer_stop(uplink->config.loop, &uplink->timer);
}

static void try_again(struct timer *timer, void *argument)
{
    struct uplink *uplink = argument;
    (void)timer;
    if (uplink->current == NULL)
        start_attempt(uplink);
}

static void try_later(struct uplink *uplink)
{
    loop_timer_start(uplink->config.loop, &uplink->timer, backoff_next_ms(&uplink->backoff, uplink->config.random),
                     try_again, uplink);
}

static void lose(struct uplink *uplink, const char *reason)
{
    if (uplink->connection.easy == NULL)
        return;
    log_warning("the link is lost, connecting again", LOG_TEXT("coordinator", uplink->target),
                LOG_TEXT("reason", reason));
    disconnect(uplink);
    try_later(uplink);
}

static void link_over(void *context)
{
    struct uplink *uplink = context;
    char reason[256];
    snprintf(reason, sizeof reason, "%s", link_streams_error(uplink->streams));
    lose(uplink, reason);
}

/* --- The transport --- */

/* What the connection takes at once. A broken one takes nothing; that shows when it is read. libcurl reads and writes
 * 16 KiB at a time: where it has nothing to do with the bytes they go past it. */
static size_t send_now(struct uplink *uplink, const char *data, size_t bytes)
{
    size_t sent, total = 0;
    while (total < bytes) {
        if (uplink->connection.tls) {
            if (curl_easy_send(uplink->connection.easy, data + total, bytes - total, &sent) != CURLE_OK)
                break;
            total += sent;
        } else {
            ssize_t taken = send(uplink->watch.descriptor, data + total, bytes - total, MSG_NOSIGNAL);
            if (taken < 0 && errno == EINTR)
                continue;
            if (taken <= 0)
                break;
            total += (size_t)taken;
        }
    }
    return total;
}

/* Bytes read; 0: the end, or it is broken; -1: nothing there now. */
static ssize_t receive_now(struct uplink *uplink)
{
    size_t got;
    if (uplink->connection.tls) {
        CURLcode result = curl_easy_recv(uplink->connection.easy, uplink->received, sizeof uplink->received, &got);
        return result == CURLE_AGAIN ? -1 : result == CURLE_OK ? (ssize_t)got : 0;
    }
    ssize_t received;
    do
        received = recv(uplink->watch.descriptor, uplink->received, sizeof uplink->received, 0);
    while (received < 0 && errno == EINTR);
    return received >= 0 ? received : errno == EAGAIN || errno == EWOULDBLOCK ? -1 : 0;
}

static bool send_bytes(void *context, const void *data, size_t bytes)
{
    struct uplink *uplink = context;
    size_t total = uplink->unsent.bytes == 0 ? send_now(uplink, data, bytes) : 0;
    if (total < bytes)
        buffer_append(&uplink->unsent, (const char *)data + total, bytes - total);
    if (buffer_failed(&uplink->unsent)) /* a hole in the stream: the next read finds its end */
        (void)shutdown(uplink->watch.descriptor, SHUT_RDWR);
    return uplink->unsent.bytes == 0 && !buffer_failed(&uplink->unsent);
}

/* Windows bound what comes in one go. */
static void receive(struct uplink *uplink)
{
    for (;;) {
        ssize_t got = receive_now(uplink);
        if (got < 0)
            return;
        if (got == 0) {
            const char *said = link_streams_error(uplink->streams);
            char reason[256];
            snprintf(reason, sizeof reason, "%s", said[0] != '\0' ? said : "the connection broke");
            lose(uplink, reason);
            return;
        }
        uplink->heard_at_ms = loop_now_ms(uplink->config.loop);
        link_streams_receive(uplink->streams, uplink->received, (size_t)got);
        /* A short read has drained the socket, unless its end was signalled already. */
        if ((size_t)got < sizeof uplink->received && !uplink->connection.tls && !uplink->hangup)
            return;
    }
}

static void on_ready(struct loop_watch *watch, uint32_t events)
{
    struct uplink *uplink = (struct uplink *)watch;
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        uplink->hangup = true;
    /* With TLS either may have waited for the other. */
    if (uplink->unsent.bytes > 0) {
        buffer_consume(&uplink->unsent, send_now(uplink, uplink->unsent.data, uplink->unsent.bytes));
        if (uplink->unsent.bytes == 0)
            link_streams_writable(uplink->streams);
    }
    receive(uplink);
}

static void ping(struct timer *timer, void *argument)
{
    struct uplink *uplink = argument;
    if (loop_now_ms(uplink->config.loop) - uplink->heard_at_ms >= SILENT_PINGS * uplink->config.ping_ms) {
        lose(uplink, "the coordinator is silent");
        return;
    }
    loop_timer_start(uplink->config.loop, timer, uplink->config.ping_ms, ping, uplink);
    link_streams_ping(uplink->streams);
}

static void handed_out(void *context, int descriptor)
{
    struct uplink *uplink = context;
    uplink->config.handed_out(uplink->config.context, descriptor);
}

/* --- Connecting --- */

static void tell(struct uplink *uplink, unsigned status, const char *error)
{
    uplink->answer_wanted = false;
    uplink->config.reached(uplink->config.context, status, error);
}

static void connected(struct uplink *uplink, struct attempt *attempt)
{
    static const struct link_streams_calls calls = {send_bytes, link_over, handed_out};
    struct loop *loop = uplink->config.loop;
    curl_socket_t descriptor = CURL_SOCKET_BAD;
    uplink->connection = attempt->connection;
    attempt->connection.easy = NULL;
    uplink->connection.received = (struct buffer)BUFFER_INIT;
    uplink->hangup = false;
    (void)curl_easy_getinfo(uplink->connection.easy, CURLINFO_ACTIVESOCKET, &descriptor); /* else it stays bad */
    uplink->streams = link_streams_create(loop, LINK_WORKER, &calls, uplink);
    if (uplink->streams == NULL || !loop_watch_add(loop, &uplink->watch, descriptor, on_ready)) {
        if (uplink->answer_wanted)
            tell(uplink, 0, "out of memory, or of descriptors");
        disconnect(uplink);
        try_later(uplink);
        return;
    }
    backoff_reset(&uplink->backoff);
    uplink->heard_at_ms = loop_now_ms(loop);
    loop_timer_start(loop, &uplink->timer, uplink->config.ping_ms, ping, uplink);
    log_info("the link is open", LOG_TEXT("coordinator", uplink->target));
    if (attempt->connection.received.bytes > 0)
        link_streams_receive(uplink->streams, attempt->connection.received.data, attempt->connection.received.bytes);
    if (uplink->answer_wanted)
        tell(uplink, 101, NULL);
    receive(uplink); /* its edges may have passed */
}

static void not_connected(struct uplink *uplink, const struct attempt *attempt)
{
    const char *error = attempt->connection.error;
    if (uplink->answer_wanted) { /* whoever asked decides what follows */
        tell(uplink, attempt->connection.status, error);
        return;
    }
    log_warning("the link cannot be opened, trying again", LOG_TEXT("coordinator", uplink->target),
                LOG_TEXT("error", error));
    try_later(uplink);
}

static void free_attempt(struct attempt *attempt)
{
    struct attempt **at = &attempt->uplink->attempts;
    while (*at != attempt)
        at = &(*at)->next;
    *at = attempt->next;
    pthread_join(attempt->thread, NULL);
    uplink_connection_free(&attempt->connection);
    free(attempt);
}

static void attempt_ended(struct loop_task *task)
{
    struct attempt *attempt = (struct attempt *)task;
    struct uplink *uplink = attempt->uplink;
    if (!attempt->abandoned) {
        uplink->current = NULL;
        if (attempt->connection.easy != NULL)
            connected(uplink, attempt);
        else
            not_connected(uplink, attempt);
    }
    free_attempt(attempt);
}

static void *run_attempt(void *argument)
{
    struct attempt *attempt = argument;
    uplink_connect(&attempt->request, &attempt->connection);
    loop_post(attempt->uplink->config.loop, &attempt->task);
    return NULL;
}

static void start_attempt(struct uplink *uplink)
{
    struct attempt *attempt = calloc(1, sizeof *attempt);
    if (attempt == NULL) {
        try_later(uplink);
        return;
    }
    attempt->task.run = attempt_ended;
    attempt->uplink = uplink;
    strcpy(attempt->coordinator_url, uplink->target);
    snprintf(attempt->worker_id, sizeof attempt->worker_id, "%s", uplink->config.worker_id);
    attempt->request.coordinator_url = attempt->coordinator_url;
    attempt->request.worker_id = attempt->worker_id;
    attempt->request.secret = uplink->secret;
    attempt->request.api_key = uplink->config.api_key;
    attempt->request.ca_file = uplink->config.ca_file;
    if (pthread_create(&attempt->thread, NULL, run_attempt, attempt) != 0) {
        free(attempt);
        try_later(uplink);
        return;
    }
    attempt->next = uplink->attempts;
    uplink->attempts = attempt;
    uplink->current = attempt;
}

static void abandon_attempt(struct uplink *uplink)
{
    if (uplink->current == NULL)
        return;
    uplink->current->abandoned = true;
    atomic_store(&uplink->current->request.cancelled, true);
    uplink->current = NULL;
}

/* --- From outside --- */

struct uplink *uplink_create(const struct uplink_config *config)
{
    struct uplink *uplink = calloc(1, sizeof *uplink);
    if (uplink == NULL)
        return NULL;
    uplink->config = *config;
    uplink->watch.descriptor = -1;
    uplink->backoff = (struct backoff){.first_ms = RECONNECT_FIRST_MS, .longest_ms = RECONNECT_LONGEST_MS};
    random_hex(uplink->secret, (LINK_SECRET_BYTES - 1) / 2);
    if (!link_name(uplink->secret, LINK_SECRET_BYTES - 1, uplink->name)) {
        free(uplink);
        return NULL;
    }
    return uplink;
}

void uplink_destroy(struct uplink *uplink)
{
    if (uplink == NULL)
        return;
    disconnect(uplink);
    loop_timer_stop(uplink->config.loop, &uplink->timer);
    for (struct attempt *attempt = uplink->attempts; attempt != NULL; attempt = attempt->next)
        atomic_store(&attempt->request.cancelled, true);
    while (uplink->attempts != NULL)
        free_attempt(uplink->attempts);
    free(uplink);
}

bool uplink_reach(struct uplink *uplink, const char *coordinator_url)
{
    bool same = strcmp(uplink->target, coordinator_url) == 0;
    if (same && uplink_is_open(uplink))
        return true;
    uplink->answer_wanted = true;
    if (same && uplink->current != NULL)
        return false;
    disconnect(uplink);
    abandon_attempt(uplink);
    loop_timer_stop(uplink->config.loop, &uplink->timer);
    snprintf(uplink->target, sizeof uplink->target, "%s", coordinator_url);
    start_attempt(uplink);
    return false;
}

bool uplink_url(const struct uplink *uplink, const char *coordinator_url, char *url, size_t url_bytes)
{
    int bytes = snprintf(url, url_bytes, "%s" LINK_PATH "%s", coordinator_url, uplink->name);
    return bytes > 0 && (size_t)bytes < url_bytes;
}

bool uplink_is_open(const struct uplink *uplink)
{
    return uplink->connection.easy != NULL;
}
