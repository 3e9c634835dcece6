#include "services/worker/gpu_monitor.h"

#include <stdlib.h>

#include "common/log.h"
#include "services/worker/command.h"

#define TIMEOUT_MS 10000u

struct gpu_monitor {
    struct loop *loop;
    struct detect_gpu *gpu;
    uint64_t interval_ms;
    struct command command;
    struct loop_watch watch;
    struct timer timer; /* the next question, or the end of our patience with this one */
};

static void ask(struct timer *timer, void *argument);

static void finish(struct gpu_monitor *monitor)
{
    loop_watch_remove(monitor->loop, &monitor->watch);
    command_end(&monitor->command);
    loop_timer_start(monitor->loop, &monitor->timer, monitor->interval_ms, ask, monitor);
}

static void give_up(struct timer *timer, void *argument)
{
    (void)timer;
    log_warning("nvidia-smi does not answer", LOG_UINT("timeout_ms", TIMEOUT_MS));
    finish(argument);
}

static void ready(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    struct gpu_monitor *monitor = (struct gpu_monitor *)((char *)watch - offsetof(struct gpu_monitor, watch));
    enum command_state state = command_read(&monitor->command);
    if (state == COMMAND_RUNNING)
        return;
    if (state == COMMAND_FAILED || !detect_parse_gpus(monitor->command.output, monitor->gpu))
        log_warning("nvidia-smi says nothing useful", LOG_TEXT("output", monitor->command.output));
    finish(monitor);
}

static void ask(struct timer *timer, void *argument)
{
    (void)timer;
    struct gpu_monitor *monitor = argument;
    if (!command_start(&monitor->command, detect_gpu_command) ||
        !loop_watch_add(monitor->loop, &monitor->watch, monitor->command.output_fd, ready)) {
        finish(monitor);
        return;
    }
    loop_timer_start(monitor->loop, &monitor->timer, TIMEOUT_MS, give_up, monitor);
}

struct gpu_monitor *gpu_monitor_create(struct loop *loop, struct detect_gpu *gpu, uint64_t interval_ms)
{
    struct gpu_monitor *monitor = calloc(1, sizeof *monitor);
    if (monitor == NULL)
        return NULL;
    monitor->loop = loop;
    monitor->gpu = gpu;
    monitor->interval_ms = interval_ms;
    monitor->watch = (struct loop_watch)LOOP_WATCH_INIT;
    loop_timer_start(loop, &monitor->timer, interval_ms, ask, monitor);
    return monitor;
}

void gpu_monitor_destroy(struct gpu_monitor *monitor)
{
    if (monitor == NULL)
        return;
    loop_watch_remove(monitor->loop, &monitor->watch);
    command_end(&monitor->command);
    loop_timer_stop(monitor->loop, &monitor->timer);
    free(monitor);
}
