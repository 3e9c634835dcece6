/* Bytes to messages; see protobuf.h. */

#include "common/protobuf/protobuf.h"
#include "common/protobuf/types.h"

#include <string.h>

/* The first room for elements of a repeated field; doubled whenever it is full. */
#define FIRST_ELEMENTS 4
#define TAG_BYTES_MAX 5
#define VARINT_BYTES_MAX 10
/* Messages within messages, as other libraries limit them: types may contain themselves. */
#define DEPTH_MAX 100

struct unpacking {
    const struct protobuf_memory *memory;
    const uint8_t *bytes; /* as given */
    uint8_t *copy;
    unsigned depth; /* of the message at hand */
};

/* One field as it came. */
struct incoming {
    uint32_t number;
    ProtobufCWireType type;
    uint64_t value;      /* of a varint; of the fixed ones their bits */
    const uint8_t *data; /* of a length-delimited one */
    size_t count;
    const uint8_t *body; /* behind the tag */
};

static inline bool read_varint(const uint8_t **at, const uint8_t *end, size_t bytes_max, uint64_t *value)
{
    const uint8_t *from = *at;
    if (from < end && *from < 0x80) {
        *value = *from;
        *at = from + 1;
        return true;
    }
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes_max && from + i < end; i++) {
        sum |= (uint64_t)(from[i] & 0x7f) << (7 * i);
        if (from[i] < 0x80) {
            *value = sum;
            *at = from + i + 1;
            return true;
        }
    }
    return false;
}

/* The next field, whose bytes lie whole before `end`. */
static inline bool read_field(const uint8_t **at, const uint8_t *end, struct incoming *field)
{
    uint64_t tag;
    if (!read_varint(at, end, TAG_BYTES_MAX, &tag) || tag >> 3 == 0)
        return false;
    field->body = *at;
    field->data = NULL;
    field->count = 0;
    field->number = (uint32_t)(tag >> 3);
    field->type = (ProtobufCWireType)(tag & 7);
    size_t left = (size_t)(end - *at);
    uint32_t half;
    switch (field->type) {
    case PROTOBUF_C_WIRE_TYPE_VARINT:
        return read_varint(at, end, VARINT_BYTES_MAX, &field->value);
    case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
        if (!read_varint(at, end, TAG_BYTES_MAX, &field->value) || field->value > (size_t)(end - *at))
            return false;
        field->data = *at;
        field->count = (size_t)field->value;
        *at += field->count;
        return true;
    case PROTOBUF_C_WIRE_TYPE_64BIT:
        if (left < sizeof(field->value))
            return false;
        memcpy(&field->value, *at, sizeof(field->value));
        *at += sizeof(field->value);
        return true;
    case PROTOBUF_C_WIRE_TYPE_32BIT:
        if (left < sizeof(half))
            return false;
        memcpy(&half, *at, sizeof(half));
        field->value = half;
        *at += sizeof(half);
        return true;
    default:
        return false; /* a group */
    }
}

/* Fields lie sorted by their numbers, which mostly have no gaps. */
static inline const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *descriptor, uint32_t number)
{
    const ProtobufCFieldDescriptor *fields = descriptor->fields;
    if (descriptor->n_fields == 0)
        return NULL;
    uint32_t guess = number - fields[0].id;
    if (guess < descriptor->n_fields && fields[guess].id == number)
        return &fields[guess];
    size_t first = 0;
    for (size_t behind = descriptor->n_fields; first < behind;) {
        size_t middle = first + (behind - first) / 2;
        if (fields[middle].id == number)
            return &fields[middle];
        if (fields[middle].id < number)
            first = middle + 1;
        else
            behind = middle;
    }
    return NULL;
}

/* A number into its place. */
static void store_number(ProtobufCType type, uint64_t value, void *member)
{
    uint32_t half = (uint32_t)value;
    switch (type) {
    case PROTOBUF_C_TYPE_SINT32:
        half = (half >> 1) ^ (0 - (half & 1));
        break;
    case PROTOBUF_C_TYPE_SINT64:
        value = (value >> 1) ^ (0 - (value & 1));
        break;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)member = value != 0;
        return;
    default:
        break;
    }
    if (protobuf_element_bytes(type) == sizeof(half))
        memcpy(member, &half, sizeof(half));
    else
        memcpy(member, &value, sizeof(value));
}

static bool unpack_into(struct unpacking *unpacking, ProtobufCMessage *message, const uint8_t *at,
                        const uint8_t *end);

static void *allocate(struct unpacking *unpacking, size_t bytes)
{
    return unpacking->memory->allocate(unpacking->memory->context, bytes);
}

static uint8_t *copy_of(const struct unpacking *unpacking, const uint8_t *place)
{
    return unpacking->copy + (place - unpacking->bytes);
}

static ProtobufCMessage *create(struct unpacking *unpacking, const ProtobufCMessageDescriptor *descriptor)
{
    ProtobufCMessage *message = allocate(unpacking, descriptor->sizeof_message);
    if (message != NULL)
        descriptor->message_init(message);
    return message;
}

