// The server as a whole: ports, clients that vanish, draining, being destroyed.

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "tests/conformance/rpc/world.h"

class Server : public World
{
};

TEST_F(Server, SaysThatItsPortIsInUse)
{
    start_server();
    rpc_server_options options = {};
    options.address = address.c_str();
    rpc_server *second = rpc_server_create(loop, &options);
    char error[256] = "";
    EXPECT_EQ(rpc_server_start(second, error, sizeof(error)), 0);
    EXPECT_EQ(std::string(error), "cannot listen on " + address +
                                      ": the port is in use; stop the process that has it or choose another port");
    rpc_server_destroy(second);
}

TEST_F(Server, SaysThatAnAddressIsNotItsOwnOrNoAddress)
{
    for (const char *wrong : {"192.0.2.1:0", "no-such-host.invalid:1", "127.0.0.1"}) {
        rpc_server_options options = {};
        options.address = wrong;
        rpc_server *second = rpc_server_create(loop, &options);
        char error[256] = "";
        EXPECT_EQ(rpc_server_start(second, error, sizeof(error)), 0) << wrong;
        EXPECT_NE(std::string(error).find(wrong), std::string::npos) << error;
        rpc_server_destroy(second);
    }
}

TEST_F(Server, RefusesAMethodThatItsServiceDoesNotHave)
{
    rpc_server_options options = {};
    options.address = "127.0.0.1:0";
    server = rpc_server_create(loop, &options);
    rpc_method method = {"NoSuchCall", RPC_UNARY, {}};
    EXPECT_FALSE(rpc_server_add_service(server, test_service(), &method, 1, nullptr));
}

TEST_F(Server, RefusesMalformedDescriptors)
{
    rpc_server_options options = {};
    options.address = "127.0.0.1:0";
    server = rpc_server_create(loop, &options);
    EXPECT_FALSE(rpc_server_add_descriptors(server, testing_descriptors, testing_descriptors_bytes - 1));
}

// --- Clients that vanish ---

// A client made of bytes, so that it can break off anywhere.
class RawClient
{
  public:
    explicit RawClient(const std::string &address)
    {
        sockaddr_in where = {};
        where.sin_family = AF_INET;
        where.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.find(':') + 1))));
        where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        EXPECT_EQ(connect(descriptor, reinterpret_cast<sockaddr *>(&where), sizeof(where)), 0);
        send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        frame(4, 0, 0, ""); // SETTINGS
    }

    ~RawClient()
    {
        if (descriptor >= 0)
            close(descriptor);
    }

    void start_call(const std::string &path)
    {
        std::string block;
        for (auto &[key, value] :
             std::vector<std::pair<std::string, std::string>>{{":method", "POST"},
                                                              {":scheme", "http"},
                                                              {":path", path},
                                                              {":authority", "test"},
                                                              {"te", "trailers"},
                                                              {"content-type", "application/grpc"}}) {
            block += '\0'; // literal, not indexed, new name
            block += static_cast<char>(key.size());
            block += key;
            block += static_cast<char>(value.size());
            block += value;
        }
        frame(1, 4, 1, block); // HEADERS, END_HEADERS
    }

    // A message that claims `bytes` bytes and brings those of `body`.
    void message(size_t bytes, const std::string &body)
    {
        std::string data(1, '\0');
        for (int shift = 24; shift >= 0; shift -= 8)
            data += static_cast<char>(bytes >> shift);
        frame(0, 0, 1, data + body); // DATA
    }

    // Closes with a reset instead of an orderly end.
    void reset()
    {
        linger hard = {1, 0};
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        vanish();
    }

    void vanish()
    {
        close(descriptor);
        descriptor = -1;
    }

    void send(const std::string &bytes)
    {
        EXPECT_EQ(write(descriptor, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    }

  private:
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);

    void frame(int type, int flags, int stream, const std::string &payload)
    {
        std::string header;
        for (int shift = 16; shift >= 0; shift -= 8)
            header += static_cast<char>(payload.size() >> shift);
        header += static_cast<char>(type);
        header += static_cast<char>(flags);
        header += std::string(3, '\0') + static_cast<char>(stream);
        send(header + payload);
    }
};

