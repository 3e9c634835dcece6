// The contract of store.h, held against every store, with an error injected at every step
// beneath; then what is SQLite's own: files that are damaged, foreign or locked, and the loss
// of power.

#include "tests/unit/registry/fault.h"
#include "tests/unit/registry/fault_vfs.h"
#include "tests/unit/registry/redis_server.h"

#include <gtest/gtest.h>

#include <sqlite3.h>
#include <zlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

extern "C" {
#include "common/random.h"
#include "services/registry/store_memory.h"
#include "services/registry/store_redis.h"
#include "services/registry/store_sqlite.h"
#include "services/registry/store_sqlite_log.h"
}

namespace
{

namespace fs = std::filesystem;

std::string make_directory()
{
    const char *base = getenv("TEST_TMPDIR");
    std::string path = std::string(base != nullptr ? base : "/tmp") + "/store-XXXXXX";
    EXPECT_NE(mkdtemp(path.data()), nullptr);
    return path;
}

struct Contents {
    std::map<std::string, std::string> rows;
    uint64_t ceiling = 0, floor = 0;
};

bool operator==(const Contents &a, const Contents &b)
{
    return a.rows == b.rows && a.ceiling == b.ceiling && a.floor == b.floor;
}

using Change = std::pair<std::string, const std::string *>; // nullptr: a removal

enum store_result commit(struct store *store, const std::vector<Change> &changes, uint64_t ceiling, uint64_t floor,
                         std::string *text = nullptr)
{
    /* As the registry does: each id has a row number of its own. */
    static std::map<std::string, uint64_t> rows;
    std::vector<struct store_change> list;
    for (const auto &[id, value] : changes)
        list.push_back({rows.emplace(id, rows.size() + 1).first->second, id.data(), id.size(),
                        value == nullptr ? nullptr : value->data(), value == nullptr ? 0 : value->size()});
    struct store_batch batch = {list.data(), list.size(), {ceiling, floor}};
    struct store_error error = {""};
    enum store_result result = store_commit(store, &batch, &error);
    EXPECT_EQ(result == STORE_OK, error.text[0] == '\0') << error.text;
    if (text != nullptr)
        *text = error.text;
    return result;
}

enum store_result load(struct store *store, Contents *contents, std::string *text = nullptr)
{
    struct Visit {
        Contents *contents;
        std::set<uint64_t> rows;
    } visit = {contents, {}};
    struct store_meta meta = {};
    struct store_error error = {""};
    contents->rows.clear();
    enum store_result result = store_load(
        store, &meta,
        [](void *argument, uint64_t row, const char *id, size_t id_bytes, const void *value, size_t value_bytes,
           struct store_error *) {
            Visit *v = static_cast<Visit *>(argument);
            std::string key(id, id_bytes);
            EXPECT_TRUE(row == 0 || v->rows.insert(row).second) << "each has a row of its own";
            EXPECT_EQ(v->contents->rows.count(key), 0u);
            v->contents->rows[key] = std::string(static_cast<const char *>(value), value_bytes);
            return true;
        },
        &visit, &error);
    EXPECT_EQ(result == STORE_OK, error.text[0] == '\0') << error.text;
    contents->ceiling = meta.revision_ceiling;
    contents->floor = meta.incarnation_floor;
    if (text != nullptr)
        *text = error.text;
    return result;
}

// --- The suite ---

// A kind of store: opens one that keeps what an earlier one kept, if it is of that kind.
struct Kind {
    virtual ~Kind() = default;
    virtual struct store *open(std::string *text) = 0;
    virtual Fault &fault() = 0;
    virtual bool survives_closing() = 0;
};

struct MemoryKind : Kind {
    struct store *open(std::string *) override
    {
        return store_memory_open([](void *argument) { return !static_cast<MemoryKind *>(argument)->own.step(); }, this);
    }
    Fault &fault() override
    {
        return own;
    }
    bool survives_closing() override
    {
        return false;
    }
    Fault own;
};

struct SqliteKind : Kind {
    explicit SqliteKind(bool full) : directory(make_directory())
    {
        fault_vfs() = FaultDisk();
        fault_vfs().full = full;
    }
    ~SqliteKind() override
    {
        fs::remove_all(directory);
    }
    struct store *open(std::string *text) override
    {
        enum store_result result = STORE_OK;
        struct store_error error = {""};
        struct store *store = store_sqlite_open(directory.c_str(), "fault", &result, &error);
        EXPECT_EQ(store == nullptr, result != STORE_OK);
        EXPECT_EQ(store == nullptr, error.text[0] != '\0');
        *text = error.text;
        return store;
    }
    Fault &fault() override
    {
        return fault_vfs().fault;
    }
    bool survives_closing() override
    {
        return true;
    }
    std::string directory;
};

// One server for all tests, emptied before each.
struct RedisKind : Kind {
    static RedisServer &server()
    {
        static RedisServer one;
        return one;
    }
    RedisKind()
    {
        server().command("FLUSHALL");
    }
    struct store *open(std::string *text) override
    {
        enum store_result result = STORE_OK;
        struct store_error error = {""};
        struct store_redis_options options = {};
        options.host = "127.0.0.1";
        options.port = server().port;
        options.user = options.password = "";
        options.prefix = "test";
        options.allowed = [](void *argument) { return !static_cast<RedisKind *>(argument)->own.step(); };
        options.argument = this;
        struct store *store = store_redis_open(&options, &result, &error);
        EXPECT_EQ(store == nullptr, result != STORE_OK);
        EXPECT_EQ(store == nullptr, error.text[0] != '\0') << error.text;
        *text = error.text;
        return store;
    }
    Fault &fault() override
    {
        return own;
    }
    bool survives_closing() override
    {
        return true;
    }
    Fault own;
};

class StoreSuite : public testing::TestWithParam<const char *>
{
  protected:
    static std::unique_ptr<Kind> make()
    {
        std::string name = GetParam();
        if (name == "memory")
            return std::make_unique<MemoryKind>();
        if (name == "redis")
            return std::make_unique<RedisKind>();
        return std::make_unique<SqliteKind>(name == "sqlite_full");
    }

