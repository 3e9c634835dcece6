/* Protocol buffers' wire format; see wire.h. */

#include "common/wire.h"

static bool read_varint(struct wire_bytes *rest, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (rest->count == 0)
            return false;
        uint8_t byte = *rest->data;
        rest->data++;
        rest->count--;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool skip(struct wire_bytes *rest, size_t count)
{
    if (count > rest->count)
        return false;
    rest->data += count;
    rest->count -= count;
    return true;
}

bool wire_next(struct wire_bytes *rest, struct wire_field *field)
{
    struct wire_bytes at = *rest;
    uint64_t key = 0;
    if (at.count == 0 || !read_varint(&at, &key) || key >> 3 == 0 || key >> 3 > UINT32_MAX)
        return false;
    field->number = (uint32_t)(key >> 3);
    field->value = 0;
    field->bytes = (struct wire_bytes){NULL, 0};
    switch (key & 7) {
    case 0:
        if (!read_varint(&at, &field->value))
            return false;
        break;
    case 1:
        if (!skip(&at, 8))
            return false;
        break;
    case 2:
        if (!read_varint(&at, &field->value) || field->value > at.count)
            return false;
        field->bytes = (struct wire_bytes){at.data, (size_t)field->value};
        skip(&at, (size_t)field->value);
        break;
    case 5:
        if (!skip(&at, 4))
            return false;
        break;
    default:
        return false;
    }
    *rest = at;
    return true;
}

size_t wire_write_varint(uint64_t value, uint8_t *into)
{
    size_t count = 0;
    for (; value >= 0x80; value >>= 7)
        into[count++] = (uint8_t)(value | 0x80);
    into[count++] = (uint8_t)value;
    return count;
}

size_t wire_varint_bytes(uint64_t value)
{
    size_t count = 1;
    for (; value >= 0x80; value >>= 7)
        count++;
    return count;
}
