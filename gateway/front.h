/* A front: one thread with its HTTP server, its copy of the route table and the lists that it
 * was given last. gateway.h says how the threads fit together.
 *
 * Threading: everything here is called on the front's own thread, but for front_start and
 * front_stop, which the main thread calls, and the functions that say otherwise. */

#pragma once

#include <pthread.h>

#include "common/http/relay.h"
#include "common/http/server.h"
#include "common/list.h"
#include "common/loop/loop.h"
#include "gateway/events.h"
#include "gateway/gateway.h"
#include "gateway/guard.h"
#include "gateway/job.h"
#include "gateway/metrics.h"
#include "gateway/outcomes.h"
#include "gateway/pick.h"
#include "gateway/rendered.h"
#include "gateway/websocket.h"

struct balancer_table;
struct front_link;
struct relay;
struct subscriber;

/* A list as it came last, and packed, if somebody wanted it so. */
struct front_view {
    struct rendered *rendered; /* NULL: none yet */
    struct http_shared *packed;
};

/* A long list that is being packed, on a thread of its own, and who waits for it. */
struct front_packing {
    struct loop_task back;
    struct front *front;
    struct rendered *rendered; /* NULL: nothing is being packed */
    struct http_shared *packed;
    pthread_t thread;
    struct http_exchange **waiting;
    size_t waiting_count, waiting_capacity;
};

/* A text that is the same while the process lives, made when it is first asked for. */
struct front_page {
    struct http_shared *body; /* NULL: not made yet */
    struct http_shared *packed;
    char etag[24];
};

enum page { PAGE_OPENAPI, PAGE_DOCS, PAGE_REDOC, PAGE_COUNT };

/* Of pages: nothing from elsewhere, nothing in frames of others. */
#define FRONT_SECURITY_POLICY                                                                                          \
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; "             \
    "base-uri 'none'; form-action 'self'"

struct front {
    struct gateway *gateway;
    struct loop *loop;
    struct http_server *server;
    struct http_upstreams *upstreams;
    pthread_t thread;
    bool running;

    struct pick_table *table;
    struct pick_state pick;
    struct balancer_table *upstream_table; /* at a load balancer; NULL: not known yet */

    bool closed;                  /* there are keys: not everybody may do everything; never changes */
    struct auth_keys *keys;       /* a reference */
    struct auth_checker *checker; /* NULL unless closed */
    struct auth_caller caller;    /* of the request that is being dispatched, when closed */
    enum guard_source source;     /* of its credential */

    struct front_view views[VIEW_COUNT];
    struct front_packing packing;
    struct front_page pages[PAGE_COUNT];

    struct event_ring events;
    struct subscriber *subscribers; /* front_subscribers.c's */

    struct front_link *links; /* front_links.c's */
    struct timer links_timer; /* while the gateway stops */

    struct job *outgoing, **outgoing_end; /* submitted in this turn */
    struct loop_hook outgoing_hook;

    struct list_link forwards; /* front_forward.c's: those that are under way */
    struct relay *idle_relays; /* front_relay.c's */
    size_t idle_relay_count;
    struct outcomes outcomes;
    struct timer outcomes_timer;
    struct loop_task drain_task;

    struct front_metrics metrics;
};

/* Makes a front that accepts from `listener` and starts its thread. NULL, with a line for
 * people, when the system refuses. */
struct front *front_start(struct gateway *gateway, int listener, struct http_resolver *resolver, char *error,
                          size_t error_bytes);

/* Stops accepting, finishes what is in flight; then the backend hears of it
 * (backend_front_drained). Any thread. */
void front_drain(struct front *front);

/* Ends the thread and frees the front. */
void front_stop(struct front *front);

/* Gives the front the next version of the route table; takes over the reference. Any thread. */
void front_set_table(struct front *front, struct pick_table *table);

/* The same for who is up, at a load balancer. */
void front_set_upstreams(struct front *front, struct balancer_table *table);

/* Gives the front the keys, and the secret of the roll (NULL: not heard yet), that hold from now on; takes over the
 * reference. Any thread. */
void front_set_keys(struct front *front, struct auth_keys *keys, const uint8_t *secret);

/* At an edge router: a coordinator is out of the pool since nothing is heard of it; requests that wait for its answer
 * go elsewhere, if they may. Any thread. */
