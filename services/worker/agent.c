#include "services/worker/agent.h"

#include <assert.h>
#include <string.h>

#define SECOND_MS 1000ull
#define HOUR_MS (3600 * SECOND_MS)
#define CONFLICTS_MAX 2
#define LONGEST_WAIT_MS (600 * SECOND_MS)
#define LOST_UNREACHABLE 3
#define LOST_FAILING_MS (15 * SECOND_MS)
#define SILENT_UNREACHABLE 2
#define SILENT_FAILING_MS (2 * SECOND_MS)
#define WATCHING_MS (3 * SECOND_MS)
#define LOST_JITTER_MS (2 * SECOND_MS)
#define NEXT_JITTER_MS (SECOND_MS / 4)

#define ACTIONS_MAX (sizeof((struct agent *)0)->actions / sizeof((struct agent *)0)->actions[0])

static void act(struct agent *agent, enum agent_action action)
{
    /* An event causes at most four, and they are taken out after each. */
    assert(agent->action_count < ACTIONS_MAX);
    agent->actions[(agent->action_first + agent->action_count++) % ACTIONS_MAX] = action;
}

enum agent_action agent_next_action(struct agent *agent)
{
    if (agent->action_count == 0)
        return AGENT_ACTION_NONE;
    enum agent_action action = agent->actions[agent->action_first];
    agent->action_first = (agent->action_first + 1) % ACTIONS_MAX;
    agent->action_count--;
    return action;
}

void agent_init(struct agent *agent, const struct agent_config *config, struct random *random, uint64_t now_ms)
{
    memset(agent, 0, sizeof *agent);
    agent->config = *config;
    agent->random = random;
    agent->choices = 1;
    agent->refused_by_all = true;
    agent->state = AGENT_WAITING;
    agent->register_at_ms = config->waits ? UINT64_MAX : now_ms;
    agent->register_backoff = (struct backoff){SECOND_MS, 60 * SECOND_MS, 0};
    agent->refused_backoff = (struct backoff){30 * SECOND_MS, 600 * SECOND_MS, 0};
    agent->stream_backoff = (struct backoff){250, 30 * SECOND_MS, 0};
    agent->http_backoff = (struct backoff){500, 30 * SECOND_MS, 0};
}

static bool on_the_roll(const struct agent *agent)
{
    return agent->state == AGENT_REGISTERED || agent->state == AGENT_DRAINING;
}

static bool stream_connected(const struct agent *agent)
{
    return agent->stream == AGENT_STREAM_OPEN || agent->stream == AGENT_STREAM_PROVEN;
}

static void close_stream(struct agent *agent)
{
    if (agent->stream == AGENT_STREAM_OPENING || stream_connected(agent))
        act(agent, AGENT_ACTION_CLOSE_STREAM);
    agent->stream = AGENT_STREAM_NONE;
}

static void beat_on_stream(struct agent *agent, uint64_t now_ms)
{
    agent->sequence++;
    agent->last_beat_ms = now_ms;
    act(agent, AGENT_ACTION_BEAT_STREAM);
}

/* Who has somewhere else to go finds out soon whether it has to; the coordinator asked for what is enough for itself.
 */
static uint64_t jittered_interval_ms(const struct agent *agent)
{
    uint64_t interval_ms = agent->interval_ms;
    if (agent->choices > 1 && agent->config.interval_ms == 0 && interval_ms > WATCHING_MS)
        interval_ms = WATCHING_MS;
    return backoff_jitter_ms(interval_ms, agent->random);
}

/* One heartbeat the best way there is; the next one is due an interval later. */
static void beat(struct agent *agent, uint64_t now_ms)
{
    agent->beat_at_ms = now_ms + jittered_interval_ms(agent);
    if (agent->stream == AGENT_STREAM_PROVEN) {
        beat_on_stream(agent, now_ms);
    } else if (now_ms < agent->wait_until_ms) {
        agent->beat_at_ms = agent->wait_until_ms;
    } else if (!agent->http_in_flight) {
        agent->http_in_flight = true;
        agent->last_beat_ms = now_ms;
        act(agent, AGENT_ACTION_BEAT_HTTP);
    }
}

