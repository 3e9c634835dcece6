/* Which process to start, restart and stop; see supervisor.h. */

#include "services/ctl/supervisor.h"

#include <stdio.h>
#include <stdlib.h>

const struct supervisor_options supervisor_default_options = {
    .restart_delay_ms = 200,
    .restart_delay_limit_ms = 5000,
    .stable_ms = 10000,
    .start_timeout_ms = 30000,
    .stop_timeout_ms = 15000,
    .start_attempts = 3,
};

struct supervisor {
    struct supervisor_options options;
    struct supervised *processes;
    size_t count;
    bool was_all_ready;
    bool stopping;
    bool hurry; /* asked to stop a second time */
    char failure[256];
};

struct supervisor *supervisor_create(const struct supervisor_options *options)
{
    struct supervisor *supervisor = calloc(1, sizeof(*supervisor));
    if (supervisor != NULL)
        supervisor->options = *options;
    return supervisor;
}

void supervisor_destroy(struct supervisor *supervisor)
{
    if (supervisor == NULL)
        return;
    free(supervisor->processes);
    free(supervisor);
}

bool supervisor_add(struct supervisor *supervisor, const char *name, unsigned int stage)
{
    struct supervised *processes =
        realloc(supervisor->processes, (supervisor->count + 1) * sizeof(*supervisor->processes));
    if (processes == NULL)
        return false;
    supervisor->processes = processes;
    supervisor->processes[supervisor->count++] = (struct supervised){
        .name = name,
        .stage = stage,
        .state = SUPERVISED_WAITING,
        .delay_ms = supervisor->options.restart_delay_ms,
    };
    return true;
}

const struct supervised *supervisor_process(const struct supervisor *supervisor, size_t index)
{
    return &supervisor->processes[index];
}

static bool is_running(const struct supervised *process)
{
    return process->state != SUPERVISED_WAITING && process->state != SUPERVISED_GONE;
}

static void enter(struct supervised *process, enum supervised_state state, uint64_t now_ms)
{
    process->state = state;
    process->changed_at_ms = now_ms;
}

/* Whether every process of a lower stage has been ready once. */
static bool stage_is_open(const struct supervisor *supervisor, unsigned int stage)
{
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor->processes[i].stage < stage && !supervisor->processes[i].was_ready)
            return false;
    return true;
}

/* The highest stage in which something still runs: the one to stop now. */
static unsigned int highest_running_stage(const struct supervisor *supervisor)
{
    unsigned int highest = 0;
    for (size_t i = 0; i < supervisor->count; i++)
        if (is_running(&supervisor->processes[i]) && supervisor->processes[i].stage > highest)
            highest = supervisor->processes[i].stage;
    return highest;
}

static void give_up(struct supervisor *supervisor, uint64_t now_ms)
{
    if (!supervisor->stopping)
        supervisor_stop(supervisor, now_ms);
}

/* Before all has been ready once: has this process had its time? */
static bool start_is_overdue(const struct supervisor *supervisor, const struct supervised *process, uint64_t now_ms)
{
    return !supervisor->was_all_ready && process->state == SUPERVISED_STARTING &&
           now_ms >= process->changed_at_ms + supervisor->options.start_timeout_ms;
}

static enum supervisor_action next_while_running(struct supervisor *supervisor, uint64_t now_ms, size_t *index)
{
    for (size_t i = 0; i < supervisor->count; i++) {
        struct supervised *process = &supervisor->processes[i];
        if (process->state != SUPERVISED_WAITING || now_ms < process->due_at_ms)
            continue;
        /* was_ready: a start after the first waits for nobody. */
        if (!process->was_ready && !stage_is_open(supervisor, process->stage))
            continue;
        enter(process, SUPERVISED_STARTING, now_ms);
        *index = i;
        return SUPERVISOR_START;
    }
    return SUPERVISOR_NOTHING;
}

static enum supervisor_action next_while_stopping(struct supervisor *supervisor, uint64_t now_ms, size_t *index)
{
    unsigned int stage = highest_running_stage(supervisor);
    for (size_t i = 0; i < supervisor->count; i++) {
        struct supervised *process = &supervisor->processes[i];
        *index = i;
        if (!is_running(process) || process->state == SUPERVISED_KILLED)
            continue;
        if (supervisor->hurry || (process->state == SUPERVISED_STOPPING && now_ms >= process->due_at_ms)) {
            enter(process, SUPERVISED_KILLED, now_ms);
            return SUPERVISOR_KILL;
        }
        if (process->stage == stage && process->state != SUPERVISED_STOPPING) {
            enter(process, SUPERVISED_STOPPING, now_ms);
            process->due_at_ms = now_ms + supervisor->options.stop_timeout_ms;
            return SUPERVISOR_TERMINATE;
        }
    }
    return SUPERVISOR_NOTHING;
}

