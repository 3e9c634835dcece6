/* The services of this worker: which it has, what they are called, how they are, and which
 * of them a path means.
 *
 * A service is local when this worker has something to answer its requests with: a URL of
 * a server that runs here, a command, or the built-in demonstration. A service on demand is a
 * command that runs only while the coordinator assigns it. The coordinator may assign others; those are reported as
 * "unavailable", so that nobody is sent here for them.
 *
 * Paths. Each local service is announced to the coordinator with a URL of its own at this
 * worker, /service/NAME, so that whatever the coordinator appends to it reaches that
 * service. Requests that are sent to the worker as such name the service in the path, as
 * clients do that have the list of workers and come directly:
 *
 *     /service/NAME[/REST]        goes to the service as /REST
 *     /api/NAME[/REST]            goes as it is
 *     /api/service/NAME[/REST]    goes as /api/NAME[/REST]
 *
 * NAME may be an alias.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/http/target.h"
#include "services/worker/heartbeat.h"

#define SERVICE_TABLE_MAX 64 /* local services */

enum service_kind {
    SERVICE_BUILT_IN, /* answered by the worker itself */
    SERVICE_URL,      /* a server that somebody else runs */
    SERVICE_COMMAND,  /* a server that the worker runs */
};

enum service_state { SERVICE_STARTING, SERVICE_RUNNING, SERVICE_FAILED, SERVICE_STOPPED };

struct service {
    char *name;
    enum service_kind kind;
    enum service_state state;
    bool on_demand;            /* runs only while it is assigned; not announced */
    uint32_t active;           /* requests that are under way */
    struct http_origin origin; /* of SERVICE_URL always, of SERVICE_COMMAND while it runs */

    /* What the coordinator said of it, if anything. */
    char **aliases;
    size_t alias_count;
};

/* An all-zero table is empty. */
struct service_table {
    struct service *services[SERVICE_TABLE_MAX];
    size_t count;
    struct heartbeat_names assigned;
};

void service_table_free(struct service_table *table);

/* Whether a service may be called so: 1 to 127 of A-Z a-z 0-9 . _ - */
bool service_name_acceptable(const char *name);

/* Adds a local service, starting. NULL: the table is full, the name is taken or is not
 * acceptable, or memory runs out. Services stay where they are until the table is freed. */
struct service *service_table_add(struct service_table *table, const char *name, enum service_kind kind);

/* The local service of that name, not alias; NULL: none. */
struct service *service_table_find(const struct service_table *table, const char *name);

/* Takes over what the coordinator said of a service; one that is not local is passed over.
 * False: memory ran out, the service is as before. */
bool service_table_configure(struct service_table *table, const char *name, const char *const *aliases,
                             size_t alias_count);

/* Whether the coordinator assigns it, under its name or an alias. */
bool service_table_is_assigned(const struct service_table *table, const struct service *service);

/* The names of the services that the worker announces: all local ones but those on demand. They point into the table.
 * Returns how many. */
size_t service_table_announced(const struct service_table *table, const char *names[SERVICE_TABLE_MAX]);

/* Each local service (one on demand only while it is assigned or runs) and each assigned one that is not: names and
 * words for a heartbeat. Returns how many of `states` were filled; they point into the table. */
#define SERVICE_TABLE_STATES_MAX (SERVICE_TABLE_MAX + HEARTBEAT_SERVICES_LIMIT)
size_t service_table_states(const struct service_table *table,
                            struct heartbeat_service states[SERVICE_TABLE_STATES_MAX]);

const char *service_state_text(enum service_state state);

enum service_match {
    SERVICE_MATCH_LOCAL,
    SERVICE_MATCH_UNAVAILABLE, /* assigned to us, but there is nothing to run it with */
    SERVICE_MATCH_NONE,
};

/* Where a request goes. The path for the service is `prefix` followed by `rest`, which
 * points into the request's path or to a constant. */
struct service_route {
    struct service *service; /* with SERVICE_MATCH_LOCAL */
    const char *prefix;
    struct http_text rest;
};

enum service_match service_table_match(const struct service_table *table, struct http_text path,
                                       struct service_route *route);
