// Channels: servers that are away, come and go; kept streams.

#include "tests/conformance/rpc/world.h"

class Client : public World
{
  protected:
    // An address at which nobody listens, though somebody will.
    void reserve_address()
    {
        start_server();
        stop_server();
    }
};

static const rpc_call_options wait_for_ready = {0, true, nullptr, 0};

TEST_F(Client, CallToNobodyFailsAtOnce)
{
    reserve_address();
    connect();
    Result result;
    call_unary(&result);
    ASSERT_TRUE(turn_until([&] { return result.ended; }));
    EXPECT_EQ(result.status, RPC_UNAVAILABLE) << result.text;
    EXPECT_FALSE(result.text.empty());
}

TEST_F(Client, CallThatWaitsIsServedWhenTheServerComes)
{
    unary.message = [](rpc_call *call, const void *) { reply_empty(call); };
    reserve_address();
    connect();
    Result result;
    call_unary(&result, &wait_for_ready);
    turn_for(200);
    EXPECT_FALSE(result.ended);
    start_server();
    ASSERT_TRUE(turn_until([&] { return result.ended; }));
    EXPECT_EQ(result.status, RPC_OK) << result.text;
}

TEST_F(Client, TellsItsStates)
{
    std::vector<enum rpc_channel_state> states;
    channel_options.argument = &states;
    channel_options.state_changed = [](rpc_channel *changed, enum rpc_channel_state state, void *argument) {
        EXPECT_EQ(rpc_channel_state(changed), state);
        static_cast<std::vector<enum rpc_channel_state> *>(argument)->push_back(state);
    };
    auto saw = [&](enum rpc_channel_state state) { return !states.empty() && states.back() == state; };
    start();
    EXPECT_EQ(rpc_channel_state(channel), RPC_CHANNEL_IDLE);
    EXPECT_EQ(rpc_channel_address(channel), address);
    rpc_channel_connect(channel);
    ASSERT_TRUE(turn_until([&] { return saw(RPC_CHANNEL_READY); }));
    stop_server();
    ASSERT_TRUE(turn_until([&] { return saw(RPC_CHANNEL_IDLE); }));
    rpc_channel_connect(channel);
    ASSERT_TRUE(turn_until([&] { return saw(RPC_CHANNEL_FAILING); }));
    start_server();
    EXPECT_TRUE(turn_until([&] {
        rpc_channel_connect(channel);
        return saw(RPC_CHANNEL_READY);
    }));
}

TEST_F(Client, CallIsUnavailableWhenTheServerGoes)
{
    bool arrived = false;
    unary.message = [&](rpc_call *, const void *) { arrived = true; };
    start();
    Result result;
    call_unary(&result);
    ASSERT_TRUE(turn_until([&] { return arrived; }));
    stop_server();
    ASSERT_TRUE(turn_until([&] { return result.ended; }));
    EXPECT_NE(result.status, RPC_OK);
}

TEST_F(Client, DestroyedWithCallsOpenEndsThem)
{
    int arrived = 0;
    unary.message = [&](rpc_call *, const void *) { arrived++; };
    duplex.started = [&](rpc_call *) { arrived++; };
    start();
    Result results[3];
    Handlers handlers;
    int ended = 0;
    handlers.ended = [&](rpc_call *, rpc_status status, const std::string &) {
        EXPECT_EQ(status, RPC_CANCELLED);
        ended++;
    };
    for (auto &result : results)
        call_unary(&result);
    start_duplex(&handlers);
    ASSERT_TRUE(turn_until([&] { return arrived == 4; }));
    rpc_channel_destroy(channel);
    channel = nullptr;
    EXPECT_EQ(ended, 0) << "no callback inside a function";
    ASSERT_TRUE(turn_until([&] { return results[0].ended && results[1].ended && results[2].ended && ended == 1; }));
    for (auto &result : results)
        EXPECT_EQ(result.status, RPC_CANCELLED);
}

TEST_F(Client, ManyChannelsToOneAddressHaveTheirOwnConnections)
{
    std::vector<std::string> peers;
    unary.message = [&](rpc_call *call, const void *) {
        peers.push_back(rpc_call_peer(call));
        reply_empty(call);
    };
    start();
    rpc_channel *other = rpc_channel_create(loop, address.c_str(), nullptr);
    Result first, second;
    call_unary(&first);
    std::swap(channel, other);
    call_unary(&second);
    std::swap(channel, other);
    ASSERT_TRUE(turn_until([&] { return first.ended && second.ended; }));
    rpc_channel_destroy(other);
    ASSERT_EQ(peers.size(), 2u);
    EXPECT_NE(peers[0], peers[1]);
}

