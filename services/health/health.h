/* The core of muster-health: who is alive, how loaded, and who must be told what.
 *
 * It holds one small record for each worker on the roll and knows four kinds of parties:
 *
 *   - the registry, whose watch says who exists (health_apply_watch), who is asked about
 *     ids that health does not know (lookups), and who is told how workers are (liveness);
 *   - heartbeat streams (struct health_stream), of one worker or of a gateway that speaks
 *     for many, which bring signs of life and take acknowledgements and commands;
 *   - watchers (struct health_watcher: the router, gateways), who are sent what changed;
 *   - time: health_advance runs the leases (see detector.h, brake.h, flapping.h).
 *
 * What must hold
 *   - A heartbeat costs one table lookup. The lease timer is not moved by it: when the timer
 *     comes, it looks when the worker was last heard, and sleeps on.
 *   - A heartbeat of an unknown id is not refused before the registry was asked, since the
 *     watch may lag behind a registration; the acknowledgement of its message waits for the
 *     answer. When the registry cannot be asked, it is acknowledged and nothing more.
 *   - What the registry must know waits in a queue with one place for each worker: the
 *     latest state wins, and a removal stays until the registry took it (or the worker is
 *     heard again).
 *   - Nothing here grows without limit: lookups, watchers and tombstones are bounded, the
 *     rest is proportional to the workers on the roll.
 *
 * The core has no I/O and no clock. Effects are asked for: after any call, a shell looks at
 * health_next_ready_stream, health_fill_lookup, health_fill_liveness and
 * health_urgent_changes, in any order.
 *
 * Time: now_ms is monotonic; it never goes back from one call to the next. unix_ms is the
 * date at the same moment.
 * Ownership: what functions fill in points into the core and is valid until the next call
 * of any function here, unless said otherwise.
 * Threading: one thread. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "muster/v1/health.pb-c.h"
#include "muster/v1/registry.pb-c.h"
#include "services/health/brake.h"
#include "services/health/detector.h"
#include "services/health/flapping.h"

struct health;
struct health_stream;
struct health_watcher;

/* Limits of the protocol; see the comments in muster/v1. */
#define HEALTH_MESSAGE_HEARTBEATS_MAX 10000
#define HEALTH_LOOKUP_IDS_MAX 1000
#define HEALTH_LIVENESS_CHANGES_MAX 10000
#define HEALTH_WATCHERS_MAX 32
/* Heartbeats of unknown ids that wait for the registry. Above: acknowledged, nothing more. */
#define HEALTH_LOOKUPS_WAITING_MAX 20000

struct health_settings {
    struct detector_settings detector;
    struct brake_settings brake;
    struct flapping_settings flapping;
    uint32_t heartbeats_per_second_max; /* of one worker, and twice as many at once; 0: any number */
};

/* NULL when memory runs out. Copies the settings. */
struct health *health_create(const struct health_settings *settings, uint64_t now_ms);
void health_destroy(struct health *health);

/* Has what workers do folded into a history (history/history.h), which outlives the core or the
 * next call of this. NULL: none, as at first. Before the first worker. */
struct history;
void health_set_history(struct health *health, struct history *history);

/* Runs the leases that end until now_ms; of many, HEALTH_LEASES_AT_ONCE, so that heartbeats need
 * not wait until all of a fleet is judged. The others are left for later calls: where workers
 * changed, for those from HEALTH_LEASES_REST_MS later, because each change is work for the registry
 * and for all who watch, and what is heard meanwhile must not wait for the processor. */
#define HEALTH_LEASES_AT_ONCE 50
#define HEALTH_LEASES_REST_MS 2
void health_advance(struct health *health, uint64_t now_ms);

/* Nothing is to be done by health_advance before this time; UINT64_MAX: there is no lease. */
uint64_t health_next_ms(const struct health *health);

/* --- The registry's watch --- */

/* Applies one message. False: out of memory; what is known is incomplete, watch again from
 * revision 0. */
bool health_apply_watch(struct health *health, const Muster__V1__WatchWorkersResponse *message, uint64_t now_ms);

/* A watch begins, for the first time or again: returns the revision to ask for changes
 * after, 0 before a first snapshot was complete. */
uint64_t health_watch_begin(struct health *health);

/* Whether a snapshot of the registry has been complete since the start. */
bool health_is_synchronised(const struct health *health);

/* --- Heartbeats --- */

/* Opens a stream; `user` is the shell's own. NULL when memory runs out. */
struct health_stream *health_stream_open(struct health *health, void *user);
void *health_stream_user(const struct health_stream *stream);

enum health_message_result {
    HEALTH_MESSAGE_TAKEN,
    HEALTH_MESSAGE_BAD_SEQUENCE, /* not above the one before: nothing was done */
    HEALTH_MESSAGE_TOO_MANY,     /* more than HEALTH_MESSAGE_HEARTBEATS_MAX: nothing was done */
    HEALTH_MESSAGE_NOT_ALLOWED,  /* no good token, or about somebody else than its worker: nothing was done */
    HEALTH_MESSAGE_NOT_READY,    /* a token that cannot be checked yet: nothing was done */
};

/* Takes a message of heartbeats. */
enum health_message_result health_stream_message(struct health *health, struct health_stream *stream,
                                                 const Muster__V1__HeartbeatRequest *message, uint64_t now_ms);

/* The stream broke or ended: workers whose last heartbeat came over it alone are OFFLINE.
 * Frees the stream. */
void health_stream_closed(struct health *health, struct health_stream *stream, uint64_t now_ms);

/* A stream that may have something to send, and that was not returned since it got it;
 * NULL: none. */
struct health_stream *health_next_ready_stream(struct health *health);

