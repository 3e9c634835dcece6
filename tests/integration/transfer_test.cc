// `musterctl export` and `import`: the roll of one coordinator in another.

#include "tests/integration/coordinator.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace
{

const char musterctl[] = "services/ctl/musterctl";

struct Outcome {
    int code;
    std::string output, errors;
};

Outcome run(const std::vector<std::string> &arguments)
{
    Process process(musterctl, arguments);
    int code = process.wait();
    return {code, process.output(), process.errors()};
}

// HOST:PORT of the registry, as `musterctl processes` shows it.
std::string registry_address(Coordinator &coordinator)
{
    Json processes = Json::parse(run({"processes", "-o", "json", "--data-dir", coordinator.data_dir()}).output);
    return processes["processes"].find("name", "muster-registry")["address"].text();
}

// Where the database is below the data directory of `up`.
std::string database_directory(const std::string &directory)
{
    for (const auto &entry : std::filesystem::recursive_directory_iterator(directory))
        if (entry.path().filename() == "registry.sqlite3")
            return entry.path().parent_path();
    return "";
}

TEST(Transfer, TheRollOfOneCoordinatorGoesToAnother)
{
    Coordinator first({.flags = {}, .environment = {}}), second({.flags = {}, .environment = {}});
    ASSERT_TRUE(first.start()) << first.log();
    ASSERT_TRUE(second.start()) << second.log();
    for (int i = 0; i < 30; i++)
        ASSERT_EQ(first
                      .post("/api/worker/register",
                            R"({"tunnel_url": "http://127.0.0.1:9", "worker_type": "cpu", "location": "a \"b\"",)"
                            R"("capabilities": {"x": [1, "\u00e9"]}, "worker_id": "w)" +
                                std::to_string(i) + "\"}")
                      .status,
                  200);
    std::string file = temporary_folder() + "/roll.json";
    Outcome exported = run({"export", "--coordinator-url", first.url(), file});
    ASSERT_EQ(exported.code, 0) << exported.errors;
    EXPECT_FALSE(std::filesystem::exists(file + ".part"));

    Outcome imported = run({"import", "--coordinator-url", second.url(), file});
    EXPECT_EQ(imported.code, 0) << imported.errors;
    EXPECT_EQ(imported.output, "30 imported, 0 on the roll already, 0 refused\n");
    Outcome again = run({"import", "--coordinator-url", second.url(), file});
    EXPECT_EQ(again.code, 0) << again.errors;
    EXPECT_EQ(again.output, "0 imported, 30 on the roll already, 0 refused\n");
    Json worker = second.worker("w7");
    EXPECT_EQ(worker["location"].text(), "a \"b\"") << worker.dump();
    EXPECT_EQ(worker["capabilities"]["x"][1].text(), "\u00e9") << worker.dump();

    // Cut in the middle: what is whole is imported once, and the rest is told.
    std::string all = read_file(file), cut = temporary_folder() + "/cut.json";
    write_file(cut, all.substr(0, all.size() / 2));
    Outcome half = run({"import", "--coordinator-url", second.url(), cut});
    EXPECT_EQ(half.code, 1) << half.output;
    EXPECT_NE(half.errors.find("import again"), std::string::npos) << half.errors;
    EXPECT_EQ(second.get("/api/admin/stats").json()["total_workers"].integer(), 30);
    EXPECT_EQ(first.stop(), 0);
    EXPECT_EQ(second.stop(), 0);
}

TEST(Transfer, WhatIsWrongIsSaid)
{
    std::string file = temporary_folder() + "/roll.json";
    Outcome unreachable = run({"export", "--coordinator-url", "http://127.0.0.1:1", file});
    EXPECT_EQ(unreachable.code, 1);
    EXPECT_NE(unreachable.errors.find("cannot reach"), std::string::npos) << unreachable.errors;
    EXPECT_FALSE(std::filesystem::exists(file));
    EXPECT_FALSE(std::filesystem::exists(file + ".part"));
    EXPECT_EQ(run({"import", file}).code, 1) << "no such file";
    EXPECT_EQ(run({"import"}).code, 2);
    EXPECT_EQ(run({"export", "a", "b"}).code, 2);
}

