/* A worker's record as the replica keeps it: what is looked at often, and the rest as it came.
 *
 * A record that protobuf-c has unpacked takes some three times the memory of the same one packed, and
 * most of it is read only when somebody asks for a list. So it stays packed, and is unpacked
 * when it is read: some two microseconds.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "muster/v1/registry.pb-c.h"

struct replica_record {
    uint64_t incarnation, revision;
    int64_t registered_at_ms, status_changed_at_ms;
    Muster__V1__WorkerType type;
    Muster__V1__WorkerStatus status;
    char *status_reason; /* NULL: none */
    char *registered_by; /* the same */
    uint32_t packed_bytes;
    bool draining;
    uint8_t packed[];
};

/* NULL when memory ran out. */
struct replica_record *replica_record_create(const Muster__V1__Worker *worker);
void replica_record_free(struct replica_record *record); /* NULL is allowed */

/* A status that came without the rest. Without memory it has no reason, which is only for people. */
void replica_record_set_status(struct replica_record *record, const Muster__V1__WorkerEvent *event);

/* What the registration consists of: spec, type, assigned services, registered_at_ms, incarnation; of the
 * capabilities the JSON alone, if there is one. Not what changes without one. Given back with
 * muster__v1__worker__free_unpacked. NULL when memory ran out. */
Muster__V1__Worker *replica_record_unpack(const struct replica_record *record);
