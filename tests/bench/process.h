/* Child processes: the servers that are measured.
 *
 * A child is pinned to one core before it runs, writes its output to a file in the bench's
 * own directory, and is told to stop by the kernel (PR_SET_PDEATHSIG) should the bench die
 * without stopping it. It is stopped by its process id: SIGTERM, and SIGKILL when that has
 * not helped within five seconds.
 *
 * Threading: one thread. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/bench/failure.h"
#include "tests/bench/loop.h"

struct process {
    pid_t pid; /* 0: not running */
    char name[48];
    char log_path[512];   /* what it printed */
    int ready_descriptor; /* read end of the pipe that --ready-fd names; -1 without one */
};

struct process_plan {
    const char *name;
    const char *const *arguments; /* ends with NULL; [0] is a path, or a name to look for in PATH */
    const char *directory;        /* where its log is written */
    unsigned core;
    bool ready_descriptor; /* "--ready-fd 3" is added to the arguments, and 3 is a pipe */
};

/* Starts it; says when the program is not installed. */
bool process_start(struct process *process, const struct process_plan *plan, struct failure *failure);

/* Waits until it has written to its ready descriptor, or, without one, until something
 * accepts connections on `port` of the loopback address. Fails with the last line that the
 * process printed when it ends before, and after 15 seconds. */
bool process_wait_ready(struct process *process, struct loop *loop, uint16_t port, struct failure *failure);

/* Waits until it has ended by itself; fails when it ends otherwise than well, and after two minutes. */
bool process_wait_end(struct process *process, struct loop *loop, struct failure *failure);

void process_stop(struct process *process);

/* User and system time that the process and its children, as far as they run, have used. */
double process_cpu_seconds(pid_t pid);

/* Children of a process that run now; returns how many were stored. */
size_t process_children(pid_t pid, pid_t *children, size_t limit);

/* A TCP port of the loopback address that nobody used a moment ago; 0 if there is none. */
uint16_t process_free_port(void);

/* Pins the calling process to one core. */
bool process_pin(unsigned core);

/* A directory of the bench's own in TMPDIR or /tmp, and its removal with all in it. */
bool process_make_directory(char *path, size_t path_bytes, struct failure *failure);
void process_remove_directory(const char *path);
