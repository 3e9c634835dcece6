/* Messages to bytes; see protobuf.h. */

#include "common/protobuf/protobuf.h"
#include "common/protobuf/types.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_HEAP_BYTES ((size_t)16 << 10)
#define APPENDED_ON_STACK_BYTES 4096
#define VARINT_BYTES_MAX 10

struct packing {
    struct protobuf_packer *packer;
    uint8_t *at; /* the front of what has been written */
};

static size_t written(const struct packing *packing)
{
    return (size_t)(packing->packer->memory + packing->packer->capacity - packing->at);
}

/* More room in front. */
static bool grow(struct packing *packing, size_t bytes)
{
    struct protobuf_packer *packer = packing->packer;
    size_t used = packer->memory != NULL ? written(packing) : 0;
    size_t capacity = packer->capacity < FIRST_HEAP_BYTES ? FIRST_HEAP_BYTES : 2 * packer->capacity;
    while (capacity - used < bytes)
        capacity *= 2;
    uint8_t *memory = malloc(capacity);
    if (memory == NULL)
        return false;
    if (used > 0)
        memcpy(memory + capacity - used, packing->at, used);
    if (packer->is_on_heap)
        free(packer->memory);
    *packer = (struct protobuf_packer){memory, capacity, true};
    packing->at = memory + capacity - used;
    return true;
}

static inline bool reserve(struct packing *packing, size_t bytes)
{
    return (size_t)(packing->at - packing->packer->memory) >= bytes || grow(packing, bytes);
}

/* In front of what has been written, where there is room. */
static inline void write_varint(struct packing *packing, uint64_t value)
{
    if (value < 0x80) {
        *--packing->at = (uint8_t)value;
        return;
    }
    size_t count = (size_t)(63 - __builtin_clzll(value)) / 7 + 1;
    packing->at -= count;
    for (size_t i = 0; i + 1 < count; i++, value >>= 7)
        packing->at[i] = (uint8_t)(value | 0x80);
    packing->at[count - 1] = (uint8_t)value;
}

static inline void write_tag(struct packing *packing, uint32_t number, ProtobufCWireType type)
{
    write_varint(packing, (uint64_t)number << 3 | type);
}

/* With the length and the tag that belong in front of so many bytes, the last that were written. */
static inline bool put_head(struct packing *packing, uint32_t number, size_t bytes)
{
    if (!reserve(packing, 2 * VARINT_BYTES_MAX))
        return false;
    write_varint(packing, bytes);
    write_tag(packing, number, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
    return true;
}

/* A number as it stands on the wire, where there is room: the bits of a varint, or the fixed bytes. */
static inline void write_number(struct packing *packing, ProtobufCType type, const void *member)
{
    uint32_t half;
    uint64_t whole;
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        packing->at -= sizeof(half);
        memcpy(packing->at, member, sizeof(half)); /* little-endian, as the wire is */
        return;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        packing->at -= sizeof(whole);
        memcpy(packing->at, member, sizeof(whole));
        return;
    case PROTOBUF_C_TYPE_BOOL:
        write_varint(packing, *(const protobuf_c_boolean *)member != 0);
        return;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
        memcpy(&whole, member, sizeof(whole));
        write_varint(packing, whole);
        return;
    case PROTOBUF_C_TYPE_SINT64:
        memcpy(&whole, member, sizeof(whole));
        write_varint(packing, whole << 1 ^ (0 - (whole >> 63)));
        return;
    case PROTOBUF_C_TYPE_SINT32:
        memcpy(&half, member, sizeof(half));
        write_varint(packing, (uint32_t)(half << 1 ^ (0 - (half >> 31))));
        return;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_ENUM: /* negative ones take ten bytes */
        memcpy(&half, member, sizeof(half));
        write_varint(packing, (uint64_t)(int64_t)(int32_t)half);
        return;
    case PROTOBUF_C_TYPE_UINT32:
    default:
        memcpy(&half, member, sizeof(half));
        write_varint(packing, half);
        return;
    }
}

static inline bool put_bytes(struct packing *packing, uint32_t number, const void *bytes, size_t count)
{
    if (!reserve(packing, count + 2 * VARINT_BYTES_MAX))
        return false;
    packing->at -= count;
    if (count > 0)
        memcpy(packing->at, bytes, count);
    write_varint(packing, count);
    write_tag(packing, number, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
    return true;
}

static bool put_text(struct packing *packing, uint32_t number, const char *text)
{
    return put_bytes(packing, number, text, text != NULL ? strlen(text) : 0);
}

static bool put_message(struct packing *packing, const ProtobufCMessage *message);

static bool put_inner(struct packing *packing, uint32_t number, const ProtobufCMessage *message)
{
    size_t before = written(packing);
    return (message == NULL || put_message(packing, message)) && put_head(packing, number, written(packing) - before);
}

/* One value, with its tag in front. `member` is a member of a message or an element of an array. */
static inline bool put_value(struct packing *packing, const ProtobufCFieldDescriptor *field, const void *member)
{
    const ProtobufCBinaryData *bytes;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return put_text(packing, field->id, *(char *const *)member);
    case PROTOBUF_C_TYPE_BYTES:
        bytes = member;
        return put_bytes(packing, field->id, bytes->data, bytes->len);
    case PROTOBUF_C_TYPE_MESSAGE:
        return put_inner(packing, field->id, *(ProtobufCMessage *const *)member);
    default:
        if (!reserve(packing, 2 * VARINT_BYTES_MAX))
            return false;
        write_number(packing, field->type, member);
        write_tag(packing, field->id, protobuf_wire_type(field->type));
        return true;
    }
}

