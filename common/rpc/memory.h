/* malloc, calloc, realloc and strdup that abort when memory runs out: see "Memory" in loop.h.
 * What they give is freed with free(). Private to this folder. */

#pragma once

#include <stddef.h>

void *rpc_allocate(size_t bytes);
void *rpc_allocate_zeroed(size_t bytes);
void *rpc_reallocate(void *old, size_t bytes);
char *rpc_copy_text(const char *text);
