/* The gRPC client against an nghttp2 server in the same process: bytes are handed over in
 * portions of any size, and the server misbehaves in every way that it can. */

#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

#include <map>
#include <string>
#include <vector>

extern "C" {
#include "services/worker/grpc_message.h"
#include "services/worker/grpc_stream.h"
}

namespace
{

using Headers = std::vector<std::pair<std::string, std::string>>;

/* A server that records what comes and sends what the test tells it to. */
class Server
{
  public:
    Server()
    {
        nghttp2_session_callbacks *callbacks;
        nghttp2_session_callbacks_new(&callbacks);
        nghttp2_session_callbacks_set_on_header_callback(
            callbacks, [](nghttp2_session *, const nghttp2_frame *, const uint8_t *name, size_t name_bytes,
                          const uint8_t *value, size_t value_bytes, uint8_t, void *user) {
                static_cast<Server *>(user)->headers[std::string((const char *)name, name_bytes)] =
                    std::string((const char *)value, value_bytes);
                return 0;
            });
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
            callbacks, [](nghttp2_session *, uint8_t, int32_t, const uint8_t *data, size_t bytes, void *user) {
                static_cast<Server *>(user)->body.append((const char *)data, bytes);
                return 0;
            });
        nghttp2_session_callbacks_set_on_frame_recv_callback(
            callbacks, [](nghttp2_session *, const nghttp2_frame *frame, void *user) {
                Server *server = static_cast<Server *>(user);
                if (frame->hd.type == NGHTTP2_HEADERS)
                    server->stream = frame->hd.stream_id;
                if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
                    (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
                    server->half_closed = true;
                return 0;
            });
        nghttp2_session_server_new(&session, callbacks, this);
        nghttp2_session_callbacks_del(callbacks);
        nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window}};
        nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, 1);
    }

    ~Server()
    {
        nghttp2_session_del(session);
    }

    static std::vector<nghttp2_nv> nv(const Headers &fields)
    {
        std::vector<nghttp2_nv> list;
        for (const auto &field : fields)
            list.push_back({(uint8_t *)field.first.data(), (uint8_t *)field.second.data(), field.first.size(),
                            field.second.size(), NGHTTP2_NV_FLAG_NONE});
        return list;
    }

    /* Sends headers, then whatever is in `outgoing` as it grows, then `trailers` if set. */
    void respond(const Headers &fields)
    {
        nghttp2_data_provider provider = {};
        provider.read_callback = [](nghttp2_session *s, int32_t id, uint8_t *data, size_t room, uint32_t *flags,
                                    nghttp2_data_source *, void *user) -> ssize_t {
            Server *server = static_cast<Server *>(user);
            if (server->outgoing.empty() && !server->ending)
                return NGHTTP2_ERR_DEFERRED;
            size_t take = std::min(room, server->outgoing.size());
            memcpy(data, server->outgoing.data(), take);
            server->outgoing.erase(0, take);
            if (server->outgoing.empty() && server->ending) {
                *flags |= NGHTTP2_DATA_FLAG_EOF;
                if (!server->trailers.empty()) {
                    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
                    auto list = nv(server->trailers);
                    nghttp2_submit_trailer(s, id, list.data(), list.size());
                }
            }
            return (ssize_t)take;
        };
        auto list = nv(fields);
        nghttp2_submit_response(session, stream, list.data(), list.size(), &provider);
    }

    void respond_headers_only(const Headers &fields)
    {
        auto list = nv(fields);
        nghttp2_submit_response(session, stream, list.data(), list.size(), nullptr);
    }

    void send(const std::string &message)
    {
        buffer framed = BUFFER_INIT;
        grpc_message_append(&framed, message.data(), message.size());
        send_raw(std::string(framed.data, framed.bytes));
        buffer_free(&framed);
    }

    void send_raw(const std::string &bytes)
    {
        outgoing += bytes;
        nghttp2_session_resume_data(session, stream);
    }

    void finish(const Headers &last)
    {
        trailers = last;
        ending = true;
        nghttp2_session_resume_data(session, stream);
    }

    std::vector<std::string> messages()
    {
        std::vector<std::string> list;
        grpc_message_reader reader;
        grpc_message_reader_init(&reader, 1 << 20);
        const uint8_t *data = (const uint8_t *)body.data();
        size_t bytes = body.size();
        while (grpc_message_read(&reader, &data, &bytes) == GRPC_MESSAGE_COMPLETE)
            list.emplace_back(reader.message.data ? reader.message.data : "", reader.message.bytes);
        grpc_message_reader_free(&reader);
        return list;
    }

    static constexpr uint32_t window = 5000;
    nghttp2_session *session;
    std::map<std::string, std::string> headers;
    std::string body, outgoing;
    Headers trailers;
    bool ending = false, half_closed = false;
    int32_t stream = 0;
};

