/* The node's life, its answers, its calls; see node.h. */

#include "services/dht/state.h"

#include <stdlib.h>
#include <string.h>

#define UPKEEP_MS (30 * 1000)
#define SWEEP_MS (60 * 1000)
/* A full bucket's node that was silent for longer is called when somebody waits for its place. */
#define SILENT_MS (10 * 60 * 1000)
/* Calls back to strangers: at a time, and in a second. */
#define STRANGERS_MAX 16
#define STRANGERS_PER_SECOND 32
#define UPKEEP_SEARCH_MS (60 * 1000)
#define CALLS_MAX 4096

const struct dht_node_settings dht_node_default_settings = {
    .lifetime_ms = 3600 * 1000,
    .refresh_ms = 3600 * 1000,
    .published_max = 1000,
    .store = DHT_STORE_DEFAULT_LIMITS,
};

struct dht_node *dht_node_create(const struct dht_node_settings *settings, struct dht_contact *own,
                                 const struct dht_effects *effects, uint64_t seed, uint64_t now_ms)
{
    struct dht_node *node = calloc(1, sizeof *node);
    if (node == NULL)
        return NULL;
    node->settings = *settings;
    node->effects = *effects;
    node->own = dht_contact_reference(own);
    random_seed(&node->random, seed);
    dht_table_init(&node->table, &own->id);
    dht_store_init(&node->store, &settings->store);
    node->upkeep_at_ms = now_ms + random_below(&node->random, UPKEEP_MS);
    node->sweep_at_ms = now_ms + random_below(&node->random, SWEEP_MS);
    node->publish_at_ms = UINT64_MAX;
    return node;
}

void dht_node_stop(struct dht_node *node)
{
    node->stopping = true;
    while (node->searches != NULL)
        dht_search_end(node, node->searches, false);
}

static void end_call(struct dht_node *node, struct dht_call *call)
{
    *call->link = call->next;
    if (call->next != NULL)
        call->next->link = call->link;
    if (call->of_stranger)
        node->strangers_called--;
    dht_contact_release(call->contact);
    free(call);
}

void dht_node_destroy(struct dht_node *node)
{
    if (node == NULL)
        return;
    dht_node_stop(node);
    while (node->calls != NULL)
        end_call(node, node->calls);
    dht_publish_free(node);
    dht_store_free(&node->store);
    dht_table_free(&node->table);
    dht_contact_release(node->own);
    free(node);
}

void dht_node_set_clock(struct dht_node *node, int64_t unix_minus_now_ms)
{
    node->unix_minus_now_ms = unix_minus_now_ms;
}

int64_t dht_node_unix_ms(const struct dht_node *node, uint64_t now_ms)
{
    return (int64_t)now_ms + node->unix_minus_now_ms;
}

/* --- Trust --- */

bool dht_node_trusts_contact(struct dht_node *node, struct dht_contact *contact)
{
    if (contact->checked == DHT_NOT_CHECKED)
        contact->checked = node->effects.contact_is_genuine(node->effects.context, contact) ? DHT_GENUINE : DHT_FORGED;
    return contact->checked == DHT_GENUINE;
}

bool dht_node_trusts_value(struct dht_node *node, struct dht_value *value)
{
    if (value->checked == DHT_NOT_CHECKED)
        value->checked = node->effects.value_is_genuine(node->effects.context, value) ? DHT_GENUINE : DHT_FORGED;
    return value->checked == DHT_GENUINE;
}

/* --- Calling --- */

static struct dht_call *send(struct dht_node *node, struct dht_contact *to, const struct dht_request *request)
{
    struct dht_call *call =
        node->stopping || node->counts.calls - node->counts.answered - node->counts.unanswered >= CALLS_MAX
            ? NULL
            : calloc(1, sizeof *call);
    if (call == NULL)
        return NULL;
    call->method = request->method;
    call->contact = dht_contact_reference(to);
    call->next = node->calls;
    call->link = &node->calls;
    if (call->next != NULL)
        call->next->link = &call->next;
    node->calls = call;
    node->counts.calls++;
    struct dht_request signed_request = *request;
    signed_request.sender = node->own;
    node->effects.send(node->effects.context, to, &signed_request, call);
    return call;
}

