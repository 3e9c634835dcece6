/* See wire.h. */

#include "services/dht/wire.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "common/http/target.h"

/* --- Places --- */

bool dht_wire_url_is_fine(const char *url)
{
    struct http_origin origin;
    size_t bytes = strlen(url);
    return bytes <= DHT_URL_BYTES_MAX && http_origin_parse((struct http_text){url, bytes}, &origin);
}

bool dht_wire_address_is_fine(const char *address)
{
    char host[DHT_ADDRESS_BYTES_MAX + 1];
    unsigned char parsed[16];
    const char *colon = strrchr(address, ':');
    if (colon == NULL || strlen(address) > DHT_ADDRESS_BYTES_MAX)
        return false;
    char *end = NULL;
    long port = strtol(colon + 1, &end, 10);
    if (colon[1] < '1' || colon[1] > '9' || *end != '\0' || port > 65535)
        return false;
    size_t bytes = (size_t)(colon - address);
    bool in_brackets = bytes > 2 && address[0] == '[' && address[bytes - 1] == ']';
    bytes -= in_brackets ? 2 : 0;
    memcpy(host, address + (in_brackets ? 1 : 0), bytes);
    host[bytes] = '\0';
    return inet_pton(in_brackets ? AF_INET6 : AF_INET, host, parsed) == 1;
}

/* --- Taking --- */

static bool take_id(const ProtobufCBinaryData *wire, struct dht_id *id)
{
    if (wire->len != DHT_ID_BYTES)
        return false;
    memcpy(id->bytes, wire->data, DHT_ID_BYTES);
    return true;
}

/* NULL, with *error set, when it is none. */
static struct dht_contact *take_contact(const Muster__V1__DhtContact *wire, const char **error)
{
    *error = "out of memory";
    if (wire->public_key.len != DHT_PUBLIC_KEY_BYTES || wire->signature.len != DHT_SIGNATURE_BYTES)
        *error = "a contact needs a public key of 32 bytes and a signature of 64";
    else if (wire->url[0] != '\0' && !dht_wire_url_is_fine(wire->url))
        *error = "the url of a contact must be http or https and at most 200 bytes long";
    else if (wire->grpc_address[0] != '\0' && !dht_wire_address_is_fine(wire->grpc_address))
        *error = "the grpc_address of a contact must be an IP address with a port";
    else if (wire->url[0] == '\0' && wire->grpc_address[0] == '\0')
        *error = "a contact needs a url or a grpc_address";
    else if (wire->issued_at_ms < 0)
        *error = "the time of a contact must not be before 1970";
    else
        return dht_contact_create(wire->public_key.data, wire->signature.data, wire->issued_at_ms, wire->url,
                                  wire->grpc_address);
    return NULL;
}

static struct dht_value *take_value(const Muster__V1__DhtValue *wire, const char **error)
{
    size_t key_bytes = strlen(wire->key);
    *error = "out of memory";
    if (wire->public_key.len != DHT_PUBLIC_KEY_BYTES || wire->signature.len != DHT_SIGNATURE_BYTES) {
        *error = "a value needs a public key of 32 bytes and a signature of 64";
        return NULL;
    }
    if (key_bytes == 0 || key_bytes > DHT_KEY_BYTES_MAX || wire->data.len > DHT_DATA_BYTES_MAX) {
        *error = "a value needs a key of 1 to 300 bytes and at most 2048 bytes of data";
        return NULL;
    }
    struct dht_value *value = dht_value_create(wire->public_key.data, wire->key, key_bytes, wire->data.data,
                                               wire->data.len, wire->issued_at_ms, wire->lifetime_ms);
    if (value != NULL)
        memcpy(value->signature, wire->signature.data, sizeof value->signature);
    return value;
}

static bool take_values(Muster__V1__DhtValue *const *wire, size_t count, struct dht_value **values, size_t *taken,
                        const char **error)
{
    if (count > DHT_MESSAGE_VALUES_MAX) {
        *error = "at most 16 values in one message";
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        values[i] = take_value(wire[i], error);
        if (values[i] == NULL)
            return false;
        *taken = i + 1;
    }
    return true;
}

