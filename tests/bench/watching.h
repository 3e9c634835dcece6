/* How long changes are on their way to all who watch: registrations and Muster's WatchWorkers,
 * puts of the same bytes and etcd's Watch.
 *
 * Changes are numbered as workers are (messages.h). One counts from when it is sent until the
 * last of the watchers has got it. */

#pragma once

#include "tests/bench/messages.h"
#include "tests/bench/roll.h"
#include "tests/bench/statistics.h"

struct watching {
    unsigned watchers;
    unsigned first, count;    /* the changes that are looked for */
    unsigned warm_up;         /* of these, so many at the beginning do not count */
    unsigned complete;        /* of these, seen by all */
    uint64_t after_revision;  /* of Muster's roll; 0: watchers are sent a snapshot first */
    struct samples latencies; /* milliseconds */
    struct registrations changes;
    struct roll_watch roll;
    struct watching_change {
        uint64_t sent_us;
        unsigned seen; /* by so many watchers */
    } * state;
    bool *got; /* change by change, whether each watcher has it */
};

/* False: out of memory; free it all the same. */
bool watching_make(struct watching *watching, unsigned watchers, unsigned first, unsigned count, unsigned warm_up);
void watching_free(struct watching *watching);

/* The watchers: one lane each. */
struct grpc_source watching_roll_source(struct watching *watching);
struct grpc_source watching_keys_source(struct watching *watching);

/* The changes. */
struct grpc_source watching_registrations_source(struct watching *watching);
struct grpc_source watching_puts_source(struct watching *watching);
