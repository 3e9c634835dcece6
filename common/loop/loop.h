/* An event loop: one thread, epoll, edge triggered.
 *
 * One turn of the loop: sleep until a descriptor is ready, a timer is due or another
 * thread posts; call the watchers of ready descriptors, then tasks that were posted, then
 * timers that are due, then the hooks of the end of a turn, and at last free what was
 * given to loop_reap. A callback may therefore remove any watch and reap any object, its
 * own included: the memory stays valid until the turn is over.
 *
 * Edge triggered means: a watch is registered once, for reading and writing together, and
 * is told of changes only. Its owner reads until the socket is drained (a read that
 * returned less than was asked for says so) and writes until the kernel takes no more;
 * there is no call to change interest.
 *
 * Threading: a loop belongs to the thread that runs it. Only loop_post and loop_stop may
 * be called from other threads. Before loop_run, the thread that created it may use it.
 *
 * Ownership: the caller owns every struct that is handed in (watch, timer, task, hook,
 * reaped object); they are linked into the loop, never copied. */

#pragma once

#include "common/timer_wheel.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;

/* NULL, with errno set, when the kernel or memory refuses. */
struct loop *loop_create(void);

/* After loop_run returned. Frees what still waits to be reaped; tasks posted and not run
 * stay with their owners. */
void loop_destroy(struct loop *loop);

/* Runs turns until loop_stop. */
void loop_run(struct loop *loop);

/* One turn that sleeps no longer than timeout_ms; for tests and for draining. */
void loop_turn(struct loop *loop, unsigned timeout_ms);

/* Makes loop_run return at the end of its turn. Any thread; also from a callback. */
void loop_stop(struct loop *loop);

/* Monotonic milliseconds, read once when the turn began. */
uint64_t loop_now_ms(const struct loop *loop);

/* Monotonic microseconds, read now: for measuring. */
uint64_t loop_clock_us(void);

/* --- Descriptors ---------------------------------------------------------------------- */

/* `ready` receives EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR as they changed. */
struct loop_watch {
    void (*ready)(struct loop_watch *watch, uint32_t events);
    int descriptor; /* -1: not watched */
    bool urgent;    /* the loop's */
};

/* An all-zero watch is not ready for loop_watch_remove; this one is. */
#define LOOP_WATCH_INIT                                                                                                \
    {                                                                                                                  \
        NULL, -1, false                                                                                                \
    }

/* Watches for everything, edge triggered. The descriptor is non-blocking and stays the
 * caller's. False, with errno, when the kernel refuses. */
bool loop_watch_add(struct loop *loop, struct loop_watch *watch, int descriptor,
                    void (*ready)(struct loop_watch *watch, uint32_t events));

/* The same, and in each turn before those of loop_watch_add: for what finishes work that is
 * under way, such as an upstream's answer, while the others begin more. A relay that is asked
 * by a thousand clients at once so has a few dozen requests under way instead of nearly all,
 * and goes through them with the same few connections and the same memory. */
bool loop_watch_add_urgent(struct loop *loop, struct loop_watch *watch, int descriptor,
                           void (*ready)(struct loop_watch *watch, uint32_t events));

/* Watches a listening socket for readers only, level triggered; of several loops that
 * watch the same socket, the kernel wakes one (EPOLLEXCLUSIVE). */
bool loop_watch_add_listener(struct loop *loop, struct loop_watch *watch, int descriptor,
                             void (*ready)(struct loop_watch *watch, uint32_t events));

/* No event is delivered after this, not even one that the turn had already fetched. Call
 * it before closing the descriptor. Does nothing to a watch that is not watched. */
void loop_watch_remove(struct loop *loop, struct loop_watch *watch);

/* --- Timers --------------------------------------------------------------------------- */

/* Calls expired(timer, argument) once, delay_ms after the turn began (loop_now_ms). Moves a timer that
 * runs. */
void loop_timer_start(struct loop *loop, struct timer *timer, uint64_t delay_ms,
                      void (*expired)(struct timer *timer, void *argument), void *argument);

/* Stops a timer; does nothing to one that is stopped or all zero. */
void loop_timer_stop(struct loop *loop, struct timer *timer);

/* --- Work from other threads ------------------------------------------------------------ */

struct loop_task {
    void (*run)(struct loop_task *task);
    struct loop_task *next; /* the loop's */
};

/* Runs task->run(task) on the loop's thread, in the order of posting. Any thread. The task
 * must stay valid until it runs, and may be posted again or freed then. Many posts wake
 * the loop once. */
void loop_post(struct loop *loop, struct loop_task *task);

/* --- End of a turn ---------------------------------------------------------------------- */

struct loop_hook {
    void (*run)(struct loop_hook *hook);
    struct loop_hook *next; /* the loop's */
    bool pending;           /* the loop's; start with false */
};

/* Calls hook->run(hook) once at the end of this turn: for work that is gathered over a
 * turn. Does nothing when the hook is pending already. */
void loop_at_end_of_turn(struct loop *loop, struct loop_hook *hook);

/* First member of, or anywhere in, an object to be freed later. */
struct loop_reapable {
    void (*free)(struct loop_reapable *object);
    struct loop_reapable *next; /* the loop's */
};

/* Calls object->free(object) when the turn is over and nothing of it is on the stack; in the
 * order of these calls, so that what others refer to can be reaped after them. */
void loop_reap(struct loop *loop, struct loop_reapable *object, void (*free)(struct loop_reapable *object));