    void SetUp() override
    {
        kind = make();
        store = kind->open(&text);
        ASSERT_NE(store, nullptr) << text;
    }

    void TearDown() override
    {
        store_close(store);
    }

    // Closes and opens again where that keeps anything.
    void reopen()
    {
        if (!kind->survives_closing())
            return;
        store_close(store);
        store = kind->open(&text);
        ASSERT_NE(store, nullptr) << text;
    }

    void expect(const Contents &expected)
    {
        Contents found;
        ASSERT_EQ(load(store, &found), STORE_OK);
        EXPECT_TRUE(found == expected);
    }

    std::unique_ptr<Kind> kind;
    struct store *store = nullptr;
    std::string text;
};

TEST_P(StoreSuite, IsEmptyAtFirst)
{
    expect({});
    reopen();
    expect({});
}

TEST_P(StoreSuite, KeepsPutsRemovalsAndNumbers)
{
    std::string a = "one", b = std::string("t\0wo", 4), c(300000, 'x');
    ASSERT_EQ(commit(store, {{"a", &a}, {"b", &b}, {"c", &c}}, 10, 1), STORE_OK);
    expect({{{"a", a}, {"b", b}, {"c", c}}, 10, 1});
    ASSERT_EQ(commit(store, {{"a", &b}, {"b", nullptr}, {"nobody", nullptr}}, 20, 2), STORE_OK);
    ASSERT_EQ(commit(store, {}, UINT64_MAX, UINT64_MAX - 1), STORE_OK);
    Contents expected = {{{"a", b}, {"c", c}}, UINT64_MAX, UINT64_MAX - 1};
    expect(expected);
    reopen();
    expect(expected);
}

TEST_P(StoreSuite, KeepsIdsExactly)
{
    std::string value = "v";
    Contents expected;
    for (const char *id : {"'; DROP TABLE worker; --", "\"", "%", "a", "A", "\xff\xfe", "日本", " "}) {
        ASSERT_EQ(commit(store, {{id, &value}}, 1, 0), STORE_OK);
        expected.rows[id] = value;
    }
    expected.ceiling = 1;
    reopen();
    expect(expected);
}

TEST_P(StoreSuite, ItsSecretIsKeptAndIsNobodyElses)
{
    uint8_t first[STORE_SECRET_BYTES] = {}, again[STORE_SECRET_BYTES] = {};
    struct store_error error = {""};
    ASSERT_EQ(store_secret(store, first, &error), STORE_OK) << error.text;
    EXPECT_NE(memcmp(first, again, sizeof first), 0);
    ASSERT_EQ(store_secret(store, again, &error), STORE_OK);
    EXPECT_EQ(memcmp(first, again, sizeof first), 0);
    std::string value = "v";
    ASSERT_EQ(commit(store, {{"w", &value}}, 7, 1), STORE_OK);
    reopen();
    ASSERT_EQ(store_secret(store, again, &error), STORE_OK);
    EXPECT_EQ(memcmp(first, again, sizeof first), 0);
    expect({{{"w", value}}, 7, 1});
}

TEST_P(StoreSuite, AnErrorAtAnyStepOfTheSecretIsTold)
{
    bool hit = true;
    for (long n = 1; hit; n++) {
        TearDown();
        SetUp(); /* a store that has none yet */
        uint8_t secret[STORE_SECRET_BYTES], kept[STORE_SECRET_BYTES];
        struct store_error error = {""};
        kind->fault().arm(n);
        enum store_result result = store_secret(store, secret, &error);
        hit = kind->fault().hits > 0;
        kind->fault().arm(0);
        EXPECT_TRUE(result == STORE_OK || error.text[0] != '\0');
        if (result != STORE_OK) {
            ASSERT_EQ(store_secret(store, secret, &error), STORE_OK) << error.text;
        }
        reopen();
        ASSERT_EQ(store_secret(store, kept, &error), STORE_OK) << error.text;
        EXPECT_EQ(memcmp(secret, kept, sizeof kept), 0) << "what was given is what is kept";
    }
}

TEST_P(StoreSuite, AVisitorCanStopTheLoading)
{
    std::string value = "v";
    ASSERT_EQ(commit(store, {{"a", &value}, {"b", &value}}, 1, 0), STORE_OK);
    struct store_meta meta;
    struct store_error error = {""};
    auto refuse = [](void *, uint64_t, const char *, size_t, const void *, size_t, struct store_error *reason) {
        snprintf(reason->text, sizeof(reason->text), "no good");
        return false;
    };
    EXPECT_EQ(store_load(store, &meta, refuse, nullptr, &error), STORE_UNUSABLE);
    EXPECT_NE(std::string(error.text).find("no good"), std::string::npos) << error.text;
    ASSERT_EQ(commit(store, {{"a", nullptr}}, 1, 0), STORE_OK);
}

TEST_P(StoreSuite, RandomBatchesGiveWhatTheModelGives)
{
    struct random random;
    random_seed(&random, 11);
    Contents model;
    for (int round = 0; round < 60; round++) {
        std::map<std::string, std::unique_ptr<std::string>> batch;
        for (uint64_t i = random_below(&random, 20); i > 0; i--) {
            std::string id = "w" + std::to_string(random_below(&random, 50));
            batch[id] = random_below(&random, 3) == 0
                            ? nullptr
                            : std::make_unique<std::string>(1 + random_below(&random, 3000),
                                                            static_cast<char>('a' + round % 26));
        }
        std::vector<Change> changes;
        for (const auto &[id, value] : batch) {
            changes.push_back({id, value.get()});
            if (value == nullptr)
                model.rows.erase(id);
            else
                model.rows[id] = *value;
        }
        model.ceiling = static_cast<uint64_t>(round);
        ASSERT_EQ(commit(store, changes, model.ceiling, 0), STORE_OK);
        if (round % 10 == 0)
            reopen();
    }
    expect(model);
}

// The n-th step fails, for every n: each commit happens whole or not at all, says which, and
// what comes after works.
TEST_P(StoreSuite, AnErrorAtAnyStepOfACommitLosesNothing)
{
    std::string old_value(5000, 'o'), new_value(9000, 'n');
    long hits = 0;
    for (long n = 1;; n++) {
        store_close(store);
        kind.reset();
        kind = make();
        store = kind->open(&text);
        ASSERT_NE(store, nullptr);
        ASSERT_EQ(commit(store, {{"a", &old_value}, {"b", &old_value}, {"c", &old_value}}, 1, 0), STORE_OK);
        Contents model = {{{"a", old_value}, {"b", old_value}, {"c", old_value}}, 1, 0};

        kind->fault().arm(n);
        for (uint64_t round = 2; round <= 4; round++) {
            std::string id = "w" + std::to_string(round);
            std::string error;
            enum store_result result =
                commit(store, {{"a", &new_value}, {"b", nullptr}, {id, &old_value}}, round, round, &error);
            if (result == STORE_OK) {
                model.rows["a"] = new_value;
                model.rows.erase("b");
                model.rows[id] = old_value;
                model.ceiling = model.floor = round;
            } else {
                EXPECT_GT(error.size(), 10u);
                EXPECT_EQ(error.find('\n'), std::string::npos);
                expect(model);
            }
        }
        bool hit = kind->fault().hits > 0;
        hits += hit;
        kind->fault().arm(0);
        expect(model);
        ASSERT_EQ(commit(store, {{"z", &old_value}}, 9, 9), STORE_OK) << "usable after an error at step " << n;
        model.rows["z"] = old_value;
        model.ceiling = model.floor = 9;
        expect(model);
        reopen();
        expect(model);
        if (!hit)
            break;
    }
    EXPECT_GE(hits, 3);
}

TEST_P(StoreSuite, AnErrorAtAnyStepOfALoadIsTold)
{
    std::string value(50000, 'v');
    ASSERT_EQ(commit(store, {{"a", &value}, {"b", &value}}, 1, 1), STORE_OK);
    for (long n = 1;; n++) {
        reopen();
        kind->fault().arm(n);
        Contents contents;
        std::string error;
        enum store_result result = load(store, &contents, &error);
        bool hit = kind->fault().hits > 0;
        kind->fault().arm(0);
        if (hit && result != STORE_OK) {
            EXPECT_EQ(result, STORE_UNAVAILABLE) << error;
        }
        expect({{{"a", value}, {"b", value}}, 1, 1});
        if (!hit)
            break;
    }
}

TEST_P(StoreSuite, AnErrorAtAnyStepOfTheOpeningIsToldAndHarmsNothing)
{
    if (!kind->survives_closing())
        return;
    std::string value = "v";
    ASSERT_EQ(commit(store, {{"a", &value}}, 1, 1), STORE_OK);
    store_close(store);
    store = nullptr;
    long failures = 0;
    for (long n = 1;; n++) {
        kind->fault().arm(n);
        struct store *opened = kind->open(&text);
        bool hit = kind->fault().hits > 0;
        kind->fault().arm(0);
        failures += opened == nullptr;
        store_close(opened);
        store = kind->open(&text);
        ASSERT_NE(store, nullptr) << text;
        expect({{{"a", value}}, 1, 1});
        store_close(store);
        store = nullptr;
        if (!hit)
            break;
    }
    EXPECT_GE(failures, 3);
}

TEST_P(StoreSuite, ADiskThatStaysBrokenIsToldEachTimeAndThenWorksAgain)
{
    std::string value = "v";
    ASSERT_EQ(commit(store, {{"a", &value}}, 1, 1), STORE_OK);
    kind->fault().arm(1, 1000000);
    for (uint64_t i = 2; i < 6; i++)
        EXPECT_EQ(commit(store, {{"b", &value}}, i, i), STORE_UNAVAILABLE);
    kind->fault().arm(0);
    expect({{{"a", value}}, 1, 1});
    ASSERT_EQ(commit(store, {{"b", &value}}, 7, 7), STORE_OK);
    reopen();
    expect({{{"a", value}, {"b", value}}, 7, 7});
}

INSTANTIATE_TEST_SUITE_P(All, StoreSuite, testing::Values("memory", "sqlite", "sqlite_full", "redis"),
                         [](const auto &test) { return std::string(test.param); });

// --- SQLite's own ---

struct Sqlite : testing::Test {
    void SetUp() override
    {
        fault_vfs() = FaultDisk();
        directory = make_directory();
        file = directory + "/registry.sqlite3";
    }
    void TearDown() override
    {
        fs::remove_all(directory);
    }