void front_coordinator_gone(struct front *front, const char *coordinator_id);

/* What happened since the last message; each text is a reference. */
struct front_events {
    struct loop_task task;
    struct front *front;
    size_t count;
    struct event list[];
};

/* Takes over the message, from malloc. Any thread; messages in the order of their revisions. */
void front_take_events(struct front_events *message);

/* --- For the handlers of requests --- */

/* An answer; zeroes and NULLs leave things out. */
struct answer {
    unsigned status;
    const char *content_type; /* NULL: JSON, if there is a body */
    const char *body;
    size_t body_bytes;
    struct http_shared *shared; /* instead of body */
    unsigned retry_after_seconds;
    const char *allow;
    const char *authenticate;    /* WWW-Authenticate */
    const char *etag;            /* brings Cache-Control and Vary along */
    const char *cache_control;   /* NULL: no-cache */
    const char *security_policy; /* of a page */
    const char *served_by;       /* X-Served-By: the worker that the answer speaks of */
    bool packed;                 /* Content-Encoding: gzip */
    bool link_is_away;           /* LINK_AWAY_HEADER */
};

/* Answers, with what every answer carries. */
void front_answer(struct front *front, struct http_exchange *exchange, const struct answer *answer);

/* Sends the head of one that comes in pieces, of unknown length (http_response_write, …_end). */
void front_answer_begin(struct front *front, struct http_exchange *exchange, const struct answer *answer);

__attribute__((format(printf, 4, 5))) void front_fail(struct front *front, struct http_exchange *exchange,
                                                      enum error_id error, const char *format, ...);

/* The same of what a worker did, whom X-Served-By names. */
__attribute__((format(printf, 5, 6))) void front_fail_of(struct front *front, struct http_exchange *exchange,
                                                         const char *worker, enum error_id error, const char *format,
                                                         ...);

/* A job for this exchange, which frees it when it is over. NULL, with the exchange answered,
 * when memory ran out. */
struct job *front_job(struct front *front, struct http_exchange *exchange, const struct api_route *route);

/* For a handler that takes over http_exchange_on_finished from the job. */
void front_free_job(struct job *job);

/* Sends the answer that the backend has put into it. */
void front_send_answer(struct job *job);

/* How long a body of this route may be, if it is collected. */
size_t front_body_limit(const struct front *front, const struct api_route *route);

/* Reads a body into the job. False: the exchange was answered. */
bool front_read_registration(struct job *job, struct http_text body);
bool front_read_heartbeat(struct job *job, struct http_text body);

/* The path's first parameter, decoded and checked, with a zero at its end; its length, -1: the exchange was answered. */
#define FRONT_NAME_BYTES (REQUEST_WORKER_ID_BYTES_MAX + 1)
int64_t front_read_name(struct front *front, struct http_exchange *exchange, const struct api_match *match,
                        char name[FRONT_NAME_BYTES]);

/* The path's parameter, decoded, as the job's name. False: the exchange was answered. */
bool front_take_name(struct job *job, struct http_text parameter);

/* An id as the value of a header: everything but visible ASCII is percent-encoded, and what finds no
 * room is left out. */
void front_header_text(const char *id, char *text, size_t text_bytes);

/* What is not passed on to whoever answers a request in the end: names of headers, and how many. With keys, X-API-Key
 * is ours in any case. Authorization is ours when the key came with it; else it is between the client and the service.
 */
size_t front_withheld(enum guard_source source, const char *const **names);

/* Where a request has been, and this gateway: as a header for who is asked next. `hops` is the memory for its value.
 * False: it has been here, unless it may return, or at too many. */
#define FRONT_HOPS_MAX 8
#define FRONT_HOP_BYTES 16                                                  /* of a gateway's instance */
#define FRONT_HOPS_BYTES ((FRONT_HOP_BYTES + 2) * (FRONT_HOPS_MAX + 1) + 1) /* all names and what is between them */
bool front_add_hop(const struct front *front, struct http_exchange *exchange, bool may_return,
                   char hops[FRONT_HOPS_BYTES], struct http_header *header);

/* Sends it to the backend at the end of this turn. */
void front_submit(struct job *job);

