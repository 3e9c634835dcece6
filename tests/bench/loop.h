/* The bench's event loop: edge-triggered epoll, one thread, a few dozen lines.
 *
 * Load generators and the upstream server of the relay rows share one loop, so that what
 * the load costs is system calls and not switches between processes. It is not
 * common/loop: what is measured should not be measured with itself.
 *
 * SIGINT and SIGTERM are blocked by loop_open and taken through a descriptor; they make
 * loop_interrupted true, and everything that waits in the bench gives up then and cleans up.
 *
 * Threading: one thread. Ownership: a watch belongs to the caller and stays where it is
 * until loop_unwatch. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/bench/failure.h"

struct watch {
    /* Called with the epoll events that came. May close this watch, and no other one. */
    void (*ready)(struct watch *watch, uint32_t events);
    int descriptor;
};

struct loop {
    int epoll_descriptor;
    int signal_descriptor;
    bool interrupted;
};

bool loop_open(struct loop *loop, struct failure *failure);
void loop_close(struct loop *loop);

/* Watches for input, output and hang-up, edge-triggered. */
bool loop_watch(struct loop *loop, struct watch *watch);
/* Stops watching and closes the descriptor; nothing happens if it is -1. */
void loop_unwatch(struct loop *loop, struct watch *watch);

/* Waits at most that long and handles what came. */
void loop_turn(struct loop *loop, int timeout_ms);

/* Turns the loop for that long, or until it is interrupted. */
void loop_run_ms(struct loop *loop, unsigned duration_ms);

/* Whether somebody asked the bench to stop; looks at the signals that wait. */
bool loop_interrupted(struct loop *loop);
