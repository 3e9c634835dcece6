/* Connections: reading, sending, timeouts and the end; see connection.h. */

#include "common/http/connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long, and how much, a connection is read after our last byte was sent, so that the
 * client can read it before a reset (RFC 9112 9.6). */
#define LINGER_MS 2000
/* How long a connection that is idle when the server begins to drain stays open. */
#define DRAIN_IDLE_MS 250

#define INPUT_ROOM_BYTES 4096 /* read into a connection's own buffer at least this much */
#define VECTORS_MAX 16

static void on_timer(struct timer *timer, void *argument);

/* --- Timeouts ---------------------------------------------------------------------------- */

/* One timer for all; it is moved only when it would come too late, so that most requests do
 * not touch it. */
static void set_deadline(struct http_connection *connection, uint64_t deadline_ms)
{
    connection->deadline_ms = deadline_ms;
    if (deadline_ms == 0 || (timer_active(&connection->timer) && connection->timer.bare.expires_at_ms <= deadline_ms))
        return;
    struct loop *loop = connection->server->loop;
    loop_timer_start(loop, &connection->timer, deadline_ms - loop_now_ms(loop), on_timer, connection);
}

/* What the connection waits for now decides how long it may. */
static void arm(struct http_connection *connection)
{
    const struct http_server_config *config = &connection->server->config;
    const struct http_exchange *exchange = connection->exchange;
    uint64_t now_ms = loop_now_ms(connection->server->loop);
    if (connection->lingering)
        return; /* absolute, set when it began */
    if (connection->output.bytes > 0)
        set_deadline(connection, now_ms + config->write_idle_timeout_ms);
    else if (exchange == NULL)
        set_deadline(connection,
                     now_ms + (connection->requests == 0 ? config->head_timeout_ms : config->keep_alive_timeout_ms));
    else if (exchange->phase == PHASE_HEAD)
        set_deadline(connection, exchange->head_deadline_ms);
    else if (http_exchange_wants_body(exchange) && !exchange->tunnel)
        set_deadline(connection, now_ms + config->body_idle_timeout_ms);
    else
        set_deadline(connection, 0);
}

static void on_timer(struct timer *timer, void *argument)
{
    (void)timer;
    struct http_connection *connection = argument;
    struct http_exchange *exchange = connection->exchange;
    uint64_t now_ms = loop_now_ms(connection->server->loop);
    if (connection->deadline_ms == 0)
        return;
    if (now_ms < connection->deadline_ms) {
        set_deadline(connection, connection->deadline_ms);
        return;
    }
    connection->deadline_ms = 0;
    if (connection->lingering || connection->output.bytes > 0 || exchange == NULL) {
        http_connection_close(connection);
    } else if (exchange->phase == PHASE_HEAD) {
        http_exchange_answer_error(exchange, 408, "request_timeout", "The request did not arrive in time.");
    } else {
        http_exchange_fail_body(exchange, HTTP_BODY_TIMEOUT);
        http_connection_pump(connection);
    }
}

/* --- Sending ----------------------------------------------------------------------------- */

/* Returns the bytes that the kernel took. */
static size_t send_now(struct http_connection *connection, const struct iovec *vectors, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)vectors, .msg_iovlen = (size_t)count};
    ssize_t sent;
    do
        sent = count == 1 ? send(connection->watch.descriptor, vectors[0].iov_base, vectors[0].iov_len, MSG_NOSIGNAL)
                          : sendmsg(connection->watch.descriptor, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0) {
        connection->server->counts.sent_bytes += (uint64_t)sent;
        return (size_t)sent;
    }
    connection->writable = false;
    if (errno != EAGAIN && errno != EWOULDBLOCK)
        connection->broken = true;
    return 0;
}