enum supervisor_action supervisor_next(struct supervisor *supervisor, uint64_t now_ms, size_t *index)
{
    for (size_t i = 0; i < supervisor->count && !supervisor->stopping; i++) {
        const struct supervised *process = &supervisor->processes[i];
        if (!start_is_overdue(supervisor, process, now_ms))
            continue;
        (void)snprintf(supervisor->failure, sizeof(supervisor->failure), "%s was not ready within %g s", process->name,
                       (double)supervisor->options.start_timeout_ms / 1000);
        give_up(supervisor, now_ms);
    }
    return supervisor->stopping ? next_while_stopping(supervisor, now_ms, index)
                                : next_while_running(supervisor, now_ms, index);
}

uint64_t supervisor_wake_up_ms(const struct supervisor *supervisor)
{
    uint64_t earliest_ms = UINT64_MAX;
    for (size_t i = 0; i < supervisor->count; i++) {
        const struct supervised *process = &supervisor->processes[i];
        uint64_t due_ms = UINT64_MAX;
        if (process->state == SUPERVISED_STOPPING)
            due_ms = process->due_at_ms;
        else if (process->state == SUPERVISED_WAITING && !supervisor->stopping &&
                 (process->was_ready || stage_is_open(supervisor, process->stage)))
            due_ms = process->due_at_ms;
        else if (process->state == SUPERVISED_STARTING && !supervisor->stopping && !supervisor->was_all_ready)
            due_ms = process->changed_at_ms + supervisor->options.start_timeout_ms;
        if (due_ms < earliest_ms)
            earliest_ms = due_ms;
    }
    return earliest_ms;
}

void supervisor_ready(struct supervisor *supervisor, size_t index, uint64_t now_ms)
{
    struct supervised *process = &supervisor->processes[index];
    if (process->state != SUPERVISED_STARTING)
        return; /* told to stop meanwhile */
    enter(process, SUPERVISED_READY, now_ms);
    process->was_ready = true;
    process->failed_starts = 0;
    if (supervisor_all_ready(supervisor))
        supervisor->was_all_ready = true;
}

/* A process ended on its own before it was ever ready: is that the end of it all? */
static void judge_failed_start(struct supervisor *supervisor, const struct supervised *process,
                               struct supervisor_end end, uint64_t now_ms)
{
    if (end.exited)
        (void)snprintf(supervisor->failure, sizeof(supervisor->failure),
                       "%s refused to start (exit code %d); its own line above says why", process->name, end.code);
    else if (process->failed_starts >= supervisor->options.start_attempts)
        (void)snprintf(supervisor->failure, sizeof(supervisor->failure),
                       "%s died %u times while it started, the last time of signal %d", process->name,
                       process->failed_starts, end.code);
    else
        return;
    give_up(supervisor, now_ms);
}

void supervisor_ended(struct supervisor *supervisor, size_t index, struct supervisor_end end, uint64_t now_ms)
{
    struct supervised *process = &supervisor->processes[index];
    if (supervisor->stopping) {
        enter(process, SUPERVISED_GONE, now_ms);
        return;
    }
    bool stable =
        process->state == SUPERVISED_READY && now_ms >= process->changed_at_ms + supervisor->options.stable_ms;
    if (process->state == SUPERVISED_STARTING)
        process->failed_starts++;
    if (stable)
        process->delay_ms = supervisor->options.restart_delay_ms;
    enter(process, SUPERVISED_WAITING, now_ms);
    process->restarts++;
    process->due_at_ms = now_ms + process->delay_ms;
    process->delay_ms *= 2;
    if (process->delay_ms > supervisor->options.restart_delay_limit_ms)
        process->delay_ms = supervisor->options.restart_delay_limit_ms;
    if (!supervisor->was_all_ready && !process->was_ready)
        judge_failed_start(supervisor, process, end, now_ms);
}

void supervisor_stop(struct supervisor *supervisor, uint64_t now_ms)
{
    if (supervisor->stopping)
        supervisor->hurry = true;
    supervisor->stopping = true;
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor->processes[i].state == SUPERVISED_WAITING)
            enter(&supervisor->processes[i], SUPERVISED_GONE, now_ms);
}

bool supervisor_all_ready(const struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor->processes[i].state != SUPERVISED_READY)
            return false;
    return true;
}

bool supervisor_finished(const struct supervisor *supervisor)
{
    if (!supervisor->stopping)
        return false;
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor->processes[i].state != SUPERVISED_GONE)
            return false;
    return true;
}

const char *supervisor_failure(const struct supervisor *supervisor)
{
    return supervisor->failure[0] != '\0' ? supervisor->failure : NULL;
}
