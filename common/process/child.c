#define _GNU_SOURCE
#include "common/process/child.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/log.h"
#include "common/backoff.h"

#define PROBE_MS 100u
#define PROBE_TIMEOUT_MS 1000u
#define STEADY_MS 10000u /* after that long a restart is not one of a series */

struct child {
    struct child_config config;
    pid_t pid; /* 0: nothing runs */
    int pidfd;
    struct loop_watch ended; /* of pidfd */
    uint16_t port;
    uint64_t started_at_ms;
    enum child_state state;
    bool stopping;
    struct backoff backoff;
    struct timer timer; /* next start, next probe, or the end of the grace period */
    int probing;        /* a socket that connects to it; -1: none */
    struct loop_watch connected;
    int output; /* what it writes; -1: nowhere of ours */
    struct loop_watch written;
    size_t line_bytes;
    char line[CHILD_LINE_BYTES_MAX + 1];
};

static void start(struct timer *timer, void *argument);
static void probe(struct timer *timer, void *argument);

static void set_state(struct child *child, enum child_state state)
{
    if (child->state == state)
        return;
    child->state = state;
    child->config.changed(child->config.context, state, child->port);
}

static void end_probe(struct child *child)
{
    if (child->probing < 0)
        return;
    loop_watch_remove(child->config.loop, &child->connected);
    close(child->probing);
    child->probing = -1;
}

static void stop_probing(struct child *child)
{
    end_probe(child);
    loop_timer_stop(child->config.loop, &child->timer);
}

/* ---- what it says ---- */

static void end_line(struct child *child)
{
    child->line[child->line_bytes] = '\0';
    if (child->line_bytes > 0)
        child->config.said(child->config.context, child->line);
    child->line_bytes = 0;
}

/* False: there is no more for now. */
static bool read_output(struct child *child)
{
    char piece[1024];
    ssize_t bytes = read(child->output, piece, sizeof piece);
    for (ssize_t i = 0; i < bytes; i++) {
        if (piece[i] == '\n')
            end_line(child);
        else if (piece[i] != '\0' && piece[i] != '\r' && child->line_bytes < CHILD_LINE_BYTES_MAX)
            child->line[child->line_bytes++] = piece[i];
    }
    return bytes > 0;
}

static void close_output(struct child *child)
{
    if (child->output < 0)
        return;
    loop_watch_remove(child->config.loop, &child->written);
    close(child->output);
    child->output = -1;
}

static void output_came(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    struct child *child = (struct child *)((char *)watch - offsetof(struct child, written));
    while (read_output(child))
        continue;
}

/* ---- its end ---- */

static void reap(struct child *child)
{
    int status = 0;
    /* Until it is reaped its id, and so that of its group, is nobody else's. */
    (void)kill(-child->pid, SIGKILL);
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    loop_watch_remove(child->config.loop, &child->ended);
    close(child->pidfd);
    child->pid = 0;
    if (child->output >= 0) {
        while (read_output(child))
            continue;
        end_line(child);
        close_output(child);
    }
    if (!child->stopping)
        log_warning("service ended", LOG_TEXT("service", child->config.name),
                    LOG_TEXT("how", WIFSIGNALED(status) ? "signal" : "exit"),
                    LOG_INT("code", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)));
}

static void start_again(struct child *child)
{
    struct loop *loop = child->config.loop;
    if (loop_now_ms(loop) - child->started_at_ms >= STEADY_MS)
        backoff_reset(&child->backoff);
    uint64_t wait_ms = backoff_next_ms(&child->backoff, child->config.random);
    log_info("service starts again", LOG_TEXT("service", child->config.name), LOG_UINT("in_ms", wait_ms));
    loop_timer_start(loop, &child->timer, wait_ms, start, child);
    set_state(child, CHILD_FAILED);
}

static void process_ended(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    struct child *child = (struct child *)((char *)watch - offsetof(struct child, ended));
    stop_probing(child);
    reap(child);
    if (child->stopping)
        set_state(child, CHILD_STOPPED);
    else
        start_again(child);
}

/* ---- whether it answers ---- */