TEST(Backup, IsMadeWhileItRunsAndPutBackWhileItDoesNot)
{
    Coordinator coordinator({.flags = {}, .environment = {}});
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    auto put = [&](const std::string &id) {
        return coordinator
            .post("/api/worker/register",
                  R"({"tunnel_url": "http://127.0.0.1:9", "worker_type": "cpu", "worker_id": ")" + id + "\"}")
            .status;
    };
    ASSERT_EQ(put("kept"), 200);
    std::string registry = registry_address(coordinator), file = temporary_folder() + "/roll.sqlite3";
    Outcome made = run({"backup", "--registry-address", registry, file});
    ASSERT_EQ(made.code, 0) << made.errors;
    EXPECT_FALSE(std::filesystem::exists(file + ".part"));
    ASSERT_EQ(put("later"), 200);

    std::string data = database_directory(coordinator.data_dir());
    Outcome running = run({"restore", "--data-dir", data, "--replace", file});
    EXPECT_EQ(running.code, 1);
    EXPECT_NE(running.errors.find("in use"), std::string::npos) << running.errors;
    EXPECT_FALSE(coordinator.worker("later").is_null());
    EXPECT_EQ(coordinator.stop(), 0);

    Outcome present = run({"restore", "--data-dir", data, file});
    EXPECT_EQ(present.code, 1);
    EXPECT_NE(present.errors.find("--replace"), std::string::npos) << present.errors;
    std::string garbage = temporary_folder() + "/garbage";
    write_file(garbage, std::string(10000, 'x'));
    EXPECT_EQ(run({"restore", "--data-dir", data, "--replace", garbage}).code, 1);
    EXPECT_EQ(run({"restore", "--data-dir", data, "--replace", file + ".none"}).code, 1);
    Outcome restored = run({"restore", "--data-dir", data, "--replace", file});
    ASSERT_EQ(restored.code, 0) << restored.errors;

    Coordinator again({.data_dir = coordinator.data_dir()});
    ASSERT_TRUE(again.start()) << again.log();
    EXPECT_FALSE(again.worker("kept").is_null());
    EXPECT_EQ(again.get("/api/admin/stats").json()["total_workers"].integer(), 1);
    EXPECT_EQ(again.stop(), 0);
}

// More than the registry has in memory, so that it copies pages that have gone bad beneath it.
TEST(Backup, OfADamagedDatabaseIsRefused)
{
    Coordinator coordinator({.flags = {}, .environment = {}});
    ASSERT_TRUE(coordinator.start()) << coordinator.log();
    std::string roll = temporary_folder() + "/roll.json", workers;
    for (int i = 0; i < 4000; i++)
        workers += (i == 0 ? "[" : ",") + std::string(R"({"worker_id": "w)") + std::to_string(i) +
                   R"(", "tunnel_url": "http://127.0.0.1:9", "capabilities": {"a": ")" + std::string(4000, 'x') + "\"}}";
    write_file(roll, workers + "]");
    Outcome imported = run({"import", "--coordinator-url", coordinator.url(), roll});
    ASSERT_EQ(imported.code, 0) << imported.errors;

    std::string registry = registry_address(coordinator), file = temporary_folder() + "/roll.sqlite3";
    ASSERT_EQ(run({"backup", "--registry-address", registry, file}).code, 0);
    std::filesystem::remove(file);
    std::string database = database_directory(coordinator.data_dir()) + "/registry.sqlite3";
    ASSERT_GT(std::filesystem::file_size(database), 12u << 20);
    {
        std::fstream pages(database, std::ios::binary | std::ios::in | std::ios::out);
        for (std::uintmax_t at = 16 * 4096; at < std::filesystem::file_size(database); at += 4096) {
            pages.seekp(static_cast<std::streamoff>(at));
            pages << std::string(200, '\xa5');
        }
    }
    Outcome refused = run({"backup", "--registry-address", registry, file});
    EXPECT_EQ(refused.code, 1);
    EXPECT_NE(refused.errors.find("restore an earlier backup"), std::string::npos) << refused.errors;
    EXPECT_FALSE(std::filesystem::exists(file) || std::filesystem::exists(file + ".part"));
    coordinator.stop();
}

} // namespace
