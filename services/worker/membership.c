/* See membership.h, and membership_inside.h for what is in the other files. */

#include "services/worker/membership_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "services/worker/heartbeat_link.h"

#define IMPATIENT_BEAT_TIMEOUT_MS 2500u

void membership_wake(struct membership *membership)
{
    loop_at_end_of_turn(membership->config.loop, &membership->settle);
}

uint64_t membership_now_ms(const struct membership *membership)
{
    return loop_now_ms(membership->config.loop);
}

const char *membership_credential(const struct membership *membership)
{
    return membership->token[0] != '\0' ? membership->token : membership->config.api_key;
}

void membership_cancel_call(struct control_call **started)
{
    if (*started != NULL)
        control_cancel(*started);
    *started = NULL;
}

struct control_call *membership_call(struct membership *membership, const char *method, const char *path,
                                     const struct buffer *body, const char *with, unsigned timeout_ms,
                                     void (*answered)(void *context, const struct control_answer *answer))
{
    struct buffer url = BUFFER_INIT;
    buffer_append_text(&url, coordinators_current(membership->config.coordinators));
    buffer_append_text(&url, path);
    struct control_call *started = NULL;
    if (!buffer_failed(&url) && (body == NULL || !buffer_failed(body))) {
        struct control_request request = {
            .method = method,
            .url = url.data,
            .body = body != NULL ? body->data : NULL,
            .body_bytes = body != NULL ? body->bytes : 0,
            .credential = with,
            .timeout_ms = timeout_ms,
        };
        started = control_send(membership->config.control, &request, answered, membership);
    }
    buffer_free(&url);
    return started;
}

void membership_answer_text(const struct control_answer *answer, char text[MEMBERSHIP_TEXT_BYTES])
{
    if (answer->status == 0) {
        snprintf(text, MEMBERSHIP_TEXT_BYTES, "%s", answer->error);
        return;
    }
    char message[MEMBERSHIP_TEXT_BYTES - 32];
    registration_error_text(answer->body, answer->body_bytes, message, sizeof message);
    snprintf(text, MEMBERSHIP_TEXT_BYTES, "HTTP %u: %s", answer->status, message);
}

/* ---- unregistration ---- */

static void unregister_answered(void *context, const struct control_answer *answer)
{
    struct membership *membership = context;
    membership->unregistering = NULL;
    char error[MEMBERSHIP_TEXT_BYTES];
    if (answer->status == 200) {
        log_info("unregistered", LOG_TEXT("worker_id", membership->config.worker_id));
    } else {
        membership_answer_text(answer, error);
        log_warning("unregistration failed: the coordinator will notice that the worker is gone",
                    LOG_TEXT("error", error));
    }
    agent_unregistered(&membership->agent, membership_now_ms(membership));
    membership_wake(membership);
}

static void unregister(struct membership *membership)
{
    struct buffer path = BUFFER_INIT;
    membership_append_unregister_path(&path, membership->config.worker_id);
    if (!buffer_failed(&path))
        membership->unregistering =
            membership_call(membership, "DELETE", path.data, NULL, membership_credential(membership),
                            MEMBERSHIP_CALL_TIMEOUT_MS, unregister_answered);
    buffer_free(&path);
    if (membership->unregistering == NULL)
        agent_unregistered(&membership->agent, membership_now_ms(membership));
}

/* ---- heartbeats ---- */

static void fill_heartbeat(struct membership *membership, struct heartbeat *heartbeat,
                           struct heartbeat_service states[SERVICE_TABLE_STATES_MAX])
{
    memset(heartbeat, 0, sizeof *heartbeat);
    membership->config.measure(membership->config.context, heartbeat);
    heartbeat->worker_id = membership->config.worker_id;
    heartbeat->incarnation = membership->agent.incarnation;
    heartbeat->status = agent_status(&membership->agent);
    heartbeat->answer_missed = membership->agent.answer_missed;
    heartbeat->services = states;
    heartbeat->service_count = service_table_states(membership->config.table, states);
}

/* Nobody is there, or a proxy says that nobody is behind it: 520 to 530 are Cloudflare's. */
static bool is_unreachable(const struct control_answer *answer)
{
    unsigned status = answer->status;
    return status == 0 || status == 502 || status == 504 || (status >= 520 && status <= 530);
}

