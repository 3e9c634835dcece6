// A link's two ends, joined by nothing but calls: streams, windows, limits, the end, and rubbish.

extern "C" {
#include "common/link/frames.h"
#include "common/link/link.h"
}

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace
{

struct End;

// One end of a stream, as its owner sees it.
struct Stream {
    End *end = nullptr;
    struct link_stream *stream = nullptr;
    std::string received;
    std::string to_send;
    bool finishing = false; // nothing follows to_send
    bool consumes = true;   // takes what comes
    bool ended = false;
    bool closed = false;
};

struct End {
    explicit End(enum link_side side)
    {
        static const struct link_calls calls = {opened, arrived, stream_ended, wanted, stream_closed};
        link = link_create(side, &calls, this);
        EXPECT_NE(link, nullptr);
    }

    ~End()
    {
        link_free(link);
        for (Stream *stream : all)
            delete stream;
    }

    Stream *open()
    {
        auto *stream = new Stream;
        stream->end = this;
        stream->stream = link_open(link, stream);
        if (stream->stream == nullptr) {
            delete stream;
            return nullptr;
        }
        all.push_back(stream);
        return stream;
    }

    void send(Stream *stream, const std::string &data, bool finish = false)
    {
        stream->to_send += data;
        stream->finishing = finish;
        link_stream_ready(stream->stream);
    }

    // What it has to say, up to about so much.
    std::string output(size_t enough = 1 << 20)
    {
        struct buffer out = BUFFER_INIT;
        alive = link_output(link, &out, enough) && alive;
        std::string data(out.data == nullptr ? "" : out.data, out.bytes);
        buffer_free(&out);
        return data;
    }

    bool receive(const std::string &data)
    {
        alive = link_receive(link, data.data(), data.size()) && alive;
        return alive;
    }

    static void *opened(void *context, struct link_stream *handle)
    {
        auto *end = static_cast<End *>(context);
        if (end->refuses)
            return nullptr;
        auto *stream = new Stream;
        stream->end = end;
        stream->stream = handle;
        stream->consumes = end->consumes;
        end->all.push_back(stream);
        return stream;
    }

    static void arrived(void *, struct link_stream *handle, const void *data, size_t bytes)
    {
        auto *stream = static_cast<Stream *>(link_stream_user(handle));
        stream->received.append(static_cast<const char *>(data), bytes);
        if (stream->consumes)
            link_stream_consumed(handle, bytes);
    }

    static void stream_ended(void *, struct link_stream *handle)
    {
        static_cast<Stream *>(link_stream_user(handle))->ended = true;
    }

    static ssize_t wanted(void *, struct link_stream *handle, void *into, size_t room)
    {
        auto *stream = static_cast<Stream *>(link_stream_user(handle));
        if (stream->to_send.empty())
            return stream->finishing ? 0 : -1;
        size_t bytes = std::min(room, stream->to_send.size());
        memcpy(into, stream->to_send.data(), bytes);
        stream->to_send.erase(0, bytes);
        return static_cast<ssize_t>(bytes);
    }

    static void stream_closed(void *, struct link_stream *handle)
    {
        static_cast<Stream *>(link_stream_user(handle))->closed = true;
    }

    struct link *link;
    std::vector<Stream *> all;
    bool refuses = false;
    bool consumes = true;
    bool alive = true;
};

// Carries bytes to and fro, in pieces of at most so many, until nobody has anything to say.
void settle(End &gateway, End &worker, size_t piece = 4096)
{
    bool moved = true;
    while (moved) {
        moved = false;
        for (auto *from : {&gateway, &worker}) {
            End &to = from == &gateway ? worker : gateway;
            const std::string data = from->output(1 << 18);
            for (size_t at = 0; at < data.size(); at += piece)
                (void)to.receive(data.substr(at, piece));
            moved = moved || !data.empty();
        }
    }
}

struct Pair : testing::Test {
    Pair()
    {
        settle(gateway, worker);
    }

    // A stream, and its other end.
    Stream *open(Stream **other)
    {
        Stream *stream = gateway.open();
        settle(gateway, worker);
        *other = worker.all.back();
        return stream;
    }

    End gateway{LINK_GATEWAY}, worker{LINK_WORKER};
};

TEST_F(Pair, CarriesBytesBothWaysAndEndsEachWay)
{
    Stream *far, *near = open(&far);
    gateway.send(near, "question");
    settle(gateway, worker);
    EXPECT_EQ(far->received, "question");
    EXPECT_FALSE(far->ended);
    worker.send(far, "answer");
    settle(gateway, worker);
    EXPECT_EQ(near->received, "answer");
    gateway.send(near, "", true);
    settle(gateway, worker);
    EXPECT_TRUE(far->ended);
    EXPECT_FALSE(near->closed);
    worker.send(far, "more", true); // the half that is left goes on
    settle(gateway, worker);
    EXPECT_EQ(near->received, "answermore");
    EXPECT_TRUE(near->ended && near->closed && far->closed);
    EXPECT_EQ(link_stream_count(gateway.link), 0u);
    EXPECT_EQ(link_stream_count(worker.link), 0u);
    EXPECT_TRUE(gateway.alive && worker.alive);
}

TEST_F(Pair, EveryByteOfALongTransferArrivesInOrder)
{
    Stream *far, *near = open(&far);
    std::string text;
    for (int i = 0; i < 600000; i++)
        text += std::to_string(i);
    gateway.send(near, text, true);
    worker.send(far, text, true);
    settle(gateway, worker, 1021);
    EXPECT_TRUE(far->received == text);
    EXPECT_TRUE(near->received == text);
}

TEST_F(Pair, OneWindowComesAndNoMoreUntilItIsConsumed)
{
    worker.consumes = false;
    Stream *far, *near = open(&far);
    gateway.send(near, std::string(3 * LINK_WINDOW_BYTES, 'x'));
    settle(gateway, worker);
    EXPECT_EQ(far->received.size(), size_t(LINK_WINDOW_BYTES));
    EXPECT_EQ(near->to_send.size(), size_t(2 * LINK_WINDOW_BYTES)) << "more was fetched than the other side takes";
    link_stream_consumed(far->stream, LINK_WINDOW_BYTES);
    settle(gateway, worker);
    EXPECT_EQ(far->received.size(), size_t(2 * LINK_WINDOW_BYTES));
}

TEST_F(Pair, TheOtherWayTheSame)
{
    Stream *far, *near = open(&far);
    near->consumes = false;
    worker.send(far, std::string(3 * LINK_WINDOW_BYTES, 'x'));
    settle(gateway, worker);
    EXPECT_EQ(near->received.size(), size_t(LINK_WINDOW_BYTES));
}

// More stand still than the window of the connection holds.
TEST_F(Pair, StreamsThatNobodyReadsDoNotStopTheOthers)
{
    worker.consumes = false;
    std::vector<Stream *> stalled;
    for (int i = 0; i < 100; i++) {
        stalled.push_back(gateway.open());
        gateway.send(stalled.back(), std::string(LINK_WINDOW_BYTES + 1, 'x'));
    }
    settle(gateway, worker);
    worker.consumes = true;
    Stream *far, *near = open(&far);
    gateway.send(near, std::string(5 * LINK_WINDOW_BYTES, 'y'), true);
    settle(gateway, worker);
    EXPECT_EQ(far->received.size(), size_t(5 * LINK_WINDOW_BYTES));
    EXPECT_TRUE(far->ended);
    EXPECT_EQ(stalled[0]->to_send.size(), 1u);
}

TEST_F(Pair, TheTransportSetsTheRhythm)
{
    Stream *far, *near = open(&far);
    gateway.send(near, std::string(LINK_WINDOW_BYTES, 'x'));
    const std::string first = gateway.output(1);
    EXPECT_GT(first.size(), 0u);
    EXPECT_LT(first.size(), 140000u) << "it gives one message when asked for a byte, not all there is";
    EXPECT_GT(near->to_send.size(), 0u);
}

TEST_F(Pair, AStreamIsBrokenOffFromEitherSide)
{
    Stream *far, *near = open(&far);
    link_stream_reset(near->stream);
    settle(gateway, worker);
    EXPECT_TRUE(near->closed && far->closed);
    EXPECT_FALSE(far->ended) << "a request that was broken off must not look complete";
    near = open(&far);
    link_stream_reset(far->stream);
    settle(gateway, worker);
    EXPECT_TRUE(near->closed && far->closed);
    EXPECT_FALSE(near->ended);
    EXPECT_TRUE(gateway.alive && worker.alive);
}

TEST_F(Pair, OneThatIsBrokenOffBeforeItWasSentIsClosed)
{
    Stream *stream = gateway.open();
    link_stream_reset(stream->stream);
    settle(gateway, worker);
    EXPECT_TRUE(stream->closed);
    EXPECT_EQ(link_stream_count(gateway.link), 0u);
    EXPECT_TRUE(gateway.alive && worker.alive);
}

TEST_F(Pair, AWorkerRefuses)
{
    worker.refuses = true;
    Stream *stream = gateway.open();
    gateway.send(stream, "question");
    settle(gateway, worker);
    EXPECT_TRUE(stream->closed);
    EXPECT_EQ(link_stream_count(worker.link), 0u);
    EXPECT_TRUE(gateway.alive && worker.alive);
}

TEST_F(Pair, AThousandStreamsAndNotOneMore)
{
    std::vector<Stream *> streams;
    for (int i = 0; i < LINK_STREAMS_MAX; i++) {
        streams.push_back(gateway.open());
        ASSERT_NE(streams.back(), nullptr) << i;
        gateway.send(streams.back(), "x");
    }
    EXPECT_EQ(gateway.open(), nullptr);
    settle(gateway, worker);
    EXPECT_EQ(link_stream_count(worker.link), size_t(LINK_STREAMS_MAX));
    for (Stream *stream : worker.all)
        EXPECT_EQ(stream->received, "x");
    link_stream_reset(streams[0]->stream);
    settle(gateway, worker);
    EXPECT_NE(gateway.open(), nullptr) << "one has gone";
}

TEST_F(Pair, AGoodbyeNamesItsReason)
{
    link_close(gateway.link, "the gateway is stopping");
    EXPECT_FALSE(worker.receive(gateway.output()));
    EXPECT_STREQ(link_error(worker.link), "the other side said goodbye: the gateway is stopping");
    EXPECT_EQ(gateway.open(), nullptr);
}

TEST_F(Pair, PingsAreAnswered)
{
    link_ping(gateway.link);
    const std::string ping = gateway.output();
    ASSERT_FALSE(ping.empty());
    EXPECT_TRUE(worker.receive(ping));
    EXPECT_FALSE(worker.output().empty());
}

TEST_F(Pair, WhoPingsWithoutTakingAnswersIsCutOff)
{
    link_ping(gateway.link);
    const std::string ping = gateway.output();
    for (int i = 0; i < LINK_PONGS_WAITING_MAX; i++)
        ASSERT_TRUE(worker.receive(ping)) << i;
    EXPECT_FALSE(worker.receive(ping));
}

TEST_F(Pair, WhoPingsAndTakesThemIsNot)
{
    link_ping(gateway.link);
    const std::string ping = gateway.output();
    for (int i = 0; i < 5 * LINK_PONGS_WAITING_MAX; i++) {
        ASSERT_TRUE(worker.receive(ping)) << i;
        (void)worker.output();
    }
}

// --- What a stranger sends ---

// A frame as a server sends it to the worker, unmasked.
std::string frame(unsigned char first, uint64_t length, const std::string &payload)
{
    std::string data(1, static_cast<char>(first));
    if (length < 126) {
        data += static_cast<char>(length);
    } else {
        data += static_cast<char>(127);
        for (int shift = 56; shift >= 0; shift -= 8)
            data += static_cast<char>(length >> shift);
    }
    return data + payload;
}

TEST(Rubbish, TextIsRefused)
{
    End worker(LINK_WORKER);
    (void)worker.output();
    EXPECT_FALSE(worker.receive(frame(0x81, 5, "hello")));
    EXPECT_STREQ(link_error(worker.link), "the other side sent text");
    EXPECT_FALSE(worker.output().empty()) << "it says why it leaves";
}

TEST(Rubbish, WhatIsNoHttp2EndsTheLink)
{
    End worker(LINK_WORKER);
    EXPECT_FALSE(worker.receive(frame(0x82, 50, std::string(50, 'x'))));
    EXPECT_NE(std::string(link_error(worker.link)), "");
    EXPECT_FALSE(worker.output().empty());
}

TEST(Rubbish, AnAnswerThatIsNoHttp2EndsTheLinkToo)
{
    End gateway(LINK_GATEWAY);
    (void)gateway.output();
    (void)gateway.receive("\x82\x89" + std::string(4, '\0') + "123456789");
    EXPECT_FALSE(gateway.output().empty());
    EXPECT_STREQ(link_error(gateway.link), "the other side does not speak HTTP/2 as it should");
}

TEST(Rubbish, AMaskedFrameOfAServerOrAnUnmaskedOneOfAWorkerIsRefused)
{
    End worker(LINK_WORKER), gateway(LINK_GATEWAY);
    EXPECT_FALSE(worker.receive(std::string("\x82\x81\x00\x00\x00\x00x", 7)));
    EXPECT_FALSE(gateway.receive(frame(0x82, 1, "x")));
}

TEST(Rubbish, FragmentsAreOneMessageAndOthersAreNone)
{
    End worker(LINK_WORKER), other(LINK_WORKER);
    const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + std::string("\0\0\0\4\0\0\0\0\0", 9);
    EXPECT_TRUE(worker.receive(frame(0x02, 10, preface.substr(0, 10))));
    EXPECT_TRUE(worker.receive(frame(0x89, 4, "ping"))); // between them
    EXPECT_TRUE(worker.receive(frame(0x80, preface.size() - 10, preface.substr(10))));
    EXPECT_TRUE(worker.receive(frame(0x82, 0, "")));
    EXPECT_FALSE(worker.receive(frame(0x80, 0, ""))) << "there is nothing that it continues";
    EXPECT_TRUE(other.receive(frame(0x02, 10, preface.substr(0, 10))));
    EXPECT_FALSE(other.receive(frame(0x82, 1, "x"))) << "the first one has no end yet";
}

TEST(Rubbish, FramesOfOtherKindsAndLengthsEndTheLink)
{
    for (const std::string &wrong :
         {frame(0x83, 0, ""), frame(0xC2, 0, ""), frame(0xA2, 0, ""), frame(0x92, 0, ""), frame(0x82, 1ULL << 63, ""),
          frame(0x09, 1, "x"), frame(0x89, 126, ""), frame(0x8B, 0, "")}) {
        End worker(LINK_WORKER);
        EXPECT_FALSE(worker.receive(wrong)) << testing::PrintToString(wrong);
    }
    End worker(LINK_WORKER);
    EXPECT_TRUE(worker.receive(frame(0x82, INT64_MAX, ""))) << "frames may be long: they are not kept";
}

TEST(Rubbish, AfterTheEndNothingIsTaken)
{
    End worker(LINK_WORKER);
    EXPECT_FALSE(worker.receive(frame(0x81, 1, "x")));
    EXPECT_FALSE(link_receive(worker.link, "x", 1));
}

} // namespace
