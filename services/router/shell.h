/* The shell of muster-router: the core on a gRPC server, and a client of the registry, of
 * health and of the assigner.
 *
 *     main.c      settings, life
 *     methods.c   Route, Explain, ReportOutcomes, WatchRoutes
 *     prober.c    active probes
 *     clients.c   WatchWorkers, WatchHealth, WatchCatalog
 *
 * Whatever touches the core asks for a pump: at the end of the turn the table is published
 * once for everything that came in during the turn.
 *
 * Threading: the loop's thread. */

#pragma once

#include "common/rpc/rpc.h"
#include "common/service/service.h"
#include "services/router/router.h"

struct routes_watch;

/* A process that is watched. */
struct router_source {
    struct rpc_channel *channel;
    struct rpc_kept_stream *watch;
};

struct router_shell {
    struct rpc_loop *loop;
    struct router *core;
    struct timer next; /* the core's next ejection that ends, or publication */
    struct rpc_turn_hook pump;
    bool stopping;
    struct routes_watch *watches; /* open calls of WatchRoutes */
    struct router_source registry, health, assigner;
    struct http_calls *http_calls; /* NULL before the first probe */
};

/* Asks for the pump at the end of this turn. */
void router_shell_touch(struct router_shell *shell);

/* methods.c */
bool router_methods_add(struct router_shell *shell, struct rpc_server *server);
void router_methods_pump(struct router_shell *shell);
void router_methods_stop(struct router_shell *shell);

/* prober.c: sends the probes that are due; stops, while the loop still runs. */
void router_prober_pump(struct router_shell *shell);
void router_prober_stop(struct router_shell *shell);

/* clients.c */
void router_clients_start(struct router_shell *shell, const char *registry_address, const char *health_address,
                          const char *assigner_address);
void router_clients_stop(struct router_shell *shell);
