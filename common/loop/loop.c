#include "common/loop/loop.h"

#include "common/clock.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Events fetched by one epoll_wait: enough that its price hardly shows, and that what is
 * gathered over a turn (answers, messages to other threads) comes in good portions. */
#define EVENTS_PER_TURN 64
/* After so many of them, what is urgent is looked for again. What a relay has under way then
 * stays in the processor's cache: at a thousand connections it is a tenth faster with 16 than
 * with 64. */
#define EVENTS_BETWEEN_URGENT 16

struct loop {
    int epoll;
    int urgent_epoll;         /* watched by `epoll`, so that a sleep ends with its events as well */
    size_t urgent_count;      /* watches in it; none: it need not be asked */
    struct loop_watch urgent; /* urgent_epoll in epoll */
    struct loop_watch wakeup; /* an eventfd that posts and stop write to */
    struct timer_wheel timers;
    uint64_t now_ms; /* when the turn began; the wheel is moved there after the events */
    struct loop_hook *hooks, **hooks_tail;
    struct loop_reapable *reaped, **reaped_tail;

    /* Shared with other threads. Posted tasks form a stack, newest first; whoever finds it
     * empty wakes the loop, so that a burst of posts costs one write. */
    _Atomic(struct loop_task *) posted;
    atomic_bool stop;

    struct epoll_event events[EVENTS_PER_TURN];
};

static void wakeup_ready(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    uint64_t count;
    /* An error means that another turn has read it already: nothing is lost, the posted
     * tasks are taken in any case. */
    ssize_t ignored = read(watch->descriptor, &count, sizeof count);
    (void)ignored;
}

/* The turn that follows looks there first. */
static void urgent_ready(struct loop_watch *watch, uint32_t events)
{
    (void)watch;
    (void)events;
}

static bool watch_add(struct loop *loop, struct loop_watch *watch, int descriptor, uint32_t events,
                      void (*ready)(struct loop_watch *watch, uint32_t events))
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    if (epoll_ctl(watch->urgent ? loop->urgent_epoll : loop->epoll, EPOLL_CTL_ADD, descriptor, &event) != 0)
        return false;
    if (watch->urgent)
        loop->urgent_count++;
    watch->ready = ready;
    watch->descriptor = descriptor;
    return true;
}

struct loop *loop_create(void)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL)
        return NULL;
    loop->hooks_tail = &loop->hooks;
    loop->reaped_tail = &loop->reaped;
    loop->wakeup.descriptor = -1;
    loop->now_ms = clock_monotonic_ms();
    timer_wheel_init(&loop->timers, loop->now_ms);
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll < 0)
        goto failed_epoll;
    loop->urgent_epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->urgent_epoll < 0)
        goto failed_urgent;
    if (!watch_add(loop, &loop->urgent, loop->urgent_epoll, EPOLLIN, urgent_ready))
        goto failed_eventfd;
    int wakeup = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (wakeup < 0)
        goto failed_eventfd;
    if (!loop_watch_add(loop, &loop->wakeup, wakeup, wakeup_ready))
        goto failed_watch;
    return loop;

failed_watch:
    close(wakeup);
failed_eventfd:
    close(loop->urgent_epoll);
failed_urgent:
    close(loop->epoll);
failed_epoll:
    free(loop);
    return NULL;
}

static void reap(struct loop *loop)
{
    while (loop->reaped != NULL) {
        struct loop_reapable *object = loop->reaped;
        loop->reaped = object->next;
        if (loop->reaped == NULL)
            loop->reaped_tail = &loop->reaped;
        object->free(object);
    }
}

void loop_destroy(struct loop *loop)
{
    reap(loop);
    close(loop->wakeup.descriptor);
    close(loop->urgent_epoll);
    close(loop->epoll);
    free(loop);
}

static void wake(struct loop *loop)
{
    uint64_t one = 1;
    /* Fails only when the counter is full, and then the loop is awake anyway. */
    ssize_t ignored = write(loop->wakeup.descriptor, &one, sizeof one);
    (void)ignored;
}

void loop_post(struct loop *loop, struct loop_task *task)
{
    struct loop_task *newest = atomic_load_explicit(&loop->posted, memory_order_relaxed);
    do
        task->next = newest;
    while (!atomic_compare_exchange_weak_explicit(&loop->posted, &newest, task, memory_order_release,
                                                  memory_order_relaxed));
    if (newest == NULL)
        wake(loop);
}

void loop_stop(struct loop *loop)
{
    atomic_store_explicit(&loop->stop, true, memory_order_release);
    wake(loop);
}

static void run_posted(struct loop *loop)
{
    if (atomic_load_explicit(&loop->posted, memory_order_relaxed) == NULL)
        return;
    struct loop_task *newest = atomic_exchange_explicit(&loop->posted, NULL, memory_order_acquire);
    struct loop_task *oldest = NULL;
    while (newest != NULL) {
        struct loop_task *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        struct loop_task *task = oldest;
        oldest = task->next; /* the task may be freed when it runs */
        task->run(task);
    }
}

