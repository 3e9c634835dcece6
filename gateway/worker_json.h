/* The Worker of the REST contract.
 *
 * What a registration fixed and what heartbeats change are rendered apart and kept with the
 * worker, so that a list of many is put together from pieces that are mostly there; in a roll of
 * more than REPLICA_JSON_WORKERS_MAX they are rendered each time.
 *
 * Threading: the replica's thread. */

#pragma once

#include "common/json/write.h"
#include "gateway/replica.h"

/* The word of the contract: "gpu". "unknown" for numbers of a later protocol. */
const char *worker_type_word(Muster__V1__WorkerType type);
/* The same for a status; who was removed is "offline" to the contract's clients. */
const char *worker_status_word(Muster__V1__WorkerStatus status);

/* Writes the object. */
void worker_json_write(struct json_writer *writer, const struct replica *replica, struct replica_worker *worker);
/* The same with `age_seconds` (since it was last heard) and `is_healthy`, as the admin list wants it. */
void worker_json_write_admin(struct json_writer *writer, const struct replica *replica, struct replica_worker *worker,
                             uint64_t age_ms);

/* The capabilities as they were registered, or made from the typed fields. */
void worker_json_write_capabilities(struct json_writer *writer, const Muster__V1__Capabilities *capabilities);

/* A record of the registry for GET /api/admin/export: what is on disk. */
void worker_json_write_export(struct json_writer *writer, const Muster__V1__Worker *record);
