// Calls: answering late, streams, back-pressure, cancellation, deadlines, metadata.

#include <thread>

#include "tests/conformance/rpc/world.h"

class Call : public World
{
};

static const rpc_call_options wait_for_ready = {0, true, nullptr, 0};

TEST_F(Call, IsAnsweredAtOnce)
{
    unary.message = [](rpc_call *call, const void *) { reply_empty(call); };
    start();
    Result result;
    call_unary(&result);
    ASSERT_TRUE(turn_until([&] { return result.ended; }));
    EXPECT_EQ(result.status, RPC_OK) << result.text;
    EXPECT_TRUE(turn_until([&] { return rpc_server_open_calls(server) == 0; }));
}

TEST_F(Call, IsAnsweredLaterByAPostOfAnotherThread)
{
    std::thread helper;
    unary.message = [&](rpc_call *call, const void *) {
        helper = std::thread([this, call] {
            rpc_loop_post(
                loop, [](void *argument) { reply_empty(static_cast<rpc_call *>(argument)); }, call);
        });
    };
    start();
    Result result;
    call_unary(&result);
    ASSERT_TRUE(turn_until([&] { return result.ended; }));
    helper.join();
    EXPECT_EQ(result.status, RPC_OK) << result.text;
}

TEST_F(Call, WithoutEndedStaysValidAfterItsClientHasGone)
{
    rpc_call *held = nullptr;
    unary.message = [&](rpc_call *call, const void *) { held = call; };
    start();
    Result result;
    rpc_call *call = call_unary(&result);
    ASSERT_TRUE(turn_until([&] { return held != nullptr; }));
    EXPECT_FALSE(rpc_call_is_over(held));
    rpc_call_cancel(call);
    ASSERT_TRUE(turn_until([&] { return result.ended && rpc_call_is_over(held); }));
    EXPECT_EQ(result.status, RPC_CANCELLED);
    EXPECT_EQ(rpc_server_open_calls(server), 1u);
    reply_empty(held);
    EXPECT_TRUE(turn_until([&] { return rpc_server_open_calls(server) == 0; }));
}

TEST_F(Call, WithEndedHearsThatItsClientHasGone)
{
    unary_has_ended = true;
    rpc_call *held = nullptr;
    int ends = 0;
    unary.message = [&](rpc_call *call, const void *) { held = call; };
    unary.ended = [&](rpc_call *call, rpc_status status, const std::string &) {
        EXPECT_EQ(call, held);
        EXPECT_EQ(status, RPC_CANCELLED);
        ends++;
    };
    start();
    Result result;
    rpc_call *call = call_unary(&result);
    ASSERT_TRUE(turn_until([&] { return held != nullptr; }));
    rpc_call_cancel(call);
    EXPECT_TRUE(turn_until([&] { return ends == 1 && rpc_server_open_calls(server) == 0; }));
}

TEST_F(Call, EndedSaysOkWhenTheAnswerWentOut)
{
    unary_has_ended = true;
    std::vector<rpc_status> ends;
    unary.message = [](rpc_call *call, const void *) { rpc_call_finish(call, RPC_NOT_FOUND, "no worker %d", 7); };
    unary.ended = [&](rpc_call *, rpc_status status, const std::string &) { ends.push_back(status); };
    start();
    Result result;
    call_unary(&result);
    EXPECT_TRUE(turn_until([&] { return result.ended && !ends.empty(); }));
    EXPECT_EQ(result.status, RPC_NOT_FOUND);
    EXPECT_EQ(result.text, "no worker 7");
    EXPECT_EQ(ends, std::vector<rpc_status>{RPC_OK});
}

TEST_F(Call, PastItsDeadlineEndsAtBothEnds)
{
    bool server_ended = false;
    uint64_t remaining_ms = 0;
    unary_has_ended = true;
    unary.message = [&](rpc_call *call, const void *) { remaining_ms = rpc_call_remaining_ms(call); };
    unary.ended = [&](rpc_call *, rpc_status status, const std::string &) {
        EXPECT_EQ(status, RPC_CANCELLED);
        server_ended = true;
    };
    start();
    Result result;
    rpc_call_options options = {300, true, nullptr, 0};
    call_unary(&result, &options);
    EXPECT_TRUE(turn_until([&] { return result.ended && server_ended; }));
    EXPECT_EQ(result.status, RPC_DEADLINE_EXCEEDED);
    EXPECT_GT(remaining_ms, 0u);
    EXPECT_LE(remaining_ms, 300u);
}

