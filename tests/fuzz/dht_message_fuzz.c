/* Fuzz target: what strangers say to a node of the hash table, from the bytes on. The input is a
 * row of messages, each a byte that says what it is, two bytes of length (the higher first), and
 * as many bytes: a request (even) or the answer to the oldest request of the node that still waits
 * for one (odd). A signature holds when its first byte is even. Whatever comes, the node keeps
 * within its limits, its answers are what another node takes, and each lookup ends once. */

#include "services/dht/node.h"
#include "services/dht/wire.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CALLS_MAX 1024
#define UNIX_MINUS_NOW_MS 1700000000000

struct fuzzed {
    struct dht_call *calls[CALLS_MAX]; /* that wait, the oldest first */
    enum dht_method methods[CALLS_MAX];
    size_t first, count;
    int ended;
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void send(void *context, struct dht_contact *to, const struct dht_request *request, struct dht_call *call)
{
    struct fuzzed *fuzzed = context;
    Muster__V1__ExchangeRequest wire;
    struct arena arena;
    (void)to;
    arena_init(&arena, NULL, 0);
    require(dht_wire_fill_request(request, &wire, &arena));
    require(muster__v1__exchange_request__get_packed_size(&wire) <= DHT_WIRE_BYTES_MAX);
    arena_free(&arena);
    if (fuzzed->count == CALLS_MAX)
        return; /* it waits for ever, which is allowed */
    fuzzed->calls[fuzzed->count] = call;
    fuzzed->methods[fuzzed->count++] = request->method;
}

static bool contact_is_genuine(void *context, const struct dht_contact *contact)
{
    (void)context;
    return contact->signature[0] % 2 == 0;
}

static bool value_is_genuine(void *context, const struct dht_value *value)
{
    (void)context;
    return value->signature[0] % 2 == 0;
}

static void sign(void *context, struct dht_value *value)
{
    (void)context;
    value->signature[0] = 2;
}

static void ended(void *context, const struct dht_found *found)
{
    struct fuzzed *fuzzed = context;
    fuzzed->ended++;
    for (size_t i = 0; i < found->lookup->value_count; i++) {
        Muster__V1__DhtRecord *record = dht_wire_read_record(found->lookup->values[i]);
        require(found->lookup->values[i]->signature[0] % 2 == 0);
        if (record != NULL)
            muster__v1__dht_record__free_unpacked(record, NULL);
    }
}

/* An answer of the node is one that it would take itself. */
static void check_reply(const struct dht_reply *reply)
{
    Muster__V1__ExchangeResponse wire;
    struct dht_reply taken;
    struct arena arena;
    const char *error = NULL;
    arena_init(&arena, NULL, 0);
    require(dht_wire_fill_reply(reply, &wire, &arena));
    require(muster__v1__exchange_response__get_packed_size(&wire) <= DHT_WIRE_BYTES_MAX);
    require(dht_wire_take_reply(&wire, reply->method, &taken, &error));
    require(taken.contact_count == reply->contact_count && taken.value_count == reply->value_count);
    dht_reply_clear(&taken);
    arena_free(&arena);
}

static void take_request(struct dht_node *node, uint64_t now_ms, const uint8_t *data, size_t bytes)
{
    Muster__V1__ExchangeRequest *wire = muster__v1__exchange_request__unpack(NULL, bytes, data);
    struct dht_request request;
    struct dht_reply reply;
    const char *error = NULL;
    if (wire == NULL)
        return;
    if (dht_wire_take_request(wire, &request, &error)) {
        dht_node_handle(node, now_ms, &request, &reply);
        check_reply(&reply);
        dht_reply_clear(&reply);
    } else {
        require(error != NULL && error[0] != '\0');
    }
    dht_request_clear(&request);
    muster__v1__exchange_request__free_unpacked(wire, NULL);
}

static void take_reply(struct dht_node *node, struct fuzzed *fuzzed, uint64_t now_ms, const uint8_t *data, size_t bytes)
{
    if (fuzzed->first == fuzzed->count)
        return;
    struct dht_call *call = fuzzed->calls[fuzzed->first];
    enum dht_method method = fuzzed->methods[fuzzed->first++];
    Muster__V1__ExchangeResponse *wire = muster__v1__exchange_response__unpack(NULL, bytes, data);
    struct dht_reply reply = {.method = method};
    const char *error = NULL;
    if (wire != NULL && dht_wire_take_reply(wire, method, &reply, &error))
        dht_node_answered(node, now_ms, call, &reply);
    else
        dht_node_unanswered(node, now_ms, call);
    dht_reply_clear(&reply);
    if (wire != NULL)
        muster__v1__exchange_response__free_unpacked(wire, NULL);
}

static void check_limits(const struct dht_node *node, const struct dht_store_limits *limits)
{
    const struct dht_store *store = dht_node_store(node);
    require(store->count <= limits->values && store->bytes <= limits->bytes);
    require(dht_node_table(node)->count <= DHT_ID_BITS * DHT_BUCKET_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const uint8_t public_key[DHT_PUBLIC_KEY_BYTES] = {1}, signature[DHT_SIGNATURE_BYTES] = {2};
    struct fuzzed *fuzzed = calloc(1, sizeof *fuzzed);
    struct dht_node_settings settings = dht_node_default_settings;
    struct dht_effects effects = {fuzzed, send, contact_is_genuine, value_is_genuine, sign};
    struct dht_contact *own = dht_contact_create(public_key, signature, 1, "http://own", "");
    uint64_t now_ms = 1000;
    require(fuzzed != NULL && own != NULL);
    settings.store = (struct dht_store_limits){
        .values = 20, .values_of_key = 5, .values_of_publisher = 10, .bytes = 20000, .replicate_ms = 60000};
    struct dht_node *node = dht_node_create(&settings, own, &effects, 1, now_ms);
    require(node != NULL);
    dht_node_set_clock(node, UNIX_MINUS_NOW_MS);
    for (uint8_t i = 2; i < 6; i++) {
        uint8_t key[DHT_PUBLIC_KEY_BYTES] = {i};
        struct dht_contact *contact = dht_contact_create(key, signature, 1, "http://other", "");
        require(contact != NULL);
        dht_node_met(node, now_ms, contact);
        dht_contact_release(contact);
    }
    struct dht_id target = dht_id_of("worker:ocr", 10);
    require(dht_node_find(node, now_ms, &target, true, 60000, ended, fuzzed));
    require(dht_node_publish(node, now_ms, "coordinator:uk", "x", 1));
    while (bytes >= 3) {
        size_t length = (size_t)data[1] << 8 | data[2];
        uint8_t kind = data[0];
        data += 3;
        bytes -= 3;
        length = length < bytes ? length : bytes;
        now_ms += (uint64_t)(kind / 2) * 100;
        if (kind % 2 == 0)
            take_request(node, now_ms, data, length);
        else
            take_reply(node, fuzzed, now_ms, data, length);
        dht_node_tick(node, now_ms);
        check_limits(node, &settings.store);
        data += length;
        bytes -= length;
    }
    dht_node_stop(node);
    require(fuzzed->ended == 1);
    dht_node_destroy(node);
    dht_contact_release(own);
    free(fuzzed);
    return 0;
}
