/* What every load has in common: how much, for how long, and what came of it.
 *
 * Loads are closed loops: each connection keeps a fixed number of requests outstanding and
 * sends the next when an answer has come, so a server is never asked for more than it gives
 * and the rate is what it can do. (With `per_second`, which load_grpc alone heeds, the next
 * waits until its time has come as well.) Every answer is checked; one that is wrong is a
 * failure, and a measurement with a failure in it counts for nothing.
 *
 * A load runs in three phases: all connections open and get a first answer; a warm-up that
 * does not count; the window that does. With a limit instead of a window it ends when that
 * many answers have come: that is how servers are filled before they are measured.
 *
 * Latencies are told to whoever asks for them, for each message that is answered in the window
 * (or before the limit). They count from when the message was due, which with `per_second` is
 * before it was sent if the server held its connection up: else the slowest answers would be
 * those that are not measured. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/bench/failure.h"
#include "tests/bench/loop.h"

struct load_plan {
    uint16_t port; /* on the loopback address */
    unsigned connections;
    unsigned outstanding; /* requests on one connection; HTTP/1 takes 1 */
    unsigned warm_up_ms;
    unsigned window_ms;
    uint64_t limit;    /* answers after which to end, counted from the first; 0: by time */
    double per_second; /* messages sent at most, evenly, over all connections; 0: as many as are answered */
    /* NULL, or told how long a message waited for its answer. load_grpc alone heeds it. */
    void (*waited)(void *context, double milliseconds);
    bool (*over)(void *context); /* NULL, or asked in each turn whether the window ends already */
    void *context;               /* for these two */
    const pid_t *server_pids;    /* whose processor time is taken over the window */
    size_t server_count;
};

struct load_result {
    double per_second;  /* units (requests, heartbeats) answered in the window */
    double server_busy; /* processor time of the server's processes / length of the window */
};

/* Progress of a load; the generators count in it. */
struct load {
    const struct load_plan *plan;
    struct loop *loop;
    void (*each_turn)(struct load *load); /* NULL, or called after each turn of the loop */
    void *connections;                    /* see load_run */
    unsigned opened;                      /* of them, wholly or in part */
    void *read_buffer;                    /* shared by them, LOAD_READ_BYTES */
    uint64_t answered;                    /* messages */
    uint64_t units;                       /* what they count for */
    unsigned first_answers;               /* connections that have had their first */
    bool counts;                          /* in the window, or on the way to the limit */
    uint64_t look_at_signals_us;
    bool failed;
    struct failure *failure; /* of the first failure */
};

enum { LOAD_READ_BYTES = 256 * 1024 };

/* What kind of load. A connection is connection_bytes long, all zero at first, and begins
 * with its struct watch. */
struct load_generator {
    size_t connection_bytes;
    void (*ready)(struct watch *watch, uint32_t events);
    /* Makes the rest of the number-th connection and has it begin; false: memory ran out. */
    bool (*open)(struct load *load, struct watch *watch, unsigned number);
    /* Frees what `open` made, also when that failed; the descriptor is closed. */
    void (*close)(struct watch *watch);
};

/* Opens the connections, drives the loop through the phases, closes them; true when no answer
 * was wrong. `units` of the load are counted. Fails when interrupted, and when connections do
 * not get going in 30 s. `load` has its plan, loop and failure. */
bool load_run(struct load *load, const struct load_generator *generator, struct load_result *result);

/* The two ends of load_run alone, for a load that runs beside another one: it is answered
 * whenever the loop turns, for as long as it is open, and has no phases. load_open fails, and
 * leaves nothing open, with the load's failure; load_close tells whether an answer was wrong. */
bool load_open(struct load *load, const struct load_generator *generator);
bool load_close(struct load *load, const struct load_generator *generator);

/* For generators: notes the first failure, and makes load_run end. */
__attribute__((format(printf, 2, 3))) void load_fail(struct load *load, const char *format, ...);

/* Whether generators should send more. */
bool load_wants_more(const struct load *load);

/* For generators: reads into the read buffer; 0: there is no more for now, or the connection
 * broke, which is a failure. Less than LOAD_READ_BYTES have emptied the socket: the next edge
 * will say when there is more. */
size_t load_receive(struct load *load, const struct watch *watch);

/* For generators: how many of the bytes the socket took. */
size_t load_send(struct load *load, const struct watch *watch, const void *bytes, size_t count);

/* A non-blocking connection to the loopback address; -1 with errno. It may still be opening. */
int load_connect(uint16_t port);
