/* The backend: the thread that talks gRPC. It owns the replica, follows registry, health,
 * assigner and router, and runs the jobs of the fronts.
 *
 * Threading: everything on the rpc loop's thread, which is the main thread. The functions that
 * take a void pointer are what other threads pass to rpc_loop_post. */

#pragma once

#include "common/auth/worker_token.h"
#include "common/rpc/rpc.h"
#include "gateway/events.h"
#include "gateway/gateway.h"
#include "gateway/heartbeats.h"
#include "gateway/job.h"
#include "gateway/outcomes.h"
#include "gateway/pick.h"
#include "gateway/rendered.h"
#include "gateway/replica.h"
#include "gateway/topology.h"

enum backend_part { PART_REGISTRY, PART_ASSIGNER, PART_HEALTH, PART_ROUTER, PART_COUNT };

/* Events that the fronts were not given yet. */
struct backend_events {
    uint64_t revision; /* of the last one */
    struct event *list;
    size_t count, capacity;
};

struct edge;
struct join;
struct proxy;
struct balance;

struct backend {
    struct gateway *gateway;
    struct rpc_loop *loop;
    struct rpc_channel *channels[PART_COUNT];
    struct rpc_kept_stream *watches[PART_COUNT];
    struct rpc_channel *dht;                    /* NULL: there is no node of the hash table */
    bool heard[PART_COUNT];                     /* its watch brought everything once */
    void (*all_heard)(struct gateway *gateway); /* called once, when that is so for all */

    struct replica replica;  /* what is listed */
    struct replica *roll;    /* what the registry has: the replica itself, or at an edge router the coordinators */
    struct edge *edge;       /* NULL: this is no edge router */
    struct join *join;       /* NULL: this coordinator has joined nobody */
    struct balance *balance; /* NULL: this is no load balancer */
    struct proxy *proxy;     /* NULL: this is no edge proxy, which is an edge router besides */
    struct topology_coordinator *topology_coordinators; /* as backend_topology made them last, with these */
    struct view_regions topology_regions;
    struct pick_table *table;
    uint64_t epoch; /* of this process, in ETags */
    struct rendered *rendered[VIEW_COUNT];
    struct backend_events events;

    struct heartbeats heartbeats;
    uint64_t heartbeats_total;      /* that health has taken, as its watch last said */
    uint64_t evictions_waiting;     /* that health holds back */
    char health_warning[256];       /* what health wants operators to know; empty: nothing */
    char registry_warning[400];     /* why the registry cannot store anything; empty: it can */
    uint32_t heartbeat_interval_ms; /* that health asks of workers; 0: not heard yet */
    struct rpc_kept_stream *heartbeat_stream;
    bool heartbeat_token_said; /* on this stream */
    struct rpc_turn_hook heartbeat_hook;
    struct timer heartbeat_timer;

    struct job *first_registration, **registrations_end; /* that wait to be sent */
    unsigned registration_calls;                         /* under way */
    struct rpc_turn_hook registration_hook;

    struct outcomes outcomes;
    unsigned reporting_outcomes; /* calls under way */

    uint64_t history_workers, history_workers_not_kept, history_dropped; /* as health last said */
    struct http_calls *http_calls;                                       /* NULL before the first broadcast */

    bool has_secret; /* of the roll, once the registry was heard */
    uint8_t secret[AUTH_SECRET_BYTES];
    struct timer keys_timer;

    char public_url[1024];    /* with --public-url-file: what the settings point to; "" until there is one */
    bool public_url_is_wrong; /* what the file holds now, and that was said */
    struct timer url_timer;

    uint64_t registrations, unregistrations;
    unsigned fronts_drained;
    struct timer stop_timer;
    uint64_t stop_deadline_ms;
};

/* Connects and starts to follow. */
struct backend *backend_create(struct gateway *gateway, void (*all_heard)(struct gateway *gateway));

/* The fronts are gone, the loop has been stopped. */
void backend_destroy(struct backend *backend);

/* The name of a part and whether it can be reached now. */
const char *backend_part_name(enum backend_part part);
bool backend_part_is_up(const struct backend *backend, enum backend_part part);

/* The replica may have changed: readers must see it before anything is answered. */
void backend_publish(struct backend *backend);

/* backend_events.c: from now on changes are events. Before that the replica is filled with what
 * has long been so. */
void backend_events_begin(struct backend *backend);
void backend_run_subscribe(struct backend *backend, struct job *job);
void backend_events_publish(struct backend *backend);
void backend_events_free(struct backend *backend);

