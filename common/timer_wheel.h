/* Timers as a hierarchical wheel: start, stop and expiry cost the same whatever their
 * number, which is what a lease that is renewed by every heartbeat needs.
 *
 * Scheme 6 of G. Varghese and T. Lauck, "Hashed and Hierarchical Timing Wheels", 1987:
 * five levels of 64 slots; a timer lies in the slot of the highest digit (base 64) in which
 * its expiry differs from now, and moves down as time comes near.
 *
 * Many timers may expire at once; timer_wheel_advance_some calls them a few at a time, so that
 * whoever owns the loop can do other things in between. Those that are due but were not called
 * yet wait in a list of their own.
 *
 * The wheel has no clock: time is what timer_wheel_advance says, in ticks of one
 * millisecond. A timer that is later than the wheel reaches (12 days) waits in the last
 * slot and is looked at again.
 *
 * Ownership: the caller owns each struct timer, usually inside the object that it belongs
 * to, and must stop it before freeing it. Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIMER_WHEEL_LEVELS 5
#define TIMER_WHEEL_SLOTS 64

struct timer_link {
    struct timer_link *next, *previous;
};

/* A timer without a function of its own, for a wheel that has one for all: where there is one for
 * each of a million objects, 16 bytes are worth saving. */
struct bare_timer {
    struct timer_link link; /* first; next is NULL while the timer is stopped */
    uint64_t expires_at_ms;
};

struct timer {
    struct bare_timer bare; /* first */
    void (*expired)(struct timer *timer, void *argument);
    void *argument;
};

struct timer_wheel {
    uint64_t now_ms;
    size_t count;
    uint64_t occupied[TIMER_WHEEL_LEVELS]; /* a bit for each slot that is not empty */
    struct timer_link slots[TIMER_WHEEL_LEVELS][TIMER_WHEEL_SLOTS];
    struct timer_link due; /* expired at now_ms, and not called yet */
    void (*expired)(struct bare_timer *timer, void *argument);
    void *argument; /* for `expired` */
};

/* An all-zero struct timer is a stopped one. The wheel must not be moved in memory. */
void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms);

/* A wheel of bare timers, and no others, all of which call `expired`. */
void timer_wheel_init_bare(struct timer_wheel *wheel, uint64_t now_ms,
                           void (*expired)(struct bare_timer *timer, void *argument), void *argument);
void bare_timer_start(struct timer_wheel *wheel, struct bare_timer *timer, uint64_t expires_at_ms);
void bare_timer_stop(struct timer_wheel *wheel, struct bare_timer *timer);

static inline bool bare_timer_active(const struct bare_timer *timer)
{
    return timer->link.next != NULL;
}

/* Starts a timer, or moves one that runs. An expiry that is not after now comes with the
 * next advance. */
void timer_start(struct timer_wheel *wheel, struct timer *timer, uint64_t expires_at_ms,
                 void (*expired)(struct timer *timer, void *argument), void *argument);

/* Stops a timer; does nothing to one that is stopped. Allowed inside any expiry. */
void timer_stop(struct timer_wheel *wheel, struct timer *timer);

static inline bool timer_active(const struct timer *timer)
{
    return bare_timer_active(&timer->bare);
}

/* Moves time to now_ms and calls each timer that has expired, in the order of the
 * milliseconds. A timer is stopped when it is called and may be started again or freed
 * there. Time never goes back: a smaller now_ms does nothing. Returns how many expired. */
size_t timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms);

/* The same, but calls at most `limit` timers, which is above 0. When more are due the wheel's
 * time stays behind, where the next of them expired, and timer_wheel_next_ms says so: call this
 * again soon. */
size_t timer_wheel_advance_some(struct timer_wheel *wheel, uint64_t now_ms, size_t limit);

/* No timer expires before this time, UINT64_MAX: there is none. A lower bound: sleep until
 * then, advance, and ask again. */
uint64_t timer_wheel_next_ms(const struct timer_wheel *wheel);

/* Checks the wheel's invariants; false says that memory was overwritten or a timer freed
 * while it ran. For tests. */
bool timer_wheel_check(const struct timer_wheel *wheel);
