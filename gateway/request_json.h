/* From the bodies of REST requests to messages of the protocol.
 *
 * These two bodies come so often that they are read by hand: in one pass, straight into the
 * message. What they take and refuse is what their schemas (schemas.h) say, which unit test and
 * fuzz target hold against each other; all other bodies are checked by schema_check.
 *
 * Everything that a message points to lies in the arena that is handed in. Texts from
 * strangers are bounded here: what gets through fits the limits of the protocol.
 *
 * Threading: none of its own. */

#pragma once

#include "common/arena.h"
#include "common/json/fields.h"
#include "gateway/schemas.h"
#include "muster/v1/assigner.pb-c.h"
#include "muster/v1/health.pb-c.h"
#include "muster/v1/registry.pb-c.h"

enum request_json_result {
    REQUEST_JSON_OK,
    REQUEST_JSON_MALFORMED, /* 400 */
    REQUEST_JSON_INVALID,   /* 422 */
    REQUEST_JSON_NO_MEMORY, /* 500 */
};

/* The body of POST /api/worker/register; *is_worker (may be NULL): it says `role` worker. In anything but
 * REQUEST_JSON_OK the error says what is wrong. The JSON text of `capabilities` and `containers` is kept byte for byte;
 * with the shortcut `gpu` the two members that it stands for are put before those of capabilities. */
enum request_json_result register_request_from_json(const char *body, size_t body_bytes, struct arena *arena,
                                                    Muster__V1__RegisterWorkerRequest **request, bool *is_worker,
                                                    struct json_error *error);

/* The body of POST /api/worker/heartbeat. `load` is set when the body says anything of it. */
enum request_json_result heartbeat_from_json(const char *body, size_t body_bytes, struct arena *arena,
                                             Muster__V1__Heartbeat **heartbeat, struct json_error *error);

/* One worker of a backup, as POST /api/admin/import takes it: what /api/admin/workers or
 * /api/admin/export shows of it. The worker lies in the arena. With REQUEST_JSON_INVALID the
 * id is set as far as there is one. */
enum request_json_result import_worker_from_json(const char *text, size_t bytes, struct arena *arena,
                                                 Muster__V1__Worker **worker, struct json_error *error);

/* One worker as another coordinator's GET /api/admin/workers lists it: its record and how it is.
 * Everything lies in the arena. A status that is absent is taken for online. */
struct listed_worker {
    Muster__V1__Worker *record;
    Muster__V1__WorkerHealth *health;
    struct arena *arena;
};

enum request_json_result listed_worker_from_json(const char *text, size_t bytes, struct arena *arena,
                                                 struct listed_worker **worker, struct json_error *error);

/* One service of the catalog that a list of workers comes with. Everything lies in the arena. */
enum request_json_result listed_service_from_json(const char *text, size_t bytes, struct arena *arena,
                                                  Muster__V1__CatalogService **service, struct json_error *error);

/* What these have in common: `text` is `what` ("the body") as JSON, and `read` makes a message of it in the arena.
 * Whatever it made is put into *built; NULL: memory ran out. */
enum request_json_result request_json_read(const char *text, size_t bytes, const char *what, struct arena *arena,
                                           void *(*read)(struct json_fields *fields, struct arena *arena), void **built,
                                           struct json_error *error);
