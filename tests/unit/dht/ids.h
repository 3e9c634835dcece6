// Ids and contacts that stand where a test wants them.

#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>

extern "C" {
#include "services/dht/lookup.h"
#include "services/dht/store.h"
#include "services/dht/table.h"
}

// The first bytes, the others 0.
inline dht_id Id(std::initializer_list<uint8_t> bytes)
{
    dht_id id = {};
    size_t i = 0;
    for (uint8_t byte : bytes)
        id.bytes[i++] = byte;
    return id;
}

// A contact with one reference; its id is set by hand, which no stranger can do.
inline dht_contact *Contact(const dht_id &id, int64_t issued_at_ms = 1)
{
    uint8_t key[DHT_PUBLIC_KEY_BYTES] = {}, signature[DHT_SIGNATURE_BYTES] = {};
    dht_contact *contact = dht_contact_create(key, signature, issued_at_ms, "http://a", "1");
    contact->id = id;
    return contact;
}

inline dht_contact *Contact(std::initializer_list<uint8_t> bytes, int64_t issued_at_ms = 1)
{
    return Contact(Id(bytes), issued_at_ms);
}

// A value of publisher n.
inline dht_value *Value(uint8_t publisher, const std::string &key, const std::string &data, int64_t issued_at_ms,
                        int64_t lifetime_ms = 1000)
{
    uint8_t public_key[DHT_PUBLIC_KEY_BYTES] = {publisher};
    dht_value *value =
        dht_value_create(public_key, key.data(), key.size(), data.data(), data.size(), issued_at_ms, lifetime_ms);
    value->signature[0] = publisher;
    value->signature[1] = static_cast<uint8_t>(issued_at_ms);
    return value;
}
