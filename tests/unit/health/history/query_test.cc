// Statements of operators: what they see, and everything that they must not be able to do.

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern "C" {
#include "services/health/history/query.h"
#include "services/health/history/store.h"
}

namespace
{

std::string text_of(const Muster__V1__QueryValue *value)
{
    switch (value->kind_case) {
    case MUSTER__V1__QUERY_VALUE__KIND_INTEGER:
        return std::to_string(value->integer);
    case MUSTER__V1__QUERY_VALUE__KIND_REAL:
        return std::to_string(value->real);
    case MUSTER__V1__QUERY_VALUE__KIND_TEXT:
        return value->text;
    case MUSTER__V1__QUERY_VALUE__KIND_BLOB:
        return "blob of " + std::to_string(value->blob.len);
    default:
        return "null";
    }
}

class Query : public ::testing::Test
{
  protected:
    Query()
    {
        folder = std::string(getenv("TEST_TMPDIR") ? getenv("TEST_TMPDIR") : "/tmp") + "/queryXXXXXX";
        EXPECT_NE(mkdtemp(folder.data()), nullptr);
        path = folder + "/history.sqlite3";
        fill_history();
        open(path.c_str());
        add("gpu-1", "gpu", 0.25, {"llm", "ocr"}, {"ocr", "mine"});
        add("cpu-'2", "cpu", 0.75, {"notes"}, {});
    }
    ~Query() override
    {
        query_close(query);
    }
    void open(const char *file)
    {
        query_close(query);
        query = query_open(file);
        ASSERT_NE(query, nullptr);
    }
    void fill_history()
    {
        char note[HISTORY_ERROR_BYTES], why[HISTORY_ERROR_BYTES];
        now = time(nullptr);
        now -= now % 10;
        history_store *store = history_store_open(path.c_str(), note, why);
        ASSERT_NE(store, nullptr) << why;
        auto *batch = static_cast<history_batch *>(calloc(1, sizeof(history_batch) + sizeof(history_row)));
        batch->count = 1;
        batch->time_seconds = now;
        history_figures figures = {};
        figures.heartbeats = 3;
        figures.samples = 2;
        figures.load_sum = 1;
        figures.load_min = 0.25;
        figures.load_max = figures.load_last = 0.75;
        figures.requests = 10;
        figures.failures = 1;
        figures.answered = 10;
        figures.latency_sum_us = 50000;
        figures.worst = HISTORY_OFFLINE;
        batch->rows[0] = {"gpu-1", figures};
        EXPECT_TRUE(history_store_write(store, batch, why)) << why;
        batch->time_seconds = now - 4000; // beyond the ring of 10 s
        EXPECT_TRUE(history_store_write(store, batch, why)) << why;
        free(batch);
        history_store_close(store);
    }
    void add(const char *id, const char *, double current, std::vector<const char *> assigned,
             std::vector<const char *> announced)
    {
        Muster__V1__Worker record = MUSTER__V1__WORKER__INIT;
        Muster__V1__WorkerSpec spec = MUSTER__V1__WORKER_SPEC__INIT;
        Muster__V1__Load load = MUSTER__V1__LOAD__INIT;
        load.current_load = current;
        spec.worker_id = const_cast<char *>(id);
        spec.tunnel_url = const_cast<char *>("http://w");
        std::vector<Muster__V1__AnnouncedService> services(announced.size());
        std::vector<Muster__V1__AnnouncedService *> pointers;
        for (size_t i = 0; i < announced.size(); i++) {
            muster__v1__announced_service__init(&services[i]);
            services[i].name = const_cast<char *>(announced[i]);
            services[i].url = const_cast<char *>("http://s");
            pointers.push_back(&services[i]);
        }
        spec.services = pointers.data();
        spec.n_services = pointers.size();
        record.spec = &spec;
        record.type = MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU;
        record.assigned_services = const_cast<char **>(assigned.data());
        record.n_assigned_services = assigned.size();
        record.incarnation = 3;
        query_worker worker = {&record, "online", "because", 1000, &load};
        ASSERT_TRUE(query_add_worker(query, &worker));
    }
    query_result run(const std::string &sql, uint32_t limit = 0, uint32_t timeout_ms = 0)
    {
        rows.clear();
        columns.clear();
        query_result result = query_run(query, sql.c_str(), limit, timeout_ms, &response, error);
        if (result != QUERY_OK)
            return result;
        for (size_t i = 0; i < response.n_columns; i++)
            columns.push_back(response.columns[i]);
        for (size_t i = 0; i < response.n_rows; i++) {
            std::string row;
            for (size_t j = 0; j < response.rows[i]->n_values; j++)
                row += (j > 0 ? "|" : "") + text_of(response.rows[i]->values[j]);
            rows.push_back(row);
        }
        EXPECT_LE(muster__v1__run_query_response__get_packed_size(&response), QUERY_ANSWER_BYTES_MAX + 65536u);
        return result;
    }
    std::string folder, path;
    time_t now = 0;
    struct query *query = nullptr;
    Muster__V1__RunQueryResponse response;
    std::vector<std::string> rows, columns;
    char error[QUERY_ERROR_BYTES] = "";
};

using Rows = std::vector<std::string>;

TEST_F(Query, SeesWorkers)
{
    ASSERT_EQ(run("SELECT worker_id, type, tier, status, status_reason, load, incarnation FROM workers ORDER BY 1"),
              QUERY_OK)
        << error;
    EXPECT_EQ(columns, (Rows{"worker_id", "type", "tier", "status", "status_reason", "load", "incarnation"}));
    EXPECT_EQ(rows, (Rows{"cpu-'2|gpu|1|online|because|0.750000|3", "gpu-1|gpu|1|online|because|0.250000|3"}));
}

TEST_F(Query, SeesServicesOnceEach)
{
    ASSERT_EQ(run("SELECT name, worker_id, assigned, announced, url FROM services ORDER BY 1"), QUERY_OK) << error;
    EXPECT_EQ(rows, (Rows{"llm|gpu-1|1|0|http://w", "mine|gpu-1|0|1|http://s", "notes|cpu-'2|1|0|http://w",
                          "ocr|gpu-1|1|1|http://s"}));
}

TEST_F(Query, SeesHistoryWithinItsRing)
{
    ASSERT_EQ(run("SELECT worker_id, metric, count, sum, mean, min, max, last, state, worst_state FROM history"
                  " WHERE step = 10 ORDER BY metric"),
              QUERY_OK)
        << error;
    EXPECT_EQ(rows, (Rows{"gpu-1|active_requests|2|0|0.000000|0|0|0|null|null",
                          "gpu-1|failures|null|1|null|null|null|null|null|null",
                          "gpu-1|heartbeats|null|3|null|null|null|null|null|null",
                          "gpu-1|latency_ms|10|50.000000|5.000000|null|null|null|null|null",
                          "gpu-1|load|2|1.000000|0.500000|0.250000|0.750000|0.750000|null|null",
                          "gpu-1|requests|null|10|null|null|null|null|null|null",
                          "gpu-1|state|null|null|null|null|null|null|online|offline",
                          "gpu-1|tasks_completed|null|0|null|null|null|null|null|null"}));
}

TEST_F(Query, ShowsTimesAsTextAndNumber)
{
    ASSERT_EQ(run("SELECT time_ms = strftime('%s', time) * 1000, time LIKE '____-__-__T__:__:__Z' FROM history"
                  " WHERE metric = 'load' AND step = 10"),
              QUERY_OK)
        << error;
    EXPECT_EQ(rows, (Rows{"1|1"}));
}

TEST_F(Query, JoinsAndAggregates)
{
    ASSERT_EQ(run("WITH busy AS (SELECT worker_id, max(max) AS peak FROM history WHERE metric = 'load' GROUP BY 1)"
                  " SELECT w.worker_id, peak, (SELECT count(*) FROM services s WHERE s.worker_id = w.worker_id),"
                  " row_number() OVER (ORDER BY w.worker_id) FROM workers w LEFT JOIN busy USING (worker_id)"
                  " ORDER BY 1 LIMIT 5"),
              QUERY_OK)
        << error;
    EXPECT_EQ(rows, (Rows{"cpu-'2|null|1|1", "gpu-1|0.750000|3|2"}));
}

TEST_F(Query, TellsKindsApart)
{
    ASSERT_EQ(run("SELECT 1, 1.5, 'x', x'0102', NULL"), QUERY_OK) << error;
    EXPECT_EQ(rows, (Rows{"1|1.500000|x|blob of 2|null"}));
}

// One of each way to do more than read.
class Forbidden : public Query, public ::testing::WithParamInterface<const char *>
{
};

TEST_P(Forbidden, IsRefusedAndChangesNothing)
{
    std::string before = [&] {
        std::ifstream file(path, std::ios::binary);
        return std::string(std::istreambuf_iterator<char>(file), {});
    }();
    query_result result = run(GetParam());
    EXPECT_TRUE(result == QUERY_FORBIDDEN || result == QUERY_BAD_SQL) << result;
    EXPECT_STRNE(error, "");
    std::ifstream file(path, std::ios::binary);
    EXPECT_EQ(before, std::string(std::istreambuf_iterator<char>(file), {}));
    struct stat status;
    EXPECT_NE(stat((folder + "/other.db").c_str(), &status), 0);
}

INSTANTIATE_TEST_SUITE_P(
    Statements, Forbidden,
    ::testing::Values(
        "INSERT INTO workers(worker_id) VALUES('x')", "UPDATE workers SET load = 1", "DELETE FROM workers",
        "INSERT INTO main.worker(id, seen) VALUES('x', 1)", "UPDATE bucket SET time = 0", "DELETE FROM bucket",
        "REPLACE INTO worker VALUES(1, 'x', 1)", "DROP TABLE bucket", "DROP VIEW history", "CREATE TABLE t(a)",
        "CREATE TEMP TABLE t(a)", "CREATE INDEX i ON bucket(time)", "CREATE VIEW v AS SELECT 1",
        "CREATE TEMP VIEW v AS SELECT 1", "CREATE TRIGGER t AFTER INSERT ON worker BEGIN SELECT 1; END",
        "CREATE VIRTUAL TABLE t USING fts5(a)", "ALTER TABLE worker RENAME TO w", "VACUUM", "VACUUM INTO 'other.db'",
        "ATTACH 'other.db' AS other", "ATTACH ':memory:' AS other", "DETACH temp", "PRAGMA query_only = 0",
        "PRAGMA journal_mode = DELETE", "PRAGMA writable_schema = 1", "PRAGMA database_list",
        "SELECT * FROM pragma_database_list", "SELECT * FROM pragma_table_info('worker')", "BEGIN", "COMMIT",
        "ROLLBACK", "SAVEPOINT s", "RELEASE s", "ANALYZE", "REINDEX", "EXPLAIN SELECT 1", "EXPLAIN QUERY PLAN SELECT 1",
        "SELECT load_extension('other')", "SELECT readfile('/etc/passwd')", "SELECT writefile('other.db', 'x')",
        "SELECT fts3_tokenizer('simple')", "SELECT * FROM sqlite_schema", "SELECT * FROM sqlite_temp_master",
        "SELECT * FROM main.worker", "SELECT * FROM bucket", "SELECT * FROM main.bucket", "SELECT * FROM sqlite_dbpage",
        "SELECT sqlite_version()", "SELECT randomblob(10)", "SELECT zeroblob(100000000)",
        "SELECT (SELECT id FROM worker)", "WITH t AS (SELECT * FROM bucket) SELECT * FROM t", "SELECT 1; SELECT 2",
        "SELECT 1; DELETE FROM workers", "WITH t AS (SELECT 1) DELETE FROM workers", "SELECT * FROM json_each('[1]')",
        "SELECT ?1", "VALUES(sqlite_source_id())", "SELECT * FROM workers WHERE worker_id MATCH 'x'"));

TEST_F(Query, CutsNoTextAtAZeroCharacter)
{
    EXPECT_EQ(run("SELECT 'a' || char(0) || 'b'"), QUERY_BAD_SQL);
    EXPECT_NE(std::string(error).find("hex()"), std::string::npos) << error;
    open(path.c_str());
    ASSERT_EQ(run("SELECT hex('a' || char(0) || 'b')"), QUERY_OK) << error;
    EXPECT_EQ(rows, (Rows{"610062"}));
}

TEST_F(Query, SaysWhereAStatementIsWrong)
{
    EXPECT_EQ(run("SELECT worker_id,\n  nonsense FROM workers"), QUERY_BAD_SQL);
    EXPECT_EQ(std::string(error), "line 2, column 3: no such column: nonsense");
    open(path.c_str());
    EXPECT_EQ(run("SELEC 1"), QUERY_BAD_SQL);
}

TEST_F(Query, WantsAStatement)
{
    for (const char *nothing : {"", "  ;; ", "-- nothing", "/* nothing */"}) {
        open(path.c_str());
        EXPECT_EQ(run(nothing), QUERY_BAD_SQL) << nothing;
    }
    open(path.c_str());
    EXPECT_EQ(run("SELECT 1;  \n"), QUERY_OK) << error;
}

TEST_F(Query, NamesTheTablesThereAre)
{
    EXPECT_EQ(run("SELECT * FROM main.worker"), QUERY_FORBIDDEN);
    EXPECT_NE(std::string(error).find("workers, services and history"), std::string::npos) << error;
}

const char *const counts_to[] = {"WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < ",
                                 ") SELECT i FROM n"};

std::string counting_to(int last)
{
    return counts_to[0] + std::to_string(last) + counts_to[1];
}

// An expression for so many x, at most 64,000.
std::string text_of(int length)
{
    std::string forty = "'" + std::string(40, 'x') + "'";
    return "substr(replace(replace(" + forty + ", 'x', " + forty + "), 'x', " + forty + "), 1, " +
           std::to_string(length) + ")";
}

TEST_F(Query, GivesAsManyRowsAsAreAskedForAndSaysIfThereAreMore)
{
    ASSERT_EQ(run(counting_to(10), 10), QUERY_OK) << error;
    EXPECT_EQ(rows.size(), 10u);
    EXPECT_FALSE(response.truncated);
    open(path.c_str());
    ASSERT_EQ(run(counting_to(11), 10), QUERY_OK) << error;
    EXPECT_EQ(rows.size(), 10u);
    EXPECT_TRUE(response.truncated);
    open(path.c_str());
    ASSERT_EQ(run(counting_to(QUERY_ROWS_DEFAULT + 1)), QUERY_OK) << error;
    EXPECT_EQ(rows.size(), size_t(QUERY_ROWS_DEFAULT));
    open(path.c_str());
    ASSERT_EQ(run(counting_to(QUERY_ROWS_MAX + 1), UINT32_MAX), QUERY_OK) << error;
    EXPECT_EQ(rows.size(), size_t(QUERY_ROWS_MAX));
    EXPECT_TRUE(response.truncated);
}

TEST_F(Query, GivesAsManyBytesAsAnAnswerHolds)
{
    ASSERT_EQ(run("WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 100)"
                  " SELECT (" +
                  text_of(60000) + ") FROM n"),
              QUERY_OK)
        << error;
    EXPECT_TRUE(response.truncated);
    EXPECT_GT(rows.size(), 20u);
    EXPECT_LT(rows.size(), 36u);
}

TEST_F(Query, MakesNoValueWithoutEnd)
{
    EXPECT_EQ(run("SELECT length(" + text_of(64000) + ")"), QUERY_OK) << error;
    open(path.c_str());
    EXPECT_EQ(run("SELECT length(" + text_of(64000) + " || " + text_of(64000) + ")"), QUERY_BAD_SQL);
    open(path.c_str());
    EXPECT_NE(run("WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
                  " SELECT length(group_concat('xxxxxxxxxx')) FROM n"),
              QUERY_OK);
}

// What takes long inside one function is not ended by the clock: it is not there, or short.
TEST_F(Query, NoFunctionTakesLongForOneValue)
{
    for (const char *statement : {"SELECT printf('%.*c', 2000000000, 'x')", "SELECT format('%2000000000d', 1)"}) {
        EXPECT_EQ(run(statement), QUERY_FORBIDDEN) << statement;
        open(path.c_str());
    }
    for (const char *name : {"trim", "ltrim", "rtrim"}) {
        EXPECT_EQ(run("SELECT " + std::string(name) + "('  x  ') = 'x', 1"), QUERY_OK) << error;
        open(path.c_str());
        EXPECT_EQ(run("SELECT " + std::string(name) + "(" + text_of(64000) + ", 'yx')"), QUERY_BAD_SQL);
        EXPECT_NE(std::string(error).find("one argument"), std::string::npos) << error;
        open(path.c_str());
    }
    std::string all;
    for (int i = 0; i < 300; i++)
        all += "%x";
    EXPECT_EQ(run("SELECT " + text_of(64000) + " LIKE '" + all + "y'"), QUERY_OK) << error;
}

TEST_F(Query, FillsNoDisk)
{
    // Each row is sorted with a text of its own, and there is no end of rows.
    std::string sorted = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n)"
                         " SELECT length(v) FROM (SELECT (" +
                         text_of(30000) + ") || i AS v FROM n ORDER BY v)";
    EXPECT_EQ(run(sorted, 0, QUERY_TIMEOUT_MS_MAX), QUERY_BAD_SQL) << error;
    EXPECT_NE(std::string(error).find("256 MB of temporary files"), std::string::npos) << error;
    open(path.c_str());
    std::string distinct = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n)"
                           " SELECT count(*) FROM (SELECT DISTINCT (" +
                           text_of(30000) + ") || i FROM n)";
    EXPECT_EQ(run(distinct, 0, QUERY_TIMEOUT_MS_MAX), QUERY_BAD_SQL) << error;
    EXPECT_NE(std::string(error).find("256 MB of temporary files"), std::string::npos) << error;
    // What is sorted within that is no matter.
    open(path.c_str());
    EXPECT_EQ(run("WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 1000)"
                  " SELECT length(v) FROM (SELECT (" +
                  text_of(30000) + ") || i AS v FROM n ORDER BY v)"),
              QUERY_OK)
        << error;
}

