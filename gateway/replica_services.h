/* Inside of replica.h: which worker offers which service. For replica.c and
 * replica_services.c. */

#pragma once

#include "gateway/replica.h"

/* The worker's record is new: enters it under the services that it offers, and only those.
 * False: memory ran out. */
bool replica_services_join(struct replica *replica, struct replica_worker *worker, const Muster__V1__Worker *record);

/* Counts it, or no longer, among the healthy workers, also of its services, after its status may have changed. */
void replica_services_recount(struct replica *replica, struct replica_worker *worker);

/* Takes it out of all. A service that is in nobody's catalog goes with its last worker. */
void replica_services_leave(struct replica *replica, struct replica_worker *worker);

void replica_services_free(struct replica *replica);