void http_connection_send(struct http_connection *connection, const struct iovec *vectors, int count,
                          struct http_shared *shared)
{
    if (connection->broken)
        return;
    size_t total = 0, sent = 0;
    for (int i = 0; i < count; i++)
        total += vectors[i].iov_len;
    if (total == 0)
        return;
    if (connection->output.bytes == 0 && connection->writable)
        sent = send_now(connection, vectors, count);
    if (sent == total || connection->broken)
        return;
    if (sent > 0)
        connection->writable = false; /* less than offered: the socket's buffer is full */
    if (!http_output_append(&connection->output, vectors, count, sent, shared))
        connection->broken = true;
}

static void flush(struct http_connection *connection)
{
    while (connection->output.bytes > 0 && connection->writable && !connection->broken) {
        struct iovec vectors[VECTORS_MAX];
        int count = http_output_vectors(&connection->output, vectors, VECTORS_MAX);
        size_t total = 0;
        for (int i = 0; i < count; i++)
            total += vectors[i].iov_len;
        size_t sent = send_now(connection, vectors, count);
        if (sent < total)
            connection->writable = false;
        http_output_consume(&connection->output, sent);
    }
}

/* --- The end ----------------------------------------------------------------------------- */

static void free_connection(struct loop_reapable *reapable)
{
    free((char *)reapable - offsetof(struct http_connection, reapable));
}

void http_connection_close(struct http_connection *connection)
{
    if (connection->closed)
        return;
    connection->closed = true;
    struct http_server *server = connection->server;
    int descriptor = connection->watch.descriptor;
    loop_watch_remove(server->loop, &connection->watch);
    close(descriptor);
    loop_timer_stop(server->loop, &connection->timer);
    if (connection->exchange != NULL) {
        if (!connection->exchange->answered || connection->output.bytes > 0)
            connection->exchange->cut_off = true;
        http_exchange_detach(connection->exchange);
        connection->exchange = NULL;
    }
    http_output_clear(&connection->output);
    free(connection->input);
    connection->input = NULL;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        server->connections = connection->next;
    loop_reap(server->loop, &connection->reapable, free_connection);
    http_server_connection_closed(server);
}

/* All is sent. If the client may still be sending, closing now would reset the connection and
 * could destroy what it has not read yet: say that we are done, and read on for a while. */
static void close_gracefully(struct http_connection *connection)
{
    bool unread =
        connection->readable || connection->input_at < connection->input_end || !connection->exchange->body_over;
    if (connection->end_of_input || !unread) {
        http_connection_close(connection);
        return;
    }
    shutdown(connection->watch.descriptor, SHUT_WR); /* an error means that it is closed already */
    http_exchange_over(connection->exchange);
    connection->exchange = NULL;
    connection->lingering = true; /* what is held the pump drops, which may be in the midst of it */
    set_deadline(connection, loop_now_ms(connection->server->loop) + LINGER_MS);
}

void http_connection_close_when_idle(struct http_connection *connection)
{
    set_deadline(connection, loop_now_ms(connection->server->loop) + DRAIN_IDLE_MS);
}

/* Ends the exchange if nothing of it is left to do. */
static void settle(struct http_connection *connection)
{
    struct http_exchange *exchange = connection->exchange;
    if (exchange == NULL || !exchange->answered || connection->output.bytes > 0)
        return;
    bool keep_alive = exchange->keep_alive && !connection->end_of_input && !connection->server->draining;
    if (!exchange->body_over && keep_alive)
        return; /* the rest of the body is on its way, and short */
    if (!keep_alive) {
        close_gracefully(connection);
        return;
    }
    http_exchange_over(exchange);
    connection->exchange = NULL;
}

/* --- Receiving --------------------------------------------------------------------------- */

static bool wants_input(const struct http_connection *connection)
{
    const struct http_exchange *exchange = connection->exchange;
    return connection->lingering || exchange == NULL || exchange->phase == PHASE_HEAD ||
           http_exchange_wants_body(exchange);
}

