#define _GNU_SOURCE
/* See streams.h. */

#include "common/link/streams.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* What is fetched from the link for the transport at once. */
#define OUTPUT_BYTES 65536
/* Smaller pieces are put together before they are written. */
#define GATHERED_BELOW_BYTES 8192
/* Memory that a socket keeps for what comes next. */
#define KEPT_BYTES 4096

struct link_socket {
    struct loop_watch watch; /* first: the callback casts */
    struct loop_reapable reapable;
    struct link_socket *next, *previous;
    struct link_streams *streams;
    struct link_stream *stream; /* NULL: it came to its end; what waits is still delivered */
    struct buffer waiting;      /* came over the link, and the socket did not take it; a window at most */
    bool readable, writable;    /* as far as the edges told */
    bool hangup;                /* its owner has closed it */
    bool fed;                   /* in the list of those that something came for in this turn */
    struct link_socket *next_fed;
    bool ended;  /* nothing follows what waits */
    bool deaf;   /* takes nothing more; what it has said is still read */
    bool reset;  /* broken off, `closed` will come */
    bool closed; /* freed at the end of the turn */
};

struct link_streams {
    struct loop *loop;
    enum link_side side;
    struct link *link;
    const struct link_streams_calls *calls;
    void *context;
    struct link_socket *sockets;
    struct link_socket *fed; /* what came for them is written together */
    struct loop_hook flush;
    struct loop_reapable reapable;
    struct buffer output;
    bool blocked; /* the transport takes no more */
    bool over_told;
    bool freed;
};

static void wake(struct link_streams *streams)
{
    if (!streams->freed)
        loop_at_end_of_turn(streams->loop, &streams->flush);
}

/* --- Sockets ------------------------------------------------------------------------------ */

static void free_socket(struct loop_reapable *reapable)
{
    struct link_socket *socket = (struct link_socket *)((char *)reapable - offsetof(struct link_socket, reapable));
    buffer_free(&socket->waiting);
    free(socket);
}

static void close_socket(struct link_socket *socket)
{
    struct link_streams *streams = socket->streams;
    int descriptor = socket->watch.descriptor;
    socket->closed = true;
    loop_watch_remove(streams->loop, &socket->watch);
    close(descriptor);
    socket->stream = NULL;
    if (socket->next != NULL)
        socket->next->previous = socket->previous;
    if (socket->previous != NULL)
        socket->previous->next = socket->next;
    else
        streams->sockets = socket->next;
    loop_reap(streams->loop, &socket->reapable, free_socket);
}

static void reset(struct link_socket *socket)
{
    if (socket->reset)
        return;
    socket->reset = true;
    if (socket->stream == NULL) {
        close_socket(socket);
        return;
    }
    link_stream_reset(socket->stream);
    wake(socket->streams);
}

/* Nobody will read what is written to it. At the gateway the request is over then. A worker's answer may still be
 * under way: once that is there the gateway closes its side. */
static void lose_reader(struct link_socket *socket)
{
    if (socket->streams->side == LINK_GATEWAY || socket->stream == NULL)
        reset(socket);
    else
        socket->deaf = true;
}

/* Writes as much as the socket takes; returns how much. */
static size_t write_some(struct link_socket *socket, const char *data, size_t bytes)
{
    size_t total = 0;
    while (total < bytes && socket->writable && !socket->deaf) {
        ssize_t sent = send(socket->watch.descriptor, data + total, bytes - total, MSG_NOSIGNAL);
        if (sent > 0) {
            total += (size_t)sent;
        } else if (sent < 0 && errno != EINTR) {
            socket->writable = false;
            if (errno != EAGAIN && errno != EWOULDBLOCK)
                lose_reader(socket);
        }
    }
    return socket->deaf ? bytes : total;
}

static void shut_if_ended(struct link_socket *socket)
{
    if (socket->ended && socket->waiting.bytes == 0)
        (void)shutdown(socket->watch.descriptor, SHUT_WR); /* fails when the other end is closed */
}

