/* A process started by this one.
 *
 * The child has a process group of its own, so that Ctrl-C in a terminal reaches only its
 * parent, who stops the children in order; is killed by the kernel when its parent dies;
 * reads nothing; and writes both its outputs to `log`. Its descriptor CHILD_READY_FD is a
 * pipe on which it says that it is ready (the --ready-fd of every process).
 *
 * Threading: one thread; it must live as long as the children, since their parent in the
 * kernel's eyes is the thread that forked. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define CHILD_READY_FD 3

struct child {
    pid_t pid;    /* 0: not running */
    int ready_fd; /* our end of the pipe, not blocking; -1: closed */
};

#define CHILD_NONE                                                                                                     \
    {                                                                                                                  \
        0, -1                                                                                                          \
    }

/* Starts argv[0], a path. `log` is a descriptor that stays the caller's. False: errno says
 * why. A program that cannot be executed ends with exit code 127, after a line to `log`. */
bool child_start(struct child *child, char *const *argv, int log);

/* Reads the pipe. True once a whole line has come; the pipe is closed then, as it is when
 * the child closed its end without a line. */
bool child_is_ready(struct child *child);

/* Closes our end of the pipe and forgets the process, which must have been waited for. */
void child_forget(struct child *child);