/* Notes in a job who is calling, for the backend to judge by. False: out of memory. */
bool front_note_caller(struct front *front, struct job *job);

/* Whether the client is on this machine. */
bool front_client_is_local(const struct front *front, const struct http_exchange *exchange);

/* Notes who asks for the job, where somebody will want to know. */
void front_note_client(struct job *job);

/* --- Handlers, by file --- */

/* front_guard.c: whether the request may come in at all. False: it was answered. */
bool front_within_address_limit(struct front *front, struct http_exchange *exchange);
bool front_admit(struct front *front, struct http_exchange *exchange, const struct api_match *match);
/* Before the thread runs; takes over the reference. */
void front_guard_set(struct front *front, struct auth_keys *keys, const uint8_t *secret);

/* front_requests.c: requests that the backend answers. */
void front_handle_request(struct front *front, struct http_exchange *exchange, const struct api_match *match);

/* Whether the client has what this ETag stands for (If-None-Match). */
bool front_client_has_it(const struct http_head *head, const char *etag);

/* front_views.c: lists. */
void front_handle_view(struct front *front, struct http_exchange *exchange, const struct api_route *route,
                       enum view view);
void front_views_stop(struct front *front); /* waits for what is beside the loop; before the server goes */
void front_views_free(struct front *front);

/* front_pages.c: the contract itself, and pages to read it. */
void front_handle_page(struct front *front, struct http_exchange *exchange, const struct api_route *route,
                       enum page page);
void front_handle_asset(struct front *front, struct http_exchange *exchange, const struct api_match *match);
void front_pages_free(struct front *front);

/* front_import.c, front_pieces.c: the whole roll, and other long lists. */
void front_handle_import(struct front *front, struct http_exchange *exchange);
void front_handle_export(struct front *front, struct http_exchange *exchange);
void front_answer_with_list(struct front *front, struct http_exchange *exchange, enum view view);

/* front_subscribers.c: WebSockets. */
void front_handle_subscription(struct front *front, struct http_exchange *exchange, const struct api_route *route);

/* Whether a WebSocket's handshake is right, and what it is answered; answers it if it is not. */
bool front_accepts_websocket(struct front *front, struct http_exchange *exchange, char accept[WEBSOCKET_ACCEPT_BYTES]);

/* Closes them: the gateway stops. */
void front_dismiss_subscribers(struct front *front);

/* front_links.c: workers that are reached through a WebSocket of theirs. */
void front_handle_link_socket(struct front *front, struct http_exchange *exchange, const struct api_match *match);
void front_handle_link_request(struct front *front, struct http_exchange *exchange, const struct api_match *match);

/* As `dial` of the upstreams: a connection through the link of that name; the context is the front. */
int front_link_dial(void *context, const char *name);

/* Whether the URL is one of a worker behind a link (through_link); if the link is held here the origin is made one that
 * is dialled. False: it was not. */
bool front_link_redirect(struct front *front, struct http_origin *origin, bool *through_link);

/* Whether an answer says that the link was not there. */
bool front_link_is_away(const struct http_head *head);

/* A request goes into a link that is held here, and is out of it again. */
static inline void front_link_begin(struct front *front)
{
    atomic_fetch_add_explicit(&front->gateway->link_requests, 1, memory_order_relaxed);
    metrics_add(&front->metrics.link_requests, 1);
}

static inline void front_link_end(struct front *front)
{
    atomic_fetch_sub_explicit(&front->gateway->link_requests, 1, memory_order_relaxed);
}

/* Closes them, once no request is in any: the gateway stops. */
void front_dismiss_links(struct front *front);

/* front_relay.c: service requests. */
void front_handle_relay(struct front *front, struct http_exchange *exchange, const struct api_match *match);

/* front_balance.c: at a load balancer. */
void front_handle_balance(struct front *front, struct http_exchange *exchange);

/* front_forward.c: at an edge router, what a coordinator answers. */
void front_handle_forward(struct front *front, struct http_exchange *exchange, const struct api_match *match);

/* front_requests.c: an edge router asks whether this coordinator has registered there. */
void front_handle_challenge(struct front *front, struct http_exchange *exchange);

void front_relays_free(struct front *front);

/* Sends what became of requests to the backend, if there is anything to say. */
void front_flush_outcomes(struct front *front);
