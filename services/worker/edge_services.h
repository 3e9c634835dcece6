/* The commands for the services that edge workers are assigned, made of Muster's own programs:
 *
 *     coordinator     musterctl up --join: a coordinator that the edge router of this worker gets to know
 *     edge-proxy      muster-gateway --role edge-proxy, by the lists of this worker's coordinators
 *     load-balancer   muster-gateway --role load-balancer, before the edge proxies of all workers
 *
 * Each listens on this machine only, and is reached through the worker, at its URL with /service/NAME behind it: so it
 * works through the worker's tunnel as well.
 *
 * Threading: none of its own. No I/O, but for edge_services_find. */

#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/buffer.h"

enum edge_service { EDGE_COORDINATOR, EDGE_PROXY, EDGE_LOAD_BALANCER, EDGE_SERVICE_COUNT };

const char *edge_service_name(enum edge_service service);

struct edge_settings {
    const char *musterctl, *gateway; /* the programs */
    const char *folder;              /* what the names of their folders begin with */
    const char *worker_id;
    const char *location;         /* "": not known */
    const char *coordinator_urls; /* separated by commas */
    const char *join;             /* edge routers, likewise */
    const char *api_keys;         /* the key file of all three; "": they are open */
};

/* Appends the command, with {port} and {url} in it (common/process/child.h). */
void edge_service_command(enum edge_service service, const struct edge_settings *settings, struct buffer *out);

/* Finds a program beside this one, or where the build puts it. False: it is not there. */
bool edge_services_find(const char *name, char *path, size_t path_bytes);
