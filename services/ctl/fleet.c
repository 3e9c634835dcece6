/* Runs the processes of a plan; see fleet.h. */

#include "services/ctl/fleet.h"

#include "common/clock.h"
#include "common/log.h"
#include "services/ctl/child.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_BYTES 4096
/* How often to ask whether everything serves. */
#define SERVE_POLL_MS 30

struct member {
    struct child child;
    char path[PATH_BYTES];
    int log; /* descriptor; STDERR_FILENO is not ours to close */
};

struct fleet {
    const struct fleet_options *options;
    struct supervisor *supervisor;
    struct member *members;
    struct pollfd *polls; /* the signals, then the ready pipe of each member */
    int signals;
    bool announced; /* `ready` has been called */
    bool asked_to_stop;
    bool killed_any;
    uint64_t serve_by_ms; /* 0: not all processes are ready yet */
    char *error;
    size_t error_bytes;
};

/* --- Binaries --- */

static bool try_path(char *path, size_t path_bytes, const char *folder, const char *below, const char *binary)
{
    int length = snprintf(path, path_bytes, "%s/%s%s", folder, below, binary);
    return length > 0 && (size_t)length < path_bytes && access(path, X_OK) == 0;
}

/* The path of a binary: in bin_dir; else in the folder of this program; else where the build
 * puts it, seen from there. False, with one line in `error`: none of them can be executed. */
static bool find_binary(const char *bin_dir, const char *binary, char *path, size_t path_bytes, char *error,
                        size_t error_bytes)
{
    /* As the build lays them out: services/ctl/musterctl, services/registry/muster-registry,
     * gateway/muster-gateway. */
    static const char *const from_build[] = {"../registry/", "../assigner/", "../health/", "../router/",
                                             "../dht/",      "../tunnel/",   "../worker/", "../../gateway/"};
    char own[PATH_BYTES];
    if (*bin_dir != '\0') {
        if (try_path(path, path_bytes, bin_dir, "", binary))
            return true;
        (void)snprintf(error, error_bytes, "there is no program %s in %s: choose another --bin-dir", binary, bin_dir);
        return false;
    }
    ssize_t length = readlink("/proc/self/exe", own, sizeof(own) - 1);
    own[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(own, '/');
    if (slash != NULL)
        *slash = '\0';
    if (try_path(path, path_bytes, own, "", binary))
        return true;
    for (size_t i = 0; i < sizeof(from_build) / sizeof(from_build[0]); i++)
        if (try_path(path, path_bytes, own, from_build[i], binary))
            return true;
    (void)snprintf(error, error_bytes, "cannot find %s beside musterctl in %s: say where it is with --bin-dir", binary,
                   own);
    return false;
}

/* --- What they are doing, for others --- */

static const char *state_name(enum supervised_state state)
{
    switch (state) {
    case SUPERVISED_WAITING:
        return "waiting";
    case SUPERVISED_STARTING:
        return "starting";
    case SUPERVISED_READY:
        return "ready";
    case SUPERVISED_STOPPING:
    case SUPERVISED_KILLED:
        return "stopping";
    case SUPERVISED_GONE:
    default:
        return "gone";
    }
}

/* Writes processes.json, whole or not at all. What fails is logged and no more: the fleet
 * does not depend on it. */
static void publish(struct fleet *fleet)
{
    const struct plan *plan = fleet->options->plan;
    json_t *list = json_array();
    for (size_t i = 0; i < plan->count; i++) {
        const struct supervised *process = supervisor_process(fleet->supervisor, i);
        json_t *entry = json_pack("{s:s, s:i, s:s, s:s, s:i}", "name", process->name, "pid",
                                  (int)fleet->members[i].child.pid, "address", plan->processes[i].address, "state",
                                  state_name(process->state), "restarts", (int)process->restarts);
        (void)json_array_append_new(list, entry); /* a NULL makes the packing below fail */
    }
    json_t *root = json_pack("{s:s, s:i, s:o}", "url", fleet->options->url, "pid", (int)getpid(), "processes", list);
    char path[PATH_BYTES];
    char fresh[PATH_BYTES + 8];
    int length = snprintf(path, sizeof(path), "%s/processes.json", fleet->options->data_dir);
    (void)snprintf(fresh, sizeof(fresh), "%s.new", path);
    if (root == NULL || length < 0 || (size_t)length >= sizeof(path) ||
        json_dump_file(root, fresh, JSON_INDENT(2)) != 0 || rename(fresh, path) != 0)
        log_warning("cannot write the list of processes", LOG_TEXT("path", path), LOG_TEXT("reason", strerror(errno)));
    json_decref(root);
}

/* --- Doing what the supervisor decides --- */

static void start_member(struct fleet *fleet, size_t index, uint64_t now_ms)
{
    const struct plan_process *process = &fleet->options->plan->processes[index];
    struct member *member = &fleet->members[index];
    char *argv[PLAN_MAX_ARGUMENTS + 2] = {member->path};
    memcpy(argv + 1, process->arguments, sizeof(process->arguments));
    if (child_start(&member->child, argv, member->log)) {
        log_debug("process started", LOG_TEXT("name", process->name), LOG_INT("pid", member->child.pid),
                  LOG_TEXT("address", process->address));
        return;
    }
    log_error("cannot start a process", LOG_TEXT("name", process->name), LOG_TEXT("reason", strerror(errno)));
    supervisor_ended(fleet->supervisor, index, (struct supervisor_end){true, 127}, now_ms);
}

static void act(struct fleet *fleet)
{
    uint64_t now_ms = clock_monotonic_ms();
    bool changed = false;
    size_t index = 0;
    for (enum supervisor_action action = supervisor_next(fleet->supervisor, now_ms, &index);
         action != SUPERVISOR_NOTHING; action = supervisor_next(fleet->supervisor, now_ms, &index)) {
        struct member *member = &fleet->members[index];
        changed = true;
        /* A signal to a child that has ended and was not waited for yet does nothing. */
        if (action == SUPERVISOR_START) {
            start_member(fleet, index, now_ms);
        } else if (action == SUPERVISOR_TERMINATE) {
            (void)kill(member->child.pid, SIGTERM);
        } else {
            fleet->killed_any = true;
            log_warning("process does not end, killing it",
                        LOG_TEXT("name", supervisor_process(fleet->supervisor, index)->name));
            (void)kill(member->child.pid, SIGKILL);
        }
    }
    if (changed)
        publish(fleet);
}

static void log_end(struct fleet *fleet, size_t index, struct supervisor_end end)
{
    const char *name = supervisor_process(fleet->supervisor, index)->name;
    if (fleet->asked_to_stop || supervisor_failure(fleet->supervisor) != NULL)
        log_debug("process ended", LOG_TEXT("name", name), LOG_INT(end.exited ? "exit_code" : "signal", end.code));
    else
        log_warning("process ended, starting it again", LOG_TEXT("name", name),
                    LOG_INT(end.exited ? "exit_code" : "signal", end.code));
}

static void collect_ended(struct fleet *fleet)
{
    uint64_t now_ms = clock_monotonic_ms();
    bool changed = false;
    for (size_t i = 0; i < fleet->options->plan->count; i++) {
        struct child *child = &fleet->members[i].child;
        int status = 0;
        if (child->pid == 0 || waitpid(child->pid, &status, WNOHANG) != child->pid)
            continue;
        struct supervisor_end end = {WIFEXITED(status), WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status)};
        child_forget(child);
        supervisor_ended(fleet->supervisor, i, end, now_ms);
        log_end(fleet, i, end);
        changed = true;
    }
    if (changed)
        publish(fleet);
}

