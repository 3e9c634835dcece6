/* Reads serialised descriptors; see descriptors.h. */

#include "common/rpc/descriptors.h"

#include <stdlib.h>
#include <string.h>

#include "common/rpc/memory.h"

/* Field numbers of google/protobuf/descriptor.proto. */
enum {
    SET_FILE = 1,
    FILE_NAME = 1,
    FILE_PACKAGE = 2,
    FILE_DEPENDENCY = 3,
    FILE_MESSAGE = 4,
    FILE_ENUM = 5,
    FILE_SERVICE = 6,
    FILE_EXTENSION = 7,
    ANY_NAME = 1,
    MESSAGE_FIELD = 2,
    MESSAGE_NESTED = 3,
    MESSAGE_ENUM = 4,
    MESSAGE_EXTENSION = 6,
    MESSAGE_ONEOF = 8,
    ENUM_VALUE = 2,
    SERVICE_METHOD = 2,
    FIELD_EXTENDEE = 2,
    FIELD_NUMBER = 3,
};

/* The first field of that number with bytes. */
static struct wire_bytes get_bytes(struct wire_bytes message, uint32_t number)
{
    struct wire_field field;
    while (wire_next(&message, &field)) {
        if (field.number == number && field.bytes.data != NULL)
            return field.bytes;
    }
    return (struct wire_bytes){NULL, 0};
}

static bool equals(struct wire_bytes bytes, const char *text, size_t count)
{
    return bytes.count == count && (count == 0 || memcmp(bytes.data, text, count) == 0);
}

/* --- Files --- */

bool rpc_files_add(struct rpc_files *files, const uint8_t *set, size_t count)
{
    struct wire_bytes rest = {set, count};
    struct wire_field field;
    while (wire_next(&rest, &field)) {
        if (field.number != SET_FILE || field.bytes.data == NULL)
            continue;
        files->items = rpc_reallocate(files->items, (files->count + 1) * sizeof(files->items[0]));
        files->items[files->count++] = field.bytes;
    }
    return rest.count == 0;
}

void rpc_files_free(struct rpc_files *files)
{
    free(files->items);
    *files = (struct rpc_files){NULL, 0};
}

static size_t find_file(const struct rpc_files *files, const char *name, size_t name_bytes)
{
    for (size_t i = 0; i < files->count; i++) {
        if (equals(get_bytes(files->items[i], FILE_NAME), name, name_bytes))
            return i;
    }
    return files->count;
}

size_t rpc_files_by_name(const struct rpc_files *files, const char *name)
{
    return find_file(files, name, strlen(name));
}

bool rpc_files_import(const struct rpc_files *files, size_t file, size_t n, size_t *imported)
{
    struct wire_bytes rest = files->items[file];
    struct wire_field field;
    while (wire_next(&rest, &field)) {
        if (field.number != FILE_DEPENDENCY || field.bytes.data == NULL || n-- > 0)
            continue;
        *imported = find_file(files, (const char *)field.bytes.data, field.bytes.count);
        return true;
    }
    return false;
}

/* --- Symbols --- */

/* Whether symbol is that name, or starts with it and a dot: then *rest is what follows. */
static bool enters(const char *symbol, struct wire_bytes name, const char **rest)
{
    if (name.data == NULL || strlen(symbol) < name.count || memcmp(symbol, name.data, name.count) != 0)
        return false;
    if (symbol[name.count] == '\0')
        *rest = "";
    else if (symbol[name.count] == '.' && symbol[name.count + 1] != '\0')
        *rest = symbol + name.count + 1;
    else
        return false;
    return true;
}

/* Whether a child in field `number` has exactly that name. */
static bool has_child(struct wire_bytes parent, uint32_t number, const char *name)
{
    struct wire_field field;
    while (wire_next(&parent, &field)) {
        if (field.number == number && field.bytes.data != NULL &&
            equals(get_bytes(field.bytes, ANY_NAME), name, strlen(name)))
            return true;
    }
    return false;
}

