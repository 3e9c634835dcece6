/* An edge proxy's questions to the coordinators for services that no list has. See proxy.h and
 * proxy/elsewhere_table.h.
 *
 * Threading: the rpc loop's thread. */

#pragma once

#include "gateway/proxy.h"
#include "gateway/proxy/elsewhere_table.h"

struct elsewhere {
    struct elsewhere_table table;
    struct map questions; /* struct question by service: those that are under way */
    struct timer timer;   /* the next that is forgotten */
};

/* False: memory ran out. */
bool elsewhere_start(struct backend *backend);
void elsewhere_stop(struct backend *backend); /* before the calls end */
void elsewhere_free(struct backend *backend);

/* Whether the job waits for the answer of a coordinator; it runs again then. False: nobody knows the service. */
bool elsewhere_looks(struct backend *backend, struct job *job);
