/* Lookups under way; see state.h. */

#include "services/dht/state.h"

#include <stdlib.h>

/* Pages of values that one node is asked for. */
#define PAGES_MAX 64
/* How many nodes of its own table a lookup begins with. */
#define FIRST_NODES DHT_BUCKET_SIZE

struct search *dht_search_start(struct dht_node *node, uint64_t now_ms, const struct dht_id *target, bool for_values,
                                uint64_t timeout_ms,
                                void (*done)(struct dht_node *, struct search *, const struct dht_found *),
                                void *context)
{
    struct dht_contact *nearest[FIRST_NODES];
    struct search *search = node->stopping ? NULL : malloc(sizeof *search);
    if (search == NULL)
        return NULL;
    *search = (struct search){.deadline_ms = now_ms + timeout_ms, .done = done, .context = context};
    dht_lookup_init(&search->lookup, &node->own->id, target, for_values);
    dht_table_searched(&node->table, target, now_ms);
    size_t count = dht_table_closest(&node->table, target, nearest, FIRST_NODES);
    for (size_t i = 0; i < count; i++)
        dht_lookup_add(&search->lookup, nearest[i], 1);
    if (for_values) { /* what is here counts, but is no proof of what others have */
        struct dht_value *values[DHT_LOOKUP_VALUES_MAX];
        bool more = false;
        count = dht_store_get(&node->store, target, NULL, now_ms, values, DHT_LOOKUP_VALUES_MAX, SIZE_MAX, &more);
        for (size_t i = 0; i < count; i++)
            (void)dht_lookup_take_value(&search->lookup, values[i]); /* there is room for as many */
    }
    search->next = node->searches;
    search->link = &node->searches;
    if (search->next != NULL)
        search->next->link = &search->next;
    node->searches = search;
    node->search_count++;
    /* Not inside this function: the caller does not know the search yet. The deadline brings the
     * node's tick at once. */
    if (dht_lookup_finished(&search->lookup))
        search->deadline_ms = 0;
    for (struct dht_contact *contact; (contact = dht_lookup_next(&search->lookup)) != NULL;) {
        struct dht_request request = {.method = for_values ? DHT_FIND_VALUE : DHT_FIND_NODE, .target = *target};
        /* Contacts of the table are genuine. */
        if (!dht_node_send(node, contact, &request, search, NULL, 0))
            dht_lookup_failed(&search->lookup, contact, true);
        dht_contact_release(contact);
    }
    if (search->lookup.under_way == 0)
        search->deadline_ms = 0;
    return search;
}

/* The nearest node that should have had what was found is given it. */
static void repair(struct dht_node *node, struct dht_lookup *lookup)
{
    struct dht_contact *contact =
        lookup->value_count == 0 || lookup->holders == 0 ? NULL : dht_lookup_nearest_without_values(lookup);
    if (contact != NULL)
        dht_publish_give(node, contact, lookup->values, lookup->value_count, NULL);
}

void dht_search_end(struct dht_node *node, struct search *search, bool complete)
{
    struct dht_found found = {&search->lookup, complete};
    unsigned hops = dht_lookup_hops(&search->lookup);
    for (struct dht_call *call = node->calls; call != NULL; call = call->next) {
        if (call->search == search)
            call->search = NULL;
    }
    *search->link = search->next;
    if (search->next != NULL)
        search->next->link = search->link;
    node->search_count--;
    node->counts.lookups++;
    node->counts.lookup_hops += hops;
    if (hops == 0)
        node->counts.lookups_empty++;
    search->done(node, search, &found);
    if (complete && !node->stopping)
        repair(node, &search->lookup);
    dht_lookup_free(&search->lookup);
    free(search);
}

void dht_search_go_on(struct dht_node *node, struct search *search)
{
    struct dht_lookup *lookup = &search->lookup;
    struct dht_request request = {.method = lookup->for_values ? DHT_FIND_VALUE : DHT_FIND_NODE,
                                  .target = lookup->target};
    for (struct dht_contact *contact; (contact = dht_lookup_next(lookup)) != NULL;) {
        bool trusted = dht_node_trusts_contact(node, contact);
        node->counts.lies += trusted ? 0 : 1;
        if (!trusted || !dht_node_send(node, contact, &request, search, NULL, 0))
            dht_lookup_failed(lookup, contact, true);
        dht_contact_release(contact);
    }
    if (dht_lookup_finished(lookup))
        dht_search_end(node, search, true);
    else if (lookup->under_way == 0)
        dht_search_end(node, search, false); /* nothing could be sent, or as many were asked as may be */
}

