/* See value.h. */

#include "services/dht/value.h"

#include <stdlib.h>
#include <string.h>

struct dht_value *dht_value_create(const uint8_t public_key[DHT_PUBLIC_KEY_BYTES], const char *key, size_t key_bytes,
                                   const void *data, size_t data_bytes, int64_t issued_at_ms, int64_t lifetime_ms)
{
    struct dht_value *value = malloc(sizeof *value + key_bytes + 1 + data_bytes);
    if (value == NULL)
        return NULL;
    char *bytes = (char *)(value + 1);
    memcpy(bytes, key, key_bytes);
    bytes[key_bytes] = '\0';
    if (data_bytes > 0)
        memcpy(bytes + key_bytes + 1, data, data_bytes);
    *value = (struct dht_value){
        .key_id = dht_id_of(key, key_bytes),
        .publisher = dht_id_of(public_key, DHT_PUBLIC_KEY_BYTES),
        .issued_at_ms = issued_at_ms,
        .lifetime_ms = lifetime_ms,
        .key = bytes,
        .data = (const uint8_t *)bytes + key_bytes + 1,
        .key_bytes = (uint32_t)key_bytes,
        .data_bytes = (uint32_t)data_bytes,
        .references = 1,
    };
    memcpy(value->public_key, public_key, DHT_PUBLIC_KEY_BYTES);
    return value;
}

void dht_value_release(struct dht_value *value)
{
    if (value != NULL && --value->references == 0)
        free(value);
}

int64_t dht_value_remaining_ms(const struct dht_value *value, int64_t unix_ms)
{
    /* What a stranger sends may be any number: nothing is added before it is known to be small. */
    if (value->lifetime_ms <= 0 || value->lifetime_ms > DHT_LIFETIME_MS_MAX || value->issued_at_ms < 0 ||
        value->issued_at_ms > unix_ms + DHT_CLOCK_SLACK_MS)
        return 0;
    int64_t remaining_ms = value->issued_at_ms + value->lifetime_ms - unix_ms;
    return remaining_ms <= 0 ? 0 : remaining_ms < value->lifetime_ms ? remaining_ms : value->lifetime_ms;
}