static void probed(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    struct child *child = (struct child *)((char *)watch - offsetof(struct child, connected));
    struct sockaddr_in peer;
    socklen_t bytes = sizeof peer;
    bool answers = getpeername(child->probing, (struct sockaddr *)&peer, &bytes) == 0;
    stop_probing(child);
    if (!answers) {
        loop_timer_start(child->config.loop, &child->timer, PROBE_MS, probe, child);
        return;
    }
    log_info("service runs", LOG_TEXT("service", child->config.name), LOG_UINT("port", child->port));
    set_state(child, CHILD_RUNNING);
}

static void probe(struct timer *timer, void *argument)
{
    (void)timer;
    struct child *child = argument;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(child->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    end_probe(child); /* one that was not answered in time */
    child->probing = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (child->probing >= 0 &&
        ((connect(child->probing, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS) ||
         !loop_watch_add(child->config.loop, &child->connected, child->probing, probed)))
        end_probe(child);
    loop_timer_start(child->config.loop, &child->timer, child->probing < 0 ? PROBE_MS : PROBE_TIMEOUT_MS, probe, child);
}

/* ---- its start ---- */

/* Nothing in it ends a word or stands for something else: it may be a stranger's, a tunnel's say. */
static bool is_plain_url(const char *url)
{
    return url[strspn(url, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:/._-%[]@~+")] == '\0';
}

/* Appends the command with the port and the URL filled in. */
static void fill_in(const char *command, uint16_t port, const char *url, struct buffer *out)
{
    static const char port_slot[] = "{port}", url_slot[] = "{url}";
    for (const char *at = command; *at != '\0';) {
        if (strncmp(at, port_slot, sizeof port_slot - 1) == 0) {
            buffer_append_uint(out, port);
            at += sizeof port_slot - 1;
        } else if (url != NULL && strncmp(at, url_slot, sizeof url_slot - 1) == 0) {
            buffer_append_text(out, is_plain_url(url) ? url : "");
            at += sizeof url_slot - 1;
        } else {
            buffer_append_char(out, *at++);
        }
    }
}

/* A port that nobody listens on now; 0: none can be had. Somebody may take it before the
 * program does; then that fails to start, and is started again on another one. */
static uint16_t free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    uint16_t port = 0;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &bytes) == 0)
        port = ntohs(address.sin_port);
    close(fd);
    return port;
}

/* In the new process: only what is safe after fork. Does not return. */
static void become(const char *command, pid_t parent, int output, char *const *environment)
{
    sigset_t none;
    sigemptyset(&none);
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGHUP);
    if (getppid() != parent)
        _exit(127); /* its parent died before the line above */
    (void)signal(SIGPIPE, SIG_DFL);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    int nothing = open("/dev/null", O_RDONLY);
    if (nothing >= 0)
        (void)dup2(nothing, 0);
    if (output >= 0)
        (void)dup2(output, 2);
    (void)dup2(2, 1);
    execle("/bin/sh", "sh", "-c", command, (char *)NULL, environment);
    _exit(127);
}

/* The shell stays in front of the command, because it alone is told when its parent dies
 * (SIGHUP) and then takes the whole group along. SIGTERM goes to the group: the shell leaves
 * it to the command to end in its own time, and ends as that does. */
static void append_script(const struct child *child, struct buffer *out)
{
    if (child->port != 0)
        buffer_append_format(out, "PORT=%u; export PORT; ", child->port);
    buffer_append_text(out, "trap 'kill -KILL 0' HUP; trap : TERM; {\n");
    fill_in(child->config.command, child->port, child->config.url, out);
    buffer_append_text(out, "\n} & while wait $!; status=$?; kill -0 $! 2>/dev/null; do :; done; exit $status");
}

/* Ours, and one variable more. From malloc; NULL when memory runs out. */
static char **environment_with(const char *variable)
{
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **environment = malloc((count + 2) * sizeof *environment);
    if (environment == NULL)
        return NULL;
    memcpy(environment, environ, count * sizeof *environment);
    environment[count] = (char *)(uintptr_t)variable; /* execle's prototype lacks a const that it keeps */
    environment[count + 1] = NULL;
    return environment;
}