/* Whether a message, an enumeration or a service is, or holds, what is left of a symbol. */
static bool holds(struct wire_bytes parent, uint32_t message_number, uint32_t enum_number, const char *symbol)
{
    /* Goes no deeper than the symbol has parts. */
    struct wire_bytes rest = parent;
    struct wire_field field;
    while (wire_next(&rest, &field)) {
        const char *inner = NULL;
        if (field.bytes.data == NULL)
            continue;
        if (field.number == message_number && enters(symbol, get_bytes(field.bytes, ANY_NAME), &inner)) {
            if (inner[0] == '\0' || has_child(field.bytes, MESSAGE_FIELD, inner) ||
                has_child(field.bytes, MESSAGE_EXTENSION, inner) || has_child(field.bytes, MESSAGE_ONEOF, inner) ||
                holds(field.bytes, MESSAGE_NESTED, MESSAGE_ENUM, inner))
                return true;
        } else if (field.number == enum_number) {
            /* The values of an enumeration are named beside it; many tools also say them
             * below it. */
            if (has_child(field.bytes, ENUM_VALUE, symbol))
                return true;
            if (enters(symbol, get_bytes(field.bytes, ANY_NAME), &inner) &&
                (inner[0] == '\0' || has_child(field.bytes, ENUM_VALUE, inner)))
                return true;
        }
    }
    return false;
}

static bool file_holds(struct wire_bytes file, const char *symbol)
{
    struct wire_bytes package = get_bytes(file, FILE_PACKAGE);
    const char *inner = symbol;
    if (package.count > 0 && (!enters(symbol, package, &inner) || inner[0] == '\0'))
        return false;
    if (holds(file, FILE_MESSAGE, FILE_ENUM, inner) || has_child(file, FILE_EXTENSION, inner))
        return true;
    struct wire_field field;
    while (wire_next(&file, &field)) {
        const char *method = NULL;
        if (field.number == FILE_SERVICE && field.bytes.data != NULL &&
            enters(inner, get_bytes(field.bytes, ANY_NAME), &method) &&
            (method[0] == '\0' || has_child(field.bytes, SERVICE_METHOD, method)))
            return true;
    }
    return false;
}

size_t rpc_files_by_symbol(const struct rpc_files *files, const char *symbol)
{
    size_t i = 0;
    while (i < files->count && !file_holds(files->items[i], symbol))
        i++;
    return i;
}

/* --- Extensions --- */

/* Messages may lie inside each other this deep; protoc allows less. */
#define NESTING_LIMIT 64

/* Calls found for each extension of the type in a file or message, nested ones included. */
static void visit_extensions(struct wire_bytes parent, uint32_t extension_number, uint32_t message_number,
                             unsigned depth, const char *type, void (*found)(void *argument, int32_t number),
                             void *argument)
{
    struct wire_field field;
    while (wire_next(&parent, &field)) {
        if (field.bytes.data == NULL)
            continue;
        if (field.number == message_number && depth < NESTING_LIMIT)
            visit_extensions(field.bytes, MESSAGE_EXTENSION, MESSAGE_NESTED, depth + 1, type, found, argument);
        if (field.number != extension_number)
            continue;
        struct wire_bytes extendee = get_bytes(field.bytes, FIELD_EXTENDEE);
        if (extendee.count == 0 || extendee.data[0] != '.')
            continue;
        extendee.data++;
        extendee.count--;
        if (!equals(extendee, type, strlen(type)))
            continue;
        struct wire_bytes rest = field.bytes;
        struct wire_field inner;
        while (wire_next(&rest, &inner)) {
            if (inner.number == FIELD_NUMBER && inner.bytes.data == NULL)
                found(argument, (int32_t)inner.value);
        }
    }
}

void rpc_files_extensions(const struct rpc_files *files, const char *type,
                          void (*found)(void *argument, int32_t number), void *argument)
{
    for (size_t i = 0; i < files->count; i++)
        visit_extensions(files->items[i], FILE_EXTENSION, FILE_MESSAGE, 0, type, found, argument);
}

struct wanted {
    int32_t number;
    bool found;
};

static void compare_number(void *argument, int32_t number)
{
    struct wanted *wanted = argument;
    wanted->found = wanted->found || wanted->number == number;
}

size_t rpc_files_by_extension(const struct rpc_files *files, const char *type, int32_t number)
{
    struct wanted wanted = {number, false};
    for (size_t i = 0; i < files->count; i++) {
        visit_extensions(files->items[i], FILE_EXTENSION, FILE_MESSAGE, 0, type, compare_number, &wanted);
        if (wanted.found)
            return i;
    }
    return files->count;
}