    struct store *open(const char *vfs = nullptr)
    {
        struct store_error error = {""};
        struct store *store = store_sqlite_open(directory.c_str(), vfs, &result, &error);
        text = error.text;
        EXPECT_EQ(text.find('\n'), std::string::npos);
        return store;
    }

    void fill(int rows)
    {
        struct store *store = open();
        ASSERT_NE(store, nullptr) << text;
        std::string value(1000, 'v');
        std::vector<Change> changes;
        for (int i = 0; i < rows; i++)
            changes.push_back({"w" + std::to_string(10000 + i), &value});
        ASSERT_EQ(commit(store, changes, 1, 1), STORE_OK);
        store_close(store);
    }

    std::string bytes() const
    {
        std::ifstream in(file, std::ios::binary);
        std::ostringstream all;
        all << in.rdbuf();
        return all.str();
    }

    void write(const std::string &all) const
    {
        std::ofstream(file, std::ios::binary | std::ios::trunc) << all;
    }

    // Opens and loads; the file must be refused by one of the two, and stay as it is.
    void expect_unusable(const char *expected)
    {
        std::string before = bytes();
        struct store *store = open();
        if (store != nullptr) {
            Contents contents;
            EXPECT_EQ(load(store, &contents, &text), STORE_UNUSABLE) << text;
            store_close(store);
        } else {
            EXPECT_EQ(result, STORE_UNUSABLE) << text;
        }
        EXPECT_NE(text.find(expected), std::string::npos) << text;
        EXPECT_NE(text.find(file), std::string::npos) << text;
        EXPECT_TRUE(bytes() == before) << "the damaged file was changed";
    }

