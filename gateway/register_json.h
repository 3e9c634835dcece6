/* What a worker says of itself, as JSON: shared by the registration and the import. Inside
 * request_json's library. */

#pragma once

#include "common/json/fields.h"
#include "muster/v1/worker.pb-c.h"

/* Reads the members of the body, or of one imported worker, into the spec; mistakes are the
 * fields' own. */
void register_read_spec(const struct json_fields *body, struct arena *arena, Muster__V1__WorkerSpec *spec);

/* Reads a list of at most `limit` names of services, or of what they can do. NULL when it is absent or empty. */
char **register_read_names(const struct json_fields *fields, const char *name, size_t limit, struct arena *arena,
                           size_t *count);
