/* Fuzz target: reading descriptors for reflection. The input is a name, a zero byte, and a
 * FileDescriptorSet; the name is what a stranger asks for. */

#include "common/rpc/descriptors.h"

#include <stdlib.h>
#include <string.h>

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void count_extension(void *argument, int32_t number)
{
    size_t *count = argument;
    (void)number;
    ++*count;
}

/* Every file lies inside the set, and imports files that are there. */
static void check_file(const struct rpc_files *files, size_t file, const uint8_t *set, size_t bytes)
{
    const struct wire_bytes *item = &files->items[file];
    require(item->data >= set && item->count <= bytes && item->data + item->count <= set + bytes);
    size_t imported = 0;
    for (size_t n = 0; n < 100 && rpc_files_import(files, file, n, &imported); n++)
        require(imported <= files->count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const uint8_t *end = bytes > 0 ? memchr(data, '\0', bytes) : NULL;
    if (end == NULL)
        return 0;
    char *name = strdup((const char *)data); /* so that reading past its end shows */
    require(name != NULL);
    const uint8_t *set = end + 1;
    size_t set_bytes = bytes - (size_t)(set - data);
    struct rpc_files files = {NULL, 0};
    rpc_files_add(&files, set, set_bytes); /* what comes before a fault is kept */
    for (size_t i = 0; i < files.count && i < 100; i++)
        check_file(&files, i, set, set_bytes);
    require(rpc_files_by_name(&files, name) <= files.count);
    require(rpc_files_by_symbol(&files, name) <= files.count);
    size_t extensions = 0;
    rpc_files_extensions(&files, name, count_extension, &extensions);
    require((rpc_files_by_extension(&files, name, 1) < files.count) <= (extensions > 0));
    rpc_files_free(&files);
    free(name);
    return 0;
}
