#include "common/rpc/memory.h"

#include <stdlib.h>
#include <string.h>

static void *checked(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

void *rpc_allocate(size_t bytes)
{
    return checked(malloc(bytes > 0 ? bytes : 1));
}

void *rpc_allocate_zeroed(size_t bytes)
{
    return checked(calloc(1, bytes > 0 ? bytes : 1));
}

void *rpc_reallocate(void *old, size_t bytes)
{
    return checked(realloc(old, bytes > 0 ? bytes : 1));
}

char *rpc_copy_text(const char *text)
{
    return checked(strdup(text));
}
