/* Finding files in serialised descriptors, for reflection. Private to this folder.
 *
 * A FileDescriptorSet is what protoc writes: files, in which types and services lie with
 * their names. Reflection answers with whole files as they are, so nothing has to be
 * decoded but the way to a name: this reads fields of the wire format one after the other
 * and looks into those on the way. There is no index: the descriptors of a program are some
 * ten kilobytes, and are read when a person lists services.
 *
 * The bytes are checked as they are read: a length that reaches beyond its message ends the
 * reading of that message. They must outlive the files.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/wire.h"

/* All zeroes: no files. */
struct rpc_files {
    struct wire_bytes *items; /* each a FileDescriptorProto, inside the bytes handed in */
    size_t count;
};

/* Adds the files of a FileDescriptorSet. False: it is malformed; files before the fault
 * have been added. */
bool rpc_files_add(struct rpc_files *files, const uint8_t *set, size_t count);

void rpc_files_free(struct rpc_files *files);

/* The index of a file; files->count when there is none. A symbol is the full name, without a
 * dot before it, of a service, method, message, field, enumeration or value of one. */
size_t rpc_files_by_name(const struct rpc_files *files, const char *name);
size_t rpc_files_by_symbol(const struct rpc_files *files, const char *symbol);
size_t rpc_files_by_extension(const struct rpc_files *files, const char *type, int32_t number);

/* Calls found(argument, number) for each extension of a message type. */
void rpc_files_extensions(const struct rpc_files *files, const char *type,
                          void (*found)(void *argument, int32_t number), void *argument);

/* The n-th file that a file imports: its index; files->count: it is not here. False: there
 * is no n-th. */
bool rpc_files_import(const struct rpc_files *files, size_t file, size_t n, size_t *imported);