const Headers OK = {{":status", "200"}, {"content-type", "application/grpc+proto"}};

class GrpcStream : public testing::TestWithParam<size_t>
{
  protected:
    void SetUp() override
    {
        static const grpc_stream_calls calls = {
            [](void *context, const void *message, size_t bytes) {
                static_cast<GrpcStream *>(context)->received.emplace_back(message ? (const char *)message : "", bytes);
            },
            [](void *context, const grpc_stream_end *end) {
                GrpcStream *test = static_cast<GrpcStream *>(context);
                test->ends++;
                test->status = end->status;
                test->reason = end->reason;
            },
        };
        client = grpc_stream_create("health.example:7103", "/muster.v1.HealthService/Heartbeat", 1000, &calls, this);
        ASSERT_NE(client, nullptr);
    }

    void TearDown() override
    {
        grpc_stream_free(client);
    }

    /* Moves bytes both ways until neither side has any. */
    void exchange()
    {
        for (bool moved = true; moved && alive;) {
            moved = false;
            buffer out = BUFFER_INIT;
            alive = grpc_stream_output(client, &out, 1 << 20);
            for (size_t at = 0; at < out.bytes; at += GetParam()) {
                moved = true;
                std::vector<uint8_t> piece(out.data + at, out.data + std::min(at + GetParam(), out.bytes));
                ssize_t used = nghttp2_session_mem_recv(server.session, piece.data(), piece.size());
                ASSERT_EQ(used, (ssize_t)piece.size()) << nghttp2_strerror((int)used);
            }
            buffer_free(&out);
            const uint8_t *data;
            ssize_t bytes;
            while (alive && (bytes = nghttp2_session_mem_send(server.session, &data)) > 0) {
                moved = true;
                std::vector<uint8_t> all(data, data + bytes);
                for (size_t at = 0; at < all.size() && alive; at += GetParam()) {
                    std::vector<uint8_t> piece(all.begin() + at, all.begin() + std::min(at + GetParam(), all.size()));
                    alive = grpc_stream_receive(client, piece.data(), piece.size());
                }
            }
        }
    }

    Server server;
    grpc_stream *client = nullptr;
    std::vector<std::string> received;
    int ends = 0, status = -1;
    std::string reason;
    bool alive = true;
};

TEST_P(GrpcStream, SendsTheHeadersOfTheProtocol)
{
    exchange();
    EXPECT_EQ(server.headers[":method"], "POST");
    EXPECT_EQ(server.headers[":scheme"], "http");
    EXPECT_EQ(server.headers[":path"], "/muster.v1.HealthService/Heartbeat");
    EXPECT_EQ(server.headers[":authority"], "health.example:7103");
    EXPECT_EQ(server.headers["te"], "trailers");
    EXPECT_EQ(server.headers["content-type"], "application/grpc");
    EXPECT_EQ(server.headers["user-agent"].rfind("grpc-c", 0), 0u);
    EXPECT_FALSE(server.half_closed);
}

TEST_P(GrpcStream, MessagesBothWays)
{
    exchange();
    server.respond(OK);
    for (int i = 0; i < 20; i++) {
        ASSERT_TRUE(grpc_stream_send(client, std::string(i, 'c').data(), (size_t)i));
        server.send(std::string(i, 's'));
        exchange();
    }
    ASSERT_EQ(received.size(), 20u);
    ASSERT_EQ(server.messages().size(), 20u);
    for (size_t i = 0; i < 20; i++) {
        EXPECT_EQ(received[i], std::string(i, 's'));
        EXPECT_EQ(server.messages()[i], std::string(i, 'c'));
    }
    EXPECT_EQ(ends, 0);
}

TEST_P(GrpcStream, AMessageLargerThanTheWindowPassesWithFlowControl)
{
    std::string message(40000, 'm');
    ASSERT_TRUE(grpc_stream_send(client, message.data(), message.size()));
    exchange();
    ASSERT_EQ(server.messages().size(), 1u);
    EXPECT_EQ(server.messages()[0], message);
}

TEST_P(GrpcStream, ALotThatIsReceivedGivesTheWindowBack)
{
    exchange();
    server.respond(OK);
    for (int i = 0; i < 200; i++)
        server.send(std::string(1000, 'x'));
    exchange();
    EXPECT_EQ(received.size(), 200u);
}

TEST_P(GrpcStream, WhatWaitsIsBounded)
{
    std::string message(100000, 'm');
    int taken = 0;
    while (taken < 100 && grpc_stream_send(client, message.data(), message.size()))
        taken++;
    EXPECT_EQ(taken, 10);
}