static void http_answered(void *context, const struct control_answer *answer)
{
    struct membership *membership = context;
    membership->beating = NULL;
    enum agent_http_answer result = AGENT_HTTP_FAILED;
    struct heartbeat_reply reply;
    bool taken = false;
    char error[MEMBERSHIP_TEXT_BYTES];
    if (coordinators_doubtful(membership->config.coordinators) && answer->status != 200) {
        result = is_unreachable(answer) ? AGENT_HTTP_UNREACHABLE : AGENT_HTTP_FAILED;
        membership_answer_text(answer, error);
        log_info(
            "no heartbeats straight to the coordinator that took this worker, they go through the one that was asked",
            LOG_TEXT("coordinator", coordinators_current(membership->config.coordinators)), LOG_TEXT("error", error));
    } else if (answer->status == 404) {
        result = AGENT_HTTP_UNKNOWN_WORKER;
    } else if (answer->status == 401) {
        /* The token does not hold any more, or keys are asked for since: a registration brings one that does. */
        membership_answer_text(answer, error);
        log_warning("the coordinator does not take this worker's token", LOG_TEXT("error", error));
        result = AGENT_HTTP_UNKNOWN_WORKER;
    } else if (answer->status == 409) {
        result = AGENT_HTTP_STALE_INCARNATION;
    } else if (answer->status == 200 && registration_decode_heartbeat(answer->body, answer->body_bytes, &reply)) {
        result = AGENT_HTTP_TAKEN;
        taken = true;
        coordinators_heard(membership->config.coordinators);
    } else {
        if (is_unreachable(answer))
            result = AGENT_HTTP_UNREACHABLE;
        membership_wait_if_asked(membership, answer);
        membership_answer_text(answer, error);
        log_warning("heartbeat failed", LOG_TEXT("error", error));
    }
    if (result == AGENT_HTTP_FAILED || result == AGENT_HTTP_UNREACHABLE)
        coordinators_unheard(membership->config.coordinators);
    if (taken && reply.has_assignment) {
        membership_take_assignment(membership, &reply.assigned);
        agent_services_changed(&membership->agent, membership_now_ms(membership));
    }
    if (taken && reply.has_draining && reply.draining != membership->agent.drained_by_operator)
        agent_command(&membership->agent, membership_now_ms(membership),
                      reply.draining ? HEARTBEAT_COMMAND_DRAIN : HEARTBEAT_COMMAND_UNDRAIN, 0);
    if (result == AGENT_HTTP_UNKNOWN_WORKER)
        log_info("the coordinator does not know this worker, registering again");
    agent_http_answered(&membership->agent, membership_now_ms(membership), membership->incarnation_on_http, result);
    if (taken)
        membership_come_near(membership);
    membership_wake(membership);
}

static void beat_http(struct membership *membership)
{
    struct heartbeat heartbeat;
    struct heartbeat_service states[SERVICE_TABLE_STATES_MAX];
    struct buffer body = BUFFER_INIT;
    fill_heartbeat(membership, &heartbeat, states);
    membership->incarnation_on_http = heartbeat.incarnation;
    unsigned timeout_ms = membership->agent.choices > 1 ? IMPATIENT_BEAT_TIMEOUT_MS : MEMBERSHIP_CALL_TIMEOUT_MS;
    if (heartbeat_encode_json(&heartbeat, &body))
        membership->beating = membership_call(membership, "POST", "/api/worker/heartbeat", &body,
                                              membership_credential(membership), timeout_ms, http_answered);
    buffer_free(&body);
    if (membership->beating == NULL)
        agent_http_answered(&membership->agent, membership_now_ms(membership), heartbeat.incarnation,
                            AGENT_HTTP_FAILED);
}

static void beat_stream(struct membership *membership)
{
    struct heartbeat heartbeat;
    struct heartbeat_service states[SERVICE_TABLE_STATES_MAX];
    fill_heartbeat(membership, &heartbeat, states);
    if (!heartbeat_link_beat(membership->link, &heartbeat, membership->token, membership->agent.sequence)) {
        heartbeat_link_close(membership->link);
        agent_stream_closed(&membership->agent, membership_now_ms(membership));
    }
}

