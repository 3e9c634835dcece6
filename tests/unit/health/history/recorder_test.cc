// The threads around the file: a disk that fails and comes back, and a queue that is bounded.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <string>

#include <sys/stat.h>
#include <unistd.h>

extern "C" {
#include "services/health/history/recorder.h"
#include "services/health/history/store.h"
}

namespace
{

history_batch *one_row(int64_t time_seconds)
{
    auto *batch = static_cast<history_batch *>(calloc(1, sizeof(history_batch) + sizeof(history_row)));
    batch->time_seconds = time_seconds;
    batch->count = 1;
    batch->rows[0].worker_id = "a";
    batch->rows[0].figures.heartbeats = 1;
    return batch;
}

class Recorder : public ::testing::Test
{
  protected:
    Recorder() : loop(rpc_loop_create())
    {
        folder = std::string(getenv("TEST_TMPDIR") ? getenv("TEST_TMPDIR") : "/tmp") + "/recorderXXXXXX";
        EXPECT_NE(mkdtemp(folder.data()), nullptr);
        path = folder + "/data/history.sqlite3";
        recorder = recorder_create(loop, path.c_str());
    }
    ~Recorder() override
    {
        recorder_destroy(recorder);
        rpc_loop_destroy(loop);
    }
    struct recorder_state state()
    {
        struct recorder_state now;
        recorder_get_state(recorder, &now);
        return now;
    }
    static bool eventually(const std::function<bool()> &yes)
    {
        for (int i = 0; i < 6000 && !yes(); i++)
            usleep(10000);
        return yes();
    }
    size_t kept()
    {
        char error[HISTORY_ERROR_BYTES];
        sqlite3 *reader = history_store_open_reader(path.c_str(), nullptr, error);
        history_point *points = nullptr;
        size_t count = 0;
        if (reader != nullptr &&
            history_store_read(reader, "a", history_step_find(10), 0, INT64_MAX, 1000, &points, &count, error))
            free(points);
        sqlite3_close(reader);
        return count;
    }
    std::string folder, path;
    struct rpc_loop *loop;
    struct recorder *recorder;
};

TEST_F(Recorder, DropsWhileTheDiskFailsAndRecovers)
{
    recorder_write(recorder, one_row(10)); // there is no folder to write to
    ASSERT_TRUE(eventually([&] { return state().dropped == 1; }));
    EXPECT_NE(std::string(state().failure).find("make its directory writable"), std::string::npos) << state().failure;
    ASSERT_EQ(mkdir((folder + "/data").c_str(), 0777), 0);
    recorder_write(recorder, one_row(20));
    ASSERT_TRUE(eventually([&] { return kept() == 1; }));
    ASSERT_TRUE(eventually([&] { return state().failure[0] == '\0'; }));
    EXPECT_EQ(state().dropped, 1u);
}

TEST_F(Recorder, WritesWhatWaitsWhenItEnds)
{
    ASSERT_EQ(mkdir((folder + "/data").c_str(), 0777), 0);
    for (int i = 1; i <= 5; i++)
        recorder_write(recorder, one_row(i * 10));
    recorder_destroy(recorder);
    recorder = nullptr;
    EXPECT_EQ(kept(), 5u);
}

TEST_F(Recorder, KeepsNoMoreWaitingThanItsQueueHolds)
{
    ASSERT_EQ(mkdir((folder + "/data").c_str(), 0777), 0);
    recorder_write(recorder, one_row(10));
    ASSERT_TRUE(eventually([&] { return kept() == 1; }));
    sqlite3 *other = nullptr; // holds the file's lock, so that the writer waits
    ASSERT_EQ(sqlite3_open(path.c_str(), &other), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
    for (int i = 2; i <= 20; i++)
        recorder_write(recorder, one_row(i * 10));
    // One may be with the writer; the queue is full behind it.
    EXPECT_GE(state().dropped, uint64_t(19 - HISTORY_QUEUE_MAX - 1));
    EXPECT_LE(state().dropped, uint64_t(19 - HISTORY_QUEUE_MAX));
    ASSERT_EQ(sqlite3_exec(other, "COMMIT", nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(other);
}

struct Task {
    recorder_task task = {}; // first
    int ran = 0, done = 0, dropped = 0;
};

TEST_F(Recorder, ALongTaskKeepsNoneOfTheOtherKindWaiting)
{
    struct Held {
        Task task;
        std::atomic<bool> go;
    } long_one = {};
    Task short_one, waiting;
    for (Task *task : {&long_one.task, &short_one, &waiting}) {
        task->task.run = [](recorder_task *self) { reinterpret_cast<Task *>(self)->ran++; };
        task->task.done = [](recorder_task *self) { reinterpret_cast<Task *>(self)->done++; };
        task->task.drop = [](recorder_task *self) { reinterpret_cast<Task *>(self)->dropped++; };
        task->task.kind = RECORDER_STATEMENT;
    }
    long_one.task.task.run = [](recorder_task *self) {
        while (!reinterpret_cast<Held *>(self)->go)
            usleep(1000);
    };
    short_one.task.kind = RECORDER_LOOKUP;
    recorder_run(recorder, &long_one.task.task);
    recorder_run(recorder, &waiting.task);
    recorder_run(recorder, &short_one.task);
    for (int i = 0; i < 600 && short_one.done == 0; i++)
        rpc_loop_turn(loop, 100);
    EXPECT_EQ(short_one.done, 1);
    EXPECT_EQ(long_one.task.done, 0);
    EXPECT_EQ(waiting.ran, 0);
    long_one.go = true;
    for (int i = 0; i < 600 && waiting.done == 0; i++)
        rpc_loop_turn(loop, 100);
    EXPECT_EQ(waiting.done, 1);
}

TEST_F(Recorder, RunsTasksOnItsThreadAndAnswersOnTheLoop)
{
    Task task;
    task.task.run = [](recorder_task *self) { reinterpret_cast<Task *>(self)->ran++; };
    task.task.done = [](recorder_task *self) { reinterpret_cast<Task *>(self)->done++; };
    task.task.drop = [](recorder_task *self) { reinterpret_cast<Task *>(self)->dropped++; };
    recorder_run(recorder, &task.task);
    for (int i = 0; i < 600 && task.done == 0; i++)
        rpc_loop_turn(loop, 100);
    EXPECT_EQ(task.ran, 1);
    EXPECT_EQ(task.done, 1);
    EXPECT_EQ(task.dropped, 0);
}

} // namespace
