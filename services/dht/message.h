/* What nodes say to each other: four requests (Maymounkov and Mazieres 2002, section 2.3) and
 * their answers, as the node sees them; wire.h makes bytes of them and back.
 *
 *     PING         are you there?
 *     FIND_NODE    which nodes do you know near this id?
 *     FIND_VALUE   which values do you have under this key, and whom do you know near it?
 *     STORE        keep these values
 *
 * Every request and every answer carries its sender's contact, so that nodes learn of each other
 * by what they do anyway. Several values are answered page by page: `after` is the publisher of
 * the last one that was received.
 *
 * Contacts and values in a message are references that the message holds until it is cleared.
 * Threading: none of its own. */

#pragma once

#include "services/dht/table.h"
#include "services/dht/value.h"

#define DHT_MESSAGE_VALUES_MAX 16
/* Of the values in one message, as dht_store_bytes_of counts them; a message may have one that is longer. */
#define DHT_MESSAGE_VALUE_BYTES 4096

enum dht_method { DHT_PING, DHT_FIND_NODE, DHT_FIND_VALUE, DHT_STORE };

struct dht_request {
    enum dht_method method;
    struct dht_contact *sender; /* NULL: it cannot be called */
    struct dht_id target;       /* FIND_NODE, FIND_VALUE */
    bool has_after;
    struct dht_id after;
    struct dht_value *values[DHT_MESSAGE_VALUES_MAX]; /* STORE */
    size_t value_count;
};

struct dht_reply {
    enum dht_method method; /* that is answered */
    struct dht_contact *sender;
    struct dht_contact *contacts[DHT_BUCKET_SIZE]; /* FIND_NODE, FIND_VALUE: the nearest first */
    size_t contact_count;
    struct dht_value *values[DHT_MESSAGE_VALUES_MAX]; /* FIND_VALUE */
    size_t value_count;
    bool more;     /* FIND_VALUE: there are values behind these */
    size_t stored; /* STORE: how many are here now */
};

/* Give the references back; the message is empty afterwards. */
void dht_request_clear(struct dht_request *request);
void dht_reply_clear(struct dht_reply *reply);
