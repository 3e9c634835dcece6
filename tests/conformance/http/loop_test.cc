// The loop: what it promises about order, memory and threads.

extern "C" {
#include "common/loop/loop.h"
}

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

class Loop : public testing::Test {
protected:
    void SetUp() override { loop_ = loop_create(); }
    void TearDown() override { loop_destroy(loop_); }
    struct loop *loop_;
};

struct Task {
    loop_task task; // first: the callback casts
    std::function<void()> work;
    explicit Task(std::function<void()> w) : task{run, nullptr}, work(std::move(w)) {}
    static void run(loop_task *t) { reinterpret_cast<Task *>(t)->work(); }
};

TEST_F(Loop, RunsPostsOfOneThreadInTheirOrder)
{
    std::vector<int> seen;
    std::vector<std::unique_ptr<Task>> tasks;
    for (int i = 0; i < 100; i++)
        tasks.push_back(std::make_unique<Task>([&seen, i] { seen.push_back(i); }));
    for (auto &task : tasks)
        loop_post(loop_, &task->task);
    loop_turn(loop_, 1000);
    ASSERT_EQ(seen.size(), 100u);
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(seen[static_cast<size_t>(i)], i);
}

TEST_F(Loop, RunsEveryPostOfManyThreadsOnce)
{
    std::atomic<int> ran{0};
    std::vector<std::unique_ptr<Task>> tasks;
    for (int i = 0; i < 4000; i++)
        tasks.push_back(std::make_unique<Task>([&, this] {
            if (++ran == 4000)
                loop_stop(loop_);
        }));
    std::vector<std::thread> threads;
    for (size_t t = 0; t < 4; t++)
        threads.emplace_back([&, t] {
            for (size_t i = 0; i < 1000; i++)
                loop_post(loop_, &tasks[t * 1000 + i]->task);
        });
    loop_run(loop_);
    for (auto &thread : threads)
        thread.join();
    EXPECT_EQ(ran, 4000);
}

TEST_F(Loop, APostedTaskMayPostItselfAndTheLoopStillTurns)
{
    int runs = 0;
    Task again([&] {
        if (++runs < 10)
            loop_post(loop_, &again.task);
    });
    loop_post(loop_, &again.task);
    for (int i = 0; i < 10; i++) {
        EXPECT_EQ(runs, i);
        loop_turn(loop_, 1000);
    }
    EXPECT_EQ(runs, 10);
}

TEST_F(Loop, AStopBeforeTheRunIsNotLost)
{
    loop_stop(loop_);
    loop_run(loop_);
}

// A socket pair; `ready` counts and runs what the test says.
struct Watched {
    loop_watch watch = LOOP_WATCH_INIT; // first: the callback casts
    int ends[2];
    std::function<void(uint32_t)> work;
    int calls = 0;
    Watched() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0); }
    ~Watched()
    {
        close(ends[0]);
        close(ends[1]);
    }
    static void ready(loop_watch *watch, uint32_t events)
    {
        auto *own = reinterpret_cast<Watched *>(watch);
        own->calls++;
        if (own->work)
            own->work(events);
    }
};

TEST_F(Loop, WhatIsUrgentGoesFirstHoweverMuchElseIsReady)
{
    std::vector<Watched> others(100);
    std::vector<char> order;
    Watched urgent;
    for (auto &other : others) {
        ASSERT_TRUE(loop_watch_add(loop_, &other.watch, other.ends[0], Watched::ready));
        other.work = [&](uint32_t) { order.push_back('o'); };
    }
    ASSERT_TRUE(loop_watch_add_urgent(loop_, &urgent.watch, urgent.ends[0], Watched::ready));
    urgent.work = [&](uint32_t) { order.push_back('u'); };
    while (order.size() < 101) // all are writable, which is their first event
        loop_turn(loop_, 1000);
    EXPECT_EQ(order.front(), 'u');
    order.clear();
    for (auto &other : others)
        ASSERT_EQ(write(other.ends[1], "x", 1), 1);
    loop_turn(loop_, 1000);
    EXPECT_GT(order.size(), 0u);
    EXPECT_LT(order.size(), 100u) << "a turn fetches only some";
    ASSERT_EQ(write(urgent.ends[1], "x", 1), 1);
    order.clear();
    while (std::count(order.begin(), order.end(), 'o') == 0)
        loop_turn(loop_, 1000);
    EXPECT_EQ(order.front(), 'u');
    for (auto &other : others)
        loop_watch_remove(loop_, &other.watch);
    loop_watch_remove(loop_, &urgent.watch);
}

