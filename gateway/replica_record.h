/* A worker's record as the replica keeps it: what is looked at often, and the rest as it came.
 *
 * A record that protobuf-c has unpacked takes some three times the memory of the same one packed, and
 * most of it is read only when somebody asks for a list. So it stays packed, and is unpacked
 * when it is read: some two microseconds. Where the bytes are at hand that it came in, they are taken from there.
 *
 * A record is one piece of a slab (common/slab.h), and one more for as long as there is a reason for its status.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/slab.h"
#include "common/wire.h"
#include "muster/v1/registry.pb-c.h"

struct replica_service;

/* That a worker offers a service, and where it stands among the service's workers. */
struct replica_offer {
    struct replica_service *service;
    size_t position;
};

struct replica_record {
    uint64_t incarnation, revision;
    int64_t registered_at_ms, status_changed_at_ms;
    char *status_reason; /* NULL: none */
    uint32_t bytes;      /* of this piece */
    uint32_t packed_bytes;
    uint32_t offers_max;
    uint8_t type;   /* Muster__V1__WorkerType */
    uint8_t status; /* Muster__V1__WorkerStatus */
    bool draining;
    bool owned; /* it was registered with somebody's key */
    /* Room for one for each service that it names. Behind them lie the packed rest and the owner's name. */
    struct replica_offer offers[];
};

/* `wire`: the bytes that `worker` was unpacked from; NULL: they are not at hand, and it is packed again. NULL when
 * memory ran out. */
struct replica_record *replica_record_create(struct slab *memory, const Muster__V1__Worker *worker,
                                             const struct wire_bytes *wire);
void replica_record_free(struct replica_record *record); /* NULL is allowed */

/* With whose key it was registered; NULL: nobody's. */
const char *replica_record_owner(const struct replica_record *record);

/* A status that came without the rest. Without memory it has no reason, which is only for people. */
void replica_record_set_status(struct replica_record *record, const Muster__V1__WorkerEvent *event);

/* What the registration consists of: spec, type, assigned services, registered_at_ms, incarnation; of the
 * capabilities it may be the JSON alone, if there is one. Not what changes without a registration. Given back with
 * muster__v1__worker__free_unpacked. NULL when memory ran out. */
Muster__V1__Worker *replica_record_unpack(const struct replica_record *record);