static void register_at(struct agent *agent, uint64_t at_ms)
{
    agent->state = AGENT_WAITING;
    agent->register_at_ms = at_ms > agent->wait_until_ms ? at_ms : agent->wait_until_ms;
}

void agent_wait(struct agent *agent, uint64_t now_ms, uint64_t wait_ms)
{
    if (wait_ms > LONGEST_WAIT_MS)
        wait_ms = LONGEST_WAIT_MS;
    /* Not with all the others that were told the same. */
    agent->wait_until_ms = now_ms + wait_ms + random_below(agent->random, wait_ms / 10 + 1);
}

static void miss_answer(struct agent *agent)
{
    agent->answer_missed = true;
    agent->missed_sequence = agent->sequence;
}

static void stopped(struct agent *agent)
{
    close_stream(agent);
    agent->state = AGENT_STOPPED;
    act(agent, AGENT_ACTION_STOPPED);
}

static void unregister(struct agent *agent, uint64_t now_ms)
{
    agent->state = AGENT_UNREGISTERING;
    agent->deadline_ms = now_ms + agent->config.unregister_timeout_ms;
    act(agent, AGENT_ACTION_UNREGISTER);
}

/* ---- registration ---- */

void agent_set_choices(struct agent *agent, unsigned choices)
{
    agent->choices = choices;
}

static void begin_round(struct agent *agent)
{
    agent->tried = 0;
    agent->refused_by_all = true;
}

static void heard(struct agent *agent)
{
    agent->unreachable = 0;
    agent->failing = agent->fell_silent = false;
}

void agent_registered(struct agent *agent, uint64_t now_ms, uint64_t incarnation, uint64_t interval_ms, bool has_stream,
                      bool stream_moved)
{
    if (agent->state != AGENT_REGISTERING)
        return;
    agent->incarnation = incarnation;
    agent->answer_missed = false;
    agent->interval_ms = agent->config.interval_ms != 0 ? agent->config.interval_ms : interval_ms;
    if (agent->interval_ms == 0)
        agent->interval_ms = 30 * SECOND_MS;
    backoff_reset(&agent->register_backoff);
    backoff_reset(&agent->refused_backoff);
    backoff_reset(&agent->http_backoff);
    agent->wait_until_ms = 0; /* it was another one that asked for it */
    begin_round(agent);
    heard(agent);
    agent->state = AGENT_REGISTERED;
    if (agent->stopping) {
        unregister(agent, now_ms);
        return;
    }
    if (agent->moved) {
        agent->moved = false;
        register_at(agent, now_ms);
        return;
    }
    /* The registration itself counts as a heartbeat; the first one of ours follows soon,
     * because it carries the load and the state of services. */
    agent->beat_at_ms = now_ms + SECOND_MS / 2;
    agent->first_sequence = agent->sequence + 1;
    if (!has_stream || stream_moved)
        close_stream(agent);
    if (has_stream && agent->stream == AGENT_STREAM_NONE) {
        backoff_reset(&agent->stream_backoff);
        agent->stream = AGENT_STREAM_OPENING;
        act(agent, AGENT_ACTION_OPEN_STREAM);
    } else if (stream_connected(agent)) {
        beat_on_stream(agent, now_ms);
    }
}

void agent_registration_failed(struct agent *agent, uint64_t now_ms, enum agent_registration_failure failure)
{
    if (agent->state != AGENT_REGISTERING)
        return;
    agent->moved = false; /* the next one shows it */
    if (agent->stopping) {
        stopped(agent);
        return;
    }
    agent->refused_by_all = agent->refused_by_all && failure == AGENT_REGISTRATION_REFUSED;
    agent->tried++;
    if (agent->choices > 1) {
        agent->http_in_flight = false;
        act(agent, AGENT_ACTION_NEXT);
    }
    if (agent->tried < agent->choices) {
        /* Who asked to be left alone is, when the round is over. */
        agent->state = AGENT_WAITING;
        agent->register_at_ms = now_ms + random_below(agent->random, NEXT_JITTER_MS);
        return;
    }
    struct backoff *backoff = agent->refused_by_all ? &agent->refused_backoff : &agent->register_backoff;
    begin_round(agent);
    register_at(agent, now_ms + backoff_next_ms(backoff, agent->random));
}

