#include "tests/bench/process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"

enum {
    ARGUMENTS_MAX = 64,
    READY_DESCRIPTOR = 3,
    READY_TIMEOUT_MS = 15000,
    STOP_TIMEOUT_MS = 5000,
    END_TIMEOUT_MS = 120000,
};

bool process_pin(unsigned core)
{
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(core, &cores);
    return sched_setaffinity(0, sizeof cores, &cores) == 0;
}

/* Runs in the child and does not return. The parent reads errno from `report` when the
 * program could not be run. */
static void run(const struct process_plan *plan, char *const *arguments, int log_descriptor, int ready_descriptor,
                int report)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    /* A group of its own: Ctrl-C goes to the bench, which stops its servers in order. */
    setpgid(0, 0);
    process_pin(plan->core);
    int nothing = open("/dev/null", O_RDONLY);
    bool plumbed =
        nothing >= 0 && dup2(nothing, 0) >= 0 && dup2(log_descriptor, 1) >= 0 && dup2(log_descriptor, 2) >= 0;
    if (plumbed && ready_descriptor >= 0) {
        /* dup2 of a descriptor to itself would leave it close-on-exec. */
        plumbed = ready_descriptor == READY_DESCRIPTOR ? fcntl(READY_DESCRIPTOR, F_SETFD, 0) >= 0
                                                       : dup2(ready_descriptor, READY_DESCRIPTOR) >= 0;
    }
    if (plumbed)
        execvp(arguments[0], arguments);
    int reason = errno;
    if (write(report, &reason, sizeof reason) < 0)
        _exit(126); /* nobody listens any more */
    _exit(127);
}

static void close_all(const int *descriptors, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (descriptors[i] >= 0)
            close(descriptors[i]);
}

bool process_start(struct process *process, const struct process_plan *plan, struct failure *failure)
{
    *process = (struct process){.ready_descriptor = -1};
    snprintf(process->name, sizeof process->name, "%s", plan->name);
    snprintf(process->log_path, sizeof process->log_path, "%s/%s.log", plan->directory, plan->name);

    char *arguments[ARGUMENTS_MAX + 3];
    size_t count = 0;
    for (; plan->arguments[count] != NULL; count++) {
        if (count == ARGUMENTS_MAX)
            return fail(failure, "%s: too many arguments", plan->name);
        arguments[count] = (char *)(uintptr_t)plan->arguments[count]; /* execvp does not write to them */
    }
    char ready_flag[] = "--ready-fd", ready_number[] = "3";
    if (plan->ready_descriptor) {
        arguments[count++] = ready_flag;
        arguments[count++] = ready_number;
    }
    arguments[count] = NULL;

    enum { LOG, READY_READ, READY_WRITE, REPORT_READ, REPORT_WRITE, DESCRIPTORS };
    int descriptors[DESCRIPTORS] = {-1, -1, -1, -1, -1};
    /* Moved above what the child rearranges, so that no copy overwrites another. */
    descriptors[LOG] = open(process->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (descriptors[LOG] < 0 || pipe2(&descriptors[REPORT_READ], O_CLOEXEC) != 0 ||
        (plan->ready_descriptor && pipe2(&descriptors[READY_READ], O_CLOEXEC) != 0)) {
        fail(failure, "cannot start %s: %s", plan->name, strerror(errno));
        close_all(descriptors, DESCRIPTORS);
        return false;
    }
    int safe_report = fcntl(descriptors[REPORT_WRITE], F_DUPFD_CLOEXEC, READY_DESCRIPTOR + 1);
    pid_t pid = safe_report < 0 ? -1 : fork();
    if (pid == 0)
        run(plan, arguments, descriptors[LOG], descriptors[READY_WRITE], safe_report);
    int reason = errno;
    if (pid < 0) {
        fail(failure, "cannot start %s: %s", plan->name, strerror(reason));
        if (safe_report >= 0)
            close(safe_report);
        close_all(descriptors, DESCRIPTORS);
        return false;
    }
    close(safe_report);
    close(descriptors[REPORT_WRITE]);
    descriptors[REPORT_WRITE] = -1;
    bool started = read(descriptors[REPORT_READ], &reason, sizeof reason) != (ssize_t)sizeof reason;
    if (started) {
        process->pid = pid;
        process->ready_descriptor = descriptors[READY_READ];
        descriptors[READY_READ] = -1;
    } else {
        waitpid(pid, NULL, 0);
        fail(failure, "cannot run %s: %s", plan->arguments[0], strerror(reason));
    }
    close_all(descriptors, DESCRIPTORS);
    return started;
}

/* The last line that the process printed, without its line end. */
static void last_line(const char *path, char *line, size_t line_bytes)
{
    char tail[1024] = "";
    FILE *file = fopen(path, "r");
    line[0] = '\0';
    if (file == NULL)
        return;
    if (fseek(file, 0, SEEK_END) == 0) {
        long size = ftell(file);
        long kept = (long)sizeof tail - 1;
        if (size > 0 && fseek(file, size > kept ? size - kept : 0, SEEK_SET) == 0)
            tail[fread(tail, 1, sizeof tail - 1, file)] = '\0';
    }
    fclose(file);
    for (size_t end = strlen(tail); end > 0 && tail[end - 1] == '\n'; end--)
        tail[end - 1] = '\0';
    const char *start = strrchr(tail, '\n');
    snprintf(line, line_bytes, "%s", start != NULL ? start + 1 : tail);
}

static bool accepts(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        return false;
    bool connected = connect(descriptor, (const struct sockaddr *)&address, sizeof address) == 0;
    close(descriptor);
    return connected;
}

static bool said_ready(int descriptor)
{
    char byte;
    return read(descriptor, &byte, 1) == 1;
}

bool process_wait_ready(struct process *process, struct loop *loop, uint16_t port, struct failure *failure)
{
    if (process->ready_descriptor >= 0)
        fcntl(process->ready_descriptor, F_SETFL, O_NONBLOCK);
    uint64_t deadline_ms = clock_monotonic_ms() + READY_TIMEOUT_MS;
    while (process->ready_descriptor >= 0 ? !said_ready(process->ready_descriptor) : !accepts(port)) {
        char line[384];
        if (waitpid(process->pid, NULL, WNOHANG) == process->pid) {
            process->pid = 0;
            last_line(process->log_path, line, sizeof line);
            return fail(failure, "%s ended while it started: %s", process->name, line);
        }
        if (loop_interrupted(loop))
            return fail(failure, "interrupted");
        if (clock_monotonic_ms() > deadline_ms) {
            last_line(process->log_path, line, sizeof line);
            return fail(failure, "%s is not ready after %d s: %s", process->name, READY_TIMEOUT_MS / 1000, line);
        }
        usleep(5000);
    }
    return true;
}

bool process_wait_end(struct process *process, struct loop *loop, struct failure *failure)
{
    uint64_t deadline_ms = clock_monotonic_ms() + END_TIMEOUT_MS;
    int status;
    while (waitpid(process->pid, &status, WNOHANG) == 0) {
        if (loop_interrupted(loop))
            return fail(failure, "interrupted");
        if (clock_monotonic_ms() > deadline_ms)
            return fail(failure, "%s still runs after %d s", process->name, END_TIMEOUT_MS / 1000);
        usleep(5000);
    }
    process->pid = 0;
    char line[384];
    last_line(process->log_path, line, sizeof line);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? true : fail(failure, "%s: %s", process->name, line);
}

void process_stop(struct process *process)
{
    if (process->ready_descriptor > 0)
        close(process->ready_descriptor);
    process->ready_descriptor = -1;
    if (process->pid <= 0)
        return;
    kill(process->pid, SIGTERM);
    uint64_t deadline_ms = clock_monotonic_ms() + STOP_TIMEOUT_MS;
    while (waitpid(process->pid, NULL, WNOHANG) == 0) {
        if (clock_monotonic_ms() > deadline_ms) {
            kill(process->pid, SIGKILL);
            waitpid(process->pid, NULL, 0);
            break;
        }
        usleep(2000);
    }
    process->pid = 0;
}

size_t process_children(pid_t pid, pid_t *children, size_t limit)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *file = fopen(path, "r");
    size_t count = 0;
    int child;
    if (file == NULL)
        return 0;
    while (count < limit && fscanf(file, "%d", &child) == 1)
        children[count++] = child;
    fclose(file);
    return count;
}