TEST_F(Client, ResolvesHostNames)
{
    unary.message = [](rpc_call *call, const void *) { reply_empty(call); };
    start_server();
    address.replace(0, address.find(':'), "localhost");
    connect();
    Result result;
    call_unary(&result, &wait_for_ready);
    ASSERT_TRUE(turn_until([&] { return result.ended; }));
    EXPECT_EQ(result.status, RPC_OK) << result.text;
}

// --- Kept streams ---

class KeptStream : public Client
{
  protected:
    Handlers client;
    rpc_kept_stream *stream = nullptr;

    void keep()
    {
        rpc_kept_stream_options options = {20, 100, nullptr, 0};
        stream = rpc_kept_stream_start(channel, test_service(), "FullDuplexCall", &options, client_events(),
                                       argument_of(&client));
    }
};

TEST_F(KeptStream, IsStartedAgainWhenItEnds)
{
    int started = 0, ended = 0;
    duplex.message = [](rpc_call *call, const void *message) {
        send_response(call, request_number(message));
        rpc_call_finish(call, RPC_ABORTED, "again");
    };
    client.started = [&](rpc_call *call) {
        EXPECT_EQ(rpc_kept_stream_call(stream), call);
        send_request(call, static_cast<uint32_t>(started++));
    };
    uint32_t next = 0;
    client.message = [&](rpc_call *, const void *message) { EXPECT_EQ(response_number(message), next++); };
    client.ended = [&](rpc_call *, rpc_status status, const std::string &text) {
        EXPECT_EQ(status, RPC_ABORTED);
        EXPECT_EQ(text, "again");
        EXPECT_EQ(rpc_kept_stream_call(stream), nullptr);
        ended++;
    };
    start();
    keep();
    EXPECT_EQ(started, 0) << "no callback inside a function";
    EXPECT_TRUE(turn_until([&] { return started == 6; }));
    EXPECT_EQ(ended, 5);
    EXPECT_EQ(next, 5u);
    rpc_kept_stream_stop(stream);
}

TEST_F(KeptStream, ComesBackAfterTheServerWasAway)
{
    int accepted = 0, ended = 0;
    client.accepted = [&](rpc_call *) {
        EXPECT_TRUE(rpc_kept_stream_is_up(stream));
        accepted++;
    };
    client.ended = [&](rpc_call *, rpc_status, const std::string &) { ended++; };
    reserve_address();
    connect();
    keep();
    turn_for(50);
    EXPECT_FALSE(rpc_kept_stream_is_up(stream));
    for (int i = 1; i <= 3; i++) {
        start_server();
        ASSERT_TRUE(turn_until([&] { return accepted == i; }));
        stop_server();
        ASSERT_TRUE(turn_until([&] { return ended >= i; }));
        EXPECT_FALSE(rpc_kept_stream_is_up(stream));
    }
    rpc_kept_stream_stop(stream);
}

TEST_F(KeptStream, MayBeStoppedInsideEachOfItsEvents)
{
    duplex.message = [](rpc_call *call, const void *) {
        send_response(call, 1);
        rpc_call_finish(call, RPC_OK, "%s", "");
    };
    start();
    for (int where = 0; where < 4; where++) {
        client.forget();
        bool stopped = false;
        auto stop = [&] {
            EXPECT_FALSE(stopped) << "an event after the stop";
            rpc_kept_stream_stop(stream);
            stopped = true;
        };
        client.started = [&, where](rpc_call *call) {
            send_request(call, 1);
            if (where == 0)
                stop();
        };
        client.accepted = [&, where](rpc_call *) {
            EXPECT_FALSE(stopped);
            if (where == 1)
                stop();
        };
        client.message = [&, where](rpc_call *, const void *) {
            EXPECT_FALSE(stopped);
            if (where == 2)
                stop();
        };
        client.ended = [&, where](rpc_call *, rpc_status, const std::string &) {
            EXPECT_FALSE(stopped);
            if (where == 3)
                stop();
        };
        keep();
        EXPECT_TRUE(turn_until([&] { return stopped; })) << where;
        turn_for(50);
    }
}

TEST_F(KeptStream, IsStoppedWithItsChannel)
{
    bool accepted = false;
    client.accepted = [&](rpc_call *) { accepted = true; };
    client.ended = [](rpc_call *, rpc_status, const std::string &) { ADD_FAILURE() << "an event after the stop"; };
    start();
    keep();
    ASSERT_TRUE(turn_until([&] { return accepted; }));
    rpc_channel_destroy(channel);
    channel = nullptr;
    turn_for(50);
}
