/* Keeps the local services' states true: runs the commands, looks whether the servers at
 * URLs accept connections (every 5 s, every second while one does not).
 *
 * Threading: the loop's thread. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/loop/loop.h"
#include "common/random.h"
#include "services/worker/control.h"
#include "services/worker/service_table.h"

struct supervisor;

struct supervisor_calls {
    /* The state of a service changed, in the table. */
    void (*changed)(void *context, struct service *service);
    /* After supervisor_stop: no command runs any more. */
    void (*stopped)(void *context);
};

/* All of it outlives the supervisor. NULL when memory runs out. */
struct supervisor *supervisor_create(struct loop *loop, struct control *control, struct random *random,
                                     const struct supervisor_calls *calls, void *context);

/* Takes a service of the table over; `command` is for SERVICE_COMMAND, outlives the
 * supervisor. One on demand does not run yet. False when memory runs out. */
bool supervisor_add(struct supervisor *supervisor, struct service *service, const char *command);

/* What "{url}" stands for in commands from now on: where this worker is reached. The text outlives the supervisor and
 * may change; then supervisor_moved starts the commands again that speak of it. */
void supervisor_set_url(struct supervisor *supervisor, const char *url);
void supervisor_moved(struct supervisor *supervisor);

/* A service on demand: runs it, or stops it again. It is stopped after SUPERVISOR_LINGER_MS, during which those who
 * send requests learn that it goes, and when its last request is over (after SUPERVISOR_FINISH_MS in any case). */
#define SUPERVISOR_LINGER_MS 5000u
#define SUPERVISOR_FINISH_MS 600000u
void supervisor_want(struct supervisor *supervisor, const struct service *service, bool wanted);

/* Somebody failed to connect to it: look at once. */
void supervisor_doubt(struct supervisor *supervisor, const struct service *service);

/* Stops the commands: SIGTERM, after grace_ms SIGKILL. `stopped` follows. */
void supervisor_stop(struct supervisor *supervisor, uint64_t grace_ms);

/* Kills what still runs. */
void supervisor_destroy(struct supervisor *supervisor);
