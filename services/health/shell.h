/* The shell of muster-health: the core on a gRPC server and a client of the registry.
 *
 *     main.c             settings, life
 *     heartbeats.c       Heartbeat and ReportHeartbeats
 *     watches.c          WatchHealth
 *     history_steps.c    what workers did goes to the history's file; RecordOutcomes
 *     history_queries.c  QueryHistory, RunQuery
 *     registry_client.c  WatchWorkers, GetWorkers, ReportLiveness
 *
 * Whatever touches the core asks for a pump: at the end of the turn what the core wants is
 * done once, for everything that came in during the turn. So acknowledgements of many
 * messages leave as one, and lookups and reports are batches.
 *
 * Threading: the loop's thread. */

#pragma once

#include "common/list.h"
#include "common/rpc/rpc.h"
#include "common/service/service.h"
#include "services/health/health.h"
#include "services/health/history/recorder.h"

struct health_shell {
    struct rpc_loop *loop;
    struct health *core;
    struct timer next; /* the core's next lease */
    struct timer soon; /* see health_shell_touch_soon */
    struct rpc_turn_hook pump;
    bool stopping;
    struct list_link heartbeats; /* open calls of Heartbeat */
    struct list_link watches;    /* open calls of WatchHealth */

    struct rpc_channel *registry;
    struct rpc_kept_stream *registry_watch;
    struct timer report_retry;
    uint64_t report_delay_ms;
    struct timer log_changes;
    uint64_t changes_to_log; /* that are logged by their number alone */

    struct history *history;   /* NULL: none is kept */
    struct recorder *recorder; /* NULL likewise */
    struct timer history_step;
    struct list_link history_queries; /* open calls of RunQuery and QueryHistory */
    size_t history_query_counts[RECORDER_KINDS];
    struct history_query *gathering; /* the one that the registry lists the roll for */
};

/* Asks for the pump at the end of this turn. */
void health_shell_touch(struct health_shell *shell);

/* Asks for the pump within a few milliseconds. An end of turn looks for more that is ready,
 * which is lost time when nothing can be gathered. */
void health_shell_touch_soon(struct health_shell *shell);

/* heartbeats.c: sends what streams have to send; ends all of them. */
void health_heartbeats_pump(struct health_shell *shell);
void health_heartbeats_stop(struct health_shell *shell);
/* Frees what is left of calls that could not be answered before the server went. */
void health_heartbeats_free(struct health_shell *shell);

/* watches.c */
void health_watches_pump(struct health_shell *shell);
void health_watches_stop(struct health_shell *shell);

/* registry_client.c */
void health_registry_client_start(struct health_shell *shell, const char *address);
void health_registry_client_pump(struct health_shell *shell);
void health_registry_client_stop(struct health_shell *shell);

/* history_steps.c: before the first worker is known. False: no memory or no threads. */
bool health_history_start(struct health_shell *shell, const char *path, size_t worker_limit);
void health_history_stop(struct health_shell *shell);
/* The texts in `state` belong to `recorder_state`. */
struct recorder_state;
void health_history_state(struct health_shell *shell, struct recorder_state *recorder_state,
                          Muster__V1__HistoryState *state);

/* history_queries.c: statements that run end soon; frees what is left. */
void health_history_queries_cancel(struct health_shell *shell);
void health_history_queries_free(struct health_shell *shell);

/* The events of the methods. */
extern const struct rpc_events history_outcomes_events;
extern const struct rpc_events history_read_events;
extern const struct rpc_events history_query_events;
extern const struct rpc_events heartbeats_stream_events;
extern const struct rpc_events heartbeats_report_events;
extern const struct rpc_events watches_events;
