// The gRPC load against a health service of a few lines: what it counts is what the server
// took, and what a server does wrong is a failure.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <future>
#include <thread>

extern "C" {
#include "common/rpc/rpc.h"
#include "muster/v1/health.pb-c.h"
#include "tests/bench/load_grpc.h"
#include "tests/bench/messages.h"
}

namespace
{

struct Server {
    std::atomic<uint64_t> heartbeats{0};
    std::atomic<bool> refuse{false};
};

void take_stream(struct rpc_call *call, const void *message)
{
    const auto *request = static_cast<const Muster__V1__HeartbeatRequest *>(message);
    auto *server = static_cast<Server *>(rpc_call_context(call));
    Muster__V1__HeartbeatResponse response = MUSTER__V1__HEARTBEAT_RESPONSE__INIT;
    response.acknowledged_sequence = request->sequence;
    server->heartbeats += request->n_heartbeats;
    // Every second message only: an acknowledgement may stand for many.
    if (request->sequence % 2 == 0)
        rpc_call_send(call, &response.base);
}

void end_stream(struct rpc_call *, enum rpc_status, const char *) {}

void take_unary(struct rpc_call *call, const void *message)
{
    const auto *request = static_cast<const Muster__V1__ReportHeartbeatsRequest *>(message);
    auto *server = static_cast<Server *>(rpc_call_context(call));
    if (server->refuse) {
        rpc_call_finish(call, RPC_UNAVAILABLE, "%s", "closed for today");
        return;
    }
    server->heartbeats += request->n_heartbeats;
    Muster__V1__ReportHeartbeatsResponse response = MUSTER__V1__REPORT_HEARTBEATS_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}

struct Waits {
    size_t count = 0;
    double longest = 0;
};

void note_wait(void *context, double milliseconds)
{
    auto *waits = static_cast<Waits *>(context);
    waits->count++;
    waits->longest = std::max(waits->longest, milliseconds);
}

class GrpcLoad : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        std::promise<uint16_t> port;
        std::promise<struct rpc_loop *> serving;
        std::future<uint16_t> port_known = port.get_future();
        std::future<struct rpc_loop *> loop_known = serving.get_future();
        thread = std::thread([this, &port, &serving] {
            struct rpc_loop *own = rpc_loop_create();
            struct rpc_server_options options = {};
            options.address = "127.0.0.1:0";
            struct rpc_server *rpc = rpc_server_create(own, &options);
            struct rpc_method methods[2] = {};
            methods[0].name = "Heartbeat";
            methods[0].kind = RPC_BIDI_STREAMING;
            methods[0].events.message = take_stream;
            methods[0].events.ended = end_stream;
            methods[1].name = "ReportHeartbeats";
            methods[1].kind = RPC_UNARY;
            methods[1].events.message = take_unary;
            char error[256];
            rpc_server_add_service(rpc, &muster__v1__health_service__descriptor, methods, 2, &server);
            port.set_value(rpc_server_start(rpc, error, sizeof error));
            serving.set_value(own);
            rpc_loop_run(own);
            rpc_server_destroy(rpc);
            rpc_loop_destroy(own);
        });
        plan.port = port_known.get();
        server_loop = loop_known.get();
        ASSERT_NE(plan.port, 0);
        ASSERT_TRUE(loop_open(&loop, &failure)) << failure.text;
        ASSERT_TRUE(heartbeat_messages_make(&batches, 128, HEARTBEATS_IN_A_BATCH));
    }
    void TearDown() override
    {
        heartbeat_messages_free(&batches);
        loop_close(&loop);
        rpc_loop_stop(server_loop);
        thread.join();
    }

    Server server;
    std::thread thread;
    struct rpc_loop *server_loop = nullptr;
    struct loop loop = {};
    struct failure failure = {""};
    struct heartbeat_messages batches = {};
    struct load_plan plan = {};
    Waits waits;
    struct load_result result = {};
};

TEST_F(GrpcLoad, StreamsWithCumulativeAcknowledgements)
{
    struct grpc_source source = heartbeat_stream_source(&batches);
    plan.connections = 3;
    plan.outstanding = 8;
    // Ends with the first answer that counts, however busy the machine is.
    plan.window_ms = 60000;
    plan.waited = note_wait;
    plan.over = [](void *context) { return static_cast<Waits *>(context)->count > 0; };
    plan.context = &waits;
    ASSERT_TRUE(load_grpc(&loop, &plan, &source, &result, &failure)) << failure.text;
    EXPECT_GT(result.per_second, 0);
    EXPECT_EQ(server.heartbeats % HEARTBEATS_IN_A_BATCH, 0u);
}