bool dht_node_send(struct dht_node *node, struct dht_contact *to, const struct dht_request *request,
                   struct search *search, struct published *published, unsigned pages)
{
    struct dht_call *call = send(node, to, request);
    if (call == NULL)
        return false;
    call->search = search;
    call->published = published;
    call->pages = pages;
    return true;
}

/* True: it was sent. */
static bool ping(struct dht_node *node, struct dht_contact *contact, bool is_stranger)
{
    if (dht_id_compare(&contact->id, &node->own->id) == 0 || !dht_node_trusts_contact(node, contact))
        return false;
    struct dht_call *call = send(node, contact, &(struct dht_request){.method = DHT_PING});
    if (call == NULL)
        return false;
    call->of_stranger = is_stranger;
    node->strangers_called += is_stranger ? 1 : 0;
    return true;
}

void dht_node_call(struct dht_node *node, struct dht_contact *contact)
{
    (void)ping(node, contact, false); /* else somebody else will tell of it */
}

void dht_node_moved(struct dht_node *node, struct dht_contact *own)
{
    struct dht_table_entry entry;
    size_t position = 0;
    (void)dht_contact_reference(own);
    dht_contact_release(node->own);
    node->own = own;
    while (dht_table_next(&node->table, &position, &entry))
        dht_node_call(node, dht_table_find(&node->table, &entry.contact->id));
}

/* Somebody has called who is not known: whether there is such a node is found out by calling it. */
static void call_back(struct dht_node *node, uint64_t now_ms, struct dht_contact *contact)
{
    if (now_ms - node->strangers_now_ms >= 1000) {
        node->strangers_now_ms = now_ms;
        node->strangers_in_second = 0;
    }
    if (node->strangers_called >= STRANGERS_MAX || node->strangers_in_second >= STRANGERS_PER_SECOND)
        return;
    for (const struct dht_call *call = node->calls; call != NULL; call = call->next) {
        if (call->of_stranger && dht_id_compare(&call->contact->id, &contact->id) == 0)
            return;
    }
    node->strangers_in_second++; /* a forged one costs as much as a call */
    (void)ping(node, contact, true);
}

/* --- Being called --- */

static void keep_values(struct dht_node *node, uint64_t now_ms, const struct dht_request *request,
                        struct dht_reply *reply)
{
    int64_t unix_ms = dht_node_unix_ms(node, now_ms);
    for (size_t i = 0; i < request->value_count; i++) {
        struct dht_value *value = request->values[i];
        enum dht_put would = dht_store_would_put(&node->store, value, unix_ms);
        /* Far from its key a value would never be looked for. The others may know the place less
         * well than this node does, hence twice as many. */
        if ((would == DHT_PUT_STORED &&
             dht_table_count_nearer(&node->table, &value->key_id, 2 * DHT_BUCKET_SIZE) == 2 * DHT_BUCKET_SIZE) ||
            would == DHT_PUT_EXPIRED)
            continue;
        if (would == DHT_PUT_STORED && !dht_node_trusts_value(node, value)) {
            node->counts.lies++;
            continue;
        }
        enum dht_put result = dht_store_put(&node->store, value, now_ms, unix_ms, &node->random);
        if (result == DHT_PUT_STORED)
            node->counts.stores_taken++;
        if (result == DHT_PUT_STORED || result == DHT_PUT_KNOWN)
            reply->stored++;
    }
}

static void name_nearest(struct dht_node *node, const struct dht_request *request, struct dht_reply *reply)
{
    struct dht_contact *nearest[DHT_BUCKET_SIZE + 1];
    size_t count = dht_table_closest(&node->table, &request->target, nearest, DHT_BUCKET_SIZE + 1);
    for (size_t i = 0; i < count && reply->contact_count < DHT_BUCKET_SIZE; i++) {
        if (request->sender == NULL || dht_id_compare(&nearest[i]->id, &request->sender->id) != 0)
            reply->contacts[reply->contact_count++] = dht_contact_reference(nearest[i]);
    }
}

