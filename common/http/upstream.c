/* Pools of connections to upstreams, and how they are made; see upstream.h. */

#include "common/http/upstream.h"

#include "common/address.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define SWEEP_MS 1000

struct upstream_pool {
    struct upstream_connection *idle_newest, *idle_oldest;
    uint32_t idle_count;
    uint32_t connection_count; /* idle or not */
    bool tls, dialled;
    uint16_t port;
    char host[HTTP_ORIGIN_HOST_BYTES];
    char key[HTTP_ORIGIN_HOST_BYTES + 16];
};

/* --- Pools -------------------------------------------------------------------------------- */

static struct upstream_pool *pool_of(struct http_upstreams *upstreams, const struct http_origin *origin)
{
    struct upstream_pool *pool = map_get_text(&upstreams->pools, origin->key);
    if (pool != NULL)
        return pool;
    pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return NULL;
    pool->tls = origin->tls;
    pool->dialled = origin->dialled;
    pool->port = origin->port;
    memcpy(pool->host, origin->host, sizeof pool->host);
    memcpy(pool->key, origin->key, sizeof pool->key);
    if (!map_put_text(&upstreams->pools, pool->key, pool, NULL)) {
        free(pool);
        return NULL;
    }
    return pool;
}

static void idle_insert(struct upstream_connection *connection)
{
    struct upstream_pool *pool = connection->pool;
    connection->idle = true;
    connection->previous = NULL;
    connection->next = pool->idle_newest;
    if (connection->next != NULL)
        connection->next->previous = connection;
    else
        pool->idle_oldest = connection;
    pool->idle_newest = connection;
    pool->idle_count++;
    connection->upstreams->counts.connections_idle++;
}

static void idle_remove(struct upstream_connection *connection)
{
    struct upstream_pool *pool = connection->pool;
    connection->idle = false;
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        pool->idle_newest = connection->next;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    else
        pool->idle_oldest = connection->previous;
    pool->idle_count--;
    connection->upstreams->counts.connections_idle--;
}

static void close_idle(struct upstream_pool *pool, uint64_t idle_since_ms_until)
{
    while (pool->idle_oldest != NULL && pool->idle_oldest->idle_since_ms <= idle_since_ms_until)
        upstream_close(pool->idle_oldest);
}

/* Once a second: connections that were idle for too long, then pools that have none. */
static void sweep(struct timer *timer, void *argument)
{
    (void)timer;
    struct http_upstreams *upstreams = argument;
    uint64_t now_ms = loop_now_ms(upstreams->loop);
    uint64_t until_ms = now_ms - upstreams->config.pool_idle_timeout_ms;
    struct upstream_pool *pool, *empty = NULL;
    size_t position = 0;
    while ((pool = map_next(&upstreams->pools, &position)) != NULL) {
        if (now_ms >= upstreams->config.pool_idle_timeout_ms)
            close_idle(pool, until_ms);
        if (pool->connection_count == 0)
            empty = pool;
    }
    if (empty != NULL) { /* one a second is enough: they are small */
        map_remove_text(&upstreams->pools, empty->key);
        free(empty);
    }
    loop_timer_start(upstreams->loop, &upstreams->sweep, SWEEP_MS, sweep, upstreams);
}

static uint32_t or_default(uint32_t value, uint32_t replacement)
{
    return value != 0 ? value : replacement;
}

