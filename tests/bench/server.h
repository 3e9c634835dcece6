/* Servers that are measured: Muster and the peers it is compared with.
 *
 * Each start function makes a directory of the server's own, writes its configuration there,
 * starts it pinned to one core on free loopback ports and waits until it serves. A peer that
 * is not installed fails with a text that says what to install. server_stop stops every
 * process of a server, also of one that did not start completely, and is harmless on one
 * that never started (all zeroes).
 *
 * Peers are configured for speed as their manuals advise: kept-alive connections on both
 * sides, no access log, one worker. */

#pragma once

#include "tests/bench/process.h"

enum { SERVER_PROCESSES_MAX = 7 };

struct server {
    const char *name; /* "etcd" */
    char version[160];
    char directory[300];
    struct process processes[SERVER_PROCESSES_MAX];
    size_t process_count;
    uint16_t port; /* where its clients connect: HTTP, for etcd gRPC */
    /* Muster's only. */
    uint16_t assigner_port, registry_port;
    uint16_t health_port;
};

/* What starting one takes. */
struct server_plan {
    struct loop *loop;
    const char *directory; /* parent of the server's own directory */
    unsigned core;
    uint16_t upstream_port; /* for relays: what they relay to */
    unsigned late_s;        /* for Muster: silence after which a worker is late, and gone; 0: an hour, two */
    unsigned gone_s;
    bool unwatched; /* for Muster: the registry and the assigner alone, which is what a registration takes */
};

bool server_start_etcd(struct server *server, const struct server_plan *plan, struct failure *failure);
/* With as many processes that watch all its keys as watch Muster's registry in a whole coordinator and do not take part
 * in a registration: gateway, router and health. Each is an etcdctl that prints to nowhere, on the same core. */
enum { ETCD_WATCHERS = 3 };
bool server_start_watched_etcd(struct server *server, const struct server_plan *plan, struct failure *failure);
bool server_start_nginx(struct server *server, const struct server_plan *plan, struct failure *failure);
bool server_start_haproxy(struct server *server, const struct server_plan *plan, struct failure *failure);
/* The service that Muster replaces, on uvicorn as Debian's package brings it; and on uvicorn with
 * uvloop and httptools, which Debian has as well: that is two and a half times as fast. */
bool server_start_fastapi(struct server *server, const struct server_plan *plan, struct failure *failure);
bool server_start_uvloop(struct server *server, const struct server_plan *plan, struct failure *failure);

/* A whole coordinator: registry, assigner, health, router and gateway, which has one thread
 * for HTTP. Failure detection is set to an hour if the plan does not say otherwise, and a worker
 * may send any number of heartbeats: a benchmark is no sign of life. */
bool server_start_muster(struct server *server, const struct server_plan *plan, struct failure *failure);
/* The registry alone, once more, over what it left on disk when the server was stopped. */
bool server_start_registry_again(struct server *server, const struct server_plan *plan, struct failure *failure);
/* Adds a worker process that registers at the coordinator, as one more process. */
bool server_add_worker(struct server *server, const struct server_plan *plan, struct failure *failure);
/* The same with an id, and a service, NAME=URL; behind a link, or at an address of its own. */
bool server_add_worker_with(struct server *server, const struct server_plan *plan, const char *worker_id,
                            const char *service, bool linked, struct failure *failure);

void server_stop(struct server *server);

/* Process ids, those of children included; returns how many. */
size_t server_pids(const struct server *server, pid_t *pids, size_t limit);

/* Its version when it is installed, else a text that says how to install it. */
bool server_version(const char *name, char *version, size_t version_bytes, struct failure *failure);

/* For start functions: makes the directory, and starts one process and waits for it. */
bool server_prepare(struct server *server, const char *name, const struct server_plan *plan, struct failure *failure);
bool server_run(struct server *server, const struct server_plan *plan, const struct process_plan *process,
                uint16_t port, struct failure *failure);

/* Absolute path of a file of this source tree that the bench was built with ("gateway/muster-gateway");
 * false when it is not there. */
bool server_find_file(const char *relative, char *path, size_t path_bytes, struct failure *failure);
