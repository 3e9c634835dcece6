/* What a worker does about its coordinator, and when: a state machine without I/O.
 *
 *     WAITING -> REGISTERING -> REGISTERED -> (stop) DRAINING -> UNREGISTERING -> STOPPED
 *        ^           |              |
 *        +--failed---+---told to----+
 *
 * The shell tells it what happened (a function for each event) and carries out what it
 * decides (agent_next_action, until there is no more, after each event). Time comes in as
 * an argument; agent_next_ms says when agent_tick has something to do.
 *
 * Heartbeats. A registered worker beats every interval, give or take a tenth. It opens a
 * stream to the address that the registration answered; the stream is believed in once
 * the first beat on it is acknowledged, and until then, and whenever it is broken, beats
 * go over HTTP. When a stream that was believed in breaks, a beat goes over HTTP at once:
 * the coordinator takes a broken stream for a dead worker unless it hears otherwise.
 * Streams are tried again with back-off for as long as the worker is registered.
 *
 * The answer to a heartbeat may say what to run, so one that was lost is said to be missed
 * with the next heartbeats, until one of them is answered.
 *
 * A coordinator that asks to be left alone for a while (agent_wait) is: until then there is
 * no registration and no heartbeat over HTTP.
 *
 * Registration is tried again for ever, with back-off, short while the coordinator is
 * away, long when it refuses what we say (an operator has to change that). A worker that
 * the coordinator does not know any more registers again at once.
 *
 * Several coordinators. A worker that has others to go to beats every three seconds at least, unless it was told an
 * interval itself, so that it notices soon. The shell says how many there are to choose from (agent_set_choices)
 * and keeps which (coordinators.h). With one, all is as above. With more, a registration that
 * fails is tried at the next one at once, and the back-off comes when all of them were tried.
 * A coordinator is lost when three heartbeats over HTTP could not reach it since it was last heard (one that
 * is started anew is back before the third), or two in two seconds or more (it does not refuse, it is silent; a stream
 * that fell silent counts as one), or none was taken for 15 s, and there is no stream and none under way that would be
 * the first one since. Then the worker waits for up to two seconds, so that not all that were
 * there arrive elsewhere in one instant, and registers with the others. A worker that is
 * leaving does not move.
 *
 * Conflicts. "Stale incarnation" means that the id was registered again since. That is
 * either our own registration, sent twice because the first answer was lost, or another
 * process with the same id. The agent goes quiet for conflict_wait_ms and registers once
 * more; if it is pushed out again within an hour there is another process, and the agent
 * stops, so that two workers do not take an id from each other for ever.
 *
 * Stopping. It says that it is draining, goes on serving for at least linger_ms (requests
 * may be on their way) and until no request is active, at most drain_timeout_ms, takes
 * itself off the roll, and is stopped.
 *
 * Answers that come late are told apart by what they answer: the incarnation of an HTTP
 * heartbeat, the sequence of a stream's. Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/random.h"
#include "common/backoff.h"
#include "services/worker/heartbeat.h"

enum agent_state {
    AGENT_WAITING,     /* to register */
    AGENT_REGISTERING, /* asked, not answered */
    AGENT_REGISTERED,
    AGENT_DRAINING,      /* still on the roll, about to leave it */
    AGENT_UNREGISTERING, /* asked, not answered */
    AGENT_STOPPED,
};

enum agent_stream_state {
    AGENT_STREAM_NONE,    /* there is no address */
    AGENT_STREAM_WAITING, /* to connect */
    AGENT_STREAM_OPENING,
    AGENT_STREAM_OPEN,   /* nothing acknowledged yet */
    AGENT_STREAM_PROVEN, /* beats go over it */
};

enum agent_action {
    AGENT_ACTION_NONE,
    AGENT_ACTION_LOST,         /* the coordinator is: turn to the others; a heartbeat under way is given up */
    AGENT_ACTION_NEXT,         /* turn to the next coordinator; the same */
    AGENT_ACTION_REGISTER,     /* POST /api/worker/register; answer with agent_registered or _failed */
    AGENT_ACTION_UNREGISTER,   /* DELETE /api/worker/unregister; answer with agent_unregistered */
    AGENT_ACTION_OPEN_STREAM,  /* connect; answer with agent_stream_opened or _closed */
    AGENT_ACTION_CLOSE_STREAM, /* at once, answers nothing */
    AGENT_ACTION_BEAT_STREAM,  /* send a heartbeat with agent->sequence */
    AGENT_ACTION_BEAT_HTTP,    /* POST one; answer with agent_http_answered */
    AGENT_ACTION_CONFLICT,     /* agent->conflicts went up: say so */
    AGENT_ACTION_STOPPED,      /* nothing more will come; agent->failed says how it ended */
};

enum agent_registration_failure {
    AGENT_REGISTRATION_UNREACHABLE, /* no connection, no answer, 5xx, 429 */
    AGENT_REGISTRATION_REFUSED,     /* 4xx: our fault */
};

enum agent_http_answer {
    AGENT_HTTP_TAKEN,
    AGENT_HTTP_UNKNOWN_WORKER,    /* 404 */
    AGENT_HTTP_STALE_INCARNATION, /* 409 */
    AGENT_HTTP_UNREACHABLE,       /* no connection, no answer, or a proxy says so */
    AGENT_HTTP_FAILED,            /* anything else */
};

