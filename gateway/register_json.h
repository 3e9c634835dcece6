/* What a worker says of itself, as JSON: shared by the registration, the import and the lists of
 * other coordinators. Inside request_json's library. Mistakes are the fields' own.
 *
 * Threading: none of its own. */

#pragma once

#include "common/json/fields.h"
#include "muster/v1/worker.pb-c.h"

/* Reads the members of the body, or of one imported worker, into the spec. */
void register_read_spec(const struct json_fields *body, struct arena *arena, Muster__V1__WorkerSpec *spec);

/* Reads a list of at most `limit` names of services, or of what they can do. NULL when it is absent or empty. */
char **register_read_names(const struct json_fields *fields, const char *name, size_t limit, struct arena *arena,
                           size_t *count);
/* Reads a worker of a list; worker->spec is there. */
void import_read_worker(const struct json_fields *fields, struct arena *arena, Muster__V1__Worker *worker);

/* Reads what a heartbeat or a list says of the load; NULL: nothing, or memory ran out. */
Muster__V1__Load *heartbeat_read_load(const struct json_fields *body, struct arena *arena);