static void parse_head(struct http_connection *connection, const char *data, size_t bytes, size_t *used)
{
    struct http_exchange *exchange = connection->exchange;
    enum http_parse result = http_parser_feed(&exchange->parser, &exchange->head, data, bytes);
    if (result == HTTP_PARSE_MORE)
        return;
    connection->requests++;
    connection->server->counts.requests++;
    if (http_parse_failed(result)) {
        connection->server->counts.requests_malformed++;
        *used = bytes;
        http_exchange_answer_error(exchange, http_parse_status(result), "malformed_request", http_parse_text(result));
        return;
    }
    connection->view = data + exchange->head.head_bytes;
    connection->view_bytes = bytes - exchange->head.head_bytes;
    http_exchange_begin(exchange);
    *used = bytes - connection->view_bytes;
    connection->view = NULL;
    connection->view_bytes = 0;
}

/* Feeds bytes to whoever waits for them; returns how many were used. */
static size_t consume(struct http_connection *connection, const char *data, size_t bytes)
{
    size_t used = 0;
    while (used < bytes && !connection->closed) {
        if (connection->lingering)
            return bytes;
        struct http_exchange *exchange = connection->exchange;
        size_t step = 0;
        if (exchange == NULL) {
            connection->exchange = exchange = http_exchange_new(connection);
            if (exchange == NULL) { /* no memory: nothing sensible can be answered */
                http_connection_close(connection);
                break;
            }
        }
        if (exchange->phase == PHASE_HEAD)
            parse_head(connection, data + used, bytes - used, &step);
        else if (http_exchange_wants_body(exchange))
            step = http_exchange_feed_body(exchange, data + used, bytes - used);
        used += step;
        if (connection->closed)
            break;
        settle(connection);
        if (step == 0 && connection->exchange == exchange)
            break; /* incomplete, paused, or an answer is awaited */
    }
    return used;
}

/* Makes room for more input behind what the connection holds. */
static bool make_room(struct http_connection *connection)
{
    uint32_t held = connection->input_end - connection->input_at;
    if (connection->input_capacity - connection->input_end >= INPUT_ROOM_BYTES)
        return true;
    if (connection->input_at > 0)
        memmove(connection->input, connection->input + connection->input_at, held);
    connection->input_at = 0;
    connection->input_end = held;
    if (connection->input_capacity - held >= INPUT_ROOM_BYTES)
        return true;
    uint32_t capacity = (held + INPUT_ROOM_BYTES) * 2;
    char *input = realloc(connection->input, capacity);
    if (input == NULL)
        return false;
    connection->input = input;
    connection->input_capacity = capacity;
    return true;
}

static bool hold(struct http_connection *connection, const char *data, size_t bytes)
{
    if (connection->input_capacity < bytes) {
        size_t capacity = bytes < 1024 ? 1024 : bytes;
        char *input = realloc(connection->input, capacity);
        if (input == NULL)
            return false;
        connection->input = input;
        connection->input_capacity = (uint32_t)capacity;
    }
    memcpy(connection->input, data, bytes);
    connection->input_at = 0;
    connection->input_end = (uint32_t)bytes;
    return true;
}

static void end_of_input(struct http_connection *connection)
{
    struct http_exchange *exchange = connection->exchange;
    connection->readable = false;
    connection->end_of_input = true;
    if (connection->lingering || exchange == NULL || exchange->phase == PHASE_HEAD)
        http_connection_close(connection);
    else if (!exchange->body_over)
        http_exchange_fail_body(exchange, HTTP_BODY_CUT_OFF);
}

