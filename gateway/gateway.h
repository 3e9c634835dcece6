/* The gateway process: which threads there are and what they share.
 *
 *   - fronts (front.h): one HTTP loop a thread. They parse requests, check them, answer what
 *     they can from what they hold (lists that were rendered, the route table), and relay
 *     service requests. Nothing there waits for another thread.
 *   - the backend (backend.h): one rpc_loop thread. It owns the replica and the connections to
 *     registry, assigner, health and router.
 *
 * A request that the backend has to see travels as a struct job (job.h): fronts post theirs
 * together at the end of a turn, the backend posts each back to its front. The only things
 * that both sides look at without a message are the atomics below, bodies and tables with
 * reference counts, and the fronts' counters (metrics.h).
 *
 * A gateway is a coordinator's, or an edge router (edge.h), which knows coordinators instead of
 * workers, or an edge proxy (proxy.h), which stands alone: its replica and its table come from the
 * lists that coordinators answer; or a load balancer (balance.h), which stands alone and knows nothing but
 * addresses.
 *
 * Read your own writes: the backend changes the replica and publishes its version before the
 * request that caused the change is answered, and a front hands out a list that it keeps only
 * while it has that version. */

#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/auth/key_file.h"
#include "common/rpc/loop.h"
#include "gateway/api.h"
#include "gateway/client_address.h"
#include "gateway/cors.h"
#include "gateway/limiter.h"

struct backend;
struct front;
struct geoip;
struct links;

#define LIST_UNBORN INT64_MIN

struct gateway_settings {
    const char *host;
    uint64_t port;
    uint64_t http_threads; /* 0: one per core */
    uint64_t max_body_bytes;
    double first_byte_timeout_seconds;
    double drain_timeout_seconds;
    double broadcast_timeout_seconds;
    double websocket_ping_seconds;
    uint64_t websockets_max;
    uint64_t links_max;
    const char *allowed_origins;
    const char *coordinator_id;   /* "": the host's name */
    const char *heartbeat_stream; /* "": health_address */
    const char *registry_address, *assigner_address, *health_address, *router_address;
    const char *dht_address; /* "": there is none */
    const char *ready_descriptor;
    const char *api_key;                                 /* "": none */
    const char *api_keys_file;                           /* "": none */
    const char *client_address_header, *trusted_proxies; /* client_address.h */
    bool insecure;                                       /* listens where others can reach it though there is no key */

    /* Of the edge federation: edge.h, join.h. */
    const char *role;
    const char *location;
    const char *public_url;
    const char *public_url_file; /* "": none; else public_url stands there, and may change */
    const char *join;            /* edge routers, separated by commas; "": none */
    const char *federation_key;  /* sent as X-API-Key to edge routers and coordinators; "": none */
    const char *peers;           /* other edge routers, separated by commas; "": none */
    const char *coordinator_proof;
    const char *geoip_database; /* "": none */
    const char *coordinates;    /* "51.5,-0.12"; "": not said */
    bool allow_private_urls;
    double join_heartbeat_seconds;
    double region_interval_seconds;
    double region_timeout_seconds;
    uint64_t region_silence_seconds;
    double peer_interval_seconds;

    /* Of an edge proxy: proxy.h. */
    const char *coordinator_urls; /* separated by commas */
    double poll_seconds, poll_retry_seconds;
    const char *data_dir;    /* where lists are kept; "": nowhere */
    bool discover_elsewhere; /* coordinators are asked for services that no list has */
    double elsewhere_seconds;

    /* Of a load balancer: balance.h. */
    const char *upstreams, *upstreams_file, *upstream_service; /* "": not from there */
    const char *upstream_prefix; /* path behind the URLs of upstream_service; "": none */
    const char *check_path;
    double check_interval_seconds, check_timeout_seconds;
    uint64_t check_up, check_down;
    bool pass_credentials;
};

struct gateway {
    struct gateway_settings settings;
    enum api_role role;
    char proof_key[65]; /* of this process, random; see proof.h */
    char instance[17];  /* of this process, random: names it to other edge routers */
    bool public_only;   /* private addresses that strangers name are not called */
    bool guards_inside; /* workers from public addresses may not register private ones */
    char coordinator_id[128];
    bool heartbeat_stream_is_local; /* only clients on this machine can reach it */
    struct cors cors;

    bool closed;              /* there are keys */
    struct key_file key_file; /* the backend's */
    struct auth_keys *keys;   /* the backend's; a reference */
    struct limiter *limiter;
    struct client_address_rule client_address;
    struct geoip *geoip;        /* the backend's; NULL: there is none */
    double latitude, longitude; /* where it says it is, with settings.coordinates */

    atomic_uint_fast64_t replica_version;
    /* Requests that an edge router has forwarded and that changed a coordinator's roll, counted by the fronts before
     * the client is answered: a list that was rendered before is not handed out any more. */
    atomic_uint_fast64_t forwarded_changes;
    /* Of an edge proxy: when the oldest of the lists that it has was made, in monotonic milliseconds, before this
     * process began perhaps; LIST_UNBORN: it has none. */
    atomic_int_fast64_t list_born_ms;
    atomic_uint_fast64_t balanced; /* requests, at a load balancer */
    atomic_uint_fast64_t jobs;     /* at the backend, or on their way back */
    struct links *links;                /* of workers; see front_links.c */
    atomic_uint_fast64_t link_requests; /* that are in one now */
    atomic_uint_fast64_t subscribers;
    atomic_uint_fast64_t subscriber_left_at_ms; /* when the last one did; 0: there was none */
    uint64_t first_event_revision;              /* the one before the first; set once */
    atomic_bool ready;                          /* everything was heard of once */
    atomic_bool draining;

    struct rpc_loop *rpc_loop;
    struct backend *backend;
    struct front **fronts;
    unsigned front_count;
};
