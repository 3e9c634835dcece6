// `musterctl export` and `import`: the roll of one coordinator in another.

#include "tests/integration/coordinator.h"

#include <gtest/gtest.h>

#include <filesystem>

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

} // namespace