struct http_upstreams *http_upstreams_create(struct loop *loop, const struct http_upstreams_config *config, char *error,
                                             size_t error_bytes)
{
    struct http_upstreams *upstreams = calloc(1, sizeof *upstreams);
    if (upstreams == NULL) {
        snprintf(error, error_bytes, "out of memory");
        return NULL;
    }
    upstreams->loop = loop;
    upstreams->config = *config;
    struct http_upstreams_config *own = &upstreams->config;
    const struct http_limits limits = HTTP_LIMITS_DEFAULT;
    own->limits.line_bytes = or_default(own->limits.line_bytes, limits.line_bytes);
    own->limits.head_bytes = or_default(own->limits.head_bytes, limits.head_bytes);
    own->limits.field_count = or_default(own->limits.field_count, limits.field_count);
    own->pool_idle_max = or_default(own->pool_idle_max, 2048);
    own->pool_idle_timeout_ms = or_default(own->pool_idle_timeout_ms, 30000);
    own->connect_timeout_ms = or_default(own->connect_timeout_ms, 3000);
    own->first_byte_timeout_ms = or_default(own->first_byte_timeout_ms, 60000);
    own->stall_timeout_ms = or_default(own->stall_timeout_ms, 300000);
    own->replay_bytes_max = or_default(own->replay_bytes_max, 65536);
    if (own->via == NULL)
        own->via = "muster";
    loop_timer_start(loop, &upstreams->sweep, SWEEP_MS, sweep, upstreams);
    return upstreams;
}

void http_upstreams_forget(struct http_upstreams *upstreams, const struct http_origin *origin)
{
    struct upstream_pool *pool = map_get_text(&upstreams->pools, origin->key);
    if (pool != NULL)
        close_idle(pool, UINT64_MAX);
}

void http_upstreams_read_counts(const struct http_upstreams *upstreams, struct http_upstreams_counts *counts)
{
    *counts = upstreams->counts;
}

/* --- Connections -------------------------------------------------------------------------- */

static void free_connection(struct loop_reapable *reapable)
{
    free((char *)reapable - offsetof(struct upstream_connection, reapable));
}

static void close_descriptor(struct upstream_connection *connection)
{
    int descriptor = connection->watch.descriptor;
    upstream_tls_free(connection->tls);
    connection->tls = NULL;
    if (descriptor < 0)
        return;
    loop_watch_remove(connection->upstreams->loop, &connection->watch);
    close(descriptor);
}

void upstream_close(struct upstream_connection *connection)
{
    struct http_upstreams *upstreams = connection->upstreams;
    if (connection->idle)
        idle_remove(connection);
    if (connection->job != NULL)
        http_resolve_cancel(connection->job);
    close_descriptor(connection);
    free(connection->addresses);
    connection->pool->connection_count--;
    upstreams->counts.connections_open--;
    connection->owner = NULL;
    loop_reap(upstreams->loop, &connection->reapable, free_connection);
}

void upstream_give_back(struct upstream_connection *connection)
{
    const struct http_upstreams_config *config = &connection->upstreams->config;
    connection->owner = NULL;
    char byte;
    if (connection->tls != NULL && connection->readable && upstream_tls_receive(connection, &byte, 1) != -1)
        connection->readable = true; /* more than the answer, or the end */
    if (connection->hangup || connection->send_broken || connection->readable ||
        connection->pool->idle_count >= config->pool_idle_max) {
        upstream_close(connection);
        return;
    }
    connection->idle_since_ms = loop_now_ms(connection->upstreams->loop);
    idle_insert(connection);
}

static void on_ready(struct loop_watch *watch, uint32_t events);

/* Tries addresses until one is being connected to. */
static void connect_next(struct upstream_connection *connection)
{
    struct http_upstreams *upstreams = connection->upstreams;
    connection->state = UPSTREAM_FAILED;
    while (connection->addresses != NULL && connection->address_next < connection->addresses->count) {
        struct sockaddr_storage *address = &connection->addresses->list[connection->address_next++];
        socklen_t bytes = sizeof(struct sockaddr_in);
        if (address->ss_family == AF_INET6) {
            bytes = sizeof(struct sockaddr_in6);
            ((struct sockaddr_in6 *)address)->sin6_port = htons(connection->pool->port);
        } else {
            ((struct sockaddr_in *)address)->sin_port = htons(connection->pool->port);
        }
        if (upstreams->config.public_only && !address_is_public((struct sockaddr *)address))
            continue;
        int descriptor = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (descriptor < 0)
            continue;
        const int on = 1;
        /* Without TCP_NODELAY it would be slow, not wrong. */
        (void)setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        int result = connect(descriptor, (struct sockaddr *)address, bytes);
        if ((result != 0 && errno != EINPROGRESS) ||
            !loop_watch_add_urgent(upstreams->loop, &connection->watch, descriptor, on_ready)) {
            close(descriptor);
            continue;
        }
        connection->state = UPSTREAM_CONNECTING;
        connection->readable = connection->writable = connection->hangup = connection->send_broken = false;
        return;
    }
    upstreams->counts.connections_failed++;
}

