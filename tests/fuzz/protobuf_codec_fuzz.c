/* Fuzz target: bytes of a message with fields of every type. What is understood is packed again, and then understood
 * and packed the same by us and by protobuf-c. */

#include "common/protobuf/protobuf.h"

#include "muster/testing/every_type.pb-c.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PIECES_MAX 4096

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Each piece a malloc of its own, so that a sanitizer sees where it ends. */
struct pieces {
    void *pieces[PIECES_MAX];
    size_t count;
};

static void *allocate(void *context, size_t bytes)
{
    struct pieces *all = context;
    if (all->count == PIECES_MAX)
        return NULL;
    void *piece = malloc(bytes);
    require(piece != NULL);
    return all->pieces[all->count++] = piece;
}

static void free_pieces(struct pieces *all)
{
    for (size_t i = 0; i < all->count; i++)
        free(all->pieces[i]);
}

/* Packed again; false: not understood. */
static bool turn_around(const uint8_t *data, size_t bytes, struct protobuf_packer *packer, const uint8_t **packed,
                        size_t *packed_bytes)
{
    struct pieces pieces = {.count = 0};
    struct protobuf_memory memory = {allocate, &pieces};
    ProtobufCMessage *message = protobuf_unpack(&muster__testing__every_type__descriptor, &memory, data, bytes);
    if (message != NULL) {
        *packed = protobuf_pack(packer, message, packed_bytes);
        require(*packed != NULL && protobuf_c_message_get_packed_size(message) == *packed_bytes);
    }
    free_pieces(&pieces);
    return message != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct protobuf_packer first_packer = {NULL, 0, false}, second_packer = {NULL, 0, false};
    const uint8_t *first, *second;
    size_t first_bytes, second_bytes;
    if (turn_around(data, bytes, &first_packer, &first, &first_bytes)) {
        require(turn_around(first, first_bytes, &second_packer, &second, &second_bytes));
        require(first_bytes == second_bytes && memcmp(first, second, first_bytes) == 0);
        ProtobufCMessage *theirs =
            protobuf_c_message_unpack(&muster__testing__every_type__descriptor, NULL, first_bytes, first);
        require(theirs != NULL && protobuf_c_message_get_packed_size(theirs) == first_bytes);
        uint8_t *repacked = malloc(first_bytes + 1);
        require(repacked != NULL && protobuf_c_message_pack(theirs, repacked) == first_bytes);
        require(memcmp(repacked, first, first_bytes) == 0);
        free(repacked);
        protobuf_c_message_free_unpacked(theirs, NULL);
    }
    protobuf_packer_free(&first_packer);
    protobuf_packer_free(&second_packer);
    return 0;
}