static double own_cpu_seconds(pid_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    /* The name, in parentheses, may hold anything; what follows it is numbers. */
    const char *after_name = strrchr(text, ')');
    unsigned long user = 0, kernel = 0;
    if (after_name == NULL ||
        sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel) != 2)
        return 0;
    return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

double process_cpu_seconds(pid_t pid)
{
    pid_t children[16];
    size_t count = process_children(pid, children, sizeof children / sizeof children[0]);
    double seconds = own_cpu_seconds(pid);
    for (size_t i = 0; i < count; i++)
        seconds += own_cpu_seconds(children[i]);
    return seconds;
}

uint16_t process_free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t address_bytes = sizeof address;
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        return 0;
    bool bound = bind(descriptor, (const struct sockaddr *)&address, sizeof address) == 0 &&
                 getsockname(descriptor, (struct sockaddr *)&address, &address_bytes) == 0;
    close(descriptor);
    return bound ? ntohs(address.sin_port) : 0;
}

bool process_make_directory(char *path, size_t path_bytes, struct failure *failure)
{
    const char *parent = getenv("TEST_TMPDIR") != NULL ? getenv("TEST_TMPDIR") : getenv("TMPDIR");
    int length = snprintf(path, path_bytes, "%s/muster-bench-XXXXXX", parent != NULL ? parent : "/tmp");
    if (length < 0 || (size_t)length >= path_bytes || mkdtemp(path) == NULL)
        return fail(failure, "cannot make a temporary directory in %s: %s", parent != NULL ? parent : "/tmp",
                    strerror(errno));
    return true;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *position)
{
    (void)status, (void)type, (void)position;
    /* What cannot be removed is left in the temporary directory; there is nobody to tell. */
    (void)remove(path);
    return 0;
}

void process_remove_directory(const char *path)
{
    (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
