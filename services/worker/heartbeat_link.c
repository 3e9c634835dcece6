#define _GNU_SOURCE
#include "services/worker/heartbeat_link.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services/worker/grpc_stream.h"
#include "services/worker/registration.h"

#define METHOD "/muster.v1.HealthService/Heartbeat"
#define MESSAGE_LIMIT_BYTES (256 * 1024)
#define CONNECT_TIMEOUT_MS 5000u
#define DOUBT_MS 2000u /* without an acknowledgement: ask for a sign of life */
#define DEAD_MS 4000u  /* without that either */
#define SLOW_MS 30000u /* alive, but does not acknowledge */
#define OUTPUT_BYTES 65536u

struct heartbeat_link {
    struct loop *loop;
    struct control *control;
    const struct heartbeat_link_calls *calls;
    void *context;

    char address[512];
    struct control_call *connecting; /* NULL: not opening */
    struct loop_watch watch;         /* first of what an open link has */
    int descriptor;                  /* -1: not open */
    struct grpc_stream *stream;
    struct buffer out; /* taken from the stream, not from us by the kernel */

    char token[REGISTRATION_TOKEN_BYTES]; /* that was sent on this link */
    uint64_t sent_sequence, acknowledged_sequence;
    uint64_t waiting_since_ms; /* for the acknowledgement of something */
    uint64_t pongs_before;
    bool doubted; /* a ping is on its way */
    bool silent;  /* and was not answered */
    struct timer timer;

    bool ended; /* the server ended the call, or the connection broke: */
    char reason[GRPC_STREAM_REASON_BYTES + 64];
    struct loop_hook settle; /* reports that at the end of the turn */
};

static struct heartbeat_link *link_of_watch(struct loop_watch *watch)
{
    return (struct heartbeat_link *)((char *)watch - offsetof(struct heartbeat_link, watch));
}

/* ---- the end ---- */

void heartbeat_link_close(struct heartbeat_link *link)
{
    if (link->connecting != NULL)
        control_cancel(link->connecting);
    link->connecting = NULL;
    loop_timer_stop(link->loop, &link->timer);
    if (link->descriptor >= 0) {
        loop_watch_remove(link->loop, &link->watch);
        close(link->descriptor);
        link->descriptor = -1;
    }
    grpc_stream_free(link->stream);
    link->stream = NULL;
    buffer_free(&link->out);
    link->ended = link->silent = false;
}

static void settle(struct loop_hook *hook)
{
    struct heartbeat_link *link = (struct heartbeat_link *)((char *)hook - offsetof(struct heartbeat_link, settle));
    if (!link->ended)
        return;
    char reason[sizeof link->reason];
    memcpy(reason, link->reason, sizeof reason);
    uint64_t silent_ms = link->silent ? DEAD_MS : 0;
    heartbeat_link_close(link);
    link->calls->closed(link->context, reason, silent_ms);
}

/* The stream may be on the stack: it is freed at the end of the turn. */
static void fail(struct heartbeat_link *link, const char *reason)
{
    if (link->ended)
        return;
    link->ended = true;
    snprintf(link->reason, sizeof link->reason, "%s", reason);
    loop_at_end_of_turn(link->loop, &link->settle);
}

static void stream_ended(void *context, const struct grpc_stream_end *end)
{
    struct heartbeat_link *link = context;
    char reason[sizeof link->reason];
    snprintf(reason, sizeof reason, "the server ended the stream with gRPC status %d%s%s", end->status,
             end->reason[0] != '\0' ? ": " : "", end->reason);
    fail(link, reason);
}

/* ---- bytes out ---- */

static void flush(struct heartbeat_link *link)
{
    while (!link->ended) {
        if (!grpc_stream_output(link->stream, &link->out, OUTPUT_BYTES) || link->out.bytes == 0)
            return;
        ssize_t sent = send(link->descriptor, link->out.data, link->out.bytes, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN)
            return;
        if (sent < 0) {
            fail(link, strerror(errno));
            return;
        }
        buffer_consume(&link->out, (size_t)sent);
    }
}

/* ---- acknowledgements ---- */

static void patience_over(struct timer *timer, void *argument)
{
    (void)timer;
    struct heartbeat_link *link = argument;
    uint64_t waited_ms = loop_now_ms(link->loop) - link->waiting_since_ms;
    if (!link->doubted) {
        link->doubted = true;
        link->pongs_before = grpc_stream_pongs(link->stream);
        grpc_stream_ping(link->stream);
        loop_timer_start(link->loop, &link->timer, DEAD_MS - DOUBT_MS, patience_over, link);
        flush(link);
    } else if (grpc_stream_pongs(link->stream) == link->pongs_before) {
        link->silent = true;
        fail(link, "no sign of life from the server");
    } else if (waited_ms < SLOW_MS) {
        loop_timer_start(link->loop, &link->timer, SLOW_MS - waited_ms, patience_over, link);
    } else {
        fail(link, "the server does not acknowledge heartbeats");
    }
}

