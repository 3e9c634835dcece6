/* A worker's record, packed; see record.h. */

#include "services/registry/record.h"

#include "common/json/utf8.h"
#include "common/protobuf/protobuf.h"

#include <stdlib.h>
#include <string.h>

#define REASON_MAX_BYTES 255
#define PACKED_ON_STACK_BYTES 2048

/* The bits that a record has for its type. */
#define TYPE_MASK 0x1fu

/* Worker.spec is field 1, length-delimited, so that is what every body starts with; assigned_services follow. */
#define BODY_FIELD 1
#define ASSIGNED_SERVICES_FIELD 3

/* Those that a value has beside the body. */
#define TYPE_FIELD 2
#define INCARNATION_FIELD 4
#define REGISTERED_AT_MS_FIELD 5
#define DRAINING_FIELD 9
#define VALUE_NUMBERS 4
#define NUMBER_BYTES (1 + WIRE_VARINT_BYTES)

static char *record_body(const struct record *record)
{
    return (char *)record->id + record->id_bytes + 1;
}

_Static_assert(offsetof(struct record, id) == 64, "a million of these are kept");

static size_t bytes_of(size_t id_bytes, size_t body_bytes)
{
    size_t bytes = offsetof(struct record, id) + id_bytes + 1 + body_bytes;
    /* A struct is written as a whole, with what pads it at its end. */
    return bytes < sizeof(struct record) ? sizeof(struct record) : bytes;
}

static size_t record_bytes(const struct record *record)
{
    return bytes_of(record->id_bytes, record->body_bytes);
}

static struct record *take(size_t id_bytes, size_t body_bytes, struct slab *slab)
{
    size_t bytes = bytes_of(id_bytes, body_bytes);
    return slab != NULL ? slab_take(slab, bytes) : malloc(bytes);
}

/* Everything but the body, for which there is room. */
static struct record *create_empty(const Muster__V1__Worker *worker, size_t body_bytes, struct slab *slab)
{
    size_t id_bytes = strlen(worker->spec->worker_id);
    if (body_bytes > UINT32_MAX || id_bytes > UINT16_MAX)
        return NULL;
    struct record *record = take(id_bytes, body_bytes, slab);
    if (record == NULL)
        return NULL;
    *record = (struct record){
        .incarnation = worker->incarnation,
        .registered_at_ms = worker->registered_at_ms,
        .body_bytes = (uint32_t)body_bytes,
        .id_bytes = (uint16_t)id_bytes,
        .type = worker->type & TYPE_MASK,
        .draining = worker->draining,
        .swapping = worker->swap != NULL,
        .in_slab = slab != NULL,
    };
    memcpy(record->id, worker->spec->worker_id, id_bytes + 1);
    return record;
}

struct record *record_create(const Muster__V1__Worker *worker, struct slab *slab)
{
    Muster__V1__Worker body = MUSTER__V1__WORKER__INIT;
    body.spec = worker->spec;
    body.n_assigned_services = worker->n_assigned_services;
    body.assigned_services = worker->assigned_services;
    body.swap = worker->swap;
    uint8_t memory[PACKED_ON_STACK_BYTES];
    struct protobuf_packer packer = {memory, sizeof(memory), false};
    size_t bytes;
    const uint8_t *packed = protobuf_pack(&packer, &body.base, &bytes);
    struct record *record = packed == NULL ? NULL : create_empty(worker, bytes, slab);
    if (record != NULL)
        memcpy(record_body(record), packed, bytes);
    protobuf_packer_free(&packer);
    return record;
}

/* A field that is length-delimited: how many bytes it takes; writes it, and returns what is behind it. */
static size_t field_bytes(size_t bytes)
{
    return 1 + wire_varint_bytes(bytes) + bytes;
}

