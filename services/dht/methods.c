/* What the node is asked by gRPC; see shell.h. */

#include "services/dht/shell.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "services/dht/wire.h"

#define LOOKUP_TIMEOUT_MS 5000
#define LOOKUP_TIMEOUT_MS_MAX 60000

/* Handles one message; false: the request is none, *error says why. The response points into the
 * reply and the arena. */
static bool exchange_messages(struct dht_shell *shell, const Muster__V1__ExchangeRequest *wire, struct dht_reply *reply,
                              Muster__V1__ExchangeResponse *response, struct arena *arena, const char **error)
{
    struct dht_request request;
    *reply = (struct dht_reply){.method = DHT_PING};
    bool taken = dht_wire_take_request(wire, &request, error);
    if (taken)
        dht_node_handle(shell->node, rpc_loop_now_ms(shell->loop), &request, reply);
    dht_request_clear(&request);
    *error = taken ? "out of memory" : *error;
    dht_shell_touch(shell);
    return taken && dht_wire_fill_reply(reply, response, arena);
}

static void exchange(struct rpc_call *call, const void *message)
{
    struct dht_shell *shell = rpc_call_context(call);
    Muster__V1__ExchangeResponse response;
    struct dht_reply reply;
    struct arena arena;
    max_align_t first[128];
    const char *error = NULL;
    arena_init(&arena, first, sizeof first);
    if (exchange_messages(shell, message, &reply, &response, &arena, &error))
        rpc_call_reply(call, &response.base);
    else
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "%s", error);
    arena_free(&arena);
    dht_reply_clear(&reply);
}

static void relay_exchange(struct rpc_call *call, const void *message)
{
    struct dht_shell *shell = rpc_call_context(call);
    const Muster__V1__RelayExchangeRequest *request = message;
    Muster__V1__ExchangeResponse inner;
    struct dht_reply reply = {.method = DHT_PING};
    struct arena arena;
    max_align_t first[128];
    const char *error = "the message is no ExchangeRequest of muster.v1, or too long";
    Muster__V1__ExchangeRequest *wire =
        request->message.len > DHT_WIRE_BYTES_MAX
            ? NULL
            : muster__v1__exchange_request__unpack(NULL, request->message.len, request->message.data);
    arena_init(&arena, first, sizeof first);
    uint8_t *bytes = NULL;
    if (wire != NULL && exchange_messages(shell, wire, &reply, &inner, &arena, &error))
        bytes = malloc(muster__v1__exchange_response__get_packed_size(&inner) + 1);
    if (bytes != NULL) {
        Muster__V1__RelayExchangeResponse response = MUSTER__V1__RELAY_EXCHANGE_RESPONSE__INIT;
        response.message.data = bytes;
        response.message.len = muster__v1__exchange_response__pack(&inner, bytes);
        rpc_call_reply(call, &response.base);
    } else {
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "%s", error);
    }
    free(bytes);
    if (wire != NULL)
        muster__v1__exchange_request__free_unpacked(wire, NULL);
    arena_free(&arena);
    dht_reply_clear(&reply);
}

/* --- LookUpKey --- */

struct looking_up {
    struct dht_shell *shell;
    struct rpc_call *call;
};

static char *id_text(const struct dht_id *id, struct arena *arena)
{
    char *text = arena_take(arena, DHT_ID_TEXT_BYTES);
    if (text != NULL)
        dht_id_format(id, text);
    return text;
}

static Muster__V1__DhtNode *fill_node(const struct dht_contact *contact, struct arena *arena)
{
    Muster__V1__DhtNode *node = arena_take(arena, sizeof *node);
    if (node == NULL)
        return NULL;
    muster__v1__dht_node__init(node);
    node->node_id = id_text(&contact->id, arena);
    node->url = (char *)(uintptr_t)contact->url;
    node->grpc_address = (char *)(uintptr_t)contact->address;
    return node;
}

