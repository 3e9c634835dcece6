#include "tests/bench/load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/bench/process.h"

enum {
    START_TIMEOUT_MS = 30000,
    LIMIT_TIMEOUT_MS = 120000,
    SIGNALS_EVERY_MS = 20,
};

void load_fail(struct load *load, const char *format, ...)
{
    if (load->failed)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(load->failure->text, sizeof load->failure->text, format, arguments);
    va_end(arguments);
    load->failed = true;
}

bool load_wants_more(const struct load *load)
{
    return !load->failed;
}

int load_connect(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int yes = 1;
    if (descriptor < 0)
        return -1;
    if (setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) == 0 &&
        (connect(descriptor, (const struct sockaddr *)&address, sizeof address) == 0 || errno == EINPROGRESS))
        return descriptor;
    close(descriptor);
    return -1;
}

/* Never sleeps: the load has a core to itself, and a server should not pay for waking it up.
 * Returns whether to go on, and the time. */
static bool turn(struct load *load, uint64_t *now_us)
{
    loop_turn(load->loop, 0);
    if (load->each_turn != NULL)
        load->each_turn(load);
    *now_us = clock_monotonic_us();
    if (*now_us >= load->look_at_signals_us) {
        load->look_at_signals_us = *now_us + (uint64_t)SIGNALS_EVERY_MS * 1000;
        if (loop_interrupted(load->loop))
            load_fail(load, "interrupted");
    }
    return !load->failed;
}

static double server_cpu_seconds(const struct load_plan *plan)
{
    double seconds = 0;
    for (size_t i = 0; i < plan->server_count; i++)
        seconds += process_cpu_seconds(plan->server_pids[i]);
    return seconds;
}

/* Fills a server: until all of the limit is answered. */
static void run_to_limit(struct load *load, struct load_result *result)
{
    uint64_t limit = load->plan->limit, start_us = clock_monotonic_us(), now_us = start_us;
    load->counts = true;
    while (load->answered < limit && turn(load, &now_us))
        if (now_us - start_us > (uint64_t)LIMIT_TIMEOUT_MS * 1000)
            load_fail(load, "%llu of %llu requests answered after %d s", (unsigned long long)load->answered,
                      (unsigned long long)limit, LIMIT_TIMEOUT_MS / 1000);
    if (now_us > start_us)
        result->per_second = (double)load->units * 1e6 / (double)(now_us - start_us);
}

static void run_window(struct load *load, struct load_result *result)
{
    const struct load_plan *plan = load->plan;
    uint64_t start_us = clock_monotonic_us(), now_us = start_us;
    while (load->first_answers < plan->connections && turn(load, &now_us))
        if (now_us - start_us > (uint64_t)START_TIMEOUT_MS * 1000)
            load_fail(load, "%u of %u connections had an answer after %d s", load->first_answers, plan->connections,
                      START_TIMEOUT_MS / 1000);
    uint64_t warm_us = now_us + (uint64_t)plan->warm_up_ms * 1000;
    while (now_us < warm_us && turn(load, &now_us))
        continue;

    load->units = 0;
    load->counts = true;
    double cpu_before = server_cpu_seconds(plan);
    uint64_t window_start_us = clock_monotonic_us(), window_end_us = window_start_us + (uint64_t)plan->window_ms * 1000;
    for (now_us = window_start_us; now_us < window_end_us && turn(load, &now_us);)
        if (plan->over != NULL && plan->over(plan->context))
            break;
    double seconds = (double)(now_us - window_start_us) / 1e6;
    if (seconds > 0) {
        result->per_second = (double)load->units / seconds;
        result->server_busy = (server_cpu_seconds(plan) - cpu_before) / seconds;
    }
}

size_t load_receive(struct load *load, const struct watch *watch)
{
    ssize_t got = recv(watch->descriptor, load->read_buffer, LOAD_READ_BYTES, 0);
    if (got > 0)
        return (size_t)got;
    if (got == 0 || errno != EAGAIN)
        load_fail(load, "the server closed a connection%s%s", got < 0 ? ": " : "", got < 0 ? strerror(errno) : "");
    return 0;
}

size_t load_send(struct load *load, const struct watch *watch, const void *bytes, size_t count)
{
    ssize_t sent = send(watch->descriptor, bytes, count, MSG_NOSIGNAL);
    if (sent >= 0)
        return (size_t)sent;
    if (errno != EAGAIN && errno != ENOTCONN)
        load_fail(load, "sending: %s", strerror(errno));
    return 0;
}

static struct watch *connection_at(const struct load *load, const struct load_generator *generator, unsigned number)
{
    return (struct watch *)((char *)load->connections + number * generator->connection_bytes);
}

static void open_connections(struct load *load, const struct load_generator *generator)
{
    while (load->opened < load->plan->connections && !load->failed) {
        unsigned number = load->opened++;
        struct watch *watch = connection_at(load, generator, number);
        *watch = (struct watch){generator->ready, load_connect(load->plan->port)};
        if (watch->descriptor < 0 || !generator->open(load, watch, number) || !loop_watch(load->loop, watch))
            load_fail(load, "connecting: %s", strerror(errno));
    }
}

bool load_open(struct load *load, const struct load_generator *generator)
{
    load->connections = calloc(load->plan->connections, generator->connection_bytes);
    load->read_buffer = malloc(LOAD_READ_BYTES);
    if (load->connections == NULL || load->read_buffer == NULL)
        load_fail(load, "out of memory");
    else
        open_connections(load, generator);
    return !load->failed || load_close(load, generator);
}

bool load_close(struct load *load, const struct load_generator *generator)
{
    bool done = !load->failed;
    load->failed = true; /* what closes now does so because of us */
    for (unsigned i = 0; i < load->opened; i++) {
        loop_unwatch(load->loop, connection_at(load, generator, i));
        generator->close(connection_at(load, generator, i));
    }
    free(load->connections);
    free(load->read_buffer);
    return done;
}

bool load_run(struct load *load, const struct load_generator *generator, struct load_result *result)
{
    *result = (struct load_result){0};
    if (!load_open(load, generator))
        return false;
    if (load->plan->limit > 0)
        run_to_limit(load, result);
    else
        run_window(load, result);
    return load_close(load, generator);
}