/* Fills in what the stream should send now: an acknowledgement that is higher than the last
 * one, commands, or both. False: nothing. Not before the send before it has gone out, so
 * that acknowledgements are gathered. */
bool health_stream_response(struct health *health, struct health_stream *stream,
                            Muster__V1__HeartbeatResponse *response);

/* Commands that wait to be sent on this stream: above a limit of its own, the shell stops
 * reading from it. */
size_t health_stream_waiting_commands(const struct health_stream *stream);

/* Whether everything that the stream brought is answered for: nothing waits for the registry. */
bool health_stream_is_settled(const struct health_stream *stream);

/* --- Tokens ---
 *
 * Where they are required, a stream begins with a token (HeartbeatRequest.token): of a gateway, which may speak for
 * all, or of a worker, which may then speak for itself, as the incarnation that the token was given for, and for
 * nobody else. A worker that registers again says its new token on the same stream. What they are checked with is the
 * roll's secret (common/auth/worker_token.h), which comes with the registry's watch. */
void health_require_tokens(struct health *health);
void health_set_secret(struct health *health, const uint8_t *secret, size_t bytes);

/* --- Lookups of unknown ids --- */

/* Fills in the next question to the registry, or returns false: there is none, or one has
 * not been answered yet. */
bool health_fill_lookup(struct health *health, Muster__V1__GetWorkersRequest *request);

/* The answer to the last question. NULL: the registry could not be asked. */
void health_lookup_answered(struct health *health, const Muster__V1__GetWorkersResponse *response, uint64_t now_ms);

/* --- Liveness for the registry --- */

/* Fills in the next report, or returns false: nothing to report, or one has not been
 * answered yet. At most `limit` changes (and HEALTH_LIVENESS_CHANGES_MAX). */
bool health_fill_liveness(struct health *health, size_t limit, uint64_t now_ms,
                          Muster__V1__ReportLivenessRequest *request);

/* The answer: whether the registry took the last report. If not, it is reported again. */
void health_liveness_answered(struct health *health, bool taken);

/* Workers whose state the registry has not taken yet. */
size_t health_liveness_waiting(const struct health *health);

/* --- Watchers ---
 *
 * One that begins is sent all workers. Of a worker that registers later it is sent nothing before
 * it is heard, or judged to be otherwise than the registry's record says: whoever asks how workers
 * are has the record, too. So registrations cost no more than a message now and then without any
 * worker in it, for what it says of all of them. */

/* Adds a watcher, who knows nothing yet. NULL: there are HEALTH_WATCHERS_MAX, or no memory. */
struct health_watcher *health_watcher_open(struct health *health);
void health_watcher_close(struct health *health, struct health_watcher *watcher);

/* Fills in the next at most `limit` workers that changed since the watcher was last sent
 * them; none, if only their number changed. False: there is nothing to send. snapshot_complete is set on the message
 * that ends the first round, which waits for the registry's first snapshot. */
bool health_watcher_fill(struct health *health, struct health_watcher *watcher, size_t limit, uint64_t now_ms,
                         int64_t unix_ms, Muster__V1__WatchHealthResponse *response);

/* Begins a round: health_watcher_fill gives what has changed until now, and then nothing
 * until the next round. Workers that change again while the round is sent wait for the next
 * one; busy workers would else make it go on for ever. Without a round there is no such end. */
void health_watcher_begin_round(struct health *health, struct health_watcher *watcher);

/* Whether there is something to send to the watcher. */
bool health_watcher_is_behind(const struct health *health, const struct health_watcher *watcher);

/* The watcher does not read: too many workers that are gone are kept only to tell it so.
 * Close it; it may come back for a fresh start. */
bool health_watcher_is_too_slow(const struct health *health, const struct health_watcher *watcher);

/* Whether a worker became or stopped being routable since the last time this was asked:
 * then watchers are sent their changes at once. */
bool health_urgent_changes(struct health *health);

/* --- Knowing --- */

struct health_counts {
    uint64_t workers; /* on the roll, as far as health knows */
    uint64_t online, degraded, draining, offline, reconnecting, removed;
    uint64_t heartbeats; /* taken since the start */
    uint64_t unknown;    /* of these: ids that were not on the roll */
    uint64_t stale;      /* of these: of an earlier registration */
    uint64_t limited;    /* refused: more than heartbeats_per_second_max */
    uint64_t silent;     /* workers that nothing is heard of, late ones included */
    uint64_t braked;     /* of these: would be off the roll if evictions were not slowed down */
    uint64_t held;       /* workers that are out of routing because they came and went */
};
struct health_counts health_count(const struct health *health);

/* What an operator should know, in one line: that evictions are slowed down, and why. Empty: nothing. */
#define HEALTH_WARNING_BYTES 200
void health_warning(const struct health *health, char text[HEALTH_WARNING_BYTES]);

/* How one worker is now; UNSPECIFIED: not known. */
Muster__V1__WorkerStatus health_worker_status(const struct health *health, const char *worker_id);

/* What health knows of one worker. `load` is a packed Load, NULL when none was heard. */
struct health_facts {
    Muster__V1__WorkerStatus status;
    char reason[DETECTOR_TEXT_BYTES];
    int64_t last_heartbeat_at_ms; /* 0: not heard by this process */
    uint64_t incarnation;
    const uint8_t *load;
    size_t load_bytes;
};
/* False: nobody of this id is on the roll. */
bool health_worker_facts(const struct health *health, const char *worker_id, uint64_t now_ms, int64_t unix_ms,
                         struct health_facts *facts);

/* Checks what must hold inside (lists, timers, counts); for tests. */
bool health_check(const struct health *health);
