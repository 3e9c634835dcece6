// A link whose streams are sockets, on one loop: both ends in this process, joined by memory.

extern "C" {
#include "common/link/streams.h"
}

#include <gtest/gtest.h>

#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace
{

struct End {
    struct link_streams *streams = nullptr;
    End *other = nullptr;
    std::string outgoing;
    std::vector<int> handed_out;
    bool takes = true; // the transport
    bool over = false;

    static bool send(void *context, const void *data, size_t bytes)
    {
        auto *end = static_cast<End *>(context);
        end->outgoing.append(static_cast<const char *>(data), bytes);
        return end->takes;
    }

    static void ended(void *context)
    {
        static_cast<End *>(context)->over = true;
    }

    static void came(void *context, int descriptor)
    {
        static_cast<End *>(context)->handed_out.push_back(descriptor);
    }
};

struct Sockets : testing::Test {
    Sockets()
    {
        static const struct link_streams_calls gateway_calls = {End::send, End::ended, nullptr};
        static const struct link_streams_calls worker_calls = {End::send, End::ended, End::came};
        loop = loop_create();
        gateway.streams = link_streams_create(loop, LINK_GATEWAY, &gateway_calls, &gateway);
        worker.streams = link_streams_create(loop, LINK_WORKER, &worker_calls, &worker);
        turn(5);
    }

    ~Sockets() override
    {
        link_streams_free(gateway.streams);
        link_streams_free(worker.streams);
        for (int descriptor : worker.handed_out)
            close(descriptor);
        loop_turn(loop, 0);
        loop_destroy(loop);
    }

    void turn(int turns)
    {
        for (int i = 0; i < turns; i++) {
            loop_turn(loop, 0);
            carry(gateway, worker);
            carry(worker, gateway);
        }
    }

    static void carry(End &from, End &to)
    {
        std::string data;
        data.swap(from.outgoing);
        if (!data.empty() && to.streams != nullptr)
            link_streams_receive(to.streams, data.data(), data.size());
    }

    // A connection: our end of it; the worker's is the last that was handed out.
    int connect()
    {
        int ends[2];
        EXPECT_TRUE(link_socket_pair(ends));
        link_streams_hand_in(gateway.streams, ends[1]);
        turn(5);
        return ends[0];
    }

    static std::string read_all(int descriptor, bool *end = nullptr)
    {
        std::string text;
        char piece[65536];
        ssize_t got;
        while ((got = recv(descriptor, piece, sizeof piece, 0)) > 0)
            text.append(piece, static_cast<size_t>(got));
        if (end != nullptr)
            *end = got == 0;
        return text;
    }

    struct loop *loop;
    End gateway, worker;
};

TEST_F(Sockets, CarryBothWaysAndEndBothWays)
{
    int near = connect();
    ASSERT_EQ(worker.handed_out.size(), 1u);
    int far = worker.handed_out[0];
    bool end;
    ASSERT_EQ(send(near, "question", 8, 0), 8);
    turn(5);
    EXPECT_EQ(read_all(far, &end), "question");
    EXPECT_FALSE(end);
    ASSERT_EQ(send(far, "answer", 6, 0), 6);
    ASSERT_EQ(shutdown(far, SHUT_WR), 0);
    turn(5);
    EXPECT_EQ(read_all(near, &end), "answer");
    EXPECT_TRUE(end);
    ASSERT_EQ(shutdown(near, SHUT_WR), 0);
    turn(5);
    (void)read_all(far, &end);
    EXPECT_TRUE(end);
    EXPECT_EQ(link_streams_count(gateway.streams), 0u);
    EXPECT_EQ(link_streams_count(worker.streams), 0u);
    close(near);
}

TEST_F(Sockets, AServerThatAnswersAndClosesIsHeardToTheEnd)
{
    int near = connect();
    const std::string answer(150000, 'x');
    ASSERT_EQ(send(near, "question that is not read", 25, 0), 25);
    ASSERT_EQ(send(worker.handed_out[0], answer.data(), answer.size(), 0), ssize_t(answer.size()));
    close(worker.handed_out[0]);
    worker.handed_out.clear();
    std::string got;
    bool end = false;
    for (int i = 0; i < 50 && !end; i++) {
        turn(2);
        got += read_all(near, &end);
    }
    EXPECT_EQ(got.size(), answer.size());
    EXPECT_TRUE(end);
    close(near);
}

TEST_F(Sockets, WhatIsLeftWhenBothSidesHaveEndedIsDelivered)
{
    int near = connect();
    const std::string answer(400000, 'x');
    size_t sent = 0, got = 0;
    bool end = false;
    ASSERT_EQ(shutdown(near, SHUT_WR), 0);
    while (sent < answer.size()) { // more than the sockets hold, and nobody reads
        ssize_t taken = send(worker.handed_out[0], answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);
        sent += taken > 0 ? static_cast<size_t>(taken) : 0;
        turn(1);
    }
    close(worker.handed_out[0]);
    worker.handed_out.clear();
    turn(10);
    EXPECT_EQ(link_streams_count(gateway.streams), 0u) << "the stream is over";
    for (int i = 0; i < 50 && !end; i++) {
        got += read_all(near, &end).size();
        turn(2);
    }
    EXPECT_EQ(got, answer.size());
    EXPECT_TRUE(end);
    close(near);
}

TEST_F(Sockets, ARequestThatIsBrokenOffIsBrokenOffAtTheWorker)
{
    int near = connect();
    bool end = false;
    close(near);
    turn(5);
    (void)read_all(worker.handed_out[0], &end);
    EXPECT_TRUE(end);
    EXPECT_LT(send(worker.handed_out[0], "x", 1, MSG_NOSIGNAL), 0) << "its socket is closed on both ways";
    EXPECT_EQ(link_streams_count(worker.streams), 0u);
}

TEST_F(Sockets, OneThatIsNotReadFillsUpAndTheOtherGoesOn)
{
    int stalled = connect(), near = connect();
    const std::string piece(65536, 'x');
    size_t taken = 0;
    for (int i = 0; i < 400; i++) {
        ssize_t sent = send(worker.handed_out[0], piece.data(), piece.size(), MSG_NOSIGNAL);
        taken += sent > 0 ? static_cast<size_t>(sent) : 0;
        turn(1);
    }
    EXPECT_GT(taken, size_t(LINK_WINDOW_BYTES));
    EXPECT_LT(taken, size_t(LINK_WINDOW_BYTES) + (4u << 20)) << "a window, and the sockets' own memory";
    size_t got = 0;
    for (int i = 0; i < 400; i++) {
        (void)send(worker.handed_out[1], piece.data(), piece.size(), MSG_NOSIGNAL);
        turn(1);
        got += read_all(near).size();
    }
    EXPECT_GT(got, size_t(10 * LINK_WINDOW_BYTES));
    size_t late = 0;
    for (int i = 0; i < 200; i++) {
        turn(1);
        late += read_all(stalled).size();
    }
    EXPECT_EQ(late, taken) << "nothing was lost meanwhile";
    close(stalled);
    close(near);
}

TEST_F(Sockets, ATransportThatTakesNoMoreIsLeftAlone)
{
    int near = connect();
    const std::string piece(65536, 'x');
    gateway.takes = false;
    ASSERT_EQ(send(near, piece.data(), piece.size(), 0), ssize_t(piece.size()));
    loop_turn(loop, 0);
    const size_t first = gateway.outgoing.size();
    ASSERT_GT(send(near, piece.data(), piece.size(), 0), 0);
    for (int i = 0; i < 5; i++)
        loop_turn(loop, 0);
    EXPECT_EQ(gateway.outgoing.size(), first);
    gateway.takes = true;
    link_streams_writable(gateway.streams);
    turn(10);
    EXPECT_EQ(read_all(worker.handed_out[0]).size(), 2 * piece.size());
    close(near);
}

TEST_F(Sockets, WhenTheLinkGoesSoDoTheConnections)
{
    int near = connect();
    bool end = false;
    link_streams_close(worker.streams, "enough");
    turn(5);
    EXPECT_TRUE(gateway.over && worker.over);
    link_streams_free(gateway.streams);
    gateway.streams = nullptr;
    (void)read_all(near, &end);
    EXPECT_TRUE(end);
    close(near);
}

TEST_F(Sockets, OneThatIsHandedInAfterTheEndIsClosed)
{
    int ends[2];
    bool end = false;
    link_streams_close(gateway.streams, "enough");
    turn(5);
    ASSERT_TRUE(link_socket_pair(ends));
    link_streams_hand_in(gateway.streams, ends[1]);
    (void)read_all(ends[0], &end);
    EXPECT_TRUE(end);
    close(ends[0]);
}

} // namespace
