// Messages to bytes and back, and what is refused of strangers.

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "tests/unit/dht/ids.h"

extern "C" {
#include "services/dht/wire.h"
}

namespace
{

std::vector<uint8_t> Pack(const ProtobufCMessage *message)
{
    std::vector<uint8_t> bytes(protobuf_c_message_get_packed_size(message));
    protobuf_c_message_pack(message, bytes.data());
    return bytes;
}

dht_contact *SomeContact(uint8_t number, const std::string &url = "https://a.example.org",
                         const std::string &address = "10.0.0.1:7105")
{
    uint8_t key[DHT_PUBLIC_KEY_BYTES] = {number}, signature[DHT_SIGNATURE_BYTES] = {number, 1};
    return dht_contact_create(key, signature, 1000 + number, url.c_str(), address.c_str());
}

// There and back.
struct RoundTrip {
    explicit RoundTrip(const dht_request &request)
    {
        Muster__V1__ExchangeRequest wire;
        arena_init(&memory, nullptr, 0);
        EXPECT_TRUE(dht_wire_fill_request(&request, &wire, &memory));
        auto bytes = Pack(&wire.base);
        EXPECT_LE(bytes.size(), static_cast<size_t>(DHT_WIRE_BYTES_MAX));
        auto *back = muster__v1__exchange_request__unpack(nullptr, bytes.size(), bytes.data());
        const char *error = nullptr;
        taken = dht_wire_take_request(back, &result, &error);
        EXPECT_TRUE(taken) << error;
        muster__v1__exchange_request__free_unpacked(back, nullptr);
    }
    ~RoundTrip()
    {
        dht_request_clear(&result);
        arena_free(&memory);
    }
    struct arena memory;
    bool taken;
    dht_request result;
};

TEST(WireTest, RequestsComeThroughAsTheyWere)
{
    dht_request request = {};
    request.sender = SomeContact(7);
    request.method = DHT_FIND_VALUE;
    request.target = dht_id_of("k", 1);
    request.has_after = true;
    request.after = dht_id_of("p", 1);
    {
        RoundTrip trip(request);
        EXPECT_EQ(trip.result.method, DHT_FIND_VALUE);
        EXPECT_EQ(dht_id_compare(&trip.result.target, &request.target), 0);
        ASSERT_TRUE(trip.result.has_after);
        EXPECT_EQ(dht_id_compare(&trip.result.after, &request.after), 0);
        ASSERT_NE(trip.result.sender, nullptr);
        EXPECT_EQ(dht_id_compare(&trip.result.sender->id, &request.sender->id), 0);
        EXPECT_STREQ(trip.result.sender->url, "https://a.example.org");
        EXPECT_STREQ(trip.result.sender->address, "10.0.0.1:7105");
        EXPECT_EQ(trip.result.sender->issued_at_ms, 1007);
        EXPECT_EQ(std::memcmp(trip.result.sender->signature, request.sender->signature, DHT_SIGNATURE_BYTES), 0);
        EXPECT_EQ(trip.result.sender->checked, DHT_NOT_CHECKED);
    }
    request.has_after = false;
    request.method = DHT_FIND_NODE;
    EXPECT_EQ(RoundTrip(request).result.method, DHT_FIND_NODE);
    request.method = DHT_PING;
    EXPECT_EQ(RoundTrip(request).result.method, DHT_PING);
    request.method = DHT_STORE;
    request.values[0] = Value(3, "worker:ocr", std::string("da\0ta", 5), 17, 18);
    request.values[1] = Value(4, "worker:ocr", "", 19, 20);
    request.value_count = 2;
    {
        RoundTrip trip(request);
        ASSERT_EQ(trip.result.value_count, 2u);
        const dht_value *value = trip.result.values[0];
        EXPECT_EQ(dht_id_compare(&value->key_id, &request.values[0]->key_id), 0);
        EXPECT_EQ(dht_id_compare(&value->publisher, &request.values[0]->publisher), 0);
        EXPECT_EQ(std::string(reinterpret_cast<const char *>(value->data), value->data_bytes),
                  std::string("da\0ta", 5));
        EXPECT_EQ(value->issued_at_ms, 17);
        EXPECT_EQ(value->lifetime_ms, 18);
        EXPECT_EQ(value->checked, DHT_NOT_CHECKED);
        EXPECT_EQ(trip.result.values[1]->data_bytes, 0u);
    }
    dht_request_clear(&request);
}

// The longest answer that a node gives fits into what common/http_calls keeps.
TEST(WireTest, TheLongestAnswerFits)
{
    dht_reply reply = {};
    std::string url = "https://" + std::string(DHT_URL_BYTES_MAX - 8, 'a');
    reply.method = DHT_FIND_VALUE;
    reply.more = true;
    reply.stored = UINT32_MAX;
    reply.sender = SomeContact(0, url, "[1111:2222:3333:4444:5555:6666:7777:8888]:65535");
    for (uint8_t i = 0; i < DHT_BUCKET_SIZE; i++)
        reply.contacts[reply.contact_count++] = SomeContact(i, url, "[1111:2222:3333:4444:5555:6666:7777:8888]:65535");
    size_t bytes = 0;
    while (reply.value_count < DHT_MESSAGE_VALUES_MAX) {
        dht_value *value = Value(1, "worker:ocr", "", INT64_MAX, INT64_MAX);
        bytes += dht_store_bytes_of(value);
        if (bytes > DHT_MESSAGE_VALUE_BYTES) {
            dht_value_release(value);
            break;
        }
        reply.values[reply.value_count++] = value;
    }
    Muster__V1__ExchangeResponse wire;
    struct arena memory;
    arena_init(&memory, nullptr, 0);
    ASSERT_TRUE(dht_wire_fill_reply(&reply, &wire, &memory));
    EXPECT_LE(Pack(&wire.base).size(), static_cast<size_t>(DHT_WIRE_BYTES_MAX));
    // And with one value of the longest kind instead.
    while (reply.value_count > 0)
        dht_value_release(reply.values[--reply.value_count]);
    reply.values[reply.value_count++] =
        Value(1, std::string(DHT_KEY_BYTES_MAX, 'k'), std::string(DHT_DATA_BYTES_MAX, 'd'), INT64_MAX, INT64_MAX);
    ASSERT_TRUE(dht_wire_fill_reply(&reply, &wire, &memory));
    auto packed = Pack(&wire.base);
    EXPECT_LE(packed.size(), static_cast<size_t>(DHT_WIRE_BYTES_MAX));
    auto *back = muster__v1__exchange_response__unpack(nullptr, packed.size(), packed.data());
    dht_reply taken;
    const char *error = nullptr;
    EXPECT_TRUE(dht_wire_take_reply(back, DHT_FIND_VALUE, &taken, &error)) << error;
    EXPECT_EQ(taken.contact_count, static_cast<size_t>(DHT_BUCKET_SIZE));
    EXPECT_EQ(taken.value_count, 1u);
    EXPECT_TRUE(taken.more);
    dht_reply_clear(&taken);
    muster__v1__exchange_response__free_unpacked(back, nullptr);
    dht_reply_clear(&reply);
    arena_free(&memory);
}

// --- What is refused ---

class RefusedTest : public ::testing::Test
{
  protected:
    RefusedTest()
    {
        contact.public_key = Bytes(32);
        contact.signature = Bytes(64);
        contact.url = text("https://a.example.org");
        value.public_key = Bytes(32);
        value.signature = Bytes(64);
        value.key = text("worker:ocr");
        find_node.target = Bytes(20);
        find_value.target = Bytes(20);
        request.sender = &contact;
        Ask(MUSTER__V1__EXCHANGE_REQUEST__REQUEST_PING);
    }

