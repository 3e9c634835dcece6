/* The loop: polls the completion queue, runs timers, posts and hooks; see loop.h. */

#include "common/rpc/loop.h"

#include <stdlib.h>
#include <string.h>

#include <grpc/support/log.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/rpc/internal.h"

/* A turn ends after so many events even when more are ready, so that timers and hooks get
 * their time. */
#define TURN_EVENTS 256

/* What gRPC core has to say is detail: every failure that matters comes as a status, too. */
static void log_core(gpr_log_func_args *line)
{
    log_debug("gRPC core", LOG_TEXT("text", line->message));
}

static void woken(struct rpc_tag *tag, bool success)
{
    struct rpc_loop *loop = RPC_CONTAINER(tag, struct rpc_loop, wake_tag);
    (void)success; /* the batch is empty; being completed is all it is for */
    loop->woken = true;
}

struct rpc_loop *rpc_loop_create(void)
{
    struct rpc_loop *loop = rpc_allocate_zeroed(sizeof(*loop));
    gpr_set_log_function(log_core);
    grpc_init();
    loop->queue = grpc_completion_queue_create_for_next(NULL);
    loop->now_ms = clock_monotonic_ms();
    timer_wheel_init(&loop->wheel, loop->now_ms);
    loop->hooks_end = &loop->hooks;
    loop->touched_end = &loop->touched;
    random_seed_from_kernel(&loop->random);
    pthread_mutex_init(&loop->mutex, NULL);
    loop->wake_tag.function = woken;
    loop->wake_channel = grpc_lame_client_channel_create("wake-up", GRPC_STATUS_UNAVAILABLE, "");
    loop->wake_call =
        grpc_channel_create_call(loop->wake_channel, NULL, 0, loop->queue, grpc_slice_from_static_string("/"), NULL,
                                 gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    return loop;
}

void rpc_loop_destroy(struct rpc_loop *loop)
{
    /* Calls of destroyed channels are still coming to their ends. */
    rpc_loop_settle(loop);
    while (loop->outstanding > 0)
        rpc_loop_turn(loop, UINT64_MAX);
    pthread_mutex_lock(&loop->mutex);
    bool waking = loop->waking && !loop->woken;
    pthread_mutex_unlock(&loop->mutex);
    if (waking) {
        grpc_event event = grpc_completion_queue_next(loop->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        (void)event; /* nothing else is outstanding: it is the wake-up */
    }
    grpc_call_unref(loop->wake_call);
    grpc_channel_destroy(loop->wake_channel);
    grpc_completion_queue_shutdown(loop->queue);
    while (grpc_completion_queue_next(loop->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
           GRPC_QUEUE_SHUTDOWN)
        continue;
    grpc_completion_queue_destroy(loop->queue);
    grpc_shutdown_blocking();
    pthread_mutex_destroy(&loop->mutex);
    free(loop->posts.items);
    free(loop->running_posts.items);
    rpc_arena_free(&loop->arena);
    free(loop);
}

void rpc_loop_settle(struct rpc_loop *loop)
{
    while (loop->touched != NULL)
        rpc_call_settle(loop->touched);
}

static void run_posts(struct rpc_loop *loop)
{
    /* Swaps the lists, so that what is posted meanwhile waits for the next turn. */
    struct rpc_posts *posts = &loop->running_posts;
    pthread_mutex_lock(&loop->mutex);
    struct rpc_posts posted = loop->posts;
    loop->posts = *posts;
    loop->waking = false;
    pthread_mutex_unlock(&loop->mutex);
    *posts = posted;
    loop->woken = false;
    for (size_t i = 0; i < posts->count; i++) {
        struct rpc_post post = posts->items[i];
        post.function(post.argument);
        rpc_loop_settle(loop);
    }
    posts->count = 0;
}

static void run_hooks(struct rpc_loop *loop)
{
    /* A hook that asks again is for the next turn: only those up to here. */
    struct rpc_turn_hook *hooks = loop->hooks;
    if (hooks == NULL)
        return;
    struct rpc_turn_hook end = {.next = NULL, .link = loop->hooks_end};
    *loop->hooks_end = &end;
    loop->hooks_end = &end.next;
    while (loop->hooks != &end) {
        struct rpc_turn_hook *hook = loop->hooks;
        rpc_loop_cancel_end_of_turn(loop, hook);
        hook->function(hook->argument);
        rpc_loop_settle(loop);
    }
    rpc_loop_cancel_end_of_turn(loop, &end);
}

/* When the queue should stop waiting. Clock ticks of the wheel are those of GPR_CLOCK_MONOTONIC. */
static gpr_timespec wait_until(const struct rpc_loop *loop, uint64_t wait_ms)
{
    if (wait_ms == 0 || loop->hooks != NULL)
        return gpr_inf_past(GPR_CLOCK_MONOTONIC);
    uint64_t until_ms = timer_wheel_next_ms(&loop->wheel);
    if (wait_ms < UINT64_MAX) {
        uint64_t now_ms = clock_monotonic_ms();
        if (wait_ms < UINT64_MAX - now_ms && now_ms + wait_ms < until_ms)
            until_ms = now_ms + wait_ms;
    }
    if (until_ms == UINT64_MAX)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    gpr_timespec until = {
        .tv_sec = (int64_t)(until_ms / 1000),
        .tv_nsec = (int32_t)(until_ms % 1000) * 1000000,
        .clock_type = GPR_CLOCK_MONOTONIC,
    };
    return until;
}

void rpc_loop_turn(struct rpc_loop *loop, uint64_t wait_ms)
{
    rpc_loop_settle(loop);
    grpc_event event = grpc_completion_queue_next(loop->queue, wait_until(loop, wait_ms), NULL);
    loop->now_ms = clock_monotonic_ms();
    for (unsigned events = 1; event.type == GRPC_OP_COMPLETE; events++) {
        struct rpc_tag *tag = event.tag;
        tag->function(tag, event.success != 0);
        rpc_loop_settle(loop);
        /* Looking for more costs a system call: only when somebody gathers. */
        if (events == TURN_EVENTS || loop->hooks == NULL)
            break;
        event = grpc_completion_queue_next(loop->queue, gpr_inf_past(GPR_CLOCK_MONOTONIC), NULL);
    }
    if (timer_wheel_advance(&loop->wheel, loop->now_ms) > 0)
        rpc_loop_settle(loop);
    if (loop->woken)
        run_posts(loop);
    run_hooks(loop);
}

void rpc_loop_run(struct rpc_loop *loop)
{
    while (!atomic_load_explicit(&loop->stopping, memory_order_relaxed))
        rpc_loop_turn(loop, UINT64_MAX);
    atomic_store(&loop->stopping, false);
}

static void do_nothing(void *argument)
{
    (void)argument;
}

void rpc_loop_stop(struct rpc_loop *loop)
{
    atomic_store(&loop->stopping, true);
    rpc_loop_post(loop, do_nothing, NULL);
}

void rpc_loop_post(struct rpc_loop *loop, void (*function)(void *argument), void *argument)
{
    pthread_mutex_lock(&loop->mutex);
    struct rpc_posts *posts = &loop->posts;
    if (posts->count == posts->capacity) {
        posts->capacity = posts->capacity == 0 ? 16 : 2 * posts->capacity;
        posts->items = rpc_reallocate(posts->items, posts->capacity * sizeof(posts->items[0]));
    }
    posts->items[posts->count++] = (struct rpc_post){function, argument};
    if (!loop->waking) {
        /* Under the lock, so that the loop cannot be destroyed between. */
        loop->waking = true;
        grpc_call_error error = grpc_call_start_batch(loop->wake_call, NULL, 0, &loop->wake_tag, NULL);
        if (error != GRPC_CALL_OK)
            abort(); /* an empty batch is always legal */
    }
    pthread_mutex_unlock(&loop->mutex);
}

/* They keep their places, since the loop may be in the midst of them. */
static void cancel_posts(struct rpc_posts *posts, const void *argument)
{
    for (size_t i = 0; i < posts->count; i++) {
        if (posts->items[i].argument == argument)
            posts->items[i] = (struct rpc_post){do_nothing, NULL};
    }
}

void rpc_loop_cancel_posts(struct rpc_loop *loop, const void *argument)
{
    cancel_posts(&loop->running_posts, argument);
    pthread_mutex_lock(&loop->mutex);
    cancel_posts(&loop->posts, argument);
    pthread_mutex_unlock(&loop->mutex);
}

uint64_t rpc_loop_now_ms(const struct rpc_loop *loop)
{
    return loop->now_ms;
}

void rpc_loop_timer_start(struct rpc_loop *loop, struct timer *timer, uint64_t delay_ms,
                          void (*expired)(struct timer *timer, void *argument), void *argument)
{
    /* Not loop->now_ms, which may be old when the loop has not run for a while. */
    uint64_t now_ms = clock_monotonic_ms();
    timer_start(&loop->wheel, timer, delay_ms < UINT64_MAX - now_ms ? now_ms + delay_ms : UINT64_MAX, expired,
                argument);
}

void rpc_loop_timer_stop(struct rpc_loop *loop, struct timer *timer)
{
    timer_stop(&loop->wheel, timer);
}

void rpc_loop_at_end_of_turn(struct rpc_loop *loop, struct rpc_turn_hook *hook)
{
    if (hook->link != NULL)
        return;
    hook->next = NULL;
    hook->link = loop->hooks_end;
    *loop->hooks_end = hook;
    loop->hooks_end = &hook->next;
}

void rpc_loop_cancel_end_of_turn(struct rpc_loop *loop, struct rpc_turn_hook *hook)
{
    if (hook->link == NULL)
        return;
    *hook->link = hook->next;
    if (hook->next != NULL)
        hook->next->link = hook->link;
    else
        loop->hooks_end = hook->link;
    hook->link = NULL;
}
