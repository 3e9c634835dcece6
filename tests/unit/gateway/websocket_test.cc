// The handshake by the letter of RFC 6455, and frames as a client sends them.

extern "C" {
#include "gateway/websocket.h"
}

#include <gtest/gtest.h>

#include <string>

namespace
{

enum websocket_verdict judge(const std::string &fields, const char *origins = "*", std::string *accept = nullptr)
{
    const std::string text = "GET /ws/events HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
    struct http_parser parser;
    struct http_head head;
    struct cors cors = {};
    char value[WEBSOCKET_ACCEPT_BYTES] = "";
    http_parser_init_request(&parser, &head, HTTP_LIMITS_DEFAULT);
    EXPECT_EQ(http_parser_feed(&parser, &head, text.data(), text.size()), HTTP_PARSE_DONE) << text;
    EXPECT_TRUE(cors_parse(&cors, origins));
    const auto verdict = websocket_judge(&head, &cors, value);
    cors_free(&cors);
    if (accept != nullptr)
        *accept = value;
    return verdict;
}

const std::string UPGRADE = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n";
const std::string VERSION = "Sec-WebSocket-Version: 13\r\n";
const std::string KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

TEST(Handshake, TheExampleOfTheStandard)
{
    std::string accept;
    EXPECT_EQ(judge(UPGRADE + VERSION + KEY, "*", &accept), WEBSOCKET_ACCEPTED);
    EXPECT_EQ(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(Handshake, WhatIsWrong)
{
    EXPECT_EQ(judge(VERSION + KEY), WEBSOCKET_NOT_ASKED_FOR);
    EXPECT_EQ(judge("Connection: Upgrade\r\nUpgrade: h2c\r\n" + VERSION + KEY), WEBSOCKET_NOT_ASKED_FOR);
    EXPECT_EQ(judge(UPGRADE + KEY), WEBSOCKET_WRONG_VERSION);
    EXPECT_EQ(judge(UPGRADE + "Sec-WebSocket-Version: 8\r\n" + KEY), WEBSOCKET_WRONG_VERSION);
    EXPECT_EQ(judge(UPGRADE + VERSION), WEBSOCKET_BAD_KEY);
    for (const char *key : {"", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ",
                            "dGhlIHNhbXBsZSBub25jZR==", "dGhlIHNhbXBsZSBub25j=Q==", "dGhlIHNhbXBsZSBub25jZQ== ,x"})
        EXPECT_EQ(judge(UPGRADE + VERSION + "Sec-WebSocket-Key: " + key + "\r\n"), WEBSOCKET_BAD_KEY) << key;
    EXPECT_EQ(judge(UPGRADE + VERSION + KEY + "Content-Length: 1\r\n"), WEBSOCKET_BAD_KEY);
}

TEST(Handshake, OnlyPagesThatMayCall)
{
    const std::string good = UPGRADE + VERSION + KEY;
    EXPECT_EQ(judge(good + "Origin: https://a.example\r\n"), WEBSOCKET_ACCEPTED);
    EXPECT_EQ(judge(good + "Origin: https://a.example\r\n", "https://a.example"), WEBSOCKET_ACCEPTED);
    EXPECT_EQ(judge(good + "Origin: https://b.example\r\n", "https://a.example"), WEBSOCKET_FORBIDDEN_ORIGIN);
    EXPECT_EQ(judge(good + "Origin: null\r\n", "https://a.example"), WEBSOCKET_FORBIDDEN_ORIGIN);
    EXPECT_EQ(judge(good, "https://a.example"), WEBSOCKET_ACCEPTED) << "no page";
}

class Frames : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        websocket = websocket_create(take, this);
        ASSERT_NE(websocket, nullptr);
    }
    void TearDown() override
    {
        websocket_free(websocket);
    }
    static void take(void *context, const void *data, size_t bytes)
    {
        static_cast<Frames *>(context)->sent.append(static_cast<const char *>(data), bytes);
    }
    static std::string frame(unsigned char opcode, const std::string &payload, bool masked = true)
    {
        std::string text(1, static_cast<char>(0x80 | opcode));
        const unsigned mask = masked ? 0x80 : 0;
        if (payload.size() < 126) {
            text += static_cast<char>(mask | payload.size());
        } else {
            text += static_cast<char>(mask | 126);
            text += static_cast<char>(payload.size() >> 8);
            text += static_cast<char>(payload.size() & 0xff);
        }
        if (masked)
            text += std::string(4, '\0'); // a mask that changes nothing
        return text + payload;
    }
    bool receive(const std::string &bytes)
    {
        return websocket_receive(websocket, bytes.data(), bytes.size());
    }
    struct websocket *websocket = nullptr;
    std::string sent;
};

TEST_F(Frames, TextsGoOut)
{
    EXPECT_TRUE(websocket_send_text(websocket, "hello", 5));
    EXPECT_EQ(sent, frame(1, "hello", false));
}

TEST_F(Frames, PingsAreAnsweredPieceByPieceToo)
{
    const std::string ping = frame(9, "x");
    for (char byte : ping)
        EXPECT_TRUE(receive(std::string(1, byte)));
    EXPECT_EQ(sent, frame(10, "x", false));
}

TEST_F(Frames, MessagesAreDropped)
{
    EXPECT_TRUE(receive(frame(1, std::string(WEBSOCKET_MESSAGE_BYTES_MAX, 'x'))));
    EXPECT_EQ(sent, "");
}

TEST_F(Frames, TooLongAMessageEndsIt)
{
    EXPECT_FALSE(receive(frame(1, std::string(WEBSOCKET_MESSAGE_BYTES_MAX + 1, 'x'))));
    EXPECT_EQ(sent.substr(0, 1), "\x88");
    EXPECT_EQ(sent.substr(2, 2), std::string("\x03\xf1", 2)) << "1009";
}

TEST_F(Frames, UnmaskedFramesEndIt)
{
    EXPECT_FALSE(receive(frame(1, "x", false)));
    EXPECT_EQ(sent.substr(2, 2), std::string("\x03\xea", 2)) << "1002";
}

TEST_F(Frames, ACloseIsAnsweredAndEndsIt)
{
    EXPECT_FALSE(receive(frame(8, std::string("\x03\xe8", 2))));
    EXPECT_EQ(sent, frame(8, std::string("\x03\xe8", 2), false));
    EXPECT_TRUE(websocket_send_text(websocket, "late", 4));
    EXPECT_EQ(sent, frame(8, std::string("\x03\xe8", 2), false)) << "nothing follows it";
}

TEST_F(Frames, WeMayCloseFirst)
{
    websocket_send_close(websocket, WEBSOCKET_CLOSE_POLICY, "too slow");
    EXPECT_EQ(sent, frame(8, std::string("\x03\xf0", 2) + "too slow", false));
    EXPECT_TRUE(websocket_send_text(websocket, "late", 4));
    EXPECT_TRUE(websocket_send_ping(websocket));
    EXPECT_EQ(sent, frame(8, std::string("\x03\xf0", 2) + "too slow", false));
}

} // namespace