TEST_F(Query, EndsWhatNeverEnds)
{
    EXPECT_EQ(run("WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n", 0, 50),
              QUERY_TOO_SLOW);
    EXPECT_NE(std::string(error).find("timeout_ms"), std::string::npos) << error;
    open(path.c_str());
    EXPECT_EQ(run("SELECT count(*) FROM history a, history b, history c, history d, history e, history f, history g,"
                  " history h, history i, history j",
                  0, 50),
              QUERY_TOO_SLOW);
}

TEST_F(Query, CanBeCancelled)
{
    std::thread other([this] {
        usleep(20000);
        query_cancel(query);
    });
    EXPECT_EQ(run("WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n", 0, 30000),
              QUERY_TOO_SLOW);
    other.join();
}

TEST_F(Query, RefusesWhatIsTooDeepOrTooWide)
{
    std::string deep = "SELECT " + std::string(5000, '(') + "1" + std::string(5000, ')');
    EXPECT_EQ(run(deep), QUERY_BAD_SQL);
    std::string wide = "SELECT 1";
    for (int i = 1; i <= 100; i++)
        wide += ", " + std::to_string(i);
    open(path.c_str());
    EXPECT_EQ(run(wide), QUERY_BAD_SQL);
    std::string compound = "SELECT 1";
    for (int i = 1; i <= 100; i++)
        compound += " UNION SELECT " + std::to_string(i);
    open(path.c_str());
    EXPECT_EQ(run(compound), QUERY_BAD_SQL);
}

TEST_F(Query, WithoutAFileHistoryIsEmpty)
{
    open((folder + "/none").c_str());
    ASSERT_EQ(run("SELECT count(*) FROM history"), QUERY_OK) << error;
    EXPECT_EQ(rows, (Rows{"0"}));
    struct stat status;
    EXPECT_NE(stat((folder + "/none").c_str(), &status), 0) << "a reader must not make the file";
}

TEST(QueryWantsRoll, WhenTheTablesAreMentioned)
{
    EXPECT_TRUE(query_wants_roll("select * from WorKers"));
    EXPECT_TRUE(query_wants_roll("select * from \"services\""));
    EXPECT_FALSE(query_wants_roll("select * from history"));
}

} // namespace
