/* A worker's record, packed.
 *
 * A million of them must fit into memory, and they are sent far more often than they are
 * looked into. So what the worker registered and what it was assigned stay as they travel:
 * the wire bytes of Worker.spec and Worker.assigned_services, one after the other (the
 * "body"). Only what the registry itself decides by lies beside them as C fields. One record
 * is one allocation, and one more for as long as there is a reason for its status. One that is
 * kept lies in a slab, among others of its size.
 *
 * A body is sent without unpacking it: protobuf-c packs a message's unknown fields as they
 * are, so a Worker message whose spec is "unknown" and whose bytes are the body is, once
 * packed, the same as one that was filled in field by field. Such a message can be packed
 * only; use record_unpack to look inside.
 *
 * Threading: none of its own. */

#pragma once

#include "common/buffer.h"
#include "common/slab.h"
#include "common/wire.h"

#include "muster/v1/worker.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct record {
    uint64_t row;             /* its number in the store */
    uint64_t put_revision;    /* of the last change of the whole record */
    uint64_t status_revision; /* of the last change of the status alone; 0: none since */
    uint64_t incarnation;
    int64_t registered_at_ms;
    int64_t status_changed_at_ms;
    char *status_reason; /* NULL: none */
    uint32_t body_bytes;
    uint16_t id_bytes;
    uint8_t status;   /* Muster__V1__WorkerStatus */
    uint8_t type : 5; /* Muster__V1__WorkerType */
    bool draining : 1;
    bool swapping : 1; /* the body has a swap */
    bool in_slab : 1;
    char id[]; /* a zero byte follows, then the body */
};

/* All that make a record put it into a slab; NULL: one that is not kept for long comes from malloc. They return NULL
 * when memory runs out. */

/* Packs spec, assigned_services and swap of `worker`, and takes over its type, incarnation,
 * registered_at_ms and draining; the status is not set. The spec was checked. */
struct record *record_create(const Muster__V1__Worker *worker, struct slab *slab);

/* The same, from the spec's own bytes on the wire, which `worker->spec` was unpacked from and not changed since: they
 * are taken as they are. */
struct record *record_create_from_wire(const Muster__V1__Worker *worker, const struct wire_bytes *spec,
                                       struct slab *slab);

/* The same with other assigned_services and another swap (NULL: none), without the reason of its status. */
struct record *record_reassign(const struct record *record, char *const *assigned, size_t assigned_count,
                               const Muster__V1__ServiceSwap *swap, struct slab *slab);

/* Whether both services of a swap are among the names. */
bool record_swap_fits(const Muster__V1__ServiceSwap *swap, char *const *assigned, size_t assigned_count);

/* A copy without the reason of its status. */
struct record *record_copy(const struct record *record, struct slab *slab);

/* Frees; NULL is fine. */
void record_free(struct record *record);

/* How much of a reason is kept: at most 255 bytes, up to the first that is no UTF-8, since it
 * is sent on to clients that refuse a message with such a text as a whole. */
size_t record_reason_bytes(const char *reason);

/* Sets the status and as much of the reason as is kept; NULL or "": none. False when memory runs out: nothing is
 * changed. */
bool record_set_status(struct record *record, Muster__V1__WorkerStatus status, const char *reason, int64_t unix_ms);

/* The revision at which the record last changed in any way. */
static inline uint64_t record_revision(const struct record *record)
{
    return record->status_revision > record->put_revision ? record->status_revision : record->put_revision;
}

/* A message that stands for a record; to be packed while neither it nor the record moves. */
struct record_message {
    Muster__V1__Worker worker;
    ProtobufCMessageUnknownField body;
};

void record_message_init(struct record_message *message, const struct record *record);

/* The whole message, readable; free it with muster__v1__worker__free_unpacked(..., NULL). NULL
 * when memory runs out. */
Muster__V1__Worker *record_unpack(const struct record *record);

/* What is written to disk: a packed Worker without status and revision. Appended; check buffer_failed, unless there is
 * room for record_value_bytes_max. */
void record_to_value(const struct record *record, struct buffer *value);
size_t record_value_bytes_max(const struct record *record);

/* A record from such bytes. NULL: also when they are none. */
struct record *record_from_value(const void *value, size_t value_bytes, struct slab *slab);