TEST_F(Call, WithoutDeadlineHasAllTime)
{
    unary.message = [](rpc_call *call, const void *) {
        EXPECT_EQ(rpc_call_remaining_ms(call), UINT64_MAX);
        EXPECT_STREQ(rpc_call_method(call), "/grpc.testing.TestService/UnaryCall");
        EXPECT_EQ(std::string(rpc_call_peer(call)).rfind("ipv4:127.0.0.1:", 0), 0u);
        reply_empty(call);
    };
    start();
    Result result;
    call_unary(&result);
    EXPECT_TRUE(turn_until([&] { return result.ended; }));
}

TEST_F(Call, FinishedTwiceKeepsTheFirstStatus)
{
    unary.message = [](rpc_call *call, const void *) {
        rpc_call_finish(call, RPC_ABORTED, "first");
        rpc_call_finish(call, RPC_INTERNAL, "second");
        SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
        EXPECT_FALSE(rpc_call_send(call, &response.base));
    };
    start();
    Result result;
    call_unary(&result);
    ASSERT_TRUE(turn_until([&] { return result.ended; }));
    EXPECT_EQ(result.status, RPC_ABORTED);
    EXPECT_EQ(result.text, "first");
}

TEST_F(Call, StatusTextIsCutAtOneKibibyte)
{
    std::string text(5000, 'x');
    unary.message = [&](rpc_call *call, const void *) { rpc_call_finish(call, RPC_INTERNAL, "%s", text.c_str()); };
    start();
    Result result;
    call_unary(&result);
    ASSERT_TRUE(turn_until([&] { return result.ended; }));
    EXPECT_EQ(result.text, std::string(1023, 'x'));
}

// --- Streams ---

TEST_F(Call, ManyMessagesKeepTheirOrderBothWays)
{
    constexpr uint32_t count = 20000;
    uint32_t server_next = 0, client_next = 0;
    rpc_status status = RPC_UNKNOWN;
    bool ended = false;
    duplex.message = [&](rpc_call *call, const void *message) {
        EXPECT_EQ(request_number(message), server_next++);
        send_response(call, request_number(message));
    };
    duplex.half_closed = [](rpc_call *call) { rpc_call_finish(call, RPC_OK, "%s", ""); };
    start();
    Handlers client;
    client.message = [&](rpc_call *, const void *message) { EXPECT_EQ(response_number(message), client_next++); };
    client.ended = [&](rpc_call *, rpc_status end, const std::string &) {
        ended = true;
        status = end;
    };
    rpc_call *call = start_duplex(&client);
    for (uint32_t i = 0; i < count; i++)
        send_request(call, i);
    rpc_call_half_close(call);
    EXPECT_FALSE(send_request(call, 0)) << "sending after the half-close";
    ASSERT_TRUE(turn_until([&] { return ended; }));
    EXPECT_EQ(status, RPC_OK);
    EXPECT_EQ(client_next, count);
}

// One packed message on many calls, freed before any of them has sent it.
TEST_F(Call, AMessagePackedOnceCanBeSentOnManyCalls)
{
    unary.message = [](rpc_call *call, const void *) {
        SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
        Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
        std::vector<uint8_t> body(5000, 'x');
        payload.body = {body.size(), body.data()};
        response.payload = &payload;
        struct rpc_packed *packed = rpc_packed_create(&response.base);
        EXPECT_EQ(rpc_packed_bytes(packed), protobuf_c_message_get_packed_size(&response.base));
        EXPECT_TRUE(rpc_call_send_packed(call, packed));
        rpc_call_finish(call, RPC_OK, "%s", "");
        EXPECT_FALSE(rpc_call_send_packed(call, packed)) << "finished";
        rpc_packed_free(packed);
        rpc_packed_free(nullptr);
    };
    start();
    Result results[20];
    for (auto &result : results)
        call_unary(&result);
    for (auto &result : results) {
        ASSERT_TRUE(turn_until([&] { return result.ended; }));
        EXPECT_EQ(result.status, RPC_OK) << result.text;
    }
}

