/* What the node publishes, and passing on what it holds; see state.h. */

#include "services/dht/state.h"

#include <stdlib.h>
#include <string.h>

/* A key whose nodes could not be found is tried again after. */
#define RETRY_MS (60 * 1000)
/* What changes all the time is not stored each time. */
#define SETTLE_MS 2000
#define SEARCH_MS (60 * 1000)
/* Messages that one node is given at once; what is left it gets when it is replicated. */
#define MESSAGES_MAX 64

/* --- Giving --- */

void dht_publish_give(struct dht_node *node, struct dht_contact *to, struct dht_value *const *values, size_t count,
                      struct published *published)
{
    size_t at = 0;
    for (size_t messages = 0; at < count && messages < MESSAGES_MAX; messages++) {
        struct dht_request request = {.method = DHT_STORE};
        size_t bytes = 0;
        while (at < count && request.value_count < DHT_MESSAGE_VALUES_MAX) {
            bytes += dht_store_bytes_of(values[at]);
            if (request.value_count > 0 && bytes > DHT_MESSAGE_VALUE_BYTES)
                break;
            request.values[request.value_count++] = values[at++];
        }
        if (dht_node_send(node, to, &request, NULL, published, 0))
            node->counts.stores_sent += request.value_count;
    }
}

/* All values that are held under a key. */
static size_t held(const struct dht_node *node, uint64_t now_ms, const struct dht_id *key_id,
                   struct dht_value *values[DHT_LOOKUP_VALUES_MAX])
{
    bool more = false;
    return dht_store_get(&node->store, key_id, NULL, now_ms, values, DHT_LOOKUP_VALUES_MAX, SIZE_MAX, &more);
}

/* --- Replication --- */

static void replicate_done(struct dht_node *node, struct search *search, const struct dht_found *found)
{
    struct dht_contact *nearest[DHT_BUCKET_SIZE];
    struct dht_value *values[DHT_LOOKUP_VALUES_MAX];
    (void)search;
    node->background_count--;
    if (!found->complete || node->stopping)
        return;
    /* Expired ones among them are refused by whoever gets them. */
    size_t count = held(node, 0, &found->lookup->target, values);
    size_t nodes = dht_lookup_nearest(found->lookup, nearest, DHT_BUCKET_SIZE);
    for (size_t i = 0; i < nodes; i++)
        dht_publish_give(node, nearest[i], values, count, NULL);
}

bool dht_publish_replicate(struct dht_node *node, uint64_t now_ms, const struct dht_id *key_id)
{
    if (dht_search_start(node, now_ms, key_id, false, SEARCH_MS, replicate_done, NULL) == NULL)
        return false;
    node->background_count++;
    return true;
}

/* Whether a newcomer should hold a key, and it is this node, the nearest holder, that is to give
 * it the values. */
static bool is_ours_to_give(const struct dht_node *node, const struct dht_id *key_id, const struct dht_contact *contact)
{
    struct dht_contact *nearest[DHT_BUCKET_SIZE];
    /* With another node before this one, besides the newcomer, it is that one's part. */
    if (dht_table_count_nearer(&node->table, key_id, 2) >
        (dht_id_compare_distance(key_id, &contact->id, &node->own->id) < 0 ? 1 : 0))
        return false;
    size_t count = dht_table_closest(&node->table, key_id, nearest, DHT_BUCKET_SIZE);
    return count < DHT_BUCKET_SIZE || dht_id_compare_distance(key_id, &contact->id, &nearest[count - 1]->id) <= 0;
}

void dht_publish_hand_over(struct dht_node *node, uint64_t now_ms, struct dht_contact *contact)
{
    struct dht_value *values[DHT_LOOKUP_VALUES_MAX];
    size_t keys = 0;
    for (const struct dht_id *key_id = dht_store_next_key(&node->store, NULL); key_id != NULL && keys < MESSAGES_MAX;
         key_id = dht_store_next_key(&node->store, key_id)) {
        if (!is_ours_to_give(node, key_id, contact))
            continue;
        dht_publish_give(node, contact, values, held(node, now_ms, key_id, values), NULL);
        keys++;
    }
}

/* --- What this node publishes --- */

