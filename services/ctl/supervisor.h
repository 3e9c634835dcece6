/* Which process to start, to start again, to stop, and when: the part of `musterctl up`
 * that decides. It starts nothing itself and has no clock: the shell around it (up.c) asks
 * for the next action until there is none, does each, and reports what became of it.
 *
 * Order. Each process has a stage. A process is started for the first time when all
 * processes of lower stages have been ready once; they are stopped the other way round,
 * the next lower stage when the higher ones are gone. Later starts wait for nobody: what
 * runs already copes with a neighbour that is away, which is what it is built for.
 *
 * Starting again. A process that ends on its own is started again after a delay that
 * doubles from restart_delay_ms up to restart_delay_limit_ms, and begins at its start once
 * the process has stayed up for stable_ms.
 *
 * Giving up. Before everything has been ready once, somebody is waiting who wants to know
 * what is wrong. So the start as a whole fails when a process that was never ready ends by
 * itself with an exit code (its own refusal: a port that is taken, a file that is broken),
 * dies start_attempts times in a row, or is not ready within start_timeout_ms. Then all is
 * stopped and supervisor_failure says why. Afterwards nothing is given up.
 *
 * Stopping. Every process of a stage is told to terminate; one that is still there after
 * stop_timeout_ms is killed.
 *
 * Threading: none of its own. Times are monotonic milliseconds; time must not go back. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum supervised_state {
    SUPERVISED_WAITING,  /* to be started: for the first time, or again after a delay */
    SUPERVISED_STARTING, /* runs, is not ready */
    SUPERVISED_READY,
    SUPERVISED_STOPPING, /* was told to terminate */
    SUPERVISED_KILLED,   /* was killed, its end is awaited */
    SUPERVISED_GONE,     /* ended, and is not to be started again */
};

/* One process, as supervisor_process shows it. */
struct supervised {
    const char *name;
    unsigned int stage;
    enum supervised_state state;
    bool was_ready;             /* ever */
    unsigned int restarts;      /* how often it was started after the first time */
    unsigned int failed_starts; /* in a row, since it was last ready */
    uint64_t delay_ms;          /* of the next start after an unexpected end */
    uint64_t changed_at_ms;     /* when its state began */
    uint64_t due_at_ms;         /* WAITING: when to start it. STOPPING: when to kill it */
};

struct supervisor_options {
    uint64_t restart_delay_ms;
    uint64_t restart_delay_limit_ms;
    uint64_t stable_ms;
    uint64_t start_timeout_ms;
    uint64_t stop_timeout_ms;
    unsigned int start_attempts;
};

/* 200 ms to 5 s, stable after 10 s; 30 s and 3 attempts to start; 15 s to stop. */
extern const struct supervisor_options supervisor_default_options;

enum supervisor_action {
    SUPERVISOR_NOTHING,   /* ask again at supervisor_wake_up_ms or after an event */
    SUPERVISOR_START,     /* start it; report supervisor_ready, supervisor_ended */
    SUPERVISOR_TERMINATE, /* SIGTERM */
    SUPERVISOR_KILL,      /* SIGKILL */
};

/* How a process ended. */
struct supervisor_end {
    bool exited; /* false: a signal ended it */
    int code;    /* exit code, or the signal's number */
};

struct supervisor;

/* NULL: out of memory. Options are copied. */
struct supervisor *supervisor_create(const struct supervisor_options *options);
void supervisor_destroy(struct supervisor *supervisor);

/* Adds a process before the first action is asked for; its index is the number of those
 * before it. The name must outlive the supervisor. False: out of memory. */
bool supervisor_add(struct supervisor *supervisor, const char *name, unsigned int stage);

const struct supervised *supervisor_process(const struct supervisor *supervisor, size_t index);

/* The next thing to do, to the process *index. The state has changed when this returns: do
 * it, then ask again. */
enum supervisor_action supervisor_next(struct supervisor *supervisor, uint64_t now_ms, size_t *index);

/* When supervisor_next could have something to do without any event; UINT64_MAX: never. */
uint64_t supervisor_wake_up_ms(const struct supervisor *supervisor);

/* Events. A start that failed in the shell (no memory, no such file) is reported as an
 * exit with code 127. */
void supervisor_ready(struct supervisor *supervisor, size_t index, uint64_t now_ms);
void supervisor_ended(struct supervisor *supervisor, size_t index, struct supervisor_end end, uint64_t now_ms);

/* Stops everything; nothing is started any more. Again: kills at once what is left. */
void supervisor_stop(struct supervisor *supervisor, uint64_t now_ms);

/* Whether all processes are ready now. */
bool supervisor_all_ready(const struct supervisor *supervisor);

/* Whether everything has been stopped and is gone. */
bool supervisor_finished(const struct supervisor *supervisor);

/* Why the start was given up, one line; NULL: it was not. */
const char *supervisor_failure(const struct supervisor *supervisor);
