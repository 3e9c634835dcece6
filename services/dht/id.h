/* Ids of the hash table: 160 bits, for nodes and for keys alike, and the distance between two
 * of them, which is their exclusive or read as a number (P. Maymounkov and D. Mazieres,
 * "Kademlia: A Peer-to-peer Information System Based on the XOR Metric", 2002, section 2.1).
 *
 * A node's id is what SHA-256 makes of its public key, cut to 160 bits: so nobody chooses the
 * place at which a node stands but by making keys until one fits. The id of a key is made of
 * its text in the same way.
 *
 * Threading: any. */

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/random.h"

#define DHT_ID_BYTES 20
#define DHT_ID_BITS (8 * DHT_ID_BYTES)
#define DHT_ID_TEXT_BYTES (2 * DHT_ID_BYTES + 1)

struct dht_id {
    uint8_t bytes[DHT_ID_BYTES]; /* the highest first */
};

struct dht_id dht_id_of(const void *data, size_t bytes);

/* Below, at or above 0, as memcmp. */
int dht_id_compare(const struct dht_id *a, const struct dht_id *b);

/* Below 0: a is nearer to the target than b. */
int dht_id_compare_distance(const struct dht_id *target, const struct dht_id *a, const struct dht_id *b);

/* How many bits both have in common from the highest on: 0 to DHT_ID_BITS. */
unsigned dht_id_shared_bits(const struct dht_id *a, const struct dht_id *b);

/* A random id that has exactly that many bits, fewer than DHT_ID_BITS, in common with `id`. */
struct dht_id dht_id_random(const struct dht_id *id, unsigned shared_bits, struct random *random);

/* Lower-case hexadecimal. */
void dht_id_format(const struct dht_id *id, char text[DHT_ID_TEXT_BYTES]);
