#include "common/service/service.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/loopback.h"
#include "proto/muster_descriptors.h"

/* Values of the settings that every process has. */
struct common_settings {
    const char *host;
    uint64_t port;
    double drain_timeout_seconds;
    const char *ready_descriptor;
    bool insecure;
};

struct process {
    struct service *service;
    struct common_settings common;
    sigset_t signals;
    bool stopping;
};

bool service_fail(struct service *service, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(service->error, sizeof(service->error), format, arguments);
    va_end(arguments);
    return false;
}

/* --- Settings --- */

static struct setting *merge_settings(const struct service *service, struct common_settings *common,
                                      const char *default_port, size_t *count)
{
    const struct setting ours[] = {
        {"host", SETTING_TEXT, &common->host, "127.0.0.1", "ADDRESS", "Address to listen on.", 0, 0},
        {"port", SETTING_UINT, &common->port, default_port, "PORT", "TCP port to listen on; 0: any free one.", 0,
         65535},
        {"drain-timeout-seconds", SETTING_DOUBLE, &common->drain_timeout_seconds, "10", "SECONDS",
         "How long open calls may take to finish when the process is told to stop.", 0, 3600},
        {"ready-fd", SETTING_TEXT, &common->ready_descriptor, "", "N",
         "Write HOST:PORT to this file descriptor when serving.", 0, 0},
        {"insecure", SETTING_BOOL, &common->insecure, NULL, NULL,
         "Listen on --host though others can reach it: gRPC ports know no keys.", 0, 0},
    };
    size_t our_count = sizeof(ours) / sizeof(ours[0]);
    struct setting *settings = calloc(our_count + service->setting_count, sizeof(settings[0]));
    if (settings == NULL)
        abort();
    memcpy(settings, ours, sizeof(ours));
    if (service->setting_count > 0)
        memcpy(settings + our_count, service->settings, service->setting_count * sizeof(settings[0]));
    *count = our_count + service->setting_count;
    return settings;
}

/* The descriptor's number, -1 when none was given; false: that is not one. */
static bool parse_descriptor(const char *text, int *descriptor)
{
    *descriptor = -1;
    if (text[0] == '\0')
        return true;
    char *end = NULL;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno != 0 || *end != '\0' || number < 0 || number > 1 << 20)
        return false;
    *descriptor = (int)number;
    return true;
}

/* --- Stopping --- */

static void drained(void *argument)
{
    struct process *process = argument;
    rpc_loop_stop(process->service->loop);
}

static void stop(void *argument)
{
    struct process *process = argument;
    struct service *service = process->service;
    if (service->server == NULL)
        return; /* another signal, which the end has overtaken */
    if (process->stopping) {
        /* Told twice: somebody does not want to wait. */
        rpc_server_drain(service->server, 0, drained, process);
        return;
    }
    process->stopping = true;
    log_info("stopping", LOG_UINT("open_calls", rpc_server_open_calls(service->server)));
    rpc_server_drain(service->server, (uint64_t)(process->common.drain_timeout_seconds * 1000), drained, process);
    if (service->stopping != NULL)
        service->stopping(service);
}

static void reload(void *argument)
{
    struct process *process = argument;
    if (!process->stopping)
        process->service->reload(process->service);
}

/* Waits for signals, which all other threads have blocked, and brings them to the loop. */
static void *wait_for_signals(void *argument)
{
    struct process *process = argument;
    for (;;) {
        int number = 0;
        if (sigwait(&process->signals, &number) != 0)
            continue;
        if (number == SIGUSR2)
            return NULL;
        rpc_loop_post(process->service->loop, number == SIGHUP ? reload : stop, process);
    }
}

/* --- Running --- */

static bool write_ready(struct service *service, int descriptor)
{
    char line[sizeof(service->address) + 1];
    int length = snprintf(line, sizeof(line), "%s\n", service->address);
    bool written = length > 0 && write(descriptor, line, (size_t)length) == length;
    return close(descriptor) == 0 && written;
}