static void forget(struct dht_node *node, struct published *published)
{
    for (struct dht_call *call = node->calls; call != NULL; call = call->next) {
        if (call->published == published)
            call->published = NULL;
    }
    (void)map_remove_text(&node->published, published->key); /* it is in there */
    *(published->previous != NULL ? &published->previous->next : &node->published_first) = published->next;
    *(published->next != NULL ? &published->next->previous : &node->published_last) = published->previous;
    dht_value_release(published->value);
    free(published->key);
    free(published->data);
    free(published);
}

void dht_publish_free(struct dht_node *node)
{
    while (node->published_first != NULL)
        forget(node, node->published_first);
    map_free(&node->published);
}

static void set_due(struct dht_node *node, struct published *published, uint64_t due_at_ms)
{
    published->due_at_ms = due_at_ms;
    if (due_at_ms < node->publish_at_ms)
        node->publish_at_ms = due_at_ms;
}

/* As of now, signed; false: memory ran out. */
static bool make_value(struct dht_node *node, uint64_t now_ms, struct published *published)
{
    int64_t issued_at_ms = dht_node_unix_ms(node, now_ms);
    if (issued_at_ms <= published->issued_at_ms)
        issued_at_ms = published->issued_at_ms + 1; /* the clock was set back: later all the same */
    struct dht_value *value =
        dht_value_create(node->own->public_key, published->key, strlen(published->key), published->data,
                         published->data_bytes, issued_at_ms, node->settings.lifetime_ms);
    if (value == NULL)
        return false;
    node->effects.sign(node->effects.context, value);
    value->checked = DHT_GENUINE;
    for (struct dht_call *call = node->calls; call != NULL; call = call->next) {
        if (call->published == published)
            call->published = NULL; /* copies of the last one do not count for this one */
    }
    dht_value_release(published->value);
    published->value = value;
    published->issued_at_ms = issued_at_ms;
    published->copies = 0;
    published->changed = false;
    return true;
}

/* This node is a holder like the others, if it is near enough. */
static void keep_own(struct dht_node *node, uint64_t now_ms, const struct published *published,
                     const struct dht_contact *farthest)
{
    if (farthest == NULL || dht_id_compare_distance(&published->key_id, &node->own->id, &farthest->id) < 0)
        (void)dht_store_put(&node->store, published->value, now_ms, dht_node_unix_ms(node, now_ms), &node->random);
}

static void publish_done(struct dht_node *node, struct search *search, const struct dht_found *found)
{
    struct published *published = search->context;
    struct dht_contact *nearest[DHT_BUCKET_SIZE];
    size_t count = dht_lookup_nearest(found->lookup, nearest, DHT_BUCKET_SIZE);
    published->under_way = false;
    node->publishing--;
    node->publish_at_ms = 0; /* there is room for another one */
    for (size_t i = 0; i < count; i++)
        dht_publish_give(node, nearest[i], &published->value, 1, published);
    if (published->changed)
        set_due(node, published, published->started_at_ms + SETTLE_MS);
    else if (count == 0 && published->due_at_ms > published->started_at_ms + RETRY_MS)
        published->due_at_ms = published->started_at_ms + RETRY_MS;
}

void dht_publish_stored(struct dht_node *node, struct published *published, size_t stored)
{
    (void)node;
    published->copies += stored > 0 ? 1 : 0;
}

/* False: not now. */
static bool start(struct dht_node *node, uint64_t now_ms, struct published *published)
{
    struct dht_contact *nearest[DHT_BUCKET_SIZE];
    /* That something was taken back is said for as long as what was said before may live, not longer. */
    bool stays = published->forget_at_ms != 0 && !published->changed;
    if (node->publishing >= DHT_PUBLISHING_MAX || (!stays && !make_value(node, now_ms, published)))
        return false;
    size_t count = dht_table_closest(&node->table, &published->key_id, nearest, DHT_BUCKET_SIZE);
    keep_own(node, now_ms, published, count < DHT_BUCKET_SIZE ? NULL : nearest[count - 1]);
    published->started_at_ms = now_ms;
    published->due_at_ms = now_ms + (uint64_t)node->settings.lifetime_ms / 3;
    if (count == 0)
        return true; /* nobody else is there: dht_publish_joined */
    struct search *search =
        dht_search_start(node, now_ms, &published->key_id, false, SEARCH_MS, publish_done, published);
    if (search == NULL)
        return false;
    published->under_way = true;
    node->publishing++;
    return true;
}

