// A server and a client on one loop, for the tests of common/rpc.
//
// Everything runs on the test's thread, so that a test sees each event in its order. The
// handlers of the test service are std::functions that a test fills in.

#pragma once

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

extern "C" {
#include "common/rpc/rpc.h"
#include "grpc/testing/test.pb-c.h"
#include "proto/muster_descriptors.h"
#include "tests/conformance/rpc/proto/testing_descriptors.h"
}

using Empty = Grpc__Testing__Empty;
using SimpleRequest = Grpc__Testing__SimpleRequest;
using SimpleResponse = Grpc__Testing__SimpleResponse;
using OutputRequest = Grpc__Testing__StreamingOutputCallRequest;
using OutputResponse = Grpc__Testing__StreamingOutputCallResponse;

inline const ProtobufCServiceDescriptor *test_service()
{
    return &grpc__testing__test_service__descriptor;
}

// What a test does in each event; what it leaves out is not called, nor anything once the
// test has left the scope of its Handlers.
struct Handlers {
    std::function<void(rpc_call *)> started, accepted, half_closed, writable;
    std::function<void(rpc_call *, const void *)> message;
    std::function<void(rpc_call *, rpc_status, const std::string &)> ended;

    // What calls point to: outlives the Handlers, and is then null.
    std::shared_ptr<Handlers *> self = std::make_shared<Handlers *>(this);

    Handlers() = default;
    Handlers(const Handlers &) = delete;
    ~Handlers()
    {
        *self = nullptr;
    }

    void forget()
    {
        started = accepted = half_closed = writable = nullptr;
        message = nullptr;
        ended = nullptr;
    }
};

// Events that call the Handlers which find(call) leads to.
template <Handlers *(*find)(rpc_call *)> rpc_events events_of(bool with_ended = true)
{
    rpc_events events = {};
    events.started = [](rpc_call *call) {
        Handlers *handlers = find(call);
        if (handlers != nullptr && handlers->started)
            handlers->started(call);
    };
    events.accepted = [](rpc_call *call) {
        Handlers *handlers = find(call);
        if (handlers != nullptr && handlers->accepted)
            handlers->accepted(call);
    };
    events.message = [](rpc_call *call, const void *message) {
        Handlers *handlers = find(call);
        if (handlers != nullptr && handlers->message)
            handlers->message(call, message);
    };
    events.half_closed = [](rpc_call *call) {
        Handlers *handlers = find(call);
        if (handlers != nullptr && handlers->half_closed)
            handlers->half_closed(call);
    };
    events.writable = [](rpc_call *call) {
        Handlers *handlers = find(call);
        if (handlers != nullptr && handlers->writable)
            handlers->writable(call);
    };
    if (with_ended) {
        events.ended = [](rpc_call *call, rpc_status status, const char *text) {
            Handlers *handlers = find(call);
            if (handlers != nullptr && handlers->ended)
                handlers->ended(call, status, text);
        };
    }
    return events;
}

inline Handlers *client_handlers(rpc_call *call)
{
    return *static_cast<Handlers **>(rpc_call_context(call));
}

// The end of a call as a client saw it.
struct Result {
    bool ended = false;
    rpc_status status = RPC_OK;
    std::string text;
    size_t payload_bytes = 0;

    static void done(rpc_call *, rpc_status status, const char *text, const void *response, void *argument)
    {
        auto *self = static_cast<Result *>(argument);
        EXPECT_FALSE(self->ended) << "done is called once";
        self->ended = true;
        self->status = status;
        self->text = text;
        if (response != nullptr) {
            auto *simple = static_cast<const SimpleResponse *>(response);
            self->payload_bytes = simple->payload != nullptr ? simple->payload->body.len : 0;
        }
    }
};

class World : public testing::Test
{
  protected:
    rpc_loop *loop = rpc_loop_create();
    rpc_server *server = nullptr;
    rpc_channel *channel = nullptr;
    std::string address;
    rpc_server_options server_options = {};
    rpc_channel_options channel_options = {};
    Handlers unary, duplex; // the server's UnaryCall and FullDuplexCall
    bool unary_has_ended = false;

    ~World() override
    {
        unary.forget();
        duplex.forget();
        if (channel != nullptr)
            rpc_channel_destroy(channel);
        if (server != nullptr)
            rpc_server_destroy(server);
        rpc_loop_destroy(loop);
    }

