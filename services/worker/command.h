/* A short-lived program whose output we want: nvidia-smi.
 *
 * Two ways to run one: `command_run` waits for it, with a limit, before there is a loop;
 * `command_start` leaves the waiting to the caller, who reads when the descriptor is
 * readable. Either way the program runs in a process group of its own with no input and its
 * errors thrown away, and is killed when it takes too long or says too much: a driver in
 * trouble makes nvidia-smi hang.
 *
 * Exit codes are not looked at: what matters is whether the output makes sense.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define COMMAND_OUTPUT_BYTES 4096

struct command {
    pid_t pid;     /* 0: nothing runs */
    int output_fd; /* non-blocking, close-on-exec */
    char output[COMMAND_OUTPUT_BYTES];
    size_t bytes;
};

enum command_state {
    COMMAND_RUNNING,
    COMMAND_ENDED,  /* output holds all of it, zero-terminated */
    COMMAND_FAILED, /* could not be read, or said more than COMMAND_OUTPUT_BYTES */
};

/* Looks argv[0] up on PATH and runs it; false: it cannot be started, which includes that it
 * does not exist. On success end with command_end. */
bool command_start(struct command *command, const char *const argv[]);

/* Reads what there is. Call when output_fd is readable. */
enum command_state command_read(struct command *command);

/* Kills the program's group if it still runs, reaps it, closes the descriptor. */
void command_end(struct command *command);

/* All of that in one, waiting up to timeout_ms; true: it ended and output holds what it said. */
bool command_run(struct command *command, const char *const argv[], unsigned timeout_ms);