TEST_F(Call, QueuedMessagesGoOutBeforeTheStatus)
{
    constexpr uint32_t count = 500;
    uint32_t next = 0;
    std::string text;
    duplex.started = [&](rpc_call *call) {
        for (uint32_t i = 0; i < count; i++)
            send_response(call, i, 3000);
        rpc_call_finish(call, RPC_DATA_LOSS, "that was all");
    };
    start();
    Handlers client;
    client.message = [&](rpc_call *, const void *message) { EXPECT_EQ(response_number(message), next++); };
    client.ended = [&](rpc_call *, rpc_status status, const std::string &end) {
        EXPECT_EQ(status, RPC_DATA_LOSS);
        text = end;
    };
    start_duplex(&client);
    ASSERT_TRUE(turn_until([&] { return !text.empty(); }));
    EXPECT_EQ(text, "that was all");
    EXPECT_EQ(next, count);
}

TEST_F(Call, AClientThatDoesNotReadHoldsTheServerBack)
{
    constexpr uint32_t count = 2000;
    constexpr size_t bytes = 10000;
    uint32_t sent = 0, received = 0, writable = 0;
    rpc_call *server_call = nullptr;
    bool ended = false;
    auto fill = [&](rpc_call *call) {
        while (sent < count && rpc_call_writable(call))
            send_response(call, sent++, bytes);
        if (sent == count)
            rpc_call_finish(call, RPC_OK, "%s", "");
    };
    duplex.started = [&](rpc_call *call) {
        server_call = call;
        rpc_call_set_queue_limit(call, 64 << 10);
        fill(call);
    };
    duplex.writable = [&](rpc_call *call) {
        writable++;
        fill(call);
    };
    start();
    Handlers client;
    client.message = [&](rpc_call *, const void *message) { EXPECT_EQ(response_number(message), received++); };
    client.ended = [&](rpc_call *, rpc_status status, const std::string &) {
        EXPECT_EQ(status, RPC_OK);
        ended = true;
    };
    rpc_call *call = start_duplex(&client);
    rpc_call_pause(call);
    ASSERT_TRUE(turn_until([&] { return sent > 0; }));
    turn_for(200);
    EXPECT_EQ(received, 0u);
    EXPECT_LT(sent, count / 2) << "nothing held the server back";
    EXPECT_GT(rpc_call_queued_bytes(server_call), 0u);
    EXPECT_LE(rpc_call_queued_bytes(server_call), (64u << 10) + 2 * bytes);
    rpc_call_resume(call);
    ASSERT_TRUE(turn_until([&] { return ended; }));
    EXPECT_EQ(received, count);
    EXPECT_GT(writable, 0u);
}

TEST_F(Call, AServerThatDoesNotReadHoldsTheClientBack)
{
    constexpr uint32_t count = 200;
    uint32_t received = 0;
    rpc_call *server_call = nullptr;
    bool ended = false;
    duplex.started = [&](rpc_call *call) {
        server_call = call;
        rpc_call_pause(call);
    };
    duplex.message = [&](rpc_call *call, const void *message) {
        EXPECT_EQ(request_number(message), received++);
        // One at a time: paused inside the callback, resumed later.
        rpc_call_pause(call);
        rpc_loop_post(
            loop, [](void *argument) { rpc_call_resume(static_cast<rpc_call *>(argument)); }, call);
    };
    duplex.half_closed = [](rpc_call *call) { rpc_call_finish(call, RPC_OK, "%s", ""); };
    start();
    Handlers client;
    client.ended = [&](rpc_call *, rpc_status, const std::string &) { ended = true; };
    rpc_call *call = start_duplex(&client);
    for (uint32_t i = 0; i < count; i++)
        send_request(call, i, 10000);
    rpc_call_half_close(call);
    ASSERT_TRUE(turn_until([&] { return server_call != nullptr; }));
    turn_for(100);
    EXPECT_EQ(received, 0u);
    EXPECT_GT(rpc_call_queued_messages(call), count / 2);
    rpc_call_resume(server_call);
    ASSERT_TRUE(turn_until([&] { return ended; }));
    EXPECT_EQ(received, count);
}

