/* Servers: listening, accepting, draining; see server.h. */

#define _GNU_SOURCE /* accept4 */

#include "common/http/connection.h"

#include "common/clock.h"
#include "common/log.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Accepted in one go: more would starve the connections that are open, and would let one of
 * several loops take all of a burst. */
#define ACCEPTS_PER_TURN 32

/* How long accepting rests when descriptors or memory have run out. */
#define ACCEPT_RETRY_MS 100

/* --- Listening sockets ---------------------------------------------------------------------- */

int http_listen(const char *host, uint16_t port, int backlog, char *error, size_t error_bytes)
{
    char service[8];
    snprintf(service, sizeof service, "%u", (unsigned)port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *addresses;
    int result = getaddrinfo(host[0] != '\0' ? host : NULL, service, &hints, &addresses);
    if (result != 0) {
        snprintf(error, error_bytes, "cannot listen on %s:%u: %s", host, (unsigned)port, gai_strerror(result));
        return -1;
    }
    const int on = 1;
    int failure = EADDRNOTAVAIL, listener = -1;
    for (struct addrinfo *address = addresses; address != NULL && listener < 0; address = address->ai_next) {
        int descriptor = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (descriptor < 0) {
            failure = errno;
            continue;
        }
        /* TCP_NODELAY is inherited by the sockets that are accepted. */
        if (setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
            setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
            bind(descriptor, address->ai_addr, address->ai_addrlen) == 0 && listen(descriptor, backlog) == 0) {
            listener = descriptor;
        } else {
            failure = errno;
            close(descriptor);
        }
    }
    freeaddrinfo(addresses);
    if (listener < 0)
        snprintf(error, error_bytes, "cannot listen on %s:%u: %s", host, (unsigned)port, strerror(failure));
    return listener;
}

uint16_t http_listener_port(int descriptor)
{
    struct sockaddr_storage address;
    socklen_t bytes = sizeof address;
    if (getsockname(descriptor, (struct sockaddr *)&address, &bytes) != 0)
        return 0;
    if (address.ss_family == AF_INET)
        return ntohs(((struct sockaddr_in *)&address)->sin_port);
    return address.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&address)->sin6_port) : 0;
}

static void on_acceptable(struct loop_watch *watch, uint32_t events);

static void retry_accepting(struct timer *timer, void *argument)
{
    (void)timer;
    struct http_listener *listener = argument;
    struct loop *loop = listener->server->loop;
    if (!loop_watch_add_listener(loop, &listener->watch, listener->descriptor, on_acceptable))
        loop_timer_start(loop, &listener->retry, ACCEPT_RETRY_MS, retry_accepting, listener);
}

/* Too many connections: say so, as far as that works without waiting. */
static void refuse(struct http_server *server, int descriptor)
{
    server->counts.connections_refused++;
    struct buffer body = BUFFER_INIT, answer = BUFFER_INIT;
    server->config.render_error(server->config.context, 503, "too_many_connections",
                                "This server has no connection left; try again later.", &body);
    buffer_append_format(&answer,
                         "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
                         "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                         body.bytes);
    buffer_append(&answer, body.data, body.bytes);
    if (!buffer_failed(&answer))
        send(descriptor, answer.data, answer.bytes, MSG_NOSIGNAL | MSG_DONTWAIT); /* best effort */
    buffer_free(&body);
    buffer_free(&answer);
    close(descriptor);
}

static void accept_connections(struct http_listener *listener)
{
    struct http_server *server = listener->server;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage address;
        socklen_t bytes = sizeof address;
        int descriptor =
            accept4(listener->descriptor, (struct sockaddr *)&address, &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (descriptor < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                log_warning("cannot accept connections, resting", LOG_TEXT("error", strerror(errno)));
                loop_watch_remove(server->loop, &listener->watch);
                loop_timer_start(server->loop, &listener->retry, ACCEPT_RETRY_MS, retry_accepting, listener);
            }
            return;
        }
        server->counts.connections_accepted++;
        if (server->counts.connections_open >= server->config.connections_max)
            refuse(server, descriptor);
        else
            http_connection_accept(server, descriptor, (struct sockaddr *)&address);
    }
}

static void on_acceptable(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    accept_connections((struct http_listener *)watch);
}

void http_server_adopt(struct http_server *server, int descriptor)
{
    const struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    server->counts.connections_accepted++;
    if (server->draining)
        close(descriptor);
    else if (server->counts.connections_open >= server->config.connections_max)
        refuse(server, descriptor);
    else
        http_connection_accept(server, descriptor, (const struct sockaddr *)&address);
}

bool http_server_listen(struct http_server *server, int descriptor)
{
    if (server->listener_count == HTTP_LISTENERS_MAX) {
        errno = ENOSPC;
        return false;
    }
    struct http_listener *listener = &server->listeners[server->listener_count];
    *listener = (struct http_listener){.watch = LOOP_WATCH_INIT, .server = server, .descriptor = descriptor};
    if (!loop_watch_add_listener(server->loop, &listener->watch, descriptor, on_acceptable))
        return false;
    server->listener_count++;
    return true;
}

/* Connections that the kernel has made already are served. From then on it refuses new ones:
 * left in the queue of a socket that is only closed later, they would wait and be reset. */
static void refuse_connections(struct http_server *server)
{
    for (unsigned i = 0; i < server->listener_count; i++) {
        accept_connections(&server->listeners[i]);
        shutdown(server->listeners[i].descriptor, SHUT_RD); /* by another server on it already, maybe */
    }
}

