/* Runs the processes of a plan: the shell around the supervisor. It starts and signals
 * them, hears when they are ready and when they end, and keeps a file that says how they
 * are, processes.json in the data directory, for `musterctl processes` and for tests.
 *
 * Threading: one thread, with SIGCHLD, SIGTERM and SIGINT blocked; nothing in the program
 * may have started another one, since it forks. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "services/ctl/plan.h"
#include "services/ctl/supervisor.h"

struct fleet_options {
    const struct plan *plan;
    const struct supervisor_options *supervisor;
    const char *bin_dir;  /* where the binaries are; "": in the folder of this one, or where the build puts them */
    const char *log_dir;  /* each process's log goes to NAME.log in it; "": standard error */
    const char *data_dir; /* exists */
    const char *url;      /* of the gateway, as shown to people */
    /* Asked again and again once all processes are ready, until it says that everything
     * serves; it may block for a moment. */
    bool (*serves)(void *argument);
    const char *problem; /* what `serves` last found missing */
    /* Called once when everything serves. */
    void (*ready)(void *argument);
    void *argument;
    uint64_t serve_timeout_ms; /* the start has failed when `serves` took longer to say so */
};

/* Runs until SIGTERM, SIGINT or a start that failed, and until all processes are gone.
 * Returns true when it was asked to stop and all ended in order; false with one line in
 * `error` otherwise. */
bool fleet_run(const struct fleet_options *options, char *error, size_t error_bytes);