TEST_F(Call, WithAQueueLimitOfZeroIsWritableWhenAllHasGoneOut)
{
    uint32_t sent = 0, received = 0;
    duplex.started = [&](rpc_call *call) {
        rpc_call_set_queue_limit(call, 0);
        EXPECT_TRUE(rpc_call_writable(call));
        send_response(call, sent++);
        EXPECT_FALSE(rpc_call_writable(call));
    };
    duplex.writable = [&](rpc_call *call) {
        EXPECT_EQ(rpc_call_queued_messages(call), 0u);
        if (sent < 10)
            send_response(call, sent++);
        else
            rpc_call_finish(call, RPC_OK, "%s", "");
    };
    start();
    bool ended = false;
    Handlers client;
    client.message = [&](rpc_call *, const void *) { received++; };
    client.ended = [&](rpc_call *, rpc_status, const std::string &) { ended = true; };
    start_duplex(&client);
    ASSERT_TRUE(turn_until([&] { return ended; }));
    EXPECT_EQ(received, 10u);
}

TEST_F(Call, CancelledIsNotMistakenForHalfClosed)
{
    int half_closed = 0, ended = 0, started = 0;
    duplex.started = [&](rpc_call *) { started++; };
    duplex.half_closed = [&](rpc_call *) { half_closed++; };
    duplex.ended = [&](rpc_call *, rpc_status status, const std::string &) {
        EXPECT_EQ(status, RPC_CANCELLED);
        ended++;
    };
    start();
    constexpr int rounds = 200;
    for (int i = 1; i <= rounds; i++) {
        Handlers client;
        bool client_ended = false;
        client.ended = [&](rpc_call *, rpc_status status, const std::string &) {
            EXPECT_EQ(status, RPC_CANCELLED);
            client_ended = true;
        };
        rpc_call *call = start_duplex(&client, &wait_for_ready);
        send_request(call, 1);
        ASSERT_TRUE(turn_until([&] { return started == i; }));
        rpc_call_cancel(call);
        ASSERT_TRUE(turn_until([&] { return ended == i && client_ended; }));
    }
    EXPECT_EQ(half_closed, 0);
}

TEST_F(Call, HalfClosedComesAfterTheLastMessage)
{
    std::vector<std::string> order;
    duplex.message = [&](rpc_call *, const void *) { order.push_back("message"); };
    duplex.half_closed = [&](rpc_call *call) {
        order.push_back("half_closed");
        rpc_call_finish(call, RPC_OK, "%s", "");
    };
    duplex.ended = [&](rpc_call *, rpc_status status, const std::string &) {
        order.push_back(rpc_status_name(status));
    };
    start();
    Handlers client;
    rpc_call *call = start_duplex(&client);
    send_request(call, 1);
    send_request(call, 2);
    rpc_call_half_close(call);
    ASSERT_TRUE(turn_until([&] { return order.size() == 4; }));
    EXPECT_EQ(order, (std::vector<std::string>{"message", "message", "half_closed", "OK"}));
}

TEST_F(Call, CancelledByTheServerEndsAtBothEnds)
{
    int server_ended = 0, client_ended = 0;
    duplex.message = [&](rpc_call *call, const void *) {
        rpc_call_cancel(call);
        EXPECT_TRUE(rpc_call_is_over(call));
        EXPECT_FALSE(send_response(call, 1));
    };
    duplex.ended = [&](rpc_call *, rpc_status status, const std::string &) {
        EXPECT_EQ(status, RPC_CANCELLED);
        server_ended++;
    };
    start();
    Handlers client;
    client.ended = [&](rpc_call *, rpc_status status, const std::string &) {
        EXPECT_NE(status, RPC_OK);
        client_ended++;
    };
    send_request(start_duplex(&client), 1);
    EXPECT_TRUE(turn_until([&] { return server_ended == 1 && client_ended == 1; }));
}

TEST_F(Call, IsAcceptedBeforeTheServerSendsAnything)
{
    start();
    bool accepted = false, ended = false;
    Handlers client;
    client.accepted = [&](rpc_call *) { accepted = true; };
    client.ended = [&](rpc_call *, rpc_status, const std::string &) { ended = true; };
    rpc_call *call = start_duplex(&client);
    ASSERT_TRUE(turn_until([&] { return accepted; }));
    rpc_call_cancel(call);
    EXPECT_TRUE(turn_until([&] { return ended; }));
}

