/* What the files of membership.h share.
 *
 *     membership.c            life; heartbeats, streams; carries out what the agent wants
 *     membership_register.c   registration, and who is asked to reach the worker before it
 *     membership_back.c       from one coordinator to another: away, back, near
 *
 * Threading: the loop's thread. */

#pragma once

#include "common/buffer.h"
#include "services/worker/homeward.h"
#include "services/worker/membership.h"
#include "services/worker/registration.h"

#define MEMBERSHIP_CALL_TIMEOUT_MS 5000u
/* While others are left to be tried, one that is silent is not waited for as long. */
#define MEMBERSHIP_IMPATIENT_TIMEOUT_MS 2000u
#define MEMBERSHIP_TEXT_BYTES 512

struct heartbeat_link;

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
    bool reaching;                        /* registers once membership_reached says so */
    char stream[256];                     /* HOST:PORT; "": none */
    char token[REGISTRATION_TOKEN_BYTES]; /* of this registration; "": none */
    bool no_stream_said;                  /* since it was last there */
    char worker_type[32];
    uint64_t incarnation_on_http; /* of the heartbeat that is under way */

    /* Calls under way; NULL: none. */
    struct control_call *measuring, *asking, *registering, *beating, *unregistering, *looking, *taking_leave;
};

/* Has what the agent wants carried out at the end of the loop's turn. */
void membership_wake(struct membership *membership);
uint64_t membership_now_ms(const struct membership *membership);

/* What is said after a registration is said with its token, by which nobody else is meant; a coordinator that gave
 * none is shown the key. */
const char *membership_credential(const struct membership *membership);

/* Calls the coordinator that is spoken to. NULL: memory ran out. */
struct control_call *membership_call(struct membership *membership, const char *method, const char *path,
                                     const struct buffer *body, const char *with, unsigned timeout_ms,
                                     void (*answered)(void *context, const struct control_answer *answer));
void membership_cancel_call(struct control_call **started);

/* What went wrong with a call, for a log. */
void membership_answer_text(const struct control_answer *answer, char text[MEMBERSHIP_TEXT_BYTES]);

/* --- membership_register.c --- */

void membership_register(struct membership *membership);
void membership_take_assignment(struct membership *membership, const struct heartbeat_names *assigned);
void membership_wait_if_asked(struct membership *membership, const struct control_answer *answer);

/* --- membership_back.c --- */

/* Turns to another coordinator than the one that was spoken to. */
void membership_turn_away(struct membership *membership);
void membership_lose_coordinator(struct membership *membership);

/* A registration was taken: what does that mean for where it was, and where it wants to be? */
void membership_arrive(struct membership *membership, const char *before);

/* Has the coordinator reach this worker itself (config.reach) once it was heard: what is kept to the edge router that
 * took the registration would be lost with that, and be a way round as long as it is there. */
void membership_come_near(struct membership *membership);

void membership_append_unregister_path(struct buffer *path, const char *worker_id);
