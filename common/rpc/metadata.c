/* Metadata: lists to send, and looking values up in what came. */

#include <stdlib.h>
#include <string.h>

#include "common/rpc/internal.h"

bool rpc_metadata_add(struct rpc_metadata_list *list, const struct rpc_metadata *metadata)
{
    grpc_slice key = grpc_slice_from_copied_string(metadata->key);
    grpc_slice value = grpc_slice_from_copied_buffer(metadata->value, metadata->value_bytes);
    if (!grpc_header_key_is_legal(key) || (!grpc_is_binary_header(key) && !grpc_header_nonbin_value_is_legal(value))) {
        grpc_slice_unref(key);
        grpc_slice_unref(value);
        return false;
    }
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 4 : 2 * list->capacity;
        list->items = rpc_reallocate(list->items, list->capacity * sizeof(list->items[0]));
    }
    memset(&list->items[list->count], 0, sizeof(list->items[0]));
    list->items[list->count].key = key;
    list->items[list->count].value = value;
    list->count++;
    return true;
}

void rpc_metadata_free(struct rpc_metadata_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        grpc_slice_unref(list->items[i].key);
        grpc_slice_unref(list->items[i].value);
    }
    free(list->items);
    *list = (struct rpc_metadata_list){0};
}

const void *rpc_metadata_find(const grpc_metadata_array *array, const char *key, size_t n, size_t *value_bytes)
{
    size_t key_bytes = strlen(key);
    for (size_t i = 0; i < array->count; i++) {
        const grpc_metadata *line = &array->metadata[i];
        if (GRPC_SLICE_LENGTH(line->key) != key_bytes || memcmp(GRPC_SLICE_START_PTR(line->key), key, key_bytes) != 0)
            continue;
        if (n-- > 0)
            continue;
        *value_bytes = GRPC_SLICE_LENGTH(line->value);
        return GRPC_SLICE_START_PTR(line->value);
    }
    *value_bytes = 0;
    return NULL;
}