static void ready(struct upstream_connection *connection)
{
    connection->state = UPSTREAM_READY;
    connection->upstreams->counts.connections_made++;
    free(connection->addresses);
    connection->addresses = NULL;
}

/* Moves a connection that is being made on to its next state. */
static void progress(struct upstream_connection *connection)
{
    if (connection->state == UPSTREAM_CONNECTING) {
        int error = 0;
        socklen_t bytes = sizeof error;
        if (!connection->writable && !connection->hangup)
            return;
        if (getsockopt(connection->watch.descriptor, SOL_SOCKET, SO_ERROR, &error, &bytes) != 0 || error != 0 ||
            connection->hangup) {
            close_descriptor(connection);
            connect_next(connection);
            return;
        }
        if (!connection->pool->tls) {
            ready(connection);
            return;
        }
        connection->state = upstream_tls_start(connection, connection->pool->host) ? UPSTREAM_HANDSHAKING : UPSTREAM_FAILED;
    }
    if (connection->state == UPSTREAM_HANDSHAKING) {
        int result = upstream_tls_handshake(connection);
        if (result > 0) {
            ready(connection);
        } else if (result < 0) {
            connection->state = UPSTREAM_FAILED;
            connection->upstreams->counts.connections_failed++;
        }
    }
}

static void on_ready(struct loop_watch *watch, uint32_t events)
{
    struct upstream_connection *connection = (struct upstream_connection *)watch;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        connection->readable = true;
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        connection->hangup = true;
    if ((events & (EPOLLHUP | EPOLLERR)) != 0)
        connection->send_broken = true;
    if ((events & EPOLLOUT) != 0)
        connection->writable = true;
    if (connection->idle) {
        /* The upstream has closed it, or speaks without being asked. TLS has session tickets
         * and the like to say, which an idle connection may well receive. */
        if (connection->tls != NULL && !connection->hangup) {
            char byte;
            if (upstream_tls_receive(connection, &byte, 1) == -1)
                return;
        }
        if (connection->readable || connection->hangup || connection->tls != NULL)
            upstream_close(connection);
        return;
    }
    if (connection->state != UPSTREAM_READY) {
        progress(connection);
        if (connection->state != UPSTREAM_READY && connection->state != UPSTREAM_FAILED)
            return;
    }
    if (connection->owner != NULL)
        connection->wake(connection->owner);
}

static void resolved(void *context, const struct http_addresses *addresses)
{
    struct upstream_connection *connection = context;
    connection->job = NULL;
    *connection->addresses = *addresses;
    connect_next(connection);
    if (connection->state == UPSTREAM_FAILED && connection->owner != NULL)
        connection->wake(connection->owner);
}

static void dial(struct upstream_connection *connection)
{
    struct http_upstreams *upstreams = connection->upstreams;
    const struct http_upstreams_config *config = &upstreams->config;
    int descriptor = config->dial == NULL ? -1 : config->dial(config->dial_context, connection->pool->host);
    connection->state = UPSTREAM_FAILED;
    if (descriptor >= 0 && loop_watch_add_urgent(upstreams->loop, &connection->watch, descriptor, on_ready)) {
        connection->writable = true;
        ready(connection);
        return;
    }
    if (descriptor >= 0)
        close(descriptor);
    upstreams->counts.connections_failed++;
}