static void write_waiting(struct link_socket *socket)
{
    if (socket->waiting.bytes == 0)
        return;
    size_t sent = write_some(socket, socket->waiting.data, socket->waiting.bytes);
    buffer_consume(&socket->waiting, sent);
    if (socket->waiting.bytes == 0 && socket->waiting.capacity > KEPT_BYTES)
        buffer_free(&socket->waiting);
    if (socket->reset)
        return;
    if (socket->stream == NULL) {
        if (socket->waiting.bytes == 0)
            close_socket(socket);
        return;
    }
    link_stream_consumed(socket->stream, sent);
    if (sent > 0)
        wake(socket->streams); /* the window may be opened */
    shut_if_ended(socket);
}

static void on_ready(struct loop_watch *watch, uint32_t events)
{
    struct link_socket *socket = (struct link_socket *)watch;
    if (socket->reset)
        return;
    if ((events & EPOLLOUT) != 0)
        socket->writable = true;
    if ((events & (EPOLLHUP | EPOLLERR)) != 0)
        socket->hangup = true;
    if (socket->hangup && (socket->streams->side == LINK_GATEWAY || socket->stream == NULL)) {
        reset(socket);
        return;
    }
    if (socket->stream != NULL && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        socket->readable = true;
        link_stream_ready(socket->stream);
        wake(socket->streams);
    }
    write_waiting(socket);
}

static struct link_socket *add_socket(struct link_streams *streams, int descriptor)
{
    struct link_socket *socket = calloc(1, sizeof *socket);
    if (socket == NULL)
        return NULL;
    socket->streams = streams;
    socket->writable = true;
    if (!loop_watch_add(streams->loop, &socket->watch, descriptor, on_ready)) {
        free(socket);
        return NULL;
    }
    socket->next = streams->sockets;
    if (socket->next != NULL)
        socket->next->previous = socket;
    streams->sockets = socket;
    return socket;
}

