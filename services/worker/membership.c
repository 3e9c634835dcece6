#define _GNU_SOURCE /* memmem */
#include "services/worker/membership.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "services/worker/heartbeat_link.h"
#include "services/worker/homeward.h"
#include "services/worker/registration.h"

#define REGISTER_TIMEOUT_MS 15000u /* the registry waits for the disk and the assigner */
#define CALL_TIMEOUT_MS 5000u
/* While others are left to be tried, one that is silent is not waited for as long. */
#define IMPATIENT_TIMEOUT_MS 2000u
#define IMPATIENT_BEAT_TIMEOUT_MS 2500u
/* A coordinator that would not keep the link is not asked for it again before. */
#define LINK_AGAIN_MS 600000u
#define TEXT_BYTES 512

struct membership {
    struct membership_config config;
    struct agent agent;
    struct heartbeat_link *link;
    struct timer timer; /* agent_next_ms */
    struct homeward homeward;
    struct timer look_timer; /* homeward.look_at_ms */
    /* Where it was, on the way back from there: it is taken off that roll once it has arrived. "": it stays. */
    char left[COORDINATORS_URL_BYTES], left_token[REGISTRATION_TOKEN_BYTES];
    /* Which coordinator was asked last to reach this worker itself, and when it may be asked again. */
    char near[COORDINATORS_URL_BYTES];
    uint64_t near_again_ms;
    struct loop_hook settle; /* carries out what the agent wants */

    struct detect_coordinator coordinator;
    bool coordinator_measured;
    bool reaching; /* registers once membership_reached says so */
    char stream[256];                     /* HOST:PORT; "": none */
    char token[REGISTRATION_TOKEN_BYTES]; /* of this registration; "": none */
    bool no_stream_said;                  /* since it was last there */
    char worker_type[32];
    uint64_t incarnation_on_http; /* of the heartbeat that is under way */

    /* Calls under way; NULL: none. */
    struct control_call *measuring, *asking, *registering, *beating, *unregistering, *looking, *taking_leave;
};

static void wake(struct membership *membership)
{
    loop_at_end_of_turn(membership->config.loop, &membership->settle);
}

static uint64_t now_ms(const struct membership *membership)
{
    return loop_now_ms(membership->config.loop);
}

/* What is said after a registration is said with its token, by which nobody else is meant; a coordinator that gave
 * none is shown the key. */
static const char *credential(const struct membership *membership)
{
    return membership->token[0] != '\0' ? membership->token : membership->config.api_key;
}

static void cancel(struct control_call **started)
{
    if (*started != NULL)
        control_cancel(*started);
    *started = NULL;
}