class VanishingClient : public Server, public testing::WithParamInterface<std::string>
{
};

TEST_P(VanishingClient, EndsItsStreamAndIsNotMistakenForHalfClosed)
{
    int started = 0, messages = 0, ended = 0;
    duplex.started = [&](rpc_call *) { started++; };
    duplex.message = [&](rpc_call *, const void *) { messages++; };
    duplex.half_closed = [&](rpc_call *) { ADD_FAILURE() << "half-closed"; };
    duplex.ended = [&](rpc_call *, rpc_status status, const std::string &) {
        EXPECT_EQ(status, RPC_CANCELLED);
        ended++;
    };
    start_server();
    RawClient client(address);
    client.start_call("/grpc.testing.TestService/FullDuplexCall");
    client.message(0, "");
    ASSERT_TRUE(turn_until([&] { return started == 1 && messages == 1; }));
    if (GetParam() == "closing")
        client.vanish();
    else if (GetParam() == "resetting")
        client.reset();
    else if (GetParam() == "within_a_message") {
        client.message(100, "ten bytes.");
        client.vanish();
    } else if (GetParam() == "with_rubbish")
        client.send(std::string(64, '\xff'));
    EXPECT_TRUE(turn_until([&] { return ended == 1; }));
    EXPECT_EQ(messages, 1);
    EXPECT_EQ(rpc_server_open_calls(server), 0u);
}

INSTANTIATE_TEST_SUITE_P(By, VanishingClient,
                         testing::Values("closing", "resetting", "within_a_message", "with_rubbish"),
                         [](const auto &param) { return param.param; });

TEST_F(Server, IsNotDisturbedByAClientThatSendsNoHttp2)
{
    unary.message = [](rpc_call *call, const void *) { reply_empty(call); };
    start();
    for (int i = 0; i < 20; i++) {
        RawClient client(address);
        client.send("GET / HTTP/1.1\r\n\r\n");
    }
    Result result;
    call_unary(&result);
    ASSERT_TRUE(turn_until([&] { return result.ended; }));
    EXPECT_EQ(result.status, RPC_OK) << result.text;
}

// --- Draining ---

TEST_F(Server, DrainsByFinishingWhatIsOpenAndTakingNothingNew)
{
    rpc_call *held = nullptr;
    unary.message = [&](rpc_call *call, const void *) {
        if (held == nullptr)
            held = call;
        else
            reply_empty(call);
    };
    start();
    Result open, late;
    call_unary(&open);
    ASSERT_TRUE(turn_until([&] { return held != nullptr; }));
    int drained = 0;
    rpc_server_drain(
        server, 10000, [](void *argument) { ++*static_cast<int *>(argument); }, &drained);
    turn_for(300); // longer than idle connections are given
    EXPECT_EQ(drained, 0);
    EXPECT_FALSE(open.ended);
    call_unary(&late);
    ASSERT_TRUE(turn_until([&] { return late.ended; }));
    EXPECT_EQ(late.status, RPC_UNAVAILABLE);
    reply_empty(held);
    ASSERT_TRUE(turn_until([&] { return open.ended && drained > 0; }));
    EXPECT_EQ(open.status, RPC_OK) << open.text;
    turn_for(50);
    EXPECT_EQ(drained, 1);
}

