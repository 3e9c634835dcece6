/* What is kept in the table: some bytes that one node, the publisher, has put under a key, with
 * its signature over all of that. A key can have many values, one of each publisher; a publisher
 * replaces its own by one that it issued later, and nobody else can. No bytes at all are a value,
 * too: it says that the publisher takes back what it said before, and lives as long as any, so
 * that older copies do not come back.
 *
 * A value lives from issued_at_ms for lifetime_ms. Its publisher signs both, so that a copy
 * cannot outlive it; whoever holds one believes the publisher's clock as far as
 * DHT_CLOCK_SLACK_MS and never keeps it for longer than its lifetime from when it came.
 *
 * Shared by references, as contacts are. Threading: one thread owns all of them. */

#pragma once

#include "services/dht/contact.h"

#define DHT_KEY_BYTES_MAX 300
#define DHT_DATA_BYTES_MAX 2048
#define DHT_LIFETIME_MS_MAX (24LL * 3600 * 1000)
#define DHT_CLOCK_SLACK_MS (10LL * 60 * 1000)

struct dht_value {
    struct dht_id key_id;    /* of key */
    struct dht_id publisher; /* of public_key */
    uint8_t public_key[DHT_PUBLIC_KEY_BYTES];
    uint8_t signature[DHT_SIGNATURE_BYTES];
    int64_t issued_at_ms; /* since the Unix epoch, by the publisher's clock */
    int64_t lifetime_ms;
    const char *key; /* "worker:ocr" */
    const uint8_t *data;
    uint32_t key_bytes, data_bytes;
    enum dht_checked checked;
    uint32_t references;
};

/* With one reference, which is the caller's; NULL when memory ran out. All is copied; the caller
 * has checked the lengths. */
struct dht_value *dht_value_create(const uint8_t public_key[DHT_PUBLIC_KEY_BYTES], const char *key, size_t key_bytes,
                                   const void *data, size_t data_bytes, int64_t issued_at_ms, int64_t lifetime_ms);

static inline struct dht_value *dht_value_reference(struct dht_value *value)
{
    value->references++;
    return value;
}

/* Gives a reference back; NULL is fine. */
void dht_value_release(struct dht_value *value);

/* For how long it is still to be kept; 0: not at all, or its times are no good. */
int64_t dht_value_remaining_ms(const struct dht_value *value, int64_t unix_ms);
