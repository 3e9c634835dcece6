/* The key pair of a node, and signatures (Ed25519, RFC 8032, by OpenSSL).
 *
 * The private key lies in the data directory, in dht-key.pem (PKCS #8), for its owner only; it
 * is made at the first start, and with it the node's id. Whoever has it can speak for the node.
 *
 * What is signed, so that no signature of one thing is one of another:
 *
 *     "muster dht contact 1" 0   network   issued_at_ms   url   grpc_address
 *     "muster dht value 1" 0     network   issued_at_ms   lifetime_ms   key   data
 *
 * where numbers are 8 bytes, the highest first, and texts and data are preceded by their length as
 * such a number. The public key is not in there: the signature only holds for it. The network is a
 * name that its nodes have in common and that no message carries: to a node of another one all of
 * them are forgers, and so two networks never grow together.
 *
 * Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "services/dht/contact.h"
#include "services/dht/value.h"

struct dht_identity;

/* Reads the key of a directory, or makes one; `network` is copied. NULL: `error` says in one line what is wrong and
 * what to do. */
struct dht_identity *dht_identity_open(const char *data_dir, const char *network, char *error, size_t error_bytes);
void dht_identity_free(struct dht_identity *identity); /* NULL is fine */

const uint8_t *dht_identity_public_key(const struct dht_identity *identity);

/* A contact of this node, signed; NULL: memory ran out. */
struct dht_contact *dht_identity_contact(const struct dht_identity *identity, int64_t issued_at_ms, const char *url,
                                         const char *address);

/* Fills in the signature of a value that has this node's public key. */
void dht_identity_sign(const struct dht_identity *identity, struct dht_value *value);

/* Whether a signature holds, in this node's network. */
bool dht_contact_is_genuine(const struct dht_identity *identity, const struct dht_contact *contact);
bool dht_value_is_genuine(const struct dht_identity *identity, const struct dht_value *value);