/* NULL: it was taken back, or says nothing that can be read. The caller frees `record`. */
static Muster__V1__DhtFoundRecord *fill_record(const struct dht_shell *shell, const struct dht_value *value,
                                               struct arena *arena)
{
    Muster__V1__DhtRecord *record = dht_wire_read_record(value);
    Muster__V1__DhtFoundRecord *found = record == NULL ? NULL : arena_take(arena, sizeof *found);
    if (found == NULL) {
        if (record != NULL)
            muster__v1__dht_record__free_unpacked(record, NULL);
        return NULL;
    }
    muster__v1__dht_found_record__init(found);
    found->record = record;
    found->node_id = id_text(&value->publisher, arena);
    found->is_own = dht_id_compare(&value->publisher, &dht_node_own(shell->node)->id) == 0;
    found->issued_at_ms = value->issued_at_ms;
    found->expires_at_ms = value->issued_at_ms + value->lifetime_ms;
    return found;
}

static void looked_up(void *context, const struct dht_found *found)
{
    struct looking_up *looking_up = context;
    const struct dht_lookup *lookup = found->lookup;
    Muster__V1__LookUpKeyResponse response = MUSTER__V1__LOOK_UP_KEY_RESPONSE__INIT;
    struct arena arena;
    arena_init(&arena, NULL, 0);
    response.records = arena_take(&arena, (lookup->value_count + 1) * sizeof *response.records);
    for (size_t i = 0; response.records != NULL && i < lookup->value_count; i++) {
        response.records[response.n_records] = fill_record(looking_up->shell, lookup->values[i], &arena);
        response.n_records += response.records[response.n_records] != NULL ? 1 : 0;
    }
    response.unanswered = arena_take(&arena, (lookup->unanswered_count + 1) * sizeof *response.unanswered);
    for (size_t i = 0; response.unanswered != NULL && i < lookup->unanswered_count; i++)
        response.unanswered[i] = fill_node(lookup->unanswered[i], &arena);
    response.n_unanswered = response.unanswered == NULL ? 0 : lookup->unanswered_count;
    response.asked = lookup->asked;
    response.failed = lookup->failed;
    response.complete = found->complete;
    response.hops = dht_lookup_hops(lookup);
    if (arena_failed(&arena))
        rpc_call_finish(looking_up->call, RPC_RESOURCE_EXHAUSTED, "out of memory; try again later");
    else
        rpc_call_reply(looking_up->call, &response.base);
    for (size_t i = 0; i < response.n_records; i++)
        muster__v1__dht_record__free_unpacked(response.records[i]->record, NULL);
    arena_free(&arena);
    free(looking_up);
}

static void look_up_key(struct rpc_call *call, const void *message)
{
    struct dht_shell *shell = rpc_call_context(call);
    const Muster__V1__LookUpKeyRequest *request = message;
    size_t key_bytes = strlen(request->key);
    uint64_t timeout_ms = request->timeout_ms == 0                      ? LOOKUP_TIMEOUT_MS
                          : request->timeout_ms > LOOKUP_TIMEOUT_MS_MAX ? LOOKUP_TIMEOUT_MS_MAX
                                                                        : request->timeout_ms;
    if (key_bytes == 0 || key_bytes > DHT_KEY_BYTES_MAX) {
        rpc_call_finish(call, RPC_INVALID_ARGUMENT, "the key must be 1 to %d bytes long", DHT_KEY_BYTES_MAX);
        return;
    }
    struct dht_id id = dht_id_of(request->key, key_bytes);
    struct looking_up *looking_up = malloc(sizeof *looking_up);
    if (looking_up != NULL) {
        *looking_up = (struct looking_up){shell, call};
        if (dht_node_find(shell->node, rpc_loop_now_ms(shell->loop), &id, true, timeout_ms, looked_up, looking_up)) {
            dht_shell_touch(shell);
            return;
        }
        free(looking_up);
    }
    rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "too many look-ups are under way; try again in a moment");
}

/* --- DescribeNode --- */