TEST_P(GrpcStream, EndsWithTheStatusOfTheTrailers)
{
    exchange();
    server.respond(OK);
    server.finish({{"grpc-status", "8"}, {"grpc-message", "too%20much%zz %E2%9c%93"}});
    exchange();
    EXPECT_EQ(ends, 1);
    EXPECT_EQ(status, 8);
    EXPECT_EQ(reason, "too much%zz \xe2\x9c\x93");
    EXPECT_FALSE(grpc_stream_send(client, "x", 1));
}

TEST_P(GrpcStream, EndsWithTrailersOnly)
{
    exchange();
    server.respond_headers_only(
        {{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "12"}, {"grpc-message", "no"}});
    exchange();
    EXPECT_EQ(ends, 1);
    EXPECT_EQ(status, 12);
    EXPECT_EQ(reason, "no");
}

TEST_P(GrpcStream, WhatIsNoGrpcServerIsSaidToBeNone)
{
    exchange();
    server.respond({{":status", "404"}, {"content-type", "text/html"}});
    server.send_raw("<html>");
    exchange();
    EXPECT_EQ(ends, 1);
    EXPECT_EQ(status, GRPC_STATUS_UNKNOWN);
    EXPECT_TRUE(received.empty());
}

TEST_P(GrpcStream, EndWithoutStatusIsAnError)
{
    exchange();
    server.respond(OK);
    server.finish({});
    exchange();
    EXPECT_EQ(ends, 1);
    EXPECT_EQ(status, GRPC_STATUS_UNKNOWN);
}

TEST_P(GrpcStream, EndInTheMiddleOfAMessageIsAnError)
{
    exchange();
    server.respond(OK);
    server.send_raw(std::string("\0\0\0\0\5hel", 8));
    server.finish({{"grpc-status", "0"}});
    exchange();
    EXPECT_EQ(ends, 1);
    EXPECT_EQ(status, GRPC_STATUS_INTERNAL);
    EXPECT_TRUE(received.empty());
}

TEST_P(GrpcStream, ResetIsUnavailable)
{
    exchange();
    nghttp2_submit_rst_stream(server.session, NGHTTP2_FLAG_NONE, server.stream, NGHTTP2_REFUSED_STREAM);
    exchange();
    EXPECT_EQ(ends, 1);
    EXPECT_EQ(status, GRPC_STATUS_UNAVAILABLE);
}

TEST_P(GrpcStream, GoAwayClosesOurSideAndTheCallEndsCleanly)
{
    exchange();
    server.respond(OK);
    exchange();
    nghttp2_submit_goaway(server.session, NGHTTP2_FLAG_NONE, server.stream, NGHTTP2_NO_ERROR, nullptr, 0);
    exchange();
    EXPECT_TRUE(server.half_closed);
    EXPECT_EQ(ends, 0);
    server.finish({{"grpc-status", "14"}});
    exchange();
    EXPECT_EQ(ends, 1);
    EXPECT_EQ(status, 14);
}

TEST_P(GrpcStream, OversizedMessageIsRefused)
{
    exchange();
    server.respond(OK);
    server.send_raw(std::string("\0\0\0\3\xe9", 5));
    exchange();
    EXPECT_EQ(ends, 1);
    EXPECT_EQ(status, GRPC_STATUS_RESOURCE_EXHAUSTED);
}

TEST_P(GrpcStream, CompressedMessageIsRefused)
{
    exchange();
    server.respond(OK);
    server.send_raw(std::string("\1\0\0\0\1x", 6));
    exchange();
    EXPECT_EQ(ends, 1);
    EXPECT_EQ(status, GRPC_STATUS_INTERNAL);
}

TEST_P(GrpcStream, GarbageEndsTheCallOnce)
{
    std::string garbage = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    for (char c : garbage)
        alive = alive && grpc_stream_receive(client, &c, 1);
    exchange();
    exchange();
    EXPECT_EQ(ends, 1);
}

TEST_P(GrpcStream, PingIsAnswered)
{
    exchange();
    EXPECT_EQ(grpc_stream_pongs(client), 0u);
    grpc_stream_ping(client);
    exchange();
    EXPECT_EQ(grpc_stream_pongs(client), 1u);
}

TEST_P(GrpcStream, FinishSendsWhatIsQueuedFirst)
{
    ASSERT_TRUE(grpc_stream_send(client, "last", 4));
    grpc_stream_finish(client);
    EXPECT_FALSE(grpc_stream_send(client, "late", 4));
    exchange();
    EXPECT_EQ(server.messages(), std::vector<std::string>{"last"});
    EXPECT_TRUE(server.half_closed);
}

INSTANTIATE_TEST_SUITE_P(Portions, GrpcStream, testing::Values(1, 2, 7, 100, 100000));

} // namespace
