/* Messages to bytes and back.
 *
 * Unpacking takes its memory from an arena: pieces of a chunk one after the other, all
 * forgotten when the next message comes. A message costs no malloc, and nothing has to be
 * freed piece by piece. What a message may occupy is bounded in proportion to its size: a
 * message of empty sub-messages would else grow a hundred times. */

#include <stdlib.h>
#include <string.h>

#include "common/protobuf/protobuf.h"
#include "common/rpc/internal.h"

#define FIRST_CHUNK_BYTES ((size_t)8 << 10)
/* A larger chunk is freed with its message; the messages that watches bring in number fit. */
#define KEPT_CHUNK_BYTES ((size_t)1 << 20)
/* A message that is kept holds its chunks; when they are larger than so many times its packed
 * size, left over from a larger one, it is rather unpacked once more into chunks of its own. */
#define KEPT_WASTE 4
#define ALIGNMENT 16
/* Most messages are no larger. */
#define PACKED_ON_STACK_BYTES 4096
/* A sub-message of one field takes 15 to 30 times its packed size. */
#define EXPANSION 32
#define EXPANSION_FREE_BYTES ((size_t)1 << 20)

struct rpc_message_memory {
    struct rpc_message_memory *next;
    size_t capacity;
    _Alignas(ALIGNMENT) uint8_t data[];
};

static struct rpc_message_memory *add_chunk(struct rpc_arena *arena, size_t capacity)
{
    struct rpc_message_memory *chunk = rpc_allocate(sizeof(*chunk) + capacity);
    chunk->capacity = capacity;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    arena->used_bytes = 0;
    arena->total_bytes += capacity;
    return chunk;
}

static void *arena_allocate(void *data, size_t bytes)
{
    struct rpc_arena *arena = data;
    if (bytes > arena->limit_bytes)
        return NULL;
    bytes = (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    struct rpc_message_memory *chunk = arena->chunks;
    if (chunk->capacity - arena->used_bytes < bytes) {
        size_t capacity = 2 * chunk->capacity;
        if (capacity < bytes)
            capacity = bytes;
        if (arena->total_bytes + capacity > arena->limit_bytes)
            return NULL;
        chunk = add_chunk(arena, capacity);
    }
    void *piece = chunk->data + arena->used_bytes;
    arena->used_bytes += bytes;
    return piece;
}

/* What a message of so many packed bytes may hold when it is kept. */
static size_t kept_bytes_max(size_t count)
{
    return KEPT_WASTE * count + FIRST_CHUNK_BYTES;
}

/* Forgets the message before. The chunk that is there afterwards is mostly enough for the next one, of so many packed
 * bytes: the newest is the largest, so that messages of one kind fit into it alone. A new one is as large as a message
 * may hold that is kept. */
static void arena_reset(struct rpc_arena *arena, size_t count)
{
    size_t capacity = kept_bytes_max(count) < KEPT_CHUNK_BYTES ? kept_bytes_max(count) : KEPT_CHUNK_BYTES;
    struct rpc_message_memory *chunk = arena->chunks;
    arena->used_bytes = 0;
    if (chunk != NULL && chunk->capacity >= capacity && chunk->capacity <= KEPT_CHUNK_BYTES) {
        rpc_message_memory_free(chunk->next);
        chunk->next = NULL;
        arena->total_bytes = chunk->capacity;
    } else {
        rpc_arena_free(arena);
        add_chunk(arena, capacity);
    }
}

void rpc_message_memory_free(struct rpc_message_memory *memory)
{
    while (memory != NULL) {
        struct rpc_message_memory *next = memory->next;
        free(memory);
        memory = next;
    }
}

void rpc_arena_free(struct rpc_arena *arena)
{
    rpc_message_memory_free(arena->chunks);
    *arena = (struct rpc_arena){.chunks = NULL};
}

ProtobufCMessage *rpc_unpack(struct rpc_arena *arena, const ProtobufCMessageDescriptor *descriptor,
                             const uint8_t *bytes, size_t count)
{
    arena_reset(arena, count);
    arena->limit_bytes = EXPANSION_FREE_BYTES + EXPANSION * count;
    struct protobuf_memory memory = {arena_allocate, arena};
    return protobuf_unpack(descriptor, &memory, bytes, count);
}

void *rpc_arena_keep(struct rpc_arena *arena, const ProtobufCMessage *message, const struct rpc_incoming *incoming,
                     struct rpc_message_memory **memory)
{
    void *kept = (void *)(uintptr_t)message; /* it lies in the arena */
    struct rpc_arena own = {.chunks = NULL};
    if (arena->total_bytes <= kept_bytes_max(incoming->count)) {
        own = *arena;
        *arena = (struct rpc_arena){.chunks = NULL};
    } else {
        kept = rpc_unpack(&own, message->descriptor, incoming->bytes, incoming->count);
    }
    *memory = own.chunks;
    return kept;
}

grpc_byte_buffer *rpc_pack(const ProtobufCMessage *message, size_t *packed_bytes)
{
    uint8_t memory[PACKED_ON_STACK_BYTES];
    struct protobuf_packer packer = {memory, sizeof(memory), false};
    const uint8_t *packed = protobuf_pack(&packer, message, packed_bytes);
    if (packed == NULL)
        abort(); /* out of memory; see "Memory" in loop.h */
    grpc_slice slice;
    if (packer.is_on_heap) { /* then it is the slice's */
        slice = grpc_slice_new_with_user_data((void *)(uintptr_t)packed, *packed_bytes, free, packer.memory);
    } else {
        slice = grpc_slice_from_copied_buffer((const char *)packed, *packed_bytes);
    }
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

struct rpc_packed {
    grpc_byte_buffer *buffer;
    size_t bytes;
};

struct rpc_packed *rpc_packed_create(const ProtobufCMessage *message)
{
    struct rpc_packed *packed = rpc_allocate(sizeof(*packed));
    packed->buffer = rpc_pack(message, &packed->bytes);
    return packed;
}

void rpc_packed_free(struct rpc_packed *packed)
{
    if (packed == NULL)
        return;
    grpc_byte_buffer_destroy(packed->buffer);
    free(packed);
}

size_t rpc_packed_bytes(const struct rpc_packed *packed)
{
    return packed->bytes;
}

grpc_byte_buffer *rpc_packed_share(const struct rpc_packed *packed)
{
    /* Slices are counted: the copy has the same bytes. */
    return grpc_byte_buffer_copy(packed->buffer);
}

void rpc_incoming_open(struct rpc_incoming *incoming, grpc_byte_buffer *buffer)
{
    incoming->slice = grpc_empty_slice();
    const grpc_slice_buffer *slices = &buffer->data.raw.slice_buffer;
    if (slices->count == 1) {
        incoming->bytes = GRPC_SLICE_START_PTR(slices->slices[0]);
        incoming->count = GRPC_SLICE_LENGTH(slices->slices[0]);
        return;
    }
    grpc_byte_buffer_reader reader;
    if (grpc_byte_buffer_reader_init(&reader, buffer)) {
        incoming->slice = grpc_byte_buffer_reader_readall(&reader);
        grpc_byte_buffer_reader_destroy(&reader);
    }
    incoming->bytes = GRPC_SLICE_START_PTR(incoming->slice);
    incoming->count = GRPC_SLICE_LENGTH(incoming->slice);
}

void rpc_incoming_close(struct rpc_incoming *incoming)
{
    grpc_slice_unref(incoming->slice);
}