static bool take_sender(const Muster__V1__DhtContact *wire, struct dht_contact **sender, const char **error)
{
    if (wire == NULL)
        return true;
    *sender = take_contact(wire, error);
    return *sender != NULL;
}

bool dht_wire_take_request(const Muster__V1__ExchangeRequest *wire, struct dht_request *request, const char **error)
{
    *request = (struct dht_request){.method = DHT_PING};
    if (!take_sender(wire->sender, &request->sender, error))
        return false;
    switch (wire->request_case) {
    case MUSTER__V1__EXCHANGE_REQUEST__REQUEST_PING:
        return true;
    case MUSTER__V1__EXCHANGE_REQUEST__REQUEST_FIND_NODE:
        request->method = DHT_FIND_NODE;
        *error = "the target must have 20 bytes";
        return take_id(&wire->find_node->target, &request->target);
    case MUSTER__V1__EXCHANGE_REQUEST__REQUEST_FIND_VALUE:
        request->method = DHT_FIND_VALUE;
        request->has_after = wire->find_value->after.len > 0;
        *error = "target, and after if it is there, must have 20 bytes";
        return take_id(&wire->find_value->target, &request->target) &&
               (!request->has_after || take_id(&wire->find_value->after, &request->after));
    case MUSTER__V1__EXCHANGE_REQUEST__REQUEST_STORE:
        request->method = DHT_STORE;
        return take_values(wire->store->values, wire->store->n_values, request->values, &request->value_count, error);
    case MUSTER__V1__EXCHANGE_REQUEST__REQUEST__NOT_SET:
    default:
        *error = "the request asks for nothing that is known here";
        return false;
    }
}

bool dht_wire_take_reply(const Muster__V1__ExchangeResponse *wire, enum dht_method method, struct dht_reply *reply,
                         const char **error)
{
    *reply = (struct dht_reply){.method = method, .more = wire->more, .stored = wire->stored};
    *error = "at most 20 contacts in one answer";
    if (wire->n_contacts > DHT_BUCKET_SIZE || !take_sender(wire->sender, &reply->sender, error))
        return false;
    for (size_t i = 0; i < wire->n_contacts; i++) {
        reply->contacts[i] = take_contact(wire->contacts[i], error);
        if (reply->contacts[i] == NULL)
            return false;
        reply->contact_count = i + 1;
    }
    return take_values(wire->values, wire->n_values, reply->values, &reply->value_count, error);
}

static bool is_place(const char *url)
{
    struct http_origin origin;
    return http_origin_parse((struct http_text){url, strlen(url)}, &origin);
}

Muster__V1__DhtRecord *dht_wire_read_record(const struct dht_value *value)
{
    Muster__V1__DhtRecord *record =
        value->data_bytes == 0 ? NULL : muster__v1__dht_record__unpack(NULL, value->data_bytes, value->data);
    bool fine = record != NULL && (record->coordinator_url[0] == '\0' || is_place(record->coordinator_url));
    for (size_t i = 0; fine && i < record->n_workers; i++)
        fine = is_place(record->workers[i]->url);
    if (fine || record == NULL)
        return record;
    muster__v1__dht_record__free_unpacked(record, NULL);
    return NULL;
}

/* --- Filling --- */

/* Protobuf-c's messages are not constant, what they point to is not changed all the same. */
static ProtobufCBinaryData binary(const void *data, size_t bytes)
{
    return (ProtobufCBinaryData){.len = bytes, .data = (uint8_t *)(uintptr_t)data};
}

static char *text(const char *constant)
{
    return (char *)(uintptr_t)constant;
}

static Muster__V1__DhtContact *fill_contact(const struct dht_contact *contact, struct arena *arena)
{
    Muster__V1__DhtContact *wire = arena_take(arena, sizeof *wire);
    if (wire == NULL)
        return NULL;
    muster__v1__dht_contact__init(wire);
    wire->public_key = binary(contact->public_key, sizeof contact->public_key);
    wire->signature = binary(contact->signature, sizeof contact->signature);
    wire->issued_at_ms = contact->issued_at_ms;
    wire->url = text(contact->url);
    wire->grpc_address = text(contact->address);
    return wire;
}