void dht_publish_due(struct dht_node *node, uint64_t now_ms)
{
    uint64_t next_ms = UINT64_MAX;
    struct published *next = NULL;
    for (struct published *published = node->published_first; published != NULL; published = next) {
        next = published->next;
        if (published->under_way)
            continue;
        if (published->forget_at_ms != 0 && published->forget_at_ms <= now_ms) {
            forget(node, published);
            continue;
        }
        if (published->due_at_ms <= now_ms && !start(node, now_ms, published)) {
            /* The next one that ends brings the tick; without memory, later. */
            next_ms = node->publishing > 0 ? next_ms : now_ms + RETRY_MS;
            continue;
        }
        if (!published->under_way && published->due_at_ms < next_ms)
            next_ms = published->due_at_ms;
    }
    node->publish_at_ms = next_ms;
}

void dht_publish_joined(struct dht_node *node)
{
    for (struct published *published = node->published_first; published != NULL; published = published->next) {
        if (!published->under_way && published->copies == 0)
            set_due(node, published, 0);
    }
}

/* Forgets the key that was taken back the longest ago. Copies of what was there may come back
 * until they expire: that is better than to publish nothing new. */
static void make_room(struct dht_node *node)
{
    struct published *oldest = NULL;
    for (struct published *published = node->published_first; published != NULL; published = published->next) {
        if (published->forget_at_ms != 0 && !published->under_way &&
            (oldest == NULL || published->forget_at_ms < oldest->forget_at_ms))
            oldest = published;
    }
    if (oldest == NULL)
        return;
    forget(node, oldest);
}

/* The entry of a key; NULL: there are too many, or memory ran out. */
static struct published *make_published(struct dht_node *node, const char *key)
{
    if (node->published.count >= node->settings.published_max)
        make_room(node);
    if (node->published.count >= node->settings.published_max)
        return NULL;
    struct published *published = calloc(1, sizeof *published);
    if (published == NULL)
        return NULL;
    published->key = strdup(key);
    if (published->key != NULL && map_put_text(&node->published, published->key, published, NULL)) {
        published->key_id = dht_id_of(key, strlen(key));
        published->previous = node->published_last;
        *(node->published_last != NULL ? &node->published_last->next : &node->published_first) = published;
        node->published_last = published;
        return published;
    }
    free(published->key);
    free(published);
    return NULL;
}

bool dht_node_publish(struct dht_node *node, uint64_t now_ms, const char *key, const void *data, size_t data_bytes)
{
    if (strlen(key) == 0 || strlen(key) > DHT_KEY_BYTES_MAX || data_bytes > DHT_DATA_BYTES_MAX)
        return false;
    struct published *published = map_get_text(&node->published, key);
    if (published != NULL && published->data_bytes == data_bytes &&
        (data_bytes == 0 || memcmp(published->data, data, data_bytes) == 0))
        return true;
    uint8_t *copy = malloc(data_bytes + 1);
    if (copy != NULL && published == NULL)
        published = make_published(node, key);
    if (copy == NULL || published == NULL) {
        free(copy);
        return false;
    }
    if (data_bytes > 0)
        memcpy(copy, data, data_bytes);
    free(published->data);
    published->data = copy;
    published->data_bytes = data_bytes;
    published->forget_at_ms = 0;
    published->changed = true;
    uint64_t due_at_ms = published->value == NULL ? now_ms : now_ms + SETTLE_MS;
    /* Not later with each change, or what never stops changing would never be stored. */
    if (!published->under_way && (published->value == NULL || due_at_ms < published->due_at_ms))
        set_due(node, published, due_at_ms);
    return true;
}

void dht_node_withdraw(struct dht_node *node, uint64_t now_ms, const char *key)
{
    struct published *published = map_get_text(&node->published, key);
    if (published == NULL || published->forget_at_ms != 0)
        return;
    /* It fits, and there is an entry: only memory can be missing, and then it expires. */
    if (dht_node_publish(node, now_ms, key, NULL, 0))
        published->forget_at_ms = now_ms + (uint64_t)node->settings.lifetime_ms + SETTLE_MS;
}