TEST_F(Server, DrainCancelsWhatIsOpenAtItsDeadline)
{
    int ended = 0, drained = 0;
    bool started = false, client_ended = false;
    duplex.started = [&](rpc_call *) { started = true; };
    duplex.ended = [&](rpc_call *, rpc_status status, const std::string &) {
        EXPECT_EQ(status, RPC_CANCELLED);
        EXPECT_EQ(drained, 0);
        ended++;
    };
    start();
    Handlers client;
    client.ended = [&](rpc_call *, rpc_status status, const std::string &) {
        EXPECT_NE(status, RPC_OK);
        client_ended = true;
    };
    start_duplex(&client);
    ASSERT_TRUE(turn_until([&] { return started; }));
    rpc_server_drain(
        server, 100, [](void *argument) { ++*static_cast<int *>(argument); }, &drained);
    ASSERT_TRUE(turn_until([&] { return drained == 1 && client_ended; }));
    EXPECT_EQ(ended, 1);
}

TEST_F(Server, DrainIsBroughtForwardByASecondOne)
{
    bool started = false;
    int drained = 0;
    duplex.started = [&](rpc_call *) { started = true; };
    start();
    Handlers client;
    start_duplex(&client);
    ASSERT_TRUE(turn_until([&] { return started; }));
    rpc_server_drain(
        server, UINT64_MAX, [](void *argument) { ++*static_cast<int *>(argument); }, &drained);
    turn_for(50);
    EXPECT_EQ(drained, 0);
    rpc_server_drain(server, 0, nullptr, nullptr);
    EXPECT_TRUE(turn_until([&] { return drained == 1; }));
}

TEST_F(Server, WithNothingOpenDrainsDespiteIdleConnections)
{
    unary.message = [](rpc_call *call, const void *) { reply_empty(call); };
    start();
    RawClient idle(address); // never reacts to anything
    Result result;
    call_unary(&result);
    ASSERT_TRUE(turn_until([&] { return result.ended; }));
    int drained = 0;
    rpc_server_drain(
        server, UINT64_MAX, [](void *argument) { ++*static_cast<int *>(argument); }, &drained);
    // On its own gRPC core would wait 20 seconds for the idle client.
    EXPECT_TRUE(turn_until([&] { return drained == 1; }, 10000));
}

TEST_F(Server, DestroyedWithCallsOpenEndsThem)
{
    int ended = 0, started = 0;
    rpc_call *held = nullptr;
    duplex.started = [&](rpc_call *call) {
        started++;
        for (uint32_t i = 0; i < 100; i++)
            send_response(call, i, 100000);
    };
    duplex.ended = [&](rpc_call *, rpc_status status, const std::string &) {
        EXPECT_EQ(status, RPC_CANCELLED);
        ended++;
    };
    unary.message = [&](rpc_call *call, const void *) { held = call; }; // and never answers
    start();
    Handlers clients[5];
    Result result;
    for (auto &client : clients)
        rpc_call_pause(start_duplex(&client));
    call_unary(&result);
    ASSERT_TRUE(turn_until([&] { return started == 5 && held != nullptr; }));
    stop_server();
    EXPECT_EQ(ended, 5);
    EXPECT_TRUE(turn_until([&] { return result.ended; }));
    EXPECT_NE(result.status, RPC_OK);
}

TEST_F(Server, CanBeDestroyedBeforeItWasStarted)
{
    rpc_server_options options = {};
    options.address = "127.0.0.1:0";
    server = rpc_server_create(loop, &options);
}

TEST_F(Server, LimitsCallsOfOneConnection)
{
    server_options.max_streams = 4;
    size_t most = 0;
    std::vector<rpc_call *> held;
    unary.message = [&](rpc_call *call, const void *) {
        held.push_back(call);
        most = std::max(most, held.size());
    };
    start();
    Result results[12];
    for (auto &result : results)
        call_unary(&result);
    for (int round = 0; round < 3; round++) {
        ASSERT_TRUE(turn_until([&] { return held.size() >= 4; }));
        turn_for(20); // for one too many to come
        for (rpc_call *call : held)
            reply_empty(call);
        held.clear();
    }
    EXPECT_TRUE(turn_until([&] {
        return std::all_of(std::begin(results), std::end(results), [](const Result &result) { return result.ended; });
    }));
    EXPECT_EQ(most, 4u);
}