/* One value into its place, which is a member of a message or an element of an array. `is_fresh`: nothing is there. */
static inline bool store(struct unpacking *unpacking, const ProtobufCFieldDescriptor *descriptor,
                         const struct incoming *field, void *member, bool is_fresh)
{
    if (field->type != protobuf_wire_type(descriptor->type))
        return false;
    uint8_t *copy;
    switch (descriptor->type) {
    case PROTOBUF_C_TYPE_STRING:
        copy = copy_of(unpacking, field->data);
        copy[field->count] = '\0';
        *(char **)member = (char *)copy;
        return true;
    case PROTOBUF_C_TYPE_BYTES:
        copy = copy_of(unpacking, field->data);
        *(ProtobufCBinaryData *)member = (ProtobufCBinaryData){field->count, field->count > 0 ? copy : NULL};
        return true;
    case PROTOBUF_C_TYPE_MESSAGE: {
        ProtobufCMessage **inner = member;
        if (is_fresh || *inner == NULL)
            *inner = create(unpacking, descriptor->descriptor);
        return *inner != NULL && unpack_into(unpacking, *inner, field->data, field->data + field->count);
    }
    default:
        store_number(descriptor->type, field->value, member);
        return true;
    }
}

/* Room for one more element behind the `*count` that are there. */
static void *next_element(struct unpacking *unpacking, void **elements, size_t count, size_t bytes)
{
    bool is_full = count == 0 || (count >= FIRST_ELEMENTS && (count & (count - 1)) == 0);
    if (is_full) {
        void *larger = allocate(unpacking, bytes * (count == 0 ? FIRST_ELEMENTS : 2 * count));
        if (larger == NULL)
            return NULL;
        if (count > 0)
            memcpy(larger, *elements, bytes * count);
        *elements = larger;
    }
    return (char *)*elements + bytes * count;
}

static bool store_packed(struct unpacking *unpacking, const ProtobufCFieldDescriptor *descriptor,
                         const struct incoming *field, void **elements, size_t *count)
{
    ProtobufCWireType type = protobuf_wire_type(descriptor->type);
    size_t bytes = protobuf_element_bytes(descriptor->type);
    const uint8_t *at = field->data, *end = at + field->count;
    while (at < end) {
        uint64_t value = 0;
        if (type == PROTOBUF_C_WIRE_TYPE_VARINT) {
            if (!read_varint(&at, end, VARINT_BYTES_MAX, &value))
                return false;
        } else {
            if ((size_t)(end - at) < bytes)
                return false;
            memcpy(&value, at, bytes); /* little-endian, as the wire is */
            at += bytes;
        }
        void *element = next_element(unpacking, elements, *count, bytes);
        if (element == NULL)
            return false;
        store_number(descriptor->type, value, element);
        ++*count;
    }
    return true;
}

static bool store_repeated(struct unpacking *unpacking, const ProtobufCFieldDescriptor *descriptor,
                           const struct incoming *field, ProtobufCMessage *message)
{
    void **elements = (void **)((char *)message + descriptor->offset);
    size_t *count = (size_t *)((char *)message + descriptor->quantifier_offset);
    if (field->type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED &&
        protobuf_wire_type(descriptor->type) != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
        return store_packed(unpacking, descriptor, field, elements, count);
    void *element = next_element(unpacking, elements, *count, protobuf_element_bytes(descriptor->type));
    if (element == NULL || !store(unpacking, descriptor, field, element, true))
        return false;
    ++*count;
    return true;
}

static bool store_unknown(struct unpacking *unpacking, const struct incoming *field, const uint8_t *end,
                          ProtobufCMessage *message)
{
    void *elements = message->unknown_fields;
    ProtobufCMessageUnknownField *unknown =
        next_element(unpacking, &elements, message->n_unknown_fields, sizeof(*unknown));
    if (unknown == NULL)
        return false;
    unknown->tag = field->number;
    unknown->wire_type = field->type;
    unknown->len = (size_t)(end - field->body);
    unknown->data = copy_of(unpacking, field->body);
    message->unknown_fields = elements;
    message->n_unknown_fields++;
    return true;
}

static bool store_field(struct unpacking *unpacking, const ProtobufCFieldDescriptor *descriptor,
                        const struct incoming *field, ProtobufCMessage *message)
{
    void *member = (char *)message + descriptor->offset;
    if (descriptor->label == PROTOBUF_C_LABEL_REPEATED)
        return store_repeated(unpacking, descriptor, field, message);
    if ((descriptor->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        uint32_t *chosen = (uint32_t *)((char *)message + descriptor->quantifier_offset);
        bool is_fresh = *chosen != descriptor->id;
        *chosen = descriptor->id;
        return store(unpacking, descriptor, field, member, is_fresh);
    }
    return store(unpacking, descriptor, field, member, false);
}

static bool unpack_into(struct unpacking *unpacking, ProtobufCMessage *message, const uint8_t *at,
                        const uint8_t *end)
{
    if (unpacking->depth == DEPTH_MAX)
        return false;
    unpacking->depth++;
    while (at < end) {
        struct incoming field;
        if (!read_field(&at, end, &field))
            return false;
        const ProtobufCFieldDescriptor *descriptor = find_field(message->descriptor, field.number);
        bool stored = descriptor != NULL ? store_field(unpacking, descriptor, &field, message)
                                         : store_unknown(unpacking, &field, at, message);
        if (!stored)
            return false;
    }
    unpacking->depth--;
    return true;
}

ProtobufCMessage *protobuf_unpack(const ProtobufCMessageDescriptor *descriptor, const struct protobuf_memory *memory,
                                  const uint8_t *bytes, size_t count)
{
    static const uint8_t nothing[1];
    struct unpacking unpacking = {.memory = memory, .bytes = count > 0 ? bytes : nothing};
    unpacking.copy = allocate(&unpacking, count + 1); /* a string at its end is ended, too */
    if (unpacking.copy == NULL)
        return NULL;
    memcpy(unpacking.copy, unpacking.bytes, count);
    ProtobufCMessage *message = create(&unpacking, descriptor);
    bool unpacked = message != NULL && unpack_into(&unpacking, message, unpacking.bytes, unpacking.bytes + count);
    return unpacked ? message : NULL;
}