static struct control_call *call(struct membership *membership, const char *method, const char *path,
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

/* What went wrong with a call, for a log. */
static void answer_text(const struct control_answer *answer, char text[TEXT_BYTES])
{
    if (answer->status == 0) {
        snprintf(text, TEXT_BYTES, "%s", answer->error);
        return;
    }
    char message[TEXT_BYTES - 32];
    registration_error_text(answer->body, answer->body_bytes, message, sizeof message);
    snprintf(text, TEXT_BYTES, "HTTP %u: %s", answer->status, message);
}

/* ---- registration ---- */

static void take_assignment(struct membership *membership, const struct heartbeat_names *assigned)
{
    membership->config.table->assigned = *assigned;
    char list[TEXT_BYTES] = "";
    for (size_t i = 0, bytes = 0; i < assigned->count && bytes < sizeof list; i++)
        bytes += (size_t)snprintf(list + bytes, sizeof list - bytes, "%s%s", i > 0 ? "," : "", assigned->names[i]);
    log_info("assigned", LOG_TEXT("services", list));
    membership->config.assigned(membership->config.context);
}

static void wait_if_asked(struct membership *membership, const struct control_answer *answer)
{
    if (answer->retry_after_ms > 0)
        agent_wait(&membership->agent, now_ms(membership), answer->retry_after_ms);
}

static bool says_nobody(const struct control_answer *answer)
{
    static const char code[] = "\"no_coordinators\"";
    return answer->status == 503 && answer->body != NULL &&
           memmem(answer->body, answer->body_bytes, code, sizeof code - 1) != NULL;
}

static void registration_failed(struct membership *membership, const struct control_answer *answer, const char *error)
{
    wait_if_asked(membership, answer);
    if (says_nobody(answer))
        membership->config.nobody(membership->config.context);
    bool refused = answer->status >= 400 && answer->status < 500 && answer->status != 408 && answer->status != 429;
    agent_registration_failed(&membership->agent, now_ms(membership),
                              refused ? AGENT_REGISTRATION_REFUSED : AGENT_REGISTRATION_UNREACHABLE);
    if (refused)
        log_error("the coordinator refuses this worker: correct its settings",
                  LOG_TEXT("coordinator", coordinators_current(membership->config.coordinators)),
                  LOG_TEXT("error", error));
    else
        log_warning("registration failed, trying again",
                    LOG_TEXT("coordinator", coordinators_current(membership->config.coordinators)),
                    LOG_TEXT("error", error));
}

static void arrive(struct membership *membership, const char *before);

static void take_reply(struct membership *membership, const struct registration_reply *reply)
{
    const char *stream =
        reply->stream != NULL && strlen(reply->stream) < sizeof membership->stream ? reply->stream : "";
    struct coordinators *coordinators = membership->config.coordinators;
    char before[COORDINATORS_URL_BYTES];
    strcpy(before, coordinators->home);
    bool stream_moved = strcmp(stream, membership->stream) != 0;
    strcpy(membership->stream, stream);
    strcpy(membership->token, reply->token); /* its length was checked */
    if (strcmp(reply->worker_id, membership->config.worker_id) != 0)
        strcpy(membership->config.worker_id, reply->worker_id); /* registration_decode checked its length */
    snprintf(membership->worker_type, sizeof membership->worker_type, "%s", reply->worker_type);
    for (size_t i = 0; i < reply->service_count; i++) {
        const struct registration_service *service = &reply->services[i];
        if (!service_table_configure(membership->config.table, service->name, service->aliases, service->alias_count))
            log_warning("out of memory, aliases are not known", LOG_TEXT("service", service->name));
    }
    log_info("registered", LOG_TEXT("coordinator", coordinators_current(membership->config.coordinators)),
             LOG_TEXT("worker_id", membership->config.worker_id), LOG_TEXT("worker_type", membership->worker_type),
             LOG_UINT("incarnation", reply->incarnation), LOG_TEXT("heartbeat_stream", stream));
    take_assignment(membership, &reply->assigned);
    coordinators_registered(coordinators, reply->coordinator_url, reply->fallbacks, reply->fallback_count);
    agent_set_choices(&membership->agent, (unsigned)coordinators->round_count);
    agent_registered(&membership->agent, now_ms(membership), reply->incarnation, reply->interval_ms, stream[0] != '\0',
                     stream_moved || strcmp(before, coordinators->home) != 0);
    arrive(membership, before);
}

static void register_answered(void *context, const struct control_answer *answer)
{
    struct membership *membership = context;
    membership->registering = NULL;
    char error[TEXT_BYTES];
    struct registration_reply reply;
    wake(membership);
    if (answer->status != 200) {
        answer_text(answer, error);
        registration_failed(membership, answer, error);
    } else if (!registration_decode(answer->body, answer->body_bytes, &reply, error, sizeof error)) {
        registration_failed(membership, answer, error);
    } else {
        take_reply(membership, &reply);
        registration_reply_free(&reply);
    }
}

static void send_registration(struct membership *membership)
{
    const struct membership_config *config = &membership->config;
    const char *names[SERVICE_TABLE_MAX];
    size_t count = service_table_announced(config->table, names);
    struct registration registration = {
        .worker_id = config->worker_id,
        .tunnel_url = config->tunnel_url,
        .worker_type = config->worker_type,
        .location = config->location,
        .machine = config->machine,
        .coordinator = &membership->coordinator,
        .services = names,
        .service_count = count,
    };
    struct buffer body = BUFFER_INIT;
    if (registration_encode(&registration, &body))
        membership->registering = call(membership, "POST", "/api/worker/register", &body, membership->config.api_key,
                                       REGISTER_TIMEOUT_MS, register_answered);
    buffer_free(&body);
    if (membership->registering == NULL) {
        struct control_answer nothing = {.status = 0};
        registration_failed(membership, &nothing, "out of memory, or a setting is not UTF-8");
        wake(membership);
    }
}

/* Makes sure first that the coordinator will reach this worker. */
static void reach_and_register(struct membership *membership)
{
    const struct membership_config *config = &membership->config;
    membership->reaching =
        config->reach != NULL && !config->reach(config->context, coordinators_current(config->coordinators));
    if (!membership->reaching)
        send_registration(membership);
}

/* Whom the edge router, which cannot reach this worker, named instead. */
static void places_answered(void *context, const struct control_answer *answer)
{
    struct membership *membership = context;
    struct coordinators *coordinators = membership->config.coordinators;
    struct registration_places places;
    char error[TEXT_BYTES];
    membership->asking = NULL;
    wake(membership);
    if (answer->status == 404) {
        registration_failed(membership, answer, "it keeps no links, and is no edge router that names who does");
        return;
    }
    if (answer->status != 200 || !registration_decode_places(answer->body, answer->body_bytes, &places)) {
        answer_text(answer, error);
        registration_failed(membership, answer, error);
        return;
    }
    if (coordinators_named(coordinators, places.urls, places.count)) {
        log_info("this edge router keeps no links: registering with a coordinator that it named",
                 LOG_TEXT("edge_router", coordinators_current(coordinators)));
        agent_set_choices(&membership->agent, (unsigned)coordinators->round_count);
        agent_registration_failed(&membership->agent, now_ms(membership), AGENT_REGISTRATION_UNREACHABLE);
    } else {
        registration_failed(membership, answer,
                            "this edge router keeps no links, and named no coordinator that can be used");
    }
    registration_places_free(&places);
}

/* False: memory ran out. */
static bool ask_for_places(struct membership *membership)
{
    struct buffer path = BUFFER_INIT;
    buffer_append_text(&path, "/api/edge/coordinators?location=");
    registration_append_id(&path, membership->config.location);
    if (!buffer_failed(&path))
        membership->asking = call(membership, "GET", path.data, NULL, membership->config.api_key, CALL_TIMEOUT_MS,
                                  places_answered);
    buffer_free(&path);
    return membership->asking != NULL;
}

void membership_reached(struct membership *membership, unsigned status, const char *error)
{
    if (!membership->reaching)
        return;
    membership->reaching = false;
    if (error == NULL) {
        send_registration(membership);
    } else if (status != 404 || !ask_for_places(membership)) {
        const struct control_answer answer = {.status = status, .error = error};
        registration_failed(membership, &answer, error);
    }
    wake(membership);
}

/* How far away the coordinator is: the time that a TCP connection to it takes. */
static void measured(void *context, const struct control_answer *answer)
{
    struct membership *membership = context;
    membership->measuring = NULL;
    if (answer->status == 0) {
        registration_failed(membership, answer, answer->error);
        wake(membership);
        return;
    }
    membership->coordinator_measured = true;
    membership->coordinator.latency_ms = answer->connect_ms;
    /* Both ends at one address: it runs on this machine. */
    membership->coordinator.address_public =
        detect_address_text_public(answer->peer_address) && strcmp(answer->peer_address, answer->local_address) != 0;
    reach_and_register(membership);
}

static void begin_registration(struct membership *membership)
{
    const struct agent *agent = &membership->agent;
    unsigned timeout_ms = agent->tried + 1 < agent->choices ? IMPATIENT_TIMEOUT_MS : CALL_TIMEOUT_MS;
    if (!membership->coordinator_measured)
        membership->measuring = call(membership, "GET", "/health", NULL, NULL, timeout_ms, measured);
    if (membership->measuring == NULL)
        reach_and_register(membership);
}

/* Turns to another coordinator than the one that was spoken to. */
static void turn_away(struct membership *membership)
{
    cancel(&membership->beating);
    membership->coordinator_measured = false;
    membership->no_stream_said = false;
    agent_set_choices(&membership->agent, (unsigned)membership->config.coordinators->round_count);
}

static void lose_coordinator(struct membership *membership)
{
    struct coordinators *coordinators = membership->config.coordinators;
    coordinators_lost(coordinators);
    log_warning("the coordinator is lost, registering elsewhere", LOG_TEXT("coordinator", coordinators->home),
                LOG_TEXT("next", coordinators_current(coordinators)));
    turn_away(membership);
}

/* ---- going back ---- */

static void append_unregister_path(struct buffer *path, const char *worker_id)
{
    buffer_append_text(path, "/api/worker/unregister/");
    registration_append_id(path, worker_id);
}

static void look(struct timer *timer, void *argument);

static void look_when_due(struct membership *membership)
{
    uint64_t at_ms = membership->homeward.look_at_ms, now = now_ms(membership);
    if (at_ms == UINT64_MAX)
        loop_timer_stop(membership->config.loop, &membership->look_timer);
    else
        loop_timer_start(membership->config.loop, &membership->look_timer, at_ms > now ? at_ms - now : 0, look,
                         membership);
}

static void go_back(struct membership *membership)
{
    struct coordinators *coordinators = membership->config.coordinators;
    if (!agent_turn(&membership->agent, now_ms(membership)))
        return;
    log_info("the coordinator that this worker had to leave is back, registering there",
             LOG_TEXT("coordinator", membership->homeward.url), LOG_TEXT("now_at", coordinators->home));
    strcpy(membership->left, coordinators->home);
    strcpy(membership->left_token, credential(membership));
    coordinators_return(coordinators, membership->homeward.url);
    turn_away(membership);
    wake(membership);
}

static void looked(void *context, const struct control_answer *answer)
{
    struct membership *membership = context;
    membership->looking = NULL;
    if (homeward_looked(&membership->homeward, answer->status == 200, now_ms(membership), membership->config.random))
        go_back(membership);
    look_when_due(membership);
}

static void look(struct timer *timer, void *argument)
{
    (void)timer;
    struct membership *membership = argument;
    struct buffer url = BUFFER_INIT;
    cancel(&membership->looking);
    buffer_append_format(&url, "%s/health", membership->homeward.url);
    struct control_request request = {.method = "GET", .url = url.data, .timeout_ms = IMPATIENT_TIMEOUT_MS};
    if (!buffer_failed(&url))
        membership->looking = control_send(membership->config.control, &request, looked, membership);
    buffer_free(&url);
    if (membership->looking == NULL)
        looked(membership, &(struct control_answer){.status = 0});
}

static void leave_taken(void *context, const struct control_answer *answer)
{
    struct membership *membership = context;
    membership->taking_leave = NULL;
    if (answer->status != 200)
        log_info("the coordinator that was left will notice by itself", LOG_UINT("status", answer->status));
}

/* A registration was taken: what does that mean for where it was, and where it wants to be? */
static void arrive(struct membership *membership, const char *before)
{
    const struct coordinators *coordinators = membership->config.coordinators;
    struct buffer url = BUFFER_INIT;
    homeward_registered(&membership->homeward, before, coordinators->home, now_ms(membership),
                        membership->config.random);
    look_when_due(membership);
    if (membership->left[0] != '\0' && strcmp(membership->left, coordinators->home) != 0) {
        cancel(&membership->taking_leave);
        buffer_append_text(&url, membership->left);
        append_unregister_path(&url, membership->config.worker_id);
        struct control_request request = {
            .method = "DELETE", .url = url.data, .credential = membership->left_token, .timeout_ms = CALL_TIMEOUT_MS};
        if (!buffer_failed(&url)) /* else that one notices by itself */
            membership->taking_leave = control_send(membership->config.control, &request, leave_taken, membership);
    }
    membership->left[0] = membership->left_token[0] = '\0';
    buffer_free(&url);
}

/* Has the coordinator reach this worker itself (config.reach) once it was heard: what is kept to the edge router that
 * took the registration would be lost with that, and be a way round as long as it is there. */
static void come_near(struct membership *membership)
{
    struct coordinators *coordinators = membership->config.coordinators;
    bool asked = strcmp(membership->near, coordinators->home) == 0 && now_ms(membership) < membership->near_again_ms;
    if (membership->config.reach == NULL || coordinators->through_via || asked ||
        strcmp(coordinators->home, coordinators->via) == 0 || !agent_turn(&membership->agent, now_ms(membership)))
        return;
    strcpy(membership->near, coordinators->home);
    membership->near_again_ms = now_ms(membership) + LINK_AGAIN_MS;
    log_info("registering with the coordinator itself, to be reached without the edge router",
             LOG_TEXT("coordinator", coordinators->home));
    coordinators_return(coordinators, coordinators->home);
    turn_away(membership);
}

/* ---- unregistration ---- */

static void unregister_answered(void *context, const struct control_answer *answer)
{
    struct membership *membership = context;
    membership->unregistering = NULL;
    char error[TEXT_BYTES];
    if (answer->status == 200) {
        log_info("unregistered", LOG_TEXT("worker_id", membership->config.worker_id));
    } else {
        answer_text(answer, error);
        log_warning("unregistration failed: the coordinator will notice that the worker is gone",
                    LOG_TEXT("error", error));
    }
    agent_unregistered(&membership->agent, now_ms(membership));
    wake(membership);
}

static void unregister(struct membership *membership)
{
    struct buffer path = BUFFER_INIT;
    append_unregister_path(&path, membership->config.worker_id);
    if (!buffer_failed(&path))
        membership->unregistering =
            call(membership, "DELETE", path.data, NULL, credential(membership), CALL_TIMEOUT_MS, unregister_answered);
    buffer_free(&path);
    if (membership->unregistering == NULL)
        agent_unregistered(&membership->agent, now_ms(membership));
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
    char error[TEXT_BYTES];
    if (coordinators_doubtful(membership->config.coordinators) && answer->status != 200) {
        result = is_unreachable(answer) ? AGENT_HTTP_UNREACHABLE : AGENT_HTTP_FAILED;
        answer_text(answer, error);
        log_info(
            "no heartbeats straight to the coordinator that took this worker, they go through the one that was asked",
            LOG_TEXT("coordinator", coordinators_current(membership->config.coordinators)), LOG_TEXT("error", error));
    } else if (answer->status == 404) {
        result = AGENT_HTTP_UNKNOWN_WORKER;
    } else if (answer->status == 401) {
        /* The token does not hold any more, or keys are asked for since: a registration brings one that does. */
        answer_text(answer, error);
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
        wait_if_asked(membership, answer);
        answer_text(answer, error);
        log_warning("heartbeat failed", LOG_TEXT("error", error));
    }
    if (result == AGENT_HTTP_FAILED || result == AGENT_HTTP_UNREACHABLE)
        coordinators_unheard(membership->config.coordinators);
    if (taken && reply.has_assignment) {
        take_assignment(membership, &reply.assigned);
        agent_services_changed(&membership->agent, now_ms(membership));
    }
    if (taken && reply.has_draining && reply.draining != membership->agent.drained_by_operator)
        agent_command(&membership->agent, now_ms(membership),
                      reply.draining ? HEARTBEAT_COMMAND_DRAIN : HEARTBEAT_COMMAND_UNDRAIN, 0);
    if (result == AGENT_HTTP_UNKNOWN_WORKER)
        log_info("the coordinator does not know this worker, registering again");
    agent_http_answered(&membership->agent, now_ms(membership), membership->incarnation_on_http, result);
    if (taken)
        come_near(membership);
    wake(membership);
}

static void beat_http(struct membership *membership)
{
    struct heartbeat heartbeat;
    struct heartbeat_service states[SERVICE_TABLE_STATES_MAX];
    struct buffer body = BUFFER_INIT;
    fill_heartbeat(membership, &heartbeat, states);
    membership->incarnation_on_http = heartbeat.incarnation;
    unsigned timeout_ms = membership->agent.choices > 1 ? IMPATIENT_BEAT_TIMEOUT_MS : CALL_TIMEOUT_MS;
    if (heartbeat_encode_json(&heartbeat, &body))
        membership->beating =
            call(membership, "POST", "/api/worker/heartbeat", &body, credential(membership), timeout_ms, http_answered);
    buffer_free(&body);
    if (membership->beating == NULL)
        agent_http_answered(&membership->agent, now_ms(membership), heartbeat.incarnation, AGENT_HTTP_FAILED);
}

static void beat_stream(struct membership *membership)
{
    struct heartbeat heartbeat;
    struct heartbeat_service states[SERVICE_TABLE_STATES_MAX];
    fill_heartbeat(membership, &heartbeat, states);
    if (!heartbeat_link_beat(membership->link, &heartbeat, membership->token, membership->agent.sequence)) {
        heartbeat_link_close(membership->link);
        agent_stream_closed(&membership->agent, now_ms(membership));
    }
}

/* ---- the stream ---- */

static void stream_opened(void *context)
{
    struct membership *membership = context;
    agent_stream_opened(&membership->agent, now_ms(membership));
    wake(membership);
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
        agent_stream_silent(&membership->agent, now_ms(membership), silent_ms);
    agent_stream_closed(&membership->agent, now_ms(membership));
    wake(membership);
}

static void stream_acknowledged(void *context, uint64_t sequence)
{
    struct membership *membership = context;
    bool proven_before = membership->agent.stream == AGENT_STREAM_PROVEN;
    agent_stream_acknowledged(&membership->agent, now_ms(membership), sequence);
    if (!proven_before && membership->agent.stream == AGENT_STREAM_PROVEN) {
        log_info("heartbeats are streamed", LOG_TEXT("address", membership->stream));
        membership->no_stream_said = false;
        come_near(membership);
    }
    wake(membership);
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
        take_assignment(membership, &command->assigned);
        agent_services_changed(&membership->agent, now_ms(membership));
    } else {
        agent_command(&membership->agent, now_ms(membership), command->type, command->sequence);
    }
    wake(membership);
}

