/* See membership_inside.h. */

#include <string.h>

#include "common/log.h"
#include "services/worker/membership_inside.h"

/* A coordinator that would not keep the link is not asked for it again before. */
#define LINK_AGAIN_MS 600000u

void membership_turn_away(struct membership *membership)
{
    membership_cancel_call(&membership->beating);
    membership->coordinator_measured = false;
    membership->no_stream_said = false;
    agent_set_choices(&membership->agent, (unsigned)membership->config.coordinators->round_count);
}

void membership_lose_coordinator(struct membership *membership)
{
    struct coordinators *coordinators = membership->config.coordinators;
    coordinators_lost(coordinators);
    log_warning("the coordinator is lost, registering elsewhere", LOG_TEXT("coordinator", coordinators->home),
                LOG_TEXT("next", coordinators_current(coordinators)));
    membership_turn_away(membership);
}

/* ---- going back ---- */

void membership_append_unregister_path(struct buffer *path, const char *worker_id)
{
    buffer_append_text(path, "/api/worker/unregister/");
    registration_append_id(path, worker_id);
}

static void look(struct timer *timer, void *argument);

static void look_when_due(struct membership *membership)
{
    uint64_t at_ms = membership->homeward.look_at_ms, now = membership_now_ms(membership);
    if (at_ms == UINT64_MAX)
        loop_timer_stop(membership->config.loop, &membership->look_timer);
    else
        loop_timer_start(membership->config.loop, &membership->look_timer, at_ms > now ? at_ms - now : 0, look,
                         membership);
}

static void go_back(struct membership *membership)
{
    struct coordinators *coordinators = membership->config.coordinators;
    if (!agent_turn(&membership->agent, membership_now_ms(membership)))
        return;
    log_info("the coordinator that this worker had to leave is back, registering there",
             LOG_TEXT("coordinator", membership->homeward.url), LOG_TEXT("now_at", coordinators->home));
    strcpy(membership->left, coordinators->home);
    strcpy(membership->left_token, membership_credential(membership));
    coordinators_return(coordinators, membership->homeward.url);
    membership_turn_away(membership);
    membership_wake(membership);
}

static void looked(void *context, const struct control_answer *answer)
{
    struct membership *membership = context;
    membership->looking = NULL;
    if (homeward_looked(&membership->homeward, answer->status == 200, membership_now_ms(membership),
                        membership->config.random))
        go_back(membership);
    look_when_due(membership);
}

static void look(struct timer *timer, void *argument)
{
    (void)timer;
    struct membership *membership = argument;
    struct buffer url = BUFFER_INIT;
    membership_cancel_call(&membership->looking);
    buffer_append_format(&url, "%s/health", membership->homeward.url);
    struct control_request request = {.method = "GET", .url = url.data, .timeout_ms = MEMBERSHIP_IMPATIENT_TIMEOUT_MS};
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

void membership_arrive(struct membership *membership, const char *before)
{
    const struct coordinators *coordinators = membership->config.coordinators;
    struct buffer url = BUFFER_INIT;
    homeward_registered(&membership->homeward, before, coordinators->home, membership_now_ms(membership),
                        membership->config.random);
    look_when_due(membership);
    if (membership->left[0] != '\0' && strcmp(membership->left, coordinators->home) != 0) {
        membership_cancel_call(&membership->taking_leave);
        buffer_append_text(&url, membership->left);
        membership_append_unregister_path(&url, membership->config.worker_id);
        struct control_request request = {.method = "DELETE",
                                          .url = url.data,
                                          .credential = membership->left_token,
                                          .timeout_ms = MEMBERSHIP_CALL_TIMEOUT_MS};
        if (!buffer_failed(&url)) /* else that one notices by itself */
            membership->taking_leave = control_send(membership->config.control, &request, leave_taken, membership);
    }
    membership->left[0] = membership->left_token[0] = '\0';
    buffer_free(&url);
}

void membership_come_near(struct membership *membership)
{
    struct coordinators *coordinators = membership->config.coordinators;
    bool asked =
        strcmp(membership->near, coordinators->home) == 0 && membership_now_ms(membership) < membership->near_again_ms;
    if (membership->config.reach == NULL || coordinators->through_via || asked ||
        strcmp(coordinators->home, coordinators->via) == 0 ||
        !agent_turn(&membership->agent, membership_now_ms(membership)))
        return;
    strcpy(membership->near, coordinators->home);
    membership->near_again_ms = membership_now_ms(membership) + LINK_AGAIN_MS;
    log_info("registering with the coordinator itself, to be reached without the edge router",
             LOG_TEXT("coordinator", coordinators->home));
    coordinators_return(coordinators, coordinators->home);
    membership_turn_away(membership);
}
