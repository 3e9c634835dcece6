/* A worker's place on the coordinator's roll: carries out over REST and gRPC what the agent
 * (agent.h) decides, and tells it what came of that.
 *
 * Events are told to the agent as they come; what it wants is done at the end of the loop's
 * turn, so that no part is ever called from inside itself.
 *
 * Threading: the loop's thread. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/loop/loop.h"
#include "common/random.h"
#include "services/worker/agent.h"
#include "services/worker/control.h"
#include "services/worker/coordinators.h"
#include "services/worker/detect.h"
#include "services/worker/heartbeat.h"
#include "services/worker/service_table.h"

struct membership;

struct membership_config {
    struct loop *loop;
    struct control *control;
    struct random *random;
    struct agent_config agent;
    struct coordinators *coordinators; /* whom to register with */
    const char *api_key;               /* to register with; "": none */
    char *worker_id;                   /* HEARTBEAT_ID_BYTES; the coordinator may answer another one */
    const char *tunnel_url;            /* may change, with membership_moved */
    const char *worker_type;
    const char *location;
    uint64_t return_after_ms; /* homeward.h; 0: never */
    const struct detect_machine_figures *machine;
    struct service_table *table; /* assignments go in here */

    /* Has the coordinator of that URL reach this worker, and sets tunnel_url accordingly, before a registration there.
     * True: it does; false: membership_reached will tell. NULL: nothing has to be done. One that has nothing for that
     * (404) is asked for coordinators that have: an edge router may know some. */
    bool (*reach)(void *context, const char *coordinator_url);
    /* Fills in the load: everything but id, incarnation, status and services. Texts are
     * valid until the next call. */
    void (*measure)(void *context, struct heartbeat *heartbeat);
    /* What is assigned has changed, in the table. */
    void (*assigned)(void *context);
    /* There is no coordinator at all: an edge router says that none has joined it. */
    void (*nobody)(void *context);
    /* After membership_stop, or because another process took the id (replaced). */
    void (*stopped)(void *context, bool replaced);
    void *context;
};

/* Begins to register with the loop's next turn. `config` is copied, what it points to
 * outlives the membership. NULL when memory runs out. */
struct membership *membership_create(const struct membership_config *config);
void membership_destroy(struct membership *membership);

/* Leaves the roll in order: see agent.h. A second call hurries. */
void membership_stop(struct membership *membership);

/* The text at tunnel_url is another one: registers it. */
void membership_moved(struct membership *membership);

/* What became of `reach`: error NULL: it went well; else why not, and the status of the coordinator's answer, 0: there
 * was none. */
void membership_reached(struct membership *membership, unsigned status, const char *error);

void membership_services_changed(struct membership *membership);
void membership_set_active_requests(struct membership *membership, uint32_t active);

/* For /health. */
struct membership_status {
    const char *state;           /* "registered", "registering", "draining", "stopped" */
    const char *heartbeats;      /* "stream", "http", "none": how they go now */
    const char *worker_type;     /* as the coordinator decided; "" before */
    const char *coordinator_url; /* that it speaks to; valid until the loop's next turn */
    uint64_t incarnation;
};

void membership_status(const struct membership *membership, struct membership_status *status);