struct agent_config {
    uint64_t interval_ms; /* between heartbeats; 0: what the coordinator says */
    uint64_t linger_ms;
    uint64_t drain_timeout_ms;
    uint64_t unregister_timeout_ms;
    uint64_t conflict_wait_ms;
    bool waits; /* for agent_moved, before it registers: where the worker is reached is not known yet */
};

#define AGENT_CONFIG_DEFAULT                                                                                           \
    {                                                                                                                  \
        0, 500, 10000, 3000, 60000, false                                                                              \
    }

/* Fields are for reading. */
struct agent {
    struct agent_config config;
    struct random *random;
    enum agent_state state;
    enum agent_stream_state stream;
    uint64_t incarnation;
    uint64_t interval_ms;
    uint64_t sequence;       /* of the latest beat on this stream, from 1 */
    uint64_t first_sequence; /* of this incarnation, on this stream */
    uint32_t active_requests;
    unsigned choices;     /* coordinators, at least 1 */
    unsigned tried;       /* of them, in this round of registrations */
    bool refused_by_all;  /* that were tried */
    unsigned unreachable; /* heartbeats over HTTP that did not reach it since it was heard */
    bool failing;         /* heartbeats are not taken, */
    uint64_t failing_since_ms;
    bool fell_silent; /* a stream did, since it was heard */
    unsigned conflicts; /* times that we were pushed out, in the last hour */
    bool drained_by_operator;
    bool stopping;
    bool failed; /* stopped because of a conflict */
    bool http_in_flight;
    bool moved;               /* while it was registering */
    bool answer_missed;       /* heartbeats say so */
    uint64_t missed_sequence; /* of the latest beat on this stream when it was missed */

    uint64_t register_at_ms;
    uint64_t beat_at_ms;
    uint64_t last_beat_ms;
    uint64_t wait_until_ms;
    uint64_t stream_at_ms;
    uint64_t conflict_at_ms; /* when the last one was */
    uint64_t linger_until_ms;
    uint64_t deadline_ms; /* of draining, then of unregistering */
    struct backoff register_backoff, refused_backoff, stream_backoff, http_backoff;

    enum agent_action actions[16];
    unsigned action_first, action_count;
};

/* Wants to register at once. `random` is the caller's and outlives the agent. */
void agent_init(struct agent *agent, const struct agent_config *config, struct random *random, uint64_t now_ms);

/* The next thing to do, in order; AGENT_ACTION_NONE: nothing more for now. */
enum agent_action agent_next_action(struct agent *agent);

/* Time has come. */
void agent_tick(struct agent *agent, uint64_t now_ms);

/* When agent_tick is due; UINT64_MAX: not before another event. */
uint64_t agent_next_ms(const struct agent *agent);

/* How many coordinators there are to choose from, the one that is spoken to included; 1 at first. */
void agent_set_choices(struct agent *agent, unsigned choices);

/* The coordinator took us: with this incarnation, heartbeats every interval_ms, over a
 * stream if has_stream. stream_moved: its address is not the one of last time. */
void agent_registered(struct agent *agent, uint64_t now_ms, uint64_t incarnation, uint64_t interval_ms, bool has_stream,
                      bool stream_moved);
void agent_registration_failed(struct agent *agent, uint64_t now_ms, enum agent_registration_failure failure);

/* The coordinator asks to be left alone for wait_ms (at most ten minutes are believed). To be
 * said before the failure that it came with. */
void agent_wait(struct agent *agent, uint64_t now_ms, uint64_t wait_ms);

/* The answer to the POST of a heartbeat that carried this incarnation. */
void agent_http_answered(struct agent *agent, uint64_t now_ms, uint64_t incarnation, enum agent_http_answer answer);

void agent_stream_opened(struct agent *agent, uint64_t now_ms);
void agent_stream_closed(struct agent *agent, uint64_t now_ms);
/* To be said before that: it is closed because nothing has been heard on it for so long. */
void agent_stream_silent(struct agent *agent, uint64_t now_ms, uint64_t silent_ms);
void agent_stream_acknowledged(struct agent *agent, uint64_t now_ms, uint64_t sequence);

/* A command from the stream, with the sequence that it answers (0: none). ASSIGNMENT is the
 * shell's business. */
void agent_command(struct agent *agent, uint64_t now_ms, enum heartbeat_command_type type, uint64_t sequence);

/* The state of a service changed: say so soon, though not more often than once a second. */
void agent_services_changed(struct agent *agent, uint64_t now_ms);

/* How many requests are being worked on. The last one of a worker that an operator drains is over: says so soon. */
void agent_set_active_requests(struct agent *agent, uint64_t now_ms, uint32_t active_requests);

/* The worker is reached at another URL, which the roll has to show: register, at once. */
void agent_moved(struct agent *agent, uint64_t now_ms);

/* The coordinator is left for another one, which the shell has turned to: registers there. False: not now. A heartbeat
 * under way is given up. */
bool agent_turn(struct agent *agent, uint64_t now_ms);

/* Leave. A second call leaves without waiting for requests. */
void agent_stop(struct agent *agent, uint64_t now_ms);
void agent_unregistered(struct agent *agent, uint64_t now_ms);

/* What heartbeats say of us. */
enum heartbeat_status agent_status(const struct agent *agent);