    std::string directory, file, text;
    enum store_result result = STORE_OK;
};

TEST_F(Sqlite, GarbageIsRefused)
{
    write(std::string(10000, 'x'));
    expect_unusable("not a SQLite database");
}

TEST_F(Sqlite, ATextFileIsRefused)
{
    write("hello\n");
    expect_unusable("not a SQLite database");
}

TEST_F(Sqlite, APageOverwrittenIsRefused)
{
    fill(500);
    std::string all = bytes();
    ASSERT_GT(all.size(), 100000u);
    all.replace(all.size() / 2 / 4096 * 4096, 4096, std::string(4096, '\xa5'));
    write(all);
    expect_unusable("damaged");
}

TEST_F(Sqlite, AFileCutShortIsRefused)
{
    fill(500);
    std::string all = bytes();
    write(all.substr(0, all.size() / 2 / 4096 * 4096));
    expect_unusable("damaged");
}

TEST_F(Sqlite, AnotherProgramsFileIsRefused)
{
    sqlite3 *database;
    ASSERT_EQ(sqlite3_open(file.c_str(), &database), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(database, "CREATE TABLE recipes(name)", nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(database);
    expect_unusable("belongs to another program");
}

TEST_F(Sqlite, ANewerVersionsFileIsRefused)
{
    fill(1);
    sqlite3 *database;
    ASSERT_EQ(sqlite3_open(file.c_str(), &database), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(database, "PRAGMA user_version = 3", nullptr, nullptr, nullptr), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(database, "PRAGMA wal_checkpoint(TRUNCATE)", nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(database);
    expect_unusable("another version of Muster (schema 3");
}

// A file as version 1 wrote it, byte for byte the same rows.
void write_version_1(const std::string &file, const Contents &contents)
{
    sqlite3 *database;
    sqlite3_stmt *put;
    ASSERT_EQ(sqlite3_open(file.c_str(), &database), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(database,
                           "PRAGMA journal_mode = WAL; BEGIN;"
                           "CREATE TABLE worker(id BLOB PRIMARY KEY, record BLOB NOT NULL, checksum INTEGER NOT NULL) "
                           "WITHOUT ROWID;"
                           "CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
                           "PRAGMA application_id = 1299412082; PRAGMA user_version = 1",
                           nullptr, nullptr, nullptr),
              SQLITE_OK);
    ASSERT_EQ(sqlite3_prepare_v2(database, "INSERT INTO worker VALUES(?, ?, ?)", -1, &put, nullptr), SQLITE_OK);
    for (const auto &[id, value] : contents.rows) {
        std::string both = id + value;
        uint32_t checksum = static_cast<uint32_t>(
            crc32(0, reinterpret_cast<const Bytef *>(both.data()), static_cast<uInt>(both.size())));
        sqlite3_bind_blob(put, 1, id.data(), static_cast<int>(id.size()), SQLITE_STATIC);
        sqlite3_bind_blob(put, 2, value.data(), static_cast<int>(value.size()), SQLITE_STATIC);
        sqlite3_bind_int64(put, 3, checksum);
        ASSERT_EQ(sqlite3_step(put), SQLITE_DONE);
        sqlite3_reset(put);
    }
    sqlite3_finalize(put);
    std::string numbers = "INSERT INTO meta VALUES('revision_ceiling', " + std::to_string(contents.ceiling) +
                          "), ('incarnation_floor', " + std::to_string(contents.floor) + "); COMMIT";
    ASSERT_EQ(sqlite3_exec(database, numbers.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(database);
}

Contents some_contents(int rows)
{
    Contents contents = {{}, 12345, 67};
    for (int i = 0; i < rows; i++)
        contents.rows["w" + std::to_string(i * 7919 % 1000)] = std::string(static_cast<size_t>(100 + i * 13), 'v');
    contents.rows["it's \"x\""] = std::string("\0\1", 2);
    return contents;
}

TEST_F(Sqlite, AFileOfVersion1IsBroughtUpWithNothingLost)
{
    Contents model = some_contents(200);
    write_version_1(file, model);
    for (int round = 0; round < 2; round++) {
        struct store *store = open();
        ASSERT_NE(store, nullptr) << text;
        Contents found;
        EXPECT_EQ(load(store, &found), STORE_OK);
        EXPECT_TRUE(found == model);
        store_close(store);
    }
}

TEST_F(Sqlite, AnErrorAtAnyStepOfBringingUpAFileHarmsNothing)
{
    Contents model = some_contents(8);
    long failures = 0;
    for (long n = 1;; n++) {
        fault_vfs() = FaultDisk();
        fs::remove_all(directory);
        directory = make_directory();
        file = directory + "/registry.sqlite3";
        write_version_1(file, model);
        fault_vfs().fault.arm(n);
        struct store *store = open("fault");
        bool hit = fault_vfs().fault.hits > 0;
        fault_vfs().fault.arm(0);
        failures += store == nullptr;
        store_close(store);
        store = open("fault");
        ASSERT_NE(store, nullptr) << text;
        Contents found;
        EXPECT_EQ(load(store, &found), STORE_OK) << text;
        EXPECT_TRUE(found == model) << "after an error at step " << n;
        store_close(store);
        if (!hit)
            break;
    }
    EXPECT_GE(failures, 3);
}

TEST_F(Sqlite, ADirectoryThatCannotBeMadeIsToldSo)
{
    directory += "/a/b";
    EXPECT_EQ(open(), nullptr);
    EXPECT_NE(text.find("cannot be made"), std::string::npos) << text;
    directory = directory.substr(0, directory.size() - 4);
}

TEST_F(Sqlite, AFileInTheDirectorysPlaceIsToldSo)
{
    std::string original = directory;
    directory += "/file";
    std::ofstream(directory) << "x";
    EXPECT_EQ(open(), nullptr);
    EXPECT_EQ(result, STORE_UNAVAILABLE);
    EXPECT_NE(text.find("cannot be opened"), std::string::npos) << text;
    directory = original;
}

TEST_F(Sqlite, ASecondOneOnTheSameDirectoryIsRefused)
{
    struct store *first = open();
    ASSERT_NE(first, nullptr) << text;
    EXPECT_EQ(open(), nullptr);
    EXPECT_EQ(result, STORE_UNAVAILABLE);
    EXPECT_NE(text.find("in use by another process"), std::string::npos) << text;
    store_close(first);
    struct store *again = open();
    EXPECT_NE(again, nullptr) << text;
    store_close(again);
}

TEST_F(Sqlite, TheDirectoryIsMade)
{
    directory += "/new";
    struct store *store = open();
    ASSERT_NE(store, nullptr) << text;
    store_close(store);
    EXPECT_TRUE(fs::exists(directory + "/registry.sqlite3"));
    fs::remove_all(directory);
    directory = directory.substr(0, directory.size() - 4);
}

// Whatever the order in which SQLite writes its log, what is read is what was written last in each place.
TEST_F(Sqlite, TheLogIsReadAsItWasWrittenAlsoWithGapsAndWritesBefore)
{
    struct sqlite_log_files files = {};
    ASSERT_TRUE(sqlite_log_files_begin(&files, nullptr));
    std::vector<int64_t> memory(static_cast<size_t>(files.vfs.szOsFile) / sizeof(int64_t) + 1);
    auto *log = reinterpret_cast<sqlite3_file *>(memory.data());
    std::ofstream(directory + "/a").put('a'); // SQLite gives a log the permissions of its database
    std::string name = directory + "/a-wal";
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_WAL;
    ASSERT_EQ(files.vfs.xOpen(&files.vfs, name.c_str(), log, flags, nullptr), SQLITE_OK);
    std::string expected(60, '\0');
    const struct {
        size_t offset, bytes;
    } writes[] = {{0, 10}, {10, 10}, {30, 10}, {40, 5}, {5, 10}, {15, 3}, {50, 10}};
    char letter = 'a';
    for (const auto &write : writes) {
        std::string data(write.bytes, letter++);
        expected.replace(write.offset, write.bytes, data);
        EXPECT_EQ(log->pMethods->xWrite(log, data.data(), static_cast<int>(write.bytes),
                                        static_cast<sqlite3_int64>(write.offset)),
                  SQLITE_OK);
    }
    sqlite3_int64 size = 0;
    EXPECT_EQ(log->pMethods->xFileSize(log, &size), SQLITE_OK);
    EXPECT_EQ(size, 60);
    std::string found(60, '?');
    EXPECT_EQ(log->pMethods->xRead(log, found.data(), 60, 0), SQLITE_OK);
    EXPECT_EQ(found, expected);
    EXPECT_EQ(log->pMethods->xClose(log), SQLITE_OK);
    sqlite_log_files_end(&files);
}

TEST_F(Sqlite, ACommitIsOneWriteAndOneSync)
{
    struct store *store = open("fault");
    ASSERT_NE(store, nullptr) << text;
    std::string value(1000, 'v');
    const long many = 1000000;
    for (int batch = 0; batch < 5; batch++) {
        std::vector<Change> changes;
        for (int i = 0; i < 60; i++)
            changes.push_back({"w" + std::to_string(batch * 60 + i), &value});
        fault_vfs().fault.arm(many);
        ASSERT_EQ(commit(store, changes, 1, 1), STORE_OK);
        long steps = many - fault_vfs().fault.steps_until;
        if (batch > 0) { // the first one begins the log, and reads
            EXPECT_EQ(steps, 2);
        }
    }
    // Beyond what is gathered at once.
    for (size_t bytes = 120000; bytes < 140000; bytes += 1000) {
        value.assign(bytes, 'w');
        ASSERT_EQ(commit(store, {{"large", &value}}, 1, 1), STORE_OK);
        Contents found;
        ASSERT_EQ(load(store, &found), STORE_OK) << text;
        EXPECT_TRUE(found.rows["large"] == value);
    }
    store_close(store);
}

// Everything that a commit confirmed is in what was synced: cut the power after each commit.
TEST_F(Sqlite, ALossOfPowerTakesNothingThatWasConfirmed)
{
    struct store *store = open("fault");
    ASSERT_NE(store, nullptr) << text;
    Contents model;
    std::string value(3000, 'v');
    for (uint64_t i = 1; i <= 30; i++) {
        std::string id = "w" + std::to_string(i % 7);
        const std::string *put = i % 3 == 0 ? nullptr : &value;
        ASSERT_EQ(commit(store, {{id, put}}, i, i), STORE_OK);
        if (put == nullptr)
            model.rows.erase(id);
        else
            model.rows[id] = value;
        model.ceiling = model.floor = i;

        std::string after = make_directory();
        fault_vfs_lose_power(directory, after);
        enum store_result opened;
        struct store_error error = {""};
        struct store *survivor = store_sqlite_open(after.c_str(), nullptr, &opened, &error);
        ASSERT_NE(survivor, nullptr) << error.text;
        Contents found;
        EXPECT_EQ(load(survivor, &found), STORE_OK);
        EXPECT_TRUE(found == model) << "after commit " << i;
        store_close(survivor);
        fs::remove_all(after);
    }
    store_close(store);
}

} // namespace
