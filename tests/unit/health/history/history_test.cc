// What is folded into a bucket, when a step ends, and who has a place.

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <set>
#include <string>

extern "C" {
#include "services/health/history/history.h"
}

namespace
{

constexpr auto online = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_ONLINE;
constexpr auto degraded = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_DEGRADED;
constexpr auto offline = MUSTER__V1__WORKER_STATUS__WORKER_STATUS_OFFLINE;

struct Free {
    void operator()(history_batch *batch) const
    {
        free(batch);
    }
};
using Batch = std::unique_ptr<history_batch, Free>;

class History : public ::testing::Test
{
  protected:
    explicit History(size_t limit = 3) : history(history_create(limit, start_ms)) {}
    ~History() override
    {
        history_destroy(history);
    }
    static Muster__V1__Load load(double current, uint32_t active, uint64_t tasks)
    {
        Muster__V1__Load load = MUSTER__V1__LOAD__INIT;
        load.current_load = current;
        load.active_requests = active;
        load.tasks_completed = tasks;
        return load;
    }
    void heard(uint32_t place, double current, uint32_t active = 0, uint64_t tasks = 0)
    {
        Muster__V1__Load what = load(current, active, tasks);
        history_heartbeat(history, place, &what);
    }
    Batch advance(int64_t unix_ms)
    {
        return Batch(history_advance(history, unix_ms));
    }
    static constexpr int64_t start_ms = 1767607205000; // 5 s into a step
    static constexpr int64_t start_step = 1767607200;
    struct history *history;
};

TEST_F(History, FoldsHeartbeats)
{
    uint32_t place = history_admit(history, "a", online);
    ASSERT_NE(place, 0u);
    heard(place, 0.5, 4, 10);
    heard(place, 0.25, 2, 12);
    heard(place, 0.75, 6, 15);
    history_heartbeat(history, place, nullptr); // without a load
    Batch batch = advance(start_ms + 5000);
    ASSERT_NE(batch, nullptr);
    EXPECT_EQ(batch->time_seconds, start_step);
    ASSERT_EQ(batch->count, 1u);
    EXPECT_STREQ(batch->rows[0].worker_id, "a");
    const history_figures &figures = batch->rows[0].figures;
    EXPECT_EQ(figures.heartbeats, 4u);
    EXPECT_EQ(figures.samples, 3u);
    EXPECT_DOUBLE_EQ(figures.load_sum, 1.5);
    EXPECT_DOUBLE_EQ(figures.load_min, 0.25);
    EXPECT_DOUBLE_EQ(figures.load_max, 0.75);
    EXPECT_DOUBLE_EQ(figures.load_last, 0.75);
    EXPECT_EQ(figures.active_sum, 12u);
    EXPECT_EQ(figures.active_min, 2u);
    EXPECT_EQ(figures.active_max, 6u);
    EXPECT_EQ(figures.active_last, 6u);
    EXPECT_EQ(figures.tasks_completed, 5u); // the first one is where counting starts
}

TEST_F(History, AStepEndsAtItsEndAndNotBefore)
{
    uint32_t place = history_admit(history, "a", online);
    heard(place, 1);
    EXPECT_EQ(history_step_ends_unix_ms(history), (start_step + 10) * 1000);
    EXPECT_EQ(advance((start_step + 10) * 1000 - 1), nullptr);
    EXPECT_NE(advance((start_step + 10) * 1000), nullptr);
    EXPECT_EQ(advance((start_step + 20) * 1000), nullptr); // nothing happened in it
}

TEST_F(History, ACounterThatWentDownCountsFromZero)
{
    uint32_t place = history_admit(history, "a", online);
    heard(place, 0, 0, 100);
    heard(place, 0, 0, 3);
    heard(place, 0, 0, 5);
    EXPECT_EQ(advance(start_ms + 10000)->rows[0].figures.tasks_completed, 5u);
    heard(place, 0, 0, 6);
    EXPECT_EQ(advance(start_ms + 20000)->rows[0].figures.tasks_completed, 1u);
}

TEST_F(History, OutcomesCountForTheirWorker)
{
    history_admit(history, "a", online);
    history_outcome outcome = {8, 1, 2, 3, 90000};
    history_requests(history, "a", &outcome);
    history_requests(history, "nobody", &outcome);
    Batch batch = advance(start_ms + 10000);
    ASSERT_EQ(batch->count, 1u);
    const history_figures &figures = batch->rows[0].figures;
    EXPECT_EQ(figures.requests, 14u);
    EXPECT_EQ(figures.failures, 6u);
    EXPECT_EQ(figures.answered, 9u);
    EXPECT_EQ(figures.latency_sum_us, 90000u);
    EXPECT_EQ(figures.samples, 0u);
}

TEST_F(History, TheWorstStateIsKeptAndTheLastCarriedOver)
{
    uint32_t place = history_admit(history, "a", online);
    history_state(history, place, offline);
    history_state(history, place, degraded);
    Batch batch = advance(start_ms + 10000);
    EXPECT_EQ(batch->rows[0].figures.state, HISTORY_DEGRADED);
    EXPECT_EQ(batch->rows[0].figures.worst, HISTORY_OFFLINE);
    history_state(history, place, online);
    batch = advance(start_ms + 20000);
    EXPECT_EQ(batch->rows[0].figures.state, HISTORY_ONLINE);
    EXPECT_EQ(batch->rows[0].figures.worst, HISTORY_DEGRADED);
    history_state(history, place, online); // no change: nothing to keep
    EXPECT_EQ(advance(start_ms + 30000), nullptr);
}

TEST_F(History, AClockThatJumpsEndsTheStepUnderItsOwnTime)
{
    uint32_t place = history_admit(history, "a", online);
    heard(place, 1);
    Batch batch = advance(start_ms - 86400000); // back
    ASSERT_NE(batch, nullptr);
    EXPECT_EQ(batch->time_seconds, start_step);
    heard(place, 1);
    batch = advance(start_ms + 86400000); // and ahead
    ASSERT_NE(batch, nullptr);
    EXPECT_EQ(batch->time_seconds, start_step - 86400);
}

TEST_F(History, TimesBeforeTheEpochHaveStepsAsWell)
{
    uint32_t place = history_admit(history, "a", online);
    EXPECT_EQ(advance(-1), nullptr);
    heard(place, 1);
    EXPECT_EQ(advance(0)->time_seconds, -10);
}

TEST_F(History, SoManyHavePlacesAndNoMore)
{
    uint32_t third = 0;
    for (const char *id : {"a", "b", "c"})
        EXPECT_NE(third = history_admit(history, id, online), 0u);
    EXPECT_FALSE(history_has_room(history));
    EXPECT_EQ(history_admit(history, "d", online), 0u);
    EXPECT_EQ(history_admit(history, "c", online), third); // again: its own
    EXPECT_TRUE(history_keeps(history, "c"));
    EXPECT_FALSE(history_keeps(history, "d"));
    EXPECT_EQ(history_count(history).kept, 3u);
    EXPECT_EQ(history_count(history).limit, 3u);
}

TEST_F(History, APlaceIsGivenBackAtTheEndOfTheHour)
{
    uint32_t place = history_admit(history, "a", online);
    history_admit(history, "b", online);
    history_admit(history, "c", online);
    history_gone(history, place);
    EXPECT_EQ(history_count(history).present, 2u);
    EXPECT_EQ(history_count(history).kept, 3u);
    int64_t next_hour_ms = (start_step / 3600 + 1) * 3600000;
    Batch batch = advance(next_hour_ms - 10000);
    EXPECT_EQ(batch->rows[0].figures.state, HISTORY_REMOVED);
    EXPECT_EQ(history_admit(history, "d", online), 0u);
    advance(next_hour_ms);
    EXPECT_EQ(history_count(history).kept, 2u);
    EXPECT_TRUE(history_has_room(history));
    EXPECT_EQ(history_admit(history, "d", online), place);
    EXPECT_EQ(history_admit(history, "a", online), 0u);
}

TEST_F(History, AWorkerThatComesBackWithinTheHourHasItsPlaceStill)
{
    uint32_t place = history_admit(history, "a", online);
    heard(place, 0, 0, 50);
    history_gone(history, place);
    EXPECT_FALSE(history_keeps(history, "a"));
    EXPECT_EQ(history_admit(history, "a", online), place);
    EXPECT_TRUE(history_keeps(history, "a"));
    heard(place, 0, 0, 70); // another process, maybe: its counter is its own
    EXPECT_EQ(advance(start_ms + 10000)->rows[0].figures.tasks_completed, 0u);
}

class ManyWorkers : public History
{
  protected:
    ManyWorkers() : History(5000) {}
};

TEST_F(ManyWorkers, AreAllKeptApart)
{
    for (int i = 0; i < 5000; i++)
        heard(history_admit(history, ("worker-" + std::to_string(i)).c_str(), online), i);
    Batch batch = advance(start_ms + 10000);
    ASSERT_EQ(batch->count, 5000u);
    for (size_t i = 0; i < batch->count; i++)
        EXPECT_EQ(batch->rows[i].worker_id, "worker-" + std::to_string(int(batch->rows[i].figures.load_last)));
}

// A fleet that is exchanged for another one takes all its places over.
TEST_F(ManyWorkers, MayAllBeOthersAfterAnHour)
{
    std::set<uint32_t> places, again;
    for (int i = 0; i < 5000; i++)
        places.insert(history_admit(history, ("worker-" + std::to_string(i)).c_str(), online));
    EXPECT_EQ(places.size(), 5000u);
    for (uint32_t place : places)
        history_gone(history, place);
    Batch batch = advance((start_step / 3600 + 1) * 3600000);
    EXPECT_EQ(history_count(history).kept, 0u);
    for (int i = 0; i < 5000; i++)
        again.insert(history_admit(history, ("other-" + std::to_string(i)).c_str(), online));
    EXPECT_EQ(again, places);
    EXPECT_EQ(history_admit(history, "one more", online), 0u);
}

TEST(HistoryRank, HasTexts)
{
    EXPECT_STREQ(history_rank_text(HISTORY_ONLINE), "online");
    EXPECT_STREQ(history_rank_text(HISTORY_REMOVED), "removed");
    EXPECT_STREQ(history_rank_text(HISTORY_RANK_COUNT), "");
}

} // namespace
