/* What a whole coordinator consists of: its processes, in which order they start, and with
 * which arguments. Knows nothing of how they are run.
 *
 *     stage 0   muster-registry
 *           1   muster-assigner
 *           2   muster-health, muster-router, and muster-tunnel if that is wanted
 *           3   muster-gateway, and muster-dht if that is wanted
 *           4   muster-worker, one for each demo worker: demo-1, demo-2, …
 *
 * An edge router has the same ones: its gateway knows coordinators instead of workers, and its
 * health process gives up on who has been silent for 5 minutes.
 *
 * Each stage finds those before it serving, so that none starts with a back-off. What is
 * not given here reaches a process through its environment (WORKER_TIMEOUT_SECONDS=20
 * musterctl up), as each of its settings can.
 *
 * Threading: none. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum plan_role {
    PLAN_REGISTRY,
    PLAN_ASSIGNER,
    PLAN_HEALTH,
    PLAN_ROUTER,
    PLAN_GATEWAY,
    PLAN_DHT,
    PLAN_TUNNEL,
    PLAN_WORKER,
};

/* Processes that every coordinator has; behind them come muster-dht and muster-tunnel, if they are
 * wanted, and then the demo workers. */
#define PLAN_FIXED_COUNT 5
#define PLAN_MAX_ARGUMENTS 40

struct plan_process {
    enum plan_role role;
    unsigned int stage;
    char name[32];                           /* "muster-registry", "demo-1" */
    const char *binary;                      /* "muster-worker" */
    char address[300];                       /* "127.0.0.1:7101"; "": it listens nowhere */
    char *arguments[PLAN_MAX_ARGUMENTS + 1]; /* after argv[0]; ends with NULL */
    size_t argument_count;
};

struct plan {
    struct plan_process *processes;
    size_t count;
    bool failed; /* memory ran out */
};

struct plan_options {
    const char *host;      /* of the gateway */
    const char *grpc_host; /* of the processes behind it, and of the demo workers */
    const char *data_dir;
    const char *catalog;   /* file, or "" for the built-in one */
    const char *api_keys;  /* the key file, or "" */
    bool worker_tokens;    /* there are keys: who streams heartbeats proves who it is */
    bool insecure;         /* listen where others can reach it all the same */
    const char *log_level; /* handed on */
    const char *log_format;
    bool dht;               /* whether it takes part in the coordinators' hash table */
    bool dht_private_peers; /* and calls nodes on private networks */
    const char *dht_seeds;  /* "": none */
    /* Of the gateway; "": left to its own default, or to the environment. */
    const char *public_url, *location, *role, *coordinator_id, *join, *peers;
    bool tunnel; /* run cloudflared; public_url is then that of a named tunnel, or "" */
    const char *tunnel_credentials, *cloudflared; /* "": left to its own default, or to the environment */
    unsigned int demo_workers;
    const uint16_t *ports; /* one for each process, in the order of the plan */
    int ready_fd;          /* of the processes */
};

/* The role of an edge router. */
#define PLAN_EDGE_ROUTER "edge-router"

/* How many processes the plan will have. */
size_t plan_process_count(const struct plan_options *options);

/* Whether the n-th process takes a port at all, and its host. */
bool plan_listens(const struct plan_options *options, size_t index);
const char *plan_host_of(const struct plan_options *options, size_t index);

/* False: memory ran out; plan_free is needed either way. */
bool plan_build(struct plan *plan, const struct plan_options *options);
void plan_free(struct plan *plan);

/* Where a client on this machine reaches the gateway: "http://127.0.0.1:8080", also when it
 * listens on 0.0.0.0. */
void plan_local_url(const struct plan_options *options, char *text, size_t text_bytes);
