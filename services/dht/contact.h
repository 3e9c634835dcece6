/* What a node says of itself to others: its public key, where it is reached, and since when it
 * says so, with its signature over all of that. Whoever has a contact can pass it on, nobody
 * else can make one: so no node can send the traffic of another one elsewhere. Of two contacts
 * of one node the one that was issued later holds.
 *
 * A contact does not change once it is made, and is shared: many tables and messages hold one,
 * counted by references. Its signature is checked when it matters for the first time, which is
 * before a node is called or remembered (see struct dht_effects), and that is noted here.
 *
 * Threading: one thread owns all of them. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "services/dht/id.h"

#define DHT_PUBLIC_KEY_BYTES 32 /* Ed25519, RFC 8032 */
#define DHT_SIGNATURE_BYTES 64
#define DHT_URL_BYTES_MAX 200
#define DHT_ADDRESS_BYTES_MAX 64

enum dht_checked { DHT_NOT_CHECKED, DHT_GENUINE, DHT_FORGED };

struct dht_contact {
    struct dht_id id; /* of public_key */
    uint8_t public_key[DHT_PUBLIC_KEY_BYTES];
    uint8_t signature[DHT_SIGNATURE_BYTES];
    int64_t issued_at_ms; /* by the clock of the node itself: only compared with others of that node */
    const char *url;      /* of its gateway: "https://uk.example.org"; "": none */
    const char *address;  /* of its gRPC port: "10.0.0.5:7105"; "": it is not to be reached */
    enum dht_checked checked;
    uint32_t references;
};

/* With one reference, which is the caller's; NULL when memory ran out. The texts are copied; the
 * caller has checked their lengths. */
struct dht_contact *dht_contact_create(const uint8_t public_key[DHT_PUBLIC_KEY_BYTES],
                                       const uint8_t signature[DHT_SIGNATURE_BYTES], int64_t issued_at_ms,
                                       const char *url, const char *address);

static inline struct dht_contact *dht_contact_reference(struct dht_contact *contact)
{
    contact->references++;
    return contact;
}

/* Gives a reference back; NULL is fine. */
void dht_contact_release(struct dht_contact *contact);
