/* A streaming relay: hands an exchange on to an upstream server and its answer back.
 *
 * Bodies stream both ways through bounded buffers and are never held whole; whichever side
 * is slow slows down the other. Messages are rebuilt, not copied through: lengths and chunks are framed
 * anew, hop-by-hop fields are dropped (Connection and all that it names, Keep-Alive, TE, Trailer,
 * Transfer-Encoding, Proxy-*, Upgrade unless the request is one), Host is the upstream's,
 * X-Forwarded-For, -Proto, -Host, Via and X-Request-Id are set. Upgrades (WebSocket) become a
 * tunnel after the 101. When the client goes away the upstream connection is closed; an
 * upstream that breaks off in the middle of its answer closes the client's connection, never with a
 * clean end.
 *
 * Attempts. The relay asks `next` for a target, and asks again when an attempt failed in a
 * way that is safe to repeat: the connection could not be made; or nothing of the answer had
 * arrived, all of the body that was sent is still held (up to replay_bytes_max), and the
 * request is idempotent, or the caller said safe_to_repeat, or the connection came from the
 * pool and turned out to be stale before anything was sent on it; or `declines` says that the upstream
 * has done nothing. Each attempt is reported to `attempted`.
 * When no more can be done, `failed` answers the client.
 *
 * Upstream connections are kept in a pool for each origin (scheme, host, port), one set of
 * pools for each loop. Names are resolved by the resolver's own thread; literal addresses at once.
 *
 * Threading: the loop's thread, but the resolver may be shared by all loops. */

#pragma once

#include "common/http/server.h"
#include "common/http/target.h"

struct http_resolver;
struct http_upstreams;

/* --- Names ------------------------------------------------------------------------------- */

/* Starts a thread that resolves names with getaddrinfo and keeps answers for
 * cache_ms (failures for a tenth of it); 0: 30,000. NULL when the system refuses. Any thread. */
struct http_resolver *http_resolver_create(uint32_t cache_ms);

/* After all http_upstreams that use it are gone. */
void http_resolver_destroy(struct http_resolver *resolver);

/* --- Pools ------------------------------------------------------------------------------- */

/* Zeros stand for the defaults. */
struct http_upstreams_config {
    struct http_resolver *resolver; /* NULL: literal addresses and "localhost" only */
    struct http_limits limits;      /* of responses' heads */
    uint32_t pool_idle_max;         /* connections kept for each origin; default 2,048 */
    uint32_t pool_idle_timeout_ms;  /* default 30,000 */
    uint32_t connect_timeout_ms;    /* name, TCP and TLS together; default 3,000 */
    uint32_t first_byte_timeout_ms; /* from the request's last byte to the answer's first; default 60,000 */
    uint32_t stall_timeout_ms;      /* answer or tunnel makes no progress; default 300,000 */
    uint32_t replay_bytes_max;      /* sent body that is kept for another attempt; default 65,536 */
    const char *via;                /* name in Via; default "muster" */
    /* Makes the connection to an origin that is `dialled`: a non-blocking stream socket that is connected, which is ours
     * from then on, or -1. NULL: there are no such origins. */
    int (*dial)(void *context, const char *host);
    void *dial_context;
    bool public_only;               /* only public addresses (common/address.h) are connected to */
    bool tls_insecure;              /* https upstreams' certificates are not checked */
};

/* NULL, with a message for people, when memory runs out. TLS is set up for the first https
 * origin; should that fail, connections to such origins do. */
struct http_upstreams *http_upstreams_create(struct loop *loop, const struct http_upstreams_config *config, char *error,
                                             size_t error_bytes);

/* Closes idle connections and frees; relays in progress must be over (drain the server first). */
void http_upstreams_destroy(struct http_upstreams *upstreams);

/* Closes the idle connections to an origin, for one that left. */
void http_upstreams_forget(struct http_upstreams *upstreams, const struct http_origin *origin);

struct http_upstreams_counts {
    uint64_t connections_open, connections_idle, connections_made, connections_reused, connections_failed;
    uint64_t sent_bytes, received_bytes;
};

void http_upstreams_read_counts(const struct http_upstreams *upstreams, struct http_upstreams_counts *counts);

/* --- One relay ---------------------------------------------------------------------------- */