static void await_acknowledgement(struct heartbeat_link *link)
{
    link->doubted = false;
    link->waiting_since_ms = loop_now_ms(link->loop);
    loop_timer_start(link->loop, &link->timer, DOUBT_MS, patience_over, link);
}

static void hear_command(const struct heartbeat_command *command, void *argument)
{
    struct heartbeat_link *link = argument;
    link->calls->command(link->context, command);
}

static void message_received(void *context, const void *message, size_t bytes)
{
    struct heartbeat_link *link = context;
    uint64_t sequence;
    if (link->ended)
        return;
    if (!heartbeat_decode_response(message, bytes, &sequence, hear_command, link)) {
        fail(link, "the server sent a malformed message");
        return;
    }
    if (sequence > link->acknowledged_sequence && sequence <= link->sent_sequence) {
        link->acknowledged_sequence = sequence;
        if (sequence == link->sent_sequence)
            loop_timer_stop(link->loop, &link->timer);
        else
            await_acknowledgement(link);
        link->calls->acknowledged(link->context, sequence);
    }
}

/* ---- bytes in ---- */

static void fill(struct heartbeat_link *link)
{
    char data[16384];
    while (!link->ended) {
        ssize_t got = recv(link->descriptor, data, sizeof data, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            fail(link, got == 0 ? "the server closed the connection" : strerror(errno));
            return;
        }
        if (!grpc_stream_receive(link->stream, data, (size_t)got))
            return;
    }
}

static void ready(struct loop_watch *watch, uint32_t events)
{
    struct heartbeat_link *link = link_of_watch(watch);
    if ((events & ~(uint32_t)EPOLLOUT) != 0)
        fill(link);
    flush(link);
}

/* ---- opening ---- */

static void set_socket_options(int descriptor)
{
    /* Each makes things better and is not needed: failures are of no consequence. */
    int yes = 1;
    unsigned patience_ms = DEAD_MS;
    (void)setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    (void)setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    (void)setsockopt(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof patience_ms);
}

static void connected(void *context, int descriptor, const char *error)
{
    static const struct grpc_stream_calls calls = {message_received, stream_ended};
    struct heartbeat_link *link = context;
    link->connecting = NULL;
    if (descriptor < 0) {
        link->calls->closed(link->context, error, 0);
        return;
    }
    set_socket_options(descriptor);
    link->token[0] = '\0';
    link->sent_sequence = 0;
    link->acknowledged_sequence = 0;
    link->stream = grpc_stream_create(link->address, METHOD, MESSAGE_LIMIT_BYTES, &calls, link);
    if (link->stream == NULL || !loop_watch_add(link->loop, &link->watch, descriptor, ready)) {
        close(descriptor);
        heartbeat_link_close(link);
        link->calls->closed(link->context, "out of memory or descriptors", 0);
        return;
    }
    link->descriptor = descriptor;
    link->calls->opened(link->context);
}

bool heartbeat_link_open(struct heartbeat_link *link, const char *address)
{
    if (link->connecting != NULL || link->descriptor >= 0 || strlen(address) >= sizeof link->address)
        return false;
    strcpy(link->address, address);
    link->connecting = control_connect(link->control, address, CONNECT_TIMEOUT_MS, connected, link);
    return link->connecting != NULL;
}

bool heartbeat_link_beat(struct heartbeat_link *link, const struct heartbeat *heartbeat, const char *token,
                         uint64_t sequence)
{
    if (link->descriptor < 0 || link->ended)
        return false;
    struct buffer message = BUFFER_INIT;
    bool token_is_news = strcmp(link->token, token) != 0;
    bool sent = heartbeat_encode_request(heartbeat, token_is_news ? token : "", sequence, &message) &&
                grpc_stream_send(link->stream, message.data, message.bytes);
    buffer_free(&message);
    if (!sent)
        return false;
    if (token_is_news)
        snprintf(link->token, sizeof link->token, "%s", token);
    bool nothing_awaited = link->sent_sequence == link->acknowledged_sequence;
    link->sent_sequence = sequence;
    if (nothing_awaited)
        await_acknowledgement(link);
    flush(link);
    return true;
}

struct heartbeat_link *heartbeat_link_create(struct loop *loop, struct control *control,
                                             const struct heartbeat_link_calls *calls, void *context)
{
    struct heartbeat_link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return NULL;
    link->loop = loop;
    link->control = control;
    link->calls = calls;
    link->context = context;
    link->watch = (struct loop_watch)LOOP_WATCH_INIT;
    link->descriptor = -1;
    link->settle.run = settle;
    return link;
}

void heartbeat_link_destroy(struct heartbeat_link *link)
{
    if (link == NULL)
        return;
    heartbeat_link_close(link);
    free(link);
}