// --- Messages ---

TEST_F(Call, LargerThanTheLimitIsRefused)
{
    server_options.max_message_bytes = 1 << 20;
    uint32_t received = 0;
    duplex.message = [&](rpc_call *, const void *) { received++; };
    start();
    rpc_status status = RPC_OK;
    bool ended = false;
    Handlers client;
    client.ended = [&](rpc_call *, rpc_status end, const std::string &) {
        status = end;
        ended = true;
    };
    rpc_call *call = start_duplex(&client);
    send_request(call, 1, (1 << 20) - 100);
    send_request(call, 2, (1 << 20) + 1);
    ASSERT_TRUE(turn_until([&] { return ended; }));
    EXPECT_EQ(received, 1u);
    EXPECT_EQ(status, RPC_RESOURCE_EXHAUSTED);
}

TEST_F(Call, UnaryLargerThanTheLimitIsRefused)
{
    server_options.max_message_bytes = 1000;
    unary.message = [](rpc_call *call, const void *) { reply_empty(call); };
    start();
    std::vector<uint8_t> body(2000);
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    payload.body = {body.size(), body.data()};
    request.payload = &payload;
    Result result;
    rpc_channel_call(channel, test_service(), "UnaryCall", &request.base, nullptr, Result::done, &result);
    ASSERT_TRUE(turn_until([&] { return result.ended; }));
    EXPECT_EQ(result.status, RPC_RESOURCE_EXHAUSTED) << result.text;
    EXPECT_TRUE(turn_until([&] { return rpc_server_open_calls(server) == 0; }));
}

TEST_F(Call, AnswerLargerThanTheLimitIsRefused)
{
    channel_options.max_message_bytes = 1000;
    unary.message = [](rpc_call *call, const void *) {
        std::vector<uint8_t> body(2000);
        Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
        SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
        payload.body = {body.size(), body.data()};
        response.payload = &payload;
        rpc_call_reply(call, &response.base);
    };
    start();
    Result result;
    call_unary(&result);
    ASSERT_TRUE(turn_until([&] { return result.ended; }));
    EXPECT_EQ(result.status, RPC_RESOURCE_EXHAUSTED) << result.text;
}

// A service descriptor that lets a client send another message where SimpleRequest is due.
static ProtobufCServiceDescriptor with_input(const ProtobufCMessageDescriptor *input,
                                             std::vector<ProtobufCMethodDescriptor> *methods)
{
    ProtobufCServiceDescriptor service = *test_service();
    methods->assign(service.methods, service.methods + service.n_methods);
    for (auto &method : *methods)
        if (std::string(method.name) == "UnaryCall")
            method.input = input;
    service.methods = methods->data();
    return service;
}

TEST_F(Call, ThatLiesAboutALengthInItsMessageIsRefused)
{
    unary.message = [](rpc_call *, const void *) { FAIL() << "the message was taken"; };
    start();
    // Static: descriptors outlive the channel.
    static std::vector<ProtobufCMethodDescriptor> methods;
    static ProtobufCServiceDescriptor service = with_input(&grpc__testing__payload__descriptor, &methods);
    // Field 3 of SimpleRequest is a Payload; this one claims 100 bytes and has none. Sent as
    // the unknown field of an Empty.
    uint8_t nothing[1] = {100};
    ProtobufCMessageUnknownField lie = {3, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, 1, nothing};
    Empty request = GRPC__TESTING__EMPTY__INIT;
    request.base.n_unknown_fields = 1;
    request.base.unknown_fields = &lie;
    Result result;
    rpc_channel_call(channel, &service, "UnaryCall", &request.base, nullptr, Result::done, &result);
    ASSERT_TRUE(turn_until([&] { return result.ended; }));
    EXPECT_EQ(result.status, RPC_INVALID_ARGUMENT);
    EXPECT_EQ(result.text, "the request is not a valid grpc.testing.SimpleRequest message");
}

