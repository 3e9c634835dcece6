/* gRPC's framing, cut at every place. */

#include <gtest/gtest.h>

#include <string>
#include <vector>

extern "C" {
#include "services/worker/grpc_message.h"
}

namespace
{

std::string framed(const std::vector<std::string> &messages)
{
    buffer out = BUFFER_INIT;
    for (const std::string &message : messages)
        grpc_message_append(&out, message.data(), message.size());
    std::string bytes(out.data, out.bytes);
    buffer_free(&out);
    return bytes;
}

struct Outcome {
    std::vector<std::string> messages;
    grpc_message_result last = GRPC_MESSAGE_MORE;
    bool at_boundary = false;
};

Outcome read(const std::string &bytes, size_t portion, size_t limit)
{
    Outcome outcome;
    grpc_message_reader reader;
    grpc_message_reader_init(&reader, limit);
    for (size_t at = 0; at < bytes.size() && outcome.last == GRPC_MESSAGE_MORE; at += portion) {
        /* A copy of exactly this size, so that AddressSanitizer sees any byte read behind it. */
        std::vector<uint8_t> piece(bytes.begin() + at, bytes.begin() + std::min(at + portion, bytes.size()));
        const uint8_t *data = piece.data();
        size_t left = piece.size();
        while ((outcome.last = grpc_message_read(&reader, &data, &left)) == GRPC_MESSAGE_COMPLETE)
            outcome.messages.emplace_back(reader.message.data ? reader.message.data : "", reader.message.bytes);
    }
    outcome.at_boundary = grpc_message_at_boundary(&reader);
    grpc_message_reader_free(&reader);
    return outcome;
}

TEST(GrpcMessage, PrefixIsFlagAndBigEndianLength)
{
    EXPECT_EQ(framed({std::string(258, 'x')}).substr(0, 5), std::string("\0\0\0\1\2", 5));
}

TEST(GrpcMessage, AnyPortionsGiveTheSameMessages)
{
    std::vector<std::string> messages = {"", "a", std::string(300, 'b'), "", std::string("\0\1\2", 3)};
    std::string bytes = framed(messages);
    for (size_t portion = 1; portion <= bytes.size(); portion++) {
        Outcome outcome = read(bytes, portion, 300);
        EXPECT_EQ(outcome.messages, messages) << "portions of " << portion;
        EXPECT_TRUE(outcome.at_boundary);
    }
}

TEST(GrpcMessage, ACutIsSeen)
{
    std::string bytes = framed({"hello"});
    for (size_t cut = 1; cut < bytes.size(); cut++) {
        Outcome outcome = read(bytes.substr(0, cut), 3, 100);
        EXPECT_TRUE(outcome.messages.empty());
        EXPECT_FALSE(outcome.at_boundary) << "cut after " << cut;
    }
}

TEST(GrpcMessage, TooLargeIsRefusedBeforeItsBytesCome)
{
    EXPECT_EQ(read(std::string("\0\0\0\1\1", 5), 1, 256).last, GRPC_MESSAGE_TOO_LARGE);
    EXPECT_EQ(read(std::string("\0\xff\xff\xff\xff", 5), 5, 256).last, GRPC_MESSAGE_TOO_LARGE);
    EXPECT_EQ(read(std::string("\0\0\0\1\0", 5), 1, 256).last, GRPC_MESSAGE_MORE);
}

TEST(GrpcMessage, CompressedIsRefused)
{
    EXPECT_EQ(read(std::string("\1\0\0\0\1x", 6), 6, 256).last, GRPC_MESSAGE_COMPRESSED);
}

} // namespace
