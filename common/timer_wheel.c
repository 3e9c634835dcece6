/* Timers as a hierarchical wheel; see timer_wheel.h. */

#include "common/timer_wheel.h"

#define SLOT_BITS 6
#define SLOT_MASK (TIMER_WHEEL_SLOTS - 1)
/* Times further away than these bits can say wait in the slot that comes up last. */
#define REACH_BITS (SLOT_BITS * TIMER_WHEEL_LEVELS)

static void link_init(struct timer_link *link)
{
    link->next = link->previous = link;
}

static bool link_empty(const struct timer_link *link)
{
    return link->next == link;
}

static void link_remove(struct timer_link *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
    link->next = link->previous = NULL;
}

static void link_append(struct timer_link *list, struct timer_link *link)
{
    link->next = list;
    link->previous = list->previous;
    list->previous->next = link;
    list->previous = link;
}

/* Moves all of `from`, which is not empty, to `to`, which is. */
static void link_move_all(struct timer_link *from, struct timer_link *to)
{
    *to = *from;
    to->next->previous = to;
    to->previous->next = to;
    link_init(from);
}

static unsigned digit(uint64_t time_ms, unsigned level)
{
    return (unsigned)(time_ms >> (SLOT_BITS * level)) & SLOT_MASK;
}

/* Where a timer lies that does not expire before now: at the highest digit that differs from
 * now's. All digits above agree, so the slot comes up before the timer expires. */
static void locate(uint64_t now_ms, uint64_t expires_at_ms, unsigned *level, unsigned *slot)
{
    const unsigned top = TIMER_WHEEL_LEVELS - 1;
    uint64_t difference = now_ms ^ expires_at_ms;
    if (difference >> REACH_BITS == 0) {
        *level = difference == 0 ? 0 : (63u - (unsigned)__builtin_clzll(difference)) / SLOT_BITS;
        *slot = digit(expires_at_ms, *level);
        return;
    }
    /* In a later turn of the top level. In the next one its slot is the right one, unless now
     * is in that slot; all that is further away waits in the slot that comes up last. */
    *level = top;
    *slot = digit(expires_at_ms, top);
    if ((expires_at_ms - now_ms) >> REACH_BITS != 0 || *slot == digit(now_ms, top))
        *slot = (digit(now_ms, top) + SLOT_MASK) & SLOT_MASK;
}

static void place(struct timer_wheel *wheel, struct bare_timer *timer, uint64_t no_sooner_than_ms)
{
    uint64_t at = timer->expires_at_ms < no_sooner_than_ms ? no_sooner_than_ms : timer->expires_at_ms;
    unsigned level, slot;
    locate(wheel->now_ms, at, &level, &slot);
    link_append(&wheel->slots[level][slot], &timer->link);
    wheel->occupied[level] |= UINT64_C(1) << slot;
}

/* The timers of an ordinary wheel have a function each; the bare one is their first member. */
static void call_own(struct bare_timer *bare, void *argument)
{
    struct timer *timer = (struct timer *)bare;
    (void)argument;
    timer->expired(timer, timer->argument);
}

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms)
{
    timer_wheel_init_bare(wheel, now_ms, call_own, NULL);
}

void timer_wheel_init_bare(struct timer_wheel *wheel, uint64_t now_ms,
                           void (*expired)(struct bare_timer *timer, void *argument), void *argument)
{
    wheel->expired = expired;
    wheel->argument = argument;
    wheel->now_ms = now_ms;
    wheel->count = 0;
    link_init(&wheel->due);
    for (unsigned level = 0; level < TIMER_WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (unsigned slot = 0; slot < TIMER_WHEEL_SLOTS; slot++)
            link_init(&wheel->slots[level][slot]);
    }
}

void timer_start(struct timer_wheel *wheel, struct timer *timer, uint64_t expires_at_ms,
                 void (*expired)(struct timer *timer, void *argument), void *argument)
{
    timer->expired = expired;
    timer->argument = argument;
    bare_timer_start(wheel, &timer->bare, expires_at_ms);
}

void timer_stop(struct timer_wheel *wheel, struct timer *timer)
{
    bare_timer_stop(wheel, &timer->bare);
}

void bare_timer_start(struct timer_wheel *wheel, struct bare_timer *timer, uint64_t expires_at_ms)
{
    bare_timer_stop(wheel, timer);
    timer->expires_at_ms = expires_at_ms;
    place(wheel, timer, wheel->now_ms + 1);
    wheel->count++;
}