static void run_hooks(struct loop *loop)
{
    struct loop_hook *hook = loop->hooks;
    loop->hooks = NULL;
    loop->hooks_tail = &loop->hooks;
    while (hook != NULL) {
        struct loop_hook *next = hook->next;
        hook->pending = false;
        hook->run(hook);
        hook = next;
    }
}

static int sleep_ms(const struct loop *loop, unsigned timeout_ms)
{
    if (loop->hooks != NULL)
        return 0;
    uint64_t next_ms = timer_wheel_next_ms(&loop->timers);
    uint64_t wait_ms = timeout_ms;
    if (next_ms != UINT64_MAX) {
        uint64_t now_ms = clock_monotonic_ms();
        uint64_t until_next_ms = next_ms > now_ms ? next_ms - now_ms : 0;
        if (until_next_ms < wait_ms)
            wait_ms = until_next_ms;
    }
    return wait_ms > INT_MAX ? INT_MAX : (int)wait_ms;
}

static int fetch(struct loop *loop, int epoll, struct epoll_event *events, int timeout_ms)
{
    int count = epoll_wait(epoll, events, EVENTS_PER_TURN, timeout_ms);
    if (count < 0 && errno != EINTR)
        abort(); /* the epoll descriptor was closed behind our back */
    loop->now_ms = clock_monotonic_ms();
    return count;
}

static void deliver(const struct epoll_event *event)
{
    struct loop_watch *watch = event->data.ptr;
    if (watch->ready != NULL) /* NULL: removed by an earlier callback of this turn */
        watch->ready(watch, event->events);
}

/* Returns whether there was anything urgent. */
static bool deliver_urgent(struct loop *loop)
{
    struct epoll_event events[EVENTS_PER_TURN];
    int count = loop->urgent_count > 0 ? fetch(loop, loop->urgent_epoll, events, 0) : 0;
    for (int i = 0; i < count; i++)
        deliver(&events[i]);
    return count > 0;
}

void loop_turn(struct loop *loop, unsigned timeout_ms)
{
    bool urgent = deliver_urgent(loop);
    int count = fetch(loop, loop->epoll, loop->events, urgent ? 0 : sleep_ms(loop, timeout_ms));
    for (int i = 0; i < count; i++) {
        if (i > 0 && i % EVENTS_BETWEEN_URGENT == 0)
            deliver_urgent(loop);
        deliver(&loop->events[i]);
    }
    run_posted(loop);
    timer_wheel_advance(&loop->timers, loop->now_ms);
    run_hooks(loop);
    reap(loop);
}

void loop_run(struct loop *loop)
{
    while (!atomic_exchange_explicit(&loop->stop, false, memory_order_acquire))
        loop_turn(loop, INT_MAX);
}

uint64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_ms;
}

uint64_t loop_clock_us(void)
{
    return clock_monotonic_us();
}

bool loop_watch_add(struct loop *loop, struct loop_watch *watch, int descriptor,
                    void (*ready)(struct loop_watch *watch, uint32_t events))
{
    watch->urgent = false;
    return watch_add(loop, watch, descriptor, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, ready);
}

bool loop_watch_add_urgent(struct loop *loop, struct loop_watch *watch, int descriptor,
                           void (*ready)(struct loop_watch *watch, uint32_t events))
{
    watch->urgent = true;
    return watch_add(loop, watch, descriptor, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, ready);
}

bool loop_watch_add_listener(struct loop *loop, struct loop_watch *watch, int descriptor,
                             void (*ready)(struct loop_watch *watch, uint32_t events))
{
    watch->urgent = false;
    return watch_add(loop, watch, descriptor, EPOLLIN | EPOLLEXCLUSIVE, ready);
}

void loop_watch_remove(struct loop *loop, struct loop_watch *watch)
{
    if (watch->descriptor < 0)
        return;
    /* Cannot fail: the descriptor was added and is still open. */
    (void)epoll_ctl(watch->urgent ? loop->urgent_epoll : loop->epoll, EPOLL_CTL_DEL, watch->descriptor, NULL);
    if (watch->urgent)
        loop->urgent_count--;
    watch->ready = NULL;
    watch->descriptor = -1;
}

void loop_timer_start(struct loop *loop, struct timer *timer, uint64_t delay_ms,
                      void (*expired)(struct timer *timer, void *argument), void *argument)
{
    timer_start(&loop->timers, timer, loop->now_ms + delay_ms, expired, argument);
}

void loop_timer_stop(struct loop *loop, struct timer *timer)
{
    timer_stop(&loop->timers, timer);
}

void loop_at_end_of_turn(struct loop *loop, struct loop_hook *hook)
{
    if (hook->pending)
        return;
    hook->pending = true;
    hook->next = NULL;
    *loop->hooks_tail = hook;
    loop->hooks_tail = &hook->next;
}

void loop_reap(struct loop *loop, struct loop_reapable *object, void (*free)(struct loop_reapable *object))
{
    object->free = free;
    object->next = NULL;
    *loop->reaped_tail = object;
    loop->reaped_tail = &object->next;
}
