#include "tests/bench/loop.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/clock.h"

enum { EVENTS_IN_A_TURN = 512 };

bool loop_open(struct loop *loop, struct failure *failure)
{
    sigset_t stops;
    sigemptyset(&stops);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGHUP);
    *loop = (struct loop){.epoll_descriptor = -1, .signal_descriptor = -1};
    if (sigprocmask(SIG_BLOCK, &stops, NULL) == 0)
        loop->signal_descriptor = signalfd(-1, &stops, SFD_NONBLOCK | SFD_CLOEXEC);
    loop->epoll_descriptor = epoll_create1(EPOLL_CLOEXEC);
    if (loop->signal_descriptor < 0 || loop->epoll_descriptor < 0) {
        fail(failure, "cannot make an event loop: %s", strerror(errno));
        loop_close(loop);
        return false;
    }
    return true;
}

void loop_close(struct loop *loop)
{
    if (loop->epoll_descriptor >= 0)
        close(loop->epoll_descriptor);
    if (loop->signal_descriptor >= 0)
        close(loop->signal_descriptor);
    loop->epoll_descriptor = loop->signal_descriptor = -1;
}

bool loop_watch(struct loop *loop, struct watch *watch)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = watch};
    return epoll_ctl(loop->epoll_descriptor, EPOLL_CTL_ADD, watch->descriptor, &event) == 0;
}

void loop_unwatch(struct loop *loop, struct watch *watch)
{
    (void)loop; /* closing the only copy of a descriptor takes it out of the epoll set */
    if (watch->descriptor >= 0)
        close(watch->descriptor);
    watch->descriptor = -1;
}

void loop_turn(struct loop *loop, int timeout_ms)
{
    struct epoll_event events[EVENTS_IN_A_TURN];
    int count = epoll_wait(loop->epoll_descriptor, events, EVENTS_IN_A_TURN, timeout_ms);
    for (int i = 0; i < count; i++) {
        struct watch *watch = events[i].data.ptr;
        watch->ready(watch, events[i].events);
    }
}

void loop_run_ms(struct loop *loop, unsigned duration_ms)
{
    uint64_t end_ms = clock_monotonic_ms() + duration_ms;
    for (uint64_t now_ms = clock_monotonic_ms(); now_ms < end_ms && !loop_interrupted(loop);
         now_ms = clock_monotonic_ms())
        loop_turn(loop, end_ms - now_ms < 20 ? (int)(end_ms - now_ms) : 20);
}

bool loop_interrupted(struct loop *loop)
{
    struct signalfd_siginfo signal;
    if (!loop->interrupted && read(loop->signal_descriptor, &signal, sizeof signal) == (ssize_t)sizeof signal)
        loop->interrupted = true;
    return loop->interrupted;
}