static void fill_table(const struct dht_shell *shell, Muster__V1__DescribeNodeResponse *response, struct arena *arena)
{
    const struct dht_table *table = dht_node_table(shell->node);
    int64_t unix_minus_now_ms = clock_unix_ms() - (int64_t)rpc_loop_now_ms(shell->loop);
    struct dht_table_entry entry;
    size_t position = 0;
    response->nodes = arena_take(arena, (table->count + 1) * sizeof *response->nodes);
    while (response->nodes != NULL && dht_table_next(table, &position, &entry)) {
        Muster__V1__DhtNode *node = fill_node(entry.contact, arena);
        if (node == NULL)
            return;
        node->shared_bits = entry.bucket;
        node->failures = entry.failures;
        node->last_heard_at_ms = (int64_t)entry.heard_at_ms + unix_minus_now_ms;
        response->nodes[response->n_nodes++] = node;
    }
}

static void fill_counts(const struct dht_shell *shell, Muster__V1__DescribeNodeResponse *response,
                        Muster__V1__DhtRequestCounts *requests)
{
    const struct dht_store *store = dht_node_store(shell->node);
    struct dht_counts counts = dht_node_counts(shell->node);
    muster__v1__dht_request_counts__init(requests);
    requests->ping = counts.requests[DHT_PING];
    requests->find_node = counts.requests[DHT_FIND_NODE];
    requests->find_value = counts.requests[DHT_FIND_VALUE];
    requests->store = counts.requests[DHT_STORE];
    response->requests = requests;
    response->calls = counts.calls;
    response->unanswered = counts.unanswered;
    response->lies = counts.lies;
    response->lookups = counts.lookups;
    response->lookup_hops = counts.lookup_hops;
    response->lookups_empty = counts.lookups_empty;
    response->values = store->count;
    response->value_bytes = store->bytes;
    response->keys = store->keys.count;
    response->values_refused = store->refused;
    response->published = counts.published;
    response->published_waiting = counts.published_waiting;
    response->not_published = roll_not_published(shell->roll);
}

static void describe_node(struct rpc_call *call, const void *message)
{
    struct dht_shell *shell = rpc_call_context(call);
    Muster__V1__DescribeNodeResponse response = MUSTER__V1__DESCRIBE_NODE_RESPONSE__INIT;
    Muster__V1__DhtRequestCounts requests;
    struct arena arena;
    (void)message; /* has no fields */
    arena_init(&arena, NULL, 0);
    response.own = fill_node(dht_node_own(shell->node), &arena);
    if (response.own != NULL)
        response.own->shared_bits = DHT_ID_BITS;
    response.joined = dht_node_joined(shell->node);
    fill_table(shell, &response, &arena);
    fill_counts(shell, &response, &requests);
    response.seeds = arena_take(&arena, (seeds_count(shell->seeds) + 1) * sizeof *response.seeds);
    for (size_t i = 0; response.seeds != NULL && i < seeds_count(shell->seeds); i++)
        response.seeds[response.n_seeds++] = (char *)(uintptr_t)seeds_url(shell->seeds, i);
    if (arena_failed(&arena))
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "out of memory; try again later");
    else
        rpc_call_reply(call, &response.base);
    arena_free(&arena);
}

bool dht_methods_add(struct dht_shell *shell, struct rpc_server *server)
{
    static const struct rpc_method peer_methods[] = {{"Exchange", RPC_UNARY, {.message = exchange}}};
    static const struct rpc_method methods[] = {
        {"LookUpKey", RPC_UNARY, {.message = look_up_key}},
        {"DescribeNode", RPC_UNARY, {.message = describe_node}},
        {"RelayExchange", RPC_UNARY, {.message = relay_exchange}},
    };
    return rpc_server_add_service(server, &muster__v1__dht_peer_service__descriptor, peer_methods,
                                  sizeof peer_methods / sizeof peer_methods[0], shell) &&
           rpc_server_add_service(server, &muster__v1__dht_service__descriptor, methods,
                                  sizeof methods / sizeof methods[0], shell);
}
