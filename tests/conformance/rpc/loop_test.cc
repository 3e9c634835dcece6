// The loop alone: posts, timers, hooks, stopping.

#include <atomic>
#include <thread>

#include "tests/conformance/rpc/world.h"

class Loop : public World
{
};

TEST_F(Loop, PostsOfManyThreadsAllComeAndInTheOrderOfEachThread)
{
    constexpr int threads = 4, posts = 5000;
    struct Post {
        std::vector<int> *seen;
        int thread, number;
    };
    std::vector<int> seen(threads, 0);
    std::vector<std::thread> posters;
    for (int thread = 0; thread < threads; thread++) {
        posters.emplace_back([&, thread] {
            for (int number = 0; number < posts; number++) {
                rpc_loop_post(
                    loop,
                    [](void *argument) {
                        std::unique_ptr<Post> post(static_cast<Post *>(argument));
                        EXPECT_EQ((*post->seen)[static_cast<size_t>(post->thread)]++, post->number);
                    },
                    new Post{&seen, thread, number});
            }
        });
    }
    EXPECT_TRUE(turn_until([&] { return seen == std::vector<int>(threads, posts); }));
    for (auto &poster : posters)
        poster.join();
}

TEST_F(Loop, APostInsideAPostRunsLater)
{
    struct Nest {
        rpc_loop *loop;
        int depth;
        bool inside;
    } nest = {loop, 0, false};
    auto function = [](void *argument) {
        auto *self = static_cast<Nest *>(argument);
        EXPECT_FALSE(self->inside);
        self->inside = true;
        self->depth++;
        if (self->depth == 1) {
            rpc_loop_post(
                self->loop,
                [](void *inner) {
                    EXPECT_FALSE(static_cast<Nest *>(inner)->inside);
                    static_cast<Nest *>(inner)->depth++;
                },
                self);
        }
        self->inside = false;
    };
    rpc_loop_post(loop, function, &nest);
    EXPECT_TRUE(turn_until([&] { return nest.depth == 2; }));
}

TEST_F(Loop, PostsOfAnArgumentAreForgottenAndOthersAreNot)
{
    struct Context {
        struct rpc_loop *loop;
        Context *other;
        int runs;
    } kept = {loop, nullptr, 0}, cancelled = {loop, nullptr, 0};
    kept.other = &cancelled;
    auto count = [](void *argument) { static_cast<Context *>(argument)->runs++; };
    rpc_loop_post(loop, count, &cancelled);
    rpc_loop_post(loop, count, &kept);
    rpc_loop_cancel_posts(loop, &cancelled);
    rpc_loop_turn(loop, 1000);
    EXPECT_EQ(kept.runs, 1);
    EXPECT_EQ(cancelled.runs, 0);
    // From within a post, those that are about to run, and those that wait for the next turn.
    rpc_loop_post(
        loop,
        [](void *argument) {
            auto *context = static_cast<Context *>(argument);
            auto again = [](void *of) { static_cast<Context *>(of)->runs++; };
            rpc_loop_post(context->loop, again, context->other);
            rpc_loop_cancel_posts(context->loop, context->other);
            rpc_loop_post(context->loop, again, context);
        },
        &kept);
    rpc_loop_post(loop, count, &cancelled);
    for (int i = 0; i < 100 && kept.runs < 2; i++)
        rpc_loop_turn(loop, 100);
    EXPECT_EQ(kept.runs, 2);
    EXPECT_EQ(cancelled.runs, 0);
}

TEST_F(Loop, StopEndsARunAlsoOneThatHasNotBegun)
{
    rpc_loop_stop(loop);
    rpc_loop_run(loop);
    std::thread stopper([&] { rpc_loop_stop(loop); });
    rpc_loop_run(loop);
    stopper.join();
}