static Muster__V1__DhtValue **fill_values(struct dht_value *const *values, size_t count, struct arena *arena)
{
    Muster__V1__DhtValue **list = arena_take(arena, (count + 1) * sizeof *list);
    for (size_t i = 0; list != NULL && i < count; i++) {
        Muster__V1__DhtValue *wire = arena_take(arena, sizeof *wire);
        if (wire == NULL)
            return NULL;
        muster__v1__dht_value__init(wire);
        wire->public_key = binary(values[i]->public_key, sizeof values[i]->public_key);
        wire->signature = binary(values[i]->signature, sizeof values[i]->signature);
        wire->key = text(values[i]->key);
        wire->data = binary(values[i]->data, values[i]->data_bytes);
        wire->issued_at_ms = values[i]->issued_at_ms;
        wire->lifetime_ms = values[i]->lifetime_ms;
        list[i] = wire;
    }
    return list;
}

static bool fill_what_is_asked(const struct dht_request *request, Muster__V1__ExchangeRequest *wire,
                               struct arena *arena)
{
    switch (request->method) {
    case DHT_PING:
        wire->request_case = MUSTER__V1__EXCHANGE_REQUEST__REQUEST_PING;
        wire->ping = arena_take(arena, sizeof *wire->ping);
        if (wire->ping != NULL)
            muster__v1__dht_ping__init(wire->ping);
        break;
    case DHT_FIND_NODE:
        wire->request_case = MUSTER__V1__EXCHANGE_REQUEST__REQUEST_FIND_NODE;
        wire->find_node = arena_take(arena, sizeof *wire->find_node);
        if (wire->find_node == NULL)
            break;
        muster__v1__dht_find_node__init(wire->find_node);
        wire->find_node->target = binary(request->target.bytes, DHT_ID_BYTES);
        break;
    case DHT_FIND_VALUE:
        wire->request_case = MUSTER__V1__EXCHANGE_REQUEST__REQUEST_FIND_VALUE;
        wire->find_value = arena_take(arena, sizeof *wire->find_value);
        if (wire->find_value == NULL)
            break;
        muster__v1__dht_find_value__init(wire->find_value);
        wire->find_value->target = binary(request->target.bytes, DHT_ID_BYTES);
        if (request->has_after)
            wire->find_value->after = binary(request->after.bytes, DHT_ID_BYTES);
        break;
    case DHT_STORE:
        wire->request_case = MUSTER__V1__EXCHANGE_REQUEST__REQUEST_STORE;
        wire->store = arena_take(arena, sizeof *wire->store);
        if (wire->store == NULL)
            break;
        muster__v1__dht_store__init(wire->store);
        wire->store->values = fill_values(request->values, request->value_count, arena);
        wire->store->n_values = request->value_count;
        break;
    }
    return !arena_failed(arena);
}

bool dht_wire_fill_request(const struct dht_request *request, Muster__V1__ExchangeRequest *wire, struct arena *arena)
{
    muster__v1__exchange_request__init(wire);
    if (request->sender != NULL)
        wire->sender = fill_contact(request->sender, arena);
    return fill_what_is_asked(request, wire, arena);
}

bool dht_wire_fill_reply(const struct dht_reply *reply, Muster__V1__ExchangeResponse *wire, struct arena *arena)
{
    muster__v1__exchange_response__init(wire);
    wire->more = reply->more;
    wire->stored = (uint32_t)reply->stored;
    if (reply->sender != NULL)
        wire->sender = fill_contact(reply->sender, arena);
    wire->contacts = arena_take(arena, (reply->contact_count + 1) * sizeof *wire->contacts);
    for (size_t i = 0; wire->contacts != NULL && i < reply->contact_count; i++)
        wire->contacts[i] = fill_contact(reply->contacts[i], arena);
    wire->n_contacts = reply->contact_count;
    wire->values = fill_values(reply->values, reply->value_count, arena);
    wire->n_values = reply->value_count;
    return !arena_failed(arena);
}
