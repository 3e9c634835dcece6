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
    uintptr_t shift; /* from the bytes as given to their copy */
};

/* Returns what lies behind a varint. NULL: none of at most so many bytes begins at `at`. */
static const uint8_t *read_long_varint(const uint8_t *at, const uint8_t *end, size_t bytes_max, uint64_t *value)
{
    uint64_t sum = 0;
    if ((size_t)(end - at) > bytes_max)
        end = at + bytes_max;
    for (unsigned shift = 0; at < end; shift += 7) {
        uint8_t byte = *at++;
        sum |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = sum;
            return at;
        }
    }
    return NULL;
}

/* Most are of one byte. */
static inline const uint8_t *read_varint(const uint8_t *at, const uint8_t *end, size_t bytes_max, uint64_t *value)
{
    if (at < end && *at < 0x80) {
        *value = *at;
        return at + 1;
    }
    uint64_t whole = 0; /* so that `value` need not lie in memory */
    at = read_long_varint(at, end, bytes_max, &whole);
    *value = whole;
    return at;
}

/* Fields lie sorted by their numbers. */
static const ProtobufCFieldDescriptor *search_field(const ProtobufCMessageDescriptor *descriptor, uint32_t number)
{
    const ProtobufCFieldDescriptor *fields = descriptor->fields;
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

/* Numbers mostly begin at 1 and have no gaps. */
static inline const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *descriptor, uint32_t number)
{
    uint32_t guess = number - 1;
    if (guess < descriptor->n_fields && descriptor->fields[guess].id == number)
        return &descriptor->fields[guess];
    return search_field(descriptor, number);
}

/* A number into its place. False: fields of that type do not come as varints. */
static inline bool store_varint(ProtobufCType type, uint64_t value, void *place)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_ENUM:
        *(uint32_t *)place = (uint32_t)value;
        return true;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
        *(uint64_t *)place = value;
        return true;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)place = value != 0;
        return true;
    case PROTOBUF_C_TYPE_SINT32:
        *(uint32_t *)place = ((uint32_t)value >> 1) ^ (0 - ((uint32_t)value & 1));
        return true;
    case PROTOBUF_C_TYPE_SINT64:
        *(uint64_t *)place = (value >> 1) ^ (0 - (value & 1));
        return true;
    default:
        return false;
    }
}

static void *allocate(struct unpacking *unpacking, size_t bytes)
{
    return unpacking->memory->allocate(unpacking->memory->context, bytes);
}

static inline uint8_t *copy_of(const struct unpacking *unpacking, const uint8_t *place)
{
    return (uint8_t *)((uintptr_t)place + unpacking->shift);
}

static ProtobufCMessage *create(struct unpacking *unpacking, const ProtobufCMessageDescriptor *descriptor)
{
    ProtobufCMessage *message = allocate(unpacking, descriptor->sizeof_message);
    if (message != NULL)
        descriptor->message_init(message);
    return message;
}

/* Room for one more element behind the `count` that are there. */
static inline void *next_element(struct unpacking *unpacking, void **elements, size_t count, size_t bytes)
{
    bool is_full = (count & (count - 1)) == 0 && (count == 0 || count >= FIRST_ELEMENTS);
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

/* Where the value goes of a field that is repeated or one of several: a sub-message is NULL there unless it has come
 * before. NULL: no memory. */
static void *place_among_others(struct unpacking *unpacking, const ProtobufCFieldDescriptor *field,
                                ProtobufCMessage *message)
{
    void *place = (char *)message + field->offset;
    void *quantifier = (char *)message + field->quantifier_offset;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t *count = quantifier;
        place = next_element(unpacking, place, *count, protobuf_element_bytes(field->type));
        if (place == NULL)
            return NULL;
        ++*count;
    } else {
        uint32_t *chosen = quantifier;
        if (*chosen == field->id)
            return place;
        *chosen = field->id;
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        *(ProtobufCMessage **)place = NULL;
    return place;
}

/* The same of any field. */
static inline void *place_of(struct unpacking *unpacking, const ProtobufCFieldDescriptor *field,
                             ProtobufCMessage *message)
{
    return field->quantifier_offset == 0 ? (char *)message + field->offset
                                         : place_among_others(unpacking, field, message);
}

static bool unpack_into(struct unpacking *unpacking, ProtobufCMessage *message, const uint8_t *at, const uint8_t *end,
                        unsigned depth);

static bool store_packed(struct unpacking *unpacking, const ProtobufCFieldDescriptor *field, ProtobufCMessage *message,
                         const uint8_t *at, const uint8_t *end)
{
    ProtobufCWireType type = protobuf_wire_type(field->type);
    size_t bytes = protobuf_element_bytes(field->type);
    if (field->label != PROTOBUF_C_LABEL_REPEATED)
        return false;
    while (at < end) {
        uint64_t value = 0;
        void *place = place_among_others(unpacking, field, message);
        if (place == NULL)
            return false;
        if (type == PROTOBUF_C_WIRE_TYPE_VARINT) {
            at = read_varint(at, end, VARINT_BYTES_MAX, &value);
            if (at == NULL || !store_varint(field->type, value, place))
                return false;
        } else {
            if ((size_t)(end - at) < bytes)
                return false;
            memcpy(place, at, bytes); /* little-endian, as the wire is */
            at += bytes;
        }
    }
    return true;
}

static inline bool store_message(struct unpacking *unpacking, const ProtobufCFieldDescriptor *field,
                                 ProtobufCMessage **place, const uint8_t *at, const uint8_t *end, unsigned depth)
{
    if (*place == NULL)
        *place = create(unpacking, field->descriptor);
    return *place != NULL && unpack_into(unpacking, *place, at, end, depth + 1);
}

/* What lies between `data` and `end`, of a field that is length-delimited on the wire. */
static inline bool store_delimited(struct unpacking *unpacking, const ProtobufCFieldDescriptor *field,
                                   ProtobufCMessage *message, const uint8_t *data, const uint8_t *end, unsigned depth)
{
    uint8_t *copy = copy_of(unpacking, data);
    size_t count = (size_t)(end - data);
    void *place;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        place = place_of(unpacking, field, message);
        if (place == NULL)
            return false;
        copy[count] = '\0';
        *(char **)place = (char *)copy;
        return true;
    case PROTOBUF_C_TYPE_MESSAGE:
        place = place_of(unpacking, field, message);
        return place != NULL && store_message(unpacking, field, place, data, end, depth);
    case PROTOBUF_C_TYPE_BYTES:
        place = place_of(unpacking, field, message);
        if (place != NULL)
            *(ProtobufCBinaryData *)place = (ProtobufCBinaryData){count, count > 0 ? copy : NULL};
        return place != NULL;
    default:
        return store_packed(unpacking, field, message, data, end);
    }
}