static bool is_known(const struct dht_lookup *lookup, const struct dht_value *value)
{
    for (size_t i = 0; i < lookup->value_count; i++) {
        if (dht_id_compare(&lookup->values[i]->publisher, &value->publisher) == 0)
            return lookup->values[i]->issued_at_ms >= value->issued_at_ms;
    }
    return false;
}

/* False: the node lies. */
static bool take_values(struct dht_node *node, uint64_t now_ms, struct dht_lookup *lookup, struct dht_reply *reply)
{
    int64_t unix_ms = dht_node_unix_ms(node, now_ms);
    for (size_t i = 0; i < reply->value_count; i++) {
        struct dht_value *value = reply->values[i];
        if (dht_id_compare(&value->key_id, &lookup->target) != 0)
            return false;
        if (is_known(lookup, value) || dht_value_remaining_ms(value, unix_ms) == 0)
            continue; /* its clock may differ a little from ours: no lie */
        if (!dht_node_trusts_value(node, value))
            return false;
        (void)dht_lookup_take_value(lookup, value); /* beyond what there is room for, some are as good as others */
    }
    return true;
}

/* True: there are more values at that node, and it is asked for them. */
static bool ask_for_more(struct dht_node *node, struct dht_call *call, const struct dht_reply *reply)
{
    if (!reply->more || reply->value_count == 0 || call->pages + 1 >= PAGES_MAX ||
        call->search->lookup.value_count == DHT_LOOKUP_VALUES_MAX)
        return false;
    struct dht_request request = {.method = DHT_FIND_VALUE,
                                  .target = call->search->lookup.target,
                                  .has_after = true,
                                  .after = reply->values[reply->value_count - 1]->publisher};
    return dht_node_send(node, call->contact, &request, call->search, NULL, call->pages + 1);
}

void dht_search_answered(struct dht_node *node, uint64_t now_ms, struct dht_call *call, struct dht_reply *reply)
{
    struct search *search = call->search;
    struct dht_lookup *lookup = &search->lookup;
    call->search = NULL; /* whatever comes now, this call is over */
    if (lookup->for_values && !take_values(node, now_ms, lookup, reply)) {
        node->counts.lies++;
        dht_lookup_failed(lookup, call->contact, true);
        dht_search_go_on(node, search);
        return;
    }
    if (lookup->for_values && reply->value_count > 0)
        dht_lookup_holds(lookup, &call->contact->id);
    unsigned hops = 1;
    for (size_t i = 0; i < lookup->count; i++) {
        if (dht_id_compare(&lookup->nodes[i].contact->id, &call->contact->id) == 0)
            hops = lookup->nodes[i].hops;
    }
    for (size_t i = 0; i < reply->contact_count; i++)
        dht_lookup_add(lookup, reply->contacts[i], hops + 1);
    call->search = search;
    bool more = ask_for_more(node, call, reply);
    call->search = NULL;
    if (more)
        return;
    (void)dht_lookup_answered(lookup, &call->contact->id);
    dht_search_go_on(node, search);
}

uint64_t dht_search_expire(struct dht_node *node, uint64_t now_ms)
{
    uint64_t next_ms = UINT64_MAX;
    struct search *next = NULL;
    for (struct search *search = node->searches; search != NULL; search = next) {
        next = search->next;
        if (search->deadline_ms > now_ms) {
            next_ms = search->deadline_ms < next_ms ? search->deadline_ms : next_ms;
            continue;
        }
        dht_search_end(node, search, dht_lookup_finished(&search->lookup));
        next = node->searches; /* `done` may have done anything: from the start */
    }
    return next_ms;
}

/* --- For others --- */

static void find_done(struct dht_node *node, struct search *search, const struct dht_found *found)
{
    (void)node;
    search->found(search->found_context, found);
}

bool dht_node_find(struct dht_node *node, uint64_t now_ms, const struct dht_id *target, bool for_values,
                   uint64_t timeout_ms, void (*done)(void *context, const struct dht_found *found), void *context)
{
    struct search *search = node->search_count >= DHT_SEARCHES_MAX
                                ? NULL
                                : dht_search_start(node, now_ms, target, for_values, timeout_ms, find_done, NULL);
    if (search == NULL)
        return false;
    search->found = done;
    search->found_context = context;
    return true;
}
