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

struct replica_record *replica_record_create(const Muster__V1__Worker *worker)
{
    /* A copy without what is kept beside it, and without what the capabilities' JSON says again. */
    Muster__V1__Worker brief = *worker;
    Muster__V1__WorkerSpec spec = *worker->spec;
    Muster__V1__Capabilities capabilities = MUSTER__V1__CAPABILITIES__INIT;
    brief.spec = &spec;
    brief.status_reason = (char *)protobuf_c_empty_string; /* read only */
    brief.status = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_UNSPECIFIED;
    brief.status_changed_at_ms = 0;
    brief.revision = 0;
    brief.draining = 0;
    if (spec.capabilities != NULL && spec.capabilities->json[0] != '\0') {
        capabilities.json = spec.capabilities->json;
        spec.capabilities = &capabilities;
    }
    uint8_t memory[PACKED_ON_STACK_BYTES];
    struct protobuf_packer packer = {memory, sizeof memory, false};
    size_t bytes;
    const uint8_t *packed = protobuf_pack(&packer, &brief.base, &bytes);
    struct replica_record *record =
        packed == NULL || bytes > UINT32_MAX ? NULL : malloc(sizeof *record + bytes);
    if (record == NULL) {
        protobuf_packer_free(&packer);
        return NULL;
    }
    *record = (struct replica_record){
        .incarnation = worker->incarnation,
        .revision = worker->revision,
        .registered_at_ms = worker->registered_at_ms,
        .status_changed_at_ms = worker->status_changed_at_ms,
        .type = worker->type,
        .status = worker->status,
        .status_reason = copy_text(worker->status_reason),
        .registered_by = copy_text(worker->spec->registered_by),
        .packed_bytes = (uint32_t)bytes,
        .draining = worker->draining,
    };
    memcpy(record->packed, packed, bytes);
    protobuf_packer_free(&packer);
    if (record->registered_by == NULL && worker->spec->registered_by[0] != '\0') {
        /* Without it anybody could take the worker for nobody's. */
        replica_record_free(record);
        return NULL;
    }
    return record;
}

void replica_record_free(struct replica_record *record)
{
    if (record == NULL)
        return;
    free(record->status_reason);
    free(record->registered_by);
    free(record);
}

void replica_record_set_status(struct replica_record *record, const Muster__V1__WorkerEvent *event)
{
    free(record->status_reason);
    record->status_reason = copy_text(event->reason);
    record->status = event->status;
    record->status_changed_at_ms = event->at_ms;
    record->revision = event->revision;
}

Muster__V1__Worker *replica_record_unpack(const struct replica_record *record)
{
    return muster__v1__worker__unpack(NULL, record->packed_bytes, record->packed);
}
