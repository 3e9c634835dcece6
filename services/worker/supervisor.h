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
 * supervisor. False when memory runs out. */
bool supervisor_add(struct supervisor *supervisor, struct service *service, const char *command);

/* Somebody failed to connect to it: look at once. */
void supervisor_doubt(struct supervisor *supervisor, const struct service *service);

/* Stops the commands: SIGTERM, after grace_ms SIGKILL. `stopped` follows. */
void supervisor_stop(struct supervisor *supervisor, uint64_t grace_ms);

/* Kills what still runs. */
void supervisor_destroy(struct supervisor *supervisor);