static void stop_listening(struct http_server *server)
{
    for (unsigned i = 0; i < server->listener_count; i++) {
        loop_watch_remove(server->loop, &server->listeners[i].watch);
        loop_timer_stop(server->loop, &server->listeners[i].retry);
    }
    server->listener_count = 0;
}

/* --- The server ----------------------------------------------------------------------------- */

/* Codes and messages are constants of this folder: they need no escaping. */
static void render_error_plainly(void *context, unsigned status, const char *code, const char *message,
                                 struct buffer *body)
{
    (void)context;
    (void)status;
    buffer_append_format(body, "{\"error\": \"%s\", \"message\": \"%s\", \"detail\": \"%s\"}", code, message, message);
}

static uint32_t or_default(uint32_t value, uint32_t replacement)
{
    return value != 0 ? value : replacement;
}

struct http_server *http_server_create(struct loop *loop, const struct http_server_config *config)
{
    struct http_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return NULL;
    server->loop = loop;
    server->config = *config;
    struct http_server_config *own = &server->config;
    const struct http_limits limits = HTTP_LIMITS_DEFAULT;
    if (own->render_error == NULL)
        own->render_error = render_error_plainly;
    if (own->server_name == NULL)
        own->server_name = "muster";
    own->limits.line_bytes = or_default(own->limits.line_bytes, limits.line_bytes);
    own->limits.head_bytes = or_default(own->limits.head_bytes, limits.head_bytes);
    own->limits.field_count = or_default(own->limits.field_count, limits.field_count);
    own->connections_max = or_default(own->connections_max, 20000);
    own->head_timeout_ms = or_default(own->head_timeout_ms, 10000);
    own->body_idle_timeout_ms = or_default(own->body_idle_timeout_ms, 30000);
    own->write_idle_timeout_ms = or_default(own->write_idle_timeout_ms, 30000);
    own->keep_alive_timeout_ms = or_default(own->keep_alive_timeout_ms, 75000);
    random_seed_from_kernel(&server->random);
    return server;
}

const char *http_server_date(struct http_server *server)
{
    uint64_t now_ms = loop_now_ms(server->loop);
    if (now_ms >= server->date_until_ms) {
        int64_t unix_ms = clock_unix_ms();
        time_t seconds = (time_t)(unix_ms / 1000);
        struct tm utc;
        gmtime_r(&seconds, &utc);
        static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
        static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        snprintf(server->date, sizeof server->date, "%s, %02d %s %d %02d:%02d:%02d GMT", days[utc.tm_wday], utc.tm_mday,
                 months[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
        server->date_until_ms = now_ms + (uint64_t)(1000 - unix_ms % 1000);
    }
    return server->date;
}

void http_server_read_counts(const struct http_server *server, struct http_server_counts *counts)
{
    *counts = server->counts;
    counts->connections_idle = 0;
    for (const struct http_connection *connection = server->connections; connection != NULL;
         connection = connection->next)
        if (connection->exchange == NULL)
            counts->connections_idle++;
}

static void run_drained(struct loop_hook *hook)
{
    struct http_server *server = (struct http_server *)((char *)hook - offsetof(struct http_server, drain_hook));
    loop_timer_stop(server->loop, &server->drain_timer);
    void (*drained)(void *context) = server->drained;
    server->drained = NULL;
    if (drained != NULL)
        drained(server->drained_context);
}

void http_server_connection_closed(struct http_server *server)
{
    server->counts.connections_open--;
    if (server->draining && server->counts.connections_open == 0 && !server->destroyed)
        loop_at_end_of_turn(server->loop, &server->drain_hook);
}

static void close_all(struct http_server *server)
{
    while (server->connections != NULL)
        http_connection_close(server->connections);
}

static void drain_timed_out(struct timer *timer, void *argument)
{
    (void)timer;
    close_all(argument);
}

void http_server_drain(struct http_server *server, uint32_t timeout_ms, void (*drained)(void *context), void *context)
{
    refuse_connections(server);
    stop_listening(server);
    server->draining = true;
    server->drained = drained;
    server->drained_context = context;
    server->drain_hook.run = run_drained;
    for (struct http_connection *connection = server->connections; connection != NULL; connection = connection->next) {
        if (connection->exchange == NULL && !connection->lingering)
            http_connection_close_when_idle(connection);
    }
    if (server->counts.connections_open == 0)
        loop_at_end_of_turn(server->loop, &server->drain_hook);
    else
        loop_timer_start(server->loop, &server->drain_timer, timeout_ms, drain_timed_out, server);
}

static void free_server(struct loop_reapable *reapable)
{
    free((char *)reapable - offsetof(struct http_server, reapable));
}

void http_server_free_if_unused(struct http_server *server)
{
    if (!server->destroyed || server->exchanges_alive > 0)
        return;
    buffer_free(&server->render);
    while (server->free_exchanges != NULL) {
        struct http_exchange *exchange = server->free_exchanges;
        server->free_exchanges = exchange->next_free;
        free(exchange);
    }
    loop_reap(server->loop, &server->reapable, free_server);
}

void http_server_destroy(struct http_server *server)
{
    stop_listening(server);
    loop_timer_stop(server->loop, &server->drain_timer);
    close_all(server);
    server->destroyed = true;
    server->drained = NULL;
    http_server_free_if_unused(server);
}