static void read_signals(struct fleet *fleet)
{
    struct signalfd_siginfo info;
    while (read(fleet->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            continue; /* collect_ended looks at every child: signals of one kind merge */
        log_info(fleet->asked_to_stop ? "stopping at once" : "stopping");
        fleet->asked_to_stop = true;
        supervisor_stop(fleet->supervisor, clock_monotonic_ms());
    }
}

static void read_ready_pipes(struct fleet *fleet)
{
    bool changed = false;
    for (size_t i = 0; i < fleet->options->plan->count; i++) {
        struct child *child = &fleet->members[i].child;
        if (child->ready_fd < 0 || !child_is_ready(child))
            continue;
        const struct supervised *process = supervisor_process(fleet->supervisor, i);
        supervisor_ready(fleet->supervisor, i, clock_monotonic_ms());
        if (process->restarts > 0)
            log_info("process serves again", LOG_TEXT("name", process->name), LOG_UINT("restarts", process->restarts));
        changed = true;
    }
    if (changed)
        publish(fleet);
}

/* --- Becoming ready --- */

static bool waits_for_service(const struct fleet *fleet)
{
    return !fleet->announced && fleet->error[0] == '\0' && !fleet->asked_to_stop && fleet->serve_by_ms != 0;
}

/* Between "all processes are ready" and "everything serves". */
static void check_service(struct fleet *fleet)
{
    if (fleet->serve_by_ms == 0 && supervisor_all_ready(fleet->supervisor))
        fleet->serve_by_ms = clock_monotonic_ms() + fleet->options->serve_timeout_ms;
    if (!waits_for_service(fleet))
        return;
    if (fleet->options->serves(fleet->options->argument)) {
        fleet->announced = true;
        fleet->options->ready(fleet->options->argument);
    } else if (clock_monotonic_ms() >= fleet->serve_by_ms) {
        (void)snprintf(fleet->error, fleet->error_bytes, "all processes run, but the coordinator does not serve: %s",
                       fleet->options->problem);
        supervisor_stop(fleet->supervisor, clock_monotonic_ms());
    }
}

static int wait_ms(const struct fleet *fleet)
{
    uint64_t wake_up_ms = supervisor_wake_up_ms(fleet->supervisor);
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t wait = wake_up_ms <= now_ms ? 0 : wake_up_ms - now_ms;
    if (waits_for_service(fleet) && wait > SERVE_POLL_MS)
        wait = SERVE_POLL_MS;
    return wait > INT_MAX ? -1 : (int)wait;
}

static void loop(struct fleet *fleet)
{
    size_t count = fleet->options->plan->count;
    while (!supervisor_finished(fleet->supervisor)) {
        act(fleet);
        fleet->polls[0] = (struct pollfd){fleet->signals, POLLIN, 0};
        for (size_t i = 0; i < count; i++)
            fleet->polls[i + 1] = (struct pollfd){fleet->members[i].child.ready_fd, POLLIN, 0};
        /* Interrupted or not, everything is looked at again. */
        (void)poll(fleet->polls, count + 1, wait_ms(fleet));
        read_ready_pipes(fleet);
        read_signals(fleet);
        collect_ended(fleet);
        check_service(fleet);
        if (supervisor_failure(fleet->supervisor) != NULL && fleet->error[0] == '\0')
            (void)snprintf(fleet->error, fleet->error_bytes, "%s", supervisor_failure(fleet->supervisor));
    }
    publish(fleet);
}

/* --- Set-up --- */

static bool open_log(const struct fleet_options *options, const char *name, struct member *member, char *error,
                     size_t error_bytes)
{
    member->log = STDERR_FILENO;
    if (*options->log_dir == '\0')
        return true;
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s/%s.log", options->log_dir, name);
    member->log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (member->log >= 0)
        return true;
    (void)snprintf(error, error_bytes, "cannot write %s: %s; choose another --log-dir", path, strerror(errno));
    return false;
}

static bool prepare(struct fleet *fleet)
{
    const struct fleet_options *options = fleet->options;
    const struct plan *plan = options->plan;
    fleet->supervisor = supervisor_create(options->supervisor);
    fleet->members = calloc(plan->count, sizeof(*fleet->members));
    fleet->polls = calloc(plan->count + 1, sizeof(*fleet->polls));
    if (fleet->supervisor == NULL || fleet->members == NULL || fleet->polls == NULL) {
        (void)snprintf(fleet->error, fleet->error_bytes, "out of memory");
        return false;
    }
    for (size_t i = 0; i < plan->count; i++)
        fleet->members[i] = (struct member){.child = CHILD_NONE, .log = STDERR_FILENO};
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_process *process = &plan->processes[i];
        struct member *member = &fleet->members[i];
        if (!find_binary(options->bin_dir, process->binary, member->path, sizeof(member->path), fleet->error,
                         fleet->error_bytes) ||
            !open_log(options, process->name, member, fleet->error, fleet->error_bytes))
            return false;
        if (!supervisor_add(fleet->supervisor, process->name, process->stage)) {
            (void)snprintf(fleet->error, fleet->error_bytes, "out of memory");
            return false;
        }
    }
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGCHLD);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    fleet->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fleet->signals < 0)
        (void)snprintf(fleet->error, fleet->error_bytes, "cannot receive signals: %s", strerror(errno));
    return fleet->signals >= 0;
}

bool fleet_run(const struct fleet_options *options, char *error, size_t error_bytes)
{
    struct fleet fleet = {.options = options, .signals = -1, .error = error, .error_bytes = error_bytes};
    error[0] = '\0';
    if (prepare(&fleet)) {
        loop(&fleet);
        if (error[0] == '\0' && fleet.killed_any)
            (void)snprintf(error, error_bytes, "some processes did not end in time and were killed");
    }
    if (fleet.signals >= 0)
        (void)close(fleet.signals);
    for (size_t i = 0; fleet.members != NULL && i < options->plan->count; i++)
        if (fleet.members[i].log != STDERR_FILENO && fleet.members[i].log >= 0)
            (void)close(fleet.members[i].log);
    supervisor_destroy(fleet.supervisor);
    free(fleet.polls);
    free(fleet.members);
    return error[0] == '\0';
}
