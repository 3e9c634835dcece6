/* The shell of muster-dht: the node on a gRPC server, a client of other nodes, and a watcher of
 * this coordinator's registry and router.
 *
 *     main.c      settings, life, when the node's time has come
 *     methods.c   LookUpKey, DescribeNode, RelayExchange, Exchange
 *     peers.c     requests to other nodes
 *     place.c     where this node is reached, when that changes
 *     seeds.c     how the first of them are found
 *     roll.c      WatchWorkers, WatchRoutes: what the coordinator publishes
 *
 * How nodes reach each other: a coordinator behind a tunnel is reached by HTTP and by nothing else
 * for certain (UDP does not pass tunnels, gRPC passes some). So the same message goes either way:
 * to a node that announces a grpc_address as a call of DhtPeerService.Exchange; otherwise, and when
 * that fails, as POST /api/dht/rpc at its url, where its gateway hands it to its node. Either way
 * it is the signatures in it that count, not how it came.
 *
 * Threading: the loop's thread. */

#pragma once

#include "common/rpc/rpc.h"
#include "common/service/service.h"
#include "services/dht/identity.h"
#include "services/dht/node.h"

struct peers;
struct roll;
struct seeds;

struct dht_shell_settings {
    const char *data_dir;
    const char *public_url;
    const char *public_url_file; /* "": there is none; else it says the URL */
    const char *announced_address;
    const char *location;
    const char *coordinator_id;
    const char *network;
    const char *seeds;
    const char *registry_address, *router_address;
    bool allow_private_peers;
    uint64_t published_max;
    double lifetime_seconds, refresh_seconds, seeds_seconds, peer_timeout_seconds;
};

struct dht_shell {
    struct dht_shell_settings settings;
    struct rpc_loop *loop;
    struct dht_identity *identity;
    struct dht_node *node;
    struct peers *peers;
    struct seeds *seeds;
    struct roll *roll;
    struct timer next; /* what the node does next */
    struct timer place_timer;
    char url[DHT_URL_BYTES_MAX + 1]; /* of the gateway; "": none, or not known yet */
    int64_t issued_at_ms;            /* of the node's own contact */
    struct rpc_turn_hook pump;
    char coordinator_id[128];
    bool stopping;
    bool was_joined; /* as last said in the log */
};

/* Something has happened to the node: it is looked after at the end of this turn. */
void dht_shell_touch(struct dht_shell *shell);

/* methods.c */
bool dht_methods_add(struct dht_shell *shell, struct rpc_server *server);

/* place.c: begins with what the settings say; false: memory ran out. As long as others cannot reach the node it looks
 * for nobody and publishes nothing. */
struct dht_contact *place_contact(struct dht_shell *shell); /* of where the node is now; NULL: memory ran out */
bool place_start(struct dht_shell *shell);
void place_stop(struct dht_shell *shell);

/* peers.c */
struct peers *peers_create(struct dht_shell *shell);
/* After this no end of a call reaches the node. */
void peers_destroy(struct peers *peers);
/* The node's effect. */
void peers_send(void *context, struct dht_contact *to, const struct dht_request *request, struct dht_call *call);
/* Asks whoever is at these places (one of which may be "") who it is, and tells the node. `trusted`:
 * the operator named it, so it may be on a private network. */
void peers_meet(struct peers *peers, const char *url, const char *address, bool trusted);
/* Fetches a document, as the body of http_call; done as in http_calls.h. False: not now. */
struct http_call_batch;
bool peers_fetch(struct peers *peers, struct http_call_batch *batch);

/* seeds.c */
struct seeds *seeds_create(struct dht_shell *shell);
void seeds_destroy(struct seeds *seeds);
size_t seeds_count(const struct seeds *seeds);
const char *seeds_url(const struct seeds *seeds, size_t index);

/* roll.c */
struct roll *roll_create(struct dht_shell *shell);
void roll_destroy(struct roll *roll);
/* The coordinator is at another URL: all that was published says so. */
void roll_moved(struct roll *roll);
/* Keys that there is no room to publish under. */
uint64_t roll_not_published(const struct roll *roll);