/* ---- carrying out ---- */

static void carry_out(struct membership *membership, enum agent_action action)
{
    switch (action) {
    case AGENT_ACTION_LOST:
        lose_coordinator(membership);
        break;
    case AGENT_ACTION_NEXT:
        coordinators_next(membership->config.coordinators);
        turn_away(membership);
        break;
    case AGENT_ACTION_REGISTER:
        begin_registration(membership);
        break;
    case AGENT_ACTION_UNREGISTER:
        unregister(membership);
        break;
    case AGENT_ACTION_OPEN_STREAM:
        if (!heartbeat_link_open(membership->link, membership->stream))
            agent_stream_closed(&membership->agent, now_ms(membership));
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
    agent_tick(&membership->agent, now_ms(membership));
    wake(membership);
}

static void settle(struct loop_hook *hook)
{
    struct membership *membership = (struct membership *)((char *)hook - offsetof(struct membership, settle));
    enum agent_action action;
    while ((action = agent_next_action(&membership->agent)) != AGENT_ACTION_NONE)
        carry_out(membership, action);
    uint64_t next_ms = agent_next_ms(&membership->agent);
    uint64_t now = now_ms(membership);
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
    cancel(&membership->measuring);
    cancel(&membership->asking);
    cancel(&membership->registering);
    cancel(&membership->beating);
    cancel(&membership->unregistering);
    cancel(&membership->looking);
    cancel(&membership->taking_leave);
    loop_timer_stop(membership->config.loop, &membership->look_timer);
    heartbeat_link_destroy(membership->link);
    loop_timer_stop(membership->config.loop, &membership->timer);
    free(membership);
}

void membership_stop(struct membership *membership)
{
    agent_stop(&membership->agent, now_ms(membership));
    wake(membership);
}

void membership_moved(struct membership *membership)
{
    agent_moved(&membership->agent, now_ms(membership));
    wake(membership);
}

void membership_services_changed(struct membership *membership)
{
    agent_services_changed(&membership->agent, now_ms(membership));
    wake(membership);
}

void membership_set_active_requests(struct membership *membership, uint32_t active)
{
    agent_set_active_requests(&membership->agent, now_ms(membership), active);
    /* Only a worker that leaves acts on it; all others are spared the work on each request. */
    if (membership->agent.stopping)
        wake(membership);
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
