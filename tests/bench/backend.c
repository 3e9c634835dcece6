#include "tests/bench/backend.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    HEAD_BYTES_MAX = 4096,
    BACKLOG = 4096,
};

struct peer {
    struct watch watch; /* first: the loop hands it back */
    struct backend *backend;
    struct peer *next, *previous;
    size_t used;
    char head[HEAD_BYTES_MAX]; /* of a request that has not come completely */
};

struct backend {
    struct watch watch; /* first, too */
    struct loop *loop;
    uint16_t port;
    struct peer *peers;
    char *answer;
    size_t answer_bytes;
};

static void drop(struct peer *peer)
{
    loop_unwatch(peer->backend->loop, &peer->watch);
    if (peer->previous != NULL)
        peer->previous->next = peer->next;
    else
        peer->backend->peers = peer->next;
    if (peer->next != NULL)
        peer->next->previous = peer->previous;
    free(peer);
}

/* Answers each whole request in `head`, and keeps what follows them; false: give up. */
static bool answer(struct peer *peer)
{
    const struct backend *backend = peer->backend;
    size_t from = 0;
    for (;;) {
        const char *end = memmem(peer->head + from, peer->used - from, "\r\n\r\n", 4);
        if (end == NULL)
            break;
        from = (size_t)(end + 4 - peer->head);
        /* One answer fits into an empty socket buffer: relays wait for it before they ask again. */
        if (send(peer->watch.descriptor, backend->answer, backend->answer_bytes, MSG_NOSIGNAL) !=
            (ssize_t)backend->answer_bytes)
            return false;
    }
    peer->used -= from;
    memmove(peer->head, peer->head + from, peer->used);
    return peer->used < sizeof peer->head;
}

static void peer_ready(struct watch *watch, uint32_t events)
{
    struct peer *peer = (struct peer *)watch;
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) == 0)
        return;
    for (;;) {
        size_t room = sizeof peer->head - peer->used;
        ssize_t got = recv(watch->descriptor, peer->head + peer->used, room, 0);
        if (got < 0 && errno == EAGAIN)
            return;
        peer->used += got > 0 ? (size_t)got : 0;
        if (got <= 0 || !answer(peer)) {
            drop(peer);
            return;
        }
        if ((size_t)got < room)
            return;
    }
}

static void listener_ready(struct watch *watch, uint32_t events)
{
    struct backend *backend = (struct backend *)watch;
    (void)events;
    for (;;) {
        int descriptor = accept4(watch->descriptor, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (descriptor < 0)
            return;
        int yes = 1, room = 4 * BACKEND_LONG_BODY_BYTES;
        struct peer *peer = calloc(1, sizeof *peer);
        if (peer == NULL || setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) != 0 ||
            setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &room, sizeof room) != 0) {
            close(descriptor);
            free(peer);
            continue;
        }
        peer->watch = (struct watch){peer_ready, descriptor};
        peer->backend = backend;
        peer->next = backend->peers;
        if (peer->next != NULL)
            peer->next->previous = peer;
        backend->peers = peer;
        if (!loop_watch(backend->loop, &peer->watch))
            drop(peer);
    }
}

struct backend *backend_open(struct loop *loop, size_t body_bytes, struct failure *failure)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t address_bytes = sizeof address;
    struct backend *backend = calloc(1, sizeof *backend);
    char *answer_memory = malloc(HEAD_BYTES_MAX + body_bytes);
    if (backend == NULL || answer_memory == NULL) {
        free(backend);
        free(answer_memory);
        fail(failure, "out of memory");
        return NULL;
    }
    backend->answer = answer_memory;
    backend->loop = loop;
    backend->watch = (struct watch){listener_ready, socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (backend->watch.descriptor < 0 ||
        bind(backend->watch.descriptor, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(backend->watch.descriptor, BACKLOG) != 0 ||
        getsockname(backend->watch.descriptor, (struct sockaddr *)&address, &address_bytes) != 0 ||
        !loop_watch(loop, &backend->watch)) {
        fail(failure, "cannot listen: %s", strerror(errno));
        backend_close(backend);
        return NULL;
    }
    backend->port = ntohs(address.sin_port);
    memset(backend->answer, 'm', HEAD_BYTES_MAX + body_bytes);
    int head_bytes = snprintf(backend->answer, HEAD_BYTES_MAX,
                              "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", body_bytes);
    backend->answer[head_bytes] = 'm';
    backend->answer_bytes = (size_t)head_bytes + body_bytes;
    return backend;
}

uint16_t backend_port(const struct backend *backend)
{
    return backend->port;
}

void backend_close(struct backend *backend)
{
    if (backend == NULL)
        return;
    while (backend->peers != NULL)
        drop(backend->peers);
    loop_unwatch(backend->loop, &backend->watch);
    free(backend->answer);
    free(backend);
}
