/* Bodies with a reference count; see server.h. */

#include "common/http/server.h"

#include <stdatomic.h>
#include <stdlib.h>

struct http_shared {
    atomic_size_t references;
    size_t bytes;
    char *data;
};

struct http_shared *http_shared_take(char *data, size_t bytes)
{
    struct http_shared *shared = malloc(sizeof *shared);
    if (shared == NULL) {
        free(data);
        return NULL;
    }
    atomic_init(&shared->references, 1);
    shared->bytes = bytes;
    shared->data = data;
    return shared;
}

struct http_shared *http_shared_reference(struct http_shared *shared)
{
    atomic_fetch_add_explicit(&shared->references, 1, memory_order_relaxed);
    return shared;
}

void http_shared_release(struct http_shared *shared)
{
    if (shared == NULL || atomic_fetch_sub_explicit(&shared->references, 1, memory_order_acq_rel) != 1)
        return;
    free(shared->data);
    free(shared);
}

struct http_text http_shared_text(const struct http_shared *shared)
{
    return (struct http_text){shared->data, shared->bytes};
}
