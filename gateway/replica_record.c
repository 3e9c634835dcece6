/* See replica_record.h. */

#include "gateway/replica_record.h"

#include "common/protobuf/protobuf.h"

#include <stdlib.h>
#include <string.h>

#define PACKED_ON_STACK_BYTES 4096

static char *copy_text(const char *text)
{
    return text[0] == '\0' ? NULL : strdup(text);
}

static uint8_t *packed_of(const struct replica_record *record)
{
    return (uint8_t *)(uintptr_t)(record->offers + record->offers_max);
}

static struct replica_record *create(struct slab *memory, const Muster__V1__Worker *worker, const uint8_t *packed,
                                     size_t packed_bytes)
{
    const size_t offers = worker->n_assigned_services + worker->spec->n_services;
    const char *owner = worker->spec->registered_by;
    const size_t owner_bytes = owner[0] != '\0' ? strlen(owner) + 1 : 0;
    const size_t bytes =
        sizeof(struct replica_record) + offers * sizeof(struct replica_offer) + packed_bytes + owner_bytes;
    struct replica_record *record = bytes > UINT32_MAX ? NULL : slab_take(memory, bytes);
    if (record == NULL)
        return NULL;
    *record = (struct replica_record){
        .incarnation = worker->incarnation,
        .revision = worker->revision,
        .registered_at_ms = worker->registered_at_ms,
        .status_changed_at_ms = worker->status_changed_at_ms,
        .status_reason = copy_text(worker->status_reason),
        .bytes = (uint32_t)bytes,
        .packed_bytes = (uint32_t)packed_bytes,
        .offers_max = (uint32_t)offers,
        .type = (uint8_t)worker->type,
        .status = (uint8_t)worker->status,
        .draining = worker->draining != 0,
        .owned = owner_bytes > 0,
    };
    memcpy(packed_of(record), packed, packed_bytes);
    memcpy(packed_of(record) + packed_bytes, owner, owner_bytes);
    return record;
}

/* Worker's fields that are kept unpacked, or change without a registration. */
static bool lies_beside(uint32_t field)
{
    switch (field) {
    case 2:  /* type */
    case 4:  /* incarnation */
    case 5:  /* registered_at_ms */
    case 6:  /* status */
    case 7:  /* status_reason */
    case 8:  /* status_changed_at_ms */
    case 9:  /* draining */
    case 10: /* revision */
        return true;
    default:
        return false;
    }
}

/* The record's bytes without these fields; there is room for all. */
static size_t gather(struct wire_bytes wire, uint8_t *into)
{
    size_t bytes = 0;
    struct wire_field field;
    for (const uint8_t *from = wire.data; wire_next(&wire, &field); from = wire.data) {
        const size_t field_bytes = (size_t)(wire.data - from);
        if (lies_beside(field.number))
            continue;
        memcpy(into + bytes, from, field_bytes);
        bytes += field_bytes;
    }
    return bytes;
}

/* The same of a record whose bytes are not at hand, and without what the capabilities' JSON says again. */
static const uint8_t *pack(struct protobuf_packer *packer, const Muster__V1__Worker *worker, size_t *bytes)
{
    Muster__V1__Worker rest = MUSTER__V1__WORKER__INIT;
    Muster__V1__WorkerSpec spec = *worker->spec;
    Muster__V1__Capabilities capabilities = MUSTER__V1__CAPABILITIES__INIT;
    rest.spec = &spec;
    rest.n_assigned_services = worker->n_assigned_services;
    rest.assigned_services = worker->assigned_services;
    rest.swap = worker->swap;
    if (spec.capabilities != NULL && spec.capabilities->json[0] != '\0') {
        capabilities.json = spec.capabilities->json;
        spec.capabilities = &capabilities;
    }
    return protobuf_pack(packer, &rest.base, bytes);
}

struct replica_record *replica_record_create(struct slab *memory, const Muster__V1__Worker *worker,
                                             const struct wire_bytes *wire)
{
    uint8_t on_stack[PACKED_ON_STACK_BYTES];
    if (wire != NULL && wire->count <= sizeof on_stack)
        return create(memory, worker, on_stack, gather(*wire, on_stack));
    struct protobuf_packer packer = {on_stack, sizeof on_stack, false};
    size_t bytes;
    const uint8_t *packed = pack(&packer, worker, &bytes);
    struct replica_record *record = packed == NULL ? NULL : create(memory, worker, packed, bytes);
    protobuf_packer_free(&packer);
    return record;
}

void replica_record_free(struct replica_record *record)
{
    if (record == NULL)
        return;
    free(record->status_reason);
    slab_give(record, record->bytes);
}

const char *replica_record_owner(const struct replica_record *record)
{
    return record->owned ? (const char *)packed_of(record) + record->packed_bytes : NULL;
}

void replica_record_set_status(struct replica_record *record, const Muster__V1__WorkerEvent *event)
{
    free(record->status_reason);
    record->status_reason = copy_text(event->reason);
    record->status = (uint8_t)event->status;
    record->status_changed_at_ms = event->at_ms;
    record->revision = event->revision;
}

Muster__V1__Worker *replica_record_unpack(const struct replica_record *record)
{
    Muster__V1__Worker *worker = muster__v1__worker__unpack(NULL, record->packed_bytes, packed_of(record));
    if (worker == NULL)
        return NULL;
    worker->type = (Muster__V1__WorkerType)record->type;
    worker->incarnation = record->incarnation;
    worker->registered_at_ms = record->registered_at_ms;
    return worker;
}
