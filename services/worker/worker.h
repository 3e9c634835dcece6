/* A worker: puts the agent, which decides, together with what it decides about.
 *
 * Events of every part are told to the agent; at the end of the loop's turn what the agent
 * wants is carried out. So no part is ever called from inside itself.
 *
 * Threading: the loop's thread. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/config.h"

struct worker;

/* All texts outlive the worker. */
struct worker_options {
    const char *coordinator_urls; /* separated by commas */
    const char *worker_id;        /* "": made up from the host's name */
    const char *worker_type;
    const char *tunnel_url;     /* "": where it listens */
    const char *tunnel;         /* "": none; "cloudflared", "link" */
    /* Of a named tunnel, which is at tunnel_url: its token, or its credentials file; both "": a quick one. */
    const char *tunnel_token, *tunnel_credentials;
    const char *cloudflared;    /* the program */
    uint64_t return_after_ms;   /* homeward.h */
    uint64_t tunnel_timeout_ms; /* until it is connected */
    uint64_t link_ping_ms;      /* --tunnel link */
    const char *host;
    uint16_t port; /* 0: any */
    const char *location;
    const char *storage_folder;
    const char *ca_file;
    const char *api_key;            /* to register with; "": none */
    struct setting_list services;   /* NAME=URL */
    struct setting_list commands;   /* NAME=COMMAND */
    struct setting_list on_demand;  /* the same, run while they are assigned */
    bool edge_services;             /* runs those of an edge worker while they are assigned, unless given above */
    const char *edge_join;          /* edge routers that its coordinator joins; "": coordinator_urls */
    const char *edge_api_keys;      /* the key file of what it runs so; "": none */
    bool edge_insecure;             /* though others reach it, and there is none */
    bool demonstration;             /* offers document-processing itself */
    uint64_t heartbeat_interval_ms; /* 0: the coordinator's */
    uint64_t drain_timeout_ms;
    uint32_t most_requests;
    int ready_descriptor; /* -1: none */
};

enum worker_result {
    WORKER_OK,
    WORKER_CANNOT_START, /* the machine is in the way: port taken, no memory */
    WORKER_BAD_OPTIONS,
    WORKER_REPLACED, /* another process took the id */
};

/* Everything from detection to the last request. On SIGTERM and SIGINT it leaves in order
 * and returns WORKER_OK. With another result `error` has one line that says what to do. */
enum worker_result worker_run(const struct worker_options *options, char *error, size_t error_bytes);
