/* See message.h. */

#include "services/dht/message.h"

void dht_request_clear(struct dht_request *request)
{
    dht_contact_release(request->sender);
    for (size_t i = 0; i < request->value_count; i++)
        dht_value_release(request->values[i]);
    *request = (struct dht_request){.method = request->method};
}

void dht_reply_clear(struct dht_reply *reply)
{
    dht_contact_release(reply->sender);
    for (size_t i = 0; i < reply->contact_count; i++)
        dht_contact_release(reply->contacts[i]);
    for (size_t i = 0; i < reply->value_count; i++)
        dht_value_release(reply->values[i]);
    *reply = (struct dht_reply){.method = reply->method};
}