void dht_node_handle(struct dht_node *node, uint64_t now_ms, struct dht_request *request, struct dht_reply *reply)
{
    *reply = (struct dht_reply){.method = request->method, .sender = dht_contact_reference(node->own)};
    node->counts.requests[request->method]++;
    switch (request->method) {
    case DHT_PING:
        break;
    case DHT_STORE:
        keep_values(node, now_ms, request, reply);
        break;
    case DHT_FIND_VALUE:
        reply->value_count =
            dht_store_get(&node->store, &request->target, request->has_after ? &request->after : NULL, now_ms,
                          reply->values, DHT_MESSAGE_VALUES_MAX, DHT_MESSAGE_VALUE_BYTES, &reply->more);
        for (size_t i = 0; i < reply->value_count; i++)
            (void)dht_value_reference(reply->values[i]);
        if (!request->has_after)
            name_nearest(node, request, reply);
        break;
    case DHT_FIND_NODE:
        name_nearest(node, request, reply);
        break;
    }
    if (request->sender != NULL && dht_table_called(&node->table, request->sender, now_ms))
        call_back(node, now_ms, request->sender);
}

/* --- Answers --- */

static void join_done(struct dht_node *node, struct search *search, const struct dht_found *found)
{
    (void)search;
    node->joining = false;
    node->background_count--;
    if (!found->complete || node->table.count == 0)
        return;
    node->joined = true;
    dht_publish_joined(node);
}

static void join(struct dht_node *node, uint64_t now_ms)
{
    if (node->joining || node->joined || node->stopping)
        return;
    if (dht_search_start(node, now_ms, &node->own->id, false, UPKEEP_SEARCH_MS, join_done, NULL) == NULL)
        return;
    node->joining = true;
    node->background_count++;
    node->searched_since_ms = now_ms;
}

void dht_node_met(struct dht_node *node, uint64_t now_ms, struct dht_contact *contact)
{
    if (node->stopping || !dht_node_trusts_contact(node, contact))
        return;
    switch (dht_table_heard(&node->table, contact, now_ms)) {
    case DHT_HEARD_ADDED:
        dht_publish_hand_over(node, now_ms, contact);
        join(node, now_ms);
        break;
    case DHT_HEARD_WAITING: {
        struct dht_contact *oldest =
            dht_table_oldest(&node->table, dht_id_shared_bits(&node->own->id, &contact->id), now_ms, SILENT_MS);
        if (oldest != NULL)
            dht_node_call(node, oldest);
        break;
    }
    case DHT_HEARD_KNOWN:
    case DHT_HEARD_NOT:
        break;
    }
}

/* A call has no good end; `lies`: though it was answered. */
static void failed(struct dht_node *node, struct dht_call *call, bool lies)
{
    struct search *search = call->search;
    struct published *published = call->published;
    struct dht_contact *candidate = dht_table_failed(&node->table, &call->contact->id);
    if (node->table.count == 0)
        node->joined = false; /* as at the beginning */
    if (search != NULL)
        dht_lookup_failed(&search->lookup, call->contact, lies);
    end_call(node, call);
    if (published != NULL)
        dht_publish_stored(node, published, 0);
    if (search != NULL)
        dht_search_go_on(node, search);
    if (candidate != NULL)
        dht_node_call(node, candidate);
    dht_contact_release(candidate);
}

void dht_node_unanswered(struct dht_node *node, uint64_t now_ms, struct dht_call *call)
{
    (void)now_ms;
    node->counts.unanswered++;
    failed(node, call, false);
}

void dht_node_answered(struct dht_node *node, uint64_t now_ms, struct dht_call *call, struct dht_reply *reply)
{
    struct dht_contact *sender = reply->sender;
    node->counts.answered++;
    bool is_same = sender != NULL && dht_id_compare(&sender->id, &call->contact->id) == 0;
    /* What is known already, and genuine, need not be checked again. */
    if (is_same && sender->issued_at_ms <= call->contact->issued_at_ms)
        sender = call->contact;
    if (!is_same || reply->method != call->method || !dht_node_trusts_contact(node, sender)) {
        node->counts.lies++;
        failed(node, call, true);
        return;
    }
    dht_node_met(node, now_ms, sender);
    if (call->method == DHT_STORE && call->published != NULL)
        dht_publish_stored(node, call->published, reply->stored);
    struct search *search = call->search;
    if (search != NULL)
        dht_search_answered(node, now_ms, call, reply);
    end_call(node, call);
}