struct upstream_connection *upstream_take(struct http_upstreams *upstreams, const struct http_origin *origin, bool fresh,
                                          void *owner, void (*wake)(void *owner))
{
    struct upstream_pool *pool = pool_of(upstreams, origin);
    if (pool == NULL)
        return NULL;
    struct upstream_connection *connection = pool->idle_newest;
    if (connection != NULL && !fresh) {
        idle_remove(connection);
        connection->reused = true;
        connection->owner = owner;
        connection->wake = wake;
        upstreams->counts.connections_reused++;
        return connection;
    }
    connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return NULL;
    connection->addresses = pool->dialled ? NULL : malloc(sizeof *connection->addresses);
    if (connection->addresses == NULL && !pool->dialled) {
        free(connection);
        return NULL;
    }
    connection->watch.descriptor = -1;
    connection->upstreams = upstreams;
    connection->pool = pool;
    connection->owner = owner;
    connection->wake = wake;
    pool->connection_count++;
    upstreams->counts.connections_open++;
    connection->state = UPSTREAM_RESOLVING;
    if (pool->dialled)
        dial(connection);
    else if (http_resolve(upstreams->config.resolver, upstreams->loop, pool->host, connection->addresses, &connection->job,
                     resolved, connection))
        connect_next(connection);
    return connection;
}

/* After the relays and connections that were reaped in the same turn. */
static void free_upstreams(struct loop_reapable *reapable)
{
    struct http_upstreams *upstreams = (struct http_upstreams *)reapable;
    http_relays_free(upstreams);
    upstream_tls_context_free(upstreams->tls_context);
    buffer_free(&upstreams->render);
    free(upstreams);
}

void http_upstreams_destroy(struct http_upstreams *upstreams)
{
    if (upstreams == NULL)
        return;
    loop_timer_stop(upstreams->loop, &upstreams->sweep);
    struct upstream_pool *pool;
    size_t position = 0;
    while ((pool = map_next(&upstreams->pools, &position)) != NULL) {
        close_idle(pool, UINT64_MAX);
        free(pool);
    }
    map_free(&upstreams->pools);
    loop_reap(upstreams->loop, &upstreams->reapable, free_upstreams);
}

/* --- Sending and receiving ---------------------------------------------------------------- */

ssize_t upstream_receive(struct upstream_connection *connection, char *into, size_t room)
{
    ssize_t received;
    if (connection->tls != NULL) {
        received = upstream_tls_receive(connection, into, room);
    } else {
        do
            received = recv(connection->watch.descriptor, into, room, 0);
        while (received < 0 && errno == EINTR);
        if (received < 0) {
            connection->readable = false;
            return errno == EAGAIN || errno == EWOULDBLOCK ? -1 : -2;
        }
        /* A short read has drained the socket, unless its end was signalled already. */
        if ((size_t)received < room && !connection->hangup)
            connection->readable = false;
    }
    if (received > 0)
        connection->upstreams->counts.received_bytes += (uint64_t)received;
    else
        connection->readable = false;
    return received;
}

size_t upstream_send(struct upstream_connection *connection, const struct iovec *vectors, int count)
{
    size_t total = 0, sent;
    for (int i = 0; i < count; i++)
        total += vectors[i].iov_len;
    if (connection->tls != NULL) {
        sent = upstream_tls_send(connection, vectors, count);
    } else {
        struct msghdr message = {.msg_iov = (struct iovec *)vectors, .msg_iovlen = (size_t)count};
        ssize_t result;
        do
            result = count == 1
                         ? send(connection->watch.descriptor, vectors[0].iov_base, vectors[0].iov_len, MSG_NOSIGNAL)
                         : sendmsg(connection->watch.descriptor, &message, MSG_NOSIGNAL);
        while (result < 0 && errno == EINTR);
        if (result < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            connection->send_broken = true;
        sent = result > 0 ? (size_t)result : 0;
        if (sent < total)
            connection->writable = false;
    }
    connection->upstreams->counts.sent_bytes += sent;
    return sent;
}
