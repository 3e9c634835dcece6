// The bookkeeping of heartbeats on their way to health.

extern "C" {
#include "gateway/heartbeats.h"
}

#include <gtest/gtest.h>

#include <deque>
#include <string>
#include <vector>

namespace
{

class Heartbeats : public ::testing::Test
{
  protected:
    void SetUp() override
    {
        heartbeats_init(&heartbeats);
    }
    void TearDown() override
    {
        heartbeats_lost(&heartbeats, note, this);
        heartbeats_free(&heartbeats);
        for (job &one : jobs)
            arena_free(&one.arena);
    }
    job *add()
    {
        job &one = jobs.emplace_back();
        arena_init(&one.arena, nullptr, 0);
        EXPECT_TRUE(heartbeats_add(&heartbeats, &one));
        return &one;
    }
    // Sends the next message; how many heartbeats it has, 0 when none is to be sent.
    size_t send(uint64_t now_ms = 0)
    {
        Muster__V1__Heartbeat *list[HEARTBEATS_MESSAGE_MAX];
        message = MUSTER__V1__HEARTBEAT_REQUEST__INIT;
        return heartbeats_next(&heartbeats, now_ms, &message, list) ? message.n_heartbeats : 0;
    }
    size_t acknowledge(uint64_t sequence, std::vector<Muster__V1__WorkerCommand *> commands = {})
    {
        Muster__V1__HeartbeatResponse response = MUSTER__V1__HEARTBEAT_RESPONSE__INIT;
        response.acknowledged_sequence = sequence;
        response.commands = commands.data();
        response.n_commands = commands.size();
        size_t before = done.size();
        heartbeats_answered(&heartbeats, &response, note, this);
        return done.size() - before;
    }
    static void note(void *context, job *one)
    {
        static_cast<Heartbeats *>(context)->done.push_back(one);
    }

    struct heartbeats heartbeats;
    std::deque<job> jobs;
    std::vector<job *> done;
    Muster__V1__HeartbeatRequest message;
};

TEST_F(Heartbeats, GatherWhileMessagesAreOnTheirWay)
{
    EXPECT_EQ(send(), 0u);
    add();
    EXPECT_EQ(send(), 1u);
    EXPECT_EQ(message.sequence, 1u);
    EXPECT_TRUE(message.relayed);
    add();
    add();
    EXPECT_EQ(send(), 2u);
    EXPECT_EQ(message.sequence, 2u);
    for (int i = 0; i < 5; i++)
        add();
    EXPECT_EQ(send(), 0u) << "two are on their way";
    EXPECT_EQ(acknowledge(1), 1u);
    EXPECT_EQ(send(), 5u);
    EXPECT_EQ(message.sequence, 3u);
    EXPECT_EQ(acknowledge(3), 7u) << "acknowledgements are cumulative";
    EXPECT_EQ(heartbeats.taken, 8u);
    EXPECT_EQ(heartbeats.messages, 3u);
}

TEST_F(Heartbeats, MessagesAreBounded)
{
    for (int i = 0; i < HEARTBEATS_MESSAGE_MAX + 1; i++)
        add();
    EXPECT_EQ(send(), (size_t)HEARTBEATS_MESSAGE_MAX);
    EXPECT_EQ(send(), 1u);
}

TEST_F(Heartbeats, CommandsFindTheirHeartbeat)
{
    job *first = add();
    job *second = add();
    job *third = add();
    send();
    Muster__V1__WorkerCommand again = MUSTER__V1__WORKER_COMMAND__INIT;
    again.sequence = 1;
    again.index = 1;
    again.type = MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_REGISTER_AGAIN;
    Muster__V1__WorkerCommand assignment = MUSTER__V1__WORKER_COMMAND__INIT;
    std::string name = "ocr";
    char *names[] = {name.data()};
    assignment.sequence = 1;
    assignment.index = 2;
    assignment.type = MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_ASSIGNMENT;
    assignment.assigned_services = names;
    assignment.n_assigned_services = 1;
    Muster__V1__WorkerCommand unasked = MUSTER__V1__WORKER_COMMAND__INIT; // sequence 0
    Muster__V1__WorkerCommand beyond = again;
    beyond.index = 99;
    EXPECT_EQ(acknowledge(0, {&unasked, &beyond, &again}), 0u) << "commands may come before the acknowledgement";
    EXPECT_EQ(acknowledge(1, {&assignment}), 3u);
    name = "gone";
    EXPECT_EQ(first->refusal, 0);
    EXPECT_EQ(second->refusal, MUSTER__V1__WORKER_COMMAND_TYPE__WORKER_COMMAND_TYPE_REGISTER_AGAIN);
    EXPECT_TRUE(third->has_assignment);
    ASSERT_EQ(third->assigned_service_count, 1u);
    EXPECT_STREQ(third->assigned_services[0], "ocr") << "copied";
}

TEST_F(Heartbeats, ALostStreamHandsAllBack)
{
    add();
    send();
    add();
    add();
    heartbeats_lost(&heartbeats, note, this);
    EXPECT_EQ(done.size(), 3u);
    EXPECT_EQ(heartbeats.waiting_count, 0u);
    EXPECT_EQ(heartbeats_oldest_ms(&heartbeats), UINT64_MAX);
    add();
    EXPECT_EQ(send(), 1u);
    EXPECT_EQ(message.sequence, 1u) << "a new stream counts anew";
}

TEST_F(Heartbeats, KnowsTheOldestWithoutAnswer)
{
    EXPECT_EQ(heartbeats_oldest_ms(&heartbeats), UINT64_MAX);
    add();
    send(100);
    add();
    send(200);
    EXPECT_EQ(heartbeats_oldest_ms(&heartbeats), 100u);
    acknowledge(1);
    EXPECT_EQ(heartbeats_oldest_ms(&heartbeats), 200u);
}

} // namespace
