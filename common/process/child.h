/* A program that a process runs: started by the shell, in a process group of its own, watched,
 * started again when it ends, stopped with the process that runs it. A server is given a port
 * that is free.
 *
 *     STARTING  it runs, and its port does not answer yet
 *     RUNNING   its port accepted a connection
 *     FAILED    it ended, or could not be started; it is tried again with back-off, which
 *               begins anew once it has run for 10 s
 *     STOPPED   child_stop
 *
 * "{port}" in the command stands for the port, at 127.0.0.1; the environment has it as
 * PORT. A new port is picked at each start. "{url}" stands for a URL that the owner knows, as it is at
 * that start; for nothing if it has a character that means something to a shell. What the program writes goes to our
 * standard error. Should we be killed, the whole group is.
 *
 * Threading: the loop's thread. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/loop/loop.h"
#include "common/random.h"

#define CHILD_LINE_BYTES_MAX 4095

struct child;

enum child_state { CHILD_STARTING, CHILD_RUNNING, CHILD_FAILED, CHILD_STOPPED };

struct child_config {
    struct loop *loop;
    struct random *random;
    const char *name;    /* for logs; outlives the child */
    const char *command; /* the same */
    const char *url;     /* what {url} stands for; it may change, and outlives the child; NULL: {url} is left alone */

    /* NULL, or for a program that is no server: no port is picked, it is RUNNING from its start, and what it writes
     * comes here, a line at a time, cut at CHILD_LINE_BYTES_MAX; it may be given one more "NAME=value" (or NULL) in
     * its environment. */
    void (*said)(void *context, const char *line);
    const char *variable;
    uint64_t longest_wait_ms; /* of the back-off; 0: 30 s */

    /* The state is not what it was; port is where the program is, or will be. Not called
     * from inside child_create or child_stop. */
    void (*changed)(void *context, enum child_state state, uint16_t port);
    void *context;
};

/* Begins with the loop's next turn. NULL when memory runs out. */
struct child *child_create(const struct child_config *config);

/* SIGTERM to its group, SIGKILL to what is left after grace_ms. When it is gone `changed`
 * is called with STOPPED. */
void child_stop(struct child *child, uint64_t grace_ms);

/* Kills it, and starts it again with back-off as if it had ended by itself. */
void child_restart(struct child *child);

/* Whether child_stop was called. */
bool child_is_stopping(const struct child *child);

/* Kills what runs. Not from `changed`. */
void child_destroy(struct child *child);
