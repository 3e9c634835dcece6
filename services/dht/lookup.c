/* See lookup.h. */

#include "services/dht/lookup.h"

#include <string.h>

void dht_lookup_init(struct dht_lookup *lookup, const struct dht_id *own, const struct dht_id *target, bool for_values)
{
    memset(lookup, 0, sizeof *lookup);
    lookup->own = *own;
    lookup->target = *target;
    lookup->for_values = for_values;
}

void dht_lookup_free(struct dht_lookup *lookup)
{
    for (size_t i = 0; i < lookup->count; i++)
        dht_contact_release(lookup->nodes[i].contact);
    for (size_t i = 0; i < lookup->value_count; i++)
        dht_value_release(lookup->values[i]);
    for (size_t i = 0; i < lookup->unanswered_count; i++)
        dht_contact_release(lookup->unanswered[i]);
    lookup->count = lookup->value_count = lookup->unanswered_count = 0;
}

static struct dht_lookup_node *find(struct dht_lookup *lookup, const struct dht_id *id)
{
    for (size_t i = 0; i < lookup->count; i++) {
        if (dht_id_compare(&lookup->nodes[i].contact->id, id) == 0)
            return &lookup->nodes[i];
    }
    return NULL;
}

static bool has_failed(const struct dht_lookup *lookup, const struct dht_id *id)
{
    for (size_t i = 0; i < lookup->failed; i++) {
        if (dht_id_compare(&lookup->failed_ids[i], id) == 0)
            return true;
    }
    return false;
}

static void remove_at(struct dht_lookup *lookup, size_t place)
{
    dht_contact_release(lookup->nodes[place].contact);
    lookup->count--;
    memmove(lookup->nodes + place, lookup->nodes + place + 1, (lookup->count - place) * sizeof lookup->nodes[0]);
}

/* Makes room for one at that place by forgetting the farthest from which no answer is awaited; false: it
 * is the newcomer that is to be forgotten. */
static bool make_room(struct dht_lookup *lookup, size_t place)
{
    if (lookup->count < DHT_LOOKUP_LENGTH)
        return true;
    for (size_t i = lookup->count; i-- > place;) {
        if (lookup->nodes[i].state != DHT_LOOKUP_ASKED) {
            remove_at(lookup, i);
            return true;
        }
    }
    return false;
}

void dht_lookup_add(struct dht_lookup *lookup, struct dht_contact *contact, unsigned hops)
{
    size_t place = 0, end = lookup->count;
    while (place < end) {
        size_t middle = place + (end - place) / 2;
        int order = dht_id_compare_distance(&lookup->target, &contact->id, &lookup->nodes[middle].contact->id);
        if (order == 0)
            return; /* two ids at the same distance are the same */
        if (order > 0)
            place = middle + 1;
        else
            end = middle;
    }
    if (dht_id_compare(&contact->id, &lookup->own) == 0 || has_failed(lookup, &contact->id) ||
        !make_room(lookup, place))
        return;
    memmove(lookup->nodes + place + 1, lookup->nodes + place, (lookup->count - place) * sizeof lookup->nodes[0]);
    lookup->nodes[place] =
        (struct dht_lookup_node){.contact = dht_contact_reference(contact), .state = DHT_LOOKUP_NEW, .hops = hops};
    lookup->count++;
}

bool dht_lookup_finished(const struct dht_lookup *lookup)
{
    if (lookup->for_values && lookup->holders >= DHT_QUORUM)
        return true;
    for (size_t i = 0; i < lookup->count && i < DHT_BUCKET_SIZE; i++) {
        if (lookup->nodes[i].state == DHT_LOOKUP_ASKED ||
            (lookup->nodes[i].state == DHT_LOOKUP_NEW && lookup->asked < DHT_LOOKUP_ASKED_MAX))
            return false;
    }
    return true;
}

struct dht_contact *dht_lookup_next(struct dht_lookup *lookup)
{
    if (lookup->under_way >= DHT_PARALLEL || lookup->asked >= DHT_LOOKUP_ASKED_MAX || dht_lookup_finished(lookup))
        return NULL;
    for (size_t i = 0; i < lookup->count && i < DHT_BUCKET_SIZE; i++) {
        if (lookup->nodes[i].state != DHT_LOOKUP_NEW)
            continue;
        lookup->nodes[i].state = DHT_LOOKUP_ASKED;
        lookup->asked++;
        lookup->under_way++;
        return dht_contact_reference(lookup->nodes[i].contact);
    }
    return NULL;
}

unsigned dht_lookup_answered(struct dht_lookup *lookup, const struct dht_id *id)
{
    struct dht_lookup_node *node = find(lookup, id);
    if (node == NULL || node->state != DHT_LOOKUP_ASKED)
        return 0;
    node->state = DHT_LOOKUP_ANSWERED;
    lookup->under_way--;
    return node->hops;
}

void dht_lookup_failed(struct dht_lookup *lookup, struct dht_contact *contact, bool lies)
{
    struct dht_lookup_node *node = find(lookup, &contact->id);
    if (node == NULL || node->state == DHT_LOOKUP_NEW)
        return;
    if (node->state == DHT_LOOKUP_ASKED)
        lookup->under_way--;
    if (!node->again && !lies && node - lookup->nodes < DHT_LOOKUP_AGAIN) {
        node->again = true;
        node->state = DHT_LOOKUP_NEW;
        return;
    }
    lookup->failed_ids[lookup->failed++] = contact->id;
    if (lookup->unanswered_count < DHT_LOOKUP_UNANSWERED_MAX)
        lookup->unanswered[lookup->unanswered_count++] = dht_contact_reference(contact);
    remove_at(lookup, (size_t)(node - lookup->nodes));
}

void dht_lookup_holds(struct dht_lookup *lookup, const struct dht_id *id)
{
    struct dht_lookup_node *node = find(lookup, id);
    if (node != NULL && !node->has_values) {
        node->has_values = true;
        lookup->holders++;
    }
}

bool dht_lookup_take_value(struct dht_lookup *lookup, struct dht_value *value)
{
    for (size_t i = 0; i < lookup->value_count; i++) {
        struct dht_value *known = lookup->values[i];
        if (dht_id_compare(&known->publisher, &value->publisher) != 0)
            continue;
        if (value->issued_at_ms > known->issued_at_ms) {
            lookup->values[i] = dht_value_reference(value);
            dht_value_release(known);
        }
        return true;
    }
    if (lookup->value_count == DHT_LOOKUP_VALUES_MAX)
        return false;
    lookup->values[lookup->value_count++] = dht_value_reference(value);
    return true;
}

size_t dht_lookup_nearest(const struct dht_lookup *lookup, struct dht_contact **contacts, size_t max)
{
    size_t count = 0;
    for (size_t i = 0; i < lookup->count && count < max; i++) {
        if (lookup->nodes[i].state == DHT_LOOKUP_ANSWERED)
            contacts[count++] = lookup->nodes[i].contact;
    }
    return count;
}

struct dht_contact *dht_lookup_nearest_without_values(const struct dht_lookup *lookup)
{
    for (size_t i = 0; i < lookup->count && i < DHT_BUCKET_SIZE; i++) {
        if (lookup->nodes[i].state == DHT_LOOKUP_ANSWERED && !lookup->nodes[i].has_values)
            return lookup->nodes[i].contact;
    }
    return NULL;
}

unsigned dht_lookup_hops(const struct dht_lookup *lookup)
{
    for (size_t i = 0; i < lookup->count; i++) {
        if (lookup->nodes[i].state == DHT_LOOKUP_ANSWERED)
            return lookup->nodes[i].hops;
    }
    return 0;
}
