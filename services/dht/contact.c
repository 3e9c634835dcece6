/* See contact.h. */

#include "services/dht/contact.h"

#include <stdlib.h>
#include <string.h>

struct dht_contact *dht_contact_create(const uint8_t public_key[DHT_PUBLIC_KEY_BYTES],
                                       const uint8_t signature[DHT_SIGNATURE_BYTES], int64_t issued_at_ms,
                                       const char *url, const char *address)
{
    size_t url_bytes = strlen(url) + 1, address_bytes = strlen(address) + 1;
    struct dht_contact *contact = malloc(sizeof *contact + url_bytes + address_bytes);
    if (contact == NULL)
        return NULL;
    char *texts = (char *)(contact + 1);
    memcpy(texts, url, url_bytes);
    memcpy(texts + url_bytes, address, address_bytes);
    *contact = (struct dht_contact){
        .id = dht_id_of(public_key, DHT_PUBLIC_KEY_BYTES),
        .issued_at_ms = issued_at_ms,
        .url = texts,
        .address = texts + url_bytes,
        .references = 1,
    };
    memcpy(contact->public_key, public_key, DHT_PUBLIC_KEY_BYTES);
    memcpy(contact->signature, signature, DHT_SIGNATURE_BYTES);
    return contact;
}

void dht_contact_release(struct dht_contact *contact)
{
    if (contact != NULL && --contact->references == 0)
        free(contact);
}
