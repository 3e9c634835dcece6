// The rings on disk: what is folded together, what an older round left, what a crash leaves.

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" {
#include "services/health/history/store.h"
}

namespace
{

constexpr int64_t noon = 1767614400; // an hour's begin

struct Row {
    std::string worker;
    double load;
    uint32_t samples = 1;
    uint8_t state = HISTORY_ONLINE;
};

struct Free {
    void operator()(void *memory) const
    {
        free(memory);
    }
};

// The rows' ids are borrowed.
std::unique_ptr<history_batch, Free> batch_of(int64_t time_seconds, const std::vector<Row> &rows)
{
    auto *batch = static_cast<history_batch *>(calloc(1, sizeof(history_batch) + rows.size() * sizeof(history_row)));
    batch->time_seconds = time_seconds;
    for (const Row &row : rows) {
        history_row &to = batch->rows[batch->count++];
        to.worker_id = row.worker.c_str();
        to.figures.heartbeats = 1;
        to.figures.samples = row.samples;
        to.figures.load_sum = to.figures.load_min = to.figures.load_max = to.figures.load_last = row.load;
        to.figures.requests = 2;
        to.figures.answered = 1;
        to.figures.latency_sum_us = 1500;
        to.figures.state = row.state;
        to.figures.worst = row.state;
    }
    return std::unique_ptr<history_batch, Free>(batch);
}

class Store : public ::testing::Test
{
  protected:
    Store()
    {
        folder = std::string(getenv("TEST_TMPDIR") ? getenv("TEST_TMPDIR") : "/tmp") + "/storeXXXXXX";
        EXPECT_NE(mkdtemp(folder.data()), nullptr);
        path = folder + "/history.sqlite3";
    }
    ~Store() override
    {
        history_store_close(store);
    }
    void open()
    {
        history_store_close(store);
        store = history_store_open(path.c_str(), note, error);
        ASSERT_NE(store, nullptr) << error;
    }
    void write(int64_t time_seconds, const std::vector<Row> &rows)
    {
        auto batch = batch_of(time_seconds, rows);
        ASSERT_TRUE(history_store_write(store, batch.get(), error)) << error;
    }
    std::vector<history_point> read(const std::string &worker, uint32_t step, int64_t now, int64_t since = 0,
                                    int64_t until = INT64_MAX)
    {
        sqlite3 *reader = history_store_open_reader(path.c_str(), nullptr, error);
        EXPECT_NE(reader, nullptr) << error;
        history_point *points = nullptr;
        size_t count = 0;
        EXPECT_TRUE(history_store_read(reader, worker.c_str(), history_step_find(step), since, until, now, &points,
                                       &count, error))
            << error;
        std::vector<history_point> all(points, points + count);
        free(points);
        sqlite3_close(reader);
        return all;
    }
    long long number(const std::string &sql)
    {
        sqlite3 *reader = history_store_open_reader(path.c_str(), nullptr, error);
        sqlite3_stmt *statement = nullptr;
        EXPECT_EQ(sqlite3_prepare_v2(reader, sql.c_str(), -1, &statement, nullptr), SQLITE_OK);
        EXPECT_EQ(sqlite3_step(statement), SQLITE_ROW);
        long long value = sqlite3_column_int64(statement, 0);
        sqlite3_finalize(statement);
        sqlite3_close(reader);
        return value;
    }
    std::string folder, path;
    history_store *store = nullptr;
    char note[HISTORY_ERROR_BYTES] = "", error[HISTORY_ERROR_BYTES] = "";
};

TEST_F(Store, FoldsTenSecondsIntoMinutesAndHours)
{
    open();
    for (int i = 0; i < 12; i++)
        write(noon + i * 10, {{"a", double(i)}});
    auto fine = read("a", 10, noon + 120);
    ASSERT_EQ(fine.size(), 12u);
    EXPECT_EQ(fine[3].time_seconds, noon + 30);
    EXPECT_DOUBLE_EQ(fine[3].figures.load_last, 3);

    auto minutes = read("a", 60, noon + 120);
    ASSERT_EQ(minutes.size(), 2u);
    EXPECT_EQ(minutes[1].time_seconds, noon + 60);
    EXPECT_EQ(minutes[1].figures.samples, 6u);
    EXPECT_DOUBLE_EQ(minutes[1].figures.load_sum, 6 + 7 + 8 + 9 + 10 + 11);
    EXPECT_DOUBLE_EQ(minutes[1].figures.load_min, 6);
    EXPECT_DOUBLE_EQ(minutes[1].figures.load_max, 11);
    EXPECT_DOUBLE_EQ(minutes[1].figures.load_last, 11);

    auto hours = read("a", 3600, noon + 120);
    ASSERT_EQ(hours.size(), 1u);
    EXPECT_EQ(hours[0].figures.requests, 24u);
    EXPECT_EQ(hours[0].figures.answered, 12u);
    EXPECT_EQ(hours[0].figures.latency_sum_us, 18000u);
}

TEST_F(Store, StepsWithoutASampleChangeNoLeastAndGreatest)
{
    open();
    write(noon, {{"a", 0.5}});
    write(noon + 10, {{"a", 0, 0}});
    write(noon + 20, {{"b", 0, 0}});
    write(noon + 30, {{"b", 0.5}});
    for (const char *worker : {"a", "b"}) {
        auto minutes = read(worker, 60, noon + 60);
        ASSERT_EQ(minutes.size(), 1u);
        EXPECT_EQ(minutes[0].figures.samples, 1u);
        EXPECT_DOUBLE_EQ(minutes[0].figures.load_min, 0.5);
        EXPECT_DOUBLE_EQ(minutes[0].figures.load_max, 0.5);
        EXPECT_DOUBLE_EQ(minutes[0].figures.load_last, 0.5);
    }
}

TEST_F(Store, TheWorstStateOfAMinuteIsThatOfItsSteps)
{
    open();
    write(noon, {{"a", 0, 1, HISTORY_OFFLINE}});
    write(noon + 10, {{"a", 0, 1, HISTORY_ONLINE}});
    auto minutes = read("a", 60, noon + 60);
    EXPECT_EQ(minutes.at(0).figures.state, HISTORY_ONLINE);
    EXPECT_EQ(minutes.at(0).figures.worst, HISTORY_OFFLINE);
}

TEST_F(Store, TheRingReachesBackSoFarAndNoFurther)
{
    open();
    for (int64_t i = 0; i <= 361; i++)
        write(noon + i * 10, {{"a", double(i)}});
    auto points = read("a", 10, noon + 361 * 10);
    ASSERT_EQ(points.size(), 360u);
    EXPECT_EQ(points.front().time_seconds, noon + 20);
    EXPECT_EQ(points.back().time_seconds, noon + 3610);
    EXPECT_EQ(number("SELECT count(*) FROM bucket WHERE step = 10"), 360);
    EXPECT_EQ(number("SELECT count(*) FROM bucket WHERE step = 60"), 61);
    // A pause longer than the ring: what lies in the slots is of an earlier round.
    EXPECT_TRUE(read("a", 10, noon + 3610 + 3600).empty());
    EXPECT_EQ(read("a", 10, noon + 3610 + 3590).size(), 1u);
}

TEST_F(Store, ASlotThatIsWrittenAgainForgetsAllOfItsEarlierRound)
{
    open();
    write(noon, {{"a", 1}, {"b", 1}});
    write(noon + 3600, {{"a", 2}});
    EXPECT_EQ(number("SELECT count(*) FROM bucket WHERE step = 10"), 1);
    EXPECT_TRUE(read("b", 10, noon + 3600).empty());
    EXPECT_EQ(read("b", 60, noon + 3600).size(), 1u);
}

TEST_F(Store, AClockAheadSpoilsOnlyWhatItWroteOver)
{
    open();
    for (int i = 0; i < 30; i++)
        write(noon + i * 10, {{"a", 1}});
    write(noon + 86400 * 365, {{"a", 9}}); // a year ahead, for one step
    for (int i = 30; i < 60; i++)
        write(noon + i * 10, {{"a", 1}});
    auto points = read("a", 10, noon + 600);
    EXPECT_GE(points.size(), 59u);
    for (const history_point &point : points)
        EXPECT_DOUBLE_EQ(point.figures.load_max, 1);
    EXPECT_FALSE(read("a", 3600, noon + 600).empty());
}

TEST_F(Store, AClockThatGoesBackFoldsIntoWhatIsThere)
{
    open();
    write(noon + 10, {{"a", 1}});
    write(noon, {{"a", 2}});
    write(noon + 10, {{"a", 3}});
    auto points = read("a", 10, noon + 20);
    ASSERT_EQ(points.size(), 2u);
    EXPECT_EQ(points[1].figures.samples, 2u);
    EXPECT_DOUBLE_EQ(points[1].figures.load_sum, 4);
}

TEST_F(Store, OldNamesAreForgotten)
{
    open();
    write(noon, {{"old", 1}});
    write(noon + 3600 * 719, {{"new", 1}});
    EXPECT_EQ(number("SELECT count(*) FROM worker"), 2);
    write(noon + 3600 * 721, {{"new", 1}});
    EXPECT_EQ(number("SELECT count(*) FROM worker"), 1);
}

TEST_F(Store, ReadsATimeSpan)
{
    open();
    for (int i = 0; i < 10; i++)
        write(noon + i * 10, {{"a", 1}});
    EXPECT_EQ(read("a", 10, noon + 100, noon + 30, noon + 50).size(), 3u);
    EXPECT_TRUE(read("nobody", 10, noon + 100).empty());
}

TEST_F(Store, OddIdsAreKeptExactly)
{
    open();
    const std::string odd = "a'; DROP TABLE bucket; --\n\x01\"";
    write(noon, {{odd, 1}});
    EXPECT_EQ(read(odd, 10, noon).size(), 1u);
}

TEST_F(Store, IsThereAfterItWasClosed)
{
    open();
    write(noon, {{"a", 1}});
    open();
    write(noon + 10, {{"a", 1}});
    EXPECT_EQ(read("a", 10, noon + 10).size(), 2u);
    EXPECT_STREQ(note, "");
}

TEST_F(Store, AForeignOrDamagedFileIsPutAside)
{
    std::ofstream(path) << std::string(5000, 'x');
    open();
    EXPECT_NE(std::string(note).find(".damaged"), std::string::npos) << note;
    write(noon, {{"a", 1}});
    struct stat status;
    EXPECT_EQ(stat((path + ".damaged").c_str(), &status), 0);
    open();
    EXPECT_STREQ(note, "");
}

TEST_F(Store, IsUnmadeUntilItsTablesAreThere)
{
    std::string other = path + ".other";
    EXPECT_TRUE(history_store_is_unmade(other.c_str()));
    sqlite3 *making = nullptr;
    ASSERT_EQ(sqlite3_open(other.c_str(), &making), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(making, "PRAGMA journal_mode = WAL", nullptr, nullptr, nullptr), SQLITE_OK);
    EXPECT_TRUE(history_store_is_unmade(other.c_str()));
    ASSERT_TRUE(history_store_create_tables(making));
    EXPECT_FALSE(history_store_is_unmade(other.c_str()));
    EXPECT_EQ(sqlite3_close(making), SQLITE_OK);
}

TEST_F(Store, SaysWhyItCannotBeOpened)
{
    path = folder + "/missing/history.sqlite3";
    EXPECT_EQ(history_store_open(path.c_str(), note, error), nullptr);
    EXPECT_NE(std::string(error).find("make its directory writable"), std::string::npos) << error;
    EXPECT_EQ(history_store_open_reader(path.c_str(), nullptr, error), nullptr);
}

TEST_F(Store, AWriteThatFailsLeavesNothingHalf)
{
    open();
    write(noon, {{"a", 1}});
    sqlite3 *other = nullptr;
    ASSERT_EQ(sqlite3_open(path.c_str(), &other), SQLITE_OK);
    // Refuses the second worker of a batch.
    ASSERT_EQ(sqlite3_exec(other,
                           "CREATE TRIGGER refuse BEFORE INSERT ON worker WHEN new.id = 'c' BEGIN"
                           " SELECT raise(ABORT, 'no room'); END",
                           nullptr, nullptr, nullptr),
              SQLITE_OK);
    const std::vector<Row> rows = {{"b", 1}, {"c", 1}};
    auto batch = batch_of(noon + 10, rows);
    EXPECT_FALSE(history_store_write(store, batch.get(), error));
    EXPECT_NE(std::string(error).find("no room"), std::string::npos) << error;
    EXPECT_EQ(number("SELECT count(*) FROM worker"), 1);
    ASSERT_EQ(sqlite3_exec(other, "DROP TRIGGER refuse", nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(other);
    open();
    write(noon + 20, {{"c", 1}});
    EXPECT_EQ(read("c", 10, noon + 20).size(), 1u);
}

// A process that writes as fast as it can is killed; then every batch is there whole or not at
// all, in order, and those that it said were written are there.
TEST_F(Store, SurvivesAKillAtAnyMoment)
{
    const std::vector<Row> rows = {{"a", 1}, {"b", 2}, {"c", 3}};
    for (int round = 0; round < 10; round++) {
        int said[2];
        ASSERT_EQ(pipe(said), 0);
        pid_t child = fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            char why[HISTORY_ERROR_BYTES], aside[HISTORY_ERROR_BYTES];
            history_store *own = history_store_open(path.c_str(), aside, why);
            for (int i = 0; own != nullptr && i < 100000; i++) {
                auto batch = batch_of(noon + (round * 30 + i % 30) * 10, rows);
                if (!history_store_write(own, batch.get(), why) || ::write(said[1], "x", 1) != 1)
                    _exit(1);
            }
            _exit(2);
        }
        close(said[1]);
        char byte;
        for (int i = 0; i < 3 + round * 7; i++)
            ASSERT_EQ(::read(said[0], &byte, 1), 1);
        ::kill(child, SIGKILL);
        int written = 3 + round * 7;
        while (::read(said[0], &byte, 1) == 1)
            written++;
        close(said[0]);
        int status = 0;
        ASSERT_EQ(waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFSIGNALED(status));
        open();
        EXPECT_STREQ(note, "");
        EXPECT_EQ(number("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
        // Every batch has one sample for each of the three.
        EXPECT_EQ(number("SELECT count(DISTINCT n) FROM (SELECT sum(samples) AS n FROM bucket WHERE step = 10"
                         " GROUP BY worker)"),
                  1);
        auto points = read("a", 10, noon + 3000, noon + round * 300, noon + round * 300 + 299);
        uint64_t kept = 0;
        for (const history_point &point : points)
            kept += point.figures.samples;
        EXPECT_GE(kept, uint64_t(written));
        EXPECT_LE(kept, uint64_t(written) + 1);
        history_store_close(store);
        store = nullptr;
    }
}

} // namespace