bool link_socket_pair(int ends[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0;
}

/* --- The link's calls --------------------------------------------------------------------- */

static void *opened(void *context, struct link_stream *stream)
{
    struct link_streams *streams = context;
    int ends[2];
    if (streams->calls->handed_out == NULL || !link_socket_pair(ends))
        return NULL;
    struct link_socket *socket = add_socket(streams, ends[0]);
    if (socket == NULL) {
        close(ends[0]);
        close(ends[1]);
        return NULL;
    }
    socket->stream = stream;
    streams->calls->handed_out(streams->context, ends[1]);
    return socket;
}

static void arrived(void *context, struct link_stream *stream, const void *data, size_t bytes)
{
    struct link_socket *socket = link_stream_user(stream);
    (void)context;
    if (socket->reset)
        return;
    size_t sent = 0;
    if (socket->waiting.bytes == 0 && bytes >= GATHERED_BELOW_BYTES) {
        sent = write_some(socket, data, bytes);
        if (socket->reset)
            return;
        link_stream_consumed(stream, sent);
    }
    if (sent < bytes)
        buffer_append(&socket->waiting, (const char *)data + sent, bytes - sent);
    if (buffer_failed(&socket->waiting)) {
        reset(socket);
    } else if (!socket->fed) {
        socket->fed = true;
        socket->next_fed = socket->streams->fed;
        socket->streams->fed = socket;
    }
}

static void ended(void *context, struct link_stream *stream)
{
    struct link_socket *socket = link_stream_user(stream);
    (void)context;
    socket->ended = true;
    if (!socket->reset)
        shut_if_ended(socket);
}

static ssize_t wanted(void *context, struct link_stream *stream, void *into, size_t room)
{
    struct link_socket *socket = link_stream_user(stream);
    (void)context;
    if (socket->reset || !socket->readable)
        return -1;
    ssize_t received;
    do
        received = recv(socket->watch.descriptor, into, room, 0);
    while (received < 0 && errno == EINTR);
    if (received < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        socket->readable = false;
        return -1;
    }
    if (received < 0) { /* closed with something unread: the owner's last word */
        reset(socket);
        return -1;
    }
    /* After its end was told of, another edge will not come. */
    return received;
}

/* A stream that has come to its end on both sides may have bytes left that its socket does not take at once. */
static void closed(void *context, struct link_stream *stream)
{
    struct link_socket *socket = link_stream_user(stream);
    (void)context;
    socket->stream = NULL;
    if (socket->reset || !socket->ended || socket->waiting.bytes == 0)
        close_socket(socket);
}

static void write_fed(struct link_streams *streams)
{
    while (streams->fed != NULL) {
        struct link_socket *socket = streams->fed;
        streams->fed = socket->next_fed;
        socket->fed = false;
        if (!socket->closed && !socket->reset)
            write_waiting(socket);
    }
}

/* --- The transport ------------------------------------------------------------------------ */

static void flush(struct loop_hook *hook)
{
    struct link_streams *streams = (struct link_streams *)((char *)hook - offsetof(struct link_streams, flush));
    bool alive = true;
    if (streams->freed || streams->over_told)
        return;
    while (alive && !streams->blocked) {
        buffer_clear(&streams->output);
        alive = link_output(streams->link, &streams->output, OUTPUT_BYTES);
        if (streams->output.bytes == 0)
            break;
        streams->blocked = !streams->calls->send(streams->context, streams->output.data, streams->output.bytes);
    }
    if (alive && link_error(streams->link)[0] == '\0')
        return;
    if (alive) { /* blocked: its last bytes find no way */
        buffer_clear(&streams->output);
        (void)link_output(streams->link, &streams->output, OUTPUT_BYTES);
        (void)streams->calls->send(streams->context, streams->output.data, streams->output.bytes);
    }
    streams->over_told = true;
    streams->calls->over(streams->context);
}

void link_streams_receive(struct link_streams *streams, const void *data, size_t bytes)
{
    (void)link_receive(streams->link, data, bytes); /* `flush` finds out */
    write_fed(streams);
    wake(streams);
}

void link_streams_writable(struct link_streams *streams)
{
    streams->blocked = false;
    wake(streams);
}

/* --- From outside ------------------------------------------------------------------------- */

struct link_streams *link_streams_create(struct loop *loop, enum link_side side, const struct link_streams_calls *calls,
                                         void *context)
{
    static const struct link_calls link_calls = {opened, arrived, ended, wanted, closed};
    struct link_streams *streams = calloc(1, sizeof *streams);
    if (streams == NULL)
        return NULL;
    streams->loop = loop;
    streams->side = side;
    streams->calls = calls;
    streams->context = context;
    streams->flush.run = flush;
    streams->link = link_create(side, &link_calls, streams);
    if (streams->link == NULL) {
        free(streams);
        return NULL;
    }
    wake(streams);
    return streams;
}

static void free_streams(struct loop_reapable *reapable)
{
    struct link_streams *streams = (struct link_streams *)((char *)reapable - offsetof(struct link_streams, reapable));
    link_free(streams->link);
    buffer_free(&streams->output);
    free(streams);
}

void link_streams_free(struct link_streams *streams)
{
    if (streams == NULL)
        return;
    streams->freed = true;
    while (streams->sockets != NULL)
        close_socket(streams->sockets);
    loop_reap(streams->loop, &streams->reapable, free_streams);
}

void link_streams_hand_in(struct link_streams *streams, int descriptor)
{
    struct link_socket *socket = streams->over_told ? NULL : add_socket(streams, descriptor);
    if (socket == NULL) {
        close(descriptor);
        return;
    }
    socket->stream = link_open(streams->link, socket);
    if (socket->stream == NULL)
        close_socket(socket);
    else
        wake(streams);
}

void link_streams_ping(struct link_streams *streams)
{
    link_ping(streams->link);
    wake(streams);
}

void link_streams_close(struct link_streams *streams, const char *reason)
{
    link_close(streams->link, reason);
    wake(streams);
}

const char *link_streams_error(const struct link_streams *streams)
{
    return link_error(streams->link);
}

size_t link_streams_count(const struct link_streams *streams)
{
    return link_stream_count(streams->link);
}