TEST_F(Call, ThatWouldTakeMuchMoreMemoryThanItsSizeIsRefused)
{
    uint32_t received = 0;
    duplex.message = [&](rpc_call *, const void *) { received++; };
    start();
    // Two bytes each on the wire; in memory 48, and 32 for the pointers: their array was doubled just now.
    std::vector<Grpc__Testing__ResponseParameters> items((1 << 20) + 50000, GRPC__TESTING__RESPONSE_PARAMETERS__INIT);
    std::vector<Grpc__Testing__ResponseParameters *> pointers;
    for (auto &item : items)
        pointers.push_back(&item);
    OutputRequest request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    request.n_response_parameters = pointers.size();
    request.response_parameters = pointers.data();
    rpc_status status = RPC_OK;
    bool ended = false;
    Handlers client;
    client.ended = [&](rpc_call *, rpc_status end, const std::string &) {
        status = end;
        ended = true;
    };
    rpc_call_send(start_duplex(&client), &request.base);
    ASSERT_TRUE(turn_until([&] { return ended; }));
    EXPECT_EQ(status, RPC_INVALID_ARGUMENT);
    EXPECT_EQ(received, 0u);
}

TEST_F(Call, GivesTheBytesOfItsMessage)
{
    std::string bytes;
    unary.message = [&](rpc_call *call, const void *) {
        size_t count = 0;
        const uint8_t *data = rpc_call_message_bytes(call, &count);
        bytes.assign(reinterpret_cast<const char *>(data), count);
        reply_empty(call);
    };
    start();
    SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    request.response_size = 5;
    Result result;
    rpc_channel_call(channel, test_service(), "UnaryCall", &request.base, nullptr, Result::done, &result);
    ASSERT_TRUE(turn_until([&] { return result.ended; }));
    EXPECT_EQ(bytes, std::string("\x10\x05", 2));
}

// --- Metadata ---

TEST_F(Call, CarriesMetadataWithSeveralValuesAndBytes)
{
    unary.message = [](rpc_call *call, const void *) {
        size_t bytes = 0;
        const void *value = rpc_call_header(call, "key", 1, &bytes);
        EXPECT_EQ(std::string(static_cast<const char *>(value), bytes), "second");
        value = rpc_call_header(call, "some-bin", 0, &bytes);
        EXPECT_EQ(std::string(static_cast<const char *>(value), bytes), std::string("\0\xff", 2));
        EXPECT_EQ(rpc_call_header(call, "key", 2, &bytes), nullptr);
        EXPECT_EQ(rpc_call_header(call, "ke", 0, &bytes), nullptr);
        rpc_metadata illegal = {"Key", "v", 1};
        EXPECT_FALSE(rpc_call_add_header(call, &illegal));
        reply_empty(call);
    };
    start();
    rpc_metadata metadata[] = {{"key", "first", 5}, {"key", "second", 6}, {"some-bin", "\0\xff", 2}};
    rpc_call_options options = {0, false, metadata, 3};
    Result result;
    call_unary(&result, &options);
    ASSERT_TRUE(turn_until([&] { return result.ended; }));
    EXPECT_EQ(result.status, RPC_OK) << result.text;
}

TEST_F(Call, WithIllegalMetadataEndsWithInvalidArgument)
{
    start();
    rpc_metadata metadata[] = {{"key", "line\nline", 9}};
    rpc_call_options options = {0, false, metadata, 1};
    Result result;
    call_unary(&result, &options);
    ASSERT_TRUE(turn_until([&] { return result.ended; }));
    EXPECT_EQ(result.status, RPC_INVALID_ARGUMENT) << result.text;
}

TEST_F(Call, WithMoreMetadataThanTheLimitIsRefused)
{
    server_options.max_metadata_bytes = 2000;
    unary.message = [](rpc_call *call, const void *) { reply_empty(call); };
    start();
    std::string large(5000, 'x');
    rpc_metadata metadata[] = {{"key", large.data(), large.size()}};
    rpc_call_options options = {0, false, metadata, 1};
    Result result;
    call_unary(&result, &options);
    ASSERT_TRUE(turn_until([&] { return result.ended; }));
    EXPECT_EQ(result.status, RPC_RESOURCE_EXHAUSTED) << result.text;
}
