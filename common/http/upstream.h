/* Connections to upstreams and their pools; the inside of relay.h.
 *
 * A connection belongs to one owner at a time, or lies idle in the pool of its origin. The
 * owner takes it, is woken when something changes (connected, failed, readable, writable),
 * and gives it back or closes it.
 *
 * Threading: the loop's thread. */

#pragma once

#include "common/http/output.h"
#include "common/http/resolver.h"
#include "common/map.h"

#include <sys/types.h>

#define UPSTREAM_SCRATCH_BYTES 65536

struct upstream_pool;

enum upstream_state {
    UPSTREAM_RESOLVING,
    UPSTREAM_CONNECTING,
    UPSTREAM_HANDSHAKING, /* TLS */
    UPSTREAM_READY,
    UPSTREAM_FAILED, /* could not be connected: close it */
};

struct upstream_connection {
    struct loop_watch watch; /* first: the callback casts */
    struct loop_reapable reapable;
    struct http_upstreams *upstreams;
    struct upstream_pool *pool;
    struct upstream_connection *next, *previous; /* in the pool's idle list, newest first */
    uint64_t idle_since_ms;

    enum upstream_state state;
    bool readable, writable; /* as far as the edges told */
    bool hangup;             /* the peer has shut down: reads will end */
    bool send_broken;        /* nothing can be sent any more; there may be something to read */
    bool reused;
    bool idle;
    void *owner;
    void (*wake)(void *owner);

    struct http_resolve_job *job; /* while resolving */
    struct http_addresses *addresses; /* while connecting: those that are left to try */
    unsigned address_next;
    void *tls; /* SSL *, NULL for plain */
};

struct http_upstreams {
    struct loop_reapable reapable; /* first: freeing casts */
    struct loop *loop;
    struct http_upstreams_config config;
    struct map pools; /* by the origin's key */
    struct http_upstreams_counts counts;
    struct timer sweep;
    void *tls_context; /* SSL_CTX *, made for the first https origin: it holds a megabyte of certificates */
    struct http_relay *free_relays;
    unsigned free_relay_count;
    struct buffer render;
    char scratch[UPSTREAM_SCRATCH_BYTES];
};

/* An idle connection of the pool, or else (always, if `fresh`) a new one that is being connected.
 * NULL when memory runs out. Look at its state: it may be ready, or failed, at once. */
struct upstream_connection *upstream_take(struct http_upstreams *upstreams, const struct http_origin *origin, bool fresh,
                                          void *owner, void (*wake)(void *owner));

/* The exchange on it is complete on both sides. */
void upstream_give_back(struct upstream_connection *connection);

void upstream_close(struct upstream_connection *connection);

/* Bytes read; 0: the end; -1: nothing there now; -2: broken. Clears `readable` when the
 * socket is drained. */
ssize_t upstream_receive(struct upstream_connection *connection, char *into, size_t room);

/* Bytes sent, possibly 0. Clears `writable`, or sets `send_broken`, when there are fewer than
 * there were. */
size_t upstream_send(struct upstream_connection *connection, const struct iovec *vectors, int count);

/* relay.c: frees what is kept for later relays. */
void http_relays_free(struct http_upstreams *upstreams);

/* tls.c: the three things that differ with TLS. */
void upstream_tls_context_free(void *context);
bool upstream_tls_start(struct upstream_connection *connection, const char *host);
void upstream_tls_free(void *tls);
/* 1 done, 0 waiting, -1 failed. */
int upstream_tls_handshake(struct upstream_connection *connection);
ssize_t upstream_tls_receive(struct upstream_connection *connection, char *into, size_t room);
size_t upstream_tls_send(struct upstream_connection *connection, const struct iovec *vectors, int count);
