/* Inside of replica.h: which worker offers which service. For replica.c and
 * replica_services.c. */

#pragma once

#include "gateway/replica.h"

/* The worker's record is new, and it is in no service: enters it under those that it offers. False: memory ran out. */
bool replica_services_join(struct replica *replica, struct replica_worker *worker, const Muster__V1__Worker *record);

/* Counts it, or no longer, among the healthy workers, also of its services, after its status may have changed. */
void replica_services_recount(struct replica *replica, struct replica_worker *worker);

/* Takes it out of all, before its record goes. A service that is in nobody's catalog goes with its last worker. */
void replica_services_leave(struct replica *replica, struct replica_worker *worker);

void replica_services_free(struct replica *replica);