/* What it writes to; -1: it cannot be had, or is not wanted. */
static int open_output(struct child *child)
{
    int ends[2];
    if (child->config.said == NULL || pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    child->output = ends[0];
    child->line_bytes = 0;
    if (fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 &&
        loop_watch_add(child->config.loop, &child->written, ends[0], output_came))
        return ends[1];
    close(ends[0]);
    close(ends[1]);
    child->output = -1;
    return -1;
}

static pid_t fork_program(struct child *child)
{
    struct buffer command = BUFFER_INIT;
    append_script(child, &command);
    char **environment = environment_with(child->config.variable);
    int output = open_output(child);
    pid_t parent = getpid();
    bool ready = !buffer_failed(&command) && environment != NULL && (output >= 0 || child->config.said == NULL);
    pid_t pid = ready ? fork() : -1;
    if (pid == 0)
        become(command.data, parent, output, environment);
    if (output >= 0)
        close(output);
    free(environment);
    buffer_free(&command);
    return pid;
}

static bool spawn(struct child *child)
{
    pid_t pid = fork_program(child);
    if (pid < 0) {
        close_output(child);
        return false;
    }
    (void)setpgid(pid, pid); /* both do it, so that it is done when either goes on */
    child->pid = pid;
    child->pidfd = pidfd_open(pid, PIDFD_NONBLOCK);
    if (child->pidfd >= 0 && loop_watch_add(child->config.loop, &child->ended, child->pidfd, process_ended))
        return true;
    /* What cannot be watched must not run. */
    (void)kill(-pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    if (child->pidfd >= 0)
        close(child->pidfd);
    child->pid = 0;
    close_output(child);
    return false;
}

static void start(struct timer *timer, void *argument)
{
    (void)timer;
    struct child *child = argument;
    child->started_at_ms = loop_now_ms(child->config.loop);
    bool is_server = child->config.said == NULL;
    child->port = is_server ? free_port() : 0;
    if ((is_server && child->port == 0) || !spawn(child)) {
        log_error("service cannot be started", LOG_TEXT("service", child->config.name),
                  LOG_TEXT("error", strerror(errno)));
        start_again(child);
        return;
    }
    log_info("service starts", LOG_TEXT("service", child->config.name), LOG_INT("pid", child->pid),
             LOG_UINT("port", child->port));
    set_state(child, is_server ? CHILD_STARTING : CHILD_RUNNING);
    if (is_server)
        probe(NULL, child);
}

/* ---- from outside ---- */

struct child *child_create(const struct child_config *config)
{
    struct child *child = calloc(1, sizeof *child);
    if (child == NULL)
        return NULL;
    child->config = *config;
    child->ended = child->written = child->connected = (struct loop_watch)LOOP_WATCH_INIT;
    child->output = child->probing = -1;
    child->state = CHILD_STARTING;
    child->backoff = (struct backoff){500, config->longest_wait_ms != 0 ? config->longest_wait_ms : 30000, 0};
    loop_timer_start(config->loop, &child->timer, 0, start, child);
    return child;
}

static void grace_over(struct timer *timer, void *argument)
{
    (void)timer;
    struct child *child = argument;
    if (child->pid == 0) {
        set_state(child, CHILD_STOPPED);
        return;
    }
    log_warning("service does not stop, killing it", LOG_TEXT("service", child->config.name));
    (void)kill(-child->pid, SIGKILL);
}

void child_stop(struct child *child, uint64_t grace_ms)
{
    if (child->stopping)
        return;
    child->stopping = true;
    stop_probing(child);
    if (child->pid != 0)
        (void)kill(-child->pid, SIGTERM);
    loop_timer_start(child->config.loop, &child->timer, child->pid != 0 ? grace_ms : 0, grace_over, child);
}

void child_restart(struct child *child)
{
    if (child->pid != 0)
        (void)kill(-child->pid, SIGKILL);
}

bool child_is_stopping(const struct child *child)
{
    return child->stopping;
}

void child_destroy(struct child *child)
{
    if (child == NULL)
        return;
    child->stopping = true;
    stop_probing(child);
    if (child->pid != 0) {
        (void)kill(-child->pid, SIGKILL);
        reap(child);
    }
    free(child);
}