/* What `next` fills in. All pointers must stay valid until the attempt was reported. */
struct http_relay_target {
    const struct http_origin *origin;
    struct http_text path;                      /* with query; comes after the origin's prefix; begins with "/" */
    const struct http_header *response_headers; /* set in the response, replacing the upstream's own of that name */
    size_t response_header_count;
    const struct http_header *request_headers; /* the same for the request */
    size_t request_header_count;
    const char *const *withheld; /* names of fields of the request that are not passed on */
    size_t withheld_count;
};

enum http_relay_result {
    HTTP_RELAY_ANSWERED,       /* to the end; `status` is the upstream's */
    HTTP_RELAY_NO_TARGET,      /* `next` had none */
    HTTP_RELAY_CONNECT_FAILED, /* refused, unreachable, name unknown, TLS failed */
    HTTP_RELAY_CONNECT_TIMEOUT,
    HTTP_RELAY_CLOSED_EARLY, /* closed or reset before the answer began */
    HTTP_RELAY_TIMEOUT,      /* no first byte in time */
    HTTP_RELAY_MALFORMED,    /* an answer that is no HTTP */
    HTTP_RELAY_TRUNCATED,    /* broke off, stalled or became malformed after it began */
    HTTP_RELAY_DECLINED,     /* `declines` said so of the answer's head */
    HTTP_RELAY_CLIENT_GONE,  /* no fault of the upstream's */
};

const char *http_relay_result_text(enum http_relay_result result);

struct http_relay_attempt {
    enum http_relay_result result;
    unsigned number; /* 1, 2, … */
    unsigned status; /* 0: none came */
    bool reused_connection;
    bool will_retry;        /* `next` is about to be asked again */
    uint64_t first_byte_us; /* from the attempt's start; 0: none came */
    uint64_t duration_us;
    uint64_t sent_body_bytes, received_body_bytes;
    const struct http_origin *origin;
};

struct http_relay_calls {
    /* Chooses the upstream for attempt `number` (1, 2, …). False: no more. A stale pooled
     * connection is replaced by a fresh one to the same origin without asking. */
    bool (*next)(void *context, struct http_exchange *exchange, unsigned number, struct http_relay_target *target);

    /* Reports each attempt that `next` gave a target for, once. May be NULL. */
    void (*attempted)(void *context, struct http_exchange *exchange, const struct http_relay_attempt *attempt);

    /* Nothing was sent to the client yet, and no further attempt is possible: answer with
     * http_respond (503 for HTTP_RELAY_NO_TARGET, 504 for the two timeouts, else 502), now or later. */
    void (*failed)(void *context, struct http_exchange *exchange, enum http_relay_result result);

    /* Asked of the head of each answer while another attempt would be possible, whatever the
     * method: true when this upstream has not done anything with the request and says so, and
     * another one should be asked. Its answer is thrown away. May be NULL. */
    bool (*declines)(void *context, struct http_exchange *exchange, const struct http_head *head);

    /* Told of the head that the client gets, before its first byte goes out: what is noted here, the
     * client's next request finds noted. May be NULL. */
    void (*answering)(void *context, struct http_exchange *exchange, const struct http_head *head);
};

struct http_relay_options {
    const struct http_relay_calls *calls; /* must outlive the exchange */
    void *context;                        /* the same */
    bool safe_to_repeat;                  /* sending the request twice does no harm, whatever its method */
    unsigned attempts_max;                /* default 3 */
    uint32_t first_byte_timeout_ms;       /* 0: that of the pools */
    struct http_text body; /* what http_exchange_collect_body has collected; no data: it was not called */
};

/* Takes the exchange over: call it from `handle` (or later), instead of answering and
 * instead of reading the body. `options` is copied. `attempted`, then `failed` or the exchange's `finished`, may be
 * called before it returns. */
void http_relay(struct http_upstreams *upstreams, struct http_exchange *exchange,
                const struct http_relay_options *options);

/* The upstream that is being asked is known to be gone: the attempt ends as if its time were over, so that another one
 * begins. Nothing happens when the answer has begun, or when the request must not be sent twice. For an exchange that
 * http_relay has taken over and that is not finished; not from inside its callbacks. */
void http_relay_give_up_attempt(struct http_exchange *exchange);