/* Takes the process down: drains the fronts, answers what is left, stops the loop. */
void backend_stop(struct backend *backend);

/* backend_guard.c: whether who asks may ask for that. False: the job is done, with an error. */
bool backend_admits(struct backend *backend, struct job *job);
void backend_take_secret(struct backend *backend, const ProtobufCBinaryData *secret);
void backend_guard_start(struct backend *backend);
void backend_guard_stop(struct backend *backend);

/* backend_url.c: --public-url-file. */
void backend_url_start(struct backend *backend);
void backend_url_stop(struct backend *backend);

/* --- Posted by other threads --- */

/* SIGHUP: reads the key file again, an edge router's database of places, and a load balancer's upstreams; the argument
 * is the backend. */
void backend_reload(void *backend);

/* A list of jobs, linked by `next`; not empty. */
void backend_run_jobs(void *first_job);

struct backend_outcomes {
    struct backend *backend;
    struct outcomes outcomes;
};
/* Takes over a struct backend_outcomes from malloc. */
void backend_take_outcomes(void *message);

/* A front has nothing in flight any more; the argument is the backend. */
void backend_front_drained(void *backend);

/* --- How jobs are run, by file --- */

/* The registry waits 5 s for the assigner; a little more, so that its reason comes through. */
#define BACKEND_REGISTRY_TIMEOUT_MS 10000

/* backend_register.c */
/* Whole seconds, as workers are asked to. */
uint64_t backend_heartbeat_interval_seconds(const struct backend *backend);
void backend_run_register(struct backend *backend, struct job *job);
void backend_registrations_start(struct backend *backend);
void backend_registrations_stop(struct backend *backend); /* and fails those that wait */

/* backend_calls.c: through the registry. */
void backend_run_unregister(struct backend *backend, struct job *job);
void backend_run_drain(struct backend *backend, struct job *job);
void backend_run_explain(struct backend *backend, struct job *job);
void backend_run_undrain(struct backend *backend, struct job *job);

/* Also backend_calls.c: answers a job whose call to the registry failed, or cannot be made any more; and shows a record
 * that the registry answered to those who read from here next. False: it answered none, and the job has failed. */
void backend_call_registry(struct backend *backend, const char *method, const ProtobufCMessage *request, rpc_done done,
                           struct job *job);
void backend_refuse(struct job *job, enum rpc_status status, const char *text);
void backend_refuse_stopping(struct job *job);
bool backend_take_record(struct job *job, const Muster__V1__Worker *worker);

/* backend_heartbeats.c */
void backend_run_heartbeat(struct backend *backend, struct job *job);
void backend_heartbeats_start(struct backend *backend);
void backend_heartbeats_stop(struct backend *backend); /* and fails those that wait */

/* backend_queries.c: from the replica. What is long comes by pieces.h. */
bool backend_is_degraded(const struct backend *backend); /* a process is down, or there is a warning */
/* What /api/topology shows; valid until the next call. False: memory ran out. */
bool backend_topology(struct backend *backend, struct topology *topology);
void backend_run_view(struct backend *backend, struct job *job);
void backend_run_find(struct backend *backend, struct job *job);
void backend_run_discover(struct backend *backend, struct job *job);
void backend_run_locate(struct backend *backend, struct job *job);
void backend_run_health(struct backend *backend, struct job *job);
void backend_run_metrics(struct backend *backend, struct job *job);

/* backend_history.c: through health. */
void backend_run_history(struct backend *backend, struct job *job);
void backend_run_query(struct backend *backend, struct job *job);

/* backend_broadcast.c: to the workers. */
void backend_run_broadcast(struct backend *backend, struct job *job);

/* backend_dht.c: through muster-dht. */
void backend_run_dht_describe(struct backend *backend, struct job *job); /* bootstrap, topology, stats */
void backend_run_dht_lookup(struct backend *backend, struct job *job);
void backend_run_dht_exchange(struct backend *backend, struct job *job);
void backend_discover_everywhere(struct backend *backend, struct job *job);
void backend_dht_start(struct backend *backend);
void backend_dht_stop(struct backend *backend);
bool backend_dht_has_failed(const struct backend *backend); /* it is there, and cannot be reached */

/* backend_watches.c */
void backend_watches_start(struct backend *backend);
/* Has the fronts pick from what the router says now. False: memory ran out, and the table is the old one. */
bool backend_take_routes(struct backend *backend, const Muster__V1__WatchRoutesResponse *routes);