TEST_F(Loop, TimersComeInTheirOrderAndStoppedOnesDoNot)
{
    std::vector<int> order;
    struct Fixed {
        timer base;
        std::vector<int> *order;
        int number;
    };
    auto expired = [](timer *, void *argument) {
        auto *self = static_cast<Fixed *>(argument);
        self->order->push_back(self->number);
    };
    Fixed timers[3] = {{{}, &order, 0}, {{}, &order, 1}, {{}, &order, 2}};
    rpc_loop_timer_start(loop, &timers[0].base, 30, expired, &timers[0]);
    rpc_loop_timer_start(loop, &timers[1].base, 5, expired, &timers[1]);
    rpc_loop_timer_start(loop, &timers[2].base, 10, expired, &timers[2]);
    rpc_loop_timer_stop(loop, &timers[2].base);
    EXPECT_TRUE(turn_until([&] { return order.size() == 2; }));
    EXPECT_EQ(order, (std::vector<int>{1, 0}));
}

struct Hook {
    rpc_turn_hook base = {};
    rpc_loop *loop = nullptr;
    int runs = 0;
    bool again = false;
    explicit Hook(rpc_loop *its_loop) : loop(its_loop)
    {
        base.argument = this;
        base.function = [](void *argument) {
            auto *self = static_cast<Hook *>(argument);
            self->runs++;
            if (self->again)
                rpc_loop_at_end_of_turn(self->loop, &self->base);
        };
    }
};

TEST_F(Loop, AHookRunsOnceForEachTimeItIsAskedFor)
{
    Hook hook(loop), cancelled(loop), other(loop);
    rpc_loop_at_end_of_turn(loop, &hook.base);
    rpc_loop_at_end_of_turn(loop, &hook.base);
    rpc_loop_at_end_of_turn(loop, &cancelled.base);
    rpc_loop_at_end_of_turn(loop, &other.base);
    rpc_loop_cancel_end_of_turn(loop, &cancelled.base);
    rpc_loop_turn(loop, UINT64_MAX); // must not wait
    rpc_loop_turn(loop, 0);
    EXPECT_EQ(hook.runs, 1);
    EXPECT_EQ(other.runs, 1);
    EXPECT_EQ(cancelled.runs, 0);
}

TEST_F(Loop, AHookThatAsksAgainRunsInTheNextTurn)
{
    Hook hook(loop), last(loop);
    hook.again = true;
    rpc_loop_at_end_of_turn(loop, &hook.base);
    rpc_loop_at_end_of_turn(loop, &last.base);
    rpc_loop_turn(loop, UINT64_MAX);
    EXPECT_EQ(hook.runs, 1);
    EXPECT_EQ(last.runs, 1);
    rpc_loop_turn(loop, UINT64_MAX);
    EXPECT_EQ(hook.runs, 2);
    EXPECT_EQ(last.runs, 1);
    rpc_loop_cancel_end_of_turn(loop, &hook.base);
}

TEST_F(Loop, WhatIsReadyTogetherIsHandledInOneTurnBeforeTheHook)
{
    Hook hook(loop);
    int calls = 0, most = 0;
    hook.base.function = [](void *argument) { static_cast<Hook *>(argument)->runs++; };
    unary.message = [&](rpc_call *call, const void *) {
        static_cast<void>(call);
        calls++;
        rpc_loop_at_end_of_turn(loop, &hook.base);
        reply_empty(call);
    };
    start();
    constexpr size_t count = 100;
    std::vector<Result> results(count);
    for (auto &result : results)
        call_unary(&result, nullptr);
    int before = 0, runs = 0;
    EXPECT_TRUE(turn_until([&] {
        if (hook.runs > runs) {
            most = std::max(most, calls - before);
            before = calls;
            runs = hook.runs;
        }
        return calls == static_cast<int>(count);
    }));
    EXPECT_GT(most, 1) << "calls that came together were not gathered";
    EXPECT_TRUE(turn_until([&] {
        for (auto &result : results)
            if (!result.ended)
                return false;
        return true;
    }));
}