    // Starts a server; at the address of the one before, if there was one.
    void start_server()
    {
        std::string wanted = address.empty() ? "127.0.0.1:0" : address;
        server_options.address = wanted.c_str();
        server = rpc_server_create(loop, &server_options);
        rpc_method methods[] = {
            {"UnaryCall", RPC_UNARY, events_of<server_handlers<&World::unary>>(unary_has_ended)},
            {"FullDuplexCall", RPC_BIDI_STREAMING, events_of<server_handlers<&World::duplex>>()},
        };
        ASSERT_TRUE(rpc_server_add_service(server, test_service(), methods, 2, this));
        ASSERT_TRUE(rpc_server_add_descriptors(server, testing_descriptors, testing_descriptors_bytes));
        ASSERT_TRUE(rpc_server_add_descriptors(server, muster_descriptors, muster_descriptors_bytes));
        char error[256];
        uint16_t port = rpc_server_start(server, error, sizeof(error));
        ASSERT_NE(port, 0) << error;
        address = "127.0.0.1:" + std::to_string(port);
    }

    void stop_server()
    {
        rpc_server_destroy(server);
        server = nullptr;
    }

    void connect()
    {
        channel = rpc_channel_create(loop, address.c_str(), &channel_options);
    }

    void start()
    {
        start_server();
        connect();
    }

    // Turns the loop until the condition holds; false when it does not within that time.
    bool turn_until(const std::function<bool()> &condition, uint64_t wait_ms = 20000)
    {
        uint64_t until_ms = rpc_loop_now_ms(loop) + wait_ms;
        while (!condition()) {
            if (rpc_loop_now_ms(loop) >= until_ms)
                return false;
            rpc_loop_turn(loop, 20);
        }
        return true;
    }

    void turn_for(uint64_t ms)
    {
        uint64_t until_ms = rpc_loop_now_ms(loop) + ms;
        while (rpc_loop_now_ms(loop) < until_ms)
            rpc_loop_turn(loop, 1);
    }

    rpc_call *call_unary(Result *result, const rpc_call_options *options = nullptr)
    {
        SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
        return rpc_channel_call(channel, test_service(), "UnaryCall", &request.base, options, Result::done, result);
    }

    // The argument to give with a call whose events are those of client_events.
    void *argument_of(Handlers *handlers)
    {
        pointed_to.push_back(handlers->self);
        return handlers->self.get();
    }

    static const rpc_events *client_events()
    {
        static const rpc_events events = events_of<client_handlers>();
        return &events;
    }

    rpc_call *start_duplex(Handlers *handlers, const rpc_call_options *options = nullptr)
    {
        return rpc_channel_stream(channel, test_service(), "FullDuplexCall", options, client_events(),
                                  argument_of(handlers));
    }

    static void reply_empty(rpc_call *call)
    {
        SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
        rpc_call_reply(call, &response.base);
    }

    // A message of a stream with that many bytes; the first four hold a number.
    static std::vector<uint8_t> numbered(uint32_t number, size_t bytes)
    {
        std::vector<uint8_t> body(bytes < sizeof(number) ? sizeof(number) : bytes);
        memcpy(body.data(), &number, sizeof(number));
        return body;
    }

    static bool send_request(rpc_call *call, uint32_t number, size_t bytes = 0)
    {
        auto body = numbered(number, bytes);
        Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
        OutputRequest request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
        payload.body = {body.size(), body.data()};
        request.payload = &payload;
        return rpc_call_send(call, &request.base);
    }

    static bool send_response(rpc_call *call, uint32_t number, size_t bytes = 0)
    {
        auto body = numbered(number, bytes);
        Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
        OutputResponse response = GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
        payload.body = {body.size(), body.data()};
        response.payload = &payload;
        return rpc_call_send(call, &response.base);
    }

    static uint32_t number_of(const Grpc__Testing__Payload *payload)
    {
        uint32_t number = 0;
        memcpy(&number, payload->body.data, sizeof(number));
        return number;
    }

    static uint32_t request_number(const void *message)
    {
        return number_of(static_cast<const OutputRequest *>(message)->payload);
    }

    static uint32_t response_number(const void *message)
    {
        return number_of(static_cast<const OutputResponse *>(message)->payload);
    }

  private:
    std::vector<std::shared_ptr<Handlers *>> pointed_to;

    // The service's context is the World; this leads on to the handlers of a method.
    template <Handlers World::*which> static Handlers *server_handlers(rpc_call *call)
    {
        return &(static_cast<World *>(rpc_call_context(call))->*which);
    }
};
