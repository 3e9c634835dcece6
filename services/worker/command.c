#define _GNU_SOURCE
#include "services/worker/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"

extern char **environ;

/* What the program gets: no input, our pipe as output, errors nowhere, default signals. */
static int spawn(pid_t *pid, const char *const argv[], int output_fd)
{
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0)
        return error;
    posix_spawnattr_t attributes;
    error = posix_spawnattr_init(&attributes);
    if (error != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return error;
    }
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    if ((error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)) == 0 &&
        (error = posix_spawn_file_actions_adddup2(&actions, output_fd, 1)) == 0 &&
        (error = posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)) == 0 &&
        (error = posix_spawnattr_setsigmask(&attributes, &none)) == 0 &&
        (error = posix_spawnattr_setsigdefault(&attributes, &all)) == 0 &&
        (error = posix_spawnattr_setpgroup(&attributes, 0)) == 0 &&
        (error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                           POSIX_SPAWN_SETSIGDEF)) == 0) {
        /* The library's prototype lacks a const that the call keeps. */
        error = posix_spawnp(pid, argv[0], &actions, &attributes, (char *const *)(uintptr_t)argv, environ);
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

bool command_start(struct command *command, const char *const argv[])
{
    int ends[2];
    command->pid = 0;
    command->bytes = 0;
    command->output[0] = '\0';
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    if (fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0 || spawn(&command->pid, argv, ends[1]) != 0) {
        command->pid = 0;
        close(ends[0]);
        close(ends[1]);
        return false;
    }
    close(ends[1]);
    command->output_fd = ends[0];
    return true;
}

enum command_state command_read(struct command *command)
{
    for (;;) {
        size_t room = sizeof command->output - 1 - command->bytes;
        if (room == 0)
            return COMMAND_FAILED;
        ssize_t got = read(command->output_fd, command->output + command->bytes, room);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno == EAGAIN ? COMMAND_RUNNING : COMMAND_FAILED;
        command->bytes += (size_t)got;
        command->output[command->bytes] = '\0';
        if (got == 0)
            return COMMAND_ENDED;
    }
}

void command_end(struct command *command)
{
    if (command->pid == 0)
        return;
    /* A program that has ended is a zombie until waitpid: its id cannot be anybody else's. */
    kill(-command->pid, SIGKILL);
    kill(command->pid, SIGKILL);
    while (waitpid(command->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    close(command->output_fd);
    command->pid = 0;
}

bool command_run(struct command *command, const char *const argv[], unsigned timeout_ms)
{
    if (!command_start(command, argv))
        return false;
    uint64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    enum command_state state;
    while ((state = command_read(command)) == COMMAND_RUNNING) {
        uint64_t now_ms = clock_monotonic_ms();
        if (now_ms >= deadline_ms)
            break;
        struct pollfd ready = {.fd = command->output_fd, .events = POLLIN};
        if (poll(&ready, 1, (int)(deadline_ms - now_ms)) < 0 && errno != EINTR)
            break;
    }
    command_end(command);
    return state == COMMAND_ENDED;
}