/* ---- the stream ---- */

static void stream_opened(void *context)
{
    struct membership *membership = context;
    agent_stream_opened(&membership->agent, membership_now_ms(membership));
    membership_wake(membership);
}

static void stream_closed(void *context, const char *reason, uint64_t silent_ms)
{
    struct membership *membership = context;
    /* Once when it breaks, or was never there; the attempts after that would fill the log. */
    if (membership->agent.stream == AGENT_STREAM_PROVEN)
        log_warning("heartbeat stream broke, going on over HTTP", LOG_TEXT("address", membership->stream),
                    LOG_TEXT("reason", reason));
    else if (!membership->no_stream_said)
        log_warning("heartbeat stream cannot be reached, heartbeats go over HTTP until it can",
                    LOG_TEXT("address", membership->stream), LOG_TEXT("reason", reason));
    else
        log_debug("heartbeat stream is not there", LOG_TEXT("address", membership->stream), LOG_TEXT("reason", reason));
    membership->no_stream_said = true;
    if (silent_ms > 0)
        agent_stream_silent(&membership->agent, membership_now_ms(membership), silent_ms);
    agent_stream_closed(&membership->agent, membership_now_ms(membership));
    membership_wake(membership);
}

static void stream_acknowledged(void *context, uint64_t sequence)
{
    struct membership *membership = context;
    bool proven_before = membership->agent.stream == AGENT_STREAM_PROVEN;
    agent_stream_acknowledged(&membership->agent, membership_now_ms(membership), sequence);
    if (!proven_before && membership->agent.stream == AGENT_STREAM_PROVEN) {
        log_info("heartbeats are streamed", LOG_TEXT("address", membership->stream));
        membership->no_stream_said = false;
        membership_come_near(membership);
    }
    membership_wake(membership);
}

static void stream_command(void *context, const struct heartbeat_command *command)
{
    struct membership *membership = context;
    if (strcmp(command->worker_id, membership->config.worker_id) != 0) {
        log_warning("command for another worker", LOG_TEXT("worker_id", command->worker_id));
        return;
    }
    static const char *const names[] = {"unknown", "register again", "stale incarnation", "assignment",
                                        "drain",   "undrain",        "slow down"};
    log_info("told by the coordinator", LOG_TEXT("command", names[command->type]), LOG_TEXT("reason", command->reason));
    if (command->type == HEARTBEAT_COMMAND_ASSIGNMENT) {
        membership_take_assignment(membership, &command->assigned);
        agent_services_changed(&membership->agent, membership_now_ms(membership));
    } else {
        agent_command(&membership->agent, membership_now_ms(membership), command->type, command->sequence);
    }
    membership_wake(membership);
}

/* ---- carrying out ---- */

static void carry_out(struct membership *membership, enum agent_action action)
{
    switch (action) {
    case AGENT_ACTION_LOST:
        membership_lose_coordinator(membership);
        break;
    case AGENT_ACTION_NEXT:
        coordinators_next(membership->config.coordinators);
        membership_turn_away(membership);
        break;
    case AGENT_ACTION_REGISTER:
        membership_register(membership);
        break;
    case AGENT_ACTION_UNREGISTER:
        unregister(membership);
        break;
    case AGENT_ACTION_OPEN_STREAM:
        if (!heartbeat_link_open(membership->link, membership->stream))
            agent_stream_closed(&membership->agent, membership_now_ms(membership));
        break;
    case AGENT_ACTION_CLOSE_STREAM:
        heartbeat_link_close(membership->link);
        break;
    case AGENT_ACTION_BEAT_STREAM:
        beat_stream(membership);
        break;
    case AGENT_ACTION_BEAT_HTTP:
        beat_http(membership);
        break;
    case AGENT_ACTION_CONFLICT:
        log_error("another process registered this worker's id: give each its own with --worker-id, or stop one",
                  LOG_TEXT("worker_id", membership->config.worker_id), LOG_UINT("times", membership->agent.conflicts));
        break;
    case AGENT_ACTION_STOPPED:
        membership->config.stopped(membership->config.context, membership->agent.failed);
        break;
    case AGENT_ACTION_NONE:
        break;
    }
}