/* The coordinator has forgotten us. The stream stays: only the incarnation is new. */
static void register_again(struct agent *agent, uint64_t now_ms)
{
    if (agent->state == AGENT_DRAINING) {
        stopped(agent);
        return;
    }
    /* With every worker of a coordinator that lost its memory at about the same time. */
    register_at(agent, now_ms + random_below(agent->random, SECOND_MS / 2));
}

/* Whether the coordinator is lost, and if so, on to the others. */
static void move_if_lost(struct agent *agent, uint64_t now_ms)
{
    /* A new stream is something to hope for, unless it follows one that fell silent: whoever accepts the connection may
     * stand before the one who is gone. */
    bool opening = agent->stream == AGENT_STREAM_OPENING || agent->stream == AGENT_STREAM_OPEN;
    bool streaming = agent->stream == AGENT_STREAM_PROVEN || (opening && !agent->fell_silent);
    uint64_t failing_ms = agent->failing ? now_ms - agent->failing_since_ms : 0;
    bool over = agent->unreachable >= LOST_UNREACHABLE ||
                (agent->unreachable >= SILENT_UNREACHABLE && failing_ms >= SILENT_FAILING_MS) ||
                failing_ms >= LOST_FAILING_MS;
    if (agent->state != AGENT_REGISTERED || agent->choices < 2 || streaming || !over)
        return;
    close_stream(agent);
    agent->http_in_flight = false;
    agent->wait_until_ms = 0;
    heard(agent);
    begin_round(agent);
    act(agent, AGENT_ACTION_LOST);
    register_at(agent, now_ms + random_below(agent->random, LOST_JITTER_MS));
}

static void pushed_out(struct agent *agent, uint64_t now_ms)
{
    if (agent->state == AGENT_DRAINING) {
        stopped(agent);
        return;
    }
    if (agent->conflicts > 0 && now_ms - agent->conflict_at_ms > HOUR_MS)
        agent->conflicts = 0;
    agent->conflicts++;
    agent->conflict_at_ms = now_ms;
    act(agent, AGENT_ACTION_CONFLICT);
    close_stream(agent);
    if (agent->conflicts >= CONFLICTS_MAX) {
        agent->failed = true;
        stopped(agent);
        return;
    }
    register_at(agent, now_ms + backoff_jitter_ms(agent->config.conflict_wait_ms, agent->random));
}

/* A heartbeat was not taken; the trying began a while ago. */
static void not_taken(struct agent *agent, uint64_t since_ms, bool reached)
{
    miss_answer(agent);
    if (!reached)
        agent->unreachable++;
    if (!agent->failing)
        agent->failing_since_ms = since_ms;
    agent->failing = true;
}

/* ---- heartbeats over HTTP ---- */

void agent_http_answered(struct agent *agent, uint64_t now_ms, uint64_t incarnation, enum agent_http_answer answer)
{
    agent->http_in_flight = false;
    if (!on_the_roll(agent))
        return;
    if (incarnation != agent->incarnation) {
        /* Of the registration before this one. */
        agent->beat_at_ms = now_ms;
        return;
    }
    switch (answer) {
    case AGENT_HTTP_TAKEN:
        agent->answer_missed = false;
        heard(agent);
        backoff_reset(&agent->http_backoff);
        break;
    case AGENT_HTTP_UNKNOWN_WORKER:
        register_again(agent, now_ms);
        break;
    case AGENT_HTTP_STALE_INCARNATION:
        pushed_out(agent, now_ms);
        break;
    case AGENT_HTTP_UNREACHABLE:
    case AGENT_HTTP_FAILED: {
        not_taken(agent, now_ms, answer != AGENT_HTTP_UNREACHABLE);
        /* Sooner than the next beat: the coordinator's patience may be shorter. */
        uint64_t again_ms = now_ms + backoff_next_ms(&agent->http_backoff, agent->random);
        if (again_ms < agent->beat_at_ms)
            agent->beat_at_ms = again_ms;
        move_if_lost(agent, now_ms);
        break;
    }
    }
}

