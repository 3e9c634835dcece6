/* Messages of nodes (message.h) as protobuf (muster/v1/dht.proto), and back. What comes from
 * strangers is checked here, but for signatures: lengths, numbers of things, texts and places.
 * One message is at most DHT_WIRE_BYTES_MAX long, so that it fits, as text, into the answers
 * that common/http_calls keeps.
 *
 * Threading: none of its own. */

#pragma once

#include "common/arena.h"
#include "muster/v1/dht.pb-c.h"
#include "services/dht/message.h"

#define DHT_WIRE_BYTES_MAX 12200

/* The caller clears the result in either case. False: it is none that a node would send; `error`
 * says why. */
bool dht_wire_take_request(const Muster__V1__ExchangeRequest *wire, struct dht_request *request, const char **error);
bool dht_wire_take_reply(const Muster__V1__ExchangeResponse *wire, enum dht_method method, struct dht_reply *reply,
                         const char **error);

/* Point into the message and the arena. False: memory ran out. */
bool dht_wire_fill_request(const struct dht_request *request, Muster__V1__ExchangeRequest *wire, struct arena *arena);
bool dht_wire_fill_reply(const struct dht_reply *reply, Muster__V1__ExchangeResponse *wire, struct arena *arena);

/* What a publisher says, from the data of a value; NULL: it says nothing, or names a place that is
 * no http or https URL. Freed with muster__v1__dht_record__free_unpacked. */
Muster__V1__DhtRecord *dht_wire_read_record(const struct dht_value *value);

/* Whether a node may be at such a place: an http or https URL; an IP address with a port. */
bool dht_wire_url_is_fine(const char *url);
bool dht_wire_address_is_fine(const char *address);
