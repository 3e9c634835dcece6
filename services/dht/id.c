/* See id.h. */

#include "services/dht/id.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

struct dht_id dht_id_of(const void *data, size_t bytes)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    struct dht_id id;
    (void)SHA256(data, bytes, digest); /* returns `digest` */
    memcpy(id.bytes, digest, sizeof id.bytes);
    return id;
}

int dht_id_compare(const struct dht_id *a, const struct dht_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

/* The first of the highest bytes, as a number that compares as they do. */
static uint64_t highest(const struct dht_id *id)
{
    uint64_t bytes;
    memcpy(&bytes, id->bytes, sizeof bytes);
    return __builtin_bswap64(bytes);
}

int dht_id_compare_distance(const struct dht_id *target, const struct dht_id *a, const struct dht_id *b)
{
    uint64_t distance_a = highest(target) ^ highest(a), distance_b = highest(target) ^ highest(b);
    if (distance_a != distance_b)
        return distance_a < distance_b ? -1 : 1;
    for (size_t i = sizeof distance_a; i < DHT_ID_BYTES; i++) {
        int difference = (target->bytes[i] ^ a->bytes[i]) - (target->bytes[i] ^ b->bytes[i]);
        if (difference != 0)
            return difference;
    }
    return 0;
}

unsigned dht_id_shared_bits(const struct dht_id *a, const struct dht_id *b)
{
    for (unsigned i = 0; i < DHT_ID_BYTES; i++) {
        unsigned difference = a->bytes[i] ^ b->bytes[i];
        if (difference != 0)
            return 8 * i + (unsigned)__builtin_clz(difference) - 24;
    }
    return DHT_ID_BITS;
}

struct dht_id dht_id_random(const struct dht_id *id, unsigned shared_bits, struct random *random)
{
    struct dht_id result;
    for (size_t i = 0; i < DHT_ID_BYTES; i++)
        result.bytes[i] = (uint8_t)random_next(random);
    size_t whole = shared_bits / 8;
    memcpy(result.bytes, id->bytes, whole);
    /* In the byte where they part: the shared bits, the next one turned round, the rest random. */
    unsigned parting = 0x80u >> shared_bits % 8;
    unsigned kept = 0xffu & ~(2 * parting - 1);
    result.bytes[whole] = (uint8_t)((id->bytes[whole] & kept) | ((id->bytes[whole] & parting) ^ parting) |
                                    (result.bytes[whole] & (parting - 1)));
    return result;
}

void dht_id_format(const struct dht_id *id, char text[DHT_ID_TEXT_BYTES])
{
    for (size_t i = 0; i < DHT_ID_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", id->bytes[i]);
}
