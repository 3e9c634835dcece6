/* A process started by this one; see child.h. */

#define _GNU_SOURCE

#include "services/ctl/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* In the new process, between fork and exec: only what is safe in a signal handler. */
__attribute__((noreturn)) static void become(char *const *argv, int log, int ready_fd, pid_t parent)
{
    sigset_t none;
    (void)sigemptyset(&none);
    int nothing = open("/dev/null", O_RDONLY);
    /* The copies come without close-on-exec; ready_fd may itself be below 3 only if the
     * standard descriptors were closed, which the caller's main rules out. */
    bool ready = setpgid(0, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && nothing >= 0 &&
                 dup2(nothing, STDIN_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0 &&
                 dup2(STDERR_FILENO, STDOUT_FILENO) >= 0 && sigprocmask(SIG_SETMASK, &none, NULL) == 0;
    if (ready && ready_fd == CHILD_READY_FD)
        ready = fcntl(ready_fd, F_SETFD, 0) == 0; /* dup2 to itself would keep close-on-exec */
    else if (ready)
        ready = dup2(ready_fd, CHILD_READY_FD) >= 0;
    if (nothing > CHILD_READY_FD)
        (void)close(nothing);
    /* The parent may have died before the request to die with it was made. */
    if (getppid() != parent)
        _exit(127);
    if (ready)
        (void)execv(argv[0], argv);
    const char *reason = strerror(errno);
    const char *parts[] = {"musterctl: cannot run ", argv[0], ": ", reason, "\n"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (write(STDERR_FILENO, parts[i], strlen(parts[i])) < 0)
            break;
    _exit(127);
}

bool child_start(struct child *child, char *const *argv, int log)
{
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0)
        return false;
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become(argv, log, pipe_fds[1], parent);
    int reason = errno;
    (void)close(pipe_fds[1]);
    if (pid < 0) {
        (void)close(pipe_fds[0]);
        errno = reason;
        return false;
    }
    *child = (struct child){pid, pipe_fds[0]};
    return true;
}

bool child_is_ready(struct child *child)
{
    char text[512];
    bool ready = false;
    ssize_t bytes = 0;
    while (!ready && (bytes = read(child->ready_fd, text, sizeof(text))) > 0)
        ready = memchr(text, '\n', (size_t)bytes) != NULL;
    if (ready || bytes == 0) {
        (void)close(child->ready_fd);
        child->ready_fd = -1;
    }
    return ready;
}

void child_forget(struct child *child)
{
    if (child->ready_fd >= 0)
        (void)close(child->ready_fd);
    *child = (struct child)CHILD_NONE;
}