TEST_F(Loop, AnUrgentEventEndsASleepAndNoneComesAfterRemoval)
{
    Watched urgent;
    ASSERT_TRUE(loop_watch_add_urgent(loop_, &urgent.watch, urgent.ends[0], Watched::ready));
    loop_turn(loop_, 0);
    EXPECT_EQ(urgent.calls, 1);
    std::thread writer([&] { EXPECT_EQ(write(urgent.ends[1], "x", 1), 1); });
    urgent.work = [&](uint32_t events) {
        EXPECT_NE(events & EPOLLIN, 0u);
        loop_stop(loop_);
    };
    loop_run(loop_); // would sleep for ever
    writer.join();
    EXPECT_EQ(urgent.calls, 2);
    loop_watch_remove(loop_, &urgent.watch);
    ASSERT_EQ(write(urgent.ends[1], "x", 1), 1);
    loop_turn(loop_, 0);
    loop_turn(loop_, 0);
    EXPECT_EQ(urgent.calls, 2);
}

TEST_F(Loop, TellsOfChangesOnly)
{
    Watched watched;
    ASSERT_TRUE(loop_watch_add(loop_, &watched.watch, watched.ends[0], Watched::ready));
    loop_turn(loop_, 0); // writable from the start
    int before = watched.calls;
    loop_turn(loop_, 0);
    EXPECT_EQ(watched.calls, before) << "nothing changed";
    ASSERT_EQ(write(watched.ends[1], "x", 1), 1);
    loop_turn(loop_, 0);
    EXPECT_EQ(watched.calls, before + 1);
    loop_turn(loop_, 0);
    EXPECT_EQ(watched.calls, before + 1) << "unread, but no news";
    loop_watch_remove(loop_, &watched.watch);
    loop_watch_remove(loop_, &watched.watch);
}

TEST_F(Loop, ARemovedWatchIsNotCalledEvenIfItsEventWasFetched)
{
    Watched first, second;
    ASSERT_TRUE(loop_watch_add(loop_, &first.watch, first.ends[0], Watched::ready));
    ASSERT_TRUE(loop_watch_add(loop_, &second.watch, second.ends[0], Watched::ready));
    // Both are ready in the same turn; whichever comes first removes the other.
    first.work = [&](uint32_t) { loop_watch_remove(loop_, &second.watch); };
    second.work = [&](uint32_t) { loop_watch_remove(loop_, &first.watch); };
    loop_turn(loop_, 0);
    EXPECT_EQ(first.calls + second.calls, 1);
    loop_watch_remove(loop_, &first.watch);
    loop_watch_remove(loop_, &second.watch);
}

struct Reaped {
    loop_reapable reapable; // first: freeing casts
    std::vector<int> *order;
    int number;
    static void free(loop_reapable *object)
    {
        auto *own = reinterpret_cast<Reaped *>(object);
        own->order->push_back(own->number);
        delete own;
    }
};

TEST_F(Loop, ReapsInOrderAfterHooksAtTheEndOfTheTurn)
{
    std::vector<int> order;
    struct Hook {
        loop_hook hook = {run, nullptr, false}; // first: the callback casts
        std::vector<int> *order;
        static void run(loop_hook *hook) { reinterpret_cast<Hook *>(hook)->order->push_back(0); }
    } hook;
    hook.order = &order;
    Task task([&] {
        loop_reap(loop_, &(new Reaped{{}, &order, 1})->reapable, Reaped::free);
        loop_reap(loop_, &(new Reaped{{}, &order, 2})->reapable, Reaped::free);
        loop_at_end_of_turn(loop_, &hook.hook);
        loop_at_end_of_turn(loop_, &hook.hook); // once is enough
        EXPECT_TRUE(order.empty());
    });
    loop_post(loop_, &task.task);
    loop_turn(loop_, 1000);
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
}

TEST_F(Loop, TimersComeInOrderAndCanBeStopped)
{
    std::vector<int> order;
    struct Timed {
        timer clock = {};
        std::vector<int> *order;
        int number;
    } timers[3];
    for (int i = 0; i < 3; i++) {
        timers[i].order = &order;
        timers[i].number = i;
    }
    auto expired = [](timer *, void *argument) {
        auto *own = static_cast<Timed *>(argument);
        own->order->push_back(own->number);
    };
    loop_timer_start(loop_, &timers[0].clock, 20, expired, &timers[0]);
    loop_timer_start(loop_, &timers[1].clock, 1, expired, &timers[1]);
    loop_timer_start(loop_, &timers[2].clock, 10, expired, &timers[2]);
    loop_timer_stop(loop_, &timers[2].clock);
    loop_timer_stop(loop_, &timers[2].clock);
    for (int i = 0; i < 1000 && order.size() < 2; i++)
        loop_turn(loop_, 1000);
    EXPECT_EQ(order, (std::vector<int>{1, 0}));
}

} // namespace