static void time_came(struct timer *timer, void *argument)
{
    (void)timer;
    struct membership *membership = argument;
    agent_tick(&membership->agent, membership_now_ms(membership));
    membership_wake(membership);
}

static void settle(struct loop_hook *hook)
{
    struct membership *membership = (struct membership *)((char *)hook - offsetof(struct membership, settle));
    enum agent_action action;
    while ((action = agent_next_action(&membership->agent)) != AGENT_ACTION_NONE)
        carry_out(membership, action);
    uint64_t next_ms = agent_next_ms(&membership->agent);
    uint64_t now = membership_now_ms(membership);
    if (next_ms == UINT64_MAX)
        loop_timer_stop(membership->config.loop, &membership->timer);
    else
        loop_timer_start(membership->config.loop, &membership->timer, next_ms > now ? next_ms - now : 0, time_came,
                         membership);
}

/* ---- from outside ---- */

struct membership *membership_create(const struct membership_config *config)
{
    static const struct heartbeat_link_calls calls = {stream_opened, stream_closed, stream_acknowledged,
                                                      stream_command};
    struct membership *membership = calloc(1, sizeof *membership);
    if (membership == NULL)
        return NULL;
    membership->config = *config;
    membership->settle.run = settle;
    membership->link = heartbeat_link_create(config->loop, config->control, &calls, membership);
    if (membership->link == NULL) {
        free(membership);
        return NULL;
    }
    homeward_init(&membership->homeward, config->return_after_ms);
    agent_init(&membership->agent, &config->agent, config->random, loop_now_ms(config->loop));
    agent_set_choices(&membership->agent, (unsigned)config->coordinators->round_count);
    loop_timer_start(config->loop, &membership->timer, 0, time_came, membership);
    return membership;
}

void membership_destroy(struct membership *membership)
{
    if (membership == NULL)
        return;
    membership_cancel_call(&membership->measuring);
    membership_cancel_call(&membership->asking);
    membership_cancel_call(&membership->registering);
    membership_cancel_call(&membership->beating);
    membership_cancel_call(&membership->unregistering);
    membership_cancel_call(&membership->looking);
    membership_cancel_call(&membership->taking_leave);
    loop_timer_stop(membership->config.loop, &membership->look_timer);
    heartbeat_link_destroy(membership->link);
    loop_timer_stop(membership->config.loop, &membership->timer);
    free(membership);
}

void membership_stop(struct membership *membership)
{
    agent_stop(&membership->agent, membership_now_ms(membership));
    membership_wake(membership);
}

void membership_moved(struct membership *membership)
{
    agent_moved(&membership->agent, membership_now_ms(membership));
    membership_wake(membership);
}

void membership_services_changed(struct membership *membership)
{
    agent_services_changed(&membership->agent, membership_now_ms(membership));
    membership_wake(membership);
}

void membership_set_active_requests(struct membership *membership, uint32_t active)
{
    agent_set_active_requests(&membership->agent, membership_now_ms(membership), active);
    /* Only a worker that leaves acts on it; all others are spared the work on each request. */
    if (membership->agent.stopping)
        membership_wake(membership);
}

void membership_status(const struct membership *membership, struct membership_status *status)
{
    static const char *const states[] = {
        [AGENT_WAITING] = "registering", [AGENT_REGISTERING] = "registering", [AGENT_REGISTERED] = "registered",
        [AGENT_DRAINING] = "draining",   [AGENT_UNREGISTERING] = "draining",  [AGENT_STOPPED] = "stopped",
    };
    const struct agent *agent = &membership->agent;
    bool beats = agent->state == AGENT_REGISTERED || agent->state == AGENT_DRAINING;
    bool draining = agent->state == AGENT_REGISTERED && agent->drained_by_operator;
    status->state = draining ? "draining" : states[agent->state];
    status->heartbeats = !beats ? "none" : agent->stream == AGENT_STREAM_PROVEN ? "stream" : "http";
    status->worker_type = membership->worker_type;
    status->coordinator_url = coordinators_current(membership->config.coordinators);
    status->incarnation = agent->incarnation;
}