/* The next so many bytes, of a field that is as long as its type says. */
static bool store_fixed(struct unpacking *unpacking, const ProtobufCFieldDescriptor *field, ProtobufCMessage *message,
                        ProtobufCWireType type, const uint8_t *data, size_t bytes)
{
    void *place = protobuf_wire_type(field->type) == type ? place_of(unpacking, field, message) : NULL;
    if (place != NULL)
        memcpy(place, data, bytes); /* little-endian, as the wire is */
    return place != NULL;
}

/* What lies between `body` and `end` came behind the tag. */
static bool store_unknown(struct unpacking *unpacking, ProtobufCMessage *message, uint32_t number,
                          ProtobufCWireType type, const uint8_t *body, const uint8_t *end)
{
    void *elements = message->unknown_fields;
    ProtobufCMessageUnknownField *unknown =
        next_element(unpacking, &elements, message->n_unknown_fields, sizeof(*unknown));
    if (unknown == NULL)
        return false;
    *unknown = (ProtobufCMessageUnknownField){
        .tag = number, .wire_type = type, .len = (size_t)(end - body), .data = copy_of(unpacking, body)};
    message->unknown_fields = elements;
    message->n_unknown_fields++;
    return true;
}

/* `depth`: how many messages it lies in. */
static bool unpack_into(struct unpacking *unpacking, ProtobufCMessage *message, const uint8_t *at, const uint8_t *end,
                        unsigned depth)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    if (depth == DEPTH_MAX)
        return false;
    while (at < end) {
        uint64_t tag, value;
        const uint8_t *body = read_varint(at, end, TAG_BYTES_MAX, &tag), *data;
        if (body == NULL || tag >> 3 == 0)
            return false;
        const uint32_t number = (uint32_t)(tag >> 3);
        const ProtobufCWireType type = (ProtobufCWireType)(tag & 7);
        const ProtobufCFieldDescriptor *field = find_field(descriptor, number);
        size_t bytes = sizeof(uint32_t);
        void *place;
        switch (type) {
        case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
            data = read_varint(body, end, TAG_BYTES_MAX, &value);
            if (data == NULL || value > (size_t)(end - data))
                return false;
            at = data + value;
            if (field != NULL && !store_delimited(unpacking, field, message, data, at, depth))
                return false;
            break;
        case PROTOBUF_C_WIRE_TYPE_VARINT:
            at = read_varint(body, end, VARINT_BYTES_MAX, &value);
            if (at == NULL)
                return false;
            if (field == NULL)
                break;
            place = place_of(unpacking, field, message);
            if (place == NULL || !store_varint(field->type, value, place))
                return false;
            break;
        case PROTOBUF_C_WIRE_TYPE_64BIT:
            bytes = sizeof(uint64_t);
            /* fall through */
        case PROTOBUF_C_WIRE_TYPE_32BIT:
            if ((size_t)(end - body) < bytes ||
                (field != NULL && !store_fixed(unpacking, field, message, type, body, bytes)))
                return false;
            at = body + bytes;
            break;
        default:
            return false; /* a group */
        }
        if (field == NULL && !store_unknown(unpacking, message, number, type, body, at))
            return false;
    }
    return true;
}

ProtobufCMessage *protobuf_unpack(const ProtobufCMessageDescriptor *descriptor, const struct protobuf_memory *memory,
                                  const uint8_t *bytes, size_t count)
{
    static const uint8_t nothing[1];
    struct unpacking unpacking = {.memory = memory};
    uint8_t *copy = allocate(&unpacking, count + 1); /* a string at its end is ended, too */
    if (copy == NULL)
        return NULL;
    if (count == 0)
        bytes = nothing;
    memcpy(copy, bytes, count);
    unpacking.shift = (uintptr_t)copy - (uintptr_t)bytes;
    ProtobufCMessage *message = create(&unpacking, descriptor);
    return message != NULL && unpack_into(&unpacking, message, bytes, bytes + count, 0) ? message : NULL;
}