    static char *text(const char *constant)
    {
        return const_cast<char *>(constant);
    }
    static ProtobufCBinaryData Bytes(size_t count)
    {
        static uint8_t zeroes[4096];
        return {count, zeroes};
    }
    void Ask(Muster__V1__ExchangeRequest__RequestCase what)
    {
        request.request_case = what;
        request.ping = &ping;
        if (what == MUSTER__V1__EXCHANGE_REQUEST__REQUEST_FIND_NODE)
            request.find_node = &find_node;
        if (what == MUSTER__V1__EXCHANGE_REQUEST__REQUEST_FIND_VALUE)
            request.find_value = &find_value;
        if (what == MUSTER__V1__EXCHANGE_REQUEST__REQUEST_STORE)
            request.store = &store;
    }
    bool Taken()
    {
        dht_request taken;
        bool fine = dht_wire_take_request(&request, &taken, &error);
        dht_request_clear(&taken);
        return fine;
    }

    const char *error = nullptr;
    Muster__V1__DhtContact contact = MUSTER__V1__DHT_CONTACT__INIT;
    Muster__V1__DhtValue value = MUSTER__V1__DHT_VALUE__INIT;
    Muster__V1__DhtPing ping = MUSTER__V1__DHT_PING__INIT;
    Muster__V1__DhtFindNode find_node = MUSTER__V1__DHT_FIND_NODE__INIT;
    Muster__V1__DhtFindValue find_value = MUSTER__V1__DHT_FIND_VALUE__INIT;
    Muster__V1__DhtStore store = MUSTER__V1__DHT_STORE__INIT;
    Muster__V1__ExchangeRequest request = MUSTER__V1__EXCHANGE_REQUEST__INIT;
};

TEST_F(RefusedTest, Contacts)
{
    EXPECT_TRUE(Taken());
    for (size_t bytes : {0, 31, 33}) {
        contact.public_key = Bytes(bytes);
        EXPECT_FALSE(Taken()) << bytes;
    }
    contact.public_key = Bytes(32);
    for (size_t bytes : {0, 63, 65}) {
        contact.signature = Bytes(bytes);
        EXPECT_FALSE(Taken()) << bytes;
    }
    contact.signature = Bytes(64);
    contact.issued_at_ms = -1;
    EXPECT_FALSE(Taken());
    contact.issued_at_ms = INT64_MAX;
    EXPECT_TRUE(Taken());
    contact.url = text("");
    EXPECT_FALSE(Taken()) << "it cannot be reached";
    contact.grpc_address = text("10.0.0.1:1");
    EXPECT_TRUE(Taken());
    request.sender = nullptr;
    EXPECT_TRUE(Taken()) << "it can call all the same";
}

TEST_F(RefusedTest, Places)
{
    for (const char *url : {"ftp://a", "a.example.org", "https://", "https://user@a", "https://a?b", "https://a#b",
                            "https://a b", "https://a\nb", "javascript:alert(1)"})
        EXPECT_FALSE(dht_wire_url_is_fine(url)) << url;
    std::string longest = "https://" + std::string(DHT_URL_BYTES_MAX - 8, 'a');
    EXPECT_TRUE(dht_wire_url_is_fine(longest.c_str()));
    EXPECT_FALSE(dht_wire_url_is_fine((longest + "a").c_str()));
    for (const char *address : {"10.0.0.1:7105", "[::1]:1", "255.255.255.255:65535"})
        EXPECT_TRUE(dht_wire_address_is_fine(address)) << address;
    for (const char *address :
         {"", "localhost:7105", "10.0.0.1", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:-1", "10.0.0.1: 1",
          "10.0.0.1:1x", "::1:7105", "[::1]", "[]:1", "[10.0.0.1]:1", "unix:/tmp/x", ":1"})
        EXPECT_FALSE(dht_wire_address_is_fine(address)) << address;
    EXPECT_FALSE(dht_wire_address_is_fine((std::string(100, '1') + ":1").c_str()));
}

TEST_F(RefusedTest, Targets)
{
    for (size_t bytes : {0, 19, 20, 21}) {
        find_node.target = Bytes(bytes);
        Ask(MUSTER__V1__EXCHANGE_REQUEST__REQUEST_FIND_NODE);
        EXPECT_EQ(Taken(), bytes == 20) << bytes;
        find_value.target = Bytes(bytes);
        Ask(MUSTER__V1__EXCHANGE_REQUEST__REQUEST_FIND_VALUE);
        EXPECT_EQ(Taken(), bytes == 20) << bytes;
    }
    find_value.target = Bytes(20);
    for (size_t bytes : {0, 19, 20, 21}) {
        find_value.after = Bytes(bytes);
        EXPECT_EQ(Taken(), bytes == 0 || bytes == 20) << bytes;
    }
}

TEST_F(RefusedTest, NoRequestAtAll)
{
    Ask(MUSTER__V1__EXCHANGE_REQUEST__REQUEST__NOT_SET);
    EXPECT_FALSE(Taken());
}

TEST_F(RefusedTest, Values)
{
    std::vector<Muster__V1__DhtValue *> values(DHT_MESSAGE_VALUES_MAX + 1, &value);
    store.values = values.data();
    Ask(MUSTER__V1__EXCHANGE_REQUEST__REQUEST_STORE);
    for (size_t count : {0, DHT_MESSAGE_VALUES_MAX, DHT_MESSAGE_VALUES_MAX + 1}) {
        store.n_values = count;
        EXPECT_EQ(Taken(), count <= DHT_MESSAGE_VALUES_MAX) << count;
    }
    store.n_values = 1;
    std::string key(DHT_KEY_BYTES_MAX, 'k');
    value.key = key.data();
    value.data = Bytes(DHT_DATA_BYTES_MAX);
    EXPECT_TRUE(Taken()) << error;
    value.data = Bytes(DHT_DATA_BYTES_MAX + 1);
    EXPECT_FALSE(Taken());
    value.data = Bytes(0);
    key += 'k';
    value.key = key.data();
    EXPECT_FALSE(Taken());
    value.key = text("");
    EXPECT_FALSE(Taken());
    value.key = text("k");
    value.public_key = Bytes(31);
    EXPECT_FALSE(Taken());
    value.public_key = Bytes(32);
    value.signature = Bytes(65);
    EXPECT_FALSE(Taken());
}

TEST_F(RefusedTest, AnswersWithTooMany)
{
    Muster__V1__ExchangeResponse response = MUSTER__V1__EXCHANGE_RESPONSE__INIT;
    std::vector<Muster__V1__DhtContact *> contacts(DHT_BUCKET_SIZE + 1, &contact);
    std::vector<Muster__V1__DhtValue *> values(DHT_MESSAGE_VALUES_MAX + 1, &value);
    response.contacts = contacts.data();
    response.values = values.data();
    auto taken = [&] {
        dht_reply reply;
        bool fine = dht_wire_take_reply(&response, DHT_FIND_VALUE, &reply, &error);
        dht_reply_clear(&reply);
        return fine;
    };
    response.n_contacts = DHT_BUCKET_SIZE;
    response.n_values = DHT_MESSAGE_VALUES_MAX;
    EXPECT_TRUE(taken()) << error;
    response.n_contacts++;
    EXPECT_FALSE(taken());
    response.n_contacts--;
    response.n_values++;
    EXPECT_FALSE(taken());
}

// --- Records ---

TEST(RecordTest, OnlyPlacesThatAreHttp)
{
    Muster__V1__DhtWorker worker = MUSTER__V1__DHT_WORKER__INIT, *list[] = {&worker};
    Muster__V1__DhtRecord record = MUSTER__V1__DHT_RECORD__INIT;
    record.workers = list;
    record.n_workers = 1;
    auto readable = [&](const char *coordinator_url, const char *url) {
        record.coordinator_url = const_cast<char *>(coordinator_url);
        worker.url = const_cast<char *>(url);
        auto bytes = Pack(&record.base);
        dht_value *value = Value(1, "k", std::string(bytes.begin(), bytes.end()), 1);
        Muster__V1__DhtRecord *back = dht_wire_read_record(value);
        bool fine = back != nullptr;
        if (back != nullptr)
            muster__v1__dht_record__free_unpacked(back, nullptr);
        dht_value_release(value);
        return fine;
    };
    EXPECT_TRUE(readable("https://c", "http://w:1/x"));
    EXPECT_TRUE(readable("", "http://w:1/x"));
    EXPECT_FALSE(readable("javascript:alert(1)", "http://w:1/x"));
    EXPECT_FALSE(readable("https://c", "javascript:alert(1)"));
    EXPECT_FALSE(readable("https://c", ""));
    dht_value *garbage = Value(1, "k", "\xff\xff\xff", 1), *empty = Value(1, "k", "", 1);
    EXPECT_EQ(dht_wire_read_record(garbage), nullptr);
    EXPECT_EQ(dht_wire_read_record(empty), nullptr);
    dht_value_release(garbage);
    dht_value_release(empty);
}

} // namespace