TEST_F(GrpcLoad, UnaryUpToALimitSendsExactlyThatMany)
{
    struct grpc_source source = heartbeat_unary_source(&batches);
    plan.connections = 2;
    plan.outstanding = 16;
    plan.limit = 500;
    ASSERT_TRUE(load_grpc(&loop, &plan, &source, &result, &failure)) << failure.text;
    EXPECT_EQ(server.heartbeats, 500u * HEARTBEATS_IN_A_BATCH);
}

TEST_F(GrpcLoad, TellsHowLongEachMessageWaited)
{
    plan.connections = 2;
    plan.outstanding = 8;
    plan.limit = 500;
    plan.waited = note_wait;
    plan.context = &waits;
    for (bool streaming : {true, false}) {
        struct grpc_source source = streaming ? heartbeat_stream_source(&batches) : heartbeat_unary_source(&batches);
        waits = Waits();
        ASSERT_TRUE(load_grpc(&loop, &plan, &source, &result, &failure)) << failure.text;
        EXPECT_GE(waits.count, 500u);
        EXPECT_LT(waits.count, 516u);
        EXPECT_GT(waits.longest, 0);
        EXPECT_LT(waits.longest, 60000);
    }
}

TEST_F(GrpcLoad, NeverSendsMoreThanIsDue)
{
    plan.connections = 1;
    plan.outstanding = 4;
    plan.limit = 20;
    plan.per_second = 100;
    for (bool streaming : {true, false}) {
        struct grpc_source source = streaming ? heartbeat_stream_source(&batches) : heartbeat_unary_source(&batches);
        auto start = std::chrono::steady_clock::now();
        ASSERT_TRUE(load_grpc(&loop, &plan, &source, &result, &failure)) << failure.text;
        EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(190));
    }
}

bool true_at_third(void *context)
{
    return ++*static_cast<int *>(context) == 3;
}

TEST_F(GrpcLoad, AWindowEndsEarlierWhenThatIsAsked)
{
    struct grpc_source source = heartbeat_stream_source(&batches);
    int asked = 0;
    plan.connections = 1;
    plan.outstanding = 4;
    plan.window_ms = 600000;
    plan.over = true_at_third;
    plan.context = &asked;
    ASSERT_TRUE(load_grpc(&loop, &plan, &source, &result, &failure)) << failure.text;
    EXPECT_EQ(asked, 3);
}

TEST_F(GrpcLoad, OneRunsBesideAnother)
{
    struct grpc_source beside = heartbeat_stream_source(&batches), source = heartbeat_unary_source(&batches);
    struct failure beside_failure = {""};
    struct load_plan beside_plan = plan;
    beside_plan.connections = 2;
    beside_plan.outstanding = 2;
    struct grpc_run *run = load_grpc_begin(&loop, &beside_plan, &beside, &beside_failure);
    ASSERT_NE(run, nullptr) << beside_failure.text;
    plan.connections = 1;
    plan.outstanding = 1;
    plan.window_ms = 100;
    ASSERT_TRUE(load_grpc(&loop, &plan, &source, &result, &failure)) << failure.text;
    EXPECT_EQ(load_grpc_answering(run), 2u);
    EXPECT_TRUE(load_grpc_end(run)) << beside_failure.text;
    EXPECT_TRUE(load_grpc_end(nullptr));

    source.path = "/muster.v1.HealthService/Nothing";
    run = load_grpc_begin(&loop, &beside_plan, &source, &beside_failure);
    ASSERT_NE(run, nullptr) << beside_failure.text;
    loop_run_ms(&loop, 200);
    EXPECT_FALSE(load_grpc_end(run));
    EXPECT_STRNE(beside_failure.text, "");
}

TEST_F(GrpcLoad, AStatusIsAFailureWithItsText)
{
    struct grpc_source source = heartbeat_unary_source(&batches);
    plan.connections = 1;
    plan.outstanding = 4;
    plan.window_ms = 50;
    server.refuse = true;
    EXPECT_FALSE(load_grpc(&loop, &plan, &source, &result, &failure));
    EXPECT_NE(std::strstr(failure.text, "closed for today"), nullptr) << failure.text;
}

TEST_F(GrpcLoad, AMethodThatIsNotThereIsAFailure)
{
    struct grpc_source source = heartbeat_unary_source(&batches);
    source.path = "/muster.v1.HealthService/Nothing";
    plan.connections = 1;
    plan.outstanding = 1;
    plan.window_ms = 50;
    EXPECT_FALSE(load_grpc(&loop, &plan, &source, &result, &failure));
}

} // namespace