/* ---- the stream ---- */

void agent_stream_opened(struct agent *agent, uint64_t now_ms)
{
    if (agent->stream != AGENT_STREAM_OPENING)
        return;
    agent->stream = AGENT_STREAM_OPEN;
    agent->sequence = 0;
    agent->missed_sequence = 0;
    agent->first_sequence = 1;
    if (on_the_roll(agent))
        beat_on_stream(agent, now_ms);
}

void agent_stream_closed(struct agent *agent, uint64_t now_ms)
{
    if (agent->stream == AGENT_STREAM_NONE || agent->stream == AGENT_STREAM_WAITING)
        return;
    bool was_proven = agent->stream == AGENT_STREAM_PROVEN;
    if (stream_connected(agent))
        miss_answer(agent);
    agent->stream = AGENT_STREAM_WAITING;
    agent->stream_at_ms = now_ms + backoff_next_ms(&agent->stream_backoff, agent->random);
    if (was_proven && on_the_roll(agent))
        beat(agent, now_ms);
    else
        move_if_lost(agent, now_ms);
}

void agent_stream_silent(struct agent *agent, uint64_t now_ms, uint64_t silent_ms)
{
    if (!on_the_roll(agent) || !stream_connected(agent))
        return;
    not_taken(agent, now_ms - silent_ms, false);
    agent->fell_silent = true;
}

void agent_stream_acknowledged(struct agent *agent, uint64_t now_ms, uint64_t sequence)
{
    if (!stream_connected(agent) || sequence == 0 || sequence > agent->sequence)
        return;
    if (sequence > agent->missed_sequence)
        agent->answer_missed = false;
    heard(agent);
    if (agent->stream == AGENT_STREAM_OPEN) {
        agent->stream = AGENT_STREAM_PROVEN;
        backoff_reset(&agent->stream_backoff);
        agent->beat_at_ms = now_ms + jittered_interval_ms(agent);
    }
}

void agent_command(struct agent *agent, uint64_t now_ms, enum heartbeat_command_type type, uint64_t sequence)
{
    if (!on_the_roll(agent))
        return;
    if (sequence != 0 && sequence < agent->first_sequence)
        return; /* an answer to the registration before this one */
    switch (type) {
    case HEARTBEAT_COMMAND_REGISTER_AGAIN:
        register_again(agent, now_ms);
        break;
    case HEARTBEAT_COMMAND_STALE_INCARNATION:
        /* Said on its own it may be about a beat that was sent before we registered again:
         * the answer to a new one decides. */
        if (sequence == 0)
            beat(agent, now_ms);
        else
            pushed_out(agent, now_ms);
        break;
    case HEARTBEAT_COMMAND_DRAIN:
    case HEARTBEAT_COMMAND_UNDRAIN:
        agent->drained_by_operator = type == HEARTBEAT_COMMAND_DRAIN;
        agent_services_changed(agent, now_ms);
        break;
    case HEARTBEAT_COMMAND_ASSIGNMENT:
    case HEARTBEAT_COMMAND_UNKNOWN:
    case HEARTBEAT_COMMAND_SLOW_DOWN: /* whoever set so short an interval finds it in the log */
        break;
    }
}

/* ---- the rest ---- */

void agent_services_changed(struct agent *agent, uint64_t now_ms)
{
    if (!on_the_roll(agent))
        return;
    uint64_t soon_ms = agent->last_beat_ms + SECOND_MS;
    if (soon_ms < now_ms)
        soon_ms = now_ms;
    if (soon_ms < agent->beat_at_ms)
        agent->beat_at_ms = soon_ms;
}

static void leave_if_drained(struct agent *agent, uint64_t now_ms)
{
    if (agent->state != AGENT_DRAINING)
        return;
    if ((agent->active_requests == 0 && now_ms >= agent->linger_until_ms) || now_ms >= agent->deadline_ms)
        unregister(agent, now_ms);
}

