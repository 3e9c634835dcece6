/* The loop: one thread that owns the state of a process.
 *
 * Calls, timers and posts from other threads are handled one after the other by whichever
 * thread runs the loop, so that what they touch needs no locks. A callback must not block:
 * while it runs nothing else does. What blocks belongs on a helper thread that posts its
 * result back.
 *
 * A turn is: wait for events, handle those that are ready (a bounded number), run the timers
 * that have expired and the posts that have come in, then the hooks that asked for the end
 * of this turn. Work that is cheaper together (one disk transaction for many requests, one
 * message for many changes) is gathered during a turn and done in such a hook.
 *
 * Threading: a loop belongs to the thread that runs it, before that to the one that created
 * it. Every function of common/rpc is called on that thread, except rpc_loop_post and
 * rpc_loop_stop, which any thread may call. A program may have several loops.
 *
 * Memory: like gRPC core beneath it, common/rpc aborts the process when memory runs out for
 * its own small objects; creating something therefore does not fail for that reason.
 *
 * Never fork after the first loop has been created, except to exec at once. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/timer_wheel.h"

struct rpc_loop;

struct rpc_loop *rpc_loop_create(void);

/* Frees the loop; servers and channels on it must have been destroyed. Waits until gRPC
 * core has let go of everything of this loop; what was posted and never ran is dropped. */
void rpc_loop_destroy(struct rpc_loop *loop);

/* Handles events until rpc_loop_stop. May be run again after that. */
void rpc_loop_run(struct rpc_loop *loop);

/* One turn that waits at most that long for its first event; for tests and start-up. */
void rpc_loop_turn(struct rpc_loop *loop, uint64_t wait_ms);

/* Makes rpc_loop_run return after the turn that it is in (or at once, if it is not
 * running yet). Any thread. */
void rpc_loop_stop(struct rpc_loop *loop);

/* Has the loop's thread call function(argument), once, later, in the order of the posts.
 * Any thread, the loop's own included; not from a signal handler. Cheap: many posts cause
 * one wake-up. */
void rpc_loop_post(struct rpc_loop *loop, void (*function)(void *argument), void *argument);

/* Forgets what was posted with this argument and has not run: for the owner of a helper thread that
 * has ended, before it frees what the thread's posts point to. The loop's thread. */
void rpc_loop_cancel_posts(struct rpc_loop *loop, const void *argument);

/* Monotonic time in milliseconds, read once a turn. */
uint64_t rpc_loop_now_ms(const struct rpc_loop *loop);

/* timer_start with a delay from now. The timer is the caller's; stop it before freeing it. */
void rpc_loop_timer_start(struct rpc_loop *loop, struct timer *timer, uint64_t delay_ms,
                          void (*expired)(struct timer *timer, void *argument), void *argument);
void rpc_loop_timer_stop(struct rpc_loop *loop, struct timer *timer);

/* A wish to be called at the end of a turn. The caller owns it, and cancels it before
 * freeing it; all zeroes but function and argument at first. */
struct rpc_turn_hook {
    void (*function)(void *argument);
    void *argument;
    struct rpc_turn_hook *next, **link; /* the loop's; link is NULL while it is not asked for */
};

/* Calls the hook once at the end of the current turn; asked for inside a hook, or outside of
 * a turn, at the end of the next one, which then does not wait. Asking again changes
 * nothing. */
void rpc_loop_at_end_of_turn(struct rpc_loop *loop, struct rpc_turn_hook *hook);
void rpc_loop_cancel_end_of_turn(struct rpc_loop *loop, struct rpc_turn_hook *hook);
