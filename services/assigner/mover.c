/* See mover.h. */

#include "services/assigner/mover.h"

#include "common/log.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY_MS 100
#define CALL_TIMEOUT_MS 5000

struct mover {
    struct rpc_loop *loop;
    struct rpc_channel *registry;
    struct assigner *assigner;
    struct timer timer;
    struct rpc_call *call; /* one at a time; NULL: none is under way */
    char *worker_id;       /* whom it is about */
    bool stopped;          /* the last answer frees it */
};

static void look(struct timer *timer, void *argument);

static void look_again(struct mover *mover, uint64_t delay_ms)
{
    rpc_loop_timer_start(mover->loop, &mover->timer, delay_ms, look, mover);
}

static void moved(struct rpc_call *call, enum rpc_status status, const char *text, const void *response, void *argument)
{
    struct mover *mover = argument;
    (void)call;
    (void)response;
    mover->call = NULL;
    if (mover->stopped) {
        free(mover->worker_id);
        free(mover);
        return;
    }
    if (status != RPC_OK) {
        log_warning("the registry did not take an assignment", LOG_TEXT("worker_id", mover->worker_id),
                    LOG_TEXT("status", rpc_status_name(status)), LOG_TEXT("text", text));
        assigner_move_failed(mover->assigner, mover->worker_id);
    }
    free(mover->worker_id);
    mover->worker_id = NULL;
    look_again(mover, status == RPC_OK ? 0 : LOOK_EVERY_MS);
}

static const char *what_happens(const struct assigner_move *move)
{
    switch (move->reason) {
    case ASSIGNER_MOVE_OVERLOADED:
        return "a service is overloaded; a worker of another one takes it";
    case ASSIGNER_MOVE_DROP:
        return "the new service runs on the worker; it drops the one that it takes the place of";
    case ASSIGNER_MOVE_TOLD:
        return "the catalog tells a worker to run a service";
    case ASSIGNER_MOVE_BARRED:
        return "the catalog keeps a service from a worker, and others run it; it drops it";
    case ASSIGNER_MOVE_GONE:
        return "the catalog has a service no more; the worker drops it";
    case ASSIGNER_MOVE_BOTH:
        return "the new service runs on the worker, and nobody else runs the old one; it keeps both";
    case ASSIGNER_MOVE_UNDO:
        return "the new service did not come to run on the worker; it is taken back";
    default:
        return move->swap_to == NULL ? "nobody runs a service; a worker takes it"
                                     : "nobody runs a service; a worker takes it in the place of another one";
    }
}

static void look(struct timer *timer, void *argument)
{
    struct mover *mover = argument;
    (void)timer;
    const struct assigner_move *move = assigner_next_move(mover->assigner, rpc_loop_now_ms(mover->loop));
    if (move == NULL) {
        look_again(mover, LOOK_EVERY_MS);
        return;
    }
    log_info(what_happens(move), LOG_TEXT("worker_id", move->worker_id), LOG_TEXT("service", move->service));
    mover->worker_id = strdup(move->worker_id);
    if (mover->worker_id == NULL)
        abort();
    Muster__V1__SetAssignmentRequest request = MUSTER__V1__SET_ASSIGNMENT_REQUEST__INIT;
    request.worker_id = move->worker_id;
    request.incarnation = move->incarnation;
    request.assigned_services = move->assigned;
    request.n_assigned_services = move->assigned_count;
    Muster__V1__ServiceSwap swap = MUSTER__V1__SERVICE_SWAP__INIT;
    if (move->swap_to != NULL) {
        swap.from = (char *)move->swap_from; /* only read */
        swap.to = (char *)move->swap_to;
        request.swap = &swap;
    }
    mover->call =
        rpc_channel_call(mover->registry, &muster__v1__registry_service__descriptor, "SetAssignment", &request.base,
                         &(struct rpc_call_options){.timeout_ms = CALL_TIMEOUT_MS}, moved, mover);
}

struct mover *mover_start(struct rpc_loop *loop, struct rpc_channel *registry, struct assigner *assigner)
{
    struct mover *mover = calloc(1, sizeof(*mover));
    if (mover == NULL)
        abort();
    mover->loop = loop;
    mover->registry = registry;
    mover->assigner = assigner;
    look_again(mover, LOOK_EVERY_MS);
    return mover;
}

void mover_stop(struct mover *mover)
{
    if (mover == NULL)
        return;
    rpc_loop_timer_stop(mover->loop, &mover->timer);
    mover->stopped = true;
    if (mover->call != NULL) {
        rpc_call_cancel(mover->call);
        return;
    }
    free(mover->worker_id);
    free(mover);
}