/* --- Upkeep --- */

static void refresh_done(struct dht_node *node, struct search *search, const struct dht_found *found)
{
    (void)search;
    (void)found;
    node->background_count--;
    node->refreshing = false;
    node->upkeep_at_ms = 0; /* the next bucket */
}

static void refresh(struct dht_node *node, uint64_t now_ms)
{
    if (node->refreshing || !node->joined || node->background_count >= DHT_BACKGROUND_MAX)
        return;
    uint64_t since_ms = now_ms > node->settings.refresh_ms ? now_ms - node->settings.refresh_ms : 0;
    if (since_ms < node->searched_since_ms)
        since_ms = node->searched_since_ms;
    unsigned bucket = dht_table_unsearched(&node->table, since_ms);
    if (bucket == DHT_ID_BITS)
        return;
    struct dht_id target = dht_id_random(&node->own->id, bucket, &node->random);
    if (dht_search_start(node, now_ms, &target, false, UPKEEP_SEARCH_MS, refresh_done, NULL) == NULL)
        return;
    node->refreshing = true;
    node->background_count++;
}

struct sweep {
    struct dht_node *node;
    uint64_t now_ms;
    struct dht_id keys[DHT_BACKGROUND_MAX];
    size_t count, room;
};

/* The searches begin behind the sweep, which must find the store as it is. */
static bool replicate(void *context, const struct dht_id *key_id)
{
    struct sweep *sweep = context;
    if (sweep->count == sweep->room)
        return false;
    sweep->keys[sweep->count++] = *key_id;
    return true;
}

static void sweep_store(struct dht_node *node, uint64_t now_ms)
{
    struct sweep sweep = {.node = node, .now_ms = now_ms};
    if (node->joined && node->background_count < DHT_BACKGROUND_MAX)
        sweep.room = DHT_BACKGROUND_MAX - node->background_count;
    dht_store_sweep(&node->store, now_ms, &node->random, replicate, &sweep);
    for (size_t i = 0; i < sweep.count; i++)
        (void)dht_publish_replicate(node, now_ms, &sweep.keys[i]); /* without memory: others will */
}

void dht_node_tick(struct dht_node *node, uint64_t now_ms)
{
    if (node->stopping)
        return;
    (void)dht_search_expire(node, now_ms);
    if (now_ms >= node->upkeep_at_ms) {
        node->upkeep_at_ms = now_ms + UPKEEP_MS;
        if (node->table.count > 0)
            join(node, now_ms);
        refresh(node, now_ms);
    }
    if (now_ms >= node->sweep_at_ms) {
        node->sweep_at_ms = now_ms + SWEEP_MS;
        sweep_store(node, now_ms);
    }
    if (now_ms >= node->publish_at_ms)
        dht_publish_due(node, now_ms);
}

uint64_t dht_node_next_ms(const struct dht_node *node)
{
    uint64_t next_ms = node->upkeep_at_ms < node->sweep_at_ms ? node->upkeep_at_ms : node->sweep_at_ms;
    if (node->publish_at_ms < next_ms)
        next_ms = node->publish_at_ms;
    for (const struct search *search = node->searches; search != NULL; search = search->next) {
        if (search->deadline_ms < next_ms)
            next_ms = search->deadline_ms;
    }
    return next_ms;
}

/* --- Knowing --- */

struct dht_counts dht_node_counts(const struct dht_node *node)
{
    struct dht_counts counts = node->counts;
    for (const struct published *published = node->published_first; published != NULL; published = published->next) {
        if (published->forget_at_ms != 0)
            continue;
        counts.published++;
        if (published->copies == 0)
            counts.published_waiting++;
    }
    return counts;
}

const struct dht_table *dht_node_table(const struct dht_node *node)
{
    return &node->table;
}

const struct dht_store *dht_node_store(const struct dht_node *node)
{
    return &node->store;
}

struct dht_contact *dht_node_own(const struct dht_node *node)
{
    return node->own;
}

bool dht_node_joined(const struct dht_node *node)
{
    return node->joined;
}