static bool start(struct process *process, int ready_descriptor)
{
    struct service *service = process->service;
    if (!rpc_server_add_descriptors(service->server, muster_descriptors, muster_descriptors_bytes))
        return service_fail(service, "the program's own descriptors are malformed; build it again");
    if (!service->start(service))
        return false;
    uint16_t port = rpc_server_start(service->server, service->error, sizeof(service->error));
    if (port == 0)
        return false;
    const char *format = strchr(process->common.host, ':') != NULL ? "[%s]:%u" : "%s:%u";
    snprintf(service->address, sizeof(service->address), format, process->common.host, (unsigned)port);
    if (ready_descriptor >= 0 && !write_ready(service, ready_descriptor))
        return service_fail(service, "cannot write to --ready-fd %d: %s; pass a descriptor that is open for writing",
                            ready_descriptor, strerror(errno));
    return true;
}

/* Runs until it is told to stop. */
static void run(struct process *process)
{
    struct service *service = process->service;
    pthread_t signal_thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    if (pthread_create(&signal_thread, &attributes, wait_for_signals, process) != 0)
        abort(); /* the system has no memory for a thread */
    pthread_attr_destroy(&attributes);
    log_info("serving", LOG_TEXT("address", service->address));
    if (service->serving != NULL)
        service->serving(service);
    rpc_loop_run(service->loop);
    pthread_kill(signal_thread, SIGUSR2);
    pthread_join(signal_thread, NULL);
}

static void block_signals(struct process *process)
{
    sigemptyset(&process->signals);
    sigaddset(&process->signals, SIGTERM);
    sigaddset(&process->signals, SIGINT);
    sigaddset(&process->signals, SIGUSR2);
    if (process->service->reload != NULL)
        sigaddset(&process->signals, SIGHUP);
    /* Before the first thread, so that all inherit it. */
    pthread_sigmask(SIG_BLOCK, &process->signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    /* A file that may not grow (ulimit -f) is an error like a full disk, and no end. */
    signal(SIGXFSZ, SIG_IGN);
}

static int run_service(struct process *process, int ready_descriptor)
{
    struct service *service = process->service;
    char address[sizeof(service->address)];
    const char *format = strchr(process->common.host, ':') != NULL ? "[%s]:%u" : "%s:%u";
    snprintf(address, sizeof(address), format, process->common.host, (unsigned)process->common.port);
    service->loop = rpc_loop_create();
    service->server = rpc_server_create(service->loop, &(struct rpc_server_options){
                                                           .address = address,
                                                           .max_message_bytes = service->max_message_bytes,
                                                       });
    bool started = start(process, ready_descriptor);
    if (started)
        run(process);
    else
        fprintf(stderr, "%s: %s\n", service->program, service->error);
    rpc_server_destroy(service->server);
    service->server = NULL;
    if (service->stopped != NULL)
        service->stopped(service);
    rpc_loop_destroy(service->loop);
    service->loop = NULL;
    if (started)
        log_info("stopped");
    return started ? 0 : 1;
}

int service_main(struct service *service, int argc, char **argv)
{
    struct process process = {.service = service};
    service->process = &process;
    /* gRPC core's helper threads hardly allocate: one heap for all of them keeps the
     * process small. Large blocks go back to the system at once. */
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 256 << 10);

    char default_port[8];
    snprintf(default_port, sizeof(default_port), "%u", (unsigned)service->default_port);
    size_t setting_count = 0;
    struct setting *settings = merge_settings(service, &process.common, default_port, &setting_count);
    struct config config = {
        .program = service->program,
        .summary = service->summary,
        .settings = settings,
        .setting_count = setting_count,
    };
    config_parse_or_exit(&config, argc, argv);
    int exit_code = 2;
    int ready_descriptor = -1;
    service->host = process.common.host;
    if (!process.common.insecure && !host_is_loopback(process.common.host)) {
        fprintf(stderr,
                "%s: --host %s can be reached by others, and this port knows no keys: listen on 127.0.0.1, or say "
                "--insecure if only your own machines can reach it\n",
                service->program, process.common.host);
    } else if (parse_descriptor(process.common.ready_descriptor, &ready_descriptor)) {
        block_signals(&process);
        exit_code = run_service(&process, ready_descriptor);
    } else {
        fprintf(stderr, "%s: --ready-fd takes the number of an open file descriptor, not '%s'\n", service->program,
                process.common.ready_descriptor);
    }
    config_free(&config);
    free(settings);
    return exit_code;
}