static void receive(struct http_connection *connection)
{
    struct http_server *server = connection->server;
    bool direct = connection->input_at == connection->input_end;
    if (!direct && !make_room(connection)) {
        http_connection_close(connection);
        return;
    }
    char *into = direct ? server->scratch : connection->input + connection->input_end;
    size_t room = direct ? HTTP_SCRATCH_BYTES : connection->input_capacity - connection->input_end;
    ssize_t received = recv(connection->watch.descriptor, into, room, 0);
    if (received < 0) {
        if (errno == EINTR)
            return;
        connection->readable = false;
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            connection->broken = true;
        return;
    }
    if (received == 0) {
        end_of_input(connection);
        return;
    }
    server->counts.received_bytes += (uint64_t)received;
    /* A short read has drained the socket: the next byte makes a new edge. Unless the end
     * has been signalled already, which will not be signalled again. */
    if ((size_t)received < room && !connection->hangup)
        connection->readable = false;
    if (!direct) {
        connection->input_end += (uint32_t)received;
        return; /* the pump feeds it */
    }
    size_t used = consume(connection, into, (size_t)received);
    if (!connection->closed && used < (size_t)received && !hold(connection, into + used, (size_t)received - used))
        http_connection_close(connection);
}

/* --- The pump ---------------------------------------------------------------------------- */

static void tell_writable(struct http_connection *connection)
{
    struct http_exchange *exchange = connection->exchange;
    if (exchange == NULL || connection->output.bytes > 0 || !exchange->above_high_water)
        return;
    exchange->above_high_water = false;
    if (exchange->writable != NULL && !exchange->answered)
        exchange->writable(exchange->writable_context, exchange);
}

/* Moves input: what is held, then what the socket has. False when nothing moves any more. */
static bool move_input(struct http_connection *connection)
{
    if (!wants_input(connection))
        return false;
    if (connection->input_at < connection->input_end) {
        size_t used =
            consume(connection, connection->input + connection->input_at, connection->input_end - connection->input_at);
        if (connection->closed)
            return false;
        connection->input_at += (uint32_t)used;
        if (used > 0)
            return true;
    }
    if (!connection->readable)
        return false;
    receive(connection);
    return !connection->closed;
}

void http_connection_pump(struct http_connection *connection)
{
    if (connection->pumping || connection->closed)
        return;
    connection->pumping = true;
    do {
        flush(connection);
        if (connection->broken) {
            http_connection_close(connection);
            break;
        }
        tell_writable(connection);
        if (!connection->closed)
            settle(connection);
    } while (!connection->closed && move_input(connection));
    connection->pumping = false;
    if (connection->closed)
        return;
    /* Nobody is there to read the answer that is being made. */
    const struct http_exchange *exchange = connection->exchange;
    if (connection->hangup && exchange != NULL && exchange->phase == PHASE_HANDLING && !exchange->answered &&
        (exchange->body_over || connection->end_of_input)) {
        http_connection_close(connection);
        return;
    }
    if (connection->input_at == connection->input_end && connection->input != NULL) {
        free(connection->input);
        connection->input = NULL;
        connection->input_at = connection->input_end = connection->input_capacity = 0;
    }
    arm(connection);
}

static void on_ready(struct loop_watch *watch, uint32_t events)
{
    struct http_connection *connection = (struct http_connection *)watch;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        connection->readable = true;
    if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0)
        connection->hangup = true;
    if ((events & EPOLLOUT) != 0)
        connection->writable = true;
    if ((events & EPOLLERR) != 0)
        connection->broken = true;
    http_connection_pump(connection);
}

void http_connection_accept(struct http_server *server, int descriptor, const struct sockaddr *address)
{
    struct http_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        goto failed;
    connection->server = server;
    connection->writable = true;
    if (address->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, connection->address,
                  sizeof connection->address);
    else if (address->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)address)->sin6_addr, connection->address,
                  sizeof connection->address);
    if (!loop_watch_add(server->loop, &connection->watch, descriptor, on_ready))
        goto failed;
    connection->next = server->connections;
    if (connection->next != NULL)
        connection->next->previous = connection;
    server->connections = connection;
    server->counts.connections_open++;
    arm(connection);
    return;

failed:
    free(connection);
    close(descriptor);
}