static bool put_repeated(struct packing *packing, const ProtobufCFieldDescriptor *field, const void *member,
                         size_t count)
{
    size_t bytes = protobuf_element_bytes(field->type);
    const char *elements = *(char *const *)member;
    bool is_packed = (field->flags & PROTOBUF_C_FIELD_FLAG_PACKED) != 0;
    size_t before = written(packing);
    for (size_t i = count; i > 0; i--) {
        const void *element = elements + (i - 1) * bytes;
        if (!is_packed) {
            if (!put_value(packing, field, element))
                return false;
        } else {
            if (!reserve(packing, VARINT_BYTES_MAX))
                return false;
            write_number(packing, field->type, element);
        }
    }
    return count == 0 || !is_packed || put_head(packing, field->id, written(packing) - before);
}

/* Whether a field without presence of its own has what it has when nothing is said. */
static bool is_zero(ProtobufCType type, const void *member)
{
    switch (type) {
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)member;
        return text == NULL || *text == '\0';
    }
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)member)->len == 0;
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(ProtobufCMessage *const *)member == NULL;
    case PROTOBUF_C_TYPE_FLOAT:
        return *(const float *)member == 0; /* -0, too, as with protobuf-c */
    case PROTOBUF_C_TYPE_DOUBLE:
        return *(const double *)member == 0;
    default:
        return protobuf_element_bytes(type) == sizeof(uint32_t) ? *(const uint32_t *)member == 0
                                                                : *(const uint64_t *)member == 0;
    }
}

static bool is_present(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, const void *member)
{
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0)
        return !is_zero(field->type, member);
    if (*(const uint32_t *)(const void *)((const char *)message + field->quantifier_offset) != field->id)
        return false;
    bool is_pointer = field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE;
    return !is_pointer || *(void *const *)member != NULL;
}

static bool put_message(struct packing *packing, const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    for (size_t i = message->n_unknown_fields; i > 0; i--) {
        const ProtobufCMessageUnknownField *unknown = &message->unknown_fields[i - 1];
        if (!reserve(packing, unknown->len + VARINT_BYTES_MAX))
            return false;
        packing->at -= unknown->len;
        if (unknown->len > 0)
            memcpy(packing->at, unknown->data, unknown->len);
        write_tag(packing, unknown->tag, unknown->wire_type);
    }
    for (size_t i = descriptor->n_fields; i > 0; i--) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i - 1];
        const void *member = (const char *)message + field->offset;
        bool is_put = true;
        if (field->type == PROTOBUF_C_TYPE_STRING && field->quantifier_offset == 0) { /* as most are */
            const char *text = *(char *const *)member;
            is_put = text == NULL || *text == '\0' || put_text(packing, field->id, text);
        } else if (field->label == PROTOBUF_C_LABEL_REPEATED)
            is_put = put_repeated(packing, field, member,
                                  *(const size_t *)((const char *)message + field->quantifier_offset));
        else if (is_present(message, field, member))
            is_put = put_value(packing, field, member);
        if (!is_put)
            return false;
    }
    return true;
}

const uint8_t *protobuf_pack(struct protobuf_packer *packer, const ProtobufCMessage *message, size_t *count)
{
    struct packing packing = {.packer = packer};
    if (packer->memory == NULL && !grow(&packing, 0))
        return NULL;
    packing.at = packer->memory + packer->capacity;
    if (!put_message(&packing, message))
        return NULL;
    *count = written(&packing);
    return packing.at;
}

void protobuf_append(struct buffer *buffer, const ProtobufCMessage *message)
{
    uint8_t memory[APPENDED_ON_STACK_BYTES];
    struct protobuf_packer packer = {memory, sizeof(memory), false};
    size_t count;
    const uint8_t *packed = protobuf_pack(&packer, message, &count);
    if (packed != NULL)
        buffer_append(buffer, packed, count);
    else
        (void)buffer_reserve(buffer, SIZE_MAX); /* which nobody has: the buffer has failed */
    protobuf_packer_free(&packer);
}

void protobuf_packer_free(struct protobuf_packer *packer)
{
    if (packer->is_on_heap)
        free(packer->memory);
    *packer = (struct protobuf_packer){NULL, 0, false};
}
