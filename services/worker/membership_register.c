/* See membership_inside.h. */

#define _GNU_SOURCE /* memmem */
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "services/worker/membership_inside.h"

#define REGISTER_TIMEOUT_MS 15000u /* the registry waits for the disk and the assigner */

void membership_take_assignment(struct membership *membership, const struct heartbeat_names *assigned)
{
    membership->config.table->assigned = *assigned;
    char list[MEMBERSHIP_TEXT_BYTES] = "";
    for (size_t i = 0, bytes = 0; i < assigned->count && bytes < sizeof list; i++)
        bytes += (size_t)snprintf(list + bytes, sizeof list - bytes, "%s%s", i > 0 ? "," : "", assigned->names[i]);
    log_info("assigned", LOG_TEXT("services", list));
    membership->config.assigned(membership->config.context);
}

void membership_wait_if_asked(struct membership *membership, const struct control_answer *answer)
{
    if (answer->retry_after_ms > 0)
        agent_wait(&membership->agent, membership_now_ms(membership), answer->retry_after_ms);
}

static bool says_nobody(const struct control_answer *answer)
{
    static const char code[] = "\"no_coordinators\"";
    return answer->status == 503 && answer->body != NULL &&
           memmem(answer->body, answer->body_bytes, code, sizeof code - 1) != NULL;
}

static void registration_failed(struct membership *membership, const struct control_answer *answer, const char *error)
{
    membership_wait_if_asked(membership, answer);
    if (says_nobody(answer))
        membership->config.nobody(membership->config.context);
    bool refused = answer->status >= 400 && answer->status < 500 && answer->status != 408 && answer->status != 429;
    agent_registration_failed(&membership->agent, membership_now_ms(membership),
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
    membership_take_assignment(membership, &reply->assigned);
    coordinators_registered(coordinators, reply->coordinator_url, reply->fallbacks, reply->fallback_count);
    agent_set_choices(&membership->agent, (unsigned)coordinators->round_count);
    agent_registered(&membership->agent, membership_now_ms(membership), reply->incarnation, reply->interval_ms,
                     stream[0] != '\0', stream_moved || strcmp(before, coordinators->home) != 0);
    membership_arrive(membership, before);
}

static void register_answered(void *context, const struct control_answer *answer)
{
    struct membership *membership = context;
    membership->registering = NULL;
    char error[MEMBERSHIP_TEXT_BYTES];
    struct registration_reply reply;
    membership_wake(membership);
    if (answer->status != 200) {
        membership_answer_text(answer, error);
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
        membership->registering = membership_call(membership, "POST", "/api/worker/register", &body,
                                                  membership->config.api_key, REGISTER_TIMEOUT_MS, register_answered);
    buffer_free(&body);
    if (membership->registering == NULL) {
        struct control_answer nothing = {.status = 0};
        registration_failed(membership, &nothing, "out of memory, or a setting is not UTF-8");
        membership_wake(membership);
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
    char error[MEMBERSHIP_TEXT_BYTES];
    membership->asking = NULL;
    membership_wake(membership);
    if (answer->status == 404) {
        registration_failed(membership, answer, "it keeps no links, and is no edge router that names who does");
        return;
    }
    if (answer->status != 200 || !registration_decode_places(answer->body, answer->body_bytes, &places)) {
        membership_answer_text(answer, error);
        registration_failed(membership, answer, error);
        return;
    }
    if (coordinators_named(coordinators, places.urls, places.count)) {
        log_info("this edge router keeps no links: registering with a coordinator that it named",
                 LOG_TEXT("edge_router", coordinators_current(coordinators)));
        agent_set_choices(&membership->agent, (unsigned)coordinators->round_count);
        agent_registration_failed(&membership->agent, membership_now_ms(membership), AGENT_REGISTRATION_UNREACHABLE);
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
        membership->asking = membership_call(membership, "GET", path.data, NULL, membership->config.api_key,
                                             MEMBERSHIP_CALL_TIMEOUT_MS, places_answered);
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
    membership_wake(membership);
}

/* How far away the coordinator is: the time that a TCP connection to it takes. */
static void measured(void *context, const struct control_answer *answer)
{
    struct membership *membership = context;
    membership->measuring = NULL;
    if (answer->status == 0) {
        registration_failed(membership, answer, answer->error);
        membership_wake(membership);
        return;
    }
    membership->coordinator_measured = true;
    membership->coordinator.latency_ms = answer->connect_ms;
    /* Both ends at one address: it runs on this machine. */
    membership->coordinator.address_public =
        detect_address_text_public(answer->peer_address) && strcmp(answer->peer_address, answer->local_address) != 0;
    reach_and_register(membership);
}

void membership_register(struct membership *membership)
{
    const struct agent *agent = &membership->agent;
    unsigned timeout_ms =
        agent->tried + 1 < agent->choices ? MEMBERSHIP_IMPATIENT_TIMEOUT_MS : MEMBERSHIP_CALL_TIMEOUT_MS;
    if (!membership->coordinator_measured)
        membership->measuring = membership_call(membership, "GET", "/health", NULL, NULL, timeout_ms, measured);
    if (membership->measuring == NULL)
        reach_and_register(membership);
}