static uint8_t *put_field(uint32_t field, const void *data, size_t bytes, uint8_t *into)
{
    *into++ = (uint8_t)(field << 3 | PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
    into += wire_write_varint(bytes, into);
    memcpy(into, data, bytes);
    return into + bytes;
}

struct record *record_create_from_wire(const Muster__V1__Worker *worker, const struct wire_bytes *spec,
                                       struct slab *slab)
{
    if (worker->swap != NULL)
        return record_create(worker, slab); /* seldom */
    size_t bytes = field_bytes(spec->count);
    for (size_t i = 0; i < worker->n_assigned_services; i++)
        bytes += field_bytes(strlen(worker->assigned_services[i]));
    struct record *record = create_empty(worker, bytes, slab);
    if (record == NULL)
        return NULL;
    uint8_t *at = put_field(BODY_FIELD, spec->data, spec->count, (uint8_t *)record_body(record));
    for (size_t i = 0; i < worker->n_assigned_services; i++) {
        const char *name = worker->assigned_services[i];
        at = put_field(ASSIGNED_SERVICES_FIELD, name, strlen(name), at);
    }
    return record;
}

static bool is_among(const char *name, char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

bool record_swap_fits(const Muster__V1__ServiceSwap *swap, char *const *assigned, size_t assigned_count)
{
    return is_among(swap->from, assigned, assigned_count) && is_among(swap->to, assigned, assigned_count);
}

struct record *record_reassign(const struct record *record, char *const *assigned, size_t assigned_count,
                               const Muster__V1__ServiceSwap *swap, struct slab *slab)
{
    Muster__V1__Worker *body =
        muster__v1__worker__unpack(NULL, record->body_bytes, (const uint8_t *)record_body(record));
    if (body == NULL)
        return NULL;
    Muster__V1__Worker changed = MUSTER__V1__WORKER__INIT;
    changed.spec = body->spec;
    changed.assigned_services = (char **)assigned; /* only read */
    changed.n_assigned_services = assigned_count;
    changed.swap = (Muster__V1__ServiceSwap *)swap; /* only read */
    struct record *copy = record_create(&changed, slab);
    if (copy != NULL) {
        const uint32_t body_bytes = copy->body_bytes;
        memcpy(copy, record, offsetof(struct record, id));
        copy->body_bytes = body_bytes;
        copy->in_slab = slab != NULL;
        copy->swapping = swap != NULL;
        copy->status_reason = NULL;
    }
    muster__v1__worker__free_unpacked(body, NULL);
    return copy;
}

struct record *record_copy(const struct record *record, struct slab *slab)
{
    struct record *copy = take(record->id_bytes, record->body_bytes, slab);
    if (copy == NULL)
        return NULL;
    memcpy(copy, record, record_bytes(record));
    copy->in_slab = slab != NULL;
    copy->status_reason = NULL;
    return copy;
}

void record_free(struct record *record)
{
    if (record == NULL)
        return;
    free(record->status_reason);
    if (record->in_slab)
        slab_give(record, record_bytes(record));
    else
        free(record);
}

size_t record_reason_bytes(const char *reason)
{
    size_t bytes = 0, available = strnlen(reason, REASON_MAX_BYTES);
    size_t next;
    while ((next = utf8_sequence_bytes((const unsigned char *)reason + bytes, available - bytes)) > 0)
        bytes += next;
    return bytes;
}

bool record_set_status(struct record *record, Muster__V1__WorkerStatus status, const char *reason, int64_t unix_ms)
{
    size_t bytes = reason == NULL ? 0 : record_reason_bytes(reason);
    char *copy = NULL;
    if (bytes > 0 && (copy = strndup(reason, bytes)) == NULL)
        return false;
    free(record->status_reason);
    record->status_reason = copy;
    record->status = (uint8_t)status;
    record->status_changed_at_ms = unix_ms;
    return true;
}

void record_message_init(struct record_message *message, const struct record *record)
{
    muster__v1__worker__init(&message->worker);
    message->body = (ProtobufCMessageUnknownField){
        .tag = BODY_FIELD,
        .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
        /* The first byte, the tag, is written by protobuf-c; all that follows it is data. */
        .len = record->body_bytes - 1,
        .data = (uint8_t *)record_body(record) + 1,
    };
    message->worker.base.n_unknown_fields = 1;
    message->worker.base.unknown_fields = &message->body;
    message->worker.type = (Muster__V1__WorkerType)record->type;
    message->worker.incarnation = record->incarnation;
    message->worker.registered_at_ms = record->registered_at_ms;
    message->worker.status = (Muster__V1__WorkerStatus)record->status;
    message->worker.status_reason =
        record->status_reason != NULL ? record->status_reason : (char *)protobuf_c_empty_string;
    message->worker.status_changed_at_ms = record->status_changed_at_ms;
    message->worker.draining = record->draining;
    message->worker.revision = record_revision(record);
}

Muster__V1__Worker *record_unpack(const struct record *record)
{
    struct record_message message;
    record_message_init(&message, record);
    size_t bytes = muster__v1__worker__get_packed_size(&message.worker);
    uint8_t *packed = malloc(bytes);
    if (packed == NULL)
        return NULL;
    muster__v1__worker__pack(&message.worker, packed);
    Muster__V1__Worker *worker = muster__v1__worker__unpack(NULL, bytes, packed);
    free(packed);
    return worker;
}

/* A field of Worker that is a number; those that are 0 are left out. */
static size_t put_number(uint32_t field, uint64_t value, uint8_t *into)
{
    if (value == 0)
        return 0;
    into[0] = (uint8_t)(field << 3 | PROTOBUF_C_WIRE_TYPE_VARINT);
    return 1 + wire_write_varint(value, into + 1);
}

void record_to_value(const struct record *record, struct buffer *value)
{
    uint8_t numbers[VALUE_NUMBERS * NUMBER_BYTES];
    size_t bytes = 0;
    bytes += put_number(TYPE_FIELD, record->type, numbers + bytes);
    bytes += put_number(INCARNATION_FIELD, record->incarnation, numbers + bytes);
    bytes += put_number(REGISTERED_AT_MS_FIELD, (uint64_t)record->registered_at_ms, numbers + bytes);
    bytes += put_number(DRAINING_FIELD, record->draining, numbers + bytes);
    buffer_append(value, record_body(record), record->body_bytes);
    buffer_append(value, numbers, bytes);
}

size_t record_value_bytes_max(const struct record *record)
{
    return record->body_bytes + VALUE_NUMBERS * NUMBER_BYTES;
}

struct record *record_from_value(const void *value, size_t value_bytes, struct slab *slab)
{
    Muster__V1__Worker *worker = muster__v1__worker__unpack(NULL, value_bytes, value);
    if (worker == NULL)
        return NULL;
    struct record *record = NULL;
    bool whole = worker->spec != NULL && worker->spec->worker_id[0] != '\0' && worker->incarnation != 0 &&
                 worker->type >= MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU &&
                 worker->type <= MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE;
    if (whole)
        record = record_create(worker, slab);
    muster__v1__worker__free_unpacked(worker, NULL);
    return record;
}