void agent_set_active_requests(struct agent *agent, uint64_t now_ms, uint32_t active_requests)
{
    bool ended = agent->active_requests > 0 && active_requests == 0;
    agent->active_requests = active_requests;
    if (ended && agent->drained_by_operator)
        agent_services_changed(agent, now_ms);
    leave_if_drained(agent, now_ms);
}

void agent_moved(struct agent *agent, uint64_t now_ms)
{
    if (agent->stopping)
        return;
    if (agent->state == AGENT_REGISTERING)
        agent->moved = true; /* what was sent shows the old one */
    else if (agent->state == AGENT_WAITING || agent->state == AGENT_REGISTERED)
        register_at(agent, now_ms);
}

bool agent_turn(struct agent *agent, uint64_t now_ms)
{
    if (agent->state != AGENT_REGISTERED || agent->stopping)
        return false;
    close_stream(agent);
    agent->http_in_flight = false;
    agent->wait_until_ms = 0;
    heard(agent);
    begin_round(agent);
    register_at(agent, now_ms);
    return true;
}

void agent_stop(struct agent *agent, uint64_t now_ms)
{
    if (agent->stopping) {
        agent->linger_until_ms = now_ms;
        agent->deadline_ms = now_ms;
        agent_tick(agent, now_ms);
        return;
    }
    agent->stopping = true;
    switch (agent->state) {
    case AGENT_WAITING:
        stopped(agent);
        break;
    case AGENT_REGISTERING:
        /* It may be granted yet; then we have to take it back. */
        agent->deadline_ms = now_ms + agent->config.unregister_timeout_ms;
        break;
    case AGENT_REGISTERED:
        agent->state = AGENT_DRAINING;
        agent->linger_until_ms = now_ms + agent->config.linger_ms;
        agent->deadline_ms = now_ms + agent->config.drain_timeout_ms;
        beat(agent, now_ms);
        break;
    case AGENT_DRAINING:
    case AGENT_UNREGISTERING:
    case AGENT_STOPPED:
        break;
    }
}

void agent_unregistered(struct agent *agent, uint64_t now_ms)
{
    (void)now_ms;
    if (agent->state == AGENT_UNREGISTERING)
        stopped(agent);
}

void agent_tick(struct agent *agent, uint64_t now_ms)
{
    if (agent->state == AGENT_WAITING && now_ms >= agent->register_at_ms) {
        agent->state = AGENT_REGISTERING;
        act(agent, AGENT_ACTION_REGISTER);
    }
    if (agent->stream == AGENT_STREAM_WAITING && on_the_roll(agent) && now_ms >= agent->stream_at_ms) {
        agent->stream = AGENT_STREAM_OPENING;
        act(agent, AGENT_ACTION_OPEN_STREAM);
    }
    if (on_the_roll(agent) && now_ms >= agent->beat_at_ms)
        beat(agent, now_ms);
    leave_if_drained(agent, now_ms);
    bool late = now_ms >= agent->deadline_ms;
    if (late && (agent->state == AGENT_UNREGISTERING || (agent->state == AGENT_REGISTERING && agent->stopping)))
        stopped(agent);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t agent_next_ms(const struct agent *agent)
{
    uint64_t next_ms = UINT64_MAX;
    if (agent->state == AGENT_WAITING)
        next_ms = earlier(next_ms, agent->register_at_ms);
    if (on_the_roll(agent))
        next_ms = earlier(next_ms, agent->beat_at_ms);
    if (on_the_roll(agent) && agent->stream == AGENT_STREAM_WAITING)
        next_ms = earlier(next_ms, agent->stream_at_ms);
    if (agent->state == AGENT_DRAINING) {
        next_ms = earlier(next_ms, agent->deadline_ms);
        if (agent->active_requests == 0)
            next_ms = earlier(next_ms, agent->linger_until_ms);
    }
    if (agent->state == AGENT_UNREGISTERING || (agent->state == AGENT_REGISTERING && agent->stopping))
        next_ms = earlier(next_ms, agent->deadline_ms);
    return next_ms;
}

enum heartbeat_status agent_status(const struct agent *agent)
{
    return agent->stopping || agent->drained_by_operator ? HEARTBEAT_DRAINING : HEARTBEAT_ONLINE;
}