void bare_timer_stop(struct timer_wheel *wheel, struct bare_timer *timer)
{
    if (!bare_timer_active(timer))
        return;
    /* The slot's bit stays set: when its time comes, it is found empty. */
    link_remove(&timer->link);
    wheel->count--;
}

uint64_t timer_wheel_next_ms(const struct timer_wheel *wheel)
{
    uint64_t best = UINT64_MAX;
    if (!link_empty(&wheel->due))
        return wheel->now_ms;
    for (unsigned level = 0; level < TIMER_WHEEL_LEVELS; level++) {
        uint64_t occupied = wheel->occupied[level];
        if (occupied == 0)
            continue;
        unsigned shift = SLOT_BITS * level;
        unsigned here = digit(wheel->now_ms, level);
        /* Slots after `here` come up in this turn of the level, the others in the next. */
        uint64_t ahead = occupied & ~(((UINT64_C(1) << here) << 1) - 1);
        uint64_t turn = (wheel->now_ms >> shift >> SLOT_BITS) + (ahead == 0 ? 1 : 0);
        unsigned slot = (unsigned)__builtin_ctzll(ahead != 0 ? ahead : occupied);
        uint64_t at = ((turn << SLOT_BITS) | slot) << shift;
        if (at < best)
            best = at;
    }
    return best;
}

/* Empties the slot that comes up now at this level into `due`; false: there is nothing. */
static bool take_slot(struct timer_wheel *wheel, unsigned level, struct timer_link *due)
{
    unsigned slot = digit(wheel->now_ms, level);
    wheel->occupied[level] &= ~(UINT64_C(1) << slot);
    if (link_empty(&wheel->slots[level][slot]))
        return false;
    link_move_all(&wheel->slots[level][slot], due);
    return true;
}

/* The link is a timer's first member, so that it leads back to it. */
static struct bare_timer *take_first(struct timer_link *due)
{
    struct bare_timer *timer = (struct bare_timer *)due->next;
    link_remove(&timer->link);
    return timer;
}

/* Moves time to `at`, where the next timers expire or come down a level; they are due then. */
static void move_to(struct timer_wheel *wheel, uint64_t at)
{
    struct timer_link coarse;
    wheel->now_ms = at;
    /* From the top down, so that what leaves a coarse slot can still pass the finer ones. */
    for (unsigned level = TIMER_WHEEL_LEVELS - 1; level > 0; level--) {
        bool comes_up = (at & ((UINT64_C(1) << (SLOT_BITS * level)) - 1)) == 0;
        if (comes_up && take_slot(wheel, level, &coarse))
            while (!link_empty(&coarse))
                place(wheel, take_first(&coarse), at);
    }
    (void)take_slot(wheel, 0, &wheel->due); /* nothing may be due yet: time has moved */
}

size_t timer_wheel_advance_some(struct timer_wheel *wheel, uint64_t now_ms, size_t limit)
{
    size_t expired_count = 0;
    for (;;) {
        while (!link_empty(&wheel->due)) {
            if (expired_count == limit)
                return expired_count;
            struct bare_timer *timer = take_first(&wheel->due);
            wheel->count--;
            expired_count++;
            wheel->expired(timer, wheel->argument);
        }
        uint64_t at = timer_wheel_next_ms(wheel);
        if (at > now_ms)
            break;
        move_to(wheel, at);
    }
    if (now_ms > wheel->now_ms)
        wheel->now_ms = now_ms;
    return expired_count;
}

size_t timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms)
{
    return timer_wheel_advance_some(wheel, now_ms, SIZE_MAX);
}

bool timer_wheel_check(const struct timer_wheel *wheel)
{
    size_t count = 0;
    for (const struct timer_link *link = wheel->due.next; link != &wheel->due; link = link->next)
        if (link == NULL || link->next == NULL || link->next->previous != link || ++count > wheel->count)
            return false;
    for (unsigned level = 0; level < TIMER_WHEEL_LEVELS; level++) {
        for (unsigned slot = 0; slot < TIMER_WHEEL_SLOTS; slot++) {
            const struct timer_link *list = &wheel->slots[level][slot];
            if (!link_empty(list) && (wheel->occupied[level] >> slot & 1) == 0)
                return false;
            for (const struct timer_link *link = list->next; link != list; link = link->next) {
                if (link == NULL || link->next == NULL || link->next->previous != link)
                    return false;
                if (++count > wheel->count)
                    return false;
            }
        }
    }
    return count == wheel->count;
}
